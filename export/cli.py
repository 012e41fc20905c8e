"""``engine export``: the verdict as a table or JSON.

What the work needs is imported when it begins: ``engine export --help`` does not load PyTorch.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

from ganlens.engine.cli.console import make_console
from ganlens.engine.cli.interrupt import terminate_as_interrupt
from ganlens.engine.cli.options.export import ExportRunOptions
from ganlens.engine.cli.parse import order_note, parse_size
from ganlens.engine.errors import ExportError, OptionError

if TYPE_CHECKING:
    from rich.table import Table

    from ganlens.engine.spec import Parity

    from .to_onnx import ExportReport


@terminate_as_interrupt()
def run(options: ExportRunOptions) -> None:
    """Export a run as the command line asks for it.

    Raises:
        OptionError: options that do not go together.
        ExportError: the graph differs from PyTorch; nothing is written.
    """
    precision = options.precision or ("fp16" if options.tensorrt else "fp32")
    if options.tensorrt:
        check_tensorrt(precision)  # now, not after minutes of work
    if options.calibration is not None and precision != "int8":
        raise OptionError(f"--calibration goes with --precision int8, not with {precision}. Leave it out.")
    from .run import load_run, pictures_of
    from .to_onnx import ExportOptions, export_onnx

    graph_size = parse_size("--size", options.size, square=True) if options.size else None
    if graph_size and (note := order_note("--size", graph_size)):
        typer.echo(note, err=True)
    graph = ExportOptions(
        size=graph_size,
        dynamic=options.dynamic,
        precision=precision,
        half_weights=options.half_weights,
        half_io=options.half_io,
        opset=options.opset,
        name=options.name,
        detail=options.detail,
        margin=options.margin,
        parity_pictures=options.parity,
        calibration_pictures=(
            ExportOptions.calibration_pictures if options.calibration is None else options.calibration
        ),
        overwrite=options.overwrite,
    )
    checkpoint = load_run(options.run)
    pictures = pictures_of(checkpoint, options.images)
    console = make_console(stderr=options.as_json, highlight=True)
    with console.status(f"Exporting {checkpoint.spec.name} …"):
        report = export_onnx(checkpoint.generator, checkpoint.spec, options.output, pictures, graph)
    values = as_record(report)
    if not options.as_json:
        console.print(verdict_table(report))
    if report.passed and options.tensorrt:
        from ganlens.engine.backends.tensorrt import make_plan
        from ganlens.engine.cli.build import plan_lines, plan_values
        from ganlens.engine.cli.progress import plan_progress

        with plan_progress(make_console(stderr=True)):
            made = make_plan(report.path)
        values["plan"] = plan_values(made)
        for line in [] if options.as_json else plan_lines(made):
            typer.echo(line)
    if options.as_json:
        typer.echo(json.dumps(values, indent=2))
    if not report.passed:
        raise ExportError(
            f"The output of the graph differs from PyTorch: {'; '.join(report.failures)} on "
            f"{report.parity.inputs} (worst of {report.parity.images}). {_cure(report)} "
            f"'{options.output}' was not written."
        )


def check_tensorrt(precision: str) -> None:
    """Refuse what would fail after the export: no library, no GPU where it needs one, or a precision it cannot build.

    Raises:
        MissingExtra, BackendUnavailable: see :func:`~ganlens.engine.backends.tensorrt.make_plan`.
        OptionError: INT8, which is calibrated for CPUs here.
    """
    if precision == "int8":
        raise OptionError("--tensorrt takes --precision fp16 or fp32; int8 is for CPUs.")
    from ganlens.engine.backends.tensorrt import gpu_for, load

    gpu_for(load())


def as_record(report: ExportReport) -> dict[str, Any]:
    """The report as JSON values."""
    from ganlens.engine.spec import format_size

    return {
        "path": str(report.path),
        "written": report.passed,
        "failures": report.failures,
        "threshold": str(report.threshold),
        "parity": report.parity.model_dump(),
        "parity_by_size": {format_size(size): parity.model_dump() for size, parity in report.sizes.items()},
        "nodes": report.nodes,
        "macs": report.macs,
        "file_bytes": report.file_bytes,
        "calibration_pictures": report.calibration_pictures,
        "seconds": round(report.seconds, 2),
        "spec": report.spec.model_dump(mode="json"),
    }


def verdict_table(report: ExportReport) -> Table:
    """The report for people."""
    from rich.table import Table

    from ganlens.engine.spec import format_size

    spec = report.spec
    calibrated = f" calibrated on {report.calibration_pictures} pictures" if spec.precision == "int8" else ""
    table = Table(
        title=f"{spec.name}: {spec.architecture} {spec.tier}, {spec.precision}{calibrated}",
        caption=f"{report.nodes} nodes, {report.macs / 1e9:.3f} GMAC, {report.file_bytes / 1e6:.2f} MB, "
        f"{report.seconds:.1f} s, worst of {report.parity.images} {report.parity.inputs}",
    )
    for column in ("size", "max abs", "PSNR dB", "cosine", "SNR dB", "verdict"):
        table.add_column(column, justify="right")
    for size, parity in report.sizes.items():
        table.add_row(format_size(size), *_figures(parity), _verdict(not report.threshold.failures(parity)))
    table.add_section()
    table.add_row("gate", str(report.threshold), "", "", "", _verdict(report.passed))
    return table


def _figures(parity: Parity) -> tuple[str, str, str, str]:
    return f"{parity.max_abs:.2e}", f"{parity.psnr_db:.1f}", f"{parity.cosine:.6f}", f"{parity.snr_db:.1f}"


def _verdict(passed: bool) -> str:
    return "[green]passed[/green]" if passed else "[red]failed[/red]"


def _cure(report: ExportReport) -> str:
    cures = {
        "fp32": "Try another --opset; if that does not help, the exporter mistranslates a layer of this network.",
        "fp16": "Use --precision fp32.",
        "int8": "Use --precision fp16 or fp32, more --calibration pictures, or a network with batch norm.",
    }
    return cures[report.spec.precision]
