"""Video files: decoded into frames in their own pixel format, and encoded again with everything else kept.

The only package that imports PyAV. Times are exact fractions, never frame rates: a video of variable rate stays one.

    with VideoSource("in.mp4") as source, VideoSink("out.mp4", source.format, origin=source) as sink:
        for frame in source:
            sink.write(frame)

What is kept: every frame and its time, every other stream's packets byte for byte (audio, subtitles, fonts, covers),
the colour description, the sample aspect ratio, chapters, titles and languages. What changes is said in ``notes``.

Known limits: Matroska and WebM store times in milliseconds and none below zero: where the priming of the sound begins
earlier, all streams move later by it, together; the siting of chroma samples is not exposed by PyAV and is
taken from the codec's default; interlaced pictures are handled as whole frames; AV1 is never decoded by NVDEC, because
PyAV takes dav1d for it.
"""

from .av_frames import VideoFrame
from .base import ColorTags, FileInfo, FrameFormat, FrameSink, FrameSource, Notes, StreamInfo
from .file.codecs import CODECS, CONTAINERS, NVENC, PRESETS
from .file.hardware import Coder
from .file.sink import VideoSink
from .file.source import VideoSource
from .pipe import RawSink, RawSource

__all__ = [
    "CODECS",
    "CONTAINERS",
    "NVENC",
    "PRESETS",
    "Coder",
    "ColorTags",
    "FileInfo",
    "FrameFormat",
    "FrameSink",
    "FrameSource",
    "Notes",
    "RawSink",
    "RawSource",
    "StreamInfo",
    "VideoFrame",
    "VideoSink",
    "VideoSource",
]
