"""Piped video: YUV4MPEG2 and bare frames."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from ganlens.engine.errors import MediaError, OptionError
from ganlens.engine.media import FrameFormat, RawSink, RawSource
from ganlens.engine.pixels.frame import Color, Frame, PixelFormat

SIZES = [(6, 8), (5, 7), (1, 1)]


def frames_of(count: int, size: tuple[int, int], format: str = "yuv420p") -> list[Frame]:
    half = ((size[0] + 1) // 2, (size[1] + 1) // 2)
    shapes = {"yuv420p": [size, half, half], "nv12": [size, (*half, 2)], "rgb24": [(*size, 3)]}[format]
    random = np.random.default_rng(0)
    return [
        Frame(tuple(random.integers(16, 235, shape, np.uint8) for shape in shapes), format, time=Fraction(index, 25))  # type: ignore[arg-type]
        for index in range(count)
    ]


def described(size: tuple[int, int], pixels: PixelFormat = "yuv420p", **changes: Any) -> FrameFormat:
    return FrameFormat(size, pixels, **{"rate": Fraction(25), "time_base": Fraction(1, 25), **changes})


def same(one: tuple[NDArray[np.uint8], ...], two: tuple[NDArray[np.uint8], ...]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


class SlowPipe(io.BytesIO):
    """Gives a few bytes at a time, as pipes do."""

    def read(self, count: int | None = -1) -> bytes:
        return super().read(min(count or 0, 7))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("pipe", [io.BytesIO, SlowPipe])
def test_frames_survive(size: tuple[int, int], pipe: type[io.BytesIO]) -> None:
    buffer = io.BytesIO()
    frames = frames_of(5, size)
    color = Color("bt601", True, "center")
    with RawSink(
        buffer, described(size, color=color, rate=Fraction(30000, 1001), pixel_aspect=Fraction(16, 11))
    ) as sink:
        for frame in frames:
            sink.write(frame)
    with RawSource(pipe(buffer.getvalue())) as source:
        again = list(source)
    assert source.format.size == size and source.format.rate == Fraction(30000, 1001) and source.format.color == color
    assert source.format.pixel_aspect == Fraction(16, 11)
    assert len(again) == 5 and all(same(a.planes, b.planes) for a, b in zip(again, frames, strict=True))
    assert [frame.time for frame in again] == [index / Fraction(30000, 1001) for index in range(5)]


def test_libav_reads_what_we_write(tmp_path: object) -> None:
    buffer = io.BytesIO()
    frames = frames_of(3, (6, 8))
    with RawSink(buffer, described((6, 8))) as sink:
        for frame in frames:
            sink.write(frame)
    buffer.seek(0)
    with av.open(buffer, format="yuv4mpegpipe") as container:
        for decoded, frame in zip(container.decode(video=0), frames, strict=True):
            np.testing.assert_array_equal(decoded.to_ndarray()[:6], frame.planes[0])


@pytest.mark.parametrize("format", ["yuv420p", "nv12", "rgb24"])
@pytest.mark.parametrize("size", SIZES)
def test_bare_frames(size: tuple[int, int], format: str) -> None:
    frames = frames_of(3, size, format)
    data = b"".join(plane.tobytes() for frame in frames for plane in frame.planes)
    with RawSource(SlowPipe(data), size=size, rate=12.5, format=format) as source:  # type: ignore[arg-type]
        again = list(source)
    assert all(same(a.planes, b.planes) for a, b in zip(again, frames, strict=True))
    assert [frame.time for frame in again] == [Fraction(index * 2, 25) for index in range(3)]


def test_other_pixel_formats_are_converted_for_the_pipe() -> None:
    buffer = io.BytesIO()
    nv12 = frames_of(1, (6, 8), "nv12")[0]
    grey = Frame.from_rgb(np.full((6, 8, 3), 128, np.uint8))
    with RawSink(buffer, described((6, 8), "rgb24")) as sink:
        sink.write(nv12)
        sink.write(grey)
    buffer.seek(0)
    first, second = RawSource(buffer)
    assert same(first.planes, (nv12.planes[0], nv12.planes[1][..., 0], nv12.planes[1][..., 1]))
    assert [round(float(plane.mean())) for plane in second.planes] == [126, 128, 128]


def test_a_variable_rate_is_noted() -> None:
    sink = RawSink(io.BytesIO(), described((6, 8)))
    for frame, time in zip(frames_of(3, (6, 8)), (0, 1, 5), strict=True):
        sink.write(Frame(frame.planes, frame.format, time=Fraction(time, 25)))
    assert len(sink.notes) == 1 and "rate varies" in next(iter(sink.notes))


@pytest.mark.parametrize(
    "data, words",
    [
        (b"", "empty"),
        (b"P6 not a video", "not YUV4MPEG2.*ffmpeg"),
        (b"YUV4MPEG2 W8 H6 F25:1 C444\n", "kind C444; expected 8-bit 4:2:0"),
        (b"YUV4MPEG2 W8 H6 F25:1 C420p10\n", "kind C420p10"),
        (b"YUV4MPEG2 W8 F25:1\n", "damaged"),
        (b"YUV4MPEG2 W8 H0 F25:1\n", "damaged"),
        (b"YUV4MPEG2 W8 H6 F25:0\n", "damaged"),
        (b"YUV4MPEG2 W8 H6", "does not end"),
    ],
)
def test_bad_headers(data: bytes, words: str) -> None:
    with pytest.raises(MediaError, match=words):
        RawSource(io.BytesIO(data))


def test_an_end_within_a_frame_names_it() -> None:
    buffer = io.BytesIO()
    sink = RawSink(buffer, described((6, 8)))
    for frame in frames_of(3, (6, 8)):
        sink.write(frame)
    for cut, words in ((-10, "it ends after"), (-75, "expected a frame")):
        with pytest.raises(MediaError, match=f"damaged at frame 3: .*{words}") as caught:
            list(RawSource(io.BytesIO(buffer.getvalue()[:cut])))
        assert caught.value.frame_number == 3


def test_wrong_options_and_frames() -> None:
    with pytest.raises(OptionError, match="Unknown pixel format"):
        RawSource(io.BytesIO(b"x"), format="bgr24")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="expected"):
        RawSource(io.BytesIO(b"x"), size=(0, 4), rate=25)
    with pytest.raises(MediaError, match="piped video is"):
        RawSink(io.BytesIO(), described((6, 8))).write(frames_of(1, (8, 6))[0])


def test_a_closed_reader_is_said() -> None:
    class Closed(io.BytesIO):
        def write(self, data: object) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    with pytest.raises(MediaError, match="stopped reading"):
        RawSink(Closed(), described((6, 8)))
