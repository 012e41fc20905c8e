"""Aligned pairs for paired training: pictures, and what a teacher answers; made once, kept beside the run.

A picture is seen whole and in varied copies: enlarged, turned, mirrored, in other light and with other colours, as
cameras see. The teacher answers each copy anew; where the answers are files, or too slow to make, they are moved with
the picture, whose light then stays. All pairs are squares of one size, uint8, in two ``.npy`` files that
training maps into memory; ``pairs.json`` says what they were made from.
"""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor

from ganlens.engine.errors import TrainingError, reason
from ganlens.engine.files import read_json

from ..config import PairedConfig, PhotosConfig
from .datasets import TrainingData
from .pictures import centre, list_pictures, read_picture, resized, to_tensor
from .teachers import Teacher, open_teacher
from .variation import compress

logger = logging.getLogger(__name__)

CLIPS = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v"})
RECORD = "pairs.json"
PAIRS_NAME = "pairs"
"""Folder of the pairs in a run of paired training."""
PICTURES, ANSWERS = "pictures.npy", "answers.npy"

Pixels = NDArray[np.uint8]
Tell = Callable[[int, int], None]


class Wanted(NamedTuple):
    """Which pictures to make pairs of."""

    photos: str
    """Folders, quoted globs and clips, separated by commas."""
    size: int
    varied: int
    """Varied copies of each picture."""
    zoom: float
    """Largest enlargement of a varied copy."""
    holdout: int
    """Every N-th picture by name is held out, and the last N-th part of a clip; 0: none."""
    clip_frames: int
    """Frames taken from each clip, evenly spread."""
    seed: int


class Pairs(NamedTuple):
    """(N, S, S, 3) uint8 RGB each."""

    pictures: Pixels
    answers: Pixels


def make_pairs(
    wanted: Wanted,
    folder: Path,
    teacher: Teacher | None,
    answers: str,
    tell: Tell | None = None,
    before: Path | None = None,
) -> Pairs:
    """The pairs in ``folder``: those there if they were made from the same, else new ones.

    Args:
        wanted: which pictures.
        folder: where pairs are kept; made if missing.
        teacher: answers each copy, or each picture once and the copies move with it; None: the answers are files.
        answers: without a teacher, a folder or glob of pictures named as the photos are.
        tell: called with (pairs done, all) now and then.
        before: another folder of pairs, whose files are taken if they were made from the same.

    Raises:
        TrainingError: unusable pictures, answers that are missing, or no space to keep them.
    """
    sources = list_sources(wanted)
    record = {
        **wanted._asdict(),
        "photos": [f"{path.name} {path.stat().st_size}" for path in sources],
        "answers": answers and [f"{path.name} {path.stat().st_size}" for path in list_pictures(answers)],
        "teacher": teacher.digest if teacher is not None else "",
    }
    there = _read_record(folder)
    if there == record:
        return _load(folder)
    if there is not None:
        changed = ", ".join(key for key, value in record.items() if there.get(key) != value)
        raise TrainingError(
            f"The pairs in {folder} were made from something else (now different: {changed}). Give another --pairs or "
            "--out, or delete that folder to make them again."
        )
    if before is not None and _read_record(before) == record:
        _take(before, folder)
        return _load(folder)
    given: _Answers | Teacher | None = teacher if teacher is not None and teacher.once else None
    if teacher is None:
        given = _Answers(answers)
    made: list[tuple[Pixels, Pixels]] = []
    total = count_pairs(wanted, sources)
    for number, (picture, answer) in enumerate(_squares(wanted, sources, given)):
        if answer is None:
            assert teacher is not None
            answer = teacher(picture)
        made.append((picture, answer))
        if tell is not None and (number + 1) % 25 == 0:
            tell(number + 1, total)
    if len(made) < 2:
        raise TrainingError(
            f"{wanted.photos} gives {len(made)} pictures; at least 2 are needed, some hundreds to learn from."
        )
    _save(folder, Pairs(np.stack([pair[0] for pair in made]), np.stack([pair[1] for pair in made])), record)
    return _load(folder)


def list_sources(wanted: Wanted) -> list[Path]:
    """The files of all sources, without the pictures held out.

    Raises:
        TrainingError: a source has none.
    """
    found: list[Path] = []
    for source in (part.strip() for part in wanted.photos.split(",")):
        if Path(source).suffix.lower() in CLIPS:
            if not Path(source).is_file():
                raise TrainingError(
                    f"There is no clip {source}. --photos takes folders, globs and clips, with commas between."
                )
            found.append(Path(source))
            continue
        pictures = list_pictures(source)
        found += [path for place, path in enumerate(pictures) if not (wanted.holdout and place % wanted.holdout == 0)]
    return found


def picture_sources(photos: str) -> list[str]:
    """The folders and globs among the sources, without the clips; all of them if there are only clips."""
    parts = [part.strip() for part in photos.split(",")]
    return [part for part in parts if Path(part).suffix.lower() not in CLIPS] or parts


def count_pairs(wanted: Wanted, sources: list[Path]) -> int:
    """How many pairs there will be, if every file can be read."""
    clips = sum(path.suffix.lower() in CLIPS for path in sources)
    return (len(sources) - clips + clips * wanted.clip_frames) * (1 + wanted.varied)


class PairDataset(TrainingData):
    """Sample ``i``: a pair at a random place of its squares; what it is depends on the seed and ``i`` only.

    Args:
        pairs: see :func:`make_pairs`.
        size: side of what is cut out, px; the pairs' own: all of it.
        seed: of order and places.
        jpeg: share of the pictures that go through an encoder, but not their answers; see :func:`.variation.compress`.
    """

    def __init__(self, pairs: Pairs, size: int, *, seed: int = 0, jpeg: float = 0.0) -> None:
        self.pairs = pairs
        self.size = size
        self.seed = seed
        self.jpeg = jpeg
        self._order: tuple[int, NDArray[np.int64]] | None = None

    @property
    def epoch_length(self) -> int:
        """All pairs once."""
        return len(self.pairs.pictures)

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        rounds, place = divmod(index, self.epoch_length)
        if self._order is None or self._order[0] != rounds:
            self._order = rounds, np.random.default_rng((self.seed, 0, rounds)).permutation(self.epoch_length)
        number = int(self._order[1][place])
        random = np.random.default_rng((self.seed, 1, index))
        free = self.pairs.pictures.shape[1] - self.size
        top, left = (int(random.integers(free + 1)) for _ in range(2))
        window = slice(top, top + self.size), slice(left, left + self.size)
        picture, answer = (side[number][window] for side in self.pairs)
        return to_tensor(compress(picture, self.jpeg, random)), to_tensor(answer)

    def preview(self, count: int, size: int) -> tuple[Tensor, ...]:
        """Pairs spread over all, seen whole."""
        numbers = np.linspace(0, self.epoch_length - 1, min(count, self.epoch_length)).astype(int)
        side = self.pairs.pictures.shape[1] // 8 * 8
        return tuple(torch.stack([to_tensor(centre(part[number], side)) for number in numbers]) for part in self.pairs)


# --- making ----------------------------------------------------------------------------------------------------------


class _Answers:
    """Answers that are files, by the stem of the photo's name."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.files = {path.stem: path for path in list_pictures(source)}

    def find(self, photo: Path, size: int) -> Pixels:
        """The answer to a photo, its shorter side of ``size`` px."""
        if photo.stem not in self.files:
            raise TrainingError(
                f"{self.source} has no target for {photo.name}: expected a picture called {photo.stem} there, or a "
                "--teacher to make one."
            )
        return read_picture(self.files[photo.stem], size)


def _squares(
    wanted: Wanted, sources: list[Path], given: _Answers | Teacher | None
) -> Iterator[tuple[Pixels, Pixels | None]]:
    """Pictures, whole and varied, each with its answer where those are files or a teacher answers only once."""
    random = np.random.default_rng((wanted.seed, 2))
    for path in sources:
        if path.suffix.lower() in CLIPS:
            if isinstance(given, _Answers):
                raise TrainingError(f"{path} is a clip, but --answers holds pictures; use pictures, or a --teacher.")
            frames: Iterator[Pixels] = _frames(path, wanted)
        else:
            frames = _one(path, wanted.size)
        for frame in frames:
            answer = None
            if isinstance(given, _Answers):
                answer = given.find(path, min(frame.shape[:2]))
            elif given is not None:
                frame = _whole(frame, wanted.size)
                answer = given(frame)
            if answer is not None and answer.shape != frame.shape:
                raise TrainingError(
                    f"{path.name} and its target have different shapes: {frame.shape[1]}x{frame.shape[0]} and "
                    f"{answer.shape[1]}x{answer.shape[0]} at {wanted.size} px. Pairs must be aligned."
                )
            yield _whole(frame, wanted.size), None if answer is None else _whole(answer, wanted.size)
            for _ in range(wanted.varied):
                move = _draw_move(random, wanted.zoom)
                varied = _moved(frame, move, wanted.size)
                if answer is not None:  # the answer follows the picture's geometry; its light is its own
                    yield varied, _moved(answer, move, wanted.size)
                else:
                    yield relight(varied, random), None


class _Move(NamedTuple):
    zoom: float
    degrees: float
    mirrored: bool
    across: float
    """-1 to 1: from the left to the right end of what is free."""
    down: float


def _draw_move(random: np.random.Generator, zoom: float) -> _Move:
    return _Move(
        zoom=float(random.uniform(1.0, zoom)),
        degrees=float(random.uniform(-6, 6)),
        mirrored=bool(random.random() < 0.5),
        across=float(random.uniform(-1, 1)),
        down=float(random.uniform(-1, 1)),
    )


def _moved(pixels: Pixels, move: _Move, size: int) -> Pixels:
    """A square of a picture, enlarged, turned within the picture's borders as far as it may, mirrored."""
    height, width = pixels.shape[:2]
    side = min(height, width) / move.zoom
    # A square turned by an angle needs this much more room; a whole picture cannot be turned.
    radians = math.radians(move.degrees)
    room = side * (abs(math.cos(radians)) + abs(math.sin(radians)))
    if room > min(height, width):
        radians, room = 0.0, side
    x = width / 2 + move.across * (width - room) / 2
    y = height / 2 + move.down * (height - room) / 2
    scale = side / size
    cos, sin = math.cos(radians) * scale, math.sin(radians) * scale
    flip = -1.0 if move.mirrored else 1.0
    half = size / 2
    # Pillow asks for the source of each target: source = A target + b, with the target's middle on (x, y).
    a, b, d, e = flip * cos, -sin, flip * sin, cos
    matrix = (a, b, x - (a + b) * half, d, e, y - (d + e) * half)
    image = Image.fromarray(pixels)
    if scale > 1.3:  # average first, or fine texture turns into sparkle
        image = image.filter(ImageFilter.GaussianBlur(0.4 * scale))
    return np.asarray(image.transform((size, size), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC))


def relight(pixels: Pixels, random: np.random.Generator) -> Pixels:
    """The picture in another light: gamma, white balance, contrast, brightness, saturation, as cameras vary."""
    x = (pixels.astype(np.float32) / 255) ** math.exp(random.uniform(-0.5, 0.5))
    x = x * np.array([1 + random.uniform(-w, w) for w in (0.12, 0.05, 0.12)], np.float32)
    mean = x.mean()
    x = (x - mean) * random.uniform(0.7, 1.2) + mean + random.uniform(-0.08, 0.08)
    grey = x.mean(axis=2, keepdims=True)
    x = grey + (x - grey) * random.uniform(0.5, 1.25)
    lit: Pixels = np.clip(x * 255 + 0.5, 0, 255).astype(np.uint8)
    return lit


LARGEST = 2
"""Pictures are kept up to so many times as large as the pairs, so that enlarged copies are sharp."""


def _whole(pixels: Pixels, size: int) -> Pixels:
    """The central square, its side ``size``."""
    return centre(resized(pixels, size), size)


def _one(path: Path, size: int) -> Iterator[Pixels]:
    try:
        with Image.open(path) as opened:
            shorter = min(opened.size)
        yield read_picture(path, min(max(shorter, size), LARGEST * size))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        logger.warning("skipped %s: %s", path, error)


def _frames(path: Path, wanted: Wanted) -> Iterator[Pixels]:
    """Frames of a clip, evenly spread."""
    try:
        with av.open(str(path)) as clip:
            stream = clip.streams.video[0]
            stream.thread_type = "AUTO"
            count = stream.frames or sum(1 for _ in clip.decode(stream))
            clip.seek(0)
            last = count - count // wanted.holdout if wanted.holdout else count
            chosen = set(np.linspace(0, last - 1, min(wanted.clip_frames, last)).astype(int).tolist())
            for number, frame in enumerate(clip.decode(stream)):
                if number in chosen:
                    picture = frame.to_ndarray(format="rgb24")
                    shorter = min(max(min(picture.shape[:2]), wanted.size), LARGEST * wanted.size)
                    yield resized(picture, shorter)
    except (av.FFmpegError, IndexError) as error:
        raise TrainingError(f"The clip {path} cannot be read: {reason(error)}.") from error


# --- keeping ---------------------------------------------------------------------------------------------------------


def _read_record(folder: Path) -> dict[str, object] | None:
    try:
        record: dict[str, object] = read_json(folder / RECORD)
    except (OSError, ValueError):
        return None
    return record


def _load(folder: Path) -> Pairs:
    return Pairs(*(np.load(folder / name, mmap_mode="r") for name in (PICTURES, ANSWERS)))


def _take(before: Path, folder: Path) -> None:
    """The same files in another folder, on the same place of the disk where that is possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in (PICTURES, ANSWERS, RECORD):  # the record last, as in _save
            (folder / name).unlink(missing_ok=True)
            try:
                os.link(before / name, folder / name)
            except OSError:
                shutil.copy(before / name, folder / name)
    except OSError as error:
        raise TrainingError(f"The pairs cannot be kept in {folder}: {reason(error)}.") from error


def _save(folder: Path, pairs: Pairs, record: object) -> None:
    """Write the pairs, the record last: without it, what is there is not taken for whole."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RECORD).unlink(missing_ok=True)
        for name, array in zip((PICTURES, ANSWERS), pairs, strict=True):
            part = folder / f"{name}.part"
            with part.open("wb") as file:
                np.save(file, array)
            os.replace(part, folder / name)
        part = folder / f"{RECORD}.part"
        part.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        os.replace(part, folder / RECORD)
    except OSError as error:
        raise TrainingError(f"The pairs cannot be kept in {folder}: {reason(error)}.") from error


def make_pair_dataset(config: PairedConfig) -> PairDataset:
    """The pairs of a configuration; the teacher is run now if the pairs do not exist yet."""
    teacher = None
    if config.teacher:
        teacher = open_teacher(
            config.teacher,
            value_range=config.range,
            inputs=config.teacher_input,
            scale=config.teacher_scale,
            shifts=config.teacher_shifts,
            threads=config.threads,
            vgg=config.vgg,
            vgg_scaling=config.vgg_scaling,
        )
    pairs = make_pairs_of(config, teacher, config.pairs, config.answers)
    return PairDataset(pairs, config.crop or config.size, seed=config.seed)


def make_pairs_of(config: PhotosConfig, teacher: Teacher | None, folder: str, answers: str = "") -> Pairs:
    """The pairs of a configuration, in ``folder`` or in its run; see :func:`make_pairs`."""
    kept = Path(folder) if folder else config.run / PAIRS_NAME
    before = Path(config.start_from) / PAIRS_NAME if config.start_from else None
    return make_pairs(_wanted(config), kept, teacher, answers, _tell_pairs, before)


def make_photo_dataset(config: PhotosConfig) -> PairDataset:
    """The pictures of a configuration without answers: each is its own."""
    pictures = np.stack([picture for picture, _ in _squares(_wanted(config), list_sources(_wanted(config)), None)])
    return PairDataset(Pairs(pictures, pictures), config.crop or config.size, seed=config.seed)


def _wanted(config: PhotosConfig) -> Wanted:
    return Wanted(
        config.photos, config.size, config.varied, config.zoom, config.holdout, config.clip_frames, config.seed
    )


def _tell_pairs(done: int, total: int) -> None:
    if done % 100 == 0 or done == total:
        logger.info("%d of %d pairs made", done, total)
