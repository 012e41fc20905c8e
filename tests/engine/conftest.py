"""What the tests of the command line share."""

from __future__ import annotations

import sys

import pytest

from ganlens.engine.cli import main


@pytest.fixture
def engine(monkeypatch, capfd, tmp_path):
    """Runs the command in this process; gives (status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["engine", *map(str, arguments)])
        status = 0
        try:
            main()
        except SystemExit as stop:
            status = int(stop.code or 0)
        out, err = capfd.readouterr()
        return status, out, err

    return run


@pytest.fixture(autouse=True)
def check_videos(request, monkeypatch):
    """Checks every video that a test writes in this process."""
    if "engine.media" in sys.modules or "ganlens.engine.media.file.sink" in sys.modules:
        from tests.kit.streams import check_all

        check_all(monkeypatch)
