"""Threads behind iterators: order, errors, early ends, bounds, and no thread left behind."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from ganlens.engine.errors import EngineError, MediaError
from ganlens.engine.threads import Counts, Crew, Writer, ordered, prefetch


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.001)
    assert threading.active_count() == before


class Upstream:
    """Counts what was asked of it, and where it was closed."""

    def __init__(self, count: int, error: BaseException | None = None) -> None:
        self.count, self.error = count, error
        self.made = 0
        self.closed_in: str | None = None

    def __iter__(self) -> Iterator[int]:
        try:
            for number in range(self.count):
                self.made += 1
                yield number
            if self.error is not None:
                raise self.error
        finally:
            self.closed_in = threading.current_thread().name


class TestPrefetch:
    @pytest.mark.parametrize("depth", [1, 4, 100])
    def test_items_come_in_order(self, depth: int) -> None:
        assert list(prefetch(range(50), depth)) == list(range(50))

    def test_nothing(self) -> None:
        assert list(prefetch([])) == []

    def test_runs_in_another_thread(self) -> None:
        names = list(prefetch(threading.current_thread().name for _ in range(3)))
        assert names == ["prefetch"] * 3

    def test_never_more_ahead_than_asked(self) -> None:
        upstream = Upstream(100)
        items = prefetch(upstream, 3)
        next(items)
        time.sleep(0.05)
        assert upstream.made <= 1 + 3 + 1  # taken, waiting, and the one in hand
        items.close()  # type: ignore[attr-defined]

    def test_stages_overlap(self) -> None:
        """Each waits for the other: that needs both to be under way at once."""
        meeting = threading.Barrier(2, timeout=5)

        def upstream() -> Iterator[int]:
            yield 0
            meeting.wait()
            yield 1

        for item in prefetch(upstream()):
            if item == 0:
                meeting.wait()

    def test_an_error_comes_after_the_items_before_it(self) -> None:
        seen = []
        with pytest.raises(MediaError, match="broken") as caught:
            for item in prefetch(Upstream(7, MediaError("broken"))):
                seen.append(item)
        assert seen == list(range(7)) and caught.value.frame_number == 8

    def test_a_number_that_is_known_stays(self) -> None:
        error = MediaError("broken")
        error.frame_number = 3
        with pytest.raises(MediaError) as caught:
            list(prefetch(prefetch(Upstream(7, error))))
        assert caught.value.frame_number == 3

    def test_other_errors_pass_as_they_are(self) -> None:
        with pytest.raises(KeyError, match="oops"):
            list(prefetch(Upstream(2, KeyError("oops"))))

    def test_stopping_early_closes_the_upstream_in_its_own_thread(self) -> None:
        upstream = Upstream(1000)
        for item in prefetch(upstream):
            if item == 5:
                break
        deadline = time.monotonic() + 5
        while upstream.closed_in is None and time.monotonic() < deadline:
            time.sleep(0.001)
        assert upstream.closed_in == "prefetch" and upstream.made < 20

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
    def test_an_error_of_the_consumer_closes_a_chain(self, error: type[BaseException]) -> None:
        upstream = Upstream(1000)
        with pytest.raises(error):
            for item in prefetch(x for x in prefetch(upstream)):
                if item == 5:
                    raise error
        deadline = time.monotonic() + 5
        while upstream.closed_in is None and time.monotonic() < deadline:
            time.sleep(0.001)
        assert upstream.closed_in == "prefetch"

    def test_depth(self) -> None:
        with pytest.raises(ValueError, match="at least 1"):
            list(prefetch([1], 0))


def wait_and_square(item: int) -> int:
    """The first of every three items takes longest, so that answers come out of order."""
    time.sleep(0.004 if item % 3 == 0 else 0)
    return item * item


class TestOrdered:
    @pytest.mark.parametrize("workers", [1, 2, 5])
    def test_answers_come_in_the_order_of_the_items(self, workers: int) -> None:
        answers = list(ordered([wait_and_square] * workers, iter(range(40))))
        assert answers == [item * item for item in range(40)]

    def test_nothing(self) -> None:
        assert list(ordered([wait_and_square] * 2, [])) == []

    def test_each_worker_keeps_to_its_thread_and_has_one_item_at_a_time(self) -> None:
        seen: dict[int, set[int]] = {0: set(), 1: set()}
        busy = [threading.Lock(), threading.Lock()]

        def worker(number: int, item: int) -> int:
            assert busy[number].acquire(blocking=False)
            seen[number].add(threading.get_ident())
            time.sleep(0.001)
            busy[number].release()
            return item

        workers = [lambda item, number=number: worker(number, item) for number in (0, 1)]
        assert list(ordered(workers, range(30))) == list(range(30))
        assert len(seen[0]) == len(seen[1]) == 1 and seen[0] != seen[1]

    def test_workers_overlap(self) -> None:
        meeting = threading.Barrier(2, timeout=5)
        assert list(ordered([lambda _: meeting.wait() >= 0] * 2, range(6))) == [True] * 6

    def test_an_answer_waits_for_no_later_item(self) -> None:
        """A camera's next frame may come late; the one before must not wait for it."""
        asked_for_more = threading.Event()

        def camera() -> Iterator[int]:
            yield 0
            assert asked_for_more.wait(5)
            yield 1

        answers = ordered([wait_and_square] * 3, camera())
        assert next(answers) == 0
        asked_for_more.set()
        assert list(answers) == [1]

    def test_never_further_ahead_than_twice_the_workers(self) -> None:
        upstream = Upstream(100)
        answers = ordered([wait_and_square] * 2, upstream)
        next(answers)
        time.sleep(0.05)
        assert upstream.made <= 1 + 4
        answers.close()

    def test_an_error_of_a_worker_comes_after_the_answers_before_it(self) -> None:
        def fail_at_five(item: int) -> int:
            if item == 5:
                raise MediaError("broken")
            return wait_and_square(item)

        seen = []
        with pytest.raises(MediaError, match="broken") as caught:
            for answer in ordered([fail_at_five] * 3, range(1000)):
                seen.append(answer)
        assert seen == [0, 1, 4, 9, 16] and caught.value.frame_number == 6

    def test_an_error_of_the_items_comes_after_the_answers_before_it(self) -> None:
        seen = []
        with pytest.raises(MediaError, match="broken") as caught:
            for answer in ordered([wait_and_square] * 3, Upstream(7, MediaError("broken"))):
                seen.append(answer)
        assert len(seen) == 7 and caught.value.frame_number == 8

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
    def test_an_error_of_the_consumer_closes_a_chain(self, error: type[BaseException]) -> None:
        upstream = Upstream(1000)
        answers = ordered([wait_and_square] * 2, (item for item in prefetch(upstream)))
        with pytest.raises(error), closing(answers):
            for answer in answers:
                if answer == 25:
                    raise error
        deadline = time.monotonic() + 5
        while upstream.closed_in is None and time.monotonic() < deadline:
            time.sleep(0.001)
        assert upstream.closed_in == "prefetch" and upstream.made < 20

    def test_without_workers(self) -> None:
        with pytest.raises(ValueError, match="needs a worker"):
            list(ordered([], [1]))


class TestLatest:
    def test_a_slow_consumer_gets_the_newest_items_in_order(self) -> None:
        asked, counts = threading.Event(), Counts()

        def camera() -> Iterator[int]:
            yield 0
            asked.wait(5)
            yield from range(1, 10)
            done.set()

        done = threading.Event()
        with closing(prefetch(camera(), 2, policy="latest", counts=counts)) as items:
            assert next(items) == 0
            asked.set()
            assert done.wait(5), "the camera never waits"
            assert list(items) == [8, 9]
        assert (counts.taken, counts.dropped) == (3, 7)

    def test_an_error_comes_after_the_items_that_are_left(self) -> None:
        made = threading.Event()

        def camera() -> Iterator[int]:
            yield from range(6)
            made.set()
            raise MediaError("unplugged")

        counts = Counts()
        items = prefetch(camera(), 1, policy="latest", counts=counts)
        first = next(items)
        assert made.wait(5)
        came = [first]
        with pytest.raises(MediaError, match="unplugged") as error:
            for item in items:
                came.append(item)
        assert came[-1] == 5 and error.value.frame_number == 7
        assert (counts.taken, counts.dropped) == (len(came), 6 - len(came))

    def test_nothing_is_dropped_where_items_wait(self) -> None:
        counts = Counts()
        assert list(prefetch(range(50), 1, counts=counts)) == list(range(50))
        assert (counts.taken, counts.dropped) == (50, 0)

    def test_an_unknown_policy(self) -> None:
        with pytest.raises(ValueError, match="policy: got 'newest', expected one of wait, latest"):
            next(prefetch(range(3), policy="newest"))  # type: ignore[arg-type]


class TestCrew:
    def test_tools_are_made_when_needed_in_threads_of_their_own(self) -> None:
        made: list[int] = []

        def make() -> int:
            made.append(threading.get_ident())
            return len(made)

        crew = Crew([make, make, make])
        assert [crew.start(lambda tool: tool).result() for _ in range(3)] == [1, 1, 1], "one thread is enough"
        gate = threading.Barrier(3)
        tasks = [crew.start(lambda tool: (gate.wait(5), tool)[1]) for _ in range(3)]
        assert sorted(task.result() for task in tasks) == [1, 2, 3]
        assert len(set(made)) == 3 and threading.get_ident() not in made
        assert sorted(crew.close()) == [1, 2, 3]
        with pytest.raises(RuntimeError, match="closed"):
            crew.start(lambda tool: tool)

    def test_errors_are_those_of_their_task(self) -> None:
        crew = Crew([lambda: 2])
        tasks = [crew.start(lambda tool, n=n: tool / n) for n in (1, 0, 2)]  # type: ignore[misc]
        assert tasks[0].result() == 2
        with pytest.raises(ZeroDivisionError):
            tasks[1].result()
        assert tasks[2].result() == 1
        crew.close()

    def test_a_tool_that_cannot_be_made_is_tried_again(self) -> None:
        tries: list[int] = []

        def make() -> str:
            tries.append(1)
            if len(tries) == 1:
                raise MediaError("busy")
            return "tool"

        crew = Crew([make])
        with pytest.raises(MediaError, match="busy"):
            crew.start(lambda tool: tool).result()
        assert crew.start(lambda tool: tool).result() == "tool"
        crew.close()

    def test_what_is_cancelled_is_not_begun_and_what_has_begun_is_waited_for(self) -> None:
        gate, done = threading.Event(), []
        crew = Crew([lambda: 1])

        def slow(_: int) -> None:
            gate.wait(5)
            done.append("first")

        first, second = crew.start(slow), crew.start(lambda _: done.append("second"))
        while not first._begun:
            time.sleep(0.001)
        second.cancel()
        threading.Timer(0.05, gate.set).start()
        first.cancel()
        assert done == ["first"]
        crew.close()
        assert done == ["first"]


class TestWriter:
    def test_items_arrive_in_order_before_close_returns(self) -> None:
        got: list[int] = []
        with Writer(got.append, 2) as writer:
            for item in range(50):
                writer.write(item)
        assert got == list(range(50))

    def test_writing_waits_when_the_queue_is_full(self) -> None:
        gate, got = threading.Event(), []

        def slow(item: int) -> None:
            gate.wait(5)
            got.append(item)

        writer = Writer(slow, 2)
        for item in range(3):  # one in hand, two waiting
            writer.write(item)
        blocked = threading.Thread(target=writer.write, args=(3,))
        blocked.start()
        blocked.join(0.05)
        assert blocked.is_alive() and got == []
        gate.set()
        blocked.join(5)
        writer.close()
        assert got == [0, 1, 2, 3]

    def test_an_error_surfaces_once_with_its_number(self) -> None:
        def sink(item: int) -> None:
            if item == 4:
                raise MediaError("full")

        with pytest.raises(MediaError, match="full") as caught, Writer(sink) as writer:
            for item in range(1000):
                writer.write(item)
            pytest.fail("the error came too late")
        assert caught.value.frame_number == 5
        writer.close()

    def test_an_error_at_the_last_item_surfaces_on_close(self) -> None:
        def sink(item: int) -> None:
            raise MediaError("full")

        writer = Writer(sink)
        writer.write(1)
        with pytest.raises(MediaError, match="full"):
            writer.close()
        writer.close()

    def test_other_errors_drop_what_waits(self) -> None:
        gate, got = threading.Event(), []

        def slow(item: int) -> None:
            got.append(item)
            gate.wait(5)

        with pytest.raises(ZeroDivisionError), Writer(slow, 10) as writer:
            for item in range(5):
                writer.write(item)
            threading.Timer(0.05, gate.set).start()
            raise ZeroDivisionError
        assert len(got) <= 1

    def test_an_interrupt_writes_what_waits(self) -> None:
        got: list[int] = []
        with pytest.raises(KeyboardInterrupt), Writer(got.append, 10) as writer:
            for item in range(5):
                writer.write(item)
            raise KeyboardInterrupt
        assert got == list(range(5))

    def test_writing_after_closing(self) -> None:
        writer = Writer(print)
        writer.close()
        with pytest.raises(ValueError, match="closed"):
            writer.write(1)


def test_errors_have_no_number_by_themselves() -> None:
    assert EngineError("x").frame_number is None


_COUNT_HEAPS = """
import ctypes, sys, threading
from ganlens.engine.threads import share_heaps
{call}
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fdopen.restype = ctypes.c_void_p
together = threading.Barrier(6)
def allocate():
    together.wait()
    libc.malloc(100_000)
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(6)]
for thread in threads: thread.start()
for thread in threads: thread.join()
file = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, file)
libc.fflush(file)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the heaps of glibc")
def test_a_program_that_runs_for_days_has_few_heaps() -> None:
    def heaps(call: str) -> int:
        environment = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
        command = [sys.executable, "-c", _COUNT_HEAPS.format(call=call)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.count(
            "<heap "
        )

    assert heaps("share_heaps(2)") == 2 < heaps("")
