"""``--segment``: parts that stay after a kill, and become the file that there would have been."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from ganlens.engine.cli.inputs import Input, Work
from ganlens.engine.cli.options.translate import TranslateOptions
from ganlens.engine.cli.segmented import SegmentWorker
from ganlens.engine.errors import MediaError
from ganlens.engine.media.file import segments
from ganlens.engine.media.file.source import VideoSource
from tests.kit.models import invert_model

ENGINE = [sys.executable, "-c", "from ganlens.engine.cli import main; main()"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(invert_model(tmp_path_factory.mktemp("segments") / "invert.onnx", None))


def write_clip(path: Path, frames: int, *, uneven: bool = False) -> None:
    """A moving pattern with sound; ``uneven``: with frame times that jitter, and a gap of two seconds."""
    random = np.random.default_rng(3)
    still = np.kron(random.integers(0, 256, (10, 24, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=Fraction(24), options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt, video.time_base = 128, 64, "yuv420p", Fraction(1, 1200)
        video.codec_context.time_base = Fraction(1, 1200)
        sound = output.add_stream("aac", rate=8000, layout="mono")
        for number in range(frames):
            picture = np.roll(still, (number // 7, number), (0, 1))[:64, :128]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture))
            extra = (2400 if number > 70 else 0) + int(random.integers(0, 40)) if uneven else 0
            frame.pts, frame.time_base = 50 * number + extra, Fraction(1, 1200)
            output.mux(video.encode(frame))
        for number in range(int(8000 * frames / 24 / 1024)):
            samples = (0.2 * np.sin(np.arange(1024 * number, 1024 * (number + 1)) / 9)).astype(np.float32)
            piece = av.AudioFrame.from_ndarray(samples[None], "fltp", "mono")
            piece.sample_rate, piece.pts, piece.time_base = 8000, 1024 * number, Fraction(1, 8000)
            output.mux(sound.encode(piece))
        output.mux(video.encode())
        output.mux(sound.encode())


def decoded(path):
    """(times, pictures) of a file."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        return [frame.time for frame in frames], [frame.to_ndarray().tobytes() for frame in frames]


def sound_of(path):
    with av.open(str(path)) as container:
        return [(packet.pts, packet.dts, bytes(packet)) for packet in container.demux(audio=0) if packet.size]


ONE_THREAD = ("--backend", "cpu", "--threads", "1", "--encoder-threads", "1")
CODECS = {
    "h264": (".mp4", (), 270),
    "hevc": (".mp4", ("--codec", "hevc", "--preset", "ultrafast"), 270),
    "vp9": (".webm", ("--codec", "vp9", "--preset", "ultrafast"), 150),
    "av1": (".mp4", ("--codec", "av1", "--preset", "ultrafast"), 180),
    "ffv1": (".mkv", ("--codec", "ffv1"), 100),
}
"""Suffix, options, and more frames than a group of pictures has."""


@pytest.mark.parametrize("codec", CODECS)
def test_joined_it_is_the_file_that_there_would_have_been(engine, model, tmp_path, codec):
    """Frames to the bit, times and sound; also where frame times are uneven."""
    suffix, options, frames = CODECS[codec]
    write_clip(tmp_path / "in.mkv", frames, uneven=True)
    common = ("translate", "in.mkv", "-m", model, *ONE_THREAD, *options)
    assert engine(*common, "-o", f"whole{suffix}")[0] == 0
    status, _, err = engine(*common, "-o", f"parts{suffix}", "--segment", "2s")
    assert status == 0, err
    times, pictures = decoded(f"whole{suffix}")
    assert decoded(f"parts{suffix}") == (times, pictures) and len(times) == frames
    assert sound_of(f"parts{suffix}") == sound_of(f"whole{suffix}")
    assert not Path(f"parts{suffix}.segments").exists()


def interrupt_join(monkeypatch, engine, *arguments):
    """Run until all segments are there, and no further; their paths."""
    with monkeypatch.context() as patch:
        patch.setattr(segments, "_join", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        status, _, err = engine(*arguments)
    assert status == 130 and "continue with --resume" in err, err
    return sorted(Path().glob("*.segments/0*.segment"))


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "ffv1"])
def test_continued_it_is_the_file_that_there_would_have_been(engine, model, tmp_path, monkeypatch, codec):
    """What an encoder carries from one group of pictures into the next is there again after some of them."""
    write_clip(tmp_path / "in.mp4", 870)
    suffix, options, _ = CODECS[codec]
    common = ("translate", "in.mp4", "-m", model, *ONE_THREAD, *options)
    assert engine(*common, "-o", f"whole{suffix}")[0] == 0
    command = (*common, "-o", f"parts{suffix}", "--segment", "1")
    paths = interrupt_join(monkeypatch, engine, *command)
    for path in paths[-(-len(paths) * 3 // 4) :]:
        path.unlink()
    made, write = [], segments.SegmentedSink.write
    monkeypatch.setattr(segments.SegmentedSink, "write", lambda *given: (made.append(1), write(*given)))
    status, _, err = engine(*command, "--resume")
    assert status == 0 and "did not repeat" not in err, err
    assert len(made) < 800
    assert decoded(f"parts{suffix}") == decoded(f"whole{suffix}")
    assert sound_of(f"parts{suffix}") == sound_of(f"whole{suffix}")


def test_frames_that_the_encoder_does_not_repeat_are_told_of(engine, model, tmp_path, monkeypatch):
    write_clip(tmp_path / "in.mp4", 700)
    command = ("translate", "in.mp4", "-m", model, "-o", "out.mp4", "--segment", "1")
    for path in interrupt_join(monkeypatch, engine, *command)[2:]:
        path.unlink()
    monkeypatch.setattr(segments, "_last_group", lambda path, _: str(path))
    status, _, err = engine(*command, "--resume")
    assert status == 0 and "did not repeat" in err, err
    assert len(decoded("out.mp4")[0]) == 700


def test_a_part_of_a_video(engine, model, tmp_path):
    write_clip(tmp_path / "in.mp4", 700)
    common = ("translate", "in.mp4", "-m", model, "--start", "1.1", "--duration", "25.3")
    assert engine(*common, "-o", "whole.mp4")[0] == 0
    assert engine(*common, "-o", "parts.mp4", "--segment", "0.5")[0] == 0
    assert decoded("parts.mp4") == decoded("whole.mp4")
    assert sound_of("parts.mp4") == sound_of("whole.mp4")


def test_killed_and_continued(model, tmp_path):
    write_clip(tmp_path / "in.mp4", 1300)
    command = [*ENGINE, "translate", "in.mp4", "-m", model, *ONE_THREAD, "--segment", "2", "-q"]
    subprocess.run([*command, "-o", "whole.mp4"], cwd=tmp_path, check=True)
    process = subprocess.Popen([*command, "-o", "out.mp4"], cwd=tmp_path, start_new_session=True)
    folder, end = tmp_path / "out.mp4.segments", time.monotonic() + 60
    while len(list(folder.glob("0*.segment"))) < 3 and time.monotonic() < end:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("0*.segment")}
    assert len(kept) >= 3 and not (tmp_path / "out.mp4").exists()
    refused = subprocess.run([*command, "-o", "out.mp4"], cwd=tmp_path, capture_output=True, text=True)
    assert refused.returncode == 1 and "Continue with --resume" in refused.stderr
    other = [*command, "--opacity", "0.5", "-o", "out.mp4", "--resume"]
    refused = subprocess.run(other, cwd=tmp_path, capture_output=True, text=True)
    assert refused.returncode == 1 and "another input, model or options" in refused.stderr
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    subprocess.run([*command, "-o", "out.mp4", "--resume"], cwd=tmp_path, check=True)
    assert decoded(tmp_path / "out.mp4") == decoded(tmp_path / "whole.mp4")
    assert not folder.exists()


class Stop:
    """Ctrl-C after so many frames of a source."""

    def __init__(self, monkeypatch, after):
        frames = VideoSource.__iter__

        def stopped(source):
            for number, frame in enumerate(frames(source)):
                if number == after:
                    signal.raise_signal(signal.SIGINT)
                yield frame

        monkeypatch.setattr(VideoSource, "__iter__", stopped)


@pytest.mark.parametrize("frames", [[100], [620, 150, 300]], ids=str)
def test_ctrl_c_leaves_what_is_done_as_a_file_that_plays(engine, model, tmp_path, monkeypatch, frames):
    write_clip(tmp_path / "in.mp4", 1300)
    command = ("translate", "in.mp4", "-m", model, *ONE_THREAD, "--segment", "1")
    assert engine(*command, "-o", "whole.mp4")[0] == 0
    times, pictures = decoded("whole.mp4")
    for number, after in enumerate(frames):
        with monkeypatch.context() as patch:
            Stop(patch, after)
            status, _, err = engine(*command, "-o", "out.mp4", *(["--resume"] if number else []))
        assert status == 130 and "continue with --resume" in err, err
        there, seen = decoded("out.mp4")
        whole_groups = max(0, len(there) // 250 - 1) * 250
        assert len(there) > 60 and there == times[: len(there)] and seen[:whole_groups] == pictures[:whole_groups]
        assert sound_of("out.mp4") == sound_of("whole.mp4")[: len(sound_of("out.mp4"))]
    status, _, err = engine(*command, "-o", "out.mp4")
    assert status == 1 and "Continue with --resume" in err
    status, _, err = engine(*command, "-o", "out.mp4", "--resume")
    assert status == 0, err
    assert decoded("out.mp4") == (times, pictures) and sound_of("out.mp4") == sound_of("whole.mp4")
    assert not Path("out.mp4.segments").exists()


def test_a_file_of_another_after_ctrl_c_stays(engine, model, tmp_path, monkeypatch):
    write_clip(tmp_path / "in.mp4", 300)
    command = ("translate", "in.mp4", "-m", model, "-o", "out.mp4", "--segment", "1")
    with monkeypatch.context() as patch:
        Stop(patch, 100)
        assert engine(*command)[0] == 130
    Path("out.mp4").write_text("precious")
    status, _, err = engine(*command, "--resume")
    assert status == 1 and "exists; pass -y" in err and Path("out.mp4").read_text() == "precious"


def test_a_segment_that_is_not_whole_is_made_again(engine, model, tmp_path, monkeypatch):
    write_clip(tmp_path / "in.mp4", 1100)
    command = ("translate", "in.mp4", "-m", model, *ONE_THREAD, "--segment", "2")
    assert engine(*command, "-o", "whole.mp4")[0] == 0
    segment = interrupt_join(monkeypatch, engine, *command, "-o", "out.mp4")[1]
    segment.write_bytes(segment.read_bytes()[:-9])
    status, _, err = engine(*command, "-o", "out.mp4", "--resume")
    assert status == 0, err
    assert decoded("out.mp4") == decoded("whole.mp4")


def test_a_file_that_is_cut_off_is_told_of_after_continuing_too(engine, model, tmp_path, monkeypatch):
    write_clip(tmp_path / "whole.mkv", 1100)
    content = (tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "in.mkv").write_bytes(content[: len(content) * 7 // 10])
    command = ("translate", "in.mkv", "-m", model, *ONE_THREAD, "-o")
    status, _, plain = engine(*command, "plain.mkv")
    for path in interrupt_join(monkeypatch, engine, *command, "out.mkv", "--segment", "1")[2:]:
        path.unlink()
    other, _, err = engine(*command, "out.mkv", "--segment", "1", "--resume")
    (told,) = [line for line in plain.splitlines() if "cut off" in line]
    assert other == status and told in err.splitlines()
    assert decoded("out.mkv") == decoded("plain.mkv")


def test_what_is_there_stays(engine, model, tmp_path):
    write_clip(tmp_path / "in.mp4", 12)
    Path("out.mp4").write_text("precious")
    common = ("translate", "in.mp4", "-m", model, "-o", "out.mp4", "--segment", "1")
    status, _, err = engine(*common)
    assert status == 1 and "exists; pass -y" in err and Path("out.mp4").read_text() == "precious"
    Path("out.mp4.segments").mkdir()
    Path("out.mp4.segments/diary.txt").write_text("mine")
    status, _, err = engine(*common, "-y")
    assert status == 1 and "not ours" in err and Path("out.mp4.segments/diary.txt").exists()


def test_segments_need_files(engine, model, tmp_path):
    status, _, err = engine("translate", "-", "-m", model, "-o", "out.mp4", "--segment", "1")
    assert status == 1 and "--segment" in err
    status, _, err = engine("translate", "in.mp4", "-m", model, "-o", "out.mp4", "--segment", "0")
    assert status == 1 and "--segment 0: expected more than 0" in err


def test_a_worker_elsewhere_continues_what_was_claimed_here(engine, model, tmp_path, monkeypatch):
    """As with --ray, where a node that is lost leaves segments."""
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "in.mp4", 700)
    given = Work(Input("in.mp4", "video", Path("in.mp4")), "out.mp4")
    options = TranslateOptions(model=model, segment="1", backend="cpu", quiet=True)
    with closing(SegmentWorker(options)) as here:
        here.claim(given)
    there = replace(options, resume=True, threads=1)
    with monkeypatch.context() as patch, closing(SegmentWorker(there)) as lost:
        Stop(patch, 620)
        assert lost.translate(given).stopped
    with closing(SegmentWorker(there)) as other:
        done = other.translate(given)
    assert done.frames == 700 and len(decoded("out.mp4")[0]) == 700
    with closing(SegmentWorker(options)) as here:
        interrupt_join(monkeypatch, engine, "translate", "in.mp4", "-m", model, "-o", "again.mp4", "--segment", "1")
        with pytest.raises(MediaError, match="Continue with --resume"):
            here.claim(given._replace(output="again.mp4"))
