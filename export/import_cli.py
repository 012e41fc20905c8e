"""The command ``engine import``: a checkpoint of another program becomes a checked ONNX file.

PyTorch is loaded when the work begins, not for ``engine import --help``.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from ganlens.engine.cli.console import make_console
from ganlens.engine.cli.interrupt import terminate_as_interrupt
from ganlens.engine.errors import ExportError, TrainingError

from .cli import as_record, verdict_table

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


@app.command()
@terminate_as_interrupt()
def import_checkpoint(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="latest_net_G.pth, 200000-G.ckpt, or a .safetensors file.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The ONNX file to write.")],
    name: Annotated[str, typer.Option(metavar="NAME", help="Name in the record; default: the output's.")] = "",
    size: Annotated[
        int,
        typer.Option(metavar="PX", help="Side of the training pictures; default: 256, 128 for ResNet-6 and StarGAN."),
    ] = 0,
    attributes: Annotated[
        str,
        typer.Option(
            metavar="A,B,...", help="Names of StarGAN's attributes, in the order of its training; default: its five."
        ),
    ] = "",
    images: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Real pictures for the parity gate; default: synthetic ones."),
    ] = None,
    dynamic: Annotated[bool, typer.Option("--dynamic", help="Free batch, height and width.")] = False,
    data: Annotated[str, typer.Option(metavar="TEXT", help="What it was trained on, for the record.")] = "not stated",
    data_licence: Annotated[
        str, typer.Option(metavar="TEXT", help="Licence of that data, for the record.")
    ] = "not stated",
    licence: Annotated[
        str, typer.Option(metavar="TEXT", help="Licence of the weights, or what they may be used for, for the record.")
    ] = "",
    note: Annotated[str, typer.Option(metavar="TEXT", help="Notes for users, for the record.")] = "",
    force: Annotated[bool, typer.Option("--yes", "-y", "--force", help="Replace an existing output.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdict as JSON.")] = False,
) -> None:
    """Turn a checkpoint of another program into an ONNX file for engine translate.

    Known are the generators of pytorch-CycleGAN-and-pix2pix (ResNet-6 and -9, U-Net 128 and 256) and of yunjey's
    StarGAN. They are recognised by the names of their weights. The graph is compared with PyTorch, and kept only if it
    computes the same.

    \b
    engine import latest_net_G.pth -o zebra.onnx
    engine import 200000-G.ckpt -o hair.onnx
    engine import my-G.ckpt -o mine.onnx --attributes Smiling,Male,Young
    """
    from ganlens.engine.spec import Training
    from ganlens.train.data.demo import make_demo_data
    from ganlens.train.data.pictures import list_pictures

    from .foreign import load_foreign
    from .to_onnx import ExportOptions, export_onnx

    names = tuple(part.strip() for part in attributes.split(",") if part.strip())
    found = load_foreign(checkpoint, name=name or output.stem, size=size, attributes=names)
    training = Training(
        data=data,
        data_licence=data_licence,
        images_seen=0,
        steps=0,
        size=found.spec.size.preferred,
        note=" ".join(filter(None, (f"Imported from {checkpoint.name}: {found.family}.", note))),
    )
    spec = found.spec.model_copy(update={"training": training, "licence": licence, "producer": "ganlens.export"})
    console = make_console(stderr=True, highlight=True)
    with tempfile.TemporaryDirectory() as folder, console.status(f"Exporting {spec.name} …"):
        if images is None:
            # Textured ones: on smooth scenes ONNX Runtime's instance norm alone is up to 3e-3 off (0.3 of 255 levels).
            _, images = make_demo_data(Path(folder), count=8, size=max(found.spec.size.preferred))
        try:
            pictures = list_pictures(str(images))
        except TrainingError as error:
            raise ExportError(f"{error} Give a folder of real pictures with --images DIR.") from error
        report = export_onnx(found.generator, spec, output, pictures, ExportOptions(dynamic=dynamic, overwrite=force))
    if as_json:
        typer.echo(json.dumps({"recognised": found.family, **as_record(report)}, indent=2))
    else:
        typer.echo(f"Recognised: {found.family}.")
        make_console(highlight=True).print(verdict_table(report))
    if not report.passed:
        raise ExportError(
            f"The output of the graph differs from PyTorch: {'; '.join(report.failures)}. '{output}' was not written."
        )
