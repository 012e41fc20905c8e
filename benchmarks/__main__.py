"""All benchmarks one after the other, then the tables of docs/measured.md and of the README: ``make bench``.

    python -m benchmarks [--model starry --model comic] [--vapoursynth FOLDER]
    python -m benchmarks --quick                # few rounds, results under out/bench/quick, docs/measured.md untouched

Each runs in a process of its own. Close other programs first: ``foreign`` in the results says how much they disturbed.
"""

from __future__ import annotations

import argparse
import datetime
import subprocess
import sys
from pathlib import Path

from . import results

ROOT = Path(__file__).parents[1]


def commands(options: argparse.Namespace, folder: Path) -> list[list[str]]:
    """The command line of each benchmark, its result going to ``folder``."""
    quick = ["--quick"] if options.quick else []
    first = ["--model", options.model[0]]
    peer = ["--vapoursynth", str(options.vapoursynth)] if options.vapoursynth else []
    runs = {
        "kernels": ["benchmarks.kernels"],
        "network": ["benchmarks.network", *first],
        "latency": ["benchmarks.latency", *first],
        "video-region": ["benchmarks.video", "--mode", "region", *first, *peer],
    }
    for model in options.model:
        runs[f"video-frame-{Path(model).stem}"] = ["benchmarks.video", "--mode", "frame", "--model", model, *peer]
    today = datetime.date.today()
    files = {name: str(folder / f"{name}-{today}.json") for name in runs}
    return [[sys.executable, "-m", *run, *quick, "--json", files[name]] for name, run in runs.items()]


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model", action="append", help="name or ONNX file; repeat for more rows of the README. [starry, comic]"
    )
    parser.add_argument("--vapoursynth", type=Path, help="bin folder of the environment with VapourSynth")
    parser.add_argument("--quick", action="store_true", help="few rounds, to see that everything works")
    options = parser.parse_args()
    options.model = options.model or ["starry", "comic"]
    folder = ROOT / "out" / "bench" / "quick" if options.quick else results.FOLDER
    for command in commands(options, folder):
        subprocess.run(command, check=True, cwd=ROOT)
    if not options.quick:
        subprocess.run([sys.executable, "-m", "benchmarks.report"], check=True, cwd=ROOT)


if __name__ == "__main__":
    main()
