"""Stages that overlap: each end of a pipeline may run in a thread of its own, behind a bounded queue.

    with VideoSource(path) as source, VideoSink(out, source.format) as sink, Writer(sink.write) as writer:
        for frame in translator.stream(prefetch(source)):
            writer.write(frame)

Decoding and encoding then run beside the network, with a few frames in between and constant memory.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, TypeVar

from .errors import EngineError

T = TypeVar("T")
R = TypeVar("R")

_PATIENCE_S = 10.0
"""How long to wait for a stage's thread when stopping early. Threads are daemons: a read of a pipe that never comes
back must not keep the program alive."""


class _End:
    """Last item of a channel: the upstream ended, or failed with an error."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class _Channel(Generic[T]):
    """A bounded queue that either end can close. No polling: waiting ends are woken."""

    def __init__(self, depth: int) -> None:
        self._items: deque[T | _End] = deque()
        self._depth = depth
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: T | _End) -> bool:
        """Append, waiting for room; False if the other end no longer wants anything. An end needs no room."""
        with self._changed:
            while len(self._items) >= self._depth and not self._closed and not isinstance(item, _End):
                self._changed.wait()
            if self._closed:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def get(self) -> T | _End:
        """The next item, waiting for it; an end once closed."""
        with self._changed:
            while not self._items and not self._closed:
                self._changed.wait()
            if not self._items:
                return _End()
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """Drop what is inside and wake both ends."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()


def prefetch(items: Iterable[T], depth: int = 4) -> Generator[T, None, None]:
    """Run ``items`` in a thread of its own, up to ``depth`` items ahead.

    An error of the upstream is raised here, after the items that came before it, with ``frame_number`` set to the
    number of the item that failed (from 1). Closing this generator, or an error of the consumer, stops the upstream,
    which is closed in its own thread.
    """
    if depth < 1:
        raise ValueError(f"depth must be at least 1, got {depth}")
    channel: _Channel[T] = _Channel(depth)

    def work() -> None:
        number = 0
        error: BaseException | None = None
        try:
            iterator = iter(items)
            try:
                for item in iterator:
                    number += 1
                    if not channel.put(item):
                        break
            finally:
                close = getattr(iterator, "close", None)
                if close is not None:
                    close()
        except BaseException as caught:
            error = _numbered(caught, number + 1)
        channel.put(_End(error))

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            item = channel.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        channel.close()
        thread.join(_PATIENCE_S)


@dataclass(frozen=True)
class Group(Generic[T]):
    """Items that are worked on together."""

    first: int
    """Number of the first one, from 1."""
    items: list[T]


def grouped(
    items: Iterable[T], most: int, key: Callable[[T], object] = lambda _: None
) -> Generator[Group[T], None, None]:
    """Items in groups of ``most``; the last one, and one after which ``key`` changes, may be smaller.

    An error of the upstream is raised after the group of the items that came before it, with ``frame_number`` set.
    """
    iterator = iter(items)
    first = 1
    waiting: list[T] = []
    try:
        while True:
            try:
                item = next(iterator)
            except StopIteration:
                break
            except BaseException as caught:
                _numbered(caught, first + len(waiting))
                if waiting:
                    yield Group(first, waiting)
                raise
            if waiting and key(item) != key(waiting[0]):
                first, waiting, given = first + len(waiting), [], Group(first, waiting)
                yield given
                del given
            waiting.append(item)
            del item  # or it would live until the next one comes
            if len(waiting) == most:
                first, waiting, given = first + len(waiting), [], Group(first, waiting)
                yield given
                del given
        if waiting:
            yield Group(first, waiting)
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            close()


def flattened(groups: Iterable[list[T]]) -> Generator[T, None, None]:
    """The items of lists one by one; each list is emptied, so that nothing lives longer than it is used."""
    iterator = iter(groups)
    try:
        for group in iterator:
            group.reverse()
            while group:
                yield group.pop()
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            close()


def ordered(workers: Sequence[Callable[[T], R]], items: Iterable[T]) -> Generator[R, None, None]:
    """Give each item to a free worker; the answers come in the items' order, none later than it need be.

    Each worker runs in a thread of its own and has one item at a time; none is more than twice as many items ahead of
    the consumer as there are workers. ``items`` is asked by one worker at a time. Errors are raised here after the
    answers that came before, with ``frame_number`` set to the item's number (from 1). Closing this generator, or an
    error of the consumer, lets the workers finish what they have in hand, then closes ``items``.
    """
    if not workers:
        raise ValueError("ordered needs a worker")
    iterator = iter(items)
    asking, changed = threading.Lock(), threading.Condition()
    answers: dict[int, R | _End] = {}
    asked = taken = 0
    closed = False

    def work(worker: Callable[[T], R]) -> None:
        nonlocal asked, closed
        while True:
            with asking:
                number = asked
                with changed:
                    while not closed and number >= taken + 2 * len(workers):
                        changed.wait()
                    if closed:
                        return
                try:
                    item = next(iterator)
                except BaseException as caught:
                    end = _End() if isinstance(caught, StopIteration) else _End(_numbered(caught, number + 1))
                    with changed:
                        answers[number] = end
                        closed = True
                        changed.notify_all()
                    return
                asked += 1
            answer: R | _End
            try:
                answer = worker(item)
            except BaseException as caught:
                answer = _End(_numbered(caught, number + 1))
            del item  # or it would live until the next one comes
            with changed:
                answers[number] = answer
                closed = closed or isinstance(answer, _End)
                changed.notify_all()

    threads = [threading.Thread(target=work, args=(worker,), name="worker", daemon=True) for worker in workers]
    for thread in threads:
        thread.start()
    try:
        while True:
            with changed:
                while taken not in answers:
                    changed.wait()
                answer = answers.pop(taken)
                taken += 1
                changed.notify_all()
            if isinstance(answer, _End):
                if answer.error is not None:
                    raise answer.error
                return
            yield answer
            del answer
    finally:
        with changed:
            closed = True
            changed.notify_all()
        for thread in threads:
            thread.join(_PATIENCE_S)
        close = getattr(iterator, "close", None)
        if close is not None and not any(thread.is_alive() for thread in threads):
            close()


class Writer(Generic[T]):
    """Calls ``sink`` with each written item in a thread of its own, up to ``depth`` items behind.

    An error of the sink is raised by the next :meth:`write`, or by :meth:`close`, once, with ``frame_number`` set.
    As a context manager it waits for all items on a normal end and on Ctrl-C, and drops them on other errors.
    """

    def __init__(self, sink: Callable[[T], object], depth: int = 4) -> None:
        if depth < 1:
            raise ValueError(f"depth must be at least 1, got {depth}")
        self._sink = sink
        self._channel: _Channel[T] = _Channel(depth)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="writer", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        number = 0
        while True:
            item = self._channel.get()
            if isinstance(item, _End):
                return
            number += 1
            try:
                self._sink(item)
            except BaseException as caught:
                self._error = _numbered(caught, number)
                self._channel.close()
                return
            del item  # or the last item would live until the next one comes

    def write(self, item: T) -> None:
        """Hand over an item, waiting while the queue is full."""
        if not self._channel.put(item):
            self._raise()
            raise ValueError("write to a closed Writer")

    def close(self) -> None:
        """Wait until every item is written; a second call does nothing."""
        self._channel.put(_End())
        self._thread.join()
        self._channel.close()
        self._raise()

    def cancel(self) -> None:
        """Stop after the item in hand, dropping the others."""
        self._channel.close()
        self._thread.join(_PATIENCE_S)

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def __enter__(self) -> Writer[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or issubclass(kind, KeyboardInterrupt):
            self.close()
        else:
            self.cancel()


def _numbered(error: BaseException, number: int) -> BaseException:
    """The error with the number of the frame at which it came, unless it has one already."""
    if isinstance(error, EngineError) and error.frame_number is None:
        error.frame_number = number
    return error
