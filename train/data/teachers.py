"""What a generator learns from in paired training: any image-to-image ONNX file, a filter, or a painting.

A teacher runs before the training, once for each picture, so its speed hardly matters. ONNX Runtime on the CPU runs a
file; :mod:`.painter` answers with paintings.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganlens.engine.errors import MissingExtra, ModelFileError, OptionError, did_you_mean
from ganlens.engine.model.description import parse_value_range
from ganlens.engine.spec import GeneratorSpec, ValueRange

from ..config import VGGScaling
from .filters import find_filter

Pixels = NDArray[np.uint8]
Values = NDArray[np.float32]

FILTER, PAINTING = "filter:", "painting:"
TEACHER_FILE = "--teacher takes an ONNX file, filter:comic, pencil, oil or brush, or painting:FILE"
_PERIOD = 4
"""Period of the pattern that a generator with two strided layers leaves."""
_SHIFTS = tuple((down, right) for down in range(_PERIOD) for right in range(_PERIOD) if (down + right) % 2 == 0)
"""Half of the shifts within a period: together they cancel all its frequencies but the finest checkerboard."""
_AROUND = 32
"""Pixels by which a picture is continued: more than a teacher's frame is wide, and a multiple of every stride."""
_SETTING = re.compile(r"(?P<name>[^\[\]=(),]+)(\[(?P<place>\d+)\])?=(?P<value>.+)")
_ANSWER = re.compile(r"(?P<file>.+\.onnx)\((?P<picture>.+)\)")


class Teacher(Protocol):
    """Answers a picture with a picture of the same size."""

    name: str
    """What it is, in a few words, for the record."""
    digest: str
    """Changes whenever the answers may."""
    once: bool
    """Too slow for varied copies: it answers a picture once, and copies of the answer move as those of the picture."""

    def __call__(self, pixels: Pixels) -> Pixels:
        """(H, W, 3) uint8 RGB to the same."""
        ...


def open_teacher(
    teacher: str,
    *,
    value_range: str = "",
    inputs: str = "",
    scale: float = 1.0,
    shifts: bool = False,
    threads: int = 0,
    vgg: str = "",
    vgg_scaling: VGGScaling = "caffe",
) -> Teacher:
    """The teacher that ``--teacher`` names.

    Args:
        teacher: an ONNX file, ``filter:NAME`` or ``painting:FILE``.
        value_range: what ``--range`` names; only for a file without our record.
        inputs: values of the file's further inputs, see :func:`parse_inputs`; or a painting's settings.
        scale: enlargement of the picture before the teacher sees it; its answer is averaged back down. Above 1 strokes
            become finer, and a weave with the period of the teacher's own grid disappears.
        shifts: average the answers to eight shifts of the picture (cycle spinning: Coifman and Donoho,
            Translation-Invariant De-Noising, 1995). A pattern that is fixed to the pixel grid averages out; strokes
            move with the picture and stay. The picture continues beyond its edges by reflection, so that the frame
            which a teacher leaves is cut off.
        threads: of ONNX Runtime; 0: its own choice.
        vgg: VGG16's convolutions (safetensors), for a painting.
        vgg_scaling: the input that those weights were trained for.

    Raises:
        OptionError: no such filter or painting, or options that do not fit.
        ModelFileError: the file is missing, cannot be run, or is not image to image.
    """
    if teacher.startswith(FILTER):
        if value_range or inputs or scale != 1.0 or shifts:
            raise OptionError(
                "--range, --teacher-input, --teacher-scale and --teacher-shifts need a teacher that is an ONNX file."
            )
        return FilterTeacher(teacher.removeprefix(FILTER))
    if teacher.startswith(PAINTING):
        if value_range or scale != 1.0 or shifts:
            raise OptionError("--range, --teacher-scale and --teacher-shifts need a teacher that is an ONNX file.")
        if not vgg:
            raise OptionError("--teacher painting:FILE needs --vgg: a safetensors file with VGG16's convolutions.")
        from .painter import PaintingTeacher  # brings torch, which the others do without

        return PaintingTeacher(Path(teacher.removeprefix(PAINTING)), Path(vgg), vgg_scaling, inputs)
    return OnnxTeacher(
        Path(teacher), value_range=value_range, inputs=inputs, scale=scale, shifts=shifts, threads=threads
    )


class FilterTeacher:
    """A filter of :mod:`.filters`."""

    once = False

    def __init__(self, name: str) -> None:
        self.filter = find_filter(name)
        self.name = f"the filter {name} of ganlens"
        self.digest = digest_of(name, inspect.getsource(self.filter))

    def __call__(self, pixels: Pixels) -> Pixels:
        """(H, W, 3) uint8 RGB to the same."""
        return self.filter(pixels)


class OnnxTeacher:
    """An ONNX file with one picture in and one out, channels first or last, of fixed or free size."""

    once = False

    def __init__(
        self,
        path: Path,
        *,
        value_range: str = "",
        inputs: str = "",
        scale: float = 1.0,
        shifts: bool = False,
        threads: int = 0,
    ) -> None:
        if scale <= 0:
            raise OptionError(f"--teacher-scale must be above 0, got {scale:g}.")
        self.path = path
        self.scale = scale
        self.shifts = shifts
        notes = [
            path.name,
            inputs,
            f"at {scale:g} times the size" if scale != 1 else "",
            "mean of 4 shifts" if shifts else "",
        ]
        self.name = ", ".join(filter(None, notes))
        self._session = open_session(path, threads, TEACHER_FILE)
        self._image, others = self._find_inputs()
        self._answer = self._find_answer()
        self.value_range = self._find_range(value_range)
        self._fixed = _sides(self._image.shape)
        if shifts and self._fixed:
            raise OptionError(
                f"--teacher-shifts needs a teacher of free size; {path.name} takes {self._fixed[1]}x{self._fixed[0]}."
            )
        self._channels_last = self._image.shape[-1] == 3
        self._others = parse_inputs(inputs, {entry.name: _dims(entry.shape) for entry in others}, threads)
        values = [array.tobytes() for _, array in sorted(self._others.items())]
        shifted = ("shifts",) if shifts else ()  # so that answers kept before the option existed stay valid
        self.digest = digest_of(self.value_range, scale, inputs, path.read_bytes(), *values, *shifted)

    def __call__(self, pixels: Pixels) -> Pixels:
        """(H, W, 3) uint8 RGB to the same."""
        height, width = pixels.shape[:2]
        # Most networks want a multiple of their strides; 16 suits all that are known here.
        wanted = self._fixed or tuple(max(16, round(side * self.scale / 16) * 16) for side in (height, width))
        seen = _resized(pixels, (wanted[0], wanted[1]))
        return _resized(self._mean_of_shifts(seen) if self.shifts else self._answer_to(seen), (height, width))

    def _mean_of_shifts(self, pixels: Pixels) -> Pixels:
        height, width = pixels.shape[:2]
        around = np.pad(pixels, ((_AROUND + _PERIOD, _AROUND + _PERIOD),) * 2 + ((0, 0),), mode="reflect")
        total = np.zeros(pixels.shape, np.uint16)
        for down, right in _SHIFTS:
            view = around[down : down + height + 2 * _AROUND, right : right + width + 2 * _AROUND]
            answer = self._answer_to(np.ascontiguousarray(view))
            top, left = _AROUND + _PERIOD - down, _AROUND + _PERIOD - right
            total += answer[top : top + height, left : left + width]
        mean: Pixels = ((total + len(_SHIFTS) // 2) // len(_SHIFTS)).astype(np.uint8)
        return mean

    def _answer_to(self, pixels: Pixels) -> Pixels:
        """The network's output at the size that it sees."""
        low, high = self.value_range
        x = pixels.astype(np.float32) * ((high - low) / 255) + low
        x = x[None] if self._channels_last else np.ascontiguousarray(x.transpose(2, 0, 1))[None]
        try:
            (y,) = self._session.run([self._answer], {self._image.name: x, **self._others})
        except Exception as error:  # ONNX Runtime has no common class for what its graphs raise
            raise ModelFileError(f"The teacher {self.path.name} does not run: {_first_line(error)}") from error
        y = y[0] if y.shape[-1] == 3 and self._channels_last else y[0].transpose(1, 2, 0)
        if y.ndim != 3 or y.shape[2] != 3:
            raise ModelFileError(
                f"The teacher {self.path.name} returns an array of shape {y.shape}; expected a picture."
            )
        answer: Pixels = np.clip((y - low) * (255 / (high - low)) + 0.5, 0, 255).astype(np.uint8)
        return answer

    def _find_inputs(self) -> tuple[Any, list[Any]]:
        entries = self._session.get_inputs()
        pictures = [entry for entry in entries if len(entry.shape) == 4 and 3 in (entry.shape[1], entry.shape[-1])]
        if len(pictures) != 1:
            found = ", ".join(f"{entry.name} {entry.shape}" for entry in entries)
            raise ModelFileError(
                f"The teacher {self.path.name} has the inputs {found}; expected one picture, (N, 3, H, W) or "
                "(N, H, W, 3)."
            )
        return pictures[0], [entry for entry in entries if entry is not pictures[0]]

    def _find_answer(self) -> str:
        pictures = [entry.name for entry in self._session.get_outputs() if len(entry.shape) == 4]
        if not pictures:
            raise ModelFileError(f"The teacher {self.path.name} has no output of shape (N, 3, H, W) or (N, H, W, 3).")
        return str(pictures[0])

    def _find_range(self, given: str) -> ValueRange:
        spec = GeneratorSpec.from_metadata(self._session.get_modelmeta().custom_metadata_map)
        if spec is not None:
            return spec.value_range
        if not given:
            raise OptionError(
                f"--range is needed: {self.path.name} does not state the value range of its pictures. Give 0..1, -1..1 "
                "or 0..255."
            )
        return parse_value_range(given)


def parse_inputs(text: str, shapes: Mapping[str, tuple[int, ...]], threads: int = 0) -> dict[str, Values]:
    """Values of a teacher's further inputs.

    Args:
        text: settings separated by commas: ``NAME=VALUE`` sets all of an input, ``NAME[PLACE]=VALUE`` one of its values
            (others are 0), ``NAME=FILE.onnx(PICTURE)`` sets it to what another network answers to a picture.
        shapes: of the inputs, free dimensions as 1.
        threads: of ONNX Runtime, for a network that is asked.

    Raises:
        OptionError: a setting cannot be read, an input is not there or not set.
    """
    values: dict[str, Values] = {}
    for setting in _parts(text):
        match = _SETTING.fullmatch(setting)
        if match is None:
            raise OptionError(f"--teacher-input: expected NAME=VALUE or NAME[PLACE]=VALUE, got '{setting}'.")
        name, place, value = match["name"], match["place"], match["value"]
        if name not in shapes:
            raise OptionError(f"--teacher-input: the teacher has no input '{name}'. {did_you_mean(name, shapes)}")
        array = values.setdefault(name, np.zeros(shapes[name], np.float32))
        asked = _ANSWER.fullmatch(value)
        if asked is not None:
            values[name] = _answer_to(Path(asked["file"]), Path(asked["picture"]), threads).reshape(shapes[name])
        elif place is None:
            array[...] = _number(value, setting)
        elif int(place) < array.size:
            array.reshape(-1)[int(place)] = _number(value, setting)
        else:
            raise OptionError(f"--teacher-input: {name} has {array.size} values, 0 to {array.size - 1}, got {place}.")
    missing = [name for name in shapes if name not in values]
    if missing:
        raise OptionError(
            f"--teacher-input is needed for {', '.join(f'{name} {shapes[name]}' for name in missing)}: for example "
            f"--teacher-input '{missing[0]}[0]=1'."
        )
    return values


def split_settings(text: str) -> list[tuple[str, float]]:
    """``NAME=NUMBER, ...`` to names and numbers.

    Raises:
        OptionError: a setting cannot be read.
    """
    settings = []
    for setting in _parts(text):
        name, equals, value = setting.partition("=")
        if not equals:
            raise OptionError(f"--teacher-input: expected NAME=NUMBER, got '{setting}'.")
        try:
            settings.append((name.strip(), float(value)))
        except ValueError:
            raise OptionError(f"--teacher-input: expected a number in '{setting}', got '{value}'.") from None
    return settings


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _answer_to(file: Path, picture: Path, threads: int) -> Values:
    """What a network that reads one picture in 0..1 says of it (a style vector)."""
    from .pictures import to_rgb  # brings torch, which teachers do without

    session = open_session(file, threads, TEACHER_FILE)
    (entry,) = session.get_inputs()
    try:
        with Image.open(picture) as opened:
            image = to_rgb(opened)
    except OSError as error:
        raise OptionError(f"--teacher-input: the picture {picture} cannot be read: {error}.") from error
    height, width = _sides(entry.shape) or (image.height, image.width)
    x = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC), np.float32)[None] / 255
    if entry.shape[-1] != 3:
        x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    answer: Values = np.asarray(session.run(None, {entry.name: x})[0], np.float32)
    return answer


def open_session(path: Path, threads: int, what: str) -> Any:
    """ONNX Runtime on the file of an option; ``what`` says in an error what the option takes."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtra(what, "onnxruntime", "export") from error
    if not path.is_file():
        raise ModelFileError(f"There is no file {path}. {what}.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelFileError(f"{path} cannot be run: {_first_line(error)}") from error


def _sides(shape: Sequence[Any]) -> tuple[int, int] | None:
    """(height, width) of a picture's shape, if both are numbers."""
    sides = shape[1:3] if shape[-1] == 3 else shape[2:4]
    return (sides[0], sides[1]) if all(isinstance(side, int) and side > 0 for side in sides) else None


def _dims(shape: Sequence[Any]) -> tuple[int, ...]:
    return tuple(dim if isinstance(dim, int) and dim > 0 else 1 for dim in shape)


def _resized(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Bicubic up, averaged down (by triangles: boxes of a fraction of a pixel would beat with a weave)."""
    if pixels.shape[:2] == size:
        return pixels
    smaller = size[0] * size[1] < pixels.shape[0] * pixels.shape[1]
    method = Image.Resampling.BILINEAR if smaller else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(pixels).resize((size[1], size[0]), method))


def _number(text: str, setting: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise OptionError(
            f"--teacher-input: expected a number or FILE.onnx(PICTURE) in '{setting}', got '{text}'."
        ) from None


def digest_of(*parts: object) -> str:
    """SHA-256 over the parts, in hex."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else repr(part).encode())
    return digest.hexdigest()


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
