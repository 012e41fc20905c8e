"""``engine translate --segment``: a long video in parts that stay when the program is killed."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..errors import MediaError, OptionError, reason
from ..files import read_json, replace_file
from ..media.base import FrameFormat, FrameSink, FrameSource
from ..media.file.segments import SegmentedSink, check_output, count_kept, is_cut_off
from ..media.file.source import VideoSource
from .inputs import Work
from .manifest import content_hash, settings_of
from .options.translate import TranslateOptions
from .parse import parse_time
from .progress import FrameProgress
from .worker import Done, Worker, make_folder

SUFFIX = ".segments"
SETTINGS = "settings.json"
SCHEMA = "ganlens-segments/2"


class SegmentWorker(Worker):
    """A worker that keeps long videos in segments where the options ask for it."""

    def __init__(self, options: TranslateOptions, **arguments: Any) -> None:
        super().__init__(options, **arguments)
        self.segment = None if options.segment is None else parse_time("--segment", options.segment, positive=True)
        self._folders: set[Path] = set()
        """Folders of segments that this worker made or continued."""

    def _video(self, work: Work, progress: FrameProgress | None, overwrite: bool) -> Done:
        if self.segment is None:
            return super()._video(work, progress, overwrite)
        folder, output = Path(work.output + SUFFIX), Path(work.output)
        overwrite = overwrite or is_cut_off(output, folder)
        check_output(output, overwrite=overwrite)
        self._prepare(folder, work)
        try:
            done = super()._video(work, progress, overwrite)
        except BaseException:
            self._tell_what_is_kept(folder)
            raise
        if done.stopped:
            self._tell_what_is_kept(folder)
        return done

    def claim(self, work: Work) -> None:
        """Make the folder of a video's segments now, for workers elsewhere that continue in it.

        Raises:
            EngineError: as if the video were translated here.
        """
        if self.segment is not None and work.input.kind == "video":
            self._prepare(Path(work.output + SUFFIX), work)

    def _open_sink(
        self, output: str, format: FrameFormat, source: FrameSource, overwrite: bool
    ) -> tuple[FrameSink, int]:
        if self.segment is None:
            return super()._open_sink(output, format, source, overwrite)
        assert isinstance(source, VideoSource)
        options = self.sink_options(output, overwrite)
        hints = options.pop("hints")
        sink = SegmentedSink(
            Path(output),
            Path(output + SUFFIX),
            format,
            origin=source,
            # The last segment is encoded again, and what was made after it is lost: together what was asked for.
            length=Fraction(str(self.segment)) / 2,
            **options,
            **hints,
        )
        return sink, sink.before

    def _prepare(self, folder: Path, work: Work) -> None:
        """Make the folder of the segments, or find it again.

        Raises:
            MediaError: it exists, and neither ``--resume`` nor ``--yes`` was given.
            OptionError: its segments were made of something else.
        """
        settings = {
            "schema": SCHEMA,
            "input": content_hash(work.input.address),
            "settings": settings_of(self.options, self.model.file.sha256),
        }
        before = _settings_in(folder)
        if before is not None and self.options.overwrite and not self.options.resume:
            shutil.rmtree(folder)
            before = None
        if before is not None:
            if not self.options.resume and folder not in self._folders:
                raise MediaError(
                    f"{folder} has the segments of a run that was interrupted. Continue with --resume, or begin again "
                    "with -y."
                )
            if before != json.loads(json.dumps(settings)):
                raise OptionError(
                    f"{folder} has segments of another input, model or options. Give the same ones, or begin again: "
                    "remove the folder, or give -y without --resume."
                )
        else:
            if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
                raise MediaError(f"{folder} exists and is not ours; move it away, or give another output.")
            make_folder(folder / SETTINGS)
            try:
                replace_file(folder / SETTINGS, json.dumps(settings))
            except OSError as error:
                raise MediaError(f"{folder} cannot be written: {reason(error)}.") from error
        self._folders.add(folder)

    def _tell_what_is_kept(self, folder: Path) -> None:
        """Say how to continue; a folder with nothing to continue from is removed."""
        if not folder.exists():
            return
        count = count_kept(folder)
        if not count and not is_cut_off(Path(str(folder).removesuffix(SUFFIX)), folder):
            shutil.rmtree(folder, ignore_errors=True)
            return
        what = "1 segment is" if count == 1 else f"{count or 'no'} segments are"
        self.console.print(f"{what} kept in {folder}; continue with --resume", markup=False, soft_wrap=True)


def _settings_in(folder: Path) -> Any:
    try:
        settings = read_json(folder / SETTINGS)
    except (OSError, ValueError):
        return None
    return settings if isinstance(settings, dict) and settings.get("schema") == SCHEMA else None
