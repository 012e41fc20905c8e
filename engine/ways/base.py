"""How frames pass a network: the seam between the translator and the ways over the host, faces, and a GPU."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ..backends.base import Array
from ..pixels.frame import Frame
from ..spec import GeneratorSpec
from ..timing import StageTimes

if TYPE_CHECKING:
    from ..backends.base import Backend
    from ..faces.face_compositor import FaceCompositor
    from ..pixels.compositor import Compositor


@dataclass(frozen=True)
class Look:
    """How frames are to look: the settings of a moment, worked out for one model."""

    attributes: Array | None = None
    """(1, C) float32, for models that have attributes."""
    opacity: float = 1.0
    detail: float = 0.0
    bypass: bool = False

    @property
    def hidden(self) -> bool:
        """Whether frames stay as they are, so that the network need not run."""
        return self.bypass or self.opacity == 0


class Item(NamedTuple):
    """A frame on its way, and how it is to look."""

    frame: Frame
    look: Look


class Pending(Protocol):
    """Frames that share a run and are under way."""

    def finish(self) -> list[Frame]:
        """Wait for them.

        Raises:
            EngineError: what went wrong with them.
        """
        ...

    def drop(self) -> None:
        """Wait until nothing of them is under way any more, without an answer or error."""
        ...


class Done:
    """Frames that nothing needs to be done for, or that are done already."""

    def __init__(self, frames: list[Frame]) -> None:
        self._frames = frames

    def finish(self) -> list[Frame]:
        """The frames."""
        return self._frames

    def drop(self) -> None:
        """Nothing."""


class Way(Protocol):
    """How frames pass one network. Methods may be called from several threads; what must not overlap waits."""

    times: StageTimes
    in_flight: int
    """Groups of frames that are worked on at the same time."""
    room: int
    """Groups that may be under way: those that are worked on, and those that wait for it."""
    batch: int
    """Most frames of a group."""

    @property
    def backend(self) -> Backend:
        """What runs the network."""
        ...

    @property
    def compositor(self) -> Compositor | FaceCompositor:
        """How frames enter the network, and the blending that was asked for when it was made."""
        ...

    @property
    def spec(self) -> GeneratorSpec:
        """The generator's record."""
        ...

    def key(self, item: Item) -> object:
        """What items must have in common to share a run.

        Raises:
            OptionError: the framing does not suit the frame.
        """
        ...

    def begin(self, before: Way | None = None) -> None:
        """A stream begins.

        Args:
            before: the way that its frames took until now.

        Raises:
            OptionError: another stream is under way, and this way has one at a time.
        """
        ...

    def end(self) -> None:
        """The stream ends, or goes on over another way."""
        ...

    def start(self, items: Sequence[Item]) -> Pending:
        """Begin up to ``batch`` frames with equal keys; those of a stream in its order."""
        ...

    def skip(self, items: Sequence[Item]) -> Pending:
        """Frames of the stream that stay as they are."""
        ...

    def translate(self, item: Item) -> Frame:
        """Translate one picture, at once and apart from any stream."""
        ...

    def close(self) -> None:
        """Wait for what is under way and free the network; a second call does nothing."""
        ...


class Lease:
    """A way in use; once retired, it is closed after its last use."""

    def __init__(self, way: Way) -> None:
        self.way = way
        self._lock = threading.Lock()
        self._users = 0
        self._retired = False

    def take(self) -> bool:
        """Begin to use the way; False once it is retired."""
        with self._lock:
            if self._retired:
                return False
            self._users += 1
            return True

    def share(self) -> None:
        """Use the way once more, by who uses it already."""
        with self._lock:
            self._users += 1

    def give_back(self) -> None:
        """End what :meth:`take` or :meth:`share` began."""
        with self._lock:
            self._users -= 1
            last = self._retired and not self._users
        if last:
            self.way.close()

    def retire(self) -> None:
        """Refuse new uses of the way; a second call does nothing."""
        with self._lock:
            last = not self._retired and not self._users
            self._retired = True
        if last:
            self.way.close()
