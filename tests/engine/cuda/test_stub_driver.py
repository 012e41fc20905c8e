"""The tests marked ``gpu`` for the device, the kernels and the pipeline, through the real cuda-bindings.

In place of NVIDIA's driver they find ``tests/fakes/stub_libcuda.cpp``. BINDINGS_FOLDERS may name folders with further
versions of cuda-bindings (``pip install --target``), separated by colons, as ``make test-cuda12`` does.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ganlens.engine.cuda import images, nvrtc
from tests.fakes.stub_driver import stub_environment
from tests.kit.own_process import ROOT, run_python

pytest.importorskip("cuda.bindings", reason="needs cuda-bindings")

FILES = ("cuda/test_device.py", "ways/test_gpu_kernels.py", "ways/test_gpu.py")
FOLDERS = ["", *filter(None, os.environ.get("BINDINGS_FOLDERS", "").split(os.pathsep))]
each_bindings = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: Path(folder).name or "installed")


def paths(folder: str) -> dict[str, str]:
    """An environment in which these bindings are found first, and their driver is the stub."""
    version = run_python("import cuda.bindings; print(cuda.bindings.__version__)", **python_path(folder))
    return {**stub_environment(version=int(version.split(".")[0]) * 1000), **python_path(folder)}


def python_path(folder: str) -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH"))))}


@each_bindings
def test_the_tests_for_a_gpu_pass_over_the_stub(folder: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "gpu", *(str(ROOT / "tests" / "engine" / file) for file in FILES)],
        env={**os.environ, **paths(folder), "REQUIRE_CUDA": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed and int(passed[1]) > 220, done.stdout[-500:]


@each_bindings
def test_a_gpu_is_listed_and_opened(folder: str) -> None:
    said = run_python(
        """
        from ganlens.engine.cuda import Device, list_devices
        print(*list_devices(), sep="; ")
        print(Device().upload(__import__("numpy").arange(3)).nbytes)
        """,
        **paths(folder),
    )
    assert said.splitlines() == ["GPU 0: Stub GPU, compute capability 9.0, 8.0 GiB", "24"]


@each_bindings
def test_opening_leaves_the_callers_context(folder: str) -> None:
    said = run_python(
        """
        import ctypes
        from ganlens.engine import backends
        from ganlens.engine.cuda import Device

        driver, current = ctypes.CDLL("libcuda.so.1"), ctypes.c_void_p()
        backends.open_auto = lambda *_: Device()
        for context in (None, 0xDD):
            driver.cuCtxSetCurrent(ctypes.c_void_p(context))
            backends.open_backend("starry")
            driver.cuCtxGetCurrent(ctypes.byref(current))
            print(current.value)
        """,
        **paths(folder),
    )
    assert said.split() == ["None", str(0xDD)]


def test_engine_backends_lists_the_gpus() -> None:
    said = run_python(
        """
        import sys
        from ganlens.engine.cli import main
        sys.argv = ["engine", "backends", *sys.argv[1:]]
        main()
        """,
        **stub_environment(capability=87, integrated=True),
        COLUMNS="120",
    )
    assert said.splitlines()[-1] == "GPU 0: Stub GPU, compute capability 8.7, 8.0 GiB shared with the host"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what a wheel built with NVRTC has beside the modules."""
    if not any(Path(entry, *nvrtc.PACKAGES[12]).is_dir() for entry in sys.path):
        pytest.skip("nvidia-cuda-nvrtc-cu12 is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    script = ROOT / "engine" / "cuda" / "build_images.py"  # not part of the package
    subprocess.run([sys.executable, str(script), str(folder / images.FOLDER)], check=True)
    return folder


@each_bindings
def test_the_wheels_code_is_loaded_without_nvrtc(folder: str, wheel: Path) -> None:
    said = run_python(
        """
        import ganlens.engine.cuda as cuda
        from ganlens.engine.cuda import compiler, nvrtc
        cuda.__path__.append(sys.argv[1])
        nvrtc.PACKAGES.clear()  # as if it were not installed
        print(compiler.load_kernels(cuda.Device()).kernel("prepare_float32").name)
        print(*[name for name in sys.modules if name.endswith("bindings.nvrtc")])
        """,
        str(wheel),
        **paths(folder),
    )
    assert said == "prepare_float32"


def test_a_driver_for_cuda_12_is_named_with_the_cure() -> None:
    """Bindings of 13 need a driver for 13."""
    if not run_python("import cuda.bindings; print(cuda.bindings.__version__)").startswith("13"):
        pytest.skip("the bindings here are not those of 13")
    said = run_python(
        """
        from ganlens.engine.cuda import Device
        from ganlens.engine.cuda.driver import install_with, installed_version
        try:
            Device()
        except Exception as error:
            print(error)
        print(installed_version(), *map(install_with, ("cuda", "tensorrt", "rtx")), sep="; ")
        """,
        **stub_environment(version=12060),
    )
    assert "it supports CUDA 12.6" in said and "pip install 'cuda-bindings<13'" in said
    assert said.splitlines()[-1] == "; ".join(
        ["(12, 6)", *(f"pip install 'ganlens[{extra}]'" for extra in ("cuda12", "tensorrt-cu12", "rtx-cu12"))]
    )


@pytest.mark.parametrize(
    ("integrated", "expected"),
    [
        (
            False,
            {
                "nv12 fit host": [1382656, 1382656, 0, 2],
                "nv12 crop host": [407040, 407040, 0, 2],
                "rgb24 fit host": [2765056, 2765056, 0, 2],
                "nv12 fit device": [0, 0, 0, 2],
            },
        ),
        (True, {"nv12 fit host": [0, 0, 0, 2], "nv12 crop host": [0, 0, 0, 2]}),
    ],
    ids=["own memory", "shared memory"],
)
def test_bytes_over_the_bus_for_a_frame(integrated: bool, expected: dict[str, list[int]]) -> None:
    """The table of docs/gpu.md: bytes from and to the host, within the device, and kernels, for a 720p frame."""
    environment = stub_environment(capability=87 if integrated else 90, integrated=integrated)
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("traffic.py")), *expected],
        env={**os.environ, **environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == expected
