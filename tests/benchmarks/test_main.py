"""``make bench`` runs everything once."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

from benchmarks.__main__ import commands


def test_every_benchmark_is_run_with_its_own_result_file(tmp_path: Path) -> None:
    options = argparse.Namespace(quick=True, model=["m.onnx", "n"], vapoursynth=Path("vs/bin"))
    made = commands(options, tmp_path)
    modules = [command[2] for command in made]
    assert set(modules) == {f"benchmarks.{name}" for name in ("kernels", "latency", "network", "video")}
    assert all(importlib.util.find_spec(module) for module in modules)
    files = [Path(command[command.index("--json") + 1]) for command in made]
    assert len(set(files)) == len(made)
    assert {file.parent for file in files} == {tmp_path}
    for command in made:
        assert "--quick" in command
        assert ("m.onnx" in command or "n" in command) == ("kernels" not in command[2])
        assert ("vs/bin" in command) == ("video" in command[2])
