"""Compiles the kernels for every GPU into a folder; CMake runs it where NVRTC 12 is installed (see CMakeLists.txt).

    python build_images.py FOLDER       writes sm_*.cubin, compute_*.ptx and images.json
    python build_images.py --check      exits with 0 if the compiler is here

Code of CUDA 12 runs with drivers for 12 and newer. GPUs of later generations get PTX, which their driver compiles.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import images  # type: ignore[import-not-found]  # noqa: E402
import nvrtc  # type: ignore[import-not-found]  # noqa: E402

MAJOR = 12
"""The oldest that drivers in use know."""


def main(arguments: list[str]) -> int:
    """The command."""
    try:
        compiler = nvrtc.Nvrtc(newest=MAJOR)
    except nvrtc.NvrtcMissing:
        print("NVRTC 12 is not installed (pip install nvidia-cuda-nvrtc-cu12)", file=sys.stderr)
        return 1
    missing = sorted(set(images.TARGETS) - set(compiler.targets))
    if missing:
        print(f"NVRTC {compiler.version} does not support {missing}; install 12.9", file=sys.stderr)
        return 1
    if arguments == ["--check"]:
        return 0
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    digests = {}
    for name in (*(f"sm_{target}" for target in images.TARGETS), f"compute_{images.PTX_TARGET}"):
        content = images.compile_image(compiler, name)
        path = folder / images.file_name(name)
        path.write_bytes(content)
        digests[path.name] = hashlib.sha256(content).hexdigest()
    record = {"source": images.source_digest(), "nvrtc": list(compiler.version), "sha256": digests}
    (folder / images.RECORD).write_text(json.dumps(record, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
