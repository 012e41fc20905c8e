"""The improved CycleGAN's four variants, photo to painting: base, leaky, semantic and both, some seeds of each.

    python -m studies.cyclegan_variants --photos photo/ --paintings monet/ --vgg vgg16.safetensors
    python -m studies.cyclegan_variants … --inception inception.onnx    # a second Fréchet distance, to be preferred
    python -m studies.cyclegan_variants … --scale gpu                   # as in the papers: hours on one GPU

All variants see the same pictures in the same order; every tenth photo is held out and translated for the distances.
VGG16 is part of the training of two variants, so a distance on its features flatters them: give --inception. Stopped
and started again, it goes on where it was. The result says the scale; the sample grid stays in the work folder.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from benchmarks import results
from ganlens.train.checkpoint import STATE_NAME, load_generator
from ganlens.train.config import CycleGANConfig, make_config
from ganlens.train.data.pictures import list_pictures
from ganlens.train.evaluate.extractors import Extractor, open_extractor
from ganlens.train.evaluate.metrics import SetDistance
from ganlens.train.evaluate.translation import RESIZE, in_square_batches, load, translations
from ganlens.train.loop import train
from ganlens.train.sample_sheet import make_sheet

from . import RESULTS
from .cells import Cell, Cells, mean_and_spread

VARIANTS = ("base", "leaky", "semantic", "hybrid")
PAPER_FID = {"base": 199.29, "leaky": 201.94, "semantic": 192.47, "hybrid": 189.71}
"""The improved CycleGAN's table, photo to Van Gogh; other data and features, so only differences compare."""

HELD_OUT_EVERY, HELD_OUT_FROM = 10, 5

SCALES: dict[str, dict[str, Any]] = {
    "quick": {
        "seeds": 1,
        "evaluated": 32,
        "config": {"tier": "nano", "size": 32, "load_size": 36, "steps": 2, "discriminator_width": 4, "ema": 0.5},
    },
    "cpu": {
        "seeds": 2,
        "evaluated": 128,
        "config": {
            "tier": "nano",
            "size": 128,
            "load_size": 144,
            "steps": 400,
            "learning_rate": 4e-4,
            "discriminator_width": 16,
            "semantic_crop": 64,  # VGG16 at 128 px costs several times the rest of such a step
            "ema": 0.99,
        },
    },
    "gpu": {
        "seeds": 3,
        "evaluated": 256,
        "config": {"tier": "resnet9", "size": 256, "epochs": 100, "decay_epochs": 100, "precision": "bf16"},
    },
}
"""What a scale trains: seeds, the side of the evaluated pictures in px, and options of ``engine train cyclegan``."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="studies.cyclegan_variants", description=__doc__.splitlines()[0])
    parser.add_argument("--photos", required=True, help="folder or glob; every tenth photo is held out")
    parser.add_argument("--paintings", required=True, help="folder or glob")
    parser.add_argument("--vgg", type=Path, required=True, help="VGG16 convolutions, safetensors")
    parser.add_argument("--inception", type=Path, help="FID Inception weights, or an ONNX Inception")
    parser.add_argument("--scale", choices=SCALES, default="cpu")
    parser.add_argument("--seeds", type=int, help="runs of each variant; default: the scale's")
    parser.add_argument("--steps", type=int, help="training steps of each run; default: the scale's")
    parser.add_argument("--beside", type=Path, help="a trained generator (run or file) for a row of its own")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: PyTorch's choice")
    parser.add_argument(
        "--work", type=Path, default=Path("out/bench/cyclegan-variants"), help="runs, cells, sample grid"
    )
    parser.add_argument("--json", type=Path, help="default: studies/results/cyclegan-variants-SCALE.json")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    study = Study(options)
    cells = Cells(options.work / "cells.json", study.settings)
    rows = {name: cells.run(name, lambda name=name: study.floor(name)) for name in ("identity", "colour transfer")}
    if options.beside is not None:
        generator, spec = load_generator(options.beside)
        rows[spec.name] = cells.run(f"beside: {spec.weights_sha256}", lambda: study.measure(generator))
    others = list(rows)
    for seed in range(study.seeds):
        for variant in VARIANTS:
            name = f"{variant}, seed {seed}"
            rows[name] = cells.run(name, lambda variant=variant, seed=seed: study.train(variant, seed))
    study.save_grid(options.work / "samples.png")
    columns, table = make_table(rows, study.seeds, others)
    results.write(
        options.json or RESULTS / f"cyclegan-variants-{options.scale}.json",
        "cyclegan-variants",
        title=study.title,
        columns=columns,
        rows=table,
        settings=study.settings,
        details=rows,
    )


class Study:
    """What all runs share: pictures, features, and how a run is made and measured."""

    def __init__(self, options: argparse.Namespace) -> None:
        scale = SCALES[options.scale]
        self.work: Path = options.work
        self.seeds: int = options.seeds or scale["seeds"]
        self.size: int = scale["evaluated"]
        self.vgg: Path = options.vgg
        self.config: dict[str, Any] = {**scale["config"], "threads": options.threads}
        if options.steps:
            self.config["steps"] = options.steps
        photos = list_pictures(options.photos)
        self.held_out = photos[HELD_OUT_FROM::HELD_OUT_EVERY]
        self.trained = [photo for photo in photos if photo not in set(self.held_out)]
        self.paintings = list_pictures(options.paintings)
        extractors = [open_extractor(vgg=options.vgg)]
        if options.inception is not None:
            extractors.insert(0, open_extractor(inception=options.inception))
        self.extractors: list[Extractor] = extractors
        self._distances: list[SetDistance] = []
        self.settings = {
            "scale": options.scale,
            **{name: value for name, value in self.config.items() if name != "threads"},
            "evaluated_px": self.size,
            "resize": RESIZE,
            "photos": len(self.trained),
            "held_out": len(self.held_out),
            "paintings": len(self.paintings),
            "names": hashlib.sha256("\n".join(p.name for p in photos + self.paintings).encode()).hexdigest()[:16],
            "features": [extractor.features for extractor in extractors],
        }

    @property
    def title(self) -> str:
        """The table's: what was measured on what."""
        s = self.settings
        length = f"{s['steps']} steps" if "steps" in s else f"{s['epochs']} + {s['decay_epochs']} epochs"
        return (
            f"CycleGAN variants, scale {s['scale']}: {s['tier']} at {s['size']} px, {length}, {self.seeds} seeds; "
            f"{s['held_out']} photos never seen to {s['paintings']} paintings at {s['evaluated_px']} px"
        )

    def train(self, variant: str, seed: int) -> Cell:
        """Train, or go on with, one run; its distances."""
        config = self._config(variant, seed)
        finished = config.run / "finished"  # a finished run cannot be resumed, and measuring may have been cut off
        if not finished.exists():
            if not train(config, resume=(config.run / STATE_NAME).is_file()):
                raise SystemExit("Stopped and saved. The same command goes on from here.")
            finished.touch()
        generator, spec = load_generator(config.run)
        assert spec.training is not None
        return {**self.measure(generator), "steps": spec.training.steps, "train_seconds": spec.training.seconds}

    def floor(self, name: str) -> Cell:
        """The distances of a row that needs no training."""
        return self.measure(nn.Identity(), name)

    def measure(self, generator: nn.Module, way: str = "model") -> Cell:
        """Both distances on each kind of features; ``way`` as in :func:`.evaluate.translations`."""
        ways = {"identity": None, **translations(generator, self.paintings, self.size)}
        if not self._distances:
            paintings = list(in_square_batches(self.paintings, self.size))
            self._distances = [SetDistance(extractor, paintings, resize=RESIZE) for extractor in self.extractors]
        translated = list(in_square_batches(self.held_out, self.size, ways[way]))
        found: Cell = {}
        for distance in self._distances:
            figures = distance(translated)
            found[figures.frechet.name] = figures.frechet.value
            found[figures.kernel.name] = figures.kernel.value
            found[f"{figures.kernel.name} spread"] = figures.kernel.spread
        return found

    def save_grid(self, path: Path) -> None:
        """Some held-out photos: as they are, colour-transferred, by each variant's first seed."""
        generators = [load_generator(self._config(variant, 0).run)[0] for variant in VARIANTS]
        ways = [translations(generator, self.paintings, self.size) for generator in generators]
        columns = [ways[0]["colour transfer"], *(way["model"] for way in ways)]
        names = ["photo", "colour transfer", *VARIANTS]
        chosen = np.linspace(0, len(self.held_out) - 1, min(6, len(self.held_out))).round().astype(int)
        photos = [load(self.held_out[place], self.size) for place in chosen]
        rows = list(zip(photos, *(column(photos) for column in columns), strict=True))
        Image.fromarray(make_sheet(rows, names, f"{self.size}x{self.size}, held out")).save(path)

    def _config(self, variant: str, seed: int) -> CycleGANConfig:
        values = {
            **self.config,
            "photos": str(self._link(self.trained) / "*"),
            "paintings": str(self._link(self.paintings) / "*"),
            **({"vgg": str(self.vgg.resolve())} if variant in ("semantic", "hybrid") else {}),
            "out": str(self.work / f"{variant}-{seed}"),
            "variant": variant,
            "seed": seed,
            "sample_every": 0,
        }
        return make_config(CycleGANConfig, values)

    def _link(self, pictures: Sequence[Path]) -> Path:
        """A folder of links to pictures: training takes a folder, and the split must not copy anything."""
        folder = self.work / ("photos" if pictures is self.trained else "paintings")
        folder.mkdir(parents=True, exist_ok=True)
        for picture in pictures:
            link = folder / picture.name
            if not link.exists():
                link.symlink_to(picture.resolve())
        return folder


def make_table(
    rows: dict[str, Cell], seeds: int, others: Sequence[str] = ("identity", "colour transfer")
) -> tuple[list[str], list[list[str]]]:
    """Columns and rows: the others, then the variants with their differences to base, ours and the paper's."""
    names = [name for name in rows["identity"] if name.startswith(("FID", "FD-"))]
    columns = ["variant"]
    for name in names:
        columns += [name, "to base"]
    columns.append("paper's FID to base")
    table = [[other, *(cell for n in names for cell in (f"{rows[other][n]:.1f}", "–")), "–"] for other in others]
    for variant in VARIANTS:
        line = [variant]
        for name in names:
            ours = [rows[f"{variant}, seed {seed}"][name] for seed in range(seeds)]
            base = [rows[f"base, seed {seed}"][name] for seed in range(seeds)]
            differences = [100 * (a / b - 1) for a, b in zip(ours, base, strict=True)]
            line += [mean_and_spread(ours), "–" if variant == "base" else f"{mean_and_spread(differences)} %"]
        paper = 100 * (PAPER_FID[variant] / PAPER_FID["base"] - 1)
        line.append("–" if variant == "base" else f"{paper:+.1f} %")
        table.append(line)
    return columns, table


if __name__ == "__main__":
    main()
