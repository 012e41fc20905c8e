"""Where a run comes from: versions, commit, command line, device, fingerprint of the data."""

from __future__ import annotations

import datetime
import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("ganlens", "torch", "accelerate", "numpy", "pillow")


def session(*, step: int, device: str, processes: int, data: str) -> dict[str, Any]:
    """What is known of the process that trains now, as JSON values.

    Args:
        step: from which it trains.
        data: fingerprint of the data.
    """
    return {
        "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "from_step": step,
        "command": shlex.join(sys.argv),
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
        "commit": commit(),
        "cuda": torch.version.cuda or "",
        "device": device,
        "processes": processes,
        "data": data,
    }


def commit(folder: Path = Path(__file__).parent) -> str:
    """The commit of the program, with a plus sign if files were changed; empty outside a repository."""
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, timeout=5)
        if head.returncode:
            return ""
        status = ["git", "status", "--porcelain", "--untracked-files=no", "."]
        changed = subprocess.run(status, cwd=folder, capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return ""
    return head.stdout.strip()[:12] + ("+" if changed.stdout.strip() else "")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
