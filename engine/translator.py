"""Translator: a model, a backend and a framing, ready to translate pictures and streams of frames."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, overload

import numpy as np
from numpy.typing import NDArray

from .attributes import attribute_vector
from .backends import default_threads, open_backend
from .backends.base import Array, Backend, Choice, ModelBackend, Output
from .compositor import Compositor
from .errors import BackendError, BackendUnavailable, MissingExtra, OptionError
from .faces.follow import Follower
from .faces.framing import FaceFraming
from .faces.paste import FaceCompositor, FacedFrame
from .faces.stream import faced, single
from .frame import Color, Frame, PixelFormat
from .framing import Framing, Mode
from .models import find_model, read_model_spec
from .spec import GeneratorSpec, ValueRange
from .stream import ordered
from .timing import StageTimes

if TYPE_CHECKING:
    from .cuda import DeviceArray, FramePipeline


class Translator:
    """Translates pictures with one generator.

    >>> with Translator.open("monet") as translator:
    ...     painted = translator(photo)  # (H, W, 3) uint8 RGB in and out

    Not for concurrent use; open one per thread.

    Args:
        backend: runs the network; closed with the translator.
        compositor: by default the whole frame through the network and back; a
            :class:`~ganlens.engine.faces.paste.FaceCompositor` gives it the faces.
        lanes: make more translators of the same kind, one each, for frames that :meth:`stream` translates at the same
            time; called when first needed, in a thread of their own.
        pipeline: the way of frames over a GPU, in place of ``lanes``.
        follower: finds the faces for a face compositor; by default one with YuNet.
    """

    def __init__(
        self,
        backend: Backend,
        compositor: Compositor | FaceCompositor | None = None,
        lanes: Sequence[Callable[[], Translator]] = (),
        pipeline: FramePipeline | None = None,
        follower: Follower | None = None,
    ) -> None:
        self.backend = backend
        self.compositor = compositor or Compositor(backend.spec)
        self.times = StageTimes()
        if follower is None and isinstance(self.compositor, FaceCompositor):
            follower = Follower(self.compositor.framing)
        self._follower = follower
        self._lanes = [_Lane(make) for make in lanes]
        self._pipeline = pipeline

    @classmethod
    def open(
        cls,
        model: str | Path,
        *,
        backend: str = "auto",
        framing: Mode | Framing | FaceFraming | Literal["faces"] | None = None,
        detail: float | None = None,
        opacity: float = 1.0,
        threads: int | None = None,
        in_flight: int = 1,
        spin: bool = False,
        strict: bool = False,
        value_range: ValueRange | None = None,
        frame_size: tuple[int, int] | None = None,
    ) -> Translator:
        """Open a shipped model by name, or a model file.

        Args:
            model: a name that ``engine models`` lists, or the path of an ONNX file.
            backend: "auto", or one of those that ``engine backends`` lists; a named backend never falls back.
            framing: "fit", "crop", "tile", "native", or a :class:`~ganlens.engine.framing.Framing` with its options;
                "faces" or a :class:`~ganlens.engine.faces.FaceFraming`. None: "faces" for a model whose record says
                that it takes an aligned face, else "fit".
            detail: see :class:`~ganlens.engine.compositor.Compositor`; None: 1 for faces, whose change is added to the
                frame's own pixels, 0 for all else.
            opacity: see :class:`~ganlens.engine.compositor.Compositor`.
            threads: CPU threads of the network; None: all cores.
            in_flight: frames that :meth:`stream` translates at the same time, sharing ``threads`` among them: more
                frames per second, each later. A single picture is translated by one share of the threads. On a GPU
                the frames share one network, and copies run beside it.
            spin: let idle threads of the network spin, and on a GPU the thread that waits for it: lower latency, but
                it takes the cores from everything else.
            strict: fail rather than fall back: from one backend to the next, or on a GPU to frames that go through
                host memory.
            value_range: for an ONNX file without our record: what the image tensor's values span.
            frame_size: (height, width) of the frames to come, so that the backend is chosen and warmed up for them.

        Raises:
            ModelFileError, BackendUnavailable, OptionError: with the cure in the message.
        """
        path = find_model(model)
        spec = read_model_spec(path, value_range=value_range)
        chosen = _choose_framing(framing, spec)
        size = None
        if isinstance(chosen, Framing) and spec.image is not None and frame_size is not None:
            layout = chosen.layout(frame_size, spec.size)
            size = layout.tile_size or layout.size
        if in_flight < 1:
            raise OptionError(f"in_flight = {in_flight} came; expected 1 or more.")
        threads = max(1, (threads or default_threads()) // in_flight)
        opened = open_backend(
            path, backend, size=size, threads=threads, spin=spin, value_range=value_range, strict=strict
        )

        def make_compositor(spec: GeneratorSpec) -> Compositor | FaceCompositor:
            if isinstance(chosen, FaceFraming):
                return FaceCompositor(spec, chosen, detail=1.0 if detail is None else detail, opacity=opacity)
            return Compositor(spec, chosen, detail=detail or 0.0, opacity=opacity)

        def lane() -> Translator:
            again = open_backend(path, opened.name, size=size, threads=threads, spin=spin, value_range=value_range)
            return cls(again, make_compositor(again.spec))

        try:
            compositor = make_compositor(opened.spec)
            pipeline = None
            if isinstance(compositor, Compositor):  # faces of a frame go through the host, one after the other
                pipeline = _open_pipeline(opened, compositor, in_flight, spin, strict)
            return cls(opened, compositor, [] if pipeline else [lane] * (in_flight - 1), pipeline)
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

    def stream(self, frames: Iterable[Frame], **attributes: float) -> Generator[Frame, None, None]:
        """Translate frames in their order; each keeps its time, pixel format and colour description.

        With several in flight, ``frames`` is read by threads other than the caller's.
        """
        vector = self._attribute_vector(attributes)
        if self._pipeline is not None:
            self._pipeline.times = self.times
            return self._pipeline.stream(frames, vector)
        items: Iterable[Frame | FacedFrame] = frames
        if self._follower is not None:
            low, high = self.spec.value_range
            items = faced(frames, self._follower, self.times, high - low)
        if not self._lanes:
            return (self._translate(item, vector) for item in items)
        workers = [partial(self._translate, attributes=vector)]
        for lane in self._lanes:
            lane.times = self.times
            workers.append(partial(lane.translate, attributes=vector))
        return ordered(workers, items)

    @property
    def in_flight(self) -> int:
        """Frames that :meth:`stream` translates at the same time."""
        return self._pipeline.in_flight if self._pipeline is not None else 1 + len(self._lanes)

    @property
    def frames_with_faces(self) -> int | None:
        """Frames so far in which a face was changed; None with another framing."""
        return None if self._follower is None else self._follower.frames_with_faces

    def on_device(
        self, planes: Sequence[object], format: PixelFormat, color: Color | None = None, **attributes: float
    ) -> tuple[DeviceArray, ...]:
        """Translate a frame that lies in the GPU's memory, in place and without waiting for it.

        Args:
            planes: as of :class:`~ganlens.engine.frame.Frame`, but arrays of CuPy, torch, PyCUDA, PyNvVideoCodec or
                any library with ``__cuda_array_interface__`` or DLPack; rows may be padded. They are written.
            format, color: as of :class:`~ganlens.engine.frame.Frame`.
            attributes: as of :meth:`__call__`.

        Returns:
            The planes, which other libraries read without a copy.

        Raises:
            OptionError: this translator does not run inside a GPU.
            ShapeError: the planes do not fit the format, or lie elsewhere.
        """
        vector = self._attribute_vector(attributes)
        if self._pipeline is None:
            raise OptionError(
                f"Arrays on a GPU need a backend that runs there; this translator's is '{self.backend.name}'. "
                "See engine backends."
            )
        return self._pipeline.on_device(planes, format, color, vector)

    def close(self) -> None:
        """Free the model."""
        if self._pipeline is not None:
            self._pipeline.close()
        self.backend.close()
        for lane in self._lanes:
            lane.close()

    def __enter__(self) -> Translator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _translate(self, frame: Frame | FacedFrame, attributes: Array | None) -> Frame:
        if isinstance(self.compositor, FaceCompositor):
            if isinstance(frame, Frame):
                assert self._follower is not None
                frame = single(frame, self._follower, self.times)
            return self._translate_faces(self.compositor, frame, attributes)
        assert isinstance(frame, Frame)
        if self._pipeline is not None:
            self._pipeline.times = self.times
            return self._pipeline(frame, attributes)
        compositor = self.compositor
        with self.times.measure("prepare"):
            image = compositor.prepare(frame)
        with self.times.measure("run"):
            output = compositor.run(frame, image, lambda x: self._run(x, attributes))
        with self.times.measure("compose"):
            result = frame.copy()
            compositor.compose(frame, output, result)
        return result

    def _translate_faces(self, compositor: FaceCompositor, faced: FacedFrame, attributes: Array | None) -> Frame:
        """The frame itself, not a copy, where no face shows."""
        result = faced.frame
        try:
            for face, link in zip(faced.faces, faced.links, strict=True):
                with self.times.measure("prepare"):
                    image = compositor.prepare(faced.frame, face)
                with self.times.measure("run"):
                    output = self._run(image, attributes)
                with self.times.measure("compose"):
                    if result is faced.frame:
                        result = faced.frame.copy()
                    compositor.compose(face, image, output, result, link)
        finally:
            for link in faced.links:
                if link is not None:
                    link.release()
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


def _choose_framing(
    framing: Mode | Framing | FaceFraming | Literal["faces"] | None, spec: GeneratorSpec
) -> Framing | FaceFraming:
    """What was asked for, or what suits the model."""
    if framing is None:
        framing = "faces" if spec.face_alignment else "fit"
    if framing == "faces":
        return FaceFraming()
    return framing if isinstance(framing, Framing | FaceFraming) else Framing(framing)


def _open_pipeline(
    backend: ModelBackend, compositor: Compositor, in_flight: int, spin: bool, strict: bool
) -> FramePipeline | None:
    """The way of frames over the GPU, where the backend runs on one and offers it; a line of ``choice`` if it fails."""
    if not hasattr(backend, "bind_device"):
        return None
    from .cuda import Device, FramePipeline

    try:
        if compositor.framing.mode == "tile":
            raise OptionError("framing 'tile' puts tiles together there")
        return FramePipeline(Device(), backend, compositor, in_flight=in_flight, spin=spin)
    except (MissingExtra, BackendUnavailable, BackendError, OptionError) as error:
        if strict:
            raise
        line = f"{backend.name}: frames go through host memory: {error}"
        backend.choice = Choice(backend.choice.name, (*backend.choice.lines, line))
        return None


class _Lane:
    """A further translator for :meth:`Translator.stream`, opened with its first frame, in its own thread."""

    def __init__(self, make: Callable[[], Translator]) -> None:
        self._make = make
        self._translator: Translator | None = None
        self.times = StageTimes()

    def translate(self, frame: Frame | FacedFrame, attributes: Array | None) -> Frame:
        if self._translator is None:
            self._translator = self._make()
        self._translator.times = self.times
        return self._translator._translate(frame, attributes)

    def close(self) -> None:
        if self._translator is not None:
            self._translator.close()
            self._translator = None
