"""The native kernels against their NumPy reference, for every instruction set that this machine can run."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ganlens.engine._kernels import Compose, Prepare, targets
from ganlens.engine.pixels import reference_kernels as reference

Planes = tuple[NDArray[np.uint8], ...]
FORMATS = ["rgb24", "yuv420p", "nv12"]
SITINGS = ["left", "center", "topleft"]

# frame size, region, size of the generator's tensor
GEOMETRIES = {
    "1:1": ((48, 64), (0, 0, 48, 64), (48, 64)),
    "1:1 inside": ((70, 90), (11, 13, 40, 56), (40, 56)),
    "2:1": ((128, 192), (0, 0, 128, 192), (64, 96)),
    "2:1 inside, odd frame": ((131, 151), (9, 7, 96, 128), (48, 64)),
    "fractional": ((65, 81), (3.3, 4.7, 41.5, 52.25), (32, 40)),
    "enlarging prepare": ((61, 83), (10.5, 10.25, 20, 30), (40, 64)),
    "3:2": ((150, 147), (6, 9, 132, 126), (88, 84)),
    "5:1 and 2.5:1": ((100, 333), (0, 0, 100, 333), (40, 66)),
    "7:1": ((70, 212), (0, 0, 70, 212), (10, 30)),
    "40:1": ((127, 645), (0, 0, 127, 645), (3, 16)),
    "beyond the frame on all sides": ((65, 81), (-10, -7.5, 90, 100), (17, 23)),
    "letterbox": ((30, 64), (-17, 0, 64, 64), (32, 32)),
    "outside the frame": ((20, 20), (30, 40, 10, 10), (8, 8)),
    "one pixel": ((33, 47), (5, 6, 1, 1), (16, 16)),
    "part of a pixel": ((33, 47), (5.25, 6.25, 0.5, 0.5), (4, 4)),
    "one-pixel frame": ((1, 1), (0, 0, 1, 1), (4, 4)),
    "one-row frame": ((1, 37), (0, 0, 1, 37), (8, 16)),
    "one-pixel tensor": ((19, 23), (2, 3, 15, 17), (1, 1)),
}
each_target = pytest.mark.parametrize("target", targets())
each_format = pytest.mark.parametrize("format", FORMATS)
each_geometry = pytest.mark.parametrize("geometry", GEOMETRIES)


def options(
    frame_size: tuple[int, int], region: Sequence[float], size: tuple[int, int], **changes: Any
) -> dict[str, Any]:
    return {
        "format": "rgb24",
        "frame_size": frame_size,
        "region": tuple(map(float, region)),
        "size": size,
        "matrix": "bt709",
        "full_range": False,
        "siting": "left",
        "value_range": (-1.0, 1.0),
        "bgr": False,
    } | changes


def make_planes(format: str, frame_size: tuple[int, int], seed: int = 0, padding: int = 0) -> Planes:
    """Noise; with ``padding``, rows lie that many bytes further apart."""
    random = np.random.default_rng(seed)
    height, width = frame_size
    half = -(-height // 2), -(-width // 2)
    shapes: dict[str, list[tuple[int, ...]]] = {
        "rgb24": [(height, width, 3)],
        "yuv420p": [frame_size, half, half],
        "nv12": [frame_size, (*half, 2)],
    }
    planes = []
    for shape in shapes[format]:
        row = int(np.prod(shape[1:]))
        memory = random.integers(0, 256, (shape[0], row + padding), dtype=np.uint8)
        planes.append(memory[:, :row].reshape(shape))
    return tuple(planes)


def copy(planes: Planes) -> Planes:
    return tuple(plane.copy() for plane in planes)


def noise(*shape: int, low: float = -1.1, high: float = 1.1) -> NDArray[np.float32]:
    return np.random.default_rng(5).uniform(low, high, shape).astype(np.float32)


def assert_prepare_agrees(keys: dict[str, Any], planes: Planes, target: str, tolerance: float = 0.25) -> None:
    """Within a quarter of an 8-bit step: nothing is rounded to 8 bits on the way."""
    out = np.full((3, *keys["size"]), np.nan, np.float32)
    Prepare(**keys, target=target)(planes, out)
    low, high = keys["value_range"]
    assert np.abs(out - reference.prepare(planes, **keys)).max() * 255 / (high - low) < tolerance
    assert out.min() >= low and out.max() <= high


def assert_compose_agrees(
    keys: dict[str, Any], target: str, blending: dict[str, Any] | None = None, **arrays: Any
) -> None:
    """Within one 8-bit step inside the region, untouched outside."""
    before = make_planes(keys["format"], keys["frame_size"], seed=7)
    expected, written = copy(before), copy(before)
    translated = noise(3, *keys["size"])
    reference.compose(translated, expected, **keys, **(blending or {}), **arrays)
    Compose(**keys, **(blending or {}), target=target)(translated, written, **arrays)
    for index, (ours, theirs, original) in enumerate(zip(written, expected, before, strict=True)):
        assert np.abs(ours.astype(int) - theirs).max() <= 1, f"plane {index}"
        outside = ~inside(keys, index, original.shape)
        assert np.array_equal(ours[outside], original[outside]), f"plane {index}"


def inside(keys: dict[str, Any], plane: int, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which samples of a plane lie in the region."""
    step, cosited = reference.grid(keys["format"], plane, keys["siting"])
    top, left, height, width = keys["region"]
    rows = reference.positions(shape[0], keys["frame_size"][0], step, cosited[0])
    columns = reference.positions(shape[1], keys["frame_size"][1], step, cosited[1])
    return np.outer((rows >= top) & (rows < top + height), (columns >= left) & (columns < left + width))


# ---------------------------------------------------------------------------------------------- prepare


@each_target
@each_format
@each_geometry
def test_prepare_geometry(target: str, format: str, geometry: str) -> None:
    frame_size, region, size = GEOMETRIES[geometry]
    for siting in SITINGS if format != "rgb24" else SITINGS[:1]:
        keys = options(frame_size, region, size, format=format, siting=siting)
        assert_prepare_agrees(keys, make_planes(format, frame_size, padding=5), target)


@each_target
@each_format
@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
@pytest.mark.parametrize("full_range", [False, True])
def test_prepare_colour(target: str, format: str, matrix: str, full_range: bool) -> None:
    for value_range, bgr in [((0.0, 1.0), False), ((0.0, 255.0), True)]:
        keys = options(
            (40, 56),
            (2, 3, 34, 50),
            (16, 27),
            format=format,
            matrix=matrix,
            full_range=full_range,
            value_range=value_range,
            bgr=bgr,
        )
        assert_prepare_agrees(keys, make_planes(format, (40, 56)), target)


@each_target
@pytest.mark.parametrize("width", [*range(1, 20), 31, 32, 33])
def test_prepare_every_width(target: str, width: int) -> None:
    """The ends of rows are where vectors go wrong."""
    for format in FORMATS:
        for factor in (0.5, 1, 2, 3):
            columns = max(1, round(width * factor))
            keys = options((6, columns), (0, 0, 6, columns), (5, width), format=format)
            assert_prepare_agrees(keys, make_planes(format, (6, columns)), target)


@each_target
def test_prepare_identity_is_exact(target: str) -> None:
    planes = make_planes("rgb24", (33, 45))
    out = np.empty((3, 33, 45), np.float32)
    Prepare(**options((33, 45), (0, 0, 33, 45), (33, 45), value_range=(0.0, 255.0)), target=target)(planes, out)
    assert np.array_equal(out, planes[0].transpose(2, 0, 1))


@each_target
def test_prepare_of_extremes_stays_in_range(target: str) -> None:
    planes = tuple(np.where(plane > 127, 255, 0).astype(np.uint8) for plane in make_planes("yuv420p", (64, 64)))
    assert_prepare_agrees(options((64, 64), (0, 0, 64, 64), (24, 40), format="yuv420p"), planes, target)


# ---------------------------------------------------------------------------------------------- compose


@each_target
@each_format
@each_geometry
def test_compose_geometry(target: str, format: str, geometry: str) -> None:
    frame_size, region, size = GEOMETRIES[geometry]
    for siting in SITINGS if format != "rgb24" else SITINGS[:1]:
        assert_compose_agrees(options(frame_size, region, size, format=format, siting=siting), target)


BLENDINGS: dict[str, dict[str, Any]] = {
    "feather": {"feather": (5, 2.5, 7, 40)},
    "feather wider than the region": {"feather": (100, 100, 100, 100)},
    "opacity": {"opacity": 0.3},
    "invisible": {"opacity": 0},
    "detail": {"detail": 1},
    "all": {"feather": (9, 9, 9, 9), "opacity": 0.9, "detail": 0.5},
}


@each_target
@each_format
@pytest.mark.parametrize("blending", BLENDINGS)
@pytest.mark.parametrize("masked", [False, True])
def test_compose_blending(target: str, format: str, blending: str, masked: bool) -> None:
    for geometry in ("2:1 inside, odd frame", "fractional", "beyond the frame on all sides", "1:1", "part of a pixel"):
        frame_size, region, size = GEOMETRIES[geometry]
        assert_compose_agrees(
            options(frame_size, region, size, format=format),
            target,
            BLENDINGS[blending],
            mask=noise(*size, low=-0.1) if masked else None,
            prepared=noise(3, *size),
            source=make_planes(format, frame_size, seed=11, padding=3) if masked else None,
        )


@each_target
@each_format
@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
@pytest.mark.parametrize("full_range", [False, True])
def test_compose_colour(target: str, format: str, matrix: str, full_range: bool) -> None:
    keys = options(
        (40, 56),
        (2, 3, 34, 50),
        (16, 27),
        format=format,
        matrix=matrix,
        full_range=full_range,
        value_range=(0.0, 1.0),
        bgr=True,
    )
    assert_compose_agrees(keys, target, {"detail": 0.6}, prepared=noise(3, 16, 27, low=0))


@each_target
@pytest.mark.parametrize("width", [*range(1, 20), *range(29, 36), 63, 64, 65])
def test_compose_every_width(target: str, width: int) -> None:
    for format in FORMATS:
        keys = options((7, width + 3), (1, 2, 5, width), (4, max(1, width // 2)), format=format)
        assert_compose_agrees(keys, target)
        assert_compose_agrees(
            keys,
            target,
            {"feather": (0, 0, 3, 3), "detail": 0.5},
            prepared=noise(*(3, *keys["size"])),
            mask=noise(*keys["size"]),
        )


@each_target
@each_format
def test_compose_keeps_the_padding_of_rows(target: str, format: str) -> None:
    memory = np.full((20, 3 * 30 + 7), 77, np.uint8)
    padded = memory[:, : 3 * 30].reshape(20, 30, 3) if format == "rgb24" else memory[:, :30]
    planes = (padded, *make_planes(format, (20, 30))[1:])
    Compose(**options((20, 30), (0, 0, 20, 30), (10, 15), format=format), target=target)(noise(3, 10, 15), planes)
    assert (memory[:, padded[0].size :] == 77).all()
    assert (padded != 77).any()


@each_target
def test_compose_takes_nan_for_the_lowest_value(target: str) -> None:
    planes = make_planes("rgb24", (8, 8))
    image = np.full((3, 8, 8), np.nan, np.float32)
    Compose(**options((8, 8), (0, 0, 8, 8), (8, 8)), target=target)(image, planes)
    assert (planes[0] == 0).all()


@each_target
@each_format
def test_there_and_back(target: str, format: str) -> None:
    """Prepare and compose at 1:1 give the frame back, within the rounding of colours that are inside the gamut."""
    height, width = 24, 36
    smooth = np.add.outer(np.arange(height), np.arange(width)).astype(np.uint8) + 80
    chroma = smooth[::2, ::2] // 2 + 70
    planes: Planes = {
        "rgb24": (np.stack([smooth, smooth + 20, smooth + 40], axis=-1),),
        "yuv420p": (smooth, chroma, chroma),
        "nv12": (smooth, np.stack([chroma, chroma], axis=-1)),
    }[format]
    for siting in SITINGS:
        keys = options((height, width), (0, 0, height, width), (height, width), format=format, siting=siting)
        image = np.empty((3, height, width), np.float32)
        written = tuple(np.zeros_like(plane) for plane in planes)
        Prepare(**keys, target=target)(planes, image)
        Compose(**keys, target=target)(image, written)
        for ours, original in zip(written, planes, strict=True):
            assert np.abs(ours.astype(int) - original).max() <= 1


@each_target
def test_one_object_serves_several_threads(target: str) -> None:
    keys = options((90, 130), (3, 4, 80, 120), (40, 60), format="yuv420p")
    prepare = Prepare(**keys, target=target)
    frames = [make_planes("yuv420p", (90, 130), seed) for seed in range(4)]
    outs = [np.empty((3, 40, 60), np.float32) for _ in frames]

    def work(index: int) -> None:
        for _ in range(50):
            prepare(frames[index], outs[index])

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(frames))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for frame, out in zip(frames, outs, strict=True):
        alone = np.empty_like(out)
        prepare(frame, alone)
        assert np.array_equal(out, alone)


# ---------------------------------------------------------------------------------------------- errors


def test_targets_begin_with_scalar() -> None:
    assert targets()[0] == "scalar"
    assert len(set(targets())) == len(targets())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "yuv444p"}, "format 'yuv444p' is not known; expected one of 'rgb24', 'yuv420p', 'nv12'"),
        ({"matrix": "bt470"}, "matrix 'bt470'"),
        ({"siting": "right"}, "siting 'right'"),
        ({"target": "mmx"}, "target 'mmx' is not known; expected one of 'scalar'"),
        ({"frame_size": (0, 8)}, r"frame_size: got \(0, 8\)"),
        ({"size": (8, -1)}, r"size: got \(8, -1\)"),
        ({"region": (0, 0, 0, 8)}, r"region: got \(0, 0, 0, 8\)"),
        ({"region": (0, float("nan"), 4, 8)}, "region"),
        ({"region": (0, 0, 1e30, 8)}, "region"),
        ({"value_range": (1.0, 0.0)}, r"value_range: got \(1, 0\)"),
    ],
)
def test_wrong_options_are_named(change: dict[str, Any], message: str) -> None:
    for kernel in (Prepare, Compose):
        with pytest.raises(ValueError, match=message):
            kernel(**options((8, 8), (0, 0, 8, 8), (8, 8)) | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"feather": (0, -1, 0, 0)}, "feather width: got -1"),
        ({"detail": 1.5}, "detail: got 1.5, expected 0 to 1"),
        ({"opacity": float("nan")}, "opacity: got nan"),
    ],
)
def test_wrong_blending_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Compose(**options((8, 8), (0, 0, 8, 8), (8, 8)), **change)


def test_wrong_arrays_are_named() -> None:
    prepare = Prepare(**options((8, 6), (0, 0, 8, 6), (4, 4)))
    frame, out = np.zeros((8, 6, 3), np.uint8), np.zeros((3, 4, 4), np.float32)
    with pytest.raises(TypeError, match=r"planes plane 0: got an array of dtype float32, expected .*\(8, 6, 3\) uint8"):
        prepare((frame.astype(np.float32),), out)
    with pytest.raises(ValueError, match=r"shape \(6, 8, 3\), expected a NumPy array \(8, 6, 3\) uint8"):
        prepare((np.zeros((6, 8, 3), np.uint8),), out)
    with pytest.raises(ValueError, match="not contiguous along axis 2"):
        prepare((np.zeros((8, 6, 6), np.uint8)[..., ::2],), out)
    with pytest.raises(ValueError, match="got 2 planes, expected 1"):
        prepare((frame, frame), out)
    with pytest.raises(TypeError, match="planes: got a .*ndarray, expected a tuple of 1"):
        prepare(frame, out)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="planes plane 0: got a str"):
        prepare(("frame",), out)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="out: got an array of dtype float64"):
        prepare((frame,), out.astype(np.float64))
    with pytest.raises(ValueError, match="out: got an array that is not contiguous along axis 1"):
        prepare((frame,), np.zeros((3, 4, 8), np.float32)[..., :4])
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out: got a read-only array"):
        prepare((frame,), out)


def test_wrong_arrays_of_compose_are_named() -> None:
    keys = options((8, 6), (0, 0, 8, 6), (4, 4), format="nv12")
    frame = make_planes("nv12", (8, 6))
    image = np.zeros((3, 4, 4), np.float32)
    with pytest.raises(ValueError, match=r"mask: got an array of shape \(1, 4, 4\), expected .*\(4, 4\) float32"):
        Compose(**keys)(image, frame, mask=image[:1])
    with pytest.raises(ValueError, match="prepared: got None; detail above 0 needs"):
        Compose(**keys, detail=0.5)(image, frame)
    with pytest.raises(ValueError, match="translated: got an array of shape"):
        Compose(**keys)(image[:2], frame)
    with pytest.raises(ValueError, match=r"source plane 1: got an array of shape \(4, 3, 1\), expected .*\(4, 3, 2\)"):
        Compose(**keys)(image, frame, source=(frame[0], frame[1][..., :1]))
    locked = tuple(plane.copy() for plane in frame)
    locked[1].flags.writeable = False
    with pytest.raises(ValueError, match="destination plane 1: got a read-only array"):
        Compose(**keys)(image, locked)
    Compose(**keys)(image, frame, source=locked)  # a source is only read
