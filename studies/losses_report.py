"""What the study of the losses found: the table, the plots, and what is said of each loss beside what was measured."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import results

from .cells import Cell, mean_and_spread

CLASSIFICATION = {
    "conditional": ("cgan",),
    "infimum / Wasserstein": ("wgan", "wgan-gp", "began"),
    "autoencoder": ("ebgan", "began"),
    "penalty": ("wgan-gp", "lsgan"),
}
"""The survey's."""

COLUMNS = (
    "loss",
    "Fréchet distance, mean ± spread over seeds",
    "modes of 25",
    "good points %",
    "‖∇G‖, first tenth",
    "last tenth / first",
    "G steps",
    "CPU ms a step, least",
    "peak MiB",
    "diverged",
)

VANISHED = 0.1
"""A gradient that falls below this share of its first values counts as vanishing here."""


class Summary(NamedTuple):
    """One loss over its seeds; lists have an entry for each finished run."""

    frechet: list[float]
    modes: list[float]
    good: list[float]
    first_norm: list[float]
    last_norm: list[float]
    generator_steps: int
    step_cpu_ms: list[float]
    peak_mib: list[float]
    diverged: int
    runs: int

    @property
    def spread(self) -> float | None:
        """Standard deviation of the Fréchet distance over seeds: the survey's training stability."""
        return statistics.stdev(self.frechet) if len(self.frechet) > 1 else None

    @property
    def gradient_ratio(self) -> float | None:
        """Norm of the generator's gradient at the end of the watched steps, over that at their start."""
        if not self.first_norm or not statistics.mean(self.first_norm):
            return None
        return statistics.mean(self.last_norm) / statistics.mean(self.first_norm)


def summarise(cells: Mapping[str, Cell]) -> dict[str, Summary]:
    """Cells by loss."""
    found: dict[str, Summary] = {}
    names = dict.fromkeys(key.split()[1] for key in cells if key.startswith("pictures"))
    for name in names:
        runs = [cell for key, cell in cells.items() if key.split()[:2] == ["pictures", name]]
        points = [cell for key, cell in cells.items() if key.split()[:2] == ["points", name]]
        good = [cell for cell in runs if not cell["diverged"]]
        norms = [[value for _, value in cell["gradient_norm"]] for cell in good]
        found[name] = Summary(
            frechet=[cell["frechet"]["value"] for cell in good],
            modes=[cell["modes"] for cell in points],
            good=[100 * cell["good"] for cell in points],
            first_norm=[statistics.median(norm[: max(1, len(norm) // 10)]) for norm in norms if norm],
            last_norm=[statistics.median(norm[-max(1, len(norm) // 10) :]) for norm in norms if norm],
            generator_steps=max((cell["generator_steps"] for cell in runs), default=0),
            step_cpu_ms=[cell["step_cpu_ms"] for cell in runs if cell["step_cpu_ms"]],
            peak_mib=[cell["peak_gpu_mib"] or cell["peak_mib"] for cell in runs],
            diverged=sum(bool(cell["diverged"]) for cell in runs),
            runs=len(runs),
        )
    return found


def rows(summaries: Mapping[str, Summary], real: Mapping[str, Any]) -> list[list[str]]:
    """The table; its last row is what other real pictures get."""
    table = [
        [
            name,
            spread_or_dash(s.frechet, 0),
            spread_or_dash(s.modes, 1),
            spread_or_dash(s.good, 0),
            spread_or_dash(s.first_norm, 3),
            "–" if s.gradient_ratio is None else f"{s.gradient_ratio:.2f}",
            str(s.generator_steps),
            f"{min(s.step_cpu_ms):.0f}" if s.step_cpu_ms else "–",
            f"{max(s.peak_mib):.0f}" if s.peak_mib else "–",
            f"{s.diverged} of {s.runs}",
        ]
        for name, s in summaries.items()
    ]
    floor = f"{real['floor']['value']:.0f}"
    return [*table, ["real pictures of other people", floor, *["–"] * (len(COLUMNS) - 2)]]


def spread_or_dash(values: Sequence[float], digits: int) -> str:
    """Mean and spread, or a dash where nothing was measured."""
    return mean_and_spread(values, digits) if values else "–"


def title(settings: Mapping[str, Any], changes: str) -> str:
    """What the table is about, its scale in words."""
    scale = "CPU scale" if settings["scale"] == "quick" else "full scale"
    return (
        f"Seven adversarial losses, {settings['size']} px, width {settings['width']}, {settings['images_seen']} real "
        f"pictures seen by each in batches of {settings['batch']}, seeds: {settings['seeds']}, {settings['device']} "
        f"({scale}{', changed: ' + changes if changes else ''})"
    )


def without_points(cells: Mapping[str, Cell]) -> dict[str, Cell]:
    """The cells as a result file holds them."""
    return {name: {key: value for key, value in cell.items() if key != "points"} for name, cell in cells.items()}


# --- what is said, and what was measured -----------------------------------------------------------------------------


class Claim(NamedTuple):
    """What is said of a loss, and how this study would show it."""

    loss: str
    kind: str
    """"strength" or "weakness"."""
    said: str
    test: Callable[[Mapping[str, Summary]], tuple[str, bool | None]]
    """Summaries → (measured, agrees); None: cannot be decided by this study."""


def claims() -> list[Claim]:
    """What the papers of the losses say of them, on the survey's axes."""
    return [
        Claim("gan", "weakness", "unstable: runs differ", lambda s: _steadier(s, "gan", "median", False)),
        Claim("gan", "weakness", "the generator's gradient vanishes", lambda s: _vanishes(s, "gan", True)),
        Claim("gan", "weakness", "modes are lost", lambda s: _loses_modes(s, "gan")),
        Claim("cgan", "strength", "labels make it better", lambda s: _nearer(s, "cgan", "gan")),
        Claim("cgan", "strength", "labels keep modes", lambda s: _more_modes(s, "cgan", "gan")),
        Claim("wgan", "strength", "stable", lambda s: _steadier(s, "wgan", "gan", True)),
        Claim("wgan", "strength", "no vanishing gradient", lambda s: _vanishes(s, "wgan", False)),
        Claim("wgan", "strength", "keeps modes", lambda s: _more_modes(s, "wgan", "gan")),
        Claim("wgan", "weakness", "clipping makes the critic weak", lambda s: _nearer(s, "wgan-gp", "wgan")),
        Claim("wgan-gp", "strength", "stable", lambda s: _steadier(s, "wgan-gp", "wgan", True)),
        Claim("wgan-gp", "weakness", "a step is dear", lambda s: _dearer(s, "wgan-gp", "wgan")),
        Claim("ebgan", "strength", "stable", lambda s: _steadier(s, "ebgan", "gan", True)),
        Claim("ebgan", "weakness", "a step is dear (two decoders)", lambda s: _dearer(s, "ebgan", "gan")),
        Claim("began", "strength", "stable", lambda s: _steadier(s, "began", "gan", True)),
        Claim("began", "weakness", "less variety", lambda s: _more_modes(s, "gan", "began")),
        Claim("lsgan", "strength", "no vanishing gradient", lambda s: _vanishes(s, "lsgan", False)),
        Claim("lsgan", "strength", "stable", lambda s: _steadier(s, "lsgan", "gan", True)),
        Claim("lsgan", "strength", "better pictures than GAN", lambda s: _nearer(s, "lsgan", "gan")),
    ]


def _steadier(s: Mapping[str, Summary], one: str, other: str, claimed: bool) -> tuple[str, bool | None]:
    spread = s[one].spread
    if other == "median":
        spreads = [each.spread for name, each in s.items() if name != one and each.spread is not None]
        against = statistics.median(spreads) if spreads else None
    else:
        against = s[other].spread
    if spread is None or against is None:
        return "needs at least two seeds", None
    whose = "the others' median" if other == "median" else other
    return f"spread of the distance {spread:.0f}, {whose} {against:.0f}", (spread < against) == claimed


def _vanishes(s: Mapping[str, Summary], name: str, claimed: bool) -> tuple[str, bool | None]:
    ratio = s[name].gradient_ratio
    if ratio is None:
        return "not measured", None
    return f"norm at the end {ratio:.2f} of that at the start", (ratio < VANISHED) == claimed


def _loses_modes(s: Mapping[str, Summary], name: str) -> tuple[str, bool | None]:
    if not s[name].modes:
        return "not measured", None
    return f"{mean_and_spread(s[name].modes)} of 25 found", statistics.mean(s[name].modes) < 25


def _nearer(s: Mapping[str, Summary], one: str, other: str) -> tuple[str, bool | None]:
    return _less(s[one].frechet, s[other].frechet, "distance", other, 0)


def _more_modes(s: Mapping[str, Summary], one: str, other: str) -> tuple[str, bool | None]:
    text, fewer = _less(s[one].modes, s[other].modes, f"modes ({one})", other, 1)
    return text, None if fewer is None else not fewer


def _dearer(s: Mapping[str, Summary], one: str, other: str) -> tuple[str, bool | None]:
    if not s[one].step_cpu_ms or not s[other].step_cpu_ms:
        return "not measured", None
    own, others = min(s[one].step_cpu_ms), min(s[other].step_cpu_ms)
    return f"CPU ms a step {own:.0f}, {other} {others:.0f}", own > others


def _less(a: Sequence[float], b: Sequence[float], what: str, other: str, digits: int) -> tuple[str, bool | None]:
    """Whether the first is less; None where the difference is within the two spreads."""
    if not a or not b:
        return "not measured", None
    text = f"{what} {mean_and_spread(a, digits)}, {other} {mean_and_spread(b, digits)}"
    if len(a) < 2 or len(b) < 2:
        return f"{text}; one seed", None
    difference = statistics.mean(a) - statistics.mean(b)
    if abs(difference) <= statistics.stdev(a) + statistics.stdev(b):
        return f"{text}; within the spread", None
    return text, difference < 0


VERDICTS = {True: "agrees", False: "does not agree", None: "undecided"}


def claim_rows(summaries: Mapping[str, Summary]) -> list[list[str]]:
    """The second table; claims about losses that were not measured are left out."""
    table = []
    for claim in claims():
        try:
            measured, agrees = claim.test(summaries)
        except KeyError:
            continue
        table.append([claim.loss, claim.kind, claim.said, measured, VERDICTS[agrees]])
    return table


# --- plots and page --------------------------------------------------------------------------------------------------


def plot(cells: Mapping[str, Cell], folder: Path, stem: str) -> list[Path]:
    """Loss curves, gradient norms and generated points, as PNG files; the paths."""
    from matplotlib.figure import Figure  # not pyplot: no window, no global state

    names = list(dict.fromkeys(key.split()[1] for key in cells))
    paths = []
    for what, draw in (("curves", _draw_curves), ("gradients", _draw_gradients), ("points", _draw_points)):
        figure = Figure(figsize=(3 * len(names), 3), layout="constrained")
        axes = figure.subplots(1, len(names), squeeze=False)[0]
        for axis, name in zip(axes, names, strict=True):
            axis.set_title(name)
            draw(axis, [cell for key, cell in cells.items() if key.split()[1] == name])
        path = folder / f"{stem}-{what}.png"
        figure.savefig(path, dpi=70)
        paths.append(path)
    return paths


def _draw_curves(axis: Any, cells: Sequence[Cell]) -> None:
    for cell in cells:
        if "judge" in cell:
            axis.plot(*zip(*cell["judge"], strict=True), color="tab:blue", alpha=0.6, linewidth=0.8)
            ratio = cell["judge"][-1][0] / cell["adversarial"][-1][0] if cell["adversarial"] else 1
            places = [(ratio * step, value) for step, value in cell["adversarial"]]
            axis.plot(*zip(*places, strict=True), color="tab:orange", alpha=0.6, linewidth=0.8)
    axis.set_xlabel("step (blue: D, orange: G)")


def _draw_gradients(axis: Any, cells: Sequence[Cell]) -> None:
    for cell in cells:
        if cell.get("gradient_norm"):
            axis.plot(*zip(*cell["gradient_norm"], strict=True), alpha=0.7, linewidth=0.8)
    axis.set_yscale("log")
    axis.set_xlabel("step of G, ‖∇G‖")


def _draw_points(axis: Any, cells: Sequence[Cell]) -> None:
    for cell in cells:
        if cell.get("points"):
            axis.scatter(*zip(*cell["points"], strict=True), s=2)
    axis.set_xlim(-1.4, 1.4)
    axis.set_ylim(-1.4, 1.4)
    axis.set_aspect("equal")


def page(record: Mapping[str, Any], summaries: Mapping[str, Summary], plots: Sequence[Path], folder: Path) -> str:
    """The page of documentation, in Markdown; links are relative to ``folder``."""
    classes = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in CLASSIFICATION.items())
    real = record["details"]["real"]["floor"]
    links = [os.path.relpath(path, folder) for path in plots]
    claimed = results.markdown(
        "What is said of the losses, and what this study says",
        ("loss", "said as a", "said", "measured here", "verdict"),
        claim_rows(summaries),
    )
    table = results.markdown(**record["table"])
    return f"""# Seven adversarial losses on one test bed

Written by `python -m studies.losses`; how it is measured stands in [studies/losses.py](../studies/losses.py).
The survey's classes: {classes}. It prints no measurements.

{table}
The distance is Fréchet's, called {real["name"]} because of its features ({real["features"]}), between {real["real"]}
held-out pictures of people never trained on and {real["generated"]} generated ones ({real["resize"]}). It compares rows
of this table only. The spread over seeds is the survey's "training stability"; the gradient norms are over the first
1,000 steps at most, medians of their first and last tenth. All losses saw equally many real pictures: those with five
critic steps moved their generator a fifth as often. Each has its own published optimiser. Processor time, of the least
disturbed seed, holds loading, both networks and all that follows a step. "Points" is another bed: small networks, 25
Gaussians on a grid, a mode being found when a fifth of its fair share of the samples lie within three standard
deviations; cgan is conditioned on the row.

![loss curves]({links[0]})
![norm of the generator's gradient]({links[1]})
![generated points of the first seed]({links[2]})

{claimed}
The claims are those of the losses' own papers, on the axes that the survey names. "Undecided": the difference is
within the two spreads, or there is one seed only. A gradient counts as vanishing when it falls below a tenth of its
first values. A study of this scale says how the losses behave at the beginning of a training, not where they end.

<sub>{results.one_line(record["machine"])}</sub>
"""
