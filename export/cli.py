"""The command ``engine export``: arguments, and the verdict as a table or JSON.

What the work needs is imported when it begins: ``engine export --help`` does not load PyTorch.
"""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganlens.engine.cli.console import make_console
from ganlens.engine.cli.interrupt import terminate_as_interrupt
from ganlens.engine.cli.parse import order_note, parse_size
from ganlens.engine.errors import ExportError, OptionError

if TYPE_CHECKING:
    from rich.table import Table

    from ganlens.engine.spec import Parity

    from .to_onnx import ExportReport

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


class PrecisionName(str, Enum):
    """Arithmetic of the graph."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"


@app.command()
@terminate_as_interrupt()
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of engine train, or a .safetensors file.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The ONNX file to write.")],
    size: Annotated[
        str,
        typer.Option(metavar="N|WxH", help="Size of the graph, such as 256 or 640x360; default: the checkpoint's."),
    ] = "",
    dynamic: Annotated[
        bool,
        typer.Option("--dynamic", help="Free batch; free height and width too, where the generator takes several."),
    ] = False,
    precision: Annotated[
        PrecisionName | None,
        typer.Option(
            help="fp16 keeps norms in FP32; int8 is static and calibrated on pictures. "
            "Default: fp32; fp16 with --tensorrt.",
            show_default=False,
        ),
    ] = None,
    half_weights: Annotated[
        bool,
        typer.Option("--half-weights", help="Store weights as float16: half the file size; needs --precision fp32."),
    ] = False,
    half_io: Annotated[
        bool, typer.Option("--half-io", help="Float16 inputs and outputs; needs --precision fp16.")
    ] = False,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Real pictures for gate and calibration; default: the run's photos. Not for generators from noise.",
        ),
    ] = None,
    parity: Annotated[
        int, typer.Option(metavar="N", min=1, help="Pictures, or seeds of noise, for the parity gate.")
    ] = 8,
    calibration: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Further pictures that calibrate int8; default: 32.")
    ] = None,
    opset: Annotated[int, typer.Option(metavar="N", help="ONNX operator set, 17 to 23.")] = 20,
    detail: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Fraction of the original's fine detail that the runtime adds back by default."
        ),
    ] = None,
    margin: Annotated[
        int | None,
        typer.Option(
            metavar="PX",
            min=0,
            help="Pixels of repeated edge that the network sees around a frame, cut off its answer: against a line "
            "along the frame's border.",
        ),
    ] = None,
    name: Annotated[str, typer.Option(metavar="NAME", help="Name in the record; default: the checkpoint's.")] = "",
    tensorrt: Annotated[
        bool, typer.Option("--tensorrt", help="Also build the TensorRT plan that engine translate will use.")
    ] = False,
    force: Annotated[bool, typer.Option("--yes", "-y", "--force", help="Replace an existing output.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdict as JSON.")] = False,
) -> None:
    """Export a trained generator to ONNX, and keep the file only if it computes what PyTorch computes."""
    if precision is None:
        precision = PrecisionName.FP16 if tensorrt else PrecisionName.FP32
    if tensorrt:
        check_tensorrt(precision)  # now, not after minutes of work
    if calibration is not None and precision is not PrecisionName.INT8:
        raise OptionError(f"--calibration goes with --precision int8, not with {precision.value}. Leave it out.")
    from .run import load_run, pictures_of
    from .to_onnx import ExportOptions, export_onnx

    graph_size = parse_size("--size", size, square=True) if size else None
    if graph_size and (note := order_note("--size", graph_size)):
        typer.echo(note, err=True)
    options = ExportOptions(
        size=graph_size,
        dynamic=dynamic,
        precision=precision.value,
        half_weights=half_weights,
        half_io=half_io,
        opset=opset,
        name=name,
        detail=detail,
        margin=margin,
        parity_pictures=parity,
        calibration_pictures=ExportOptions.calibration_pictures if calibration is None else calibration,
        overwrite=force,
    )
    checkpoint = load_run(run)
    pictures = pictures_of(checkpoint, images)
    console = make_console(stderr=as_json, highlight=True)
    with console.status(f"Exporting {checkpoint.spec.name} …"):
        report = export_onnx(checkpoint.generator, checkpoint.spec, output, pictures, options)
    values = as_record(report)
    if not as_json:
        console.print(verdict_table(report))
    if report.passed and tensorrt:
        from ganlens.engine.backends.tensorrt import make_plan
        from ganlens.engine.cli.build import plan_lines, plan_values
        from ganlens.engine.cli.progress import plan_progress

        with plan_progress(make_console(stderr=True)):
            made = make_plan(report.path)
        values["plan"] = plan_values(made)
        for line in [] if as_json else plan_lines(made):
            typer.echo(line)
    if as_json:
        typer.echo(json.dumps(values, indent=2))
    if not report.passed:
        raise ExportError(
            f"The output of the graph differs from PyTorch: {'; '.join(report.failures)} on "
            f"{report.parity.inputs} (worst of {report.parity.images}). {_cure(report)} '{output}' was not written."
        )


def check_tensorrt(precision: PrecisionName) -> None:
    """Refuse what would fail after the export: no library, no GPU where it needs one, or a precision it cannot build.

    Raises:
        MissingExtra, BackendUnavailable: see :func:`~ganlens.engine.backends.tensorrt.make_plan`.
        OptionError: INT8, which is calibrated for CPUs here.
    """
    if precision is PrecisionName.INT8:
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
