"""Plain English in what users read: messages, help, docstrings and documentation.

The list holds phrases that read like a translation, each with the usual words. Comments and names are not checked.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("engine", "export", "train", "examples", "integrations")
OTHERS = ("benchmarks", "packaging", "studies", "tests")
PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "docs", "benchmarks", "integrations")

BANNED = {
    r"\bcame[;,] expected": "got …, expected …",
    r"; none came": "got none",
    r"\b(lies|lie) (in|on|at|outside|inside|beside|below|above|between|elsewhere|there)\b": "is",
    r"\bmust lie\b": "expected",
    r"\bat hand\b": "available",
    r"\bin hand\b": "current",
    r"\b[Ww]hoever\b": "name the subject",
    r"\b(no|some|any|every)body\b": "name the subject",
    r"\bwish(es|ed)?\b": "target, requested",
    r"\b(unless|when|if) told\b": "by default",
    r"\bnothing speaks against\b": "None if unknown",
    r"\brun of the network\b": "inference",
    r"\bmakes no (code|vp9|\{)": "does not support",
    r"\bseldom\b": "rarely",
    r"\baffair\b": "rephrase",
    r"\bwithout a word\b": "silently",
    r"\bto speak of\b": "rephrase",
}


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """The string literals of a module with spaces in them: messages, help and docstrings."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Strings that stand alone as a statement: docstrings, also those of fields and constants."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value


def modules() -> list[Path]:
    return [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


def pages() -> list[Path]:
    found: list[Path] = []
    for name in PAGES:
        path = ROOT / name
        found += sorted(path.rglob("*.md")) if path.is_dir() else [path] if path.exists() else []
    return found


def offences(text: str) -> list[str]:
    return [f"{match.group()!r}: {better}" for old, better in BANNED.items() if (match := re.search(old, text))]


def test_messages_and_docstrings() -> None:
    assert len(modules()) > 200
    found = [
        f"{path.relative_to(ROOT)}:{line}: {offence}"
        for path in modules()
        for line, text in strings(path)
        for offence in offences(text)
    ]
    assert not found, "\n".join(found)


def test_docstrings_do_not_begin_with_of() -> None:
    everywhere = [path for folder in (*FOLDERS, *OTHERS) for path in (ROOT / folder).rglob("*.py")]
    assert len(everywhere) > len(modules()) > 200
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text[:60]!r}"
        for path in everywhere
        for line, text in docstrings(path)
        if text.startswith("Of ")
    ]
    assert not found, "\n".join(found)


def test_documentation() -> None:
    assert len(pages()) > 15
    found = [
        f"{path.relative_to(ROOT)}:{number}: {offence}"
        for path in pages()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for offence in offences(line)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("text", ["threads = 0 came; expected 1", "no GPU was at hand", "it lies in the frame"])
def test_the_list_finds_what_it_is_for(text: str) -> None:
    assert offences(text)
