"""Networks side by side on the host, one thread each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from ..backends.base import Backend
from ..pixels.frame import Frame
from ..threads import Crew, Task
from .answers import Answers
from .base import Done, Pending
from .batching import Network

C = TypeVar("C", bound="Twin")


class Twin(Protocol):
    """An object with scratch memory that can be duplicated."""

    def twin(self: C) -> C:
        """A duplicate with its own scratch memory."""
        ...


class Lane(Generic[C]):
    """A network and the compositor that fills its tensors: what one thread works with."""

    def __init__(self, backend: Backend, compositor: C, answers: Answers) -> None:
        self.network = Network(backend, answers)
        self.compositor = compositor


class Lanes(Generic[C]):
    """Lanes that take groups of frames in turn. With one lane the work is done in the caller's thread, at once.

    Args:
        backend: of the first lane, which single pictures take too.
        more: opens the backend of each further lane, when it is first needed, in the lane's thread.
    """

    def __init__(self, backend: Backend, compositor: C, more: Sequence[Callable[[], Backend]] = ()) -> None:
        self.answers = answers = Answers(backend.spec)
        self.first = first = Lane(
            backend, compositor, answers
        )  # its makers hold no lanes: a circle would outlive the program

        def make(open_backend: Callable[[], Backend]) -> Callable[[], Lane[C]]:
            return lambda: Lane(open_backend(), compositor.twin(), answers)

        self._crew = Crew([lambda: first, *map(make, more)]) if more else None
        self.in_flight = 1 + len(more)
        self.room = 2 * self.in_flight if more else 1

    def start(self, work: Callable[[Lane[C]], list[Frame]]) -> Pending:
        """Process a group in the first free lane."""
        if self._crew is None:
            return Done(work(self.first))
        return _Working(self._crew.start(work))

    def close(self) -> None:
        """Finish what is under way and free all networks."""
        lanes = [self.first] if self._crew is None else self._crew.close()
        for lane in {id(lane): lane for lane in [self.first, *lanes]}.values():
            with lane.network.lock:
                lane.network.backend.close()


class _Working:
    """A group in a lane."""

    def __init__(self, task: Task[list[Frame]]) -> None:
        self._task = task

    def finish(self) -> list[Frame]:
        return self._task.result()

    def drop(self) -> None:
        self._task.cancel()
