"""Exported repositories on the real Triton server, and the remote backend. A job of its own: make test-triton.

``GANLENS_TRITON_WHEEL`` is the path of the wheel nvidia-pytriton.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from ganlens.engine import Frame, Translator, VideoSink
from ganlens.engine.backends import open_backend
from ganlens.engine.errors import BackendError, BackendUnavailable
from ganlens.engine.media.base import FrameFormat
from ganlens.engine.triton.repository import ServingOptions, export
from tests.engine.cli.test_many import frames_of, write_clip
from tests.kit.models import attribute_model, invert_model

ENGINE = [sys.executable, "-c", "from ganlens.engine.cli import main; main()"]
WHEEL = os.environ.get("GANLENS_TRITON_WHEEL", "")
pytestmark = [
    pytest.mark.skipif(not WHEEL, reason="needs the wheel nvidia-pytriton: make test-triton"),
    pytest.mark.filterwarnings("default"),
]


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("triton")
    models = [
        "starry",
        str(invert_model(folder / "invert.onnx", None)),
        str(attribute_model(folder / "shades.onnx", (16, 24))),
    ]
    export(models, folder / "repository", ServingOptions("python", "cpu", threads=1))
    return folder


@pytest.fixture(scope="module")
def binaries(tmp_path_factory):
    from tests.scale.triton_server import unpack

    return unpack(Path(WHEEL), tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="module")
def server(repository, binaries):
    from tests.scale.triton_server import running

    with running(binaries, repository / "repository", repository) as server:
        yield server


def ask(server, model, **arrays):
    import tritonclient.grpc as grpc

    inputs = []
    for name, array in arrays.items():
        tensor = grpc.InferInput(name, list(array.shape), "UINT8" if array.dtype == np.uint8 else "FP32")
        tensor.set_data_from_numpy(array)
        inputs.append(tensor)
    client = grpc.InferenceServerClient(f"127.0.0.1:{server.grpc}")
    try:
        return client.infer(model, inputs, client_timeout=60).as_numpy("image")
    finally:
        client.close()


def runs_of(server, model):
    import tritonclient.grpc as grpc

    client = grpc.InferenceServerClient(f"127.0.0.1:{server.grpc}")
    try:
        return client.get_inference_statistics(model).model_stats[0].inference_count
    finally:
        client.close()


def noise(size=(96, 128), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def test_pictures_are_those_of_a_direct_call(server):
    with Translator.open("starry", backend="cpu", threads=1) as translator:
        for size in ((96, 128), (65, 71)):
            np.testing.assert_array_equal(ask(server, "starry", image=noise(size)), translator(noise(size)))


def test_attributes_are_optional_inputs(server, repository):
    with Translator.open(repository / "shades.onnx", backend="cpu", threads=1) as translator:
        name = translator.spec.attributes.names[0]
        expected = translator(noise(), attributes={name: 1.0})
    np.testing.assert_array_equal(ask(server, "shades", image=noise(), **{name: np.ones(1, np.float32)}), expected)
    plain = ask(server, "shades", image=noise(), opacity=np.zeros(1, np.float32))
    np.testing.assert_array_equal(plain, noise())


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"image": np.zeros((5, 3), np.uint8)}, "unexpected shape"),
        ({"image": np.zeros((8, 8, 4), np.uint8)}, "unexpected shape"),
        ({"image": np.zeros((8, 8, 3), np.float32)}, "UINT8"),
        ({"image": noise(), "opacity": np.full(1, 7, np.float32)}, "opacity"),
        ({"picture": noise()}, "picture"),
    ],
    ids=["two dimensions", "four channels", "float", "opacity", "name"],
)
def test_wrong_requests_are_refused_with_the_reason(server, arrays, words):
    with pytest.raises(Exception, match=words):
        ask(server, "starry", **arrays)
    assert ask(server, "invert", image=noise()).shape == (96, 128, 3)


def test_ten_clients_at_once_get_their_own_answers(server):
    expected, answers = {}, {}
    with Translator.open("starry", backend="cpu", threads=1) as translator:
        for seed in range(10):
            expected[seed] = translator(noise(seed=seed))

    def work(seed: int) -> None:
        answers[seed] = [ask(server, "starry", image=noise(seed=seed)) for _ in range(2)]

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(10):
        for answer in answers[seed]:
            np.testing.assert_array_equal(answer, expected[seed])


def test_the_remote_backend_gives_the_frames_of_the_local_one(server):
    address = f"triton://127.0.0.1:{server.grpc}/starry_network"
    frames = [Frame.from_rgb(noise(seed=seed), Fraction(seed, 25)) for seed in range(6)]
    with Translator.open("starry", backend="cpu", threads=1) as local:
        expected = [frame.planes[0] for frame in local.stream(frames)]
    with Translator.open("starry", backend=address, in_flight=2) as remote:
        assert remote.backend.name == address and remote.backend.library.startswith("Triton 2")
        got = [frame.planes[0] for frame in remote.stream(frames)]
    for one, other in zip(expected, got, strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_is_not_served_is_said(server, repository):
    for entry, words in (("nobody", "nobody"), ("starry", "bare network")):
        with pytest.raises(BackendUnavailable, match=words):
            open_backend("starry", f"triton://127.0.0.1:{server.grpc}/{entry}")
    with pytest.raises(BackendUnavailable, match="another model"):
        open_backend(repository / "invert.onnx", f"triton://127.0.0.1:{server.grpc}/starry_network")


def test_a_model_is_exchanged_while_it_is_served(server, repository, tmp_path):
    before = ask(server, "invert", image=noise())
    model = invert_model(tmp_path / "invert.onnx", (32, 32))
    export([str(model)], repository / "repository", ServingOptions("python", "cpu", threads=1, version=2))
    server.post("v2/repository/models/invert/load")
    with Translator.open(model, backend="cpu", threads=1) as translator:
        np.testing.assert_array_equal(ask(server, "invert", image=noise()), translator(noise()))
    assert (ask(server, "invert", image=noise()) != before).any()


def test_a_server_that_goes_and_comes_back(repository, binaries, tmp_path):
    from tests.scale.triton_server import free_port, running

    port = free_port()
    zeros = np.zeros((1, 3, 256, 256), np.float32)
    with running(binaries, repository / "repository", tmp_path, port):
        backend = open_backend("starry", f"triton://127.0.0.1:{port}/starry_network")
        first = backend.run(zeros).translated.copy()
    import ganlens.engine.backends.triton_backend as module

    keep, module.RECONNECT_S = module.RECONNECT_S, 0.5
    with pytest.raises(BackendError, match="did not answer for"):
        backend.run(zeros)
    module.RECONNECT_S = keep
    with running(binaries, repository / "repository", tmp_path, port):
        np.testing.assert_array_equal(backend.run(zeros).translated, first)
    backend.close()


def test_live_runs_its_network_there(server, tmp_path):
    """At the end: frames pass unchanged until the model is open. What is recorded is lossy."""
    with VideoSink(tmp_path / "in.mkv", FrameFormat((96, 128), "rgb24", Fraction(12))) as sink:
        for number in range(96):
            sink.write(Frame.from_rgb(noise(), Fraction(number, 12)))
    common = ["-m", "starry", "--no-web", "--live", "every", "-q"]
    runs = runs_of(server, "starry_network")
    for name, backend in (("here.mkv", "cpu"), ("there.mkv", f"triton://127.0.0.1:{server.grpc}/starry_network")):
        command = [*ENGINE, "live", "in.mkv", *common, "--backend", backend, "-o", name]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
    here, there, source = (
        np.frombuffer(frames_of(tmp_path / name)[-1], np.uint8).astype(float)
        for name in ("here.mkv", "there.mkv", "in.mkv")
    )
    assert runs_of(server, "starry_network") > runs
    assert np.abs(here - there).mean() < 3 and np.abs(here - source).mean() > 10


def test_live_says_that_no_server_is_there(tmp_path):
    from tests.scale.triton_server import free_port

    write_clip(tmp_path / "in.mp4", 20)
    address = f"triton://127.0.0.1:{free_port()}/starry_network"
    command = [*ENGINE, "live", "in.mp4", "-m", "starry", "--no-web", "--backend", address, "-o", "out.mkv"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert "does not answer as a Triton server" in done.stderr, done.stderr


def test_a_wrong_shape_is_a_bad_request_of_http(server):
    content = {"name": "image", "shape": [5, 3], "datatype": "UINT8", "data": [0] * 15}
    address = f"http://127.0.0.1:{server.http}/v2/models/starry/infer"
    request = urllib.request.Request(address, json.dumps({"inputs": [content]}).encode(), method="POST")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=60)
    assert caught.value.code == 400 and b"unexpected shape" in caught.value.read()
