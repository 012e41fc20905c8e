"""Hooks of MkDocs: pages made from the repository (commands, API, changes), and links from pages to repository files.

The README is the start page. A page may link to any file of the repository, as on a code host: pages become pages of
the site, other files are copied into it.
"""

from __future__ import annotations

import posixpath
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ROOT / "build" / "site" / "ganlens"
LINK = re.compile(r"(\]\()([^)#\s]+)((?:#[^)\s]*)?\))")
OUTSIDE = "files/"

PAGES = {"index.md": "README.md", "changelog.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md"}
"""Pages of the site that are files of the repository outside docs/."""

API = {
    "translate": (
        "Translate and generate",
        ["Translator", "Generator", "Framing", "FaceFraming", "Controls", "Settings", "Compositor", "StageTimes"],
    ),
    "media": (
        "Sources, sinks and sessions",
        [
            "Session", "Report", "Frame", "Color", "open_source", "open_sink", "VideoSource", "VideoSink", "RawSource",
            "RawSink", "read_image", "write_image", "FrameSource", "FrameSink", "FrameFormat", "FileInfo", "Notes",
            "prefetch", "Writer",
        ],
    ),
    "models": (
        "Models and backends",
        [
            "Model", "find_model", "read_spec", "GeneratorSpec", "open_backend", "available", "Backend", "Output",
            "FunctionBackend",
        ],
    ),
    "errors": (
        "Errors",
        [
            "EngineError", "OptionError", "ModelFileError", "UnknownModel", "ShapeError", "BackendUnavailable",
            "BackendError", "MissingExtra", "MediaError", "TrainingError",
        ],
    ),
}  # fmt: skip
"""Page → its title and the public names of ganlens.engine that it describes."""


def on_startup(**_: Any) -> None:
    """Make the folder of the packages: mkdocstrings ignores one that is not there when it starts."""
    PACKAGES.parent.mkdir(parents=True, exist_ok=True)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Lay the packages out by their import names, for mkdocstrings, which reads the sources and follows no links."""
    shutil.rmtree(PACKAGES, ignore_errors=True)
    for name in ("engine", "export", "train"):
        for source in (ROOT / name).rglob("*.py*"):
            if source.suffix in (".py", ".pyi"):
                target = PACKAGES / name / source.relative_to(ROOT / name)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(_as_markdown(source.read_text(encoding="utf-8")), encoding="utf-8")
    (PACKAGES / "__init__.py").touch()  # before the installed package, which has the compiled module alone
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made, and the files of the repository that pages link to."""
    for uri, path in PAGES.items():
        files.append(File.generated(config, uri, content=(ROOT / path).read_text(encoding="utf-8")))
    for uri, text in [*_api_pages(), ("commands.md", _commands())]:
        files.append(File.generated(config, uri, content=text))
    waiting = list(files.documentation_pages())
    while waiting:
        page = waiting.pop()
        for path in _linked(page):
            uri = _uri(path)
            if files.get_file_from_path(uri) is None and (ROOT / path).is_file():
                file = File.generated(config, uri, abs_src_path=str(ROOT / path))
                files.append(file)
                if file.is_documentation_page():
                    file.inclusion = file.inclusion.NOT_IN_NAV
                    waiting.append(file)
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Turn links between files of the repository into links between pages."""
    folder = posixpath.dirname(page.file.src_uri)

    def changed(match: re.Match[str]) -> str:
        path = _target(page.file, match[2])
        if path is None or not (ROOT / path).is_file():
            return match[0]
        return match[1] + posixpath.relpath(_uri(path), folder or ".") + match[3]

    return LINK.sub(changed, markdown)


def _as_markdown(source: str) -> str:
    """A module whose docstrings have Markdown in place of Sphinx's roles and bare sessions of the interpreter."""
    source = re.sub(r":\w+:`([^`<]+?) <[^`]+>`", r"`\1`", source)
    source = re.sub(r":(?:class|meth|func|mod|attr|data|exc):`~?\.*((?:[\w.]+\.)?(\w+))`", r"`\2`", source)
    lines: list[str] = []
    fenced = ""
    for line in source.splitlines():
        session = re.match(r"(\s*)>>> ", line)
        if fenced and not re.match(r"\s*(>>>|\.\.\.)", line):
            lines += [f"{fenced}```"]
            fenced = ""
        if session and not fenced:
            fenced = session[1] or " "
            lines += [f"{fenced}```python"]
        lines += [re.sub(r"(>>> |\.\.\. )", "", line, count=1) if fenced else line]
    return "\n".join(lines) + "\n"


def _path(uri: str) -> str | None:
    """The file of the repository behind a page; None for pages that are made."""
    if uri in PAGES:
        return PAGES[uri]
    if uri.startswith(OUTSIDE):
        return uri.removeprefix(OUTSIDE)
    return f"docs/{uri}" if (ROOT / "docs" / uri).exists() else None


def _uri(path: str) -> str:
    """Where a file of the repository is in the site."""
    for uri, source in PAGES.items():
        if path == source:
            return uri
    return path.removeprefix("docs/") if path.startswith("docs/") else OUTSIDE + path


def _target(file: File, link: str) -> str | None:
    here = _path(file.src_uri)
    if here is None or ":" in link:
        return None
    path = posixpath.normpath(posixpath.join(posixpath.dirname(here), link))
    return None if path.startswith("..") else path


def _linked(file: File) -> Iterator[str]:
    for match in LINK.finditer(file.content_string):
        path = _target(file, match[2])
        if path is not None:
            yield path


def _api_pages() -> Iterator[tuple[str, str]]:
    from ganlens import engine, export

    described = sorted(name for _, names in API.values() for name in names)
    if described != engine.__all__:
        raise ValueError(f"packaging/site.py: the API pages miss {set(engine.__all__) ^ set(described)}.")
    for page, (title, names) in API.items():
        blocks = [f"::: ganlens.engine.{engine._HOME[name]}.{name}" for name in names]
        text = "Import these names from `ganlens.engine`. They are public and stable."
        yield f"api/{page}.md", "\n\n".join([f"# {title}", text, *blocks]) + "\n"
    blocks = [f"::: ganlens.export.to_onnx.{name}" for name in export.__all__]
    yield "api/export.md", "\n\n".join(["# Export", "Import these names from `ganlens.export`.", *blocks]) + "\n"


def _commands() -> str:
    """The help of every command."""
    from ganlens.engine.cli import app

    parts = ["# Commands", "The text of `engine COMMAND --help`."]
    root = typer.main.get_command(app)
    assert isinstance(root, click.Group) or hasattr(root, "commands")
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        parts += _help(f"engine {name}", command, 2)
    return "\n\n".join(parts) + "\n"


def _help(title: str, command: Any, level: int) -> Iterator[str]:
    context = command.make_context(title, [], resilient_parsing=True, max_content_width=80, terminal_width=80)
    yield f"{'#' * level} {title}"
    yield f"```text\n{context.command.get_help(context)}\n```"
    for name, child in getattr(context.command, "commands", {}).items():
        yield from _help(f"{title} {name}", child, level + 1)


sys.path.insert(0, str(ROOT))
