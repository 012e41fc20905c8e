"""The device layer on the fake driver, and on the GPU where there is one."""

from __future__ import annotations

import ctypes
import gc
import inspect
import sys
import threading
from typing import Any

import numpy as np
import pytest

from ganlens.engine.cuda import Device, DeviceArray, dlpack, list_devices
from ganlens.engine.cuda import device as device_module
from ganlens.engine.cuda import driver as numbers
from ganlens.engine.cuda import graph as graph_module
from ganlens.engine.cuda import memory as memory_module
from ganlens.engine.errors import (
    BackendError,
    BackendUnavailable,
    DeviceLost,
    DeviceMemoryError,
    EngineError,
    MissingExtra,
    ShapeError,
)
from tests.fakes.cuda import FakeCuda, host_library
from tests.kit.own_process import run_python


@pytest.fixture(params=["fake", pytest.param("gpu", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> Device:
    return Device(driver=FakeCuda()) if request.param == "fake" else Device()


@pytest.fixture
def fake() -> FakeCuda:
    return FakeCuda()


def on_host(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the fake GPU's memory be what it is, memory of the host, so that NumPy can borrow it."""
    monkeypatch.setattr(Device, "kind", dlpack.CPU)


# ---------------------------------------------------------------------------------------------- what it tells


def test_what_a_device_is() -> None:
    device = Device(driver=FakeCuda(memory=1 << 20, version=13020, capability=(8, 9)))
    assert (device.name, device.compute_capability, device.arch) == ("Fake GPU", (8, 9), 89)
    assert (device.driver_version, device.info.memory, device.free_memory) == ((13, 2), 1 << 20, 1 << 20)
    assert repr(device) == "Device(0, 'Fake GPU', sm_89, CUDA 13.2)"


@pytest.mark.gpu
def test_what_this_gpu_is() -> None:
    device = Device()
    assert device.name and device.arch >= 75 and 0 < device.free_memory <= device.info.memory


def test_without_cuda_bindings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_module, "driver_problem", lambda: None)
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    with pytest.raises(MissingExtra, match=r"needs the package 'cuda-bindings'.*pip install 'ganlens\[cuda1[23]\]'"):
        Device()


def test_without_a_driver_nothing_is_imported() -> None:
    """What looks for a GPU is part of every start, and these libraries take longer to import than all the rest."""
    code = """
        import sys
        from ganlens.engine.backends import registry
        from ganlens.engine.cuda import driver, Device
        driver._library = lambda: None
        print(registry.problem("tensorrt"), registry.problem("cuda"), sep="; ")
        try:
            Device()
        except Exception as error:
            print(type(error).__name__)
        print({name.partition(".")[0] for name in sys.modules} & {"cuda", "tensorrt", "tensorrt_rtx", "onnxruntime"})
    """
    said, error, loaded = run_python(code).splitlines()
    assert said.count("No NVIDIA driver is installed (libcuda.so.1 was not found). Install NVIDIA's driver") == 2
    assert (error, loaded) == ("BackendUnavailable", "set()")


def test_a_driver_that_cannot_be_loaded() -> None:
    class NoDriver(FakeCuda):
        def cuInit(self, flags: int) -> tuple[int]:
            raise RuntimeError("Failed to dlopen libcuda.so.1")

    with pytest.raises(
        BackendUnavailable, match=r"No NVIDIA driver is installed \(Failed to dlopen.*Install NVIDIA's driver"
    ):
        Device(driver=NoDriver())


@pytest.mark.parametrize(
    ("fake", "index", "message"),
    [
        (FakeCuda(devices=0), 0, r"The driver finds no GPU \(CUDA_ERROR_NO_DEVICE.*CUDA_VISIBLE_DEVICES"),
        (
            FakeCuda(version=12080),
            0,
            "too old: it supports CUDA 12.8, and cuda-bindings .* made for 13. .*cuda-bindings<13",
        ),
        (FakeCuda(devices=2), 2, "got GPU 2; this machine shows 0 to 1"),
        (FakeCuda(), -1, "got GPU -1; this machine shows 0 only"),
    ],
)
def test_devices_that_cannot_be_had(fake: FakeCuda, index: int, message: str) -> None:
    with pytest.raises(BackendUnavailable, match=message):
        Device(index, driver=fake)


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (
            2,
            DeviceMemoryError,
            r"not enough free memory \(CUDA_ERROR_OUT_OF_MEMORY: as the driver says it\)",
        ),
        (46, BackendUnavailable, "Fake GPU is in use exclusively by another program"),
        (36, BackendUnavailable, "too old or does not match its libraries"),
        (214, DeviceLost, r"Fake GPU stopped in cuMemAlloc \(CUDA_ERROR_ECC_UNCORRECTABLE"),
        (700, DeviceLost, "look for 'Xid'"),
        (1, BackendError, r"Fake GPU: cuMemAlloc failed \(CUDA_ERROR_1"),
    ],
)
def test_results_become_errors(fake: FakeCuda, status: int, kind: type[EngineError], message: str) -> None:
    device = Device(driver=fake)
    fake.fail["cuMemAlloc"] = status
    with pytest.raises(kind, match=message) as caught:
        device.empty((4,))
    assert type(caught.value) is kind


def test_more_memory_than_there_is(fake: FakeCuda) -> None:
    device = Device(driver=FakeCuda(memory=1000))
    kept = device.empty((200,), np.float32)
    with pytest.raises(DeviceMemoryError, match="smaller size, batch or number of frames in flight"):
        device.empty((100,), np.float32)
    del kept
    device.empty((100,), np.float32)


# ---------------------------------------------------------------------------------------------- memory


def test_there_and_back(device: Device) -> None:
    for array in (np.arange(24.0).reshape(2, 3, 4), np.zeros((0, 3), np.float16), np.arange(8, dtype=np.uint8)[::2]):
        there = device.upload(array)
        assert (there.shape, there.dtype, there.nbytes) == (array.shape, array.dtype, array.nbytes)
        assert np.array_equal(device.download(there), array)


def test_pinned_copies_happen_in_order(device: Device) -> None:
    stream = device.stream()
    source, back = device.pinned((5, 7), np.float32), device.pinned((5, 7), np.float32)
    memory = device.empty((5, 7), np.float32)
    source[:], back[:] = 3, 0
    stream.to_device(memory, source)
    stream.to_host(back, memory)
    stream.synchronize()
    assert (back == 3).all()
    with pytest.raises(ShapeError, match="a copy of 140 bytes into 280"):
        stream.to_device(device.empty((10, 7)), source)


def test_memory_is_freed_with_its_last_user(fake: FakeCuda) -> None:
    device = Device(driver=fake)
    array, pinned = device.empty((2, 8)), device.pinned((4, 4), np.int32)
    part, row = array.part(1, 1), pinned[2]
    assert fake.live == (1, 1)
    del array, pinned
    gc.collect()
    assert fake.live == (1, 1)
    del part, row
    gc.collect()
    assert fake.live == (0, 0)


def test_memory_freed_by_the_way_leaves_the_threads_context(fake: FakeCuda) -> None:
    """The collector comes in any thread, another program's too."""
    device, other = Device(driver=fake), 0xDD
    kept = [device.empty((4,)), device.pinned((4,)), device.stream(), device.event()]
    fake.cuCtxSetCurrent(other)
    kept.clear()
    gc.collect()
    assert fake.live == (0, 0) and fake.calls["cuStreamDestroy"] == fake.calls["cuEventDestroy"] == 1
    assert fake.thread_context == other
    free_here = threading.Thread(target=lambda: (kept.append(fake.thread_context), gc.collect()))
    free_here.start()
    free_here.join()
    assert kept == [0]


def test_nothing_is_freed_when_the_process_ends() -> None:
    """Objects of other libraries, or of the program's modules, may still be using it then."""
    done = run_python(
        """
        import atexit
        from tests.fakes.cuda import FakeCuda
        from ganlens.engine.cuda import Device

        fake = FakeCuda()
        atexit.register(lambda: print({name for name in fake.calls if "Free" in name or "Release" in name}))
        device = Device(driver=fake)
        kept = device.empty((4,)), device.pinned((4,)), device
        """
    )
    assert done == "set()"


def test_the_gpus_of_a_machine_are_listed_without_a_context() -> None:
    fake = FakeCuda(devices=2, memory=8 << 30, capability=(8, 7), integrated=True)
    listed = list_devices(driver=fake)
    assert [info.number for info in listed] == [0, 1]
    assert str(listed[1]) == "GPU 1: Fake GPU, compute capability 8.7, 8.0 GiB shared with the host"
    assert fake.calls["cuDevicePrimaryCtxRetain"] == 0
    assert Device(1, driver=fake).info == listed[1]


def test_what_nothing_has_written_is_not_zero(fake: FakeCuda) -> None:
    """The fake would hide a missing copy otherwise."""
    device = Device(driver=fake)
    assert device.download(device.empty((1000,), np.uint8)).any()


# ---------------------------------------------------------------------------------------------- order


def test_streams_wait_for_each_other_through_events_only(fake: FakeCuda) -> None:
    device = Device(driver=fake)
    done: list[str] = []
    first, second = device.stream(), device.stream()
    fake.put(first.handle, lambda: done.append("first"))
    event = first.record()
    fake.put(second.handle, lambda: done.append("free"))
    second.synchronize()
    assert done == ["free"]
    assert not event.reached
    second.wait(event)
    fake.put(second.handle, lambda: done.append("second"))
    second.synchronize()
    assert done == ["free", "first", "second"]
    assert event.reached


def test_times_between_events(device: Device) -> None:
    stream = device.stream()
    start, end = (stream.record(device.event(timed=True)) for _ in range(2))
    end.synchronize()
    assert end.milliseconds_since(start) >= 0


def test_a_graph_does_what_was_recorded_each_time(device: Device) -> None:
    stream = device.stream()
    source, back = device.pinned((4,), np.float32), device.pinned((4,), np.float32)
    memory = device.empty((4,), np.float32)
    back[:] = 0

    def work() -> None:
        stream.to_device(memory, source)
        stream.to_host(back, memory)

    graph = device.capture(stream, work)
    stream.synchronize()
    assert (back == 0).all()  # recorded, not run
    for value in (1, 2):
        source[:] = value
        graph.launch(stream)
        stream.synchronize()
        assert (back == value).all()


def test_what_cannot_be_recorded_is_an_error_and_the_stream_lives_on(device: Device) -> None:
    stream = device.stream()
    with pytest.raises(BackendError, match="cuStreamSynchronize failed|cuStreamEndCapture failed"):
        device.capture(stream, stream.synchronize)
    with pytest.raises(KeyError):
        device.capture(stream, lambda: {}["nothing"])
    stream.synchronize()


# ---------------------------------------------------------------------------------------------- other libraries


def test_numpy_borrows_without_a_copy(fake: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(driver=fake)
    on_host(device, monkeypatch)
    values = np.arange(12, dtype=np.float16).reshape(3, 4)
    lent = device.upload(values)
    borrowed = np.from_dlpack(lent)
    assert borrowed.ctypes.data == lent.pointer
    assert np.array_equal(borrowed, values)
    del lent
    gc.collect()
    assert fake.live == (1, 0)  # as long as somebody has borrowed it
    del borrowed
    gc.collect()
    assert fake.live == (0, 0)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float16, np.float32, np.float64, np.bool_])
def test_arrays_of_others_enter_without_a_copy(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(driver=FakeCuda())
    on_host(device, monkeypatch)
    values = np.zeros((6, 8), dtype)[::2, :4]
    before = sys.getrefcount(values)
    array = DeviceArray.of(device, values)
    assert (array.pointer, array.shape, array.strides) == (values.ctypes.data, values.shape, values.strides)
    assert array.dtype == values.dtype and not array.contiguous
    assert sys.getrefcount(values) > before
    del array
    gc.collect()
    assert sys.getrefcount(values) == before


def test_arrays_of_the_wrong_kind_are_named() -> None:
    device = Device(driver=FakeCuda())
    with pytest.raises(ShapeError, match=r"on DLPack device \(1, 0\), expected \(2, 0\)"):
        DeviceArray.of(device, np.zeros(3))
    with pytest.raises(ShapeError, match="got str, expected an array on the GPU"):
        DeviceArray.of(device, "array")
    with pytest.raises(BufferError, match="complex"):
        dlpack.export(0, (1,), (16,), np.dtype(np.complex128), (2, 0), None)
    with pytest.raises(BufferError, match="expected an unused DLPack capsule"):
        dlpack.take(object())


def test_a_capsule_is_taken_once() -> None:
    capsule = np.zeros(3).__dlpack__()
    dlpack.take(capsule)
    with pytest.raises(BufferError, match="unused"):
        dlpack.take(capsule)


class Foreign:
    def __init__(self, pointer: int, stream: int | None) -> None:
        data = {"shape": (2, 3), "typestr": "<f4", "data": (pointer, False), "version": 3}
        self.__cuda_array_interface__ = data if stream is None else data | {"stream": stream, "strides": None}


@pytest.mark.parametrize("producer", [None, 1, 2])
def test_the_producers_stream_is_waited_for(fake: FakeCuda, producer: int | None) -> None:
    device = Device(driver=fake)
    memory, stream, done = device.empty((2, 3)), device.stream(), []
    fake.put(producer or 1, lambda: done.append("made"))
    array = DeviceArray.of(device, Foreign(memory.pointer, producer), stream)
    assert (array.pointer, array.shape, array.contiguous) == (memory.pointer, (2, 3), True)
    stream.synchronize()
    assert done == ["made"], "who names no stream is taken to work on the default one"


def test_dlpack_is_asked_first(fake: FakeCuda) -> None:
    """torch has both interfaces, and says only in this one what it still has to do."""
    device = Device(driver=fake)
    memory, stream, asked = device.upload(np.zeros((2, 3), np.float32)), device.stream(), []

    class Both(Foreign):
        def __dlpack_device__(self) -> tuple[int, int]:
            return memory.__dlpack_device__()

        def __dlpack__(self, stream: int | None = None) -> object:
            asked.append(stream)
            return memory.__dlpack__()

    assert DeviceArray.of(device, Both(memory.pointer, None), stream).pointer == memory.pointer
    assert asked == [stream.handle]


def test_an_upload_is_there_for_streams_that_do_not_wait(fake: FakeCuda) -> None:
    device = Device(driver=fake)
    stream, back = device.stream(), device.pinned((3,), np.float32)
    stream.to_host(back, device.upload(np.array([1, 2, 3], np.float32)))
    stream.synchronize()
    assert back.tolist() == [1, 2, 3]


def test_garbage_is_not_collected_while_work_is_recorded(fake: FakeCuda) -> None:
    """Freeing memory would spoil the graph."""
    device = Device(driver=fake)
    stream = device.stream()

    class Round:
        def __init__(self) -> None:
            self.memory, self.itself = device.empty((4,)), self

    def work() -> None:
        Round.__doc__ = str([object() for _ in range(1000)])  # enough for a collection

    Round()
    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        graph = device.capture(stream, work)
    finally:
        gc.set_threshold(*before)
    assert gc.isenabled()
    graph.launch(stream)
    stream.synchronize()
    gc.collect()
    assert fake.live == (0, 0)


def test_consumers_wait_for_our_stream(fake: FakeCuda) -> None:
    device = Device(driver=fake)
    memory, ours, theirs = device.empty((2, 3)), device.stream(), device.stream()
    done: list[str] = []
    fake.put(ours.handle, lambda: done.append("made"))
    array = DeviceArray(device, memory.pointer, (2, 3), np.float32, owner=memory, stream=ours)
    assert array.__cuda_array_interface__["stream"] == ours.handle
    array.__dlpack__(stream=-1)
    theirs.synchronize()
    assert done == []
    array.__dlpack__(stream=theirs.handle)
    theirs.synchronize()
    assert done == ["made"]
    with pytest.raises(BufferError):
        array.__dlpack__(copy=True)
    with pytest.raises(BufferError):
        array.__dlpack__(dl_device=(1, 0))


# ---------------------------------------------------------------------------------------------- the fake itself


def test_the_fake_has_the_drivers_functions() -> None:
    """Each function that the engine names exists in cuda-bindings, with as many parameters."""
    driver = pytest.importorskip("cuda.bindings.driver")
    source = "".join(map(inspect.getsource, (device_module, numbers, graph_module, memory_module)))
    names = [name for name, _ in inspect.getmembers(FakeCuda, inspect.isfunction) if name.startswith("cu")]
    assert len(names) > 30
    for name in names:
        parameters = driver.__dict__[name].__doc__.split(")")[0].split("(", 1)[1]
        expected = len([part for part in parameters.split(",") if part.strip()])
        ours = inspect.signature(getattr(FakeCuda, name)).parameters
        if not any(parameter.kind is parameter.VAR_POSITIONAL for parameter in ours.values()):
            assert len(ours) - 1 == expected, name
    used = {word.strip("\"'(,") for word in source.replace("(", " ").split() if word.strip("\"'(,.").startswith("cu")}
    called = {word for word in used if word[2:3].isupper() and word.isalnum()}
    assert called <= set(names), called - set(names)


def test_cuda_bindings_takes_our_arguments() -> None:
    """Without a driver each call fails only when the library is looked for, after its arguments have been accepted."""
    driver = pytest.importorskip("cuda.bindings.driver")
    try:
        ctypes.CDLL("libcuda.so.1")
        pytest.skip("there is a driver: the tests marked gpu call it")
    except OSError:
        pass
    memory = ctypes.addressof(ctypes.create_string_buffer(64))
    device, context, graph, status = driver.CUdevice(0), driver.CUcontext(5), driver.CUgraph(3), driver.CUresult(2)
    stream, event, place = 77, 88, 4096
    calls: dict[str, tuple[Any, ...]] = {
        "cuInit": (0,),
        "cuDeviceGetName": (128, device),
        "cuDeviceGetAttribute": (driver.CUdevice_attribute(numbers.CAPABILITY_MAJOR), device),
        "cuDevicePrimaryCtxRetain": (device,),
        "cuCtxSetCurrent": (context,),
        "cuCtxPushCurrent": (context,),
        "cuCtxPopCurrent": (),
        "cuMemAlloc": (64,),
        "cuMemFree": (place,),
        "cuMemHostAlloc": (64, 0),
        "cuMemFreeHost": (place,),
        "cuMemcpyHtoD": (place, memory, 8),
        "cuMemcpyDtoH": (memory, place, 8),
        "cuMemcpyHtoDAsync": (place, memory, 8, stream),
        "cuMemcpyDtoHAsync": (memory, place, 8, stream),
        "cuStreamCreate": (numbers.STREAM_NON_BLOCKING,),
        "cuStreamDestroy": (stream,),
        "cuStreamSynchronize": (stream,),
        "cuStreamWaitEvent": (stream, event, 0),
        "cuEventCreate": (3,),
        "cuEventDestroy": (event,),
        "cuEventRecord": (event, stream),
        "cuEventQuery": (event,),
        "cuEventSynchronize": (event,),
        "cuEventElapsedTime": (event, event),
        "cuStreamBeginCapture": (stream, driver.CUstreamCaptureMode(numbers.CAPTURE_THREAD_LOCAL)),
        "cuStreamEndCapture": (stream,),
        "cuGraphInstantiate": (graph, 0),
        "cuGraphDestroy": (graph,),
        "cuGraphExecDestroy": (4,),
        "cuGraphLaunch": (4, stream),
        "cuModuleLoadData": (b"\x7fELF",),
        "cuModuleUnload": (9,),
        "cuModuleGetFunction": (9, b"name"),
        "cuLaunchKernel": (9, 1, 1, 1, 32, 8, 1, 0, stream, memory, 0),
        "cuGetErrorName": (status,),
        "cuGetErrorString": (status,),
    }
    for name, arguments in calls.items():
        with pytest.raises(RuntimeError, match="libcuda"):
            getattr(driver, name)(*arguments)
            pytest.fail(f"{name} was called")


def test_the_numbers_are_the_drivers() -> None:
    driver = pytest.importorskip("cuda.bindings.driver")
    names = {number: driver.CUresult(number).name for number in (*numbers.LOST, *numbers.TOO_OLD)}
    assert [name.removeprefix("CUDA_ERROR_") for name in names.values()] == [
        "ECC_UNCORRECTABLE",
        "NVLINK_UNCORRECTABLE",
        "CONTAINED",
        "ILLEGAL_ADDRESS",
        "LAUNCH_TIMEOUT",
        "CONTEXT_IS_DESTROYED",
        "ASSERT",
        "HARDWARE_STACK_ERROR",
        "ILLEGAL_INSTRUCTION",
        "MISALIGNED_ADDRESS",
        "INVALID_ADDRESS_SPACE",
        "INVALID_PC",
        "LAUNCH_FAILED",
        "UNKNOWN",
        "STUB_LIBRARY",
        "CALL_REQUIRES_NEWER_DRIVER",
        "SYSTEM_DRIVER_MISMATCH",
        "COMPAT_NOT_SUPPORTED_ON_DEVICE",
    ]
    for name in ("OUT_OF_MEMORY", "NO_DEVICE", "INVALID_DEVICE", "NOT_READY"):
        assert int(getattr(driver.CUresult, f"CUDA_ERROR_{name}")) == getattr(numbers, name)
    assert int(driver.CUresult.CUDA_ERROR_DEVICE_UNAVAILABLE) == numbers.UNAVAILABLE
    attribute = driver.CUdevice_attribute
    assert attribute(numbers.CAPABILITY_MAJOR).name.endswith("COMPUTE_CAPABILITY_MAJOR")
    assert attribute(numbers.CAPABILITY_MINOR).name.endswith("COMPUTE_CAPABILITY_MINOR")
    assert int(driver.CUevent_flags.CU_EVENT_BLOCKING_SYNC) == numbers.EVENT_BLOCKING
    assert int(driver.CUevent_flags.CU_EVENT_DISABLE_TIMING) == numbers.EVENT_UNTIMED
    assert int(driver.CUstream_flags.CU_STREAM_NON_BLOCKING) == numbers.STREAM_NON_BLOCKING
    mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
    assert int(mode) == numbers.CAPTURE_THREAD_LOCAL


def test_the_fake_refuses_what_the_driver_refuses(fake: FakeCuda) -> None:
    device = Device(driver=fake)
    with pytest.raises(BackendError, match="cuMemcpyHtoDAsync failed"):  # pageable memory
        device.stream().to_device(device.empty((4,)), np.zeros(4, np.float32))
    with pytest.raises(BackendError, match="cuModuleLoadData failed"):
        device.module(b"not a cubin")
    with pytest.raises(BackendError, match="cuModuleGetFunction failed"):
        device.module(b"\x7fELF").kernel("nothing")
    assert host_library().host_parameters(b"nothing", None) == -1


def test_libav_can_share_the_context() -> None:
    """It refuses a primary context that is in use with other flags than its own (4: threads that wait sleep)."""
    fake = FakeCuda()
    Device(driver=fake)
    assert fake.context_flags == 4
    Device(driver=fake)
    assert fake.calls["cuDevicePrimaryCtxSetFlags"] == 1
    refuses = FakeCuda()
    refuses.fail["cuDevicePrimaryCtxSetFlags"] = 708  # CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE, of drivers before 11
    assert Device(driver=refuses).name == "Fake GPU"
