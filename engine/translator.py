"""Translator: a model, a backend and a framing, ready to translate pictures and streams of frames."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray

from .backends.base import Backend
from .controls import Controls
from .errors import OptionError
from .model import Model
from .pixels.compositor import Compositor
from .pixels.frame import Color, Frame, PixelFormat
from .ways.base import Item, Way
from .ways.current import SwappableWay
from .ways.looks import Looks, make_look
from .ways.opening import AnyFraming, OpenOptions, open_way, way_over

if TYPE_CHECKING:
    from .cuda import DeviceArray
    from .faces.face_compositor import FaceCompositor
    from .faces.tracker import Follower
    from .spec import ValueRange

Attributes = Mapping[str, float]


class Translator(SwappableWay):
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
        options: how the way was opened, for :meth:`swap`.
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
        options: OpenOptions | None = None,
    ) -> None:
        if way is None:
            if backend is None:
                raise TypeError("Translator needs a backend or a way; see Translator.open for models by name.")
            way = way_over(backend, compositor, lanes, batch, follower)
        super().__init__(way, options)

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
        streams: int | None = None,
        warm: bool = True,
        frames: int | None = None,
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
            streams: networks that run beside each other on the GPU (TensorRT), at least as many frames in flight: more
                frames per second where one network does not fill it. None: one.
            warm: run the network once, so that the first frame is no slower than the others. False: the first frame
                is sooner; an error of the network shows there.
            frames: how many there will be, if that is known: for few, "auto" takes the backend that starts sooner.

        Raises:
            ModelFileError, BackendUnavailable, OptionError: with the cure in the message.
        """
        options = OpenOptions(**{name: value for name, value in locals().items() if name not in ("cls", "model")})
        return cls(way=open_way(model, options), options=options)

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
        with self._used() as way:
            look = make_look(way, {**(attributes or {}), **named})
            result = frame if look.hidden else way.translate(Item(frame, look))
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
        return self._over(frames, looks)

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
        with self._used() as way:
            look = make_look(way, {**(attributes or {}), **named})
            on_device = getattr(way, "on_device", None)
            if on_device is None:
                raise OptionError(
                    f"Arrays on a GPU need a backend that runs there; this translator's is '{self.backend.name}'. "
                    "See engine backends."
                )
            done: tuple[DeviceArray, ...] = on_device(planes, format, color, look)
            return done
