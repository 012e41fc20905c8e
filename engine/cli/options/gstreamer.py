"""The options of ``engine gstreamer``'s commands."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

from . import option

Folder = Annotated[
    Path | None,
    option(
        "--folder",
        metavar="DIR",
        help="Folder of GStreamer plugins; default: the user's own, which GStreamer searches without being told. "
        "Others are named in GST_PLUGIN_PATH.",
    ),
]


@dataclasses.dataclass(frozen=True)
class GstreamerInstallOptions:
    """Let GStreamer find the element, and try whether it does.

    \b
    engine gstreamer install
    gst-launch-1.0 videotestsrc ! ganlens ! videoconvert ! autovideosink
    """

    folder: Folder = None


@dataclasses.dataclass(frozen=True)
class GstreamerPathOptions:
    """Print the folder of plugins that holds the element; status 1 if it is not installed."""

    folder: Folder = None
