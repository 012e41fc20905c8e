"""A model opened for frames: the backend, the framing, and the way that suits both."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, cast

from .. import model as models
from ..backends import default_threads, open_backend
from ..backends.base import Backend, Choice, ModelBackend
from ..errors import BackendError, BackendUnavailable, MissingExtra, OptionError
from ..faces.face_compositor import FaceCompositor
from ..faces.framing import FaceFraming
from ..model import Model
from ..pixels.compositor import Compositor
from ..pixels.framing import Framing, Mode
from ..spec import GeneratorSpec, ValueRange
from .base import Way
from .faces import FacesWay
from .host import HostWay

AnyFraming = Mode | Framing | FaceFraming | Literal["faces"]


def open_way(
    model: str | Path | Model,
    *,
    backend: str = "auto",
    framing: AnyFraming | None = None,
    detail: float | None = None,
    opacity: float = 1.0,
    threads: int | None = None,
    in_flight: int = 1,
    spin: bool = False,
    strict: bool = False,
    value_range: ValueRange | None = None,
    frame_size: tuple[int, int] | None = None,
    batch: int | None = None,
    device: int | None = None,
) -> Way:
    """Open a model, warmed up; arguments and errors as of :meth:`ganlens.engine.Translator.open`."""
    for option, number in (("in_flight", in_flight), ("batch", batch), ("threads", threads)):
        if number is not None and number < 1:
            raise OptionError(f"{option}: got {number}, expected 1 or more.")
    if not isinstance(model, Model):
        model = models.open(model, value_range)
    chosen = choose_framing(framing, model.spec)
    faces = isinstance(chosen, FaceFraming)
    size = None
    if isinstance(chosen, Framing) and model.spec.image is not None and frame_size is not None:
        layout = chosen.layout(frame_size, model.spec.size)
        size = layout.tile_size or layout.size
    share = max(1, (threads or default_threads()) // in_flight)
    # Faces come in any number; runs of one are always among them.
    options: dict[str, Any] = {
        "size": size,
        "threads": share,
        "spin": spin,
        "batch": None if faces else batch,
        "device": device,
    }
    opened = open_backend(model, backend, strict=strict, **options)
    try:
        opened.check_batch(batch)
        known = model if model.sizes_known else model.with_sizes(opened.spec.size)

        def another() -> Backend:
            return open_backend(known, opened.name, **options)

        more = [another] * (in_flight - 1)
        if detail is None:
            detail = opened.spec.detail
        if isinstance(chosen, FaceFraming):
            blending = {"detail": 1.0 if detail is None else detail, "opacity": opacity}
            return FacesWay(opened, FaceCompositor(opened.spec, chosen, **blending), more, batch)
        compositor = Compositor(opened.spec, chosen, detail=detail or 0.0, opacity=opacity)
        way = _over_gpu(opened, compositor, frame_size, in_flight, spin, strict, batch or opened.batch or 1)
        return way or HostWay(opened, compositor, more, batch)
    except BaseException:
        opened.close()
        raise


def choose_framing(framing: AnyFraming | None, spec: GeneratorSpec) -> Framing | FaceFraming:
    """What was asked for; None: what suits the model."""
    if framing is None:
        framing = "faces" if spec.face_alignment else "fit"
    if framing == "faces":
        return FaceFraming()
    return framing if isinstance(framing, Framing | FaceFraming) else Framing(framing)


def _over_gpu(
    backend: ModelBackend,
    compositor: Compositor,
    frame_size: tuple[int, int] | None,
    in_flight: int,
    spin: bool,
    strict: bool,
    batch: int,
) -> Way | None:
    """The way of frames over the GPU, if the backend runs on one and offers it; a line of ``choice`` if it fails."""
    if not hasattr(backend, "bind_device"):
        return None
    from ..cuda import DeviceBackend
    from .gpu import FramePipeline

    try:
        if compositor.framing.mode == "tile":
            raise OptionError("framing 'tile' puts tiles together there")
        gpu = cast(DeviceBackend, backend).gpu
        way = FramePipeline(gpu, backend, compositor, in_flight=in_flight, spin=spin, batch=batch)
        if frame_size is not None:
            way.warm_up(frame_size)
        return way
    except (MissingExtra, BackendUnavailable, BackendError, OptionError) as error:
        if strict:
            raise
        line = f"{backend.name}: frames go through host memory: {error}"
        backend.choice = Choice(backend.choice.name, (*backend.choice.lines, line))
        return None
