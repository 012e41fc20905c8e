"""NVDEC and NVENC: chosen by trying, asked for by name without a way back, and the same frames and times from both."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.logging
import numpy as np
import pytest
from av.codec import Codec
from av.video.reformatter import VideoReformatter

from ganlens.engine.errors import BackendUnavailable, MediaError, OptionError
from ganlens.engine.media import NVENC, FrameFormat, VideoSink, VideoSource
from ganlens.engine.media.file import hardware, source
from ganlens.engine.media.file.codecs import CODECS, PRESETS, Encoder
from ganlens.engine.media.file.hardware import Problem
from ganlens.engine.pixels.frame import Frame
from tests.conftest import cuda_devices

SIZE = (288, 352)
"""(height, width); larger than the smallest that any NVDEC and NVENC takes."""
TIMES = [0, 512, 1024, 1600, 2048, 2560, 3333, 4096, 4608, 5120, 5632, 6144]
"""Ticks of a variable rate."""
TICK = Fraction(1, 15360)
without_gpu = pytest.mark.skipif(cuda_devices() > 0, reason="there is a GPU")


def write_clip(path: Path, codec: str = "libx264", times: list[int] = TIMES) -> Path:
    """A moving gradient with B-frames, at varying times."""
    with av.open(str(path), "w", container_options={"movie_timescale": "15360"}) as container:
        stream = container.add_stream(codec, rate=30, time_base=TICK)
        assert isinstance(stream, av.VideoStream)
        stream.time_base = stream.codec_context.time_base = TICK
        stream.codec_context.height, stream.codec_context.width = SIZE
        stream.codec_context.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"preset": "ultrafast", "crf": "10", "bf": "2"} if codec == "libx264" else {}
        for number, pts in enumerate(times):
            picture = av.VideoFrame.from_ndarray(rgb(number), "rgb24").reformat(format="yuv420p")
            picture.pts, picture.time_base = pts, TICK
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def rgb(number: int) -> np.ndarray:
    """(288, 352, 3) uint8."""
    rows, columns = np.mgrid[0 : SIZE[0], 0 : SIZE[1]]
    return np.stack([(columns + 5 * number) % 256, (rows + columns) // 3, 255 - rows // 2], axis=2).astype(np.uint8)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("hardware") / "clip.mp4")


@pytest.fixture
def format() -> FrameFormat:
    return FrameFormat(SIZE, "yuv420p", Fraction(30), TICK)


class FakeGpu:
    """Stands for NVDEC: its driver is there, and pictures come as NV12 up to a given one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, until: int | None = None, said: str = "") -> None:
        self.opened: list[bool] = []
        reformat, decode, opened = VideoReformatter().reformat, VideoSource._decode, source.open_input

        def decode_there(video: VideoSource) -> Iterator[tuple[av.VideoFrame, Fraction]]:
            for number, (picture, time) in enumerate(decode(video)):
                if video._hardware is not None and (until is None or number < until):
                    duration, pts = picture.duration, picture.pts
                    picture = reformat(picture, format="nv12")
                    picture.duration, picture.pts = duration, pts
                yield picture, time

        def open_there(path: Path, kind: str = "video", hardware: Any = None) -> Any:
            self.opened.append(hardware is not None)
            if hardware is not None and said:
                av.logging.log(av.logging.ERROR, "h264", said)
            return opened(path, kind)

        monkeypatch.setattr(hardware, "nvdec_problem", lambda codec, device=0: None)
        monkeypatch.setattr(
            VideoSource, "_check_hardware", lambda *_: None
        )  # it would see the pictures before they turn
        monkeypatch.setattr(VideoSource, "_decode", decode_there)
        monkeypatch.setattr(source, "open_input", open_there)


# --- which decoder ----------------------------------------------------------------------------------------------------


def test_the_cpu_decodes_unless_asked(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = FakeGpu(monkeypatch)
    with VideoSource(clip) as video:
        assert video.decoder == ("cpu", "") and video.format.pixels == "yuv420p"
    assert gpu.opened == [False]


@without_gpu
def test_auto_says_why_nvdec_does_not_decode(clip: Path) -> None:
    with VideoSource(clip, decoder="auto") as video:
        assert video.decoder.name == "cpu"
        assert video.decoder.line == (
            "nvdec: no NVIDIA driver is installed (Cannot load libcuda.so.1); decoding h264 on the CPU"
        )
        assert len(list(video)) == len(TIMES)


@without_gpu
def test_nvdec_by_name_never_falls_back(clip: Path) -> None:
    with pytest.raises(
        BackendUnavailable, match="--decoder nvdec cannot decode .*no NVIDIA driver.*Use --decoder auto"
    ):
        VideoSource(clip, decoder="nvdec")


def test_a_codec_that_nvdec_never_decodes(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mkv", "ffv1")
    with VideoSource(path, decoder="auto") as video:
        assert video.decoder == ("cpu", "nvdec: ffv1 is not supported by NVDEC; decoding ffv1 on the CPU")
    with pytest.raises(BackendUnavailable, match="ffv1 is not supported by NVDEC"):
        VideoSource(path, decoder="nvdec")


@pytest.mark.parametrize("name", ["auto", "nvdec"])
def test_frames_of_nvdec_are_nv12_at_the_same_times(clip: Path, monkeypatch: pytest.MonkeyPatch, name: Any) -> None:
    with VideoSource(clip) as video:
        expected = [(frame.time, frame.to_rgb()) for frame in video]
    gpu = FakeGpu(monkeypatch)
    with VideoSource(clip, decoder=name) as video:
        assert video.decoder == ("nvdec", "nvdec: decoding h264")
        assert (video.format.pixels, video.file.stored_format, list(video.notes)) == ("nv12", "yuv420p", [])
        for _ in range(2):  # reading again opens again, for NVDEC
            came = [(frame.time, frame.to_rgb()) for frame in video]
            assert [time for time, _ in came] == [time for time, _ in expected] == [tick * TICK for tick in TIMES]
            for (_, one), (_, other) in zip(came, expected, strict=True):
                np.testing.assert_array_equal(one, other)
    assert gpu.opened == [False, True, True]


def test_seeking_keeps_the_decoder(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FakeGpu(monkeypatch)
    with VideoSource(clip, decoder="nvdec", start=0.2) as video:
        frames = list(video)
    assert [frame.time for frame in frames] == [tick * TICK for tick in TIMES if tick * TICK >= Fraction("0.2")]
    assert {frame.format for frame in frames} == {"nv12"}


def test_a_first_picture_in_software_is_a_refusal(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = FakeGpu(monkeypatch, until=0, said="Video width 352 not within range from 1024 to 4096")
    with VideoSource(clip, decoder="auto") as video:
        assert video.decoder == (
            "cpu",
            "nvdec: Video width 352 not within range from 1024 to 4096; decoding h264 on the CPU",
        )
        assert video.format.pixels == "yuv420p" and len(list(video)) == len(TIMES)
    assert gpu.opened == [False, True, False], "opened again without the GPU"
    with pytest.raises(BackendUnavailable, match="not within range"):
        VideoSource(clip, decoder="nvdec")


def test_giving_up_in_the_middle(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check = VideoSource._check_hardware
    FakeGpu(monkeypatch, until=3)
    decode = VideoSource._decode

    def checked(video: VideoSource) -> Iterator[tuple[av.VideoFrame, Fraction]]:
        for picture, time in decode(video):
            check(video, picture)
            yield picture, time

    monkeypatch.setattr(VideoSource, "_decode", checked)
    with VideoSource(clip, decoder="auto") as video:
        frames = list(video)
        assert {frame.format for frame in frames} == {"nv12"} and len(frames) == len(TIMES)
        assert list(video.notes) == ["NVDEC failed in the middle of the file; decoding the rest on the CPU"]
    with (
        VideoSource(clip, decoder="nvdec") as video,
        pytest.raises(MediaError, match="NVDEC cannot decode frame 4") as e,
    ):
        list(video)
    assert e.value.frame_number == 4


def test_an_unknown_decoder_or_encoder(clip: Path, format: FrameFormat, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="decoder is 'gpu'; expected one of auto, nvdec, cpu"):
        VideoSource(clip, decoder="gpu")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="encoder is 'gpu'; expected one of auto, nvenc, cpu"):
        VideoSink(tmp_path / "out.mp4", format, encoder="gpu")  # type: ignore[arg-type]


# --- which encoder ----------------------------------------------------------------------------------------------------


@without_gpu
def test_auto_says_why_nvenc_does_not_encode(format: FrameFormat, tmp_path: Path) -> None:
    with VideoSink(tmp_path / "out.mp4", format, encoder="auto") as sink:
        sink.write(Frame.from_rgb(rgb(0), Fraction(0)))
        assert sink.encoder == (
            "cpu",
            "nvenc: no NVIDIA driver is installed (Cannot load libcuda.so.1); using libx264",
        )
    with pytest.raises(
        BackendUnavailable, match="--encoder nvenc cannot encode .*no NVIDIA driver.*Use --encoder auto"
    ):
        VideoSink(tmp_path / "other.mp4", format, encoder="nvenc")
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_codecs_that_nvenc_does_not_make(format: FrameFormat, tmp_path: Path) -> None:
    with VideoSink(tmp_path / "out.webm", format, encoder="auto") as sink:
        sink.write(Frame.from_rgb(rgb(0), Fraction(0)))
        assert sink.encoder == ("cpu", "nvenc: NVENC does not support vp9; using libvpx-vp9")
    with pytest.raises(BackendUnavailable, match="NVENC does not support vp9. It supports h264, hevc, av1"):
        VideoSink(tmp_path / "other.webm", format, encoder="nvenc")


class StandIn(Encoder):
    """An encoder that this machine has, in NVENC's place."""

    def options(self, crf: float | None, preset: str) -> dict[str, str]:
        return {"crf": f"{crf or 20:g}", "preset": "ultrafast", "bf": "2"}


@pytest.mark.parametrize("name", ["auto", "nvenc"])
def test_an_encoder_that_works_is_taken(
    format: FrameFormat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: Any
) -> None:
    """With B-frames, whose packets come out of order: the times stay exact all the same."""
    monkeypatch.setitem(NVENC, "h264", StandIn("libx264", 20, even_only=True))
    out = tmp_path / "out.mp4"
    with VideoSink(out, format, encoder=name) as sink:
        assert sink.encoder == ("nvenc", "nvenc: using libx264")
        for number, tick in enumerate(TIMES):
            sink.write(Frame.from_rgb(rgb(number), tick * TICK))
    with VideoSource(out) as video:
        assert [frame.time for frame in video] == [tick * TICK for tick in TIMES]


def test_an_encoder_that_does_not_take_the_size(
    format: FrameFormat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Strict(StandIn):
        def options(self, crf: float | None, preset: str) -> dict[str, str]:
            return {"preset": "unheard-of"}

    monkeypatch.setitem(NVENC, "h264", Strict("libx264", 20, even_only=True))
    with VideoSink(tmp_path / "out.mp4", format, encoder="auto") as sink:
        sink.write(Frame.from_rgb(rgb(0), Fraction(0)))
        assert sink.encoder.name == "cpu" and "unheard-of" in sink.encoder.line
    with pytest.raises(BackendUnavailable, match="unheard-of"):
        VideoSink(tmp_path / "other.mp4", format, encoder="nvenc")


@pytest.mark.parametrize(
    ("codec", "crf", "preset", "expected"),
    [
        ("h264", None, "veryfast", {"preset": "p3", "tune": "hq", "rc": "vbr", "cq": "20", "b": "0"}),
        ("h264", 17.5, "ultrafast", {"preset": "p1", "tune": "hq", "rc": "vbr", "cq": "17.5", "b": "0"}),
        ("hevc", 0.2, "veryslow", {"preset": "p7", "tune": "hq", "rc": "vbr", "cq": "1", "b": "0"}),
        ("av1", 40, "medium", {"preset": "p5", "tune": "hq", "rc": "vbr", "cq": "40", "b": "0"}),
        ("h264", 0, "fast", {"preset": "p4", "tune": "lossless"}),
    ],
)
def test_options_of_nvenc(codec: str, crf: float | None, preset: str, expected: dict[str, str]) -> None:
    assert NVENC[codec].options(crf, preset) == expected


@pytest.mark.parametrize(("codec", "crf"), list(itertools.product(NVENC, (None, 0))))
def test_this_ffmpeg_knows_the_options(codec: str, crf: float | None) -> None:
    """Names and values that libav's NVENC encoders take; whether a GPU does, only one tells."""
    context: Any = av.CodecContext.create(NVENC[codec].library, "w")
    if not hasattr(context, "supported_options"):
        pytest.skip("this PyAV cannot list the options of a codec")
    known = {option.name: option for option in context.supported_options.private}
    for preset in PRESETS:
        for name, value in NVENC[codec].options(crf, preset).items():
            if name == "b":
                continue  # of every encoder
            choices = [choice.name for choice in known[name].choices]
            assert value in choices if choices else known[name].min <= float(value) <= known[name].max
    assert {"yuv420p", "nv12"} <= {format.name for format in Codec(NVENC[codec].library, "w").video_formats or ()}
    assert codec in CODECS


# --- what libav says --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "reason", "cure"),
    [
        (
            ["Cannot load libcuda.so.1", "Could not dynamically load CUDA"],
            "no NVIDIA driver is installed",
            "nvidia-smi",
        ),
        (
            ["Cannot load libnvidia-encode.so.1", "The minimum required Nvidia driver for nvenc is 570.0 or newer"],
            "the driver's video libraries are not installed (Cannot load libnvidia-encode.so.1)",
            "NVIDIA_DRIVER_CAPABILITIES=video",
        ),
        (["Cannot load libnvcuvid.so.1", "Failed loading nvcuvid."], "video libraries", "NVIDIA_DRIVER_CAPABILITIES"),
        (["OpenEncodeSessionEx failed: unsupported device (2): (no details)"], "this GPU has no encoder", ""),
        (
            ["Driver does not support the required nvenc API version. Required: 13.0 Found: 12.1"],
            "too old for this build of FFmpeg",
            "newer driver",
        ),
        (["Frame Dimension less than the minimum supported value."], "Frame Dimension less than the minimum", ""),
    ],
)
def test_libavs_words_are_explained(said: list[str], reason: str, cure: str) -> None:
    problem = hardware.explain([(16, "h264_nvenc", text + "\n") for text in said], None)
    assert reason in problem.reason and cure in problem.cure
    assert said[0].rstrip(".") in problem.reason
    assert str(problem).startswith(problem.reason)


def test_without_a_word_the_error_itself_is_the_reason() -> None:
    assert hardware.explain([], ValueError("No such thing")).reason == "no such thing"
    assert hardware.explain([], None) == Problem("it gave no picture")


def test_the_log_is_as_before_afterwards() -> None:
    before = av.logging.get_level()
    for _ in range(2):  # libav would say it once
        with hardware.complaints() as said:
            av.logging.log(av.logging.ERROR, "test", "heard")
        av.logging.log(av.logging.ERROR, "test", "not heard")
        assert [text for _, _, text in said] == ["heard"] and av.logging.get_level() == before


def test_a_cpu_encoder_passes_the_trial() -> None:
    assert hardware.encoder_problem("libx264", SIZE, "yuv420p", {"preset": "ultrafast", "bf": "2"}) is None
    problem = hardware.encoder_problem("libnone", SIZE, "yuv420p", {})
    assert problem is not None and "libnone" in problem.reason


def driver_library(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def test_the_gpus_primary_context_is_used() -> None:
    """Pictures and networks share memory; libav would make a context of its own."""
    assert dict(hardware.cuda().options) == {"primary_ctx": "1"}


# --- with a GPU -------------------------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.skipif(not driver_library("libnvcuvid.so.1"), reason="the driver's decoder library is not here")
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_nvdec_decodes_what_the_cpu_decodes(tmp_path: Path, codec: str) -> None:
    """H.264 and HEVC say what each sample is: every decoder must give the same, at the same time."""
    path = write_clip(tmp_path / "clip.mp4", codec)
    with VideoSource(path) as video:
        expected = [(frame.time, [plane.copy() for plane in frame.planes]) for frame in video]
    with VideoSource(path, decoder="nvdec") as video:
        came = [(frame.time, frame.planes[0].copy(), frame.planes[1].copy()) for frame in video]
        assert video.format.pixels == "nv12" and video.file.stored_format == "yuv420p"
    assert [row[0] for row in came] == [row[0] for row in expected] == [tick * TICK for tick in TIMES]
    for (_, luma, chroma), (_, planes) in zip(came, expected, strict=True):
        np.testing.assert_array_equal(luma, planes[0])
        np.testing.assert_array_equal(chroma, np.stack(planes[1:], axis=2))


@pytest.mark.gpu
@pytest.mark.skipif(not driver_library("libnvidia-encode.so.1"), reason="the driver's encoder library is not here")
def test_nvenc_keeps_times_and_pictures_or_says_why_not(clip: Path, tmp_path: Path) -> None:
    """On a GPU without encoder the reason must be that; a reason of another kind is a failure."""
    problem = hardware.h264_encoder_problem()
    if problem is not None:
        assert "this GPU has no encoder" in problem.reason, problem
        return
    out = tmp_path / "out.mp4"
    with VideoSource(clip) as video, VideoSink(out, video.format, origin=video, encoder="nvenc") as sink:
        for frame in video:
            sink.write(frame)
    with VideoSource(clip) as video, VideoSource(out) as result:
        for one, other in zip(video, result, strict=True):
            assert one.time == other.time
            error = np.mean((one.to_rgb().astype(float) - other.to_rgb()) ** 2)
            assert 10 * np.log10(255**2 / error) > 35
