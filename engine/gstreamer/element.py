"""The GStreamer element ``ganlens``: a video filter between two other elements of a pipeline.

Runs inside GStreamer's loader for Python elements, which finds it by the file that :func:`.install` writes.
Frames stay in their own pixel format and are written in place. GStreamer calls the element in several threads:
properties are set in the application's, frames arrive in the streaming thread, and a new model is opened in one of the
translator's own.
"""

from __future__ import annotations

import sys
import threading
import traceback
from concurrent.futures import Future
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstBase", "1.0")
gi.require_version("GstVideo", "1.0")
import numpy as np  # noqa: E402
from gi.repository import GLib, GObject, Gst, GstBase, GstVideo  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from ..controls import Controls  # noqa: E402
from ..errors import EngineError, OptionError  # noqa: E402
from ..model import find_model  # noqa: E402
from ..model.attributes import attribute_vector, parse_settings  # noqa: E402
from ..pixels.frame import Color, Frame, Matrix, PixelFormat, plane_shapes  # noqa: E402
from ..pushed import PushedStream  # noqa: E402
from ..translator import Translator  # noqa: E402

_FORMATS: dict[Any, PixelFormat] = {
    GstVideo.VideoFormat.I420: "yuv420p",
    GstVideo.VideoFormat.NV12: "nv12",
}
_MATRICES: dict[Any, Matrix] = {
    GstVideo.VideoColorMatrix.BT601: "bt601",
    GstVideo.VideoColorMatrix.BT709: "bt709",
    GstVideo.VideoColorMatrix.BT2020: "bt2020",
}
_CAPS = Gst.Caps.from_string("video/x-raw, format=(string){ I420, NV12 }, width=[1, 32768], height=[1, 32768]")
_CHANGEABLE = GObject.ParamFlags.READWRITE | Gst.PARAM_MUTABLE_PLAYING
_OPENED_WITH = ("model", "backend", "framing", "threads", "device")
"""Properties by which a model is opened; a change opens it again."""

_PROPERTIES: dict[str, tuple[Any, ...]] = {
    "model": (str, "Model", "A name that 'engine models' lists, or an ONNX file", "starry", _CHANGEABLE),
    "backend": (str, "Backend", "auto, or a name from 'engine backends'", "auto", _CHANGEABLE),
    "framing": (
        str,
        "Framing",
        "fit, crop, tile, native or faces; empty: faces for a face model, else fit",
        "",
        _CHANGEABLE,
    ),
    "attributes": (
        str,
        "Attributes",
        "Values of the model's attributes: red_hair=1",
        "",
        _CHANGEABLE,
    ),
    "opacity": (
        float,
        "Opacity",
        "0 shows the original, 1 the translation",
        0.0,
        1.0,
        1.0,
        _CHANGEABLE | Gst.PARAM_CONTROLLABLE,
    ),
    "threads": (int, "Threads", "CPU threads of the network; 0: all cores", 0, 1024, 0, _CHANGEABLE),
    "device": (int, "Device", "GPU that runs the network; -1: the first, or the CPU", -1, 1023, -1, _CHANGEABLE),
}


class Ganlens(GstBase.BaseTransform):  # type: ignore[misc]
    """Translates I420 and NV12 video with an image-to-image GAN. Every property may be set while PLAYING."""

    __gtype_name__ = "GstGanlens"
    __gstmetadata__ = (
        "GAN video filter",
        "Filter/Effect/Video",
        "Translates video with an image-to-image GAN",
        "The ganlens authors",
    )
    __gsttemplates__ = (
        Gst.PadTemplate.new("src", Gst.PadDirection.SRC, Gst.PadPresence.ALWAYS, _CAPS),
        Gst.PadTemplate.new("sink", Gst.PadDirection.SINK, Gst.PadPresence.ALWAYS, _CAPS),
    )
    __gproperties__ = _PROPERTIES

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.RLock()
        self._values: dict[str, Any] = {name: row[-2] for name, row in _PROPERTIES.items()}
        self._runs: dict[str, Any] = {}
        """The properties with which the running model was opened."""
        self._swaps = 0
        self._opening = False
        self._controls = Controls()
        self._translator: Translator | None = None
        self._stream: PushedStream | None = None
        self._info: Any = None
        self._color = Color()
        self.set_in_place(True)
        self.set_qos_enabled(True)

    # --- properties ---------------------------------------------------------------------------------------------------

    def do_get_property(self, prop: Any) -> Any:
        return self._values[prop.name]

    def do_set_property(self, prop: Any, value: Any) -> None:
        with self._lock:
            name, before = prop.name, self._values[prop.name]
            self._values[name] = value or "" if isinstance(before, str) else value
            try:
                if name == "opacity":
                    self._controls.set(opacity=value)
                elif name == "attributes":
                    self._set_attributes()
                elif self._translator is not None and self._values[name] != before:
                    self._swap(self._translator)
            except EngineError as error:
                if self._translator is not None:  # otherwise the start fails and says the same
                    self._values[name] = before
                    self._warn(f"{name} stays {before!r}: {error}")

    def _set_attributes(self) -> None:
        """Let the next frame have the attributes; while another model is opened, its first one.

        Raises:
            OptionError: they are not NAME=VALUE, or the model does not take them.
        """
        texts = [text for text in self._values["attributes"].split(",") if text.strip()]
        values = parse_settings("attributes", texts)
        if self._opening:
            return
        if self._translator is not None:
            spec = self._translator.spec
            if spec.attributes is not None:
                attribute_vector(spec.attributes, values)
            elif values:
                raise OptionError(f"Model '{spec.name}' has no attributes; {', '.join(values)} was given.")
        left_out = dict.fromkeys(self._controls.snapshot().attributes)
        self._controls.set(attributes={**left_out, **values})

    def _options(self) -> dict[str, Any]:
        values = self._values
        return {
            "backend": values["backend"],
            "framing": values["framing"] or None,
            "threads": values["threads"] or None,
            "device": None if values["device"] < 0 else values["device"],
        }

    def _swap(self, translator: Translator) -> None:
        """Open a model as the properties say; the one before translates until it is ready, and on if it fails."""
        self._swaps += 1
        self._opening = True
        number, asked = self._swaps, dict(self._values)

        def opened(future: Future[None]) -> None:
            error = future.exception()
            with self._lock:
                if number != self._swaps or self._translator is not translator:
                    return  # another one was asked for since, or the element has stopped
                self._opening = False
                if error is not None:
                    wrong = {
                        name: self._values[name] for name in _OPENED_WITH if self._values[name] != self._runs[name]
                    }
                    self._values.update({name: self._runs[name] for name in wrong})
                    given = ", ".join(f"{name}={value}" for name, value in wrong.items())
                    self._warn(f"{given} is refused, {self._runs['model']} goes on: {error}")
                    return
                try:
                    self._opened(asked)
                except EngineError as problem:
                    self._warn(f"attributes are left as they were: {problem}")

        translator.swap(asked["model"], **self._options()).add_done_callback(opened)

    def _opened(self, values: dict[str, Any]) -> None:
        """A model opened with these properties runs from the next frame on."""
        self._runs = values
        self._inform()
        self._set_attributes()

    # --- states and caps ----------------------------------------------------------------------------------------------

    def do_start(self) -> bool:
        """Before the first frame: whether there is such a model, and the attributes can be read."""
        try:
            find_model(self._values["model"])
            self._set_attributes()
        except EngineError as error:
            return self._fail(Gst.LibraryError.quark(), Gst.LibraryError.SETTINGS, error)
        return True

    def do_set_caps(self, incaps: Any, outcaps: Any) -> bool:
        self._info = info = GstVideo.VideoInfo.new_from_caps(incaps)
        color = info.colorimetry
        siting = GstVideo.VideoChromaSite
        self._color = Color(
            _MATRICES.get(color.matrix, "bt601" if info.height < 720 else "bt709"),
            color.range == getattr(GstVideo.VideoColorRange, "0_255"),
            "center" if info.chroma_site == siting.JPEG else "topleft" if info.chroma_site == siting.DV else "left",
        )
        if self._translator is None:
            try:
                self._translator = Translator.open(
                    self._values["model"], frame_size=(info.height, info.width), **self._options()
                )
                self._stream = PushedStream(self._translator, self._controls)
                self._opened(dict(self._values))
            except EngineError as error:
                return self._fail(Gst.LibraryError.quark(), Gst.LibraryError.INIT, error)
        return True

    def do_stop(self) -> bool:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
        translator, self._translator = self._translator, None
        if translator is not None:
            translator.close()
        return True

    # --- frames -------------------------------------------------------------------------------------------------------

    def do_transform_ip(self, buffer: Any) -> Any:
        stream_time = self.segment.to_stream_time(Gst.Format.TIME, buffer.pts)
        if stream_time != Gst.CLOCK_TIME_NONE:
            self.sync_values(stream_time)
        mapped, memory = buffer.map(Gst.MapFlags.READ | Gst.MapFlags.WRITE)
        if not mapped:
            self._fail(Gst.ResourceError.quark(), Gst.ResourceError.WRITE, "the buffer's memory cannot be written")
            return Gst.FlowReturn.ERROR
        try:
            planes = self._planes(buffer, memory.data)
            assert self._stream is not None
            result = self._stream(Frame(planes, _FORMATS[self._info.finfo.format], self._color))
            for ours, theirs in zip(planes, result.planes, strict=True):
                if ours is not theirs:
                    np.copyto(ours, theirs)
        except Exception as error:  # whatever it is: GStreamer would only print it and go on
            if not isinstance(error, EngineError):
                traceback.print_exc(file=sys.stderr)
            self._fail(Gst.LibraryError.quark(), Gst.LibraryError.FAILED, error)
            return Gst.FlowReturn.ERROR
        finally:
            planes = result = ours = theirs = None  # type: ignore[assignment]  # views of memory that now goes
            buffer.unmap(memory)
        return Gst.FlowReturn.OK

    def _planes(self, buffer: Any, data: Any) -> tuple[NDArray[np.uint8], ...]:
        """Views of a buffer's memory; where its planes are is said by the buffer, else by the caps."""
        where = GstVideo.buffer_get_video_meta(buffer) or self._info
        shapes = plane_shapes((self._info.height, self._info.width), _FORMATS[self._info.finfo.format])
        planes: list[NDArray[np.uint8]] = []
        for shape, offset, stride in zip(shapes, where.offset, where.stride, strict=False):
            steps = (stride, 1) if len(shape) == 2 else (stride, shape[2], 1)
            planes.append(np.ndarray(shape, np.uint8, data, offset, steps))
        return tuple(planes)

    # --- messages -----------------------------------------------------------------------------------------------------

    def _fail(self, domain: int, code: Any, error: object) -> bool:
        problem = GLib.Error.new_literal(domain, str(error), int(code))
        self.post_message(Gst.Message.new_error(self, problem, type(error).__name__))
        return False

    def _warn(self, text: str) -> None:
        problem = GLib.Error.new_literal(Gst.LibraryError.quark(), text, int(Gst.LibraryError.SETTINGS))
        self.post_message(Gst.Message.new_warning(self, problem, ""))

    def _inform(self) -> None:
        """Say on the bus what runs."""
        translator = self._translator
        choice = None if translator is None else translator.choice
        if translator is not None:
            lines = [] if choice is None else list(choice.lines)
            text = "; ".join([f"{translator.spec.name} runs with {translator.backend.name}", *lines])
            problem = GLib.Error.new_literal(Gst.LibraryError.quark(), text, int(Gst.LibraryError.SETTINGS))
            self.post_message(Gst.Message.new_info(self, problem, text))


GObject.type_register(Ganlens)
