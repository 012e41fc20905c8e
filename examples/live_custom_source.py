"""Your own frames through a model, live, to your own code: python examples/live_custom_source.py [MODEL] [SECONDS]"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from ganlens.engine import Frame
from ganlens.engine.live.session import LiveSession
from ganlens.engine.media.base import FrameFormat, Notes


class Gradient:
    """A source is what has these members; this one makes a moving gradient, 20 times a second."""

    live, file, frames = True, None, None  # live: it is paced, and opened again when it is lost

    def __init__(self) -> None:
        self.format = FrameFormat((240, 320), "rgb24", Fraction(20), Fraction(1, 20))
        self.notes = Notes()
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        ramp = np.arange(320, dtype=np.uint8)
        number = 0
        while not self._closed.wait(0.05):
            picture = np.broadcast_to(np.roll(ramp, 4 * number)[None, :, None], (240, 320, 3))
            yield Frame.from_rgb(np.ascontiguousarray(picture), Fraction(number, 20))
            number += 1

    def close(self) -> None:
        """End the iteration; called by another thread."""
        self._closed.set()


class Brightness:
    """A sink is what has these members; this one prints the mean of a picture now and then."""

    def __init__(self) -> None:
        self.notes, self.frames = Notes(), 0

    def write(self, frame: Frame) -> None:
        """Take a picture, in a thread of this sink's own."""
        self.frames += 1
        if self.frames % 20 == 0:
            print(f"picture {self.frames}: mean {frame.to_rgb().mean():.0f}")

    def close(self, *, complete: bool = True) -> None:
        """The end."""

    def abort(self) -> None:
        """The end after an error."""


def main(model: str = "starry", seconds: str = "10") -> None:
    """Run for a while; the strength is halved on the way."""
    sink = Brightness()
    with LiveSession(Gradient, models=[model]) as session:
        session.add_sink("brightness", lambda format: sink)
        session.wait(float(seconds) / 2)
        session.set_controls(opacity=0.5)
        session.wait(float(seconds) / 2)
        state = session.state()
    print(f"{sink.frames} pictures, {state['model']['running'] or 'no model'} on {state['model']['backend']}")


if __name__ == "__main__":
    main(*sys.argv[1:])
