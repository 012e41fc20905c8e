"""CUDA without torch and without nvcc: the driver's C interface, our kernels compiled at run time, captured graphs."""

from .binding import DeviceBinding
from .device import Device, DeviceArray, Event, Graph, Kernel, Module, Stream
from .pipeline import FramePipeline

__all__ = ["Device", "DeviceArray", "DeviceBinding", "Event", "FramePipeline", "Graph", "Kernel", "Module", "Stream"]
