"""A video's frames in the GPU's memory from NVDEC to NVENC: libav's own code for both, over the stub driver.

The stub's NVDEC makes patterns and its NVENC writes down the samples that it was given, so that what arrives there is
known exactly. What only a GPU can show (that it decodes and encodes) is not tested here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from ganlens.engine import Color, Compositor, Frame, Translator, model
from ganlens.engine.backends.onnxruntime_backend import OnnxRuntimeCpu
from ganlens.engine.media.av_frames import SHARES_MEMORY
from tests.fakes.stub_driver import stub_environment
from tests.kit.models import network_model
from tests.kit.own_process import ROOT

pytest.importorskip("cuda.bindings", reason="needs cuda-bindings")
pytestmark = pytest.mark.skipif(not SHARES_MEMORY, reason="this PyAV cannot leave pictures in the GPU's memory")

HEIGHT, WIDTH = 90, 160
"""The codec stores 96 rows: the chroma does not begin right below the last row that is shown."""
PICTURE = WIDTH * HEIGHT * 3 // 2


def write_clip(path: Path, count: int, rotation: int = 0) -> str:
    """A clip with B-frames; returns the parameter sets in hexadecimal."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {"preset": "ultrafast", "bf": "2"}
        if rotation:
            stream.set_display_rotation(rotation)
        for number in range(count):
            picture = av.VideoFrame.from_ndarray(
                np.full((HEIGHT, WIDTH, 3), number * 9 % 256, np.uint8), format="rgb24"
            )
            picture.pts, picture.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
        return bytes(stream.codec_context.extradata).hex()


class Made(NamedTuple):
    """What a file of the stub's encoder holds."""

    luma: NDArray[np.uint8]
    chroma: NDArray[np.uint8]
    times: list[float]


def encoded(path: Path) -> Made:
    """The pictures that the stub's encoder was given, in order of their times."""
    pictures = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        for packet in container.demux(stream):
            if packet.size:
                bytes_ = np.frombuffer(bytes(packet), np.uint8)[-2 * PICTURE :] & 15
                assert packet.pts is not None and packet.time_base is not None
                pictures.append((float(packet.pts * packet.time_base), bytes_[::2] << 4 | bytes_[1::2]))
    pictures.sort(key=lambda row: row[0])
    samples = np.array([samples.reshape(HEIGHT * 3 // 2, WIDTH) for _, samples in pictures])
    chroma = samples[:, HEIGHT:].reshape(-1, HEIGHT // 2, WIDTH // 2, 2)
    return Made(samples[:, :HEIGHT], chroma, [time for time, _ in pictures])


class Stub:
    """A folder with clips and a model, and ``engine translate`` with a GPU that is the stub."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = network_model(folder / "model.onnx", None)
        self._parameters = ""

    def clip(self, count: int, **options: int) -> str:
        path = self.folder / f"clip{count}{''.join(options)}.mp4"
        if not path.exists():
            self._parameters = write_clip(path, count, **options)
        return str(path)

    def out(self, name: str) -> str:
        return str(self.folder / name)

    def run(self, *commands: list[str]) -> list[list[int]]:
        """Status, bytes from the host, to the host and within the device, and kernels, for each command."""
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("device_video.py")), str(self.model), json.dumps(commands)],
            env={
                **os.environ,
                **stub_environment(video=True),
                "STUB_PARAMETERS": self._parameters,
                "PYTHONPATH": str(ROOT),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        rows: list[list[int]] = json.loads(done.stdout.splitlines()[-1])
        assert not any(row[0] for row in rows), done.stderr
        return rows

    def decoded(self, path: str) -> list[Frame]:
        """What NVDEC gave, as "decode" saved it."""
        with np.load(path) as saved:
            rows = zip(saved["luma"], saved["chroma"], saved["times"], strict=True)
            return [Frame((luma, chroma), "nv12", Color("bt601"), Fraction(time)) for luma, chroma, time in rows]

    def expected(self, path: str) -> list[Frame]:
        """What NVDEC gave, over the CPU path with the scalar kernels."""
        frames = self.decoded(path)
        opened = OnnxRuntimeCpu(model.open(self.model), threads=1)
        with Translator(opened, Compositor(opened.spec, target="scalar")) as translator:
            return [translator(frame) for frame in frames]


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Stub:
    return Stub(tmp_path_factory.mktemp("device_video"))


def assert_holds(path: str, expected: list[Frame]) -> None:
    made = encoded(Path(path))
    assert made.times == pytest.approx([float(frame.time or 0) for frame in expected])
    assert np.array_equal(made.luma, [frame.planes[0] for frame in expected])
    assert np.array_equal(made.chroma, [frame.planes[1] for frame in expected])


def test_frames_stay_on_the_gpu_from_nvdec_to_nvenc(stub: Stub) -> None:
    """No picture crosses the bus, and what NVENC gets is what the CPU path makes of what NVDEC gave."""
    nv = ["--decoder", "nvdec", "--encoder", "nvenc", "--yes", "--model", str(stub.model)]
    report, painted, batched = stub.out("report.json"), stub.out("painted.mp4"), stub.out("batched.mp4")
    _, few, many, host10, _, host110, _, unseen = stub.run(
        ["decode", stub.clip(20), stub.out("decoded.npz")],
        [stub.clip(10), "-o", stub.out("few.mp4"), *nv],
        [stub.clip(20), "-o", painted, *nv, "--json", report],
        ["host", stub.clip(10), "-o", stub.out("host10.mp4"), *nv],
        ["host", stub.clip(20), "-o", stub.out("host20.mp4"), *nv],
        ["host", stub.clip(110), "-o", stub.out("host110.mp4"), *nv],
        [stub.clip(20), "-o", batched, *nv, "--batch", "4"],
        [stub.clip(20), "-o", stub.out("unseen.mp4"), *nv, "--opacity", "0"],
    )
    expected = stub.expected(stub.out("decoded.npz"))
    for path in (painted, stub.out("host20.mp4"), batched):
        assert_holds(path, expected)
    # NVDEC's own pictures, whose chroma begins below the rows that are not shown.
    assert_holds(stub.out("unseen.mp4"), stub.decoded(stub.out("decoded.npz")))
    assert unseen[4] == 0
    said = json.loads(Path(report).read_text())
    assert (said["decoder"], said["encoder"], said["files"][0]["on_device"]) == ("nvdec", "nvenc", True)
    up, down = (many[kind] - few[kind] for kind in (1, 2))
    assert (up, down) == (0, 0)
    assert many[4] - few[4] == 2 * 10  # prepare and compose
    # Through host memory: down from NVDEC, up and down for the network, up to NVENC; padding of rows goes along.
    # How many results the encoder holds at a time differs, at most by 9; for each, a lane is made and run once.
    up, down = ((host110[kind] - host10[kind]) / 100 for kind in (1, 2))
    assert 1.9 * PICTURE <= up < 3 * PICTURE and 1.9 * PICTURE <= down < 3 * PICTURE


def test_a_cpu_encoder_downloads_each_picture_once(stub: Stub) -> None:
    options = ["--decoder", "nvdec", "--encoder", "cpu", "--yes", "--model", str(stub.model), "--crf", "0"]
    _, few, many = stub.run(
        ["decode", stub.clip(20), stub.out("decoded.npz")],
        [stub.clip(10), "-o", stub.out("x264_10.mp4"), *options],
        [stub.clip(20), "-o", stub.out("x264_20.mp4"), *options],
    )
    assert many[1] - few[1] == 0 and PICTURE <= (many[2] - few[2]) / 10 < 1.5 * PICTURE
    with av.open(stub.out("x264_20.mp4")) as container:
        pictures = [picture.reformat(format="nv12") for picture in container.decode(video=0)]
    for picture, frame in zip(pictures, stub.expected(stub.out("decoded.npz")), strict=True):
        luma = np.frombuffer(picture.planes[0], np.uint8).reshape(HEIGHT, -1)[:, :WIDTH]
        assert np.array_equal(luma, frame.planes[0])


def test_what_needs_both_pictures_or_another_form_goes_through_host_memory(stub: Stub) -> None:
    options = ["--decoder", "nvdec", "--encoder", "cpu", "--yes", "--model", str(stub.model)]
    reports = [stub.out(f"report{number}.json") for number in range(3)]
    stub.run(
        [stub.clip(5), "-o", stub.out("compared.mp4"), *options, "--compare", "--json", reports[0]],
        [stub.clip(5, rotation=90), "-o", stub.out("turned.mp4"), *options, "--json", reports[1]],
        [stub.clip(5), "-o", stub.out("tiles.mp4"), *options, "--framing", "tile", "--json", reports[2]],
    )
    said: list[Any] = [json.loads(Path(report).read_text()) for report in reports]
    assert [one["files"][0]["on_device"] for one in said] == [False] * 3
    assert [one["frames"] for one in said] == [5] * 3
