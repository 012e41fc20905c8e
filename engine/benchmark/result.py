"""The result of a benchmark: one JSON file, described by ``schema.json`` beside this module.

The schema is made from the classes here: ``python -m ganlens.engine.benchmark.result > engine/benchmark/schema.json``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import MediaError, OptionError, reason, refusal
from ..files import read_json
from ..timing import Histogram

SCHEMA = "ganlens-benchmark/1"
Scenario = Literal["latency", "throughput", "video", "live"]
Size = tuple[int, int]
"""(height, width)."""
Interval = tuple[float, float]
"""95 % bootstrap interval of the median of the runs: (lower, upper)."""
Positive = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]


class Part(BaseModel):
    """Base of the parts: immutable; unknown fields are an error."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True)


class Gpu(Part):
    """One NVIDIA GPU."""

    name: str
    driver: str
    memory_mib: Positive
    clock_mhz: tuple[int, int]
    """Graphics clock before and after."""
    power_w: tuple[float, float]
    throttled: tuple[str, ...] = ()
    """Reasons for a lower clock that were active before, between or after the runs."""


class Machine(Part):
    """What was measured on."""

    cpu: str
    cores: int
    """Logical CPUs that the process may use."""
    flags: tuple[str, ...] = ()
    """Instruction sets that decide which code runs."""
    memory_gib: float
    system: str
    architecture: str
    governor: str | None = None
    """CPU frequency governor; None where the system does not say, such as in most virtual machines."""
    frequency_mhz: tuple[float, float] | None = None
    """Mean over the cores before and after."""
    temperature_c: tuple[float, float] | None = None
    """Warmest sensor before and after."""
    load: tuple[float, float]
    """Load average of one minute before and after."""
    energy: str | None = None
    """The counter that energy was read from: "RAPL", "NVML" or "RAPL + NVML"."""
    gpus: tuple[Gpu, ...] = ()


class Settings(Part):
    """All that was chosen."""

    seconds: float
    """Measuring time of each row, all runs together."""
    runs: int
    fps: float
    """Rate of the live scenario."""
    threads: int
    """Threads of the network."""
    pictures: int
    """Pictures that quality was judged on."""
    pictures_sha256: str
    clip: str
    """Name of the clip of the video scenario."""
    clip_sha256: str
    clip_frames: int | None = None


class Model(Part):
    """One model that was measured."""

    name: str
    file: str
    """Its name without the folder."""
    sha256: str
    architecture: str
    precision: str
    opset: int
    derived: bool = False
    """Whether it was made for this benchmark from the float32 file."""


class Run(Part):
    """One process of a row."""

    value: float
    """Median milliseconds of a frame; in ``throughput`` and ``video`` frames per second."""
    n: Count
    cold_ms: Positive
    """From the start of the process to the first translated picture in host memory."""
    foreign: Positive
    """Share of the cores that other processes used meanwhile."""
    bare_ms: Positive | None = None
    """Median milliseconds of the bare network, which took turns with the frames; null where none did."""
    relative: Positive | None = None
    """Time of a frame over that of the bare network: median of the turns."""


class WarmUpRecord(Part):
    """What happened before the measured times; medians of the runs."""

    calls: Count
    ms: Positive
    first_ms: Positive


class Times(Part):
    """Milliseconds of a frame over all runs. A percentile is null where n is too small for it."""

    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None
    max: float
    mean: float


class Quality(Part):
    """How far the pictures are from those of the float32 reference, on the ``settings.pictures``."""

    reference: str
    psnr_db: tuple[float, float]
    """(worst, median) over the pictures; 200 stands for identical."""
    max_abs: float
    """Worst; the output spans -1 to 1."""
    cosine: float
    """Worst."""
    computes: str
    """Precision of the backend's arithmetic: the file's, or lower where the library lowers it ("bf16")."""
    gate: str
    """What the export demands of that precision."""
    ok: bool


class Sweep(Part):
    """One way to run ``throughput`` that was tried."""

    in_flight: int
    batch: int
    per_second: float | None
    """None: it failed."""
    why: str = ""


class LiveCounts(Part):
    """Frames of the paced source, all runs together."""

    due: Count
    on_time: Count
    """Out within one period of the scheduled time."""
    late: Count
    dropped: Count
    """Never translated: a newer one was there already."""
    goodput: Annotated[float, Field(ge=0, le=1)]
    """on_time / due."""


class Row(Part):
    """One scenario of one model on one backend."""

    model: str
    precision: str
    backend: str
    library: str
    device: str
    scenario: Scenario
    size: Size
    """(height, width) of the network's image."""
    frame: Size
    """(height, width) of the input and output frame."""
    batch: int = 1
    in_flight: int = 1
    threads: int
    n: Count
    """Frames that were timed."""
    runs: tuple[Run, ...]
    interval: Interval
    """Confidence interval of the median of ``runs[].value``."""
    cold_ms: Positive
    """Median of the runs."""
    warm_up: WarmUpRecord | None = None
    ms: Times | None = None
    """In ``live``: age of the picture when it is out, from the scheduled time of its capture."""
    per_second: float
    """Frames per second; in ``latency`` 1000 / p50."""
    streams_at_30: int | None = None
    """Streams of 30 frames per second that this throughput serves."""
    ms_at_30hz: float | None = None
    """Median latency of a frame when one comes 30 times a second, in place of one after the other."""
    stages: dict[str, float] = {}
    """Median milliseconds of a frame in each stage."""
    cpu_ms: float
    """Processor milliseconds of a frame, all threads."""
    peak_mib: float
    """Largest resident memory of the process."""
    energy_j: float | None = None
    """Joules of a frame, of the whole machine."""
    bound_s: float | None = None
    """``video``: seconds that no pipeline of the same stages can beat."""
    wall_over_bound: float | None = None
    live: LiveCounts | None = None
    sweep: tuple[Sweep, ...] = ()
    quality: Quality | None = None
    outliers: Count = 0
    """Times above median + 5 MAD; none was dropped."""
    flags: tuple[str, ...] = ()
    """"noisy", "throttled", "interrupted"."""
    histogram: tuple[tuple[float, int], ...] = ()
    """(lower edge in ms, count) of bins half a percent wide; see :class:`~ganlens.engine.timing.Histogram`."""

    def key(self) -> tuple[object, ...]:
        """What two rows must have in common to be compared."""
        return (self.model, self.precision, self.backend, self.scenario, self.size, self.frame)

    @property
    def unit(self) -> str:
        """Median of ``runs[].value``."""
        return "fps" if self.scenario in ("throughput", "video") else "ms"

    @property
    def value(self) -> float:
        """Median of the runs."""
        values = sorted(run.value for run in self.runs)
        middle = len(values) // 2
        return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2

    def histogram_of_times(self) -> Histogram:
        """The times, to be merged with those of another row or drawn."""
        return Histogram.from_bins_ms(self.histogram)


class Failure(Part):
    """A row that is missing, and why."""

    model: str = ""
    precision: str = ""
    backend: str
    scenario: str = ""
    """Empty: all of them."""
    size: Size | None = None
    why: str
    cure: str = ""


class Result(Part):
    """A whole benchmark."""

    schema_: Literal["ganlens-benchmark/1"] = Field("ganlens-benchmark/1", alias="schema")
    when: str
    """ISO 8601, UTC."""
    command: str
    interrupted: bool = False
    machine: Machine
    software: dict[str, str]
    settings: Settings
    models: tuple[Model, ...]
    results: tuple[Row, ...]
    failures: tuple[Failure, ...] = ()

    def to_json(self) -> str:
        """As JSON text, histograms on one line."""
        values = self.model_dump(mode="json", by_alias=True)
        marks: dict[str, str] = {}
        for number, row in enumerate(values["results"]):
            mark = f"histogram {number}"
            marks[json.dumps(mark)] = json.dumps(row["histogram"], separators=(",", ":"))
            row["histogram"] = mark
        text = json.dumps(values, indent=1)
        for mark, histogram in marks.items():
            text = text.replace(mark, histogram, 1)
        return text + "\n"


def read_result(path: Path) -> Result:
    """Read a result file.

    Raises:
        MediaError: the file cannot be read.
        OptionError: it is not a result of this schema.
    """
    try:
        values = read_json(path)
    except OSError as error:
        raise MediaError(f"{path} cannot be read: {reason(error)}.") from error
    except ValueError as error:
        raise OptionError(f"{path} is not JSON: {error}. Expected a file that engine benchmark -o wrote.") from error
    found = values.get("schema") if isinstance(values, dict) else None
    if found != SCHEMA:
        raise OptionError(
            f"{path}: schema {found!r}, expected {SCHEMA!r}. Give a file that this version's engine benchmark wrote."
        )
    try:
        return Result.model_validate(values)
    except ValidationError as error:
        where, why = refusal(error)
        raise OptionError(f"{path} is not a valid {SCHEMA} file: {where}: {why}.") from error


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a result."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA,
        **Result.model_json_schema(by_alias=True, mode="validation"),
    }


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=1))  # noqa: T201
