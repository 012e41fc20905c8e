"""A stream of frames over a way that may be replaced while they flow."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from typing import NamedTuple

from ..errors import BackendError, EngineError
from ..pixels.frame import Frame, kind_of
from ..threads import Group, grouped
from .base import Item, Lease, Pending
from .looks import Looks


class _Entry(NamedTuple):
    """A frame, and the way that was open at its turn."""

    lease: Lease
    item: Item


def translated(frames: Iterable[Frame], current: Callable[[], Lease], looks: Looks) -> Generator[Frame, None, None]:
    """The frames in their order, each over the way that is open when its turn comes.

    Groups are started until as many are under way as the way has room for; then the oldest is waited for.

    Args:
        current: the way to take; another one from a frame on takes over there, while the frames before it finish on
            theirs.
    """
    under_way: deque[_Flight] = deque()
    course = _Course(current)
    failure: BaseException | None = None
    try:
        with closing(grouped(_entered(frames, course, looks), _most, _key)) as groups:
            while failure is None:
                try:
                    group = next(groups)
                    under_way.append(course.start(group))
                except StopIteration:
                    break
                except Exception as error:  # raised after the frames before it
                    failure = error
                    break
                room = group.items[-1].lease.way.room
                del group  # or its frames would live until the next ones come
                while len(under_way) >= room:
                    yield from _emptied(under_way.popleft().finish())
            while under_way:
                yield from _emptied(under_way.popleft().finish())
        if failure is not None:
            raise failure
    finally:
        while under_way:
            under_way.popleft().drop()
        course.end()
        failure = None  # its traceback holds this frame


class _Course:
    """The ways of one stream, one after the other. Each is kept open from its first frame until the next one begins."""

    def __init__(self, current: Callable[[], Lease]) -> None:
        self._current = current
        self._held: list[Lease] = []
        self._begun: Lease | None = None

    def lease(self) -> Lease:
        """The way of the next frame.

        Raises:
            BackendError: all ways were closed.
        """
        current = self._current()
        while not self._held or current is not self._held[-1]:
            if current.take():
                self._held.append(current)
                break
            last, current = current, self._current()
            if last is current:
                raise BackendError("This translator was closed; open it again.")
        return current

    def start(self, group: Group[_Entry]) -> _Flight:
        """Begin a group; the first one on its way ends the way before."""
        lease, items = group.items[0].lease, [entry.item for entry in group.items]
        try:
            if lease is not self._begun:
                self._change(lease)
            lease.share()
            try:
                way = lease.way
                return _Flight(group.first, way.skip(items) if items[0].look.hidden else way.start(items), lease)
            except BaseException:
                lease.give_back()
                raise
        except EngineError as error:
            _number(error, group.first)
            raise

    def _change(self, lease: Lease) -> None:
        before, self._begun = self._begun, None
        try:
            lease.way.begin(None if before is None else before.way)
            self._begun = lease
        finally:
            if before is not None:
                before.way.end()
                self._held.remove(before)
                before.give_back()

    def end(self) -> None:
        """The stream ends."""
        if self._begun is not None:
            self._begun.way.end()
        while self._held:
            self._held.pop().give_back()


class _Flight:
    """A group under way."""

    def __init__(self, first: int, pending: Pending, lease: Lease) -> None:
        self._first = first
        self._pending = pending
        self._lease = lease

    def finish(self) -> list[Frame]:
        try:
            return self._pending.finish()
        except EngineError as error:
            _number(error, self._first)
            raise
        finally:
            self._lease.give_back()

    def drop(self) -> None:
        try:
            self._pending.drop()
        finally:
            self._lease.give_back()


def _entered(frames: Iterable[Frame], course: _Course, looks: Looks) -> Generator[_Entry, None, None]:
    iterator = iter(frames)
    try:
        for frame in iterator:
            kind_of(frame)  # says what is wrong with an array
            lease = course.lease()
            yield _Entry(lease, Item(frame, looks.at(lease.way)))
            del frame
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            close()


def _most(entry: _Entry) -> int:
    return entry.lease.way.batch


def _key(entry: _Entry) -> object:
    hidden = entry.item.look.hidden
    return entry.lease, hidden, None if hidden else entry.lease.way.key(entry.item)


def _emptied(frames: list[Frame]) -> Generator[Frame, None, None]:
    """The frames one by one; none lives longer than it is used."""
    frames.reverse()
    while frames:
        yield frames.pop()


def _number(error: EngineError, first: int) -> None:
    if error.frame_number is None:
        error.frame_number = first
