"""What a measurement was taken on: without it the numbers say nothing."""

from __future__ import annotations

import datetime
import platform
import subprocess
from importlib import metadata
from pathlib import Path

from .measure import cores

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
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_tile", "amx_int8", "asimd", "sve")
"""Instruction sets that decide which code runs."""


def describe() -> dict[str, object]:
    """Processor, memory, system, versions, git commit and date, as values that JSON can hold."""
    return {
        "cpu": cpu_name(),
        "cores": cores(),
        "flags": [flag for flag in FLAGS if flag in cpu_flags()],
        "memory_gib": memory_gib(),
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := installed(name))},
        "commit": commit(),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }


def one_line(machine: dict[str, object]) -> str:
    """The description as the sentence under a table."""
    packages = machine["packages"]
    flags = machine["flags"]
    assert isinstance(packages, dict) and isinstance(flags, list)
    versions = ", ".join(f"{name} {version}" for name, version in packages.items())
    return (
        f"{machine['cpu']}, {machine['cores']} cores ({', '.join(flags)}), {machine['memory_gib']} GiB, "
        f"{machine['system']}, Python {machine['python']}; {versions}; commit {machine['commit']}, {machine['date']}."
    )


def cpu_name() -> str:
    """The processor's name, family and model: virtual machines often hide the name's last part."""
    fields = cpu_fields()
    if "model name" in fields:
        return f"{fields['model name']} (family {fields.get('cpu family')}, model {fields.get('model')})"
    return platform.processor() or platform.machine()


def cpu_flags() -> set[str]:
    """Instruction sets as Linux names them; empty elsewhere."""
    fields = cpu_fields()
    return set((fields.get("flags") or fields.get("Features") or "").split())


def cpu_fields() -> dict[str, str]:
    """The fields of the first processor in /proc/cpuinfo."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return {}
    lines = (line.split(":", 1) for line in text.split("\n\n")[0].splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, value in lines}


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


def commit() -> str:
    """The short commit of this checkout, with "+" when files differ from it; "unknown" outside a checkout."""
    root = Path(__file__).parents[1]
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
