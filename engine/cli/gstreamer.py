"""The arguments of ``engine gstreamer``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="gstreamer",
    help="Install the GStreamer element 'ganlens'.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)

Folder = Annotated[
    Path | None,
    typer.Option(
        "--folder",
        metavar="DIR",
        help="Folder of GStreamer plugins; default: the user's own, which GStreamer searches without being told. "
        "Others are named in GST_PLUGIN_PATH.",
    ),
]


@app.command()
def install(folder: Folder = None) -> None:
    """Let GStreamer find the element, and try whether it does.

    \b
    engine gstreamer install
    gst-launch-1.0 videotestsrc ! ganlens ! videoconvert ! autovideosink
    """
    from ..gstreamer import check, default_folder, install

    folder = default_folder() if folder is None else folder.absolute()
    path = install(folder)
    typer.echo(f"wrote {path}")
    version = check(folder)
    typer.echo(f"{version} finds the element 'ganlens'; its properties: gst-inspect-1.0 ganlens")
    if folder != default_folder():
        typer.echo(f"for each program: export GST_PLUGIN_PATH={folder}")


@app.command()
def path(folder: Folder = None) -> None:
    """Print the folder of plugins that holds the element; status 1 if it is not installed."""
    from ..errors import MediaError
    from ..gstreamer import FILE, default_folder

    folder = default_folder() if folder is None else folder.absolute()
    if not (folder / "python" / FILE).is_file():
        raise MediaError(f"The element is not installed in {folder}. Install it with: engine gstreamer install")
    typer.echo(folder)
