"""A live session: newest frame in, filtered picture out to any number of sinks, for as long as it is left running.

    capture thread ──► queue of one ──► session thread: model, mirror, compare ──► one queue and thread for each sink
         │ lost: again after 0.1, 0.2, … 2 s                 │ no frame: the last picture, marked as stale

The path knows no statistics and no pages: it tells observers what happened. What can change while it runs is in
:class:`~ganlens.engine.controls.Controls` and in :meth:`LiveSession.choose_model`.
"""

from __future__ import annotations

import contextlib
import gc
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from ..controls import Controls, Settings
from ..errors import EngineError, MediaError, OptionError, did_you_mean
from ..faces.framing import FaceFraming
from ..media.base import FrameFormat, FrameSource
from ..media.live.browser import BrowserSource
from ..media.picture_codec import encode_still
from ..model.attributes import attribute_vector, plain
from ..pixels.frame import Frame, blank
from ..pixels.framing import MODES, Framing
from ..session import mirrored
from ..spec import AttributeInput
from .filter import FilterRequest, LiveFilter, ModelChoice, Variant, named_choices, shipped_choices, variants
from .outlet import OpenSink, Outlet
from .policy import LOAD_PERCENT, Policy, SizeState, backoff, choose_size, wait_limit
from .present import compared, marked
from .presets import Presets
from .queue import Captured, Clock, FrameQueue
from .recording import Recorder
from .statistics import Statistics, Window

OpenSource = Callable[[], FrameSource]
SourceState = Literal["opening", "waiting", "live", "stalled", "lost", "ended"]

_USUAL_RATE = Fraction(30)
_REPEATS_PER_S = 10.0
"""How often the last picture is given again while a source is lost: enough for programs that wait for a camera."""
_DECIDE_EVERY_S = 0.1
_MICROSECOND = Fraction(1, 1_000_000)
_SETTLED_S = 1.0
"""From the first filtered picture until all that a session needs is imported and made."""


@dataclass
class SessionOptions:
    """What a session is to do; all of it can be left to the defaults."""

    policy: Policy = "fresh"
    fps: float | None = None
    """Frames per second to hold; None: the source's."""
    size: tuple[int, int] | None = None
    """(height, width) of the network's image; None: chosen, and adapted to the rate."""
    framing: str | None = None
    """"fit", "crop", "tile", "native" or "faces"; None: what suits the model."""
    adaptive: bool = True
    """Whether the network's size follows the rate that can be held."""
    backend: str = "auto"
    threads: int | None = None
    device: int | None = None
    """Which GPU; None: the first, or the CPU."""
    loop: bool = False
    """Whether a file begins again at its end."""
    reconnect: bool = True
    """Whether a lost source is opened again."""
    record_folder: Path = field(default_factory=Path)


class LiveSession:
    """Frames of a live source through a model to sinks; everything may change while it runs.

    >>> with LiveSession(lambda: CameraSource(0), models=["starry"]) as session:
    ...     session.add_sink("camera", lambda format: VirtualCameraSink(None, format))
    ...     session.wait()

    Args:
        open_source: opens the source; called again when it is lost.
        models: names or paths that may be chosen, beside the shipped models; the first one runs.
        controls: attributes, opacity, mirror, ...; by default all at rest.
        options: see :class:`SessionOptions`.
        presets: file of presets 1 to 9; None: none can be saved.
        clock: seconds that do not jump.

    Raises:
        ModelFileError: a named model cannot be used.
    """

    def __init__(
        self,
        open_source: OpenSource,
        *,
        models: list[str] | None = None,
        controls: Controls | None = None,
        options: SessionOptions | None = None,
        presets: Presets | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.options = options or SessionOptions()
        self.controls = controls or Controls()
        self._models = {choice.name: choice for choice in named_choices(models or [])}
        self._shipped_read = False
        self.presets = presets
        self.statistics = Statistics(clock)
        self.version = 0
        """Rises with every change of what :meth:`state` tells, apart from its numbers."""
        self.source_state: SourceState = "opening"
        self.source_message = ""
        self.format: FrameFormat | None = None
        """Format of the source; None until it is known."""
        self.outlets: list[Outlet] = []
        self.framing = self.options.framing
        self._clock = clock
        self._open_source = open_source
        self._source: FrameSource | None = None
        self._queue = FrameQueue(self.options.policy, clock=clock)
        self._stop = threading.Event()
        self._ended = threading.Event()
        self._lock = threading.RLock()
        self._filter = LiveFilter(self.changed, self.options.threads, self.options.device)
        first = next(iter(self._models.values() or self.models.values()), None)
        if first is None:
            raise OptionError("No model that takes an image is shipped with this build; name one: --model model.onnx")
        self._model = first
        self._variants: tuple[Variant, ...] = ()
        self._size_state = SizeState()
        self._busy = Window(1.0, clock)
        self._last_decision = 0.0
        self._asked_for: tuple[object, ...] | None = None
        self._last_arrival = clock()
        self._last_shown: tuple[Frame, Frame] | None = None
        self._number = 0
        self._overrun = 0
        self._last_time = Fraction(-1)
        self._watchers: list[Callable[[], None]] = []
        self._viewers: list[Callable[[Captured], None]] = []
        self.recorder = Recorder(self.options.record_folder, clock, self.changed)
        self._threads = [
            threading.Thread(target=self._capture, name="capture", daemon=True),
            threading.Thread(target=self._run, name="session", daemon=True),
        ]
        self._unwatch = self.controls.watch(lambda _: self.changed())

    # --- life -------------------------------------------------------------------------------------------------------

    def add_sink(self, name: str, open_sink: OpenSink, policy: Policy = "fresh") -> Outlet:
        """Send pictures to one more sink; it is made with the source's format, at the start or when that is known.

        Raises:
            EngineError: the sink cannot be made.
        """
        outlet = Outlet(name, open_sink, policy, self._clock, self.changed)
        if self.format is not None and self._started:
            outlet.open(self.format)
        with self._lock:
            self.outlets.append(outlet)
            if self._started:
                outlet.start()
        self.changed()
        return outlet

    def remove_sink(self, outlet: Outlet) -> None:
        """Send nothing more to a sink, and finish it."""
        with self._lock:
            if outlet in self.outlets:
                self.outlets.remove(outlet)
        outlet.close()
        self.changed()

    @property
    def _started(self) -> bool:
        return self._threads[0].ident is not None

    def open(self) -> None:
        """Open the source, and begin to open the model for its frames; frames do not flow before :meth:`start`, which
        does this if it was not done.

        Raises:
            EngineError: the source cannot be opened; nothing is left open then.
        """
        if self._source is not None:
            return
        try:
            self._source = self._open_source()
            self._note_format(self._source)
            if self.format is not None:
                self._ask_for_model(blank(self.format.pixels, self.format.size, self.format.color))
        except BaseException:
            self.stop()
            raise

    def start(self) -> None:
        """Let frames flow.

        Raises:
            EngineError: the source or a sink cannot be opened; nothing is left open then.
        """
        self.open()
        try:
            if self.format is not None:
                for outlet in self.outlets:
                    outlet.open(self.format)
        except BaseException:
            self.stop()
            raise
        for outlet in self.outlets:
            outlet.start()
        for thread in self._threads:
            thread.start()
        self.changed()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end of the source (a camera never ends); returns whether it ended within ``timeout`` seconds."""
        return self._ended.wait(timeout)

    def wait_for_model(self, timeout: float | None = None) -> bool:
        """Wait until the model that was asked for translates frames, or has failed; returns whether it does within
        ``timeout`` seconds, and at once where none was asked for because no frame is known yet."""
        return self._filter.wait(timeout)

    def stop(self) -> None:
        """End everything: files are finished and play. A second call does nothing."""
        if self._stop.is_set():
            return
        self._stop.set()
        source = self._source
        interrupt = getattr(source, "interrupt", None)
        if interrupt is not None:
            interrupt()
        self._queue.close()
        for thread in self._threads:
            if thread.ident is not None and thread is not threading.current_thread():
                thread.join(5.0)
        if source is not None and not self._threads[0].is_alive():
            source.close()
        self.recorder.stop()
        for outlet in self.outlets:
            outlet.close()
        self._filter.close()
        self._unwatch()
        self._ended.set()
        self.changed()

    def __enter__(self) -> LiveSession:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def watch(self, watcher: Callable[[], None]) -> Callable[[], None]:
        """Call ``watcher`` after each change, in the thread that made it; the result ends that."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher) if watcher in self._watchers else None

    def view(self, viewer: Callable[[Captured], None]) -> Callable[[], None]:
        """Give each picture, with its time of capture, to ``viewer``, which must not wait; the result ends that."""
        self._viewers.append(viewer)
        return lambda: self._viewers.remove(viewer) if viewer in self._viewers else None

    def changed(self) -> None:
        """Tell observers that :meth:`state` tells something new."""
        self.version += 1
        for watcher in list(self._watchers):
            watcher()

    @property
    def source(self) -> FrameSource | None:
        """The source; None while it is lost."""
        return self._source

    @property
    def models(self) -> dict[str, ModelChoice]:
        """The models that may be chosen, by name: those that were named, then the shipped ones, which are read when
        this is used for the first time, so that the first model need not wait for them.

        Raises:
            ModelFileError: a shipped file is damaged.
        """
        with self._lock:
            if not self._shipped_read:
                self._models.update({choice.name: choice for choice in shipped_choices(self._models)})
                self._shipped_read = True
        return self._models

    # --- what users change ------------------------------------------------------------------------------------------

    @property
    def model(self) -> ModelChoice:
        """The model that was asked for last."""
        return self._model

    def choose_model(self, name: str) -> None:
        """Change the model: it opens behind the running one, which stays if the new one fails.

        Raises:
            OptionError: not one of :attr:`models`.
        """
        choice = self.models.get(name)
        if choice is None:
            raise OptionError(f"model: got {name!r}. {did_you_mean(str(name), self.models)}")
        with self._lock:
            # The machine is as fast as before: a new model starts at the size that the last one had, not at the
            # largest, which would stutter first.
            self._model = choice
            self._size_state = SizeState(self._size_state.level)
            self._asked_for = None
        self.changed()

    def choose_framing(self, framing: str | None) -> None:
        """Change how frames enter the model; None: what suits it.

        Raises:
            OptionError: an unknown framing, or one that the model cannot have.
        """
        if framing is not None and framing not in (*MODES, "faces"):
            raise OptionError(f"framing: got {framing!r}. {did_you_mean(str(framing), [*MODES, 'faces'])}")
        with self._lock:
            self._make_variants(self._model, framing)  # refuses what cannot be
            self.framing = framing
            self._size_state = SizeState()
            self._asked_for = None
        self.changed()

    def set_controls(self, **values: Any) -> Settings:
        """Change controls; as :meth:`Controls.set <ganlens.engine.controls.Controls.set>`, but attributes are checked
        against the model, and of names that exclude each other the one set last takes its share from the others.

        Raises:
            OptionError: an unknown control or attribute, or a value outside its range.
        """
        if isinstance(values.get("attributes"), Mapping):
            values["attributes"] = self._checked_attributes(values["attributes"])
        return self.controls.set(**values)

    @contextlib.contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """Take back what the ``with`` block has changed of the model, the framing and the controls, if it raises."""
        model, framing, settings = self._model.name, self.framing, self.controls.snapshot()
        try:
            yield
        except BaseException:
            if self._model.name != model:
                self.choose_model(model)
            if self.framing != framing:
                self.choose_framing(framing)
            now = self.controls.snapshot()
            if now is not settings:
                forgotten = {name: None for name in now.attributes if name not in settings.attributes}
                self.controls.set(**settings.values(), attributes={**forgotten, **settings.attributes})
            raise

    def _checked_attributes(self, given: Mapping[str, Any]) -> dict[str, Any]:
        port = self._model.spec.attributes
        known = {plain(name): name for name in port.names} if port is not None else {}
        result: dict[str, Any] = {}
        for name, value in given.items():
            full = known.get(plain(str(name)))
            if full is None:
                raise OptionError(f"Unknown attribute '{name}'. {did_you_mean(str(name), known.values())}")
            assert port is not None
            lowest, highest = port.bounds(full)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise OptionError(f"Attribute {full}: got {value!r}, expected a number in {lowest:g}..{highest:g}.")
            if value is not None and not lowest <= value <= highest:
                raise OptionError(f"Attribute {full} must be in {lowest:g}..{highest:g}, got {value:g}.")
            result[full] = value
        if port is None:
            return result
        present = {name: value for name, value in self.controls.snapshot().attributes.items() if name in port.names}
        for group in port.groups:
            new = sum(max(value or 0.0, 0.0) for name, value in result.items() if name in group)
            others = [name for name in group if name not in result and present.get(name, 0.0) > 0]
            total = sum(present[name] for name in others)
            if new + total > 1 and total > 0:
                share = max(0.0, 1 - new) / total
                result.update({name: present[name] * share or None for name in others})
        merged = {name: value for name, value in {**present, **result}.items() if value is not None}
        if not port.exactly_one:
            attribute_vector(port, merged)
        return result

    def preset(self) -> dict[str, Any]:
        """The model and the controls as a preset keeps them."""
        settings = self.controls.snapshot()
        controls = {name: getattr(settings, name) for name in ("opacity", "detail", "mirror", "compare", "split")}
        known = self._model.spec.attributes.names if self._model.spec.attributes is not None else ()
        attributes = {name: value for name, value in settings.attributes.items() if name in known}
        return {"model": self._model.name, "controls": {**controls, "attributes": attributes}}

    def save_preset(self, number: int) -> None:
        """Keep the present model and controls under a number from 1 to 9.

        Raises:
            OptionError: another number, or this session has no file for presets.
            MediaError: the file cannot be written.
        """
        self._preset_file().save(number, self.preset())
        self.changed()

    def apply_preset(self, number: int) -> None:
        """Take the model and the controls of a preset.

        Raises:
            OptionError: there is no such preset, or its model is not one of this session's.
        """
        preset = self._preset_file()[number]
        if preset.get("model") != self._model.name:
            self.choose_model(str(preset.get("model")))
        controls = dict(preset.get("controls", {}))
        attributes = controls.pop("attributes", {})
        forgotten = {name: None for name in self.controls.snapshot().attributes if name not in attributes}
        self.controls.set(**controls, attributes={**forgotten, **attributes})

    def _preset_file(self) -> Presets:
        if self.presets is None:
            raise OptionError("This session has no presets file; give one with --preset.")
        return self.presets

    def snapshot(self) -> bytes:
        """The picture shown now, as a PNG file.

        Raises:
            MediaError: there is no picture yet.
        """
        last = self._last_shown
        if last is None:
            raise MediaError("There is no picture yet; try again when the source delivers frames.")
        return encode_still(last[1].to_rgb(), ".png")

    def last_original(self) -> Frame | None:
        """The newest frame as it was captured."""
        last = self._last_shown
        return None if last is None else last[0]

    def start_recording(self, path: Path | None = None, *, overwrite: bool = False) -> Path:
        """Record what is shown; see :meth:`Recorder.start <ganlens.engine.live.recording.Recorder.start>`."""
        last = self._last_shown
        format = self.format
        if last is not None:
            frame = last[1]
            base = format or FrameFormat(frame.size, frame.format)
            format = replace(base, size=frame.size, pixels=frame.format, color=frame.color)
        if format is None:
            raise MediaError("There is no picture yet; start the recording when the source delivers frames.")
        return self.recorder.start(replace(format, rate=self._rate()), path, overwrite=overwrite)

    # --- capture thread ---------------------------------------------------------------------------------------------

    def _capture(self) -> None:
        attempt = 0
        source = self._source
        while not self._stop.is_set():
            if source is None:
                source = self._reopen(attempt)
                attempt += 1
                if source is None:
                    continue
            before = self.statistics.captured
            message = ""
            self.statistics.begun()
            self._set_source("waiting" if isinstance(source, BrowserSource) else "live")
            try:
                for frame, at in self._frames(source):
                    if self._stop.is_set():
                        break
                    self._arrived(source, frame, at)
                else:
                    message = "the stream ended"
            except (EngineError, OSError) as error:
                message = str(error)
            live = source.live
            if self._stop.is_set():
                break
            source.close()
            self._source = source = None
            if not live or not self.options.reconnect:
                self._set_source("ended", message if live else "")
                break
            if self.statistics.captured > before:
                attempt = 0
            self._set_source("lost", message)
        self._queue.close()

    def _reopen(self, attempt: int) -> FrameSource | None:
        if self._stop.wait(backoff(attempt)):
            return None
        try:
            source = self._open_source()
        except (EngineError, OSError) as error:
            self._set_source("lost", str(error))
            return None
        self._source = source
        self._note_format(source)
        self.statistics.reconnects += 1
        return source

    def _frames(self, source: FrameSource) -> Iterator[tuple[Frame, float]]:
        """Frames with their time of capture by the session's clock; those of a file when they are due."""
        monotonic = getattr(source, "monotonic", False)
        while True:
            offset: float | None = None
            for frame in source:
                now = self._clock()
                if source.live:
                    age = now - float(frame.time) if monotonic and frame.time is not None else 0.0
                    yield frame, now - age if 0 <= age < 5 else now
                    continue
                seconds = float(frame.time or 0)
                if offset is None or now - (offset + seconds) > 1:  # the machine slept, or the session cannot follow
                    offset = now - seconds
                if self._stop.wait(max(0.0, offset + seconds - now)):
                    return
                yield frame, max(offset + seconds, now)
            if source.live or not self.options.loop:
                return

    def _arrived(self, source: FrameSource, frame: Frame, at: float) -> None:
        if self.source_state != "live":
            self.statistics.begun()
            self._set_source("live")
        if self.format is None or (self.format.size, self.format.rate) != (frame.size, source.format.rate):
            self._note_format(source, frame)
        self._last_arrival = self._clock()
        self.statistics.arrived()
        overrun = getattr(source, "dropped", 0)
        self._overrun, more = overrun, max(0, overrun - self._overrun)
        self.statistics.captured += more
        self.statistics.dropped["overrun"] += more
        self._number += 1
        self._queue.put(Captured(frame, at, self._number))

    def _note_format(self, source: FrameSource, frame: Frame | None = None) -> None:
        if frame is None and isinstance(source, BrowserSource):  # a page's first picture tells
            return
        format = source.format
        if frame is not None and format.size != frame.size:
            format = replace(format, size=frame.size, pixels=frame.format, color=frame.color)
        with self._lock:
            if self.format is not None and self.format.size != format.size:
                self._size_state = SizeState()
                self._asked_for = None
            self.format = format
        self.changed()

    def _set_source(self, state: SourceState, message: str = "") -> None:
        if (state, message) != (self.source_state, self.source_message):
            self.source_state, self.source_message = state, message
            self.changed()

    # --- session thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            item = self._queue.take(1 / _REPEATS_PER_S)
            if item is not None:
                self._show(item)
            elif self._queue.closed:
                break
            else:
                self._check_stall()
        self._ended.set()
        self.changed()

    def _show(self, item: Captured) -> None:
        began = self._clock()
        settings = self.controls.snapshot()
        frame = self._timed(item)
        if settings.mirror:
            frame = mirrored(frame)
        self._ask_for_model(frame)
        before = self._clock()
        shown = self._filter(frame, settings)
        model_s = self._clock() - before
        if settings.compare != "off" and shown is not frame:
            shown = compared(frame, shown, settings)
        self._last_shown = frame, shown
        now = self._clock()
        self.statistics.shown += 1
        self.statistics.shows.add()
        self.statistics.latency.add(now - item.at)
        self.statistics.model.add(model_s)
        if now - item.at - model_s > 2 / float(self._rate()):
            self.statistics.late += 1
        self._give(Captured(shown, item.at, item.number, origin=item.frame.time))
        if self._filter.running is not None and not settings.bypass:
            self._busy.add(self._clock() - began)
            self._adapt()

    def _timed(self, item: Captured) -> Frame:
        """The frame with its time of capture by the session's clock, which rises from frame to frame."""
        self._last_time = max(round(item.at / _MICROSECOND) * _MICROSECOND, self._last_time + _MICROSECOND)
        return replace(item.frame, time=self._last_time)

    def _give(self, item: Captured) -> None:
        for outlet in list(self.outlets):
            outlet.give(item)
        for viewer in list(self._viewers):
            viewer(item)
        if not item.stale:
            self.recorder.give(item)

    def _check_stall(self) -> None:
        """While the source gives nothing for longer than it may, the sinks get the last picture, marked."""
        if self._clock() - self._last_arrival < wait_limit(1 / float(self._rate())):
            return
        source = self._source
        if isinstance(source, BrowserSource) and not source.attached:
            self._set_source("waiting", "no page provides a camera")
            return
        if self.source_state == "live":
            self.statistics.stalls += 1
            self._set_source("stalled", "no frames from the source")
        last = self._last_shown
        if last is None or self.source_state == "ended":
            return
        self.statistics.repeated += 1
        frame = marked(last[1], "no signal")
        self._last_time = max(round(self._clock() / _MICROSECOND) * _MICROSECOND, self._last_time + _MICROSECOND)
        self._give(Captured(replace(frame, time=self._last_time), self._clock(), self._number, stale=True))

    def _rate(self) -> Fraction:
        """Frames per second that are due."""
        rate = self.format.rate if self.format is not None else None
        rate = rate if rate is not None and 1 <= rate <= 240 else _USUAL_RATE
        return rate if self.options.fps is None else min(rate, Fraction(str(self.options.fps)))

    # --- model and size ---------------------------------------------------------------------------------------------

    def _make_variants(self, choice: ModelChoice, framing: str | None) -> tuple[Variant, ...]:
        name = framing or ("faces" if choice.spec.face_alignment else "fit")
        size = self.format.size if self.format is not None else (480, 640)
        made: Framing | FaceFraming = FaceFraming() if name == "faces" else Framing(name, size=self.options.size)  # type: ignore[arg-type]
        return variants(choice.spec, made, size, fixed=not self.options.adaptive or self.options.size is not None)

    def _ask_for_model(self, frame: Frame) -> None:
        """Let the filter open what is wanted for frames like this one, unless it was asked already."""
        with self._lock:
            wanted = (self._model.name, self.framing, frame.size, self._size_state.level)
            if wanted == self._asked_for:
                return
            changed, self._asked_for = self._asked_for is None, wanted
            model = self._model
            try:
                self._variants = self._make_variants(model, self.framing)
            except EngineError as error:
                self._filter.state, self._filter.message = "failed", str(error)
                self.changed()
                return
            level = min(self._size_state.level, len(self._variants) - 1)
            kept = self._filter.kept(model) if changed else None
            if kept in self._variants:  # it is open already, and its size held the rate
                level = self._variants.index(kept)
            if level != self._size_state.level:
                self._size_state = SizeState(level)
                self._asked_for = (*wanted[:3], level)
            # "auto" would time the backends beside the running model, which slows that one down and misleads the
            # timing: what was found to be fastest for it is taken first.
            found = self._filter.backend if self.options.backend == "auto" else ""
            backends = (found, "auto") if found else (self.options.backend,)
        self._filter.request(FilterRequest(model, self._variants[level], level, backends), frame)

    def _adapt(self) -> None:
        now = self._clock()
        running = self._filter.running
        if now - self._last_decision < _DECIDE_EVERY_S or running is None or len(self._variants) < 2:
            return
        self._last_decision = now
        with self._lock:
            if self._filter.state != "ready" or running.level != self._size_state.level:
                self._busy.clear()  # frames beside a model that opens are slower than usual
                return
            busy = self._busy.percentile(LOAD_PERCENT)
            if busy is None or self._busy.count() < 3:
                return
            areas = [variant.area for variant in self._variants]
            state = choose_size(self._size_state, busy * float(self._rate()), now, areas)
            changed = state.level != self._size_state.level
            self._size_state = state
        if changed:
            self._busy.clear()
            self.changed()

    # --- report -----------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything that a page, a terminal or a program shows, as JSON can hold it."""
        statistics, settings = self.statistics, self.controls.snapshot()
        running = self._filter.running
        delivering = self.source_state == "live"
        rate = self.format.rate if self.format is not None else None
        return {
            "version": self.version,
            "source": {
                "state": self.source_state,
                "message": self.source_message or None,
                "connection": statistics.connection(rate, delivering=delivering),
                "size": _wh(self.format.size if self.format is not None else None),
                "rate": None if rate is None else round(float(rate), 3),
                "notes": list(self._source.notes) if self._source is not None else [],
            },
            "model": {
                "name": self._model.name,
                "running": None if running is None else running.model.name,
                "state": self._filter.state,
                "message": self._filter.message or None,
                "backend": self._filter.backend or None,
                "framing": self.framing,
                "size": _wh(running.variant.size if running is not None else None),
                "level": running.level if running is not None else 0,
                "levels": max(1, len(self._variants)),
                "adaptive": len(self._variants) > 1,
            },
            "models": [_described(choice) for choice in self.models.values()],
            "controls": {
                "attributes": dict(settings.attributes),
                **settings.values(),
            },
            "presets": self.presets.state() if self.presets is not None else None,
            "recording": self.recorder.state(),
            "sinks": [
                {
                    "name": outlet.name,
                    "state": outlet.state,
                    "message": outlet.message or None,
                    "written": outlet.written,
                    "dropped": outlet.dropped,
                }
                for outlet in self.outlets
            ],
            "counters": {
                "captured": statistics.captured,
                "shown": statistics.shown,
                "repeated": statistics.repeated,
                "late": statistics.late,
                "stalls": statistics.stalls,
                "reconnects": statistics.reconnects,
                "dropped": dict(self._queue.dropped + statistics.dropped),
            },
            "timing": {
                "fps_in": round(statistics.arrivals.rate(), 2),
                "fps_out": round(statistics.shows.rate(), 2),
                "latency_ms": _percentiles(statistics.latency),
                "model_ms": _percentiles(statistics.model),
                "drawn_ms": _percentiles(statistics.drawn),
            },
        }


def freeze_when_ready(session: LiveSession) -> None:
    """Exempt from garbage collection what exists shortly after the first model runs, and collect as Python usually
    does from then on; for a process that does nothing but run this session.

    A full collection looks at every object and stops all threads meanwhile: 45 ms for the 65,000 objects of a session
    with its page (2 cores of an Intel Xeon, Python 3.11), more than a frame's period. One comes every 20 minutes or so.
    """

    def settle() -> None:
        gc.collect()
        gc.freeze()
        gc.set_threshold(700, 10, 10)  # at that of the command line's start garbage would wait for an hour

    def check() -> None:
        if session._filter.state == "ready":
            unwatch()
            timer = threading.Timer(_SETTLED_S, settle)
            timer.daemon = True
            timer.start()

    unwatch = session.watch(check)


def _percentiles(window: Window) -> dict[str, float | None]:
    values = {name: window.percentile(percent) for name, percent in (("p50", 50), ("p95", 95))}
    return {name: None if value is None else round(1000 * value, 2) for name, value in values.items()}


def _wh(size: tuple[int, int] | None) -> list[int] | None:
    """[width, height], as people and browsers say it."""
    return None if size is None else [size[1], size[0]]


def _attribute(port: AttributeInput, name: str) -> dict[str, Any]:
    """What a slider needs: its ends, and where it stands while the attribute is not set."""
    lowest, highest = port.bounds(name)
    experimental = port.is_experimental(name)
    return {"name": name, "lowest": lowest, "highest": highest, "rest": port.rest(name), "experimental": experimental}


def _described(choice: ModelChoice) -> dict[str, Any]:
    port = choice.spec.attributes
    return {
        "name": choice.name,
        "architecture": choice.spec.architecture,
        "faces": bool(choice.spec.face_alignment),
        "detail": choice.spec.detail,
        "attributes": [] if port is None else [_attribute(port, name) for name in port.names],
        "groups": [] if port is None else [list(group) for group in port.groups],
        "note": choice.spec.training.note if choice.spec.training is not None else "",
    }
