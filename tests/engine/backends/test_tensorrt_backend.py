"""The backend on a fake GPU with the fake of each release; on a real GPU the contract in test_backends.py runs too."""

from __future__ import annotations

import functools
import gc
import importlib.util
import json
import weakref
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

import ganlens.engine.backends.tensorrt.backend as module
from ganlens.engine import Color, Compositor, Frame, Translator, backends
from ganlens.engine.backends import open_backend, registry
from ganlens.engine.backends.tensorrt import PlanCache, TensorRt, observed, read_record, write_plan
from ganlens.engine.backends.tensorrt import make as making
from ganlens.engine.cuda import Device
from ganlens.engine.cuda.device_protocol import DeviceBackend
from ganlens.engine.errors import (
    BackendError,
    BackendUnavailable,
    DeviceLost,
    DeviceMemoryError,
    MissingExtra,
    ModelFileError,
    OptionError,
    PlanError,
    ShapeError,
)
from ganlens.engine.model import read_model_spec
from tests.conftest import cuda_devices
from tests.engine.pixels.test_kernels import make_planes
from tests.fakes.cuda import FakeCuda
from tests.fakes.tensorrt import FakeTensorRt, install
from tests.kit.models import (
    attribute_model,
    constant,
    half_mask_model,
    half_precision_model,
    invert_model,
    make_spec,
    network_model,
    noise_image,
    save_graph,
    tensor,
)

SIZE = (16, 24)
RELEASES = ("10", "11", "rtx")
each_release = pytest.mark.parametrize("release", RELEASES)


class Machine:
    """A fake GPU with a release of TensorRT, as open_backend finds them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, release: str = "11") -> None:
        self.gpu = FakeCuda(capability=(8, 9) if release == "rtx" else (9, 0))
        self.trt: FakeTensorRt = install(monkeypatch, release, self.gpu)
        self.lines: list[str] = []
        monkeypatch.setattr(module, "Device", lambda index=0: Device(index, driver=self.gpu))
        monkeypatch.setattr(registry, "driver_problem", lambda: None)

    def open(self, path: Path, **options: Any) -> TensorRt:
        with observed(self.lines.append):
            opened = open_backend(path, "tensorrt", **options)
        assert isinstance(opened, TensorRt)
        return opened


@pytest.fixture
def machine(monkeypatch):
    return Machine(monkeypatch)


# --- the answer


@each_release
def test_the_answer_is_that_of_the_cpu(monkeypatch, tmp_path, release):
    machine = Machine(monkeypatch, release)
    path = network_model(tmp_path / "m.onnx", None)
    with machine.open(path) as backend, open_backend(path, "cpu") as cpu:
        assert (backend.name, backend.device) == ("tensorrt", "cpu")
        assert backend.library == f"{backend._trt.title} on Fake GPU"
        for size in [(16, 24), (64, 96), (16, 24)]:
            image = noise_image(size)
            np.testing.assert_allclose(backend.run(image).translated, cpu.run(image).translated, atol=1e-6)
        assert machine.trt.builds == 1  # one plan for all


@each_release
def test_mask_attributes_and_half_precision(monkeypatch, tmp_path, release):
    machine = Machine(monkeypatch, release)
    image = noise_image(SIZE)
    with machine.open(half_mask_model(tmp_path / "mask.onnx")) as backend:
        answer = backend.run(image)
        np.testing.assert_array_equal(answer.translated, -image)
        assert answer.mask is not None and answer.mask.mean() == 0.5
    with machine.open(attribute_model(tmp_path / "att.onnx")) as backend:
        two, attributes = noise_image(SIZE, batch=2), np.array([[1, 0], [0, 1]], np.float32)
        shift = np.array([1, -1], np.float32).reshape(2, 1, 1, 1)
        np.testing.assert_array_equal(backend.run(two, attributes).translated, two + shift)
    with machine.open(half_precision_model(tmp_path / "half.onnx")) as backend:
        answer = backend.run(image)
        assert answer.translated.dtype == np.float32
        np.testing.assert_allclose(answer.translated, -image, atol=2**-11)


@each_release
def test_generators_without_an_image(monkeypatch, tmp_path, release):
    machine = Machine(monkeypatch, release)
    spec = make_spec((2, 4), image=None, latent={"dim": 24})
    nodes = [helper.make_node("Reshape", ["z", "shape"], ["y"])]
    weights = [constant("shape", [-1, 3, 2, 4], np.int64)]
    dims = ("n", 24), ("n", 3, 2, 4)
    path = save_graph(tmp_path / "m.onnx", nodes, [tensor("z", dims[0])], [tensor("y", dims[1])], weights, spec)
    latent = np.arange(48, dtype=np.float32).reshape(2, 24)
    with machine.open(path) as backend:
        np.testing.assert_array_equal(backend.run(None, None, latent).translated.ravel(), latent.ravel())
    assert machine.trt.seen["profile"] == {"z": ([1, 24], [1, 24], [4, 24])}


def test_the_answer_belongs_to_the_caller_after_closing(machine, tmp_path):
    backend = machine.open(invert_model(tmp_path / "m.onnx"))
    answer = backend.run(noise_image(SIZE)).translated
    assert backend.run(noise_image(SIZE)).translated is answer
    backend.close()
    backend.close()
    del backend
    gc.collect()
    np.testing.assert_array_equal(answer, -noise_image(SIZE))
    del answer
    gc.collect()
    assert machine.gpu.live == (0, 0)  # nothing is left on the GPU, nor in pinned memory


# --- in device memory


@each_release
def test_bound_to_device_memory(monkeypatch, tmp_path, release):
    machine = Machine(monkeypatch, release)
    backend = machine.open(half_precision_model(tmp_path / "m.onnx"))
    assert isinstance(backend, DeviceBackend)
    device = Device(driver=machine.gpu)
    binding = backend.bind_device(device, ((1, 3, *SIZE),))
    assert [array.dtype for array in (*binding.inputs, *binding.outputs)] == [np.float16, np.float16]
    assert binding.capturable
    image = noise_image(SIZE).astype(np.float16)
    pinned = device.pinned(image.shape, image.dtype)
    pinned[:] = image
    stream = device.stream()
    allocations = machine.gpu.calls["cuMemAlloc"]
    graph = device.capture(stream, lambda: binding.enqueue(stream.handle))
    assert machine.gpu.calls["cuMemAlloc"] == allocations
    stream.to_device(binding.inputs[0], pinned)
    graph.launch(stream)
    stream.synchronize()
    np.testing.assert_array_equal(device.download(binding.outputs[0]), -image)


def test_what_warmed_up_is_used_not_bound_again(machine, tmp_path):
    backend = machine.open(invert_model(tmp_path / "m.onnx"))
    allocations = machine.gpu.calls["cuMemAlloc"]
    binding = backend.bind_device(Device(driver=machine.gpu), ((1, 3, *SIZE),))
    assert machine.gpu.calls["cuMemAlloc"] == allocations
    assert backend.bind_device(Device(driver=machine.gpu), ((1, 3, *SIZE),)) is not binding


def test_two_bindings_do_not_share_memory(machine, tmp_path):
    backend = machine.open(invert_model(tmp_path / "m.onnx"))
    device = Device(driver=machine.gpu)
    one, two = (backend.bind_device(device, ((1, 3, *SIZE),)) for _ in range(2))
    pointers = [array.pointer for binding in (one, two) for array in (*binding.inputs, *binding.outputs)]
    assert len(set(pointers)) == 4


@each_release
@pytest.mark.parametrize("in_flight", [1, 3])
def test_the_translator_takes_frames_through_the_plan(monkeypatch, tmp_path, release, in_flight):
    """The whole way, upload to download, in one graph where one frame is in flight; against the CPU's kernels."""
    machine = Machine(monkeypatch, release)
    given = [
        Frame(make_planes("yuv420p", (32, 48), seed, padding=seed % 3), "yuv420p", Color(), Fraction(seed, 25))
        for seed in range(5)
    ]
    path = network_model(tmp_path / "m.onnx", None)
    with Translator.open(path, backend="tensorrt", in_flight=in_flight, frame_size=(32, 48)) as ours:
        assert ours.choice is not None and len(ours.choice.lines) == 1, ours.choice  # that it runs there; no fall-back
        assert ours.in_flight == in_flight
        reference = Translator(ours.backend, Compositor(ours.spec, target="scalar"))
        for frame, answer in zip(given, ours.stream(given), strict=True):
            expected = reference(frame)
            assert answer.time == frame.time
            for a, b in zip(answer.planes, expected.planes, strict=True):
                np.testing.assert_array_equal(a, b)
        assert machine.gpu.calls["cuGraphLaunch"] >= len(given)
        assert set(ours.times.summary()) == {"upload", "wait"}  # whole frames are handed out where they were downloaded
    assert machine.trt.builds == 1


@pytest.mark.parametrize("batch", [3, 6])
def test_frames_that_share_a_run_have_one_plan_for_all_numbers(machine, monkeypatch, tmp_path, batch):
    given = [
        Frame(make_planes("nv12", (32, 48), seed), "nv12", Color(), Fraction(seed, 25)) for seed in range(batch + 2)
    ]
    path = network_model(tmp_path / "m.onnx", None)
    with Translator.open(path, backend="tensorrt", batch=batch, frame_size=(32, 48)) as ours:
        reference = Translator(ours.backend, Compositor(ours.spec, target="scalar"))
        allocations = machine.gpu.calls["cuMemAlloc"]
        answers = list(ours.stream(given))
        assert machine.gpu.calls["cuMemAlloc"] == allocations + 3, (
            "tables, frames under way and frames handed out: the network was bound at the start"
        )
        for frame, answer in zip(given, answers, strict=True):
            for a, b in zip(answer.planes, reference(frame).planes, strict=True):
                assert np.abs(a.astype(int) - b).max() <= 1  # the library may add up in another order
    assert machine.trt.builds == 1  # of 1 to 4 pictures, or to as many as were asked for


@each_release
def test_a_model_of_a_fixed_batch_opens(monkeypatch, tmp_path, release):
    machine = Machine(monkeypatch, release)
    dims = (3, 3, *SIZE)
    nodes = [helper.make_node("Neg", ["x"], ["y"])]
    path = save_graph(tmp_path / "m.onnx", nodes, [tensor("x", dims)], [tensor("y", dims)], spec=make_spec(SIZE))
    with machine.open(path) as backend:
        image = noise_image(SIZE, batch=3)
        np.testing.assert_array_equal(backend.run(image).translated, -image)
    with pytest.raises(OptionError, match="batch of 2 was asked for; m.onnx is made for a batch of 3"):
        machine.open(path, batch=2)
    assert machine.trt.builds == 1


# --- plans


@each_release
def test_the_plan_is_built_once_and_found_at_the_next_start(monkeypatch, tmp_path, release):
    machine = Machine(monkeypatch, release)
    path = network_model(tmp_path / "m.onnx", None)
    machine.open(path).close()
    assert (machine.trt.builds, len(machine.lines)) == (1, 1)
    title = {"10": "TensorRT 10.3.0", "11": "TensorRT 11.4.0.106", "rtx": "TensorRT for RTX 1.7.1.116"}[release]
    assert machine.lines[0] == (
        f"{title} builds a plan of m.onnx for 1x3x4x4 to 4x3x512x512, fastest at 1x3x16x24; "
        "it is kept for the next start"
    )
    machine.lines.clear()
    machine.open(path).close()
    assert (machine.trt.builds, machine.lines) == (1, [])


def test_larger_shapes_get_a_plan_of_their_own(machine, tmp_path):
    with machine.open(network_model(tmp_path / "m.onnx", None)) as backend:
        backend.run(noise_image((720, 1280)))
        assert machine.trt.builds == 2
        backend.run(noise_image((700, 1200)))
        assert machine.trt.builds == 2
        backend.run(noise_image((16, 24), batch=5))
        assert machine.trt.builds == 3


@pytest.mark.parametrize("what", ["gpu", "driver", "library", "model"])
def test_a_plan_of_something_else_is_not_used(machine, monkeypatch, tmp_path, what):
    path = network_model(tmp_path / "m.onnx", None)
    machine.open(path).close()
    if what == "gpu":
        machine.gpu.capability = (8, 9)
    elif what == "driver":
        machine.gpu.version = 13010
    elif what == "library":
        machine.trt.__version__ = "11.5.0"
    else:
        network_model(path, None, depth=3)
    machine.open(path).close()
    assert machine.trt.builds == 2


def test_a_damaged_plan_is_built_again_with_one_line(machine, tmp_path):
    path = network_model(tmp_path / "m.onnx", None)
    machine.open(path).close()
    (entry,) = PlanCache().entries()
    entry.path.write_bytes(entry.path.read_bytes()[:-1])
    machine.lines.clear()
    machine.open(path).close()
    assert machine.trt.builds == 2
    assert len([line for line in machine.lines if "its record says" in line]) == 1


def test_a_plan_that_the_library_refuses_is_built_again(machine, tmp_path):
    path = network_model(tmp_path / "m.onnx", None)
    machine.open(path).close()
    (entry,) = PlanCache().entries()
    content = entry.path.read_bytes().replace(b'"version": "11.4.0.106"', b'"version": "11.4.0.105"')
    assert entry.record is not None
    import hashlib

    changed = entry.record.model_copy(update={"plan_sha256": hashlib.sha256(content).hexdigest()})
    write_plan(entry.path, content, changed)
    machine.lines.clear()
    machine.open(path).close()
    assert machine.trt.builds == 2
    assert machine.lines[0].startswith("plan built again: TensorRT 11.4.0.106 cannot open")


def test_timings_are_kept_beside_the_plans(machine, tmp_path, own_cache):
    machine.open(invert_model(tmp_path / "a.onnx")).close()
    (timings,) = (own_cache / "plans").glob("timings-*.cache")
    assert timings.read_bytes() == b"11.4.0.106+timed"
    machine.open(network_model(tmp_path / "b.onnx")).close()
    assert machine.trt.seen["timings"] == b"11.4.0.106+timed"


def test_kernels_of_tensorrt_for_rtx_are_kept(monkeypatch, tmp_path, own_cache):
    machine = Machine(monkeypatch, "rtx")
    path = network_model(tmp_path / "m.onnx", None)
    with machine.open(path) as backend:
        backend.run(noise_image((64, 64)))
    assert not list((own_cache / "plans").glob("timings-*"))
    assert len(list((own_cache / "plans").glob("*.kernels"))) == 1
    machine.open(path).close()
    assert machine.trt.seen["kernels"] == ["1x3x16x24", "1x3x64x64"]


# --- a plan given by path


def plan_file(machine: Machine, folder: Path) -> Path:
    """A plan as ``engine build -o face.plan`` leaves it."""
    machine.open(network_model(folder / "m.onnx", None)).close()
    (entry,) = PlanCache().entries()
    assert entry.record is not None
    path = folder / "face.plan"
    write_plan(path, entry.path.read_bytes(), entry.record)
    PlanCache().remove(entry)
    (folder / "m.onnx").unlink()
    return path


def test_a_plan_given_by_path_runs_without_its_onnx_file(machine, tmp_path):
    path = plan_file(machine, tmp_path)
    assert read_model_spec(path).size.preferred == SIZE
    for name in ("auto", "tensorrt"):
        with open_backend(path, name) as backend:
            assert backend.choice.name == "tensorrt"
            assert backend.run(noise_image((64, 64))).translated.shape == (1, 3, 64, 64)
            with pytest.raises(
                ShapeError, match=r"face.plan takes 1x3x4x4 to 4x3x512x512.*engine build MODEL.onnx --opt"
            ):
                backend.run(noise_image((720, 1280)))
    assert machine.trt.builds == 1
    with pytest.raises(
        OptionError, match=r"face.plan is a TensorRT plan, which only --backend tensorrt runs; got --backend cpu"
    ):
        open_backend(path, "cpu")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"library": "TensorRT 10.3.0"},
            "face.plan was built with TensorRT 10.3.0; this is TensorRT 11.4.0.106.* engine bu",
        ),
        ({"gpu": "NVIDIA T4"}, "face.plan was built for NVIDIA T4; this is Fake GPU.*engine build m.onnx -o face.plan"),
    ],
)
def test_a_plan_given_by_path_for_something_else(machine, tmp_path, change, says):
    path = plan_file(machine, tmp_path)
    record = read_record(path)
    write_plan(path, path.read_bytes(), record.model_copy(update={"key": record.key.model_copy(update=change)}))
    with pytest.raises(PlanError, match=says):
        open_backend(path)


def test_a_plan_without_its_record_is_not_opened(machine, tmp_path):
    path = plan_file(machine, tmp_path)
    (tmp_path / "face.plan.json").unlink()
    with pytest.raises(PlanError, match="no readable record"):
        open_backend(path)


def test_the_record_of_a_plan_is_read_as_json_only(machine, tmp_path):
    path = plan_file(machine, tmp_path)
    record = json.loads((tmp_path / "face.plan.json").read_text())
    assert record["spec"]["name"] == "tiny"
    assert set(record["key"]) >= {"onnx_sha256", "library", "driver", "gpu", "compute_capability"}
    assert path.stat().st_size == record["plan_bytes"]


# --- failures


@each_release
@pytest.mark.parametrize(
    ("what", "said", "error"),
    [
        ("context", "Error Code 2: OutOfMemory (Requested size was 123 bytes.)", DeviceMemoryError),
        ("context", "Error Code 1: Cuda Runtime (something else)", BackendError),
        ("execute", "(cudaError 719: unspecified launch failure)", DeviceLost),
        ("deserialize", "(cudaError 35: CUDA driver version is insufficient)", BackendUnavailable),
    ],
)
def test_failures_have_one_message_each(monkeypatch, tmp_path, release, what, said, error):
    machine = Machine(monkeypatch, release)
    machine.trt.fails[what] = said
    with pytest.raises(error) as caught:
        machine.open(invert_model(tmp_path / "m.onnx"))
    assert type(caught.value) is error
    assert str(caught.value).startswith(f"TensorRT {'for RTX 1.7' if release == 'rtx' else release}")


def test_no_memory_on_the_gpu(machine, tmp_path):
    machine.gpu.memory = 1000
    with pytest.raises(DeviceMemoryError, match="not enough free memory"):
        machine.open(invert_model(tmp_path / "m.onnx"))


def test_auto_goes_on_with_one_line_each(machine, monkeypatch, tmp_path):
    """tensorrt is there and fails; the next ones are asked."""
    monkeypatch.setattr(registry, "installed", lambda name: None if name == "cuda" else "1.0")
    machine.trt.fails["build"] = "Error Code 10: Internal Error (Could not find any implementation for node c.)"
    with open_backend(network_model(tmp_path / "m.onnx", None)) as backend:
        assert backend.name in ("cpu", "openvino")
        lines = backend.choice.lines
    assert lines[0].startswith("tensorrt: TensorRT 11.4.0.106 cannot build a plan of m.onnx for 1x3x4x4 to")
    assert "Could not find any implementation for node c" in lines[0]
    assert lines[1].startswith("cuda: onnxruntime-gpu is not installed")


def test_auto_takes_tensorrt_where_it_runs(machine, monkeypatch, tmp_path):
    monkeypatch.setattr(registry, "installed", lambda name: "1.0")
    with open_backend(network_model(tmp_path / "m.onnx", None)) as backend:
        assert backend.name == "tensorrt"
        assert backend.choice.lines == ("tensorrt: runs on TensorRT 11.4.0.106 on Fake GPU",)


def test_foreign_models(machine, tmp_path):
    """Their sizes are found by trying, within one plan."""
    path = network_model(tmp_path / "m.onnx", None, depth=3, foreign=True)
    with machine.open(path, value_range=(-1, 1)) as backend:
        assert (backend.spec.size.multiple_of, backend.spec.size.minimum) == (8, 72)
        assert machine.trt.builds == 1
    with pytest.raises(ModelFileError, match="Give it with --range"):
        machine.open(path)


# --- what the user is told of this machine


def state() -> Any:
    return next(row for row in backends.available() if row.name == "tensorrt")


@each_release
def test_status(monkeypatch, release):
    machine = Machine(monkeypatch, release)
    row = state()
    version = {"10": "10.3.0", "11": "11.4.0.106", "rtx": "RTX 1.7.1.116"}[release]
    assert (row.usable, row.version, row.device) == (True, version, "cuda:0")
    machine.gpu.devices = 0
    row = state()
    assert not row.usable
    assert "The driver finds no GPU" in row.reason
    machine.gpu.devices, machine.gpu.version = 1, 11080
    assert "The NVIDIA driver is too old: it supports CUDA 11.8" in state().reason


def test_status_without_the_library(monkeypatch):
    Machine(monkeypatch, "11")
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    row = state()
    assert (row.usable, row.reason) == (False, "tensorrt or tensorrt-rtx is not installed")
    assert row.cure == "pip install 'ganlens[tensorrt]'"


@pytest.mark.skipif(cuda_devices() > 0, reason="there is a GPU")
def test_here_there_is_no_driver(tmp_path):
    pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx")
    row = state()
    assert not row.usable
    assert "driver" in row.reason
    with pytest.raises((BackendUnavailable, MissingExtra), match="driver"):
        open_backend(invert_model(tmp_path / "m.onnx"), "tensorrt")


def test_a_gpu_by_number(monkeypatch, tmp_path):
    machine = Machine(monkeypatch)
    machine.gpu.devices = 2
    backend = machine.open(invert_model(tmp_path / "m.onnx"), device=1)
    assert backend.gpu.index == 1
    with pytest.raises(BackendUnavailable, match="got GPU 2; this machine shows 0 to 1"):
        machine.open(invert_model(tmp_path / "m.onnx"), device=2)
    with pytest.raises(OptionError, match="got GPU 1; .* 'cpu' runs on the CPU. .* name one of tensorrt, cuda"):
        open_backend(invert_model(tmp_path / "m.onnx"), "cpu", device=1)


def test_a_plan_is_built_on_the_gpu_that_is_asked_for(monkeypatch, tmp_path):
    machine = Machine(monkeypatch)
    machine.gpu.devices = 2
    monkeypatch.setattr(making, "Device", lambda index=0: Device(index, driver=machine.gpu))
    used: list[int] = []
    monkeypatch.setattr(Device, "use", lambda device: used.append(device.index))
    assert making.make_plan(invert_model(tmp_path / "m.onnx"), gpu=1).built
    assert set(used) == {1}
    with pytest.raises(BackendUnavailable, match="got GPU 2; this machine shows 0 to 1"):
        making.make_plan(invert_model(tmp_path / "m.onnx"), gpu=2)


def test_auto_with_a_gpu_by_number_takes_no_cpu(monkeypatch, tmp_path):
    monkeypatch.setattr(registry, "installed", lambda name: None if registry.BACKENDS[name].on_gpu else "1")
    with pytest.raises(BackendUnavailable, match=r"No backend runs on GPU 0. tensorrt: .*engine backends lists"):
        open_backend(invert_model(tmp_path / "m.onnx"), device=0)


def test_gpus_that_rtx_does_not_support_are_told_before_a_plan_is_built(monkeypatch, tmp_path):
    """It would refuse each plan, which would be thrown away and built again at every start."""
    machine = Machine(monkeypatch, "rtx")
    machine.gpu.capability = (9, 0)
    row = state()
    assert not row.usable
    assert "supports compute capabilities 7.5, 8.0, 8.6, 8.9, 12.0, 12.1; Fake GPU has 9.0" in row.reason
    assert "pip install 'ganlens[tensorrt]'" in row.reason
    with pytest.raises(BackendUnavailable, match="Fake GPU has 9.0"):
        machine.open(invert_model(tmp_path / "m.onnx"))
    assert not list(PlanCache().folder.glob("*.plan"))


def test_a_plan_that_the_library_cannot_run_here_is_kept(monkeypatch, tmp_path):
    machine = Machine(monkeypatch, "rtx")
    path = invert_model(tmp_path / "m.onnx")
    machine.open(path).close()
    (plan,) = PlanCache().folder.glob("*.plan")
    machine.trt.fails["validity"] = "UNSUPPORTED_CC"
    with pytest.raises(BackendUnavailable, match="the library does not support this one"):
        machine.open(path)
    assert plan.exists()


def test_a_context_is_freed_before_what_it_uses(monkeypatch, tmp_path):
    """The library's contexts do not keep the cache of kernels alive."""
    machine = Machine(monkeypatch, "rtx")
    backend = machine.open(invert_model(tmp_path / "m.onnx"))
    binding = backend.bind_device(backend.gpu, ((1, 3, *SIZE),))
    freed: list[str] = []
    weakref.finalize(binding._context, freed.append, "context")
    weakref.finalize(binding._opened.kernels._cache, freed.append, "kernels")
    binding._context._config = None
    backend.close()
    del binding, backend
    gc.collect()
    assert freed == ["context", "kernels"]


@pytest.mark.parametrize(("integrated", "workspace"), [(False, 0), (True, 1 << 30)])
def test_a_build_leaves_memory_to_a_host_that_shares_it(monkeypatch, tmp_path, integrated, workspace):
    machine = Machine(monkeypatch)
    machine.gpu.integrated = integrated
    machine.open(invert_model(tmp_path / "m.onnx"))
    assert machine.trt.seen["workspace"] == workspace


def test_a_library_without_a_distribution_is_found(monkeypatch):
    """JetPack's TensorRT comes from apt."""
    install(monkeypatch, "10", FakeCuda())
    monkeypatch.setattr(registry.importlib.metadata, "version", no_distribution)
    assert registry.installed("tensorrt") == ""
    assert registry.quick_problem("tensorrt") is None


def no_distribution(name: str) -> str:
    raise registry.importlib.metadata.PackageNotFoundError(name)


# --- a real GPU


@pytest.mark.gpu
def test_on_the_gpu(tmp_path):
    """The installed library, for real: the CPU's answer, eager and as a captured graph; the plan is found again."""
    if not any(importlib.util.find_spec(name) for name in ("tensorrt", "tensorrt_rtx")):
        pytest.skip("needs tensorrt or tensorrt-rtx")
    path = network_model(tmp_path / "m.onnx", None)
    image = noise_image((64, 96))
    with open_backend(path, "cpu") as cpu:
        expected = cpu.run(image).translated.copy()
    lines: list[str] = []
    for _ in range(2):
        with observed(lines.append), open_backend(path, "tensorrt") as backend:
            np.testing.assert_allclose(backend.run(image).translated, expected, atol=5e-3)  # TF32
            assert isinstance(backend, TensorRt)
            device = Device()
            binding = backend.bind_device(device, ((1, 3, 64, 96),))
            stream = device.stream()
            assert binding.capturable
            graph = device.capture(stream, functools.partial(binding.enqueue, stream.handle))
            pinned = device.pinned(image.shape, np.float32)
            pinned[:] = image
            stream.to_device(binding.inputs[0], pinned)
            graph.launch(stream)
            stream.synchronize()
            np.testing.assert_allclose(device.download(binding.outputs[0]), expected, atol=5e-3)
    assert len([line for line in lines if "builds a plan" in line]) == 1
