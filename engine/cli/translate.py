"""``engine translate``: videos and pictures through one generator."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from ..controls import Controls
from ..cpu_budget import ThreadBudget
from ..errors import EngineError, MediaError, OptionError
from ..faces import FaceFraming
from ..media.base import FrameSource
from ..media.pictures import check_target, read_image, write_image
from ..media.uri import open_sink, open_source
from ..model import Model
from ..model import open as open_model
from ..model.attributes import attribute_vector
from ..model.description import parse_value_range
from ..pixels.frame import side_by_side
from ..pixels.framing import Framing
from ..session import Session, output_format
from ..spec import GeneratorSpec
from ..timing import StageTimes
from ..translator import Translator
from .inputs import PIPE, Input, Kind, Work, find_inputs, plan_outputs
from .interrupt import INTERRUPTED, terminate_as_interrupt
from .options import TranslateOptions
from .parse import parse_raw, parse_region, parse_settings, parse_size, parse_time
from .progress import FrameProgress, plan_progress
from .report import write_record

_MOST_NOTES = 8
"""Lines about single files, unless asked for all."""


@dataclass
class Done:
    """What became of one input."""

    work: Work
    frames: int = 0
    seconds: float = 0.0
    notes: Sequence[str] = ()
    decoder: str | None = None
    encoder: str | None = None
    stopped: bool = False
    error: EngineError | None = None

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "input": self.work.input.address,
            "output": self.work.output,
            "kind": self.work.input.kind,
            "frames": self.frames,
            "seconds": self.seconds,
            "decoder": self.decoder,
            "encoder": self.encoder,
            "notes": list(self.notes),
            "error": None if self.error is None else str(self.error),
        }


def run(options: TranslateOptions) -> int:
    """Do what the command line asked for; returns the exit status."""
    inputs = _inputs(options)
    works = plan_outputs(inputs, options.output, options.model)
    _refuse_misplaced(options, works)
    job = _Job(options, works)
    if len(works) > 1:
        _make_folder(Path(works[0].output))  # now, not after the first one is translated
    with terminate_as_interrupt(), job:
        return job.run()


def _inputs(options: TranslateOptions) -> list[Input]:
    """What is to be translated: the inputs, and the options that say the same with the kind named."""
    groups: list[tuple[list[str], Kind | None]] = [(list(options.inputs or []), None)]
    for word, kind in ((options.video, "video"), (options.image, "picture"), (options.images, "picture")):
        if word is not None:
            groups.append(([word], kind))  # type: ignore[arg-type]
    if not any(words for words, _ in groups):
        raise typer.BadParameter("nothing to translate; name a video, a picture or a folder: engine translate clip.mp4")
    if options.image is not None and Path(options.image).is_dir():
        raise MediaError(f"{options.image} is a folder; expected a picture.")
    if options.video is not None and options.video != PIPE and Path(options.video).is_dir():
        raise MediaError(f"{options.video} is a folder; expected a video file.")
    return [each for words, kind in groups for each in find_inputs(words, kind)]


@dataclass
class _Job:
    """One command: its options checked, its translator opened once for all inputs."""

    options: TranslateOptions
    works: list[Work]
    times: StageTimes = field(default_factory=StageTimes)

    def __post_init__(self) -> None:
        options = self.options
        self.console = Console(stderr=True, quiet=options.quiet, highlight=False)
        self.has_pipe = any(PIPE in (work.input.address, work.output) for work in self.works)
        self.start = None if options.start is None else parse_time("--start", options.start)
        self.duration = None if options.duration is None else parse_time("--duration", options.duration, positive=True)
        self.value_range = parse_value_range(options.value_range) if options.value_range else None
        self.model: Model = open_model(options.model, value_range=self.value_range)
        spec = self.model.spec
        self.attributes = parse_settings("--set", options.settings or [])
        _check_attributes(spec, self.attributes)
        self.framing = make_framing(options, spec)
        self.budget = ThreadBudget.plan(
            network=options.threads,
            in_flight=options.in_flight or (1 if self._one_by_one else None),
            encoder=options.encoder_threads,
            decoder=options.decoder_threads,
        )
        self._translator: Translator | None = None

    @property
    def _one_by_one(self) -> bool:
        """Whether frames are never translated side by side: a pipe may be live, and pictures come alone."""
        return self.has_pipe or all(work.input.kind == "picture" for work in self.works)

    def __enter__(self) -> _Job:
        return self

    def __exit__(self, *_: object) -> None:
        if self._translator is not None:
            self._translator.close()

    def run(self) -> int:
        done: list[Done] = []
        stopped = False
        with self._picture_progress() as pictures:
            for work in self.works:
                one = self._attempt(work, pictures)
                if one is None:
                    stopped = True
                    break
                done.append(one)
                stopped = one.stopped
                if stopped:
                    break
        self._report(done, pictures)
        if stopped:
            return INTERRUPTED
        return 1 if any(each.error for each in done) else 0

    def _attempt(self, work: Work, pictures: FrameProgress) -> Done | None:
        """Translate one input; among several, its failure ends no other. None: stopped before a frame."""
        try:
            if work.input.kind == "picture":
                return self._picture(work, pictures)
            return self._video(work)
        except EngineError as error:
            if len(self.works) == 1:
                raise
            self._complain(str(error))
            return Done(work, error=error)
        except KeyboardInterrupt:
            if len(self.works) == 1 and work.input.kind == "video":
                raise
            return None

    # --- one input ---------------------------------------------------------------------------------------------------

    def _video(self, work: Work) -> Done:
        options, (given, output) = self.options, work
        with ExitStack() as stack:
            source: FrameSource = stack.enter_context(
                closing(open_source(given.address, **self._source_options(given)))
            )
            if self.start is not None and source.file is not None and source.file.duration == 0:
                raise self._beyond_the_end(given)
            translator = self._open_translator(source.format.size)
            controls = self._controls()
            format = output_format(source.format, controls.snapshot())
            sink = open_sink(output, format, origin=source, **self._sink_options(output))
            stack.callback(sink.abort)
            decoder, encoder = getattr(source, "decoder", None), getattr(sink, "encoder", None)
            early = [*source.notes, *sink.notes]
            self._say(translator, [coder.line for coder in (decoder, encoder) if coder])
            self._tell(early)
            progress = FrameProgress(
                self.console, source.frames, self.times, quiet=options.quiet, label=self._label(work)
            )
            session = Session(source, translator, sink, controls, on_frame=lambda _: progress.advance())
            try:
                with progress:
                    report = session.run()
            except MediaError:
                if session.frames == 0 and self.start is not None and source.file is not None:
                    raise self._beyond_the_end(given) from None
                raise
        self._tell([note for note in report.notes if note not in early])
        return Done(
            work,
            report.frames,
            report.seconds,
            report.notes,
            decoder.name if decoder else None,
            encoder.name if encoder else None,
            report.stopped,
            report.error,
        )

    def _picture(self, work: Work, progress: FrameProgress) -> Done:
        target = Path(work.output)
        check_target(target, overwrite=self.options.overwrite, parents=len(self.works) > 1)
        notes: list[str] = []
        began = progress.seconds
        with self.times.measure("decode"):
            frame = read_image(work.input.address, notes)
        translator = self._open_translator(frame.size)
        self._say(translator, [])
        result = translator(frame, **self.attributes)
        with self.times.measure("encode"):
            _make_folder(target)
            write_image(
                target,
                side_by_side(frame, result) if self.options.compare else result,
                overwrite=self.options.overwrite,
            )
        progress.advance()
        return Done(work, 1, progress.seconds - began, notes)

    def _controls(self) -> Controls:
        return Controls(
            attributes=self.attributes,
            opacity=self.options.opacity,
            detail=self.options.detail,
            compare="side" if self.options.compare else "off",
        )

    def _source_options(self, given: Input) -> dict[str, Any]:
        options = self.options
        if given.address == PIPE:
            return parse_raw(options.raw) if options.raw else {}
        return {
            "start": self.start,
            "duration": self.duration,
            "hints": {"threads": self.budget.decoder, "decoder": options.decoder, "hdr": options.hdr},
        }

    def _sink_options(self, output: str) -> dict[str, Any]:
        options = self.options
        if output != PIPE and len(self.works) > 1:
            _make_folder(Path(output))
        return {
            "codec": options.codec,
            "crf": options.crf,
            "hints": {
                "preset": options.preset,
                "threads": self.budget.encoder,
                "encoder": options.encoder,
                "overwrite": options.overwrite,
            },
        }

    def _open_translator(self, frame_size: tuple[int, int]) -> Translator:
        """The translator, opened for the first input and used for all."""
        if self._translator is None:
            options = self.options
            with plan_progress(Console(stderr=True, quiet=options.quiet, highlight=False), quiet=options.quiet):
                self._translator = Translator.open(
                    self.model.path,
                    value_range=self.value_range,
                    backend=options.backend,
                    framing=self.framing,
                    detail=options.detail,
                    opacity=options.opacity,
                    threads=self.budget.network,
                    in_flight=self.budget.in_flight,
                    spin=options.spin,
                    strict=options.strict,
                    frame_size=frame_size,
                    batch=options.batch,
                )
            self._translator.times = self.times
            self._new = True
        return self._translator

    # --- what is printed ---------------------------------------------------------------------------------------------

    def _picture_progress(self) -> FrameProgress:
        """Of all pictures; a single one needs none, and videos have their own."""
        count = sum(work.input.kind == "picture" for work in self.works)
        quiet = self.options.quiet or count < 2
        return FrameProgress(self.console, count, self.times, quiet=quiet, what="pictures")

    def _label(self, work: Work) -> str:
        if len(self.works) == 1:
            return ""
        return f"{self.works.index(work) + 1}/{len(self.works)} {work.input.below.name}"

    def _complain(self, problem: str) -> None:
        """An error after which the work goes on; said even if quiet."""
        Console(stderr=True, highlight=False).print(f"error: {problem}", markup=False, soft_wrap=True)

    def _say(self, translator: Translator, coders: list[str]) -> None:
        """Which backend runs, in a line; with ``--verbose`` also why the others, and hardware coders, do not."""
        choice = translator.choice
        lines = list(choice.lines) if choice and self._new else []
        self._new = False
        if not self.options.verbose:
            lines, coders = lines[-1:], []
        for line in (*lines, *filter(None, coders)):
            self.console.print(line, style="dim", soft_wrap=True, markup=False)

    _new = False
    """Whether the translator was opened since the last line about it."""

    def _tell(self, notes: Sequence[str]) -> None:
        most = len(notes) if self.options.verbose or len(self.works) == 1 else _MOST_NOTES
        for note in notes[:most]:
            self.console.print(f"note: {note}", soft_wrap=True, markup=False)
        if len(notes) > most:
            self.console.print(f"note: {len(notes) - most} more of these; --json has them all", markup=False)

    def _beyond_the_end(self, given: Input) -> MediaError:
        return MediaError(f"{given.address} has no frame at --start {self.options.start} or later: it is shorter.")

    def _report(self, done: list[Done], pictures: FrameProgress) -> None:
        if not done or self._translator is None:
            return
        options, translator = self.options, self._translator
        failed = [each for each in done if each.error is not None and not each.frames]
        frames = sum(each.frames for each in done)
        seconds = sum(each.seconds for each in done)
        notes = [note for each in done for note in each.notes]
        self._tell([note for each in done if each.work.input.kind == "picture" for note in each.notes])
        videos = any(work.input.kind == "video" for work in self.works)
        what, rate = ("frames", "fps") if videos else ("pictures", "per second")
        if failed:
            kind = "inputs" if videos else "pictures"
            notes.insert(0, f"{len(failed)} of {len(done)} {kind} failed")
            self._tell(notes[:1])
        faces = translator.frames_with_faces
        if faces is not None:
            text = f"{faces} of {frames} {what} show a face"
            if faces == 0 and frames:
                text = f"no face was found in {frames} {what}; nothing was changed"
            notes.append(text)
            self.console.print(f"{'note' if faces else 'warning'}: {text}", markup=False, soft_wrap=True)
        for each in done:
            if each.error is not None and each.frames:
                self._complain(f"{each.error} The {each.frames} frames before are kept.")
        stages = self.times.summary()
        if stages:
            self.console.print(_stage_table(stages))
        output = done[0].work.output if len(self.works) == 1 else _common_folder([each.work.output for each in done])
        fps = frames / seconds if seconds else 0.0
        files = f" of {len(done) - len(failed)} files" if videos and len(self.works) > 1 else ""
        self.console.print(
            f"{frames} {what}{files} in {seconds:.1f} s ({fps:.1f} {rate}) on {translator.backend.name}: {output}",
            soft_wrap=True,
            markup=False,
        )
        if options.json_output is None:
            return
        record: dict[str, Any] = {
            "input": done[0].work.input.address if len(self.works) == 1 else options.images or options.inputs,
            "output": output,
            "model": translator.spec.name,
            "backend": translator.backend.name,
            "device": translator.backend.device,
            "batch": translator.batch,
            "decoder": done[0].decoder,
            "encoder": done[0].encoder,
            "frames": frames,
            "seconds": seconds,
            "fps": fps,
            "stages": {name: row._asdict() for name, row in stages.items()},
            "notes": notes,
            "files": [each.as_json() for each in done],
        }
        piped = any(work.output == PIPE for work in self.works)
        write_record(options.json_output, record, stream=sys.stderr if piped else sys.stdout)


def make_framing(options: TranslateOptions, spec: GeneratorSpec) -> Framing | FaceFraming:
    """The framing options as one object; by default what suits the model with record ``spec``."""
    of_faces = {
        "--max-faces": ("max_faces", options.max_faces),
        "--detect-every": ("detect_every", options.detect_every),
        "--steady": ("steady", options.steady),
    }
    mode = options.framing or ("faces" if spec.face_alignment else "fit")
    has_effect = {
        "--region": (options.region, ("crop",)),
        "--size": (options.size, ("fit", "crop", "tile")),
        "--feather": (options.feather, ("crop", "faces")),
        "--overlap": (options.overlap, ("tile",)),
        **{option: (value, ("faces",)) for option, (_, value) in of_faces.items()},
    }
    for option, (value, modes) in has_effect.items():
        if value is not None and mode not in modes:
            raise OptionError(f"{option} goes with --framing {' or '.join(modes)}, not with '{mode}'. Leave it out.")
    if mode == "faces":
        given = {name: value for name, value in of_faces.values() if value is not None}
        return FaceFraming(**given, feather=options.feather)  # type: ignore[arg-type]
    return Framing(
        mode,
        region=None if options.region is None else parse_region("--region", options.region),
        size=None if options.size is None else parse_size("--size", options.size),
        feather=options.feather,
        **({} if options.overlap is None else {"overlap": options.overlap}),
    )


def _check_attributes(spec: GeneratorSpec, attributes: dict[str, float]) -> None:
    """Refuse what the model does not have, before anything is opened; a model that only edits wants to know what."""
    if spec.image is None:
        raise OptionError(f"Model '{spec.name}' makes images from noise; it takes no frame. Use engine generate.")
    port = spec.attributes
    if port is None:
        if attributes:
            raise OptionError(f"Model '{spec.name}' has no attributes; --set {', '.join(attributes)} was given.")
        return
    if not attributes:
        raise OptionError(
            f"Model '{spec.name}' edits what it is told to; nothing was set. It offers {', '.join(port.names)}: "
            f"--set {port.names[0].lower()}=1"
        )
    attribute_vector(port, attributes)


def _refuse_misplaced(options: TranslateOptions, works: list[Work]) -> None:
    """An option that would say nothing about these inputs or outputs."""
    videos = any(work.input.kind == "video" for work in works)
    pipe_in = any(work.input.address == PIPE for work in works)
    pipe_out = any(work.output == PIPE for work in works)
    of_videos = (
        "raw", "start", "duration", "codec", "crf", "in_flight", "encoder_threads", "decoder_threads",
    )  # fmt: skip
    misplaced: list[tuple[tuple[str, ...], str, bool]] = [
        (of_videos, "goes with videos, not with pictures", not videos),
        (("raw",), "describes standard input; it goes with '-' as input", not pipe_in),
        (("start", "duration"), "goes with a file, not with a pipe", pipe_in),
        (("codec", "crf"), "goes with a file, not with a pipe", pipe_out),
    ]
    for names, why, wrong in misplaced:
        for name in names:
            if wrong and getattr(options, name) is not None:
                raise OptionError(f"--{name.replace('_', '-')} {why}. Leave it out.")
    for option, coder, used in (
        ("--decoder", options.decoder, videos and not pipe_in),
        ("--encoder", options.encoder, videos and not pipe_out),
    ):
        if coder not in ("auto", "cpu") and not used:
            raise OptionError(f"{option} {coder} goes with video files, not with pictures or pipes. Leave it out.")


def _make_folder(target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(f"The folder {target.parent} cannot be made: {error.strerror}.") from error


def _common_folder(outputs: list[str]) -> str:
    folders = {str(Path(output).parent) for output in outputs}
    return min(folders, key=len)


def _stage_table(stages: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("stage")
    for column in ("p50 ms", "p95 ms", "p99 ms", "share"):
        table.add_column(column, justify="right")
    whole = sum(row.total_s for row in stages.values()) or 1.0
    for name, row in stages.items():
        share = f"{100 * row.total_s / whole:.0f} %"
        table.add_row(name, f"{row.p50_ms:.2f}", f"{row.p95_ms:.2f}", f"{row.p99_ms:.2f}", share)
    return table
