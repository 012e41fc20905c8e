"""engine live in a terminal: each key, typed on a real pseudo-terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import av
import pytest
from PIL import Image

from tests.kit.models import attribute_model, invert_model

pty = pytest.importorskip("pty", reason="needs a POSIX terminal")


class Terminal:
    """A program with a terminal of 80 columns around it."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self._handle, inner = pty.openpty()
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
        self.process = subprocess.Popen(
            command, stdin=inner, stdout=inner, stderr=inner, cwd=folder, env=environment, start_new_session=True
        )
        os.close(inner)
        os.set_blocking(self._handle, False)
        self.text = ""

    def type(self, keys: str) -> None:
        os.write(self._handle, keys.encode())

    def until(self, words: str, seconds: float = 30.0) -> None:
        """Read until ``words`` were shown since the last call."""
        end = time.monotonic() + seconds
        new = ""
        while words not in new:
            assert time.monotonic() < end, f"{words!r} was not shown:\n{self.text[-2000:]}"
            try:
                part = os.read(self._handle, 65536).decode("utf-8", "replace")
            except BlockingIOError:
                time.sleep(0.05)
                continue
            except OSError:  # Linux, when the program has ended
                raise AssertionError(f"it ended before {words!r}:\n{self.text[-2000:]}") from None
            new += part
            self.text += part

    def end(self, seconds: float = 20.0) -> int:
        deadline = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                self.text += os.read(self._handle, 65536).decode("utf-8", "replace")
            except OSError:
                time.sleep(0.05)
        code = self.process.poll()
        self.process.kill()
        self.process.wait()
        os.close(self._handle)
        assert code is not None, "it did not end"
        return code


def test_each_key(tmp_path):
    models = [invert_model(tmp_path / "invert.onnx", (16, 24)), attribute_model(tmp_path / "bright.onnx")]
    command = [str(Path(sys.executable).with_name("engine")), "live", "test:64x48@15", "--no-web", "--threads", "1"]
    command += [part for model in models for part in ("--model", str(model))]
    terminal = Terminal([*command, "--json", "state.json", "--backend", "cpu"], tmp_path)
    terminal.until("invert 24x16 on cpu")
    terminal.type("2")
    terminal.until("bright 24x16 on cpu")
    terminal.type("\x1b[C")
    terminal.until("brighter")
    terminal.type("\x1b[A\x1b[A\x1bOA")  # held down: three arrive at once; in application mode they are ESC O A
    terminal.until("30%")
    terminal.type("\x1b[D")
    terminal.until("strength")
    terminal.type("\x1b[B")
    terminal.until("90%")
    terminal.type("cmx")  # x means nothing
    terminal.type("s")
    terminal.until("saved")
    terminal.type("r")
    terminal.until("REC 0:01")
    terminal.type("r")
    terminal.until("recorded")
    terminal.type(" q")
    assert terminal.end() == 0, terminal.text
    state = json.loads((tmp_path / "state.json").read_text())
    controls = state["controls"]
    assert state["model"]["name"] == "bright"
    assert controls["attributes"] == {"brighter": 0.3} and controls["opacity"] == 0.9
    assert (controls["compare"], controls["mirror"], controls["bypass"]) == ("split", True, True)
    (picture,) = tmp_path.glob("*.png")
    with Image.open(picture) as image:
        assert image.size == (64, 48)
    (recording,) = (Path(name) for name in state["recordings"])
    with av.open(str(tmp_path / recording)) as container:
        assert sum(1 for _ in container.decode(video=0)) >= 5
