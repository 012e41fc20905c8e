"""The arguments of ``engine cache``."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(
    name="cache",
    help="List and remove the TensorRT plans built on this machine.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)

Json = Annotated[bool, typer.Option("--json", help="As JSON.")]


@app.command("list")
def list_plans(as_json: Json = False) -> None:
    """List the plans: model, shapes, GPU, size, last use; and how many networks OpenVINO compiled."""
    from .build import show_cache

    show_cache(as_json)


@app.command()
def prune(
    older_than: Annotated[str, typer.Option(metavar="TIME", help="Plans not used for this long: 30d, 12h, 2w.")] = "",
    max_size: Annotated[
        str, typer.Option(metavar="SIZE", help="The least recently used plans, until the rest fits: 2GB.")
    ] = "",
    everything: Annotated[
        bool, typer.Option("--all", help="All plans, what belongs to none, and OpenVINO's networks.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only show what would be removed.")] = False,
    as_json: Json = False,
) -> None:
    """Remove plans; a plan that is needed again is built again."""
    from .build import prune_cache

    prune_cache(older_than, max_size, everything, dry_run, as_json)


@app.command()
def where(as_json: Json = False) -> None:
    """Show the folder; GANLENS_CACHE names another."""
    from .build import show_folder

    show_folder(as_json)
