"""The noise that a generator makes pictures from: drawn from a seed, read from a file, walked through."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from tokenize import TokenError
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError, OptionError, ShapeError, reason
from ..files import read_file
from ..spec import LatentInput

Array = NDArray[np.float32]

LARGEST_FILE = 2**30
"""Bytes of a file of latents."""
LARGEST_SEED = 2**32 - 1


def seeded(seed: int) -> np.random.Generator:
    """The random numbers of one picture: its latent, then its labels, come from here.

    PCG64 is named, where ``default_rng`` may change: a seed is to mean the same picture in years.
    """
    return np.random.Generator(np.random.PCG64(seed))


def seeds_from(seed: int, count: int) -> list[int]:
    """The seeds of ``count`` pictures: ``seed`` and those after it.

    Raises:
        OptionError: ``count`` is below 1, or a seed is outside 0..:data:`LARGEST_SEED`.
    """
    if count < 1:
        raise OptionError(f"n: got {count}, expected at least 1 picture.")
    if not 0 <= seed <= LARGEST_SEED - count + 1:
        raise OptionError(f"seed: got {seed} for {count} pictures, expected 0 to {LARGEST_SEED - count + 1}.")
    return list(range(seed, seed + count))


def draw(port: LatentInput, random: np.random.Generator) -> Array:
    """One latent, (dim,) float32, of the distribution that the generator was trained on."""
    if port.distribution == "uniform":
        return random.uniform(-1, 1, port.dim).astype(np.float32)
    return random.standard_normal(port.dim).astype(np.float32)


def check_latents(port: LatentInput, latents: NDArray[np.floating] | Sequence[Sequence[float]], what: str) -> Array:
    """Latents that a user gives, as (N, dim) float32; a single one may come without the first axis.

    Raises:
        ShapeError: they have another length, or are not finite numbers.
    """
    array = np.asarray(latents)
    rows = array[None] if array.ndim == 1 else array
    if rows.ndim != 2 or rows.shape[1] != port.dim or rows.shape[0] < 1:
        raise ShapeError(f"got {what} of shape {array.shape}, expected ({port.dim},) or (N, {port.dim}).")
    if not np.issubdtype(rows.dtype, np.number) or np.iscomplexobj(rows) or not np.isfinite(rows).all():
        raise ShapeError(f"got {what} of {array.dtype}, expected finite numbers in every place.")
    return np.ascontiguousarray(rows, dtype=np.float32)


def read_latents(path: Path, port: LatentInput) -> Array:
    """Latents from a file of ``numpy.save``, (N, dim) float32.

    Raises:
        MediaError: the file cannot be read or is no such file.
        ShapeError: see :func:`check_latents`.
    """
    try:
        array = np.load(io.BytesIO(read_file(path, most=LARGEST_FILE)), allow_pickle=False)
    except (OSError, ValueError, EOFError, OverflowError, MemoryError, SyntaxError, TokenError, BadZipFile) as error:
        cure = f"expected an array of shape ({port.dim},) or (N, {port.dim}) as numpy.save writes it"
        raise MediaError(f"{path} cannot be read as latents ({reason(error)}); {cure}.") from error
    if not isinstance(array, np.ndarray):  # .npz, several arrays
        array.close()
        raise MediaError(f"{path} holds several arrays; expected one, as numpy.save writes it.")
    return check_latents(port, array, str(path))


def between(port: LatentInput, start: Array, end: Array, share: float) -> Array:
    """The latent at ``share`` of the way from ``start`` (0) to ``end`` (1), both (dim,).

    Between normal latents along the great circle: nearly all of them are at about the same distance from 0, and a
    straight line would leave the shell that the generator knows. Between uniform ones along the line.
    """
    if port.distribution == "uniform":
        return ((1 - share) * start + share * end).astype(np.float32)
    lengths = np.linalg.norm(start), np.linalg.norm(end)
    if min(lengths) == 0:
        return ((1 - share) * start + share * end).astype(np.float32)
    angle = float(np.arccos(np.clip(np.dot(start / lengths[0], end / lengths[1]), -1, 1)))
    if np.sin(angle) < 1e-4:
        return ((1 - share) * start + share * end).astype(np.float32)
    first, second = (float(np.sin(part * angle) / np.sin(angle)) for part in (1 - share, share))
    return (first * start + second * end).astype(np.float32)
