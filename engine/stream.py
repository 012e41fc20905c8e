"""Stages that overlap: each end of a pipeline may run in a thread of its own, behind a bounded queue.

    with VideoSource(path) as source, VideoSink(out, source.info) as sink, Writer(sink.write) as writer:
        for frame in translator.stream(prefetch(source)):
            writer.write(frame)

Decoding and encoding then run beside the network, with a few frames in between and constant memory.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from types import TracebackType
from typing import Generic, TypeVar

from .errors import EngineError

T = TypeVar("T")

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
