"""The way that is open now, and how another takes its place."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import BackendError
from .base import Lease, Way

if TYPE_CHECKING:
    from concurrent.futures import Future


class Current:
    """The way that a translator has; it stays open while it is in use.

    Args:
        way: the first one.
    """

    def __init__(self, way: Way) -> None:
        self.lease = Lease(way)
        self._lock = threading.Lock()
        self._asked = self._shown = 0
        """Numbers of the last swap that was asked for, and of the one whose way is open."""
        self._closed = False

    def take(self) -> Lease:
        """The lease of the way, taken; to be given back.

        Raises:
            BackendError: it was closed.
        """
        while not (lease := self.lease).take():
            if self._closed:
                raise BackendError("This translator was closed; open it again.")
        return lease

    def swap(self, open_way: Callable[[], Way]) -> Future[None]:
        """Open another way in a thread of its own and let it take over; one that fails changes nothing."""
        from concurrent.futures import Future

        future: Future[None] = Future()
        future.set_running_or_notify_cancel()
        with self._lock:
            self._asked += 1
            number = self._asked

        def work() -> None:
            try:
                self._show(open_way(), number)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(None)

        threading.Thread(target=work, name="swap", daemon=True).start()
        return future

    def close(self) -> None:
        """Close the way after its last use."""
        with self._lock:
            self._closed = True
        self.lease.retire()

    def _show(self, way: Way, number: int) -> None:
        with self._lock:
            before, late, closed = self.lease, number < self._shown, self._closed
            if not (late or closed):
                self._shown = number
                way.times = before.way.times
                self.lease = Lease(way)
        if late or closed:
            way.close()
            raise BackendError("The translator was closed." if closed else "Another model was asked for later.")
        before.retire()
