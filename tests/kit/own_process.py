"""Python code in a process of its own: for what a process does once, at its beginning or at its end."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run_python(code: str, *arguments: str, python: str = sys.executable, **environment: str) -> str:
    """What the code prints, without blanks around it; fails the test with its error output if it fails.

    Args:
        arguments: ``sys.argv[1:]``.
        environment: variables to set.
    """
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n" + textwrap.dedent(code)
    done = subprocess.run(
        [python, "-c", program, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
