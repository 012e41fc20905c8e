"""The clip of the video benchmarks, and the checks of what programs made of it."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from benchmarks.video import Job, check, find_vapoursynth, psnr, sound_packets, video_times
from ganlens.engine.benchmark import clip


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five pictures of 96x40, each of another grey."""
    path = tmp_path_factory.mktemp("clip") / "source.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"preset": "ultrafast", "crf": "0"})
        stream.width, stream.height, stream.pix_fmt = 96, 40, "yuv420p"
        for level in (40, 80, 120, 160, 200):
            planes = np.full((60, 96), 128, np.uint8)  # without colour
            planes[:40] = level
            container.mux(stream.encode(av.VideoFrame.from_ndarray(planes, "yuv420p")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def made(source: Path) -> Path:
    return clip.make_clip(source, source.with_name("made.mp4"), frames=12)


def test_clip_has_size_rate_length_and_colour(made: Path) -> None:
    with av.open(str(made)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, video.width, video.height) == ("h264", 1280, 720)
        assert (video.codec_context.colorspace, video.codec_context.color_range) == (1, 1)
        assert (audio.codec_context.name, audio.rate, audio.channels) == ("aac", 48000, 2)
    assert video_times(made) == [Fraction(index, 30) for index in range(12)]
    assert sound_packets(made)


def test_pictures_run_there_and_back(made: Path) -> None:
    with av.open(str(made)) as container:
        greys = [float(frame.to_ndarray()[:720].mean()) for frame in container.decode(video=0)]
    expected = [40, 80, 120, 160, 200, 160, 120, 80, 40, 80, 120, 160]
    assert np.abs(np.subtract(greys, expected)).max() < 2


def test_same_source_gives_the_same_clip(source: Path, made: Path, tmp_path: Path) -> None:
    again = clip.make_clip(source, tmp_path / "again.mp4", frames=12)
    assert hashlib.sha256(again.read_bytes()).digest() == hashlib.sha256(made.read_bytes()).digest()


def test_tone_is_as_long_as_asked() -> None:
    assert sum(frame.samples for frame in clip.tone_frames(4000)) == 4000


def job(path: Path) -> Job:
    return Job(path, "m", Path("m.onnx"), (256, 256), 0, None, 20, "veryfast")


def test_right_outputs_pass(made: Path) -> None:
    facts = check(job(made), {"ganlens": made, "peer": made})
    assert facts["ganlens"]["sound untouched"] is True
    assert facts["peer"]["PSNR to ours, dB"] > 60


def test_missing_frames_are_refused(source: Path, made: Path, tmp_path: Path) -> None:
    short = clip.make_clip(source, tmp_path / "short.mp4", frames=11)
    with pytest.raises(ValueError, match="peer: got 11 frames, expected 12"):
        check(job(made), {"ganlens": made, "peer": short})


def test_our_output_without_sound_is_refused(made: Path, tmp_path: Path) -> None:
    silent = tmp_path / "silent.mp4"
    with av.open(str(made)) as old, av.open(str(silent), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(old.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    with pytest.raises(ValueError, match="ganlens: timestamps or sound differ"):
        check(job(made), {"ganlens": silent})


def test_other_pictures_are_refused(source: Path, made: Path, tmp_path: Path) -> None:
    with av.open(str(source)) as container:
        pictures = list(container.decode(video=0))
    assert len(pictures) == 5
    dark = tmp_path / "dark.mp4"
    with av.open(str(dark), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        for _ in range(12):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((1080, 1280), 16, np.uint8), "yuv420p")))
        container.mux(stream.encode())
    assert psnr(made, made) > 60
    with pytest.raises(ValueError, match="peer: its pictures are not ours"):
        check(job(made), {"ganlens": made, "peer": dark})


def test_absent_vapoursynth_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "vspipe was not found" in str(find_vapoursynth(None))
    for name in ("vspipe", "ffmpeg"):
        program = tmp_path / name
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        if name == "vspipe":
            assert "ffmpeg was not found" in str(find_vapoursynth(tmp_path))
    assert find_vapoursynth(tmp_path) == (str(tmp_path / "vspipe"), str(tmp_path / "ffmpeg"))
