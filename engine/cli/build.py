"""``engine build`` and ``engine cache``: TensorRT plans, and the folder they are in."""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import ByteSize, TypeAdapter, ValidationError
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from ..backends.openvino_backend import stored_networks
from ..backends.tensorrt import (
    THIS_GPU,
    BuildOptions,
    Entry,
    Extent,
    MadePlan,
    PlanCache,
    PlanKey,
    make_plan,
    parse_extent,
    record_path,
)
from ..errors import OptionError
from ..model.description import parse_value_range
from .console import make_console
from .interrupt import terminate_as_interrupt
from .options.build import BuildOptions as BuildCommand
from .options.cache import CacheListOptions, CachePruneOptions, CacheWhereOptions
from .parse import order_note
from .progress import plan_progress

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def run(options: BuildCommand) -> None:
    """``engine build``."""
    console = make_console(stderr=True, highlight=True)
    shapes: dict[str, Extent] = {}
    for name, option in (("smallest", "min"), ("fastest", "opt"), ("largest", "max")):
        if text := getattr(options, option):
            shapes[name] = extent = parse_extent(f"--{option}", text)
            if (note := order_note(f"--{option}", (extent.height, extent.width))) and not options.quiet:
                console.print(note, markup=False, highlight=False, soft_wrap=True)
    with terminate_as_interrupt(), plan_progress(console, quiet=options.quiet):
        made = make_plan(
            options.model,
            options.output,
            **shapes,
            options=BuildOptions(
                workspace=parse_bytes("--workspace", options.workspace) if options.workspace else 0,
                target=options.target,
                version_compatible=options.version_compatible,
            ),
            value_range=parse_value_range(options.value_range) if options.value_range else None,
            overwrite=options.overwrite,
            gpu=options.device,
        )
    if options.as_json:
        print(json.dumps(plan_values(made), indent=2))
    else:
        for line in plan_lines(made):
            print(line)


def plan_lines(made: MadePlan) -> list[str]:
    """What a user should know of a plan that was made."""
    record = made.plan.record
    how = f"built in {record.build_seconds:.1f} s" if made.built else "found in the cache"
    return [
        f"{record.spec.name}: {record.key.precision} plan for {record.profile}, {decimal(record.plan_bytes)}",
        f"{how} with {record.key.library}, for {_reach(record.key)}",
        str(made.plan.path),
    ]


def _reach(key: PlanKey) -> str:
    """What a plan runs on, in words."""
    reach = {
        "portable": "GPUs of compute capability 8.0 and newer",
        "ampere": f"Ampere and newer (built on {key.gpu})",
        "same": f"compute capability {key.compute_capability} (built on {key.gpu})",
        THIS_GPU: f"{key.gpu}, {key.driver}",
    }
    return reach.get(key.target, key.target)


def plan_values(made: MadePlan) -> dict[str, Any]:
    """A plan that was made, as JSON values."""
    record = made.plan.record
    return {
        "path": str(made.plan.path),
        "record": str(record_path(made.plan.path)),
        "built": made.built,
        "bytes": record.plan_bytes,
        "seconds": record.build_seconds,
        "precision": record.key.precision,
        "key": record.key.model_dump(mode="json"),
        "shapes": {name: shapes._asdict() for name, shapes in record.shapes.items()},
        "sha256": record.plan_sha256,
    }


# --- the cache ----------------------------------------------------------------------------------------------------


def show_cache(options: CacheListOptions) -> None:
    """``engine cache list``."""
    cache = PlanCache()
    entries, networks = cache.entries(), stored_networks()
    if options.as_json:
        others = [{"path": str(path), "bytes": path.stat().st_size} for path in [*cache.stray(), *networks]]
        rows = [_values(entry) for entry in entries]
        print(json.dumps({"folder": str(cache.folder), "plans": rows, "others": others}, indent=2))
        return
    if networks:
        size = decimal(sum(path.stat().st_size for path in networks))
        print(f"Networks compiled by OpenVINO: {len(networks)} ({size}) in {networks[0].parent}")
    if not entries:
        print(f"No plan is in {cache.folder}. Make one with: engine build MODEL")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("model", "precision", "fastest at", "up to", "runs on", "built with", "size", "used"):
        table.add_column(column, overflow="fold", justify="right" if column in ("size", "used") else "left")
    for entry in entries:
        size, used = decimal(entry.bytes), f"{duration(entry.age_s)} ago"
        if entry.record is None:
            table.add_row("?", "", "", "", escape(entry.problem), "", size, used)
            continue
        key, shapes = entry.record.key, next(iter(entry.record.shapes.values()))
        model, runs_on = escape(entry.record.spec.name), escape(key.gpu or key.target)
        table.add_row(model, key.precision, _short(shapes.opt), _short(shapes.max), runs_on, key.library, size, used)
    console = make_console()
    console.print(table)
    total = decimal(sum(entry.bytes for entry in entries))
    console.print(f"{_count(len(entries))}, {total} in {cache.folder}", markup=False)


def _short(shape: tuple[int, ...]) -> str:
    """(batch, 3, height, width) as users give it: ``4x512x288``."""
    return str(Extent(shape[0], *shape[2:])) if len(shape) == 4 else "x".join(map(str, shape))


def prune_cache(options: CachePruneOptions) -> None:
    """``engine cache prune``."""
    if not (options.older_than or options.max_size or options.everything):
        raise OptionError("Nothing says what to remove; give --older-than 30d, --max-size 2GB, or --all.")
    cache = PlanCache()
    chosen = cache.choose(
        older_than_s=parse_duration("--older-than", options.older_than) if options.older_than else None,
        max_bytes=parse_bytes("--max-size", options.max_size) if options.max_size else None,
        everything=options.everything,
    )
    others = [*cache.stray(), *stored_networks()] if options.everything else []
    freed = sum(entry.bytes for entry in chosen) + sum(path.stat().st_size for path in others)
    if not options.dry_run:
        for entry in chosen:
            cache.remove(entry)
        for path in others:
            path.unlink(missing_ok=True)
    if options.as_json:
        rows = [_values(entry) for entry in chosen]
        print(json.dumps({"removed": not options.dry_run, "bytes": freed, "plans": rows}, indent=2))
        return
    for entry in chosen:
        name = entry.record.spec.name if entry.record else "?"
        print(f"{entry.path.name}  {name}  {decimal(entry.bytes)}  used {duration(entry.age_s)} ago")
    what = "would be removed" if options.dry_run else "removed"
    print(f"{_count(len(chosen))} {what}, {decimal(freed)}")


def show_folder(options: CacheWhereOptions) -> None:
    """``engine cache where``."""
    folder = PlanCache().folder
    print(json.dumps({"folder": str(folder)}) if options.as_json else folder)


def _count(number: int) -> str:
    return f"{number} plan{'s' * (number != 1)}"


def _values(entry: Entry) -> dict[str, Any]:
    values: dict[str, Any] = {
        "path": str(entry.path),
        "bytes": entry.bytes,
        "age_s": round(entry.age_s),
        "problem": entry.problem,
    }
    if entry.record is not None:
        values |= {
            "model": entry.record.spec.name,
            "key": entry.record.key.model_dump(mode="json"),
            "shapes": {name: shapes._asdict() for name, shapes in entry.record.shapes.items()},
            "built": entry.record.built,
            "build_seconds": entry.record.build_seconds,
        }
    return values


def parse_bytes(option: str, text: str) -> int:
    """``"2GB"`` (10^9) or ``"2GiB"`` (2^30) in bytes.

    Raises:
        OptionError: it is neither.
    """
    try:
        return int(TypeAdapter(ByteSize).validate_python(text))
    except ValidationError:
        raise OptionError(f"{option}: got {text}, expected a size as 500MB or 2GiB.") from None


def parse_duration(option: str, text: str) -> float:
    """``"30d"`` in seconds; s, m, h, d or w.

    Raises:
        OptionError: it is not such a time.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text.strip().lower())
    if not found:
        raise OptionError(f"{option}: got {text}, expected a time as 30d, 12h or 2w.")
    return float(found[1]) * UNITS_S[found[2]]


def duration(seconds: float) -> str:
    """In the largest unit that gives 1 or more: ``"3 d"``."""
    for unit in ("d", "h", "m"):
        if seconds >= UNITS_S[unit]:
            return f"{seconds / UNITS_S[unit]:.0f} {'min' if unit == 'm' else unit}"
    return f"{seconds:.0f} s"
