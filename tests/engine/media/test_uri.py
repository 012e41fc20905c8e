"""Addresses: which class opens which, and that a new kind of source or sink is one class and one row."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from ganlens.engine import open_sink, open_source
from ganlens.engine.cli import main
from ganlens.engine.errors import MediaError, MissingExtra, OptionError
from ganlens.engine.media import RawSink, VideoSink, VideoSource, uri
from ganlens.engine.media.base import FileInfo, FrameFormat, FrameSource, Notes
from ganlens.engine.media.synthetic import NullSink, TestSource, frame_number
from ganlens.engine.media.uri import SINKS, SOURCES, Entry, scheme_of
from ganlens.engine.pixels.frame import Frame

FORMAT = FrameFormat((32, 48), "yuv420p", Fraction(25), Fraction(1, 25))


class FlatSource:
    """A source that somebody else wrote: ``flat:GREY``, three frames."""

    live, file, frames = False, None, 3

    def __init__(self, uri: str, *, brighter: int = 0) -> None:
        self.grey = int(uri.removeprefix("flat:")) + brighter
        self.format = FrameFormat((32, 48), "rgb24", Fraction(10), Fraction(1, 10))
        self.notes = Notes()

    def __iter__(self) -> Iterator[Frame]:
        for number in range(3):
            yield Frame.from_rgb(np.full((32, 48, 3), self.grey, np.uint8), Fraction(number, 10))

    def close(self) -> None:
        """Nothing is open."""


class MeanSink:
    """A sink that somebody else wrote: the mean of each frame."""

    def __init__(self, uri: str, format: FrameFormat, *, origin: FrameSource | FileInfo | None = None) -> None:
        self.notes, self.means, self.origin = Notes(), list[float](), origin

    def write(self, frame: Frame) -> None:
        self.means.append(float(frame.planes[0].mean()))

    def close(self, *, complete: bool = True) -> None:
        """Nothing is open."""

    def abort(self) -> None:
        """Nothing was written."""


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES, "flat", Entry(__name__, "FlatSource"))
    monkeypatch.setitem(SINKS, "mean", Entry(__name__, "MeanSink"))


@pytest.mark.usefixtures("rows")
def test_a_source_and_a_sink_are_one_row_each() -> None:
    source = open_source("flat:100", brighter=7)
    sink = open_sink("mean:", source.format, origin=source)
    assert isinstance(sink, MeanSink) and sink.origin is source
    for frame in source:
        sink.write(frame)
    assert sink.means == [107.0, 107.0, 107.0]


class CountingSink(MeanSink):
    """The same, for a test that does not hold it."""

    written: ClassVar[list[float]] = []

    def close(self, *, complete: bool = True) -> None:
        CountingSink.written = self.means


@pytest.mark.usefixtures("rows")
def test_the_command_line_knows_them_from_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(SINKS, "mean", Entry(__name__, "CountingSink"))
    command = "engine translate flat:100 -o mean: --model comic --backend cpu --threads 1 --size 64x64 --opacity 0.5"
    monkeypatch.setattr(sys, "argv", command.split())
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0, capsys.readouterr().err
    assert len(CountingSink.written) == 3
    assert all(0 < mean < 255 and mean != 100 for mean in CountingSink.written)


def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with TestSource("test:48x32@25,frames=4") as made:
        for path in ("plain.mp4", tmp_path / "path.mkv", "./test:odd.mp4", Path("test:odder.mp4")):
            sink = open_sink(path, made.format, origin=made, crf=0, hints={"threads": 1})
            assert isinstance(sink, VideoSink)
            with sink:
                for frame in made:
                    sink.write(frame)
            source = open_source(path, hints={"threads": 1, "decoder": "cpu"}, start=0.04)
            assert isinstance(source, VideoSource)
            with source:
                assert len(list(source)) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "path.mkv",
        "plain.mp4",
        "test:odd.mp4",
        "test:odder.mp4",
    ]


def test_pipes(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    sink = open_sink("-", FORMAT, hints={"threads": 1, "overwrite": True})
    assert isinstance(sink, RawSink)
    sink.close()
    assert capfdbinary.readouterr().out.startswith(b"YUV4MPEG2 W48 H32")


@pytest.mark.parametrize(
    ("stream", "open_it"), [("stdin", open_source), ("stdout", lambda name: open_sink(name, FORMAT))]
)
def test_a_closed_pipe(stream: str, open_it: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, stream, None)
    with pytest.raises(MediaError, match="is closed"):
        open_it("-")  # type: ignore[operator]


@pytest.mark.parametrize(
    ("address", "scheme"),
    [
        ("clip.mp4", ""),
        ("/folder/clip.mp4", ""),
        ("-", "-"),
        ("test:", "test"),
        ("TEST:3x4@5", "test"),
        ("12:30.mp4", ""),
        ("C:\\clip.mp4", ""),
        ("part:1.mp4", ""),
        ("Ein Film: der Anfang.mov", ""),
    ],
)
def test_schemes(address: str, scheme: str) -> None:
    assert scheme_of(address, SOURCES) == scheme


@pytest.mark.parametrize("address", ["tests:", "rtps://host/clip.mp4", "camra:0"])
def test_an_unknown_scheme(address: str) -> None:
    with pytest.raises(OptionError, match=r"unknown scheme.*[Kk]nown: .*test"):
        open_source(address)
    with pytest.raises(OptionError, match=r"unknown scheme.*[Kk]nown: .*null"):
        open_sink(address, FORMAT)


def test_an_existing_file_is_no_scheme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("take:1.dat").write_bytes(b"")
    with pytest.raises(MediaError, match="is empty"):
        open_source("take:1.dat")


def test_options_that_do_not_go_with_it() -> None:
    with pytest.raises(OptionError, match="Option 'start' does not go with test: as source; it takes no options"):
        open_source("test:", start=3)
    with pytest.raises(OptionError, match="Option 'crf' does not go with a pipe as sink"):
        open_sink("-", FORMAT, crf=3)
    assert open_source("test:", start=None, hints={"threads": 3}).frames == 300


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES, "far", Entry("package_that_is_not_there", "Source", "live"))
    with pytest.raises(MissingExtra, match=r"a far: source needs.*ganlens\[live\]"):
        open_source("far:")


def test_every_row_can_be_loaded() -> None:
    for table in (SOURCES, SINKS):
        for entry in table.values():
            if not entry.extra:
                assert callable(uri._load(entry, "it"))


class TestSynthetic:
    @pytest.mark.parametrize("pixels", ["yuv420p", "nv12", "rgb24"])
    @pytest.mark.parametrize("size", [(32, 48), (25, 37)])
    def test_frames_are_numbered_and_exactly_timed(self, pixels: str, size: tuple[int, int]) -> None:
        source = open_source(f"test:{size[1]}x{size[0]}@30000/1001:{pixels},frames=40")
        frames = [frame.copy() for frame in source]
        assert [frame_number(frame) for frame in frames] == list(range(40)) and source.frames == 40
        assert [frame.time for frame in frames] == [number * Fraction(1001, 30000) for number in range(40)]
        assert (
            {(frame.size, frame.format) for frame in frames}
            == {(size, pixels)}
            == {(source.format.size, source.format.pixels)}
        )
        again = next(iter(source))
        assert all((one == two).all() for one, two in zip(again.planes, frames[0].planes, strict=True))
        below = frames[0].planes[0][8:], frames[1].planes[0][8:]
        assert (below[0][:, 4:] == below[1][:, :-4]).all() and (below[0] != below[1]).any()

    @pytest.mark.parametrize(
        ("address", "frames"),
        [
            ("test:", 300),
            ("test:64x64@10", 100),
            ("test:,seconds=2.5", 75),
            ("test:,seconds=inf", None),
            ("test:,live", 300),
        ],
    )
    def test_lengths(self, address: str, frames: int | None) -> None:
        source = open_source(address)
        assert source.frames == frames and source.live == ("live" in address)

    @pytest.mark.parametrize(
        "rest",
        ["3", "0x4@5", "4x4@0", "4x4@1/0", "4x4@5:bgr24", ",frames=0", ",frames=x", ",seconds=-1", ",speed=2", ",,"],
    )
    def test_wrong_addresses(self, rest: str) -> None:
        with pytest.raises(OptionError, match=r"test:.*expected"):
            open_source(f"test:{rest}")

    def test_live_frames_keep_to_the_clock_and_late_ones_are_skipped(self) -> None:
        source = open_source("test:64x64@200,frames=20,live")
        numbers = []
        for frame in source:
            numbers.append(frame_number(frame))
            if len(numbers) == 1:
                time.sleep(0.03)
        assert numbers == sorted(set(numbers)) and numbers[0] == 0 and numbers[1] >= 5

    def test_null_counts_and_keeps_copies(self) -> None:
        source = TestSource("test:48x32@25,frames=5")
        with NullSink("null:", source.format, keep=True) as sink:
            for frame in source:
                sink.write(frame)
        assert sink.frames == 5 and sink.complete and [frame_number(frame) for frame in sink.kept] == [0, 1, 2, 3, 4]
        with pytest.raises(OptionError, match="expected null: alone"):
            open_sink("null:3", source.format)
