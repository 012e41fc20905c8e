"""CUDA without torch and without nvcc: the driver's C interface, our kernels, captured graphs.

Imports nothing of ganlens but its errors and files.
"""

from .device import Device, list_devices
from .device_protocol import DeviceBackend, DeviceBinding
from .graph import Event, Graph, Kernel, Module, Stream
from .memory import DeviceArray

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
