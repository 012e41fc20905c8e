"""A result for people: the table, what to make of it, Markdown, and one sentence."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from .result import Failure, Machine, Model, Result, Row, Size
from .stats import NOISY, least_samples

WIDTH = 80
DASH = "–"
COLUMNS = (
    ("scenario", 10), ("backend", 9), ("p50 ms", 7), ("p95", 6), ("p99", 6), ("fps", 6), ("30 fps", 6), ("30 Hz", 6),
    ("on time", 7), ("dB", 4),
)  # fmt: skip
"""Title and width; the first two to the left. ``30 fps``: streams of 30 fps. ``30 Hz``: ms where 30 frames come in a
second. ``on time``: goodput of live. ``dB``: worst PSNR against the float32 reference."""
ORDER = {name: number for number, name in enumerate(("latency", "throughput", "video", "live"))}


def table(result: Result) -> str:
    """The rows as plain text of at most 80 columns, absent backends among them, with warnings and the sentence."""
    lines = [line for line in textwrap.wrap(machine_line(result.machine), WIDTH)]
    for heading, rows, failures in sections(result):
        lines += ["", heading, _line([title for title, _ in COLUMNS])]
        lines += [_line(cells(row)) + (" *" if row.flags else "") for row in rows]
        for failure in failures:
            what = failure.scenario or "all"
            indent = " " * (COLUMNS[0][1] + COLUMNS[1][1] + 2)
            lines += textwrap.wrap(
                f"{what:<{COLUMNS[0][1]}} {failure.backend:<{COLUMNS[1][1]}} {_reason(failure)}",
                WIDTH,
                subsequent_indent=indent,
                drop_whitespace=True,
            )
    lines += ["", *textwrap.wrap(legend(result), WIDTH)]
    for warning in warnings(result):
        lines += textwrap.wrap(f"warning: {warning}", WIDTH, subsequent_indent="  ")
    closing = sentence(result)
    return "\n".join([*lines, *(["", *textwrap.wrap(closing, WIDTH)] if closing else [])])


def markdown(result: Result) -> str:
    """The same as Markdown, with more columns."""
    lines = [f"# engine benchmark, {result.when[:10]}", "", machine_line(result.machine) + "."]
    versions = ", ".join(f"{name} {version}" for name, version in result.software.items())
    lines += ["", f"<sub>{versions}; `{result.command}`</sub>"]
    titles = [
        "scenario", "backend", "p50 ms", "p95", "p99", "max", "fps", "95 % interval", "streams of 30 fps",
        "ms at 30 Hz", "on time", "CPU ms", "peak MiB", "cold start ms", "wall / bound", "PSNR dB", "max abs", "cosine",
        "n", "flags",
    ]  # fmt: skip
    for heading, rows, failures in sections(result):
        lines += ["", f"## {heading}", "", _markdown_row(titles), _markdown_row(["---"] * 2 + ["---:"] * 17 + ["---"])]
        lines += [_markdown_row(_many_cells(row)) for row in rows]
        lines += ["", *(f"- {failure.backend}: {_reason(failure)}" for failure in failures)] if failures else []
    lines += ["", legend(result), "", *(f"- {warning}" for warning in warnings(result))]
    return "\n".join([*lines, "", sentence(result)]).strip() + "\n"


def sections(result: Result) -> Iterator[tuple[str, list[Row], list[Failure]]]:
    """Heading, rows and failures of each model, precision and size."""
    for model in result.models:
        rows = [row for row in result.results if (row.model, row.precision) == (model.name, model.precision)]
        missing = [each for each in result.failures if (each.model, each.precision) == (model.name, model.precision)]
        sizes: list[Size | None] = list(dict.fromkeys(row.size for row in rows))
        for size in sizes or [None]:
            chosen = sorted((row for row in rows if row.size == size), key=lambda row: ORDER[row.scenario])
            mine = [each for each in missing if each.size in (size, None) or len(sizes) < 2]
            yield _heading(model, size), chosen, mine
    known = {(model.name, model.precision) for model in result.models}
    for failure in result.failures:
        if (failure.model, failure.precision) not in known:
            yield f"{failure.model} {failure.precision}", [], [failure]


def cells(row: Row) -> list[str]:
    """The cells of :data:`COLUMNS`."""
    ms = row.ms
    return [
        row.scenario,
        row.backend,
        _number(ms.p50 if ms else None),
        _number(ms.p95 if ms else None),
        _number(ms.p99 if ms else None),
        _number(row.per_second),
        DASH if row.streams_at_30 is None else str(row.streams_at_30),
        _number(row.ms_at_30hz),
        DASH if row.live is None else f"{100 * row.live.goodput:.0f} %",
        quality_text(row),
    ]


def quality_text(row: Row) -> str:
    """Worst PSNR in dB, with "!" where the gate is not kept; "same" for identical pictures."""
    if row.quality is None:
        return DASH
    worst = row.quality.psnr_db[0]
    return ("same" if worst >= 199.5 else f"{worst:.0f}") + ("" if row.quality.ok else "!")


def legend(result: Result) -> str:
    """What the columns mean."""
    settings = result.settings
    against = f"on {settings.pictures} pictures against the float32 reference" if settings.pictures else "not measured"
    return (
        f"30 fps: streams of 30 frames per second. 30 Hz: ms where 30 frames come in a second. on time: frames out "
        f"within a period of {1e3 / settings.fps:.1f} ms. dB: worst PSNR {against}. {DASH}: too few frames for it "
        f"(p95 needs {least_samples(95)}, p99 {least_samples(99)}), or not of this scenario."
    )


def warnings(result: Result) -> list[str]:
    """What makes a figure doubtful, and the option that helps."""
    found = []
    runs = result.settings.runs
    noisy = [row for row in result.results if "noisy" in row.flags]
    if noisy:
        others = max(sorted(run.foreign for run in row.runs)[len(row.runs) // 2] for row in noisy)
        cause = (
            f"other programs used up to {100 * others:.0f} % of the cores; close them"
            if others > NOISY
            else "the times of a row spread by more than 10 %; plug in, fix the clock (cpupower frequency-set)"
        )
        longer = f"--seconds {2 * result.settings.seconds:g}"
        found.append(f"* {_names(noisy)} noisy: {cause}, or measure longer with {longer} --runs {2 * runs - 1}.")
    throttled = [row for row in result.results if "throttled" in row.flags]
    if throttled:
        found.append(
            f"* {_names(throttled)} measured while heat or power lowered the clocks: cool the machine, or measure in "
            "shorter turns with --seconds 2."
        )
    for row in result.results:
        if row.quality is not None and not row.quality.ok and row.scenario == next(_scenarios(result, row)):
            found.append(
                f"{row.model} {row.precision} on {row.backend} fails the gate {row.quality.gate}: worst "
                f"{row.quality.psnr_db[0]:.1f} dB, max abs {row.quality.max_abs:.2g}."
            )
    lowered = {
        (row.backend, row.quality.computes)
        for row in result.results
        if row.quality and row.quality.computes != row.precision
    }
    found += [f"{backend} computes in {computes} here, not in the file's precision." for backend, computes in lowered]
    if result.interrupted:
        found.append("stopped early; the rows hold the runs that were done.")
    return found


def sentence(result: Result) -> str:
    """What a user wants to know, in one sentence; empty where nothing was measured."""
    parts: list[str] = []
    for name in dict.fromkeys(row.model for row in result.results):
        rows = [row for row in result.results if row.model == name]
        best = _best(rows, "throughput") or _best(rows, "latency")
        if best is None:
            best = max(rows, key=lambda row: row.per_second)
        if parts:
            parts.append(f"{name} at {best.per_second:.0f}")
            continue
        streams = int(best.per_second / 30)
        many = f"{streams} stream{'s' * (streams != 1)} of 30 fps" if streams else "too slow for a stream of 30 fps"
        parts.append(f"{name} runs at {_number(best.per_second)} fps on {best.backend} here: {many}")
        video = _best(rows, "video")
        if video is not None:
            parts.append(f"a {video.frame[0]}p video at {_number(video.per_second)} fps")
        live = _best(rows, "live")
        if live is not None and live.live is not None:
            parts.append(f"{100 * live.live.goodput:.0f} % of a {result.settings.fps:g} fps camera on time")
    return "; ".join(parts) + "." if parts else ""


def machine_line(machine: Machine) -> str:
    """The machine in a line."""
    parts = [machine.cpu, f"{machine.cores} cores", f"{machine.memory_gib:g} GiB", machine.system]
    parts += [f"{gpu.name} ({gpu.driver})" for gpu in machine.gpus]
    if machine.governor:
        parts.append(f"governor {machine.governor}")
    parts.append(f"load {machine.load[0]:g}")
    return ", ".join(parts)


def _best(rows: Sequence[Row], scenario: str) -> Row | None:
    """The fastest of a scenario, of those whose pictures are good."""
    chosen = [row for row in rows if row.scenario == scenario]
    good = [row for row in chosen if row.quality is None or row.quality.ok]
    return max(good or chosen, key=lambda row: row.per_second, default=None)


def _scenarios(result: Result, row: Row) -> Iterator[str]:
    """The scenarios of a row's configuration."""
    key = (row.model, row.precision, row.backend, row.size)
    return (each.scenario for each in result.results if (each.model, each.precision, each.backend, each.size) == key)


def _names(rows: Sequence[Row]) -> str:
    groups: dict[str, list[str]] = {}
    for row in rows:
        groups.setdefault(row.backend, []).append(row.scenario)
    named = [f"{backend} ({', '.join(dict.fromkeys(scenarios))})" for backend, scenarios in groups.items()]
    return " and ".join(named) + (" is" if len(rows) == 1 else " are")


def _heading(model: Model, size: tuple[int, int] | None) -> str:
    at = f" {size[1]}x{size[0]}" if size else ""
    return f"{model.name}{at} {model.precision}{' (made here)' if model.derived else ''}"


def _reason(failure: Failure) -> str:
    return f"{failure.why.rstrip('.')}. {failure.cure}".strip() if failure.cure else failure.why


def _line(values: Sequence[str]) -> str:
    left = [f"{value:<{width}}" for value, (_, width) in zip(values[:2], COLUMNS[:2], strict=True)]
    right = [f"{value:>{width}}" for value, (_, width) in zip(values[2:], COLUMNS[2:], strict=True)]
    return " ".join([*left, *right]).rstrip()


def _number(value: float | None) -> str:
    if value is None:
        return DASH
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _many_cells(row: Row) -> list[str]:
    first = cells(row)
    way = f" ({row.in_flight} in flight, batch {row.batch})" if row.scenario == "throughput" else ""
    ms, quality = row.ms, row.quality
    return [
        row.scenario + way,
        *first[1:5],
        _number(ms.max if ms else None),
        first[5],
        f"{_number(row.interval[0])} to {_number(row.interval[1])} {row.unit}",
        *first[6:9],
        _number(row.cpu_ms),
        f"{row.peak_mib:.0f}",
        f"{row.cold_ms:.0f}",
        DASH if row.wall_over_bound is None else f"{row.wall_over_bound:.2f}",
        first[9],
        DASH if quality is None else f"{quality.max_abs:.1e}",
        DASH if quality is None else f"{quality.cosine:.6f}",
        str(row.n),
        ", ".join([*row.flags, *([f"{row.outliers} outliers"] if row.outliers else [])]),
    ]


def _markdown_row(values: Sequence[str]) -> str:
    return "| " + " | ".join(value.replace("|", "\\|") for value in values) + " |"
