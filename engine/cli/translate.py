"""``engine translate``: a video, a picture or many pictures through one generator."""

from __future__ import annotations

import re
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from ..errors import EngineError, MediaError, OptionError
from ..faces import FaceFraming
from ..media import RawSink, RawSource, VideoSink, VideoSource
from ..media.file.hardware import DecoderName, EncoderName
from ..media.pictures import check_target, list_images, read_image, write_image
from ..model import find_model, read_model_spec
from ..model.attributes import attribute_notes, plain
from ..model.description import parse_value_range
from ..pixels.frame import Frame, side_by_side
from ..pixels.framing import Framing
from ..spec import GeneratorSpec
from ..threads import Writer, prefetch
from ..timing import StageTimes
from ..translator import Translator
from .cpu_budget import ThreadBudget
from .interrupt import INTERRUPTED, terminate_as_interrupt
from .progress import FrameProgress, plan_progress
from .report import write_record


@dataclass(frozen=True)
class Job:
    """What the command line asked for; see ``engine translate --help``."""

    video: str | None
    image: Path | None
    images: str | None
    output: str | None
    model: str
    framing: str | None
    region: str | None
    size: str | None
    feather: float | None
    overlap: float
    max_faces: int | None
    detect_every: int | None
    steady: float | None
    detail: float | None
    opacity: float
    settings: list[str] | None
    backend: str
    value_range: str | None
    raw: str | None
    hdr: Literal["error", "tonemap"]
    start: float | None
    duration: float | None
    compare: bool
    codec: str | None
    crf: float | None
    preset: str
    decoder: DecoderName
    encoder: EncoderName
    threads: int | None
    in_flight: int | None
    batch: int | None
    encoder_threads: int | None
    decoder_threads: int | None
    spin: bool
    strict: bool
    json_output: str | None
    overwrite: bool
    quiet: bool

    def attributes(self) -> dict[str, float]:
        """``--set`` as values by name."""
        values: dict[str, float] = {}
        given: set[str] = set()
        for setting in self.settings or []:
            name, _, text = setting.partition("=")
            try:
                values[name.strip()] = float(text)
            except ValueError:
                raise OptionError(f"--set {setting}: expected NAME=VALUE, for example smiling=0.5.") from None
            if plain(name) in given:
                raise OptionError(f"--set {setting}: {name.strip()} was given before; give each attribute once.")
            given.add(plain(name))
        return values

    def make_framing(self, spec: GeneratorSpec) -> Framing | FaceFraming:
        """The framing options as one object; by default what suits the model with record ``spec``."""
        of_faces = {"max_faces": self.max_faces, "detect_every": self.detect_every, "steady": self.steady}
        given = {name: value for name, value in of_faces.items() if value is not None}
        mode = self.framing or ("faces" if spec.face_alignment else "fit")
        if mode == "faces":
            for option, value in (("--region", self.region), ("--size", self.size)):
                if value is not None:
                    raise OptionError(f"{option} does not go with framing 'faces': faces are found. Leave it out.")
            return FaceFraming(**given, feather=self.feather)  # type: ignore[arg-type]
        if given:
            option = "--" + next(iter(given)).replace("_", "-")
            raise OptionError(f"{option} goes with --framing faces, not with '{mode}'.")
        region = size = None
        if self.region is not None:
            x, y, width, height = _integers("--region", self.region, ",", ("X", "Y", "W", "H"))
            region = (x, y, width, height)
        if self.size is not None:
            width, height = _integers("--size", self.size, "x", ("W", "H"))
            size = (height, width)
        return Framing(mode, region=region, size=size, feather=self.feather, overlap=self.overlap)  # type: ignore[arg-type]


def run(job: Job) -> int:
    """Do the job; returns the exit status."""
    given = [name for name in ("video", "image", "images") if getattr(job, name) is not None]
    if len(given) != 1:
        came = " and ".join(f"--{name}" for name in given) or "none of them"
        raise typer.BadParameter(f"give one of --video, --image and --images; {came} came.")
    _refuse_misplaced(job)
    console = Console(stderr=True, quiet=job.quiet, highlight=False)
    with terminate_as_interrupt():
        if job.video is not None:
            return _translate_video(job, job.video, console)
        return _translate_pictures(job, console)


# --- video -----------------------------------------------------------------------------------------------------------


def _translate_video(job: Job, path: str, console: Console) -> int:
    output = job.output or _default_output(Path("stdin.mp4" if path == "-" else path), job.model)
    _refuse_same_file(path, output)
    _refuse_coders(job, decoded=path != "-", encoded=output != "-")
    attributes = job.attributes()
    budget = ThreadBudget.plan(
        network=job.threads,
        in_flight=job.in_flight or (1 if "-" in (path, output) else None),  # a pipe may be live: no frame waits
        encoder=job.encoder_threads,
        decoder=job.decoder_threads,
    )
    times = StageTimes()
    with ExitStack() as stack:
        source: VideoSource | RawSource
        if path == "-":
            source = stack.enter_context(RawSource(sys.stdin.buffer, **_bare_frames(job.raw)))
        else:
            source = stack.enter_context(
                VideoSource(
                    path,
                    start=job.start,
                    duration=job.duration,
                    threads=budget.decoder,
                    decoder=job.decoder,
                    hdr=job.hdr,
                )
            )
        if job.start is not None and source.file is not None and source.file.duration == 0:
            raise _beyond_the_end(path, job.start)
        translator = stack.enter_context(_open(job, source.format.size, budget.network, budget.in_flight, times))
        format = source.format
        if job.compare:
            height, width = format.size
            format = replace(format, size=(height, 2 * (width - (width % 2 if format.pixels != "rgb24" else 0))))
        sink: VideoSink | RawSink
        if output == "-":
            sink = stack.enter_context(RawSink(sys.stdout.buffer, format))
        else:
            sink = stack.enter_context(
                VideoSink(
                    output,
                    format,
                    origin=source,
                    codec=job.codec,
                    crf=job.crf,
                    preset=job.preset,
                    threads=budget.encoder,
                    encoder=job.encoder,
                    overwrite=job.overwrite,
                )
            )
        coders = {
            "decoder": source.decoder if isinstance(source, VideoSource) else None,
            "encoder": sink.encoder if isinstance(sink, VideoSink) else None,
        }
        notes = [*source.notes, *sink.notes, *attribute_notes(translator.spec.attributes, attributes)]
        _say(console, translator, notes, [coder.line for coder in coders.values() if coder])
        progress = FrameProgress(console, source.frames, times, quiet=job.quiet)
        interrupted = False

        def encode(frame: Frame) -> None:
            with times.measure("encode"):
                sink.write(frame)

        originals: deque[Frame] = deque()

        def remembered(frames: Iterable[Frame]) -> Iterator[Frame]:
            for frame in frames:
                originals.append(frame)
                yield frame

        broken: list[MediaError] = []

        def whole(frames: Iterable[Frame]) -> Iterator[Frame]:
            """Those before a pipe breaks, which nobody can read again."""
            try:
                yield from frames
            except MediaError as error:
                broken.append(error)

        given = whole(source) if path == "-" else source
        with closing(prefetch(times.iterate("decode", given))) as decoded:
            frames = translator.stream(remembered(decoded) if job.compare else decoded, **attributes)
            try:
                with closing(frames), progress, Writer(encode) as writer:
                    for frame in frames:
                        writer.write(side_by_side(originals.popleft(), frame) if job.compare else frame)
                        progress.advance()
            except KeyboardInterrupt:
                interrupted = True
        if not sink.frames and interrupted:
            raise KeyboardInterrupt  # nothing to keep
        if not sink.frames and broken:
            raise broken[0]
        if not sink.frames and job.start is not None:
            raise _beyond_the_end(path, job.start)
        sink.close(complete=not interrupted)
        seconds = progress.seconds
    notes = [*source.notes, *sink.notes]
    if interrupted:
        notes.append(f"Stopped after {progress.frames} frames; the file is finished there and plays.")
        console.print(notes[-1], markup=False, soft_wrap=True)
    for error in broken:
        notes.append(f"{error} The {progress.frames} frames before are kept.")
        _complain(notes[-1])
    names = {role: coder.name if coder else None for role, coder in coders.items()}
    _report(job, console, output, progress.frames, seconds, times, translator, notes, names)
    return INTERRUPTED if interrupted else 1 if broken else 0


_MOST_NOTES = 8
"""Lines about single pictures, unless asked for all."""


# --- pictures --------------------------------------------------------------------------------------------------------


def _translate_pictures(job: Job, console: Console) -> int:
    _refuse_coders(job, decoded=False, encoded=False)
    if job.image is not None:
        target = Path(job.output or _default_output(job.image, job.model))
        _refuse_same_file(str(job.image), str(target))
        check_target(target, overwrite=job.overwrite)
        pairs = [(job.image, target)]
    else:
        assert job.images is not None
        folder = Path(job.output or f"translated-{Path(job.model).stem}")
        if folder.exists() and not folder.is_dir():
            raise MediaError(f"{folder} is a file; --images writes many pictures and needs a folder.")
        pairs = [(path, folder / path.name) for path in list_images(job.images)]
        _refuse_same_names(pairs)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MediaError(f"The folder {folder} cannot be made: {error.strerror}.") from error
        for path, target in pairs:
            _refuse_same_file(str(path), str(target))
    attributes = job.attributes()
    budget = ThreadBudget.plan(network=job.threads)
    times = StageTimes()
    failed = []
    notes: list[str] = []
    interrupted = False
    first = _first_size(pairs)
    with _open(job, first, budget.network, 1, times) as translator:
        _say(console, translator, attribute_notes(translator.spec.attributes, attributes))
        quiet = job.quiet or len(pairs) == 1
        with FrameProgress(console, len(pairs), times, quiet=quiet, what="pictures") as progress:
            try:
                for path, target in pairs:
                    try:
                        check_target(target, overwrite=job.overwrite)
                        with times.measure("decode"):
                            frame = read_image(path, notes)
                        result = translator(frame, **attributes)
                        with times.measure("encode"):
                            shown = side_by_side(frame, result) if job.compare else result
                            write_image(target, shown, overwrite=job.overwrite)
                    except EngineError as error:
                        if len(pairs) == 1:
                            raise
                        failed.append(path)
                        _complain(str(error))
                        continue
                    progress.advance()
            except KeyboardInterrupt:
                interrupted = True
            seconds = progress.seconds
    output = str(pairs[0][1] if job.image is not None else pairs[0][1].parent)
    if failed:
        notes.insert(0, f"{len(failed)} of {len(pairs)} pictures failed")
    for note in notes[:_MOST_NOTES]:
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    if len(notes) > _MOST_NOTES:
        console.print(f"note: {len(notes) - _MOST_NOTES} more of these; --json has them all", markup=False)
    _report(job, console, output, progress.frames, seconds, times, translator, notes)
    return INTERRUPTED if interrupted else 1 if failed else 0


def _first_size(pairs: list[tuple[Path, Path]]) -> tuple[int, int] | None:
    """Size of the first readable picture, so that the backend is warmed up for it."""
    for path, _ in pairs:
        try:
            return read_image(path).size
        except EngineError:
            if len(pairs) == 1:
                raise
    return None


# --- shared ----------------------------------------------------------------------------------------------------------


def _open(job: Job, frame_size: tuple[int, int] | None, threads: int, in_flight: int, times: StageTimes) -> Translator:
    value_range = parse_value_range(job.value_range) if job.value_range else None
    spec = read_model_spec(find_model(job.model), value_range=value_range)
    with plan_progress(Console(stderr=True, quiet=job.quiet, highlight=False), quiet=job.quiet):
        translator = Translator.open(
            job.model,
            backend=job.backend,
            framing=job.make_framing(spec),
            detail=job.detail,
            opacity=job.opacity,
            threads=threads,
            in_flight=in_flight,
            spin=job.spin,
            strict=job.strict,
            value_range=value_range,
            frame_size=frame_size,
            batch=job.batch,
        )
    translator.times = times
    return translator


def _complain(problem: str) -> None:
    """An error after which the work goes on; said even if quiet."""
    Console(stderr=True, highlight=False).print(f"error: {problem}", markup=False, soft_wrap=True)


def _say(console: Console, translator: Translator, notes: list[str], coders: list[str] | None = None) -> None:
    """Which backend, decoder and encoder run, why the better ones do not, and what a user should know of the input."""
    choice = translator.choice
    for line in (*(choice.lines if choice else ()), *filter(None, coders or ())):
        console.print(line, style="dim", soft_wrap=True, markup=False)
    for note in notes:
        console.print(f"note: {note}", soft_wrap=True, markup=False)


def _report(
    job: Job,
    console: Console,
    output: str,
    frames: int,
    seconds: float,
    times: StageTimes,
    translator: Translator,
    notes: list[str],
    coders: dict[str, str | None] | None = None,
) -> None:
    if translator.frames_with_faces is not None:
        what = "frames" if job.video is not None else "pictures"
        notes = [*notes, f"{translator.frames_with_faces} of {frames} {what} show a face"]
        console.print(f"note: {notes[-1]}", markup=False, soft_wrap=True)
    stages = times.summary()
    fps = frames / seconds if seconds else 0.0
    if stages:
        table = Table(box=None, pad_edge=False)
        table.add_column("stage")
        for column in ("p50 ms", "p95 ms", "p99 ms", "share"):
            table.add_column(column, justify="right")
        whole = sum(row.total_s for row in stages.values()) or 1.0
        for name, row in stages.items():
            share = f"{100 * row.total_s / whole:.0f} %"
            table.add_row(name, f"{row.p50_ms:.2f}", f"{row.p95_ms:.2f}", f"{row.p99_ms:.2f}", share)
        console.print(table)
    what, rate = ("frames", "fps") if job.video is not None else ("pictures", "per second")
    console.print(
        f"{frames} {what} in {seconds:.1f} s ({fps:.1f} {rate}) on {translator.backend.name}: {output}",
        soft_wrap=True,
        markup=False,
    )
    if job.json_output is None:
        return
    record: dict[str, Any] = {
        "input": job.video or (str(job.image) if job.image else job.images),
        "output": output,
        "model": translator.spec.name,
        "backend": translator.backend.name,
        "device": translator.backend.device,
        "batch": translator.batch,
        **(coders or {}),
        "frames": frames,
        "seconds": seconds,
        "fps": fps,
        "stages": {name: row._asdict() for name, row in stages.items()},
        "notes": notes,
    }
    write_record(job.json_output, record, stream=sys.stderr if output == "-" else sys.stdout)


def _default_output(path: Path, model: str) -> str:
    """Beside where the user stands: ``clip-monet.mp4``."""
    return f"{path.stem}-{Path(model).stem}{path.suffix}"


def _bare_frames(text: str | None) -> dict[str, Any]:
    """``--raw 1280x720@30:nv12`` as the arguments of :class:`RawSource`."""
    if text is None:
        return {}
    found = re.fullmatch(r"(\d+)x(\d+)@([\d./]+)(?::(\w+))?", text)
    try:
        assert found is not None
        width, height, rate, pixel_format = found.groups()
        return {"size": (int(height), int(width)), "rate": Fraction(rate), "format": pixel_format or "yuv420p"}
    except (AssertionError, ValueError, ZeroDivisionError):
        raise OptionError(
            f"--raw {text}: expected WxH@RATE or WxH@RATE:FORMAT, for example 1280x720@30:nv12."
        ) from None


def _refuse_same_file(source: str, target: str) -> None:
    if "-" in (source, target):
        return
    if Path(target).is_dir():
        raise MediaError(f"{target} is a folder; -o needs the name of a file here.")
    if Path(target).exists() and Path(source).exists() and Path(target).samefile(source):
        raise OptionError(f"{target} is the input itself; give another output with -o.")


def _refuse_coders(job: Job, *, decoded: bool, encoded: bool) -> None:
    """A decoder or encoder that was asked for by name, where nothing is there for it to do."""
    for option, name, used in (("--decoder", job.decoder, decoded), ("--encoder", job.encoder, encoded)):
        if name not in ("auto", "cpu") and not used:
            raise OptionError(f"{option} {name} goes with video files, not with pictures or pipes. Leave it out.")


def _beyond_the_end(path: str, start: float) -> MediaError:
    return MediaError(f"{path} has no frame at --start {start:g} or later: it is shorter.")


def _refuse_misplaced(job: Job) -> None:
    """An option that would say nothing about this input or output."""
    pipes_in, pipes_out = job.video == "-", job.output == "-"
    of_videos = ("raw", "start", "duration", "codec", "crf", "in_flight", "encoder_threads", "decoder_threads")
    misplaced: list[tuple[tuple[str, ...], str, bool]] = [
        (of_videos, "goes with --video", job.video is None),
        (("raw",), "describes standard input; it goes with --video -", not pipes_in),
        (("start", "duration"), "goes with a file, not with a pipe", pipes_in),
        (("codec", "crf"), "goes with a file, not with a pipe", pipes_out),
    ]
    for names, why, wrong in misplaced:
        for name in names:
            if wrong and getattr(job, name) is not None:
                raise OptionError(f"--{name.replace('_', '-')} {why}. Leave it out.")


def _refuse_same_names(pairs: list[tuple[Path, Path]]) -> None:
    """Pictures of several folders that would become one file."""
    before: dict[Path, Path] = {}
    for path, target in pairs:
        if target in before:
            raise OptionError(f"{before[target]} and {path} would both become {target}. Take one folder at a time.")
        before[target] = path


def _integers(option: str, text: str, separator: str, names: tuple[str, ...]) -> list[int]:
    parts = text.lower().split(separator)
    try:
        values = [int(part) for part in parts]
    except ValueError:
        values = []
    if len(values) != len(names):
        raise OptionError(f"{option} {text}: expected {separator.join(names)} in whole pixels.")
    return values
