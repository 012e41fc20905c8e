"""Face models on pictures, streams and the command line: only faces change, in order, and bad input is named."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from ganlens.engine import Frame, Translator, read_image, read_spec, write_image
from ganlens.engine.errors import OptionError
from ganlens.engine.faces import FaceFraming
from ganlens.engine.faces.temporal_smoothing import Link, measure_flicker
from ganlens.engine.faces.tracker import Follower
from ganlens.engine.model.attributes import attribute_vector
from ganlens.engine.spec import AttributeInput
from tests.kit.faces import NAMES, backdrop, put_face, tint_model
from tests.kit.models import invert_model, make_spec

FACE = (150.0, 110.0), 150.0
CHEEK = (slice(120, 128), slice(135, 145))


def picture(degrees: float = 15.0, size: tuple[int, int] = (240, 320)) -> np.ndarray:
    pixels = backdrop(*size)
    put_face(pixels, *FACE, degrees)
    return pixels


def as_format(pixels: np.ndarray, pixel_format: str, time: Fraction | None = None) -> Frame:
    if pixel_format == "rgb24":
        return Frame.from_rgb(pixels, time)
    frame = av.VideoFrame.from_ndarray(pixels).reformat(format="yuv420p")
    luma, blue, red = (
        np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width].copy()
        for plane in frame.planes
    )
    planes = (luma, blue, red) if pixel_format == "yuv420p" else (luma, np.stack([blue, red], axis=-1))
    return Frame(planes, pixel_format, time=time)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faces")


@pytest.fixture(scope="module")
def model(folder: Path) -> Path:
    return tint_model(folder / "tint.onnx")


@pytest.fixture
def tint(model: Path):
    with Translator.open(model, backend="cpu", threads=1) as translator:
        yield translator


# --- pictures -----------------------------------------------------------------------------------------------------


def test_attributes_change_the_face(tint):
    image = picture()
    red, green = tint(image, smiling=1.0), tint(image, **{"Blond Hair": 0.8})
    change = red[CHEEK].astype(int) - image[CHEEK]
    assert change[..., 0].mean() > 20 and np.abs(change[..., 1:]).max() <= 1
    change = green[CHEEK].astype(int) - image[CHEEK]
    assert change[..., 1].mean() > 20 and change[..., 2].mean() < -20  # black hair is taken away


def test_values_between_0_and_1_are_steps_between(tint):
    image = picture()
    reds = [tint(image, smiling=value)[CHEEK][..., 0].mean() for value in (0.25, 0.5, 0.6, 0.75)]
    assert reds == sorted(reds) and reds[1] == image[CHEEK][..., 0].mean()


@pytest.mark.parametrize("pixel_format", ["rgb24", "yuv420p", "nv12"])
@pytest.mark.parametrize("kind", ["image", "segment"])
def test_every_pixel_outside_the_face_stays_bit_for_bit(folder, pixel_format, kind):
    frame = as_format(picture(), pixel_format)
    (face,) = Follower().find(frame)
    with Translator.open(tint_model(folder / f"{kind}.onnx", kind=kind), backend="cpu", threads=1) as translator:
        result = translator(frame, smiling=1.0)
    for plane, original in zip(result.planes, frame.planes, strict=True):
        step = frame.size[0] // plane.shape[0]
        y, x = np.mgrid[: plane.shape[0], : plane.shape[1]] * step + step / 2
        square = face.square.to_square(x + 1j * y)
        reach = 0.5 - 4 / 64 + step / face.square.side  # the border of the model, and where chroma may be sited
        outside = (np.abs(square.real - 0.5) > reach) | (np.abs(square.imag - 0.5) > reach)
        assert np.array_equal(plane[outside], original[outside])
        assert outside.mean() > 0.5
    assert not np.array_equal(result.planes[0], frame.planes[0])


@pytest.mark.parametrize("pixel_format", ["rgb24", "yuv420p", "nv12"])
def test_a_change_of_nothing_changes_nothing(tint, pixel_format):
    frame = as_format(picture(), pixel_format)
    for plane, original in zip(tint(frame).planes, frame.planes, strict=True):
        assert np.array_equal(plane, original)


def test_a_frame_without_a_face_passes_through_uncopied_and_without_the_network(tint):
    frame = Frame.from_rgb(backdrop(240, 320))
    assert tint(frame, smiling=1.0) is frame
    assert tint.frames_with_faces == 0
    assert set(tint.times.summary()) == {"detect"}


def test_segments_and_finished_pictures_are_composed_alike(folder):
    image = picture()
    answers = []
    for kind in ("image", "segment"):
        with Translator.open(tint_model(folder / f"k{kind}.onnx", kind=kind), backend="cpu", threads=1) as translator:
            answers.append(translator(image, smiling=1.0).astype(int))
    assert np.abs(answers[0] - answers[1]).max() <= 1


def test_opacity_and_detail(model):
    image = picture()
    with Translator.open(model, backend="cpu", threads=1, opacity=0.0) as none:
        assert np.array_equal(none(image, smiling=1.0), image)
    with Translator.open(model, backend="cpu", threads=1, detail=0.0) as soft:
        blurred = soft(image)  # through the model's 64 pixels
    assert 0 < np.abs(blurred.astype(int) - image).max() < 120


def test_framing_faces_for_a_model_that_does_not_say_so(folder):
    plain = tint_model(folder / "plain.onnx", aligned=False)
    image = picture()
    with Translator.open(plain, backend="cpu", threads=1) as whole:
        assert whole.frames_with_faces is None
    with Translator.open(plain, backend="cpu", threads=1, framing="faces") as faces:
        assert np.array_equal(faces(image, smiling=1.0)[:20], image[:20])
        assert faces.frames_with_faces == 1
    oblong = invert_model(folder / "oblong.onnx", (16, 24))
    with pytest.raises(OptionError, match="takes pictures of 24x16.*needs a model of square pictures"):
        Translator.open(oblong, backend="cpu", framing="faces")


def test_the_record_keeps_the_alignment(model):
    assert read_spec(model).face_alignment == "celeba"
    assert make_spec().face_alignment == ""


# --- attributes ---------------------------------------------------------------------------------------------------


def test_attributes_not_named_stay_as_they_are():
    port = AttributeInput(names=NAMES, groups=(NAMES[1:],), complement=True)
    assert attribute_vector(port, {}).tolist() == [[0.5] * 6]
    assert attribute_vector(port, {"smiling": 1}).tolist() == [[1, 0.5, 0.5, 0, 0.5, 0.5]]
    assert attribute_vector(port, {"blond_hair": 1}).tolist() == [[0.5, 1, 0, 0.5, 0, 1]]
    plain = AttributeInput(names=NAMES, groups=(NAMES[1:],))
    assert attribute_vector(plain, {"blackhair": 0.5, "blondhair": 0.5}).tolist() == [[0, 0.5, 0.5]]


def test_two_hair_colours_at_once_are_refused():
    port = AttributeInput(names=NAMES, groups=(NAMES[1:],), complement=True)
    with pytest.raises(OptionError, match="Blond_Hair and Black_Hair exclude each other; got 2 in sum"):
        attribute_vector(port, {"blond_hair": 1, "black_hair": 1})


# --- streams ------------------------------------------------------------------------------------------------------


def moving(pixel_format: str = "yuv420p", count: int = 14) -> list[Frame]:
    frames = []
    for number in range(count):
        pixels = backdrop(240, 320)
        put_face(pixels, (120 + 3.0 * number, 110), 150, number)
        frames.append(as_format(pixels, pixel_format, Fraction(number, 30)))
    return frames


@pytest.mark.parametrize("steady", [0.0, 0.8])
def test_frames_in_flight_give_the_same_as_one_after_the_other(model, steady):
    """Following and remembering stay in the frames' order; only the networks run side by side."""
    frames = moving()
    answers = []
    for in_flight in (1, 3):
        with Translator.open(
            model, backend="cpu", threads=in_flight, in_flight=in_flight, framing=FaceFraming(steady=steady)
        ) as translator:
            answers.append(list(translator.stream(frames, smiling=1.0)))
            assert translator.frames_with_faces == len(frames)
    for one, other in zip(*answers, strict=True):
        assert one.time == other.time
        for plane, same in zip(one.planes, other.planes, strict=True):
            assert np.array_equal(plane, same)


def test_a_network_that_fails_does_not_hold_the_stream(model):
    with Translator.open(model, backend="cpu", threads=2, in_flight=2, framing=FaceFraming(steady=1.0)) as translator:
        calls = iter(range(1000))
        real = translator.backend.run

        def failing(*inputs):
            if next(calls) == 2:
                raise OptionError("broken on purpose")
            return real(*inputs)

        translator.backend.run = failing
        with pytest.raises(OptionError, match="broken on purpose"):
            list(translator.stream(moving(count=12), smiling=1.0))


def test_steady_takes_out_flicker_and_keeps_motion():
    """A change that trembles from frame to frame over a still face becomes calmer; where the face moves it does not."""
    rng = np.random.default_rng(0)
    still = rng.uniform(-1, 1, (1, 3, 64, 64)).astype(np.float32)
    flickers = {}
    for strength in (0.0, 1.0):
        sources, results, link = [], [], None
        for _ in range(30):
            seen = still + rng.normal(0, 0.01, still.shape).astype(np.float32)
            answer = np.clip(seen + 0.4 + rng.normal(0, 0.08, (1, 3, 1, 1)).astype(np.float32), -1, 1)
            link = Link(link, strength)
            shown = link.settle(seen, _output(answer), composed=True).translated
            for images, image in ((sources, seen), (results, shown)):
                images.append(((image[0].transpose(1, 2, 0) + 1) * 127.5).clip(0, 255).astype(np.uint8))
        flickers[strength] = measure_flicker(sources, results)
    assert flickers[0.0].ratio > 3
    assert flickers[1.0].ratio < 0.4 * flickers[0.0].ratio

    before = Link(None, 1.0)
    before.settle(still, _output(still + 0.5), composed=True)
    moved = still[..., ::-1].copy()
    now = Link(before, 1.0).settle(moved, _output(moved - 0.5), composed=True).translated - moved
    assert np.abs(now + 0.5).mean() < 0.02


def test_a_segment_is_steadied_with_its_mask():
    seen = np.zeros((1, 3, 8, 8), np.float32)
    first = Link(None, 1.0)
    first.settle(seen, _output(np.ones_like(seen), np.ones((1, 1, 8, 8), np.float32)), composed=False)
    output = Link(first, 1.0).settle(
        seen, _output(np.ones_like(seen), np.zeros((1, 1, 8, 8), np.float32)), composed=False
    )
    assert output.translated == pytest.approx(0.9) and output.mask == pytest.approx(0.9)


def _output(translated, mask=None):
    from ganlens.engine import Output

    return Output(translated, mask)


def test_flicker_of_nothing_is_nothing():
    image = picture()
    assert measure_flicker([image, image], [image, image]) == (0, 0)
    assert measure_flicker([], []) == (0, 0)


# --- command line -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def photo(folder: Path) -> Path:
    path = folder / "photo.png"
    write_image(path, Frame.from_rgb(picture()))
    return path


@pytest.fixture(scope="module")
def clip(folder: Path) -> Path:
    path = folder / "clip.mp4"
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=Fraction(30))
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        video.options = {"crf": "12"}
        for frame in moving("rgb24"):
            output.mux(video.encode(av.VideoFrame.from_ndarray(frame.planes[0])))
        output.mux(video.encode())
    return path


def test_a_video_by_the_command(engine, model, clip):
    status, _, err = engine(
        "translate", "--video", clip, "--model", model, "--set", "smiling=1", "--set", "BLONDHAIR=0.75",
        "-o", "out.mp4", "--json", "out.json", "--steady", 0.5, "--detect-every", 5, "--backend", "cpu",
    )  # fmt: skip
    assert status == 0, err
    assert "14 of 14 frames show a face" in err
    record = json.loads(Path("out.json").read_text())
    assert record["frames"] == 14 and record["stages"]["detect"]["frames"] == 14
    with av.open(str(clip)) as before, av.open("out.mp4") as after:
        pairs = zip(before.decode(video=0), after.decode(video=0), strict=True)
        first, result = ([frame.to_ndarray(format="rgb24").astype(int) for frame in pair] for pair in pairs).__next__()
    assert (result - first)[CHEEK][..., 0].mean() > 15
    assert np.abs(result - first)[:, 260:].mean() < 3  # encoded again


def test_a_picture_by_the_command(engine, model, photo):
    status, _, err = engine("translate", "--image", photo, "--model", model, "--set", "smiling=1", "-o", "out.png")
    assert status == 0, err
    assert "1 of 1 pictures show a face" in err
    before, after = read_image(photo).planes[0].astype(int), read_image("out.png").planes[0].astype(int)
    assert (after - before)[CHEEK][..., 0].mean() > 20
    assert np.array_equal(after[:, 260:], before[:, 260:])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "smiling=7"], "Attribute smiling: got 7, expected 0 to 1"),
        (["--set", "smiling=blue"], "--set smiling=blue: expected NAME=VALUE with a number"),
        (["--set", "smilng=1"], "Unknown attribute 'smilng'. Did you mean Smiling? Known: Black_Hair, Blond_Hair"),
        (["--set", "blond_hair=1", "--set", "black_hair=1"], "exclude each other"),
        (["--set", "smiling=1", "--max-faces", "0"], "max_faces: got 0, expected 1 to 64"),
        (["--set", "smiling=1", "--detect-every", "0"], "detect_every: got 0"),
        ([], "Available: Smiling, Blond_Hair, Black_Hair: --set smiling=1"),
        (["--set", "smiling=1", "--region", "1,1,9,9"], "--region goes with --framing crop, not with 'faces'"),
        (
            ["--set", "smiling=1", "--framing", "fit", "--max-faces", "2"],
            "--max-faces goes with --framing faces, not with 'fit'",
        ),
    ],
)
def test_wrong_options_are_one_line(engine, model, photo, arguments, message):
    status, _, err = engine("translate", "--image", photo, "--model", model, "-o", "out.png", *arguments)
    assert status == 1
    assert message in err and "Traceback" not in err
    assert not Path("out.png").exists()


def test_attributes_for_a_model_without_any(engine, folder, photo):
    plain = invert_model(folder / "invert.onnx", None)
    status, _, err = engine("translate", "--image", photo, "--model", plain, "--set", "smiling=1", "-o", "out.png")
    assert (status, "has no attributes; --set smiling was given" in err) == (1, True)


def test_info_lists_the_attributes(engine, model):
    status, out, _ = engine("info", model)
    assert status == 0
    assert "Smiling, Blond_Hair, Black_Hair" in out and "one aligned face (celeba)" in out
