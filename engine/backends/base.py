"""The narrow seam between the engine and the libraries that run a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..spec import GeneratorSpec

Array = NDArray[np.float32]


class Output(NamedTuple):
    """What a generator answers."""

    translated: Array
    """(N, 3, H, W) float32 in the model's value range and channel order."""
    mask: Array | None = None
    """(N, 1, H, W) float32 in [0, 1]; 1 shows ``translated``."""


class Backend(Protocol):
    """Runs one model. Arrays in and out live on ``device``; one call at a time.

    Buffers returned by :meth:`run` may be reused by the next :meth:`run`: use or copy them before.
    """

    name: str
    """As in ``--backend``: "cpu", "openvino", "cuda", "tensorrt"."""
    device: str
    """Where the arrays live: "cpu" or "cuda:0"."""
    spec: GeneratorSpec

    def run(self, image: Array | None, attributes: Array | None = None, latent: Array | None = None) -> Output:
        """Run the network once.

        Args:
            image: (N, 3, H, W) float32 in the spec's value range and channel order, C-contiguous; None for a
                generator without image input.
            attributes: (N, C) float32, as :class:`~ganlens.engine.spec.AttributeInput` says.
            latent: (N, dim) float32.

        Raises:
            ShapeError: an input does not fit the spec.
            BackendError: the library failed.
        """
        ...

    def close(self) -> None:
        """Free the model; a second call does nothing."""
        ...


class FunctionBackend:
    """A backend made of a Python function, for tests and for models that live elsewhere."""

    name = "function"
    device = "cpu"

    def __init__(self, spec: GeneratorSpec, function: Callable[[Array], Array | Output]) -> None:
        self.spec = spec
        self._function = function

    def run(self, image: Array | None, attributes: Array | None = None, latent: Array | None = None) -> Output:
        assert image is not None
        answer = self._function(image)
        return answer if isinstance(answer, Output) else Output(answer)

    def close(self) -> None:
        pass
