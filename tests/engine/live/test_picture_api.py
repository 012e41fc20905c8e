"""``POST /api/translate``: one picture in, one out."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request

import numpy as np
import pytest

pytest.importorskip("starlette", reason="needs the extra 'live'")

from ganlens.engine import Translator
from ganlens.engine.live.session import LiveSession
from ganlens.engine.live.web import translate
from ganlens.engine.live.web.server import Address, WebServer
from ganlens.engine.media.base import FrameFormat, Notes
from ganlens.engine.media.picture_codec import encode_still
from ganlens.engine.media.pictures import read_image
from tests.kit.models import attribute_model, invert_model


class Silent:
    """A live source that gives nothing: the API needs no camera."""

    live, file, frames = True, None, None

    def __init__(self) -> None:
        self.format, self.notes, self._closed = FrameFormat((48, 64), "rgb24"), Notes(), threading.Event()

    def __iter__(self):
        self._closed.wait()
        return iter(())

    def close(self) -> None:
        self._closed.set()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    models = [str(invert_model(folder / "invert.onnx", None)), str(attribute_model(folder / "shades.onnx"))]
    with LiveSession(Silent, models=models) as session, WebServer(session, Address(port=0)) as server:
        yield server


@pytest.fixture(scope="module")
def photo():
    return encode_still(np.random.default_rng(5).integers(0, 256, (48, 64, 3), dtype=np.uint8), ".png")


def post(server, query, body, **headers):
    request = urllib.request.Request(f"{server.url}api/translate?{query}", body, method="POST", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers["content-type"], answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["content-type"], error.read()


def pixels_of(content, path):
    path.write_bytes(content)
    return read_image(path).planes[0]


def test_the_answer_is_what_a_direct_call_gives(server, photo, tmp_path):
    status, kind, answer = post(server, "", photo)
    assert (status, kind) == (200, "image/png")
    original = pixels_of(photo, tmp_path / "photo.png")
    with Translator.open(next(iter(server._session.models.values())).file) as translator:
        expected = translator(original)
    assert (expected != original).any()
    np.testing.assert_array_equal(pixels_of(answer, tmp_path / "answer.png"), expected)


def test_options_of_a_picture(server, photo, tmp_path):
    original = pixels_of(photo, tmp_path / "photo.png")
    status, _, answer = post(server, "model=invert&opacity=0", photo)
    assert status == 200
    np.testing.assert_array_equal(pixels_of(answer, tmp_path / "answer.png"), original)
    status, kind, answer = post(server, "format=jpg&framing=native", photo)
    assert (status, kind, answer[:2]) == (200, "image/jpeg", b"\xff\xd8")


def test_attributes_of_one_picture_are_not_those_of_the_next(server, photo, tmp_path):
    name = server._session.models["shades"].spec.attributes.names[0]
    answers = [post(server, f"model=shades&set={name}={value}", photo) for value in (1, 0, 1)]
    assert [status for status, _, _ in answers] == [200] * 3, answers
    first, other, again = (pixels_of(answer, tmp_path / "a.png") for _, _, answer in answers)
    assert (first != other).any() and (first == again).all()


@pytest.mark.parametrize(
    ("query", "body", "status", "words"),
    [
        ("", b"", 400, "empty"),
        ("", b"no picture at all", 415, "the picture"),
        ("", b"\x89PNG\r\n\x1a\n" + bytes(50), 415, "the picture"),
        ("model=../../etc/passwd", None, 404, "no model"),
        ("model=invert&opacity=7", None, 422, "opacity"),
        ("opacity=much", None, 400, "expected a number"),
        ("opacty=1", None, 400, "Did you mean opacity"),
        ("framing=fill", None, 400, "fit"),
        ("format=exe", None, 400, "png"),
        ("model=invert&set=smile=1", None, 422, "attributes"),
    ],
)
def test_what_cannot_be_translated_is_refused_with_the_reason(server, photo, query, body, status, words):
    got, kind, answer = post(server, query, photo if body is None else body)
    assert (got, kind) == (status, "application/json"), answer
    text = json.loads(answer)["error"]
    assert words in text and "/tmp" not in text


def test_limits(server, photo, monkeypatch):
    monkeypatch.setattr(translate, "MOST_BYTES", 100)
    assert post(server, "", photo)[0] == 413
    monkeypatch.undo()
    monkeypatch.setattr(translate, "MOST_PIXELS", 48 * 64 - 1)
    status, _, answer = post(server, "", photo)
    assert status == 415 and b"at most 3071" in answer
    monkeypatch.undo()
    monkeypatch.setattr(translate, "MOST_WAITING", 0)
    assert post(server, "", photo)[0] == 503
    monkeypatch.undo()
    assert post(server, "", photo)[0] == 200


def test_other_sites_are_refused(server, photo):
    assert post(server, "", photo, Origin="http://evil.example")[0] == 403


def test_ten_at_once_are_answered_rightly(server, photo, tmp_path):
    answers: list[tuple[int, str, bytes]] = []
    threads = [threading.Thread(target=lambda: answers.append(post(server, "model=invert", photo))) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 10 and len({answer for answer in answers}) == 1 and answers[0][0] == 200


def test_pictures_that_wait_when_the_server_ends_are_refused(photo, monkeypatch, tmp_path):
    begun, go_on, keep = threading.Event(), threading.Event(), translate.PictureTranslator._translate

    def slow(*given):
        begun.set()
        go_on.wait(20)
        return keep(*given)

    monkeypatch.setattr(translate.PictureTranslator, "_translate", slow)
    answers = []
    with LiveSession(Silent, models=[str(invert_model(tmp_path / "invert.onnx", None))]) as session:
        server = WebServer(session, Address(port=0)).start()
        threads = [threading.Thread(target=lambda: answers.append(post(server, "", photo))) for _ in range(4)]
        for thread in threads:
            thread.start()
        begun.wait(20)
        while server._pictures._waiting < 4:
            time.sleep(0.01)
        server._pictures.refuse()
        for _ in range(500):
            if len(answers) == 3:
                break
            time.sleep(0.01)
        assert [answer[0] for answer in answers] == [503] * 3 and b"shutting down" in answers[0][2]
        assert post(server, "", photo)[0] == 503
        go_on.set()
        for thread in threads:
            thread.join()
        assert answers[-1][0] == 200
        server.close()
