"""The live filter for an hour: losses of its source, a page that comes and goes; memory, threads and descriptors.

    python -m benchmarks.soak --minutes 60 --losses 50 --json benchmarks/results/soak.json
    python -m benchmarks.soak --minutes 2 --losses 5                    # a short one

Every loss must be over, with the connection "excellent" again, within five seconds of the source's return. Memory is
fitted by a line over the second half. Exit status 1 if a criterion fails.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from socket import SHUT_RDWR

import numpy as np
import psutil
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from ganlens.engine.errors import MediaError
from ganlens.engine.live.session import LiveSession, SessionOptions
from ganlens.engine.live.web.server import Address, WebServer
from ganlens.engine.media.synthetic import NullSink
from ganlens.engine.pixels.frame import Frame
from ganlens.engine.threads import share_heaps

from . import results
from .live import ROOT, Paced, pictures

BACK_S = 5.0
"""From the source's return to "excellent"."""
MOST_SLOPE = 0.1
"""Growth of the resident memory, in MB a minute."""
SAMPLE_S = 1.0


class Losable:
    """Opens a camera that can be taken away, in one of three ways, and refuses to open until it is back."""

    def __init__(self, frames: list[Frame]) -> None:
        self._frames = frames
        self.gone = threading.Event()
        self.how = "error"

    def open(self) -> Paced:
        """A source; MediaError while it is gone."""
        if self.gone.is_set():
            raise MediaError("the camera is gone.")
        return _Source(self._frames, self)


class _Source(Paced):
    def __init__(self, frames: list[Frame], camera: Losable) -> None:
        super().__init__(frames)
        self._camera = camera

    def __iter__(self) -> Iterator[Frame]:
        for frame in super().__iter__():
            if self._camera.gone.is_set():
                if self._camera.how == "error":
                    raise MediaError("the camera was taken away.")
                if self._camera.how == "end":
                    return
                while self._camera.gone.is_set() and not self._closed.wait(0.05):  # it says nothing, then goes on
                    pass
            yield frame


def come_and_go(address: str, stop: threading.Event) -> dict[str, int]:
    """A page that takes pictures for a while, closes well or badly, and comes again; returns what it counted."""
    random.seed(1)
    counts = {"visits": 0, "pictures": 0}
    while not stop.is_set():
        with contextlib.suppress(OSError, EOFError, ConnectionClosed), connect(address, max_size=None) as socket:
            counts["visits"] += 1
            socket.send(json.dumps({"type": "video", "codec": random.choice(["h264", "jpeg"])}))
            end = time.monotonic() + random.uniform(1, 8)
            while time.monotonic() < end and not stop.is_set():
                message = socket.recv(timeout=2)
                if isinstance(message, bytes):
                    counts["pictures"] += 1
                    number = int.from_bytes(message[8:12], "little")
                    socket.send(json.dumps({"type": "drawn", "number": number}))
            if random.random() < 0.3:
                socket.socket.shutdown(SHUT_RDWR)  # as a phone that leaves the network
        stop.wait(random.uniform(0.5, 4))
    return counts


def be_the_page(address: str) -> int:
    """The page's process: until standard input ends; then what it counted goes to standard output."""
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    print(json.dumps(come_and_go(address, stop)), flush=True)
    return 0


def main() -> int:
    """Run, print and write what was found."""
    parser = argparse.ArgumentParser(prog="benchmarks.soak", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--losses", type=int, default=50)
    parser.add_argument("--model", default="starry")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the network [1]")
    parser.add_argument("--json", type=Path, default=results.BENCH / "soak.json")
    parser.add_argument("--page", metavar="ADDRESS", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.page is not None:
        return be_the_page(options.page)

    share_heaps()  # as the command does
    camera = Losable(pictures(ROOT / "media" / "meadow.mp4", 60))
    session = LiveSession(camera.open, models=[options.model], options=SessionOptions(threads=options.threads))
    session.add_sink("null", lambda format: NullSink("null:", format))
    stop = threading.Event()
    process = psutil.Process()
    samples: list[tuple[float, float, int, int]] = []
    sizes: list[tuple[float, list[int] | None]] = []
    """When the network got which size: a larger one takes more memory, and is not a leak."""
    backs: list[float] = []
    unrecovered = 0

    def sample(began: float) -> None:
        while not stop.wait(SAMPLE_S):
            rss = process.memory_info().rss / 1e6
            size = session.state()["model"]["size"]
            if not sizes or sizes[-1][1] != size:
                sizes.append(((time.monotonic() - began) / 60, size))
            samples.append(((time.monotonic() - began) / 60, rss, process.num_threads(), process.num_fds()))

    with session, WebServer(session, Address(port=0)) as server:
        began = time.monotonic()
        # In a process of its own: its memory is not the filter's.
        address = f"ws://127.0.0.1:{server.port}/ws"
        command = [sys.executable, "-m", "benchmarks.soak", "--page", address]
        page = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        sampling = threading.Thread(target=sample, args=(began,))
        sampling.start()
        gap = 60 * options.minutes / (options.losses + 1)
        choose = random.Random(0)
        for number in range(options.losses):
            time.sleep(max(0.0, began + (number + 1) * gap - time.monotonic()))
            camera.how = choose.choice(["error", "end", "silence"])
            camera.gone.set()
            time.sleep(min(choose.uniform(0.3, 6.0), gap / 4))
            camera.gone.clear()
            returned = time.monotonic()
            captured = session.statistics.captured
            while time.monotonic() - returned < 30:
                source = session.state()["source"]
                fresh = session.statistics.captured > captured
                if fresh and source["state"] == "live" and source["connection"] == "excellent":
                    backs.append(time.monotonic() - returned)
                    print(f"loss {number + 1} ({camera.how}): back after {backs[-1]:.1f} s", flush=True)
                    break
                time.sleep(0.05)
            else:
                unrecovered += 1
                print(f"loss {number + 1} ({camera.how}): not back after 30 s", flush=True)
        time.sleep(max(0.0, began + 60 * options.minutes - time.monotonic()))
        counters = session.state()["counters"]
        stop.set()
        sampling.join(10)
        counts = json.loads(page.communicate(timeout=30)[0])

    times, rss, thread_counts, handles = (np.array(column) for column in zip(*samples, strict=True))
    later = times > times[-1] / 2
    slope = float(np.polyfit(times[later], rss[later], 1)[0])
    tenth = max(1, len(times) // 10)

    def levels(values: np.ndarray) -> tuple[int, int]:
        """The usual value in the second tenth and in the last."""
        return int(np.median(values[tenth : 2 * tenth])), int(np.median(values[-tenth:]))

    slowest = max(backs, default=float("nan"))
    criteria: dict[str, tuple[object, str, bool]] = {
        f"losses without recovery (of {options.losses})": (unrecovered, "0", unrecovered == 0),
        'slowest return to "excellent", s': (round(slowest, 1), f"{BACK_S:g}", slowest <= BACK_S),
        "memory, MB a minute, second half": (round(slope, 3), f"{MOST_SLOPE:g}", slope <= MOST_SLOPE),
    }
    for name, values in (("threads", thread_counts), ("descriptors", handles)):
        early, late = levels(values)
        criteria[f"{name}, early and late"] = (f"{early} and {late}", "2 more", late <= early + 2)
    results.write(
        options.json,
        "soak",
        title=f"engine live for {options.minutes:g} minutes: {counters['captured']} frames captured, "
        f"{counts['visits']} visits of a page, {counts['pictures']} pictures sent to it",
        columns=("", "measured", "limit", "met"),
        rows=[[name, str(value), limit, "yes" if met else "no"] for name, (value, limit, met) in criteria.items()],
        settings={name: getattr(options, name) for name in ("minutes", "losses", "model", "threads")},
        details={
            "returns_s": backs,
            "counters": counters,
            "minutes": times[::10].tolist(),
            "rss_mb": rss[::10].tolist(),
            "sizes": sizes,
        },
    )
    return 0 if all(met for *_, met in criteria.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
