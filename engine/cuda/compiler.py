"""Our CUDA kernels, compiled on first use by NVRTC and kept on disk: no nvcc, no toolkit."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Any

from ..errors import BackendError, BackendUnavailable, MissingExtra
from ..files import cache_folder, make_private_folder, read_private, replace_file
from .device import Device, Module

SOURCES = (Path(__file__).parent / "kernels.cu", Path(__file__).parents[1] / "pixels" / "csrc" / "pixel_math.h")
"""The program, then the headers that it includes."""

OPTIONS = ("--std=c++17", "--fmad=false")
"""Without fused multiply-add the numbers are those of the C++ kernels; the kernels wait for memory anyway."""


def load_kernels(device: Device) -> Module:
    """Our kernels on a device, compiled for it if they are not in the cache folder.

    Raises:
        MissingExtra: cuda-bindings or NVRTC is not installed.
        BackendUnavailable: NVRTC knows no GPU like this one, or the driver is older than NVRTC.
        BackendError: the device refused the code.
    """
    version = nvrtc_version()
    if version[0] > device.driver_version[0]:
        raise BackendUnavailable(
            f"The NVIDIA driver knows CUDA {device.driver_version[0]}; NVRTC here makes code for CUDA {version[0]}. "
            f"Install a newer driver, or an nvidia-cuda-nvrtc of version {device.driver_version[0]}."
        )
    return device.module(cached_cubin(device.arch))


def cached_cubin(arch: int) -> bytes:
    """The kernels for compute capability ``arch`` (90 for 9.0) from the cache folder, compiled if need be."""
    text = [path.read_bytes() for path in SOURCES]
    key = hashlib.sha256(repr((text, OPTIONS, nvrtc_version(), arch)).encode()).hexdigest()
    path = cache_folder() / "kernels" / f"sm_{arch}-{key[:32]}.cubin"
    # A cubin is code: one that is cut off, changed, or written by somebody else is compiled again.
    with contextlib.suppress(OSError):
        digest, _, cubin = read_private(path).partition(b"\n")
        if digest == hashlib.sha256(cubin).hexdigest().encode():
            return cubin
    cubin = compile_cubin(arch)
    # A folder that cannot be written costs the next start two seconds, no error.
    with contextlib.suppress(OSError):
        make_private_folder(path.parent)
        replace_file(path, hashlib.sha256(cubin).hexdigest().encode() + b"\n" + cubin, mode=0o600)
    return cubin


def nvrtc_version() -> tuple[int, int]:
    """Version of NVRTC.

    Raises:
        MissingExtra: it is not installed.
    """
    nvrtc = _load_nvrtc()
    try:
        major, minor = _call(nvrtc, "nvrtcVersion")
    except RuntimeError as error:  # cuda-bindings finds no library
        raise MissingExtra("CUDA", "nvidia-cuda-nvrtc", "cuda") from error
    return int(major), int(minor)


def compile_cubin(arch: int) -> bytes:
    """Compile the kernels for compute capability ``arch``; needs no GPU.

    Raises:
        BackendUnavailable: this NVRTC has no such target.
        BackendError: the source does not compile, with the compiler's words.
    """
    nvrtc = _load_nvrtc()
    version = nvrtc_version()
    known = sorted(int(number) for number in _call(nvrtc, "nvrtcGetSupportedArchs")[0])
    # Code runs on later GPUs of the same generation.
    target = max((number for number in known if number // 10 == arch // 10 and number <= arch), default=None)
    if target is None:
        raise BackendUnavailable(
            f"NVRTC {version[0]}.{version[1]} makes no code for compute capability {arch / 10:.1f}; it knows "
            f"{', '.join(f'{number / 10:.1f}' for number in known)}. Install another version of nvidia-cuda-nvrtc."
        )
    program, *headers = SOURCES
    (handle,) = _call(
        nvrtc,
        "nvrtcCreateProgram",
        program.read_bytes(),
        program.name.encode(),
        len(headers),
        [path.read_bytes() for path in headers],
        [path.name.encode() for path in headers],
    )
    options = [option.encode() for option in (*OPTIONS, f"--gpu-architecture=sm_{target}")]
    (status,) = nvrtc.nvrtcCompileProgram(handle, len(options), options)
    if int(status):
        (size,) = _call(nvrtc, "nvrtcGetProgramLogSize", handle)
        log = bytes(int(size))
        _call(nvrtc, "nvrtcGetProgramLog", handle, log)
        raise BackendError(f"NVRTC cannot compile {program.name} for sm_{target}: {log.decode().rstrip(chr(0))}")
    (size,) = _call(nvrtc, "nvrtcGetCUBINSize", handle)
    cubin = bytes(int(size))  # filled in place
    _call(nvrtc, "nvrtcGetCUBIN", handle, cubin)
    nvrtc.nvrtcDestroyProgram(handle)
    return cubin


def _load_nvrtc() -> Any:
    try:
        from cuda.bindings import nvrtc
    except ImportError as error:
        raise MissingExtra("CUDA", "cuda-bindings", "cuda") from error
    return nvrtc


def _call(nvrtc: Any, function: str, *arguments: Any) -> list[Any]:
    status, *values = getattr(nvrtc, function)(*arguments)
    if int(status):
        raise BackendError(f"{function} failed: {nvrtc.nvrtcGetErrorString(status)[1].decode()}.")
    return list(values)
