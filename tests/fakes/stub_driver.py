"""Builds the stub of NVIDIA's driver, and says in which environment a process finds it in place of the real one."""

from __future__ import annotations

import functools
import os
import subprocess
import sysconfig
import tempfile
from pathlib import Path

from tests.fakes.cuda import host_library

LIBRARIES = {
    "libcuda.so.1": "stub_libcuda.cpp",
    "libnvcuvid.so.1": "stub_video.cpp",
    "libnvidia-encode.so.1": "stub_video.cpp",
}


@functools.cache
def stub_folder(*, video: bool = False) -> Path:
    """A folder with libcuda.so.1, built with the system's compiler.

    Args:
        video: with the libraries of NVDEC and NVENC.
    """
    folder = Path(tempfile.mkdtemp(prefix="stub_driver"))
    compiler = (sysconfig.get_config_var("CXX") or "c++").split()[0]
    flags = ["-std=c++17", "-O1", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror"]
    for library in list(LIBRARIES)[: None if video else 1]:
        source = Path(__file__).with_name(LIBRARIES[library])
        out = ["-o", str(folder / library), f"-Wl,-soname,{library}", "-ldl"]
        subprocess.run([compiler, *flags, str(source), *out], check=True)
    return folder


def stub_environment(
    *, capability: int = 90, version: int = 13000, integrated: bool = False, video: bool = False
) -> dict[str, str]:
    """Variables with which a process finds a GPU that is the stub.

    Args:
        capability: 90 for 9.0.
        version: CUDA version of the driver, as 12060.
        integrated: the GPU shares the host's memory.
        video: it has NVDEC and NVENC.
    """
    path = os.pathsep.join(filter(None, (str(stub_folder(video=video)), os.environ.get("LD_LIBRARY_PATH"))))
    return {
        "LD_LIBRARY_PATH": path,
        "STUB_KERNELS": host_library()._name,
        "STUB_CAPABILITY": str(capability),
        "STUB_VERSION": str(version),
        "STUB_INTEGRATED": str(int(integrated)),
    }
