"""The commands that are killed, and what must hold of their files afterwards."""

from __future__ import annotations

import importlib.util
import json
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

ENGINE = [sys.executable, "-m", "ganlens.engine"]
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
PATIENCE_S = 600.0


@dataclass
class Outcome:
    """What became of one killed command."""

    status: int
    after: float
    """Seconds after which the signal was sent."""
    problems: list[str]
    early: bool = False
    """Ctrl-C before the program's first line: the interpreter itself was starting, and printed its own traceback."""


@dataclass(frozen=True)
class Work:
    """A command that writes files.

    Args:
        command: its arguments, for a folder.
        again: the arguments of the next run, for a folder in which it was killed.
        outputs: files that are old or whole at every moment, and who reads them.
        prepare: makes what a run needs, in a new folder.
    """

    name: str
    command: Callable[[Path], list[str]]
    again: Callable[[Path], list[str]]
    outputs: dict[str, Callable[[Path], object]]
    prepare: Callable[[Path], None]
    begins: Callable[[Path], bool]
    """Whether a run has begun its work: signals before that only end an import."""


def start(arguments: list[str], folder: Path) -> subprocess.Popen[str]:
    """The command, with the signals as a terminal sets them."""

    def default() -> None:
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)

    return subprocess.Popen(
        [*ENGINE, *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=default,
    )


def kill(work: Work, folder: Path, number: signal.Signals, fraction: float, whole_s: float) -> Outcome:
    """Kill a command after a part of its time, look at its files, run it again, and look once more.

    Args:
        fraction: of its time, from the moment at which it begins its work.
        whole_s: what that takes.
    """
    work.prepare(folder)
    old = {name: (folder / name).read_bytes() for name in work.outputs if (folder / name).exists()}
    process = start(work.command(folder), folder)
    began = time.monotonic()
    while process.poll() is None and not work.begins(folder) and time.monotonic() - began < PATIENCE_S:
        time.sleep(0.02)
    time.sleep(fraction * whole_s)
    after = time.monotonic() - began
    process.send_signal(number)
    text, _ = process.communicate(timeout=PATIENCE_S)
    problems = []
    early = number == signal.SIGINT and interrupted_before_main(text)
    if "Traceback" in text and not early:
        problems.append(f"traceback: {text[-1500:]}")
    if process.returncode not in (0, 1, 130, -number):  # by the signal itself: before the program handles it
        problems.append(f"exit status {process.returncode}: {text[-500:]}")
    problems += _check(work, folder, old, "after the signal")
    again = start(work.again(folder), folder)
    text, _ = again.communicate(timeout=PATIENCE_S)
    if again.returncode != 0 and "run is finished" not in text:
        problems.append(f"the next run fails with {again.returncode}: {text[-1500:]}")
    problems += _check(work, folder, {}, "after the next run")
    left = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if ".part" in path.name)
    if left:
        problems.append(f"left behind: {', '.join(left)}")
    return Outcome(process.returncode, after, problems, early)


def interrupted_before_main(text: str) -> bool:
    """Whether this is the traceback of a KeyboardInterrupt before ``main`` of ``engine/__main__.py`` was called."""
    return bool(re.search(r"^KeyboardInterrupt", text, re.MULTILINE)) and not re.search(
        r'engine/__main__\.py", line \d+, in main', text
    )


def time_of(work: Work, folder: Path) -> float:
    """Seconds from the moment at which a command begins its work to its end."""
    work.prepare(folder)
    process = start(work.command(folder), folder)
    began = time.monotonic()
    while process.poll() is None and not work.begins(folder):
        time.sleep(0.02)
        if time.monotonic() - began > PATIENCE_S:
            break
    began = time.monotonic()
    text, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, text
    return time.monotonic() - began


def _check(work: Work, folder: Path, old: dict[str, bytes], when: str) -> list[str]:
    """What is wrong with the outputs: each is missing if there was none, the old one, or whole."""
    problems = []
    for name, read in work.outputs.items():
        path = folder / name
        if not path.exists():
            if name in old:
                problems.append(f"{when}: {name} is gone")
            continue
        if path.read_bytes() == old.get(name):
            continue
        try:
            read(path)
        except Exception as error:
            problems.append(f"{when}: {name} is damaged: {error}")
    return problems


def make_rows(seed: int, moments: int) -> list[tuple[signal.Signals, float]]:
    """The signals, each at so many random parts of a command's time."""
    chance = random.Random(seed)
    return [(number, chance.uniform(0, 0.95)) for number in SIGNALS for _ in range(moments)]


# --- the commands -----------------------------------------------------------------------------------------------------


def _make_clip(path: Path, frames: int) -> None:
    import av

    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=Fraction(25), options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        for number in range(frames):
            picture = np.full((240, 320, 3), number % 256, np.uint8)
            output.mux(video.encode(av.VideoFrame.from_ndarray(picture)))
        output.mux(video.encode())


def _prepare_translate(folder: Path) -> None:
    from tests.kit.models import network_model

    network_model(folder / "net.onnx", None)
    _make_clip(folder / "in.mp4", 150)
    _make_clip(folder / "out.mp4", 5)


def _read_video(path: Path) -> None:
    from tests.kit.streams import check_video

    assert check_video(path) > 0


def _prepare_run(folder: Path) -> None:
    import torch
    from PIL import Image

    from ganlens.engine.spec import GeneratorSpec, SizeRule
    from ganlens.train.checkpoint import GENERATOR_NAME, save_generator
    from ganlens.train.networks import make_generator
    from tests.kit.models import identity_model

    spec = GeneratorSpec(
        name="water", architecture="cyclegan", tier="nano", size=SizeRule(multiple_of=8, minimum=16, preferred=(32, 32))
    )
    torch.manual_seed(3)
    (folder / "run").mkdir()
    (folder / "photos").mkdir()
    for number in range(8):
        pixels = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((64, 64)).save(folder / "photos" / f"{number}.png")
    save_generator(make_generator(spec), spec, folder / "run" / GENERATOR_NAME)
    (folder / "run" / "config.json").write_text(json.dumps({"method": "cyclegan", "photos": str(folder / "photos")}))
    identity_model(folder / "out.onnx")


def _read_model(path: Path) -> None:
    from ganlens.engine.model import open as open_model

    open_model(path)


def _read_weights(path: Path) -> None:
    from ganlens.train.checkpoint import load_generator

    load_generator(path)


def _prepare_training(folder: Path) -> None:
    from PIL import Image

    for kind in ("photos", "paintings"):
        (folder / kind).mkdir()
        for number in range(4):
            pixels = np.random.default_rng(number).integers(0, 256, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / kind / f"{number}.png")


def _train(folder: Path) -> list[str]:
    options = "--tier nano --size 32 --load-size 36 --steps 15 --discriminator-width 8 --log-every 5 --sample-every 5"
    return ["train", "cyclegan", "--photos", "photos", "--paintings", "paintings", "--out", "run", *options.split()]


def _train_on(folder: Path) -> list[str]:
    """As a person goes on: with what there is, or from the beginning if nothing was saved yet."""
    if (folder / "run" / "state.pt").exists():
        return ["train", "cyclegan", "--out", "run", "--resume"]
    return _train(folder)


def _prepare_build(folder: Path) -> None:
    from tests.kit.models import network_model

    network_model(folder / "net.onnx", None)


def _read_plan(path: Path) -> None:
    from ganlens.engine.backends.tensorrt import read_plan

    read_plan(path)


def _translate(folder: Path) -> list[str]:
    return ["translate", "in.mp4", "-o", "out.mp4", "-m", "net.onnx", "--framing", "native", "--backend", "cpu", "-y"]


def _export(folder: Path) -> list[str]:
    return ["export", "run", "-o", "out.onnx", "-y"]


def _build(folder: Path) -> list[str]:
    return ["build", "net.onnx", "-o", "net.plan", "-y"]


def _partial(folder: Path) -> bool:
    return any(".part" in path.name for path in folder.iterdir())


WORKS = [
    Work("translate", _translate, _translate, {"out.mp4": _read_video}, _prepare_translate, _partial),
    Work("export", _export, _export, {"out.onnx": _read_model}, _prepare_run, lambda folder: True),
    Work(
        "train",
        _train,
        _train_on,
        {"run/generator.safetensors": _read_weights},
        _prepare_training,
        lambda folder: (folder / "run").exists(),
    ),
]
if importlib.util.find_spec("tensorrt_rtx"):
    WORKS.append(
        Work("build", _build, _build, {"net.plan": _read_plan}, _prepare_build, lambda folder: True),
    )
