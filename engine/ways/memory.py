"""Whether the memory suffices for frames in one piece or in tiles, asked before anything is allocated."""

from __future__ import annotations

import contextlib
from pathlib import Path

from ..errors import OptionError
from ..pixels.framing import Layout

_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def available_memory() -> int | None:
    """Bytes that can be allocated without swapping, within the limit of a container; None if unknown."""
    found = []
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        found.append(1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]))
    for limit, used in _CGROUPS:
        with contextlib.suppress(OSError, ValueError):  # "max": no limit
            found.append(max(0, int(Path(limit).read_text()) - int(Path(used).read_text())))
    return min(found, default=None)


def least_memory(layout: Layout, batch: int, in_flight: int, channels: int) -> int:
    """Bytes of the arrays that a layout needs at the least, without those inside the network.

    Args:
        batch: pictures of a run.
        in_flight: runs at a time.
        channels: of the answer: 3, and 1 for a mask.
    """
    pixels = layout.size[0] * layout.size[1]
    if layout.tile_size is None:
        return 4 * (3 + channels) * pixels * batch * in_flight
    tile = layout.tile_size[0] * layout.tile_size[1]
    return 4 * ((3 + channels) * (pixels + batch * tile) * in_flight + len(layout.tiles) * tile)


def check_memory(mode: str, layout: Layout, batch: int, in_flight: int, channels: int) -> None:
    """Refuse what cannot fit into the memory.

    Raises:
        OptionError: with the cure.
    """
    needed, there = least_memory(layout, batch, in_flight, channels), available_memory()
    if there is None or needed <= there:
        return
    height, width = layout.size
    cure = "Use --framing fit, or --in-flight 1" if mode == "tile" else "Use --framing tile or fit, or --in-flight 1"
    raise OptionError(
        f"Framing '{mode}' at {width}x{height} needs at least {needed / 2**30:.1f} GiB beside the network; "
        f"{there / 2**30:.1f} GiB are free. {cure}."
    )
