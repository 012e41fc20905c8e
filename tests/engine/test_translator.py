"""Translator and compositor on functions in place of networks: geometry, colour, formats, attributes."""

import pickle
import threading
import time
from fractions import Fraction

import numpy as np
import pytest

from ganlens.engine import Color, Compositor, Frame, Framing, FunctionBackend, GeneratorSpec, Output, Translator
from ganlens.engine.errors import OptionError, ShapeError
from ganlens.engine.model.attributes import attribute_vector
from ganlens.engine.spec import AttributeInput, ImageOutput, LatentInput, SizeRule

FREE = SizeRule(multiple_of=8, minimum=8, preferred=(64, 64))
FIXED = SizeRule(fixed=(64, 64), preferred=(64, 64))
HAIR = ("Black_Hair", "Blond_Hair")


def translator(function, framing="native", rule=FREE, **options):
    framing = framing if isinstance(framing, Framing) else Framing(framing)
    spec = GeneratorSpec(name="test", architecture="onnx", size=rule, **options.pop("spec", {}))
    return Translator(FunctionBackend(spec, function), Compositor(spec, framing, **options))


def picture(height, width, seed=0):
    """Smooth colours: what bilinear resampling keeps."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    phases = rng.uniform(0, 6, (3, 2))
    waves = [np.sin(3 * x + a) * np.cos(2 * y + b) for a, b in phases]
    return (127.5 + 100 * np.stack(waves, -1)).astype(np.uint8)


def yuv_frame(height, width, pixel_format="yuv420p", color=None):
    half = (-(-height // 2), -(-width // 2))
    smooth = picture(height, width)
    luma = np.ascontiguousarray(smooth[..., 0])
    chroma = np.ascontiguousarray(picture(*half, seed=1)[..., :2] // 2 + 64)
    planes = (luma, chroma[..., 0].copy(), chroma[..., 1].copy()) if pixel_format == "yuv420p" else (luma, chroma)
    return Frame(planes, pixel_format, color or Color(), Fraction(7, 30))


@pytest.mark.parametrize("size", [(64, 64), (48, 80), (33, 71), (1, 1)])
def test_identity_at_native_size_returns_the_picture(size):
    image = picture(*size)
    with translator(lambda x: x) as identity:
        result = identity(image)
    assert result.shape == image.shape and result is not image
    assert np.abs(result.astype(int) - image).max() <= 1


def test_invert_at_native_size():
    image = picture(40, 56)
    with translator(lambda x: -x) as invert:
        result = invert(image)
    assert np.abs(result.astype(int) - (255 - image)).max() <= 1


@pytest.mark.parametrize(
    ("framing", "rule"), [("fit", FREE), ("fit", FIXED), ("tile", FREE), ("tile", FIXED), ("native", FREE)]
)
def test_identity_survives_every_framing_of_a_smooth_picture(framing, rule):
    image = picture(150, 200)
    with translator(lambda x: x, framing, rule) as identity:
        result = identity(image)
    assert np.abs(result.astype(int) - image).max() <= (4 if framing == "fit" else 1)


@pytest.mark.parametrize("value_range", [(-1.0, 1.0), (0.0, 1.0), (0.0, 255.0)])
@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_value_range_and_channel_order_reach_the_network(value_range, order):
    image = np.zeros((8, 8, 3), np.uint8)
    image[..., 0], image[..., 2] = 255, 51
    seen = []

    def spy(x):
        seen.append(x.copy())
        return x

    with translator(spy, spec={"value_range": value_range, "channel_order": order}) as spying:
        result = spying(image)
    low, high = value_range
    expected = [high, low, low + 0.2 * (high - low)]
    np.testing.assert_allclose(
        seen[0][0, :, 4, 4], expected if order == "RGB" else expected[::-1], atol=1e-4 * (high - low)
    )
    np.testing.assert_array_equal(result, image)


def test_answers_outside_the_range_are_clipped():
    with translator(lambda x: x + 5) as bright:
        assert bright(picture(16, 16)).min() == 255


@pytest.mark.parametrize("pixel_format", ["yuv420p", "nv12"])
@pytest.mark.parametrize("size", [(64, 96), (37, 51)])
def test_video_frames_keep_format_colour_and_time(pixel_format, size):
    frame = yuv_frame(*size, pixel_format, Color("bt601", True))
    before = [plane.copy() for plane in frame.planes]
    with translator(lambda x: x, opacity=0.0) as nothing:
        result = nothing(frame)
    assert (result.format, result.color, result.time) == (pixel_format, Color("bt601", True), Fraction(7, 30))
    for plane, original, source in zip(result.planes, before, frame.planes, strict=True):
        np.testing.assert_array_equal(plane, original, "opacity 0 shows the original bit for bit")
        np.testing.assert_array_equal(source, original, "the input is not changed")


@pytest.mark.parametrize("pixel_format", ["rgb24", "yuv420p", "nv12"])
def test_a_crop_leaves_every_other_pixel_bit_for_bit(pixel_format):
    frame = Frame.from_rgb(picture(60, 80)) if pixel_format == "rgb24" else yuv_frame(60, 80, pixel_format)
    with translator(lambda x: -x, Framing("crop", region=(20, 12, 32, 24), feather=0)) as invert:
        result = invert(frame)
    for plane, original in zip(result.planes, frame.planes, strict=True):
        step = frame.size[0] // plane.shape[0]
        inside = np.zeros(plane.shape[:2], bool)
        inside[12 // step : 36 // step, 20 // step : 52 // step] = True
        np.testing.assert_array_equal(plane[~inside], original[~inside])
        assert np.abs(plane[inside].astype(int) - original[inside]).mean() > 5


def test_detail_brings_back_what_the_small_model_cannot_hold():
    rng = np.random.default_rng(0)
    image = np.repeat(rng.integers(60, 190, (128, 128, 1)), 3, axis=2).astype(np.uint8)
    small = Framing("fit", size=(32, 32))
    with translator(lambda x: x, small) as soft, translator(lambda x: x, small, detail=1.0) as sharp:
        error_soft = np.abs(soft(image).astype(int) - image).mean()
        error_sharp = np.abs(sharp(image).astype(int) - image).mean()
    assert error_soft > 10
    assert error_sharp <= 1


def test_tiles_show_no_seam_where_the_tiles_disagree():
    """Each tile answers another brightness; between neighbours it must change gradually."""
    tiles = iter(np.linspace(-0.5, 0.5, 100))
    with translator(lambda x: np.full_like(x, next(tiles)), "tile", FIXED) as patchwork:
        result = patchwork(picture(64, 200))[32, :, 0].astype(int)
    assert np.ptp(result) > 3
    assert np.abs(np.diff(result)).max() <= 1


def test_segment_and_mask_are_composed_over_the_frame():
    mask = np.zeros((1, 1, 16, 16), np.float32)
    mask[..., 8:] = 1
    spec = {"output": ImageOutput(kind="segment", mask="mask")}
    with translator(lambda x: Output(np.ones_like(x), mask), spec=spec) as half:
        image = picture(16, 16)
        result = half(image)
    np.testing.assert_array_equal(result[:, :7], image[:, :7])
    assert result[:, 9:].min() == 255


def test_stream_translates_frame_by_frame():
    frames = [Frame.from_rgb(picture(16, 24, seed)) for seed in range(3)]
    with translator(lambda x: -x) as invert:
        results = list(invert.stream(frames))
    assert [
        np.abs(255 - r.planes[0].astype(int) - f.planes[0]).max() <= 1 for r, f in zip(results, frames, strict=True)
    ] == [True] * 3
    assert invert.times.summary()["run"].frames == 3


def test_frames_in_flight_come_in_order_from_lanes_of_their_own():
    opened = []

    def lane():
        opened.append(threading.get_ident())
        return FunctionBackend(spec, lambda x: -x)

    frames = [Frame.from_rgb(picture(16 + 8 * (i % 3), 16, seed=i), Fraction(i, 25)) for i in range(24)]
    with translator(lambda x: -x) as one:
        expected = list(one.stream(frames))
    spec = GeneratorSpec(name="test", architecture="onnx", size=FREE)
    with Translator(FunctionBackend(spec, slow_negative), Compositor(spec, Framing("native")), [lane, lane]) as three:
        assert three.in_flight == 3
        for _ in range(2):  # the lanes serve again
            came = list(three.stream(frames))
            assert [frame.time for frame in came] == [frame.time for frame in frames]
            assert all(np.array_equal(a.planes[0], b.planes[0]) for a, b in zip(came, expected, strict=True))
        assert three.times.summary()["run"].frames == 48
    assert 1 <= len(opened) <= 2 and threading.get_ident() not in opened


def slow_negative(x):
    time.sleep(0.002)
    return -x


def test_in_flight_must_be_positive():
    with pytest.raises(OptionError, match="in_flight: got 0"):
        Translator.open("starry", in_flight=0)


def test_many_frame_sizes_work_in_turn():
    with translator(lambda x: x) as identity:
        for height in [16, 24, 32, 40, 48, 16]:
            image = picture(height, 24)
            assert np.abs(identity(image).astype(int) - image).max() <= 1


def test_a_network_that_changes_the_size_is_refused():
    with (
        translator(lambda x: x[:, :, ::2, ::2]) as half,
        pytest.raises(ShapeError, match=r"\(1, 3, 8, 8\).*\(1, 3, 16, 16\)"),
    ):
        half(picture(16, 16))


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3))])
def test_arrays_that_are_no_picture_are_refused(image):
    with translator(lambda x: x) as identity, pytest.raises(ShapeError, match=r"expected \(H, W, 3\) uint8 RGB"):
        identity(image)


@pytest.mark.parametrize("options", [{"detail": 1.5}, {"opacity": -0.1}])
def test_options_outside_0_to_1_are_refused(options):
    with pytest.raises(OptionError, match="expected 0 to 1"):
        translator(lambda x: x, **options)


def test_a_generator_from_noise_takes_no_frame():
    spec = GeneratorSpec(name="psc", architecture="psc-gan", image=None, latent=LatentInput(dim=4))
    with pytest.raises(OptionError, match="takes no frame"):
        Compositor(spec)


def test_attributes_become_a_vector():
    port = AttributeInput(names=(*HAIR, "Smiling"))
    np.testing.assert_array_equal(attribute_vector(port, {"smiling": 1, "BLOND_hair": 0.5}), [[0, 0.5, 1]])
    both = AttributeInput(names=(*HAIR, "Smiling"), complement=True)
    np.testing.assert_array_equal(attribute_vector(both, {"blond hair": 1}), [[0.5, 1, 0.5, 0.5, 0, 0.5]])


def test_wrong_attributes_are_refused():
    port = AttributeInput(names=(*HAIR, "Smiling"))
    with pytest.raises(OptionError, match="Unknown attribute 'smilng'. Did you mean Smiling"):
        attribute_vector(port, {"smilng": 1})
    with pytest.raises(OptionError, match="smiling: got 7, expected 0 to 1"):
        attribute_vector(port, {"smiling": 7})
    with translator(lambda x: x) as identity, pytest.raises(OptionError, match="has no attributes; smiling was given"):
        identity(picture(8, 8), smiling=1.0)


def test_arrays_in_a_stream_are_answered_with_the_cure():
    with translator(lambda x: x) as identity, pytest.raises(ShapeError, match="got a ndarray.*Frame.from_rgb"):
        list(identity.stream([picture(8, 8)]))


def test_an_empty_picture_is_refused():
    with translator(lambda x: x) as identity, pytest.raises(ShapeError, match="at least one pixel"):
        identity(np.zeros((0, 8, 3), np.uint8))


def test_a_translator_cannot_be_pickled_and_says_why():
    with translator(lambda x: x) as identity, pytest.raises(TypeError, match="open one in each process"):
        pickle.dumps(identity)


@pytest.mark.parametrize("option", ["threads", "in_flight", "batch"])
def test_numbers_below_one_are_refused(option):
    with pytest.raises(OptionError, match=f"{option}: got 0, expected 1 or more"):
        Translator.open("starry", **{option: 0})
