"""The options of ``engine cache``'s commands."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from . import PrintJson, option


@dataclasses.dataclass(frozen=True)
class CacheListOptions:
    """List the plans: model, shapes, GPU, size, last use; and how many networks OpenVINO compiled."""

    as_json: PrintJson = False


@dataclasses.dataclass(frozen=True)
class CachePruneOptions:
    """Remove plans; a plan that is needed again is built again."""

    older_than: Annotated[str, option(metavar="TIME", help="Plans not used for this long: 30d, 12h, 2w.")] = ""
    max_size: Annotated[
        str, option(metavar="SIZE", help="The least recently used plans, until the rest fits: 2GB.")
    ] = ""
    everything: Annotated[bool, option("--all", help="All plans, what belongs to none, and OpenVINO's networks.")] = (
        False
    )
    dry_run: Annotated[bool, option("--dry-run", "-n", help="Only show what would be removed.")] = False
    as_json: PrintJson = False


@dataclasses.dataclass(frozen=True)
class CacheWhereOptions:
    """Show the folder; GANLENS_CACHE names another."""

    as_json: PrintJson = False
