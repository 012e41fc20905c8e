"""Which program the kernels are, for which GPUs it is compiled with the wheel, and what the compiled images are called.

Nothing but the standard library is imported: the build of the wheel runs this file too (see ``build_images.py``).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

SOURCES = (Path(__file__).parent / "kernels.cu", Path(__file__).parents[1] / "pixels" / "csrc" / "pixel_math.h")
"""The program, then the headers that it includes."""

OPTIONS = ("--std=c++17", "--fmad=false")
"""Without fused multiply-add the numbers are those of the C++ kernels; the kernels wait for memory anyway."""

TARGETS = (75, 80, 86, 87, 89, 90, 100, 101, 120)
"""Compute capabilities that the wheel has machine code for: Turing to Blackwell, Jetson Orin is 87."""
JETSON = (72, 87, 101)
"""Compute capabilities of Xavier, Orin and Thor; drivers for CUDA 13 call Thor 110, and its code is no longer apart."""
PTX_TARGET = 75
"""The driver compiles this one's PTX for all later GPUs."""

FOLDER = "machine_code"
RECORD = "images.json"


def file_name(image: str) -> str:
    """The file of an image "sm_90" or "compute_75"."""
    return f"{image}.{'cubin' if image.startswith('sm_') else 'ptx'}"


def source_digest() -> str:
    """SHA-256 of all that the images are made from."""
    text = [path.read_bytes() for path in SOURCES]
    return hashlib.sha256(repr((text, OPTIONS)).encode()).hexdigest()


def compile_image(compiler: Any, image: str) -> bytes:
    """Compile the kernels.

    Args:
        compiler: an :class:`~.nvrtc.Nvrtc`.
        image: "sm_90" for a cubin, "compute_75" for PTX.

    Raises:
        NvrtcError: the source does not compile.
    """
    program, *headers = SOURCES
    included = [(path.name, path.read_bytes()) for path in headers]
    content: bytes = compiler.compile(program.name, program.read_bytes(), included, OPTIONS, image)
    return content


def best_target(arch: int, targets: tuple[int, ...]) -> int | None:
    """The target whose code runs on compute capability ``arch``: of the same generation, and not newer.

    Code for Jetson's GPUs runs on no others, and the other way round.
    """
    if arch in JETSON:
        return arch if arch in targets else None
    suitable = (number for number in targets if number // 10 == arch // 10 and number <= arch and number not in JETSON)
    return max(suitable, default=None)
