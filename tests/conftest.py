"""What all tests share: the folder of tiny models, and a memory of timings that is not the user's own."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # for "from tests.kit.models import …", however pytest was started
    sys.path.insert(0, str(ROOT))


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder for each test."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("GANLENS_CACHE", str(folder))
    return folder


@functools.cache
def cuda_devices() -> int:
    """NVIDIA GPUs that the driver reports."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    works = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    return count.value if works else 0


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests marked ``gpu`` without a GPU, unless the job says that there must be one."""
    if item.get_closest_marker("gpu") and not cuda_devices() and os.environ.get("REQUIRE_CUDA") != "1":
        pytest.skip("no NVIDIA GPU (REQUIRE_CUDA=1 makes this a failure)")
