"""Hostile and odd media: refused with the reason, or kept with a word about what changed."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from ganlens.engine import Frame, FrameFormat, open_sink, open_source, read_image
from ganlens.engine.cli.log import LogThatMayClose
from ganlens.engine.errors import MediaError, OptionError
from ganlens.engine.media import RawSource, limits
from ganlens.engine.media.color_profile import read_profile

Image = pytest.importorskip("PIL.Image")
ImageCms = pytest.importorskip("PIL.ImageCms")
P3 = {b"rXYZ": (0.5151, 0.2412, -0.0011), b"gXYZ": (0.2920, 0.6922, 0.0419), b"bXYZ": (0.1571, 0.0666, 0.7841)}


def srgb_profile() -> bytes:
    return bytes(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())


def wide_profile() -> bytes:
    profile = bytearray(srgb_profile())
    for index in range(struct.unpack_from(">I", profile, 128)[0]):
        tag, at, _ = struct.unpack_from(">4sII", profile, 132 + 12 * index)
        if tag in P3:
            profile[at + 8 : at + 20] = b"".join(struct.pack(">i", round(value * 65536)) for value in P3[tag])
    return bytes(profile)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_a_wide_profile_is_converted(tmp_path: Path, suffix: str) -> None:
    picture = Image.new("RGB", (64, 64), (200, 120, 80))
    options = {"lossless": True} if suffix == ".webp" else {"quality": 100} if suffix == ".jpg" else {}
    picture.save(tmp_path / f"in{suffix}", icc_profile=wide_profile(), **options)
    notes: list[str] = []
    pixel = read_image(tmp_path / f"in{suffix}", notes).planes[0][9, 9].astype(int)
    right = ImageCms.profileToProfile(
        picture, ImageCms.ImageCmsProfile(io.BytesIO(wide_profile())), ImageCms.createProfile("sRGB")
    ).getpixel((9, 9))
    assert np.abs(pixel - right).max() <= 2 and len(notes) == 1 and "to sRGB" in notes[0]


@pytest.mark.parametrize(
    "profile", [srgb_profile(), b"", b"\0" * 200, wide_profile()[:100]], ids=["srgb", "none", "0", "cut"]
)
def test_other_profiles_change_nothing(tmp_path: Path, profile: bytes) -> None:
    Image.new("RGB", (8, 8), (200, 120, 80)).save(tmp_path / "in.png", icc_profile=profile)
    notes: list[str] = []
    assert read_image(tmp_path / "in.png", notes).planes[0][3, 3].tolist() == [200, 120, 80] and notes == []


def test_a_profile_of_noise_is_survived() -> None:
    random = np.random.default_rng(0)
    whole = bytearray(wide_profile())
    for _ in range(500):
        noise = bytearray(whole)
        for at in random.integers(128, len(noise), 8):
            noise[at] = random.integers(256)
        read_profile(bytes(40) + bytes(noise))


@pytest.mark.parametrize("compression", ["jpeg", "tiff_lzw", "tiff_deflate", "packbits", None])
def test_tiff_compressions(tmp_path: Path, compression: str | None) -> None:
    Image.new("RGB", (64, 64), (90, 120, 30)).save(tmp_path / "in.tif", compression=compression)
    if compression == "jpeg":
        with pytest.raises(MediaError, match="TIFF with JPEG compression"):
            read_image(tmp_path / "in.tif")
    else:
        assert read_image(tmp_path / "in.tif").planes[0][5, 5].tolist() == [90, 120, 30]


@pytest.mark.parametrize(("alpha", "lost"), [(255, False), (200, True)])
@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_only_what_is_transparent_is_lost(tmp_path: Path, suffix: str, alpha: int, lost: bool) -> None:
    Image.new("RGBA", (64, 64), (200, 120, 80, alpha)).save(tmp_path / f"in{suffix}")
    notes: list[str] = []
    read_image(tmp_path / f"in{suffix}", notes)
    assert any("alpha" in note for note in notes) == lost


def test_a_picture_that_claims_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (200, 100)).save(tmp_path / "in.png")
    monkeypatch.setenv("GANLENS_LARGEST", "19999")
    with pytest.raises(MediaError, match="200x100 pixels, more than 19999.*GANLENS_LARGEST=20000"):
        read_image(tmp_path / "in.png")
    monkeypatch.setenv("GANLENS_LARGEST", "20000")
    read_image(tmp_path / "in.png")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.ts\n#EXT-X-ENDLIST\n"),
        ("list.ffconcat", "ffconcat version 1.0\nfile other.ts\n"),
        ("list.mp4", "ffconcat version 1.0\nfile list.mp4\n"),
    ],
)
def test_playlists_are_not_followed(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(MediaError, match="is a playlist"):
        open_source(tmp_path / name)


def test_named_pipes_do_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    for opener in (open_source, read_image):
        with pytest.raises(MediaError, match="named pipe or a device"):
            opener(tmp_path / "pipe.mp4")


@pytest.mark.parametrize(
    "fields", ["W4 H4 F1e999999999:1", "W4 H4 F1:1e99999", "W4 H4 A1e9:1", "W99999999 H4", f"W{'9' * 900} H4", "W4 H-4"]
)
def test_piped_headers_out_of_bounds(fields: str) -> None:
    with pytest.raises(MediaError, match="header of the piped video"):
        RawSource(io.BytesIO(f"YUV4MPEG2 {fields}\n".encode()))


def test_a_closed_log_falls_silent() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    log = LogThatMayClose(os.fdopen(writer, "w"))
    for _ in range(3):
        assert log.write("a line\n") == 7
        log.flush()
    log.close()
    nothing = LogThatMayClose(None)
    assert nothing.write("x") == 1
    nothing.close()


def test_errors_leave_no_leak_warnings(tmp_path: Path) -> None:
    code = (
        "from ganlens.engine import *; from ganlens.engine._kernels import Prepare\n"
        "import numpy as np\n"
        "frame = Frame.from_rgb(np.zeros((8, 8, 3), np.uint8)); frame.to_rgb()\n"
        "kept = Prepare(format='rgb24', frame_size=(8, 8), region=(0.0, 0.0, 8.0, 8.0), size=(8, 8), matrix='bt709', "
        "full_range=True, siting='left', value_range=(0.0, 1.0), bgr=False)\n"
        "import builtins; builtins.kept = kept\n"
        "raise SystemExit(3)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 3 and result.stderr == ""


# --- allow-lists and limits -------------------------------------------------------------------------------------------


def clip_of(path: Path, codec: str, pixels: str = "yuv420p", size: tuple[int, int] = (64, 48)) -> Path:
    with av.open(str(path), "w") as output:
        video = output.add_stream(codec, rate=25)
        video.width, video.height = size
        video.pix_fmt = pixels
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), 60 * number, np.uint8))
            output.mux(video.encode(frame))
        output.mux(video.encode())
    return path


def test_rare_decoders_and_formats_are_allowed_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rare = clip_of(tmp_path / "rare.avi", "cljr", "yuv411p", (64, 48))
    with pytest.raises(MediaError, match="decoder 'cljr'.*--allow cljr"):
        open_source(rare)
    monkeypatch.setenv("GANLENS_ALLOW", "cljr")
    with open_source(rare) as source:
        assert len(list(source)) == 3
    monkeypatch.setenv("GANLENS_UNTRUSTED", "1")
    with pytest.raises(MediaError, match="decoder 'cljr'.*GANLENS_UNTRUSTED"):
        open_source(rare)


@pytest.mark.parametrize(("name", "codec"), [("a.mxf", "mpeg2video"), ("a.nut", "mpeg4"), ("b.avi", "wmv2")])
def test_untrusted_files_are_of_common_formats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, codec: str
) -> None:
    clip = clip_of(tmp_path / name, codec)
    with open_source(clip) as source:
        assert len(list(source)) == 3
    monkeypatch.setenv("GANLENS_UNTRUSTED", "1")
    monkeypatch.setenv("GANLENS_ALLOW", f"mxf,nut,{codec}")
    with pytest.raises(MediaError):
        open_source(clip)
    with open_source(clip_of(tmp_path / "c.mp4", "libx264")) as source:
        assert len(list(source)) == 3


@pytest.mark.parametrize("size", [(16400, 16), (16, 16400)])
def test_frames_that_are_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]) -> None:
    clip = clip_of(tmp_path / "long.mkv", "ffv1", size=size)
    with pytest.raises(MediaError, match="at most 16384.*--allow large"):
        open_source(clip)
    monkeypatch.setenv("GANLENS_ALLOW", "large")
    with open_source(clip) as source:
        assert next(iter(source)).size == size[::-1]


def test_names_to_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANLENS_ALLOW", "cljr")
    limits.allow(["concat", "large"])
    assert limits.allowed() == ["cljr", "concat", "large"] and limits.may_decode("cljr")
    with pytest.raises(OptionError, match="no format or decoder"):
        limits.allow(["mp5"])
    monkeypatch.setenv("GANLENS_ALLOW", "")
    for wrong in ("many", "-1", "9" * 40, "1e9"):
        monkeypatch.setenv("GANLENS_LARGEST", wrong)
        with pytest.raises(OptionError, match="expected a number of pixels"):
            limits.largest()


def test_files_that_were_read_leave_no_pictures(tmp_path: Path) -> None:
    """A circle of references would hold pictures of megabytes until the garbage collector happens to run."""
    clip = clip_of(tmp_path / "c.mp4", "libx264")

    def pictures() -> int:
        return sum(issubclass(type(found), av.VideoFrame) for found in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = pictures()
        for number in range(5):
            with open_source(clip) as source:
                if number % 2:
                    next(iter(source))
                else:
                    list(source)
        del source
        assert pictures() <= before
    finally:
        gc.enable()


class Blocked:
    """Stands for a call into libav that does not come back: it tells that it was entered, and waits."""

    def __init__(self) -> None:
        self.entered, self.over = threading.Event(), threading.Event()
        self.closed = 0

    def wait(self, *_: object) -> Iterator[None]:
        self.entered.set()
        self.over.wait(60)
        return iter(())

    demux = encode = wait

    def close(self) -> None:
        self.closed += 1

    def inside(self, work: Callable[[], object]) -> threading.Thread:
        """A thread whose work has arrived in the call."""
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        assert self.entered.wait(60)
        return thread


def test_a_source_is_not_freed_while_a_thread_reads_it(tmp_path: Path) -> None:
    source = open_source(clip_of(tmp_path / "c.mp4", "libx264"))
    container, blocked = source._container, Blocked()
    source._decoded, source._waiting = (row for _ in (0,) for row in blocked.wait()), None
    source._container = blocked

    def read() -> None:
        with contextlib.suppress(MediaError):  # there are fewer frames than the file states
            list(source)

    thread = blocked.inside(read)
    source.close()
    assert blocked.closed == 0
    blocked.over.set()
    thread.join(60)
    source.close()
    assert blocked.closed == 1
    container.close()


def test_a_sink_is_not_freed_while_a_thread_writes_to_it(tmp_path: Path) -> None:
    format = FrameFormat((48, 64), "rgb24", Fraction(25), Fraction(1, 25))
    sink = open_sink(tmp_path / "o.mp4", format)
    frame = Frame.from_rgb(np.zeros((48, 64, 3), np.uint8))
    sink.write(frame)
    output, blocked = sink._output, Blocked()
    blocked.codec_context = sink._stream.codec_context
    sink._stream = sink._output = blocked
    thread = blocked.inside(lambda: sink.write(frame))
    sink.abort()
    assert blocked.closed == 0 and list(tmp_path.iterdir()) == []
    blocked.over.set()
    thread.join(60)
    output.close()
