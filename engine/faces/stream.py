"""Faces found and tied together in the frames' order, so that the networks may run side by side."""

from __future__ import annotations

from collections.abc import Generator, Iterable

from ..pixels.frame import Frame, not_a_frame
from ..timing import StageTimes
from .face_compositor import FacedFrame
from .temporal_smoothing import Link
from .tracker import Follower


def faced(
    frames: Iterable[Frame], follower: Follower, times: StageTimes, span: float = 2.0
) -> Generator[FacedFrame, None, None]:
    """Each frame with its faces. The following stays in one place: whoever asks for the next frame does its work.

    Args:
        span: what the values of the generator's pictures span.
    """
    follower.reset()
    steady = follower.options.steady
    links: dict[int, Link] = {}
    try:
        for frame in frames:
            if not isinstance(frame, Frame):
                raise not_a_frame(frame)
            with times.measure("detect"):
                faces = follower.update(frame)
            links = {face.number: Link(links.get(face.number), steady, span) for face in faces} if steady else {}
            yield FacedFrame(frame, faces, tuple(links.get(face.number) for face in faces))
            del frame
    finally:
        follower.reset()
        close = getattr(frames, "close", None)
        if close is not None:
            close()


def single(frame: Frame, follower: Follower, times: StageTimes) -> FacedFrame:
    """One picture with its faces."""
    with times.measure("detect"):
        faces = follower.find(frame)
    return FacedFrame(frame, faces, (None,) * len(faces))
