"""The CUDA kernels: compiled for every GPU, and run on the host against the C++ ones, bit for bit.

The tests of the numbers run on the GPU too where there is one.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ganlens.engine._kernels import Compose, Prepare
from ganlens.engine.cuda import Device, compiler, images, nvrtc
from ganlens.engine.cuda.compiler import find_nvrtc, load_kernels
from ganlens.engine.errors import BackendError, BackendUnavailable
from ganlens.engine.pixels import reference_kernels as reference
from ganlens.engine.ways import gpu_geometry as geometry
from ganlens.engine.ways.gpu_geometry import Geometry
from tests.engine.pixels.test_kernels import BLENDINGS, FORMATS, GEOMETRIES, Planes, copy, make_planes, noise, options
from tests.fakes.cuda import FakeCuda, host_library, kept_cubins

ARCHES = [75, 80, 86, 87, 89, 90, 120]


def compile_cubin(arch: int) -> bytes:
    return compiler.compile_cubin(arch, find_nvrtc())


each_format = pytest.mark.parametrize("format", FORMATS)
each_geometry = pytest.mark.parametrize("geometry", GEOMETRIES)


@pytest.fixture(params=["host", pytest.param("gpu", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Device:
    monkeypatch.setenv("GANLENS_CACHE", str(kept_cubins()))
    return Device(driver=FakeCuda()) if request.param == "host" else Device()


def make_geometry(device: Device, keys: dict[str, Any], blending: dict[str, Any] | None = None) -> Geometry:
    compose = Compose(**keys, **(blending or {}), target="scalar")
    return Geometry(device, load_kernels(device), Prepare(**keys, target="scalar"), compose, keys)


def upload_frame(device: Device, made: Geometry, planes: Planes) -> NDArray[np.uint8]:
    """The frame's block; what belongs to no window is noise."""
    block = np.random.default_rng(3).integers(0, 256, made.block_bytes, dtype=np.uint8)
    for view, source in zip(made.block_views(block), made.views(planes), strict=True):
        view[:] = source
    return block


def run_prepare(
    device: Device, keys: dict[str, Any], planes: Planes, dtype: type[np.floating[Any]] = np.float32
) -> NDArray[Any]:
    made, stream = make_geometry(device, keys), device.stream()
    block = device.upload(upload_frame(device, made, planes))
    out = device.empty((1, 3, *keys["size"]), dtype)
    made.prepare(stream, [block.pointer], out)
    stream.synchronize()
    return device.download(out)[0]


def run_compose(
    device: Device,
    keys: dict[str, Any],
    blending: dict[str, Any],
    planes: Planes,
    *arrays: NDArray[Any] | None,
) -> Planes:
    """The frame after compose; arrays: translated, mask, prepared."""
    made, stream = make_geometry(device, keys, blending), device.stream()
    block = device.upload(upload_frame(device, made, planes))
    uploaded = [None if array is None else device.upload(array[None]) for array in arrays]
    made.compose(stream, *uploaded, [block.pointer])
    stream.synchronize()
    answer = device.download(block)
    written = copy(planes)
    for view, source in zip(made.views(written), made.block_views(answer), strict=True):
        view[:] = source
    return written


def assert_prepare_equals(device: Device, keys: dict[str, Any], planes: Planes) -> None:
    expected = np.empty((3, *keys["size"]), np.float32)
    Prepare(**keys, target="scalar")(planes, expected)
    assert np.array_equal(run_prepare(device, keys, planes), expected)


def assert_compose_equals(
    device: Device,
    keys: dict[str, Any],
    blending: dict[str, Any] | None = None,
    mask: NDArray[np.float32] | None = None,
    prepared: NDArray[np.float32] | None = None,
) -> None:
    blending = blending or {}
    planes = make_planes(keys["format"], keys["frame_size"], seed=7, padding=3)
    expected, translated = copy(planes), noise(3, *keys["size"])
    Compose(**keys, **blending, target="scalar")(translated, expected, mask=mask, prepared=prepared)
    prepared = prepared if blending.get("detail") else None
    written = run_compose(device, keys, blending, planes, translated, mask, prepared)
    for ours, theirs in zip(written, expected, strict=True):
        assert np.array_equal(ours, theirs)


# ---------------------------------------------------------------------------------------------- the compiler


@pytest.mark.parametrize("arch", ARCHES)
def test_every_kernel_compiles_for(arch: int) -> None:
    cubin = compile_cubin(arch)
    assert cubin[:4] == b"\x7fELF"
    for name in ("prepare_float32", "prepare_float16", "compose_float32", "compose_float16"):
        assert f".text.{name}".encode() in cubin


@pytest.fixture
def no_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if built without the compiler."""
    monkeypatch.setattr(images, "FOLDER", "none")


@pytest.fixture
def small_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that compiles quickly, in place of ours."""
    source = tmp_path / "kernels.cu"
    source.write_text('extern "C" __global__ void one() {}\n')
    monkeypatch.setattr(images, "SOURCES", (source,))
    return source


def test_code_for_a_generation_serves_its_later_members(small_source: Path) -> None:
    assert compile_cubin(80) == compile_cubin(82)
    assert compile_cubin(80) != compile_cubin(90)


def test_an_unknown_generation_is_refused() -> None:
    with pytest.raises(
        BackendUnavailable, match=r"does not support compute capability 5.2; it supports 7.5.*Install another"
    ):
        compile_cubin(52)


def test_cubins_come_from_the_cache(own_cache: Path, small_source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cubin = compiler.cached_cubin(90)
    (file,) = (own_cache / "kernels").iterdir()
    assert file.name.startswith("sm_90-")
    with monkeypatch.context() as patch:
        patch.setattr(compiler, "compile_cubin", lambda arch, nvrtc: pytest.fail("compiled again"))
        assert compiler.cached_cubin(90) == cubin
    for damaged in (b"", b"nonsense", file.read_bytes()[:-1], file.read_bytes()[:-1] + b"x", b"\xff\n" + cubin):
        file.write_bytes(damaged)
        assert compiler.cached_cubin(90) == cubin
        assert file.read_bytes().endswith(cubin)
    assert [path.name for path in (own_cache / "kernels").iterdir()] == [file.name]


def test_a_change_of_the_source_is_compiled(small_source: Path) -> None:
    before = compiler.cached_cubin(90)
    small_source.write_text('extern "C" __global__ void other() {}\n')
    assert b".text.one" in before
    assert b".text.other" in compiler.cached_cubin(90)


def test_a_folder_that_cannot_be_written_is_no_error(
    tmp_path: Path, small_source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setenv("GANLENS_CACHE", str(blocked))
    assert compiler.cached_cubin(90)[:4] == b"\x7fELF"


def test_errors_of_the_compiler_are_shown(small_source: Path) -> None:
    small_source.write_text('extern "C" __global__ void one() { nowhere(); }\n')
    with pytest.raises(BackendError, match=r"cannot compile kernels.cu for sm_90: .*nowhere"):
        compile_cubin(90)


def test_a_driver_older_than_the_compiler_is_refused(monkeypatch: pytest.MonkeyPatch, no_images: None) -> None:
    monkeypatch.setattr(FakeCuda, "CUDA_VERSION", 12000)
    monkeypatch.setattr(nvrtc, "PACKAGES", {13: nvrtc.PACKAGES[13]})
    device = Device(driver=FakeCuda(version=12040))
    with pytest.raises(
        BackendUnavailable, match=r"for CUDA 12, which .*is missing.*pip install nvidia-cuda-nvrtc-cu12$"
    ):
        load_kernels(device)


# ---------------------------------------------------------------------------------------------- code of the wheel


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the images that a wheel has."""
    if not any(Path(entry, *nvrtc.PACKAGES[12]).is_dir() for entry in sys.path):
        pytest.skip("nvidia-cuda-nvrtc-cu12 is not installed")
    folder = tmp_path_factory.mktemp("wheel") / images.FOLDER
    script = Path(images.__file__).with_name("build_images.py")
    subprocess.run([sys.executable, str(script), str(folder)], check=True)
    return folder


@pytest.fixture
def shipped(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of them, found as the wheel's; there is no compiler."""
    folder = tmp_path / images.FOLDER
    shutil.copytree(built, folder)
    monkeypatch.setattr(sys.modules["ganlens.engine.cuda"], "__path__", [str(tmp_path)])
    monkeypatch.setattr(nvrtc, "PACKAGES", {})
    return folder


@pytest.mark.parametrize(
    ("capability", "name"),
    [
        ((7, 5), "sm_75"),
        ((8, 0), "sm_80"),
        ((8, 7), "sm_87"),
        ((8, 9), "sm_89"),
        ((9, 0), "sm_90"),
        ((10, 3), "sm_100"),
        ((12, 1), "sm_120"),
        ((11, 0), "compute_75"),
        ((13, 0), "compute_75"),
    ],
)
def test_the_wheel_has_code_for_every_gpu(shipped: Path, capability: tuple[int, int], name: str) -> None:
    loaded: list[bytes] = []

    class Loading(FakeCuda):
        CUDA_VERSION = 12090

        def cuModuleLoadData(self, image: bytes) -> tuple[int, int]:
            loaded.append(image)
            return super().cuModuleLoadData(b"\x7fELF")

    load_kernels(Device(driver=Loading(capability=capability, version=12060)))
    assert loaded == [(shipped / images.file_name(name)).read_bytes()]


def test_code_that_the_driver_compiles_has_the_same_numbers(shipped: Path) -> None:
    """Every multiplication and addition says how it rounds, so that none are fused."""
    text = (shipped / images.file_name(f"compute_{images.PTX_TARGET}")).read_text()
    assert "mul.rn.f32" in text and "add.rn.f32" in text
    assert not re.findall(r"\b(?:fma|mad|mul|add|sub)\.(?:rn\.)?ftz|\bfma\.|\b(?:mul|add|sub)\.f32", text)


def test_a_damaged_file_of_the_wheel_is_an_error(shipped: Path) -> None:
    path = shipped / images.file_name("sm_90")
    for damaged in (path.read_bytes()[:-1], path.read_bytes()[:-1] + b"x", b""):
        path.write_bytes(damaged)
        with pytest.raises(BackendError, match=r"sm_90.cubin is damaged. Install ganlens again"):
            load_kernels(Device(driver=FakeCuda()))


def test_code_of_other_sources_is_not_taken(shipped: Path, small_source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an editable installation the sources change after the build."""
    monkeypatch.undo()
    monkeypatch.setattr(sys.modules["ganlens.engine.cuda"], "__path__", [str(shipped.parent)])
    assert compiler.shipped_image(90) == (shipped / "sm_90.cubin").read_bytes()
    monkeypatch.setattr(images, "SOURCES", (small_source,))
    assert compiler.shipped_image(90) is None


def test_gpus_before_turing_have_no_code(shipped: Path) -> None:
    with pytest.raises(BackendUnavailable, match="no machine code for this GPU.*pip install nvidia-cuda-nvrtc"):
        load_kernels(Device(driver=FakeCuda(capability=(7, 0))))


# ---------------------------------------------------------------------------------------------- the shim


def test_half_floats_of_the_host_are_numpys() -> None:
    library = host_library()
    halves = np.arange(65536, dtype=np.uint16)
    floats = np.empty(65536, np.float32)
    library.host_to_float(halves.ctypes.data_as(ctypes.c_void_p), floats.ctypes.data_as(ctypes.c_void_p), 65536)
    assert np.array_equal(floats, halves.view(np.float16).astype(np.float32), equal_nan=True)
    finite = floats[np.isfinite(floats)]
    values = np.concatenate(
        [finite, np.nextafter(finite, np.inf), (finite[1:] + finite[:-1]) / 2, [1e30, -1e30, 65520]]
    )
    values = values.astype(np.float32)
    back = np.empty(len(values), np.uint16)
    pointers = (array.ctypes.data_as(ctypes.c_void_p) for array in (values, back))
    library.host_to_half(*pointers, len(values))
    with np.errstate(over="ignore"):
        assert np.array_equal(back, values.astype(np.float16).view(np.uint16))


def test_structs_are_those_of_the_kernels() -> None:
    sizes = (ctypes.c_int * 16)()
    for kernel, struct in ((b"prepare_float16", geometry.PrepareTables), (b"compose_float32", geometry.ComposeTables)):
        assert host_library().host_parameters(kernel, sizes) > 0
        assert sizes[0] == ctypes.sizeof(struct)
    coding = Compose(**options((8, 8), (0, 0, 8, 8), (8, 8))).tables()["coding"]
    assert len(coding) == ctypes.sizeof(geometry.Coding)


# ---------------------------------------------------------------------------------------------- prepare


@each_format
@each_geometry
def test_prepare_geometry(device: Device, format: str, geometry: str) -> None:
    frame_size, region, size = GEOMETRIES[geometry]
    for siting in ("left", "center", "topleft") if format != "rgb24" else ("left",):
        keys = options(frame_size, region, size, format=format, siting=siting)
        assert_prepare_equals(device, keys, make_planes(format, frame_size, padding=5))


@each_format
@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
@pytest.mark.parametrize("full_range", [False, True])
def test_prepare_colour(device: Device, format: str, matrix: str, full_range: bool) -> None:
    colour = {"matrix": matrix, "full_range": full_range, "value_range": (0.0, 255.0), "bgr": True}
    keys = options((40, 56), (2, 3, 34, 50), (16, 27), format=format, **colour)
    assert_prepare_equals(device, keys, make_planes(format, (40, 56)))


@each_format
def test_prepare_agrees_with_the_reference(device: Device, format: str) -> None:
    keys = options((131, 151), (9, 7, 96, 128), (48, 64), format=format)
    planes = make_planes(format, (131, 151))
    difference = run_prepare(device, keys, planes) - reference.prepare(planes, **keys)
    assert np.abs(difference).max() * 127.5 < 0.25


@each_format
def test_prepare_in_half_precision(device: Device, format: str) -> None:
    keys = options((40, 56), (2, 3, 34, 50), (16, 27), format=format)
    planes = make_planes(format, (40, 56))
    whole = run_prepare(device, keys, planes)
    assert np.array_equal(run_prepare(device, keys, planes, np.float16), whole.astype(np.float16))


# ---------------------------------------------------------------------------------------------- compose


@each_format
@each_geometry
def test_compose_geometry(device: Device, format: str, geometry: str) -> None:
    frame_size, region, size = GEOMETRIES[geometry]
    for siting in ("left", "center", "topleft") if format != "rgb24" else ("left",):
        assert_compose_equals(device, options(frame_size, region, size, format=format, siting=siting))


@each_format
@pytest.mark.parametrize("blending", BLENDINGS)
@pytest.mark.parametrize("masked", [False, True])
def test_compose_blending(device: Device, format: str, blending: str, masked: bool) -> None:
    for name in ("2:1 inside, odd frame", "fractional", "beyond the frame on all sides", "1:1", "5:1 and 2.5:1"):
        frame_size, region, size = GEOMETRIES[name]
        mask = noise(*size, low=-0.1) if masked else None
        keys = options(frame_size, region, size, format=format)
        assert_compose_equals(device, keys, BLENDINGS[blending], mask, noise(3, *size))


@each_format
@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
@pytest.mark.parametrize("full_range", [False, True])
def test_compose_colour(device: Device, format: str, matrix: str, full_range: bool) -> None:
    colour = {"matrix": matrix, "full_range": full_range, "value_range": (0.0, 1.0), "bgr": True}
    keys = options((40, 56), (2, 3, 34, 50), (16, 27), format=format, **colour)
    assert_compose_equals(device, keys, {"detail": 0.6}, None, noise(3, 16, 27, low=0))


@each_format
def test_compose_in_half_precision(device: Device, format: str) -> None:
    """Half the accuracy of the network's output, nothing else: the same as compose of the rounded answer."""
    keys = options((70, 90), (11, 13, 40, 56), (20, 28), format=format)
    planes = make_planes(format, (70, 90))
    arrays = [noise(3, 20, 28), noise(20, 28, low=0), noise(3, 20, 28)]
    halves = [array.astype(np.float16) for array in arrays]
    blending = {"detail": 0.5, "feather": (4, 4, 4, 4)}
    assert_same(
        run_compose(device, keys, blending, planes, *halves),
        run_compose(device, keys, blending, planes, *(half.astype(np.float32) for half in halves)),
    )


def assert_same(ours: Sequence[NDArray[Any]], theirs: Sequence[NDArray[Any]]) -> None:
    assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_nothing_beyond_the_region_is_needed(device: Device) -> None:
    """Only the region and the reach of the filter cross the bus."""
    made = make_geometry(device, options((720, 1280), (104, 384, 512, 512), (256, 256), format="yuv420p"))
    assert [(w.rows, w.columns) for w in made.windows] == [(514, 514), (256, 257), (256, 257)]
    assert made.block_bytes < 1.1 * 512 * 512 * 1.5


def test_a_region_outside_the_frame_writes_nothing(device: Device) -> None:
    keys = options((20, 20), (30, 40, 10, 10), (8, 8), format="nv12")
    planes = make_planes("nv12", (20, 20))
    assert_same(run_compose(device, keys, {}, planes, noise(3, 8, 8), None, None), planes)
