"""Which formats are read, and how large pictures may be: every format and every megapixel is something to attack.

``GANLENS_ALLOW`` (``--allow`` on the command line) adds names of formats and decoders to those read by default; the
name ``large`` in it lifts the limits of size. ``GANLENS_UNTRUSTED=1`` leaves only the common ones, whatever is allowed.
"""

from __future__ import annotations

import fnmatch
import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import MediaError, OptionError, did_you_mean
from ..files import untrusted

LARGEST = 178_000_000
"""Pixels of a picture, by default: a file of kilobytes may claim gigabytes."""
LARGEST_FILE = 2**31
"""Bytes of a picture's file: it is read as a whole."""
LONGEST_SIDE = 16384
"""Rows or columns of a video's frames, by default."""
ALLOW = "GANLENS_ALLOW"
LARGE = "large"

_COMMON_FORMATS = """
    mov,mp4,m4a,3gp,3g2,mj2 matroska,webm avi mpegts flv ogg mjpeg gif apng yuv4mpegpipe image2
    png_pipe jpeg_pipe webp_pipe bmp_pipe tiff_pipe wav mp3 aac flac
"""
_FORMATS = """
    mpeg mpegvideo m4v h261 h263 h264 hevc vvc evc obu av1 ivf live_flv asf asf_o dv mxf gxf nut rm wtv vc1 vc1test
    dirac dnxhd cavsvideo avs2 avs3 mjpeg_2000 smjpeg mpjpeg amv nsv nuv ty flic smk bink roq film_cpk cine ser mlv pva
    tty ico dds_pipe dpx_pipe exr_pipe gem_pipe gif_pipe hdr_pipe j2k_pipe jpegls_pipe jpegxl_pipe jpegxl_anim pam_pipe
    pbm_pipe pcx_pipe pfm_pipe pgm_pipe pgmyuv_pipe pgx_pipe phm_pipe pictor_pipe ppm_pipe psd_pipe qdraw_pipe qoi_pipe
    sgi_pipe sunrast_pipe vbn_pipe xbm_pipe xpm_pipe xwd_pipe w64 ac3 eac3 aiff caf au
"""
"""Containers of one file. Playlists refer to other files; formats of games are untested."""
_COMMON_DECODERS = """
    h264 hevc av1 libdav1d vp8 vp9 libvpx libvpx-vp9 mpeg1video mpeg2video mpeg4 mjpeg ffv1 rawvideo png apng gif webp
    bmp tiff aac aac_latm ac3 eac3 mp2 mp2float mp3 mp3float flac alac opus libopus vorbis pcm_*
    ass ssa subrip srt mov_text webvtt text
"""
_DECODERS = """
    vvc mpegvideo msmpeg4 msmpeg4v* h261 h263 h263i h263p flv flv1 theora vp3 vp5 vp6 vp6a vp6f vp7 prores dnxhd cfhd
    ffvhuff huffyuv utvideo magicyuv v210 v210x v308 v408 v410 yuv4 r210 r10k dvvideo mjpegb jpeg2000 jpegls
    jpegxl* libjxl* dds exr hdr qoi dpx pam pbm pgm pgmyuv pgx ppm pfm phm pcx psd sgi sunrast targa xbm xpm xwd wbmp
    wmv1 wmv2 wmv3 vc1 svq1 svq3 cinepak indeo2 indeo3 indeo4 indeo5 rv10 rv20 rv30 rv40 qtrle rpza smc msvideo1 msrle
    8bps snow dirac cavs flashsv flashsv2 hap zmbv camtasia tscc2 cscd camstudio amv asv1 asv2 flic smackvid bink*
    roqvideo ansi fraps lagarith speedhq media100 nuv cyuv aura2 mlp truehd dca mp1 mp1float mp3adu* aac_fixed
    ac3_fixed wmav1 wmav2 wmapro wmalossless wmavoice adpcm_ima_* adpcm_ms adpcm_yamaha adpcm_swf adpcm_g7* amrnb amrwb
    libopencore_* gsm gsm_ms speex dvaudio wavpack tta s302m cook ra_144 ra_288 real_144 real_288 sipr nellymoser g722
    g726 atrac3 smackaud roq_dpcm binkaudio_* dvbsub dvdsub pgssub cc_dec xsub subrip jacosub microdvd sami stl
"""


def allowed() -> list[str]:
    """Names that are allowed in addition; none for untrusted input."""
    return [] if untrusted() else os.environ.get(ALLOW, "").replace(",", " ").split()


def allow(names: list[str]) -> None:
    """Allow formats and decoders for this process and those that it starts.

    Raises:
        OptionError: libav has none of a name.
    """
    import av

    for name in names:
        known = {part for full in av.formats_available for part in (full, *full.split(","))} | av.codecs_available
        if name != LARGE and name not in known:
            raise OptionError(
                f"--allow {name}: no format or decoder has that name. {did_you_mean(name, [*_words(_FORMATS), LARGE])}"
            )
    if names:
        os.environ[ALLOW] = ",".join([*allowed(), *names])


def formats() -> list[str]:
    """Demuxers that files are opened with."""
    return [*_words(_COMMON_FORMATS), *([] if untrusted() else _words(_FORMATS)), *allowed()]


def may_decode(name: str) -> bool:
    """Whether a decoder, by libav's name, may be used."""
    return name in _decodable(untrusted(), tuple(allowed()))


def decoders() -> str:
    """The decoders that :func:`may_decode`, in libav's notation; it uses them to look into a file."""
    return ",".join(sorted(_decodable(untrusted(), tuple(allowed()))))


@lru_cache(maxsize=8)
def _decodable(common_only: bool, more: tuple[str, ...]) -> frozenset[str]:
    """The decoders of this libav that may be used. Of each file it is asked twice, and libav has hundreds."""
    import av

    names = {*_words(_COMMON_DECODERS), *(() if common_only else _words(_DECODERS)), *more}
    patterns = [re.compile(fnmatch.translate(name)) for name in names if "*" in name]
    there = av.codecs_available
    return frozenset((names & there) | {name for name in there if any(each.match(name) for each in patterns)})


def check_decoder(path: Path, name: str) -> None:
    """Refuse a decoder that may not be used.

    Raises:
        MediaError: with the cure.
    """
    if not may_decode(name):
        raise MediaError(f"{path} needs the decoder '{name}', which is not used by default. {_cure(name)}")


def check_picture(path: Path, width: int, height: int, most: int | None = None) -> None:
    """Refuse a picture that would fill the memory; ``GANLENS_LARGEST`` is another number of pixels to allow.

    Args:
        most: pixels above which it is refused without a cure, whatever else is allowed.

    Raises:
        MediaError: with the cure.
    """
    if most is not None and width * height > most:
        raise MediaError(f"{path} has {width}x{height} pixels; at most {most} are allowed.")
    if width * height > largest():
        raise MediaError(
            f"{path} has {width}x{height} pixels, more than {largest()}. If you trust it, allow as many "
            f"with --allow {LARGE} or GANLENS_LARGEST={width * height}."
        )


def check_file(path: Path) -> None:
    """Refuse a picture whose file would fill the memory.

    Raises:
        MediaError: it is too large.
    """
    size = path.stat().st_size if path.is_file() else 0
    if size > LARGEST_FILE:
        raise MediaError(f"{path} has {size} bytes; expected at most {LARGEST_FILE} for a picture.")


def check_frame(path: Path, width: int, height: int) -> None:
    """Refuse frames of a video whose sides or area are above the limits.

    Raises:
        MediaError: with the cure.
    """
    if max(width, height) > LONGEST_SIDE and LARGE not in allowed():
        raise MediaError(
            f"{path} has frames of {width}x{height}; expected at most {LONGEST_SIDE} rows and columns. {_cure(LARGE)}"
        )
    check_picture(path, width, height)


def largest() -> int:
    """Most pixels of a picture or a frame.

    Raises:
        OptionError: ``GANLENS_LARGEST`` is not a number.
    """
    given = os.environ.get("GANLENS_LARGEST", "")
    if untrusted():
        return LARGEST
    if given and not (given.isascii() and given.isdigit() and len(given) <= 12):
        raise OptionError(f"GANLENS_LARGEST is '{given}'; expected a number of pixels, such as {LARGEST}.")
    return 2**31 - 1 if LARGE in allowed() else int(given or LARGEST)


def decoder_options() -> dict[str, Any]:
    """Options for a decoder of frames, whose size may change in the middle of a stream."""
    return {"max_pixels": str(largest())}


def _cure(name: str) -> str:
    if untrusted():
        return "GANLENS_UNTRUSTED is set, so it cannot be allowed."
    return f"If you trust the file, allow it with --allow {name}."


def _words(text: str) -> list[str]:
    """Formats are named by all their names together, or by one of them."""
    return text.replace(",", " ").split()
