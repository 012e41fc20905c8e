"""Our CUDA kernels as machine code: from the wheel, or compiled on first use by NVRTC and kept; no nvcc, no toolkit."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from ..errors import BackendError, BackendUnavailable
from ..files import cache_folder, keep_code, read_code
from . import images
from .device import Device
from .graph import Module
from .nvrtc import Nvrtc, NvrtcError, NvrtcMissing


def load_kernels(device: Device) -> Module:
    """Our kernels on a device: the wheel's, or compiled for it if neither the wheel nor the cache folder has them.

    Raises:
        BackendUnavailable: they must be compiled, and NVRTC is not installed or has no such target.
        BackendError: the device refused the code, or a file of the installation is damaged.
    """
    image = shipped_image(device.arch)
    if image is None:
        image = cached_cubin(device.arch, newest=device.driver_version[0])
    return device.module(image)


def shipped_image(arch: int) -> bytes | None:
    """What was compiled with the wheel for compute capability ``arch``; None: nothing, or of other sources.

    Returns:
        A cubin, or for generations later than the wheel PTX, which the driver compiles.

    Raises:
        BackendError: the file is not the one that was installed.
    """
    record, folder = _shipped()
    if record is None or record["source"] != images.source_digest():  # None, or sources edited since the build
        return None
    target = images.best_target(arch, images.TARGETS)
    if target is None and arch < images.PTX_TARGET:
        return None
    path = folder / images.file_name(f"compute_{images.PTX_TARGET}" if target is None else f"sm_{target}")
    content = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(content).hexdigest() != record["sha256"].get(path.name):
        raise BackendError(
            f"{path} is damaged. Install ganlens again: pip install --force-reinstall --no-deps FOLDER_OR_WHEEL"
        )
    return content


def _shipped() -> tuple[dict[str, Any] | None, Path]:
    # An editable installation has Python files in one folder and what the build made in another.
    for entry in sys.modules[__package__].__path__:
        folder = Path(entry, images.FOLDER)
        with contextlib.suppress(OSError, ValueError):
            return json.loads((folder / images.RECORD).read_text(encoding="utf-8")), folder
    return None, Path()


def cached_cubin(arch: int, *, newest: int | None = None) -> bytes:
    """The kernels for compute capability ``arch`` (90 for 9.0) from the cache folder, compiled if need be.

    Args:
        newest: as for :func:`find_nvrtc`.
    """
    nvrtc = find_nvrtc(newest)
    key = hashlib.sha256(repr((images.source_digest(), nvrtc.version, arch)).encode()).hexdigest()
    path = cache_folder() / "kernels" / f"sm_{arch}-{key[:32]}.cubin"
    cubin = read_code(path)
    if not cubin:
        cubin = compile_cubin(arch, nvrtc)
        keep_code(path, cubin)
    return cubin


def find_nvrtc(newest: int | None = None) -> Nvrtc:
    """The run-time compiler.

    Args:
        newest: CUDA major version of the driver, which refuses code of a newer compiler; None: any.

    Raises:
        BackendUnavailable: none is installed that serves.
    """
    try:
        return Nvrtc(newest)
    except NvrtcMissing as error:
        package = "nvidia-cuda-nvrtc-cu12" if newest is not None and newest < 13 else "nvidia-cuda-nvrtc"
        limit = "" if newest is None else f" for CUDA {newest}, which the driver supports,"
        raise BackendUnavailable(
            "This installation of ganlens has no machine code for this GPU, and to compile it NVIDIA's run-time "
            f"compiler{limit} is missing. Install it: pip install {package}"
        ) from error


def compile_cubin(arch: int, nvrtc: Nvrtc) -> bytes:
    """Compile the kernels for compute capability ``arch``; needs no GPU.

    Raises:
        BackendUnavailable: this NVRTC has no such target.
        BackendError: the source does not compile, with the compiler's words.
    """
    target = images.best_target(arch, nvrtc.targets)
    if target is None:
        major, minor = nvrtc.version
        raise BackendUnavailable(
            f"NVRTC {major}.{minor} does not support compute capability {arch / 10:.1f}; it supports "
            f"{', '.join(f'{number / 10:.1f}' for number in nvrtc.targets)}. Install another version of it: "
            f"pip install 'nvidia-cuda-nvrtc{'-cu12' if major < 13 else ''}!={major}.{minor}.*'."
        )
    try:
        return images.compile_image(nvrtc, f"sm_{target}")
    except NvrtcError as error:
        raise BackendError(str(error)) from error
