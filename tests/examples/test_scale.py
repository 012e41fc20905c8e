"""The examples of many machines, run here: their shards together are all clips, and none twice."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.cli.test_many import content, rows, write_clip

EXAMPLES = Path(__file__).parents[2] / "examples" / "scale"
CLIPS = 5


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder of clips, and a path on which ``engine`` is this one."""
    for number in range(CLIPS):
        write_clip(tmp_path / "in" / f"clip{number}.mp4", 2)
    program = tmp_path / "bin" / "engine"
    program.parent.mkdir()
    code = "from ganlens.engine.cli import main; main()"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{code}" "$@" --backend cpu --size 64x48\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def all_are_there(place, shards):
    assert sorted(content(place / "out")) == [f"clip{number}.mp4" for number in range(CLIPS)]
    done = [row["input"] for n in range(shards) for row in rows(place / "out" / f"manifest-{n + 1}-of-{shards}.jsonl")]
    assert sorted(Path(name).name for name in done) == [f"clip{number}.mp4" for number in range(CLIPS)]


def test_gnu_parallel(place):
    if shutil.which("parallel") is None:
        pytest.skip("needs GNU parallel (Debian: apt install parallel)")
    result = subprocess.run(
        [EXAMPLES / "parallel.sh", "in", "out", "2", "--jobs", "2", "--will-cite"], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    all_are_there(place, 2)


def test_slurm_array(place):
    script = EXAMPLES / "slurm-array.sbatch"
    count = int(re.search(r"#SBATCH --array=1-(\d+)", script.read_text())[1])
    assert count == 8
    for task in (1, 2):  # as of --array=1-2
        environment = {"IN": "in", "OUT": "out", "SLURM_ARRAY_TASK_ID": str(task), "SLURM_ARRAY_TASK_COUNT": "2"}
        subprocess.run([script], env={**os.environ, **environment}, check=True)
    all_are_there(place, 2)


def test_kubernetes_indexed_job(place):
    yaml = pytest.importorskip("yaml", reason="needs PyYAML")
    job = yaml.safe_load((EXAMPLES / "kubernetes-job.yaml").read_text())
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    assert (job["apiVersion"], job["kind"], spec["completionMode"]) == ("batch/v1", "Job", "Indexed")
    container = pod["containers"][0]
    count = int(re.search(r"\)\)/(\d+)\"", container["command"][-1])[1])
    assert count == spec["completions"]
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    assert mounts == {volume["name"] for volume in pod["volumes"]}
    names = {variable["name"] for variable in container["env"]}
    for index in range(2):
        command = [part.replace(f"/{count}", "/2") for part in container["command"]]
        environment = {"IN": "in", "OUT": "out", "JOB_COMPLETION_INDEX": str(index)}
        assert names == {"IN", "OUT"}
        subprocess.run(command, env={**os.environ, **environment}, check=True)
    all_are_there(place, 2)


@pytest.mark.parametrize("name", ["parallel.sh", "slurm-array.sbatch"])
def test_scripts_are_well_formed(name):
    subprocess.run(["bash", "-n", EXAMPLES / name], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", EXAMPLES / name], check=True)
