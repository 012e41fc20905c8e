"""The container of the web demo, as far as it shows without Docker: what its Dockerfile copies, and what it starts."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
FILES = ["Dockerfile", "Dockerfile.cuda"]


def instructions(name: str) -> dict[str, list[str]]:
    """Instruction → its arguments, each time that it is given."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    found: dict[str, list[str]] = {}
    for word, rest in re.findall(r"^([A-Z]+) (.*)$", text, re.MULTILINE):
        found.setdefault(word, []).append(rest)
    return found


@pytest.mark.parametrize("name", FILES)
def test_what_the_package_is_made_of_is_copied(name: str) -> None:
    copied = {word for line in instructions(name)["COPY"] if "--from" not in line for word in line.split()[:-1]}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = {project["project"]["readme"], *project["project"]["license-files"], "pyproject.toml", "CMakeLists.txt"}
    needed |= set(project["tool"]["scikit-build"]["wheel"]["packages"].values())
    assert needed <= copied
    assert all((ROOT / path).exists() for path in copied)
    assert ("constraints.txt" in copied) >= ("constraints.txt" in " ".join(instructions(name)["RUN"]))
    extras = re.findall(r"'\.\[([a-z0-9,]+)\]'", " ".join(instructions(name)["RUN"]))
    assert extras and set(extras[0].split(",")) <= set(project["project"]["optional-dependencies"])


def test_the_page_is_served_to_those_who_have_the_token() -> None:
    pytest.importorskip("uvicorn", reason="the extra 'live' is not installed")
    program, arguments = (json.loads(instructions("Dockerfile")[word][-1]) for word in ("ENTRYPOINT", "CMD"))
    assert program == ["engine"]
    assert instructions("Dockerfile")["EXPOSE"] == [arguments[arguments.index("--web") + 1]]
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    arguments[arguments.index("--web") + 1] = str(port)
    command = [sys.executable, "-m", "ganlens.engine", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stderr is not None
            line = next(line for line in process.stderr if line.startswith("page"))
            token = line.rstrip().rstrip("/").rpartition("/")[2]
            assert len(token) > 20
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{token}/", timeout=20) as answer:
                assert answer.status == 200 and b"<html" in answer.read()
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20)
            refused.value.close()
            assert refused.value.code == 403
            process.send_signal(signal.SIGTERM)  # docker stop
            assert process.wait(timeout=10) == 0
        finally:
            process.kill()
