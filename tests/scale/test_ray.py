"""``--ray`` on two raylets of this machine, one of which is killed. A job of its own: make test-ray."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.engine.cli.test_many import content, frames_of, write_clip
from tests.kit.models import invert_model, noise_model

pytestmark = pytest.mark.skipif(
    os.environ.get("GANLENS_TEST_RAY") != "1", reason="takes minutes and needs the extra 'ray': make test-ray"
)

ENGINE = [sys.executable, "-c", "from ganlens.engine.cli import main; main()"]
CLIPS, FRAMES = 12, 1500
# Ray then stays on the loopback address, whatever the system's name for the variable suggests.
ENVIRONMENT = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
ENVIRONMENT["RAY_raylet_start_wait_time_s"] = "120"  # of a machine that is busy


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ray")
    for number in range(CLIPS):
        write_clip(folder / "in" / f"clip{number}.mp4", FRAMES + number, 10 * number)
    (folder / "in" / "bad.mp4").write_text("no video\n" * 40)
    invert_model(folder / "invert.onnx", None)
    return folder


# In a process of its own, whose warnings are not ours, and which says where the cluster is.
CLUSTER = """
import sys
from ray.cluster_utils import Cluster
node = dict(num_cpus=1, object_store_memory=100 << 20, node_ip_address="127.0.0.1")
cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
second = cluster.add_node(**node)
print("address", cluster.address, flush=True)
for line in sys.stdin:
    if line.strip() == "kill":
        cluster.remove_node(second, allow_graceful=False)
        print("killed", flush=True)
cluster.shutdown()
"""


@pytest.fixture
def cluster():
    process = subprocess.Popen(
        [sys.executable, "-c", CLUSTER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None,
        text=True,
        env=ENVIRONMENT,
    )
    try:
        yield process
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


def said(process, word):
    for line in process.stdout:
        if line.startswith(word):
            return line.split()[1:]
    raise AssertionError(f"the cluster ended before it said {word!r}")


def engine(work, *arguments):
    return subprocess.run([*ENGINE, *map(str, arguments)], cwd=work, capture_output=True, text=True, env=ENVIRONMENT)


def test_pictures_are_generated_and_judged_as_on_one_machine(work, cluster):
    (address,) = said(cluster, "address")
    noise_model(work / "noise.onnx")
    common = (
        "generate",
        "-m",
        "noise.onnx",
        "-n",
        40,
        "--seed",
        5,
        "--backend",
        "cpu",
        "--threads",
        1,
        "-q",
        "--json",
        "-",
    )
    records = {}
    for folder, where in (("here", ()), ("there", ("--ray", address))):
        done = engine(work, *common, "-o", f"{folder}/", *where)
        assert done.returncode == 0, done.stderr
        records[folder] = [{**row, "file": Path(row["file"]).name} for row in json.loads(done.stdout)["pictures"]]
    assert records["there"] == records["here"] and len(records["here"]) == 40
    here, there = ({path.name: path.read_bytes() for path in (work / name).iterdir()} for name in ("here", "there"))
    assert there == here and len(here) == 40
    again = engine(work, *common, "-o", "there/", "--ray", address)
    assert again.returncode == 1 and "exists (40 of 40 do); pass -y" in again.stderr

    common = ("evaluate", "invert.onnx", "--photos", "here/", "--no-start", "--json", "--size", "64x64")
    results = [json.loads(engine(work, *common, *where).stdout) for where in ((), ("--ray", address))]
    assert results[0] == results[1] and results[0]["pictures"] == 40


def test_every_clip_is_whole_and_none_is_there_twice_though_a_raylet_is_killed(work, cluster):
    (address,) = said(cluster, "address")
    command = [*ENGINE, "translate", "in", "-o", "out", "-m", "invert.onnx", "--backend", "cpu", "--ray", address]
    process = subprocess.Popen(command, cwd=work, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    end = time.monotonic() + 240
    while len(content(work / "out")) < 3 and time.monotonic() < end and process.poll() is None:
        time.sleep(0.02)
    finished = len(content(work / "out"))
    cluster.stdin.write("kill\n")
    cluster.stdin.flush()
    said(cluster, "killed")
    assert 3 <= finished < CLIPS
    _, err = process.communicate(timeout=300)
    assert process.returncode == 1 and f"1 of {CLIPS + 1} inputs failed" in err, err
    assert sorted(content(work / "out")) == sorted(f"clip{number}.mp4" for number in range(CLIPS))
    for number in range(CLIPS):
        assert len(frames_of(work / "out" / f"clip{number}.mp4")) == FRAMES + number
    rows = [json.loads(line) for line in (work / "out" / "manifest.jsonl").read_text().splitlines()]
    done = [row["output"] for row in rows if row["status"] == "done"]
    assert len(done) == len(set(done)) == CLIPS
    assert [row["input"] for row in rows if row["status"] == "failed"] == ["in/bad.mp4"]
    local = [*ENGINE, "translate", "in/clip3.mp4", "-o", "here.mp4", "-m", "invert.onnx", "--backend", "cpu", "-q"]
    subprocess.run(local, cwd=work, check=True)
    assert frames_of(work / "here.mp4") == frames_of(work / "out" / "clip3.mp4")
    again = subprocess.run(
        [*ENGINE, "translate", "in", "-o", "out", "-m", "invert.onnx", "--backend", "cpu", "--resume", "-q"],
        cwd=work,
        capture_output=True,
        text=True,
    )
    assert again.returncode == 1 and again.stderr.count("error:") == 1, again.stderr
    assert [path.name for path in Path(work / "out").glob(".*")] == []
