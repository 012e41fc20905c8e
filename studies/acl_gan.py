"""ACL-GAN's claims beside StarGAN: cost of a step, one weight or three, growing, and what happens to the background.

    python -m studies.acl_gan --data FACES --classifier RUN --weights VGG16.safetensors --work out/acl_gan
    python -m studies.acl_gan ... --scale gpu       # the published sizes; days on a CPU
    python -m studies.acl_gan ... --only cost       # two minutes

FACES is a folder of pictures with an attribute table, RUN a judge made by ``engine train classifier`` on the same data.
Each run of the study is a cell; stopped and started again, it goes on with the missing ones.
"""

from __future__ import annotations

import argparse
import datetime
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import results
from ganlens.train.checkpoint import GENERATOR_NAME, STATE_NAME, load_generator
from ganlens.train.config import DEFAULT_ATTRIBUTES, ACLGANConfig, EditorConfig, StarGANConfig, make_config
from ganlens.train.evaluate.classifier import Classifier, load_classifier
from ganlens.train.evaluate.edits import EditEvaluation, Editor, evaluate_edits, held_out_faces
from ganlens.train.evaluate.extractors import Extractor, open_extractor
from ganlens.train.loop import memory_format, only_trainable, train
from ganlens.train.methods import method_of

from . import RESULTS
from .cells import Cell, Cells, mean_and_spread

PARTS = ("cost", "weights", "growing")
ROUNDS = 9


@dataclass(frozen=True)
class Scale:
    """How large the study is."""

    size: int
    batch: int
    images: int
    """Shown to each run."""
    generator_width: int
    discriminator_width: int
    discriminator_layers: int
    lambda_att: tuple[float, ...]
    stargan: tuple[tuple[float, float], ...]
    """(lambda_cls, lambda_rec)."""
    seeds: int
    judged: int
    """Held-out faces that are edited."""
    looks: int
    """How often a growing run, and the one beside it, is stopped and measured."""
    tier: str = "stargan"
    """Generator of the parts weights and cost."""
    both: Mapping[str, Any] = field(default_factory=dict)
    """Further options of all runs."""
    acl_gan: Mapping[str, Any] = field(default_factory=dict)
    """Further options of ACL-GAN's runs."""
    growing: Mapping[str, Any] = field(default_factory=dict)
    """Further options of the part growing."""
    growing_images: int = 0
    """Shown to each run of the part growing; 0: as to the others."""


SCALES = {
    # In a run this short a weight of 1 for attributes leaves all faces as they are, so the grid lies a decade higher.
    "cpu": Scale(
        size=64,
        batch=16,
        images=19_200,
        generator_width=16,
        discriminator_width=16,
        discriminator_layers=4,
        lambda_att=(1, 3, 10, 30),
        stargan=((1, 10), (3, 10), (1, 3)),
        seeds=2,
        judged=500,
        looks=6,
        tier="mobile",
        both={"learning_rate": 5e-4, "discriminator_learning_rate": 1e-3},
        acl_gan={"warmup_steps": 300, "discriminator_init": "he"},
        growing={"generator_width": 8, "lambda_att": 10, "warmup_steps": 150},
        growing_images=9_600,
    ),
    "gpu": Scale(
        size=128,
        batch=16,
        images=1_600_000,
        generator_width=64,
        discriminator_width=64,
        discriminator_layers=6,
        lambda_att=(0.1, 0.3, 1, 3),
        stargan=((1, 10), (0.3, 10), (3, 10), (1, 3)),
        seeds=3,
        judged=2000,
        looks=16,
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    scale = SCALES[options.scale]
    if options.images:
        scale = Scale(**{**vars(scale), "images": options.images})
    study = Study(options, scale)
    parts = options.only or PARTS
    if "cost" in parts:
        study.cost()
    if "weights" in parts:
        study.weights()
    if "growing" in parts:
        study.growing()


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="studies.acl_gan", description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder of faces with an attribute table")
    parser.add_argument("--attributes", default=DEFAULT_ATTRIBUTES, help="columns of the table, separated by commas")
    parser.add_argument("--holdout", type=int, default=2000, help="faces kept out of training, as for the judge")
    parser.add_argument("--classifier", type=Path, help="judge: run folder of engine train classifier")
    parser.add_argument("--weights", type=Path, help="VGG16 convolutions, for the Fréchet distance")
    parser.add_argument("--work", type=Path, default=Path("out/acl_gan"), help="folder of the runs")
    parser.add_argument("--scale", choices=SCALES, default="cpu", help="how large the study is")
    parser.add_argument("--images", type=int, default=0, help="pictures shown to each run, in place of the scale's")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: PyTorch's choice")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="parts to run")
    parser.add_argument("--json", type=Path, default=RESULTS, help="folder of the result files")
    options = parser.parse_args(arguments)
    if (options.classifier is None or options.weights is None) and options.only != ["cost"]:
        parser.error("--classifier and --weights are needed for all but --only cost")
    return options


class Study:
    """The parts, and what they share."""

    def __init__(self, options: argparse.Namespace, scale: Scale) -> None:
        self.options = options
        self.scale = scale
        if options.threads:
            torch.set_num_threads(options.threads)
        self.settings = {"scale": options.scale, **vars(scale), "device": str(_device())}

    @cached_property
    def judge(self) -> Classifier:
        """Says what it sees in edits."""
        return load_classifier(self.options.classifier)

    @cached_property
    def extractor(self) -> Extractor:
        """Features for the distance."""
        return open_extractor(vgg=self.options.weights)

    def config(self, kind: type[EditorConfig], out: str, **changes: Any) -> EditorConfig:
        """A run of the study."""
        scale = self.scale
        common = {
            "data": self.options.data,
            "attributes": self.options.attributes,
            "holdout": self.options.holdout,
            "out": str(self.options.work / out),
            "tier": scale.tier,
            "size": scale.size,
            "batch": scale.batch,
            "steps": scale.images // scale.batch,
            "discriminator_width": scale.discriminator_width,
            "threads": self.options.threads,
            "sample_every": 0,
            "ema": 0.99 if self.options.scale == "cpu" else 0.999,
            "data_licence": "for measuring only",
        }
        own = scale.acl_gan if kind is ACLGANConfig else {}
        values = {**common, **scale.both, **own, **changes}
        if values["tier"] in ("stargan", "growing"):
            values.setdefault("generator_width", scale.generator_width)
        if values["tier"] != "growing":
            values.setdefault("discriminator_layers", scale.discriminator_layers)
        return make_config(kind, values)

    def save(self, part: str, title: str, columns: list[str], rows: list[list[results.Cell]], details: Cell) -> None:
        """Write one part's table."""
        file = self.options.json / f"acl-gan-{part}-{datetime.date.today()}.json"
        results.write(
            file, f"acl-gan-{part}", title=title, columns=columns, rows=rows, settings=self.settings, details=details
        )

    # --- cost of a generator step ------------------------------------------------------------------------------------

    def cost(self) -> None:
        """Generator passes, time and memory of one generator step, the same generator under both methods."""
        configs = {
            "StarGAN": self.config(StarGANConfig, "cost"),
            "ACL-GAN": self.config(ACLGANConfig, "cost"),
        }
        steps = {name: GeneratorStep(config) for name, config in configs.items()}
        times: dict[str, list[float]] = {name: [] for name in steps}
        for turn in range(ROUNDS + 1):
            for name, step in steps.items():
                seconds = step.seconds()
                if turn:  # the first warms up
                    times[name].append(1000 * seconds)
        ratio = statistics.median(a / s for a, s in zip(times["ACL-GAN"], times["StarGAN"], strict=True))
        rows: list[list[results.Cell]] = [
            [name, step.passes, round(statistics.median(times[name]), 1), round(step.kept_mib, 1)]
            for name, step in steps.items()
        ]
        rows.append(["ACL-GAN / StarGAN", rows[1][1] / rows[0][1], round(ratio, 3), round(rows[1][3] / rows[0][3], 3)])  # type: ignore[operator]
        self.save(
            "cost",
            f"ACL-GAN beside StarGAN: a generator step at {self.scale.size} px, batch {self.scale.batch}; goal for the "
            "ratio: 0.65 or less",
            ["method", "generator passes", "ms, median", "MiB kept for the backward pass"],
            rows,
            {"milliseconds": times},
        )

    # --- one weight or three -----------------------------------------------------------------------------------------

    def weights(self) -> None:
        """Edits as requested, others kept, distance, and change of the background, over the weights of both methods."""
        cells = Cells(self.options.work / "weights.json", self.settings)
        kinds: list[tuple[str, type[EditorConfig], dict[str, float]]] = [
            (f"ACL-GAN, attribute {value:g}", ACLGANConfig, {"lambda_att": value}) for value in self.scale.lambda_att
        ]
        kinds += [
            (f"StarGAN, class {cls:g}, reconstruction {rec:g}", StarGANConfig, {"lambda_cls": cls, "lambda_rec": rec})
            for cls, rec in self.scale.stargan
        ]
        found = {
            name: [
                cells.run(f"{name}, seed {seed}", partial(self._judged, kind, weights, seed))
                for seed in range(self.scale.seeds)
            ]
            for name, kind, weights in kinds
        }
        rows: list[list[results.Cell]] = [
            [
                name,
                *(
                    mean_and_spread((cell[key] for cell in given), digits)
                    for key, digits in (("edited", 3), ("untouched", 3), ("frechet", 1), ("border", 3), ("change", 3))
                ),
                f"{statistics.mean(cell['seconds'] for cell in given):.0f}",
            ]
            for name, given in found.items()
        ]
        floor = found[kinds[0][0]][0]
        rows.append(
            ["unedited faces", f"{floor['unedited']:.3f}", f"{floor['untouched_unedited']:.3f}", "", "", "", ""]
        )
        self.save(
            "weights",
            f"ACL-GAN beside StarGAN, one weight or three: {self.scale.images} pictures, {self.scale.size} px, "
            f"{self.scale.seeds} seeds, {floor['faces']} held out",
            ["method and weights", "edited as requested", "others kept", floor["distance"],
             "largest change in the border", "mean change", "training, s"],
            rows,
            found,
        )  # fmt: skip

    def _judged(self, kind: type[EditorConfig], weights: Mapping[str, float], seed: int) -> Cell:
        name = "-".join([kind.model_fields["method"].default, *(f"{value:g}" for value in weights.values()), str(seed)])
        config = self.config(kind, name, seed=seed, **weights)
        self._train(config)
        evaluation, seconds = self._evaluate(config, self.scale.judged)
        rows = evaluation.rows.values()
        assert evaluation.frechet is not None
        return {
            "edited": statistics.mean(row.edited for row in rows),
            "unedited": statistics.mean(row.unedited for row in rows),
            "untouched": statistics.mean(row.untouched for row in rows),
            "untouched_unedited": statistics.mean(row.untouched_unedited for row in rows),
            "change": statistics.mean(row.change for row in rows),
            "border": evaluation.border_error,
            "frechet": evaluation.frechet.value,
            "distance": f"{evaluation.frechet.name} ({evaluation.frechet.features})",
            "faces": evaluation.faces,
            "seconds": seconds,
            "evaluation": evaluation.to_dict(),
        }

    def _train(self, config: EditorConfig) -> None:
        if not _finished(config) and not train(config, resume=(config.run / STATE_NAME).exists()):
            raise SystemExit("Stopped. The same command goes on from here.")

    def _evaluate(self, config: EditorConfig, count: int) -> tuple[EditEvaluation, float]:
        generator, spec = load_generator(config.run)
        # StarGAN has no border of its own; it is judged where ACL-GAN keeps one.
        editor = Editor(generator, spec)
        editor.border_px = editor.border_px or round(config.size / 16)
        faces = held_out_faces(config.run, editor.attributes.names, count=count)
        return evaluate_edits(
            editor, faces, self.judge, self.extractor
        ), spec.training.seconds if spec.training else 0.0

    # --- growing -----------------------------------------------------------------------------------------------------

    def growing(self) -> None:
        """Training time until the edits are as near to real faces as the run that does worse ever comes.

        Unedited faces are the nearest of all, so the share of edits that are as requested stands beside. Both runs have
        equal networks; those of a fixed size have grown after the first picture.
        """
        images, looks = self.scale.growing_images or self.scale.images, self.scale.looks
        cells = Cells(self.options.work / "growing.json", self.settings)
        tiers = {
            "fixed size": {"fade_images": 1, "stable_images": 0},
            "growing": {"fade_images": images // 8, "stable_images": images * 3 // 8},
        }
        curves = {
            (name, seed): [
                cells.run(
                    f"{name}, seed {seed}, {part + 1} of {looks}",
                    partial(self._grown, name, options, seed, images * (part + 1) // looks),
                )
                for part in range(looks)
            ]
            for seed in range(self.scale.seeds)
            for name, options in tiers.items()
        }
        rows: list[list[results.Cell]] = []
        for seed in range(self.scale.seeds):
            fixed, grown = curves["fixed size", seed], curves["growing", seed]
            goal = max(min(cell["frechet"] for cell in curve) for curve in (fixed, grown))
            reached = [next(cell for cell in curve if cell["frechet"] <= goal) for curve in (fixed, grown)]
            seconds = [cell["seconds"] for cell in reached]
            edited = [f"{cell['edited']:.3f}" for cell in reached]
            rows.append([seed, round(goal, 1), *map(round, seconds), round(seconds[1] / seconds[0], 2), *edited])
        self.save(
            "growing",
            f"ACL-GAN with and without growing: training until a distance, {self.scale.size} px, at most {images} "
            "pictures",
            ["seed", "distance that both reach", "fixed size, s", "growing, s", "growing / fixed",
             "edited as requested then, fixed", "growing"],
            rows,
            {f"{name}, seed {seed}": curve for (name, seed), curve in curves.items()},
        )  # fmt: skip

    def _grown(self, name: str, options: Mapping[str, Any], seed: int, images: int) -> Cell:
        steps = images // self.scale.batch
        own = {"tier": "growing", "decay_steps": 1, **self.scale.growing, **options}
        config = self.config(ACLGANConfig, f"{name.replace(' ', '-')}-{seed}", seed=seed, steps=steps, **own)
        self._train(config)
        evaluation, seconds = self._evaluate(config, max(2, self.scale.judged // 4))  # there are many looks
        assert evaluation.frechet is not None
        edited = statistics.mean(row.edited for row in evaluation.rows.values())
        return {"steps": steps, "seconds": seconds, "frechet": evaluation.frechet.value, "edited": edited}


class GeneratorStep:
    """One method's generator step on noise: time, passes, and what autograd keeps."""

    def __init__(self, config: EditorConfig) -> None:
        torch.manual_seed(0)
        self.method = method_of(config)(config)
        device = _device()
        layout = memory_format(config, device, self.method.networks.values())
        for network in self.method.networks.values():
            network.to(device=device, memory_format=layout)  # type: ignore[call-overload]
        shape = config.batch, 3, config.size, config.size
        x = torch.rand(shape, device=device).mul(2).sub(1).to(memory_format=layout)
        att = torch.randint(2, (config.batch, len(config.attribute_names)), device=device).float()
        self.batch = x, att
        self.phase = next(phase for phase in self.method.phases if phase.name == "generator")
        for phase in self.method.phases:
            if phase is not self.phase:
                phase.loss(self.batch, 0)  # StarGAN's draws the target labels
        self.passes = 0
        self.kept_mib = 0.0
        self._measure()

    def _measure(self) -> None:
        kept: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        def count(*_: object) -> None:
            self.passes += 1

        hook = self.method.networks["generator"].register_forward_hook(count)
        parameters = {p.untyped_storage().data_ptr() for n in self.method.networks.values() for p in n.parameters()}
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            with only_trainable(self.method.networks, self.phase.networks):
                total, _ = self.phase.loss(self.batch, 0)
            self.kept_mib = sum(size for pointer, size in kept.items() if pointer not in parameters) / 2**20
        hook.remove()
        del total

    def seconds(self) -> float:
        """Forward and backward, without the optimiser."""
        _wait()
        started = time.perf_counter()
        with only_trainable(self.method.networks, self.phase.networks):
            self.phase.loss(self.batch, 0)[0].backward()
        _wait()
        return time.perf_counter() - started


def _finished(config: EditorConfig) -> bool:
    if not (config.run / GENERATOR_NAME).exists():
        return False
    spec = load_generator(config.run)[1]
    return spec.training is not None and spec.training.steps >= config.steps


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
