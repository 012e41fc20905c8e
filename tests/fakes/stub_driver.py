"""Builds stub_libcuda.cpp, and says in which environment a process finds it in place of NVIDIA's driver."""

from __future__ import annotations

import functools
import os
import subprocess
import sysconfig
import tempfile
from pathlib import Path

from tests.fakes.cuda import host_library


@functools.cache
def stub_folder() -> Path:
    """A folder with libcuda.so.1, built with the system's compiler."""
    folder = Path(tempfile.mkdtemp(prefix="stub_driver"))
    source = Path(__file__).with_name("stub_libcuda.cpp")
    compiler = (sysconfig.get_config_var("CXX") or "c++").split()[0]
    flags = ["-std=c++17", "-O1", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror", "-Wl,-soname,libcuda.so.1"]
    subprocess.run([compiler, *flags, str(source), "-o", str(folder / "libcuda.so.1"), "-ldl"], check=True)
    return folder


def stub_environment(*, capability: int = 90, version: int = 13000, integrated: bool = False) -> dict[str, str]:
    """Variables with which a process finds a GPU that is the stub.

    Args:
        capability: 90 for 9.0.
        version: CUDA version of the driver, as 12060.
        integrated: the GPU shares the host's memory.
    """
    path = os.pathsep.join(filter(None, (str(stub_folder()), os.environ.get("LD_LIBRARY_PATH"))))
    return {
        "LD_LIBRARY_PATH": path,
        "STUB_KERNELS": host_library()._name,
        "STUB_CAPABILITY": str(capability),
        "STUB_VERSION": str(version),
        "STUB_INTEGRATED": str(int(integrated)),
    }
