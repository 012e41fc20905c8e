"""The bare network: the model's file, run by the backend's library alone, in turns with the frames that are timed.

A machine's speed changes from minute to minute, in a virtual machine by half. The same network in the same library is
slowed by it as the frames are, so the ratio of the two tells whether this program has become slower; see
:mod:`.compare`. Other work, such as a matrix product or a copy, does not follow it: it has other wants of caches.

The bare network runs in a process of its own, so that its memory is not counted as ours::

    python -m ganlens.engine.benchmark.bare < job.json, then a line for each turn
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .job import Job

BARE_S = 0.06
"""Seconds of a turn of the bare network; at least one run."""
COMMAND = (sys.executable, "-m", "ganlens.engine.benchmark.bare")

Feeds = dict[str, Any]
Runner = Callable[[], object]


class Bare:
    """The process of the bare network. It sleeps between turns.

    Args:
        job: ``backend`` names the library.
    """

    def __init__(self, job: Job, command: Sequence[str] = COMMAND) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        self._ask(job.to_json())

    def _ask(self, line: str) -> str:
        """Send a line; the answer, empty once the process has ended."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return ""
        return self._process.stdout.readline()

    def __call__(self) -> float | None:
        """Median seconds of a run in one turn; None where the library does not run the file."""
        answer = self._ask("")
        return float(answer) if answer else None

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


def _onnxruntime(job: Job, feeds: Feeds) -> Runner:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job.threads
    options.log_severity_level = 4
    # Threads that spin after a run would take the cores from the frames.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(_given(job), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, feeds)


def _openvino(job: Job, feeds: Feeds) -> Runner:
    from ..backends.openvino_backend import configuration, load, open_core

    openvino = load()
    core = open_core(openvino)
    network = core.read_model(_given(job))
    network.reshape({name: openvino.PartialShape(list(array.shape)) for name, array in feeds.items()})
    request = core.compile_model(network, "CPU", configuration(job.threads)).create_infer_request()
    return lambda: request.infer(feeds)


LIBRARIES: dict[str, Callable[[Job, Feeds], Runner]] = {"cpu": _onnxruntime, "openvino": _openvino}
"""Backend → its library's bare network. On a GPU it would say nothing of the processor's part of a frame."""


def _given(job: Job) -> Any:
    source = job.opened.source()
    return source if isinstance(source, bytes) else str(source)


def _feeds(job: Job) -> Feeds:
    """The first picture, as the inputs of the graph in the types of the file."""
    from ..backends.base import input_names
    from ..model.description import FLOAT16
    from .job import network_inputs

    halves = {value.name for value in job.opened.file.inputs if value.element_type == FLOAT16}
    arrays = [array for array in network_inputs(job.opened.spec, job)[0] if array is not None]
    count = job.opened.batch or 1
    return {
        name: np.repeat(array, count, axis=0).astype(np.float16 if name in halves else np.float32)
        for name, array in zip(input_names(job.opened.spec), arrays, strict=True)
    }


def turn(run: Runner, seconds: float = BARE_S) -> float:
    """Median seconds of the runs of one turn."""
    times: list[float] = []
    begin = now = time.perf_counter()
    while now - begin < seconds:
        run()
        before, now = now, time.perf_counter()
        times.append(now - before)
    return statistics.median(times)


def main() -> None:
    """The job in the first line, then a turn for each line; what libraries print goes to standard error."""
    from .job import Job

    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    job = Job.from_json(sys.stdin.readline())
    run = LIBRARIES[job.backend](job, _feeds(job))
    for _ in range(3):
        run()
    print("ready", file=out, flush=True)
    for _ in sys.stdin:
        print(turn(run), file=out, flush=True)


if __name__ == "__main__":
    main()
