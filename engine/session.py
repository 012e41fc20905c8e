"""Session: frames from a source, through a translator, into a sink, with every stage in a thread of its own.

    with open_source("clip.mp4") as source, Translator.open("starry", frame_size=source.format.size) as translator:
        with open_sink("painted.mp4", source.format, origin=source) as sink:
            report = Session(source, translator, sink).run()
    print(report.frames, report.fps)

Decoding and encoding overlap with the network, a few frames apart; memory does not grow with the length. Every frame of
a file is translated; of a live source, where the network does not follow, the newest ones are.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from .controls import Controls, Settings
from .errors import MediaError, ShapeError
from .media.base import DeviceSource, FrameFormat, FrameSink, FrameSource
from .pixels.frame import Frame, side_by_side
from .threads import Counts, Policy, Writer, prefetch
from .timing import StageSummary, StageTimes


class FrameTranslator(Protocol):
    """What a session wants of a translator: :class:`~ganlens.engine.Translator` has it."""

    times: StageTimes

    def stream(self, frames: Iterable[Frame], *, controls: Controls) -> Generator[Frame, None, None]:
        """Translate frames in their order, each under the settings of its moment."""
        ...


@dataclass(frozen=True)
class Report:
    """What a session did."""

    frames: int
    """Frames written."""
    seconds: float
    """From the first request for a frame to the sink's last."""
    stages: dict[str, StageSummary] = field(default_factory=dict)
    """Times per stage; see :class:`~ganlens.engine.StageTimes`."""
    notes: tuple[str, ...] = ()
    """What a user should know of source, sink and end; those that arose while frames flowed are among them."""
    stopped: bool = False
    """Whether it was stopped before the source ended; the output is finished there."""
    dropped: int = 0
    """Frames of a live source that were dropped because translation was slower."""
    error: MediaError | None = None
    """Why the source ended early, where there is nothing more to read; the frames before are written."""

    @property
    def fps(self) -> float:
        """Frames per second of the whole session."""
        return self.frames / self.seconds if self.seconds > 0 else 0.0


class Session:
    """One run from a source to a sink.

    The session does not open or free what it is given: the source and the translator stay open, and the sink is closed
    (``complete`` unless the session was stopped), or aborted after an error.

    Args:
        source: where frames come from.
        translator: what changes them; None passes them through.
        sink: where they go. Its format is :func:`output_format` of the source's.
        controls: settings that may change while it runs; by default those of a fresh :class:`Controls`.
        on_frame: called with the number of frames so far after each frame that was handed to the sink.
        times: of a source that makes its frames itself, such as a walk; the sink's are added. None: the translator's,
            and the source's as stage "decode".
        before: frames that the sink has from an earlier run, for the notes.
    """

    def __init__(
        self,
        source: FrameSource,
        translator: FrameTranslator | None,
        sink: FrameSink,
        controls: Controls | None = None,
        *,
        on_frame: Callable[[int], object] | None = None,
        times: StageTimes | None = None,
        before: int = 0,
    ) -> None:
        self.source = source
        self.translator = translator
        self.sink = sink
        self.controls: Controls = controls or Controls()
        self.times: StageTimes = times or (translator.times if translator is not None else StageTimes())
        self._measured = times is None
        self._on_frame = on_frame
        self._frames = 0
        self._before = before
        self._seconds = 0.0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._outcome: Report | BaseException | None = None
        self._began = False
        start = self.controls.snapshot()
        self._counts = Counts()
        self._side = start.compare == "side"
        self._keep = self._side or start.compare == "split" or controls is not None
        """Whether originals are kept until their translation is shown: they may be asked for at any moment."""
        gpu: int | None = getattr(translator, "frames_on_gpu", None)
        self.on_device: bool = (
            gpu is not None
            and start.compare == "off"
            and not start.mirror
            and isinstance(source, DeviceSource)
            and source.keep_on_device(gpu)
        )
        """Whether frames stay in the GPU's memory, from the decoder on."""

    @property
    def frames(self) -> int:
        """Frames handed to the sink so far."""
        return self._frames

    def run(self) -> Report:
        """Run to the source's end, to :meth:`stop`, or to Ctrl-C; then finish the sink.

        Raises:
            EngineError: a stage failed; the sink has been aborted. A source that cannot be read again (a pipe, a
                camera) or that is cut off is no reason to lose the frames before: its error is then in the report.
            KeyboardInterrupt: it was stopped before the first frame.
        """
        if self._began:
            raise RuntimeError("A session can run only once; create another one.")
        self._began = True
        stopped = False
        failures: list[MediaError] = []
        began = time.perf_counter()
        try:
            try:
                self._pump(failures)
            except KeyboardInterrupt:
                stopped = True
            self._seconds = time.perf_counter() - began
            stopped = stopped or self._stop.is_set()
            if not self._frames:
                if stopped:
                    raise KeyboardInterrupt  # there is nothing to keep
                if failures:
                    raise failures[0]
            self.sink.close(complete=not stopped)
        except BaseException:
            self.sink.abort()
            raise
        notes = [*self.source.notes, *self.sink.notes, *getattr(self.translator, "notes", ())]
        if stopped:
            notes.append(f"Stopped after {self._before + self._frames} frames; the output is finished there and plays.")
        if self._counts.dropped:
            notes.append(
                f"{self._counts.dropped} frames of the live source were dropped: it is faster than the translation. "
                "A smaller --size or another --backend follows."
            )
        notes += [f"{error} The {self._before + self._frames} frames before it are kept." for error in failures]
        return Report(
            self._frames,
            self._seconds,
            self.times.summary(),
            tuple(notes),
            stopped,
            self._counts.dropped,
            failures[0] if failures else None,
        )

    def start(self) -> Session:
        """Run in a thread of its own; :meth:`stop` or :meth:`wait` gives the report."""

        def work() -> None:
            try:
                self._outcome = self.run()
            except BaseException as error:
                self._outcome = error

        self._thread = threading.Thread(target=work, name="session", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> Report:
        """End a started session after the frames under way, and finish the sink."""
        self._stop.set()
        return self.wait()

    def wait(self, timeout: float | None = None) -> Report:
        """Wait for the end of a started session.

        Raises:
            EngineError: as of :meth:`run`.
            TimeoutError: it still runs after ``timeout`` seconds.
        """
        if self._thread is None:
            raise RuntimeError("The session was not started.")
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise TimeoutError(f"The session is still running after {timeout} s.")
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        assert self._outcome is not None
        return self._outcome

    def _pump(self, failures: list[MediaError]) -> None:
        originals: deque[Frame] = deque()
        given: Iterator[Frame] = self._until_stopped(failures)
        if self._measured:
            given = self.times.iterate("decode", given)
        policy: Policy = "latest" if self.source.live else "wait"
        with closing(prefetch(given, policy=policy, counts=self._counts)) as decoded:
            frames: Generator[Frame, None, None]
            if self.translator is None:
                frames = decoded
            else:
                taken = _remembered(decoded, originals) if self._keep else decoded
                frames = self.translator.stream(taken, controls=self.controls)
            with closing(frames), Writer(self._write) as writer:
                for frame in frames:
                    original = originals.popleft() if originals else frame
                    writer.write(self._shown(original, frame))
                    self._frames += 1
                    del original, frame  # or the pool would see the pictures in use during the next ones
                    if self._on_frame is not None:
                        self._on_frame(self._frames)

    def _until_stopped(self, failures: list[MediaError]) -> Iterator[Frame]:
        """The source's frames, until :meth:`stop`, or until a source fails that cannot be read again."""
        iterator = iter(self.source)
        try:
            while not self._stop.is_set():
                try:
                    frame = next(iterator)
                except StopIteration:
                    return
                except MediaError as error:
                    if self.source.file is not None and not error.at_end:
                        raise
                    failures.append(error)
                    return
                yield frame
                del frame
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()

    def _write(self, frame: Frame) -> None:
        with self.times.measure("encode"):
            self.sink.write(frame)

    def _shown(self, original: Frame, frame: Frame) -> Frame:
        settings = self.controls.snapshot()
        if self._side != (settings.compare == "side"):  # the sink's size was settled before the first frame
            settings = replace(settings, compare="side" if self._side else "split")
        return shown(original, frame, settings)


def shown(original: Frame, translated: Frame, settings: Settings) -> Frame:
    """What is shown of a frame: the translation, mirrored or beside its original as the settings say.

    Neither frame is changed; without mirror and comparison the translated frame itself is returned.

    Raises:
        ShapeError: the frames differ in size or format.
    """
    frame = translated
    if settings.compare != "off":
        if (original.size, original.format) != (translated.size, translated.format):
            raise ShapeError(
                f"cannot compare a frame {original.size} {original.format} with {translated.size} {translated.format}"
            )
        if settings.compare == "side":
            frame = side_by_side(original, translated)
        else:
            frame = split_screen(original, translated, settings.split)
    return mirrored(frame) if settings.mirror else frame


def output_format(format: FrameFormat, settings: Settings) -> FrameFormat:
    """The format of what :func:`shown` makes of frames of ``format``: twice as wide side by side."""
    if settings.compare != "side":
        return format
    height, width = format.size
    return replace(format, size=(height, 2 * (width - (width % 2 if format.pixels != "rgb24" else 0))))


def split_screen(left: Frame, right: Frame, share: float) -> Frame:
    """The left part of one frame beside the right part of another; the seam is at an even column."""
    width = left.size[1]
    column = min(width, 2 * round(share * width / 2))
    result = right.copy()
    for source, target in zip(left.planes, result.planes, strict=True):
        columns = column if source.shape[1] == width else column // 2
        np.copyto(target[:, :columns], source[:, :columns])
    return result


def mirrored(frame: Frame) -> Frame:
    """Flipped left to right. Frames of odd width in a subsampled format shift their chroma by half a sample."""
    result = frame.copy()
    for source, target in zip(frame.planes, result.planes, strict=True):
        np.copyto(target, source[:, ::-1])
    return result


def _remembered(frames: Iterable[Frame], originals: deque[Frame]) -> Iterator[Frame]:
    for frame in frames:
        originals.append(frame)
        yield frame
        del frame
