"""A CUDA driver for machines without a GPU: the functions of ``cuda.bindings.driver`` that we call, on the host.

It keeps the driver's contract, not only its names: work put into a stream happens as late as it may, when somebody
waits for it, and streams are ordered by events alone. Whoever reads memory without having waited reads what was there
before. Fresh memory holds noise; a freed address, an allocation during capture, a kernel that is not in the module or a
copy beyond its memory fail as they do there. Kernels are those of engine/cuda/kernels.cu, compiled for the host.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import subprocess
import sysconfig
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ganlens.engine import model
from ganlens.engine.backends.onnxruntime_backend import DeviceRun, OnnxRuntimeCuda
from ganlens.engine.cuda import Device

ROOT = Path(__file__).resolve().parents[2]
OUT_OF_MEMORY, INVALID_VALUE, INVALID_IMAGE, INVALID_HANDLE, NOT_FOUND, NOT_READY = 2, 1, 200, 400, 500, 600
INVALID_CONTEXT, CONTEXT = 201, 0xC0
WITHOUT_CONTEXT = ("cuInit", "cuDriver", "cuDevice", "cuCtxSet", "cuCtxPush", "cuCtxPop", "cuGetError")
"""How the functions begin that a thread without a context may call."""
CAPTURE_UNSUPPORTED, CAPTURE_INVALIDATED, ILLEGAL_STATE = 900, 901, 401
NAMES = {0: "CUDA_SUCCESS", 2: "CUDA_ERROR_OUT_OF_MEMORY", 36: "CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER"}
NAMES |= {100: "CUDA_ERROR_NO_DEVICE", 214: "CUDA_ERROR_ECC_UNCORRECTABLE", 700: "CUDA_ERROR_ILLEGAL_ADDRESS"}


@functools.cache
def host_library() -> ctypes.CDLL:
    """engine/cuda/kernels.cu as host functions, built with the system's compiler."""
    folder = Path(tempfile.mkdtemp(prefix="host_cuda"))
    source = Path(__file__).parent / "host_cuda"
    compiler = (sysconfig.get_config_var("CXX") or "c++").split()[0]
    flags = ["-std=c++17", "-O2", "-fPIC", "-shared", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror"]
    includes = [f"-I{path}" for path in (ROOT / "engine" / "pixels" / "csrc", ROOT / "engine" / "cuda", source)]
    subprocess.run(
        [compiler, *flags, *includes, str(source / "host_kernels.cpp"), "-o", str(folder / "host.so")], check=True
    )
    return ctypes.CDLL(str(folder / "host.so"))


@functools.cache
def kept_cubins() -> Path:
    """A cache folder for the kernels that lasts as long as the tests: they are compiled once for all."""
    return Path(tempfile.mkdtemp(prefix="cubins"))


class _Work:
    """Something in a stream: what must have happened before, and what it does."""

    def __init__(self, before: list[_Work], action: Callable[[], None] | None = None) -> None:
        self.before, self.action, self.done = before, action, False

    def run(self) -> None:
        todo = [self]
        while todo:
            work = todo[-1]
            waiting = [other for other in work.before if not other.done]
            if waiting:
                todo += waiting
                continue
            todo.pop()
            if not work.done:
                work.done = True
                work.before = []
                if work.action:
                    work.action()


class FakeCuda:
    """One fake GPU. Pass it to ``Device(driver=…)``.

    Args:
        memory: bytes that can be allocated.
        version: CUDA version of the driver, as 13000.
        integrated: it shares the host's memory.
        capability: compute capability.
    """

    CUDA_VERSION = 13000

    def __init__(
        self,
        *,
        memory: int = 1 << 30,
        version: int = 13000,
        capability: tuple[int, int] = (9, 0),
        devices: int = 1,
        integrated: bool = False,
    ) -> None:
        self.memory, self.version, self.capability, self.devices = memory, version, capability, devices
        self.integrated = integrated
        self._thread = threading.local()
        self.calls: Counter[str] = Counter()
        self.context_flags = 0
        """Flags of the primary context."""
        self.elapsed_ms = 0.25
        """Between any two timed events."""
        self.launched: Counter[str] = Counter()
        """Kernels put into streams, recorded ones once."""
        self.fail: dict[str, int] = {}
        """Function → the result that its next calls give."""
        self._handles = itertools.count(0x1000, 0x10)
        self._allocated: dict[int, np.ndarray[Any, Any]] = {}
        self._pinned: dict[int, np.ndarray[Any, Any]] = {}
        self._last: dict[int, _Work | None] = {0: None, 1: None, 2: None}
        self._events: dict[int, _Work | None] = {}
        self._graphs: dict[int, list[Callable[[], None]]] = {}
        self._executables: dict[int, list[Callable[[], None]]] = {}
        self._modules: set[int] = set()
        self._kernels: dict[int, str] = {}
        self._capturing: dict[int, list[Callable[[], None]] | None] = {}
        self._library = host_library()

    def __getattribute__(self, name: str) -> Any:
        value = object.__getattribute__(self, name)
        if not name.startswith("cu"):
            return value

        def counted(*arguments: Any) -> Any:
            self.calls[name] += 1
            if name in self.fail:
                return (self.fail[name], *[0] * 2)
            if not name.startswith(WITHOUT_CONTEXT) and self.thread_context != CONTEXT:
                return (INVALID_CONTEXT, *[0] * 2)
            return value(*arguments)

        return counted

    @property
    def live(self) -> tuple[int, int]:
        """Allocations on the device and of pinned memory that have not been freed."""
        return len(self._allocated), len(self._pinned)

    # --- the device ---------------------------------------------------------------------------------------------------

    def cuInit(self, flags: int) -> tuple[int]:
        return (0,) if self.devices else (100,)

    def cuDriverGetVersion(self) -> tuple[int, int]:
        return 0, self.version

    def cuDeviceGetCount(self) -> tuple[int, int]:
        return 0, self.devices

    def cuDeviceGet(self, index: int) -> tuple[int, int]:
        return 0, index

    def cuDeviceGetName(self, length: int, device: int) -> tuple[int, bytes]:
        return 0, b"Fake GPU".ljust(length, b"\0")

    def cuDeviceGetAttribute(self, attribute: int, device: int) -> tuple[int, int]:
        return 0, {18: int(self.integrated), 75: self.capability[0], 76: self.capability[1]}[int(attribute)]

    def cuDeviceTotalMem(self, device: int) -> tuple[int, int]:
        return 0, self.memory

    def cuMemGetInfo(self) -> tuple[int, int, int]:
        return 0, self.memory - sum(map(len, self._allocated.values())), self.memory

    def cuDevicePrimaryCtxGetState(self, device: int) -> tuple[int, int, int]:
        return 0, self.context_flags, 0

    def cuDevicePrimaryCtxSetFlags(self, device: int, flags: int) -> tuple[int]:
        self.context_flags = flags
        return (0,)

    def cuDevicePrimaryCtxRetain(self, device: int) -> tuple[int, int]:
        return 0, CONTEXT

    @property
    def thread_context(self) -> int:
        """The context of the calling thread, 0 for none; another library may have set another one."""
        stack = self._stack()
        return stack[-1] if stack else 0

    def _stack(self) -> list[int]:
        if not hasattr(self._thread, "stack"):
            self._thread.stack = []
        return self._thread.stack  # type: ignore[no-any-return]

    def cuCtxSetCurrent(self, context: int) -> tuple[int]:
        self._stack()[-1:] = [context]
        return (0,)

    def cuCtxPushCurrent(self, context: int) -> tuple[int]:
        self._stack().append(context)
        return (0,)

    def cuCtxPopCurrent(self) -> tuple[int, int]:
        return (0, self._stack().pop()) if self._stack() else (INVALID_CONTEXT, 0)

    def cuCtxSynchronize(self) -> tuple[int]:
        if self._forbidden():
            return (CAPTURE_UNSUPPORTED,)
        for work in self._last.values():
            if work:
                work.run()
        return (0,)

    def cuGetErrorName(self, status: int) -> tuple[int, bytes]:
        return 0, NAMES.get(int(status), f"CUDA_ERROR_{status}").encode()

    def cuGetErrorString(self, status: int) -> tuple[int, bytes]:
        return 0, b"as the driver says it"

    # --- memory -------------------------------------------------------------------------------------------------------

    def cuMemAlloc(self, size: int) -> tuple[int, int]:
        if self._forbidden():
            return CAPTURE_UNSUPPORTED, 0
        if sum(map(len, self._allocated.values())) + size > self.memory:
            return OUT_OF_MEMORY, 0
        return 0, self._allocate(self._allocated, size)

    def cuMemFree(self, pointer: int) -> tuple[int]:
        if self._forbidden():
            return (CAPTURE_UNSUPPORTED,)
        return self._release(self._allocated, pointer)

    def cuMemHostAlloc(self, size: int, flags: int) -> tuple[int, int]:
        if self._forbidden():
            return CAPTURE_UNSUPPORTED, 0
        return 0, self._allocate(self._pinned, size)

    def cuMemHostGetDevicePointer(self, pointer: int, flags: int) -> tuple[int, int]:
        return 0, pointer

    def cuMemFreeHost(self, pointer: int) -> tuple[int]:
        return self._release(self._pinned, pointer)

    def cuMemcpyHtoD(self, destination: int, source: int, size: int) -> tuple[int]:
        """From memory that is not pinned: read at once, but it may arrive later, on the default stream."""
        if not self._holds(self._allocated, destination, size):
            return (INVALID_VALUE,)
        content = ctypes.string_at(source, size)
        return self.put(1, lambda: ctypes.memmove(destination, content, size))

    def cuMemcpyDtoH(self, destination: int, source: int, size: int) -> tuple[int]:
        if not self._holds(self._allocated, source, size):
            return (INVALID_VALUE,)
        ctypes.memmove(destination, source, size)
        return (0,)

    def cuMemcpyHtoDAsync(self, destination: int, source: int, size: int, stream: int) -> tuple[int]:
        if not self._holds(self._allocated, destination, size) or not self._holds(self._pinned, source, size):
            return (INVALID_VALUE,)
        return self.put(stream, lambda: ctypes.memmove(destination, source, size))

    def cuMemcpyDtoHAsync(self, destination: int, source: int, size: int, stream: int) -> tuple[int]:
        if not self._holds(self._allocated, source, size) or not self._holds(self._pinned, destination, size):
            return (INVALID_VALUE,)
        return self.put(stream, lambda: ctypes.memmove(destination, source, size))

    def cuMemcpyDtoDAsync(self, destination: int, source: int, size: int, stream: int) -> tuple[int]:
        if not self._holds(self._allocated, destination, size):  # the source may be another library's
            return (INVALID_VALUE,)
        return self.put(stream, lambda: ctypes.memmove(destination, source, size))

    # --- order --------------------------------------------------------------------------------------------------------

    def cuStreamCreate(self, flags: int) -> tuple[int, int]:
        handle = next(self._handles)
        self._last[handle] = None
        return 0, handle

    def cuStreamDestroy(self, stream: int) -> tuple[int]:
        return (0,) if self._last.pop(stream, INVALID_HANDLE) != INVALID_HANDLE else (INVALID_HANDLE,)

    def cuStreamSynchronize(self, stream: int) -> tuple[int]:
        if self._forbidden():
            return (CAPTURE_UNSUPPORTED,)
        work = self._last[stream]
        if work:
            work.run()
        return (0,)

    def cuStreamWaitEvent(self, stream: int, event: int, flags: int) -> tuple[int]:
        mark = self._events[event]
        if mark is not None and stream not in self._capturing:  # an edge of the graph then, which runs in order here
            self._append(stream, None, [mark])
        return (0,)

    def cuEventCreate(self, flags: int) -> tuple[int, int]:
        handle = next(self._handles)
        self._events[handle] = None
        return 0, handle

    def cuEventDestroy(self, event: int) -> tuple[int]:
        return (0,) if self._events.pop(event, INVALID_HANDLE) != INVALID_HANDLE else (INVALID_HANDLE,)

    def cuEventRecord(self, event: int, stream: int) -> tuple[int]:
        if stream not in self._capturing:
            self._events[event] = self._append(stream, None, [])
        return (0,)

    def cuEventQuery(self, event: int) -> tuple[int]:
        mark = self._events[event]
        if mark is None or mark.done:
            return (0,)
        mark.run()  # the next query finds it done
        return (NOT_READY,)

    def cuEventSynchronize(self, event: int) -> tuple[int]:
        if self._forbidden():
            return (CAPTURE_UNSUPPORTED,)
        mark = self._events[event]
        if mark is not None:
            mark.run()
        return (0,)

    def cuEventElapsedTime(self, start: int, end: int) -> tuple[int, float]:
        return 0, self.elapsed_ms

    # --- graphs and kernels -------------------------------------------------------------------------------------------

    def cuStreamBeginCapture(self, stream: int, mode: int) -> tuple[int]:
        if stream in self._capturing:
            return (ILLEGAL_STATE,)
        self._capturing[stream] = []
        return (0,)

    def cuStreamEndCapture(self, stream: int) -> tuple[int, int]:
        if stream not in self._capturing:
            return ILLEGAL_STATE, 0
        actions = self._capturing.pop(stream)
        if actions is None:
            return CAPTURE_INVALIDATED, 0
        handle = next(self._handles)
        self._graphs[handle] = actions
        return 0, handle

    def cuGraphInstantiate(self, graph: int, flags: int) -> tuple[int, int]:
        handle = next(self._handles)
        self._executables[handle] = list(self._graphs[graph])
        return 0, handle

    def cuGraphDestroy(self, graph: int) -> tuple[int]:
        return (0,) if self._graphs.pop(graph, None) is not None else (INVALID_HANDLE,)

    def cuGraphExecDestroy(self, graph: int) -> tuple[int]:
        return (0,) if self._executables.pop(graph, None) is not None else (INVALID_HANDLE,)

    def cuGraphLaunch(self, graph: int, stream: int) -> tuple[int]:
        if graph not in self._executables:
            return (INVALID_HANDLE,)
        for action in self._executables[graph]:
            self.put(stream, action)
        return (0,)

    def cuModuleLoadData(self, image: bytes) -> tuple[int, int]:
        if image[:4] != b"\x7fELF":
            return INVALID_IMAGE, 0
        handle = next(self._handles)
        self._modules.add(handle)
        return 0, handle

    def cuModuleUnload(self, module: int) -> tuple[int]:
        self._modules.remove(module)
        return (0,)

    def cuModuleGetFunction(self, module: int, name: bytes) -> tuple[int, int]:
        sizes = (ctypes.c_int * 16)()
        if module not in self._modules or self._library.host_parameters(name, sizes) < 0:
            return NOT_FOUND, 0
        handle = next(self._handles)
        self._kernels[handle] = name.decode()
        return 0, handle

    def cuLaunchKernel(self, kernel: int, *arguments: Any) -> tuple[int]:
        *shape, shared, stream, parameters, extra = arguments
        assert shared == 0 and extra == 0
        name = self._kernels[kernel].encode()
        self.launched[self._kernels[kernel]] += 1
        sizes = (ctypes.c_int * 16)()
        count = self._library.host_parameters(name, sizes)
        given = ctypes.cast(parameters, ctypes.POINTER(ctypes.c_void_p))
        copies = [
            ctypes.create_string_buffer(ctypes.string_at(given[i] or 0, sizes[i]), sizes[i]) for i in range(count)
        ]
        grid, block = (ctypes.c_uint * 3)(*shape[:3]), (ctypes.c_uint * 3)(*shape[3:])
        if not all(shape) or block[0] * block[1] * block[2] > 1024 or max(grid[1], grid[2]) > 65535:
            return (INVALID_VALUE,)

        def launch() -> None:
            table = (ctypes.c_void_p * count)(*map(ctypes.addressof, copies))
            self._library.host_launch(name, grid, block, table)

        return self.put(stream, launch)

    # --- for tests ----------------------------------------------------------------------------------------------------

    def put(self, stream: int, action: Callable[[], Any]) -> tuple[int]:
        """Put host code into a stream, as a library does that launches kernels of its own."""
        if stream in self._capturing:
            actions = self._capturing[stream]
            if actions is not None:
                actions.append(action)
            return (0,)
        if stream not in self._last:
            return (INVALID_HANDLE,)
        self._append(stream, action, [])
        return (0,)

    def _append(self, stream: int, action: Callable[[], None] | None, before: list[_Work]) -> _Work:
        last = self._last[stream]
        work = _Work([*before, *([last] if last else [])], action)
        self._last[stream] = work
        return work

    def _forbidden(self) -> bool:
        """Whether a capture is running; it is spoilt then."""
        for stream in self._capturing:
            self._capturing[stream] = None
        return bool(self._capturing)

    def _allocate(self, where: dict[int, np.ndarray[Any, Any]], size: int) -> int:
        memory = np.random.default_rng(size).integers(0, 256, size + 256, dtype=np.uint8)
        pointer = -(-memory.ctypes.data // 256) * 256
        where[pointer] = memory[pointer - memory.ctypes.data :][:size]
        return pointer

    def _release(self, where: dict[int, np.ndarray[Any, Any]], pointer: int) -> tuple[int]:
        return (0,) if where.pop(pointer, None) is not None else (INVALID_VALUE,)

    def _holds(self, where: dict[int, np.ndarray[Any, Any]], pointer: int, size: int) -> bool:
        return any(begin <= pointer and pointer + size <= begin + len(memory) for begin, memory in where.items())


class OnnxRuntimeOnFake(OnnxRuntimeCuda):
    """The CUDA backend with ONNX Runtime's CPU provider over the fake GPU's memory."""

    provider = "CPUExecutionProvider"
    memory = "cpu"

    def __init__(self, path: Path, fake: FakeCuda) -> None:
        self._index = 0
        self._device = Device(driver=fake)
        self._stream = self._device.stream()
        super().__init__(model.open(path), threads=1)

    def _check_provider(self) -> None:
        pass

    def _providers(self) -> list[Any]:
        return [self.provider]

    def bind_device(self, device: Device, shapes: tuple[tuple[int, ...], ...]) -> DeviceRun:
        stream, fake = self._stream, device._cuda
        assert stream is not None

        class InStream(DeviceRun):
            """Runs when the stream gets there, as the CUDA provider's kernels do."""

            def run(self) -> None:
                fake.put(stream.handle, super().run)

        return InStream(self, device, stream, shapes)
