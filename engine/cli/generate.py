"""``engine generate``: pictures from noise, as a grid, as files or as a walk."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from operator import itemgetter
from pathlib import Path
from typing import Any

from rich.console import Console

from .. import model as models
from ..cpu_budget import ThreadBudget
from ..errors import MediaError, OptionError
from ..generator import Generator, Picture, WalkSource
from ..media import CONTAINERS, VideoSink
from ..media.contact_sheet import make_grid
from ..media.pictures import IMAGE_SUFFIXES, check_target, write_image
from ..model.attributes import groups_text
from ..model.latents import read_latents
from ..pixels.frame import Frame
from ..session import Session
from ..spec import GeneratorSpec
from .cluster import RayCluster
from .cluster_work import generate
from .console import make_console
from .interrupt import INTERRUPTED, terminate_as_interrupt
from .options.generate import GenerateOptions
from .progress import FrameProgress, plan_progress
from .report import check_record, write_record

PICTURES = 16
"""Unless asked for another number."""
MOST_IN_A_GRID = 4096
SECONDS_EACH = 1.0
"""How long a walk takes from one picture to the next, unless its length is asked for."""


@dataclass(frozen=True)
class Result:
    """What was made."""

    status: int
    made: int
    """Pictures or frames."""
    seconds: float
    pictures: list[dict[str, Any]]
    """Seed, labels and file of each; empty for a walk."""


def _names(job: GenerateOptions) -> list[str]:
    """``--labels`` one by one."""
    return [name.strip() for name in (job.labels or "").split(",") if name.strip()]


def run(job: GenerateOptions) -> int:
    """Do the job; returns the exit status."""
    if job.list_labels:
        _list_labels(models.open(job.model, foreign=False).spec)
        return 0
    output = job.output or f"{Path(job.model).stem}-{job.seed}.png"
    kind = _kind(output)
    if kind != "walk":
        for option, value in (("--fps", job.fps), ("--seconds", job.seconds)):
            if value is not None:
                raise OptionError(f"{option} needs a video as output ({', '.join(CONTAINERS)}); {output} is not one.")
    if job.ray is not None and kind != "folder":
        raise OptionError(f"--ray makes one file of each picture; expected a folder, got -o {output}: -o pictures/")
    if kind != "grid" and not job.captions:
        raise OptionError(f"--no-captions goes with a grid of pictures, not with {output}. Leave it out.")
    check_record(job.json_output)
    console = make_console(stderr=True, quiet=job.quiet)
    with (
        terminate_as_interrupt(),
        plan_progress(make_console(stderr=True, quiet=job.quiet), quiet=job.quiet),
        Generator.open(
            job.model,
            backend=job.backend,
            threads=ThreadBudget.plan(network=job.threads).network,
            strict=job.strict,
            device=job.device,
        ) as generator,
    ):
        for line in generator.choice.shown(verbose=job.verbose) if generator.choice else ():
            console.print(line, style="dim", soft_wrap=True, markup=False)
        result = {"grid": _make_grid, "folder": _make_folder, "walk": _make_walk}[kind](job, generator, output, console)
        what = "frames" if kind == "walk" else "pictures"
        rate = result.made / result.seconds if result.seconds else 0.0
        console.print(
            f"{result.made} {what} in {result.seconds:.1f} s ({rate:.1f} per second) on {generator.backend.name}: "
            f"{output}",
            soft_wrap=True,
            markup=False,
        )
    if job.json_output is not None:
        record = {
            "output": output,
            "model": generator.spec.name,
            "backend": generator.backend.name,
            "device": generator.backend.device,
            "seed": job.seed,
            what: result.made if kind == "walk" else result.pictures,
            "seconds": result.seconds,
            "stages": {name: row._asdict() for name, row in generator.times.summary().items()},
        }
        write_record(job.json_output, record, stream=sys.stdout)
    return result.status


def _list_labels(spec: GeneratorSpec) -> None:
    if spec.attributes is None:
        print(f"{spec.name} takes no labels.")
        return
    for line in groups_text(spec.attributes).split("; "):
        print(line)


def _kind(output: str) -> str:
    """What the output is, by its name: "grid", "walk" or "folder"."""
    path = Path(output)
    suffix = path.suffix.lower()
    if output.endswith("/") or path.is_dir() or not suffix:
        if path.exists() and not path.is_dir():
            raise MediaError(f"{output} is a file; expected a folder for one file each, or a name such as {path}.png.")
        return "folder"
    if suffix in IMAGE_SUFFIXES:
        return "grid"
    if suffix in CONTAINERS:
        return "walk"
    raise OptionError(
        f"-o {output}: expected a picture ({', '.join(IMAGE_SUFFIXES)}) for a grid, a video "
        f"({', '.join(CONTAINERS)}) for a walk, or a folder for one file each."
    )


def _draws(job: GenerateOptions, generator: Generator) -> dict[str, Any]:
    """What the generator is asked for, but for the number of frames."""
    port = generator.spec.latent
    assert port is not None
    latent = None if job.latent is None else read_latents(job.latent, port)
    n = PICTURES if job.n is None and latent is None else job.n
    return {"labels": _names(job), "seed": job.seed, "n": n, "latent": latent}


def _count(draws: dict[str, Any]) -> int:
    return draws["n"] if draws["latent"] is None else len(draws["latent"])


def _make_grid(job: GenerateOptions, generator: Generator, output: str, console: Console) -> Result:
    path = Path(output)
    check_target(path, overwrite=job.overwrite)  # now, not after all pictures have been made
    draws = _draws(job, generator)
    if _count(draws) > MOST_IN_A_GRID:
        raise OptionError(
            f"got {_count(draws)} pictures for one grid, expected at most {MOST_IN_A_GRID}. Give a folder: -o pictures/"
        )
    with FrameProgress(console, _count(draws), generator.times, quiet=job.quiet, what="pictures") as progress:
        pictures = list(_counted(generator.pictures(**draws), progress))
        captions = [_caption(picture, number, job) for number, picture in enumerate(pictures)]
        with generator.times.measure("encode"):
            sheet = make_grid([picture.pixels for picture in pictures], captions if job.captions else None)
            write_image(path, Frame.from_rgb(sheet), overwrite=job.overwrite)
    return Result(0, len(pictures), progress.seconds, [_entry(picture, output) for picture in pictures])


def _make_folder(job: GenerateOptions, generator: Generator, output: str, console: Console) -> Result:
    folder = Path(output)
    draws = _draws(job, generator)
    stem = Path(job.model).stem
    generator.pictures(**draws)  # refuses bad labels, before a folder is made
    names = [
        f"{stem}-{job.seed + number}.png" if job.latent is None else f"{stem}-{job.latent.stem}-{number}.png"
        for number in range(_count(draws))
    ]
    there = [name for name in names if (folder / name).exists()]
    if there and not job.overwrite:
        raise MediaError(f"{folder / there[0]} exists ({len(there)} of {len(names)} do); pass -y to overwrite them.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(f"The folder {folder} cannot be made: {error.strerror}.") from error
    paths = [folder / name for name in names]
    entries: list[tuple[int, dict[str, Any]]] = []
    status = 0
    with FrameProgress(console, len(names), generator.times, quiet=job.quiet, what="pictures") as progress:
        try:
            for number, seed, labels in _written(job, generator, draws, paths):
                entries.append((number, {"seed": seed, "labels": list(labels), "file": str(paths[number])}))
                progress.advance()
        except KeyboardInterrupt:
            status = INTERRUPTED
    entries.sort(key=itemgetter(0))
    return Result(status, len(entries), progress.seconds, [entry for _, entry in entries])


def _written(
    job: GenerateOptions, generator: Generator, draws: dict[str, Any], paths: list[Path]
) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """Make each picture's file: its number, seed and labels; in a cluster in any order."""
    if job.ray is not None:
        options = {"backend": job.backend, "threads": job.threads or 1, "strict": job.strict, "device": job.device}
        with RayCluster(job.ray, backend=job.backend, threads=job.threads) as ray:
            for some in generate(ray, job.model, options, draws, paths):
                yield from some
        return
    for number, (path, picture) in enumerate(zip(paths, generator.pictures(**draws), strict=True)):
        with generator.times.measure("encode"):
            write_image(path, Frame.from_rgb(picture.pixels), overwrite=job.overwrite)
        yield number, picture.seed, picture.labels


def _make_walk(job: GenerateOptions, generator: Generator, output: str, console: Console) -> Result:
    draws = _draws(job, generator)
    count = _count(draws)
    fps = 25.0 if job.fps is None else job.fps
    seconds = count * SECONDS_EACH if job.seconds is None else job.seconds
    if not 0.1 <= fps <= 240:
        raise OptionError(f"--fps: got {fps:g}, expected 0.1 to 240.")
    if not 0 < seconds < float("inf"):
        raise OptionError(f"--seconds: got {seconds:g}, expected a positive number.")
    total = round(seconds * fps)
    rate = Fraction(fps).limit_denominator(1001)
    source = WalkSource(generator, total, rate, **draws)
    sink = VideoSink(output, source.format, overwrite=job.overwrite)
    progress = FrameProgress(console, total, generator.times, quiet=job.quiet)
    session = Session(source, None, sink, on_frame=lambda _: progress.advance(), times=generator.times)
    with progress:
        report = session.run()
    for note in report.notes:
        console.print(f"note: {note}", soft_wrap=True, markup=False)
    return Result(INTERRUPTED if report.stopped else 0, report.frames, report.seconds, [])


def _counted(pictures: Iterator[Picture], progress: FrameProgress) -> Iterator[Picture]:
    for picture in pictures:
        yield picture
        progress.advance()


def _caption(picture: Picture, number: int, job: GenerateOptions) -> list[str]:
    where = f"seed {picture.seed}" if job.latent is None else f"latent {number}"
    return [*picture.labels, where]


def _entry(picture: Picture, file: str) -> dict[str, Any]:
    return {"seed": picture.seed, "labels": list(picture.labels), "file": file}
