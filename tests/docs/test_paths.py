"""Every file, folder and module that the documentation names exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *(
        path
        for folder in ("docs", "benchmarks", "integrations", "train")
        for path in sorted((ROOT / folder).rglob("*.md"))
    ),
]
FOLDERS = "benchmarks|docs|engine|examples|export|integrations|media|packaging|studies|tests|train"
PATH = re.compile(rf"(?<![\w./-])(?:{FOLDERS})/[\w./*-]*[\w/*]")
"""A path in code, relative to the repository; with a * for several."""
STANDS_FOR_MANY = re.compile(r"NAME")
MADE = ("api/", "commands.md")
"""Pages that make docs makes (packaging/site.py)."""


def code(text: str) -> Iterator[str]:
    """The inline code of a page: blocks hold commands on files of the reader."""
    for span in re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)):
        if not span.startswith(("engine ", "-", "$")):
            yield span


def missing(text: str, folder: Path) -> list[str]:
    """Paths in code, and links to files, that do not exist."""
    named = {path for span in code(text) for path in PATH.findall(span) if not STANDS_FOR_MANY.search(path)}
    links = {link for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text) if ":" not in link}
    links = {link for link in links if not link.removeprefix("../").startswith(MADE)}
    return sorted(
        {path for path in named if not any(ROOT.glob(path))} | {link for link in links if not (folder / link).exists()}
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_exists(page: Path) -> None:
    assert not missing(page.read_text(encoding="utf-8"), page.parent)


@pytest.mark.parametrize("text", ["`tests/engine/test_nothing.py`", "see [this](nowhere.md)", "in `engine/nowhere/…`"])
def test_what_is_missing_is_found(text: str) -> None:
    assert missing(text, ROOT)
