"""One adapter over three libraries: each as its own packages list it (tests/engine/tensorrt_api.json)."""

from __future__ import annotations

import importlib
import importlib.metadata
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ganlens.engine.backends import registry
from ganlens.engine.backends.tensorrt import BuildOptions, load, make_key, make_profile, status
from ganlens.engine.backends.tensorrt import library as libraries
from ganlens.engine.backends.tensorrt.builder import build
from ganlens.engine.backends.tensorrt.library import check_installed, clean, cuda_major
from ganlens.engine.cuda import Device, driver
from ganlens.engine.errors import (
    BackendError,
    BackendUnavailable,
    DeviceLost,
    DeviceMemoryError,
    MissingExtra,
    ModelFileError,
    OptionError,
    PlanError,
)
from ganlens.engine.model.description import read_onnx, spec_of
from tests.fakes.cuda import FakeCuda
from tests.fakes.tensorrt import API, FakeTensorRt, install, names
from tests.kit.models import identity_model, network_model, save_graph, tensor

RELEASES = ("10", "11", "rtx")
TITLES = {"10": "TensorRT 10.3.0", "11": "TensorRT 11.4.0.106", "rtx": "TensorRT for RTX 1.7.1.116"}

each_release = pytest.mark.parametrize("release", RELEASES)


@pytest.fixture
def gpu():
    return FakeCuda()


def build_with(path: Path, device: Device | None, options: BuildOptions | None = None, **more: Any) -> Any:
    file = read_onnx(path)
    spec = spec_of(file)
    library, options = load(), options or BuildOptions()
    key = make_key(library, device, file, spec, options)
    return build(library, device, file, spec, make_profile(file, spec), options, key, **more)


# --- the list is that of the real package, as far as one is here


def test_the_list_is_that_of_the_installed_package():
    module = pytest.importorskip("tensorrt_rtx")
    if module.__version__ != API["versions"]["rtx"]:
        pytest.skip(f"tensorrt-rtx {module.__version__} is installed, the list is of {API['versions']['rtx']}")
    for cls in API["classes"]:
        if "rtx" in API["classes"][cls]["in"]:
            assert {n for n in dir(getattr(module, cls)) if not n.startswith("_")} == names("rtx", cls), cls


# --- what is installed


@each_release
def test_what_is_installed_is_loaded(monkeypatch, gpu, release):
    fake = install(monkeypatch, release, gpu)
    library = load()
    assert library.title == TITLES[release]
    assert library.module is fake
    assert library.builds_without_gpu == (release == "rtx")
    assert library.keeps_timings == (release != "rtx")
    assert library.checks_plans == (release == "rtx")
    assert library.hardware_levels == {"10": ("ampere",), "11": ("ampere", "same"), "rtx": ()}[release]


def test_tensorrt_comes_before_tensorrt_for_rtx(monkeypatch, gpu):
    rtx, full = FakeTensorRt("rtx", gpu), FakeTensorRt("11", gpu)
    monkeypatch.setitem(sys.modules, "tensorrt", full)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", rtx)
    assert load().module is full
    full.__version__ = "8.6.1"
    assert load().module is rtx


def test_nothing_is_installed(monkeypatch):
    for module in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, module, None)
    for call in (load, check_installed, status):
        with pytest.raises(MissingExtra, match=r"tensorrt or tensorrt-rtx.*pip install 'ganlens\[tensorrt\]'"):
            call()


def test_on_a_jetson_no_cure_takes_the_library_from_pypi(monkeypatch, gpu):
    """PyPI's wheels do not support it; the extra 'jetson' has no TensorRT, which JetPack's packages bring."""
    for module in (driver, libraries):
        monkeypatch.setattr(module, "on_jetson", lambda: True)
    monkeypatch.setattr(libraries, "cuda_major", lambda flavour: 13)
    gpu.CUDA_VERSION, gpu.version = 12040, 12060
    install(monkeypatch, "11", gpu)
    cure = "sudo apt install python3-libnvinfer, in an environment made with --system-site-packages"
    with pytest.raises(BackendUnavailable, match=f"Take: pip uninstall tensorrt .*; {cure}"):
        load().check_device(Device(driver=gpu))
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, None)
    for call in (load, check_installed, status):
        with pytest.raises(MissingExtra, match=f"Install it with: {cure}"):
            call()
    assert registry.status("tensorrt").cure == cure
    monkeypatch.setattr(registry, "installed", lambda name: None)
    assert "PyPI has none; --backend tensorrt needs none" in (registry.quick_problem("cuda") or "")
    assert driver.install_with("bindings") == "pip install 'ganlens[jetson]'" == driver.install_with("plans")


def test_an_old_release_is_refused_with_the_cure(monkeypatch, gpu):
    install(monkeypatch, "10", gpu).__version__ = "8.6.1"
    with pytest.raises(BackendUnavailable, match=r"TensorRT 8.6.1 is installed; ganlens needs 10.3 or newer"):
        load()


@pytest.mark.parametrize("kind", [ImportError, OSError, RuntimeError])
def test_a_shared_library_is_missing(monkeypatch, kind):
    def import_module(name: str) -> Any:
        raise kind("libnvinfer.so.11: cannot open shared object file")

    monkeypatch.setattr(importlib, "import_module", import_module)
    with pytest.raises(BackendUnavailable, match=r"tensorrt is installed but cannot be imported: libnvinfer.so.11"):
        load()


@pytest.mark.parametrize(("version", "usable"), [(12040, False), (13000, True)])
def test_a_driver_older_than_the_library(monkeypatch, version, usable):
    def installed(name: str) -> str:
        if name == "tensorrt-cu13":
            return "11.4.0"
        raise importlib.metadata.PackageNotFoundError(name)

    gpu = FakeCuda(version=version)
    gpu.CUDA_VERSION = 12040  # that cuda-bindings is made for
    install(monkeypatch, "11", gpu)
    monkeypatch.setattr(importlib.metadata, "version", installed)
    device = Device(driver=gpu)
    if usable:
        load().check_device(device)
        return
    with pytest.raises(
        BackendUnavailable,
        match=r"driver knows CUDA 12.4; TensorRT 11.4.0.106 here is made for CUDA 13. .*"
        "pip uninstall tensorrt tensorrt-cu13 tensorrt-cu13-libs tensorrt-cu13-bindings; "
        r"pip install 'ganlens\[tensorrt-cu12\]'$",
    ):
        load().check_device(device)


@pytest.mark.skipif(not importlib.util.find_spec("tensorrt_rtx"), reason="needs tensorrt-rtx")
def test_the_cuda_of_the_real_package_is_told():
    assert cuda_major("tensorrt_rtx") in (12, 13)


# --- the same build with each


@each_release
def test_build(monkeypatch, gpu, tmp_path, release):
    fake = install(monkeypatch, release, gpu)
    built = build_with(network_model(tmp_path / "net.onnx", None), Device(driver=gpu))
    assert built.content.startswith(b"fake plan")
    assert fake.seen["profile"] == {"x": ([1, 3, 4, 4], [1, 3, 16, 24], [4, 3, 512, 512])}
    assert fake.seen["flags"] == ({"REQUIRE_USER_ALLOCATION"} if release == "rtx" else set())
    tied = ("CUDA 13.0", "Fake GPU", "9.0") if release != "rtx" else ("", "", "")
    assert (built.record.key.driver, built.record.key.gpu, built.record.key.compute_capability) == tied
    assert built.record.key.target == ("portable" if release == "rtx" else "this GPU")
    assert built.record.spec.name == "tiny"
    assert bool(built.timings) == (release != "rtx")


@each_release
def test_graphs_of_fixed_shapes_need_no_profile(monkeypatch, gpu, tmp_path, release):
    fake = install(monkeypatch, release, gpu)
    build_with(identity_model(tmp_path / "m.onnx"), Device(driver=gpu))
    assert fake.seen["profile"] is None


@each_release
def test_options(monkeypatch, gpu, tmp_path, release):
    fake = install(monkeypatch, release, gpu)
    path = identity_model(tmp_path / "m.onnx")
    device = Device(driver=gpu)
    build_with(path, device, BuildOptions(workspace=1 << 30))
    assert fake.seen["workspace"] == 1 << 30
    if release == "rtx":
        with pytest.raises(OptionError, match="has no version-compatible plans"):
            build_with(path, device, BuildOptions(version_compatible=True))
        with pytest.raises(OptionError, match=r"cannot build for 'sm_98'. Did you mean"):
            build_with(path, device, BuildOptions(target="sm_98"))
        build_with(path, device, BuildOptions(target="sm_89"))
        assert fake.seen["targets"] == ["SM89"]
        return
    build_with(path, device, BuildOptions(version_compatible=True, target="ampere"))
    assert (fake.seen["flags"], fake.seen["level"]) == ({"VERSION_COMPATIBLE"}, "AMPERE_PLUS")
    with pytest.raises(OptionError, match="cannot build for 'sm_89'"):
        build_with(path, device, BuildOptions(target="sm_89"))
    if release == "10":
        with pytest.raises(OptionError, match="cannot build for 'same'.*(Known:|Did you mean) ampere"):
            build_with(path, device, BuildOptions(target="same"))
    else:
        build_with(path, device, BuildOptions(target="same"))
        assert fake.seen["level"] == "SAME_COMPUTE_CAPABILITY"


def test_turing_is_a_target_of_its_own(monkeypatch, tmp_path):
    gpu = FakeCuda(capability=(7, 5))
    fake = install(monkeypatch, "rtx", gpu)
    build_with(identity_model(tmp_path / "m.onnx"), Device(driver=gpu))
    assert fake.seen["targets"] == ["SM75"]


@pytest.mark.parametrize("release", ["10", "11"])
def test_timings_go_from_build_to_build(monkeypatch, gpu, tmp_path, release):
    fake = install(monkeypatch, release, gpu)
    path, device = identity_model(tmp_path / "m.onnx"), Device(driver=gpu)
    first = build_with(path, device)
    assert fake.seen["timings"] == fake.__version__.encode()
    build_with(path, device, timings=first.timings)
    assert fake.seen["timings"] == first.timings
    build_with(path, device, timings=b"9.9 of another release")
    assert fake.seen["timings"] == fake.__version__.encode()


@pytest.mark.parametrize("release", ["10", "11"])
def test_tensorrt_builds_on_a_gpu_only(monkeypatch, tmp_path, release):
    install(monkeypatch, release, None)
    with pytest.raises(BackendUnavailable, match=r"builds a plan on the GPU.*pip install 'ganlens\[rtx\]'"):
        build_with(identity_model(tmp_path / "m.onnx"), None)


@pytest.mark.parametrize("release", ["10", "11"])
def test_a_builder_that_does_not_start(monkeypatch, gpu, tmp_path, release):
    install(monkeypatch, release, None)
    with pytest.raises(BackendUnavailable, match="cannot start: CUDA initialization failure with error: 100"):
        build_with(identity_model(tmp_path / "m.onnx"), Device(driver=gpu))


@pytest.mark.parametrize("release", ["10", "11"])
def test_a_runtime_that_does_not_start(monkeypatch, release):
    """As seen with the real bindings 10.3 and 11.4: the constructor raises TypeError, and the log may be empty."""
    install(monkeypatch, release, None)
    with pytest.raises(BackendUnavailable, match=r"cannot start: no reason given. Look at nvidia-smi"):
        load().open(b"plan", "m.plan")


@each_release
def test_progress_and_stopping(monkeypatch, gpu, tmp_path, release):
    install(monkeypatch, release, gpu)
    path, device = identity_model(tmp_path / "m.onnx"), Device(driver=gpu)
    seen: list[Any] = []
    build_with(path, device, report=seen.append)
    fractions = [moment.fraction for moment in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(0.5)  # this library's phases tell no more
    assert {"Optimizing graph", "Timing graph nodes"} <= {moment.phase for moment in seen}

    with pytest.raises(BackendError, match="The build of a plan of m.onnx was stopped"):
        build_with(path, device, report=lambda moment: moment.fraction < 0.3)
    with pytest.raises(ZeroDivisionError):
        build_with(path, device, report=lambda moment: 1 // 0)


@each_release
def test_an_operator_that_is_not_known(monkeypatch, gpu, tmp_path, release):
    install(monkeypatch, release, gpu)
    import onnx

    node = onnx.helper.make_node("Nonsense", ["x"], ["y"], name="head")
    dims = (1, 3, 8, 8)
    from tests.kit.models import make_spec

    path = save_graph(tmp_path / "m.onnx", [node], [tensor("x", dims)], [tensor("y", dims)], spec=make_spec((8, 8)))
    with pytest.raises(
        ModelFileError, match=r"cannot open m.onnx \(opset 17\): node 'head' \(Nonsense\): the operator Nonsense is not"
    ):
        build_with(path, Device(driver=gpu))


FAILURES = [
    (
        "[x.cpp::y::9] Error Code 2: OutOfMemory (Requested size was 9 bytes.)",
        DeviceMemoryError,
        "OutOfMemory|Requested",
    ),
    ("Error Code 1: Cuda Runtime (an illegal memory access was encountered)", DeviceLost, "illegal memory access"),
    (
        "(cudaError 35: CUDA driver version is insufficient for CUDA runtime version)",
        BackendUnavailable,
        "cudaError 35",
    ),
    ("(cudaError 100: no CUDA-capable device is detected)", BackendUnavailable, "shows no GPU"),
    ("Error Code 10: Internal Error (Could not find any implementation for node conv1.)", ModelFileError, "node conv1"),
]


@each_release
@pytest.mark.parametrize(("said", "error", "match"), FAILURES)
def test_what_the_library_says_becomes_an_error_of_its_kind(monkeypatch, gpu, tmp_path, release, said, error, match):
    fake = install(monkeypatch, release, gpu)
    fake.fails["build"] = said
    with pytest.raises(error, match=match) as caught:
        build_with(identity_model(tmp_path / "m.onnx"), Device(driver=gpu))
    assert str(caught.value).startswith(f"{TITLES[release]} cannot build a plan of m.onnx for ")
    assert ".cpp" not in str(caught.value)


# --- opening


@each_release
def test_a_plan_of_another_version(monkeypatch, gpu, tmp_path, release):
    fake = install(monkeypatch, release, gpu)
    content = build_with(identity_model(tmp_path / "m.onnx"), Device(driver=gpu)).content
    fake.__version__ = "77.7.7"
    with pytest.raises(PlanError, match=r"cannot open m.plan: (Version tag|it was built with another version).*again"):
        load().open(content, "m.plan")


@pytest.mark.parametrize(
    ("bit", "error", "says"),
    [
        ("UNSUPPORTED_CC", BackendUnavailable, "built for other GPUs, or the library does not support this one"),
        ("MALFORMED_ENGINE", PlanError, "damaged"),
        ("OLD_CUDA_DRIVER", BackendUnavailable, "driver is too old"),
        ("INSUFFICIENT_GPU_MEMORY", DeviceMemoryError, "too little memory"),
    ],
)
def test_what_tensorrt_for_rtx_finds_in_a_plan(monkeypatch, gpu, tmp_path, bit, error, says):
    fake = install(monkeypatch, "rtx", gpu)
    content = build_with(identity_model(tmp_path / "m.onnx"), Device(driver=gpu)).content
    fake.fails["validity"] = bit
    with pytest.raises(error, match=says):
        load().open(content, "m.plan")


@pytest.mark.parametrize("release", ["10", "11"])
def test_cpu_code_in_a_plan_must_be_allowed(monkeypatch, gpu, tmp_path, release):
    install(monkeypatch, release, gpu)
    options = BuildOptions(version_compatible=True)
    content = build_with(identity_model(tmp_path / "m.onnx"), Device(driver=gpu), options).content
    with pytest.raises(PlanError, match="host code"):
        load().open(content, "m.plan")
    assert load().open(content, "m.plan", host_code=True) is not None


# --- words


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (
            "IBuilder::buildSerializedNetwork: Error Code 4: Internal Error (kOPT values for profile 0 violate shape "
            "constraints: node_of_s0: dimensions not compatible. In operator() at /_src/runtime/shapeMachine.cpp:640 "
            "In evaluateShapeChecks at /_src/optimizer/common/shapeCompiler.cpp:1375)",
            "kOPT values for profile 0 violate shape constraints: node_of_s0: dimensions not compatible",
        ),
        ("ModelImporter.cpp:140: While parsing node number 0 [Conv]:", ""),
        (
            "[checkMacros.cpp::catchCudaError::250] Error Code 1: Cuda Runtime (In catchCudaError at /_src/c.cpp:250 "
            "(cudaError 35: CUDA driver version is insufficient for CUDA runtime version))",
            "cudaError 35: CUDA driver version is insufficient for CUDA runtime version",
        ),
        ("plain words", "plain words"),
    ],
)
def test_places_in_source_code_are_left_out(message, says):
    assert clean(message) == says


def test_importing_the_package_imports_no_library():
    code = "import sys, ganlens.engine.backends.tensorrt; print([m for m in sys.modules if m.startswith('tensorrt')])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
