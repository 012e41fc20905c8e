"""Framing: geometry worked out by hand, and tile weights that add up to one."""

import numpy as np
import pytest
from pydantic import ValidationError

from ganlens.engine.backends.base import Output
from ganlens.engine.errors import OptionError
from ganlens.engine.pixels.compositor import Compositor
from ganlens.engine.pixels.frame import Frame, plane_shapes
from ganlens.engine.pixels.framing import Framing
from ganlens.engine.spec import GeneratorSpec, SizeRule

FIXED = SizeRule(fixed=(256, 256))
FREE = SizeRule(multiple_of=8, minimum=16)
WIDE = FREE.with_margin(16)


def test_fit_letterboxes_a_fixed_model():
    layout = Framing("fit").layout((720, 1280), FIXED)
    assert layout.size == (256, 256)
    assert layout.region == (-280.0, 0.0, 1280.0, 1280.0)


def test_fit_keeps_the_shape_and_about_the_area_of_a_free_model():
    layout = Framing("fit").layout((720, 1280), FREE)
    height, width = layout.size
    assert FREE.accepts(layout.size)
    assert height * width == pytest.approx(256 * 256, rel=0.05)
    assert width / height == pytest.approx(1280 / 720, rel=0.05)
    top, left, region_height, region_width = layout.region
    assert region_height / height == pytest.approx(region_width / width), "pixels stay square"
    assert top <= 0 and left <= 0 and top + region_height >= 720 and left + region_width >= 1280


def test_fit_takes_an_asked_size():
    assert Framing("fit", size=(360, 640)).layout((720, 1280), FREE).size == (360, 640)
    with pytest.raises(OptionError, match="got size 640x361.*any multiple of 8"):
        Framing("fit", size=(361, 640)).layout((720, 1280), FREE)
    with pytest.raises(OptionError, match="takes 256x256"):
        Framing("fit", size=(128, 128)).layout((720, 1280), FIXED)


@pytest.mark.parametrize("frame", [(720, 1280), (719, 1279), (1, 1), (16, 4320)])
def test_native_only_pads(frame):
    layout = Framing("native").layout(frame, FREE)
    assert layout.region == (0.0, 0.0, *map(float, layout.size))
    assert layout.size == FREE.round_up(frame)


def test_native_refuses_a_fixed_model():
    with pytest.raises(OptionError, match="free size.*fit or tile.*--dynamic"):
        Framing("native").layout((720, 1280), FIXED)


def test_crop_defaults_to_the_largest_centred_rectangle():
    layout = Framing("crop").layout((720, 1280), FIXED)
    assert layout.region == (0.0, 280.0, 720.0, 720.0)
    assert layout.feather == (0.0, 0.0, 45.0, 45.0), "no ramp where the crop meets the frame's edge"


def test_crop_takes_a_region_and_a_feather():
    layout = Framing("crop", region=(384, 104, 512, 512), feather=10).layout((720, 1280), FIXED)
    assert layout.region == (104.0, 384.0, 512.0, 512.0)
    assert layout.feather == (10.0,) * 4
    assert layout.size == (256, 256)


@pytest.mark.parametrize("region", [(-1, 0, 10, 10), (0, 0, 1281, 10), (0, 700, 10, 21), (0, 0, 0, 10)])
def test_crop_outside_the_frame_is_refused(region):
    with pytest.raises(OptionError, match="is not inside the frame of 1280x720"):
        Framing("crop", region=region).layout((720, 1280), FIXED)


@pytest.mark.parametrize("rule", [FIXED, FREE, WIDE])
@pytest.mark.parametrize("frame", [(720, 1280), (257, 256), (100, 1000), (256, 256), (31, 17)])
@pytest.mark.parametrize("overlap", [0.1, 0.25, 0.5])
def test_tiles_cover_every_pixel_with_weights_that_add_up_to_one(rule, frame, overlap):
    layout = Framing("tile", overlap=overlap).layout(frame, rule)
    assert layout.tile_size is not None and rule.accepts(layout.tile_size)
    total = np.zeros(layout.size)
    for tile in layout.tiles:
        assert tile.weight.shape == layout.tile_size
        assert tile.weight.min() > 0
        window = total[tile.top : tile.top + tile.weight.shape[0], tile.left : tile.left + tile.weight.shape[1]]
        assert window.shape == tile.weight.shape, "no tile reaches beyond the image"
        window += tile.weight
    np.testing.assert_allclose(total, 1, atol=1e-6)
    assert layout.size[0] >= frame[0] and layout.size[1] >= frame[1]


def test_a_margin_lies_outside_the_frame():
    layout = Framing("fit").layout((256, 256), WIDE)
    assert layout.size == (288, 288), "the picture keeps its size"
    assert layout.region == (-16.0, -16.0, 288.0, 288.0)
    fixed = Framing("fit").layout((720, 1280), FIXED.with_margin(16))
    assert fixed.size == (256, 256)
    top, left, height, width = fixed.region
    pixel = width / 256
    assert height == width and left == pytest.approx(-16 * pixel), "the longer side leaves 16 px of the network's image"
    assert top < -16 * pixel, "bars are margin enough"
    asked = Framing("fit", size=(360, 640)).layout((720, 1280), WIDE)
    assert asked.size == (360, 640), "what is asked for is the network's image"
    assert asked.region[0] <= -16 * asked.region[2] / 360


@pytest.mark.parametrize("mode", ["native", "tile"])
def test_a_margin_at_the_frames_own_size(mode):
    layout = Framing(mode).layout((300, 500), WIDE)
    assert layout.region[:2] == (-16.0, -16.0) and layout.region[2:] == layout.size
    assert layout.size[0] >= 332 and layout.size[1] >= 532


def test_a_crop_has_a_margin_where_it_touches_the_frame():
    layout = Framing("crop").layout((256, 512), WIDE)
    assert layout.size == (288, 256) and layout.feather == (0.0, 0.0, 16.0, 16.0)
    assert layout.region == (-16.0, 128.0, 288.0, 256.0), "a ramp hides the line at the other two sides"
    inside = Framing("crop", region=(64, 64, 128, 128), feather=0).layout((256, 512), WIDE)
    assert inside.region == (64.0, 64.0, 128.0, 128.0), "nothing outside the crop is written"


@pytest.mark.parametrize("format", ["rgb24", "yuv420p"])
def test_what_a_network_paints_into_its_margin_is_not_seen(format):
    spec = GeneratorSpec(name="lined", architecture="paired", size=SizeRule(multiple_of=8, minimum=64).with_margin(16))
    compositor = Compositor(spec, Framing("fit"))
    random = np.random.default_rng(0)
    planes = tuple(random.integers(60, 180, shape, np.uint8) for shape in plane_shapes((256, 256), format))
    frame = Frame(planes, format)
    image = compositor.prepare(frame)
    assert image.shape == (3, 288, 288)
    np.testing.assert_array_equal(image[:, :16, 16:-16], np.repeat(image[:, 16:17, 16:-16], 16, axis=1))
    answer = image.copy()
    for side in (np.s_[:, :15], np.s_[:, -15:], np.s_[:, :, :15], np.s_[:, :, -15:]):
        answer[side] = 1.0
    with_line, without = frame.copy(), frame.copy()
    compositor.compose(frame, Output(answer[None], None), with_line)
    compositor.compose(frame, Output(image[None], None), without)
    for one, other in zip(with_line.planes, without.planes, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_margin_leaves_a_picture():
    with pytest.raises(ValidationError, match="margin of 128 needs sides above 256, got 256x256"):
        FIXED.with_margin(128)
    assert WIDE.minimum == 40 and FREE.with_margin(0) == FREE
    assert WIDE.picture == (256, 256) and FIXED.with_margin(16).picture == (224, 224)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "fitt"}, "Unknown framing 'fitt'. Did you mean fit"),
        ({"mode": "fit", "region": (0, 0, 8, 8)}, "needs framing 'crop'"),
        ({"mode": "crop", "feather": -1.0}, "must not be negative"),
        ({"mode": "tile", "overlap": 0.0}, "above 0 and at most 0.5"),
        ({"mode": "tile", "overlap": 0.6}, "above 0 and at most 0.5"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        Framing(**options)
