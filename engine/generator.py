"""Generator: a model that makes pictures from noise, ready to make them one by one, as an array, or as a walk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import model as models
from .backends import open_backend
from .backends.base import Array, Backend, Choice
from .errors import ModelFileError, OptionError
from .media.base import FileInfo, FrameFormat, Notes
from .model import Model
from .model.attributes import label_names, label_vectors
from .model.latents import between, check_latents, draw, seeded, seeds_from
from .pixels.frame import Frame
from .spec import GeneratorSpec
from .timing import StageTimes

Pixels = NDArray[np.uint8]


class Picture(NamedTuple):
    """What a generator made, and from what."""

    pixels: Pixels
    """(H, W, 3) uint8 RGB."""
    seed: int
    """Its labels, and its latent unless that was given, were drawn from this."""
    labels: tuple[str, ...]
    """The names that hold; empty for a model without labels."""


class Generator:
    """Makes pictures from noise with one generator.

    >>> with Generator.open("psc.onnx") as generator:
    ...     faces = generator(labels=["female", "wavy"], seed=7, n=16)  # (16, H, W, 3) uint8 RGB

    Picture ``i`` of seed ``s`` is the picture of seed ``s + i``: its latent and the labels that were left open come
    from a random generator of its own, so that it depends neither on ``n`` nor on the batch. What the network computes
    from them differs between backends and batches by rounding only.

    Calls from several threads wait for each other.

    Args:
        backend: runs the network; closed with the generator.

    Raises:
        OptionError: the model takes an image.
        ModelFileError: the model's output is not a finished picture.
    """

    BATCH = 4
    """Most pictures in one run, where the graph takes any number; no more than a TensorRT plan takes unless asked."""

    def __init__(self, backend: Backend) -> None:
        _check_spec(backend.spec)
        self.backend = backend
        self.times: StageTimes = StageTimes()
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls,
        model: str | Path | Model,
        *,
        backend: str = "auto",
        threads: int | None = None,
        spin: bool = False,
        strict: bool = False,
        device: int | None = None,
    ) -> Generator:
        """Open a shipped model by name, or a model file.

        Args:
            model: a name that ``engine models`` lists, the path of an ONNX file with our record, or a
                :class:`~ganlens.engine.Model` that was read before.
            backend: "auto", or one of those that ``engine backends`` lists; a named backend never falls back.
            threads: CPU threads of the network; None: all cores.
            spin: see :func:`~ganlens.engine.backends.open_backend`.
            strict: fail rather than fall back from one backend to the next.
            device: which GPU; see :func:`~ganlens.engine.backends.open_backend`.

        Raises:
            ModelFileError, BackendUnavailable, OptionError: with the cure in the message.
        """
        if not isinstance(model, Model):
            model = models.open(model, foreign=False)
        _check_spec(model.spec)
        opened = open_backend(model, backend, threads=threads, spin=spin, strict=strict, device=device)
        return cls(opened)

    @property
    def spec(self) -> GeneratorSpec:
        """The generator's record."""
        return self.backend.spec

    @property
    def choice(self) -> Choice | None:
        """Which backend was chosen and why not another; None for a backend made by hand."""
        return getattr(self.backend, "choice", None)

    def __call__(
        self,
        *,
        labels: Sequence[str] | str = (),
        seed: int = 0,
        n: int | None = None,
        latent: NDArray[np.floating] | None = None,
    ) -> Pixels:
        """Make pictures.

        Args:
            labels: names that hold in all of them, at most one of each group, as a sequence or between commas; the
                case does not matter. A group of exactly one that is left open is drawn for each picture, see
                :func:`~ganlens.engine.model.attributes.label_vectors`.
            seed: of the first picture; the others have the seeds after it.
            n: number of pictures; None: one, or as many as there are latents.
            latent: (dim,) or (n, dim); takes the place of the latents drawn from the seeds.

        Returns:
            (n, H, W, 3) uint8 RGB.

        Raises:
            OptionError: unknown or conflicting labels, n below 1, a seed out of range.
            ShapeError: a latent of the wrong length or not of finite numbers.
        """
        return np.stack([picture.pixels for picture in self.pictures(labels=labels, seed=seed, n=n, latent=latent)])

    def pictures(
        self,
        *,
        labels: Sequence[str] | str = (),
        seed: int = 0,
        n: int | None = None,
        latent: NDArray[np.floating] | None = None,
    ) -> Iterator[Picture]:
        """The pictures of :meth:`__call__` one by one, each with its seed and labels."""
        seeds, latents, vectors = self._draw(labels, seed, n, latent)
        port = self.spec.attributes

        def inputs(number: int) -> tuple[Array, Array | None]:
            return latents[number], None if vectors is None else vectors[number]

        def name(number: int, pixels: Pixels) -> Picture:
            labels = () if port is None or vectors is None else label_names(port, vectors[number])
            return Picture(pixels, seeds[number], labels)

        return map(name, range(len(seeds)), self._run(len(seeds), inputs))

    def walk(
        self,
        frames: int,
        *,
        labels: Sequence[str] | str = (),
        seed: int = 0,
        n: int | None = None,
        latent: NDArray[np.floating] | None = None,
    ) -> Iterator[Pixels]:
        """Frames on the way through the pictures of :meth:`__call__` and back to the first, at an even pace.

        Latents move as :func:`~ganlens.engine.model.latents.between` says; labels fade from one to the other.

        Args:
            frames: number of frames of the whole round.
            labels, seed, n, latent: as of :meth:`__call__`, but at least two pictures.

        Yields:
            (H, W, 3) uint8 RGB.

        Raises:
            OptionError, ShapeError: as :meth:`__call__`, and for fewer than two pictures or frames.
        """
        _, latents, vectors = self._draw(labels, seed, n, latent)
        count = len(latents)
        if count < 2:
            raise OptionError(f"got {count} picture for a walk, expected at least 2 (-n 2).")
        if frames < count:
            raise OptionError(
                f"got {frames} frames for a walk through {count} pictures, expected at least one for each."
            )
        port = self.spec.latent
        assert port is not None

        def step(number: int) -> tuple[Array, Array | None]:
            at, rest = divmod(number * count, frames)
            share, after = rest / frames, (at + 1) % count
            latent = between(port, latents[at], latents[after], share)
            return latent, None if vectors is None else (1 - share) * vectors[at] + share * vectors[after]

        return self._run(frames, step)

    def close(self) -> None:
        """Free the model."""
        self.backend.close()

    def __enter__(self) -> Generator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _draw(
        self, labels: Sequence[str] | str, seed: int, n: int | None, latent: NDArray[np.floating] | None
    ) -> tuple[list[int], Array, Array | None]:
        """(seeds, latents (n, dim), label vectors (n, C) or None)."""
        port = self.spec.latent
        assert port is not None
        given = None if latent is None else check_latents(port, latent, "a latent")
        if given is not None and n not in (None, len(given)):
            raise OptionError(f"got n = {n} with {len(given)} latents; leave n out.")
        seeds = seeds_from(seed, (1 if given is None else len(given)) if n is None else n)
        randoms = [seeded(number) for number in seeds]
        drawn = np.stack([draw(port, random) for random in randoms])  # also where latents are given: the labels stay
        names = [name.strip() for name in labels.split(",")] if isinstance(labels, str) else labels
        if self.spec.attributes is None:
            if names:
                raise OptionError(f"Model '{self.spec.name}' takes no labels, got {', '.join(names)}.")
            return seeds, drawn if given is None else given, None
        return seeds, drawn if given is None else given, label_vectors(self.spec.attributes, names, randoms)

    def _run(self, total: int, inputs: Callable[[int], tuple[Array, Array | None]]) -> Iterator[Pixels]:
        """``total`` pictures (H, W, 3), in runs of one size, the last one filled up.

        Args:
            inputs: the latent (dim,) and label vector (C,) or None of a picture by number.
        """
        size = self.backend.batch or -(-total // -(-total // self.BATCH))
        for begin in range(0, total, size):
            with self._lock, self.times.measure("run"):
                latents, vectors = zip(*(inputs(min(begin + i, total - 1)) for i in range(size)), strict=True)
                labels = None if self.spec.attributes is None else np.stack(vectors).astype(np.float32)
                output = self.backend.run(None, labels, np.stack(latents))
                pixels = _to_pixels(output.translated[: total - begin], self.spec)
            yield from pixels


class WalkSource:
    """A walk as a source of frames, for :class:`~ganlens.engine.session.Session`; it can be iterated once.

    Args:
        frames, draws: as of :meth:`Generator.walk`, whose errors are raised here.
        rate: frames per second.
    """

    live = False
    file: FileInfo | None = None

    def __init__(self, generator: Generator, frames: int, rate: Fraction, **draws: Any) -> None:
        size = generator.spec.size.fixed or generator.spec.size.preferred
        self.format: FrameFormat = FrameFormat(size, "rgb24", rate, time_base=1 / rate)
        self.frames: int | None = frames
        self.notes: Notes = Notes()
        self._pixels = generator.walk(frames, **draws)

    def __iter__(self) -> Iterator[Frame]:
        assert self.format.rate is not None
        for number, pixels in enumerate(self._pixels):
            yield Frame.from_rgb(pixels, time=number / self.format.rate)

    def close(self) -> None:
        """The generator stays open."""


def _check_spec(spec: GeneratorSpec) -> None:
    if spec.image is not None or spec.latent is None:
        raise OptionError(
            f"Model '{spec.name}' takes an image and cannot generate from noise. "
            "Use engine translate (Translator in Python)."
        )
    if spec.output.kind == "segment":
        raise ModelFileError(f"'{spec.name}' returns a segment but has no image to composite it over.")


def _to_pixels(images: Array, spec: GeneratorSpec) -> Pixels:
    """(N, 3, H, W) in the model's range and channel order → (N, H, W, 3) uint8 RGB."""
    low, high = spec.value_range
    levels = np.rint(np.clip((images - low) * (255 / (high - low)), 0, 255)).astype(np.uint8)
    if spec.channel_order == "BGR":
        levels = levels[:, ::-1]
    return np.ascontiguousarray(levels.transpose(0, 2, 3, 1))
