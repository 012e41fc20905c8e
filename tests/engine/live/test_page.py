"""The page in a real browser: a made camera through Chromium and the server back to the canvas, pixels read there.

The page's Content-Security-Policy forbids ``eval``, which Playwright waits with: the tests switch it off.
"""

from __future__ import annotations

import os
import re
import shutil
import statistics
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ganlens.engine.live.presets import Presets
from ganlens.engine.live.session import LiveSession, SessionOptions
from ganlens.engine.media import VideoSource
from ganlens.engine.media.live.browser import BrowserSource
from ganlens.engine.media.picture_codec import decode_still
from ganlens.engine.media.uri import open_source
from tests.kit.models import identity_model, invert_model

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome") or ""
WIDTH, HEIGHT, RATE = 320, 240, 20
TEST = f"test:{WIDTH}x{HEIGHT}@{RATE},seconds=inf,live"
BITS = 6
"""A frame's number is written in so many black or white squares along its upper edge, lowest bit first."""
SIDE = 32

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def playwright() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def camera_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the browser's camera shows: grey 60, and the frame's number as squares."""
    path = tmp_path_factory.mktemp("camera") / "camera.y4m"
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F{RATE}:1 Ip A1:1 C420jpeg\n".encode())
        for number in range(1 << BITS):
            luma = np.full((HEIGHT, WIDTH), 60, np.uint8)
            for bit in range(BITS):
                luma[:SIDE, bit * SIDE : (bit + 1) * SIDE] = 235 if number >> bit & 1 else 16
            file.write(b"FRAME\n" + luma.tobytes() + b"\x80" * (WIDTH * HEIGHT // 2))
    return path


@pytest.fixture(scope="module")
def browser(playwright: Any, camera_file: Path) -> Iterator[Any]:
    arguments = [
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={camera_file}",
    ]
    running = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments, chromium_sandbox=False)
    yield running
    running.close()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("models")
    return [str(invert_model(folder / "invert.onnx", None)), str(identity_model(folder / "same.onnx", None))]


def make_session(models: list[str], source: Callable[[], Any], folder: Path) -> LiveSession:
    options = SessionOptions(backend="cpu", threads=1, adaptive=False, record_folder=folder)
    return LiveSession(source, models=models, options=options, presets=Presets(folder / "presets.json"))


def browser_camera() -> BrowserSource:
    return BrowserSource(size=(HEIGHT, WIDTH), rate=RATE)


@pytest.fixture
def served(models: list[str], tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A session on the browser's camera, or on a test picture, and its server, perhaps with WebRTC."""
    from ganlens.engine.live.web.server import Address, WebServer

    asked = getattr(request, "param", "camera")
    source = (lambda: open_source(TEST)) if asked == "test" else browser_camera
    transport: Any = "webrtc" if asked == "webrtc" else "socket"
    with make_session(models, source, tmp_path) as session, WebServer(session, Address(port=0), transport) as server:
        yield server


@pytest.fixture
def page(browser: Any, served: Any) -> Iterator[Any]:
    context = browser.new_context(
        bypass_csp=True, permissions=["camera"], accept_downloads=True, viewport={"width": 1100, "height": 800}
    )
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(served.url)
    yield page
    context.close()
    assert problems == [], "errors of the page's scripts"


def start_camera(page: Any) -> None:
    page.click("#start-camera")
    page.wait_for_function("window.ganlens.player.drawn > 3", timeout=20_000)


GREY = """() => {
  const canvas = document.getElementById("picture"), context = canvas.getContext("2d");
  return context.getImageData(canvas.width / 2, canvas.height * 0.7, 1, 1).data[0];
}"""


def until_grey(page: Any, low: int, high: int) -> None:
    """Wait for the middle of the canvas to have a level."""
    page.wait_for_function(
        f"(() => {{ const level = ({GREY})(); return level >= {low} && level <= {high}; }})()", timeout=20_000
    )


WATCH = """(seconds) => new Promise(done => {
  const { player, camera } = window.ganlens, seen = [];
  const canvas = document.getElementById("picture"), context = canvas.getContext("2d");
  const drawn = ({ detail }) => {
    const row = context.getImageData(0, 16, canvas.width, 1).data;
    let number = 0;
    for (let bit = 0; bit < 6; bit += 1) if (row[4 * (bit * 32 + 16)] > 128) number |= 1 << bit;
    seen.push([number, camera.delayOf(detail.time)]);
  };
  player.addEventListener("drawn", drawn);
  setTimeout(() => { player.removeEventListener("drawn", drawn); done(seen); }, 1000 * seconds);
})"""


def test_the_camera_goes_through_the_model_and_back_in_order_without_growing_delay(page: Any) -> None:
    start_camera(page)
    until_grey(page, 180, 210)  # 255 - 60, and what two lossy codecs change
    seen = page.evaluate(WATCH, 6)
    codes = [(1 << BITS) - 1 - number for number, _ in seen]  # the model inverts the squares too
    steps = [(now - before) % (1 << BITS) for before, now in pairwise(codes)]
    assert len(seen) > 6 * RATE / 4, "most frames of a loaded machine arrive"
    assert sum(step > (1 << BITS) // 2 for step in steps) == 0, "no frame is shown after a later one"
    delays = [delay for _, delay in seen if delay is not None]
    assert len(delays) > len(seen) / 2
    third = len(delays) // 3
    first, last = statistics.median(delays[:third]), min(delays[-third:])  # a queue that grows delays every frame
    assert last <= 1.5 * first + 1000 / RATE, f"the delay grew from {first:.0f} to {last:.0f} ms"


def test_slider_model_bypass_and_compare_change_the_pixels(page: Any, served: Any) -> None:
    start_camera(page)
    until_grey(page, 180, 210)
    page.locator("#slider-opacity").fill("0")
    until_grey(page, 50, 75)
    page.click("#reset")
    until_grey(page, 180, 210)
    page.click('.model[data-name="same"]')
    until_grey(page, 50, 75)
    page.keyboard.press("1")
    until_grey(page, 180, 210)
    page.evaluate("document.activeElement.blur()")  # else the space bar chooses the model whose button was clicked
    page.keyboard.press("Space")
    until_grey(page, 50, 75)
    page.keyboard.press("Space")
    until_grey(page, 180, 210)
    page.click('#compare [data-value="split"]')
    page.wait_for_function(
        "(() => { const c = document.getElementById('picture'), x = c.getContext('2d');"
        " const at = share => x.getImageData(share * c.width, c.height * 0.7, 1, 1).data[0];"
        " return at(0.2) < 90 && at(0.8) > 160; })()",
        timeout=20_000,
    )
    assert served._session.state()["controls"]["compare"] == "split"


def test_snapshot_and_recording_are_files_that_open(page: Any, tmp_path: Path) -> None:
    start_camera(page)
    until_grey(page, 180, 210)
    with page.expect_download() as download:
        page.click("#snapshot")
    picture = tmp_path / "snapshot.png"
    download.value.save_as(picture)
    pixels = decode_still(picture, [])
    assert pixels.shape == (HEIGHT, WIDTH, 3) and 180 <= pixels[HEIGHT * 7 // 10, WIDTH // 2, 0] <= 210
    page.click("#record")
    page.wait_for_function("window.ganlens.state.recording.seconds >= 1", timeout=20_000)
    assert page.inner_text("#rec-badge").startswith("REC")
    page.click("#record")
    link = page.wait_for_selector("#files a", timeout=20_000)
    with page.expect_download() as download:
        link.click()
    video = tmp_path / "recording.mp4"
    download.value.save_as(video)
    with VideoSource(video) as source:
        levels = [int(frame.planes[0][HEIGHT * 7 // 10, WIDTH // 2]) for frame in source]
    assert len(levels) >= RATE // 4 and 160 <= statistics.median(levels) <= 225


@pytest.mark.parametrize("served", ["test"], indirect=True)
def test_jpeg_where_the_browser_has_no_webcodecs(browser: Any, served: Any) -> None:
    context = browser.new_context(bypass_csp=True)
    context.add_init_script("delete window.VideoDecoder; delete window.VideoEncoder;")
    page = context.new_page()
    page.goto(served.url)
    page.wait_for_function("window.ganlens.player.drawn > 5", timeout=20_000)
    assert page.evaluate("window.ganlens.player.codec") == "jpeg"
    context.close()


def test_a_camera_without_webcodecs_sends_jpeg(browser: Any, served: Any) -> None:
    context = browser.new_context(bypass_csp=True, permissions=["camera"])
    context.add_init_script("delete window.VideoEncoder;")
    page = context.new_page()
    page.goto(served.url)
    start_camera(page)
    until_grey(page, 180, 210)
    context.close()


@pytest.mark.parametrize("served", ["webrtc"], indirect=True)
def test_webrtc_brings_the_pictures_in_order_and_changes_are_seen(page: Any, served: Any) -> None:
    start_camera(page)
    until_grey(page, 175, 215)
    assert page.evaluate("window.ganlens.player.codec") == "webrtc"
    assert served._state()["pages"]["webrtc"] == 1 and served._broadcast.encoded == 0
    codes = [(1 << BITS) - 1 - number for number, _ in page.evaluate(WATCH, 4)]
    steps = [(now - before) % (1 << BITS) for before, now in pairwise(codes)]
    assert len(codes) > 4 * RATE / 4, "most frames of a loaded machine arrive"
    assert sum(step > (1 << BITS) // 2 for step in steps) == 0, "no frame is shown after a later one"
    page.locator("#slider-opacity").fill("0")
    until_grey(page, 45, 80)
    page.wait_for_function("Number(document.getElementById('delay').textContent) > 0", timeout=20_000)


@pytest.mark.parametrize("served", ["webrtc"], indirect=True)
def test_where_webrtc_is_blocked_pictures_come_by_the_socket_and_the_page_says_so(browser: Any, served: Any) -> None:
    context = browser.new_context(bypass_csp=True, permissions=["camera"])
    context.add_init_script(
        "RTCPeerConnection.prototype.setRemoteDescription = async () => { throw new Error('blocked here') }"
    )
    page = context.new_page()
    page.goto(served.url)
    page.wait_for_function("document.getElementById('notice').textContent.includes('blocked here')", timeout=20_000)
    start_camera(page)
    until_grey(page, 180, 210)
    assert page.evaluate("window.ganlens.player.codec") == "h264"
    context.close()


@pytest.mark.parametrize("served", ["test"], indirect=True)
def test_the_page_comes_back_after_the_server(page: Any, served: Any, models: list[str], tmp_path: Path) -> None:
    from ganlens.engine.live.web.server import Address, WebServer

    page.wait_for_function("window.ganlens.player.drawn > 3", timeout=20_000)
    port = served.port
    served.close()
    page.wait_for_selector("#notice:not([hidden])", timeout=10_000)
    assert "Connecting again" in page.inner_text("#notice")
    before = page.evaluate("window.ganlens.player.drawn")
    with WebServer(served._session, Address(port=port)):
        page.wait_for_function(f"window.ganlens.player.drawn > {before + 3}", timeout=20_000)
        page.wait_for_selector("#notice", state="hidden", timeout=10_000)


@pytest.mark.parametrize("served", ["test"], indirect=True)
def test_another_site_gets_no_socket(browser: Any, served: Any) -> None:
    page = browser.new_context(bypass_csp=True).new_page()
    page.route("http://evil.example/", lambda route: route.fulfill(body="<p>evil</p>", content_type="text/html"))
    page.goto("http://evil.example/")
    opened = page.evaluate(
        """url => new Promise(done => {
          const socket = new WebSocket(url);
          socket.onopen = () => done(true);
          socket.onerror = () => done(false);
        })""",
        served.url.replace("http", "ws") + "ws",
    )
    assert opened is False
    page.context.close()


def test_a_wrong_token_shows_nothing(browser: Any, models: list[str], tmp_path: Path) -> None:
    from ganlens.engine.live.web.server import Address, WebServer

    with (
        make_session(models, lambda: open_source(TEST), tmp_path) as session,
        WebServer(session, Address("0.0.0.0", 0)) as server,
    ):
        page = browser.new_context(bypass_csp=True).new_page()
        good = f"http://127.0.0.1:{server.port}/{server.token}/"
        answer = page.goto(good)
        assert answer.status == 200
        page.wait_for_function("window.ganlens.player.drawn > 3", timeout=20_000)
        answer = page.goto(re.sub(r"/[^/]+/$", "/x/", good))
        assert answer.status == 403 and page.query_selector("#picture") is None
        page.context.close()


@pytest.mark.parametrize("served", ["test"], indirect=True)
@pytest.mark.parametrize("width", [390, 820, 1440])
def test_nothing_is_cut_off(browser: Any, served: Any, width: int) -> None:
    context = browser.new_context(bypass_csp=True, viewport={"width": width, "height": 900})
    page = context.new_page()
    page.goto(served.url)
    page.wait_for_function("window.ganlens.player.drawn > 3", timeout=20_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for name in ("#picture", "#bypass", "#record", "#models", "#sliders"):
        box = page.locator(name).bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width + 1, name
    context.close()
