"""``python -m tests.fuzz``: damaged files against everything that reads files.

    python -m tests.fuzz --minutes 30 --json out/fuzz.json
    python -m tests.fuzz --targets video,model --seed 7 --keep out/findings

A finding is a traceback, a signal, a hang of more than 20 s, more than 1.5 GiB, a file that is left behind, or an old
file that was damaged.
"""

from __future__ import annotations

import argparse
import json
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz.mutate import mutate
from tests.fuzz.targets import TARGETS
from tests.fuzz.worker import MEMORY

ROOT = Path(__file__).resolve().parents[2]
HANG_S = 20.0
GOOD = ("clean", "refused")


class Reader:
    """A worker process for one target, started again when it dies."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._process: subprocess.Popen[str] | None = None
        self._rss = 0

    def read(self, path: Path) -> dict[str, Any]:
        """What becomes of a file."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.fuzz.worker", self._name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                cwd=ROOT,
            )
            self._rss = 0
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(f"{path}\n")
            process.stdin.flush()
            patience = HANG_S if self._rss else HANG_S + 60  # the first one imports
            ready, _, _ = select.select([process.stdout], [], [], patience)
            line = process.stdout.readline() if ready else ""
        except BrokenPipeError:
            ready, line = [process.stdout], ""
        if not line:
            if not ready:
                process.kill()
            status = process.wait()
            self._process = None
            return {"outcome": "hang" if not ready else "signal", "what": f"exit status {status}"}
        answer: dict[str, Any] = json.loads(line)
        if self._rss and answer["rss"] - self._rss > MEMORY:
            answer |= {"outcome": "memory", "what": f"{(answer['rss'] - self._rss) >> 20} MiB more"}
        self._rss = answer["rss"]
        return answer

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@dataclass
class Result:
    """What a run found."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    findings: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def cases(self) -> int:
        """Files read."""
        return sum(sum(counter.values()) for counter in self.counts.values())


def fuzz(names: list[str], seconds: float, seed: int, keep: Path | None = None, least: int = 0) -> Result:
    """Feed the targets in turns until the time is over, and with ``least`` cases or more."""
    result = Result()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        readers, seeds = {}, {}
        for name in names:
            home = Path(folder) / name
            home.mkdir()
            seeds[name] = [(path.suffix, path.read_bytes()) for path in TARGETS[name].seeds(home)]
            readers[name] = Reader(name)
            result.counts[name] = Counter()
        number = 0
        try:
            while time.monotonic() - began < seconds or number <= least:
                for name in names:
                    for _ in range(1 if name == "video" else 5):
                        suffix, data = seeds[name][number % len(seeds[name])]
                        case = Path(folder) / name / f"case{suffix}"
                        case.write_bytes(mutate(data, seed * 1_000_003 + number, [other for _, other in seeds[name]]))
                        answer = readers[name].read(case)
                        result.counts[name][answer["outcome"]] += 1
                        if answer["outcome"] not in GOOD:
                            result.findings.append({"target": name, "case": number, "seed": seed, **answer})
                            if keep is not None:
                                keep.mkdir(parents=True, exist_ok=True)
                                (keep / f"{name}-{seed}-{number}{suffix}").write_bytes(case.read_bytes())
                        case.unlink()
                        number += 1
        finally:
            for reader in readers.values():
                reader.close()
    result.seconds = time.monotonic() - began
    return result


def table(result: Result) -> str:
    """The counts, a line for each target."""
    columns = ("cases", "clean", "refused", "traceback", "signal", "hang", "memory", "file left", "old lost")
    lines = ["target    " + "".join(f"{column:>11}" for column in columns)]
    for name, counter in result.counts.items():
        values = [sum(counter.values()), *(counter[column] for column in columns[1:])]
        lines.append(f"{name:<10}" + "".join(f"{value:>11}" for value in values))
    return "\n".join(lines)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--cases", type=int, default=0, help="go on until there are so many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--targets", default=",".join(TARGETS))
    parser.add_argument("--keep", type=Path, help="folder for the files of findings")
    parser.add_argument("--json", type=Path, help="file for the result")
    options = parser.parse_args()
    result = fuzz(options.targets.split(","), 60 * options.minutes, options.seed, options.keep, options.cases)
    print(table(result))
    for found in result.findings[:20]:
        print(f"\n{found['target']} seed {found['seed']} case {found['case']}: {found['outcome']}\n{found.get('what')}")
    print(f"\n{result.cases} cases in {result.seconds:.0f} s, {len(result.findings)} findings")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        record = {
            "cases": result.cases,
            "seconds": round(result.seconds, 1),
            "seed": options.seed,
            "targets": {name: dict(counter) for name, counter in result.counts.items()},
            "findings": result.findings,
        }
        options.json.write_text(json.dumps(record, indent=1) + "\n")
    return 1 if result.findings else 0


if __name__ == "__main__":
    sys.exit(main())
