"""Translator: a model, a backend and a framing, ready to translate pictures and streams of frames."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from .backends import default_threads, open_backend
from .backends.base import Array, Backend, Choice, ModelBackend, Output
from .controls import Controls
from .errors import BackendError, BackendUnavailable, EngineError, MissingExtra, OptionError
from .faces.face_compositor import FaceCompositor, FacedFrame
from .faces.framing import FaceFraming
from .faces.stream import faced, single
from .faces.tracker import Follower
from .model import find_model, read_model_spec
from .model.attributes import attribute_vector
from .pixels.compositor import Compositor
from .pixels.frame import Color, Frame, PixelFormat, kind_of, not_a_frame
from .pixels.framing import Framing, Mode
from .spec import GeneratorSpec, ValueRange
from .threads import Group, flattened, grouped, ordered
from .timing import StageTimes

if TYPE_CHECKING:
    from .cuda import DeviceArray
    from .ways.gpu import FramePipeline

T = TypeVar("T")
R = TypeVar("R")

MOST_FACES_AT_ONCE = 8
"""Faces come in any number, and runs of 8, 4, 2 and 1 are as many as a backend keeps prepared."""


class Translator:
    """Translates pictures with one generator.

    >>> with Translator.open("monet") as translator:
    ...     painted = translator(photo)  # (H, W, 3) uint8 RGB in and out

    Not for concurrent use; open one per thread.

    Args:
        backend: runs the network; closed with the translator.
        compositor: by default the whole frame through the network and back; a
            :class:`~ganlens.engine.faces.face_compositor.FaceCompositor` gives it the faces.
        lanes: make more translators of the same kind, one each, for frames that :meth:`stream` translates at the same
            time; called when first needed, in a thread of their own.
        pipeline: the way of frames over a GPU, in place of ``lanes``.
        follower: finds the faces for a face compositor; by default one with YuNet.
        batch: see :meth:`open`.
    """

    def __init__(
        self,
        backend: Backend,
        compositor: Compositor | FaceCompositor | None = None,
        lanes: Sequence[Callable[[], Translator]] = (),
        pipeline: FramePipeline | None = None,
        follower: Follower | None = None,
        batch: int | None = None,
    ) -> None:
        self.backend = backend
        self.compositor = compositor or Compositor(backend.spec)
        self.times = StageTimes()
        if follower is None and isinstance(self.compositor, FaceCompositor):
            follower = Follower(self.compositor.framing)
        self._follower = follower
        self._lanes = [_Lane(make) for make in lanes]
        self._pipeline = pipeline
        self.batch = batch or backend.batch or 1
        """Frames, or their tiles, that share a run of the network."""
        self._faces_at_once = min(batch or backend.batch or backend.usual_batch, MOST_FACES_AT_ONCE)

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
        batch: int | None = None,
    ) -> Translator:
        """Open a shipped model by name, or a model file.

        Args:
            model: a name that ``engine models`` lists, or the path of an ONNX file.
            backend: "auto", or one of those that ``engine backends`` lists; a named backend never falls back.
            framing: "fit", "crop", "tile", "native", or a :class:`~ganlens.engine.Framing` with its options;
                "faces" or a :class:`~ganlens.engine.faces.FaceFraming`. None: "faces" for a model whose record says
                that it takes an aligned face, else "fit".
            detail: see :class:`~ganlens.engine.Compositor`; None: 1 for faces, whose change is added to the
                frame's own pixels, 0 for all else.
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
            batch: pictures that share a run of the network, which must leave their number free: the frames of
                :meth:`stream`, which then come that many at a time, the tiles of a frame, or faces. None: frames one by
                one, and the faces of a frame together where the network runs on a GPU.

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
        for option, number in (("in_flight", in_flight), ("batch", batch), ("threads", threads)):
            if number is not None and number < 1:
                raise OptionError(f"{option} = {number} came; expected 1 or more.")
        threads = max(1, (threads or default_threads()) // in_flight)
        options: dict[str, Any] = {"size": size, "threads": threads, "spin": spin, "value_range": value_range}
        # Faces come in any number; runs of one are always among them.
        options["batch"] = batch if isinstance(chosen, Framing) else None
        opened = open_backend(path, backend, strict=strict, **options)

        def make_compositor(spec: GeneratorSpec) -> Compositor | FaceCompositor:
            if isinstance(chosen, FaceFraming):
                return FaceCompositor(spec, chosen, detail=1.0 if detail is None else detail, opacity=opacity)
            return Compositor(spec, chosen, detail=detail or 0.0, opacity=opacity)

        def lane() -> Translator:
            again = open_backend(path, opened.name, **options)
            return cls(again, make_compositor(again.spec), batch=batch)

        try:
            opened.check_batch(batch)
            compositor = make_compositor(opened.spec)
            pipeline = None
            if isinstance(compositor, Compositor):  # faces of a frame go through the host
                pipeline = _open_pipeline(
                    opened, compositor, frame_size, in_flight, spin, strict, batch or opened.batch or 1
                )
            lanes = [] if pipeline else [lane] * (in_flight - 1)
            return cls(opened, compositor, lanes, pipeline, batch=batch)
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
            image: (H, W, 3) uint8 RGB, or a :class:`~ganlens.engine.pixels.frame.Frame` in its own pixel format.
            attributes: values in 0..1 by name, for models that have attributes; case and underscores do not matter.

        Returns:
            The same kind and size as ``image``.
        """
        vector = self._attribute_vector(attributes)
        if isinstance(image, Frame):
            return self._translate([image], vector)[0]
        return self._translate([Frame.from_rgb(np.ascontiguousarray(image))], vector)[0].planes[0]

    def stream(
        self, frames: Iterable[Frame], *, controls: Controls | None = None, **attributes: float
    ) -> Generator[Frame, None, None]:
        """Translate frames in their order; each keeps its time, pixel format and colour description.

        With several in flight, ``frames`` is read by threads other than the caller's. ``Frame.from_rgb`` makes a frame
        of an array.
        """
        if controls is not None:
            attributes = {**controls.snapshot().attributes, **attributes}
        vector = self._attribute_vector(attributes)
        if self._pipeline is not None:
            self._pipeline.times = self.times
            return self._pipeline.stream(frames, vector)
        items: Iterable[Frame | FacedFrame] = frames
        if self._follower is not None:
            low, high = self.spec.value_range
            items = faced(frames, self._follower, self.times, high - low)
        tiled = isinstance(self.compositor, Compositor) and self.compositor.framing.mode == "tile"
        groups = grouped(items, 1 if tiled else self.batch, _kind)
        workers = [partial(self._translate_group, attributes=vector)]
        for lane in self._lanes:
            lane.times = self.times
            workers.append(partial(lane.translate, attributes=vector))
        return flattened(ordered(workers, groups) if self._lanes else _one_by_one(workers[0], groups))

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
            planes: as of :class:`~ganlens.engine.Frame`, but arrays of CuPy, torch, PyCUDA, PyNvVideoCodec or
                any library with ``__cuda_array_interface__`` or DLPack; rows may be padded. They are written.
            format, color: as of :class:`~ganlens.engine.Frame`.
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

    def _translate_group(self, group: Group[Frame | FacedFrame], attributes: Array | None) -> list[Frame]:
        try:
            return self._translate(group.items, attributes)
        except EngineError as error:
            if error.frame_number is None:
                error.frame_number = group.first
            raise

    def _translate(self, items: Sequence[Frame | FacedFrame], attributes: Array | None) -> list[Frame]:
        """Translate frames of one size, format and colour."""
        if isinstance(self.compositor, FaceCompositor):
            found = [self._find_faces(item) if isinstance(item, Frame) else item for item in items]
            return self._translate_faces(self.compositor, found, attributes)
        frames = [item for item in items if isinstance(item, Frame)]
        if len(frames) != len(items):
            raise not_a_frame(next(item for item in items if not isinstance(item, Frame)))
        if self._pipeline is not None:
            self._pipeline.times = self.times
            return self._pipeline.translate(frames, attributes)
        compositor = self.compositor
        with self.times.measure("prepare", len(frames)):
            # A group that is not full runs at full size too: no network is prepared for another one.
            images = compositor.prepare_all(frames, room=self.batch if len(frames) > 1 else 1)
        with self.times.measure("run", len(frames)):
            output = compositor.run(frames[0], images, lambda x: self._run(x, attributes), self.batch)
        results = []
        with self.times.measure("compose", len(frames)):
            for index, frame in enumerate(frames):
                results.append(frame.copy())
                compositor.compose(frame, output, results[-1], index)
        return results

    def _find_faces(self, frame: Frame) -> FacedFrame:
        assert self._follower is not None
        return single(frame, self._follower, self.times)

    def _translate_faces(
        self, compositor: FaceCompositor, items: Sequence[FacedFrame], attributes: Array | None
    ) -> list[Frame]:
        """The frames themselves, not copies, where no face shows."""
        results = [item.frame for item in items]
        places = [
            (number, face, link)
            for number, item in enumerate(items)
            for face, link in zip(item.faces, item.links, strict=True)
        ]
        try:
            for count in self._runs_of(len(places)):
                chosen, places = places[:count], places[count:]
                with self.times.measure("prepare", count):
                    images = compositor.prepare([(items[number].frame, face) for number, face, _ in chosen])
                with self.times.measure("run", count):
                    output = self._run(images, attributes)
                with self.times.measure("compose", count):
                    for index, (number, face, link) in enumerate(chosen):
                        if results[number] is items[number].frame:
                            results[number] = items[number].frame.copy()
                        image = images[index : index + 1]
                        compositor.compose(face, image, output.part(index), results[number], link)
        finally:
            for item in items:
                for link in item.links:
                    if link is not None:
                        link.release()
        return results

    def _runs_of(self, faces: int) -> list[int]:
        """How many faces share each run.

        Few different numbers, because a network is prepared for each: the largest, and the powers of two below it.
        """
        most = self._faces_at_once
        if self.backend.batch is not None:  # whatever comes is filled up
            return [most] * (faces // most) + [faces % most] * (faces % most > 0)
        runs = []
        while faces:
            while most > faces:
                most = 1 << ((most - 1).bit_length() - 1)
            runs.append(most)
            faces -= most
        return runs

    def _run(self, images: Array, attributes: Array | None) -> Output:
        """Run the network on (N, 3, h, w); a network made for more pictures is filled up."""
        count, fixed = len(images), self.backend.batch
        if fixed is not None and fixed > count:
            images = np.concatenate([images, np.repeat(images[-1:], fixed - count, axis=0)])
        if attributes is not None and len(images) > 1:
            attributes = np.repeat(attributes, len(images), axis=0)
        output = self.backend.run(images, attributes)
        if len(images) == count:
            return output
        return Output(output.translated[:count], None if output.mask is None else output.mask[:count])

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
    backend: ModelBackend,
    compositor: Compositor,
    frame_size: tuple[int, int] | None,
    in_flight: int,
    spin: bool,
    strict: bool,
    batch: int,
) -> FramePipeline | None:
    """The way of frames over the GPU, where the backend runs on one and offers it; a line of ``choice`` if it fails."""
    if not isinstance(backend, DeviceBackend):
        return None
    from .ways.gpu import FramePipeline

    try:
        if compositor.framing.mode == "tile":
            raise OptionError("framing 'tile' puts tiles together there")
        pipeline = FramePipeline(backend.gpu, backend, compositor, in_flight=in_flight, spin=spin, batch=batch)
        if frame_size is not None:
            pipeline.warm_up(frame_size)
        return pipeline
    except (MissingExtra, BackendUnavailable, BackendError, OptionError) as error:
        if strict:
            raise
        line = f"{backend.name}: frames go through host memory: {error}"
        backend.choice = Choice(backend.choice.name, (*backend.choice.lines, line))
        return None


def _kind(item: Frame | FacedFrame) -> object:
    return kind_of(item.frame if isinstance(item, FacedFrame) else item)


def _one_by_one(work: Callable[[T], R], items: Generator[T, None, None]) -> Generator[R, None, None]:
    with closing(items):
        for item in items:
            yield work(item)


class _Lane:
    """A further translator for :meth:`Translator.stream`, opened with its first frame, in its own thread."""

    def __init__(self, make: Callable[[], Translator]) -> None:
        self._make = make
        self._translator: Translator | None = None
        self.times = StageTimes()

    def translate(self, group: Group[Frame | FacedFrame], attributes: Array | None) -> list[Frame]:
        if self._translator is None:
            self._translator = self._make()
        self._translator.times = self.times
        return self._translator._translate_group(group, attributes)

    def close(self) -> None:
        if self._translator is not None:
            self._translator.close()
            self._translator = None
