"""The engine command: what a user types, what comes out, and what bad input answers."""

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
import typer

from ganlens.engine import Frame, read_image, write_image
from ganlens.engine.cli import app
from ganlens.engine.cli import info as describe
from tests.kit.models import attribute_model, identity_model, invert_model

ENGINE = [sys.executable, "-c", "from ganlens.engine.cli import main; main()"]


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="session")
def model(folder):
    return str(invert_model(folder / "invert.onnx", None))


@pytest.fixture(scope="session")
def clip(folder):
    """Twelve frames of 48x64 that brighten, with a second of AAC sound."""
    path = folder / "clip.mp4"
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=Fraction(12))
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.options = {"crf": "5"}
        audio = output.add_stream("aac", rate=48000, layout="mono")
        for i in range(12):
            level = np.full((48, 64, 3), 20 * i, np.uint8)
            output.mux(video.encode(av.VideoFrame.from_ndarray(level)))
        output.mux(video.encode())
        for i in range(46):
            wave = np.sin(np.arange(1024 * i, 1024 * (i + 1)) / 20).astype(np.float32)[None]
            sound = av.AudioFrame.from_ndarray(wave, "fltp", "mono")
            sound.sample_rate, sound.pts, sound.time_base = 48000, 1024 * i, Fraction(1, 48000)
            output.mux(audio.encode(sound))
        output.mux(audio.encode())
    return path


def decode(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def times(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


def audio_packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


# --- video -----------------------------------------------------------------------------------------------------------


def test_a_video_is_translated_with_its_times_and_sound(engine, clip, model, tmp_path):
    status, out, err = engine(
        "translate", "--video", clip, "-o", "out.mp4", "-m", model, "--framing", "native", "--crf", 5
    )
    assert status == 0, err
    assert out == ""
    assert "12 frames" in err and "out.mp4" in err and "p99" not in err
    result = tmp_path / "out.mp4"
    for before, after in zip(decode(clip), decode(result), strict=True):
        assert np.abs(255 - before.astype(int) - after).mean() < 4
    assert times(result) == times(clip)
    assert audio_packets(result) == audio_packets(clip)
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"], "no temporary file is left"


def test_the_output_has_a_sensible_default_name(engine, clip, model, tmp_path):
    status, _, err = engine("translate", "--video", clip, "-m", model, "--verbose")
    assert status == 0 and "p99 ms" in err, "verbose: the times of the stages"
    assert (tmp_path / "clip-invert.mp4").exists()


@pytest.mark.parametrize("framing", ["fit", "crop", "tile", "native"])
def test_each_framing_runs(engine, clip, model, tmp_path, framing):
    status, _, err = engine("translate", "--video", clip, "-o", "o.mp4", "-m", model, "--framing", framing, "-q")
    assert (status, err) == (0, "")
    assert len(decode(tmp_path / "o.mp4")) == 12


def test_json_says_what_was_done(engine, clip, model):
    status, out, _ = engine("translate", "--video", clip, "-o", "o.mp4", "-m", model, "--backend", "cpu", "--json", "-")
    record = json.loads(out)
    assert status == 0
    assert (record["frames"], record["backend"], record["output"]) == (12, "cpu", "o.mp4")
    assert set(record["stages"]) == {"decode", "prepare", "run", "compose", "encode"}
    assert all(row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"] for row in record["stages"].values())


def test_start_and_duration_cut_out_a_part(engine, clip, model, tmp_path):
    engine("translate", "--video", clip, "-o", "o.mp4", "-m", model, "--start", 0.25, "--duration", 0.5, "-q")
    assert len(decode(tmp_path / "o.mp4")) == 6


def test_compare_shows_the_original_beside_the_translation(engine, clip, model, tmp_path):
    engine(
        "translate", "--video", clip, "-o", "o.mp4", "-m", model, "--framing", "native", "--compare", "--crf", 5, "-q"
    )
    for before, after in zip(decode(clip), decode(tmp_path / "o.mp4"), strict=True):
        assert after.shape == (48, 128, 3)
        assert np.abs(after[:, :56].astype(int) - before[:, :56]).mean() < 4
        assert np.abs(255 - after[:, 72:].astype(int) - before[:, 8:]).mean() < 5


def test_standard_input_and_output(clip, model, folder):
    """YUV4MPEG2 through a pipe, as other programs give and take it."""
    translate = [*ENGINE, "translate", "-m", model, "--framing", "native", "-q"]
    first = subprocess.run([*translate, "--video", str(clip), "-o", "-"], capture_output=True, check=True)
    assert first.stdout.startswith(b"YUV4MPEG2 W64 H48 F12:1")
    second = subprocess.run(
        [*translate, "--video", "-", "-o", "-"], input=first.stdout, capture_output=True, check=True
    )
    assert second.stdout.count(b"FRAME") == 12
    target = folder / "twice.y4m"
    target.write_bytes(second.stdout)
    for before, after in zip(decode(clip), decode(target), strict=True):
        assert np.abs(before.astype(int) - after).max() <= 6, "inverted twice"


def test_bare_frames_on_standard_input(model):
    frames = np.arange(2 * 16 * 24 * 3, dtype=np.uint8).tobytes()
    command = [*ENGINE, "translate", "-m", model, "--video", "-", "-o", "-", "-q"]
    result = subprocess.run([*command, "--raw", "24x16@30:rgb24"], input=frames, capture_output=True, check=True)
    assert result.stdout.startswith(b"YUV4MPEG2 W24 H16 F30:1") and result.stdout.count(b"FRAME") == 2
    refused = subprocess.run(command, input=frames, capture_output=True, text=False)
    assert refused.returncode == 1 and b"not YUV4MPEG2" in refused.stderr


def test_a_pipe_that_breaks_leaves_the_frames_before(model, tmp_path):
    frames = bytes(2 * 16 * 24 * 3 + 100)
    command = [*ENGINE, "translate", "-m", model, "--video", "-", "--raw", "24x16@30:rgb24"]
    result = subprocess.run([*command, "-o", tmp_path / "o.mp4"], input=frames, capture_output=True)
    assert result.returncode == 1
    assert b"damaged at frame 3" in result.stderr and b"The 2 frames before it are kept." in result.stderr
    assert len(decode(tmp_path / "o.mp4")) == 2
    refused = subprocess.run([*command, "-o", tmp_path / "p.mp4"], input=frames[:100], capture_output=True)
    assert refused.returncode == 1 and b"damaged at frame 1" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["o.mp4"]


@pytest.mark.parametrize("interrupt", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_leaves_a_file_that_plays(model, folder, interrupt):
    source = folder / "long.mp4"
    if not source.exists():
        with av.open(str(source), "w") as output:
            video = output.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
            video.width, video.height = 640, 480
            for i in range(2000):
                output.mux(video.encode(av.VideoFrame.from_ndarray(np.full((480, 640, 3), i % 256, np.uint8))))
            output.mux(video.encode())
    target = folder / f"cut-{interrupt.name}.mp4"
    command = [*ENGINE, "translate", "--video", str(source), "-o", str(target), "-m", model, "--framing", "native"]
    # A shell starts background jobs with SIGINT ignored, nohup with SIGHUP, and children inherit it: the test must not
    # depend on that.
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, preexec_fn=lambda: signal.signal(interrupt, signal.SIG_DFL)
    )
    deadline = time.monotonic() + 60
    while not any(part.stat().st_size for part in folder.glob(f".{target.stem}*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(interrupt)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Stopped after" in err and "Traceback" not in err
    frames = decode(target)
    assert 0 < len(frames) < 2000
    assert not list(folder.glob(".cut*"))


# --- pictures --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def pictures(folder):
    shots = folder / "shots"
    shots.mkdir()
    for i in (1, 2, 10):
        write_image(shots / f"shot{i}.png", Frame.from_rgb(np.full((20 + i, 30, 3), 10 * i, np.uint8)))
    return shots


def test_a_picture(engine, pictures, model, tmp_path):
    status, _, err = engine(
        "translate", "--image", pictures / "shot2.png", "-o", "o.png", "-m", model, "--framing", "native"
    )
    assert status == 0, err
    np.testing.assert_array_equal(read_image(tmp_path / "o.png").planes[0], np.full((22, 30, 3), 235))


@pytest.mark.parametrize("pattern", ["", "*.png"])
def test_many_pictures(engine, pictures, model, tmp_path, pattern):
    status, _, err = engine(
        "translate", "--images", pictures / pattern, "-o", "all", "-m", model, "--framing", "native"
    )
    assert status == 0, err
    assert sorted(path.name for path in (tmp_path / "all").glob("*.png")) == ["shot1.png", "shot10.png", "shot2.png"]
    assert read_image(tmp_path / "all" / "shot10.png").planes[0].max() == 155


def test_a_bad_picture_among_many_is_named_and_the_rest_is_done(engine, pictures, model, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"no picture")
    write_image(tmp_path / "in" / "b.png", Frame.from_rgb(np.zeros((9, 9, 3), np.uint8)))
    status, _, err = engine("translate", "--images", "in", "-o", "all", "-m", model)
    assert status == 1
    assert "error: " in err and "a.png" in err
    assert "note: 1 of 2 pictures failed" in err and "1 picture in" in err
    assert [path.name for path in (tmp_path / "all").glob("*.png")] == ["b.png"]


def test_what_pictures_lose_is_said(engine, model, tmp_path):
    with av.open(str(tmp_path / "a.png"), "w") as output:
        stream = output.add_stream("png", width=9, height=9, pix_fmt="rgba")
        output.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((9, 9, 4), np.uint8), "rgba")))
    status, _, err = engine("translate", "--image", "a.png", "-o", "b.png", "-m", model)
    assert status == 0 and "note: a.png: the alpha channel is dropped" in err


def test_pictures_of_the_same_name_never_replace_each_other(engine, model, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_image(tmp_path / name / "a.png", Frame.from_rgb(np.zeros((9, 9, 3), np.uint8)))
    status, _, err = engine("translate", "one/a.png", "two/a.png", "-o", "all", "-m", model, "-y")
    assert status == 1 and "would both be written to all/a.png" in err
    assert not (tmp_path / "all").exists()
    status, _, err = engine("translate", "--images", "*/a.png", "-o", "all", "-m", model)
    assert status == 0, err
    assert sorted((tmp_path / "all").rglob("*.png")) == [tmp_path / "all" / name / "a.png" for name in ("one", "two")]


def test_videos_and_pictures_together_and_a_broken_one_among_them(engine, clip, pictures, model, tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "a.mp4").write_bytes(clip.read_bytes())
    (tmp_path / "in" / "b.mp4").write_bytes(clip.read_bytes()[:900])
    (tmp_path / "in" / "deep" / "c.png").write_bytes((pictures / "shot2.png").read_bytes())
    status, _, err = engine("translate", "in", "-o", "out", "-m", model, "--json", "done.json")
    assert status == 1 and "error: in/b.mp4" in err and "1 of 3 inputs failed" in err
    made = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert made == ["a.mp4", "deep/c.png", "manifest.jsonl"]
    assert len(decode(tmp_path / "out" / "a.mp4")) == 12
    files = json.loads((tmp_path / "done.json").read_text())["files"]
    assert [(row["input"], row["frames"], bool(row["error"])) for row in files] == [
        ("in/a.mp4", 12, False),
        ("in/b.mp4", 0, True),
        ("in/deep/c.png", 1, False),
    ]


GUESSES = {
    ("clip.mp4",): "engine translate clip.mp4",
    ("photo.jpg", "-o", "x.png"): "engine translate photo.jpg -o x.png",
    ("model.onnx",): "engine info model.onnx",
    ("run", "clip.mp4"): "engine translate",
    ("convert",): "engine translate",
    ("filter",): "engine translate",
    ("apply",): "engine translate",
    ("process",): "engine translate",
    ("video",): "engine translate",
    ("list",): "engine models",
    ("ls",): "engine models",
    ("devices",): "engine backends",
    ("gpus",): "engine backends",
    ("compile",): "engine build",
    ("trt",): "engine build",
    ("tensorrt",): "engine build",
    ("onnx",): "engine export",
    ("show",): "engine info",
    ("sample",): "engine generate",
    ("help",): "engine --help",
    ("translat",): "Did you mean translate",
    ("model",): "models",
    ("backend",): "backends",
    ("generat",): "generate",
    ("trian",): "train",
    ("xyzzy",): "Known: ",
    ("translate",): "engine translate clip.mp4",
    ("translate", "--vidoe", "a.mp4"): "--video",
    ("info",): "MODEL",
    ("build",): "MODEL",
}


@pytest.mark.parametrize("words", GUESSES, ids=" ".join)
def test_what_a_person_guesses_is_answered_with_what_was_meant(engine, words):
    status, out, err = engine(*words)
    assert status == 2
    assert GUESSES[words] in err and "Traceback" not in err and out == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("translate", "a.mp4", "--framing", "foo"), "'--framing': got foo, expected one of 'fit', 'crop', 'tile'"),
        (("translate", "a.mp4", "--jobs", "0"), "'--jobs' / '-j': got 0, expected 1 or more."),
        (("translate", "a.mp4", "--batch", "two"), "'--batch': got two, expected a whole number."),
        (("live", "--fps", "x"), "'--fps': got x, expected a number."),
        (("triton", "export", "starry", "-o", "r", "--platform", "x"), "'--platform': got x, expected one of"),
    ],
)
def test_values_that_do_not_fit_are_answered_with_what_was_given_and_expected(engine, words, said):
    status, out, err = engine(*words)
    assert (status, out) == (2, "") and said in err


def test_lines_for_a_file_are_not_broken(engine, tmp_path):
    (tmp_path / "in").mkdir()
    name = f"{'long ' * 30}[b].png"
    (tmp_path / "in" / name).write_bytes(b"no picture")
    (tmp_path / "in" / "other.png").write_bytes(b"no picture")
    err = engine("translate", "--images", "in", "-o", "all", "-m", "starry")[2]
    assert sum(name in line and line.endswith(".") for line in err.splitlines()) == 1


# --- what is here ----------------------------------------------------------------------------------------------------


def test_info_shows_the_record(engine, model):
    status, out, _ = engine("info", model)
    assert status == 0 and "tiny" in out and "any multiple of" in out
    record = json.loads(engine("info", model, "--json")[1])
    assert (record["name"], record["value_range"]) == ("tiny", [-1.0, 1.0])


def test_info_writes_a_line_each_and_names_as_they_are(engine, folder):
    path = invert_model(folder / f"{'long ' * 20}[bold].onnx", None)
    out = engine("info", path)[1]
    assert f"{path} (" in out


def test_a_narrow_terminal_shows_models_whole(engine, monkeypatch):
    monkeypatch.setattr(describe.console, "_width", 80)
    out = engine("models")[1]
    assert max(map(len, out.splitlines())) <= 80
    words = {word for line in out.splitlines() for word in line.split()}
    assert {"starry", "paired", "image", "CelebA,", "photographs"} <= words


def test_models_and_backends_are_listed(engine):
    assert engine("models")[0] == 0
    assert isinstance(json.loads(engine("models", "--json")[1]), list)
    status, out, _ = engine("backends")
    assert status == 0
    assert all(name in out for name in ("tensorrt", "cuda", "openvino", "cpu"))
    rows = {row["name"]: row for row in json.loads(engine("backends", "--json")[1])}
    assert rows["cpu"]["usable"] is True and rows["cpu"]["kind"] == "backend"
    for name, kind in (("nvdec", "decoder"), ("nvenc", "encoder")):
        assert rows[name]["kind"] == kind and name in out
        assert rows[name]["usable"] or rows[name]["reason"]


def test_version_and_help(engine):
    assert engine("--version")[1].startswith("ganlens ")
    status, out, _ = engine("--help")
    assert status == 0
    assert all(command in out for command in ("translate", "models", "info", "backends", "train", "export"))


HEAVY = {"torch", "numpy", "av", "onnx", "onnxruntime", "openvino", "cv2", "PIL", "matplotlib", "starlette", "ray"}


@pytest.mark.parametrize("command", ["", *typer.main.get_command(app).commands])
def test_help_loads_nothing_heavy(command):
    """The help of each command appears at once, and without the packages of the extras."""
    code = (
        "import sys\nfrom ganlens.engine.cli import main\n"
        f"sys.argv = ['engine', *{command.split()}, '--help']\n"
        "try:\n    main()\nfinally:\n    print(*sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith(f"Usage: engine {command}".rstrip())
    assert HEAVY.isdisjoint(shown.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("command", "arguments"),
    [("train", ["cyclegan", "--photos", "a", "--paintings", "b", "--out", "c"]), ("export", ["run", "-o", "a.onnx"])],
)
def test_without_torch_train_and_export_name_the_extra(command, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = f"import sys; sys.modules['torch'] = None; sys.argv = ['engine', '{command}', *{arguments!r}]\n"
    result = subprocess.run(
        [sys.executable, "-c", code + "from ganlens.engine.cli import main; main()"], capture_output=True, text=True
    )
    assert result.returncode == 1
    assert f"pip install 'ganlens[{command}]'" in result.stderr and "Traceback" not in result.stderr


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.fixture
def bad(folder, clip):
    """Bad inputs by name."""
    made = folder / "bad"
    if not made.exists():
        made.mkdir()
        (made / "empty.mp4").touch()
        (made / "text.mp4").write_text("This is no video.\n" * 100)
        (made / "truncated.mp4").write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
        (made / "corrupt.onnx").write_bytes(os.urandom(2000))
        (made / "text.onnx").write_text("This is no model.")
        (made / "weights.pth").write_bytes(b"PK")
        with av.open(str(made / "sound.m4a"), "w") as output:
            audio = output.add_stream("aac", rate=48000, layout="mono")
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            sound.sample_rate = 48000
            output.mux(audio.encode(sound))
            output.mux(audio.encode())
    return made


CASES = {
    "missing video": (["--video", "nowhere.mp4"], 1, "nowhere.mp4"),
    "folder as video": (["--video", "{bad}"], 1, "folder"),
    "zero bytes": (["--video", "{bad}/empty.mp4"], 1, "empty.mp4"),
    "text as video": (["--video", "{bad}/text.mp4"], 1, "text.mp4"),
    "truncated": (["--video", "{bad}/truncated.mp4"], 1, "truncated.mp4"),
    "sound only": (["--video", "{bad}/sound.m4a", "-o", "o.mp4"], 1, "sound"),
    "unknown model": (["--video", "{clip}", "-m", "monnet"], 1, "monnet"),
    "corrupt model": (["--video", "{clip}", "-m", "{bad}/corrupt.onnx"], 1, "corrupt.onnx"),
    "text as model": (["--video", "{clip}", "-m", "{bad}/text.onnx"], 1, "text.onnx"),
    "checkpoint as model": (["--video", "{clip}", "-m", "{bad}/weights.pth"], 1, "engine export"),
    "unknown backend": (["--video", "{clip}", "-m", "{model}", "--backend", "cpuu"], 1, "Did you mean cpu"),
    "missing backend": (["--video", "{clip}", "-m", "{model}", "--backend", "cuda"], 1, "cuda"),
    "unknown framing": (["--video", "{clip}", "-m", "{model}", "--framing", "tiles"], 2, "'tile'"),
    "region outside": (["--video", "{clip}", "-m", "{model}", "--framing", "crop", "--region", "0,0,99,9"], 1, "64x48"),
    "region of words": (["--video", "{clip}", "-m", "{model}", "--framing", "crop", "--region", "a,b"], 1, "X,Y,W,H"),
    "wrong size": (["--video", "{clip}", "-m", "{fixed}", "--size", "64x64"], 1, "24x16"),
    "native fixed": (["--video", "{clip}", "-m", "{fixed}", "--framing", "native"], 1, "--dynamic"),
    "set without attributes": (["--video", "{clip}", "-m", "{model}", "--set", "smiling=1"], 1, "no attributes"),
    "unknown attribute": (["--video", "{clip}", "-m", "{attributes}", "--set", "smilng=1"], 1, "smilng"),
    "attribute of words": (["--video", "{clip}", "-m", "{attributes}", "--set", "a=blue"], 1, "NAME=VALUE"),
    "attribute twice": (["--video", "{clip}", "-m", "{attributes}", "--set", "a=1", "--set", "A=0"], 1, "given before"),
    "foreign without range": (["--video", "{clip}", "-m", "{foreign}"], 1, "--range"),
    "wrong range": (["--video", "{clip}", "-m", "{foreign}", "--range", "5..1"], 1, "5..1"),
    "no folder for output": (["--video", "{clip}", "-m", "{model}", "-o", "no/such/o.mp4"], 1, "no/such"),
    "unknown container": (["--video", "{clip}", "-m", "{model}", "-o", "o.xyz"], 1, ".mp4"),
    "unknown codec": (["--video", "{clip}", "-m", "{model}", "-o", "o.mp4", "--codec", "h246"], 1, "Did you mean h264"),
    "output is input": (["--video", "{clip}", "-m", "{model}", "-o", "{clip}", "-y"], 1, "is also the input"),
    "missing picture": (["--image", "nowhere.png"], 1, "nowhere.png"),
    "no pictures match": (["--images", "{bad}/*.jpg"], 1, "*.jpg"),
    "raw of words": (["--video", "-", "-o", "o.mp4", "-m", "{model}", "--raw", "big"], 1, "1280x720@30:nv12"),
    "opacity": (["--video", "{clip}", "-m", "{model}", "--opacity", "2"], 1, "expected 0 to 1"),
    "nothing given": ([], 2, "engine translate clip.mp4"),
    "start beyond the end": (["--video", "{clip}", "-m", "{model}", "--start", "99"], 1, "no frame at --start 99"),
    "start not a number": (["--video", "{clip}", "-m", "{model}", "--start", "nan"], 1, "expected 0 or more"),
    "endless duration": (["--video", "{clip}", "-m", "{model}", "--duration", "inf"], 1, "expected more than 0"),
    "start of a pipe": (["--video", "-", "-o", "o.mp4", "--start", "1"], 1, "not with a pipe"),
    "start of a picture": (["--image", "a.png", "--start", "1"], 1, "goes with videos"),
    "raw with a file": (["--video", "{clip}", "--raw", "4x4@30"], 1, "goes with '-' as input"),
    "codec of a pipe": (["--video", "{clip}", "-o", "-", "--codec", "h264"], 1, "not with a pipe"),
    "quality out of range": (["--video", "{clip}", "-o", "o.mp4", "--crf", "99"], 1, "0 (best) to 51"),
    "folder that cannot be made": (["--images", "{shots}", "-o", "{clip}/all"], 1, "cannot be made"),
    "picture into a video": (["--image", "{shots}/shot2.png", "-o", "o.mp4"], 1, "image format"),
    "two inputs into one file": (["a.mp4", "b.mp4", "-o", "o.mp4"], 1, "cannot become one file"),
    "name of a picture too long": (["{shots}/shot2.png", "-o", "n" * 252 + ".png"], 1, "name too long"),
    "name of a video too long": (["{clip}", "-o", "n" * 252 + ".mp4"], 1, "name too long"),
    "report in a missing folder": (["{clip}", "-o", "o.mp4", "-m", "{model}", "--json", "no/r"], 1, "create it first"),
    "report that is a folder": (["{clip}", "-o", "o.mp4", "-m", "{model}", "--json", "/tmp"], 1, "is a folder"),
    "name of a report too long": (["{clip}", "-o", "o.mp4", "-m", "{model}", "--json", "n" * 300], 1, "name too long"),
    "unknown option": (["--vidoe", "a.mp4"], 2, "--vidoe"),
    "threads 0": (["--video", "{clip}", "--threads", "0"], 2, "threads"),
    "countless threads": (["--video", "{clip}", "--threads", "100000"], 2, "expected 1024 or less"),
    "countless encoder threads": (
        ["--video", "{clip}", "--encoder-threads", "100000"],
        2,
        "expected 1024 or less",
    ),
    "countless decoder threads": (
        ["--video", "{clip}", "--decoder-threads", "100000"],
        2,
        "expected 1024 or less",
    ),
    "countless frames in flight": (["--video", "{clip}", "--in-flight", "100000"], 2, "expected 1024 or less"),
    "countless frames in a batch": (["--video", "{clip}", "--batch", "100000"], 2, "expected 4096 or less"),
    "unknown decoder": (["--video", "{clip}", "-m", "{model}", "--decoder", "gpu"], 2, "'nvdec'"),
    "unknown encoder": (["--video", "{clip}", "-m", "{model}", "--encoder", "gpu"], 2, "'nvenc'"),
    "nvdec without video": (["--image", "a.png", "--decoder", "nvdec"], 1, "goes with video files"),
    "nvenc into a pipe": (["--video", "{clip}", "-o", "-", "--encoder", "nvenc"], 1, "goes with video files"),
    "nvenc without vp9": (["--video", "{clip}", "-o", "o.webm", "--encoder", "nvenc"], 1, "NVENC does not support vp9"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_answered_in_one_line_and_leaves_nothing(
    engine, bad, clip, model, pictures, folder, tmp_path, case
):
    arguments, expected, words = CASES[case]
    names = {
        "bad": bad,
        "shots": pictures,
        "clip": clip,
        "model": model,
        "fixed": identity_model(folder / "fixed.onnx"),
        "foreign": invert_model(folder / "foreign.onnx", foreign=True),
        "attributes": attribute_model(folder / "attributes.onnx"),
    }
    filled = [argument.format(**names) for argument in arguments]
    if arguments and "-m" not in arguments:
        filled += ["-m", model]
    before = clip.read_bytes()
    status, out, err = engine("translate", *filled)
    assert status == expected, err
    assert words in err
    assert "Traceback" not in err and out == ""
    if expected == 1:
        assert [line for line in err.splitlines() if line.startswith("error: ")] == err.splitlines()[-1:]
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"
    assert clip.read_bytes() == before


def test_an_output_that_cannot_be_written_is_refused_before_the_model_is_opened(
    engine, clip, model, tmp_path, monkeypatch
):
    monkeypatch.setattr("ganlens.engine.cli.worker.Translator.open", lambda *_, **__: pytest.fail("it was opened"))
    (tmp_path / "there.mp4").touch()
    for name, says in (("there.mp4", "pass -y"), ("out.xyz", "xyz"), ("no/where.mp4", "does not exist")):
        status, _, err = engine("translate", clip, "-m", model, "-o", name)
        assert status == 1 and says in err


def test_an_existing_output_is_kept_without_yes(engine, clip, model, tmp_path):
    (tmp_path / "o.mp4").write_text("precious")
    status, _, err = engine("translate", "--video", clip, "-m", model, "-o", "o.mp4")
    assert status == 1 and "-y" in err
    assert (tmp_path / "o.mp4").read_text() == "precious"
    assert engine("translate", "--video", clip, "-m", model, "-o", "o.mp4", "-y")[0] == 0
    assert len(decode(tmp_path / "o.mp4")) == 12


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("engine transl", ["translate"]),
        ("engine translate --framing n", ["native"]),
        ("engine translate --model st", ["starry"]),
        ("engine generate --backend open", ["openvino"]),
        ("engine train cyc", ["cyclegan"]),
        ("engine train cyclegan --tie", ["--tier"]),
        ("engine train cyclegan --tier na", ["nano"]),
        ("engine export --half-w", ["--half-weights"]),
        ("engine export runs/mine --precision i", ["int8"]),
        ("engine import --attr", ["--attributes"]),
    ],
)
def test_the_shell_completes_commands_choices_models_and_backends(words, expected):
    if words.split()[1] in ("export", "import"):
        pytest.importorskip("torch", reason="these commands are of the extra 'export'")
    environment = os.environ | {
        "_ENGINE_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }
    code = "from ganlens.engine.cli import app; app(prog_name='engine')"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.split() == expected, done.stderr


def test_interrupts_work_without_sighup_as_on_windows(monkeypatch):
    from ganlens.engine.cli.interrupt import terminate_as_interrupt

    monkeypatch.delattr(signal, "SIGHUP")
    with pytest.raises(KeyboardInterrupt), terminate_as_interrupt():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)


def test_memory_that_is_missing(engine, model, clip, monkeypatch):
    def fail(*_):
        raise MemoryError("Unable to allocate 9 TiB")

    monkeypatch.setattr("ganlens.engine.cli.translate.run", fail)
    status, _, err = engine("translate", clip)
    assert status == 1
    assert err == "error: There is not enough memory (Unable to allocate 9 TiB). Use a smaller --size or --batch.\n"


@pytest.mark.parametrize(
    ("words", "status"), [(["--version"], 0), (["info", "nothing.onnx"], 1), (["--no-such"], 2), (["models"], 0)]
)
def test_the_quick_end_of_the_process_keeps_status_and_output(words, status, tmp_path):
    """Functions for the exit run, what was printed gets through a full pipe, and the status is the command's."""
    code = (
        "import atexit, sys, ganlens.engine.__main__ as program, ganlens.engine.cli as cli\n"
        f"sys.argv = ['engine', *{words!r}]\n"
        "def run():\n"
        f"    atexit.register(lambda: open({str(tmp_path / 'ended')!r}, 'w').close())\n"
        "    print('x' * 1_000_000)\n"
        "    real()\n"
        "real, cli.main = cli.main, run\n"
        "program.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    assert done.stdout.startswith("x" * 1_000_000)
    assert (tmp_path / "ended").exists()


@pytest.mark.parametrize("moment", ["import", "exit"])
def test_ctrl_c_while_the_program_starts_or_exits(tmp_path, moment):
    """The signal's own action: the process ends at once, by the signal, and prints nothing."""
    kill = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"
    if moment == "import":
        code = (
            "import builtins, sys; real = builtins.__import__\n"
            "def slow(name, *rest, **more):\n"
            f"    if name == 'typer': {kill}\n"
            "    return real(name, *rest, **more)\n"
            "builtins.__import__ = slow\n"
        )
    else:
        code = f"import ganlens.engine.__main__ as program\ndef end(): {kill}\nprogram._end = end\n"
    code += "import sys; sys.argv = ['engine', '--version']\nfrom ganlens.engine.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")
