"""The way that is open now, and how another takes its place."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from ..backends.base import Backend, Choice
from ..errors import BackendError
from ..model import Model
from ..pixels.compositor import Compositor
from ..pixels.frame import Color, Frame, PixelFormat, blank, kind_of
from ..spec import GeneratorSpec
from ..timing import StageTimes
from .base import Item, Lease, Way
from .looks import Looks, make_look
from .opening import OpenOptions, open_way
from .scheduler import translated

if TYPE_CHECKING:
    from concurrent.futures import Future

    from typing_extensions import Self

    from ..faces.face_compositor import FaceCompositor


class SwappableWay:
    """The way that is open now, what it is like, and how another takes its place.

    Args:
        way: the first one.
        options: how it was opened, for those after it; None: as it would be by default.
    """

    def __init__(self, way: Way, options: OpenOptions | None = None) -> None:
        self._lease = Lease(way)
        self._options = options or OpenOptions()
        self._like: tuple[PixelFormat, tuple[int, int], Color] | None = None
        """What the last frame of a stream was like."""
        self._lock = threading.Lock()
        self._asked = self._shown = 0
        """Numbers of the last swap that was asked for, and of the one whose way is open."""
        self._closed = False

    @property
    def way(self) -> Way:
        """How frames pass the network."""
        return self._lease.way

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
        """Frames, or their tiles, that share an inference."""
        return self.way.batch

    @property
    def in_flight(self) -> int:
        """Frames that a stream translates at the same time."""
        return self.way.in_flight

    @property
    def frames_on_gpu(self) -> int | None:
        """The GPU in whose memory a stream takes frames and leaves them; None: they go through host memory."""
        return getattr(self.way, "frames_on_gpu", None)

    @property
    def frames_with_faces(self) -> int | None:
        """Frames so far in which a face was changed; None with another framing."""
        return getattr(self.way, "frames_with_faces", None)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of the model's answers so far, for example that they are not numbers."""
        return tuple(getattr(self.way, "notes", ()))

    @property
    def times(self) -> StageTimes:
        """How long each stage takes; another object may be set."""
        return self.way.times

    @times.setter
    def times(self, times: StageTimes) -> None:
        self.way.times = times

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
        from concurrent.futures import Future

        like = self._like
        size = self._options.frame_size if like is None else like[1]
        opening = replace(self._options, **{"value_range": None, "frame_size": size, "frames": None, **options})
        future: Future[None] = Future()
        future.set_running_or_notify_cancel()
        with self._lock:
            self._asked += 1
            number = self._asked

        def work() -> None:
            try:
                way = open_way(model, opening)
                try:
                    if like is not None:  # so that the first frame waits for nothing that is made on first use
                        way.translate(Item(blank(*like), make_look(way, {})))
                except BaseException:
                    way.close()
                    raise
                self._show(way, number)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(None)

        threading.Thread(target=work, name="swap", daemon=True).start()
        return future

    def close(self) -> None:
        """Free the model, as soon as no stream runs any more; a second call does nothing."""
        with self._lock:
            self._closed = True
        self._lease.retire()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"A {type(self).__name__} holds a loaded network and cannot be pickled or copied; open one in each process."
        )

    @contextmanager
    def _used(self) -> Iterator[Way]:
        """The way, kept open meanwhile.

        Raises:
            BackendError: it was closed.
        """
        while not (lease := self._lease).take():
            if self._closed:
                raise BackendError("This translator was closed; open it again.")
        try:
            yield lease.way
        finally:
            lease.give_back()

    def _over(self, frames: Iterable[Frame], looks: Looks) -> Generator[Frame, None, None]:
        """A stream over the way that is open when a frame's turn comes."""
        return translated(self._noted(frames), lambda: self._lease, looks)

    def _noted(self, frames: Iterable[Frame]) -> Generator[Frame, None, None]:
        """Note what the frames are like, for which the next model is warmed up."""
        iterator = iter(frames)
        try:
            for frame in iterator:
                self._like = kind_of(frame)
                yield frame
                del frame
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()

    def _show(self, way: Way, number: int) -> None:
        with self._lock:
            before, late, closed = self._lease, number < self._shown, self._closed
            if not (late or closed):
                self._shown = number
                way.times = before.way.times
                self._lease = Lease(way)
        if late or closed:
            way.close()
            raise BackendError("The translator was closed." if closed else "Another model was asked for later.")
        before.retire()
