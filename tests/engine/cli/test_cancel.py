"""Ctrl-C and SIGTERM while the network runs: one that never comes to an end is told to."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from ganlens.engine import Frame, open_sink
from ganlens.engine.cancel import cancel_all, cancellable
from ganlens.engine.media.base import FrameFormat

SIZE = (64, 64)
GOOD = 3
ENGINE = (sys.executable, "-c", "from ganlens.engine.cli import main; main()")


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose loop ends at once for dark images, and never for bright ones."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, *SIZE])
    answer = helper.make_tensor_value_info("answer", TensorProto.FLOAT, [1, 3, *SIZE])
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Neg", ["x"], ["y"])],
        "body",
        [
            helper.make_tensor_value_info("number", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, *SIZE]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, *SIZE]),
        ],
    )
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMax", ["image"], ["brightest"], keepdims=0),
            helper.make_node("Greater", ["brightest", "half"], ["bright"]),
            helper.make_node("Where", ["bright", "many", "none"], ["count"]),
            helper.make_node("Loop", ["count", "", "image"], ["answer"], body=body),
        ],
        "endless",
        [image],
        [answer],
        [
            helper.make_tensor("half", TensorProto.FLOAT, [], [0.5]),
            helper.make_tensor("many", TensorProto.INT64, [], [2**62]),
            helper.make_tensor("none", TensorProto.INT64, [], [0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path_factory.mktemp("endless") / "endless.onnx"
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(("number", "in_flight"), [(signal.SIGINT, 1), (signal.SIGTERM, 2)], ids=["ctrl-c", "term"])
def test_an_endless_network_is_told_to_end(
    endless: Path, tmp_path: Path, number: signal.Signals, in_flight: int
) -> None:
    format = FrameFormat(SIZE, "rgb24", Fraction(10), Fraction(1, 10))
    sink = open_sink(tmp_path / "in.mkv", format, crf=0)
    for index in range(GOOD + 4):
        grey = np.full((*SIZE, 3), 255 if index >= GOOD else 20, np.uint8)
        sink.write(Frame.from_rgb(grey, Fraction(index, 10)))
    sink.close()
    options = f"--model {endless} --range=-1..1 --backend cpu --threads 1 --in-flight {in_flight} -o out.mkv"
    process = subprocess.Popen(
        [*ENGINE, "translate", "in.mkv", *options.split()],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    )
    try:
        deadline = time.monotonic() + 60
        while not any(path.name not in ("in.mkv",) for path in tmp_path.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(3)
        assert process.poll() is None, "it hangs in the first bright frame"
        process.send_signal(number)
        _, said = process.communicate(timeout=40)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130, said
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert sum(1 for _ in container.decode(video=0)) == GOOD
    assert f"Stopped after {GOOD} frames" in said


def test_the_third_signal_ends_what_hears_nothing(tmp_path: Path) -> None:
    code = (
        "import signal, time\n"
        "from ganlens.engine.cancel import cancellable\n"
        "from ganlens.engine.cli.interrupt import terminate_as_interrupt\n"
        "with terminate_as_interrupt(), cancellable(lambda: print('told to end', flush=True)):\n"
        "    for number in (signal.SIGINT, signal.SIGTERM):  # as in a library's call that does not come back\n"
        "        signal.signal(number, lambda *_: None)\n"
        "    print('ready', flush=True)\n"
        "    while True:\n"
        "        time.sleep(1)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "told to end\n"
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=40)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130 and said == "Ended at once; the next run removes the unfinished file.\n"


def test_calls_are_forgotten_when_they_end() -> None:
    told: list[str] = []
    with cancellable(lambda: told.append("outer")):
        with cancellable(lambda: told.append("inner")):
            assert cancel_all() == 1
        assert cancel_all() == 1
    assert cancel_all() == 0
    assert told == ["inner", "outer"]
