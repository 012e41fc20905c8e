"""The course of a benchmark: what is measured, in which order, and what becomes of a row that fails."""

from __future__ import annotations

import datetime
import json
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np

from ..backends import AUTO, BACKENDS, default_threads
from ..errors import BackendError, EngineError, ExportError, MissingExtra, OptionError, did_you_mean
from ..media.uri import open_source
from ..model import Model as OpenModel
from ..model import open as open_model
from ..model import read_model_spec
from ..parity import Precision
from ..spec import GeneratorSpec, ValueRange, format_size
from ..timing import Histogram
from . import machine, pictures, stats
from .clip import HEIGHT, RATE, WIDTH, make_clip
from .job import Job, typical_attributes
from .processes import ENGINE, Usage, run_pipeline
from .result import (
    Failure,
    LiveCounts,
    Model,
    Quality,
    Result,
    Row,
    Run,
    Scenario,
    Settings,
    Size,
    Sweep,
    Times,
    WarmUpRecord,
)
from .worker import camera_framing

SCENARIOS: tuple[Scenario, ...] = get_args(Scenario)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
WORKER = (sys.executable, "-m", "ganlens.engine.benchmark.worker")
DEFAULT_SECONDS = 4.0
QUICK_SECONDS = 2.0
DEFAULT_RUNS = 5
QUICK_RUNS = 3
LEAST_CLIP_S = 2.0
SWEEP_SHARE = 0.2
"""Fraction of a row's measuring time spent on trying each throughput configuration."""
PATIENCE_S = 120.0
"""How much longer than planned a process may take."""
CAMERA_SIZE: Size = (HEIGHT, WIDTH)

Observer = Callable[[str, int, int], None]
"""Told what is done next, how many steps are done, and how many there are."""
Worker = Callable[[Job, float], dict[str, Any]]
"""Runs a job in a separate process with a time limit in seconds."""


@dataclass(frozen=True)
class Plan:
    """What the command line asked for; see ``engine benchmark --help``."""

    models: tuple[str, ...]
    backends: tuple[str, ...] = ("all",)
    sizes: tuple[Size, ...] = ()
    batches: tuple[int, ...] = (1,)
    precisions: tuple[Precision, ...] = ()
    """Empty: as the files are."""
    scenarios: tuple[Scenario, ...] = SCENARIOS
    threads: int | None = None
    fps: float = 30.0
    seconds: float = DEFAULT_SECONDS
    runs: int = DEFAULT_RUNS
    images: str | None = None
    video: Path | None = None
    value_range: ValueRange | None = None
    also: tuple[str, ...] = ()
    """Models of which only the throughput is measured."""
    bare: bool = True
    """Whether the bare network takes turns with the frames, for comparisons; see :mod:`.bare`."""

    @cached_property
    def opened(self) -> dict[str, OpenModel]:
        """All models by name, read once.

        Raises:
            UnknownModel, ModelFileError, OptionError: see :func:`ganlens.engine.model.open`.
        """
        return {name: open_model(name, self.value_range) for name in (*self.models, *self.also)}


@dataclass(frozen=True)
class ModelFile:
    """A model that is measured."""

    name: str
    opened: OpenModel
    precision: Precision
    reference: Path | None
    """The float32 file that its pictures are compared with; None if there is none."""
    scenarios: tuple[Scenario, ...]
    derived: bool = False

    @property
    def path(self) -> Path:
        return self.opened.path

    @property
    def spec(self) -> GeneratorSpec:
        return self.opened.spec


@dataclass
class Configuration:
    """A model at a size on a backend, and what was measured of it."""

    model: ModelFile
    backend: str
    size: Size
    scenarios: tuple[Scenario, ...]
    quality: Quality | None = None
    sweep: list[Sweep] = field(default_factory=list)
    in_flight: int = 1
    batch: int = 1
    answers: list[dict[str, Any]] = field(default_factory=list)
    """Answers of the latency, throughput and live processes."""
    videos: list[tuple[Usage, dict[str, Any]]] = field(default_factory=list)
    bound_s: float | None = None
    broken: str = ""
    """Why it failed, and after "|" the cure."""

    def __str__(self) -> str:
        return f"{self.model.name} {self.model.precision} on {self.backend}"


def benchmark(
    plan: Plan, observer: Observer = lambda *_: None, *, command: str = "", worker: Worker | None = None
) -> Result:
    """Measure.

    Backends that are absent or fail become failures of the result; an interrupt ends it with the runs that are done.

    Raises:
        OptionError, ModelFileError, MediaError: something asked for cannot be measured at all; found before the clock
            runs.
    """
    return _Benchmark(plan, observer, command, worker or run_worker).run()


class _Benchmark:
    def __init__(self, plan: Plan, observer: Observer, command: str, worker: Worker) -> None:
        self.plan = _checked(plan)
        self.observer = observer
        self.command = command
        self.worker = worker
        self.threads = plan.threads or default_threads()
        self.failures: list[Failure] = []
        self.configurations: list[Configuration] = []
        self.models: list[ModelFile] = []
        self.references: dict[tuple[Path, Size], tuple[str, str]] = {}
        """(file, size) → (stored outputs, in words)."""
        self.pictures: dict[Size, Path] = {}
        self.clip: Path | None = None
        self.clip_size: Size = CAMERA_SIZE
        self.clip_frames: int | None = None
        self.steps_done = 0
        self.steps = 0

    def run(self) -> Result:
        interrupted = False
        with ExitStack() as stack:
            self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ganlens-benchmark-")))
            before = machine.state()
            try:
                self.prepare()
                self.probe_all()
                self.measure_all()
            except KeyboardInterrupt:
                interrupted = True
            if not self.models:
                raise KeyboardInterrupt
            return Result(
                schema="ganlens-benchmark/1",
                when=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
                command=self.command,
                interrupted=interrupted,
                machine=machine.describe(before, machine.state()),
                software=machine.software(),
                settings=self.settings(),
                models=tuple(_model_record(model) for model in self.models),
                results=tuple(row for one in self.configurations for row in self.rows(one, interrupted)),
                failures=tuple(self.failures),
            )

    # --- before the clock runs ----------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Models, pictures and clip; and what is to be measured."""
        self.say("models and pictures")
        found = [self.open_model(name, self.plan.scenarios) for name in self.plan.models]
        found += [self.open_model(name, ("throughput",)) for name in self.plan.also]
        models = _with_twins(found)
        for model in models:
            for size in self.plan.sizes:
                _check_size(model, size)
        sizes = {size for model in models for size in self.sizes(model) if model.spec.image is not None}
        for size in sorted(sizes):
            path = self.folder / f"pictures-{size[0]}x{size[1]}.npy"
            np.save(path, pictures.load_pictures(self.plan.images, size))
            self.pictures[size] = path
        self.models = self.with_precisions(models)
        if any("video" in model.scenarios for model in self.models):
            self.clip = self.plan.video or self.make_clip()
            with closing(open_source(str(self.clip))) as source:
                self.clip_size = source.format.size
                self.clip_frames = source.frames
        names = tuple(BACKENDS) if "all" in self.plan.backends else self.plan.backends
        self.configurations = [
            Configuration(model, backend, size, model.scenarios)
            for model in self.models
            for size in self.sizes(model)
            for backend in names
        ]

    def make_clip(self) -> Path:
        seconds = max(LEAST_CLIP_S, self.plan.seconds / 4)
        return make_clip(pictures.SHIPPED_CLIP, self.folder / "clip.mp4", round(RATE * seconds))

    def sizes(self, model: ModelFile) -> tuple[Size, ...]:
        return self.plan.sizes or (model.spec.size.fixed or model.spec.size.preferred,)

    def open_model(self, given: str, scenarios: tuple[Scenario, ...]) -> ModelFile:
        opened = self.plan.opened[given]
        path, spec = opened.path, opened.spec
        if opened.kind == "plan":
            raise OptionError(
                f"{given} is a TensorRT plan, which only one backend runs; expected the ONNX file it was built from."
            )
        if spec.image is None:
            scenarios = tuple(name for name in scenarios if name in ("latency", "throughput"))
        reference = path if spec.precision == "fp32" else None
        name = given if path.suffix not in given else path.stem
        return ModelFile(name, opened, spec.precision, reference, scenarios)

    def with_precisions(self, models: Sequence[ModelFile]) -> list[ModelFile]:
        """The models, and the copies of other precisions that were asked for; what cannot be made is a failure."""
        if not self.plan.precisions:
            return list(models)
        found: list[ModelFile] = []
        for model in models:
            for precision in self.plan.precisions:
                if precision == model.precision:
                    found.append(model)
                    continue
                try:
                    found.append(self.derive(model, precision))
                except EngineError as error:
                    self.failures.append(
                        Failure(
                            model=model.name, precision=precision, backend="all", why=_why(error), cure=_cure(error)
                        )
                    )
        return found

    def derive(self, model: ModelFile, precision: Precision) -> ModelFile:
        """A copy of a float32 model in another precision, as the export would make it."""
        if model.precision != "fp32":
            raise ExportError(f"{model.path.name} is {model.precision}; {precision} can only be made from fp32.")
        try:
            import onnx

            from ganlens.export.precision import to_fp16, to_int8
        except ModuleNotFoundError as error:
            raise MissingExtra(f"--precision {precision}", error.name or "onnx", "export") from error
        graph = onnx.load(model.path)
        if precision == "fp16":
            made = to_fp16(graph)
        else:
            if model.spec.image is None:
                raise ExportError("int8 needs pictures to calibrate on; this model makes pictures from noise.")
            made = to_int8(graph, self.calibration(model))
        spec = model.spec.model_copy(update={"precision": precision, "parity": None})
        onnx.helper.set_model_props(made, spec.to_metadata())
        path = self.folder / f"{model.path.stem}-{precision}.onnx"
        path.write_bytes(made.SerializeToString())
        opened = open_model(path, self.plan.value_range)
        return ModelFile(model.name, opened, precision, model.path, model.scenarios, derived=True)

    def calibration(self, model: ModelFile) -> list[dict[str, Any]]:
        """Pictures for INT8 other than those that judge it, as the graph's inputs."""
        from ..model.attributes import attribute_vector
        from ..pixels.compositor import Compositor
        from ..pixels.frame import Frame

        size, spec = self.sizes(model)[0], model.spec
        compositor = Compositor(spec)
        feeds = []
        for picture in pictures.calibration_pictures(size):
            feed = {spec.image.name if spec.image else "": compositor.prepare(Frame.from_rgb(picture))[None]}
            if spec.attributes is not None:
                feed[spec.attributes.name] = attribute_vector(spec.attributes, typical_attributes(spec))
            feeds.append(feed)
        return feeds

    # --- processes ----------------------------------------------------------------------------------------------------

    def probe_all(self) -> None:
        """Open each configuration once: references, quality, the best way of throughput, and who fails."""
        per_run = self.plan.runs
        videos = sum("video" in one.scenarios for one in self.configurations)
        inside = sum(any(name != "video" for name in one.scenarios) for one in self.configurations)
        self.steps = len(self.configurations) + per_run * (videos + inside)
        for one in list(self.configurations):
            self.say(f"{one}: opening, quality", step=True)
            self.probe(one)
            if one.broken:
                self.fail(one)
                self.steps -= per_run * (("video" in one.scenarios) + any(name != "video" for name in one.scenarios))

    def probe(self, one: Configuration) -> None:
        stored, words = self.reference(one)
        if not stored and one.model.precision != "fp32":
            one.broken = f"no float32 reference for {one.model.path.name}, and speed alone is not shown for " + (
                f"{one.model.precision}|Give the float32 file too: engine benchmark {one.model.path.name} FP32.onnx"
            )
            return
        seconds = self.plan.seconds * SWEEP_SHARE
        job = self.job(one, "probe", (("throughput", seconds),), ways=self.ways(one), reference=stored)
        answer = self.work(one, job, seconds * len(job.ways))
        if answer is None:
            return
        if "quality" in answer:
            one.quality = Quality(reference=words, **answer["quality"])
        one.sweep = [Sweep(**entry) for entry in answer["sweep"]]
        tried = [entry for entry in one.sweep if entry.per_second]
        if tried:
            best = max(tried, key=lambda entry: entry.per_second or 0.0)
            one.in_flight, one.batch = best.in_flight, best.batch
        elif one.sweep:
            one.broken = one.sweep[0].why

    def ways(self, one: Configuration) -> tuple[tuple[int, int], ...]:
        """(in_flight, batch) to try for throughput."""
        if "throughput" not in one.scenarios:
            return ()
        most = max(1, self.threads)
        counts = sorted({count for count in (1, 2, 4, 8) if count <= most} | {min(most, 8)})
        in_flight = counts if one.model.spec.image is not None else [1]
        return tuple((count, batch) for count in in_flight for batch in self.plan.batches)

    def reference(self, one: Configuration) -> tuple[str, str]:
        """Where the reference's outputs are, and what it is; empty where there is none."""
        path = one.model.reference
        if path is None:
            return "", ""
        key = (path, one.size)
        if key not in self.references:
            stored = str(self.folder / f"reference-{len(self.references)}.npz")
            job = self.job(one, "reference", (), model=str(path), sha256="", reference=stored)
            try:
                answer = self.worker(job, 0.0)
            except BackendError as error:
                answer = {"error": str(error)}
            self.references[key] = ("", "") if "error" in answer else (stored, answer["reference"])
            if "error" in answer:
                why = f"no reference to judge quality by: {answer['error']}"
                self.failures.append(
                    Failure(
                        model=one.model.name,
                        precision=one.model.precision,
                        backend="reference",
                        scenario="quality",
                        size=one.size,
                        why=why,
                        cure=answer.get("cure", ""),
                    )
                )
        return self.references[key]

    def job(self, one: Configuration, kind: str, scenarios: tuple[tuple[str, float], ...], **changes: Any) -> Job:
        values: dict[str, Any] = {
            "kind": kind,
            "model": str(one.model.path),
            "sha256": one.model.opened.file.sha256,
            "backend": one.backend,
            "size": one.size,
            "threads": self.threads,
            "value_range": self.plan.value_range,
            "scenarios": scenarios,
            "fps": self.plan.fps,
            "in_flight": one.in_flight,
            "batch": one.batch,
            "pictures": str(self.pictures.get(one.size, "")),
            "precision": one.model.precision,
            "bare": self.plan.bare,
        }
        return Job(**{**values, **changes})

    def work(self, one: Configuration, job: Job, seconds: float) -> dict[str, Any] | None:
        """The answer; None, with the reason in ``one.broken``, where the process fails."""
        try:
            answer = self.worker(job, seconds)
        except BackendError as error:
            one.broken = str(error)
            return None
        if "error" in answer:
            one.broken = f"{answer['error'].rstrip('.')}|{answer['cure']}" if answer["cure"] else answer["error"]
            return None
        return answer

    def measure_all(self) -> None:
        """The runs, each a process of its own; in each round all configurations in random order."""
        for number in range(self.plan.runs):
            visits = [(one, True) for one in self.configurations if "video" in one.scenarios]
            visits += [(one, False) for one in self.configurations if any(s != "video" for s in one.scenarios)]
            random.shuffle(visits)
            for one, video in visits:
                if not one.broken:
                    self.visit(one, number, video)

    def visit(self, one: Configuration, number: int, video: bool) -> None:
        """One process of a configuration: of the video, or of the other scenarios."""
        inside = [name for name in one.scenarios if name != "video"]
        what = "video" if video else ", ".join(inside)
        self.say(f"run {number + 1} of {self.plan.runs}: {one}: {what}", step=True)
        if video:
            self.measure_video(one)
        else:
            seconds = self.plan.seconds / self.plan.runs
            job = self.job(one, "run", tuple((name, seconds) for name in inside))
            answer = self.work(one, job, seconds * len(inside))
            if answer is not None:
                one.answers.append(answer)
        if one.broken:
            self.fail(one)

    def measure_video(self, one: Configuration) -> None:
        """``engine translate`` as a whole process; before the first, each stage alone."""
        assert self.clip is not None
        output, record = self.folder / "out.mp4", self.folder / "out.json"
        framing = camera_framing(one.model.spec, one.size, self.clip_size)
        options = ["--framing", framing.mode]
        alone: list[str] = []
        if framing.region is not None:
            options += ["--region", ",".join(map(str, framing.region))]
            alone += ["--region", ",".join(map(str, framing.region))]
        elif framing.size is not None:
            options += ["--size", f"{framing.size[1]}x{framing.size[0]}"]
            alone += ["--size", f"{framing.size[1]}x{framing.size[0]}"]
        for name, value in typical_attributes(one.model.spec).items():
            options += ["--set", f"{name}={value:g}"]
        model = ["--model", str(one.model.path), "--backend", one.backend]
        if self.plan.threads is not None:
            model += ["--threads", str(self.plan.threads)]
        if self.plan.value_range is not None:
            options += ["--range", "..".join(f"{value:g}" for value in self.plan.value_range)]
        command = [*ENGINE, "translate", "--video", str(self.clip), "-o", str(output), "-y", "-q", *model, *options]
        environment = {"GANLENS_CACHE": str(self.folder / "cache")} if one.backend == AUTO else {}
        try:
            if not one.videos:
                one.bound_s = self.bound_of([*model, *alone])
            usage = run_pipeline([[*command, "--json", str(record)]], environment)
        except RuntimeError as error:
            one.broken = _last_line(str(error))
            return
        one.videos.append((usage, json.loads(record.read_text(encoding="utf-8"))))

    def bound_of(self, arguments: Sequence[str]) -> float:
        """Seconds that no pipeline of the clip's stages can beat, each stage measured alone."""
        command = [sys.executable, "-m", "ganlens.engine.benchmark.stages", "--clip", str(self.clip), *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr)
        parts = json.loads(done.stdout.splitlines()[-1])
        frames = parts.pop("frames")
        share = (self.clip_frames or frames) / frames
        walls = [part["wall"] for part in parts.values()]
        return float(share) * stats.bound(walls, [part["cpu"] for part in parts.values()], default_threads())

    def fail(self, one: Configuration) -> None:
        why, _, cure = one.broken.partition("|")
        size = None if one.model.spec.size.fixed else one.size
        self.failures.append(
            Failure(
                model=one.model.name, precision=one.model.precision, backend=one.backend, size=size, why=why, cure=cure
            )
        )
        if not one.answers and not one.videos:
            self.configurations.remove(one)

    def say(self, what: str, *, step: bool = False) -> None:
        self.observer(what, self.steps_done, self.steps)
        self.steps_done += step

    # --- rows ---------------------------------------------------------------------------------------------------------

    def rows(self, one: Configuration, interrupted: bool) -> list[Row]:
        """The rows of a configuration, of the runs that are done."""
        found = []
        for name in one.scenarios:
            if name == "video":
                if one.videos:
                    found.append(self.video_row(one))
            elif one.answers:
                found.append(self.row(one, name))
        if not found and interrupted:
            self.failures.append(
                Failure(
                    model=one.model.name,
                    precision=one.model.precision,
                    backend=one.backend,
                    why="interrupted before it",
                )
            )
        if interrupted:
            short = [row for row in found if len(row.runs) < self.plan.runs]
            found = [
                row.model_copy(update={"flags": (*row.flags, "interrupted")}) if row in short else row for row in found
            ]
        return found

    def row(self, one: Configuration, name: Scenario) -> Row:
        """A row of latency, throughput or live."""
        parts = [answer["scenarios"][name] for answer in one.answers]
        times = [time for part in parts for time in part["times_s"]]
        runs = tuple(
            Run(
                value=part["per_second"] if name == "throughput" else 1e3 * statistics.median(part["times_s"]),
                n=len(part["times_s"]),
                cold_ms=answer["cold_ms"],
                foreign=part["foreign"],
                bare_ms=part["bare_ms"],
                relative=part["relative"],
            )
            for answer, part in zip(one.answers, parts, strict=True)
        )
        histogram = Histogram()
        for value in times:
            histogram.add(value)
        interval = stats.bootstrap_interval([run.value for run in runs])
        rate = statistics.median([part["per_second"] for part in parts])
        energies = [part["energy_j"] for part in parts]
        counts = {
            key: sum(part["counts"].get(key, 0) for part in parts) for key in ("due", "on_time", "late", "dropped")
        }
        many = name == "throughput"
        paced = [part["ms_at_30hz"] for part in parts if part["ms_at_30hz"] is not None]
        flags = ["noisy"] if is_noisy(name, times, runs) else []
        flags += ["throttled"] if any(part["throttled"] for part in parts) else []
        return Row(
            **self.common(one, name),
            library=one.answers[0]["library"],
            device=one.answers[0]["device"],
            frame=tuple(parts[0]["frame"]),
            batch=one.batch if many else 1,
            in_flight=one.in_flight if many else 1,
            n=len(times),
            runs=runs,
            interval=interval,
            cold_ms=statistics.median([run.cold_ms for run in runs]),
            warm_up=WarmUpRecord(
                calls=round(statistics.median([part["warm_up"]["calls"] for part in parts])),
                ms=statistics.median([part["warm_up"]["ms"] for part in parts]),
                first_ms=statistics.median([part["warm_up"]["first_ms"] for part in parts]),
            ),
            ms=_times(times),
            per_second=rate,
            streams_at_30=int(rate / 30) if name in ("latency", "throughput") else None,
            ms_at_30hz=statistics.median(paced) if paced else None,
            stages={
                stage: statistics.median([part["stages_ms"][stage] for part in parts if stage in part["stages_ms"]])
                for stage in parts[0]["stages_ms"]
            },
            cpu_ms=statistics.median([1e3 * part["cpu_s"] / len(part["times_s"]) for part in parts]),
            peak_mib=statistics.median([answer["peak_mib"] for answer in one.answers]),
            energy_j=None if None in energies else sum(energies) / len(times),
            live=LiveCounts(**counts, goodput=counts["on_time"] / counts["due"]) if name == "live" else None,
            sweep=tuple(one.sweep) if many else (),
            outliers=stats.count_outliers(times),
            flags=tuple(flags),
            histogram=tuple(histogram.bins_ms()),
        )

    def video_row(self, one: Configuration) -> Row:
        usages = [usage for usage, _ in one.videos]
        records = [record for _, record in one.videos]
        frames = records[0]["frames"]
        runs = tuple(
            Run(
                value=frames / usage.wall,
                n=frames,
                cold_ms=1e3 * max(0.0, usage.wall - record["seconds"]),
                foreign=usage.foreign,
            )
            for usage, record in one.videos
        )
        rate = statistics.median([run.value for run in runs])
        return Row(
            **self.common(one, "video"),
            library=one.answers[0]["library"] if one.answers else "",
            device=records[0]["device"],
            frame=self.clip_size,
            batch=records[0]["batch"],
            n=frames * len(runs),
            runs=runs,
            interval=stats.bootstrap_interval([run.value for run in runs]),
            cold_ms=statistics.median([run.cold_ms for run in runs]),
            per_second=rate,
            streams_at_30=int(rate / 30),
            stages={
                name: statistics.median([record["stages"][name]["p50_ms"] for record in records])
                for name in records[0]["stages"]
            },
            cpu_ms=1e3 * statistics.median([usage.cpu for usage in usages]) / frames,
            peak_mib=statistics.median([usage.peak_mib for usage in usages]),
            bound_s=one.bound_s,
            wall_over_bound=statistics.median([usage.wall for usage in usages]) / one.bound_s if one.bound_s else None,
            flags=("noisy",) if is_noisy("video", [], runs) else (),
        )

    def common(self, one: Configuration, name: Scenario) -> dict[str, Any]:
        return {
            "model": one.model.name,
            "precision": one.model.precision,
            "backend": one.backend,
            "scenario": name,
            "size": one.size,
            "threads": self.threads,
            "quality": one.quality,
        }

    def settings(self) -> Settings:
        stacks = [np.load(path) for path in self.pictures.values()]
        clip = self.clip
        return Settings(
            seconds=self.plan.seconds,
            runs=self.plan.runs,
            fps=self.plan.fps,
            threads=self.threads,
            pictures=len(stacks[0]) if stacks else 0,
            pictures_sha256=pictures.digest(stacks),
            clip="" if clip is None else ("shipped" if self.plan.video is None else clip.name),
            clip_sha256="" if clip is None else pictures.file_digest(clip),
            clip_frames=None if clip is None else self.clip_frames,
        )


def is_noisy(scenario: str, times: Sequence[float], runs: Sequence[Run]) -> bool:
    """Whether the times spread too much, or others took too much of the machine, to be trusted."""
    values = times if scenario in ("latency", "live") else [run.value for run in runs]
    foreign = statistics.median([run.foreign for run in runs])
    return stats.relative_spread(values) > stats.NOISY or foreign > stats.NOISY


def _times(times: Sequence[float]) -> Times:
    found = {f"p{percent}": stats.percentile(times, percent) for percent in stats.PERCENTILES}
    values = {name: None if value is None else 1e3 * value for name, value in found.items()}
    return Times(**values, max=1e3 * max(times), mean=1e3 * statistics.fmean(times))


def _checked(plan: Plan) -> Plan:
    words: list[tuple[str, Sequence[str], Sequence[str]]] = [
        ("scenario", plan.scenarios, SCENARIOS),
        ("backend", plan.backends, [*BACKENDS, AUTO, "all"]),
        ("precision", plan.precisions, PRECISIONS),
    ]
    for what, given, known in words:
        for name in given:
            if name not in known:
                raise OptionError(f"No {what} is called {name!r}. {did_you_mean(name, known)}")
    for option, value, least in (
        ("--seconds", plan.seconds, 0.1),
        ("--runs", plan.runs, 1),
        ("--fps", plan.fps, 0.1),
        ("--threads", plan.threads or 1, 1),
        ("--batch", min(plan.batches), 1),
    ):
        if not value >= least:
            raise OptionError(f"{option}: got {value:g}, expected at least {least:g}.")
    return plan


def _check_size(model: ModelFile, size: Size) -> None:
    if not model.spec.size.accepts(size):
        raise OptionError(
            f"--size {format_size(size)}: {model.name} takes {model.spec.size}. "
            "Leave --size out, or measure the models apart."
        )


def _with_twins(models: Sequence[ModelFile]) -> list[ModelFile]:
    """Models of lower precision with the float32 file of the same weights, from the command line or beside them."""
    found = []
    for model in models:
        if model.reference is None and model.spec.weights_sha256:
            others = {other.path: other.spec for other in models if other.precision == "fp32"}
            beside = [path for path in sorted(model.path.parent.glob("*.onnx")) if path != model.path]
            for path in dict.fromkeys([*others, *beside]):
                try:
                    spec = others.get(path) or read_model_spec(path)
                except EngineError:
                    continue
                if spec.precision == "fp32" and spec.weights_sha256 == model.spec.weights_sha256:
                    model = replace(model, reference=path)
                    break
        found.append(model)
    return found


def _model_record(model: ModelFile) -> Model:
    return Model(
        name=model.name,
        file=model.path.name,
        sha256=model.opened.file.sha256,
        architecture=model.spec.architecture,
        precision=model.precision,
        opset=model.opened.file.opset,
        derived=model.derived,
    )


def _why(error: EngineError) -> str:
    return str(error).partition(" Install it with: ")[0].rstrip(".")


def _cure(error: EngineError) -> str:
    return str(error).partition(" Install it with: ")[2]


def _last_line(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else "it failed without a message"


# --- the process of a job ---------------------------------------------------------------------------------------------


def run_worker(job: Job, seconds: float, command: Sequence[str] = WORKER) -> dict[str, Any]:
    """Run a job in a separate process.

    Raises:
        BackendError: it crashed or timed out; the message has the end of its output.
    """
    limit = 3 * seconds + PATIENCE_S
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        spawned = replace(job, spawned=time.monotonic())
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log}
        with subprocess.Popen(command, text=True, encoding="utf-8", **pipes) as process:  # type: ignore[call-overload]
            try:
                out, _ = process.communicate(spawned.to_json(), timeout=limit)
            except subprocess.TimeoutExpired:
                raise BackendError(f"no answer after {limit:.0f} s; the process was ended") from None
            finally:
                process.kill()
        if process.returncode == 0:
            answer: dict[str, Any] = json.loads(out)
            return answer
        log.seek(0)
        words = _last_line(log.read())
    code = process.returncode
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        if name == "SIGINT":
            raise KeyboardInterrupt
        raise BackendError(f"its process ended with {name}: {words}")
    raise BackendError(f"its process ended with status {code}: {words}")
