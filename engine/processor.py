"""What the system says of the processor."""

from __future__ import annotations

import platform
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
BOARD = Path("/proc/device-tree/model")
"""Boards such as Jetson have their name here; their processor has none."""


def name() -> str:
    """The processor's name, family and model: virtual machines often hide the name's last part."""
    found = fields()
    if "model name" in found:
        return f"{found['model name']} (family {found.get('cpu family')}, model {found.get('model')})"
    board = _read(BOARD).rstrip("\0\n")
    return board or platform.processor() or platform.machine()


def flags() -> frozenset[str]:
    """Instruction sets as Linux names them; empty elsewhere."""
    found = fields()
    return frozenset((found.get("flags") or found.get("Features") or "").split())


def fields() -> dict[str, str]:
    """What /proc/cpuinfo says of the first processor; empty where there is none."""
    lines = (line.split(":", 1) for line in _read(CPUINFO).split("\n\n")[0].splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in lines}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
