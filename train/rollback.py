"""``engine train rollback``: a run goes back to one of its snapshots, and nothing is lost."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import NamedTuple

from ganlens.engine.errors import TrainingError
from ganlens.engine.files import replace_file

from .checkpoint import STATE_NAME, load_state, save_state
from .config import is_config
from .loop import SNAPSHOTS
from .run_lock import only_writer

NAME = re.compile(r"step-(\d+)")


class Snapshot(NamedTuple):
    """A folder of ``snapshots/``."""

    step: int
    folder: Path
    complete: bool
    """It holds the state too, so that training can go on from it."""


def snapshot_folder(run: Path, step: int) -> Path:
    """Where a run keeps what it was after ``step`` steps."""
    return run / SNAPSHOTS / f"step-{step:07d}"


def list_snapshots(run: Path) -> list[Snapshot]:
    """The snapshots of a run folder, the oldest first.

    Raises:
        TrainingError: it is no run folder.
    """
    if not is_config(run):
        raise TrainingError(f"{run} is no run folder of engine train.")
    folders = run / SNAPSHOTS
    found = []
    for folder in sorted(folders.iterdir()) if folders.is_dir() else ():
        match = NAME.fullmatch(folder.name)
        if match:
            found.append(Snapshot(int(match[1]), folder, (folder / STATE_NAME).is_file()))
    return found


def roll_back(run: Path, step: int) -> int:
    """Make the snapshot of ``step`` the state of the run; what the run was becomes a snapshot itself.

    Later rows of the history, and later TensorBoard points, are dropped when the run is resumed. The generator in
    ``best/`` stays.

    Returns:
        The step at which the run stood.

    Raises:
        TrainingError: there is no such snapshot, or another process trains in the folder.
    """
    snapshots = {snapshot.step: snapshot for snapshot in list_snapshots(run)}
    if step not in snapshots:
        known = ", ".join(str(number) for number in snapshots) or "none; train with --keep-every N"
        raise TrainingError(f"{run} has no snapshot of step {step}. Snapshots: {known}.")
    chosen = snapshots[step]
    if not chosen.complete:
        raise TrainingError(
            f"{chosen.folder} holds generators only (it was written by an older version), so training cannot go on "
            f"from it. Start a new run with --start-from {chosen.folder}"
        )
    with only_writer(run):
        now = load_state(run)
        state = load_state(chosen.folder)
        before = int(now["step"])
        kept = snapshot_folder(run, before)
        if before not in snapshots or not snapshots[before].complete:
            for path in (*run.glob("*.safetensors"), run / STATE_NAME):
                _copy(path, kept / path.name)
        for path in chosen.folder.glob("*.safetensors"):
            _copy(path, run / path.name)
        save_state({**state, "best": now.get("best")}, run)  # the state last, as training writes them
    return before


def _copy(source: Path, target: Path) -> None:
    """A whole file or none."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as opened:
        replace_file(target, lambda file: shutil.copyfileobj(opened, file), durable=True)
