"""CUDA without torch and without nvcc: the driver's C interface, our kernels compiled at run time, captured graphs."""

from .device import Device, DeviceArray, Event, Graph, Kernel, Module, Stream
from .device_protocol import DeviceBinding

__all__ = ["Device", "DeviceArray", "DeviceBinding", "Event", "Graph", "Kernel", "Module", "Stream"]
