"""One process of a benchmark: it opens a model on a backend and measures, so that a crash ends nothing but itself.

    python -m ganlens.engine.benchmark.worker < job.json > answer.json

Every run of a row is a new process: what differs from process to process (memory layout, thread placement) is then
among the runs, and the cold start is measured each time.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict, replace
from typing import Any, Protocol

import numpy as np

from ..backends import available, open_backend
from ..backends.base import Array, ModelBackend, Output
from ..controls import Controls
from ..errors import BackendUnavailable, EngineError, MissingExtra
from ..parity import THRESHOLDS, Precision, compare
from ..pixels.frame import Frame
from ..pixels.framing import Framing
from ..spec import GeneratorSpec
from ..timing import StageTimes
from ..translator import Translator
from .bare import LIBRARIES, Bare
from .job import Inputs, Job, network_inputs, typical_attributes
from .machine import state, throttled
from .pictures import clip_frames, there_and_back
from .processes import high_water_kib
from .scenarios import BareTurn, Measured, Subject, latency, live, no_bare, throughput


class Opener(Protocol):
    """Opens a subject for a scenario; tests give their own."""

    def __call__(self, job: Job, scenario: str, in_flight: int, batch: int) -> OpenSubject: ...


class OpenSubject(Subject, Protocol):
    """A subject that knows what it runs on."""

    backend: str
    """Name of the backend, also where "auto" was asked for."""
    library: str
    device: str
    frame: tuple[int, int]

    def close(self) -> None: ...


def work(job: Job, opener: Opener | None = None) -> dict[str, Any]:
    """Do a job; the answer as JSON values, ``{"error", "cure"}`` where the model does not open on the backend."""
    opener = opener or open_subject
    try:
        if job.kind == "reference":
            return make_reference(job)
        return probe(job, opener) if job.kind == "probe" else run(job, opener)
    except (MissingExtra, BackendUnavailable) as error:
        status = next((status for status in available() if status.name == job.backend), None)
        if status is not None and not status.usable:
            return {"error": status.reason, "cure": status.cure}
        return {"error": str(error), "cure": ""}
    except EngineError as error:
        return {"error": str(error), "cure": ""}


def probe(job: Job, opener: Opener) -> dict[str, Any]:
    """Open it once: how good its pictures are, and which way of throughput is the fastest."""
    answer: dict[str, Any] = {"sweep": []}
    if job.reference:
        answer["quality"] = judge(job)
    for in_flight, batch in job.ways:
        try:
            subject = opener(job, "throughput", in_flight, batch)
            try:
                rate: float | None = throughput(subject, dict(job.scenarios)["throughput"], paced=False).per_second
            finally:
                subject.close()
            why = ""
        except EngineError as error:
            rate, why = None, str(error)
        answer["sweep"].append({"in_flight": in_flight, "batch": batch, "per_second": rate, "why": why})
    if not job.ways:
        opener(job, "latency", 1, 1).close()
    return answer


def run(job: Job, opener: Opener) -> dict[str, Any]:
    """The scenarios, in random order."""
    with ExitStack() as stack:
        return _run(job, opener, stack)


def _run(job: Job, opener: Opener, stack: ExitStack) -> dict[str, Any]:
    order = list(job.scenarios)
    random.shuffle(order)
    cold_ms = 0.0
    bare: BareTurn = no_bare
    answers: dict[str, Any] = {}
    library = device = ""
    for name, seconds in order:
        many = name == "throughput"
        before = state()
        subject = opener(job, name, job.in_flight if many else 1, job.batch if many else 1)
        try:
            if not cold_ms:
                subject.call(0)
                cold_ms = 1e3 * (time.monotonic() - job.spawned)
                if job.bare and subject.backend in LIBRARIES:
                    bare = stack.enter_context(closing(Bare(replace(job, backend=subject.backend))))
            measured: Measured
            if name == "latency":
                measured = latency(subject, seconds, bare)
            elif name == "throughput":
                measured = throughput(subject, seconds, bare)
            else:
                measured = live(subject, seconds, job.fps, bare)
            library, device, frame = subject.library, subject.device, subject.frame
        finally:
            subject.close()
        values = asdict(measured)
        warm_up = measured.warm_up
        values["warm_up"] = {
            "calls": warm_up.calls,
            "ms": 1e3 * warm_up.seconds,
            "first_ms": 1e3 * warm_up.first_s,
        }
        answers[name] = {**values, "throttled": throttled(before, state()), "frame": frame}
    return {
        "cold_ms": cold_ms,
        "library": library,
        "device": device,
        "peak_mib": high_water_kib(os.getpid()) / 1024,
        "scenarios": answers,
    }


# --- subjects ---------------------------------------------------------------------------------------------------------


def open_subject(job: Job, scenario: str, in_flight: int, batch: int) -> OpenSubject:
    """The model on the backend, with frames for the scenario: pictures of its own size, or frames of a 720p camera."""
    spec = job.opened.spec
    if spec.image is None:
        return NoiseSubject(job, batch)
    if scenario == "live":
        frames = clip_frames()
        framing = camera_framing(spec, job.size, frames[0].size)
    else:
        frames = [Frame.from_rgb(picture) for picture in np.load(job.pictures)]
        framing = Framing("fit", size=None if spec.size.fixed else job.size)
    translator = Translator.open(
        job.opened,
        backend=job.backend,
        framing=framing,
        threads=job.threads,
        in_flight=in_flight,
        batch=batch if batch > 1 else None,
        frame_size=frames[0].size,
        strict=True,
    )
    return TranslatorSubject(translator, frames)


def camera_framing(spec: GeneratorSpec, size: tuple[int, int], frame: tuple[int, int]) -> Framing:
    """The whole frame; for a model of aligned faces one face-sized square in the middle, without finding it."""
    if spec.face_alignment:
        height, width = size
        return Framing("crop", region=((frame[1] - width) // 2, (frame[0] - height) // 2, width, height))
    return Framing("fit", size=None if spec.size.fixed else size)


class TranslatorSubject:
    """A translator and frames of one size."""

    def __init__(self, translator: Translator, frames: list[Frame]) -> None:
        self._translator = translator
        self._frames = frames
        self._attributes = typical_attributes(translator.spec)
        self._controls = Controls(attributes=self._attributes)
        backend = translator.backend
        self.backend = backend.name
        self.library = getattr(backend, "library", backend.name)
        self.device = backend.device
        self.frame = frames[0].size
        self.in_flight, self.batch = translator.in_flight, translator.batch

    def _picture(self, index: int) -> Frame:
        return self._frames[there_and_back(len(self._frames), index)]

    def call(self, index: int) -> object:
        return self._translator(self._picture(index), attributes=self._attributes)

    def stream(self, indices: Iterable[int]) -> Iterator[object]:
        return self._translator.stream(map(self._picture, indices), controls=self._controls)

    def reset_times(self) -> StageTimes:
        self._translator.times = times = StageTimes()
        return times

    def close(self) -> None:
        self._translator.close()


class NoiseSubject:
    """A generator from noise: latents in, pictures out, ``batch`` of them in a run."""

    in_flight = 1

    def __init__(self, job: Job, batch: int) -> None:
        self._backend = open_backend(job.opened, job.backend, size=job.size, threads=job.threads, batch=batch)
        self._inputs = network_inputs(self._backend.spec, job)
        self._times = StageTimes()
        self.batch = batch
        self.backend = self._backend.name
        self.library, self.device, self.frame = self._backend.library, self._backend.device, job.size

    def _run(self, index: int, count: int) -> Output:
        begin = index % len(self._inputs)
        chosen = [self._inputs[(begin + number) % len(self._inputs)] for number in range(count)]
        with self._times.measure("run", count):
            return self._backend.run(*(_stack(arrays) for arrays in zip(*chosen, strict=True)))

    def call(self, index: int) -> object:
        return self._run(index, self._backend.batch or 1)

    def stream(self, indices: Iterable[int]) -> Iterator[object]:
        waiting: list[int] = []
        for index in indices:
            waiting.append(index)
            if len(waiting) == self.batch:
                answer = self._run(waiting[0], self.batch)
                yield from (answer.part(number) for number in range(self.batch))
                waiting.clear()
        for _ in waiting:
            yield self._run(0, self.batch)

    def reset_times(self) -> StageTimes:
        self._times = StageTimes()
        return self._times

    def close(self) -> None:
        self._backend.close()


# --- quality ----------------------------------------------------------------------------------------------------------


def make_reference(job: Job) -> dict[str, Any]:
    """Write what ONNX Runtime's CPU provider computes without optimisations."""
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise MissingExtra("The float32 reference", "onnxruntime", "cpu") from None
    spec = job.opened.spec
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = job.threads
    options.log_severity_level = 4
    source = job.opened.source()
    given = source if isinstance(source, bytes) else str(source)
    session = onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
    ports = [port.name for port in (spec.image, spec.attributes, spec.latent) if port is not None]
    outputs = [spec.output.name, *([spec.output.mask] if spec.output.mask else [])]
    dims = session.get_inputs()[0].shape[0]
    batch = dims if isinstance(dims, int) else 1
    answers: list[list[Array]] = []
    for inputs in network_inputs(spec, job):
        arrays = [np.repeat(array, batch, axis=0) for array in inputs if array is not None]
        answers.append([part[:1] for part in session.run(outputs, dict(zip(ports, arrays, strict=True)))])
    parts = {f"part{number}": np.stack(part) for number, part in enumerate(zip(*answers, strict=True))}
    np.savez(job.reference, **parts)  # type: ignore[arg-type]
    return {"reference": f"ONNX Runtime {onnxruntime.__version__}, CPU, fp32, no graph optimisation"}


def judge(job: Job) -> dict[str, Any]:
    """Compare the backend's pictures with the reference's."""
    with np.load(job.reference) as stored:
        reference = [stored[f"part{number}"] for number in range(len(stored.files))]
    with open_backend(job.opened, job.backend, size=job.size, threads=job.threads) as backend:
        rows = []
        for number, inputs in enumerate(network_inputs(backend.spec, job)):
            found = _run_one(backend, inputs)
            expected = [part[number] for part in reference]
            rows.append(compare(expected, [part for part in found if part is not None], backend.spec))
        computes = computed_in(backend, job.precision)
    gate = THRESHOLDS[GATES[computes]]
    decibels = sorted(row.psnr_db for row in rows)
    worst = min(rows, key=lambda row: row.psnr_db)._replace(
        max_abs=max(row.max_abs for row in rows), cosine=min(row.cosine for row in rows)
    )
    return {
        "psnr_db": [decibels[0], decibels[len(decibels) // 2]],
        "max_abs": worst.max_abs,
        "cosine": worst.cosine,
        "computes": computes,
        "gate": str(gate),
        "ok": not gate.failures(worst),
    }


GATES: dict[str, Precision] = {"fp32": "fp32", "bf16": "fp16", "fp16": "fp16", "int8": "int8"}
"""What a backend computes in → the precision by whose gate its pictures are judged."""


def computed_in(backend: ModelBackend, precision: str) -> str:
    """The precision of a backend's arithmetic: the file's, unless its library lowers it."""
    return "bf16" if getattr(backend, "precision", "") == "bf16" else precision


def _run_one(backend: ModelBackend, inputs: Inputs) -> Output:
    """One picture through a network that may want more of them."""
    count = backend.batch or 1
    return backend.run(*(None if array is None else np.repeat(array, count, axis=0) for array in inputs)).part(0)


def _stack(arrays: tuple[Array | None, ...]) -> Array | None:
    given = [array for array in arrays if array is not None]
    return np.concatenate(given) if given else None


def main() -> None:
    """Job on standard input, answer on standard output; what libraries print goes to standard error."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    json.dump(work(Job.from_json(sys.stdin.read())), out)
    out.close()


if __name__ == "__main__":
    main()
