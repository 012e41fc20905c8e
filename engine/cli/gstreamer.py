"""``engine gstreamer``: where GStreamer finds the element 'ganlens'."""

from __future__ import annotations

import typer

from ..errors import MediaError
from ..gstreamer import FILE, FORGET, check, default_folder, hiding_environment
from ..gstreamer import install as install_element
from .options.gstreamer import GstreamerInstallOptions, GstreamerPathOptions


def install(options: GstreamerInstallOptions) -> None:
    """``engine gstreamer install``."""
    folder = default_folder() if options.folder is None else options.folder.absolute()
    path = install_element(folder)
    typer.echo(f"wrote {path}")
    version = check(folder)
    typer.echo(f"{version} finds the element 'ganlens'; its properties: gst-inspect-1.0 ganlens")
    if folder != default_folder():
        typer.echo(f"for each program: export GST_PLUGIN_PATH={folder}")
    environment = hiding_environment()
    if environment is not None:
        typer.echo(
            f"first: deactivate. In the virtual environment {environment} GStreamer's Python finds no PyGObject, and "
            f"no element; if a GStreamer program ran in it: {FORGET}"
        )


def show_path(options: GstreamerPathOptions) -> None:
    """``engine gstreamer path``."""
    folder = default_folder() if options.folder is None else options.folder.absolute()
    if not (folder / "python" / FILE).is_file():
        raise MediaError(f"The element is not installed in {folder}. Install it with: engine gstreamer install")
    typer.echo(folder)
