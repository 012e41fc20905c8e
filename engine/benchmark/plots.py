"""Two pictures of a result: the distribution of the latency, and quality against speed (extra ``benchmark``)."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import Any

from ..errors import MissingExtra
from .report import machine_line
from .result import Result, Row

TITLE_WIDTH = 100
"""Characters of the small type that fit above a plot."""
MOST_DB = 150.0
"""More is drawn as this: rounding of float32."""


def have_matplotlib() -> bool:
    """Whether plots can be drawn."""
    from importlib.util import find_spec

    return find_spec("matplotlib") is not None


def latency_plot(result: Result, path: Path) -> bool:
    """Draw the share of frames by their latency, a line for each model and backend; False if none was measured.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    rows = [row for row in result.results if row.scenario == "latency" and row.histogram]
    if not rows:
        return False
    figure, axes = _figure()
    for row in rows:
        edges = [edge for edge, _ in row.histogram]
        seen = 0
        shares = []
        for _, count in row.histogram:
            seen += count
            shares.append(100 * seen / row.n)
        axes.step(edges, shares, where="post", label=f"{_name(row)} (n = {row.n})")
    axes.set(xscale="log", xlabel="latency of a frame, ms (log)", ylabel="frames no slower, %", ylim=(0, 101))
    axes.grid(True, which="both", alpha=0.25)
    _ticks(axes.xaxis)
    for percent in (50, 95, 99):
        axes.axhline(percent, color="grey", linewidth=0.6, linestyle=":")
        place = {"xycoords": axes.get_yaxis_transform(), "xytext": (4, -1), "textcoords": "offset points"}
        axes.annotate(f"p{percent}", (1, percent), va="center", fontsize="x-small", color="grey", **place)
    axes.legend(loc="lower right", fontsize="small")
    _finish(figure, axes, result, "Latency, host memory to host memory", path)
    return True


def quality_plot(result: Result, path: Path) -> bool:
    """Draw the worst PSNR against the median latency, a point for each row; False without quality.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    rows = [row for row in result.results if row.scenario == "latency" and row.quality and row.ms and row.ms.p50]
    if not rows:
        return False
    figure, axes = _figure()
    for row in rows:
        assert row.quality is not None and row.ms is not None and row.ms.p50 is not None
        decibels = min(row.quality.psnr_db[0], MOST_DB)
        marker = "o" if row.quality.ok else "X"
        low, high = row.interval
        bars = [[max(0.0, row.ms.p50 - low)], [max(0.0, high - row.ms.p50)]]
        axes.errorbar(row.ms.p50, decibels, xerr=bars, fmt=marker, capsize=3, label=_name(row))
    axes.set(xscale="log", xlabel="p50 of a frame, ms (log)", ylabel="worst PSNR against float32, dB")
    low, high = axes.get_xlim()
    axes.set_xlim(low / 1.2, high * 1.2)
    for row in rows:  # names on the side that has more room
        assert row.quality is not None and row.ms is not None and row.ms.p50 is not None
        right = row.ms.p50 > math.sqrt(low * high)
        axes.annotate(
            _name(row),
            (row.ms.p50, min(row.quality.psnr_db[0], MOST_DB)),
            xytext=(-6 if right else 6, 6),
            textcoords="offset points",
            ha="right" if right else "left",
            fontsize="small",
        )
    axes.set_ylim(min(20.0, axes.get_ylim()[0]), MOST_DB + 10)
    axes.grid(True, which="both", alpha=0.25)
    _ticks(axes.xaxis)
    _finish(figure, axes, result, "Quality against speed (X: fails the gate)", path)
    return True


def _figure() -> tuple[Any, Any]:
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingExtra("The plots of engine benchmark", "matplotlib", "benchmark") from error
    figure = Figure(figsize=(7.0, 4.5), layout="constrained")
    return figure, figure.add_subplot()


def _ticks(axis: Any) -> None:
    """Numbers as they are, not as powers of ten."""
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(ScalarFormatter())
    axis.set_minor_formatter(NullFormatter())


def _name(row: Row) -> str:
    return f"{row.model} {row.size[1]}x{row.size[0]} {row.precision}, {row.backend}"


def _finish(figure: Any, axes: Any, result: Result, title: str, path: Path) -> None:
    machine = textwrap.fill(f"{machine_line(result.machine)}, {result.when[:10]}", TITLE_WIDTH)
    axes.set_title(f"{title}\n{machine}", loc="left", fontsize="small")
    figure.savefig(path, dpi=120)
