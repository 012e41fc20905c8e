"""Calls that fail at a chosen number, and the command that must survive it."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from ganlens.engine import files
from ganlens.engine.cli import main
from ganlens.engine.media.file import sink as sinks
from ganlens.engine.media.file.source import VideoSource
from tests.kit.models import invert_model
from tests.kit.streams import check_video

FRAMES = 6


class Fuse:
    """Counts calls, and fails at one of them."""

    def __init__(self, number: int | None, error: Callable[[], BaseException]) -> None:
        self.calls = 0
        self._number = number
        self._error = error
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            self.calls += 1
            now = self.calls == self._number
        if now:
            raise self._error()


class Proxy:
    """An object some of whose methods run a fuse first."""

    def __init__(self, real: Any, fuse: Fuse, *names: str) -> None:
        self.__dict__.update(_real=real, _fuse=fuse, _names=names)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if name not in self._names:
            return found

        def call(*args: Any, **options: Any) -> Any:
            self._fuse()
            return found(*args, **options)

        return call

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._real, name, value)

    def __enter__(self) -> Proxy:
        self._real.__enter__()
        return self

    def __exit__(self, *error: Any) -> Any:
        return self._real.__exit__(*error)


class Input(Proxy):
    """An open file whose packets run a fuse."""

    def demux(self, *streams: Any) -> Iterator[Any]:
        for packet in self._real.demux(*streams):
            self._fuse()
            yield packet


def system(number: int) -> Callable[[], BaseException]:
    """An error of the system."""
    return lambda: OSError(number, os.strerror(number))


def library() -> BaseException:
    """An error of libav."""
    return av.error.FFmpegError(errno.EIO, "Input/output error")


def fails_open(patch: pytest.MonkeyPatch, fuse: Fuse) -> None:
    real = av.open

    def open_(*args: Any, **options: Any) -> Any:
        fuse()
        return real(*args, **options)

    patch.setattr(av, "open", open_)


def fails_create(patch: pytest.MonkeyPatch, fuse: Fuse) -> None:
    patch.setattr(files, "os", Proxy(os, fuse, "open"))


def fails_rename(patch: pytest.MonkeyPatch, fuse: Fuse) -> None:
    patch.setattr(files, "os", Proxy(os, fuse, "replace", "link"))


def fails_write(patch: pytest.MonkeyPatch, fuse: Fuse) -> None:
    real = files.PartialFile.__init__

    def init(partial: files.PartialFile, *args: Any, **options: Any) -> None:
        real(partial, *args, **options)
        partial.file = Proxy(partial.file, fuse, "write")  # type: ignore[assignment]

    patch.setattr(files.PartialFile, "__init__", init)


def fails_read(patch: pytest.MonkeyPatch, fuse: Fuse) -> None:
    real = av.open
    patch.setattr(
        av, "open", lambda file, mode="r", **o: (Input if mode == "r" else Proxy)(real(file, mode, **o), fuse)
    )


def fails_decode(patch: pytest.MonkeyPatch, fuse: Fuse) -> None:
    real = VideoSource._read_packets

    def packets(source: VideoSource) -> Iterator[Any]:
        for packet in real(source):
            yield None if packet is None else Proxy(packet, fuse, "decode")

    patch.setattr(VideoSource, "_read_packets", packets)


def fails_mux(patch: pytest.MonkeyPatch, fuse: Fuse) -> None:
    real = av.open
    patch.setattr(
        av, "open", lambda file, mode="r", **o: Proxy(real(file, mode, **o), fuse, "mux_one" if mode == "w" else "")
    )


def fails_finish(patch: pytest.MonkeyPatch, fuse: Fuse) -> None:
    real = av.open
    patch.setattr(
        av, "open", lambda file, mode="r", **o: Proxy(real(file, mode, **o), fuse, "close" if mode == "w" else "")
    )


def fails_encode(patch: pytest.MonkeyPatch, fuse: Fuse) -> None:
    real = sinks.VideoSink._add_video
    patch.setattr(sinks.VideoSink, "_add_video", lambda *args: Proxy(real(*args), fuse, "encode"))


def fails_run(patch: pytest.MonkeyPatch, fuse: Fuse) -> None:
    import onnxruntime

    for name in ("run", "run_with_iobinding"):
        real = getattr(onnxruntime.InferenceSession, name)

        def run(session: Any, *args: Any, _real: Any = real, **options: Any) -> Any:
            fuse()
            return _real(session, *args, **options)

        patch.setattr(onnxruntime.InferenceSession, name, run)


KINDS: dict[str, tuple[Callable[[pytest.MonkeyPatch, Fuse], None], Callable[[], BaseException]]] = {
    "open": (fails_open, library),
    "create": (fails_create, system(errno.EMFILE)),
    "read": (fails_read, library),
    "decode": (fails_decode, library),
    "run": (fails_run, lambda: RuntimeError("[ONNXRuntimeError] : 1 : FAIL : made up")),
    "encode": (fails_encode, library),
    "mux": (fails_mux, library),
    "write": (fails_write, system(errno.ENOSPC)),
    "finish": (fails_finish, library),
    "rename": (fails_rename, system(errno.EIO)),
}
"""What fails, and with which error."""


class Bench:
    """One short clip with sound, and the command that translates it over an older file.

    Args:
        folder: for its files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._clip = _make_clip(folder / "clip.mkv")
        self._model = invert_model(folder / "invert.onnx", None)
        self._output = folder / "out" / "video.mp4"
        self._output.parent.mkdir()
        status, text = self._translate()  # imports what is imported late
        assert status == 0, text
        self._old = self._output.read_bytes()
        self._threads = threading.active_count()

    def count(self, kind: str) -> int:
        """How many calls of a kind one run makes."""
        return self._run(kind, None)[0]

    def fail(self, kind: str, number: int) -> tuple[str, list[str]]:
        """Let the call of that number fail: "finished" or "refused", and what is wrong with it."""
        self._output.write_bytes(self._old)
        _, status, text = self._run(kind, number)
        problems = []
        if status not in (0, 1):
            problems.append(f"exit status {status}")
        if "Traceback" in text:
            problems.append(text[-2000:])
        left = sorted(path.name for path in self._output.parent.iterdir() if path != self._output)
        if left:
            problems.append(f"left behind: {', '.join(left)}")
        if not self._output.exists():
            problems.append("the old file is gone")
        elif status == 0 or "are kept" in text:
            problems += self._check(text)
        elif self._output.read_bytes() != self._old:
            problems.append("the old file was damaged")
        elif "error:" not in text:
            problems.append(f"no error is printed: {text!r}")
        if threading.active_count() > self._threads:
            problems.append(f"threads are left: {[thread.name for thread in threading.enumerate()]}")
            self._threads = threading.active_count()
        return ("finished" if status == 0 else "refused"), problems

    def _check(self, text: str) -> list[str]:
        try:
            frames = check_video(self._output)
        except (AssertionError, av.FFmpegError) as error:
            return [f"the output does not play: {error}"]
        dropped = sum(int(found) for found in re.findall(r"(\d+) frames? that cannot be decoded", text))
        if frames + dropped < FRAMES and "are kept" not in text and "cut off" not in text:
            return [f"{frames} frames of {FRAMES}, {dropped} reported as dropped: {text}"]
        return []

    def _run(self, kind: str, number: int | None) -> tuple[int, int, str]:
        install, error = KINDS[kind]
        fuse = Fuse(number, error)
        with pytest.MonkeyPatch.context() as patch:
            install(patch, fuse)
            status, text = self._translate()
        return fuse.calls, status, text

    def _translate(self) -> tuple[int, str]:
        """The command in this process: its exit status and what it prints."""
        text = io.StringIO()
        arguments = ["translate", self._clip, "-o", self._output, "-m", self._model, "--yes"]
        arguments += ["--framing", "native", "--backend", "cpu", "--in-flight", 1, "--threads", 1]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["engine", *map(str, arguments)])
            with contextlib.redirect_stderr(text), contextlib.redirect_stdout(text):
                try:
                    main()
                    status = 0
                except SystemExit as stop:
                    status = int(stop.code or 0)
                except BaseException as error:
                    traceback.print_exception(error, file=text)
                    status = 99
        return status, text.getvalue()


def _make_clip(path: Path) -> Path:
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=25, options={"g": "1", "crf": "20"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = output.add_stream("aac", rate=48000, layout="mono")
        for number in range(FRAMES):
            picture = np.full((48, 64, 3), 30 * number, np.uint8)
            output.mux(video.encode(av.VideoFrame.from_ndarray(picture)))
        output.mux(video.encode())
        for number in range(8):
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            samples.sample_rate, samples.pts, samples.time_base = 48000, 1024 * number, Fraction(1, 48000)
            output.mux(sound.encode(samples))
        output.mux(sound.encode())
    return path
