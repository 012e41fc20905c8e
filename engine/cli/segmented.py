"""``engine translate --segment``: a long video in parts that stay when the program is killed."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import MediaError, OptionError, reason
from ..files import read_json, replace_file
from ..media.base import FrameSource
from ..media.file.segments import NUMBERED, SegmentHeader, SegmentSink, check_output, join, read_header
from ..media.file.sink import VideoSink
from ..media.uri import open_sink, open_source
from ..model.attributes import experimental_notes
from ..session import Session, output_format
from .inputs import Input, Work
from .manifest import content_hash, settings_of
from .options import TranslateOptions
from .parse import parse_time
from .progress import FrameProgress
from .worker import Done, Worker, make_folder, since

SUFFIX = ".segments"
SETTINGS = "settings.json"
SCHEMA = "ganlens-segments/1"


class _Part(NamedTuple):
    path: Path
    start: Fraction
    duration: Fraction


class SegmentWorker(Worker):
    """A worker that keeps long videos in segments where the options ask for it."""

    def __init__(self, options: TranslateOptions, **arguments: Any) -> None:
        super().__init__(options, **arguments)
        self.segment = None if options.segment is None else parse_time("--segment", options.segment, positive=True)
        self.segment_folders: set[Path] = set()
        """Folders of segments that this worker made or continued."""

    def _video(self, work: Work, label: str, overwrite: bool) -> Done:
        if self.segment is None:
            return super()._video(work, label, overwrite)
        return translate_in_segments(self, work, label, overwrite)


def translate_in_segments(worker: SegmentWorker, work: Work, label: str, overwrite: bool) -> Done:
    """Translate a video, keeping each segment as soon as it is whole.

    Raises:
        EngineError: it failed; the segments that are whole stay.
        KeyboardInterrupt: it was stopped; likewise.
    """
    given, output = work.input, Path(work.output)
    check_output(output, overwrite=overwrite)
    began = time.perf_counter()
    with ExitStack() as stack:
        whole: FrameSource = stack.enter_context(closing(open_source(given.address, **worker.source_options(given))))
        assert whole.file is not None
        if worker.start is not None and whole.file.duration == 0:
            raise worker.beyond_the_end(given)
        translator = worker.open_translator(whole.format.size)
        controls = worker.controls()
        format = output_format(whole.format, controls.snapshot())
        options = worker.sink_options(work.output, overwrite)
        encoding = {"codec": options["codec"], "crf": options["crf"], **options["hints"]}
        folder = _prepare_folder(worker, work)
        early = [*whole.notes, *experimental_notes(worker.model.spec.attributes, worker.attributes)]
        notes, faces = dict.fromkeys(early), translator.frames_with_faces
        worker.say(translator, [])
        worker.tell(early)
        frames = 0
        paths: list[Path] = []
        progress = FrameProgress(worker.console, whole.frames, worker.times, quiet=worker.quiet, label=label)
        with progress:
            for part in _parts(worker, whole, folder):
                header = read_header(part.path)
                if header is not None:
                    progress.skip(header.frames)
                else:
                    try:
                        header = _translate_part(worker, given, output, part, format, encoding, notes, progress)
                    except KeyboardInterrupt:
                        _say_what_is_kept(worker, folder, paths)
                        raise
                frames, paths = frames + header.frames, [*paths, part.path]
                if not header.frames and not _goes_on(worker, given, part):
                    break
        if not frames:
            shutil.rmtree(folder, ignore_errors=True)
            raise worker.beyond_the_end(given)
        sink = open_sink(work.output, format, origin=whole, **options)
        stack.callback(sink.abort)
        assert isinstance(sink, VideoSink)
        join(sink, paths)
        sink.close()
    shutil.rmtree(folder, ignore_errors=True)
    worker.segment_folders.discard(folder)
    notes |= dict.fromkeys(sink.notes)
    worker.tell([note for note in notes if note not in early])
    found = since(translator.frames_with_faces, faces)
    decoder = getattr(whole, "decoder", None)
    seconds = time.perf_counter() - began
    return Done(work, frames, seconds, tuple(notes), decoder.name if decoder else None, sink.encoder.name, faces=found)


def _prepare_folder(worker: SegmentWorker, work: Work) -> Path:
    """The folder of the segments, made or found again.

    Raises:
        MediaError: it exists, and neither ``--resume`` nor ``--yes`` was given.
        OptionError: its segments were made of something else.
    """
    folder = Path(work.output + SUFFIX)
    settings = {
        "schema": SCHEMA,
        "input": content_hash(work.input.address),
        "settings": settings_of(worker.options, worker.model.file.sha256),
    }
    before = _settings_in(folder)
    if before is not None and worker.options.overwrite and not worker.options.resume:
        shutil.rmtree(folder)
        before = None
    if before is not None:
        if not worker.options.resume and folder not in worker.segment_folders:
            raise MediaError(
                f"{folder} has the segments of a run that was interrupted. Go on with --resume, or begin again with -y."
            )
        if before != json.loads(json.dumps(settings)):
            raise OptionError(
                f"{folder} has segments of another input, model or options. Give the same ones, or begin again: remove "
                "the folder, or give -y without --resume."
            )
    else:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise MediaError(f"{folder} exists and is not ours; move it away, or give another output.")
        make_folder(folder / SETTINGS)
        try:
            replace_file(folder / SETTINGS, json.dumps(settings))
        except OSError as error:
            raise MediaError(f"{folder} cannot be written: {reason(error)}.") from error
    worker.segment_folders.add(folder)
    return folder


def _settings_in(folder: Path) -> Any:
    try:
        settings = read_json(folder / SETTINGS)
    except (OSError, ValueError):
        return None
    return settings if isinstance(settings, dict) and settings.get("schema") == SCHEMA else None


def _parts(worker: SegmentWorker, whole: FrameSource, folder: Path) -> Iterator[_Part]:
    """The parts of a video, one after the other without an end: how long a file is, only reading tells."""
    length = Fraction(str(worker.segment))
    begin = Fraction(str(worker.start or 0))
    left = None if worker.duration is None else Fraction(str(worker.duration))
    number = 0
    while left is None or left > 0:
        duration = length if left is None else min(length, left)
        yield _Part(folder / NUMBERED.format(number), begin, duration)
        begin, number = begin + duration, number + 1
        left = None if left is None else left - duration


def _translate_part(
    worker: SegmentWorker,
    given: Input,
    output: Path,
    part: _Part,
    format: Any,
    encoding: dict[str, Any],
    notes: dict[str, None],
    progress: FrameProgress,
) -> SegmentHeader:
    translator = worker.open_translator(format.size)
    options = {**worker.source_options(given), "start": part.start, "duration": part.duration}
    with ExitStack() as stack:
        source: FrameSource = stack.enter_context(closing(open_source(given.address, **options)))
        sink = SegmentSink(output, part.path, format, **encoding)
        stack.callback(sink.abort)
        session = Session(source, translator, sink, worker.controls(), on_frame=lambda _: progress.advance())
        report = session.run()
        if report.stopped:
            raise KeyboardInterrupt
    notes |= dict.fromkeys(report.notes)
    header = read_header(part.path)
    if header is None:
        raise MediaError(f"{part.path} was written, but cannot be read again. Is the disk failing?")
    return header


def _goes_on(worker: SegmentWorker, given: Input, part: _Part) -> bool:
    """Whether there is a frame behind a part that has none."""
    options = {**worker.source_options(given), "start": part.start + part.duration, "duration": None}
    with closing(open_source(given.address, **options)) as source:
        return next(iter(source), None) is not None


def _say_what_is_kept(worker: SegmentWorker, folder: Path, paths: list[Path]) -> None:
    if not paths:
        shutil.rmtree(folder, ignore_errors=True)
        return
    what = "1 segment is" if len(paths) == 1 else f"{len(paths)} segments are"
    worker.console.print(f"{what} kept in {folder}; go on with --resume", markup=False, soft_wrap=True)
