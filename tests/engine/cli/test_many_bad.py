"""Many inputs, and what goes wrong with them: nothing that is done is lost, and nothing half done is left."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from pathlib import Path

import pytest

from ganlens.engine import files
from ganlens.engine.cli import cluster
from ganlens.engine.cli.worker import Worker
from ganlens.engine.errors import MissingExtra
from tests.engine.cli.test_many import content, frames_of, rows, write_clip
from tests.kit.models import invert_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(invert_model(tmp_path_factory.mktemp("bad") / "invert.onnx", None))


@pytest.fixture
def clips(tmp_path):
    for number in range(10):
        write_clip(tmp_path / "in" / f"clip{number}.mp4", 3 + number)
    return tmp_path / "in"


@pytest.mark.parametrize("word", ["in/*.mkv", "nothing/*.mp4", "in/[x-z]*.mp4"])
def test_a_pattern_that_nothing_matches(engine, clips, model, word):
    status, _, err = engine("translate", word, "-o", "out", "-m", model)
    assert status == 1 and f"{word}: nothing matches" in err and not Path("out").exists()


def test_two_inputs_of_one_name(engine, clips, model):
    write_clip(Path("other/clip1.mp4"), 2)
    status, _, err = engine("translate", "in/*.mp4", "other/clip1.mp4", "-o", "out", "-m", model)
    assert status == 1 and "would both be written to out/clip1.mp4" in err and not Path("out").exists()
    shutil.copy("in/clip1.mp4", "in/clip1.mov")
    status, _, err = engine("translate", "in", "-o", "out", "-m", model, "--name", "{stem}.mp4")
    assert status == 1 and "would both be written to" in err and not Path("out").exists()


def after(monkeypatch, count, happen):
    """Let something happen after so many inputs."""
    translate, calls = Worker.translate, []

    def counted(self, *args, **options):
        calls.append(1)
        if len(calls) == count + 1:
            happen()
        return translate(self, *args, **options)

    monkeypatch.setattr(Worker, "translate", counted)


def test_an_input_folder_that_vanishes(engine, clips, model, monkeypatch):
    after(monkeypatch, 4, lambda: shutil.rmtree("in"))
    status, _, err = engine("translate", "in", "-o", "out", "-m", model)
    assert status == 1 and "6 of 10 inputs failed" in err and "no such file" in err
    assert [len(frames_of(f"out/clip{number}.mp4")) for number in range(4)] == [3, 4, 5, 6]
    assert [row["status"] for row in rows()] == ["done"] * 4 + ["failed"] * 6


def test_an_output_folder_that_vanishes_is_made_again(engine, clips, model, monkeypatch):
    after(monkeypatch, 4, lambda: shutil.rmtree("out"))
    status, _, err = engine("translate", "in", "-o", "out", "-m", model)
    assert status == 0, err
    assert sorted(content("out")) == [f"clip{number}.mp4" for number in range(4, 10)]
    status, _, err = engine("translate", "in", "-o", "out", "-m", model, "--resume")
    assert status == 0 and len(content("out")) == 10, err


class FullDisk:
    """A file on a disk with room for a few bytes."""

    def __init__(self, file) -> None:
        self._file, self._room = file, 300

    def write(self, data):
        self._room -= len(data)
        if self._room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._file.write(data)

    def __getattr__(self, name):
        return getattr(self._file, name)


def test_a_disk_that_is_full_in_the_seventh_clip(engine, clips, model, monkeypatch):
    made = files.PartialFile.__init__

    def limited(self, path, **options):
        made(self, path, **options)
        if path.suffix == ".mp4" and path.stem >= "clip6":
            self.file = FullDisk(self.file)

    monkeypatch.setattr(files.PartialFile, "__init__", limited)
    status, _, err = engine("translate", "in", "-o", "out", "-m", model)
    assert status == 1 and "4 of 10 inputs failed" in err and "no space left" in err
    assert sorted(path.name for path in Path("out").iterdir()) == [
        *(f"clip{number}.mp4" for number in range(6)),
        "manifest.jsonl",
    ]
    assert [len(frames_of(f"out/clip{number}.mp4")) for number in range(6)] == list(range(3, 9))
    monkeypatch.undo()
    monkeypatch.chdir(clips.parent)
    kept = {path: path.stat().st_mtime_ns for path in Path("out").glob("*.mp4")}
    status, _, err = engine("translate", "in", "-o", "out", "-m", model, "--resume")
    assert status == 0 and "6 of 10 are already finished" in err, err
    assert {path: path.stat().st_mtime_ns for path in kept} == kept and len(content("out")) == 10


def test_a_cluster_that_does_not_answer(engine, clips, model):
    status, _, err = engine("translate", "in", "-o", "out", "-m", model, "--ray", "127.0.0.1:1")
    assert status == 1 and "No Ray cluster answers at 127.0.0.1:1" in err and "ray start --head" in err
    status, _, err = engine("translate", "in", "-o", "out", "-m", model, "--ray", "somewhere")
    assert status == 1 and "expected HOST:PORT" in err
    status, _, err = engine("translate", "-", "-o", "out.mp4", "-m", model, "--ray", "local")
    assert status == 1 and "not a file that every node sees" in err


def test_ray_that_is_not_installed(clips, model, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match="ganlens\\[ray\\]"):
        cluster.RayCluster("local", backend="cpu")


def test_a_triton_server_that_does_not_answer(engine, clips, model):
    pytest.importorskip("tritonclient.grpc", reason="needs the extra 'triton'")
    status, _, err = engine(
        "translate", "in/clip1.mp4", "-o", "x.mp4", "-m", "starry", "--backend", "triton://127.0.0.1:1/x"
    )
    assert status == 1 and "does not answer as a Triton server" in err and not Path("x.mp4").exists()


@pytest.mark.parametrize("address", ["triton://", "triton://host/x", "triton://host:8001", "triton://host:8001/a/b"])
def test_addresses_that_are_none(engine, clips, model, address):
    status, _, err = engine("translate", "in/clip1.mp4", "-o", "x.mp4", "-m", "starry", "--backend", address)
    assert status == 1 and "expected triton://HOST:PORT/NAME" in err
