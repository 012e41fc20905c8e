"""One contract for all backends; the choice between them; their errors."""

import ctypes
import json
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from onnx import TensorProto, helper

from ganlens.engine import processor
from ganlens.engine.backends import (
    BACKENDS,
    FunctionBackend,
    Output,
    available,
    default_threads,
    onnxruntime_backend,
    open_backend,
    openvino_backend,
    registry,
)
from ganlens.engine.backends import auto as selection
from ganlens.engine.backends.auto import pick
from ganlens.engine.backends.base import ModelBackend
from ganlens.engine.errors import (
    BackendError,
    BackendUnavailable,
    MissingExtra,
    ModelFileError,
    OptionError,
    ShapeError,
    UnknownModel,
)
from tests.kit.models import (
    attribute_model,
    constant,
    half_mask_model,
    half_precision_model,
    identity_model,
    invert_model,
    make_spec,
    network_model,
    noise_image,
    save_graph,
    tensor,
)

CUDA_EXTRA = "cuda12" if sys.version_info < (3, 11) else "cuda13"  # onnxruntime-gpu for CUDA 13 needs Python 3.11
USABLE = [status.name for status in available() if status.usable]
SIZE = (16, 24)

each_backend = pytest.mark.parametrize("name", USABLE)


def tolerance(backend: ModelBackend) -> float:
    """Largest difference between backends on outputs in [-1, 1]; more where a backend computes in a coarser type."""
    if backend.name in ("cuda", "tensorrt"):
        return 5e-3  # TF32 convolutions
    return 5e-2 if getattr(backend, "precision", "f32") == "bf16" else 1e-5


def test_the_cpu_backends_are_installed_for_the_tests():
    assert {"cpu", "openvino"} & set(USABLE)


# --- the contract


@each_backend
def test_all_backends_give_the_same_answer(tmp_path, name):
    path = network_model(tmp_path / "net.onnx", (64, 96))
    image = noise_image((64, 96))
    with open_backend(path, USABLE[-1]) as reference, open_backend(path, name) as backend:
        expected = reference.run(image).translated.copy()
        answer = backend.run(image)
        assert answer.mask is None
        assert answer.translated.dtype == np.float32
        assert np.std(expected) > 0.1
        np.testing.assert_allclose(answer.translated, expected, atol=tolerance(backend), rtol=0)


@each_backend
def test_inverts(tmp_path, name):
    image = noise_image(SIZE)
    with open_backend(invert_model(tmp_path / "m.onnx"), name) as backend:
        assert (backend.name, backend.device, backend.choice.name) == (name, "cpu", name)
        assert backend.choice.lines == (backend.runs_on,)
        assert backend.spec.name == "tiny"
        np.testing.assert_array_equal(backend.run(image).translated, -image)


@each_backend
def test_mask(tmp_path, name):
    image = noise_image(SIZE)
    with open_backend(half_mask_model(tmp_path / "m.onnx"), name) as backend:
        answer = backend.run(image)
        np.testing.assert_array_equal(answer.translated, -image)
        assert answer.mask is not None
        assert answer.mask.shape == (1, 1, *SIZE)
        assert answer.mask[..., :12].min() == 1
        assert answer.mask[..., 12:].max() == 0


@each_backend
def test_attributes(tmp_path, name):
    image = noise_image(SIZE, batch=2)
    attributes = np.array([[1, 0], [0, 1]], np.float32)
    with open_backend(attribute_model(tmp_path / "m.onnx"), name) as backend:
        shift = np.array([1, -1], np.float32).reshape(2, 1, 1, 1)
        np.testing.assert_array_equal(backend.run(image, attributes).translated, image + shift)
        with pytest.raises(ShapeError, match="needs attributes"):
            backend.run(image)
        with pytest.raises(ShapeError, match=r"expected \(N, 2\): brighter, darker"):
            backend.run(image, np.zeros((2, 3), np.float32))
        with pytest.raises(ShapeError, match=r"inputs for \[2, 1\] pictures"):
            backend.run(image, attributes[:1])


@each_backend
def test_half_precision_models_take_and_give_float32(tmp_path, name):
    image = noise_image(SIZE)
    with open_backend(half_precision_model(tmp_path / "m.onnx"), name) as backend:
        for _ in range(2):
            answer = backend.run(image).translated
            assert answer.dtype == np.float32
            np.testing.assert_allclose(answer, -image, atol=2**-11)


@each_backend
def test_free_sizes(tmp_path, name):
    with open_backend(network_model(tmp_path / "m.onnx", None, depth=3), name) as backend:
        for size in [(16, 24), (40, 8), (16, 24), (64, 64), (72, 64), (80, 64), (16, 24)]:
            assert backend.run(noise_image(size)).translated.shape == (1, 3, *size)
        assert len(backend._bindings) == ModelBackend.BINDINGS
        with pytest.raises(ShapeError, match=r"got an image of 24x20 \(width x height\); tiny takes any multiple of 8"):
            backend.run(noise_image((20, 24)))


@each_backend
def test_repeated_runs_follow_their_input_and_reuse_the_output(tmp_path, name):
    first, second = noise_image(SIZE, seed=1), noise_image(SIZE, seed=2)
    with open_backend(invert_model(tmp_path / "m.onnx"), name) as backend:
        answers = [backend.run(image).translated for image in (first, second)]
        assert answers[0] is answers[1]
        np.testing.assert_array_equal(answers[1], -second)
        second[:] = first  # the caller's own buffer may change between two runs
        np.testing.assert_array_equal(backend.run(second).translated, -first)


@each_backend
def test_two_models_at_once(tmp_path, name):
    image = noise_image(SIZE)
    with (
        open_backend(identity_model(tmp_path / "a.onnx"), name) as same,
        open_backend(invert_model(tmp_path / "b.onnx"), name) as inverted,
    ):
        one, other = same.run(image).translated, inverted.run(image).translated
        np.testing.assert_array_equal(one, image)
        np.testing.assert_array_equal(other, -image)


@each_backend
def test_close_twice(tmp_path, name):
    backend = open_backend(identity_model(tmp_path / "m.onnx"), name)
    kept = backend.run(noise_image(SIZE)).translated
    backend.close()
    backend.close()
    np.testing.assert_array_equal(kept, noise_image(SIZE))
    with pytest.raises(BackendError, match="was closed"):
        backend.run(noise_image(SIZE))


@each_backend
@pytest.mark.parametrize(
    ("image", "says"),
    [
        (None, "needs image"),
        (noise_image((24, 16)), r"got an image of 16x24 \(width x height\); tiny takes 24x16"),
        (noise_image(SIZE)[0], "expected 4 dimensions"),
        (noise_image(SIZE)[:, :1], r"expected \(N, 3, height, width\)"),
        (noise_image(SIZE)[:0], r"expected \(N, 3, height, width\)"),
        (noise_image(SIZE).astype(np.float64), "float64, expected 4 dimensions of C-contiguous float32"),
        (noise_image(SIZE)[..., ::-1], "not C-contiguous"),
        (noise_image(SIZE, batch=2), "got a batch of 2; m.onnx is made for a batch of 1"),
    ],
)
def test_wrong_inputs(tmp_path, name, image, says):
    with open_backend(identity_model(tmp_path / "m.onnx"), name) as backend:
        with pytest.raises(ShapeError, match=says):
            backend.run(image)
        with pytest.raises(ShapeError, match="the model takes none"):
            backend.run(noise_image(SIZE), np.zeros((1, 2), np.float32))


@each_backend
def test_threads(tmp_path, name):
    with open_backend(identity_model(tmp_path / "m.onnx"), name, threads=1) as backend:
        assert backend.threads == 1
    with open_backend(identity_model(tmp_path / "m.onnx"), name, spin=True) as backend:
        assert backend.threads == default_threads()


# --- models that cannot run


@each_backend
def test_answer_of_another_size(tmp_path, name):
    """The graph declares no output shape, so that only the backend can see it."""
    nodes = [helper.make_node("DepthToSpace", ["x12"], ["y"], blocksize=2)]
    nodes.insert(0, helper.make_node("Concat", ["x"] * 4, ["x12"], axis=1))
    path = save_graph(tmp_path / "m.onnx", nodes, [tensor("x", (1, 3, 8, 8))], [tensor("y", None)])
    with pytest.raises(ShapeError, match=r"m.onnx answered \(1, 3, 16, 16\) to an input of \(1, 3, 8, 8\)"):
        open_backend(path, name, value_range=(-1, 1))


@each_backend
def test_operator_that_the_library_does_not_know(tmp_path, name):
    nodes = [helper.make_node("Nonsense", ["x"], ["y"])]
    dims = (1, 3, 8, 8)
    path = save_graph(tmp_path / "m.onnx", nodes, [tensor("x", dims)], [tensor("y", dims)])
    with pytest.raises(ModelFileError, match=r"cannot open m.onnx \(opset 17\).*Nonsense"):
        open_backend(path, name, value_range=(-1, 1))


def test_opset_of_the_future(tmp_path):
    dims = (1, 3, 8, 8)
    nodes = [helper.make_node("Neg", ["x"], ["y"])]
    path = save_graph(tmp_path / "m.onnx", nodes, [tensor("x", dims)], [tensor("y", dims)], opset=999)
    with pytest.raises(ModelFileError, match=r"uses opset 999, which ONNX Runtime .* Upgrade onnxruntime, or export"):
        open_backend(path, "cpu", value_range=(-1, 1))


@each_backend
def test_graph_whose_types_do_not_fit(tmp_path, name):
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    dims = (1, 3, 8, 8)
    weights = [constant("w", np.ones((3, 5, 1, 1)))]  # five channels where three come
    path = save_graph(tmp_path / "m.onnx", nodes, [tensor("x", dims)], [tensor("y", dims)], weights)
    with pytest.raises((ModelFileError, BackendError), match=r"m.onnx|input of"):
        open_backend(path, name, value_range=(-1, 1))


def test_unknown_backend():
    with pytest.raises(OptionError, match=r"No backend is called 'openvinno'. Did you mean openvino\?"):
        open_backend("m.onnx", "openvinno")


def test_unknown_model():
    with pytest.raises(UnknownModel, match="No model is called 'nobody'"):
        open_backend("nobody")


def test_no_threads(tmp_path):
    with pytest.raises(OptionError, match="threads: got 0, expected at least 1"):
        open_backend(identity_model(tmp_path / "m.onnx"), "cpu", threads=0)


# --- foreign models


@each_backend
def test_foreign_model(tmp_path, name):
    image = noise_image(SIZE)
    with open_backend(invert_model(tmp_path / "ink.onnx", foreign=True), name, value_range=(-1, 1)) as backend:
        np.testing.assert_array_equal(backend.run(image).translated, -image)
    with pytest.raises(ModelFileError, match="Give it with --range"):
        open_backend(tmp_path / "ink.onnx", name)


@each_backend
@pytest.mark.parametrize(("depth", "minimum"), [(1, 66), (3, 72), (5, 96)])
def test_sizes_of_a_foreign_model_are_found_by_trying(tmp_path, name, depth, minimum):
    path = network_model(tmp_path / "m.onnx", None, depth=depth, foreign=True)
    with open_backend(path, name, value_range=(-1, 1)) as backend:
        assert (backend.spec.size.multiple_of, backend.spec.size.minimum) == (2**depth, minimum)
        backend.run(noise_image((minimum, minimum + 2**depth)))


@each_backend
def test_foreign_model_without_any_size(tmp_path, name):
    dims = (1, 3, "h", "w")
    nodes = [helper.make_node("GlobalAveragePool", ["x"], ["y"])]
    path = save_graph(tmp_path / "m.onnx", nodes, [tensor("x", dims)], [tensor("y", dims)])
    with pytest.raises(ShapeError, match=r"fails at all of the sizes 67x65.*1536x512.*answered \(1, 3, 1, 1\)"):
        open_backend(path, name, value_range=(-1, 1))


@each_backend
def test_an_answer_whose_size_follows_the_picture_is_refused_not_stale(tmp_path, name):
    """Fault D17: bright pictures are answered at half their height."""
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Greater", ["most", "limit"], ["bright"]),
        helper.make_node("Cast", ["bright"], ["number"], to=TensorProto.INT64),
        helper.make_node("Mul", ["number", "half"], ["less"]),
        helper.make_node("Sub", ["whole", "less"], ["end"]),
        helper.make_node("Slice", ["x", "begin", "end", "axis"], ["y"]),
    ]
    weights = [constant("limit", 0.5)]
    weights += [constant(key, value, np.int64) for key, value in (("half", [8]), ("whole", [16]), ("begin", [0]))]
    weights.append(constant("axis", [2], np.int64))
    inputs, outputs = [tensor("x", (1, 3, 16, 24))], [tensor("y", (1, 3, "rows", 24))]
    path = save_graph(tmp_path / "m.onnx", nodes, inputs, outputs, weights, make_spec((16, 24)))
    with open_backend(path, name) as backend:
        dark = np.linspace(-1, 0.4, 3 * 16 * 24, dtype=np.float32).reshape(1, 3, 16, 24)
        for _ in range(2):
            np.testing.assert_array_equal(backend.run(dark).translated, dark)
            with pytest.raises((ShapeError, BackendError)):
                backend.run(-dark)


# --- the choice


def fake_clock(monkeypatch, seconds):
    """Let timing report ``seconds`` per backend name; the calls are counted."""
    calls = []

    def measure(backend, inputs):
        calls.append(backend.name)
        return seconds[backend.name]

    monkeypatch.setattr(selection, "_seconds", measure)
    monkeypatch.setattr(selection, "cpu_time_share", lambda *_: 1.0)  # a quiet machine
    return calls


needs_both = pytest.mark.skipif(not {"cpu", "openvino"} <= set(USABLE), reason="needs onnxruntime and openvino")
on_cpu = pytest.mark.skipif(bool({"cuda", "tensorrt"} & set(USABLE)), reason="auto takes the GPU")


@needs_both
@on_cpu
@pytest.mark.parametrize("fastest", ["cpu", "openvino"])
def test_auto_takes_the_fastest_and_says_why(tmp_path, monkeypatch, fastest):
    seconds = {"cpu": 0.02, "openvino": 0.02, fastest: 0.01}
    fake_clock(monkeypatch, seconds)
    with open_backend(identity_model(tmp_path / "m.onnx"), threads=2) as backend:
        assert backend.name == backend.choice.name == fastest
        lines = backend.choice.lines
    assert lines[0].startswith("tensorrt: ")
    assert lines[1] == f"cuda: onnxruntime-gpu is not installed (pip install 'ganlens[{CUDA_EXTRA}]')"
    other = {"cpu": "openvino", "openvino": "cpu"}[fastest]
    assert lines[2] == f"{other}: slower, 20.0 against 10.0 ms a picture of 24x16 on 2 threads, timed just now"
    assert lines[3].startswith(f"{fastest}: runs on O")


@needs_both
@on_cpu
def test_auto_leaves_a_backend_that_is_hardly_faster_than_the_default(tmp_path, monkeypatch):
    """Which starts sooner and takes less memory."""
    fake_clock(monkeypatch, {"cpu": 0.02, "openvino": 0.0194})
    with open_backend(identity_model(tmp_path / "m.onnx"), threads=2) as backend:
        assert backend.name == "cpu"
        assert backend.choice.lines[2].startswith("openvino: hardly faster, 19.4 against 20.0 ms")
    assert pick({"cpu": 0.02, "openvino": 0.0189}) == "openvino"
    assert pick({"openvino": 0.03}) == "openvino"


def test_few_pictures_are_not_worth_a_longer_start():
    timings = {"cpu": 0.03, "openvino": 0.005}
    assert pick(timings, 1) == pick(timings, 7) == "cpu"
    assert pick(timings, 9) == pick(timings) == "openvino"
    assert pick({"openvino": 0.03}, 1) == "openvino"
    hardly_faster = {"cpu": 0.03, "openvino": 0.029}
    assert pick(hardly_faster) == pick(hardly_faster, 190) == "cpu"
    assert pick(hardly_faster, 210) == "openvino", "its start is counted once, not also by WORTH"


@needs_both
@on_cpu
def test_little_work_is_done_before_another_backend_is_opened(tmp_path, monkeypatch):
    path = network_model(tmp_path / "m.onnx", (64, 64))
    calls = fake_clock(monkeypatch, {"cpu": 0.03, "openvino": 0.001})
    with open_backend(path, pictures=2, threads=2) as backend:
        assert (backend.name, calls) == ("cpu", [])
        assert "openvino: not timed for so little work" in backend.choice.lines
    with open_backend(path, pictures=selection.LITTLE // 64**2 + 1, threads=2) as backend:
        assert backend.name == "openvino"
    assert calls
    with open_backend(path, pictures=2, threads=2) as backend:  # the timing is remembered
        assert backend.name == "cpu"
        assert any(line.startswith("openvino: faster, but not done sooner") for line in backend.choice.lines)


@needs_both
@on_cpu
def test_auto_remembers(tmp_path, monkeypatch, own_cache):
    path = identity_model(tmp_path / "m.onnx")
    calls = fake_clock(monkeypatch, {"cpu": 0.03, "openvino": 0.04})
    open_backend(path).close()
    timed = len(calls)
    assert timed >= 4
    with open_backend(path) as backend:
        assert backend.name == "cpu"
        assert "timed at an earlier start" in backend.choice.lines[2]
    assert len(calls) == timed
    open_backend(path, threads=default_threads() + 1).close()  # another question
    assert len(calls) > timed
    assert len(json.loads((own_cache / "backends.json").read_text())) == 2
    timed = len(calls)
    monkeypatch.setattr(selection, "REVISION", selection.REVISION + 1)
    open_backend(path).close()
    assert len(calls) > timed, "a version that times in another way"


@needs_both
@on_cpu
def test_auto_does_not_remember_what_it_timed_on_a_busy_machine(tmp_path, monkeypatch, own_cache):
    path = identity_model(tmp_path / "m.onnx")
    calls = fake_clock(monkeypatch, {"cpu": 0.03, "openvino": 0.04})
    monkeypatch.setattr(selection, "cpu_time_share", lambda *_: 0.4)
    open_backend(path).close()
    timed = len(calls)
    assert not (own_cache / "backends.json").exists()
    open_backend(path).close()
    assert len(calls) == 2 * timed


def test_share_of_the_cpu_time():
    assert selection.cpu_time_share(wall_s=2.0, cpu_s=0.5, threads=1) == 0.25
    assert selection.cpu_time_share(wall_s=0.0, cpu_s=0.0, threads=1) == 1.0


@needs_both
@on_cpu
@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 1}', "\udcff"])
def test_damaged_memory_is_ignored(tmp_path, monkeypatch, own_cache, content):
    memory = own_cache / "backends.json"
    memory.write_bytes(content.encode("utf-8", "surrogateescape"))
    calls = fake_clock(monkeypatch, {"cpu": 0.03, "openvino": 0.04})
    open_backend(identity_model(tmp_path / "m.onnx")).close()
    assert calls
    assert json.loads(memory.read_text())


@needs_both
@on_cpu
def test_memory_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("GANLENS_CACHE", str(blocked / "folder"))
    fake_clock(monkeypatch, {"cpu": 0.03, "openvino": 0.04})
    with open_backend(identity_model(tmp_path / "m.onnx")) as backend:
        assert backend.name == "cpu"


@on_cpu
@pytest.mark.parametrize("present", [name for name in ("cpu", "openvino") if name in USABLE])
def test_auto_with_one_library_says_how_to_get_the_other(tmp_path, monkeypatch, present):
    real = registry.installed
    monkeypatch.setattr(registry, "installed", lambda name: real(name) if name == present else None)
    with open_backend(identity_model(tmp_path / "m.onnx")) as backend:
        assert backend.name == present
        missing = {"cpu": "openvino", "openvino": "cpu"}[present]
        assert any(
            line.startswith(f"{missing}: ") and f"pip install 'ganlens[{missing}]'" in line
            for line in backend.choice.lines
        )


def test_auto_with_nothing_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "installed", lambda name: None)
    with pytest.raises(
        BackendUnavailable, match=r"No backend is installed. Install one with: pip install 'ganlens\[cpu\]'"
    ):
        open_backend(identity_model(tmp_path / "m.onnx"))


@needs_both
@on_cpu
def test_auto_takes_the_library_that_can_run_the_model(tmp_path, monkeypatch):
    def refuse(*_args, **_options):
        raise ModelFileError("OpenVINO cannot open m.onnx")

    monkeypatch.setattr(openvino_backend.OpenVino, "__init__", refuse)
    with open_backend(identity_model(tmp_path / "m.onnx")) as backend:
        assert backend.name == "cpu"
        assert "openvino: OpenVINO cannot open m.onnx" in backend.choice.lines


@on_cpu
def test_auto_fails_with_the_reason_when_no_library_can_run_the_model(tmp_path):
    dims = (1, 3, 8, 8)
    nodes = [helper.make_node("Nonsense", ["x"], ["y"])]
    path = save_graph(tmp_path / "m.onnx", nodes, [tensor("x", dims)], [tensor("y", dims)])
    with pytest.raises(ModelFileError, match="Nonsense"):
        open_backend(path, value_range=(-1, 1))


@needs_both
def test_timing_interleaves_and_takes_the_median(tmp_path, monkeypatch):
    path = network_model(tmp_path / "m.onnx", (64, 64))
    with open_backend(path, "cpu") as one, open_backend(path, "openvino") as other:
        calls = fake_clock(monkeypatch, {"cpu": 0.001, "openvino": 0.002})
        assert selection.time_backends([one, other]) == {"cpu": 0.001, "openvino": 0.002}
        assert calls == ["cpu", "openvino"] * (1 + selection.ROUNDS)
        calls = fake_clock(monkeypatch, {"cpu": 1.0, "openvino": 2.0})
        assert selection.time_backends([one, other]) == {"cpu": 1.0, "openvino": 2.0}
        assert calls == ["cpu", "openvino"]


def test_memory_is_bounded(own_cache):
    for number in range(selection.MEMORY + 5):
        selection.remember(f"key {number}", {"cpu": 1.0})
    assert selection.recall("key 0") == {}
    assert selection.recall(f"key {selection.MEMORY + 4}") == {"cpu": 1.0}
    assert sorted(file.name for file in own_cache.iterdir()) == ["backends.json"]


def test_memory_lies_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("GANLENS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert selection.cache_folder() == tmp_path / "ganlens"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert selection.cache_folder() == Path.home() / ".cache" / "ganlens"


# --- backends that are not there


@pytest.mark.skipif("cuda" in USABLE, reason="there is a GPU")
def test_cuda_by_name_never_falls_back(tmp_path):
    with pytest.raises(
        BackendUnavailable, match=rf"'cuda' cannot run here: .* is not built for CUDA.*ganlens\[{CUDA_EXTRA}\]"
    ):
        open_backend(identity_model(tmp_path / "m.onnx"), "cuda")


@pytest.mark.skipif("cuda" in USABLE, reason="there is a GPU")
def test_cuda_that_is_listed_but_does_not_start(tmp_path, monkeypatch):
    """As on a machine with onnxruntime-gpu and no driver: the provider is listed, the session runs on the CPU."""
    import onnxruntime

    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    with (
        pytest.warns(UserWarning, match="not in available provider"),
        pytest.raises(BackendUnavailable, match="'cuda' cannot run here: CUDA did not start.*nvidia-smi"),
    ):
        open_backend(identity_model(tmp_path / "m.onnx"), "cuda")


@needs_both
@pytest.mark.skipif("cuda" in USABLE, reason="there is a GPU")
def test_auto_says_why_cuda_does_not_start(tmp_path, monkeypatch):
    real = registry.installed
    monkeypatch.setattr(registry, "installed", lambda name: "1.0" if name == "cuda" else real(name))
    with open_backend(identity_model(tmp_path / "m.onnx")) as backend:
        assert backend.choice.lines[1].startswith("cuda: No NVIDIA driver is installed")
    monkeypatch.setattr(registry, "driver_problem", lambda: None)
    with open_backend(identity_model(tmp_path / "m.onnx")) as backend:
        assert backend.choice.lines[1].startswith("cuda: the installed onnxruntime")
        assert "is not built for CUDA (pip uninstall onnxruntime" in backend.choice.lines[1]


@pytest.mark.parametrize(
    ("version", "libraries"),
    [
        ("12.8", ("cublas/lib/libcublasLt.so.12", "cuda_runtime/lib/libcudart.so.12", "cudnn/lib/libcudnn.so.9")),
        ("13.0", ("cu13/lib/libcublasLt.so.13", "cu13/lib/libcudart.so.13", "cudnn/lib/libcudnn.so.9")),
    ],
)
def test_cuda_is_loaded_from_the_packages_wherever_they_are(monkeypatch, tmp_path, version, libraries):
    """By ONNX Runtime's own function, as a build for CUDA has it; only the loading itself is noted down."""
    onnxruntime = pytest.importorskip("onnxruntime")
    if not hasattr(onnxruntime, "preload_dlls"):
        pytest.skip("onnxruntime before 1.21")
    if version == "13.0" and sys.version_info < (3, 11):
        pytest.skip("the last onnxruntime for Python 3.10 has no build for CUDA 13")
    files = [tmp_path / "nvidia" / library for library in libraries]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(onnxruntime, "cuda_version", version)
    loaded: list[str] = []
    monkeypatch.setattr(ctypes, "CDLL", loaded.append)
    onnxruntime_backend._preload_cuda(onnxruntime)
    assert {str(file) for file in files} <= set(loaded)


@pytest.mark.gpu
@pytest.mark.skipif(registry.installed("cuda") is None, reason="needs onnxruntime-gpu")
def test_cuda_runs(tmp_path):
    with open_backend(invert_model(tmp_path / "m.onnx"), "cuda") as backend:
        image = noise_image(SIZE)
        np.testing.assert_array_equal(backend.run(image).translated, -image)


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [("cpu", "onnxruntime", "cpu"), ("cuda", "onnxruntime", CUDA_EXTRA), ("openvino", "openvino", "openvino")],
)
def test_missing_package_names_its_extra(tmp_path, name, module, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=rf"pip install 'ganlens\[{extra}\]'"):
        open_backend(identity_model(tmp_path / "m.onnx"), name)
    status = next(status for status in available() if status.name == name)
    assert not status.usable
    assert status.cure == f"pip install 'ganlens[{extra}]'"


def test_status_in_order_of_preference():
    statuses = available()
    assert [status.name for status in statuses] == list(BACKENDS) == ["tensorrt", "cuda", "openvino", "cpu"]
    for status in statuses:
        assert bool(status.version and status.device) if status.usable else status.reason


# --- OpenVINO


@pytest.mark.parametrize(
    ("flags", "precision"),
    [
        ("avx2 fma", "f32"),
        ("avx512f avx512_vnni", "f32"),
        ("avx512f avx512_bf16", "bf16"),
        ("avx512_bf16 amx_bf16 amx_tile", "bf16"),
    ],
)
def test_precision_follows_the_units_that_multiply_bfloat16(tmp_path, monkeypatch, flags, precision):
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    assert openvino_backend.precision_hint() == "f32"
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags : {flags}\n")
    assert openvino_backend.precision_hint() == precision


@pytest.mark.skipif("openvino" not in USABLE, reason="needs openvino")
@pytest.mark.parametrize(("precision", "said"), [("f32", False), ("bf16", True)])
def test_a_backend_says_when_its_library_lowers_the_precision(tmp_path, monkeypatch, precision, said):
    monkeypatch.setattr(openvino_backend, "precision_hint", lambda: precision)
    with open_backend(identity_model(tmp_path / "m.onnx"), "openvino") as backend:
        assert backend.choice.lines[-1].endswith(", computing in bf16") == said


@pytest.mark.skipif("openvino" not in USABLE, reason="needs openvino")
def test_openvino_is_imported_without_its_telemetry():
    code = (
        "import sys, ganlens.engine.backends as b; assert [s for s in b.available() if s.name == 'openvino'][0].usable;"
        "print([m for m in sys.modules if m.split('.')[0] == 'openvino_telemetry'])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.skipif("openvino" not in USABLE, reason="needs openvino")
def test_openvino_is_imported_without_its_converter_which_others_still_get():
    code = (
        "import sys, ganlens.engine.backends as b; b.available();"
        "assert [s for s in b.available() if s.name == 'openvino'][0].usable;"  # the second time
        "import openvino; before = 'openvino.tools.ovc' in sys.modules;"
        "print(before, callable(openvino.convert_model), hasattr(openvino, 'unknown'))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "True", "False"]


@pytest.mark.skipif("openvino" not in USABLE, reason="needs openvino")
@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs POSIX signals")
def test_signals_arrive_after_another_thread_closed_a_network(tmp_path):
    """OpenVINO's plugin gives the main thread a stack for signals; it must not go with a network."""
    path = identity_model(tmp_path / "m.onnx")
    code = (
        "import gc, os, signal, threading, ganlens.engine.backends as b\n"
        "def close(opened):\n"
        "    opened.pop().close()\n"
        "    gc.collect()\n"
        "signal.signal(signal.SIGINT, lambda *_: print('heard', flush=True))\n"
        "for _ in range(2):\n"
        f"    opened = [b.open_backend({str(path)!r}, 'openvino', threads=1)]\n"
        "    b.warm_up(opened[0], None, None)\n"
        "    closing = threading.Thread(target=close, args=[opened])\n"
        "    closing.start(), closing.join()\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "heard\nheard\n"), done.stderr


@pytest.mark.skipif("openvino" not in USABLE, reason="needs openvino")
@pytest.mark.parametrize("plugin", [lambda device: {}, lambda device: (_ for _ in ()).throw(RuntimeError("no file"))])
def test_an_openvino_without_its_cpu_plugin(tmp_path, monkeypatch, plugin):
    core = SimpleNamespace(get_versions=plugin, available_devices=["GPU"])
    monkeypatch.setattr(registry.importlib.import_module("openvino"), "Core", lambda: core)
    with pytest.raises(BackendUnavailable, match=r"no CPU device here; found \['GPU'\]. Use --backend cpu"):
        open_backend(identity_model(tmp_path / "m.onnx"), "openvino")
    assert registry.status("openvino").reason == "it has no CPU device, only ['GPU']"


# --- imports, and the backend made of a function


@pytest.mark.parametrize("module", ["backends", "model", "model.description"])
def test_importing_leaves_the_libraries_alone(module):
    code = f"import sys, ganlens.engine.{module}; print(sorted({{m.split('.')[0] for m in sys.modules}}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for library in ("torch", "onnxruntime", "openvino", "av", "tensorrt", "onnx"):
        assert f"'{library}'" not in result.stdout


def test_function_backend():
    image = noise_image(SIZE)
    backend = FunctionBackend(make_spec(SIZE), lambda x: -x)
    np.testing.assert_array_equal(backend.run(image).translated, -image)
    mask = np.ones((1, 1, *SIZE), np.float32)
    assert FunctionBackend(make_spec(SIZE), lambda x: Output(x, mask)).run(image).mask is mask
    backend.close()


def test_latent_models_take_no_image(tmp_path):
    nodes = [helper.make_node("Reshape", ["z", "shape"], ["y"])]
    weights = [constant("shape", [-1, 3, 2, 4], np.int64)]
    spec = make_spec((2, 4), image=None, latent={"dim": 24})
    path = save_graph(tmp_path / "m.onnx", nodes, [tensor("z", (1, 24))], [tensor("y", (1, 3, 2, 4))], weights, spec)
    latent = np.arange(24, dtype=np.float32)[None]
    for name in USABLE:
        with open_backend(path, name) as backend:
            np.testing.assert_array_equal(backend.run(None, None, latent).translated.ravel(), latent.ravel())
            with pytest.raises(ShapeError, match=r"expected \(N, 24\)"):
                backend.run(None, None, latent[:, :5].copy())


def test_integer_inputs_of_our_own_record_are_refused(tmp_path):
    dims = (1, 3, *SIZE)
    nodes = [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)]
    path = save_graph(
        tmp_path / "m.onnx", nodes, [tensor("x", dims, TensorProto.UINT8)], [tensor("y", dims)], spec=make_spec(SIZE)
    )
    with pytest.raises(ModelFileError, match="'x' uint8"):
        open_backend(path, "cpu")
