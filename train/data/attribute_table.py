"""Attribute tables: which picture has which attributes, and whose face it is.

Two kinds of table are read: a CSV file whose first line names the columns (ours, and the usual CSV editions of CelebA),
and CelebA's own ``list_attr_celeba.txt`` (a count, a line of names, then rows, all separated by spaces). A value is 1
for "has it" and 0 or -1 for "has it not". Pictures are matched by name without suffix, so that a table that says
``000001.jpg`` also serves a folder of ``000001.webp``.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ganlens.engine.errors import TrainingError, did_you_mean, reason
from ganlens.engine.files import read_file

from .pictures import list_pictures

logger = logging.getLogger(__name__)

PICTURE_FOLDERS = ("images", "img_align_celeba")
TABLES = ("attributes.csv", "list_attr_celeba.txt", "list_attr_celeba.csv")
IDENTITIES = ("identities.csv", "identity_CelebA.txt")
HOLDOUT_SEED = 0
"""Seed of the shuffle that selects the held-out people: the same in every run, so that no run trains on the test
faces of another."""

VALUES = {"1": 1, "0": 0, "-1": 0}
NO_COLUMN = 0
"""In place of a column that the table lacks: the first holds the names of the pictures."""
NAMED = 3
"""Examples that a message names."""


class Faces(NamedTuple):
    """Picture files with their attributes."""

    paths: list[Path]
    labels: NDArray[np.float32]
    """(N, C), 0 or 1."""
    identities: list[str] | None
    """Whose face it is; None: not known."""

    def take(self, rows: Sequence[int]) -> Faces:
        """Some of them."""
        whose = None if self.identities is None else [self.identities[row] for row in rows]
        return Faces([self.paths[row] for row in rows], self.labels[list(rows)], whose)


def find_faces(
    data: str | Path,
    attributes: Sequence[str],
    *,
    table: str | Path = "",
    identities: str | Path = "",
    unlabelled: bool = False,
) -> Faces:
    """The pictures of a data folder that the attribute table knows.

    Args:
        data: folder of pictures, or a folder with them in ``images`` or ``img_align_celeba`` beside the tables.
        attributes: column names, in the order of the label vector.
        table, identities: the tables; empty: looked for in ``data`` under their usual names. Without identities a
            warning is logged: a person may then be in training and hold-out.
        unlabelled: an attribute that the table lacks is 0 for every face, and is no error.

    Raises:
        TrainingError: no folder, no table, a column or value that cannot be used, or nothing that matches.
    """
    folder = Path(data)
    if not folder.is_dir():
        raise TrainingError(
            f"The folder {folder} does not exist. Give --data a folder with pictures and an attribute table."
        )
    pictures = list_pictures(str(picture_folder(folder)))
    table_file = _find(folder, table, TABLES)
    if table_file is None:
        classes = subfolders(folder)
        hint = f" Or label by subfolder: --classes {','.join(classes)}" if len(classes) > 1 else ""
        raise TrainingError(
            f"{folder} has no attribute table. Expected one of {', '.join(TABLES)} in it, or another file with --table."
            f"{hint}"
        )
    rows = read_attributes(table_file, attributes, unlabelled=unlabelled)
    known = [path for path in pictures if path.stem in rows]
    if not known:
        raise TrainingError(
            f"No picture of {folder} is in {table_file}: the folder has {pictures[0].name}, the table has "
            f"{next(iter(rows))}. Names must agree but for the suffix."
        )
    _tell_unmatched(pictures, rows, table_file)
    labels = np.array([rows[path.stem] for path in known], dtype=np.float32)
    identity_file = _find(folder, identities, IDENTITIES)
    if identity_file is None:
        logger.warning("no identities found in %s: the same person may be in training and hold-out", folder)
        return Faces(known, labels, None)
    whose = read_identities(identity_file)
    nameless = [path.name for path in known if path.stem not in whose]
    if nameless:
        logger.warning(
            "%d pictures have no identity in %s (%s, …); each counts as its own person",
            len(nameless),
            identity_file.name,
            ", ".join(nameless[:NAMED]),
        )
    return Faces(known, labels, [whose.get(path.stem, f"picture {path.stem}") for path in known])


def find_classes(data: str | Path, classes: Sequence[str]) -> Faces:
    """The pictures of subfolders, each labelled with the one that it is in; every picture counts as its own person.

    Args:
        data: the folder that holds them.
        classes: names of the subfolders, in the order of the label vector.

    Raises:
        TrainingError: a subfolder is missing or holds no pictures.
    """
    folder = Path(data)
    found: list[tuple[Path, int]] = []
    for column, name in enumerate(classes):
        if not (folder / name).is_dir():
            known = subfolders(folder) if folder.is_dir() else []
            raise TrainingError(f"{folder} has no subfolder '{name}' for --classes. {did_you_mean(name, known)}")
        found += [(path, column) for path in list_pictures(str(folder / name))]
    labels = np.eye(len(classes), dtype=np.float32)[[column for _, column in found]]
    paths = [path for path, _ in found]
    return Faces(paths, labels, [path.relative_to(folder).as_posix() for path in paths])


def subfolders(data: Path) -> list[str]:
    """Names of the subfolders that could be classes."""
    return sorted(p.name for p in data.iterdir() if p.is_dir() and p.name not in PICTURE_FOLDERS and p.name[0] != ".")


def picture_folder(data: Path) -> Path:
    """The folder of the pictures: the data folder, or a subfolder with one of the usual names."""
    return next((data / name for name in PICTURE_FOLDERS if (data / name).is_dir()), data)


def has_table(data: str | Path, table: str | Path = "") -> bool:
    """Whether there is an attribute table: the one named, or one of a usual name in the data folder."""
    return bool(table) or _find(Path(data), table, TABLES) is not None


def split_faces(faces: Faces, holdout: int) -> tuple[Faces, Faces]:
    """(training, held out): whole people are held out, in a fixed random order, until ``holdout`` pictures are reached.

    Raises:
        TrainingError: not even one picture per side remains.
    """
    whose = faces.identities or [path.stem for path in faces.paths]
    people = sorted(set(whose))
    order = np.random.default_rng(HOLDOUT_SEED).permutation(len(people))
    pictures: dict[str, list[int]] = {}
    for row, person in enumerate(whose):
        pictures.setdefault(person, []).append(row)
    held: list[int] = []
    for place in order:
        if len(held) >= holdout:
            break
        held += pictures[people[place]]
    chosen = set(held)
    training = [row for row in range(len(whose)) if row not in chosen]
    if len(training) < 2:
        raise TrainingError(
            f"Of {len(whose)} pictures of {len(people)} people, --holdout {holdout} leaves {len(training)} to train "
            "on. Hold out fewer."
        )
    return faces.take(training), faces.take(sorted(held))


def require_both_classes(labels: NDArray[np.float32], attributes: Sequence[str]) -> None:
    """Raise unless each attribute has pictures with and without it."""
    for name, share in zip(attributes, labels.mean(axis=0), strict=True):
        if share in (0, 1):
            raise TrainingError(
                f"{name} is {int(share)} in all {len(labels)} training pictures: there is nothing to learn. "
                "Remove it from --attributes, or add pictures of the other kind."
            )


def read_attributes(file: Path, attributes: Sequence[str], *, unlabelled: bool = False) -> dict[str, list[int]]:
    """Picture name without suffix → its values (0 or 1) of the ``attributes``, in their order.

    Args:
        unlabelled: an attribute that the table lacks is 0 for every picture, and is no error.

    Raises:
        TrainingError: unreadable, an unknown column (the nearest are named), or a value that is not 0, 1 or -1.
    """
    rows = _rows(file)
    header = next(rows, None)
    if header is None:
        raise TrainingError(f"{file} is empty; expected an attribute table.")
    columns = {name.lower(): place for place, name in enumerate(header[1], 1)}
    for name in attributes:
        if name.lower() not in columns and not unlabelled:
            raise TrainingError(f"{file} has no column '{name}'. {did_you_mean(name, header[1])}")
    places = [columns.get(name.lower(), NO_COLUMN) for name in attributes]
    found: dict[str, list[int]] = {}
    for line, fields in rows:
        if len(fields) != len(header[1]) + 1:
            raise TrainingError(
                f"{file}, line {line}: got {len(fields)} fields, expected a file name and {len(header[1])} values."
            )
        try:
            found[Path(fields[0]).stem] = [_value(fields, place) for place in places]
        except KeyError as error:
            bad = next(p for p in places if p != NO_COLUMN and fields[p].strip() not in VALUES)
            raise TrainingError(
                f"{file}, line {line}: {header[1][bad - 1]} of {fields[0]} is '{fields[bad].strip()}'; expected 1 for "
                "yes and 0 or -1 for no."
            ) from error
    if not found:
        raise TrainingError(f"{file} has column names but no rows.")
    return found


def _value(fields: Sequence[str], place: int) -> int:
    return 0 if place == NO_COLUMN else VALUES[fields[place].strip()]


def read_identities(file: Path) -> dict[str, str]:
    """Picture name without suffix → whose face it is, of ``name,identity`` or ``name identity`` lines."""
    found = {}
    for line in _read(file).splitlines():
        fields = line.replace(",", " ").split()
        if len(fields) == 2 and fields[1] != "identity":
            found[Path(fields[0]).stem] = fields[1]
    if not found:
        raise TrainingError(f"{file} names no identities; expected lines of a file name and an identity.")
    return found


def _rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    """First (0, column names without that of the picture), then (line number, picture and values) of each row."""
    lines = _read(file).splitlines()
    if lines and lines[0].strip().isdecimal():  # CelebA's own file begins with the number of its rows
        split = [line.split() for line in lines]
        first = 2
        names = split[1] if len(split) > 1 else []
    else:
        split = list(csv.reader(lines))
        first = 1
        names = [name.strip() for name in split[0][1:]] if split else []
    if names:
        yield 0, names
        yield from ((number, fields) for number, fields in enumerate(split[first:], first + 1) if fields)


def _read(file: Path) -> str:
    try:
        return read_file(file).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(f"{file} cannot be read as a table: {reason(error)}.") from error


def _find(folder: Path, given: str | Path, usual: Sequence[str]) -> Path | None:
    if str(given):
        if not Path(given).is_file():
            raise TrainingError(f"There is no table {given}.")
        return Path(given)
    return next((folder / name for name in usual if (folder / name).is_file()), None)


def _tell_unmatched(pictures: Sequence[Path], rows: dict[str, list[int]], table: Path) -> None:
    stems = {path.stem for path in pictures}
    missing = [name for name in rows if name not in stems]
    unlisted = [path.name for path in pictures if path.stem not in rows]
    for names, what in ((missing, "rows of %s have no picture"), (unlisted, "pictures are not in %s")):
        if names:
            logger.warning(f"skipped: %d {what} (%s%s)", len(names), table.name, *_examples(names))


def _examples(names: Sequence[str]) -> tuple[str, str]:
    return ", ".join(names[:NAMED]), ", …" if len(names) > NAMED else ""
