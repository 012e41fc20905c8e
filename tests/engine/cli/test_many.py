"""Many inputs: a manifest, going on, parts for several machines, several processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from ganlens.engine.cli.inputs import Input, Work
from ganlens.engine.cli.manifest import Manifest, parse_shard, shard
from ganlens.engine.errors import OptionError
from tests.kit.models import invert_model

ENGINE = [sys.executable, "-c", "from ganlens.engine.cli import main; main()"]


def write_clip(path: Path, frames: int, level: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=Fraction(12))
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for number in range(frames):
            picture = np.full((48, 64, 3), (level + 9 * number) % 256, np.uint8)
            output.mux(video.encode(av.VideoFrame.from_ndarray(picture)))
        output.mux(video.encode())


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(invert_model(tmp_path_factory.mktemp("many") / "invert.onnx", None))


@pytest.fixture
def clips(tmp_path):
    """Twelve inputs: ten clips of different lengths, two that are broken."""
    for number in range(10):
        write_clip(tmp_path / "in" / f"clip{number}.mp4", 3 + number, 10 * number)
    (tmp_path / "in" / "bad1.mp4").write_bytes((tmp_path / "in" / "clip3.mp4").read_bytes()[:700])
    (tmp_path / "in" / "bad2.mp4").write_text("no video\n" * 40)
    return tmp_path / "in"


def rows(path="out/manifest.jsonl"):
    """What became of the inputs, without the lines that say that they were begun."""
    lines = [json.loads(line) for line in Path(path).read_text().splitlines()]
    return [line for line in lines if line["status"] != "begun"]


def frames_of(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="gray").tobytes() for frame in container.decode(video=0)]


def content(folder):
    return {path.name: path.read_bytes() for path in Path(folder).glob("[!.]*.mp4")}


def test_ten_right_two_reported_and_going_on_touches_nothing(engine, clips, model):
    status, _, err = engine("translate", "in", "-o", "out", "-m", model)
    assert status == 1, err
    assert "2 of 12 inputs failed" in err and "error: in/bad1.mp4" in err and "error: in/bad2.mp4" in err
    assert sorted(content("out")) == [f"clip{number}.mp4" for number in range(10)]
    assert [len(frames_of(f"out/clip{number}.mp4")) for number in range(10)] == list(range(3, 13))
    assert sorted(row["status"] for row in rows()) == ["done"] * 10 + ["failed"] * 2
    before = {path: path.stat().st_mtime_ns for path in Path("out").glob("*.mp4")}
    status, _, err = engine("translate", "in", "-o", "out", "-m", model, "--resume")
    assert status == 1 and "10 of 12 are already finished" in err
    assert {path: path.stat().st_mtime_ns for path in Path("out").glob("*.mp4")} == before
    assert len(rows()) == 14


def test_without_resume_nothing_is_replaced(engine, clips, model):
    engine("translate", "in/clip*.mp4", "-o", "out", "-m", model)
    before = content("out")
    status, _, err = engine("translate", "in/clip*.mp4", "-o", "out", "-m", model)
    assert status == 1 and err.count("exists; pass -y") == 10
    assert content("out") == before


def test_a_changed_input_is_made_again(engine, clips, model):
    engine("translate", "in/clip*.mp4", "-o", "out", "-m", model)
    write_clip(clips / "clip4.mp4", 2)
    Path("out/clip5.mp4").unlink()
    status, _, err = engine("translate", "in/clip*.mp4", "-o", "out", "-m", model, "--resume")
    assert status == 0 and "8 of 10 are already finished" in err, err
    assert len(frames_of("out/clip4.mp4")) == 2 and len(frames_of("out/clip5.mp4")) == 8


def test_other_options_or_another_model_are_refused(engine, clips, model, tmp_path):
    engine("translate", "in/clip*.mp4", "-o", "out", "-m", model)
    before = content("out")
    status, _, err = engine("translate", "in/clip*.mp4", "-o", "out", "-m", model, "--resume", "--opacity", ".5")
    assert status == 1 and "opacity: default then, 0.5 now" in err
    other = invert_model(tmp_path / "other.onnx")
    status, _, err = engine("translate", "in/clip*.mp4", "-o", "out", "-m", other, "--resume")
    assert status == 1 and "another model" in err
    assert content("out") == before


@pytest.mark.parametrize("jobs", [[], ["--jobs", "2"]], ids=["one process", "two processes"])
def test_killed_in_the_middle_and_resumed_it_is_as_if_nothing_had_happened(clips, model, tmp_path, jobs):
    for number in range(10):  # long enough to be killed among them
        write_clip(clips / f"clip{number}.mp4", 400, 10 * number)
    # Of x264's presets ultrafast and superfast are repeatable to the byte: docs/scale.md.
    command = [*ENGINE, "translate", "in/clip*.mp4", "-m", model, "-q", "--backend", "cpu", "--preset", "ultrafast"]
    subprocess.run([*command, "-o", "whole", *jobs], cwd=tmp_path, check=True)
    process = subprocess.Popen([*command, "-o", "out", *jobs], cwd=tmp_path, start_new_session=True)
    end = time.monotonic() + 60
    while len(list((tmp_path / "out").glob("clip*.mp4"))) < 3 and time.monotonic() < end:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    made = len(list((tmp_path / "out").glob("clip*.mp4")))
    assert made >= 3
    subprocess.run([*command, "-o", "out", "--resume", *jobs], cwd=tmp_path, check=True)
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_the_first_interrupt_finishes_what_is_in_hand(clips, model, tmp_path):
    for number in range(10):
        write_clip(clips / f"clip{number}.mp4", 200, 10 * number)
    command = [*ENGINE, "translate", "in/clip*.mp4", "-m", model, "--backend", "cpu", "-o", "out"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background has it ignored
    )
    end = time.monotonic() + 60
    while not list((tmp_path / "out").glob("clip*.mp4")) and time.monotonic() < end:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "finishing the current inputs" in err and "continue with --resume" in err
    made = sorted((tmp_path / "out").glob("clip*.mp4"))
    assert 1 <= len(made) < 10
    assert all(len(frames_of(path)) == 200 for path in made)
    assert [row["status"] for row in rows(tmp_path / "out" / "manifest.jsonl")] == ["done"] * len(made)


def test_processes_give_what_one_gives(clips, model, tmp_path):
    command = [*ENGINE, "translate", "in", "-m", model, "--backend", "cpu", "--threads", "1"]
    for folder, jobs in (("one", []), ("two", ["--jobs", "2"])):
        result = subprocess.run([*command, "-o", folder, *jobs], cwd=tmp_path, capture_output=True, text=True)
        assert result.returncode == 1 and "2 of 12 inputs failed" in result.stderr, result.stderr
    assert {name: len(frames_of(tmp_path / "two" / name)) for name in content(tmp_path / "two")} == {
        f"clip{number}.mp4": 3 + number for number in range(10)
    }
    for name in content(tmp_path / "one"):
        assert frames_of(tmp_path / "one" / name) == frames_of(tmp_path / "two" / name)


def test_parts_cover_all_and_share_nothing(engine, clips, model):
    for part in ("1/3", "2/3", "3/3"):
        assert engine("translate", "in/clip*.mp4", "-o", "out", "-m", model, "--shard", part)[0] == 0
    assert len(content("out")) == 10
    assert sorted(path.name for path in Path("out").glob("*.jsonl")) == [f"manifest-{n}-of-3.jsonl" for n in (1, 2, 3)]
    status, _, err = engine("translate", "in/clip*.mp4", "-o", "out", "-m", model, "--resume")
    assert status == 0 and "10 of 10 are already finished" in err


@pytest.mark.parametrize("text", ["5/4", "0/4", "x", "1", "1/0", "-1/2"])
def test_no_such_part(engine, clips, model, text):
    with pytest.raises(OptionError, match="--shard"):
        parse_shard(text)
    status, _, err = engine("translate", "in/clip*.mp4", "-o", "out", "-m", model, f"--shard={text}")
    assert status == 1 and "--shard" in err


def test_shards_of_any_count():
    works = [Work(Input(str(number), "video", Path(str(number))), str(number)) for number in range(7)]
    for count in (1, 2, 3, 7, 9):
        parts = [work for index in range(1, count + 1) for work in shard(works, (index, count))]
        assert sorted(parts) == works


def test_retries_try_again(engine, clips, model):
    status, _, err = engine("translate", "in/bad1.mp4", "in/clip1.mp4", "-o", "out", "-m", model, "--retries", "2")
    assert status == 1 and err.count("Trying again") == 2
    assert sorted(row["status"] for row in rows()) == ["done", "failed"]


def test_a_line_that_was_cut_off_is_not_believed(tmp_path):
    work = Work(Input("a.mp4", "video", Path("a.mp4")), str(tmp_path / "o.mp4"))
    (tmp_path / "o.mp4").write_bytes(b"12345")
    manifest = Manifest(tmp_path / "manifest.jsonl", {"model": "x"}, resume=False)
    manifest.write(work, "done", frames=3)
    text = manifest.path.read_text()
    assert Manifest(manifest.path, {"model": "x"}, resume=True).is_done(work)
    manifest.path.write_text(text[: len(text) // 2])
    assert not Manifest(manifest.path, {"model": "x"}, resume=True).is_done(work)
    manifest.path.write_text(text)
    (tmp_path / "o.mp4").write_bytes(b"1234")
    assert not Manifest(manifest.path, {"model": "x"}, resume=True).is_done(work)


def test_a_file_that_was_there_before_is_never_taken_for_ours(engine, clips, model):
    Path("out").mkdir()
    Path("out/clip1.mp4").write_text("precious")
    for resume in ([], ["--resume"]):
        status, _, err = engine("translate", "in/clip1.mp4", "in/clip2.mp4", "-o", "out", "-m", model, *resume)
        assert status == 1 and "clip1.mp4 exists; pass -y" in err
        assert Path("out/clip1.mp4").read_text() == "precious"


def test_a_custom_manifest_and_names(engine, clips, model):
    status, _, err = engine(
        "translate", "in/clip1.mp4", "in/clip2.mp4", "-o", "out", "-m", model, "--manifest", "log/m.jsonl",
        "--name", "{stem}-{model}{suffix}",
    )  # fmt: skip
    assert status == 0, err
    assert sorted(content("out")) == ["clip1-invert.mp4", "clip2-invert.mp4"]
    assert [row["output"] for row in rows("log/m.jsonl")] == ["out/clip1-invert.mp4", "out/clip2-invert.mp4"]
