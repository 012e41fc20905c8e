"""Bad input of engine live: one clear line, exit status 1, nothing left; and a server that strangers cannot harm."""

from __future__ import annotations

import base64
import contextlib
import errno
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from ganlens.engine.errors import MediaError
from ganlens.engine.live.session import LiveSession, SessionOptions
from ganlens.engine.media.live.camera import CameraSource
from ganlens.engine.media.synthetic import TestSource as SyntheticSource
from tests.kit.models import invert_model
from tests.kit.own_process import run_python

ENGINE = [sys.executable, "-c", "from ganlens.engine.cli import main; main()", "live"]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return str(invert_model(tmp_path_factory.mktemp("model") / "invert.onnx"))


def live(*arguments: object, folder: Path, **options: object) -> subprocess.CompletedProcess[str]:
    command = [*ENGINE, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder, **options)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["/dev/video77", "--no-web"], "There is no camera /dev/video77"),
        (["camera:77", "--no-web"], "There is no camera 77"),
        (["gopher://example/x"], "unknown scheme 'gopher:'"),
        (["nothing.mp4", "--no-web"], "no such file"),
        (["test:", "--no-web", "-o", "/dev/video77"], "modprobe v4l2loopback"),
        (["test:", "--no-web", "--record", "kept.mkv"], "kept.mkv exists; pass -y to overwrite it"),
        (["test:", "--web", "0.0.0.0:8000"], "add --host 0.0.0.0"),
        (["test:", "--web", "nonsense"], "expected PORT or HOST:PORT"),
        (["test:", "--cert", "a.pem"], "--cert and --key go together"),
        (["test:", "-o", "out.mkv", "--cert", "kept.mkv", "--key", "kept.mkv"], "The certificate cannot be used"),
        (["browser:", "--no-web"], "needs the page"),
    ],
)
def test_one_line_says_what_is_wrong(arguments, words, tmp_path, model):
    kept = tmp_path / "kept.mkv"
    kept.write_bytes(b"precious")
    done = live(*arguments, "--model", model, "--seconds", "5", folder=tmp_path)
    assert done.returncode in (1, 2), done.stderr
    assert words in done.stderr and "Traceback" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("error:")]) == 1
    assert kept.read_bytes() == b"precious" and [path.name for path in tmp_path.iterdir()] == ["kept.mkv"]


def test_a_taken_port_is_said(tmp_path, model):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = live("test:", "-o", "out.mkv", "--web", port, "--model", model, "--seconds", "5", folder=tmp_path)
    assert done.returncode == 1 and f"127.0.0.1:{port} cannot be listened on" in done.stderr
    assert "Choose another with --web" in done.stderr and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("package", "extra", "options"),
    [("uvicorn", "live", []), ("aiortc", "webrtc", ["--web-transport", "webrtc"])],
)
def test_a_missing_package_of_the_page_is_said_before_anything_begins(package, extra, options, tmp_path, model):
    pytest.importorskip("starlette", reason="needs the extra 'live'")
    code = f"import sys; sys.modules[{package!r}] = None; from ganlens.engine.cli import main; main()"
    command = [
        sys.executable,
        "-c",
        code,
        "live",
        "test:",
        "-o",
        "out.mkv",
        "--model",
        model,
        "--seconds",
        "5",
        *options,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 1 and f"--no-web leaves out, needs the package '{package}'" in done.stderr
    assert f"ganlens[{extra}]" in done.stderr and not list(tmp_path.iterdir())


def test_what_shows_is_imported_after_the_model_is_asked_for():
    code = "import sys, ganlens.engine.cli.live; print({'rich', 'starlette', 'uvicorn', 'ssl'} & set(sys.modules))"
    assert run_python(code) == "set()"


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EBUSY, "another program uses it"),
        (errno.EACCES, "usermod -aG video"),
        (errno.ENOTTY, "it is not a camera"),
    ],
)
def test_a_camera_that_cannot_be_opened_says_why(number, words, tmp_path, monkeypatch):
    device = tmp_path / "video0"
    device.touch()
    calls = []

    def refuse(*arguments, **options):
        calls.append(arguments)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(av, "open", refuse)
    with pytest.raises(MediaError, match=words):
        CameraSource(str(device))
    assert len(calls) == 1, "other settings do not help"


def test_the_filter_goes_on_when_the_disk_is_full(tmp_path, model):
    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))

    arguments = ["test:320x240@30", "--no-web", "--model", model, "--record", "out.mkv", "--seconds", "6"]
    done = live(*arguments, "--json", "state.json", folder=tmp_path, preexec_fn=small_disk)
    state = json.loads((tmp_path / "state.json").read_text())
    assert done.returncode == 1 and "out.mkv" in done.stderr and "Traceback" not in done.stderr
    assert state["recording"]["error"]
    assert state["counters"]["captured"] > 30 and state["source"]["state"] == "live"
    assert state["timing"]["fps_out"] > 2, "it filters to the end"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_what_was_recorded_plays_after_an_interrupt(how, tmp_path, model):
    command = [*ENGINE, "test:64x48@20", "--no-web", "--model", model, "--record", "out.mp4"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "on cpu" in line or "on openvino" in line:
            break
    time.sleep(1.5)
    process.send_signal(how)
    _, rest = process.communicate(timeout=30)
    assert "Traceback" not in rest
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) >= 10


# --- strangers at the server -----------------------------------------------------------------------------------------


@pytest.fixture
def server(model) -> Iterator[object]:
    pytest.importorskip("starlette", reason="needs the extra 'live'")
    from ganlens.engine.live.web.server import Address, WebServer

    options = SessionOptions(backend="cpu", threads=1, adaptive=False)
    session = LiveSession(lambda: SyntheticSource("test:64x48@20"), models=[model], options=options)
    with session, WebServer(session, Address(port=0)) as server:
        yield server


class Socket:
    """A WebSocket client that may be as rude as it likes."""

    def __init__(self, port: int) -> None:
        self.raw = socket.create_connection(("127.0.0.1", port), timeout=10)
        key = base64.b64encode(os.urandom(16)).decode()
        self.raw.sendall(
            f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            part = self.raw.recv(1)
            assert part, "the server closed the connection"
            head += part
        self.status = int(head.split()[1])

    def send(self, data: bytes, opcode: int = 1) -> None:
        """One frame."""
        length = len(data)
        if length < 126:
            head = bytes([0x80 | length])
        elif length < 1 << 16:
            head = struct.pack(">BH", 0x80 | 126, length)
        else:
            head = struct.pack(">BQ", 0x80 | 127, length)
        self.raw.sendall(bytes([0x80 | opcode]) + head + bytes(4) + data)

    def read(self) -> tuple[int, bytes]:
        """(opcode, content) of the next frame."""
        first, second = self._exactly(2)
        length = second & 127
        if length > 125:
            length = int.from_bytes(self._exactly(2 if length == 126 else 8), "big")
        return first & 15, self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.raw.recv(count - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def error(self) -> str:
        """The next message of type "error"."""
        while True:
            opcode, content = self.read()
            if opcode == 1 and json.loads(content)["type"] == "error":
                return str(json.loads(content)["message"])

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *_: object) -> None:
        self.raw.close()


def answers(server) -> bool:
    with urllib.request.urlopen(server.url + "api/state", timeout=10) as answer:
        return json.loads(answer.read())["source"]["state"] == "live"


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (b"garbage", "JSON object"),
        (b"[1, 2]", "JSON object"),
        (b'{"type": "format the disk"}', "unknown type"),
        (b'{"type": "patch"}', "not complete"),
        (b'{"type": "patch", "change": {"controls": {"opacity": "much"}}}', "expected a number"),
        (b'{"type": "patch", "change": {"model": "/etc/passwd"}}', "passwd"),
        (b'{"type": "drawn", "number": "x"}', "not complete"),
        (b'{"type": "video", "codec": "quicktime"}', "expected h264, jpeg or null"),
        (b'{"type": "' + b"x" * 70_000 + b'"}', "too long"),
    ],
)
def test_garbage_is_answered_and_the_page_goes_on(server, message, words):
    with Socket(server.port) as client:
        client.send(message)
        assert words in client.error()
        client.send(b'{"type": "video", "codec": "jpeg"}')
        while client.read()[0] != 2:  # pictures come
            pass


@pytest.mark.parametrize("data", [b"", b"\x00" * 11, os.urandom(4000), b"\x01\x01\x00\x00" + b"\xff" * 200])
def test_uploads_that_nobody_wants_are_ignored(server, data):
    with Socket(server.port) as client:
        client.send(data, opcode=2)
        client.send(b"garbage")
        assert "JSON object" in client.error()
    assert answers(server)


def test_a_message_that_is_too_large_ends_only_its_own_connection(server):
    with Socket(server.port) as client:
        with contextlib.suppress(OSError, EOFError):
            client.send(b"x" * (5 << 20), opcode=2)
            while client.read()[0] != 8:
                pass
        end = time.monotonic() + 10
        while server.clients:
            assert time.monotonic() < end, "the connection is still open"
            time.sleep(0.05)
    assert answers(server)


def test_a_hundred_clients(server):
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Socket(server.port)) for _ in range(100)]
        assert server.clients <= 16
        refused = 0
        for client in clients[16:]:
            with contextlib.suppress(EOFError):
                opcode, content = client.read()
                refused += opcode == 8 and b"16 pages are open" in content
        assert refused == 84
        for client in clients[:16]:
            assert client.read()[0] == 1, "those before them see the state"
        assert answers(server)
    end = time.monotonic() + 10
    while server.clients:
        assert time.monotonic() < end, "closed connections are forgotten"
        time.sleep(0.05)
    with Socket(server.port) as again:
        assert again.read()[0] == 1


@pytest.mark.parametrize(
    ("given", "opened"),
    [
        ("test:", "test:,seconds=inf"),
        ("test:64x48@5,live", "test:64x48@5,live,seconds=inf"),
        ("test:64x48@5,frames=9", "test:64x48@5,frames=9"),
        ("test:64x48@5,seconds=3", "test:64x48@5,seconds=3"),
        ("/dev/video3", "camera:/dev/video3"),
        ("clip.mp4", "clip.mp4"),
    ],
)
def test_a_test_picture_goes_on_as_a_camera_does(given, opened):
    from ganlens.engine.cli.live import source_of

    assert source_of(given) == opened
