"""The GStreamer element ``ganlens``, and how GStreamer finds it.

GStreamer runs elements written in Python inside its own interpreter, the system's. The file that :func:`install` writes
into a folder of plugins adds this installation's packages to that interpreter's path, and takes the element from there.
"""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import tempfile
from pathlib import Path

from ..errors import BackendUnavailable, MediaError, reason
from ..files import replace_file

FILE = "ganlens_element.py"
PACKAGES = "gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-python3-plugin-loader python3-gst-1.0"
"""What Debian and Ubuntu call GStreamer with its loader for Python elements."""
FORGET = "rm ~/.cache/gstreamer-1.0/registry.*"
"""Removes what GStreamer remembers of its plugins; it looks again."""

_TEMPLATE = '''\
"""Lets GStreamer find the element "ganlens"; written by: engine gstreamer install."""

import site
import sys

PYTHON = {python!r}
PACKAGES = {packages!r}

if sys.version_info[:2] != PYTHON:
    raise ImportError(
        "ganlens is installed for Python %d.%d, but GStreamer runs its elements with Python %d.%d. Install ganlens for "
        "that one (python%d.%d -m venv) and run there: engine gstreamer install" % (PYTHON + sys.version_info[:2] * 2)
    )
before = list(sys.path)
for folder in PACKAGES:
    site.addsitedir(folder)  # its .pth files too
sys.path[:] = [folder for folder in sys.path if folder not in before] + before

from ganlens.engine.gstreamer.element import Ganlens

__gstelementfactory__ = ("ganlens", 0, Ganlens)
'''


def default_folder() -> Path:
    """The user's own folder of GStreamer plugins, which GStreamer searches without being told."""
    return Path.home() / ".gstreamer-1.0" / "plugins"


def install(folder: Path) -> Path:
    """Write the file by which GStreamer finds the element; an earlier one is replaced.

    Args:
        folder: of plugins; the file goes into ``python`` below it, where the loader for Python elements looks.

    Raises:
        MediaError: the file cannot be written, or is there and not ours.
    """
    path = folder / "python" / FILE
    if path.exists() and "engine gstreamer install" not in path.read_text(errors="replace"):
        raise MediaError(f"{path} is not of ganlens; it was left as it is. Give another folder with --folder.")
    packages = [entry for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")]
    packages = packages or site.getsitepackages()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(f"The folder {path.parent} cannot be made ({reason(error)}).") from error
    replace_file(path, _TEMPLATE.format(python=sys.version_info[:2], packages=packages))
    return path


def check(folder: Path) -> str:
    """Ask GStreamer for the element once it is installed; returns GStreamer's version.

    In a virtual environment that hides it (see :func:`hiding_environment`) the answer is for programs outside.

    Raises:
        BackendUnavailable: GStreamer or its loader for Python elements is missing, or the element does not load.
    """
    program = shutil.which("gst-inspect-1.0")
    if program is None:
        raise BackendUnavailable(
            f"GStreamer is not installed (no gst-inspect-1.0). On Debian and Ubuntu: apt install {PACKAGES}"
        )
    own = {**os.environ, "GST_PLUGIN_PATH": os.pathsep.join(filter(None, _searched(folder)))}

    def ask(argument: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run([program, argument], env=environment, capture_output=True, text=True, timeout=120)

    # In its registry GStreamer keeps what it found, and does not say twice what is wrong.
    with tempfile.TemporaryDirectory() as scratch:
        new = {**own, "GST_REGISTRY": str(Path(scratch, "registry")), "PATH": path_without_environments()}
        found = ask("ganlens", new)
        if found.returncode != 0:
            if ask("python", new).returncode != 0:
                raise BackendUnavailable(
                    f"GStreamer has no loader for Python elements. On Debian and Ubuntu: apt install {PACKAGES}"
                )
            said = [line for line in found.stderr.splitlines() if "Error" in line]
            why = said[-1].strip() if said else "gst-inspect-1.0 ganlens finds nothing"
            raise BackendUnavailable(f"GStreamer does not load the element: {why}")
        version = ask("--version", new).stdout.splitlines()
    # To ask in an environment that hides it would make GStreamer remember that there is nothing.
    if hiding_environment() is None and ask("ganlens", own).returncode != 0:
        raise BackendUnavailable(f"GStreamer remembers that it found no element. Let it look again: {FORGET}")
    return version[-2] if len(version) > 1 else "GStreamer"


def hiding_environment() -> Path | None:
    """The active virtual environment, if GStreamer's Python, which takes it for its own, finds no PyGObject in it."""
    python = shutil.which("python3")
    if python is None or not _is_environment(Path(python).parents[1]):
        return None
    has = subprocess.run([python, "-c", "import gi"], capture_output=True, timeout=60).returncode == 0
    return None if has else Path(python).parents[1]


def path_without_environments() -> str:
    """PATH without virtual environments."""
    folders = os.environ.get("PATH", "").split(os.pathsep)
    return os.pathsep.join(folder for folder in folders if not _is_environment(Path(folder).parent))


def _is_environment(folder: Path) -> bool:
    return (folder / "pyvenv.cfg").is_file()


def _searched(folder: Path) -> list[str]:
    """What GST_PLUGIN_PATH must name for a folder to be searched."""
    given = os.environ.get("GST_PLUGIN_PATH", "")
    return [given] if folder == default_folder() else [str(folder), given]
