"""NVRTC, NVIDIA's run-time compiler, over its C interface. Needs no GPU.

Nothing but the standard library is imported: the build of the wheel runs this file too (see ``build_images.py``).
Source: nvrtc.h of CUDA 12.9.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PACKAGES = {13: ("nvidia", "cu13", "lib"), 12: ("nvidia", "cuda_nvrtc", "lib")}
"""Where the Python packages ``nvidia-cuda-nvrtc`` (13) and ``nvidia-cuda-nvrtc-cu12`` (12) put it."""


class NvrtcMissing(Exception):
    """It is not installed."""


class NvrtcError(Exception):
    """It refused something; the message has its log."""


class Nvrtc:
    """One version of the compiler.

    Args:
        newest: major version that the driver knows; a newer compiler makes code that the driver refuses.

    Raises:
        NvrtcMissing: none is installed, or only newer ones.
    """

    def __init__(self, newest: int | None = None) -> None:
        self._library = _find(newest)
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._call("nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
        self.version = (major.value, minor.value)

    @property
    def targets(self) -> tuple[int, ...]:
        """Compute capabilities that it makes code for, as 90 for 9.0, in order."""
        count = ctypes.c_int()
        self._call("nvrtcGetNumSupportedArchs", ctypes.byref(count))
        found = (ctypes.c_int * count.value)()
        self._call("nvrtcGetSupportedArchs", found)
        return tuple(sorted(found))

    def compile(
        self, name: str, source: bytes, headers: Sequence[tuple[str, bytes]], options: Sequence[str], target: str
    ) -> bytes:
        """Compile a program.

        Args:
            headers: name, as the program includes it, and content.
            target: "sm_90" for a cubin, "compute_90" for PTX.

        Raises:
            NvrtcError: it does not compile; with the compiler's log.
        """
        program = ctypes.c_void_p()
        contents = (ctypes.c_char_p * len(headers))(*(content for _, content in headers))
        names = (ctypes.c_char_p * len(headers))(*(name.encode() for name, _ in headers))
        self._call("nvrtcCreateProgram", ctypes.byref(program), source, name.encode(), len(headers), contents, names)
        try:
            words = [option.encode() for option in (*options, f"--gpu-architecture={target}")]
            status = self._library.nvrtcCompileProgram(program, len(words), (ctypes.c_char_p * len(words))(*words))
            if status:
                log = self._read("nvrtcGetProgramLog", program).rstrip(b"\0").decode(errors="replace")
                raise NvrtcError(f"NVRTC cannot compile {name} for {target}: {log}")
            return self._read("nvrtcGetCUBIN" if target.startswith("sm_") else "nvrtcGetPTX", program)
        finally:
            self._library.nvrtcDestroyProgram(ctypes.byref(program))

    def _read(self, function: str, program: ctypes.c_void_p) -> bytes:
        size = ctypes.c_size_t()
        self._call(f"{function}Size", program, ctypes.byref(size))
        out = ctypes.create_string_buffer(size.value)
        self._call(function, program, out)
        return out.raw

    def _call(self, function: str, *arguments: Any) -> None:
        status = getattr(self._library, function)(*arguments)
        if status:
            self._library.nvrtcGetErrorString.restype = ctypes.c_char_p
            raise NvrtcError(f"{function} failed: {self._library.nvrtcGetErrorString(status).decode()}.")


def _find(newest: int | None) -> ctypes.CDLL:
    for major in sorted(PACKAGES, reverse=True):
        if newest is not None and major > newest:
            continue
        name = f"libnvrtc.so.{major}"
        for folder in (Path(entry, *PACKAGES[major]) for entry in sys.path):
            if (folder / name).exists():
                for builtins in folder.glob("libnvrtc-builtins.so.*"):  # it looks for this by name only
                    ctypes.CDLL(str(builtins))
                return ctypes.CDLL(str(folder / name))
        try:
            return ctypes.CDLL(name)  # of the toolkit
        except OSError:
            continue
    raise NvrtcMissing
