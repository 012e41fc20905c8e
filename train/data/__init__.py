"""Files → batches: pictures, attribute tables, label groups, pairs and their teachers."""

from typing import Any


def __getattr__(name: str) -> Any:
    """``read_picture``, which was here before; imported on use, as it needs torch."""
    if name == "read_picture":
        from .pictures import read_picture

        return read_picture
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
