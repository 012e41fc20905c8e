"""A model opened for frames: the backend, the framing, and the way that suits both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from .. import model as models
from ..backends import default_threads, open_backend
from ..backends.base import Backend, Choice, ModelBackend
from ..errors import BackendError, BackendUnavailable, MissingExtra, OptionError
from ..faces.framing import FaceFraming
from ..model import Model
from ..pixels.compositor import Compositor
from ..pixels.framing import Framing, Mode
from ..spec import GeneratorSpec, ValueRange
from .base import Way
from .host import HostWay
from .memory import check_memory

if TYPE_CHECKING:
    from ..faces.face_compositor import FaceCompositor
    from ..faces.tracker import Follower

AnyFraming = Mode | Framing | FaceFraming | Literal["faces"]


@dataclass(frozen=True)
class OpenOptions:
    """How a model is opened; each is explained at :meth:`ganlens.engine.Translator.open`."""

    backend: str = "auto"
    framing: AnyFraming | None = None
    detail: float | None = None
    opacity: float = 1.0
    threads: int | None = None
    in_flight: int = 1
    spin: bool = False
    strict: bool = False
    value_range: ValueRange | None = None
    frame_size: tuple[int, int] | None = None
    batch: int | None = None
    device: int | None = None
    streams: int | None = None
    warm: bool = True
    frames: int | None = None


def open_way(model: str | Path | Model, options: OpenOptions) -> Way:
    """Open a model, warmed up; errors as of :meth:`ganlens.engine.Translator.open`."""
    for name in ("in_flight", "batch", "threads", "streams"):
        number = getattr(options, name)
        if number is not None and number < 1:
            raise OptionError(f"{name}: got {number}, expected 1 or more.")
    if not isinstance(model, Model):
        model = models.open(model, options.value_range)
    batch, in_flight, frame_size = options.batch, options.in_flight, options.frame_size
    chosen = choose_framing(options.framing, model.spec)
    faces = isinstance(chosen, FaceFraming)
    size = None
    if isinstance(chosen, Framing) and model.spec.image is not None and frame_size is not None:
        layout = chosen.layout(frame_size, model.spec.size)
        size = layout.tile_size or layout.size
        if chosen.mode in ("native", "tile"):
            check_memory(chosen.mode, layout, batch or 1, in_flight, 4 if model.spec.output.mask else 3)
    of_backend: dict[str, Any] = {
        "size": size,
        "threads": max(1, (options.threads or default_threads()) // in_flight),
        "spin": options.spin,
        "batch": None if faces else batch,  # faces are any number; runs of one are always among them
        "device": options.device,
        "warm": options.warm,
        "pictures": None if faces else options.frames,
    }
    opened = open_backend(model, options.backend, strict=options.strict, **of_backend)
    try:
        opened.check_batch(batch)
        known = model if model.sizes_known else model.with_sizes(opened.spec.size)

        def another() -> Backend:
            return open_backend(known, opened.name, **of_backend)

        more = [another] * (in_flight - 1)
        detail = opened.spec.detail if options.detail is None else options.detail
        if isinstance(chosen, FaceFraming):
            blending = {"detail": 1.0 if detail is None else detail, "opacity": options.opacity}
            from ..faces.face_compositor import FaceCompositor  # late: only a face model needs it

            return way_over(opened, FaceCompositor(opened.spec, chosen, **blending), more, batch)
        compositor = Compositor(opened.spec, chosen, detail=detail or 0.0, opacity=options.opacity)
        way = _over_gpu(opened, compositor, options)
        if way is None and (options.streams or 1) > 1:
            raise OptionError(
                f"streams: got {options.streams}; frames pass {opened.name} in host memory. Leave it out, or use "
                "--backend tensorrt."
            )
        return way or way_over(opened, compositor, more, batch)
    except BaseException:
        opened.close()
        raise


def way_over(
    backend: Backend,
    compositor: Compositor | FaceCompositor | None = None,
    more: Sequence[Callable[[], Backend]] = (),
    batch: int | None = None,
    follower: Follower | None = None,
) -> Way:
    """The way over a backend in host memory that suits the compositor."""
    if compositor is None or isinstance(compositor, Compositor):
        return HostWay(backend, compositor, more, batch)
    from .faces import FacesWay

    return FacesWay(backend, compositor, more, batch, follower)


def choose_framing(framing: AnyFraming | None, spec: GeneratorSpec) -> Framing | FaceFraming:
    """What was asked for; None: what suits the model."""
    if framing is None:
        framing = "faces" if spec.face_alignment else "fit"
    if framing == "faces":
        return FaceFraming()
    return framing if isinstance(framing, Framing | FaceFraming) else Framing(framing)


def _over_gpu(backend: ModelBackend, compositor: Compositor, options: OpenOptions) -> Way | None:
    """The way of frames over the GPU, if the backend runs on one and offers it; a line of ``choice`` if it fails."""
    if not hasattr(backend, "bind_device"):
        return None
    from ..cuda import DeviceBackend
    from .gpu import FramePipeline

    try:
        if compositor.framing.mode == "tile":
            raise OptionError("framing 'tile' puts tiles together there")
        gpu = cast(DeviceBackend, backend).gpu
        batch = options.batch or backend.batch or 1
        way = FramePipeline(
            gpu,
            backend,
            compositor,
            in_flight=options.in_flight,
            spin=options.spin,
            batch=batch,
            streams=options.streams or 1,
        )
        if options.frame_size is not None:
            way.warm_up(options.frame_size)
        return way
    except (MissingExtra, BackendUnavailable, BackendError, OptionError) as error:
        if options.strict or (options.streams or 1) > 1:
            raise
        line = f"{backend.name}: frames go through host memory: {error}"
        backend.choice = Choice(backend.choice.name, (*backend.choice.lines, line))
        return None
