"""What a user names as input: files, folders, patterns, lists, addresses and pipes, each recognised."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from ..errors import MediaError, OptionError, printable, reason
from ..files import read_file
from ..media.file.codecs import CONTAINERS
from ..media.pictures import IMAGE_SUFFIXES as PICTURE_SUFFIXES
from ..media.pictures import natural
from ..media.uri import SOURCES, scheme_of

Kind = Literal["video", "picture"]

VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp",
    ".ogv", ".mxf", ".vob", ".dv", ".y4m", ".gif",
)  # fmt: skip
"""What a folder is searched for; a file named by itself may have any suffix."""

PIPE = "-"


class Input(NamedTuple):
    """One thing to translate."""

    address: str
    """A path, an address such as ``test:``, or "-"."""
    kind: Kind
    below: Path
    """Where it belongs below an output folder: its name, with the folders between it and the folder that was named."""


def find_inputs(given: Iterable[str], only: Kind | None = None) -> list[Input]:
    """What the words on a command line stand for, in natural order within each folder or pattern.

    Args:
        given: paths of files and folders, patterns (``*``, ``?``, ``[...]``, ``**``), .txt lists with one of these per
            line, addresses, or "-".
        only: leave the others out of folders and patterns.

    Raises:
        MediaError: one does not exist, or a folder or pattern has nothing to translate in it.
    """
    found: list[Input] = []
    for word in given:
        found += _expand(word, only, depth=0)
    return found


def is_address(word: str) -> bool:
    """Whether a word is an address such as ``rtsp://...`` or ``test:``, not a path.

    Raises:
        OptionError: it begins with a scheme that there is not.
    """
    return scheme_of(word, SOURCES) not in ("", "-")


def kind_of_file(path: str | Path) -> Kind:
    """By the suffix: a picture, else a video."""
    return "picture" if Path(path).suffix.lower() in PICTURE_SUFFIXES else "video"


def _refuse_impossible_names(word: str) -> None:
    try:
        os.stat(word)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:  # too long, a NUL character, a loop of links, no permission
        raise MediaError(f"{printable(word, 80)} cannot be read: {reason(error)}.") from error


def _expand(word: str, only: Kind | None, depth: int) -> list[Input]:
    if word != PIPE:
        _refuse_impossible_names(word)
    if word == PIPE or is_address(word):
        return [Input(word, only or "video", Path("stdin" if word == PIPE else _stem_of_address(word)))]
    path = Path(word)
    if path.is_dir():
        if path.resolve() == path.resolve().parent:  # a slip, or a damaged list: the whole disk would be searched
            raise MediaError(f"{word} is the root of the file system; expected a folder of pictures or videos.")
        inputs = [
            Input(str(file), kind, file.relative_to(path))
            for file in _walk(path)
            if (kind := _searched(file)) and only in (None, kind)
        ]
        if not inputs:
            what = {"picture": "pictures", "video": "videos", None: "videos or pictures"}[only]
            raise MediaError(f"{word}: no {what} in this folder; expected files such as {_some(only)}.")
        return inputs
    if path.suffix.lower() == ".txt" and path.is_file() and depth == 0:
        return _listed(path, only)
    if not path.exists() and any(mark in word for mark in "*?["):
        names = sorted(glob.glob(word, recursive=True), key=natural)
        inputs = [
            Input(name, kind, Path(os.path.relpath(name, _fixed_part(word))))
            for name in names
            if Path(name).is_file() and (kind := _searched(Path(name))) and only in (None, kind)
        ]
        if not inputs:
            raise MediaError(f"{word}: nothing matches; expected files such as {_some(only)}.")
        return inputs
    return [Input(word, only or kind_of_file(path), Path(path.name))]


def _listed(path: Path, only: Kind | None) -> list[Input]:
    try:
        lines = read_file(path).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise MediaError(f"{path} cannot be read as a list of inputs: {reason(error)}.") from error
    words = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not words:
        raise MediaError(f"{path} is an empty list; expected one file, folder or pattern per line.")
    found: list[Input] = []
    for word in words:
        _refuse_impossible_names(word)
        here = word if Path(word).is_absolute() or Path(word).exists() or is_address(word) else str(path.parent / word)
        found += _expand(here, only, depth=1)
    return found


def _walk(folder: Path) -> Iterator[Path]:
    """Files below a folder in natural order; hidden ones are left out."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=natural)
        for name in sorted(names, key=natural):
            if not name.startswith("."):
                yield Path(parent) / name


def _searched(path: Path) -> Kind | None:
    suffix = path.suffix.lower()
    if suffix in PICTURE_SUFFIXES:
        return "picture"
    return "video" if suffix in VIDEO_SUFFIXES else None


def _some(only: Kind | None) -> str:
    names = {"picture": PICTURE_SUFFIXES, "video": VIDEO_SUFFIXES[:5], None: (*VIDEO_SUFFIXES[:3], *PICTURE_SUFFIXES)}
    return ", ".join("*" + suffix for suffix in names[only])


def _fixed_part(pattern: str) -> Path:
    """The folders of a pattern before its first wildcard."""
    parts: list[str] = []
    for part in Path(pattern).parts[:-1]:
        if any(mark in part for mark in "*?["):
            break
        parts.append(part)
    return Path(*parts) if parts else Path(".")


def _stem_of_address(address: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", address).strip("-").lower() or "stream"


# --- outputs ---------------------------------------------------------------------------------------------------------


class Work(NamedTuple):
    """One input and where its translation goes."""

    input: Input
    output: str
    """A path, an address, or "-"."""


def plan_outputs(inputs: list[Input], output: str | None, model: str, name: str = "{stem}{suffix}") -> list[Work]:
    """Where each input goes.

    One input goes into the file ``output``, or into the folder ``output`` if that is one or ends with "/"; without an
    ``output``, into the current folder as ``clip-MODEL.mp4``. Several go into a folder, each below it as it was below
    the folder that was named. Containers that are only read (.avi, .ts, ...) become .mp4.

    Args:
        name: of a file in a folder, with ``{stem}``, ``{suffix}`` and ``{model}``.

    Raises:
        MediaError: several inputs and a file as output.
        OptionError: two inputs with one output, an output that is an input, or a bad ``name``.
    """
    stem = Path(model).stem
    single = len(inputs) == 1
    if single and output == PIPE:
        return [Work(inputs[0], PIPE)]
    into_folder = output is not None and (output.endswith(("/", os.sep)) or Path(output).is_dir())
    if single and output is not None and not into_folder:
        works = [Work(inputs[0], output)]
    elif single and output is None:
        works = [Work(inputs[0], _renamed(Path(inputs[0].below.name), "{stem}-{model}{suffix}", stem, inputs[0]))]
    else:
        if output == PIPE:
            raise OptionError(f"{len(inputs)} inputs cannot be written to standard output; give a folder: -o painted/")
        folder = Path(output) if output is not None else Path(f"translated-{stem}")
        if not into_folder and folder.exists():
            raise MediaError(f"{folder} is a file; {len(inputs)} results need a folder: -o painted/")
        if not into_folder and folder.suffix.lower() in (*PICTURE_SUFFIXES, *CONTAINERS) and output is not None:
            raise OptionError(f"-o {output}: {len(inputs)} inputs cannot become one file; give a folder: -o painted/")
        works = [Work(each, str(folder / _renamed(each.below, name, stem, each))) for each in inputs]
    _refuse_collisions(works)
    return works


def _renamed(below: Path, name: str, model: str, given: Input) -> str:
    suffix = below.suffix
    if given.kind == "video" and suffix.lower() not in CONTAINERS:
        suffix = ".mp4"
    try:
        text = name.format(stem=below.stem, suffix=suffix, model=model)
    except (KeyError, IndexError, ValueError):
        text = ""
    if not text or "/" in text or text in (".", ".."):
        raise OptionError(f"--name {name}: expected a file name of {{stem}}, {{model}} and {{suffix}}.")
    return str(below.with_name(text))


def _refuse_collisions(works: list[Work]) -> None:
    before: dict[str, str] = {}
    for given, output in works:
        if output == PIPE:
            continue
        key = os.path.normcase(os.path.abspath(output))
        if key in before:
            raise OptionError(
                f"{before[key]} and {given.address} would both be written to {output}. Translate them separately, or "
                "choose different names: --name '{stem}-{model}{suffix}'"
            )
        before[key] = given.address
        source = Path(given.address)
        if given.address != PIPE and source.exists() and Path(output).exists() and Path(output).samefile(source):
            raise OptionError(f"{output} is also the input; give another output with -o.")
