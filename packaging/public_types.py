"""Whether the public names of ganlens.engine, as installed, have complete types for pyright: make types."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from ganlens import engine


def main() -> int:
    """Print what is incomplete, and return 1 if a public name is."""
    folder = str(Path(sys.executable).parent)  # pyright examines the packages of the first python on the path
    done = subprocess.run(
        [f"{folder}/basedpyright", "--verifytypes", "ganlens.engine", "--ignoreexternal", "--outputjson"],
        env={**os.environ, "PATH": os.pathsep.join((folder, os.environ["PATH"]))},
        cwd="/",  # not beside sources that are not the installed ones
        capture_output=True,
        text=True,
    )
    symbols = json.loads(done.stdout)["typeCompleteness"]["symbols"]
    homes = tuple(
        f"ganlens.engine.{place}{name}" for name in engine.__all__ for place in (f"{engine._HOME[name]}.", "")
    )
    public = [
        one for one in symbols if any(one["name"] == home or one["name"].startswith(f"{home}.") for home in homes)
    ]
    incomplete = [one for one in public if not one["isTypeKnown"] or one["isTypeAmbiguous"]]
    for one in incomplete:
        print(one["name"], *(problem["message"] for problem in one["diagnostics"]), sep="\n  ")
    whole = sum(one["isTypeKnown"] and not one["isTypeAmbiguous"] for one in symbols)
    known = f"{len(public) - len(incomplete)} of {len(public)}"
    print(f"Complete types: {known} public names and their members; {whole} of {len(symbols)} in all modules.")
    return 1 if incomplete or len(public) < len(engine.__all__) else 0


if __name__ == "__main__":
    sys.exit(main())
