"""The live filter with its page open in Chromium: delay against a bare WebSocket, goodput, CPU, switches; its start.

    python -m benchmarks.live --json out/bench/live.json                        # about three minutes
    python -m benchmarks.live --face-clip people.mp4                            # the face model on a clip with a face

Pictures of 640x480 come at 30 a second from memory. "Drawn" is from capture until the page's answer that it drew the
picture arrived here; the bare WebSocket sends the same pictures, encoded alike, to the same browser, without a session.
A start is the command, from when it is run until the first picture, and the first filtered one, are in its pipe sink.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil

from ganlens.engine.live.session import LiveSession, SessionOptions, freeze_when_ready
from ganlens.engine.live.statistics import Window
from ganlens.engine.live.web.broadcast import HEADER
from ganlens.engine.live.web.server import Address, WebServer
from ganlens.engine.media.base import FrameFormat, Notes
from ganlens.engine.media.live.encoding import H264Encoder
from ganlens.engine.media.pipe import RawSource
from ganlens.engine.media.synthetic import TestSource, frame_number
from ganlens.engine.pixels.frame import Frame

from . import results

ROOT = Path(__file__).parents[1]
SIZE = (480, 640)
RATE = 30
PERIOD_S = 1 / RATE
SETTLE_S = 2.0
SWITCHES = 20
STYLES = ("starry", "pastel", "wave", "comic")
"""More models than a session keeps open: each change among them opens one."""
STARTS = 7
PAGE_THREADS = ("page encoder", "web server")


def pictures(path: Path, count: int = 90) -> list[Frame]:
    """The first pictures of a clip, at 640x480."""
    made: list[Frame] = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            made.append(Frame.from_rgb(frame.reformat(SIZE[1], SIZE[0], "rgb24").to_ndarray()))
            if len(made) == count:
                break
    return made


class Paced:
    """A camera: pictures from memory, forth and back, exactly when they are due."""

    live, file, frames, monotonic = True, None, None, True

    def __init__(self, frames: list[Frame]) -> None:
        self.format = FrameFormat(SIZE, "rgb24", Fraction(RATE), Fraction(1, 1_000_000))
        self.notes = Notes()
        self._frames = [*frames, *frames[-2:0:-1]]
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        began = time.monotonic()
        number = 0
        while not self._closed.wait(max(0.0, began + number * PERIOD_S - time.monotonic())):
            picture = self._frames[number % len(self._frames)]
            due = Fraction(round((began + number * PERIOD_S) * 1_000_000), 1_000_000)
            yield Frame(picture.planes, picture.format, picture.color, due)
            number += 1

    def close(self) -> None:
        """End it."""
        self._closed.set()


class Kept(Window):
    """A window that also keeps every value, with its time."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[tuple[float, float]] = []

    def add(self, value: float = 1.0) -> None:
        """Note a value now."""
        self.all.append((time.monotonic(), value))
        super().add(value)

    def since(self, start: float) -> list[float]:
        """The values noted after ``start``."""
        return [value for at, value in self.all if at >= start]


def percentile(values: list[float], percent: float) -> float:
    """NaN without values."""
    return float(np.percentile(values, percent)) if values else float("nan")


def cpu_seconds(names: tuple[str, ...]) -> float:
    """CPU time of this process's threads whose names begin with one of ``names``."""
    wanted = {thread.native_id for thread in threading.enumerate() if thread.name.startswith(names)}
    return sum(t.user_time + t.system_time for t in psutil.Process().threads() if t.id in wanted)


class Live:
    """A session with its page open in a browser."""

    def __init__(self, browser: Any, frames: list[Frame], models: list[str], threads: int | None) -> None:
        options = SessionOptions(threads=threads)
        self.session = LiveSession(lambda: Paced(frames), models=models, options=options)
        self.drawn, self.model = Kept(), Kept()
        self.session.statistics.drawn, self.session.statistics.model = self.drawn, self.model
        self.shown: list[tuple[float, float]] = []
        """When each new picture was shown, and its age then."""
        self.session.view(self._note)
        self.server = WebServer(self.session, Address(port=0))
        self._browser = browser

    def _note(self, item: Any) -> None:
        if not item.stale:
            now = time.monotonic()
            self.shown.append((now, now - item.at))

    def __enter__(self) -> Live:
        freeze_when_ready(self.session)  # as engine live does
        self.session.start()
        self.server.start()
        self._page = self._browser.new_page()
        self._page.goto(self.server.url)
        self.wait(lambda: self.session.state()["model"]["state"] == "ready" and self.drawn.all)
        return self

    def __exit__(self, *_: object) -> None:
        self._page.close()
        self.session.stop()
        self.server.close()

    def pause(self, seconds: float) -> None:
        """Let it run; the browser needs this thread now and then."""
        self._page.wait_for_timeout(1000 * seconds)

    def wait(self, true: Callable[[], object], seconds: float = 60.0) -> None:
        """Wait for something to become true."""
        end = time.monotonic() + seconds
        while not true():
            if time.monotonic() > end:
                raise SystemExit(f"the session did not get ready: {self.session.state()['model']}")
            self.pause(0.05)


def measure_model(live: Live, seconds: float) -> dict[str, Any]:
    """Goodput, delay and the page's CPU while one model runs."""
    live.pause(SETTLE_S)
    start, cpu, drawn = time.monotonic(), cpu_seconds(PAGE_THREADS), len(live.drawn.all)
    live.pause(seconds)
    end = time.monotonic()
    shown = [(at, age) for at, age in live.shown if start <= at < end]
    on_time = sum(age <= 2 * PERIOD_S for _, age in shown)
    frames = max(1, len(live.drawn.all) - drawn)
    model = live.model.since(start)
    state = live.session.state()["model"]
    return {
        "fps": len(shown) / (end - start),
        "goodput": on_time / ((end - start) * RATE),
        "drawn_fps": frames / (end - start),
        "drawn_p50_ms": 1000 * percentile(live.drawn.since(start), 50),
        "drawn_p95_ms": 1000 * percentile(live.drawn.since(start), 95),
        "model_p50_ms": 1000 * percentile(model, 50),
        "model_p95_ms": 1000 * percentile(model, 95),
        "beyond_model_p95_periods": (percentile(live.drawn.since(start), 95) - percentile(model, 50)) / PERIOD_S,
        "page_cpu_ms": 1000 * (cpu_seconds(PAGE_THREADS) - cpu) / frames,
        "size": state["size"],
        "backend": state["backend"],
    }


def measure_switches(live: Live, names: list[str]) -> list[float]:
    """The longest gap between shown pictures around each of twenty changes of the model, in frame periods."""
    gaps = []
    for number in range(SWITCHES):
        name = names[(number + 1) % len(names)]
        start = time.monotonic()
        live.session.choose_model(name)
        live.wait(lambda name=name: live.session.state()["model"]["running"] == name)  # type: ignore[misc]
        live.pause(0.4)
        times = [at for at, _ in live.shown if at >= start - 2 * PERIOD_S]
        gaps.append(max(b - a for a, b in pairwise(times)) / PERIOD_S)
    return gaps


TEST = f"test:{SIZE[1]}x{SIZE[0]}@{RATE}"
COMMAND = [sys.executable, "-m", "ganlens.engine", "live", TEST, "--quiet"]


def fill_caches(model: str) -> None:
    """A session of a few seconds: which backend is faster, and the network that it compiled, are known from then on.

    Modules are compiled to bytecode in it, as they are where a package is installed.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(results.BENCH / "bytecode")
    subprocess.run([*COMMAND, "-o", "null:", "--model", model, "--web", "0", "--seconds", "5"], check=True)


def measure_start(model: str, page: bool) -> dict[str, float]:
    """Seconds from the command's start to the first picture in its pipe sink, and to the first one that is filtered."""
    command = [*COMMAND, "-o", "-", "--model", model, *([] if page else ["--no-web"])]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        originals = iter(TestSource(f"{TEST},seconds=inf"))
        first, number = float("nan"), -1
        try:
            for frame in RawSource(process.stdout):
                now = time.perf_counter() - began
                first = now if number < 0 else first
                wanted = frame_number(frame)
                while number < wanted:
                    original = next(originals)
                    number += 1
                if number != wanted or not np.array_equal(frame.planes[0], original.planes[0]):
                    return {"first_s": first, "filtered_s": now}
        finally:
            process.terminate()
    raise SystemExit("engine live ended before it filtered a picture")


ECHO_PAGE = """<!doctype html><canvas id=c></canvas><script>
const c = document.getElementById("c"), context = c.getContext("2d", { alpha: false, desynchronized: true });
const socket = new WebSocket(location.href.replace("http", "ws") + "ws"); socket.binaryType = "arraybuffer";
const waiting = [];
const decoder = new VideoDecoder({ error: console.error, output: frame => {
  if (c.width !== frame.displayWidth) { c.width = frame.displayWidth; c.height = frame.displayHeight; }
  context.drawImage(frame, 0, 0); frame.close(); socket.send(waiting.shift());
} });
let open = false;
socket.onmessage = ({ data }) => {
  const view = new DataView(data), key = view.getUint8(1) & 1;
  if (!open) { if (!key) return; decoder.configure({ codec: "CODEC", optimizeForLatency: true }); open = true; }
  const number = view.getUint32(8, true); waiting.push(String(number));
  const chunk = { type: key ? "key" : "delta", timestamp: 1000 * number, data: new Uint8Array(data, SKIP) };
  decoder.decode(new EncodedVideoChunk(chunk));
};
</script>"""


def measure_bare(browser: Any, frames: list[Frame], seconds: float) -> dict[str, float]:
    """Delay of the same pictures, encoded alike, over a bare WebSocket to the same browser."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.responses import HTMLResponse
    from starlette.routing import Route, WebSocketRoute
    from starlette.websockets import WebSocketDisconnect

    encoder = H264Encoder(SIZE)
    codec = encoder.encode(frames[0]).codec
    captured: dict[int, float] = {}
    delays: list[tuple[float, float]] = []

    async def page(_: Any) -> HTMLResponse:
        return HTMLResponse(ECHO_PAGE.replace("CODEC", codec).replace("SKIP", str(HEADER.size)))

    async def socket(socket: Any) -> None:
        await socket.accept()

        async def answers() -> None:
            with contextlib.suppress(WebSocketDisconnect):
                while True:
                    number = int(await socket.receive_text())
                    now = time.monotonic()
                    delays.append((now, now - captured.pop(number)))

        reading = asyncio.create_task(answers())
        encoder.force_key()
        source = Paced(frames)
        began = time.monotonic()
        for number in range(round((seconds + SETTLE_S) * RATE)):
            at = began + number * PERIOD_S
            await asyncio.sleep(max(0.0, at - time.monotonic()))
            picture = encoder.encode(source._frames[number % len(source._frames)])
            captured[number] = at
            header = HEADER.pack(1, picture.key, SIZE[1], SIZE[0], 0, number, 0.0)
            with contextlib.suppress(WebSocketDisconnect):
                await socket.send_bytes(header + picture.data)
        await asyncio.sleep(0.5)
        reading.cancel()
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # the page may be gone
            await socket.close()

    app = Starlette(routes=[Route("/", page), WebSocketRoute("/ws", socket)])
    config = uvicorn.Config(
        app, port=0, log_level="critical", ws="wsproto", ws_per_message_deflate=False, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="bare server", daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    view = browser.new_page()
    view.goto(f"http://127.0.0.1:{port}/")
    view.wait_for_timeout(1000 * (seconds + SETTLE_S + 1))
    view.close()
    server.should_exit = True
    thread.join(5)
    values = [delay for at, delay in delays if at >= delays[0][0] + SETTLE_S] if delays else []
    return {"p50_ms": 1000 * percentile(values, 50), "p95_ms": 1000 * percentile(values, 95), "n": len(values)}


def main() -> None:
    """Measure, and write the result."""
    parser = argparse.ArgumentParser(prog="benchmarks.live", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="starry", help="the style [starry]")
    parser.add_argument("--other", default="pastel", help="what is switched to and back [pastel]")
    parser.add_argument("--face-model", default="face")
    parser.add_argument("--face-clip", type=Path, help="a clip with a face; without it the face model is left out")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement [20]")
    parser.add_argument("--threads", type=int, help="CPU threads of the network [all cores]")
    parser.add_argument("--quick", action="store_true", help="short, to see that everything works")
    parser.add_argument("--json", type=Path, default=results.BENCH / "live.json")
    options = parser.parse_args()
    seconds = 4.0 if options.quick else options.seconds
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        raise SystemExit("Chromium is needed (apt install chromium), or name one in CHROMIUM.")
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        os.environ.setdefault("XDG_CONFIG_HOME", folder)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        frames = pictures(ROOT / "media" / "meadow.mp4")
        bare = [measure_bare(browser, frames, seconds / 2)]
        runs: dict[str, dict[str, Any]] = {}
        with Live(browser, frames, [options.model, options.other], options.threads) as live:
            runs[options.model] = measure_model(live, seconds)
            gaps = measure_switches(live, [options.model, options.other])
            opening_gaps = measure_switches(live, list(dict.fromkeys((options.model, *STYLES))))
        bare.append(measure_bare(browser, frames, seconds / 2))
        with Live(browser, frames, [options.model], options.threads) as live:
            live.session.set_controls(bypass=True)
            runs["no model"] = measure_model(live, seconds)
        if options.face_clip is not None:
            faces = pictures(options.face_clip)
            with Live(browser, faces, [options.face_model], options.threads) as live:
                live.session.set_controls(attributes={"smiling": 1.0})
                runs[options.face_model] = measure_model(live, seconds)
        browser.close()
    fill_caches(options.model)
    starts = {
        name: [measure_start(options.model, page) for _ in range(1 if options.quick else STARTS)]
        for name, page in (("page", True), ("no page", False))
    }
    filtered = {name: statistics.median(start["filtered_s"] for start in each) for name, each in starts.items()}
    reference = statistics.median(run["p95_ms"] for run in bare)
    good, opening_good = (sum(gap <= 2 for gap in each) for each in (gaps, opening_gaps))
    columns = ("", "size", "fps", "on time", "drawn p95", "model p50", "beyond, periods", "x bare", "page CPU")
    rows = [
        [
            name,
            "–" if name == "no model" or not run["size"] else f"{run['size'][0]}x{run['size'][1]}",
            round(run["fps"], 1),
            f"{100 * run['goodput']:.1f} %",
            f"{run['drawn_p95_ms']:.0f} ms",
            f"{run['model_p50_ms']:.1f} ms",
            round(run["beyond_model_p95_periods"], 2),
            round((run["drawn_p95_ms"] - run["model_p50_ms"]) / reference, 2),
            f"{run['page_cpu_ms']:.1f} ms",
        ]
        for name, run in runs.items()
    ]
    title = (
        f"engine live, 640x480 at 30 fps, page open in Chromium on the same machine; p95 of the bare WebSocket "
        f"{reference:.0f} ms; {good} of {SWITCHES} changes between two models with no gap above 2 periods (longest "
        f"{max(gaps):.1f}), {opening_good} of {SWITCHES} among {len(STYLES)} models, which each open one (longest "
        f"{max(opening_gaps):.1f}); first filtered picture {1000 * filtered['page']:.0f} ms after the command's start, "
        f"{1000 * filtered['no page']:.0f} ms with --no-web"
    )
    results.write(
        options.json,
        "live",
        title=title,
        columns=columns,
        rows=rows,
        settings={"model": options.model, "other": options.other, "seconds": seconds, "threads": options.threads or 0},
        details={
            "runs": runs,
            "bare": bare,
            "gaps_periods": gaps,
            "opening_gaps_periods": opening_gaps,
            "starts": starts,
        },
    )


if __name__ == "__main__":
    main()
