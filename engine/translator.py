"""Translator: a model, a backend and a framing, ready to translate pictures and streams of frames."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, overload

import numpy as np
from numpy.typing import NDArray

from .backends.base import Backend, Choice
from .controls import Controls
from .errors import OptionError
from .faces.face_compositor import FaceCompositor
from .faces.tracker import Follower
from .model import Model
from .pixels.compositor import Compositor
from .pixels.frame import Color, Frame, PixelFormat, kind_of
from .spec import GeneratorSpec
from .timing import StageTimes
from .ways.base import Item, Way
from .ways.current import Current
from .ways.faces import FacesWay
from .ways.host import HostWay
from .ways.looks import Looks, make_look
from .ways.opening import AnyFraming, open_way
from .ways.scheduler import translated

if TYPE_CHECKING:
    from concurrent.futures import Future

    from .cuda import DeviceArray
    from .spec import ValueRange

Attributes = Mapping[str, float]


class Translator:
    """Translates pictures with one generator.

    >>> with Translator.open("starry") as translator:
    ...     painted = translator(photo)  # (H, W, 3) uint8 RGB in and out

    Calls from several threads are right, but wait for each other; for more pictures per second open a translator in
    each thread. Of a model of faces, one :meth:`stream` runs at a time.

    Args:
        backend: runs the network; closed with the translator.
        compositor: by default the whole frame through the network and back; a
            :class:`~ganlens.engine.faces.face_compositor.FaceCompositor` gives it the faces.
        lanes: open more backends of the same kind, one each, for frames that :meth:`stream` translates at the same
            time; called when first needed, in a thread of their own.
        follower: finds the faces for a face compositor; by default one with YuNet.
        batch: see :meth:`open`.
        way: how frames pass the network, in place of all others.
    """

    def __init__(
        self,
        backend: Backend | None = None,
        compositor: Compositor | FaceCompositor | None = None,
        lanes: Sequence[Callable[[], Backend]] = (),
        follower: Follower | None = None,
        batch: int | None = None,
        *,
        way: Way | None = None,
    ) -> None:
        if way is None:
            if backend is None:
                raise TypeError("Translator needs a backend or a way; see Translator.open for models by name.")
            if isinstance(compositor, FaceCompositor):
                way = FacesWay(backend, compositor, lanes, batch, follower)
            else:
                way = HostWay(backend, compositor, lanes, batch)
        self._current = Current(way)
        self._options: dict[str, Any] = {}
        """What :meth:`open` was given."""

    @classmethod
    def open(
        cls,
        model: str | Path | Model,
        *,
        backend: str = "auto",
        framing: AnyFraming | None = None,
        detail: float | None = None,
        opacity: float = 1.0,
        threads: int | None = None,
        in_flight: int = 1,
        spin: bool = False,
        strict: bool = False,
        value_range: ValueRange | None = None,
        frame_size: tuple[int, int] | None = None,
        batch: int | None = None,
        device: int | None = None,
    ) -> Translator:
        """Open a shipped model by name, or a model file.

        Args:
            model: a name that ``engine models`` lists, the path of an ONNX file, or a
                :class:`~ganlens.engine.model.Model` that was read before.
            backend: "auto", or one of those that ``engine backends`` lists; a named backend never falls back.
            framing: "fit", "crop", "tile", "native", or a :class:`~ganlens.engine.Framing` with its options;
                "faces" or a :class:`~ganlens.engine.FaceFraming`. None: "faces" for a model whose record says that it
                takes an aligned face, else "fit".
            detail: see :class:`~ganlens.engine.Compositor`; None: what the model's record says; where it says
                nothing, 1 for faces, whose change is added to the frame's own pixels, and 0 for all else.
            opacity: see :class:`~ganlens.engine.Compositor`.
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
            batch: pictures per inference call (batch size); the model must have a free batch dimension: the frames of
                :meth:`stream`, which then come that many at a time, the tiles of a frame, or faces. None: frames one by
                one, and the faces of a frame together where the network runs on a GPU.
            device: which GPU, as in nvidia-smi and CUDA_VISIBLE_DEVICES; never replaced by the CPU. None: the first
                GPU, or the CPU.

        Raises:
            ModelFileError, BackendUnavailable, OptionError: with the cure in the message.
        """
        options = {name: value for name, value in locals().items() if name not in ("cls", "model")}
        opened = cls(way=open_way(model, **options))
        opened._options = options
        return opened

    @property
    def way(self) -> Way:
        """How frames pass the network."""
        return self._current.lease.way

    @property
    def backend(self) -> Backend:
        """What runs the network."""
        return self.way.backend

    @property
    def compositor(self) -> Compositor | FaceCompositor:
        """How frames enter the network and come back."""
        return self.way.compositor

    @property
    def spec(self) -> GeneratorSpec:
        """The generator's record."""
        return self.way.spec

    @property
    def choice(self) -> Choice | None:
        """Which backend was chosen and why not another; None for a backend made by hand."""
        return getattr(self.backend, "choice", None)

    @property
    def batch(self) -> int:
        """Frames, or their tiles, per inference call (batch size)."""
        return self.way.batch

    @property
    def in_flight(self) -> int:
        """Frames that :meth:`stream` translates at the same time."""
        return self.way.in_flight

    @property
    def frames_with_faces(self) -> int | None:
        """Frames so far in which a face was changed; None with another framing."""
        return getattr(self.way, "frames_with_faces", None)

    @property
    def times(self) -> StageTimes:
        """How long each stage takes; another object may be set."""
        return self.way.times

    @times.setter
    def times(self, times: StageTimes) -> None:
        self.way.times = times

    @overload
    def __call__(
        self, image: NDArray[np.uint8], *, attributes: Attributes | None = None, **named: float
    ) -> NDArray[np.uint8]: ...
    @overload
    def __call__(self, image: Frame, *, attributes: Attributes | None = None, **named: float) -> Frame: ...
    def __call__(
        self, image: NDArray[np.uint8] | Frame, *, attributes: Attributes | None = None, **named: float
    ) -> NDArray[np.uint8] | Frame:
        """Translate one picture; the input is not changed.

        Args:
            image: (H, W, 3) uint8 RGB, or a :class:`~ganlens.engine.Frame` in its own pixel format.
            attributes: values in 0..1 by name, for models that have attributes; case and underscores do not matter.
            named: the same, by keyword.

        Returns:
            The same kind and size as ``image``; a frame that has no face is returned itself.
        """
        frame = image if isinstance(image, Frame) else Frame.from_rgb(np.ascontiguousarray(image))
        lease = self._current.take()
        try:
            look = make_look(lease.way, {**(attributes or {}), **named})
            result = frame if look.hidden else lease.way.translate(Item(frame, look))
        finally:
            lease.give_back()
        if isinstance(image, Frame):
            return result
        return result.planes[0].copy() if result is frame else result.planes[0]

    def stream(
        self,
        frames: Iterable[Frame],
        *,
        controls: Controls | None = None,
        attributes: Attributes | None = None,
        **named: float,
    ) -> Generator[Frame, None, None]:
        """Translate frames in their order; each keeps its time, pixel format and colour description.

        Args:
            frames: ``Frame.from_rgb`` makes a frame of an array.
            controls: settings that may change while the stream runs, read once for each frame. Their attributes take
                the place of those given here, their opacity is a share of the translator's, and frames with opacity 0
                or bypass are yielded unchanged, without inference.
            attributes, named: as of :meth:`__call__`, for the whole stream.

        Raises:
            OptionError: the model has no such attribute; or, with faces, another stream has not ended.
        """
        looks = Looks({**(attributes or {}), **named}, controls)
        looks.at(self.way)
        return translated(self._seen(frames), lambda: self._current.lease, looks)

    def swap(self, model: str | Path | Model, **options: Any) -> Future[None]:
        """Open another model in a thread of its own; it takes over between two frames, and the one before is closed.

        Streams go on without a gap. If the model cannot be opened, everything stays as it is. Of several swaps under
        way, the last one asked for is the one that stays.

        Args:
            model: as of :meth:`open`.
            options: as of :meth:`open`; those left out are as they were when this translator was opened, except
                ``value_range``, which belongs to a model.

        Returns:
            Done when the new model has taken over; its ``result()`` raises what :meth:`open` would.
        """
        kept = {name: value for name, value in self._options.items() if name != "value_range"}
        return self._current.swap(lambda: open_way(model, **{**kept, **options}))

    def on_device(
        self,
        planes: Sequence[object],
        format: PixelFormat,
        color: Color | None = None,
        *,
        attributes: Attributes | None = None,
        **named: float,
    ) -> tuple[DeviceArray, ...]:
        """Translate a frame in GPU memory, in place and without waiting for it.

        Args:
            planes: as of :class:`~ganlens.engine.Frame`, but arrays of CuPy, torch, PyCUDA, PyNvVideoCodec or
                any library with ``__cuda_array_interface__`` or DLPack; rows may be padded. They are written.
            format, color: as of :class:`~ganlens.engine.Frame`.
            attributes, named: as of :meth:`__call__`.

        Returns:
            The planes, which other libraries read without a copy.

        Raises:
            OptionError: this translator does not run inside a GPU.
            ShapeError: the planes do not fit the format, or are not in the GPU's memory.
        """
        lease = self._current.take()
        try:
            look = make_look(lease.way, {**(attributes or {}), **named})
            on_device = getattr(lease.way, "on_device", None)
            if on_device is None:
                raise OptionError(
                    f"Arrays on a GPU need a backend that runs there; this translator's is '{self.backend.name}'. "
                    "See engine backends."
                )
            done: tuple[DeviceArray, ...] = on_device(planes, format, color, look)
            return done
        finally:
            lease.give_back()

    def close(self) -> None:
        """Free the model, as soon as no stream runs any more; a second call does nothing."""
        self._current.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "A Translator holds a loaded network and cannot be pickled or copied; open one in each process."
        )

    def __enter__(self) -> Translator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _seen(self, frames: Iterable[Frame]) -> Generator[Frame, None, None]:
        """Notes the size of the frames, for which the next model is warmed up."""
        iterator = iter(frames)
        try:
            for frame in iterator:
                kind_of(frame)
                self._options["frame_size"] = frame.size
                yield frame
                del frame
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()
