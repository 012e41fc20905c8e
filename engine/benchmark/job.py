"""The job of one process of a benchmark, and what its network is given."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np

from ..backends.base import Array
from ..errors import ModelFileError
from ..model import Model
from ..model import open as open_model
from ..model.attributes import attribute_vector, label_vectors
from ..model.latents import draw, seeded
from ..pixels.compositor import Compositor
from ..pixels.frame import Frame
from ..pixels.framing import Framing
from ..spec import GeneratorSpec, ValueRange

MOST_LATENTS = 16
Inputs = tuple[Array | None, Array | None, Array | None]


@dataclass(frozen=True)
class Job:
    """The job of one process."""

    kind: str
    """"probe": quality, and the ways of throughput; "run": the scenarios; "reference": the reference's pictures."""
    model: str
    backend: str
    size: tuple[int, int]
    threads: int
    value_range: ValueRange | None = None
    scenarios: tuple[tuple[str, float], ...] = ()
    """(name, seconds)."""
    fps: float = 30.0
    in_flight: int = 1
    batch: int = 1
    ways: tuple[tuple[int, int], ...] = ()
    """"probe": (in_flight, batch) to try."""
    pictures: str = ""
    """.npy of (N, H, W, 3) uint8."""
    reference: str = ""
    """.npz of the reference's outputs, to write or to compare with; empty: no quality."""
    precision: str = "fp32"
    bare: bool = False
    """"run": whether the bare network takes turns with the frames."""
    spawned: float = 0.0
    """``time.monotonic()`` of the parent when it started this process."""
    sha256: str = ""
    """SHA-256 of the model as the parent read it; empty: not compared."""

    def to_json(self) -> str:
        """In one line, for another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """What :meth:`to_json` gave."""
        given = json.loads(text)
        for name in ("size", "value_range"):
            given[name] = tuple(given[name]) if given[name] else None
        for name in ("scenarios", "ways"):
            given[name] = tuple(tuple(pair) for pair in given[name])
        return cls(**given)

    @cached_property
    def opened(self) -> Model:
        """The model, read once in this process.

        Raises:
            ModelFileError: it was replaced since the benchmark began.
        """
        model = open_model(self.model, self.value_range)
        if self.sha256 not in ("", model.file.sha256):
            raise ModelFileError(f"{self.model} was changed or replaced since the benchmark began. Start it again.")
        return model


def typical_attributes(spec: GeneratorSpec) -> dict[str, float]:
    """One attribute set, so that the network has something to change."""
    return {spec.attributes.names[0]: 1.0} if spec.attributes and spec.image else {}


def network_inputs(spec: GeneratorSpec, job: Job) -> list[Inputs]:
    """(image, attributes, latent) of each picture, each of batch one."""
    if spec.image is None:
        return [_noise_input(spec, number) for number in range(MOST_LATENTS)]
    compositor = Compositor(spec, Framing("fit", size=None if spec.size.fixed else job.size))
    vector = attribute_vector(spec.attributes, typical_attributes(spec)) if spec.attributes else None
    return [(compositor.prepare(Frame.from_rgb(picture))[None], vector, None) for picture in np.load(job.pictures)]


def _noise_input(spec: GeneratorSpec, seed: int) -> Inputs:
    source = seeded(seed)
    latent = draw(spec.latent, source)[None] if spec.latent else None
    return None, label_vectors(spec.attributes, [], [source]) if spec.attributes else None, latent
