"""Places that fail while a command runs: a full disk, a folder that goes away, descriptors that are closed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.kit.models import invert_model
from tests.kit.streams import check_video

ENGINE = [sys.executable, "-c", "from ganlens.engine.cli import main; main()"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A clip of noise, which is hard to compress, and a model."""
    folder = tmp_path_factory.mktemp("places")
    random = np.random.default_rng(0)
    with av.open(str(folder / "in.mp4"), "w") as output:
        video = output.add_stream("libx264", rate=Fraction(25), options={"preset": "ultrafast", "crf": "10"})
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        for _ in range(40):
            noise = random.integers(0, 256, (240, 320, 3), dtype=np.uint8)
            output.mux(video.encode(av.VideoFrame.from_ndarray(noise)))
        output.mux(video.encode())
    return folder / "in.mp4", invert_model(folder / "invert.onnx", None)


def command(inputs: tuple[Path, Path], target: Path) -> list[str]:
    clip, model = inputs
    options = ["--framing", "native", "--backend", "cpu", "--preset", "ultrafast", "--crf", "10"]
    return [*ENGINE, "translate", str(clip), "-o", str(target), "-m", str(model), *options]


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of half a megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(place)], check=False)
    if mounted.returncode:
        pytest.skip("a tmpfs cannot be mounted here (needs root)")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk(inputs: tuple[Path, Path], small_disk: Path) -> None:
    done = subprocess.run(command(inputs, small_disk / "out.mp4"), capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Free some space" in done.stderr and "Traceback" not in done.stderr
    assert list(small_disk.iterdir()) == []


def test_a_folder_that_is_removed(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    process = subprocess.Popen(command(inputs, folder / "out.mp4"), stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while not list(folder.iterdir()) and time.monotonic() < end:
        time.sleep(0.002)
    shutil.rmtree(folder)
    _, text = process.communicate(timeout=60)
    assert process.returncode == 1 and "does not exist" in text and "Traceback" not in text


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_closed_descriptors(inputs: tuple[Path, Path], tmp_path: Path, closed: tuple[int, ...]) -> None:
    def close() -> None:
        for number in closed:
            os.close(number)

    done = subprocess.run(command(inputs, tmp_path / "out.mp4"), preexec_fn=close, check=False, timeout=60)
    assert done.returncode == 0
    assert check_video(tmp_path / "out.mp4") == 40
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
