"""The way of the faces of frames: found in the frames' order, changed by a network in host memory, and put back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..backends.base import Backend
from ..errors import OptionError
from ..faces.face_compositor import FaceCompositor
from ..faces.temporal_smoothing import Link
from ..faces.tracker import Follower, Placed
from ..pixels.frame import Frame
from ..spec import GeneratorSpec
from ..timing import StageTimes
from .base import Done, Item, Pending, Way
from .batching import MOST_FACES_AT_ONCE, face_runs
from .lanes import Lane, Lanes


class _Face(NamedTuple):
    """A face that was found, and which frame of the group it is in."""

    row: int
    placed: Placed
    link: Link | None
    """To the same face in the frame before; None if nothing is remembered."""


class FacesWay:
    """Faces through a network in host memory, one stream at a time.

    Faces are found in the caller's thread, because each frame's depend on those before; the networks run side by side.

    Args:
        backend: runs the network; closed with the way.
        compositor: how faces enter it.
        more: open further networks of the same kind, for groups of frames that are worked on at the same time.
        batch: frames of a group, and faces that share a run; None: one frame, and as many faces as suit the backend.
        follower: finds the faces; by default one with YuNet.
    """

    def __init__(
        self,
        backend: Backend,
        compositor: FaceCompositor,
        more: Sequence[Callable[[], Backend]] = (),
        batch: int | None = None,
        follower: Follower | None = None,
    ) -> None:
        self.backend = backend
        self.compositor = compositor
        self.times = StageTimes()
        self.follower = follower or Follower(compositor.framing)
        self.looking = threading.Lock()
        """Held while the follower is used."""
        self._lanes = Lanes(backend, compositor, more)
        self.in_flight, self.room = self._lanes.in_flight, self._lanes.room
        self.batch = batch or backend.batch or 1
        self._most = min(batch or backend.batch or backend.usual_batch, MOST_FACES_AT_ONCE)
        self._busy = False
        self._links: dict[int, Link] = {}

    @property
    def spec(self) -> GeneratorSpec:
        """The generator's record."""
        return self.backend.spec

    @property
    def notes(self) -> list[str]:
        """What a user should know of the model's answers."""
        return self._lanes.answers.notes

    @property
    def frames_with_faces(self) -> int:
        """Frames so far in which a face was changed."""
        return self.follower.frames_with_faces

    def key(self, item: Item) -> object:
        """See :meth:`~.base.Way.key`: every face becomes a picture of one size."""
        return None

    def begin(self, before: Way | None = None) -> None:
        """See :meth:`~.base.Way.begin`. Faces that the way before followed are followed on, with the same options."""
        with self.looking:
            if self._busy:
                raise OptionError(
                    "This translator follows the faces of another stream, which has not ended. Close that one, or open "
                    "a translator for each stream."
                )
            self._busy = True
            if isinstance(before, FacesWay) and before.follower.options == self.follower.options:
                with before.looking:
                    self.follower, before.follower = before.follower, self.follower
            else:
                self.follower.reset()

    def end(self) -> None:
        """See :meth:`~.base.Way.end`."""
        with self.looking:
            self._busy = False
            self._links = {}
            self.follower.reset()

    def start(self, items: Sequence[Item]) -> Pending:
        """See :meth:`~.base.Way.start`."""
        faces: list[_Face] = []
        try:
            for index, item in enumerate(items):
                faces += [_Face(index, placed, self._links.get(placed.number)) for placed in self._follow(item.frame)]
            if not faces:
                return Done([item.frame for item in items])
            return _Finding(self._lanes.start(lambda lane: self._translate(lane, items, faces)), faces)
        except BaseException:
            _release(faces)
            raise

    def skip(self, items: Sequence[Item]) -> Pending:
        """The frames themselves; their faces are followed, so that they need not be found again afterwards."""
        for item in items:
            self._follow(item.frame)
        self._links = {}
        return Done([item.frame for item in items])

    def translate(self, item: Item) -> Frame:
        """See :meth:`~.base.Way.translate`. The frame itself, not a copy, if it has no face."""
        with self.looking, self.times.measure("detect"):
            faces = [_Face(0, placed, None) for placed in self.follower.find(item.frame)]
        return self._translate(self._lanes.first, [item], faces)[0]

    def close(self) -> None:
        """See :meth:`~.base.Way.close`."""
        self._lanes.close()

    def _follow(self, frame: Frame) -> tuple[Placed, ...]:
        with self.looking, self.times.measure("detect"):
            faces = self.follower.update(frame)
            steady = self.follower.options.steady
            low, high = self.spec.value_range
            before = self._links
            self._links = (
                {face.number: Link(before.get(face.number), steady, high - low) for face in faces} if steady else {}
            )
            return faces

    def _translate(self, lane: Lane[FaceCompositor], items: Sequence[Item], faces: Sequence[_Face]) -> list[Frame]:
        """The frames themselves, not copies, where no face shows."""
        results = [item.frame for item in items]
        fixed, done = self.backend.batch, 0
        try:
            with lane.network.lock:
                for count in face_runs(len(faces), self._most, fixed):
                    self._translate_run(lane, items, faces[done : done + count], fixed or count, results)
                    done += count
        finally:
            _release(faces)
        return results

    def _translate_run(
        self, lane: Lane[FaceCompositor], items: Sequence[Item], faces: Sequence[_Face], room: int, results: list[Frame]
    ) -> None:
        count, times, compositor = len(faces), self.times, lane.compositor
        tensors = lane.network.tensors(compositor.size, room)
        with times.measure("prepare", count):
            for number, face in enumerate(faces):
                frame, look = items[face.row]
                compositor.prepare(frame, face.placed, tensors.images[number])
                if tensors.attributes is not None:
                    tensors.attributes[number] = look.attributes
        with times.measure("run", count):
            output = lane.network.run(tensors)
        with times.measure("compose", count):
            for number, face in enumerate(faces):
                frame, look = items[face.row]
                if results[face.row] is frame:
                    results[face.row] = frame.copy()
                compositor.compose(
                    face.placed,
                    tensors.images[number : number + 1],
                    output.part(number),
                    results[face.row],
                    face.link,
                    opacity=look.opacity,
                    detail=look.detail,
                )


class _Finding:
    """A group whose faces are in a lane."""

    def __init__(self, pending: Pending, faces: Sequence[_Face]) -> None:
        self._pending = pending
        self._faces = faces

    def finish(self) -> list[Frame]:
        try:
            return self._pending.finish()
        finally:
            _release(self._faces)

    def drop(self) -> None:
        _release(self._faces)
        self._pending.drop()


def _release(faces: Sequence[_Face]) -> None:
    """Let the next frame go on, whatever became of this one."""
    for face in faces:
        if face.link is not None:
            face.link.release()
