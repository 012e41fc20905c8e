"""Training: pictures per second of each method, beside a bare loop of the same networks, and where the time goes.

    python -m benchmarks.train_speed                       # all methods, small networks, made-up pictures
    python -m benchmarks.train_speed --scale gpu           # the papers' sizes
    python -m benchmarks.train_speed --methods cyclegan stargan --rounds 20

The bare loop runs the same losses, backward passes and optimisers on one batch that is already there: no loading, no
moving average, no log. No loop over these networks can be faster. For CycleGAN a loop as most repositories write it
stands beside: pictures decoded for each step, NCHW, a number fetched of each loss in each step. All run in turn in each
round, and ratios are taken within a round. The bare loop runs in both memory layouts.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import logging
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import l1_loss, mse_loss
from torch.optim import Adam

from ganlens.engine.benchmark.stats import interleave, paired_ratio
from ganlens.train.config import CycleGANConfig, TrainConfig, make_config
from ganlens.train.data.datasets import Positions, make_loader
from ganlens.train.data.demo import make_demo_data
from ganlens.train.data.pictures import list_pictures
from ganlens.train.loop import Trainer, only_trainable
from ganlens.train.methods import METHODS as TABLE
from ganlens.train.networks import PatchGAN, make_generator
from ganlens.train.specs import CELEBA, image_to_image_spec

from . import results

METHODS = ("cyclegan", "acl-gan", "stargan", "dcgan", "psc-gan")

SMALL_FACES = {"size": 64, "batch": 8, "holdout": 8}
SCALES: dict[str, dict[str, dict[str, Any]]] = {
    "quick": {
        "cyclegan": {"tier": "nano", "size": 32, "discriminator_width": 4},
        "acl-gan": {"tier": "nano", "size": 32, "batch": 2, "discriminator_width": 2, "holdout": 8},
        "stargan": {"size": 32, "batch": 2, "generator_width": 4, "discriminator_width": 2, "holdout": 8},
        "dcgan": {"size": 16, "batch": 2, "width": 4, "holdout": 8},
        "psc-gan": {"size": 64, "batch": 2, "width": 4, "holdout": 8, "stage": "1"},
    },
    "cpu": {
        "cyclegan": {"tier": "mobile", "size": 128, "discriminator_width": 32},
        "acl-gan": {"tier": "mobile", "discriminator_width": 16, **SMALL_FACES},
        "stargan": {"generator_width": 16, "discriminator_width": 16, **SMALL_FACES},
        "dcgan": {"width": 32, **SMALL_FACES, "batch": 32},
        "psc-gan": {"width": 32, **SMALL_FACES, "batch": 32, "stage": "1"},
    },
    "gpu": {
        "cyclegan": {"tier": "resnet9", "size": 256, "precision": "bf16", "workers": 4},
        "acl-gan": {"tier": "mobile", "size": 128, "precision": "bf16", "workers": 4, "holdout": 8},
        "stargan": {"size": 128, "precision": "bf16", "workers": 4, "holdout": 8},
        "dcgan": {"size": 64, "precision": "bf16", "workers": 4, "holdout": 8},
        "psc-gan": {"size": 128, "precision": "bf16", "workers": 4, "holdout": 8, "stage": "1"},
    },
}
"""What each scale trains: options of ``engine train METHOD``."""

FACES = 128
ENDLESS = 10**6


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.train_speed", description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--scale", choices=SCALES, default="cpu")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--steps", type=int, default=2, help="steps of each loop in a round")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: PyTorch's choice")
    parser.add_argument("--json", type=Path, help="default: benchmarks/results/train-speed-SCALE.json")
    options = parser.parse_args(arguments)
    logging.disable(logging.INFO)
    if options.threads:
        torch.set_num_threads(options.threads)
    rows: list[list[results.Cell]] = []
    details: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        data = make_data(Path(folder))
        for method in options.methods:
            config = configure(method, options.scale, data, Path(folder) / "run" / method, options.threads)
            lines, details[method] = measure(config, options.rounds, options.steps)
            rows += lines
    results.write(
        options.json or results.FOLDER / f"train-speed-{options.scale}.json",
        "train-speed",
        title=f"Training, scale {options.scale}, {torch.get_num_threads()} CPU threads, made-up pictures in memory",
        columns=[
            "method",
            "images/s",
            "time / bare loop (quartiles)",
            "plain loop / ours",
            "NCHW / channels last",
            "share of a step",
        ],
        rows=rows,
        settings={"scale": options.scale, "rounds": options.rounds, "steps": options.steps, **SCALES[options.scale]},
        details=details,
    )


def make_data(folder: Path) -> Path:
    """Made-up photos, paintings, and faces with a table of all attributes, in one folder."""
    make_demo_data(folder, count=12, size=160)
    random = np.random.default_rng(0)
    faces = folder / "faces"
    (faces / "images").mkdir(parents=True)
    names = sorted(CELEBA)
    people = ["filename,identity", *(f"{number:03}.png,{number}" for number in range(FACES))]
    (faces / "identities.csv").write_text("\n".join(people) + "\n", encoding="utf-8")
    with open(faces / "attributes.csv", "w", newline="", encoding="utf-8") as table:
        writer = csv.writer(table)
        writer.writerow(["filename", *names])
        for number in range(FACES):
            pixels = random.integers(0, 256, (128, 128, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(faces / "images" / f"{number:03}.png")
            writer.writerow([f"{number:03}.png", *(random.random(len(names)) < 0.2).astype(int)])
    return folder


def configure(method: str, scale: str, data: Path, out: Path, threads: int) -> TrainConfig:
    """The run of a method: never finished, never saved."""
    values = {**SCALES[scale][method], "out": str(out), "sample_every": 0, "threads": threads}
    if method == "cyclegan":
        values |= {"photos": str(data / "photos"), "paintings": str(data / "paintings"), "steps": ENDLESS}
    elif method == "psc-gan":
        values |= {"data": str(data / "faces"), "stage1_steps": ENDLESS}
    else:
        values |= {"data": str(data / "faces"), "steps": ENDLESS}
        if method != "dcgan":
            values["attributes"] = "Male,Smiling,Young"
    return make_config(TABLE[method].config, values)


def measure(config: TrainConfig, rounds: int, steps: int) -> tuple[list[list[results.Cell]], dict[str, object]]:
    """The table's row of a method, and the seconds of each round."""
    ours = OurLoop(config)
    loops: dict[str, Callable[[], float]] = {"ours": partial(ours.run, steps)}
    layouts = {
        name: BareLoop(config.model_copy(update={"memory_format": name})) for name in ("contiguous", "channels_last")
    }
    loops |= {name: partial(loop.run, steps) for name, loop in layouts.items()}
    if isinstance(config, CycleGANConfig):
        plain = PlainCycleGAN(config, ours.trainer.device)
        loops["plain"] = partial(plain.run, steps)
    for loop in loops.values():
        loop()  # the first steps find the fastest algorithms and fill caches
    ours.clear()
    seconds = interleave(loops, rounds)
    speed = steps * config.batch / statistics.median(seconds["ours"])
    bare = seconds["channels_last" if ours.trainer.layout == torch.channels_last else "contiguous"]
    ratio = "{:.2f} ({:.2f}–{:.2f})".format(*paired_ratio(seconds["ours"], bare))
    layout = f"{paired_ratio(seconds['contiguous'], seconds['channels_last'])[0]:.2f}"
    against = f"{paired_ratio(seconds['plain'], seconds['ours'])[0]:.2f}" if "plain" in seconds else "–"
    shares = ours.shares()
    where = ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares.items())
    return [[config.method, round(speed, 2), ratio, against, layout, where]], {"seconds": seconds, "shares": shares}


class OurLoop:
    """The trainer with its loader, as ``engine train`` runs it between two checkpoints, and what each part takes."""

    def __init__(self, config: TrainConfig) -> None:
        self.trainer = Trainer(config)
        positions = Positions(0, ENDLESS, config.batch)
        self.batches: Iterator[Sequence[Tensor]] = iter(
            make_loader(self.trainer.dataset, positions, workers=config.workers)
        )
        self.parts: dict[str, float] = defaultdict(float)
        self.total = 0.0
        trainer = self.trainer
        trainer.method.phases = tuple(
            phase._replace(loss=self._timed(phase.name, phase.loss)) for phase in trainer.method.phases
        )
        trainer.accelerator.backward = self._timed("backward", trainer.accelerator.backward)
        for optimizer in trainer.optimizers.values():
            optimizer.step = self._timed("optimizer", optimizer.step)
        for averaged in trainer.averaged.values():
            averaged.update = self._timed("moving average", averaged.update)  # type: ignore[method-assign]

    def clear(self) -> None:
        """Forget what was measured so far."""
        self.parts.clear()
        self.total = 0.0

    def run(self, steps: int) -> float:
        """Seconds of that many steps."""
        trainer = self.trainer
        started = time.perf_counter()
        for _ in range(steps):
            before = time.perf_counter()
            batch = tuple(trainer._to_device(part) for part in next(self.batches))
            self.parts["loading"] += time.perf_counter() - before
            trainer.update(batch)
        synchronize(trainer.device)
        seconds = time.perf_counter() - started
        self.total += seconds
        return seconds

    def shares(self) -> dict[str, float]:
        """Part → share of all seconds; what is in none of them is "rest". On a GPU, the host's seconds."""
        found = {name: seconds / self.total for name, seconds in self.parts.items()}
        return {**found, "rest": 1 - sum(found.values())}

    def _timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **options: Any) -> Any:
            before = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                self.parts[name] += time.perf_counter() - before

        return timed


class BareLoop:
    """The same phases on one batch: forward, backward, optimiser, nothing else."""

    def __init__(self, config: TrainConfig) -> None:
        self.trainer = Trainer(config)
        raw = next(iter(make_loader(self.trainer.dataset, Positions(0, ENDLESS, config.batch))))
        self.batch = tuple(self.trainer._to_device(part) for part in raw)
        self.trainer.update(self.batch)  # methods in stages begin their first one here
        self.step = 1

    def run(self, steps: int) -> float:
        """Seconds of that many steps."""
        trainer = self.trainer
        started = time.perf_counter()
        for _ in range(steps):
            for phase in trainer.method.phases:
                if not phase.runs(self.step):
                    continue
                optimizer = trainer.optimizers[phase.name]
                with only_trainable(trainer.method.networks, phase.networks):
                    with trainer.accelerator.autocast():
                        total, _ = phase.loss(self.batch, self.step)
                    optimizer.zero_grad(set_to_none=True)
                    total.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                if phase.after:
                    phase.after()
            self.step += 1
        synchronize(trainer.device)
        return time.perf_counter() - started


class PlainCycleGAN:
    """CycleGAN's training loop as most repositories write it: readable, and with the usual costs."""

    def __init__(self, config: CycleGANConfig, device: torch.device) -> None:
        self.config, self.device = config, device
        spec = image_to_image_spec(config, "plain")
        self.generators = [make_generator(spec).to(device) for _ in range(2)]
        self.judges = [PatchGAN(config.discriminator_width).to(device) for _ in range(2)]
        self.optimizers = [
            Adam(
                itertools.chain(*(network.parameters() for network in pair)),
                lr=config.learning_rate,
                betas=(0.5, 0.999),
            )
            for pair in (self.generators, self.judges)
        ]
        self.files = [itertools.cycle(list_pictures(source)) for source in (config.photos, config.paintings)]
        self.losses: list[float] = []

    def run(self, steps: int) -> float:
        """Seconds of that many steps."""
        started = time.perf_counter()
        for _ in range(steps):
            self.step()
        return time.perf_counter() - started

    def step(self) -> None:
        """One step; the image pool is left out, its cost is none."""
        config = self.config
        x, y = (
            torch.stack([self.load(next(files)) for _ in range(config.batch)]).to(self.device) for files in self.files
        )
        g, f = self.generators
        judge_y, judge_x = self.judges
        for network in self.judges:
            network.requires_grad_(False)
        fake_y, fake_x = g(x), f(y)
        score_y, score_x = judge_y(fake_y), judge_x(fake_x)
        adversarial = mse_loss(score_y, torch.ones_like(score_y)) + mse_loss(score_x, torch.ones_like(score_x))
        cycle = l1_loss(f(fake_y), x) + l1_loss(g(fake_x), y)
        identity = l1_loss(g(y), y) + l1_loss(f(x), x)
        total = adversarial + config.lambda_cyc * (cycle + config.lambda_identity * identity)
        self.optimizers[0].zero_grad()
        total.backward()
        self.optimizers[0].step()
        for network in self.judges:
            network.requires_grad_(True)
        loss = torch.zeros((), device=self.device)
        for judge, real, fake in ((judge_y, y, fake_y), (judge_x, x, fake_x)):
            as_real, as_fake = judge(real), judge(fake.detach())
            loss = loss + 0.5 * (
                mse_loss(as_real, torch.ones_like(as_real)) + mse_loss(as_fake, torch.zeros_like(as_fake))
            )
        self.optimizers[1].zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizers[1].step()
        self.losses = [part.item() for part in (adversarial, cycle, identity, loss)]

    def load(self, path: Path) -> Tensor:
        """Decode, resize, crop at random, mirror at random: (3, size, size) in [-1, 1]."""
        size, whole = self.config.size, self.config.resize_px
        with Image.open(path) as opened:
            picture = opened.convert("RGB").resize((whole, whole), Image.Resampling.BICUBIC)
        top, left = np.random.randint(0, whole - size + 1, 2)
        pixels = np.asarray(picture)[top : top + size, left : left + size]
        if np.random.rand() < 0.5:
            pixels = pixels[:, ::-1]
        return torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float32) / 127.5 - 1)


def synchronize(device: torch.device) -> None:
    """Wait for a GPU; nothing on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
