"""The model of a live session: opened and warmed up behind the running one, and exchanged between two frames."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal

from .. import model as models
from ..controls import Controls, Settings
from ..errors import EngineError, OptionError
from ..faces.framing import FaceFraming
from ..model import Model
from ..model.attributes import plain
from ..pixels.frame import Frame, blank, kind_of
from ..pixels.framing import Framing
from ..pushed import PushedStream
from ..spec import GeneratorSpec
from ..translator import Translator

AREAS = (1.0, 0.75, 0.56, 0.42, 0.32, 0.25)
"""Shares of the network's full area among which a session chooses. Below half of each side a picture is not worth
looking at: a machine that is too slow for that shows fewer frames."""
KEPT = 2
"""Models beside the running one that stay open after they were exchanged: the way back to one takes no opening."""
_DETECT_EVERY = (10, 15, 22, 30)
"""Frames from one search for faces to the next, from the best to the cheapest."""

FilterState = Literal["none", "opening", "ready", "failed"]


@dataclass(frozen=True)
class ModelChoice:
    """A model that may be chosen in a session."""

    name: str
    file: Model
    """Read once: every network of the session is opened from the same bytes."""

    @property
    def spec(self) -> GeneratorSpec:
        """The generator's record."""
        return self.file.spec


@dataclass(frozen=True)
class Variant:
    """One way to run a model: how frames enter it, and what that costs."""

    framing: Framing | FaceFraming
    size: tuple[int, int] | None
    """(height, width) of the network's image; None where tiles or faces decide."""
    area: float
    """Cost as a share of the first variant's."""


@dataclass(frozen=True)
class FilterRequest:
    """A model and how it is to run."""

    model: ModelChoice
    variant: Variant
    level: int = 0
    backends: tuple[str, ...] = ("auto",)
    """Tried in this order; what does not open the last one is the error."""


def named_choices(named: list[str]) -> list[ModelChoice]:
    """The models that a user named, by name or path.

    Raises:
        UnknownModel, ModelFileError: one cannot be used.
        OptionError: it makes pictures from noise.
    """
    result: dict[str, ModelChoice] = {}
    for given in named:
        model = models.open(given)
        if model.spec.image is None:
            raise OptionError(f"Model '{given}' makes images from noise; a live filter needs one that takes an image.")
        name = model.path.stem
        while name in result and result[name].file.path != model.path:
            name += "_"
        result[name] = ModelChoice(name, model)
    return list(result.values())


def shipped_choices(without: Collection[str] = ()) -> list[ModelChoice]:
    """The shipped models that take a picture, but for those of the names in ``without``.

    Raises:
        ModelFileError: a shipped file is damaged.
    """
    files = [(path.stem, models.open(path)) for path in models.shipped_paths() if path.stem not in without]
    return [ModelChoice(name, model) for name, model in files if model.spec.image is not None]


def variants(
    spec: GeneratorSpec, framing: Framing | FaceFraming, frame_size: tuple[int, int], *, fixed: bool = False
) -> tuple[Variant, ...]:
    """How a model can run on frames of one size, the best first.

    Args:
        fixed: only the first.
    """
    if isinstance(framing, FaceFraming):
        every = [n for n in _DETECT_EVERY if n > framing.detect_every]
        steps = [framing, *(replace(framing, detect_every=n) for n in every)]
        # A frame costs its faces and a share of a search; the share is small, so that steps are soon exhausted.
        result = [Variant(step, None, 0.9**level) for level, step in enumerate(steps)]
        return tuple(result[:1] if fixed else result)
    layout = framing.layout(frame_size, spec.size)
    size = layout.tile_size or layout.size
    first = Variant(framing, size, 1.0)
    if fixed or spec.size.fixed is not None or framing.size is not None or framing.mode not in ("fit", "crop"):
        return (first,)
    result = [first]
    for area in AREAS[1:]:
        height, width = (_multiple(side * area**0.5, spec) for side in size)
        share = height * width / (size[0] * size[1])
        if share < 0.93 * result[-1].area and spec.size.accepts((height, width)):
            result.append(Variant(replace(framing, size=(height, width)), (height, width), share))
    return tuple(result)


def _multiple(side: float, spec: GeneratorSpec) -> int:
    m = spec.size.multiple_of
    return max(m, round(side / m) * m, spec.size.minimum)


class LiveFilter:
    """Translates frames with the model that was asked for last and is ready; until there is one, they pass unchanged.

    A model that fails to open leaves the one before running. The last :data:`KEPT` that ran stay open. :meth:`request`
    and the filter itself are called by one thread, the rest by any.

    Args:
        on_change: called, by any thread, when the state changes.
        threads: CPU threads of a network; None: all cores.
        device: which GPU; None: the first, or the CPU.
    """

    def __init__(
        self, on_change: Callable[[], None] = lambda: None, threads: int | None = None, device: int | None = None
    ) -> None:
        self.state: FilterState = "none"
        self.message = ""
        """Why the last request failed."""
        self.wanted: FilterRequest | None = None
        self._on_change = on_change
        self._threads, self._device = threads, device
        self._current: _Running | None = None
        self._next: _Running | None = None
        self._frame_like: Frame | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._work = False
        self._kept: list[_Running] = []
        """Open and not in use, one of each model; the one used last is the first."""
        self._retired: list[_Running] = []
        """To be closed."""
        self._thread = threading.Thread(target=self._open_requests, name="model opener", daemon=True)
        self._thread.start()

    @property
    def running(self) -> FilterRequest | None:
        """What translates frames now."""
        current = self._current
        return None if current is None else current.request

    @property
    def backend(self) -> str:
        """Name of the running model; "" if none."""
        current = self._current
        return "" if current is None else current.translator.backend.name

    def kept(self, model: ModelChoice) -> Variant | None:
        """The variant of a model that is open beside the running one; None if none is."""
        with self._changed:
            found = (each.request.variant for each in self._kept if each.request.model is model)
            return next(found, None)

    def request(self, request: FilterRequest, frame: Frame | None = None) -> None:
        """Ask for a model; an earlier request that is not ready yet is forgotten. One that is open already translates
        the next frame.

        Args:
            frame: like those to come, for the warm-up.
        """
        with self._changed:
            self.wanted = request
            self._frame_like = frame
            if self._next is not None:
                self._keep(self._next)
            still = self._current is not None and self._current.suits(request, frame)
            ready = None if still else next((each for each in self._kept if each.suits(request, frame)), None)
            if ready is not None:
                self._kept.remove(ready)
            self._next = ready
            self._work = ready is None and not still
            self.state, self.message = "ready" if still else "opening", ""
            self._changed.notify_all()
        self._on_change()

    def __call__(self, frame: Frame, settings: Settings) -> Frame:
        """The frame translated, or itself while there is no model."""
        if self._next is not None:
            with self._changed:
                old, self._current, self._next = self._current, self._next, None
                if old is not None:
                    old.stream.close()
                    self._keep(old)
                self.state = "ready"
                self._changed.notify_all()
            self._on_change()
        current = self._current
        if current is None or settings.bypass or settings.opacity == 0:
            return frame
        try:
            return current(frame, settings)
        except EngineError as error:
            with self._changed:
                self._retired.append(current)
                self._current = None
                self.state, self.message = "failed", str(error)
                self._changed.notify_all()
            self._on_change()
            return frame

    def wait(self, timeout: float | None = None) -> bool:
        """Wait while a model opens; returns whether none does any more."""
        with self._changed:
            return self._changed.wait_for(lambda: self.state != "opening", timeout)

    def close(self) -> None:
        """Free the models; call it when no frame is in work."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(10.0)
        for running in (self._current, self._next, *self._kept, *self._retired):
            if running is not None:
                running.close()
        self._current = self._next = None
        self._kept.clear()
        self._retired.clear()

    def _keep(self, running: _Running) -> None:
        """Put aside what is open and not in use, one of each model but the running one; call it with the lock."""
        models = [] if self._current is None else [self._current.request.model]
        kept: list[_Running] = []
        for each in (running, *self._kept):
            if each.request.model in models or len(kept) == KEPT:
                self._retired.append(each)
            else:
                models.append(each.request.model)
                kept.append(each)
        self._kept = kept

    def _open_requests(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._work or self._retired or self._closed)
                if self._closed:
                    return
                retired, self._retired = self._retired, []
                request, frame = (self.wanted, self._frame_like) if self._work else (None, None)
                self._work = False
            for running in retired:
                running.close()
            if request is None:
                continue
            try:
                opened: _Running | None = _Running.open(request, frame, self._threads, self._device)
                problem = ""
            except Exception as error:  # whatever it is: without this thread no model would ever open again
                opened, problem = None, str(error) or type(error).__name__
            with self._changed:
                if opened is None:
                    if request is self.wanted:
                        self.state, self.message = "failed", problem
                        self._changed.notify_all()
                elif request is self.wanted and not self._closed:
                    self._next = opened
                else:  # a later request took its place
                    self._keep(opened)
            if opened is None:
                self._on_change()


class _Running:
    """An open model and the stream of frames through it."""

    def __init__(self, request: FilterRequest, translator: Translator, like: Frame | None) -> None:
        self.request = request
        self.translator = translator
        self._kind = None if like is None else kind_of(like)
        port = request.model.spec.attributes
        self._known = {plain(name): name for name in port.names} if port is not None else {}
        self._controls = Controls()
        self.stream = PushedStream(translator, self._controls)
        self._under: Settings | None = None

    @classmethod
    def open(cls, request: FilterRequest, frame: Frame | None, threads: int | None, device: int | None) -> _Running:
        *first, last = request.backends
        for backend in first:
            with suppress(EngineError):
                return cls._open(request, backend, frame, threads, device)
        return cls._open(request, last, frame, threads, device)

    @classmethod
    def _open(
        cls, request: FilterRequest, backend: str, frame: Frame | None, threads: int | None, device: int | None
    ) -> _Running:
        translator = Translator.open(
            request.model.file,
            backend=backend,
            framing=request.variant.framing,
            threads=threads,
            device=device,
            frame_size=None if frame is None else frame.size,
            warm=frame is None,  # else by the frame below, which passes all of the way
        )
        running = cls(request, translator, frame)
        try:
            if frame is not None:
                running(blank(*kind_of(frame)), Settings())  # once: the running model needs the cores
                running.stream.close()
        except BaseException:
            translator.close()
            raise
        return running

    def suits(self, request: FilterRequest, frame: Frame | None) -> bool:
        """Whether it can do what is asked for, on frames like this one."""
        kind = None if frame is None else kind_of(frame)
        return self.request.model is request.model and (self.request.variant, self._kind) == (request.variant, kind)

    def attributes(self, values: Mapping[str, float]) -> dict[str, float]:
        """Those values that the model has a name for."""
        return {self._known[plain(name)]: value for name, value in values.items() if plain(name) in self._known}

    def __call__(self, frame: Frame, settings: Settings) -> Frame:
        if settings is not self._under:
            left_out = dict.fromkeys(self._controls.snapshot().attributes)
            attributes = {**left_out, **self.attributes(settings.attributes)}
            self._controls.set(attributes=attributes, opacity=settings.opacity, detail=settings.detail)
            self._under = settings
        return self.stream(frame)

    def close(self) -> None:
        self.stream.close()
        self.translator.close()


def measure(call: Callable[[], Frame]) -> tuple[Frame, float]:
    """What ``call`` returns, and the seconds that it took."""
    began = time.perf_counter()
    result = call()
    return result, time.perf_counter() - began
