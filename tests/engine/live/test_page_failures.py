"""The page in a real browser when something fails: a decoder, the source; and a foreign page that knows the token."""

from __future__ import annotations

import http.server
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import pytest

from ganlens.engine.live.session import LiveSession, SessionOptions
from ganlens.engine.media.base import FrameFormat, Notes
from ganlens.engine.spec import SizeRule
from tests.kit import barcode
from tests.kit.models import identity_model, invert_model, make_spec

pytestmark = pytest.mark.browser

CAMERA_FRAMES = 150
WAIT_MS = 20_000


class Numbered:
    """A live source of numbered pictures."""

    live, file, frames = True, None, None

    def __init__(self, rate: int = 25) -> None:
        self.format = FrameFormat(barcode.SIZE, "rgb24", Fraction(rate), Fraction(1, rate))
        self.notes = Notes()
        self._rate, self._closed = rate, threading.Event()

    def __iter__(self) -> Iterator[Any]:
        number = 0
        while not self._closed.wait(1 / self._rate):
            yield barcode.frame(number, Fraction(number, self._rate))
            number += 1

    def close(self) -> None:
        self._closed.set()


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("models")
    spec = make_spec(None).model_copy(update={"size": SizeRule(preferred=barcode.SIZE)})
    made = [invert_model(folder / "invert.onnx", None, spec), identity_model(folder / "same.onnx", None, spec)]
    return [str(path) for path in made]


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    camera = barcode.write_y4m(tmp_path_factory.mktemp("camera") / "camera.y4m", CAMERA_FRAMES)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"),
            args=[
                "--use-fake-device-for-media-stream",
                "--use-fake-ui-for-media-stream",
                f"--use-file-for-fake-video-capture={camera}",
                "--no-sandbox",
                "--disable-gpu",
            ],
        )
        yield browser
        browser.close()


@pytest.fixture
def page(browser) -> Iterator[Any]:
    context = browser.new_context(accept_downloads=True)
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    yield page
    context.close()
    assert page.problems == []


def served(source: Callable[[], Any], models: list[str], folder: Any, **address: Any) -> tuple[LiveSession, Any]:
    from ganlens.engine.live.web.server import Address, WebServer

    options = SessionOptions(backend="cpu", threads=1, adaptive=False, record_folder=folder)
    session = LiveSession(source, models=models, options=options)
    return session, WebServer(session, Address(**{"port": 0, **address}))


@pytest.fixture
def live(models, tmp_path) -> Iterator[Any]:
    """A server of numbered pictures."""
    session, server = served(Numbered, models, tmp_path)
    with session, server:
        yield server


def visit(page: Any, url: str) -> None:
    """Open the page and note what it draws."""
    page.goto(url)
    until(page, "window.ganlens?.state")
    page.evaluate(barcode.READ)


def seen(page: Any) -> list[dict[str, Any]]:
    return page.evaluate("window.seen")


def until(page: Any, expression: str, seconds: float = WAIT_MS / 1000) -> None:
    """Wait until a JavaScript expression is true; asked from here, as the page's policy forbids eval in it."""
    end = time.monotonic() + seconds
    while not page.evaluate(f"Boolean({expression})"):
        assert time.monotonic() < end, f"{expression}: {page.evaluate(STATE)}"
        page.wait_for_timeout(50)


STATE = "JSON.stringify([window.seen?.at(-1), window.ganlens?.state?.source, window.ganlens?.state?.model])"


def wait_for(page: Any, condition: str) -> None:
    """Wait until a JavaScript condition on the last picture ``p`` and the state ``s`` holds."""
    until(page, f"(() => {{ const p = window.seen.at(-1), s = window.ganlens.state; return p && {condition}; }})()")


def test_a_browser_that_cannot_decode_h264_gets_jpeg(page, live):
    page.add_init_script("VideoDecoder.isConfigSupported = async () => ({ supported: false })")
    visit(page, live.url)
    wait_for(page, "p.inverted && window.ganlens.player.codec === 'jpeg'")


def test_a_wrong_token_and_a_foreign_page_are_refused(page, browser, models, tmp_path):
    session, server = served(Numbered, models, tmp_path, host="0.0.0.0")
    with session, server, ForeignSite() as elsewhere:
        own = f"127.0.0.1:{server.port}"
        assert page.goto(f"http://{own}/").status == 403
        assert page.goto(f"http://{own}/{'x' * 22}/").status == 403
        try_socket = """url => new Promise(done => {
          const socket = new WebSocket(url);
          socket.onmessage = () => done("open");
          socket.onclose = () => done("refused");
        })"""
        page.goto(f"http://{own}/{server.token}/")
        assert page.evaluate(try_socket, f"ws://{own}/{server.token}/ws") == "open"
        assert page.evaluate(try_socket, f"ws://{own}/ws") == "refused"
        page.goto(elsewhere)  # it knows the token, and is not the page
        assert page.evaluate(try_socket, f"ws://{own}/{server.token}/ws") == "refused"


def test_a_source_that_stops_is_said_and_marked(page, models, tmp_path):
    class Stopping(Numbered):
        def __iter__(self):
            for frame in super().__iter__():
                yield frame
                if frame.time > Fraction(1, 2):
                    self._closed.wait(60)
                    return

    session, server = served(Stopping, models, tmp_path)
    with session, server:
        visit(page, server.url)
        wait_for(page, "p.stale && s.source.state === 'stalled'")
        assert "stalled" in page.inner_text("#source-chip")
        page.wait_for_selector("#notice:not([hidden])")


class ForeignSite(http.server.ThreadingHTTPServer):
    """A page of another origin; entered, it gives its address."""

    def __init__(self) -> None:
        class Empty(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(b"<!doctype html><title>elsewhere</title>")

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Empty)

    def __enter__(self) -> str:  # type: ignore[override]
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
