"""ganlens.export: turns checkpoints into checked ONNX files.

The public names are imported on first use, so that ``engine export --help`` does not load PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .to_onnx import ExportOptions, ExportReport, export_onnx

__all__ = ["ExportOptions", "ExportReport", "export_onnx"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(".to_onnx", __name__), name)
