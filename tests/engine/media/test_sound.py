"""The sound beside a video: layouts, rates and clocks of all kinds end in a file that plays, whatever is damaged."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from ganlens.engine import open_sink, open_source
from tests.engine.media.test_file import damage


def write_clip(path: Path, *, codec: str, layout: str = "stereo", rate: int = 48000, seconds: float = 1.2) -> Path:
    """Grey pictures with a tone."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "g": "5"})
        assert isinstance(video, av.VideoStream)
        video.width, video.height = 64, 48
        sound = container.add_stream(codec, rate=rate)
        assert isinstance(sound, av.AudioStream)
        sound.codec_context.layout = layout
        packets = []
        for number in range(round(seconds * 25)):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90 + number, np.uint8), "rgb24")
            picture.pts, picture.time_base = number, Fraction(1, 25)
            packets += video.encode(picture)
        packets += video.encode(None)
        channels = sound.codec_context.layout.nb_channels
        wave = (8000 * np.sin(np.arange(round(seconds * rate)) * 440 * 2 * np.pi / rate)).astype(np.int16)
        resampler = av.AudioResampler(sound.codec_context.format, layout, rate, 1024)
        tone = av.AudioFrame.from_ndarray(np.repeat(wave[None], channels, 0).T.reshape(1, -1), "s16", layout)
        tone.sample_rate, tone.pts, tone.time_base = rate, 0, Fraction(1, rate)
        for piece in [*resampler.resample(tone), *resampler.resample(None)]:
            packets += sound.encode(piece)
        packets += sound.encode(None)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux_one(packet)
    return path


def transcode(path: Path, out: Path) -> list[str]:
    with open_source(path) as source, open_sink(out, source.format, origin=source) as sink:  # type: ignore[attr-defined]
        for frame in source:
            sink.write(frame)
    return [*source.notes, *sink.notes]


def heard(path: Path) -> tuple[str, float]:
    """Layout, and seconds of sound that can be decoded."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        samples = sum(frame.samples for frame in container.decode(stream))
        return stream.layout.name, samples / stream.rate


def times(path: Path, kind: str) -> list[Fraction]:
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(**{kind: 0}) if packet.dts is not None]
        return [packet.dts * packet.time_base for packet in packets]


LAYOUTS = ["mono", "stereo", "2.1", "3.0", "3.1", "quad", "quad(side)", "4.0", "4.1", "5.0", "5.0(side)", "5.1"]
LAYOUTS += ["5.1(side)", "6.0", "hexagonal", "6.1", "7.0", "7.1", "7.1(wide)", "octagonal", "hexadecagonal"]


@pytest.mark.parametrize("suffix", [".webm", ".mp4", ".mkv"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_all_layouts(tmp_path: Path, layout: str, suffix: str) -> None:
    source = write_clip(tmp_path / "in.mkv", codec="pcm_s16le", layout=layout)
    notes = transcode(source, tmp_path / f"out{suffix}")
    name, seconds = heard(tmp_path / f"out{suffix}")
    assert abs(seconds - 1.2) < 0.05
    many = layout == "hexadecagonal" and suffix != ".mkv"
    assert any("has 16 channels" in note for note in notes) == many and (name == "stereo" or not many)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 96000, 192000])
def test_all_rates(tmp_path: Path, rate: int) -> None:
    source = write_clip(tmp_path / "in.mkv", codec="pcm_s16le", rate=rate)
    transcode(source, tmp_path / "out.webm")
    assert abs(heard(tmp_path / "out.webm")[1] - 1.2) < 0.05


PARTS = {"two and six": [("stereo", 48000), ("5.1(side)", 48000)], "two rates": [("stereo", 48000), ("stereo", 32000)]}
PARTS |= {"six and two": PARTS["two and six"][::-1], "the same": [("stereo", 44100)] * 3}


@pytest.mark.parametrize("suffix", [".webm", ".mp4", ".mkv", ".mov"])
@pytest.mark.parametrize("parts", PARTS)
def test_joined_recordings_follow_each_other(tmp_path: Path, parts: str, suffix: str) -> None:
    joined = b""
    for number, (layout, rate) in enumerate(PARTS[parts]):
        joined += write_clip(tmp_path / f"{number}.ts", codec="ac3", layout=layout, rate=rate).read_bytes()
    (tmp_path / "in.ts").write_bytes(joined)
    notes = transcode(tmp_path / "in.ts", tmp_path / f"out{suffix}")
    length = 1.2 * len(PARTS[parts])
    assert "timestamps jump back where recordings were joined; the parts are concatenated" in notes
    for kind in ("video", "audio"):
        seen = times(tmp_path / f"out{suffix}", kind)
        assert seen == sorted(set(seen)) and abs(float(seen[-1] - seen[0]) - length) < 0.25, kind


@pytest.mark.parametrize("numbers", [{3}, {0}, {1, 2, 5}, set(range(200))], ids=["one", "first", "three", "all"])
def test_sound_that_cannot_be_decoded(tmp_path: Path, numbers: set[int]) -> None:
    source = damage(write_clip(tmp_path / "w.mkv", codec="ac3"), tmp_path / "in.mkv", "audio", numbers)
    notes = transcode(source, tmp_path / "out.webm")
    assert any("audio stream 1: " in note and "left out" in note for note in notes)
    assert not any("frame" in note for note in notes) and len(times(tmp_path / "out.webm", "video")) == 30


def test_what_follows_a_gap_is_heard_at_its_time(tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "w.mkv", codec="aac")
    with av.open(str(whole)) as given, av.open(str(tmp_path / "in.mkv"), "w") as made:
        streams = {s.index: made.add_stream_from_template(s, opaque=True) for s in given.streams}
        for packet in given.demux():
            if packet.dts is None or (packet.stream.type == "audio" and 0.3 < packet.pts * packet.time_base < 0.8):
                continue
            packet.stream = streams[packet.stream.index]
            made.mux_one(packet)
    transcode(tmp_path / "in.mkv", tmp_path / "out.webm")
    assert abs(heard(tmp_path / "out.webm")[1] - 1.2) < 0.06
