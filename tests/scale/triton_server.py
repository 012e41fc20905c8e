"""The real Triton server, from the wheel nvidia-pytriton: unpacked, not installed, for it wants an old NumPy."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOST = "127.0.0.1"


def unpack(wheel: Path, folder: Path) -> Path:
    """Unpack the server with the stub for this Python; its folder."""
    with zipfile.ZipFile(wheel) as archive:
        names = [
            name for name in archive.namelist() if name.startswith(("pytriton/tritonserver/", "nvidia_pytriton.libs/"))
        ]
        archive.extractall(folder, names)
    server = folder / "pytriton" / "tritonserver"
    stub = server / "python_backend_stubs" / f"{sys.version_info.major}.{sys.version_info.minor}"
    for path in stub.iterdir():
        shutil.copy(path, server / "backends" / "python")
    for program in (server / "bin" / "tritonserver", server / "backends" / "python" / "triton_python_backend_stub"):
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return server


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class Server:
    """A running server."""

    def __init__(self, process: subprocess.Popen, http: int, grpc: int) -> None:
        self.process, self.http, self.grpc = process, http, grpc

    def post(self, path: str) -> None:
        """A request of the repository's API."""
        request = urllib.request.Request(f"http://{HOST}:{self.http}/{path}", b"{}", method="POST")
        urllib.request.urlopen(request, timeout=60).close()


@contextmanager
def running(server: Path, repository: Path, work: Path, grpc: int | None = None) -> Iterator[Server]:
    """Serve a repository on the loopback address until the end of the block."""
    http, grpc = free_port(), grpc or free_port()
    command = [
        str(server / "bin" / "tritonserver"),
        f"--model-repository={repository}",
        f"--backend-directory={server / 'backends'}",
        f"--http-address={HOST}",
        f"--http-port={http}",
        f"--grpc-address={HOST}",
        f"--grpc-port={grpc}",
        "--allow-metrics=false",
        "--disable-auto-complete-config",
        "--model-control-mode=explicit",
        "--load-model=*",
    ]
    # The server's Python finds its packages by the first python3 on the path, and heeds no other variable.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "OPENBLAS_NUM_THREADS": "1"}
    log = work / "server.log"
    with log.open("w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        end = time.monotonic() + 90
        while True:
            try:
                urllib.request.urlopen(f"http://{HOST}:{http}/v2/health/ready", timeout=2).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > end:
                    raise AssertionError(f"the server did not start: {log.read_text()[-3000:]}") from None
                time.sleep(0.2)
        yield Server(process, http, grpc)
    finally:
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
