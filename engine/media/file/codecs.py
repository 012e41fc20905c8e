"""The video encoders and containers that are offered, and how they are asked for a quality."""

from __future__ import annotations

from typing import NamedTuple


class Encoder(NamedTuple):
    """How one codec is asked for a given quality."""

    library: str
    crf: int
    even_only: bool = False
    """Whether 4:2:0 pictures must have even sizes."""
    largest_crf: int = 51

    def options(self, crf: float | None, preset: str) -> dict[str, str]:
        """Options of the encoder; its presets other than x264's are steps of the same ladder."""
        quality = f"{self.crf if crf is None else crf:g}"
        speed = PRESETS.index(preset)  # 0 fastest … 8 slowest
        if self.library == "libvpx-vp9":
            return {"crf": quality, "b": "0", "deadline": "good", "cpu-used": str(max(0, 8 - speed)), "row-mt": "1"}
        if self.library == "libsvtav1":
            return {"crf": quality, "preset": str(min(13, 12 - speed))}
        if self.library == "ffv1":
            return {"level": "3", "slicecrc": "1"}
        if self.library.endswith("_nvenc"):
            if crf == 0:
                return {"preset": _NVENC_PRESETS[speed], "tune": "lossless"}
            # "cq" is a quality only where no bit rate is given; 0 would mean "as you like".
            constant = {"rc": "vbr", "cq": f"{max(float(quality), 1):g}", "b": "0"}
            return {"preset": _NVENC_PRESETS[speed], "tune": "hq", **constant}
        options = {"crf": quality, "preset": preset}
        # Closed groups of pictures, as the other encoders make them, so that a file can be cut before each key frame.
        return {**options, "x265-params": "log-level=error:open-gop=0"} if self.library == "libx265" else options


PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")
_NVENC_PRESETS = ("p1", "p2", "p3", "p4", "p4", "p5", "p6", "p7", "p7")

CODECS: dict[str, Encoder] = {
    "h264": Encoder("libx264", 20, even_only=True),
    "hevc": Encoder("libx265", 23, even_only=True),
    "vp9": Encoder("libvpx-vp9", 32, largest_crf=63),
    "av1": Encoder("libsvtav1", 32, even_only=True, largest_crf=63),
    "ffv1": Encoder("ffv1", 0),
}
"""Every codec by an encoder for the CPU."""

NVENC: dict[str, Encoder] = {
    "h264": Encoder("h264_nvenc", 20, even_only=True),
    "hevc": Encoder("hevc_nvenc", 23, even_only=True),
    "av1": Encoder("av1_nvenc", 32, even_only=True),
}
"""Those that GPUs encode; which of them, and at which sizes, only trying tells."""


class ContainerKind(NamedTuple):
    format: str
    codec: str
    audio: str
    subtitles: str
    """Encoders for sound and for text that the container cannot hold as they are."""


CONTAINERS: dict[str, ContainerKind] = {
    ".mp4": ContainerKind("mp4", "h264", "aac", "mov_text"),
    ".m4v": ContainerKind("mp4", "h264", "aac", "mov_text"),
    ".mov": ContainerKind("mov", "h264", "aac", "mov_text"),
    ".mkv": ContainerKind("matroska", "h264", "aac", "subrip"),
    ".webm": ContainerKind("webm", "vp9", "libopus", "webvtt"),
}
