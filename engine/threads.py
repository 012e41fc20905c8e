"""Stages that overlap: each end of a pipeline may run in a thread of its own, behind a bounded queue.

    with VideoSource(path) as source, VideoSink(out, source.format) as sink, Writer(sink.write) as writer:
        for frame in translator.stream(prefetch(source)):
            writer.write(frame)

Decoding and encoding then run beside the network, with a few frames in between and constant memory.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Literal, TypeVar, get_args

from .errors import EngineError

T = TypeVar("T")
R = TypeVar("R")

_PATIENCE_S = 10.0
"""How long to wait for a stage's thread when stopping early. Threads are daemons: a read of a pipe that never comes
back must not keep the program alive."""
_M_ARENA_MAX = -8  # of malloc.h


class End:
    """Last item of a channel: the upstream ended, or failed with an error."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


Policy = Literal["wait", "latest"]
"""What a full queue does with the next item: "wait" lets it wait, for files; "latest" drops the oldest item, for live
sources, whose frames would only get old."""


@dataclass
class Counts:
    """What became of the items of a queue."""

    taken: int = 0
    """Given to the consumer."""
    dropped: int = 0
    """Overtaken by later ones, with policy "latest"."""
    stale: int = 0
    """Too old when the consumer asked for the next one."""


class Channel(Generic[T]):
    """A bounded queue that either end can close. No polling: waiting ends are woken.

    Args:
        depth: items that wait at most.
        policy: what happens to the next item then; see :data:`Policy`.
        counts: where is counted what became of the items.
        stale: how many of the waiting items, oldest first, are too old to be taken; by default none.
    """

    def __init__(
        self,
        depth: int,
        policy: Policy = "wait",
        counts: Counts | None = None,
        stale: Callable[[Sequence[T]], int] | None = None,
    ) -> None:
        if depth < 1:
            raise ValueError(f"depth: got {depth}, expected at least 1")
        if policy not in get_args(Policy):
            raise ValueError(f"policy: got {policy!r}, expected one of {', '.join(get_args(Policy))}")
        self._items: deque[T | End] = deque()
        self._depth = depth
        self._policy = policy
        self._stale = stale
        self._closed = False
        self._changed = threading.Condition()
        self.counts = counts if counts is not None else Counts()

    def put(self, item: T | End) -> bool:
        """Append, making room as the policy says; False if the other end no longer wants anything.

        An end needs no room.
        """
        with self._changed:
            while len(self._items) >= self._depth and not self._closed and not isinstance(item, End):
                if self._policy == "latest":
                    self._items.popleft()
                    self.counts.dropped += 1
                else:
                    self._changed.wait()
            if self._closed:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def get(self, timeout: float | None = None) -> T | End:
        """The next item, waiting for it; an end once closed and empty, or if there is none within ``timeout`` s."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed, timeout)
            if not self._items:
                return End()
            if self._stale is not None:
                waiting = [item for item in self._items if not isinstance(item, End)]
                for _ in range(self._stale(waiting) if waiting else 0):
                    self._items.popleft()
                    self.counts.stale += 1
                del waiting
            item = self._items.popleft()
            self.counts.taken += not isinstance(item, End)
            self._changed.notify_all()
            return item

    def close(self, *, drop: bool = True) -> None:
        """Accept nothing more and wake both ends.

        Args:
            drop: forget what is inside; otherwise it can still be taken.
        """
        with self._changed:
            self._closed = True
            if drop:
                self._items.clear()
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._closed


def prefetch(
    items: Iterable[T], depth: int = 4, *, policy: Policy = "wait", counts: Counts | None = None
) -> Generator[T, None, None]:
    """Run ``items`` in a thread of its own, up to ``depth`` items ahead.

    Args:
        policy: what happens to the next item when ``depth`` items wait; see :data:`Policy`.
        counts: where is counted what became of the items.

    An error of the upstream is raised here, after the items before it, with ``frame_number`` set to the
    number of the item that failed (from 1). Closing this generator, or an error of the consumer, stops the upstream,
    which is closed in its own thread.
    """
    channel: Channel[T] = Channel(depth, policy, counts)

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
        channel.put(End(error))

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            item = channel.get()
            if isinstance(item, End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        channel.close()
        thread.join(_PATIENCE_S)


@contextmanager
def ordinary_priority() -> Iterator[None]:
    """Undo what a library does to the scheduling of this process while it is opened.

    SVT-AV1 gives real-time priority to its threads, and to the one that opens it, when the process is root's, as in a
    container: everything else on the machine would wait for them. A process that was started so (chrt) stays so.
    """
    if not hasattr(os, "sched_getscheduler") or os.sched_getscheduler(0) != os.SCHED_OTHER:
        yield
        return
    try:
        yield
    finally:
        with suppress(OSError):  # no /proc
            for task in os.listdir("/proc/self/task"):
                with suppress(OSError):  # the thread has ended, or is not ours to change
                    if os.sched_getscheduler(int(task)) in (os.SCHED_FIFO, os.SCHED_RR):
                        os.sched_setscheduler(int(task), os.SCHED_OTHER, os.sched_param(0))


def share_heaps(most: int = 2) -> None:
    """Let all threads of this process share ``most`` heaps; for programs that run for days.

    glibc gives each thread a heap of its own, up to eight a core, which keeps much of what is freed in it. Threads of
    networks, codecs and pages come and go: after an hour of ``engine live`` on a busy machine a third of the heaps was
    free memory, and growing. No effect with another C library, nor where ``MALLOC_ARENA_MAX`` is set.
    """
    if sys.platform == "linux" and "MALLOC_ARENA_MAX" not in os.environ:
        import ctypes  # late: only one command needs it

        with suppress(AttributeError):  # another C library
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, most)


@dataclass(frozen=True)
class Group(Generic[T]):
    """Items that are worked on together."""

    first: int
    """Number of the first one, from 1."""
    items: list[T]


def grouped(
    items: Iterable[T], most: int | Callable[[T], int], key: Callable[[T], object] = lambda _: None
) -> Generator[Group[T], None, None]:
    """Items in groups of ``most``, which may depend on an item; the last one, and one after which ``key`` changes, may
    be smaller.

    An error of the upstream is raised after the group of the items before it, with ``frame_number`` set.
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
            full = most(item) if callable(most) else most
            del item  # or it would live until the next one comes
            if len(waiting) >= full:
                first, waiting, given = first + len(waiting), [], Group(first, waiting)
                yield given
                del given
        if waiting:
            yield Group(first, waiting)
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            close()


def ordered(workers: Sequence[Callable[[T], R]], items: Iterable[T]) -> Generator[R, None, None]:
    """Give each item to a free worker; the answers come in the items' order, none later than it need be.

    Each worker runs in a thread of its own and has one item at a time; none is more than twice as many items ahead of
    the consumer as there are workers. ``items`` is asked by one worker at a time. Errors are raised here after the
    earlier answers, with ``frame_number`` set to the item's number (from 1). Closing this generator, or an
    error of the consumer, lets the workers finish their current items, then closes ``items``.
    """
    if not workers:
        raise ValueError("ordered needs a worker")
    iterator = iter(items)
    asking, changed = threading.Lock(), threading.Condition()
    answers: dict[int, R | End] = {}
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
                    end = End() if isinstance(caught, StopIteration) else End(_numbered(caught, number + 1))
                    with changed:
                        answers[number] = end
                        closed = True
                        changed.notify_all()
                    return
                asked += 1
            answer: R | End
            try:
                answer = worker(item)
            except BaseException as caught:
                answer = End(_numbered(caught, number + 1))
            del item  # or it would live until the next one comes
            with changed:
                answers[number] = answer
                closed = closed or isinstance(answer, End)
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
            if isinstance(answer, End):
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


class Task(Generic[R]):
    """Work that was given to a :class:`Crew`."""

    def __init__(self, work: Callable[[Any], R], changed: threading.Condition) -> None:
        self._work: Callable[[Any], R] | None = work
        self._changed = changed
        self._begun = self._ended = False
        self._error: BaseException | None = None

    def result(self) -> R:
        """Wait for the result, which is returned once.

        Raises:
            BaseException: the error of the task.
        """
        with self._changed:
            while not self._ended:
                self._changed.wait()
        if self._error is not None:
            raise self._error
        answer = self._answer
        del self._answer  # or it would live as long as the task
        return answer

    def cancel(self) -> None:
        """Cancel the task; if it has started, wait for it."""
        with self._changed:
            self._work = None
            if not self._begun:
                self._ended, self._error = True, RuntimeError("the task was cancelled")
            self._changed.wait_for(lambda: self._ended, _PATIENCE_S)

    def _begin(self) -> Callable[[Any], R] | None:
        with self._changed:
            work, self._work = self._work, None
            self._begun = work is not None
        return work

    def _end(self, answer: R | None, error: BaseException | None) -> None:
        with self._changed:
            if error is None:
                self._answer: R = answer  # type: ignore[assignment]
            self._error, self._ended = error, True
            self._changed.notify_all()


class Crew(Generic[T]):
    """Threads that each have a tool of their own, made when it is first needed, and take tasks in their order.

    Args:
        makers: make the tools, each in its thread.
    """

    def __init__(self, makers: Sequence[Callable[[], T]]) -> None:
        self._makers = list(makers)
        self._tools: list[T] = []
        self._tasks: deque[Task[Any]] = deque()
        self._changed = threading.Condition()
        self._idle = 0
        self._closed = False
        self._threads: list[threading.Thread] = []

    def start(self, work: Callable[[T], R]) -> Task[R]:
        """Run ``work`` in the first free thread."""
        task: Task[R] = Task(work, self._changed)
        with self._changed:
            if self._closed:
                raise RuntimeError("the crew was closed")
            self._tasks.append(task)
            if len(self._tasks) > self._idle and len(self._threads) < len(self._makers):
                maker = self._makers[len(self._threads)]
                thread = threading.Thread(target=self._work, args=(maker,), name="lane", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._changed.notify_all()
        return task

    def close(self) -> list[T]:
        """Stop the threads after their current tasks; returns the tools that were made."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(_PATIENCE_S)
        return self._tools

    def _work(self, make: Callable[[], T]) -> None:
        tool: T | None = None
        while True:
            with self._changed:
                self._idle += 1
                while not self._tasks and not self._closed:
                    self._changed.wait()
                self._idle -= 1
                if not self._tasks:
                    return
                task = self._tasks.popleft()
            work = task._begin()
            if work is None:
                continue
            answer, error = None, None
            try:
                if tool is None:
                    tool = make()
                    self._tools.append(tool)
                answer = work(tool)
            except BaseException as caught:
                error = caught
            task._end(answer, error)
            del task, work, answer, error  # or a frame would live until the next one comes


class Writer(Generic[T]):
    """Calls ``sink`` with each written item in a thread of its own, up to ``depth`` items behind.

    An error of the sink is raised by the next :meth:`write`, or by :meth:`close`, once, with ``frame_number`` set.
    As a context manager it waits for all items on a normal end and on Ctrl-C, and drops them on other errors.
    """

    def __init__(self, sink: Callable[[T], object], depth: int = 4) -> None:
        self._sink = sink
        self._channel: Channel[T] = Channel(depth)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="writer", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        number = 0
        while True:
            item = self._channel.get()
            if isinstance(item, End):
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
        self._channel.put(End())
        self._thread.join()
        self._channel.close()
        self._raise()

    def cancel(self) -> None:
        """Stop after the current item, dropping the others."""
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
    """The error with the number of its frame, unless it has one already."""
    if isinstance(error, EngineError) and error.frame_number is None:
        error.frame_number = number
    return error
