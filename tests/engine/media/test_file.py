"""Videos: what goes in comes out, bit for bit and tick for tick, and bad files are told apart."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import resource
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from ganlens.engine.errors import MediaError, OptionError
from ganlens.engine.media import FrameFormat, VideoSink, VideoSource
from ganlens.engine.media.av_frames import FramePool, Orientation, plane_views
from ganlens.engine.media.file.source import OnError
from ganlens.engine.pixels.frame import Color, Frame
from ganlens.engine.session import Session

SIZE = (48, 64)
RATE = Fraction(30000, 1001)
LOSSLESS = {"crf": "0", "preset": "ultrafast"}


def planes_of(index: int, size: tuple[int, int], shapes: list[tuple[int, ...]]) -> list[NDArray[np.uint8]]:
    """Smooth, different in every frame, without symmetry."""
    planes = []
    for number, shape in enumerate(shapes):
        rows, columns = np.arange(shape[0], dtype=np.uint8)[:, None], np.arange(shape[1], dtype=np.uint8)
        plane = (3 * columns + 5 * rows + np.uint8((7 * index + 40 * number) % 256)) // 2 + 30
        planes.append((plane[..., None] + np.arange(shape[2])).astype(np.uint8) if len(shape) == 3 else plane)
    return planes


def picture(index: int, size: tuple[int, int] = SIZE, format: str = "yuv420p") -> av.VideoFrame:
    height, width = size
    made = av.VideoFrame(width, height, format)
    views = plane_views(made, "yuv420p" if format.startswith("yuv") else format)  # type: ignore[arg-type]
    for view, plane in zip(views, planes_of(index, size, [view.shape for view in views]), strict=True):
        view[...] = plane
    return made


def add_audio(container: av.container.OutputContainer, codec: str = "aac", rate: int = 16000) -> av.AudioStream:
    stream = container.add_stream(codec, rate=rate)
    assert isinstance(stream, av.AudioStream)
    stream.codec_context.layout = "mono"
    return stream


def tone(stream: av.AudioStream, seconds: float, pitch: float) -> list[av.Packet[av.AudioStream]]:
    rate, packets = stream.codec_context.sample_rate, []
    samples = np.sin(np.arange(int(seconds * rate)) * pitch * 2 * np.pi / rate).astype(np.float32)
    resampler = av.AudioResampler(stream.codec_context.format, "mono", rate)
    for start in range(0, len(samples), 1024):
        frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        for piece in resampler.resample(frame):
            packets += stream.encode(piece)
    return packets + stream.encode(None)


def make_clip(
    path: Path,
    *,
    times: list[int] | None = None,
    time_base: Fraction = 1 / RATE,
    size: tuple[int, int] = SIZE,
    format: str = "yuv420p",
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    tags: tuple[int, int, int, int] | None = None,
    pixel_aspect: Fraction | None = None,
    rotation: tuple[float, bool, bool] | None = None,
    tones: tuple[float, ...] = (),
    audio_codec: str = "aac",
    late: int = 0,
) -> Path:
    """Write a test clip; ``times`` are ticks of ``time_base``, ``tags`` are (matrix, range, primaries, transfer)."""
    times = list(range(12)) if times is None else times
    exact = {"movie_timescale": "90000"} if path.suffix in (".mp4", ".mov") else {"output_ts_offset": str(late)}
    with av.open(str(path), "w", container_options=exact) as container:
        stream = container.add_stream(codec, rate=RATE, time_base=time_base)
        assert isinstance(stream, av.VideoStream)
        stream.time_base = time_base
        context = stream.codec_context
        context.height, context.width = size
        context.pix_fmt, context.time_base, context.thread_count = format, time_base, 1
        context.options = LOSSLESS if options is None and codec == "libx264" else options or {}
        if tags is not None:
            context.colorspace, context.color_range, context.color_primaries, context.color_trc = tags
        if pixel_aspect is not None:
            context.sample_aspect_ratio = pixel_aspect
        if rotation is not None:
            stream.set_display_rotation(*rotation)
        audio = [add_audio(container, audio_codec) for _ in tones]
        for number, sound in enumerate(audio):
            sound.metadata["language"] = ("eng", "deu", "fra")[number]
        packets: list[av.Packet] = []
        for index, pts in enumerate(times):
            frame = picture(index, size, format)
            frame.pts, frame.time_base = pts, time_base
            if tags is not None:
                frame.colorspace, frame.color_range = tags[0], tags[1]
            packets += stream.encode(frame)
        packets += stream.encode(None)
        length = float((times[-1] + 1) * time_base)
        for sound, pitch in zip(audio, tones, strict=True):
            packets += tone(sound, length, pitch)
        container.mux(sorted(packets, key=lambda packet: packet.dts * packet.time_base))
    return path


def packets_of(path: Path, kind: str) -> list[list[tuple[Fraction, bytes]]]:
    """Per stream of a kind: time and content of each packet."""
    with av.open(str(path)) as container:
        streams = [stream for stream in container.streams if stream.type == kind]
        found: dict[int, list[tuple[Fraction, bytes]]] = {stream.index: [] for stream in streams}
        for packet in container.demux(*streams):
            if packet.pts is not None:
                found[packet.stream.index].append((packet.pts * packet.time_base, bytes(packet)))
        return list(found.values())


def transcode(source_path: Path, out: Path, **options: object) -> tuple[VideoSource, list[str]]:
    """Pass a clip through source and sink, losslessly where the codec can."""
    keys = ("start", "duration", "threads", "hdr")
    with VideoSource(source_path, **{k: options.pop(k) for k in keys if k in options}) as source:  # type: ignore[arg-type]
        with VideoSink(out, source.format, origin=source, **{"crf": 0, **options}) as sink:  # type: ignore[arg-type]
            for frame in source:
                sink.write(frame.copy())
        return source, [*source.notes, *sink.notes]


def read(path: Path, **options: object) -> tuple[list[Fraction], list[tuple[NDArray[np.uint8], ...]], VideoSource]:
    with VideoSource(path, **options) as source:  # type: ignore[arg-type]
        times, planes = [], []
        for frame in source:
            assert frame.time is not None
            times.append(frame.time)
            planes.append(tuple(plane.copy() for plane in frame.planes))
        return times, planes, source


def assert_same_planes(one: list[tuple[NDArray[np.uint8], ...]], two: list[tuple[NDArray[np.uint8], ...]]) -> None:
    assert len(one) == len(two)
    for left, right in zip(one, two, strict=True):
        for a, b in zip(left, right, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clips") / "plain.mp4", times=list(range(30)), tones=(440.0,))


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two languages, subtitles, a font, chapters, titles."""
    folder = tmp_path_factory.mktemp("rich")
    plain = make_clip(folder / "plain.mkv", times=list(range(30)), tones=(440.0, 660.0))
    (folder / "s.srt").write_text("1\n00:00:00,100 --> 00:00:00,400\nHello\n\n2\n00:00:00,500 --> 00:00:00,900\nBye\n")
    path = folder / "rich.mkv"
    with av.open(str(plain)) as source, av.open(str(folder / "s.srt")) as text, av.open(str(path), "w") as out:
        routes = {}
        for stream in source.streams:
            routes[stream.index] = out.add_stream_from_template(stream, opaque=True)
            routes[stream.index].metadata["language"] = stream.metadata.get("language", "")
        routes[2].disposition = av.stream.Disposition.comment
        titles = out.add_stream_from_template(text.streams[0])
        titles.metadata["language"] = "fra"
        out.add_attachment("font.ttf", "application/x-truetype-font", b"not really a font")
        out.metadata["title"] = "A walk"
        base = Fraction(1, 1000)
        out.set_chapters(
            [
                {"id": 1, "start": 0, "end": 500, "time_base": base, "metadata": {"title": "One"}},
                {"id": 2, "start": 500, "end": 1000, "time_base": base, "metadata": {"title": "Two"}},
            ]
        )
        packets = [(p, routes[p.stream.index]) for p in source.demux() if p.dts is not None]
        packets += [(p, titles) for p in text.demux() if p.dts is not None]
        for packet, route in sorted(packets, key=lambda pair: pair[0].dts * pair[0].time_base):
            packet.stream = route
            out.mux(packet)
    return path


class TestFrames:
    def test_planes_are_the_decoded_samples(self, clip: Path) -> None:
        times, planes, video = read(clip)
        assert (
            video.format.size == SIZE
            and video.format.pixels == "yuv420p"
            and video.format.rate == RATE
            and video.frames == 30
        )
        assert times == [index / RATE for index in range(30)]
        for index, frame in enumerate(planes):
            for plane, expected in zip(frame, planes_of(index, SIZE, [p.shape for p in frame]), strict=True):
                np.testing.assert_array_equal(plane, expected)

    def test_decoded_planes_are_read_only_and_a_copy_is_not(self, clip: Path) -> None:
        """The decoder still refers to its pictures: writing into them would spoil later frames."""
        _, untouched, _ = read(clip)
        with VideoSource(clip) as source:
            seen = []
            for frame in source:
                assert not any(plane.flags.writeable for plane in frame.planes)
                copy = frame.copy()
                assert copy.time == frame.time and copy.color == frame.color
                for plane in copy.planes:
                    plane[...] = 0
                seen.append(tuple(plane.copy() for plane in frame.planes))
        assert_same_planes(seen, untouched)

    def test_decoded_planes_are_not_copied(self, clip: Path) -> None:
        with VideoSource(clip) as source:
            frame = next(iter(source))
            assert frame.picture is not None
            assert frame.planes[0].__array_interface__["data"][0] == frame.picture.planes[0].buffer_ptr

    def test_frames_outlive_the_source(self, clip: Path) -> None:
        with VideoSource(clip) as source:
            frames = list(source)
        np.testing.assert_array_equal(frames[7].planes[0], planes_of(7, SIZE, [SIZE])[0])

    def test_reading_again_begins_again(self, clip: Path) -> None:
        with VideoSource(clip) as source:
            first = [frame.time for frame in source]
            assert [frame.time for frame in source] == first

    @pytest.mark.parametrize("threads", [0, 1, 2])
    def test_threads_do_not_change_the_frames(self, clip: Path, threads: int) -> None:
        assert_same_planes(read(clip, threads=threads)[1], read(clip)[1])


class TestPool:
    def test_a_free_picture_is_used_again(self) -> None:
        pool = FramePool(64, 48, "yuv420p")
        address = pool.take().planes[0].buffer_ptr
        assert pool.take().planes[0].buffer_ptr == address

    def test_a_view_keeps_its_picture(self) -> None:
        pool = FramePool(64, 48, "yuv420p")
        views = [plane_views(pool.take(), "yuv420p")[0] for _ in range(20)]  # more than the pool holds
        for number, view in enumerate(views):
            view[...] = number
        assert [int(view[0, 0]) for view in views] == list(range(20))

    def test_copies_that_are_kept_stay_as_they_are(self, clip: Path) -> None:
        with VideoSource(clip) as source:
            luma = [frame.copy().planes[0] for frame in source]
        for index, plane in enumerate(luma):
            np.testing.assert_array_equal(plane, planes_of(index, SIZE, [SIZE])[0])

    @pytest.mark.parametrize("codec", ["ffv1", "h264", "vp9"])
    def test_encoders_do_not_see_later_frames(self, clip: Path, tmp_path: Path, codec: str) -> None:
        """Encoders with threads may still read a picture after write() has returned."""
        out = tmp_path / "out.mkv"
        transcode(clip, out, codec=codec, threads=4)
        _, planes, _ = read(out)
        expected = [planes_of(index, SIZE, [SIZE])[0].astype(int) for index in range(30)]
        worst = max(np.abs(plane[0] - other).mean() for plane, other in zip(planes, expected, strict=True))
        assert worst == 0 if codec != "vp9" else worst < 3  # the pattern moves by 7 each frame


class TestRoundTrip:
    def test_pixels_and_times_survive(self, clip: Path, tmp_path: Path) -> None:
        out = tmp_path / "out.mp4"
        transcode(clip, out)
        times, planes, video = read(clip)
        again_times, again_planes, again = read(out)
        assert_same_planes(again_planes, planes)
        assert (
            again_times == times
            and again.file.duration == video.file.duration
            and again.format.rate == video.format.rate
        )

    @pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
    def test_variable_rate_stays_variable(self, tmp_path: Path, suffix: str) -> None:
        ticks = [0, 40, 45, 120, 121, 500, 900, 1000, 1033]
        source = make_clip(tmp_path / "vfr.mkv", times=ticks, time_base=Fraction(1, 1000))
        transcode(source, tmp_path / f"out{suffix}", preset="medium")  # with B-frames
        assert read(tmp_path / f"out{suffix}")[0] == [Fraction(tick, 1000) for tick in ticks]

    def test_fine_clocks_survive(self, tmp_path: Path) -> None:
        ticks = [0, 3003, 6007, 9009, 15015]
        source = make_clip(tmp_path / "in.mp4", times=ticks, time_base=Fraction(1, 90000))
        transcode(source, tmp_path / "out.mp4")
        assert read(tmp_path / "out.mp4")[0] == [Fraction(tick, 90000) for tick in ticks]

    def test_a_late_start_survives(self, tmp_path: Path) -> None:
        source = make_clip(tmp_path / "in.mp4", times=[15, 16, 17], tones=(440.0,))
        transcode(source, tmp_path / "out.mp4")
        assert read(tmp_path / "out.mp4")[0] == [tick / RATE for tick in (15, 16, 17)]

    def test_broadcast_clocks_begin_at_zero(self, tmp_path: Path) -> None:
        source = make_clip(tmp_path / "in.ts", tones=(440.0,), late=5)
        before = read(source)[0]
        assert before[0] > 4
        transcode(source, tmp_path / "out.mp4")
        after = read(tmp_path / "out.mp4")[0]
        assert [b - a for a, b in zip(after, before, strict=True)] == [before[0] - after[0]] * 12
        sound = packets_of(source, "audio")[0][0][0], packets_of(tmp_path / "out.mp4", "audio")[0][0][0]
        assert abs((sound[0] - before[0]) - (sound[1] - after[0])) < Fraction(1, 1000)  # still in step
        assert 0 <= min(after[0], sound[1]) < Fraction(1, 1000)

    def test_times_are_made_where_a_stream_has_none(self, tmp_path: Path) -> None:
        source = make_clip(tmp_path / "in.h264", times=list(range(6)))
        times, _, video = read(source)
        steps = {b - a for a, b in itertools.pairwise(times)}
        assert (
            len(times) == 6 and len(steps) == 1 and video.format.rate is not None and steps == {1 / video.format.rate}
        )

    @pytest.mark.parametrize(
        "tags, color",
        [
            ((1, 1, 1, 1), Color("bt709", False)),
            ((6, 1, 6, 6), Color("bt601", False)),
            ((5, 1, 5, 6), Color("bt601", False)),
            ((9, 1, 9, 14), Color("bt2020", False)),
            ((1, 2, 1, 1), Color("bt709", True)),
        ],
    )
    def test_color_description_survives(self, tmp_path: Path, tags: tuple[int, int, int, int], color: Color) -> None:
        source = make_clip(tmp_path / "in.mp4", tags=tags)
        transcode(source, tmp_path / "out.mp4")
        _, planes, video = read(source)
        _, again_planes, again = read(tmp_path / "out.mp4")
        assert video.format.color == again.format.color == color
        assert tuple(video.format.tags) == tuple(again.format.tags) == (tags[0], tags[1], tags[2], tags[3])
        assert_same_planes(planes, again_planes)

    @pytest.mark.parametrize("size, matrix", [((576, 720), "bt601"), ((720, 1280), "bt709")])
    def test_untagged_color_is_guessed_by_size_and_stays_untagged(
        self, tmp_path: Path, size: tuple[int, int], matrix: str
    ) -> None:
        source = make_clip(tmp_path / "in.mp4", size=size, times=[0, 1])
        video, _ = transcode(source, tmp_path / "out.mp4")
        assert video.format.color == Color(matrix, False)  # type: ignore[arg-type]
        assert read(tmp_path / "out.mp4")[2].format.tags == video.format.tags and video.format.tags.matrix == 2

    def test_motion_jpeg_is_full_range_and_not_converted(self, tmp_path: Path) -> None:
        source = make_clip(
            tmp_path / "in.mkv", format="yuvj420p", codec="mjpeg", options={"qmin": "1", "qmax": "1"}, times=[0, 1, 2]
        )
        video, notes = transcode(source, tmp_path / "out.mkv")
        assert (
            video.format.color == Color("bt601", True, "center")
            and video.file.stored_format == "yuvj420p"
            and notes == []
        )
        _, planes, _ = read(source)
        _, again, after = read(tmp_path / "out.mkv")
        assert after.format.color.full_range
        assert_same_planes(planes, again)

    def test_decoded_frames_can_be_written_as_they_are(self, clip: Path, tmp_path: Path) -> None:
        with VideoSource(clip) as source, VideoSink(tmp_path / "out.mp4", source.format, origin=source, crf=0) as sink:
            for frame in source:
                sink.write(frame)
        assert_same_planes(read(clip)[1], read(tmp_path / "out.mp4")[1])

    def test_frames_of_other_memory_can_be_written(self, clip: Path, tmp_path: Path) -> None:
        with VideoSource(clip) as source, VideoSink(tmp_path / "out.mp4", source.format, origin=source, crf=0) as sink:
            for frame in source:
                sink.write(Frame(tuple(p.copy() for p in frame.planes), frame.format, frame.color, frame.time))
        assert_same_planes(read(clip)[1], read(tmp_path / "out.mp4")[1])
        assert read(tmp_path / "out.mp4")[0] == read(clip)[0]

    def test_another_size_than_the_source(self, clip: Path, tmp_path: Path) -> None:
        with (
            VideoSource(clip) as source,
            VideoSink(tmp_path / "o.mp4", replace(source.format, size=(48, 128)), crf=0) as sink,
        ):
            for frame in source:
                sink.write(Frame(tuple(np.concatenate([p, p], 1) for p in frame.planes), "yuv420p", time=frame.time))
        _, planes, video = read(tmp_path / "o.mp4")
        assert video.format.size == (48, 128)
        np.testing.assert_array_equal(planes[3][0][:, 64:], planes_of(3, SIZE, [SIZE])[0])

    def test_nv12_stays_nv12(self, tmp_path: Path) -> None:
        source = make_clip(tmp_path / "in.nut", format="nv12", codec="rawvideo", times=[0, 1, 2])
        video, notes = transcode(source, tmp_path / "out.mp4")
        assert video.format.pixels == "nv12" and notes == []
        _, planes, _ = read(source)
        _, again, _ = read(tmp_path / "out.mp4")  # h264 decodes to three planes
        for before, after in zip(planes, again, strict=True):
            np.testing.assert_array_equal(before[0], after[0])
            np.testing.assert_array_equal(before[1], np.stack(after[1:], -1))

    @pytest.mark.parametrize(
        "suffix, codec, name", [(".webm", None, "vp9"), (".mkv", "hevc", "hevc"), (".mp4", "av1", "av1")]
    )
    def test_other_codecs(self, clip: Path, tmp_path: Path, suffix: str, codec: str | None, name: str) -> None:
        size = (64, 64)
        source = make_clip(tmp_path / "in.mp4", size=size, times=list(range(5)))
        transcode(source, tmp_path / f"out{suffix}", codec=codec, crf=None)
        times, planes, video = read(tmp_path / f"out{suffix}")
        assert name in (video.file.codec, video.file.streams[0].codec) and len(times) == 5
        assert np.abs(planes[2][0].astype(int) - planes_of(2, size, [size])[0]).mean() < 12

    @pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="Linux only")
    def test_no_encoder_takes_real_time_priority(self, tmp_path: Path) -> None:
        """SVT-AV1 does, for its threads and the one that opens it, if the process is root's."""
        before = os.sched_getscheduler(0)
        source = make_clip(tmp_path / "in.mp4", size=(64, 64), times=list(range(3)))
        with VideoSource(source) as frames, VideoSink(tmp_path / "out.mp4", frames.format, codec="av1") as sink:
            for frame in frames:
                sink.write(frame)
                tasks = {os.sched_getscheduler(int(task)) for task in os.listdir("/proc/self/task")}
                assert tasks == {before}


class TestGeometry:
    @pytest.mark.parametrize(
        "turn",
        [
            (-90, False, False),
            (90, False, False),
            (180, False, False),
            (0, True, False),
            (0, False, True),
            (90, True, False),
        ],
    )
    @pytest.mark.parametrize("size", [(48, 64), (33, 47)])
    def test_rotation_is_applied_once(
        self, tmp_path: Path, turn: tuple[float, bool, bool], size: tuple[int, int]
    ) -> None:
        source = (
            make_clip(tmp_path / "in.mov", rotation=turn, size=size, times=[0, 1], codec="libx264", format="yuv420p")
            if size == (48, 64)
            else make_clip(
                tmp_path / "in.mp4",
                rotation=turn,
                size=size,
                times=[0, 1],
                codec="libvpx-vp9",
                options={"lossless": "1"},
            )
        )
        video, _ = transcode(source, tmp_path / "out.mkv", codec="ffv1")
        _, planes, again = read(tmp_path / "out.mkv")
        assert again.file.rotation == 0 and again.format.size == video.format.size == (
            size if turn[0] in (0, 180) else size[::-1]
        )
        shapes = [size, *[((size[0] + 1) // 2, (size[1] + 1) // 2)] * 2]
        for index, frame in enumerate(planes):
            for plane, stored in zip(frame, planes_of(index, size, shapes), strict=True):
                upright = np.rot90(stored, round(turn[0] / 90))  # counterclockwise, as the display matrix counts
                upright = upright[:, ::-1] if turn[1] else upright
                upright = upright[::-1] if turn[2] else upright
                np.testing.assert_array_equal(plane, upright)

    @pytest.mark.parametrize("degrees", [0, 90, 180, 270, -90, 360])
    def test_orientation_of_a_rotation(self, degrees: int) -> None:
        plane = np.arange(6, dtype=np.uint8).reshape(2, 3)
        np.testing.assert_array_equal(Orientation.rotated(degrees).apply(plane), np.rot90(plane, degrees // 90))
        assert Orientation.rotated(degrees).degrees == degrees % 360

    def test_pixel_aspect_survives_and_turns_with_the_picture(self, tmp_path: Path) -> None:
        aspect = Fraction(16, 11)
        source = make_clip(tmp_path / "in.mp4", pixel_aspect=aspect, times=[0, 1])
        transcode(source, tmp_path / "out.mp4")
        assert read(source)[2].format.pixel_aspect == read(tmp_path / "out.mp4")[2].format.pixel_aspect == aspect
        turned = make_clip(tmp_path / "turned.mp4", pixel_aspect=aspect, rotation=(90, False, False), times=[0, 1])
        assert read(turned)[2].format.pixel_aspect == 1 / aspect

    @pytest.mark.parametrize("size", [(33, 47), (33, 48), (32, 47)])
    def test_odd_sizes_are_kept(self, tmp_path: Path, size: tuple[int, int]) -> None:
        source = make_clip(tmp_path / "in.mkv", size=size, codec="ffv1", times=[0, 1])
        _, notes = transcode(source, tmp_path / "out.mp4")
        assert any("odd size" in note for note in notes)
        _, planes, video = read(tmp_path / "out.mp4")
        assert video.format.size == size and video.file.stored_format == "yuv444p"
        np.testing.assert_array_equal(planes[1][0], planes_of(1, size, [size])[0])

        _, notes = transcode(source, tmp_path / "out.mkv", codec="ffv1")
        assert notes == []
        assert_same_planes(read(tmp_path / "out.mkv")[1], read(source)[1])

    def test_one_pixel(self, tmp_path: Path) -> None:
        source = make_clip(tmp_path / "in.mkv", size=(1, 1), codec="ffv1", times=[0, 1])
        transcode(source, tmp_path / "out.mp4")
        times, planes, video = read(tmp_path / "out.mp4")
        assert (
            video.format.size == (1, 1)
            and len(times) == 2
            and planes[1][0][0, 0] == planes_of(1, (1, 1), [(1, 1)])[0][0, 0]
        )

    def test_8k(self, tmp_path: Path) -> None:
        size = (4320, 7680)
        source = make_clip(tmp_path / "in.mp4", size=size, times=[0, 1], options={"preset": "ultrafast", "crf": "40"})
        transcode(source, tmp_path / "out.mp4", preset="ultrafast", crf=40)
        times, _, video = read(tmp_path / "out.mp4")
        assert video.format.size == size and len(times) == 2

    def test_a_change_of_size_is_scaled(self, tmp_path: Path) -> None:
        small = make_clip(tmp_path / "a.h264", times=[0, 1, 2]).read_bytes()
        large = make_clip(tmp_path / "b.h264", times=[0, 1, 2], size=(96, 128)).read_bytes()
        (tmp_path / "both.h264").write_bytes(small + large)
        _, planes, video = read(tmp_path / "both.h264")
        assert len(planes) == 6 and {plane[0].shape for plane in planes} == {SIZE}
        assert "the picture size changes from 64x48 to 128x96 at frame 4; it is scaled to the first one" in video.notes


def one_frame(path: Path, frame: av.VideoFrame) -> None:
    """A lossless video of one frame, in its own pixel format."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        assert isinstance(stream, av.VideoStream)
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = frame.width, frame.height, frame.format.name
        container.mux([*stream.encode(frame), *stream.encode(None)])


def damage(source: Path, target: Path, kind: str, numbers: set[int]) -> Path:
    """A copy whose packets of these numbers (of streams of one kind) are noise."""
    random = np.random.default_rng(0)
    with av.open(str(source)) as given, av.open(str(target), "w") as made:
        streams = {s.index: made.add_stream_from_template(s, opaque=True) for s in given.streams}
        seen = 0
        for packet in given.demux():
            if packet.dts is None:
                continue
            written = packet
            if packet.stream.type == kind:
                if seen in numbers:
                    written = av.Packet(random.bytes(packet.size))
                    written.pts, written.dts, written.time_base = packet.pts, packet.dts, packet.time_base
                    written.duration, written.is_keyframe = packet.duration, packet.is_keyframe
                seen += 1
            written.stream = streams[packet.stream.index]
            made.mux_one(written)
    return target


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("damage") / "whole.mkv"
    return make_clip(path, times=list(range(60)), options={"crf": "10", "g": "1", "bf": "0"}, tones=(440.0,))


class TestDamage:
    @pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
    @pytest.mark.parametrize("numbers", [{7}, {7, 8, 30}, {59}])
    def test_frames_that_cannot_be_decoded_are_left_out(
        self, whole: Path, tmp_path: Path, numbers: set[int], suffix: str
    ) -> None:
        source = damage(whole, tmp_path / f"in{suffix}", "video", numbers)
        video, notes = transcode(source, tmp_path / "out.mp4")
        assert video.skipped == len(numbers)
        assert any(f"{len(numbers)} frame" in note and "left out (first after frame" in note for note in notes), notes
        times, _, _ = read(tmp_path / "out.mp4")
        whole_times = read(whole)[0]
        assert len(times) == 60 - len(numbers)
        kept = [
            round(float(time - whole_times[0]), 2) for number, time in enumerate(whole_times) if number not in numbers
        ]
        assert [round(float(time - times[0]), 2) for time in times] == kept

    def test_more_than_a_twentieth_ends_it(self, whole: Path, tmp_path: Path) -> None:
        source = damage(whole, tmp_path / "in.mkv", "video", set(range(10, 20)))
        with pytest.raises(MediaError, match="4 frames cannot be decoded, more than 5%") as caught:
            transcode(source, tmp_path / "out.mp4")
        assert "--duration" in str(caught.value) and not (tmp_path / "out.mp4").exists()

    def test_stop_ends_at_the_first(self, whole: Path, tmp_path: Path) -> None:
        source = damage(whole, tmp_path / "in.mkv", "video", {7})
        with VideoSource(source, on_error="stop") as video, pytest.raises(MediaError, match="after frame 7"):
            list(video)
        with pytest.raises(OptionError, match="on_error is 'go on'"):
            VideoSource(source, on_error="go on")  # type: ignore[arg-type]

    def test_a_second_round_counts_anew(self, whole: Path, tmp_path: Path) -> None:
        with VideoSource(damage(whole, tmp_path / "in.mkv", "video", {7})) as video:
            assert len(list(video)) == len(list(video)) == 59 and video.skipped == 1


class TestOtherPixelFormats:
    def test_dropped_alpha_is_said(self, tmp_path: Path) -> None:
        source = tmp_path / "in.mkv"
        one_frame(source, av.VideoFrame(64, 48, "yuva420p"))
        assert "the video's alpha is dropped" in read(source)[2].notes

    def test_ten_bits_become_eight(self, tmp_path: Path) -> None:
        source = tmp_path / "in.mkv"
        frame = av.VideoFrame(64, 48, "yuv420p10le")
        for plane, value in zip(frame.planes, (400, 300, 700), strict=True):
            plane.update(np.full(plane.buffer_size // 2, value, np.uint16).tobytes())
        one_frame(source, frame)
        _, planes, video = read(source)
        assert video.format.pixels == "yuv420p" and video.file.stored_format == "yuv420p10le"
        assert list(video.notes) == ["pixel format yuv420p10le is converted to yuv420p, 8 bit"]
        for plane, value in zip(planes[0], (100, 75, 175), strict=True):
            assert np.abs(plane.astype(int) - value).max() <= 1

    def test_more_chroma_becomes_420_without_changing_the_luma(self, tmp_path: Path) -> None:
        source = make_clip(tmp_path / "in.mkv", format="yuv444p", codec="ffv1", times=[0, 1])
        _, planes, video = read(source)
        assert video.format.pixels == "yuv420p" and "yuv444p" in next(iter(video.notes))
        np.testing.assert_array_equal(planes[1][0], planes_of(1, SIZE, [SIZE])[0])

    @pytest.mark.parametrize(
        "format, codec, suffix", [("rgb24", "png", ".mov"), ("gray", "png", ".mov"), ("bgr0", "ffv1", ".mkv")]
    )
    def test_rgb_and_grey_become_rgb(self, tmp_path: Path, format: str, codec: str, suffix: str) -> None:
        source = tmp_path / f"in{suffix}"
        with av.open(str(source), "w") as container:
            stream = container.add_stream(codec, rate=25)
            assert isinstance(stream, av.VideoStream)
            stream.codec_context.height, stream.codec_context.width, stream.codec_context.pix_fmt = *SIZE, format
            frame = picture(3, SIZE, "rgb24").reformat(format=format)
            container.mux([*stream.encode(frame), *stream.encode(None)])
        _, planes, video = read(source)
        assert video.format.pixels == "rgb24" and planes[0][0].shape == (*SIZE, 3)
        if format != "gray":
            np.testing.assert_array_equal(planes[0][0], planes_of(3, SIZE, [(*SIZE, 3)])[0])
        else:
            np.testing.assert_array_equal(planes[0][0][..., 0], planes[0][0][..., 2])
        transcode(source, tmp_path / "out.mp4")
        _, again, after = read(tmp_path / "out.mp4")
        assert after.format.color == Color("bt709", False) and tuple(after.format.tags) == (1, 1, 1, 1)
        luma = planes[0][0] @ np.array([0.2126, 0.7152, 0.0722]) * 219 / 255 + 16
        assert np.abs(again[0][0] - luma).max() < 1.6

    @pytest.mark.parametrize("transfer, name", [(16, "PQ"), (18, "HLG")])
    def test_high_dynamic_range_is_refused_or_mapped(self, tmp_path: Path, transfer: int, name: str) -> None:
        source = tmp_path / "hdr.mkv"
        with av.open(str(source), "w") as container:
            stream = container.add_stream("ffv1", rate=25)
            assert isinstance(stream, av.VideoStream)
            context = stream.codec_context
            context.height, context.width, context.pix_fmt = 64, 256, "yuv420p10le"
            context.colorspace, context.color_range, context.color_primaries, context.color_trc = 9, 1, 9, transfer
            frame = av.VideoFrame(256, 64, "yuv420p10le")
            ramp = np.tile(np.linspace(64, 940, 256).astype(np.uint16), 64)
            frame.planes[0].update(ramp.tobytes())
            for plane in frame.planes[1:]:
                plane.update(np.full(plane.buffer_size // 2, 512, np.uint16).tobytes())
            container.mux([*stream.encode(frame), *stream.encode(None)])
        with pytest.raises(MediaError, match=f"high dynamic range video, {name}.*--hdr tonemap"):
            VideoSource(source)
        if name == "HLG":  # the tables for mapping take seconds to build: once is enough
            return
        video, notes = transcode(source, tmp_path / "out.mp4", hdr="tonemap")
        assert (
            "tone-mapped" in notes[0]
            and video.format.color == Color("bt709", False)
            and tuple(video.format.tags) == (1, 1, 1, 1)
        )
        luma = read(tmp_path / "out.mp4")[1][0][0].astype(int)[32, ::8]
        assert luma[0] <= 20 and luma[-1] > 180 and (np.diff(luma) >= -1).all()  # dark stays dark, light rises


class TestTrim:
    @pytest.mark.parametrize(
        "start, duration, first, count",
        [
            (0.5, None, 15, 15),
            (0.0, 0.5, 0, 15),
            (0.5, 0.2, 15, 6),
            (0.5005, 0.2, 15, 6),
            (0.501, 0.2, 16, 6),
            (0.9, 9, 27, 3),
        ],
    )
    def test_exact_to_the_frame(
        self, clip: Path, tmp_path: Path, start: float, duration: float | None, first: int, count: int
    ) -> None:
        _, planes, video = read(clip, start=start, duration=duration)
        assert len(planes) == count
        np.testing.assert_array_equal(planes[0][0], planes_of(first, SIZE, [SIZE])[0])
        assert video.frames is not None and abs(video.frames - count) <= 1

    def test_seeks_within_long_groups(self, tmp_path: Path) -> None:
        source = make_clip(
            tmp_path / "in.mp4", times=list(range(40)), options={**LOSSLESS, "g": "10", "preset": "fast"}
        )
        for start in (0, 9, 10, 11, 25, 39):
            _, planes, _ = read(source, start=float(start / RATE))
            assert len(planes) == 40 - start
            np.testing.assert_array_equal(planes[0][0], planes_of(start, SIZE, [SIZE])[0])

    def test_the_output_begins_at_zero_with_its_sound(self, clip: Path, tmp_path: Path) -> None:
        transcode(clip, tmp_path / "out.mp4", start=0.5, duration=0.3)
        times, _, _ = read(tmp_path / "out.mp4")
        offset = 15 / RATE
        assert times == [index / RATE for index in range(9)]
        whole = {data: time for time, data in packets_of(clip, "audio")[0]}
        cut = packets_of(tmp_path / "out.mp4", "audio")[0]
        assert 3 <= len(cut) <= 6
        for time, data in cut:
            assert abs(whole[data] - offset - time) <= Fraction(1, 16000)  # in step to a sample
        assert cut[0][0] >= 0 and cut[-1][0] < Fraction(3, 10)

    def test_a_start_past_the_end_gives_no_frame(self, clip: Path, tmp_path: Path) -> None:
        assert read(clip, start=60.0)[1] == []
        with pytest.raises(MediaError, match="no frame was written"):
            transcode(clip, tmp_path / "out.mp4", start=60.0)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        "options", [{"start": -1.0}, {"start": math.nan}, {"duration": 0.0}, {"duration": math.inf}, {"hdr": "no"}]
    )
    def test_wrong_options(self, clip: Path, options: dict[str, object]) -> None:
        with pytest.raises(OptionError, match="expected"):
            VideoSource(clip, **options)  # type: ignore[arg-type]


class TestOtherStreams:
    @pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
    def test_sound_is_copied_byte_for_byte(self, clip: Path, tmp_path: Path, suffix: str) -> None:
        transcode(clip, tmp_path / f"out{suffix}")
        before, after = packets_of(clip, "audio")[0], packets_of(tmp_path / f"out{suffix}", "audio")[0]
        assert [data for _, data in after] == [data for _, data in before] and len(before) > 10
        slack = Fraction(1, 1000) if suffix == ".mkv" else Fraction(0)  # Matroska counts milliseconds
        shift = read(tmp_path / f"out{suffix}")[0][0] - read(clip)[0][0]
        assert shift == 0 or suffix == ".mkv"
        assert max(abs(a[0] + shift - b[0]) for a, b in zip(before, after, strict=True)) <= slack

    def test_all_streams_of_matroska(self, rich: Path, tmp_path: Path) -> None:
        _, notes = transcode(rich, tmp_path / "out.mkv")
        assert notes == []
        for kind in ("audio", "subtitle"):
            assert packets_of(tmp_path / "out.mkv", kind) == packets_of(rich, kind)
        assert len(packets_of(rich, "audio")) == 2 and len(packets_of(rich, "subtitle")[0]) == 2
        with av.open(str(tmp_path / "out.mkv")) as out, av.open(str(rich)) as source:
            assert [s.metadata.get("language") for s in out.streams] == [
                s.metadata.get("language") for s in source.streams
            ]
            assert [s.disposition for s in out.streams] == [s.disposition for s in source.streams]
            assert out.streams.attachments[0].data == b"not really a font"
            assert out.metadata["title"] == "A walk"
            chapters = [(c["start"] * c["time_base"], c["metadata"]["title"]) for c in out.chapters()]
            assert chapters == [(0, "One"), (Fraction(1, 2), "Two")]

    def test_what_mp4_cannot_hold_is_said(self, rich: Path, tmp_path: Path) -> None:
        _, notes = transcode(rich, tmp_path / "out.mp4")
        assert [note.split(":")[0] for note in notes] == [
            "subtitle stream 3 is encoded again as mov_text",
            "attachment stream 4 (font.ttf) is left out",
        ]
        assert len(packets_of(tmp_path / "out.mp4", "audio")) == 2

    def test_titles_survive_other_containers(self, rich: Path, tmp_path: Path) -> None:
        transcode(rich, tmp_path / "a.mp4")
        transcode(tmp_path / "a.mp4", tmp_path / "b.mkv")
        transcode(tmp_path / "b.mkv", tmp_path / "c.webm", crf=40)
        first = read(rich)[0][0]
        titles = [(time - first, text) for time, text in packets_of(rich, "subtitle")[0]]
        for name in ("b.mkv", "c.webm"):
            first = read(tmp_path / name)[0][0]
            again = [(time - first, text) for time, text in packets_of(tmp_path / name, "subtitle")[0]]
            assert [text for _, text in again] == [text for _, text in titles] == [b"Hello", b"Bye"]
            assert max(abs(a[0] - b[0]) for a, b in zip(again, titles, strict=True)) <= Fraction(2, 1000)
        with av.open(str(tmp_path / "a.mp4")) as out:
            assert out.streams.subtitles[0].metadata["language"] == "fra"

    def test_a_title_that_is_shown_at_the_cut_is_kept(self, rich: Path, tmp_path: Path) -> None:
        first = read(rich)[0][0]
        transcode(rich, tmp_path / "out.mkv", start=0.25, duration=0.5)
        with av.open(str(tmp_path / "out.mkv")) as out:
            found = [
                (float(p.pts * p.time_base), float(p.duration * p.time_base), bytes(p))
                for p in out.demux(subtitles=0)
                if p.pts is not None
            ]
        cut = 8 * float(1 / RATE)  # the first frame from 0.25 s on
        starts = [0, 0.5 - float(first) - cut]
        lengths = [0.4 - float(first) - cut, 0.4]
        assert [text for _, _, text in found] == [b"Hello", b"Bye"]
        assert [start for start, _, _ in found] == pytest.approx(starts, abs=0.003)
        assert [length for _, length, _ in found] == pytest.approx(lengths, abs=0.003)

    def test_chapters_follow_a_trim(self, rich: Path, tmp_path: Path) -> None:
        transcode(rich, tmp_path / "out.mkv", start=0.4, duration=0.3)
        with av.open(str(tmp_path / "out.mkv")) as out:
            spans = [(float(c["start"] * c["time_base"]), float(c["end"] * c["time_base"])) for c in out.chapters()]
        assert spans == [pytest.approx((0, 0.1), abs=0.002), pytest.approx((0.1, 0.3), abs=0.002)]

    @pytest.mark.parametrize(
        "codec, suffix, encoder",
        [("aac", ".webm", "libopus"), ("flac", ".mov", "aac"), ("pcm_s16le", ".webm", "libopus")],
    )
    def test_sound_is_encoded_again_where_it_must(self, tmp_path: Path, codec: str, suffix: str, encoder: str) -> None:
        source = make_clip(tmp_path / "in.mkv", times=list(range(30)), tones=(440.0,), audio_codec=codec)
        out = tmp_path / f"out{suffix}"
        _, notes = transcode(source, out, crf=40)
        assert notes == [f"audio stream 1 is encoded again as {encoder}: {suffix[1:]} files cannot hold {codec}"]
        with av.open(str(out)) as container:
            rate = container.streams.audio[0].codec_context.sample_rate
            sound = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
        assert 0.95 < len(sound) / rate < 1.2
        middle = sound[rate // 10 : rate // 10 * 9]
        assert abs(np.argmax(np.abs(np.fft.rfft(middle))) * rate / len(middle) - 440) < 3

    def test_a_second_video_is_left_out_and_a_cover_is_kept(self, tmp_path: Path) -> None:
        plain = make_clip(tmp_path / "plain.mp4")
        source = tmp_path / "in.mp4"
        with av.open(str(plain)) as one, av.open(str(plain)) as two, av.open(str(source), "w") as out:
            routes = [out.add_stream_from_template(c.streams.video[0], opaque=True) for c in (one, two)]
            cover = out.add_stream("png", rate=1)
            assert isinstance(cover, av.VideoStream)
            cover.codec_context.height, cover.codec_context.width, cover.codec_context.pix_fmt = 16, 16, "rgb24"
            cover.disposition = av.stream.Disposition.attached_pic
            for container, route in zip((one, two), routes, strict=True):
                for packet in container.demux(video=0):
                    if packet.dts is not None:
                        packet.stream = route
                        out.mux(packet)
            out.mux(cover.encode(picture(0, (16, 16), "rgb24")))
        video, notes = transcode(source, tmp_path / "out.mp4")
        assert [stream.kind for stream in video.file.streams] == ["video"] * 3
        assert notes == ["video stream 1 is left out: one video is translated"]
        with av.open(str(tmp_path / "out.mp4")) as out:
            assert [bool(s.disposition & av.stream.Disposition.attached_pic) for s in out.streams] == [False, True]


class TestBadInput:
    def refuse(self, path: Path, *words: str) -> None:
        with pytest.raises(MediaError) as caught:
            VideoSource(path)
        for word in (str(path), *words):
            assert word in str(caught.value)

    def test_missing(self, tmp_path: Path) -> None:
        self.refuse(tmp_path / "none.mp4", "no such file")

    def test_folder(self, tmp_path: Path) -> None:
        self.refuse(tmp_path, "is a folder", "--images")

    def test_empty(self, tmp_path: Path) -> None:
        (tmp_path / "zero.mp4").touch()
        self.refuse(tmp_path / "zero.mp4", "empty (0 bytes)")

    @pytest.mark.parametrize("name", ["text.mp4", "text.txt"])
    def test_text(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_text("This is not a video.\n" * 100)
        self.refuse(tmp_path / name, "text")

    def test_noise(self, tmp_path: Path) -> None:
        (tmp_path / "noise.mkv").write_bytes(np.random.default_rng(1).bytes(5000))
        self.refuse(tmp_path / "noise.mkv", "not a video")

    def test_cut_off_before_the_index(self, clip: Path, tmp_path: Path) -> None:
        data = clip.read_bytes()
        (tmp_path / "cut.mp4").write_bytes(data[: data.index(b"moov") - 4])
        self.refuse(tmp_path / "cut.mp4", "index (moov) is missing", "cut off")

    def test_audio_only(self, tmp_path: Path) -> None:
        path = tmp_path / "sound.m4a"
        with av.open(str(path), "w") as container:
            stream = add_audio(container)
            container.mux(tone(stream, 0.2, 440))
        self.refuse(path, "has no video, only audio")

    def test_no_frames(self, tmp_path: Path) -> None:
        data = make_clip(tmp_path / "in.mp4").read_bytes()
        start, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
        (tmp_path / "none.mp4").write_bytes(data[:start] + bytes(end - start) + data[end:])
        self.refuse(tmp_path / "none.mp4", "no frame in it can be decoded")

    def test_no_streams(self, tmp_path: Path) -> None:
        with av.open(str(tmp_path / "none.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            assert isinstance(stream, av.VideoStream)
            stream.codec_context.height, stream.codec_context.width = SIZE
            container.start_encoding()
        self.refuse(tmp_path / "none.mp4", "has no video.")

    @pytest.fixture()
    def cut(self, tmp_path: Path) -> Path:
        """The index is whole, the pictures are not: a download that stopped."""
        whole = make_clip(tmp_path / "whole.mp4", times=list(range(40)), options={"crf": "10", "g": "5", "bf": "0"})
        with (
            VideoSource(whole) as source,
            VideoSink(tmp_path / "fast.mp4", source.format, origin=source, crf=10) as sink,
        ):
            for frame in source:
                sink.write(frame)
        data = (tmp_path / "fast.mp4").read_bytes()
        assert data.index(b"moov") < data.index(b"mdat")  # so that players can begin before the end
        (tmp_path / "fast.mp4").write_bytes(data[: data.index(b"mdat") + (len(data) - data.index(b"mdat")) * 6 // 10])
        return tmp_path / "fast.mp4"

    def test_cut_off_pictures_are_named_and_what_is_whole_can_be_had(self, cut: Path, tmp_path: Path) -> None:
        seen = 0
        with (
            pytest.raises(MediaError, match=r"damaged or cut off: decoding failed after frame (\d+)") as caught,
            VideoSource(cut, on_error="stop") as source,
            VideoSink(tmp_path / "out.mp4", source.format, origin=source) as sink,
        ):
            for frame in source:
                sink.write(frame)
                seen += 1
        assert f"after frame {seen} " in str(caught.value) and caught.value.frame_number == seen + 1
        assert not (tmp_path / "out.mp4").exists() and not list(tmp_path.glob(".*part*"))
        cure = float(str(caught.value).split("--duration ")[1].rstrip("."))
        assert len(read(cut, duration=cure)[0]) == seen - 1

    @pytest.mark.parametrize(("on_error", "kept"), [("skip", True), ("stop", False)])
    def test_what_is_whole_is_kept_and_the_error_is_reported(
        self, cut: Path, tmp_path: Path, on_error: OnError, kept: bool
    ) -> None:
        with VideoSource(cut, on_error=on_error) as source:
            session = Session(source, None, VideoSink(tmp_path / "out.mkv", source.format, origin=source))
            if kept:
                report = session.run()
                assert report.error is not None and "cut off" in str(report.error)
                assert len(read(tmp_path / "out.mkv")[0]) == report.frames >= 10
            else:
                with pytest.raises(MediaError, match="cut off"):
                    session.run()
                assert not (tmp_path / "out.mkv").exists()

    def test_an_early_end_is_noted(self, tmp_path: Path) -> None:
        """Matroska does not fail when it is cut off: its frames just end."""
        whole = make_clip(tmp_path / "whole.mkv", times=list(range(0, 240, 4)), options={"crf": "10", "g": "5"})
        data = whole.read_bytes()
        (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
        notes = []
        with contextlib.suppress(MediaError):  # if the cut leaves half a packet
            notes = list(read(tmp_path / "cut.mkv")[2].notes)
            assert "may be cut off" in notes[0]

    def test_a_path_that_looks_like_a_protocol(
        self, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "http:x.mp4").write_bytes(clip.read_bytes())
        monkeypatch.chdir(tmp_path)
        assert len(read(Path("http:x.mp4"))[0]) == 30
        transcode(Path("http:x.mp4"), Path("tcp:out.mp4"))
        assert len(read(Path("tcp:out.mp4"))[0]) == 30


class TestBadOutput:
    @pytest.fixture()
    def format(self, clip: Path) -> Iterator[FrameFormat]:
        with VideoSource(clip) as source:
            yield source.format

    @pytest.fixture()
    def folder(self, tmp_path: Path) -> Iterator[Path]:
        """A folder that holds an older output, and must hold just that afterwards."""
        (tmp_path / "old.mp4").write_bytes(b"precious")
        yield tmp_path
        assert [path.name for path in tmp_path.iterdir()] == ["old.mp4"]
        assert (tmp_path / "old.mp4").read_bytes() == b"precious"

    def test_existing_file(self, format: FrameFormat, folder: Path) -> None:
        with pytest.raises(MediaError, match="exists; pass -y"):
            VideoSink(folder / "old.mp4", format)

    def test_error_in_the_middle(self, clip: Path, folder: Path) -> None:
        with (
            pytest.raises(ZeroDivisionError),
            VideoSource(clip) as source,
            VideoSink(folder / "old.mp4", source.format, origin=source, overwrite=True) as sink,
        ):
            for number, frame in enumerate(source):
                sink.write(frame)
                1 // (10 - number)

    def test_overwrite(self, clip: Path, tmp_path: Path) -> None:
        (tmp_path / "old.mp4").write_bytes(b"precious")
        transcode(clip, tmp_path / "old.mp4", overwrite=True)
        assert len(read(tmp_path / "old.mp4")[0]) == 30

    def test_onto_itself(self, clip: Path, tmp_path: Path) -> None:
        (tmp_path / "in.mp4").write_bytes(clip.read_bytes())
        transcode(tmp_path / "in.mp4", tmp_path / "in.mp4", overwrite=True)
        assert_same_planes(read(tmp_path / "in.mp4")[1], read(clip)[1])
        assert packets_of(tmp_path / "in.mp4", "audio") == packets_of(clip, "audio")

    def test_missing_folder(self, format: FrameFormat, folder: Path) -> None:
        with pytest.raises(MediaError, match="does not exist; create it first"):
            VideoSink(folder / "none" / "out.mp4", format)

    def test_a_file_as_folder(self, format: FrameFormat, folder: Path) -> None:
        with pytest.raises(MediaError, match="cannot be written: not a directory"):
            VideoSink(folder / "old.mp4" / "out.mp4", format)

    def test_a_folder_as_file(self, format: FrameFormat, folder: Path) -> None:
        with pytest.raises(MediaError, match="is a folder"):
            VideoSink(folder.with_suffix(".mp4") if folder.is_file() else self.named(folder), format)
        (folder / "sub.mp4").rmdir()

    @staticmethod
    def named(folder: Path) -> Path:
        (folder / "sub.mp4").mkdir()
        return folder / "sub.mp4"

    def test_not_permitted(self, format: FrameFormat, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("os.open", refuse)  # tests may run as root, whom no folder refuses
        with pytest.raises(MediaError, match="cannot be written: permission denied"):
            VideoSink(folder / "out.mp4", format)

    @pytest.mark.parametrize("limit", [0, 20_000])
    @pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
    def test_no_more_room(self, clip: Path, folder: Path, limit: int, suffix: str) -> None:
        """A limit on the file size, which fails as a full disk does."""
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        try:
            with pytest.raises(MediaError, match=r"cannot be written: file too large. Free some space"):
                transcode(clip, folder / f"out{suffix}")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    def test_unknown_suffix_codec_and_preset(self, format: FrameFormat, folder: Path) -> None:
        with pytest.raises(OptionError, match=r"suffix '.avi'; expected one of .mp4, .m4v, .mov, .mkv, .webm"):
            VideoSink(folder / "out.avi", format)
        with pytest.raises(OptionError, match="Unknown codec 'h265'. Did you mean h264"):
            VideoSink(folder / "out.mp4", format, codec="h265")
        with pytest.raises(OptionError, match="Unknown preset 'fastest'"):
            VideoSink(folder / "out.mp4", format, preset="fastest")
        with pytest.raises(OptionError, match="webm files cannot hold libx264 video; usual there is vp9"):
            VideoSink(folder / "out.webm", format, codec="h264")

    def test_missing_encoder(self, format: FrameFormat, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from ganlens.engine.media.file import sink

        monkeypatch.setitem(sink.CODECS, "h264", sink.CODECS["h264"]._replace(library="libnone"))
        with pytest.raises(MediaError, match="no libnone encoder"):
            VideoSink(folder / "out.mp4", format)

    def test_wrong_frames(self, clip: Path, folder: Path) -> None:
        with (
            pytest.raises(MediaError, match="got a frame of 32x16; the video is 64x48"),
            VideoSource(clip) as source,
            VideoSink(folder / "out.mp4", source.format, origin=source) as sink,
        ):
            sink.write(Frame.from_rgb(np.zeros((16, 32, 3), np.uint8)))
        with (
            pytest.raises(MediaError, match="not after the frame before"),
            VideoSource(clip) as source,
            VideoSink(folder / "out.mp4", source.format, origin=source) as sink,
        ):
            frame = next(iter(source))
            sink.write(frame)
            sink.write(frame)

    def test_stopped_by_the_user(self, clip: Path, tmp_path: Path) -> None:
        out = tmp_path / "out.mp4"
        with (
            pytest.raises(KeyboardInterrupt),
            VideoSource(clip) as source,
            VideoSink(out, source.format, origin=source, crf=0) as sink,
        ):
            for number, frame in enumerate(source):
                if number == 12:
                    raise KeyboardInterrupt
                sink.write(frame)
        assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
        times, planes, _ = read(out)
        assert times == [index / RATE for index in range(12)]
        np.testing.assert_array_equal(planes[11][0], planes_of(11, SIZE, [SIZE])[0])
        sound = packets_of(out, "audio")[0]
        assert Fraction(3, 10) < sound[-1][0] <= 12 / RATE  # ends with the pictures

    def test_stopped_before_the_first_frame(self, clip: Path, folder: Path) -> None:
        with (
            pytest.raises(KeyboardInterrupt),
            VideoSource(clip) as source,
            VideoSink(folder / "out.mp4", source.format, origin=source),
        ):
            raise KeyboardInterrupt

    def test_file_mode_follows_the_umask(self, clip: Path, tmp_path: Path) -> None:
        transcode(clip, tmp_path / "out.mp4")
        (tmp_path / "plain").touch()
        assert (tmp_path / "out.mp4").stat().st_mode == (tmp_path / "plain").stat().st_mode
