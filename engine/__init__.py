"""ganlens.engine: image-to-image GAN generators as real-time image and video filters.

>>> from ganlens.engine import Translator
>>> with Translator.open("starry") as translator:
...     painted = translator(photo)  # (H, W, 3) uint8 RGB in and out

The public names are imported on first use, so that the command line starts at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .backends import available, open_backend
    from .backends.base import Backend, FunctionBackend, Output
    from .controls import Controls, Settings
    from .errors import (
        BackendError,
        BackendUnavailable,
        EngineError,
        MediaError,
        MissingExtra,
        ModelFileError,
        OptionError,
        ShapeError,
        TrainingError,
        UnknownModel,
    )
    from .faces.framing import FaceFraming
    from .generator import Generator
    from .media import VideoSink, VideoSource
    from .media.base import FileInfo, FrameFormat, FrameSink, FrameSource, Notes
    from .media.pictures import read_image, write_image
    from .media.pipe import RawSink, RawSource
    from .media.uri import open_sink, open_source
    from .model import Model, find_model
    from .model.description import read_spec
    from .pixels.compositor import Compositor
    from .pixels.frame import Color, Frame
    from .pixels.framing import Framing
    from .session import Report, Session
    from .spec import GeneratorSpec
    from .threads import Writer, prefetch
    from .timing import StageTimes
    from .translator import Translator

__version__: str

_HOME = {
    "Backend": "backends.base",
    "BackendError": "errors",
    "BackendUnavailable": "errors",
    "Color": "pixels.frame",
    "Compositor": "pixels.compositor",
    "Controls": "controls",
    "EngineError": "errors",
    "FaceFraming": "faces.framing",
    "FileInfo": "media.base",
    "Frame": "pixels.frame",
    "FrameFormat": "media.base",
    "FrameSink": "media.base",
    "FrameSource": "media.base",
    "Framing": "pixels.framing",
    "FunctionBackend": "backends.base",
    "Generator": "generator",
    "GeneratorSpec": "spec",
    "MediaError": "errors",
    "MissingExtra": "errors",
    "Model": "model",
    "ModelFileError": "errors",
    "Notes": "media.base",
    "OptionError": "errors",
    "Output": "backends.base",
    "RawSink": "media.pipe",
    "RawSource": "media.pipe",
    "Report": "session",
    "Session": "session",
    "Settings": "controls",
    "ShapeError": "errors",
    "StageTimes": "timing",
    "TrainingError": "errors",
    "Translator": "translator",
    "UnknownModel": "errors",
    "VideoSink": "media",
    "VideoSource": "media",
    "Writer": "threads",
    "available": "backends",
    "find_model": "model",
    "open_backend": "backends",
    "open_sink": "media.uri",
    "open_source": "media.uri",
    "prefetch": "threads",
    "read_image": "media.pictures",
    "read_spec": "model.description",
    "write_image": "media.pictures",
}

__all__ = [
    "Backend",
    "BackendError",
    "BackendUnavailable",
    "Color",
    "Compositor",
    "Controls",
    "EngineError",
    "FaceFraming",
    "FileInfo",
    "Frame",
    "FrameFormat",
    "FrameSink",
    "FrameSource",
    "Framing",
    "FunctionBackend",
    "Generator",
    "GeneratorSpec",
    "MediaError",
    "MissingExtra",
    "Model",
    "ModelFileError",
    "Notes",
    "OptionError",
    "Output",
    "RawSink",
    "RawSource",
    "Report",
    "Session",
    "Settings",
    "ShapeError",
    "StageTimes",
    "TrainingError",
    "Translator",
    "UnknownModel",
    "VideoSink",
    "VideoSource",
    "Writer",
    "available",
    "find_model",
    "open_backend",
    "open_sink",
    "open_source",
    "prefetch",
    "read_image",
    "read_spec",
    "write_image",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name == "_kernels":
        return _native()
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{home}", __name__), name)


def _native() -> Any:
    try:
        return import_module("._kernels", __name__)
    except ModuleNotFoundError as error:
        from pathlib import Path

        checkout = Path(__file__).parents[1]
        raise ImportError(
            f"{checkout} is a checkout of ganlens without its compiled module. Install it there: pip install '.[cpu]'"
        ) from error


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # a third of the start-up of `engine --help`

    try:
        return version("ganlens")
    except PackageNotFoundError:  # a checkout that was never installed
        return "0+unknown"


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
