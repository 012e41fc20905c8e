"""``engine import``: a checkpoint of another program becomes a checked ONNX file.

PyTorch is loaded when the work begins, not for ``engine import --help``.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import typer

from ganlens.engine.cli.console import make_console
from ganlens.engine.cli.interrupt import terminate_as_interrupt
from ganlens.engine.cli.options.import_ import ImportOptions
from ganlens.engine.errors import ExportError, TrainingError

from .cli import as_record, verdict_table


@terminate_as_interrupt()
def run(options: ImportOptions) -> None:
    """Import a checkpoint as the command line asks for it.

    Raises:
        ExportError: nothing is known of the checkpoint, or the graph differs from PyTorch; nothing is written.
    """
    from ganlens.engine.spec import Training
    from ganlens.train.data.demo import make_demo_data
    from ganlens.train.data.pictures import list_pictures

    from .foreign import load_foreign
    from .to_onnx import ExportOptions, export_onnx

    names = tuple(part.strip() for part in options.attributes.split(",") if part.strip())
    found = load_foreign(
        options.checkpoint, name=options.name or options.output.stem, size=options.size, attributes=names
    )
    training = Training(
        data=options.data,
        data_licence=options.data_licence,
        images_seen=0,
        steps=0,
        size=found.spec.size.preferred,
        note=" ".join(filter(None, (f"Imported from {options.checkpoint.name}: {found.family}.", options.note))),
    )
    spec = found.spec.model_copy(
        update={"training": training, "licence": options.licence, "producer": "ganlens.export"}
    )
    console = make_console(stderr=True, highlight=True)
    with tempfile.TemporaryDirectory() as folder, console.status(f"Exporting {spec.name} …"):
        images = options.images
        if images is None:
            # Textured ones: on smooth scenes ONNX Runtime's instance norm alone is up to 3e-3 off (0.3 of 255 levels).
            _, images = make_demo_data(Path(folder), count=8, size=max(found.spec.size.preferred))
        try:
            pictures = list_pictures(str(images))
        except TrainingError as error:
            raise ExportError(f"{error} Give a folder of real pictures with --images DIR.") from error
        graph = ExportOptions(dynamic=options.dynamic, overwrite=options.overwrite)
        report = export_onnx(found.generator, spec, options.output, pictures, graph)
    if options.as_json:
        typer.echo(json.dumps({"recognised": found.family, **as_record(report)}, indent=2))
    else:
        typer.echo(f"Recognised: {found.family}.")
        make_console(highlight=True).print(verdict_table(report))
    if not report.passed:
        raise ExportError(
            f"The output of the graph differs from PyTorch: {'; '.join(report.failures)}. "
            f"'{options.output}' was not written."
        )
