"""What a measurement was taken on: without it the numbers say nothing."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from .. import processor
from .processes import cores
from .result import Gpu, Machine

PACKAGES = (
    "ganlens",
    "numpy",
    "av",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "tensorrt",
    "tensorrt-rtx",
    "nvidia-cuda-nvrtc",
    "opencv-python-headless",
    "torch",
)
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "amx_int8", "asimd", "sve")
"""Instruction sets that decide which code runs."""
SYS = Path("/sys")
POWER_CAPS = "class/powercap"
CPUS = "devices/system/cpu"


class State(NamedTuple):
    """What changes while a benchmark runs."""

    load: float
    frequency_mhz: float | None
    temperature_c: float | None
    throttle_count: int
    """Events that the CPU counted since it started."""
    gpus: tuple[GpuState, ...]


class GpuState(NamedTuple):
    """What changes of one GPU."""

    name: str
    driver: str
    memory_mib: float
    clock_mhz: int
    power_w: float
    throttled: tuple[str, ...]


def state(sys: Path = SYS) -> State:
    """Load, clocks, temperature and throttling now."""
    return State(
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0,
        frequency_mhz=_frequency_mhz(sys),
        temperature_c=_temperature_c(sys),
        throttle_count=_throttle_count(sys),
        gpus=tuple(_gpus()),
    )


def throttled(before: State, after: State) -> bool:
    """Whether a clock was lowered by heat or power between two states."""
    return after.throttle_count > before.throttle_count or any(gpu.throttled for gpu in after.gpus)


def describe(before: State, after: State, sys: Path = SYS) -> Machine:
    """The machine, with its states before and after the runs."""
    frequency = temperature = None
    if before.frequency_mhz is not None and after.frequency_mhz is not None:
        frequency = (before.frequency_mhz, after.frequency_mhz)
    if before.temperature_c is not None and after.temperature_c is not None:
        temperature = (before.temperature_c, after.temperature_c)
    return Machine(
        cpu=processor.name(),
        cores=cores(),
        flags=tuple(flag for flag in FLAGS if flag in processor.flags()),
        memory_gib=memory_gib(),
        system=f"{platform.system()} {platform.release()}",
        architecture=platform.machine(),
        governor=_text(sys / CPUS / "cpu0/cpufreq/scaling_governor"),
        frequency_mhz=frequency,
        temperature_c=temperature,
        load=(round(before.load, 2), round(after.load, 2)),
        energy=EnergyMeter(sys).source,
        gpus=tuple(
            Gpu(
                name=last.name,
                driver=last.driver,
                memory_mib=last.memory_mib,
                clock_mhz=(first.clock_mhz, last.clock_mhz),
                power_w=(first.power_w, last.power_w),
                throttled=tuple(sorted({*first.throttled, *last.throttled})),
            )
            for first, last in zip(before.gpus, after.gpus, strict=True)
        ),
    )


def software() -> dict[str, str]:
    """Versions of Python and of the packages that matter, and the commit of a checkout."""
    found = {"python": platform.python_version()}
    found |= {name: version for name in PACKAGES if (version := installed(name))}
    revision = commit()
    return found if revision == "unknown" else {**found, "commit": revision}


def memory_gib() -> float:
    """Memory in GiB; 0 where the system does not say."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    kibibytes = next(int(line.split()[1]) for line in text.splitlines() if line.startswith("MemTotal"))
    return round(kibibytes / 2**20, 1)


def installed(package: str) -> str | None:
    """The version of an installed package."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def commit(root: Path = Path(__file__).parents[2]) -> str:
    """The short commit of a checkout, with "+" when files differ from it; "unknown" for an installed package."""
    if not (root / ".git").exists():
        return "unknown"
    try:
        answer = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty=+", "--exclude=*"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return answer.stdout.strip()


class EnergyMeter:
    """Joules of the whole machine since it was made, where the machine counts them.

    RAPL's package counters of the CPU (root only on most systems), and the NVIDIA driver's counter of each GPU.
    """

    def __init__(self, sys: Path = SYS) -> None:
        self._rapl = [path for path in sorted((sys / POWER_CAPS).glob("intel-rapl:*")) if path.name.count(":") == 1]
        self._before = {path: value for path in self._rapl if (value := _number(path / "energy_uj")) is not None}
        self._gpus = _gpu_millijoules()

    @property
    def source(self) -> str | None:
        """Which counters there are."""
        return " + ".join([*["RAPL"][: len(self._before)], *["NVML"][: len(self._gpus)]]) or None

    def joules(self) -> float | None:
        """Used so far; None where nothing counts."""
        if self.source is None:
            return None
        used = 0.0
        for path, before in self._before.items():
            change = (_number(path / "energy_uj") or 0.0) - before
            if change < 0:  # the counter began anew
                change += _number(path / "max_energy_range_uj") or 0.0
            used += change / 1e6
        used += sum(after - before for after, before in zip(_gpu_millijoules(), self._gpus, strict=True)) / 1e3
        return used


def _frequency_mhz(sys: Path) -> float | None:
    values = [_number(path) for path in (sys / CPUS).glob("cpu[0-9]*/cpufreq/scaling_cur_freq")]
    found = [value for value in values if value is not None]
    return round(sum(found) / len(found) / 1e3, 1) if found else None


def _temperature_c(sys: Path) -> float | None:
    values = [_number(path) for path in (sys / "class/thermal").glob("thermal_zone*/temp")]
    found = [value / 1e3 for value in values if value is not None]
    return max(found) if found else None


def _throttle_count(sys: Path) -> int:
    counters = (sys / CPUS).glob("cpu[0-9]*/thermal_throttle/*_throttle_count")
    return int(sum(_number(path) or 0 for path in counters))


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def _number(path: Path) -> float | None:
    text = _text(path)
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


# --- NVIDIA GPUs ------------------------------------------------------------------------------------------------------

THROTTLING = {
    "SwPowerCap": "power cap",
    "HwSlowdown": "hardware slowdown",
    "SwThermalSlowdown": "heat",
    "HwThermalSlowdown": "heat",
    "HwPowerBrakeSlowdown": "power brake",
}
"""NVML's throttle reasons other than user settings → description."""


@contextlib.contextmanager
def _nvml() -> Iterator[tuple[Any, list[Any]]]:
    """The library and a handle of each GPU; none without the package nvidia-ml-py or a driver."""
    if not Path("/dev/nvidiactl").exists() and platform.system() == "Linux":  # saves the import
        yield None, []
        return
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # ImportError, or one of the library's own: no driver
        yield None, []
        return
    try:
        yield pynvml, [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
    finally:
        pynvml.nvmlShutdown()


def _gpus() -> list[GpuState]:
    with _nvml() as (nvml, handles):
        found = []
        for handle in handles:
            reasons = _ask(nvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle) or 0
            # A GPU that shares the host's memory, as Jetson's, has none to tell of.
            memory = _ask(nvml.nvmlDeviceGetMemoryInfo, handle)
            found.append(
                GpuState(
                    name=_as_text(nvml.nvmlDeviceGetName(handle)),
                    driver=_as_text(nvml.nvmlSystemGetDriverVersion()),
                    memory_mib=round(memory_gib() * 2**10 if memory is None else memory.total / 2**20),
                    clock_mhz=_ask(nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_GRAPHICS) or 0,
                    power_w=round((_ask(nvml.nvmlDeviceGetPowerUsage, handle) or 0) / 1e3, 1),
                    throttled=tuple(
                        sorted(
                            {
                                words
                                for name, words in THROTTLING.items()
                                if reasons & getattr(nvml, f"nvmlClocksThrottleReason{name}", 0)
                            }
                        )
                    ),
                )
            )
        return found


def _gpu_millijoules() -> list[float]:
    with _nvml() as (nvml, handles):
        values = [_ask(nvml.nvmlDeviceGetTotalEnergyConsumption, handle) for handle in handles]
        return [] if None in values else [float(value) for value in values if value is not None]


def _ask(question: Any, *arguments: Any) -> Any:
    """The result; None if this GPU or driver does not support the query."""
    try:
        return question(*arguments)
    except Exception:  # the library's own class, which exists only where it is installed
        return None


def _as_text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
