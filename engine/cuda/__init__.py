"""CUDA without torch and without nvcc: the driver's C interface, our kernels, captured graphs.

Imports nothing of ganlens but its errors and files.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .device import Device, list_devices
    from .device_protocol import DeviceBackend, DeviceBinding
    from .graph import Event, Graph, Kernel, Module, Stream
    from .memory import DeviceArray

_HOME = {
    "Device": "device",
    "DeviceArray": "memory",
    "DeviceBackend": "device_protocol",
    "DeviceBinding": "device_protocol",
    "Event": "graph",
    "Graph": "graph",
    "Kernel": "graph",
    "Module": "graph",
    "Stream": "graph",
    "list_devices": "device",
}
"""Imported on first use: a CPU backend asks for the driver's version only."""

__all__ = [
    "Device",
    "DeviceArray",
    "DeviceBackend",
    "DeviceBinding",
    "Event",
    "Graph",
    "Kernel",
    "Module",
    "Stream",
    "list_devices",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
