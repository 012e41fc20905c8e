"""Who imports whom in the engine: no circles, imports inside functions included, and floors that know none above."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import ganlens.engine

ROOT = Path(ganlens.engine.__file__).parent
MODULES = {
    ".".join(("engine", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in ROOT.rglob("*.py")
}


def imports(node: ast.AST, package: list[str]) -> Iterator[str]:
    """The modules of the engine that code imports when it runs, not only for types."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.ImportFrom) and child.level:
            base = ".".join([*package[: len(package) - child.level + 1], *([child.module] if child.module else [])])
            for alias in child.names:
                yield f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base
        yield from imports(child, package)


GRAPH = {
    name: {
        found
        for found in imports(
            ast.parse(path.read_text()), name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
        )
        if found in MODULES and found != name
    }
    for name, path in MODULES.items()
}


def test_there_is_no_circle() -> None:
    assert "engine.ways.host" in GRAPH["engine.ways.opening"], "the test sees imports"
    try:
        TopologicalSorter(GRAPH).prepare()
    except CycleError as error:
        pytest.fail(f"modules import each other: {' <- '.join(error.args[1])}")


def floors() -> dict[str, int]:
    """Part of the engine → its floor, from the table in docs/architecture.md."""
    text = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (`.*`) \|$", text, re.MULTILINE)
    return {part: int(floor) for floor, parts in rows for part in re.findall(r"`(\w+)`", parts)}


def part(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_parts_import_from_the_floors_below() -> None:
    floor = floors()
    assert floor.keys() == {part(name) for name in GRAPH} - {""}, "each part is in the table"
    wrong = [
        f"{name} imports {found}"
        for name, all_found in GRAPH.items()
        for found in all_found
        if part(name) and part(found) and part(name) != part(found)
        if floor[part(found)] >= floor[part(name)] > 0 or floor[part(found)] > floor[part(name)] == 0
    ]
    assert not wrong


def test_the_translator_stays_small() -> None:
    tree = ast.parse(MODULES["engine.translator"].read_text())
    (found,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Translator")
    assert found.end_lineno is not None and found.end_lineno - found.lineno < 200, (
        "see engine/ways for what it is made of"
    )
