"""The seven adversarial losses of the survey on one test bed, measured on the survey's own axes.

    python -m studies.losses --data FACES --weights VGG16.safetensors --quick --out out/losses
    python -m studies.losses --data FACES --weights VGG16.safetensors --full --out out/losses    # on a GPU
    python -m studies.losses ... --publish          # results, plots and docs/losses.md of the repository

Every loss sees equally many real pictures, in batches of one size, on the same networks (``engine train dcgan``), with
its own published optimiser and critic steps. Each run is a process of its own and one cell of ``OUT/cells.json``: a
study that was stopped goes on with what is missing. Pictures are resized once and stay in OUT, like the runs.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from benchmarks import results
from ganlens.engine.benchmark.processes import high_water_kib, run_pipeline
from ganlens.engine.errors import TrainingError
from ganlens.engine.files import replace_file
from ganlens.train.checkpoint import load_generator
from ganlens.train.config import DCGANConfig, make_config
from ganlens.train.data.attribute_table import Faces, find_faces, split_faces
from ganlens.train.data.pictures import centre, read_picture, to_tensor
from ganlens.train.evaluate.extractors import VGGFeatures
from ganlens.train.evaluate.metrics import Features, SetDistance
from ganlens.train.loop import Trainer
from ganlens.train.losses import FAMILIES
from ganlens.train.methods.dcgan import class_names, classes_of, draw_noise
from ganlens.train.networks.vgg16 import VGG16

from . import RESULTS, gaussians, losses_report
from .cells import Cell, Cells

ROOT = Path(__file__).parents[1]
SIZE = 64
ATTRIBUTES = ("Male", "Smiling")
WATCHED = 1000
"""First steps, in which the norm of the generator's gradient is kept (spec of the test bed)."""
WARM = 5
"""Steps before the clock runs."""
CURVE = 200
"""Points of a kept curve, at most."""
RESIZE = "shorter side to 64 px, bicubic (Pillow), central square"


class Scale(NamedTuple):
    """How large a study is."""

    width: int
    batch: int
    steps: int
    seeds: int
    pictures: int
    """To train on; 0: all."""
    real: int
    """Held-out pictures to compare with, and generated ones."""
    points_steps: int
    points_batch: int


SCALES = {
    "quick": Scale(16, 16, 1000, 3, 3000, 400, 1500, 256),
    "full": Scale(64, 64, 50_000, 3, 0, 2000, 25_000, 256),
}


# --- one run, in a process of its own --------------------------------------------------------------------------------


class Recorder:
    """Listens to a training: losses, the generator's gradient, time."""

    def __init__(self, trainer: Trainer) -> None:
        self.losses: dict[str, list[Tensor]] = {phase.name: [] for phase in trainer.method.phases}
        self.norms: list[Tensor] = []
        self._generator = trainer.method.networks["generator"]
        self._step = 0
        self._clock: tuple[int, float, float] | None = None
        trainer.method.phases = tuple(
            phase._replace(
                loss=self._listening(phase.name, phase.loss), after=self._afterwards(phase.name, phase.after)
            )
            for phase in trainer.method.phases
        )

    def _listening(self, name: str, loss: Callable[..., Any]) -> Callable[..., Any]:
        def listen(batch: tuple[Tensor, ...], step: int) -> tuple[Tensor, dict[str, Tensor]]:
            self._step = step
            if self._clock is None and step >= WARM:
                self._clock = (step, *self._now())
            total, parts = loss(batch, step)
            self.losses[name].append(total.detach())
            return total, parts

        return listen

    def _afterwards(self, name: str, after: Callable[[], None] | None) -> Callable[[], None]:
        def look() -> None:
            if after:
                after()
            if name == "generator" and self._step < WATCHED:  # gradients stay until the next backward pass
                gradients = [p.grad.norm() for p in self._generator.parameters() if p.grad is not None]
                self.norms.append(torch.stack(gradients).norm().detach())

        return look

    @staticmethod
    def _now() -> tuple[float, float]:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter(), time.process_time()

    def step_ms(self) -> tuple[float | None, float | None]:
        """Wall and processor time of a step, means since the warming up; None for a run that was shorter."""
        if self._clock is None or self._step <= self._clock[0]:
            return None, None
        step, wall, cpu = self._clock
        now = self._now()
        steps = self._step + 1 - step
        return 1e3 * (now[0] - wall) / steps, 1e3 * (now[1] - cpu) / steps


def train_cell(request: dict[str, Any]) -> Cell:
    """Train one loss with one seed, and measure."""
    config = make_config(DCGANConfig, request["config"])
    trainer = Trainer(config)
    recorder = Recorder(trainer)
    diverged = ""
    try:
        trainer.fit()
    except TrainingError as error:  # not finite any more: a result too
        diverged = str(error)
    wall, cpu = recorder.step_ms()
    cell: Cell = {
        "diverged": diverged,
        "step_ms": wall,
        "step_cpu_ms": cpu,
        "generator_steps": len(recorder.losses["generator"]),
        "judge": thinned(recorder.losses["critic"]),
        "adversarial": thinned(recorder.losses["generator"]),
        "gradient_norm": thinned(recorder.norms),
        "peak_mib": round(high_water_kib(os.getpid()) / 1024),
        "peak_gpu_mib": round(torch.cuda.max_memory_allocated() / 2**20) if torch.cuda.is_available() else None,
    }
    if not diverged:
        features = torch.load(request["features"], weights_only=True)
        generator, _ = load_generator(config.run)
        extractor = VGGFeatures(VGG16.load(Path(request["weights"])))
        made = generate(generator, config, features["labels"])
        distance = SetDistance(extractor, Features(features["held_out"], (SIZE, SIZE)), resize=RESIZE)(made)
        cell |= {"frechet": distance.frechet.to_dict(), "kernel": distance.kernel.to_dict()}
    return cell


def generate(generator: torch.nn.Module, config: DCGANConfig, labels: Tensor) -> Iterator[Tensor]:
    """One picture for each row of ``labels`` (N, C), from noise that is the same for every loss, in batches."""
    source = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for rows in labels.split(50):
            z = draw_noise(len(rows), config.latent, config.noise, source)
            yield generator(z, classes_of(rows)) if config.loss == "cgan" else generator(z)


def thinned(values: Sequence[Tensor]) -> list[list[float]]:
    """``[place, mean]`` of up to ``CURVE`` equal pieces of a curve."""
    if not values:
        return []
    curve = torch.stack(list(values)).double().cpu()
    piece = -(-len(curve) // CURVE)
    return [
        [start + len(part) / 2, float(f"{float(part.mean()):.4g}")]
        for start, part in zip(range(0, len(curve), piece), curve.split(piece), strict=True)
    ]


# --- the study -------------------------------------------------------------------------------------------------------


def prepare(options: argparse.Namespace, scale: Scale) -> Path:
    """Resized pictures and their table in ``OUT/data``, the features of the held-out ones in ``OUT/features.pt``."""
    folder, done = options.out / "data", options.out / "features.pt"
    if done.exists():
        return folder
    training, held_out = split_faces(find_faces(options.data, ATTRIBUTES), options.holdout)
    training, held_out = some(training, scale.pictures), some(held_out, scale.real)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    with (folder / "attributes.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["filename", *ATTRIBUTES])
        for path, row in zip(training.paths, training.labels, strict=True):
            picture(path).save(folder / "images" / f"{path.stem}.png")
            table.writerow([f"{path.stem}.png", *(int(value) for value in row)])
    extractor = VGGFeatures(VGG16.load(options.weights))
    floor = some(training, len(held_out.paths))
    record = {
        "held_out": Features.of(extractor, batches(held_out.paths)).values,
        "training": Features.of(extractor, batches(floor.paths)).values,
        "labels": torch.from_numpy(held_out.labels),
    }
    replace_file(done, lambda file: torch.save(record, file))
    return folder


def some(faces: Faces, count: int) -> Faces:
    """Up to ``count`` of them, spread evenly; 0: all."""
    if not count or count >= len(faces.paths):
        return faces
    return faces.take([int(row) for row in torch.linspace(0, len(faces.paths) - 1, count).round()])


def picture(path: Path) -> Image.Image:
    """As the networks see it."""
    return Image.fromarray(centre(read_picture(path, SIZE), SIZE))


def batches(paths: Sequence[Path]) -> Iterator[Tensor]:
    """Pictures (N, 3, 64, 64) in [-1, 1], 50 at a time."""
    for start in range(0, len(paths), 50):
        chosen = paths[start : start + 50]
        yield torch.stack([to_tensor(centre(read_picture(path, SIZE), SIZE)) for path in chosen])


def request_for(name: str, seed: int, options: argparse.Namespace, scale: Scale, data: Path) -> dict[str, Any]:
    """What a process is asked to train."""
    return {
        "weights": str(options.weights),
        "features": str(options.out / "features.pt"),
        "config": {
            "loss": name,
            "data": str(data),
            "out": str(options.out / "runs" / f"{name}-{seed}"),
            **({"attributes": ",".join(ATTRIBUTES)} if name == "cgan" else {}),
            "size": SIZE,
            "width": scale.width,
            "batch": scale.batch,
            "steps": scale.steps,
            "seed": seed,
            "holdout": 0,
            "ema": 0.0,  # the weights as the game left them
            "threads": options.threads,
            "workers": options.workers,
            "log_every": max(1, scale.steps // 20),
            "sample_every": scale.steps,
            "checkpoint_minutes": 1e6,
        },
    }


def run_apart(request: dict[str, Any]) -> Cell:
    """:func:`train_cell` in a process of its own, whose memory is its own."""
    run = Path(request["config"]["out"])
    for left in sorted(run.rglob("*"), reverse=True):  # of a process that was stopped
        left.rmdir() if left.is_dir() else left.unlink()
    asked, answer = run.with_suffix(".request.json"), run.with_suffix(".json")
    asked.parent.mkdir(parents=True, exist_ok=True)
    asked.write_text(json.dumps(request), encoding="utf-8")
    usage = run_pipeline([[sys.executable, "-m", "studies.losses", "--cell", str(asked), str(answer)]])
    cell: Cell = json.loads(answer.read_text(encoding="utf-8"))
    return {**cell, "foreign": round(usage.foreign, 3)}


def play_points(name: str, seed: int, scale: Scale) -> Cell:
    """The 25 Gaussians; the points of the first seed are kept for the plot."""
    found, points = gaussians.play(name, steps=scale.points_steps, batch=scale.points_batch, seed=seed)
    kept = [[round(float(value), 3) for value in point] for point in points[:500]] if seed == 0 else []
    return {**found._asdict(), "points": kept}


def study(options: argparse.Namespace, scale: Scale) -> tuple[Cells, dict[str, Any]]:
    """All cells, and what is known of the real pictures."""
    names = [name for name in FAMILIES if name in options.losses.split(",")]
    settings = {
        **scale._asdict(),
        "scale": options.scale,
        "size": SIZE,
        "classes": list(class_names(ATTRIBUTES)),
        "holdout": options.holdout,
        "threads": options.threads,
        "device": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "CPU",
        "images_seen": scale.steps * scale.batch,
    }
    del settings["seeds"]  # more of them may follow
    cells = Cells(options.out / "cells.json", settings)
    for seed in range(scale.seeds):
        for name in names:
            cells.run(f"points {name} {seed}", lambda name=name, seed=seed: play_points(name, seed, scale))  # type: ignore[misc]
    data = prepare(options, scale)
    for seed in range(scale.seeds):
        for name in names:
            request = request_for(name, seed, options, scale, data)
            cells.run(f"pictures {name} {seed}", lambda request=request: run_apart(request))  # type: ignore[misc]
    features = torch.load(options.out / "features.pt", weights_only=True)
    extractor = VGGFeatures(VGG16.load(options.weights))
    distance = SetDistance(extractor, Features(features["held_out"], (SIZE, SIZE)), resize=RESIZE)
    floor = distance(Features(features["training"], (SIZE, SIZE)))
    return cells, {"floor": floor.frechet.to_dict(), "floor_kernel": floor.kernel.to_dict()}


def main(arguments: Sequence[str] | None = None) -> None:
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["--cell"]:
        asked, answer = (Path(name) for name in given[1:])
        cell = train_cell(json.loads(asked.read_text(encoding="utf-8")))
        answer.write_text(json.dumps(cell), encoding="utf-8")
        return
    parser = argparse.ArgumentParser(prog="studies.losses", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True, help="faces with an attribute table (Male, Smiling)")
    parser.add_argument("--weights", type=Path, required=True, help="VGG16 convolutions, a safetensors file")
    parser.add_argument("--out", type=Path, required=True, help="work folder; a study goes on with what is there")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", dest="scale", action="store_const", const="quick", help="for a CPU (default)")
    size.add_argument("--full", dest="scale", action="store_const", const="full", help="for a GPU")
    parser.set_defaults(scale="quick")
    parser.add_argument("--losses", default=",".join(FAMILIES), help="some of them, separated by commas")
    parser.add_argument("--holdout", type=int, default=2000, help="pictures, of whole people, never trained on")
    parser.add_argument("--threads", type=int, default=0, help="of each run; 0: PyTorch's choice")
    parser.add_argument("--workers", type=int, default=0, help="processes of each run that load pictures")
    parser.add_argument("--publish", action="store_true", help="write studies/results and docs/losses.md")
    for name in Scale._fields:
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=int, help=f"in place of {[s._asdict()[name] for s in SCALES.values()]}")
    options = parser.parse_args(given)
    unknown = [name for name in options.losses.split(",") if name not in FAMILIES]
    if unknown:
        parser.error(f"no loss is called {unknown[0]}; known: {', '.join(FAMILIES)}")
    changed = {name: getattr(options, name) for name in Scale._fields if getattr(options, name) is not None}
    scale = SCALES[options.scale]._replace(**changed)
    if options.threads:
        torch.set_num_threads(options.threads)
    options.out = options.out.resolve()
    options.weights = options.weights.resolve()

    cells, real = study(options, scale)
    summaries = losses_report.summarise(cells.cells)
    folder = RESULTS if options.publish else options.out
    stem = f"losses-{datetime.date.today()}"
    changes = ", ".join(f"{name} {value}" for name, value in changed.items())
    title = losses_report.title({**cells.settings, "seeds": scale.seeds}, changes)
    results.write(
        folder / f"{stem}.json",
        "losses",
        title=title,
        columns=losses_report.COLUMNS,
        rows=losses_report.rows(summaries, real),
        settings={**cells.settings, "seeds": scale.seeds, "changed": changed},
        details={"real": real, "cells": losses_report.without_points(cells.cells)},
    )
    plots = losses_report.plot(cells.cells, folder, stem)
    page = ROOT / "docs" / "losses.md" if options.publish else options.out / "losses.md"
    record = json.loads((folder / f"{stem}.json").read_text(encoding="utf-8"))
    page.write_text(losses_report.page(record, summaries, plots, page.parent), encoding="utf-8")
    print(f"Written: {page}")


if __name__ == "__main__":
    main()
