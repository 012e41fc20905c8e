"""A frame's whole way over the GPU against the CPU path, bit for bit, on the fake driver.

The network is a function on the host that is put into the stream as a library puts its own kernels there.
"""

from __future__ import annotations

import ctypes
import gc
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from ganlens.engine import (
    Color,
    Compositor,
    Frame,
    Framing,
    GeneratorSpec,
    Output,
    Translator,
)
from ganlens.engine.backends import registry
from ganlens.engine.backends.onnxruntime_backend import OnnxRuntimeCuda
from ganlens.engine.cuda import Device, DeviceArray, dlpack
from ganlens.engine.errors import (
    BackendError,
    BackendUnavailable,
    DeviceLost,
    DeviceMemoryError,
    MissingExtra,
    OptionError,
    ShapeError,
)
from ganlens.engine.media import av_frames
from ganlens.engine.spec import AttributeInput, ImageOutput, SizeRule
from ganlens.engine.ways import gpu as pipeline
from ganlens.engine.ways import opening
from ganlens.engine.ways.base import Item, Lease, Look, Pending
from ganlens.engine.ways.gpu import FramePipeline
from ganlens.engine.ways.looks import Looks
from ganlens.engine.ways.scheduler import translated
from tests.engine.pixels.test_kernels import FORMATS, make_planes
from tests.fakes.cuda import FakeCuda, OnnxRuntimeOnFake, kept_cubins
from tests.kit.models import (
    attribute_model,
    half_mask_model,
    half_precision_model,
    network_model,
    save_graph,
    tensor,
)


@pytest.fixture(autouse=True)
def compiled_once(own_cache: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANLENS_CACHE", str(kept_cubins()))


Network = Callable[..., tuple[NDArray[np.float32], ...]]
ILLEGAL_ADDRESS, OUT_OF_MEMORY = 700, 2


def negative(image: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
    return (-image,)


def shifted(image: NDArray[np.float32], attributes: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
    return (image * 0.5 + attributes[0, 0] - attributes[0, 1],)


def masked(image: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
    return -image, np.clip(image[:, :1] * 0.5 + 0.5, 0, 1)


class FunctionNetwork:
    """A backend whose network is a function, bound to the fake GPU's memory."""

    def __init__(
        self, fake: FakeCuda, function: Network, outputs: int = 1, dtype: type = np.float32, capturable: bool = True
    ) -> None:
        self.fake, self.function, self.outputs, self.dtype = fake, function, outputs, dtype
        self.capturable = capturable
        self.name, self.concurrent = "function", True
        self.bound: list[tuple[tuple[int, ...], ...]] = []

    def bind_device(self, device: Device, shapes: tuple[tuple[int, ...], ...]) -> FunctionBinding:
        self.bound.append(shapes)
        return FunctionBinding(self, device, shapes)

    def close(self) -> None:
        pass


class FunctionBinding:
    def __init__(self, network: FunctionNetwork, device: Device, shapes: tuple[tuple[int, ...], ...]) -> None:
        self.network, self.capturable = network, network.capturable
        batch, _, *size = shapes[0]
        self.inputs = tuple(device.empty(shape, network.dtype) for shape in shapes)
        self.outputs = tuple(device.empty((batch, channels, *size), network.dtype) for channels in (3, 1))
        self.outputs = self.outputs[: network.outputs]
        self.runs = 0

    def enqueue(self, stream: int) -> None:
        self.runs += 1
        self.network.fake.put(stream, self.run)

    def run(self) -> None:
        inputs = (host_view(array).astype(np.float32) for array in self.inputs)
        for array, answer in zip(self.outputs, self.network.function(*inputs), strict=True):
            np.copyto(host_view(array), answer, casting="same_kind")


def host_view(array: DeviceArray) -> NDArray[Any]:
    """The fake GPU's memory."""
    memory: Any = (ctypes.c_uint8 * array.nbytes).from_address(array.pointer)
    return np.frombuffer(memory, array.dtype).reshape(array.shape)


def spec(**changes: Any) -> GeneratorSpec:
    record = {"name": "tiny", "architecture": "cyclegan", "size": SizeRule(multiple_of=4, preferred=(24, 32))}
    return GeneratorSpec.model_validate(record | changes)


def frames(format: str, size: tuple[int, int], count: int, color: Color | None = None) -> list[Frame]:
    return [
        Frame(make_planes(format, size, seed, padding=seed % 3), format, color or Color(), Fraction(seed, 25))
        for seed in range(count)
    ]


def on_cpu(
    function: Network, frame: Frame, framing: Framing, record: GeneratorSpec, *attributes: Any, **blending: Any
) -> Frame:
    """The CPU path with the scalar kernels."""
    compositor = Compositor(record, framing, target="scalar", **blending)
    image = compositor.prepare(frame)
    result = frame.copy()
    compositor.compose(frame, Output(*function(image[None], *attributes)), result, prepared=image)
    return result


def assert_same(ours: Frame, theirs: Frame) -> None:
    assert (ours.format, ours.color, ours.time) == (theirs.format, theirs.color, theirs.time)
    for a, b in zip(ours.planes, theirs.planes, strict=True):
        assert np.array_equal(a, b)


class Pipeline(FramePipeline):
    """A way over the GPU that is run by itself, with one vector of attributes."""

    def look(self, vector: NDArray[np.float32] | None = None) -> Look:
        return Look(vector, self.compositor.opacity, self.compositor.detail)

    def __call__(self, frame: Frame, vector: NDArray[np.float32] | None = None) -> Frame:
        return self.translate(Item(frame, self.look(vector)))

    def stream(self, given: Iterable[Frame], vector: NDArray[np.float32] | None = None) -> Iterator[Frame]:
        lease, looks = Lease(self), Looks({})
        looks.at = lambda way: self.look(vector)  # type: ignore[method-assign]
        return translated(given, lambda: lease, looks)


def make(
    network: FunctionNetwork, framing: Framing | None = None, record: GeneratorSpec | None = None, **options: Any
) -> Pipeline:
    blending = {name: options.pop(name) for name in ("detail", "opacity") if name in options}
    compositor = Compositor(record or spec(), framing, **blending)
    return Pipeline(Device(driver=network.fake), network, compositor, **options)


def used(stream: Iterable[Frame]) -> int:
    """Take frames one after the other without keeping them, as an encoder does; returns how many."""
    count = 0
    for frame in stream:
        count += 1
        del frame
    return count


FRAMINGS = {
    "fit": Framing("fit"),
    "crop": Framing("crop", region=(5, 7, 40, 30)),
    "crop at the edge": Framing("crop", region=(0, 20, 64, 28), feather=6),
    "native": Framing("native"),
}


@pytest.mark.parametrize("in_flight", [1, 2, 3])
@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("format", FORMATS)
def test_frames_are_those_of_the_cpu(format: str, framing: str, in_flight: int) -> None:
    pipeline = make(FunctionNetwork(FakeCuda(), negative), FRAMINGS[framing], in_flight=in_flight)
    given = frames(format, (48, 66), 7)
    before = [frame.copy() for frame in given]
    answers = list(pipeline.stream(given))
    assert len(answers) == 7
    for frame, answer, original in zip(given, answers, before, strict=True):
        assert_same(answer, on_cpu(negative, frame, FRAMINGS[framing], spec()))
        assert_same(frame, original)


@pytest.mark.parametrize("capturable", [True, False])
@pytest.mark.parametrize("in_flight", [1, 2])
def test_masks_detail_and_opacity(in_flight: int, capturable: bool) -> None:
    record = spec(output=ImageOutput(kind="segment", mask="mask"))
    network = FunctionNetwork(FakeCuda(), masked, outputs=2, capturable=capturable)
    pipeline = make(network, FRAMINGS["crop"], record, in_flight=in_flight, detail=0.7, opacity=0.8)
    given = frames("yuv420p", (51, 67), 4, Color("bt601", True, "center"))
    for frame, answer in zip(given, pipeline.stream(given), strict=True):
        assert_same(answer, on_cpu(masked, frame, FRAMINGS["crop"], record, detail=0.7, opacity=0.8))


@pytest.mark.parametrize("in_flight", [1, 2])
def test_memory_shared_with_the_host_is_not_copied(in_flight: int) -> None:
    """On an integrated GPU the kernels work on the host's own memory, one graph a frame."""
    fake = FakeCuda(integrated=True)
    pipeline = make(FunctionNetwork(fake, negative), FRAMINGS["crop"], in_flight=in_flight)
    given = frames("nv12", (48, 66), 5)
    for frame, answer in zip(given, pipeline.stream(given), strict=True):
        assert_same(answer, on_cpu(negative, frame, FRAMINGS["crop"], spec()))
    assert not [name for name in fake.calls if name.startswith("cuMemcpy") and name.endswith("Async")]
    assert fake.calls["cuGraphLaunch"] == 5


@pytest.mark.parametrize("in_flight", [1, 3])
def test_attributes_reach_their_frame(in_flight: int) -> None:
    """Those of frames under way do not change when the next frame has others."""
    record = spec(attributes=AttributeInput(names=("brighter", "darker")))
    pipeline = make(FunctionNetwork(FakeCuda(), shifted), None, record, in_flight=in_flight)
    given = frames("nv12", (40, 56), 6)
    vectors = [np.array([[index / 6, 0.25]], np.float32) for index in range(6)]
    answers: list[Frame] = []
    pending: deque[Pending] = deque()
    for frame, vector in zip(given, vectors, strict=True):
        pending.append(pipeline.start([Item(frame, pipeline.look(vector))]))
        if len(pending) == in_flight:
            answers += pending.popleft().finish()
    while pending:
        answers += pending.popleft().finish()
    for frame, vector, answer in zip(given, vectors, answers, strict=True):
        assert_same(answer, on_cpu(shifted, frame, Framing(), record, vector))


def test_half_precision_stays_close() -> None:
    pipeline = make(FunctionNetwork(FakeCuda(), negative, dtype=np.float16))
    (frame,) = frames("yuv420p", (48, 64), 1)
    expected = on_cpu(negative, frame, Framing(), spec())
    for ours, theirs in zip(pipeline(frame).planes, expected.planes, strict=True):
        assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_one_frame_is_one_launch_and_nothing_is_allocated() -> None:
    fake = FakeCuda()
    pipeline = make(FunctionNetwork(fake, negative))
    given = frames("yuv420p", (48, 64), 5)
    pipeline(given[0])
    before, live = fake.calls.copy(), fake.live
    for frame in given[1:]:
        pipeline(frame)
    made = fake.calls - before
    context = {"cuCtxPushCurrent": 8, "cuCtxPopCurrent": 8}
    assert made == {"cuGraphLaunch": 4, "cuEventRecord": 4, "cuEventSynchronize": 4, **context}
    assert fake.live == live


def test_with_several_in_flight_copies_have_their_own_streams() -> None:
    fake = FakeCuda()
    pipeline = make(FunctionNetwork(fake, negative), in_flight=2)
    given = frames("yuv420p", (48, 64), 6)
    used(pipeline.stream(given))
    before = fake.calls.copy()
    used(pipeline.stream(given[2:]))
    made = fake.calls - before
    assert made["cuGraphLaunch"] == 12  # upload, network, download
    assert made["cuStreamWaitEvent"] == 8
    assert not {name for name in made if "Alloc" in name or "Create" in name}


@pytest.mark.parametrize("capturable", [True, False])
@pytest.mark.parametrize(("streams", "in_flight", "batch"), [(2, 1, 1), (3, 4, 1), (2, 2, 3)])
def test_networks_beside_each_other(streams: int, in_flight: int, batch: int, capturable: bool) -> None:
    """Each frame has a stream for itself, from the upload to the download, and the networks' memory is their own."""
    record = spec(attributes=AttributeInput(names=("brighter", "darker")))
    fake = FakeCuda()
    network = FunctionNetwork(fake, shifted_each, capturable=capturable)
    pipeline = make(network, FRAMINGS["crop"], record, streams=streams, in_flight=in_flight, batch=batch)
    assert pipeline.in_flight == max(streams, in_flight)
    pipeline.warm_up((51, 67))
    assert len(network.bound) == streams
    given = frames("yuv420p", (51, 67), 9)
    vector = np.array([[0.5, 0.25]], np.float32)
    for _ in range(2):
        before = fake.calls.copy()
        for frame, answer in zip(given, pipeline.stream(given, vector), strict=True):
            assert_same(answer, on_cpu(shifted, frame, FRAMINGS["crop"], record, vector))
    assert len(network.bound) == streams and not (fake.calls - before)["cuStreamWaitEvent"]
    arrays = [pipeline.device.upload(plane.copy()) for plane in given[0].planes]
    pipeline.on_device(arrays, "yuv420p", look=pipeline.look(vector))
    expected = on_cpu(shifted, given[0], FRAMINGS["crop"], record, vector)
    for array, plane in zip(arrays, expected.planes, strict=True):
        assert np.array_equal(pipeline.device.download(array), plane)


def test_a_library_with_one_stream_is_named() -> None:
    network = FunctionNetwork(FakeCuda(), negative)
    network.concurrent = False
    with pytest.raises(OptionError, match="streams: got 2; function runs on one"):
        make(network, streams=2)
    with pytest.raises(OptionError, match="streams: got 0, expected at least 1"):
        make(network, streams=0)


def test_answers_come_as_soon_as_the_flight_is_full() -> None:
    taken = []

    def source() -> Any:
        for index, frame in enumerate(frames("rgb24", (40, 40), 5)):
            taken.append(index)
            yield frame

    pipeline = make(FunctionNetwork(FakeCuda(), negative), in_flight=3)
    stream = pipeline.stream(source())
    next(stream)
    assert taken == [0, 1, 2]
    next(stream)
    assert taken == [0, 1, 2, 3]
    stream.close()
    assert not pipeline._flying
    assert len(list(pipeline.stream(frames("rgb24", (40, 40), 2)))) == 2


def test_with_one_in_flight_an_answer_does_not_wait_for_the_next_frame() -> None:
    def source() -> Any:
        yield frames("rgb24", (40, 40), 1)[0]
        pytest.fail("a second frame was asked for before the first was answered")

    next(make(FunctionNetwork(FakeCuda(), negative)).stream(source()))


@pytest.mark.parametrize("in_flight", [1, 2])
def test_many_sizes_keep_few_graphs(in_flight: int) -> None:
    """A folder of pictures: each is right, the oldest sizes make room, and all memory comes back in the end."""
    fake = FakeCuda()
    network = FunctionNetwork(fake, negative)
    pipeline = make(network, in_flight=in_flight)
    given = [frames("rgb24", (30 + 4 * index, 40), 1)[0] for index in range(7)]
    most = 0
    for frame, answer in zip(given * 2, pipeline.stream(given * 2), strict=True):
        assert_same(answer, on_cpu(negative, frame, Framing(), spec()))
        most = max(most, len(fake._executables))
    assert len(pipeline._routes) == 4
    assert most <= (4 + in_flight) * in_flight * 3
    pipeline.close()
    del pipeline, answer
    gc.collect()
    assert fake.live == (0, 0)


def page_locked(fake: FakeCuda, array: NDArray[np.uint8]) -> bool:
    return fake._holds(fake._pinned, array.ctypes.data, array.nbytes)


@pytest.mark.parametrize("integrated", [False, True])
@pytest.mark.parametrize(("in_flight", "batch"), [(1, 1), (3, 1), (2, 3)])
@pytest.mark.parametrize("format", FORMATS)
def test_whole_frames_are_the_memory_that_they_are_downloaded_into(
    format: str, in_flight: int, batch: int, integrated: bool
) -> None:
    """Nobody copies them, nobody overwrites them, and those that are kept for long are copied in the end."""
    fake = FakeCuda(integrated=integrated)
    pipeline = make(FunctionNetwork(fake, negative), in_flight=in_flight, batch=batch)
    given = frames(format, (48, 66), 39)
    answers = list(pipeline.stream(given))
    for frame, answer in zip(given, answers, strict=True):
        assert_same(answer, on_cpu(negative, frame, Framing(), spec()))
    lent = [page_locked(fake, answer.planes[0]) for answer in answers]
    assert all(lent[: 6 * batch]) and not any(lent[12 * batch :])
    view = answers[0].planes[-1][2:5]
    kept, expected = view.copy(), view
    del answers, answer, view, frame
    gc.collect()
    used(pipeline.stream(given))
    live = fake.live
    used(pipeline.stream(given))
    assert fake.live == live
    assert np.array_equal(kept, expected), "a view keeps its frame"
    pipeline.close()
    del pipeline, expected
    gc.collect()
    assert fake.live[1] == 0


def test_a_part_of_the_frame_is_copied_into_the_result() -> None:
    fake = FakeCuda()
    pipeline = make(FunctionNetwork(fake, negative), FRAMINGS["crop"])
    answer = pipeline(frames("nv12", (48, 66), 1)[0])
    assert not page_locked(fake, answer.planes[0])


@pytest.mark.parametrize("format", ["yuv420p", "nv12", "rgb24"])
def test_frames_of_a_video_can_be_encoded_without_a_copy(format: str) -> None:
    fake = FakeCuda()
    pipeline = make(FunctionNetwork(fake, negative))
    picture = av.VideoFrame.from_ndarray(make_planes("rgb24", (48, 64), 1)[0], "rgb24").reformat(format=format)
    picture.colorspace, picture.duration = 1, 7
    pool = av_frames.FramePool(64, 48, format)
    frame = av_frames.VideoFrame(av_frames.plane_views(picture, format), format, Color(), Fraction(1), picture, pool)
    answer = pipeline(frame)
    assert isinstance(answer, av_frames.VideoFrame) and answer.picture is not None and answer.picture is not picture
    assert_same(answer, on_cpu(negative, frame, Framing(), spec()))
    assert (answer.picture.colorspace, answer.picture.duration) == (1, 7)
    assert answer.picture.planes[0].buffer_ptr == answer.planes[0].ctypes.data
    assert page_locked(fake, answer.planes[0]) == (format in av_frames.ADOPTED)
    encoded, planes = answer.picture, [plane.copy() for plane in answer.planes]
    del answer
    gc.collect()
    used(pipeline.stream([frame] * 3))
    for plane, view in zip(planes, av_frames.plane_views(encoded, format), strict=True):
        assert np.array_equal(plane, view), "an encoder that keeps the picture keeps its memory"


def test_frames_of_one_shape_share_the_network() -> None:
    network = FunctionNetwork(FakeCuda(), negative)
    pipeline = make(network, Framing("crop", size=(24, 32)))
    for format in FORMATS:
        pipeline(frames(format, (60, 80), 1)[0])
    assert network.bound == [((1, 3, 24, 32),)]


def test_spinning_and_sleeping() -> None:
    for spin, flags in ((False, 3), (True, 2)):
        fake = FakeCuda()
        asked: list[int] = []
        create = fake.cuEventCreate
        fake.cuEventCreate = lambda flags, asked=asked, create=create: (asked.append(flags), create(flags))[1]  # type: ignore[method-assign]
        make(FunctionNetwork(fake, negative), spin=spin)(frames("rgb24", (40, 40), 1)[0])
        assert asked == [flags]


# ---------------------------------------------------------------------------------------------- frames on the GPU


class Borrowed:
    """Another library's array in the fake GPU's memory, with padded rows."""

    def __init__(self, device: Device, plane: NDArray[np.uint8], pitch: int = 256) -> None:
        rows, row = plane.shape[0], int(np.prod(plane.shape[1:]))
        padded = np.full((rows, pitch), 99, np.uint8)
        padded[:, :row] = plane.reshape(rows, row)
        self.memory = device.upload(padded)
        strides = (pitch, *(int(np.prod(plane.shape[axis + 1 :])) for axis in range(1, plane.ndim)))
        self.__cuda_array_interface__ = {
            "shape": plane.shape,
            "typestr": "|u1",
            "data": (self.memory.pointer, False),
            "strides": strides,
            "version": 3,
            "stream": 1,
        }


@pytest.mark.parametrize("capturable", [True, False])
@pytest.mark.parametrize("format", FORMATS)
def test_frames_on_the_gpu_are_translated_in_place(format: str, capturable: bool) -> None:
    fake = FakeCuda()
    framing = FRAMINGS["crop"]
    pipeline = make(FunctionNetwork(fake, negative, capturable=capturable), framing)
    for frame in frames(format, (48, 66), 3):
        given = [Borrowed(pipeline.device, plane) for plane in frame.planes]
        before = fake.calls.copy()
        answer = pipeline.on_device(given, frame.format, frame.color)
        assert [array.pointer for array in answer] == [array.memory.pointer for array in given]
        copies = {name for name in fake.calls - before if "Memcpy" in name and "Async" in name}
        assert not copies
        pipeline.device.synchronize()
        expected = on_cpu(negative, frame, framing, spec())
        for array, plane in zip(given, expected.planes, strict=True):
            memory = pipeline.device.download(array.memory)
            row = int(np.prod(plane.shape[1:]))
            assert np.array_equal(memory[:, :row].reshape(plane.shape), plane)
            assert (memory[:, row:] == 99).all()


def test_frames_on_the_gpu_have_attributes() -> None:
    record = spec(attributes=AttributeInput(names=("brighter", "darker")))
    pipeline = make(FunctionNetwork(FakeCuda(), shifted), None, record)
    given = frames("rgb24", (40, 48), 3)
    arrays = [pipeline.device.upload(frame.planes[0]) for frame in given]
    vectors = [np.array([[index / 3, 0.1]], np.float32) for index in range(3)]
    for array, vector in zip(arrays, vectors, strict=True):
        pipeline.on_device([array], "rgb24", look=pipeline.look(vector))
    for frame, array, vector in zip(given, arrays, vectors, strict=True):
        assert_same(
            Frame((pipeline.device.download(array),), time=frame.time),
            on_cpu(shifted, frame, Framing(), record, vector),
        )


def test_torch_gives_and_takes_frames_without_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples of docs/gpu.md, on memory of the host, which is what the fake GPU's is."""
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(Device, "kind", dlpack.CPU)
    monkeypatch.setattr(DeviceArray, "take_options", staticmethod(lambda stream: {}))
    pipeline = make(FunctionNetwork(FakeCuda(), negative))

    (frame,) = frames("rgb24", (48, 64), 1)
    tensor = torch.from_numpy(frame.planes[0].copy())
    (painted,) = pipeline.on_device([tensor], "rgb24")
    pipeline.device.synchronize()
    borrowed = torch.from_dlpack(painted)
    assert borrowed.data_ptr() == tensor.data_ptr()
    assert np.array_equal(borrowed.numpy(), on_cpu(negative, frame, Framing(), spec()).planes[0])

    (frame,) = frames("nv12", (48, 64), 1)
    rows = [plane.reshape(-1, 64) for plane in frame.planes]
    whole = torch.from_numpy(np.concatenate(rows))
    height, width = whole.shape[0] * 2 // 3, whole.shape[1]
    pipeline.on_device([whole[:height], whole[height:].view(height // 2, width // 2, 2)], "nv12")
    pipeline.device.synchronize()
    expected = on_cpu(negative, frame, Framing(), spec())
    assert np.array_equal(whole.numpy(), np.concatenate([plane.reshape(-1, 64) for plane in expected.planes]))


class HardwarePlane:
    """A plane of PyAV, which refuses to wait for a stream where its frame is the GPU's."""

    def __init__(self, plane: Any) -> None:
        self._plane = plane

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._plane.__dlpack_device__()

    def __dlpack__(self, *, stream: int | None = None) -> object:
        if stream is not None:
            raise NotImplementedError("CUDA stream synchronization is not supported. Pass stream=None")
        return self._plane.__dlpack__()


def test_pyav_gives_and_takes_frames_without_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of docs/gpu.md, on memory of the host, which is what the fake GPU's is."""
    monkeypatch.setattr(Device, "kind", dlpack.CPU)
    fake = FakeCuda()
    pipeline = make(FunctionNetwork(fake, negative))
    (frame,) = frames("nv12", (48, 64), 1)
    decoded = av.VideoFrame.from_ndarray(
        np.concatenate([plane.reshape(-1, 64) for plane in frame.planes]), format="nv12"
    )
    if not hasattr(decoded.planes[0], "__dlpack__"):
        pytest.skip("this PyAV's planes have no DLPack")
    before = fake.calls.copy()
    painted = pipeline.on_device([HardwarePlane(plane) for plane in decoded.planes], "nv12")
    after = fake.calls - before
    assert after["cuStreamWaitEvent"] >= 2 and not [name for name in after if "Async" in name]
    encoded = av.VideoFrame.from_dlpack(painted, format="nv12")
    pipeline.device.synchronize()
    assert [plane.buffer_ptr for plane in encoded.planes] == [plane.buffer_ptr for plane in decoded.planes]
    expected = on_cpu(negative, frame, Framing(), spec())
    assert np.array_equal(encoded.to_ndarray(), np.concatenate([plane.reshape(-1, 64) for plane in expected.planes]))


@pytest.mark.parametrize(("in_flight", "batch"), [(1, 1), (3, 1), (1, 3), (2, 3)])
@pytest.mark.parametrize("streams", [1, 2])
def test_frames_that_a_decoder_left_on_the_gpu_stay_there(
    monkeypatch: pytest.MonkeyPatch, in_flight: int, batch: int, streams: int
) -> None:
    """Memory of the host stands for libav's on the GPU; the fake does work as late as it may."""
    if not av_frames.SHARES_MEMORY:
        pytest.skip("this PyAV cannot leave pictures in the GPU's memory")
    monkeypatch.setattr(Device, "kind", dlpack.CPU)
    record = spec(attributes=AttributeInput(names=("brighter", "darker")))
    fake = FakeCuda()
    pipeline = make(
        FunctionNetwork(fake, shifted_each), FRAMINGS["crop"], record, in_flight=in_flight, batch=batch, streams=streams
    )
    given = frames("nv12", (48, 64), 8)
    decoded = [
        av_frames.DeviceFrame(
            av.VideoFrame.from_ndarray(np.concatenate([plane.reshape(-1, 64) for plane in frame.planes]), "nv12"),
            frame.color,
            frame.time,
        )
        for frame in given
    ]
    looks = [Look(np.array([[n // 3 / 4, 0.25]], np.float32), 1 - n / 16, (n % 3) / 2) for n in range(8)]
    at = iter(looks)
    lease, steps = Lease(pipeline), Looks({})
    steps.at = lambda way: next(at)  # type: ignore[method-assign]
    answers = []
    for answer in translated(decoded, lambda: lease, steps):
        assert isinstance(answer, av_frames.DeviceFrame)
        answers.append(answer)
    for frame, original, look, answer in zip(given, decoded, looks, answers, strict=True):
        expected = on_cpu(
            shifted_each, frame, FRAMINGS["crop"], record, look.attributes, opacity=look.opacity, detail=look.detail
        )
        assert_same(answer, expected)
        assert_same(original, frame)
        luma, chroma = answer.device_picture.planes
        assert chroma.buffer_ptr - luma.buffer_ptr == 48 * luma.line_size, "where NVENC looks for it"
    assert pipeline.frames_on_gpu == 0 and not fake.calls["cuMemcpyDtoHAsync"]
    # Pictures that nobody needs any more are used again.
    del answers, answer, luma, chroma
    gc.collect()
    plain = Look(looks[0].attributes)
    for original in decoded[:2]:
        pipeline.start([Item(original, plain)]).finish()
    before, live = fake.calls.copy(), fake.live
    for original in decoded:
        pipeline.start([Item(original, plain)]).finish()
    assert not (fake.calls - before)["cuMemAlloc"] and fake.live == live
    pipeline.start([Item(decoded[0], plain)]).drop()
    pipeline.close()


def test_frames_on_and_off_the_gpu_share_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where NVDEC gives up in the middle of a file, and libav goes on in software."""
    if not av_frames.SHARES_MEMORY:
        pytest.skip("this PyAV cannot leave pictures in the GPU's memory")
    monkeypatch.setattr(Device, "kind", dlpack.CPU)
    pipeline = make(FunctionNetwork(FakeCuda(), negative), batch=3)
    given = frames("nv12", (48, 64), 7)
    mixed: list[Frame] = list(given)
    for index in (0, 1, 4):
        rows = np.concatenate([plane.reshape(-1, 64) for plane in given[index].planes])
        picture = av.VideoFrame.from_ndarray(rows, "nv12")
        mixed[index] = av_frames.DeviceFrame(picture, given[index].color, given[index].time)
    answers = list(pipeline.stream(mixed))
    assert [isinstance(answer, av_frames.DeviceFrame) for answer in answers] == [n in (0, 1, 4) for n in range(7)]
    for frame, answer in zip(given, answers, strict=True):
        assert_same(answer, on_cpu(negative, frame, Framing(), spec()))


def test_wrong_planes_on_the_gpu_are_named() -> None:
    pipeline = make(FunctionNetwork(FakeCuda(), negative))
    upload = pipeline.device.upload
    constant = Borrowed(pipeline.device, np.zeros((8, 8, 3), np.uint8))
    constant.__cuda_array_interface__["data"] = (constant.memory.pointer, True)
    with pytest.raises(ShapeError, match="got a read-only array"):
        pipeline.on_device([constant], "rgb24")
    with pytest.raises(
        ShapeError, match=r"nv12 planes of shape \[\(8, 8\)\].*expected uint8 \[\(8, 8\), \(4, 4, 2\)\]"
    ):
        pipeline.on_device([upload(np.zeros((8, 8), np.uint8))], "nv12")
    with pytest.raises(ShapeError, match="float32"):
        pipeline.on_device([upload(np.zeros((8, 8, 3), np.float32))], "rgb24")
    with pytest.raises(ShapeError, match="got list, expected an array on the GPU"):
        pipeline.on_device([[1]], "rgb24")


# ---------------------------------------------------------------------------------------------- what can go wrong


def test_tiles_do_not_go_this_way() -> None:
    pipeline = make(FunctionNetwork(FakeCuda(), negative), Framing("tile"))
    with pytest.raises(OptionError, match="cut into tiles"):
        pipeline(frames("rgb24", (100, 100), 1)[0])


def test_too_little_memory() -> None:
    pipeline = make(FunctionNetwork(FakeCuda(memory=50_000), negative))
    with pytest.raises(DeviceMemoryError, match=r"Fake GPU has not enough free memory \(CUDA_ERROR_OUT_OF_MEMORY"):
        pipeline(frames("rgb24", (400, 400), 1)[0])
    pipeline(frames("rgb24", (40, 40), 1)[0])


def test_memory_that_was_missing_is_asked_for_again() -> None:
    fake = FakeCuda()
    pipeline = make(FunctionNetwork(fake, negative), in_flight=2)
    (frame,) = frames("rgb24", (40, 40), 1)
    fake.fail["cuMemHostAlloc"] = OUT_OF_MEMORY
    for _ in range(2):
        with pytest.raises(DeviceMemoryError):
            pipeline(frame)
    fake.fail.clear()
    assert_same(pipeline(frame), on_cpu(negative, frame, Framing(), spec()))


@pytest.mark.parametrize("in_flight", [1, 2])
@pytest.mark.parametrize("function", ["cuGraphLaunch", "cuEventSynchronize"])
def test_a_lost_gpu(function: str, in_flight: int) -> None:
    fake = FakeCuda()
    pipeline = make(FunctionNetwork(fake, negative), in_flight=in_flight)
    given = frames("rgb24", (40, 40), 4)
    list(pipeline.stream(given))
    fake.fail[function] = ILLEGAL_ADDRESS
    with pytest.raises(DeviceLost, match=rf"Fake GPU stopped in {function} \(CUDA_ERROR_ILLEGAL_ADDRESS.*Xid"):
        list(pipeline.stream(given))
    assert not pipeline._flying
    with pytest.raises(DeviceLost):
        pipeline(given[0])
    fake.fail.clear()
    for frame, answer in zip(given, pipeline.stream(given), strict=True):
        assert_same(answer, on_cpu(negative, frame, Framing(), spec()))


def test_a_network_that_cannot_be_recorded_says_so() -> None:
    class Allocates(FunctionBinding):
        def enqueue(self, stream: int) -> None:
            super().enqueue(stream)
            self.network.fake.cuMemAlloc(1)

    class Network(FunctionNetwork):
        def bind_device(self, device: Device, shapes: tuple[tuple[int, ...], ...]) -> FunctionBinding:
            return Allocates(self, device, shapes)

    with pytest.raises(BackendError, match="cuStreamEndCapture failed"):
        make(Network(FakeCuda(), negative))(frames("rgb24", (40, 40), 1)[0])


def test_networks_of_mixed_types_are_refused() -> None:
    class Mixed(FunctionNetwork):
        def bind_device(self, device: Device, shapes: tuple[tuple[int, ...], ...]) -> FunctionBinding:
            binding = super().bind_device(device, shapes)
            binding.inputs = tuple(device.empty(array.shape, np.float16) for array in binding.inputs)
            return binding

    make(Mixed(FakeCuda(), negative))(frames("rgb24", (40, 40), 1)[0])
    with pytest.raises(BackendError, match="tensors are float32, float16"):
        make(Mixed(FakeCuda(), negative), detail=0.5)(frames("rgb24", (40, 40), 1)[0])


def test_a_network_of_another_size_is_refused() -> None:
    class Smaller(FunctionNetwork):
        def bind_device(self, device: Device, shapes: tuple[tuple[int, ...], ...]) -> FunctionBinding:
            binding = super().bind_device(device, shapes)
            binding.outputs = (device.empty((1, 3, 2, 2), np.float32),)
            return binding

    with pytest.raises(ShapeError, match="expected an image of its input's size"):
        make(Smaller(FakeCuda(), negative))(frames("rgb24", (40, 40), 1)[0])


def test_no_frame_at_all_in_flight_is_refused_but_more_than_asked_for_may_be() -> None:
    with pytest.raises(OptionError, match="in_flight: got 0"):
        make(FunctionNetwork(FakeCuda(), negative), in_flight=0)
    pipeline = make(FunctionNetwork(FakeCuda(), negative))
    (frame,) = frames("rgb24", (40, 40), 1)
    item = Item(frame, pipeline.look())
    both = [pipeline.start([item]), pipeline.start([item])]  # those of another stream have places of their own
    for pending in reversed(both):
        assert_same(pending.finish()[0], on_cpu(negative, frame, Framing(), spec()))


# ---------------------------------------------------------------------------------------------- several in one run


def shifted_each(image: NDArray[np.float32], attributes: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
    return (image * 0.5 + attributes[:, :1, None, None] - attributes[:, 1:, None, None],)


@pytest.mark.parametrize("capturable", [True, False])
@pytest.mark.parametrize("in_flight", [1, 2])
@pytest.mark.parametrize("format", FORMATS)
def test_frames_that_share_a_run_are_those_of_the_cpu(format: str, in_flight: int, capturable: bool) -> None:
    """The last run is not full; what is left in its other places must not show."""
    record = spec(output=ImageOutput(kind="segment", mask="mask"))
    network = FunctionNetwork(FakeCuda(), masked, outputs=2, capturable=capturable)
    pipeline = make(network, FRAMINGS["crop"], record, in_flight=in_flight, batch=3, detail=0.7)
    given = frames(format, (51, 67), 8)
    answers = list(pipeline.stream(given))
    assert len(answers) == 8 and network.bound == [((3, 3, *pipeline.compositor.layout((51, 67)).size),)]
    for frame, answer in zip(given, answers, strict=True):
        assert_same(answer, on_cpu(masked, frame, FRAMINGS["crop"], record, detail=0.7))
    assert_same(pipeline(given[0]), answers[0])
    assert pipeline.times.summary()["wait"].frames == 9


def test_attributes_reach_every_frame_of_a_run() -> None:
    record = spec(attributes=AttributeInput(names=("brighter", "darker")))
    pipeline = make(FunctionNetwork(FakeCuda(), shifted_each), None, record, batch=2)
    vector = np.array([[0.75, 0.25]], np.float32)
    given = frames("nv12", (40, 56), 4)
    for frame, answer in zip(given, pipeline.stream(given, vector), strict=True):
        assert_same(answer, on_cpu(shifted, frame, Framing(), record, vector))


def test_a_run_of_several_frames_is_one_launch() -> None:
    fake = FakeCuda()
    pipeline = make(FunctionNetwork(fake, negative), batch=4)
    given = frames("yuv420p", (48, 64), 12)
    used(pipeline.stream(given[:4]))
    assert fake.launched == {"prepare_float32": 2, "compose_float32": 2}, "one for the batch, twice: tried and recorded"
    used(pipeline.stream(given))
    before, live = fake.calls.copy(), fake.live
    assert used(pipeline.stream(given[4:])) == 8
    assert (fake.calls - before)["cuGraphLaunch"] == 2 and fake.live == live


def test_more_frames_than_one_launch_takes() -> None:
    fake = FakeCuda()
    pipeline = make(FunctionNetwork(fake, negative), batch=19)
    given = frames("yuv420p", (48, 64), 19)
    for frame, answer in zip(given, pipeline.stream(given), strict=True):
        assert_same(answer, on_cpu(negative, frame, Framing(), spec()))
    assert fake.launched == {"prepare_float32": 4, "compose_float32": 4}


@pytest.mark.parametrize(("in_flight", "batch"), [(1, 1), (3, 1), (1, 3), (2, 3)])
def test_a_change_of_opacity_and_detail_makes_nothing_anew(in_flight: int, batch: int) -> None:
    """Each frame has its own, also where frames share a run; the recorded launches stay."""
    fake = FakeCuda()
    record = spec(output=ImageOutput(kind="segment", mask="mask"))
    network = FunctionNetwork(fake, masked, outputs=2)
    pipeline = make(network, FRAMINGS["crop"], record, in_flight=in_flight, batch=batch)
    given = frames("yuv420p", (51, 67), 9)
    list(pipeline.stream(given))
    before, live = fake.calls.copy(), fake.live
    looks = [Look(None, 1 - n / 8, (n % 3) / 2) for n in range(9)]
    at = iter(looks)
    lease, steps = Lease(pipeline), Looks({})
    steps.at = lambda way: next(at)  # type: ignore[method-assign]
    answers = list(translated(given, lambda: lease, steps))
    made = fake.calls - before
    assert not {name for name in made if "Alloc" in name or "Create" in name or "Instantiate" in name}
    assert fake.live == live and len(pipeline._routes) == 1
    for frame, look, answer in zip(given, looks, answers, strict=True):
        expected = on_cpu(masked, frame, FRAMINGS["crop"], record, opacity=look.opacity, detail=look.detail)
        assert_same(answer, expected)


def test_a_frame_on_the_gpu_has_its_own_opacity_and_detail() -> None:
    pipeline = make(FunctionNetwork(FakeCuda(), negative), FRAMINGS["crop"])
    for opacity, detail in ((1.0, 0.0), (0.5, 1.0), (0.25, 0.0)):
        (frame,) = frames("rgb24", (51, 67), 1)
        array = pipeline.device.upload(frame.planes[0].copy())
        pipeline.on_device([array], "rgb24", look=Look(None, opacity, detail))
        expected = on_cpu(negative, frame, FRAMINGS["crop"], spec(), opacity=opacity, detail=detail)
        assert np.array_equal(pipeline.device.download(array), expected.planes[0])


def test_frames_of_another_size_begin_a_run_of_their_own() -> None:
    pipeline = make(FunctionNetwork(FakeCuda(), negative), in_flight=2, batch=3)
    given = [*frames("rgb24", (40, 40), 2), *frames("rgb24", (32, 48), 4), *frames("nv12", (40, 40), 2)]
    for frame, answer in zip(given, pipeline.stream(given), strict=True):
        assert_same(answer, on_cpu(negative, frame, Framing(), spec()))


@pytest.mark.parametrize("in_flight", [1, 2])
def test_frames_of_different_size_format_and_clip_share_a_run(in_flight: int) -> None:
    """Each answer is that of the frame alone, whatever order they arrive in, and few mixtures are recorded."""
    fixed = spec(
        size=SizeRule(fixed=(24, 32), preferred=(24, 32)),
        attributes=AttributeInput(names=("brighter", "darker")),
    )
    clips = [
        frames("yuv420p", (48, 66), 3, Color("bt709")),
        frames("nv12", (30, 40), 3),
        frames("rgb24", (40, 40), 3, Color(full_range=True)),
    ]
    given = [frame for together in zip(*clips, strict=True) for frame in together]
    looks = [Look(np.array([[n / 8, 0.25]], np.float32), 1 - n / 16, (n % 3) / 2) for n in range(9)]
    for order in (list(range(9)), [2, 1, 0, 5, 3, 4, 7, 6, 8]):
        network = FunctionNetwork(FakeCuda(), shifted_each)
        pipeline = make(network, None, fixed, in_flight=in_flight, batch=3)
        under_way = [pipeline.start([Item(given[n], looks[n]) for n in order[at : at + 3]]) for at in (0, 3, 6)]
        answers = [frame for pending in under_way for frame in pending.finish()]
        for n, answer in zip(order, answers, strict=True):
            look = looks[n]
            expected = on_cpu(
                shifted_each,
                given[n],
                Framing(),
                fixed,
                look.attributes,
                opacity=look.opacity,
                detail=look.detail,
            )
            assert_same(answer, expected)
        assert [shapes[0][0] for shapes in network.bound] == [3], "all nine in three runs of three"
        assert len(pipeline._routes) == 1, "one mixture, whatever the order"
        pipeline.close()


def test_two_clips_come_out_as_if_each_had_run_alone() -> None:
    fixed = spec(size=SizeRule(fixed=(24, 32), preferred=(24, 32)))
    pipeline = make(FunctionNetwork(FakeCuda(), negative), record=fixed, in_flight=2, batch=4)
    long, short = frames("yuv420p", (48, 66), 7), frames("rgb24", (40, 40), 4)
    given = [frame for pair in zip(long, short, strict=False) for frame in pair] + long[4:]
    for frame, answer in zip(given, pipeline.stream(given), strict=True):
        assert_same(answer, on_cpu(negative, frame, Framing(), fixed))


def test_frames_that_the_network_sees_in_several_sizes_share_no_run() -> None:
    pipeline = make(FunctionNetwork(FakeCuda(), negative), Framing("native"), batch=2)
    both = [frames("rgb24", size, 1)[0] for size in ((40, 40), (32, 48))]
    with pytest.raises(ShapeError, match="expected one size"):
        pipeline.start([Item(frame, pipeline.look()) for frame in both])


def test_a_frame_on_the_gpu_goes_alone_beside_runs_of_several() -> None:
    network = FunctionNetwork(FakeCuda(), negative)
    pipeline = make(network, batch=3)
    (frame,) = frames("rgb24", (40, 40), 1)
    (array,) = pipeline.on_device([pipeline.device.upload(frame.planes[0].copy())], "rgb24")
    expected = on_cpu(negative, frame, Framing(), spec())
    assert np.array_equal(pipeline.device.download(array), expected.planes[0])
    assert_same(pipeline(frame), expected)
    list(pipeline.stream(frames("rgb24", (40, 40), 4)))  # three, and one alone
    assert [shapes[0][0] for shapes in network.bound] == [1, 3]


def test_a_run_takes_so_many_frames() -> None:
    with pytest.raises(OptionError, match="batch: got 0"):
        make(FunctionNetwork(FakeCuda(), negative), batch=0)
    pipeline = make(FunctionNetwork(FakeCuda(), negative), batch=2)
    with pytest.raises(ShapeError, match="got 3 frames, expected 1 to 2"):
        pipeline.start([Item(frame, pipeline.look()) for frame in frames("rgb24", (40, 40), 3)])


@pytest.mark.parametrize("in_flight", [1, 2, 3])
def test_a_single_frame_while_a_stream_stands_still(in_flight: int) -> None:
    """It must not get the answer to a frame of the stream, nor take one from there."""
    pipeline = make(FunctionNetwork(FakeCuda(), negative), in_flight=in_flight)
    *given, other = frames("rgb24", (40, 40), 7)
    answers = []
    for answer in pipeline.stream(given):
        answers.append(answer)
        assert_same(pipeline(other), on_cpu(negative, other, Framing(), spec()))
    for frame, answer in zip(given, answers, strict=True):
        assert_same(answer, on_cpu(negative, frame, Framing(), spec()))


def test_an_array_in_a_stream_is_answered_with_the_cure() -> None:
    pipeline = make(FunctionNetwork(FakeCuda(), negative))
    arrays: list[Any] = [np.zeros((40, 40, 3), np.uint8)]
    with pytest.raises(ShapeError, match=r"got a ndarray in a stream.*Frame\.from_rgb"):
        list(pipeline.stream(arrays))


@pytest.mark.parametrize("in_flight", [1, 2])
def test_the_callers_context_stays_current(in_flight: int) -> None:
    """PyTorch and CuPy take the GPU of the thread's context for their own, which may be another one."""
    fake, other = FakeCuda(), 0xDD
    pipeline = make(FunctionNetwork(fake, negative), in_flight=in_flight)
    given = frames("rgb24", (40, 40), 3)
    source = pipeline.device.upload(given[0].planes[0].copy())
    fake.cuCtxSetCurrent(other)
    seen = []
    pipeline.warm_up((40, 40))
    seen.append(fake.thread_context)
    for _ in pipeline.stream(given):
        seen.append(fake.thread_context)
    stopped = pipeline.stream(given)
    next(iter(stopped))
    stopped.close()  # type: ignore[attr-defined]
    seen.append(fake.thread_context)
    (answer,) = pipeline.on_device([source], "rgb24")
    seen.append(fake.thread_context)
    answer.__dlpack__(stream=1)
    seen.append(fake.thread_context)
    pipeline.close()
    assert [*seen, fake.thread_context] == [other] * 8
    assert fake.cuCtxPopCurrent() == (0, other) and fake.thread_context == 0


def test_closing_waits_for_frames_on_the_gpu() -> None:
    fake = FakeCuda()
    pipeline = make(FunctionNetwork(fake, negative))
    (frame,) = frames("rgb24", (40, 40), 1)
    source = pipeline.device.upload(frame.planes[0].copy())
    pipeline.on_device([source], "rgb24")
    pipeline.close()  # frees memory that the network may still read
    assert np.array_equal(host_view(source), on_cpu(negative, frame, Framing(), spec()).planes[0])


def test_a_frame_that_cannot_be_copied_costs_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = make(FunctionNetwork(FakeCuda(), negative), FRAMINGS["crop"])
    (frame,) = frames("rgb24", (48, 66), 1)

    def full(_: Frame) -> Frame:
        raise MemoryError

    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(Frame, "copy", full)
        pipeline(frame)
    assert_same(pipeline(frame), on_cpu(negative, frame, FRAMINGS["crop"], spec()))


# ---------------------------------------------------------------------------------------------- ONNX Runtime


@pytest.mark.parametrize("in_flight", [1, 2])
@pytest.mark.parametrize("model", [network_model, half_precision_model, half_mask_model])
def test_onnxruntime_in_the_gpus_memory(model: Any, in_flight: int, tmp_path: Path) -> None:
    """The frames are those of the same session with arrays in host memory."""
    path = model(tmp_path / "model.onnx")
    fake = FakeCuda()
    backend = OnnxRuntimeOnFake(path, fake)
    framing = Framing("crop", region=(5, 7, 40, 30))
    pipeline = Pipeline(Device(driver=fake), backend, Compositor(backend.spec, framing), in_flight=in_flight)
    reference = Compositor(backend.spec, framing, target="scalar")
    given = frames("yuv420p", (48, 66), 4)
    for frame, answer in zip(given, pipeline.stream(given), strict=True):
        expected = frame.copy()
        image = reference.prepare(frame)
        reference.compose(frame, backend.run(image[None]), expected, prepared=image)
        assert_same(answer, expected)


def test_onnxruntime_has_attributes(tmp_path: Path) -> None:
    fake = FakeCuda()
    backend = OnnxRuntimeOnFake(attribute_model(tmp_path / "model.onnx"), fake)
    (frame,) = frames("rgb24", (16, 24), 1)
    with Translator(way=FramePipeline(Device(driver=fake), backend, Compositor(backend.spec))) as ours:
        brighter = ours(frame, brighter=0.5)
        darker = ours(frame.planes[0], darker=0.5)
    assert brighter.planes[0].mean() > frame.planes[0].mean() > darker.mean()


def test_onnxruntime_without_a_stream_of_ours_is_refused(tmp_path: Path) -> None:
    backend = OnnxRuntimeOnFake(network_model(tmp_path / "model.onnx"), FakeCuda())
    backend._stream = None
    with pytest.raises(BackendUnavailable, match="opened without cuda-bindings"):
        OnnxRuntimeCuda.bind_device(backend, Device(driver=FakeCuda()), ((1, 3, 32, 48),))


class Copying:
    """A network that answers with its input, in the memory of a real GPU or of the stub driver's."""

    def __init__(self, dtype: type, capturable: bool) -> None:
        self.dtype, self.capturable = dtype, capturable

    def bind_device(self, device: Device, shapes: tuple[tuple[int, ...], ...]) -> CopyingBinding:
        return CopyingBinding(self, device, shapes)

    def close(self) -> None:
        pass


class CopyingBinding:
    def __init__(self, network: Copying, device: Device, shapes: tuple[tuple[int, ...], ...]) -> None:
        self.device, self.capturable = device, network.capturable
        self.inputs = tuple(device.upload(np.zeros(shape, network.dtype)) for shape in shapes)
        self.outputs = (device.empty(shapes[0], network.dtype),)

    def enqueue(self, stream: int) -> None:
        image, answer = self.inputs[0], self.outputs[0]
        self.device.call("cuMemcpyDtoDAsync", answer.pointer, image.pointer, image.nbytes, stream)


@pytest.mark.gpu
@pytest.mark.parametrize("format", ["nv12", "rgb24"])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("in_flight", [1, 3])
@pytest.mark.parametrize("capturable", [True, False])
@pytest.mark.parametrize(("dtype", "most"), [(np.float32, 0), (np.float16, 2)])
def test_frames_through_this_gpu_are_those_of_the_cpu(
    format: str, batch: int, in_flight: int, capturable: bool, dtype: type, most: int
) -> None:
    given = frames(format, (32, 48), 5)
    compositor, framing = Compositor(spec(), Framing("native")), Framing("native")
    ours = Pipeline(Device(), Copying(dtype, capturable), compositor, in_flight=in_flight, batch=batch)
    for frame, answer in zip(given, ours.stream(given), strict=True):
        expected = on_cpu(lambda image: (image,), frame, framing, spec())
        for one, other in zip(answer.planes, expected.planes, strict=True):
            assert np.abs(one.astype(int) - other).max() <= most
    arrays = [ours.device.upload(plane.copy()) for plane in given[0].planes]
    expected = on_cpu(lambda image: (image,), given[0], framing, spec())
    for array, plane in zip(ours.on_device(arrays, format), expected.planes, strict=True):
        assert np.abs(ours.device.download(array).astype(int) - plane).max() <= most
    ours.close()


def test_memory_of_others_is_kept_while_work_is_under_way() -> None:
    """A frame translated in place may be let go by everybody before the GPU gets there."""
    fake = FakeCuda()
    ours = make(FunctionNetwork(fake, negative))
    (frame,) = frames("rgb24", (24, 32), 1)
    ours(frame)  # memory of its own is made
    kept = ours.device.upload(frame.planes[0].copy())
    live = fake.live
    ours.on_device([kept], "rgb24")
    del kept
    gc.collect()
    assert fake.live[0] >= live[0], "it is still written"
    ours.device.synchronize()
    second = ours.device.upload(frame.planes[0].copy())
    ours.on_device([second], "rgb24")
    gc.collect()
    assert len(ours._held) == 1, "the first was given back once its work had happened"
    ours.close()
    assert not ours._held


@pytest.mark.gpu
@pytest.mark.skipif(
    "CUDAExecutionProvider" not in onnxruntime.get_available_providers(), reason="needs onnxruntime-gpu"
)
@pytest.mark.parametrize("in_flight", [1, 3])
def test_onnxruntime_on_this_gpu(in_flight: int, tmp_path: Path) -> None:
    """The frames are those of the CPU, within the rounding of a network on another machine."""
    path = network_model(tmp_path / "model.onnx")
    given = frames("yuv420p", (48, 66), 5)
    with (
        Translator.open(path, backend="cuda", in_flight=in_flight) as ours,
        Translator.open(path, backend="cpu") as cpu,
    ):
        assert isinstance(ours.way, FramePipeline), ours.choice
        for answer, expected in zip(ours.stream(given), cpu.stream(given), strict=True):
            for a, b in zip(answer.planes, expected.planes, strict=True):
                assert np.abs(a.astype(int) - b).max() <= 2


# ---------------------------------------------------------------------------------------------- the translator


@pytest.fixture
def open_on_fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Translator]:
    """Translator.open, with a GPU that is the fake."""
    path, fake = network_model(tmp_path / "model.onnx", None), FakeCuda()
    monkeypatch.setattr(opening, "open_backend", lambda *_, **__: OnnxRuntimeOnFake(path, fake))
    return lambda **options: Translator.open(path, **options)


@pytest.mark.parametrize("in_flight", [1, 3])
def test_the_translator_takes_the_way_over_the_gpu(open_on_fake: Callable[..., Translator], in_flight: int) -> None:
    given = frames("nv12", (32, 48), 5)
    with open_on_fake(in_flight=in_flight) as ours:
        assert ours.in_flight == in_flight
        reference = Translator(ours.backend, Compositor(ours.spec, target="scalar"))
        for frame, answer in zip(given, ours.stream(given), strict=True):
            assert_same(answer, reference(frame))
        assert_same(ours(given[0]), reference(given[0]))
        assert list(ours.times.summary()) == ["upload", "wait"]
        assert ours.times.summary()["wait"].frames == 6
        arrays = [ours.way.device.upload(plane) for plane in given[1].planes]
        for array, plane in zip(ours.on_device(arrays, "nv12"), reference(given[1]).planes, strict=True):
            assert np.array_equal(ours.way.device.download(array), plane)


@pytest.mark.parametrize("in_flight", [1, 2])
def test_the_translator_passes_the_batch_on(open_on_fake: Callable[..., Translator], in_flight: int) -> None:
    given = frames("nv12", (32, 48), 5)
    with open_on_fake(in_flight=in_flight, batch=2) as ours:
        assert (ours.batch, ours.way.batch) == (2, 2)
        reference = Translator(ours.backend, Compositor(ours.spec, target="scalar"))
        for frame, answer in zip(given, ours.stream(given), strict=True):
            for one, other in zip(answer.planes, reference(frame).planes, strict=True):
                assert np.abs(one.astype(int) - other).max() <= 1  # the library may add up in another order
        assert ours.times.summary()["wait"].frames == 5


def test_the_translator_passes_the_streams_on(
    open_on_fake: Callable[..., Translator], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match="streams: got 2; cuda runs on one"):
        open_on_fake(streams=2)
    with pytest.raises(OptionError, match="streams: got 2; frames pass cpu in host memory"):
        monkeypatch.undo()
        Translator.open(network_model(tmp_path / "cpu.onnx"), backend="cpu", streams=2)
    with pytest.raises(OptionError, match="streams: got 0, expected 1 or more"):
        Translator.open(tmp_path / "cpu.onnx", streams=0)


def test_what_cannot_go_over_the_gpu_goes_through_host_memory(open_on_fake: Callable[..., Translator]) -> None:
    with open_on_fake(framing="tile") as ours:
        assert ours.choice is not None
        assert ours.choice.lines[-1].startswith("cuda: frames go through host memory: framing 'tile'")
        assert ours(frames("rgb24", (40, 40), 1)[0]).size == (40, 40)
        with pytest.raises(OptionError, match="Arrays on a GPU need a backend that runs there; .* 'cuda'"):
            ours.on_device([], "rgb24")


@pytest.mark.parametrize("in_flight", [1, 2])
def test_a_model_of_a_fixed_batch_is_filled_up_there_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, in_flight: int
) -> None:
    dims = (3, 3, 16, 24)
    nodes = [helper.make_node("Neg", ["x"], ["y"])]
    record = spec(size=SizeRule(fixed=(16, 24), preferred=(16, 24)))
    path = save_graph(tmp_path / "m.onnx", nodes, [tensor("x", dims)], [tensor("y", dims)], spec=record)
    fake = FakeCuda()
    monkeypatch.setattr(opening, "open_backend", lambda *_, **__: OnnxRuntimeOnFake(path, fake))
    given = frames("rgb24", (32, 48), 4)
    with Translator.open(path, in_flight=in_flight, frame_size=(32, 48)) as ours:
        assert isinstance(ours.way, FramePipeline) and ours.batch == 3
        expected = [on_cpu(negative, frame, Framing(), record) for frame in given]
        for answer, wanted in zip([*ours.stream(given), ours(given[0])], [*expected, expected[0]], strict=True):
            assert_same(answer, wanted)
        (array,) = ours.on_device([ours.way.device.upload(given[1].planes[0].copy())], "rgb24")
        assert np.array_equal(ours.way.device.download(array), expected[1].planes[0])


def test_tensors_that_do_not_suit_are_seen_before_the_first_frame(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Float16 in and float32 out: with detail, compose would have to read both. Frames then go through host memory."""
    dims = ("n", 3, "h", "w")
    nodes = [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)]
    record = spec(size=SizeRule(preferred=(16, 24)))
    outputs = [tensor("y", dims)]
    path = save_graph(tmp_path / "m.onnx", nodes, [tensor("x", dims, TensorProto.FLOAT16)], outputs, spec=record)
    fake = FakeCuda()
    monkeypatch.setattr(opening, "open_backend", lambda *_, **__: OnnxRuntimeOnFake(path, fake))
    with Translator.open(path, detail=1.0, frame_size=(32, 48)) as ours:
        assert not isinstance(ours.way, FramePipeline) and ours.choice is not None
        assert "frames go through host memory: The network's tensors are float32, float16" in ours.choice.lines[-1]
        assert ours(frames("rgb24", (32, 48), 1)[0]).size == (32, 48)
    with pytest.raises(BackendError, match="must all be float16 or all float32"):
        Translator.open(path, detail=1.0, frame_size=(32, 48), strict=True)
    with Translator.open(path, frame_size=(32, 48)) as ours:
        assert isinstance(ours.way, FramePipeline)


def test_a_missing_compiler_is_said(open_on_fake: Callable[..., Translator], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        pipeline, "load_kernels", lambda device: (_ for _ in ()).throw(MissingExtra("CUDA", "x", "cuda"))
    )
    with open_on_fake() as ours:
        assert ours.choice is not None
        assert "cuda: frames go through host memory: CUDA needs the package 'x'" in ours.choice.lines[-1]
    with pytest.raises(MissingExtra):
        open_on_fake(strict=True)


def test_strict_auto_does_not_go_on_after_a_backend_that_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = network_model(tmp_path / "model.onnx")
    installed = {"cuda": None, "cpu": None}
    monkeypatch.setattr(registry, "quick_problem", lambda name: installed.get(name, "not installed"))
    monkeypatch.setattr(registry, "problem", lambda name, device=None: "it is broken")
    with pytest.raises(BackendUnavailable, match="cuda: it is broken. --backend-strict forbids"):
        Translator.open(path, strict=True)
    with Translator.open(path) as falls_back:
        assert falls_back.backend.name == "cpu"
    del installed["cuda"]
    with Translator.open(path, strict=True) as only_one:
        assert only_one.backend.name == "cpu"
