"""A live session over made sources: never black, newest frame, models and controls changed while it runs, losses."""

from __future__ import annotations

import gc
import io
import json
import os
import shutil
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from ganlens.engine.cli.live_terminal import Keys, watch
from ganlens.engine.cli.options.live import LiveOptions
from ganlens.engine.errors import BackendError, MediaError, OptionError
from ganlens.engine.live.filter import shipped_choices
from ganlens.engine.live.policy import SizeState
from ganlens.engine.live.presets import Presets
from ganlens.engine.live.session import LiveSession, SessionOptions
from ganlens.engine.media.base import FrameFormat, Notes
from ganlens.engine.media.synthetic import NullSink
from ganlens.engine.pixels.frame import Frame
from ganlens.engine.spec import AttributeInput, Strength
from ganlens.engine.translator import Translator
from tests.kit.models import attribute_model, identity_model, invert_model, make_spec

SIZE = (48, 64)


def until(true: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


class Grey:
    """A live source of frames of one grey level; may be taken away."""

    live, file, frames = True, None, None

    def __init__(self, level: int = 40, lost: threading.Event | None = None) -> None:
        self.format = FrameFormat(SIZE, "rgb24", Fraction(50), Fraction(1, 50))
        self.notes = Notes()
        self._level, self._lost, self._closed = level, lost, threading.Event()

    def __iter__(self):
        number = 0
        while not self._closed.is_set():
            if self._lost is not None and self._lost.is_set():
                raise MediaError("the camera was taken away.")
            yield Frame.from_rgb(np.full((*SIZE, 3), self._level, np.uint8), Fraction(number, 50))
            number += 1
            time.sleep(0.02)

    def close(self) -> None:
        self._closed.set()


class Kept:
    """A sink that keeps the levels of the frames."""

    def __init__(self) -> None:
        self.notes, self.levels, self.closed = Notes(), [], False

    def write(self, frame: Frame) -> None:
        self.levels.append(int(frame.planes[0][0, 0, 0]))

    def close(self, *, complete: bool = True) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("live")
    return [str(invert_model(folder / "invert.onnx", None)), str(identity_model(folder / "same.onnx", None))]


def session_of(models, source=Grey, **options) -> LiveSession:
    return LiveSession(
        source, models=models, options=SessionOptions(backend="cpu", threads=1, adaptive=False, **options)
    )


def test_frames_pass_unchanged_until_the_model_is_there(models):
    kept = Kept()
    with session_of(models) as session:
        session.add_sink("kept", lambda format: kept)
        until(lambda: 215 in kept.levels)
        state = session.state()
    assert set(kept.levels) <= {40, 215} and kept.levels == sorted(kept.levels), "never black, never back"
    assert state["source"]["state"] == "live" and state["model"]["running"] == "invert"
    assert kept.closed


def test_controls_and_models_change_while_it_runs(models):
    kept = Kept()
    with session_of(models) as session:
        session.add_sink("kept", lambda format: kept)
        until(lambda: kept.levels[-1:] == [215])
        session.set_controls(bypass=True)
        until(lambda: kept.levels[-1:] == [40])
        session.set_controls(bypass=False, opacity=0.0)
        session.set_controls(opacity=1.0)
        until(lambda: kept.levels[-1:] == [215])
        session.choose_model("same")
        until(lambda: session.state()["model"]["running"] == "same" and kept.levels[-1] == 40)
        with pytest.raises(OptionError, match="Known: "):
            session.choose_model("nothing")
        assert session.state()["model"]["running"] == "same"


def test_a_lost_source_repeats_its_last_picture_and_comes_back(models):
    lost = threading.Event()
    opened = []

    def open_source():
        if lost.is_set() and len(opened) < 4:
            opened.append(None)
            raise MediaError("there is no camera.")
        lost.clear()
        opened.append(None)
        return Grey(60 if len(opened) > 1 else 40, lost)

    kept = Kept()
    with session_of(models, open_source) as session:
        session.add_sink("kept", lambda format: kept)
        session.set_controls(bypass=True)
        until(lambda: len(kept.levels) > 5)
        lost.set()
        until(lambda: session.state()["source"]["state"] in ("lost", "opening"))
        until(lambda: 60 in kept.levels)
        until(lambda: session.state()["source"]["state"] == "live")
        counters = session.state()["counters"]
    assert counters["reconnects"] >= 1
    assert len(opened) == 5


def test_a_slow_sink_slows_nobody(models):
    class Slow(Kept):
        def write(self, frame):
            time.sleep(0.3)
            super().write(frame)

    slow, quick = Slow(), Kept()
    with session_of(models) as session:
        session.add_sink("slow", lambda format: slow)
        session.add_sink("quick", lambda format: quick)
        until(lambda: len(quick.levels) > 60)
        dropped = {sink["name"]: sink["dropped"] for sink in session.state()["sinks"]}
    assert len(slow.levels) < len(quick.levels) / 3
    assert dropped["slow"] > 0


class Queued(Grey):
    """A source that skips two frames for each that it gives, as a camera does for a slow reader, and has a note."""

    def __init__(self) -> None:
        super().__init__()
        self.dropped = 0
        self.notes.add("camera: the rate is wrong")

    def __iter__(self):
        for frame in super().__iter__():
            self.dropped += 2
            yield frame


def test_frames_that_the_source_skipped_are_counted(models):
    with session_of(models, Queued) as session:
        until(lambda: session.statistics.arrivals.count() > 5)
    state = session.state()
    arrived = state["counters"]["captured"] - state["counters"]["dropped"]["overrun"]
    assert state["counters"]["dropped"]["overrun"] == 2 * arrived


def test_notes_of_the_source_are_printed_once(models):
    text = io.StringIO()
    with session_of(models, Queued) as session:
        watch(session, "camera:0", "", LiveOptions(seconds=1.5), Console(file=text, width=80))
    assert text.getvalue().count("note    camera: the rate is wrong") == 1


def test_presets_are_kept_in_a_file(models, tmp_path):
    path = tmp_path / "presets.json"
    session = LiveSession(Grey, models=models, presets=Presets(path), options=SessionOptions(backend="cpu"))
    session.set_controls(opacity=0.25, mirror=True)
    session.save_preset(3)
    session.set_controls(opacity=1.0, mirror=False)
    session.apply_preset(3)
    settings = session.controls.snapshot()
    assert (settings.opacity, settings.mirror) == (0.25, True)
    assert Presets(path)[3]["model"] == "invert"
    with pytest.raises(OptionError, match="1 to 9"):
        session.save_preset(0)
    with pytest.raises(OptionError, match="no preset 4"):
        session.apply_preset(4)
    path.write_text("[]")
    with pytest.raises(MediaError, match="not a presets file"):
        Presets(path)


def test_attributes_have_the_range_and_the_rest_of_the_record(tmp_path):
    strengths = {"smiling": Strength(points=((-1.0, 0.1), (0.0, 0.5), (1.0, 0.9)), experimental=True)}
    port = AttributeInput(names=("smiling", "young"), strengths=strengths, complement=True)
    spec = make_spec((16, 24)).model_copy(update={"attributes": port})
    session = session_of([str(attribute_model(tmp_path / "model.onnx"))])
    (choice, *_) = session.models.values()
    session.models["model"] = session._model = replace(choice, file=SimpleNamespace(spec=spec))
    described = session.state()["models"][0]["attributes"]
    assert described == [
        {"name": "smiling", "lowest": -1.0, "highest": 1.0, "rest": 0.0, "experimental": True},
        {"name": "young", "lowest": 0.0, "highest": 1.0, "rest": 0.5, "experimental": False},
    ]
    session.set_controls(attributes={"smiling": -1.0})
    assert session.controls.snapshot().attributes == {"smiling": -1.0}
    with pytest.raises(OptionError, match="0..1, got -1"):
        session.set_controls(attributes={"young": -1.0})
    keys = Keys(session, tmp_path)
    assert "strength" in keys.attribute_line(session.state())
    keys.press("\x1b[C")
    keys.press("\x1b[B")
    assert session.controls.snapshot().attributes["smiling"] == -1.0, "the end of the range"
    session.set_controls(attributes={"smiling": None})
    assert keys.attribute_line(session.state()).endswith("█" * 10 + "░" * 10 + " 0%")
    keys.press("\x1b[B")
    assert session.controls.snapshot().attributes == {"smiling": -0.1}


def test_a_new_model_runs_on_the_backend_of_the_last_one_and_on_another_if_it_cannot(models, monkeypatch):
    opened = []
    really = Translator.open

    def note(path, **options):
        opened.append(options["backend"])
        if opened.count("cpu") > 1 and options["backend"] == "cpu":
            raise BackendError("cpu cannot run it.")
        return really(path, **{**options, "backend": "cpu"})

    monkeypatch.setattr(Translator, "open", note)
    monkeypatch.setattr("ganlens.engine.live.filter.KEPT", 0)  # the way back opens the model again
    with LiveSession(Grey, models=models, options=SessionOptions(threads=1, adaptive=False)) as session:
        until(lambda: session.state()["model"]["running"] == "invert")
        session.choose_model("same")
        until(lambda: session.state()["model"]["running"] == "same")
        session.choose_model("invert")
        until(lambda: session.state()["model"]["running"] == "invert")
    assert opened == ["auto", "cpu", "cpu", "auto"]


def test_a_new_model_starts_at_the_size_of_the_last_one(models):
    session = session_of(models)
    session._size_state = SizeState(3)
    session.choose_model("same")
    assert session._size_state.level == 3


# --- the server ------------------------------------------------------------------------------------------------------


@pytest.fixture
def server(models):
    pytest.importorskip("starlette", reason="needs the extra 'live'")
    from ganlens.engine.live.web.server import Address, WebServer

    with session_of(models) as session, WebServer(session, Address(port=0)) as server:
        until(lambda: session.state()["model"]["running"])
        yield server


def ask(server, path, method="GET", body=None, **headers):
    """(status, content) of a request."""
    request = urllib.request.Request(
        server.url + path, None if body is None else json.dumps(body).encode(), method=method, headers=headers
    )
    if body is not None:
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_the_page_and_its_state(server):
    status, page = ask(server, "")
    assert status == 200 and b"ganlens" in page and b"http://" not in page.replace(b"http://www.w3.org", b"")
    status, state = ask(server, "api/state")
    assert status == 200 and json.loads(state)["model"]["running"] == "invert"
    status, _ = ask(server, "api/state", "PATCH", {"controls": {"opacity": 0.5}})
    assert status == 200
    assert json.loads(ask(server, "api/state")[1])["controls"]["opacity"] == 0.5


@pytest.mark.parametrize("fault", [{"controls": {"mirror": True, "split": 7}}, {"save_preset": 0}, {"framing": "tall"}])
def test_a_change_is_made_whole_or_not_at_all(server, fault):
    def changeable():
        state = json.loads(ask(server, "api/state")[1])
        return state["model"]["name"], state["model"]["framing"], state["controls"]

    before = changeable()
    wanted = {"model": "same", "framing": "crop", "controls": {"opacity": 0.25}}
    assert ask(server, "api/state", "PATCH", {**wanted, **fault})[0] == 422
    assert changeable() == before
    assert ask(server, "api/state", "PATCH", wanted)[0] == 200
    assert changeable() != before


def test_a_snapshot_is_a_picture(server):
    status, picture = ask(server, "api/snapshot", "POST")
    assert status == 200 and picture[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"controls": {"opacity": 7}}, "expected 0 to 1"),
        ({"controls": {"opacty": 1}}, "opacty"),
        ({"model": "/etc/passwd"}, "passwd"),
        ({"model": "http://127.0.0.1/evil.onnx"}, "evil"),
        ([1, 2], "expected"),
    ],
)
def test_bad_requests_are_answered_with_the_reason(server, body, words):
    status, answer = ask(server, "api/state", "PATCH", body)
    described = json.loads(ask(server, "api/openapi.json")[1])["paths"]["/api/state"]["patch"]["responses"]
    assert status in (400, 422) and str(status) in described and words in answer.decode()
    assert json.loads(ask(server, "api/state")[1])["model"]["name"] == "invert"


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Host": "evil.example"}])
def test_other_sites_are_refused(server, headers):
    assert ask(server, "api/state", **headers)[0] == 403
    assert ask(server, "api/state", "PATCH", {"controls": {"opacity": 0}}, **headers)[0] == 403


def test_other_addresses_need_the_token(models):
    pytest.importorskip("starlette", reason="needs the extra 'live'")
    from ganlens.engine.live.web.server import Address, WebServer

    with session_of(models) as session, WebServer(session, Address("0.0.0.0", 0)) as server:
        assert len(server.token) >= 20
        good = f"http://127.0.0.1:{server.port}/{server.token}/"

        def status(url):
            try:
                with urllib.request.urlopen(url, timeout=10) as answer:
                    return answer.status
            except urllib.error.HTTPError as error:
                return error.code

        assert status(good + "api/state") == 200
        assert status(f"http://127.0.0.1:{server.port}/api/state") == 403
        assert status(f"http://127.0.0.1:{server.port}/{'x' * 22}/api/state") == 403


def test_the_page_over_tls(models, tmp_path):
    pytest.importorskip("starlette", reason="needs the extra 'live'")
    if shutil.which("openssl") is None:
        pytest.skip("needs the program openssl")
    from ganlens.engine.live.web.server import Address, WebServer

    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-days", "2"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, *made]
    subprocess.run(command, check=True, capture_output=True)
    trusting = ssl.create_default_context(cafile=str(certificate))
    with session_of(models) as session, WebServer(session, Address("127.0.0.1", 0, certificate, key)) as server:
        assert server.url.startswith("https://")
        with urllib.request.urlopen(server.url + "api/state", timeout=10, context=trusting) as answer:
            assert json.load(answer)["model"]["name"] == "invert"
    with pytest.raises(OptionError, match=r"The certificate cannot be used .* Check --cert and --key"):
        WebServer(session, Address("127.0.0.1", 0, certificate, certificate))


def test_shipped_models_are_read_when_they_are_needed(models, monkeypatch):
    read = []
    really = shipped_choices
    monkeypatch.setattr("ganlens.engine.live.session.shipped_choices", lambda known: read.append(1) or really(known))
    with session_of(models) as session:
        assert session.wait_for_model(20) and not read
        assert list(session.models)[:2] == ["invert", "same"] and "starry" in session.models and read == [1]


def test_a_taken_port_is_said(server):
    from ganlens.engine.live.web.server import Address, WebServer

    with pytest.raises(MediaError, match=str(server.port)):
        WebServer(server._session, Address(port=server.port))


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own")
def test_thumbnails_take_what_the_session_leaves(server):
    assert ask(server, "api/models/same/thumbnail")[0] == 200

    def nice():
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    assert server._thumbnails._worker.submit(nice).result() >= 10
    assert nice() == os.getpriority(os.PRIO_PROCESS, server._session._threads[1].native_id)


def test_the_api_is_described(server):
    status, text = ask(server, "api/openapi.json")
    described = json.loads(text)
    assert status == 200 and described["openapi"].startswith("3.")
    routes = server._server.config.app._app.routes
    served = {route.path for route in routes if route.path.startswith(("/api/", "/metrics"))}
    assert set(described["paths"]) == served - {"/api/openapi.json"}


def test_what_a_running_session_is_made_of_is_not_searched_for_garbage(models, monkeypatch):
    from ganlens.engine.live import session as module

    monkeypatch.setattr(module, "_SETTLED_S", 0.0)
    before = gc.get_threshold()
    gc.unfreeze()  # what a command that ran in this process has frozen
    session = session_of(models)
    module.freeze_when_ready(session)
    try:
        with session:
            until(lambda: gc.get_freeze_count() > 1000)
            assert session.state()["model"]["state"] == "ready"
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


def test_the_model_opens_before_frames_flow(models):
    session = session_of(models)
    kept = NullSink("null:", FrameFormat((48, 64)))
    session.add_sink("kept", lambda format: kept)
    try:
        session.open()
        until(lambda: session._filter._next is not None)
        assert kept.frames == session.statistics.captured == 0
        assert session.outlets[0].state == "waiting", "a sink is made at the start, not before"
        session.start()
        until(lambda: session.state()["model"]["running"] is not None)
    finally:
        session.stop()


def test_a_source_that_cannot_be_opened_leaves_nothing_open(models):
    def missing():
        raise MediaError("There is no camera here.")

    session = LiveSession(missing, models=models)
    with pytest.raises(MediaError, match="no camera"):
        session.open()
    assert not session._filter._thread.is_alive()
