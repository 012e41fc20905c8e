"""The GStreamer element, in pipelines of the system's own GStreamer."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ganlens.engine import Frame, Translator, VideoSource
from ganlens.engine.errors import BackendUnavailable, MediaError
from ganlens.engine.gstreamer import FILE, check, hiding_environment, install, path_without_environments
from ganlens.engine.pixels.frame import Color, PixelFormat, plane_shapes
from tests.kit.models import identity_model, invert_model

ROOT = Path(__file__).resolve().parents[3]
DRIVER = Path(__file__).with_name("driver.py")
FULL = Color("bt601", True, "center")
BINDINGS = "import sys, gi; gi.require_version('GstApp', '1.0'); print('%d.%d' % sys.version_info[:2])"


def _missing() -> str:
    """Why pipelines cannot run here; empty if they can."""
    for program in ("gst-launch-1.0", "gst-inspect-1.0", "/usr/bin/python3"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    found = subprocess.run(["/usr/bin/python3", "-c", BINDINGS], capture_output=True, text=True)
    if found.returncode != 0:
        return "the system's Python has no GStreamer bindings (python3-gst-1.0, gir1.2-gst-plugins-base-1.0)"
    if found.stdout.strip() != "{}.{}".format(*sys.version_info):
        return f"the system's Python is {found.stdout.strip()}, this is {sys.version_info[0]}.{sys.version_info[1]}"
    if subprocess.run(["gst-inspect-1.0", "python"], capture_output=True).returncode != 0:
        return "GStreamer has no loader for Python elements (gstreamer1.0-python3-plugin-loader)"
    return ""


MISSING = _missing()
pipelines = pytest.mark.skipif(bool(MISSING), reason=MISSING)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment of a program that finds the element and none of the user's own."""
    folder = tmp_path_factory.mktemp("gstreamer")
    install(folder)
    own = {"GST_PLUGIN_PATH": str(folder), "GST_REGISTRY": str(folder / "registry"), "HOME": str(folder)}
    own["PATH"] = path_without_environments()
    return {**os.environ, **own, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("models")
    return {
        "invert": str(invert_model(folder / "invert.onnx")),
        "identity": str(identity_model(folder / "identity.onnx")),
    }


def launch(environment: dict[str, str], pipeline: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["gst-launch-1.0", *pipeline.split()], env=environment, capture_output=True, text=True, timeout=120
    )


def drive(environment: dict[str, str], *arguments: str) -> Any:
    done = subprocess.run(
        ["/usr/bin/python3", str(DRIVER), *arguments], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def frames_of(data: bytes, format: PixelFormat, size: tuple[int, int], color: Color) -> list[Frame]:
    """Frames of a file of raw video as GStreamer pads it: rows to multiples of four bytes, heights to even ones."""
    height, width = size
    up = lambda value, step: -(-value // step) * step  # noqa: E731
    strides = [up(width, 4)] + ([up(up(width, 2) // 2, 4)] * 2 if format == "yuv420p" else [up(width, 4)])
    rows = [up(height, 2)] + [up(height, 2) // 2] * (len(strides) - 1)
    sizes = [stride * count for stride, count in zip(strides, rows, strict=True)]
    assert len(data) % sum(sizes) == 0 and data
    frames = []
    for start in range(0, len(data), sum(sizes)):
        planes, at = [], start
        for shape, stride, room in zip(plane_shapes(size, format), strides, sizes, strict=True):
            steps = (stride, 1) if len(shape) == 2 else (stride, 2, 1)
            planes.append(np.ndarray(shape, np.uint8, data, at, steps))
            at += room
        frames.append(Frame(tuple(planes), format, color))
    return frames


@pipelines
@pytest.mark.parametrize(
    ("caps", "format", "size", "color"),
    [
        ("I420,width=64,height=48,colorimetry=bt709", "yuv420p", (48, 64), Color("bt709")),
        ("NV12,width=64,height=48,colorimetry=bt601", "nv12", (48, 64), Color("bt601")),
        ("I420,width=61,height=47,colorimetry=1:4:0:0,chroma-site=jpeg", "yuv420p", (47, 61), FULL),
        ("NV12,width=61,height=47,colorimetry=bt601", "nv12", (47, 61), Color("bt601")),
    ],
)
def test_pixels_are_the_translators(environment, models, tmp_path, caps, format, size, color):
    """Also beside another branch, which shares the buffers and must not see them change."""
    done = launch(
        environment,
        f"-q videotestsrc num-buffers=3 ! video/x-raw,format={caps} ! tee name=t ! queue ! filesink "
        f"location={tmp_path}/in t. ! queue ! ganlens model={models['invert']} backend=cpu threads=1 ! "
        f"filesink location={tmp_path}/out",
    )
    assert done.returncode == 0, done.stderr
    given, painted = (frames_of((tmp_path / name).read_bytes(), format, size, color) for name in ("in", "out"))
    assert len(given) == len(painted) == 3
    with Translator.open(models["invert"], backend="cpu", threads=1) as translator:
        for before, after in zip(given, painted, strict=True):
            expected = translator(before)
            for ours, theirs in zip(expected.planes, after.planes, strict=True):
                np.testing.assert_array_equal(ours, theirs)
    assert (given[0].planes[0] != painted[0].planes[0]).mean() > 0.5


@pipelines
def test_properties_change_while_playing(environment, models):
    seen = drive(environment, "changes", models["invert"], models["identity"])
    assert seen["inverted"] == seen["opacity 1"] == seen["still inverted"] != 60
    assert seen["opacity 0"] == 60
    assert "has no attributes" in seen["attributes warned"][0] and seen["attributes"] == ""
    assert "no_such_model" in seen["model warned"][0] and seen["model stays"]
    assert seen["identity"] == seen["again"] == 60 and seen["model changed"]
    assert seen["warned at the end"] == []


@pipelines
def test_opacity_follows_a_controller(environment, models):
    values = drive(environment, "controlled", models["invert"])["values"]
    assert values[0] == 60 and values[10] > 150
    assert values == sorted(values) and len(set(values)) == 11


@pipelines
def test_late_frames_are_dropped(environment, models):
    """What begins before 0.35 s is dropped, and the bus says so each time."""
    seen = drive(environment, "late", models["identity"])
    assert seen == {"times": [0.4, 0.5, 0.6], "messages": 3}


@pipelines
def test_a_thousand_frames_do_not_grow(environment, models):
    grown = drive(environment, "growth", models["invert"])
    assert grown["frames"] == 1000 and grown["grown_kib"] < 4096, grown


@pipelines
@pytest.mark.parametrize(
    ("properties", "caps", "expected"),
    [
        ("", "RGB", "can't handle caps"),
        ("model=no_such_model", "I420", "No model is called 'no_such_model'"),
        ("backend=no_such_backend", "I420", "no_such_backend"),
        ("framing=no_such_framing", "I420", "no_such_framing"),
        ("attributes=smiling", "I420", "expected NAME=VALUE"),
        ("attributes=smiling=1", "I420", "has no attributes"),
    ],
)
def test_what_is_wrong_is_said(environment, models, properties, caps, expected):
    model = "" if "model=" in properties else f"model={models['invert']}"
    done = launch(
        environment,
        f"videotestsrc num-buffers=2 ! video/x-raw,format={caps},width=64,height=48 ! ganlens {model} {properties} ! "
        "fakesink",
    )
    assert done.returncode != 0 and expected in done.stderr
    assert "Traceback" not in done.stderr


@pipelines
def test_the_example_paints_a_clip_and_replaces_no_file(environment, models, tmp_path):
    clip, painted = tmp_path / "a clip.webm", tmp_path / "painted.webm"
    made = launch(
        environment,
        "videotestsrc num-buffers=10 pattern=white ! video/x-raw,format=I420,width=64,height=48 ! vp8enc deadline=1 ! "
        f"webmmux ! filesink location={tmp_path}/made.webm",
    )
    assert made.returncode == 0, made.stderr
    (tmp_path / "made.webm").rename(clip)
    command = [str(ROOT / "examples" / "gstreamer.sh"), str(clip), str(painted), models["invert"]]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    with VideoSource(painted) as source:
        levels = [frame.to_rgb().mean() for frame in source]
    assert len(levels) == 10 and max(levels) < 25  # white, inverted
    again = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert again.returncode == 1 and "exists already" in again.stderr


@pipelines
def test_installed_element_is_found_and_another_python_is_told(environment, monkeypatch, tmp_path):
    monkeypatch.setenv("GST_REGISTRY", str(tmp_path / "registry"))
    monkeypatch.setenv("HOME", str(tmp_path))
    path = install(tmp_path)
    assert check(tmp_path).startswith("GStreamer 1.")
    path.write_text(path.read_text().replace(f"PYTHON = {sys.version_info[:2]}", "PYTHON = (3, 9)"))
    os.utime(path, (0, 0))  # or GStreamer's registry, which counts in seconds, would not see the change
    with pytest.raises(BackendUnavailable, match=r"installed for Python 3.9, but GStreamer runs"):
        check(tmp_path)


@pipelines
def test_a_virtual_environment_and_what_gstreamer_remembers_are_told(engine, monkeypatch, tmp_path):
    """GStreamer's Python takes an active environment for its own, finds no PyGObject, and GStreamer remembers that."""
    registry, environment = tmp_path / "registry", tmp_path / "venv"
    monkeypatch.setenv("GST_REGISTRY", str(registry))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", path_without_environments())
    venv.create(environment, symlinks=True)
    install(tmp_path)
    with monkeypatch.context() as active:
        active.setenv("PATH", str(environment / "bin"), prepend=os.pathsep)
        assert hiding_environment() == environment
        status, out, _ = engine("gstreamer", "install", "--folder", tmp_path)
        assert status == 0 and "finds the element" in out
        assert f"first: deactivate. In the virtual environment {environment}" in out
        assert not registry.exists()
        active.setenv("GST_PLUGIN_PATH", str(tmp_path))
        assert subprocess.run(["gst-inspect-1.0", "ganlens"], capture_output=True).returncode != 0
    assert hiding_environment() is None
    with pytest.raises(BackendUnavailable, match=r"remembers .* rm ~/.cache/gstreamer-1.0/registry"):
        check(tmp_path)
    registry.unlink()
    status, out, _ = engine("gstreamer", "install", "--folder", tmp_path)
    assert status == 0 and "deactivate" not in out


def test_install_leaves_a_foreign_file_and_names_what_is_missing(monkeypatch, tmp_path):
    path = install(tmp_path)
    assert path == install(tmp_path) == tmp_path / "python" / FILE
    path.write_text("mine")
    with pytest.raises(MediaError, match="not of ganlens"):
        install(tmp_path)
    assert path.read_text() == "mine"
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BackendUnavailable, match="apt install gstreamer1.0-tools"):
        check(tmp_path)


def test_command_line(engine, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    status, _, err = engine("gstreamer", "path", "--folder", tmp_path)
    assert status == 1 and "engine gstreamer install" in err
    status, out, err = engine("gstreamer", "install", "--folder", tmp_path)
    assert status == 1 and FILE in out and "apt install" in err
    status, out, _ = engine("gstreamer", "path", "--folder", tmp_path)
    assert (status, out.strip()) == (0, str(tmp_path))


@pipelines
def test_c_example(environment, models, tmp_path):
    """The C program of examples/c gives what the translator does, and the element's own error."""
    if shutil.which("cc") is None or shutil.which("pkg-config") is None:
        pytest.skip("no C compiler, or no pkg-config")
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "gstreamer-app-1.0"], capture_output=True, text=True)
    if flags.returncode != 0:
        pytest.skip("GStreamer's header files are not installed (libgstreamer-plugins-base1.0-dev)")
    source, program = ROOT / "examples" / "c" / "filter.c", tmp_path / "filter"
    command = ["cc", "-Wall", "-Wextra", "-Werror", str(source), "-o", str(program), *flags.stdout.split()]
    subprocess.run(command, check=True)

    def run(model: str, data: bytes) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [program, model, "24", "16"], input=data, env=environment, capture_output=True, timeout=120
        )

    data = np.random.default_rng(1).integers(90, 160, 3 * 24 * 16 * 3 // 2, np.uint8).tobytes()
    color = Color("bt601", siting="center")  # GStreamer's default for small I420 video
    with Translator.open(models["invert"], backend="cpu", threads=1) as translator:
        results = [translator(frame) for frame in frames_of(data, "yuv420p", (16, 24), color)]
    done = run(models["invert"], data)
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"".join(plane.tobytes() for frame in results for plane in frame.planes)
    done = run("no_such_model", data)
    assert done.returncode == 1 and b"No model is called 'no_such_model'" in done.stderr
