"""What the actors of ``--ray`` do: videos and pictures to translate, pictures to generate, pictures to judge."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import EngineError, OptionError
from ..media.uri import SINKS, SOURCES, scheme_of
from .cluster import RayCluster, absolute
from .inputs import Work
from .options.translate import TranslateOptions
from .segmented import SegmentWorker
from .worker import Done

if TYPE_CHECKING:
    from ..evaluate.lab import Pixels
    from ..spec import ValueRange

TOGETHER = 16
"""Pictures of one row: enough that asking for it costs little."""


# --- engine translate -------------------------------------------------------------------------------------------------


class _Translates:
    """A worker in a Ray actor."""

    def __init__(self, options: TranslateOptions, videos: bool) -> None:
        self._worker = SegmentWorker(options, alone=False, videos=videos, quiet=True)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        work: Work = row["work"]
        try:
            done = self._worker.translate(work, overwrite=row["may_replace"])
        except EngineError as error:
            done = Done(work, error=str(error))
        return {"index": row["index"], "done": done}


def translate(cluster: RayCluster, options: TranslateOptions, works: list[tuple[Work, bool]]) -> Iterator[Done]:
    """What became of each input, in the order in which they are finished.

    Args:
        works: each with whether its output, should it exist, may be replaced.

    Raises:
        BackendUnavailable: the cluster is lost.
    """
    given = [work for work, _ in works]
    rows = [
        {"index": index, "work": _seen_by_nodes(work), "may_replace": may_replace}
        for index, (work, may_replace) in enumerate(works)
    ]
    # An actor's share of a machine is what it asked Ray for, not all the cores that it sees.
    options = dataclasses.replace(
        options,
        model=absolute(options.model),
        threads=cluster.threads,
        encoder_threads=options.encoder_threads or cluster.threads,
        resume=True,  # in segments of a node that was lost
    )
    videos = any(work.input.kind == "video" for work in given)
    for row in cluster.map(_Translates, (options, videos), rows):
        done: Done = row["done"]
        yield dataclasses.replace(done, work=given[row["index"]])


def check(works: list[Work]) -> None:
    """Refuse what nodes cannot read or write.

    Raises:
        OptionError: one is a pipe or an address.
    """
    for work in works:
        for place, table in ((work.input.address, SOURCES), (work.output, SINKS)):
            if place == "-" or scheme_of(place, table) != "":
                raise OptionError(f"--ray: {place} is not a file that every node sees. Leave --ray out.")


def _seen_by_nodes(work: Work) -> Work:
    address = absolute(work.input.address)
    return Work(work.input._replace(address=address), os.path.abspath(work.output))


# --- engine generate --------------------------------------------------------------------------------------------------


class _Generates:
    def __init__(self, model: str, options: dict[str, Any]) -> None:
        from ..generator import Generator

        self._generator = Generator.open(model, **options)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        from ..media.pictures import write_image
        from ..pixels.frame import Frame

        made = []
        for path, picture in zip(row["paths"], self._generator.pictures(**row["draws"]), strict=True):
            # One that is made anew after its node was lost may replace what that node left.
            write_image(Path(path), Frame.from_rgb(picture.pixels), overwrite=True)
            made.append((picture.seed, picture.labels))
        return {"index": row["index"], "made": made}


def generate(
    cluster: RayCluster, model: str, options: dict[str, Any], draws: dict[str, Any], paths: Sequence[Path]
) -> Iterator[list[tuple[int, int, tuple[str, ...]]]]:
    """Make pictures as files; some at a time: (number, seed, labels) of each.

    Args:
        options: of :meth:`~ganlens.engine.Generator.open`.
        draws: of :meth:`~ganlens.engine.Generator.pictures`, for all of them.
        paths: a file for each.

    Raises:
        BackendUnavailable: the cluster is lost, or a file cannot be written.
    """
    rows = []
    for begin in range(0, len(paths), TOGETHER):
        some = [os.path.abspath(path) for path in paths[begin : begin + TOGETHER]]
        latent = None if draws["latent"] is None else draws["latent"][begin : begin + TOGETHER]
        mine = {**draws, "seed": draws["seed"] + begin, "n": len(some), "latent": latent}
        rows.append({"index": begin, "paths": some, "draws": mine})
    for row in cluster.map(_Generates, (absolute(model), options), rows):
        yield [(row["index"] + number, seed, tuple(labels)) for number, (seed, labels) in enumerate(row["made"])]


# --- engine evaluate --------------------------------------------------------------------------------------------------


class _Answers:
    def __init__(self, model: str, value_range: ValueRange | None, options: dict[str, Any]) -> None:
        from ..model import open as open_model
        from ..translator import Translator

        self._translator = Translator.open(open_model(model, value_range), **options)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"index": row["index"], "pictures": [self._translator(picture) for picture in row["pictures"]]}


def answers(
    cluster: RayCluster,
    model: str,
    value_range: ValueRange | None,
    options: dict[str, Any],
    pictures: Sequence[Pixels],
) -> list[Pixels]:
    """What a model makes of pictures, in their order.

    Args:
        value_range: of a model whose file does not say it.
        options: of :meth:`~ganlens.engine.Translator.open`.

    Raises:
        BackendUnavailable: the cluster is lost.
    """
    rows = [
        {"index": begin, "pictures": list(pictures[begin : begin + TOGETHER])}
        for begin in range(0, len(pictures), TOGETHER)
    ]
    done = {
        row["index"]: row["pictures"] for row in cluster.map(_Answers, (absolute(model), value_range, options), rows)
    }
    return [picture for index in sorted(done) for picture in done[index]]
