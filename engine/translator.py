"""Translator: a model, a backend and a framing, ready to translate pictures and streams of frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import overload

import numpy as np
from numpy.typing import NDArray

from .backends import open_backend
from .backends.base import Array, Backend, Choice, Output
from .compositor import Compositor
from .errors import OptionError, did_you_mean
from .frame import Frame
from .framing import Framing, Mode
from .models import find_model
from .onnx_file import read_spec
from .spec import AttributeInput, GeneratorSpec, ValueRange
from .timing import StageTimes


class Translator:
    """Translates pictures with one generator.

    >>> with Translator.open("monet") as translator:
    ...     painted = translator(photo)  # (H, W, 3) uint8 RGB in and out

    Not for concurrent use; open one per thread.
    """

    def __init__(self, backend: Backend, compositor: Compositor | None = None, times: StageTimes | None = None) -> None:
        self.backend = backend
        self.compositor = compositor or Compositor(backend.spec)
        self.times = times or StageTimes()

    @classmethod
    def open(
        cls,
        model: str | Path,
        *,
        backend: str = "auto",
        framing: Mode | Framing = "fit",
        detail: float = 0.0,
        opacity: float = 1.0,
        threads: int | None = None,
        spin: bool = False,
        value_range: ValueRange | None = None,
        frame_size: tuple[int, int] | None = None,
    ) -> Translator:
        """Open a shipped model by name, or a model file.

        Args:
            model: a name that ``engine models`` lists, or the path of an ONNX file.
            backend: "auto", or one of those that ``engine backends`` lists; a named backend never falls back.
            framing: "fit", "crop", "tile", "native", or a :class:`~ganlens.engine.framing.Framing` with its options.
            detail, opacity: see :class:`~ganlens.engine.compositor.Compositor`.
            threads: CPU threads of the network; None: all cores.
            spin: let idle threads of the network spin: lower latency, but it takes the cores from everything else.
            value_range: for an ONNX file without our record: what the image tensor's values span.
            frame_size: (height, width) of the frames to come, so that the backend is chosen and warmed up for them.

        Raises:
            ModelFileError, BackendUnavailable, OptionError: with the cure in the message.
        """
        framing = framing if isinstance(framing, Framing) else Framing(framing)
        path = find_model(model)
        spec = read_spec(path, value_range=value_range)
        size = None
        if spec.image is not None and frame_size is not None:
            layout = framing.layout(frame_size, spec.size)
            size = layout.tile_size or layout.size
        opened = open_backend(path, backend, size=size, threads=threads, spin=spin, value_range=value_range)
        try:
            return cls(opened, Compositor(opened.spec, framing, detail=detail, opacity=opacity))
        except BaseException:
            opened.close()
            raise

    @property
    def spec(self) -> GeneratorSpec:
        """The generator's record."""
        return self.backend.spec

    @property
    def choice(self) -> Choice | None:
        """Which backend was chosen and why not another; None for a backend made by hand."""
        return getattr(self.backend, "choice", None)

    @overload
    def __call__(self, image: NDArray[np.uint8], **attributes: float) -> NDArray[np.uint8]: ...
    @overload
    def __call__(self, image: Frame, **attributes: float) -> Frame: ...
    def __call__(self, image: NDArray[np.uint8] | Frame, **attributes: float) -> NDArray[np.uint8] | Frame:
        """Translate one picture; the input is not changed.

        Args:
            image: (H, W, 3) uint8 RGB, or a :class:`~ganlens.engine.frame.Frame` in its own pixel format.
            attributes: values in 0..1 by name, for models that have attributes; case and underscores do not matter.

        Returns:
            The same kind and size as ``image``.
        """
        vector = self._attribute_vector(attributes)
        if isinstance(image, Frame):
            return self._translate(image, vector)
        return self._translate(Frame.from_rgb(np.ascontiguousarray(image)), vector).planes[0]

    def stream(self, frames: Iterable[Frame], **attributes: float) -> Iterator[Frame]:
        """Translate frames one after the other; each keeps its time, pixel format and colour description."""
        vector = self._attribute_vector(attributes)
        for frame in frames:
            yield self._translate(frame, vector)

    def close(self) -> None:
        """Free the model."""
        self.backend.close()

    def __enter__(self) -> Translator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _translate(self, frame: Frame, attributes: Array | None) -> Frame:
        compositor = self.compositor
        with self.times.measure("prepare"):
            image = compositor.prepare(frame)
        with self.times.measure("run"):
            output = compositor.run(frame, image, lambda x: self._run(x, attributes))
        with self.times.measure("compose"):
            result = frame.copy()
            compositor.compose(frame, output, result)
        return result

    def _run(self, image: Array, attributes: Array | None) -> Output:
        return self.backend.run(image, attributes)

    def _attribute_vector(self, values: Mapping[str, float]) -> Array | None:
        port = self.spec.attributes
        if port is None:
            if values:
                raise OptionError(f"Model '{self.spec.name}' has no attributes; {', '.join(values)} was given.")
            return None
        return attribute_vector(port, values)


def attribute_vector(port: AttributeInput, values: Mapping[str, float]) -> Array:
    """The attribute tensor (1, ``port.length``) float32 for values by name; names not given are 0.

    Setting a name to 1 leaves the others of its group at 0, unless they are given too.

    Raises:
        OptionError: unknown name, or a value outside 0..1, with the list of names.
    """
    known = {_plain(name): index for index, name in enumerate(port.names)}
    vector = np.zeros(len(port.names), np.float32)
    for name, value in values.items():
        index = known.get(_plain(name))
        if index is None:
            raise OptionError(f"Unknown attribute '{name}'. {did_you_mean(name, port.names)}")
        if not 0 <= value <= 1:
            raise OptionError(f"Attribute {name} must lie between 0 and 1, got {value:g}.")
        vector[index] = value
    both = np.concatenate([vector, 1 - vector]) if port.complement else vector
    return both.reshape(1, -1)


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "").replace(" ", "")
