"""One input of ``engine translate``, from opening it to its finished output."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..controls import Controls
from ..cpu_budget import ThreadBudget
from ..errors import MediaError, OptionError
from ..faces import FaceFraming
from ..media.base import FrameFormat, FrameSink, FrameSource
from ..media.file.source import expected_frames
from ..media.pictures import check_target, read_image, write_image
from ..media.uri import SOURCES, open_sink, open_source, scheme_of
from ..model import Model
from ..model import open as open_model
from ..model.attributes import attribute_vector, experimental_notes, parse_settings
from ..model.description import parse_value_range
from ..pixels.frame import side_by_side
from ..pixels.framing import Framing
from ..session import Session, output_format
from ..spec import GeneratorSpec
from ..timing import StageTimes
from ..translator import Translator
from .console import make_console
from .inputs import PIPE, Input, Work
from .options.translate import TranslateOptions
from .parse import parse_raw, parse_region, parse_size, parse_time
from .progress import FrameProgress, plan_progress

MOST_NOTES = 8
"""Lines about single files of several, unless asked for all."""


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
    error: str | None = None
    faces: int | None = None
    """Frames in which a face was changed; None for models of whole frames."""
    on_device: bool = False
    """Whether frames stayed in the GPU's memory from the decoder on."""
    before: int = 0
    """How many of the frames an earlier run made."""

    @property
    def status(self) -> str:
        """As in a manifest."""
        if self.error is not None and not self.frames:
            return "failed"
        return "stopped" if self.stopped or self.error is not None else "done"

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
            "on_device": self.on_device,
            "notes": list(self.notes),
            "error": self.error,
        }


class Worker:
    """Translates inputs one after the other, with one translator that is opened for the first of them.

    Args:
        options: what the command line says; checked here, before anything is opened.
        alone: whether there is only one input: its outcome is then printed in full.
        pipe: whether an end is a pipe, which may be live: no frame waits for another.
        videos: whether there are videos among the inputs.
        quiet: print nothing, whatever the options say.
        share: this worker's part of the cores, as 1 of so many.
    """

    def __init__(
        self,
        options: TranslateOptions,
        *,
        alone: bool = True,
        pipe: bool = False,
        videos: bool = True,
        quiet: bool = False,
        share: int = 1,
    ) -> None:
        self.options = options
        self.times = StageTimes()
        self.quiet = quiet or options.quiet
        self._alone = alone
        self.console = make_console(stderr=True, quiet=self.quiet)
        self.start = None if options.start is None else parse_time("--start", options.start)
        self.duration = None if options.duration is None else parse_time("--duration", options.duration, positive=True)
        self.value_range = parse_value_range(options.value_range) if options.value_range else None
        self.model: Model = open_model(options.model, value_range=self.value_range)
        self.attributes = parse_settings("--set", options.settings or [])
        check_attributes(self.model.spec, self.attributes)
        self.framing = make_framing(options, self.model.spec)
        self.budget = ThreadBudget.plan(
            network=options.threads,
            in_flight=options.in_flight or (1 if pipe or not videos else None),
            encoder=options.encoder_threads,
            decoder=options.decoder_threads,
            share=share,
        )
        self._translator: Translator | None = None
        self._new = False
        self._told: set[str] = set()  # of the model's answers: once, not with every picture

    @property
    def translator(self) -> Translator | None:
        """The translator; None until the first input was opened."""
        return self._translator

    def translate(self, work: Work, progress: FrameProgress | None = None, *, overwrite: bool = False) -> Done:
        """Translate one input.

        Args:
            overwrite: replace an existing output, as ``--yes`` does.
            progress: counts pictures and frames; None: a video has one of its own.

        Raises:
            EngineError: it failed; nothing is left of it.
            KeyboardInterrupt: it was stopped before its first frame.
        """
        overwrite = overwrite or self.options.overwrite
        if work.input.kind == "picture":
            return self._picture(work, progress, overwrite)
        return self._video(work, progress, overwrite)

    def close(self) -> None:
        """Free the translator."""
        if self._translator is not None:
            self._translator.close()

    def _video(self, work: Work, progress: FrameProgress | None, overwrite: bool) -> Done:
        given, output = work
        with ExitStack() as stack:
            source: FrameSource = stack.enter_context(closing(open_source(given.address, **self.source_options(given))))
            if self.start is not None and source.file is not None and source.file.duration == 0:
                raise self.beyond_the_end(given)
            controls = self.controls()
            format = output_format(source.format, controls.snapshot())
            sink, before = self._open_sink(output, format, source, overwrite)  # what it refuses is said at once
            stack.callback(sink.abort)
            translator = self.open_translator(source.format.size, source.frames)
            decoder, encoder = getattr(source, "decoder", None), getattr(sink, "encoder", None)
            early = [*source.notes, *sink.notes, *experimental_notes(self.model.spec.attributes, self.attributes)]
            self.say(translator, [coder.line for coder in (decoder, encoder) if coder])
            self.tell(early)
            faces = translator.frames_with_faces
            own = None if progress else FrameProgress(self.console, source.frames, self.times, quiet=self.quiet)
            shown = progress or own
            assert shown is not None
            shown.skip(before)
            session = Session(source, translator, sink, controls, on_frame=lambda _: shown.advance(), before=before)
            if session.on_device and self.options.verbose:
                self.console.print("frames stay in the GPU's memory after nvdec", style="dim")
            try:
                with own or nullcontext():
                    report = session.run()
            except MediaError:
                if session.frames == 0 and self.start is not None and source.file is not None:
                    raise self.beyond_the_end(given) from None
                raise
        ended = "\0" if report.error is None else str(report.error)  # printed as an error at the end
        self.tell([note for note in report.notes if note not in early and not note.startswith(ended)])
        return Done(
            work,
            before + report.frames,
            report.seconds,
            report.notes,
            decoder.name if decoder else None,
            encoder.name if encoder else None,
            report.stopped,
            None if report.error is None else str(report.error),
            None if before else since(translator.frames_with_faces, faces),
            session.on_device,
            before,
        )

    def _open_sink(
        self, output: str, format: FrameFormat, source: FrameSource, overwrite: bool
    ) -> tuple[FrameSink, int]:
        """The sink of a video, and how many of its frames an earlier run made."""
        return open_sink(output, format, origin=source, **self.sink_options(output, overwrite)), 0

    def _picture(self, work: Work, progress: FrameProgress | None, overwrite: bool) -> Done:
        target = Path(work.output)
        check_target(target, overwrite=overwrite, parents=not self._alone)
        notes: list[str] = []
        began = time.perf_counter()
        with self.times.measure("decode"):
            frame = read_image(work.input.address, notes)
        translator = self.open_translator(frame.size, 1)
        if self._alone:
            self.tell(experimental_notes(self.model.spec.attributes, self.attributes))
        self.say(translator, [])
        faces = translator.frames_with_faces
        result = translator(frame, attributes=self.attributes)
        with self.times.measure("encode"):
            make_folder(target)
            write_image(
                target,
                side_by_side(frame, result) if self.options.compare else result,
                overwrite=overwrite,
            )
        if progress is not None:
            progress.advance()
        notes += [note for note in translator.notes if note not in self._told]
        self._told.update(translator.notes)
        found = since(translator.frames_with_faces, faces)
        return Done(work, 1, time.perf_counter() - began, notes, faces=found)

    def expected_frames(self, given: Input) -> int | None:
        """How many frames an input has that are translated, as far as its file says; 1 of a picture."""
        if given.kind == "picture":
            return 1
        if given.address == PIPE or scheme_of(given.address, SOURCES) != "":
            return None
        frames, rate = expected_frames(Path(given.address))
        if frames is None or rate is None:
            return frames
        most = frames if self.duration is None else round(self.duration * rate)
        return max(0, min(most, frames - round((self.start or 0) * rate)))

    def controls(self) -> Controls:
        """The settings beside those that the translator was opened with."""
        return Controls(attributes=self.attributes, compare="side" if self.options.compare else "off")

    def source_options(self, given: Input) -> dict[str, Any]:
        """Options of the source of an input."""
        options = self.options
        if given.address == PIPE:
            return parse_raw(options.raw) if options.raw else {}
        return {
            "start": self.start,
            "duration": self.duration,
            "hints": {
                "threads": self.budget.decoder,
                "decoder": options.decoder,
                "device": options.device or 0,
                "hdr": options.hdr,
                "on_error": options.on_error,
            },
        }

    def sink_options(self, output: str, overwrite: bool) -> dict[str, Any]:
        """Options of a sink; makes the folder of the output."""
        options = self.options
        if output != PIPE and not self._alone:
            make_folder(Path(output))
        return {
            "codec": options.codec,
            "crf": options.crf,
            "hints": {
                "preset": options.preset,
                "threads": self.budget.encoder,
                "encoder": options.encoder,
                "device": options.device or 0,
                "overwrite": overwrite,
            },
        }

    def open_translator(self, frame_size: tuple[int, int], frames: int | None = None) -> Translator:
        """The translator, opened for the first input and used for all.

        Args:
            frame_size: (height, width).
            frames: how many there are; None: unknown.
        """
        if self._translator is None:
            options = self.options
            known = frames if self._alone else None
            most = known or self.budget.in_flight  # fewer frames, more threads for each
            with plan_progress(self.console, quiet=self.quiet):
                self._translator = Translator.open(
                    self.model,
                    backend=options.backend,
                    framing=self.framing,
                    detail=options.detail,
                    opacity=options.opacity,
                    threads=self.budget.network,
                    in_flight=min(self.budget.in_flight, most),
                    spin=options.spin,
                    strict=options.strict,
                    frame_size=frame_size,
                    batch=options.batch,
                    device=options.device,
                    streams=options.streams,
                    warm=False,
                    frames=known or None,
                )
            self._translator.times = self.times
            self._new = True
        return self._translator

    def say(self, translator: Translator, coders: list[str]) -> None:
        """Which backend runs, in a line; with ``--verbose`` also why the others, and hardware coders, do not."""
        choice = translator.choice
        lines = choice.shown(verbose=self.options.verbose) if choice and self._new else ()
        self._new = False
        for line in (*lines, *filter(None, coders if self.options.verbose else ())):
            self.console.print(line, style="dim", soft_wrap=True, markup=False)

    def tell(self, notes: Sequence[str]) -> None:
        """Print what a user should know; of several inputs only the first few notes, unless asked for all."""
        most = len(notes) if self.options.verbose or self._alone else MOST_NOTES
        for note in notes[:most]:
            self.console.print(f"note: {note}", soft_wrap=True, markup=False)
        if len(notes) > most:
            self.console.print(f"note: {len(notes) - most} more of these; --json has them all", markup=False)

    def beyond_the_end(self, given: Input) -> MediaError:
        """The error of an input that ends before ``--start``."""
        return MediaError(f"{given.address} has no frame at --start {self.options.start} or later: it is shorter.")


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
            known = " or ".join(filter(None, (", ".join(modes[:-1]), modes[-1])))
            raise OptionError(f"{option} goes with --framing {known}, not with '{mode}'. Leave it out.")
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


def check_attributes(spec: GeneratorSpec, attributes: dict[str, float]) -> None:
    """Refuse what the model does not have, before anything is opened; a model that only edits wants to know what."""
    if spec.image is None:
        raise OptionError(f"Model '{spec.name}' generates images from noise and takes no frame. Use engine generate.")
    port = spec.attributes
    if port is None:
        if attributes:
            raise OptionError(f"Model '{spec.name}' has no attributes; --set {', '.join(attributes)} was given.")
        return
    if not attributes:
        example = next((name for name in port.names if not port.is_experimental(name)), port.names[0])
        raise OptionError(
            f"Model '{spec.name}' needs at least one attribute; none was set. Available: {', '.join(port.names)}: "
            f"--set {example.lower()}=1"
        )
    attribute_vector(port, attributes)


def make_folder(target: Path) -> None:
    """Make the folder of an output."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(f"The folder {target.parent} cannot be made: {error.strerror}.") from error


def since(now: int | None, before: int | None) -> int | None:
    """What a count grew by; None where nothing is counted."""
    return None if now is None else now - (before or 0)
