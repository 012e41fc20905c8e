"""``engine train compare``: runs beside each other in one HTML page or PNG, with curves, metrics and samples.

The page also has the options that differ and where each run is from. It is one file without scripts or links to
anywhere: pictures are inside it, curves are SVG. The PNG is drawn by :mod:`.compare_picture`.
"""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from ganlens.engine.errors import OptionError, TrainingError, did_you_mean
from ganlens.engine.files import replace_file

from .config import CONFIG_NAME, read_sessions, read_values
from .history import Point, read_history

COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#7f7f7f")
"""Colours of the runs, in order; they repeat for more runs."""
WIDTH, HEIGHT, LEFT, BOTTOM = 420, 220, 76, 26
WIDEST_SAMPLE = 1600
"""Width of a sample grid in the page, px."""
BEST: dict[str, Callable[..., tuple[int, float]]] = {
    **{f"metric/{kind}{features}": min for kind in ("FD-", "KD-") for features in ("VGG", "mixed5")},
    **{f"metric/{name}": min for name in ("FID", "KID", "gates_missed", "shortfall")},
    "metric/accuracy": max,
}
"""Metrics of which the best value is shown too, and which that is."""
NOT_COMPARED = ("out", "name")


class RunFolder(NamedTuple):
    """What a run has left."""

    name: str
    values: dict[str, Any]
    points: list[Point]
    sample: Path | None
    """The newest grid of samples."""
    sessions: list[dict[str, Any]]


def open_run(folder: Path) -> RunFolder:
    """Read a run folder.

    Raises:
        TrainingError: it is none.
    """
    if not (folder / CONFIG_NAME).is_file():
        raise TrainingError(f"{folder} is not a run folder of engine train: it has no {CONFIG_NAME}.")
    samples = sorted((folder / "samples").glob("step-*.png"))
    values = read_values(folder)
    return RunFolder(
        folder.resolve().name, values, read_history(folder), samples[-1] if samples else None, read_sessions(folder)
    )


def compare_runs(
    folders: Sequence[Path], file: Path, *, curves: str = "", samples: bool = True, overwrite: bool = False
) -> None:
    """Write the page (.html) or picture (.png).

    Args:
        folders: run folders; a single one is shown by itself.
        curves: names of figures of their histories, separated by commas; empty: all.
        samples: also the newest samples.

    Raises:
        TrainingError: one of the folders is no run, or the file exists.
        OptionError: another kind of file, or a figure that no run has.
        MissingExtra: a PNG without Matplotlib.
    """
    kinds = {".html": "text", ".htm": "text", ".png": "picture"}
    if file.suffix.lower() not in kinds:
        raise OptionError(f"-o {file}: a comparison is written as .html or .png.")
    runs = [open_run(folder) for folder in folders]
    if len({run.name for run in runs}) < len(runs):  # folders of one name in different places
        runs = [run._replace(name=str(folder)) for run, folder in zip(runs, folders, strict=True)]
    names = choose_names(runs, curves)
    if kinds[file.suffix.lower()] == "picture":
        from .compare_picture import draw_png

        content: str | bytes = draw_png(runs, names, samples=samples)
    else:
        content = render(runs, names, samples=samples)
    try:
        replace_file(file, content, overwrite=overwrite)
    except FileExistsError as error:
        raise TrainingError(f"{file} exists; pass -y to overwrite it.") from error
    except OSError as error:
        raise TrainingError(f"{file} cannot be written: {error}.") from error


def choose_names(runs: Sequence[RunFolder], curves: str) -> list[str]:
    """The figures of the runs' histories, or those asked for.

    Raises:
        OptionError: no run has a figure of that name.
    """
    known = _names(runs)
    asked = [name.strip() for name in curves.split(",") if name.strip()]
    for name in asked:
        if name not in known:
            raise OptionError(f"--curves: no run has logged '{name}'. {did_you_mean(name, known)}")
    return asked or known


def render(runs: Sequence[RunFolder], names: Sequence[str], *, samples: bool = True) -> str:
    """The page as HTML."""
    title = " / ".join(run.name for run in runs)
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'>",
        f"<title>{html.escape(title)}</title><style>{STYLE}</style><h1>{html.escape(title)}</h1>",
        "<p>"
        + " ".join(f"<b style='color:{colour_of(n)}'>&#9632; {html.escape(r.name)}</b>" for n, r in enumerate(runs)),
        "</p><h2>Last figures</h2>",
        _figures(runs, names),
        "<h2>Options that differ</h2>",
        _options(runs),
        "<h2>Curves</h2><div class='curves'>",
        *(_curve(name, runs) for name in names),
        "</div>",
    ]
    if samples:
        parts += ["<h2>Samples</h2>", *(_sample(run, number) for number, run in enumerate(runs))]
    return "\n".join([*parts, "<h2>Origin</h2>", _origin(runs), "</html>\n"])


STYLE = (
    "body{font:15px system-ui,sans-serif;margin:2em auto;max-width:1300px;padding:0 1em;color:#222}"
    "table{border-collapse:collapse}td,th{padding:.25em .8em;border-bottom:1px solid #ddd;text-align:left}"
    "td.n{text-align:right;font-variant-numeric:tabular-nums}.curves{display:flex;flex-wrap:wrap;gap:1em}"
    "figure{margin:0}figcaption{font-size:13px}img{max-width:100%}svg text{font:11px system-ui,sans-serif;fill:#555}"
)


def colour_of(number: int) -> str:
    """The colour of a run, by its place."""
    return COLOURS[number % len(COLOURS)]


def _names(runs: Sequence[RunFolder]) -> list[str]:
    """Figures in the order in which they are drawn: metrics, then losses, then the rest."""
    names = list(dict.fromkeys(point.name for run in runs for point in run.points))
    rank = {"metric": 0, "images_per_second": 2, "learning_rate": 2}
    return sorted(names, key=lambda name: rank.get(name.partition("/")[0], 1))


def series_of(run: RunFolder, name: str) -> list[tuple[int, float]]:
    """(step, value) of a figure; none if the run has not logged it."""
    return [(point.step, point.value) for point in run.points if point.name == name]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], numbers: bool = False) -> str:
    cell = "<td class='n'>" if numbers else "<td>"
    head = "".join(f"<th>{html.escape(text)}</th>" for text in header)
    body = "".join(
        f"<tr><td>{html.escape(row[0])}</td>" + "".join(f"{cell}{html.escape(text)}</td>" for text in row[1:]) + "</tr>"
        for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _figures(runs: Sequence[RunFolder], names: Sequence[str]) -> str:
    rows = [["step", *(str(run.points[-1].step) if run.points else "-" for run in runs)]]
    rows.append(["minutes", *(f"{run.points[-1].seconds / 60:.1f}" if run.points else "-" for run in runs)])
    for name in names:
        series = [series_of(run, name) for run in runs]
        rows.append([name, *(f"{values[-1][1]:.4g}" if values else "-" for values in series)])
        if name in BEST:
            best = [BEST[name](values, key=lambda pair: pair[1]) if values else None for values in series]
            rows.append([f"{name}, best", *(f"{b[1]:.4g} (step {b[0]})" if b else "-" for b in best)])
    return _table(["", *(run.name for run in runs)], rows, numbers=True)


def _options(runs: Sequence[RunFolder]) -> str:
    names = dict.fromkeys(name for run in runs for name in run.values if name not in NOT_COMPARED)
    rows = []
    for name in names:
        values = [json.dumps(run.values[name], ensure_ascii=False) if name in run.values else "-" for run in runs]
        if len(set(values)) > 1:
            rows.append([name, *values])
    if not rows:
        return "<p>None: the runs have the same options.</p>"
    return _table(["option", *(run.name for run in runs)], rows)


def _curve(name: str, runs: Sequence[RunFolder]) -> str:
    series = [series_of(run, name) for run in runs]
    every = [pair for values in series for pair in values]
    steps, values = [step for step, _ in every], [value for _, value in every]
    first, last, low, high = min(steps), max(steps), min(values), max(values)
    high = high if high > low else low + (abs(low) or 1)
    last = last if last > first else first + 1

    def place(step: int, value: float) -> tuple[float, float]:
        x = LEFT + (step - first) / (last - first) * (WIDTH - LEFT - 10)
        return x, 10 + (high - value) / (high - low) * (HEIGHT - BOTTOM - 10)

    lines = []
    for number, points in enumerate(series):
        places = [place(*point) for point in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        lines.append(f"<polyline fill='none' stroke='{colour_of(number)}' stroke-width='1.6' points='{path}'/>")
        lines += [f"<circle cx='{x:.1f}' cy='{y:.1f}' r='2' fill='{colour_of(number)}'/>" for x, y in places[:60]]
    bottom = HEIGHT - BOTTOM
    return (
        f"<figure><figcaption>{html.escape(name)}</figcaption><svg width='{WIDTH}' height='{HEIGHT}' role='img'>"
        f"<path d='M{LEFT} 10V{bottom}H{WIDTH - 10}' fill='none' stroke='#aaa'/>"
        f"<text x='{LEFT - 4}' y='16' text-anchor='end'>{high:.4g}</text>"
        f"<text x='{LEFT - 4}' y='{bottom}' text-anchor='end'>{low:.4g}</text>"
        f"<text x='{LEFT}' y='{HEIGHT - 8}'>step {first}</text>"
        f"<text x='{WIDTH - 10}' y='{HEIGHT - 8}' text-anchor='end'>{last}</text>{''.join(lines)}</svg></figure>"
    )


def newest_sample(run: RunFolder) -> Image.Image | None:
    """The newest grid of samples, RGB, not wider than ``WIDEST_SAMPLE``; None if there is none."""
    if run.sample is None:
        return None
    with Image.open(run.sample) as grid:
        picture: Image.Image = grid.convert("RGB")
    if picture.width <= WIDEST_SAMPLE:
        return picture
    return picture.resize((WIDEST_SAMPLE, max(1, picture.height * WIDEST_SAMPLE // picture.width)))


def _sample(run: RunFolder, number: int) -> str:
    picture = newest_sample(run)
    if picture is None or run.sample is None:
        return f"<p>{html.escape(run.name)}: no samples.</p>"
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    caption = f"{html.escape(run.name)}, {html.escape(run.sample.stem)}"
    return (
        f"<figure><figcaption style='color:{colour_of(number)}'>{caption}</figcaption>"
        f"<img alt='{caption}' src='data:image/png;base64,{data}'></figure>"
    )


def _origin(runs: Sequence[RunFolder]) -> str:
    def last(run: RunFolder, name: str) -> str:
        value = run.sessions[-1].get(name, "") if run.sessions else ""
        return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)

    names = ("command", "started", "device", "processes", "commit", "versions", "data")
    return _table(["", *(run.name for run in runs)], [[name, *(last(run, name) for run in runs)] for name in names])
