"""PSC-GAN's tables 1 and 3 and its claim of stability, on faces and at a size that the hardware allows.

    engine train classifier --labels faces --data FACES --out JUDGE
    python -m studies.psc_gan --data FACES --judge JUDGE --weights vgg16.safetensors --out RUNS

For each seed one autoencoder is trained, and from it each variant, on equally many pictures. Table 1: a GAN without
labels from random weights (vanilla) against the same from the autoencoder's decoder. Table 3: labels that nothing
enforces (concat) against PSC-GAN, for the four conditions. Stability: how often a run from the decoder is, after a
third of its training, nearer to the real faces than the vanilla run of the same seed at its end.

The paper's montage faces cannot be had, its features are not ours and its numbers were not taken on as many pictures:
compare the changes in per cent, never the numbers. Stopped runs go on where they were when the command is given again.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks import results
from ganlens.train.checkpoint import STATE_NAME, load_generator, load_state
from ganlens.train.config import PSCGANConfig, make_config
from ganlens.train.data.faces import faces_of
from ganlens.train.data.label_groups import load_layout
from ganlens.train.evaluate.classifier import load_classifier
from ganlens.train.evaluate.extractors import open_extractor
from ganlens.train.evaluate.labels import ALL, Generated, Measures, evaluate_labels, judge_reader, own_reader
from ganlens.train.loop import train
from ganlens.train.networks.vgg16 import VGG16

TABLE_1 = ("vanilla", "pretrained")
TABLE_3 = ("concat", "psc")

PAPER_1 = {"class_score": +8.9, "frechet": -8.2, "perceptual": -15.0}
"""Printed changes from vanilla to the pre-trained decoder, per cent; of IS, FID and LPIPS."""

PAPER_3 = {
    "c1": (0.54, 0.77, 124.03, 120.06, 0.43, 0.42),
    "c2": (0.58, 0.77, 107.38, 101.91, 0.46, 0.46),
    "c3": (0.67, 0.76, 103.64, 86.74, 0.44, 0.43),
    "c4": (0.64, 0.76, 114.55, 97.90, 0.43, 0.41),
}
"""Printed accuracy, FID and LPIPS, each of the ablation and of PSC-GAN."""

Rows = dict[str, dict[str, Any]]
"""Condition → what :meth:`ConditionRow.to_dict` gives."""


def configuration(options: argparse.Namespace, seed: int, variant: str, steps: int) -> PSCGANConfig:
    """A variant's run, or with ``stage1`` the autoencoder that all others of the seed start from."""
    folder = options.out / f"seed-{seed}"
    values: dict[str, Any] = {
        "data": str(options.data),
        "labels": options.labels,
        "holdout": options.holdout,
        "size": options.size,
        "width": options.width,
        "batch": options.batch,
        "seed": seed,
        "out": str(folder / variant),
        "sample_every": 0,
        "threads": options.threads,
    }
    if variant == "stage1":
        values |= {"stage": "1", "stage1_steps": steps, "stage1_learning_rate": options.stage1_learning_rate}
        return make_config(PSCGANConfig, values)
    start = "" if variant == "vanilla" else str(folder / "stage1")
    second = {"stage": "2", "stage1": start, "baseline": variant, "steps": steps, "map_init": options.map_init}
    return make_config(PSCGANConfig, {**values, **second})


def bring_to(config: PSCGANConfig, steps: int) -> None:
    """Train a run until it has ``steps`` steps; nothing where it has them already."""
    begun = (config.run / STATE_NAME).is_file()
    if begun and load_state(config.run)["step"] >= steps:
        return
    print(f"{config.run}: to step {steps}", flush=True)
    if not train(config, resume=begun):
        raise SystemExit("Stopped and saved. The same command goes on.")


def look(options: argparse.Namespace) -> Measures:
    """What looks at the faces of all runs; of each run comes its own classifier."""
    names = load_layout(options.labels).names
    return Measures(
        judge=judge_reader(load_classifier(options.judge), names),
        extractor=open_extractor(options.inception, options.weights),
        vgg=VGG16.load(options.weights),
        pairs=options.pairs,
    )


def measured(config: PSCGANConfig, steps: int, measures: Measures, count: int) -> Rows:
    """The rows of a run at its present step, kept in a file beside it."""
    generator, spec = load_generator(config.run)
    labelled = spec.attributes is not None
    found = evaluate_labels(
        Generated(generator, config.latent, seed=1000 + config.seed),
        config.layout,
        faces_of(config),
        measures._replace(own=own_reader(load_state(config.run), config) if labelled else None),
        size=config.size,
        count=count,
        conditions=None if labelled else {},
        conditional=labelled,
    )
    rows = {name: row.to_dict() for name, row in found.rows.items()}
    figures_of(config, steps).write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return rows


def figures_of(config: PSCGANConfig, steps: int) -> Path:
    """Where the rows of a run at a step are kept."""
    return config.run / f"figures-{steps}.json"


def change(before: float, after: float) -> float:
    """In per cent."""
    return 100 * (after / before - 1)


def spread(values: Sequence[float]) -> str:
    """Mean and deviation over seeds, with four digits."""
    deviation = f" ± {statistics.stdev(values):.2g}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4g}{deviation}"


def table_1(runs: dict[int, dict[str, Rows]]) -> tuple[list[str], list[list[results.Cell]]]:
    """Columns and rows: both variants, the change in per cent over seeds, the paper's."""
    columns = ["run"]
    rows: list[list[results.Cell]] = [[variant] for variant in TABLE_1]
    ours: list[results.Cell] = ["change, %"]
    papers: list[results.Cell] = ["paper's change, %"]
    for figure, arrow in (("class_score", "↑"), ("frechet", "↓"), ("perceptual", "↓")):
        values = {v: [run[v][ALL][figure]["value"] for run in runs.values()] for v in TABLE_1}
        columns.append(f"{runs[min(runs)][TABLE_1[0]][ALL][figure]['name']} {arrow}")
        for row, variant in zip(rows, TABLE_1, strict=True):
            row.append(spread(values[variant]))
        ours.append(spread([change(a, b) for a, b in zip(values["vanilla"], values["pretrained"], strict=True)]))
        papers.append(f"{PAPER_1[figure]:+g}")
    return columns, [*rows, ours, papers]


def table_3(runs: dict[int, dict[str, Rows]], conditions: Sequence[str]) -> tuple[list[str], list[list[results.Cell]]]:
    """Columns and rows: for each condition ablation / PSC-GAN, mean over seeds; then the changes and the paper's."""
    measures: dict[str, Callable[[dict[str, Any]], float]] = {
        "slot accuracy, judge ↑": lambda row: row["judge"]["slot"],
        "slot accuracy, C'(E') ↑": lambda row: row["own"]["slot"],
        "frechet": lambda row: row["frechet"]["value"],
        "perceptual": lambda row: row["perceptual"]["value"],
    }
    first = runs[min(runs)][TABLE_3[0]][conditions[0]]
    names = {"frechet": f"{first['frechet']['name']} ↓", "perceptual": f"{first['perceptual']['name']} ↓"}
    columns = ["condition", *(names.get(name, name) for name in measures)]
    rows: list[list[results.Cell]] = []
    means: dict[str, list[list[float]]] = {name: [[], []] for name in measures}
    for condition in conditions:
        cells: list[results.Cell] = [condition]
        for name, read in measures.items():
            pair = [statistics.mean(read(run[v][condition]) for run in runs.values()) for v in TABLE_3]
            for kept, value in zip(means[name], pair, strict=True):
                kept.append(value)
            cells.append(" / ".join(f"{value:.4g}" for value in pair))
        rows.append(cells)
    both = {name: [statistics.mean(values) for values in pair] for name, pair in means.items()}
    rows.append(["mean", *(" / ".join(f"{value:.4g}" for value in pair) for pair in both.values())])
    rows.append(["change, %", *(f"{change(*pair):+.3g}" for pair in both.values())])
    paper = [statistics.mean(row[column] for row in PAPER_3.values()) for column in range(6)]
    changes = [f"{change(paper[i], paper[i + 1]):+.3g}" for i in (0, 2, 4)]
    rows.append(["paper's change, %", changes[0], changes[0], *changes[1:]])
    return columns, rows


def stability(early: dict[int, Rows], late: dict[int, Rows]) -> tuple[int, int]:
    """(runs from the decoder that are nearer after a third than their vanilla run at the end, all runs)."""
    nearer = [early[seed][ALL]["frechet"]["value"] < late[seed][ALL]["frechet"]["value"] for seed in early]
    return sum(nearer), len(nearer)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="studies.psc_gan", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="faces and their table, as for engine train psc-gan")
    parser.add_argument("--judge", type=Path, required=True, help="run of engine train classifier --labels")
    parser.add_argument("--weights", type=Path, required=True, help="VGG16 convolutions, a safetensors file")
    parser.add_argument("--inception", type=Path, help="Inception weights, in place of VGG16 for the distance")
    parser.add_argument("--out", type=Path, required=True, help="folder of all runs; given again, they go on")
    parser.add_argument("--table", choices=("1", "3", "both"), default="both")
    parser.add_argument("--seeds", type=int, default=3, help="5 or more for the claim of stability")
    parser.add_argument("--labels", default="faces", help="label layout")
    parser.add_argument("--holdout", type=int, default=2000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--width", type=int, default=16, help="64 as specified; 16 is a sixteenth of the work")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--map-init", choices=("random", "codes"), default="random", help="random: as the paper reads")
    parser.add_argument("--stage1-steps", type=int, default=1500)
    parser.add_argument("--stage1-learning-rate", type=float, default=0.0, help="0: as in stage 2; 1e-3 if it is short")
    parser.add_argument("--steps", type=int, default=3000, help="of each variant, after stage 1")
    parser.add_argument("--count", type=int, default=1000, help="generated faces of each row")
    parser.add_argument("--pairs", type=int, default=1000, help="pairs of a perceptual distance")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="two steps of one seed, to see that it works")
    parser.add_argument("--json", type=Path, metavar="FOLDER", help="where the results go; default: --out")
    options = parser.parse_args(arguments)
    if options.quick:
        options.seeds, options.width, options.batch = 1, 2, 4
        options.stage1_steps, options.steps, options.count, options.pairs = 2, 3, 6, 2
    if options.threads:
        torch.set_num_threads(options.threads)
    variants = {"1": TABLE_1, "3": TABLE_3, "both": TABLE_1 + TABLE_3}[options.table]
    third = max(1, options.steps // 3)

    measures = look(options)
    early: dict[int, dict[str, Rows]] = {}
    late: dict[int, dict[str, Rows]] = {}
    for seed in range(options.seeds):
        early[seed], late[seed] = {}, {}
        bring_to(configuration(options, seed, "stage1", options.stage1_steps), options.stage1_steps)
        for variant in variants:
            legs = ((third, early), (options.steps, late)) if variant in TABLE_1 else ((options.steps, late),)
            for steps, kept in legs:
                config = configuration(options, seed, variant, steps)
                if figures_of(config, steps).is_file():
                    kept[seed][variant] = json.loads(figures_of(config, steps).read_text(encoding="utf-8"))
                    continue
                bring_to(config, steps)
                kept[seed][variant] = measured(config, steps, measures, options.count)

    folder = options.json or options.out
    today = datetime.date.today()
    paths = ("out", "json", "data", "judge", "weights", "inception")
    settings = {name: value for name, value in vars(options).items() if name not in paths}
    images = options.steps * options.batch
    where = f"{options.size} px, width {options.width}, {images} images in stage 2, {options.seeds} seeds"
    suffix = "-codes" if options.map_init == "codes" else ""
    where += ", the map begun from the codes" if suffix else ""
    if "vanilla" in variants:
        columns, rows = table_1(late)
        nearer, runs = stability(
            {seed: run["pretrained"] for seed, run in early.items()},
            {seed: run["vanilla"] for seed, run in late.items()},
        )
        results.write(
            folder / f"psc-gan-table-1{suffix}-{today}.json",
            f"psc-gan-table-1{suffix}",
            title=f"Vanilla against pre-trained decoder: {where}; nearer after a third than vanilla at the end: "
            f"{nearer} of {runs} runs",
            columns=columns,
            rows=rows,
            settings=settings,
            details={"early": early, "late": late},
        )
    if "psc" in variants:
        conditions = list(configuration(options, 0, "psc", 1).layout.conditions)
        columns, rows = table_3(late, conditions)
        results.write(
            folder / f"psc-gan-table-3{suffix}-{today}.json",
            f"psc-gan-table-3{suffix}",
            title=f"Ablation (concatenation) / PSC-GAN: {where}",
            columns=columns,
            rows=rows,
            settings=settings,
            details={"late": late},
        )


if __name__ == "__main__":
    main()
