"""What is fed with damaged files: small whole ones to begin with, and what reads them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np

from ganlens.engine.errors import EngineError

MOST_FRAMES = 40
OLD = b"what was there before"


class OldFileLost(Exception):
    """A file that should have stayed was changed."""


@dataclass(frozen=True)
class Target:
    """One reader of files."""

    suffix: str
    seeds: Callable[[Path], list[Path]]
    """Makes small whole files in a folder."""
    read: Callable[[Path], object]
    """Reads a file; may raise EngineError, and nothing else."""


# --- videos and pictures --------------------------------------------------------------------------------------------


def _clips(folder: Path) -> list[Path]:
    import av

    made = []
    for name, codec, container in (
        ("a.mp4", "libx264", "mp4"),
        ("b.mkv", "libx264", "matroska"),
        ("c.webm", "libvpx-vp9", "webm"),
        ("d.avi", "mjpeg", "avi"),
        ("e.ts", "mpeg2video", "mpegts"),
    ):
        path = folder / name
        with av.open(str(path), "w", format=container) as output:
            video = output.add_stream(codec, rate=Fraction(25))
            video.width, video.height = 32, 32
            video.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            sound = output.add_stream("libopus" if container == "webm" else "aac", rate=48000, layout="mono")
            for number in range(6):
                picture = np.full((32, 32, 3), 30 * number, np.uint8)
                output.mux(video.encode(av.VideoFrame.from_ndarray(picture)))
            output.mux(video.encode())
            size = sound.codec_context.frame_size or 960
            for number in range(3):
                samples = av.AudioFrame.from_ndarray(np.zeros((1, size), np.float32), "fltp", "mono")
                samples.sample_rate, samples.pts, samples.time_base = 48000, size * number, Fraction(1, 48000)
                output.mux(sound.encode(samples))
            output.mux(sound.encode())
        made.append(path)
    return made


def _read_video(path: Path) -> None:
    """Through the whole command's way: source, copied streams, sink."""
    from ganlens.engine.media.uri import open_sink, open_source
    from ganlens.engine.session import Session

    source = open_source(path)
    try:
        target = path.with_name("out.mkv")
        target.write_bytes(OLD)
        sink = open_sink(str(target), source.format, origin=source, codec="ffv1", overwrite=True)

        class Few:
            """The first frames of the source."""

            format, live, file, frames, notes = source.format, False, source.file, None, source.notes

            def __iter__(self):
                return islice(iter(source), MOST_FRAMES)

        try:
            Session(Few(), None, sink).run()
        except EngineError as error:
            sink.abort()
            if target.read_bytes() != OLD:
                raise OldFileLost("the video was refused, and the old file is damaged") from error
            raise
        finally:
            sink.abort()
    finally:
        source.close()
        path.with_name("out.mkv").unlink(missing_ok=True)


def _pictures(folder: Path) -> list[Path]:
    from ganlens.engine.media.pictures import IMAGE_SUFFIXES, write_image
    from ganlens.engine.pixels.frame import Frame

    pixels = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)
    made = []
    for suffix in IMAGE_SUFFIXES:
        path = folder / f"p{suffix}"
        write_image(path, Frame.from_rgb(pixels))
        made.append(path)
    return made


def _read_picture(path: Path) -> None:
    from ganlens.engine.media.pictures import read_image

    read_image(path)


def _y4m(folder: Path) -> list[Path]:
    head = b"YUV4MPEG2 W8 H6 F25:1 Ip A1:1 C420mpeg2 XCOLORRANGE=LIMITED\n"
    body = b"".join(b"FRAME\n" + bytes(range(72)) for _ in range(3))
    path = folder / "a.y4m"
    path.write_bytes(head + body)
    return [path]


def _read_y4m(path: Path) -> None:
    from ganlens.engine.media.pipe import RawSource

    with path.open("rb") as file:
        for _ in islice(RawSource(io.BufferedReader(file)), MOST_FRAMES):  # type: ignore[arg-type]
            pass


# --- models ---------------------------------------------------------------------------------------------------------


def _models(folder: Path) -> list[Path]:
    from tests.kit.models import attribute_model, identity_model, invert_model, noise_model

    return [
        identity_model(folder / "a.onnx"),
        invert_model(folder / "b.onnx", foreign=True),
        attribute_model(folder / "c.onnx"),
        noise_model(folder / "d.onnx"),
    ]


def _read_model(path: Path) -> None:
    from ganlens.engine.model import open as open_model

    open_model(path, value_range=None)


def _records(folder: Path) -> list[Path]:
    from tests.kit.models import make_spec

    path = folder / "a.json"
    path.write_text(make_spec().model_dump_json(indent=1))
    return [path]


def _read_record(path: Path) -> None:
    from ganlens.engine.spec import METADATA_KEY, GeneratorSpec

    GeneratorSpec.from_metadata({METADATA_KEY: path.read_bytes().decode("utf-8", "replace")})


def _latents(folder: Path) -> list[Path]:
    path = folder / "a.npy"
    np.save(path, np.zeros((3, 8), np.float32))
    return [path]


def _read_latents(path: Path) -> None:
    from ganlens.engine.model.latents import read_latents
    from ganlens.engine.spec import LatentInput

    read_latents(path, LatentInput(dim=8))


def _plans(folder: Path) -> list[Path]:
    path = folder / "a.plan.json"
    path.write_text(json.dumps({"schema": 1, "plan_sha256": "0" * 64, "key": {"model_sha256": "1" * 64}}))
    return [path]


def _read_plan(path: Path) -> None:
    from ganlens.engine.backends.tensorrt import read_record
    from ganlens.engine.backends.tensorrt.plans import record_path

    plan = path.with_name("p.plan")
    plan.write_bytes(b"plan")
    record_path(plan).write_bytes(path.read_bytes())
    read_record(plan)


# --- lists and manifests --------------------------------------------------------------------------------------------


def _lists(folder: Path) -> list[Path]:
    path = folder / "a.txt"
    path.write_text("# clips\nclip1.mp4\n*.png\ntest:64x48@30\nsub/\n")
    return [path]


def _read_list(path: Path) -> None:
    from ganlens.engine.cli.inputs import find_inputs, plan_outputs

    plan_outputs(find_inputs([str(path)]), "out/", "starry")


def _manifests(folder: Path) -> list[Path]:
    path = folder / "a.jsonl"
    row = {"schema": "ganlens-manifest/1", "output": "o.mp4", "status": "done", "size": 3, "settings": {"model": "x"}}
    path.write_text(json.dumps(row) + "\n" + json.dumps({**row, "output": "p.mp4"}) + "\n")
    return [path]


def _read_manifest(path: Path) -> None:
    from ganlens.engine.cli.inputs import Input, Work
    from ganlens.engine.cli.manifest import Manifest

    Manifest(path, {"model": "x"}, resume=True).is_done(Work(Input("a", "video", Path("a")), "o.mp4"))


# --- training -------------------------------------------------------------------------------------------------------


def _tables(folder: Path) -> list[Path]:
    comma, celeba = folder / "a.csv", folder / "b.csv"
    comma.write_text("filename,Smiling,Male\n000001.jpg,1,0\n000002.jpg,0,1\n")
    celeba.write_text("2\nSmiling Male\n000001.jpg  1 -1\n000002.jpg -1  1\n")
    return [comma, celeba]


def _read_table(path: Path) -> None:
    from ganlens.train.data.attribute_table import read_attributes

    read_attributes(path, ["Smiling", "Male"])


def _configs(folder: Path) -> list[Path]:
    path = folder / "a.json"
    values = {"method": "cyclegan", "photos": "a", "paintings": "b", "out": "c", "steps": 10, "learning_rate": 0.0002}
    path.write_text(json.dumps(values, indent=1))
    return [path]


def _read_config(path: Path) -> None:
    from ganlens.train.config import load_config

    load_config(path)


def _weights(folder: Path) -> list[Path]:
    from safetensors.numpy import save_file

    from ganlens.engine.spec import METADATA_KEY
    from tests.kit.models import make_spec

    path = folder / "a.safetensors"
    record = make_spec().model_dump_json()
    save_file({"w": np.zeros((4, 4), np.float32)}, str(path), metadata={METADATA_KEY: record})
    return [path]


def _read_weights(path: Path) -> None:
    from ganlens.train.checkpoint import load_generator

    load_generator(path)


TARGETS = {
    "video": Target(".mp4", _clips, _read_video),
    "picture": Target(".png", _pictures, _read_picture),
    "y4m": Target(".y4m", _y4m, _read_y4m),
    "model": Target(".onnx", _models, _read_model),
    "record": Target(".json", _records, _read_record),
    "latents": Target(".npy", _latents, _read_latents),
    "plan": Target(".json", _plans, _read_plan),
    "list": Target(".txt", _lists, _read_list),
    "manifest": Target(".jsonl", _manifests, _read_manifest),
    "table": Target(".csv", _tables, _read_table),
    "config": Target(".json", _configs, _read_config),
    "weights": Target(".safetensors", _weights, _read_weights),
}


def outcome(target: Target, path: Path) -> str:
    """ "clean" or "refused"; other errors are the finding."""
    try:
        target.read(path)
    except EngineError as error:
        text = str(error)
        if not text or len(text) > 2500 or "\x1b" in text:
            raise AssertionError(f"an error message of {len(text)} characters: {text[:80]!r}") from error
        return "refused"
    return "clean"
