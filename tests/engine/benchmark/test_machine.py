"""What the machine says of itself, read from an artificial /sys."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from ganlens.engine import processor
from ganlens.engine.benchmark import machine


def write(root: Path, name: str, value: object) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{value}\n")


@pytest.fixture
def sys(tmp_path: Path) -> Path:
    for core, khz in ((0, 3_000_000), (1, 2_000_000)):
        write(tmp_path, f"devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq", khz)
        write(tmp_path, f"devices/system/cpu/cpu{core}/thermal_throttle/core_throttle_count", core)
    write(tmp_path, "devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave")
    write(tmp_path, "class/thermal/thermal_zone0/temp", 54_000)
    write(tmp_path, "class/thermal/thermal_zone1/temp", 61_500)
    write(tmp_path, "class/powercap/intel-rapl:0/energy_uj", 900_000_000)
    write(tmp_path, "class/powercap/intel-rapl:0/max_energy_range_uj", 1_000_000_000)
    write(tmp_path, "class/powercap/intel-rapl:0:0/energy_uj", 500_000_000)  # part of the package
    return tmp_path


def test_clocks_heat_and_throttling_before_and_after(sys: Path) -> None:
    before = machine.state(sys)
    write(sys, "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", 1_000_000)
    write(sys, "devices/system/cpu/cpu1/thermal_throttle/core_throttle_count", 4)
    after = machine.state(sys)
    found = machine.describe(before, after, sys)
    assert found.frequency_mhz == (2500.0, 1500.0)
    assert found.temperature_c == (61.5, 61.5)
    assert found.governor == "powersave"
    assert machine.throttled(before, after) and not machine.throttled(after, after)


def test_energy_is_the_packages_also_when_the_counter_begins_anew(sys: Path) -> None:
    meter = machine.EnergyMeter(sys)
    assert meter.source == "RAPL"
    write(sys, "class/powercap/intel-rapl:0/energy_uj", 950_000_000)
    assert meter.joules() == pytest.approx(50.0)
    write(sys, "class/powercap/intel-rapl:0/energy_uj", 20_000_000)
    assert meter.joules() == pytest.approx(120.0)


def test_a_board_has_the_name_of_its_device_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "model", "NVIDIA Jetson AGX Orin Developer Kit\0")
    write(tmp_path, "cpuinfo", "processor : 0\nBogoMIPS : 62.50\nFeatures : fp asimd\n")
    monkeypatch.setattr(processor, "BOARD", tmp_path / "model")
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    assert processor.flags() == {"fp", "asimd"}
    assert processor.name() == "NVIDIA Jetson AGX Orin Developer Kit"


class SharedMemoryNvml:
    """NVML of a GPU that shares the host's memory: what it has no answer to raises an error."""

    NVML_CLOCK_GRAPHICS = 0

    def nvmlDeviceGetName(self, handle: object) -> str:
        return "Orin (nvgpu)"

    def nvmlSystemGetDriverVersion(self) -> str:
        return "540.4.0"

    def __getattr__(self, name: str) -> object:
        if not name.startswith("nvmlDevice"):
            raise AttributeError(name)

        def refuse(*_: object) -> None:
            raise RuntimeError("Not Supported")

        return refuse


def test_a_gpu_that_shares_the_hosts_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_nvml", lambda: contextlib.nullcontext((SharedMemoryNvml(), [1])))
    (gpu,) = machine.state(tmp_path).gpus
    assert (gpu.name, gpu.memory_mib) == ("Orin (nvgpu)", round(machine.memory_gib() * 1024))
    assert machine.EnergyMeter(tmp_path).joules() is None


def test_a_machine_that_says_nothing(tmp_path: Path) -> None:
    state = machine.state(tmp_path)
    found = machine.describe(state, state, tmp_path)
    assert (found.frequency_mhz, found.temperature_c, found.governor, found.energy) == (None, None, None, None)
    assert machine.EnergyMeter(tmp_path).joules() is None
    assert found.cores >= 1 and found.cpu


def test_software_names_what_decides_the_speed() -> None:
    assert {"python", "ganlens", "numpy"} <= set(machine.software())
