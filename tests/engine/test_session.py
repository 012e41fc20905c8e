"""Session: the way from a source to a sink, with made-up sources, sinks and translators."""

from __future__ import annotations

import threading
import time
from fractions import Fraction

import numpy as np
import pytest

from ganlens.engine.controls import Controls, Settings
from ganlens.engine.errors import MediaError, OptionError
from ganlens.engine.media.base import FrameFormat, Notes
from ganlens.engine.pixels.frame import Frame
from ganlens.engine.session import Session, output_format, shown
from ganlens.engine.timing import StageTimes

SIZE = (4, 6)


def picture(value: int, time: Fraction | None = None) -> Frame:
    return Frame.from_rgb(np.full((*SIZE, 3), value, np.uint8), time=time)


class Source:
    def __init__(self, count, *, file=None, fails_at=None, pace=0.0):
        self.format = FrameFormat(SIZE, "rgb24", Fraction(25), Fraction(1, 25))
        self.live, self.file, self.frames, self.notes = False, file, count, Notes()
        self._count, self._fails_at, self._pace = count, fails_at, pace
        self.ended = False

    def __iter__(self):
        try:
            for number in range(self._count):
                if number == self._fails_at:
                    raise MediaError("the pipe broke.")
                if number == 2:
                    self.notes.add("a late note")
                time.sleep(self._pace)
                yield picture(number, Fraction(number, 25))
        finally:
            self.ended = True

    def close(self):
        pass


class Sink:
    def __init__(self, fails_at=None):
        self.notes = Notes()
        self.values, self.sizes, self.state = [], [], "open"
        self._fails_at = fails_at

    def write(self, frame):
        if len(self.values) == self._fails_at:
            raise MediaError("the disk is full.")
        self.values.append(int(frame.planes[0][0, -1, 0]))
        self.sizes.append(frame.size)

    def close(self, *, complete=True):
        self.state = "complete" if complete else "cut"

    def abort(self):
        if self.state == "open":
            self.state = "aborted"


class AddHundred:
    """A translator of frames, as a session sees one; opacity 0 leaves them alone."""

    def __init__(self):
        self.times = StageTimes()

    def stream(self, frames, *, controls):
        for frame in frames:
            if controls.snapshot().opacity == 0:
                yield frame
            else:
                yield Frame.from_rgb(frame.planes[0] + np.uint8(100), time=frame.time)


def test_every_frame_once_in_order():
    source, sink, seen = Source(10), Sink(), []
    report = Session(source, AddHundred(), sink, on_frame=seen.append).run()
    assert sink.values == [100 + number for number in range(10)]
    assert seen == list(range(1, 11))
    assert (report.frames, report.stopped, report.error, sink.state) == (10, False, None, "complete")
    assert report.fps == pytest.approx(report.frames / report.seconds)
    assert set(report.stages) >= {"decode", "encode"}
    assert report.stages["encode"].frames == 10


def test_notes_that_arise_while_frames_flow_are_reported():
    sink = Sink()
    sink.notes.add("of the sink")
    assert Session(Source(5), None, sink).run().notes == ("a late note", "of the sink")


def test_without_a_translator_frames_pass():
    sink = Sink()
    assert Session(Source(3), None, sink).run().frames == 3
    assert sink.values == [0, 1, 2]


def test_a_pipe_that_breaks_keeps_what_came_before():
    sink = Sink()
    report = Session(Source(10, fails_at=4), AddHundred(), sink).run()
    assert report.frames == 4
    assert str(report.error) == "the pipe broke."
    assert report.notes[-1] == "the pipe broke. The 4 frames before it are kept."
    assert sink.state == "complete"


@pytest.mark.parametrize(("file", "at"), [("a file", 4), (None, 0)])
def test_a_file_that_breaks_or_a_pipe_without_frames_fails(file, at):
    sink = Sink()
    with pytest.raises(MediaError, match="the pipe broke"):
        Session(Source(10, file=file, fails_at=at), AddHundred(), sink).run()
    assert sink.state == "aborted"


def test_an_error_of_the_sink_stops_the_source_and_aborts():
    source, sink = Source(1000), Sink(fails_at=3)
    with pytest.raises(MediaError, match="disk is full"):
        Session(source, AddHundred(), sink).run()
    assert sink.state == "aborted"
    assert source.ended


def test_ctrl_c_finishes_the_output():
    sink = Sink()

    def interrupt(frames):
        if frames == 5:
            raise KeyboardInterrupt

    report = Session(Source(1000), AddHundred(), sink, on_frame=interrupt).run()
    assert (report.frames, report.stopped, sink.state) == (5, True, "cut")
    assert sink.values == [100, 101, 102, 103, 104]
    assert report.notes[-1] == "Stopped after 5 frames; the output is finished there and plays."


def test_ctrl_c_before_the_first_frame_leaves_nothing():
    sink = Sink()

    class Never(AddHundred):
        def stream(self, frames, *, controls):
            raise KeyboardInterrupt
            yield

    with pytest.raises(KeyboardInterrupt):
        Session(Source(3), Never(), sink).run()
    assert sink.state == "aborted"


def test_started_and_stopped_from_another_thread():
    sink, some = Sink(), threading.Event()
    session = Session(Source(100_000, pace=0.001), AddHundred(), sink, on_frame=lambda _: some.set()).start()
    assert some.wait(10)
    report = session.stop()
    assert report.stopped and 0 < report.frames < 100_000
    assert sink.state == "cut"
    assert len(sink.values) == report.frames == session.frames


def test_an_error_reaches_who_waits():
    session = Session(Source(5), AddHundred(), Sink(fails_at=1)).start()
    with pytest.raises(MediaError, match="disk is full"):
        session.wait(10)


def test_a_live_source_keeps_its_pace_and_the_newest_frames_are_translated():
    class Slow(AddHundred):
        def stream(self, frames, *, controls):
            for frame in super().stream(frames, controls=controls):
                time.sleep(0.02)
                yield frame

    source, sink = Source(100, pace=0.001), Sink()
    source.live = True
    report = Session(source, Slow(), sink).run()
    assert report.dropped > 0 and report.frames + report.dropped == 100
    assert sink.values == sorted(sink.values) and sink.values[-1] == 199, "in order, up to the last one"
    assert any(f"{report.dropped} frames of the live source were dropped" in note for note in report.notes)


def test_a_file_drops_nothing_however_slow_the_translation():
    source, sink = Source(20), Sink()
    sink.write = lambda frame, write=sink.write: (time.sleep(0.005), write(frame))
    report = Session(source, AddHundred(), sink).run()
    assert (report.frames, report.dropped) == (20, 0)


def test_a_session_runs_once():
    session = Session(Source(2), None, Sink())
    session.run()
    with pytest.raises(RuntimeError, match="run only once"):
        session.run()


def test_controls_change_while_it_runs():
    sink, controls = Sink(), Controls()

    def change(frames):
        if frames == 3:
            controls.set(opacity=0)

    Session(Source(200), AddHundred(), sink, controls, on_frame=change).run()
    assert sink.values[:3] == [100, 101, 102]
    first = sink.values.index(next(value for number, value in enumerate(sink.values) if value == number % 256))
    assert sink.values[first:100] == list(range(first, 100))


def test_side_by_side_has_the_size_that_output_format_says():
    sink, controls = Sink(), Controls(compare="side")
    source = Source(3)
    Session(source, AddHundred(), sink, controls).run()
    assert set(sink.sizes) == {output_format(source.format, controls.snapshot()).size} == {(4, 12)}
    assert sink.values == [100, 101, 102]  # the last column is the translation's


@pytest.mark.parametrize("share", [0.0, 0.34, 0.5, 1.0])
def test_split_shows_the_original_on_the_left(share):
    frame = shown(picture(1), picture(200), Settings(compare="split", split=share))
    column = 2 * round(share * SIZE[1] / 2)
    assert (frame.planes[0][:, :column] == 1).all()
    assert (frame.planes[0][:, column:] == 200).all()


def test_mirror_flips_every_plane_and_leaves_the_input():
    planes = tuple(
        np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8) for shape in ((4, 6), (2, 3), (2, 3))
    )
    frame = Frame(planes, "yuv420p")
    mirrored = shown(frame, frame, Settings(mirror=True))
    for before, after in zip(planes, mirrored.planes, strict=True):
        assert (after == before[:, ::-1]).all()
    assert shown(frame, frame, Settings()) is frame


def test_unknown_and_bad_settings_change_nothing():
    controls = Controls(opacity=0.5)
    for bad in ({"opacity": 2}, {"opacty": 1}, {"compare": "left"}, {"attributes": 3}, {"mirror": 1}, {"split": "x"}):
        with pytest.raises(OptionError):
            controls.set(**bad, detail=1.0) if "detail" not in bad else controls.set(**bad)
    assert controls.snapshot().opacity == 0.5
    assert controls.snapshot().version == 1


def test_attributes_are_merged_and_forgotten():
    controls = Controls(attributes={"smiling": 1.0})
    controls.set(attributes={"blond_hair": 0.5})
    before = controls.snapshot()
    controls.set(attributes={"smiling": None})
    assert dict(before.attributes) == {"smiling": 1.0, "blond_hair": 0.5}
    assert dict(controls.snapshot().attributes) == {"blond_hair": 0.5}


def test_watchers_hear_of_changes_until_they_leave():
    controls, heard = Controls(), []
    leave = controls.watch(lambda settings: heard.append(settings.opacity))
    controls.set(opacity=0.2)
    leave()
    controls.set(opacity=0.3)
    assert heard == [0.2]
