"""ONNX Runtime, on the CPU and on CUDA. The only importer of onnxruntime."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..cancel import cancellable
from ..cuda.driver import extra_for
from ..errors import BackendError, BackendUnavailable, MissingExtra, ModelFileError, install_command
from ..model import Model
from ..model.description import FLOAT16
from .base import Array, BackendStatus, ModelBackend, Shape, input_names, output_names

if TYPE_CHECKING:
    from ..cuda import Device, Stream

SILENT = 4
"""Log severity "fatal": what goes wrong reaches the user as one error, not as the library's log."""
WARNING = 2
"""The library's own default."""

PACKAGES = "onnxruntime onnxruntime-gpu"
"""Both import as onnxruntime: one must go before the other is installed."""

IDENTITY = bytes.fromhex(
    "08083a370a100a017812017922084964656e7469747912016d5a0f0a0178120a0a08080112040a02080162"
    "0f0a0179120a0a08080112040a02080142040a00100d"
)
"""An ONNX model of one Identity node on one float."""


def _load(extra: str) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        if error.name != "onnxruntime":
            raise BackendUnavailable(
                f"onnxruntime is installed but cannot be imported: {_one_line(error)}. Install it again."
            ) from error
        package = "onnxruntime-gpu" if extra == "cuda" else "onnxruntime"
        raise MissingExtra(
            f"The backend '{extra}'", package, extra_for("cuda") if extra == "cuda" else extra
        ) from error
    return onnxruntime


class OnnxRuntimeCpu(ModelBackend):
    """ONNX Runtime's CPU provider."""

    name = "cpu"
    provider = "CPUExecutionProvider"

    def __init__(self, model: Model, *, threads: int, spin: bool = False) -> None:
        """Open a model.

        Args:
            threads: threads inside one operator; operators run one after the other.
            spin: let idle threads burn their core between operators. A little faster alone, and slower beside a decoder
                and an encoder that want the cores.

        Raises:
            MissingExtra: onnxruntime is not installed.
            BackendUnavailable: the provider does not start here.
            ModelFileError: ONNX Runtime refuses the model.
        """
        spec, file = model.spec, model.file
        super().__init__(spec, title=model.name, batch=model.batch, threads=threads)
        self._opset = file.opset
        self._ort = _load(self.name)
        self.library = f"ONNX Runtime {self._ort.__version__}"
        self._check_provider()
        options = self._ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # A pattern is one block for all of a run's tensors, once for each of the runs in flight; the arena gives them
        # the same tensors one by one in as much time, and a whole video takes 12 MiB less.
        options.enable_mem_pattern = False
        options.execution_mode = self._ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = self._ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = SILENT
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin else "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        source = model.source()
        given = source if isinstance(source, bytes) else str(source)
        try:
            session = self._ort.InferenceSession(given, options, providers=self._providers(), enable_fallback=0)
        except Exception as error:  # the library raises classes of its own without a common base
            raise ModelFileError(self._refusal(error)) from error
        running = session.get_providers()[0]
        if running != self.provider:
            raise BackendUnavailable(
                f"The backend '{self.name}' was asked for, but ONNX Runtime runs {self.title} on {running}: "
                f"{self.provider} did not start. Use --backend cpu, or see engine backends."
            )
        self._session = session
        types = {value.name: value.element_type for value in (*file.inputs, *file.outputs)}
        self._inputs = [(name, _dtype(types[name])) for name in input_names(spec)]
        self._outputs = [(name, _dtype(types[name])) for name in output_names(spec)]

    def _check_provider(self) -> None:
        pass

    def _providers(self) -> list[Any]:
        return [self.provider]

    def _refusal(self, error: Exception) -> str:
        text = _one_line(error)
        if "opset" in text.lower():
            return (
                f"{self.title} uses opset {self._opset}, which {self.library} does not know. "
                f"Upgrade onnxruntime, or export the model with an older opset."
            )
        return f"{self.library} cannot open {self.title} (opset {self._opset}): {text}"

    def _bind(self, shapes: tuple[Shape, ...]) -> _Binding:
        return _Binding(self, shapes)

    def _free(self) -> None:
        del self._session

    def _call(self, run: Callable[[Any], Any], options: Any, failed: str) -> Any:
        """Run the session; a signal that waits for its end can have it ended, see :mod:`~ganlens.engine.cancel`.

        Args:
            run: takes ``options``, ONNX Runtime's RunOptions.
            failed: beginning of the error's message.

        Raises:
            BackendError: the library failed, or was told to end.
        """
        try:
            with cancellable(lambda: setattr(options, "terminate", True)):
                return run(options)
        except Exception as error:  # the library raises classes of its own without a common base
            if options.terminate:
                options.terminate = False
                raise BackendError(f"{self.title} was stopped while it ran.") from error
            raise BackendError(f"{failed}: {_one_line(error)}") from error


class OnnxRuntimeCuda(OnnxRuntimeCpu):
    """ONNX Runtime's CUDA provider, on a stream of ours where cuda-bindings is installed.

    :meth:`run` copies arrays from and to host memory; :meth:`bind_device` keeps them in the GPU's.
    """

    name = "cuda"
    provider = "CUDAExecutionProvider"
    usual_batch = 4
    memory = "cuda"
    """ONNX Runtime's name for the device of the arrays."""
    _device: Device | None = None
    _stream: Stream | None = None

    def __init__(self, model: Model, *, threads: int, spin: bool = False, device: int = 0) -> None:
        """Open a model.

        Args:
            threads, spin: of what runs on the CPU; see :class:`OnnxRuntimeCpu`.
            device: which GPU, as in nvidia-smi and CUDA_VISIBLE_DEVICES.

        Raises:
            MissingExtra, BackendUnavailable, ModelFileError: as for :class:`OnnxRuntimeCpu`.
        """
        self._index = device
        super().__init__(model, threads=threads, spin=spin)

    concurrent = False
    """A session has one stream."""

    @property
    def gpu(self) -> Device:
        """See :class:`~ganlens.engine.cuda.device_protocol.DeviceBackend`.

        Raises:
            BackendUnavailable: the session runs on a stream of its own.
        """
        if self._stream is None or self._device is None:
            raise BackendUnavailable(
                f"{self.library} was opened without cuda-bindings; "
                f"{install_command(extra_for('cuda'))} and open it again."
            )
        return self._device

    def bind_device(self, device: Device, shapes: tuple[Shape, ...]) -> DeviceRun:
        """See :class:`~ganlens.engine.cuda.device_protocol.DeviceBackend`.

        Raises:
            BackendUnavailable: the session runs on another GPU, or on a stream of its own.
        """
        if self.gpu.index != device.index or self._stream is None:
            raise BackendUnavailable(
                f"{self.library} was opened on GPU {self.gpu.index}, got memory of GPU {device.index}. Open it again "
                f"with device={device.index}."
            )
        return DeviceRun(self, device, self._stream, shapes)

    def _check_provider(self) -> None:
        state = cuda_status(self._index)
        if not state.usable:
            raise BackendUnavailable(f"The backend 'cuda' cannot run here: {state.reason}. {state.cure}")

    def _providers(self) -> list[Any]:
        # The exhaustive search costs seconds at the first run and is repaid by the second.
        options = {"device_id": str(self._index), "cudnn_conv_algo_search": "EXHAUSTIVE"}
        from ..cuda import Device

        with contextlib.suppress(MissingExtra):
            self._device = Device(self._index)
            self._stream = self._device.stream()
            options["user_compute_stream"] = str(self._stream.handle)
        return [(self.provider, options)]

    def _free(self) -> None:
        super()._free()
        self._stream = None


class _Binding:
    """A session with bound buffers for inputs of fixed shapes; nothing is allocated per run for float32 models.

    Buffers are bound after the first run, in which the library chooses the shape of the output: they would hide a wrong
    one.
    """

    def __init__(self, backend: OnnxRuntimeCpu, shapes: tuple[Shape, ...]) -> None:
        self._backend = backend
        self._shapes = shapes
        self._options = backend._ort.RunOptions()
        self._binding: Any = None

    def _first_run(self, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        backend, session = self._backend, self._backend._session
        feeds = {
            name: array.astype(dtype, copy=False) for (name, dtype), array in zip(backend._inputs, inputs, strict=True)
        }
        names = [name for name, _ in backend._outputs]
        came = backend._call(
            lambda options: session.run(names, feeds, options),
            self._options,
            f"{backend.library} failed on an input of {self._shapes[0]}",
        )
        backend.check_outputs(tuple(array.shape for array in came), self._shapes)
        self._halves = [
            np.empty(shape, dtype) if dtype == np.float16 else None
            for (_, dtype), shape in zip(backend._inputs, self._shapes, strict=True)
        ]
        self._raw = tuple(
            np.empty(array.shape, dtype) for array, (_, dtype) in zip(came, backend._outputs, strict=True)
        )
        self._answer: tuple[Array, ...] = tuple(
            raw if raw.dtype == np.float32 else np.empty(raw.shape, np.float32) for raw in self._raw
        )
        self._binding = session.io_binding()
        for (name, dtype), raw in zip(backend._outputs, self._raw, strict=True):
            self._binding.bind_output(name, "cpu", 0, dtype, raw.shape, raw.ctypes.data)
        for array, answer in zip(came, self._answer, strict=True):
            np.copyto(answer, array)
        return self._answer

    def __call__(self, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        if self._binding is None:
            return self._first_run(inputs)
        backend = self._backend
        for (name, _), array, half in zip(backend._inputs, inputs, self._halves, strict=True):
            if half is not None:
                np.copyto(half, array, casting="same_kind")
            self._binding.bind_cpu_input(name, array if half is None else half)
        backend._call(
            lambda options: backend._session.run_with_iobinding(self._binding, options),
            self._options,
            f"{backend.library} failed on {backend.title}",
        )
        for raw, answer in zip(self._raw, self._answer, strict=True):
            if raw is not answer:
                np.copyto(answer, raw)
        return self._answer


class DeviceRun:
    """A session bound to device memory; it runs on the session's own stream, between two marks in the caller's.

    Not capturable: the library manages its memory pool and its choice of algorithms itself.
    """

    capturable = False

    def __init__(self, backend: OnnxRuntimeCuda, device: Device, stream: Stream, shapes: tuple[Shape, ...]) -> None:
        backend.check_outputs(backend.output_shapes(shapes), shapes)
        self._backend = backend
        self._device = device
        self._stream = stream
        self._before, self._after = device.event(), device.event()
        self.inputs = tuple(
            device.upload(np.zeros(shape, dtype)) for shape, (_, dtype) in zip(shapes, backend._inputs, strict=True)
        )
        self.outputs = tuple(
            device.empty(shape, dtype)
            for shape, (_, dtype) in zip(backend.output_shapes(shapes), backend._outputs, strict=True)
        )
        self._binding = backend._session.io_binding()
        where = (backend.memory, device.index)
        for (name, dtype), array in zip(backend._inputs, self.inputs, strict=True):
            self._binding.bind_input(name, *where, dtype, array.shape, array.pointer)
        for (name, dtype), array in zip(backend._outputs, self.outputs, strict=True):
            self._binding.bind_output(name, *where, dtype, array.shape, array.pointer)
        self._options = backend._ort.RunOptions()
        # Or every run would wait for the GPU.
        self._options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        self.run()
        stream.synchronize()

    def enqueue(self, stream: int) -> None:
        """See :class:`~ganlens.engine.cuda.device_protocol.DeviceBinding`."""
        call = self._device.call
        call("cuEventRecord", self._before.handle, stream)
        self._stream.wait(self._before)
        self.run()
        self._stream.record(self._after)
        call("cuStreamWaitEvent", stream, self._after.handle, 0)

    def run(self) -> None:
        """Start the session on its own stream."""
        backend = self._backend
        backend._call(
            lambda options: backend._session.run_with_iobinding(self._binding, options),
            self._options,
            f"{backend.library} failed on {backend.title}",
        )


def cpu_status() -> BackendStatus:
    """Whether the CPU provider runs here.

    Raises:
        MissingExtra: onnxruntime is not installed.
    """
    return BackendStatus("cpu", True, _load("cpu").__version__, "cpu")


def cuda_status(index: int = 0) -> BackendStatus:
    """Whether the CUDA provider runs here: it does when a session of one node starts on it.

    The list of providers is not sufficient: it names what the package was built for, not what the machine has.

    Args:
        index: which GPU.

    Raises:
        MissingExtra: onnxruntime is not installed.
    """
    ort = _load("cuda")
    provider = OnnxRuntimeCuda.provider
    if provider not in ort.get_available_providers():
        reason = f"the installed onnxruntime {ort.__version__} is not built for CUDA"
        return BackendStatus(
            "cuda", False, ort.__version__, reason=reason, cure=install_command(extra_for("cuda"), without=PACKAGES)
        )
    options = ort.SessionOptions()
    options.log_severity_level = SILENT
    ort.set_default_logger_severity(SILENT)
    try:
        _preload_cuda(ort)
        session = ort.InferenceSession(
            IDENTITY, options, providers=[(provider, {"device_id": str(index)})], enable_fallback=0
        )
        if session.get_providers()[0] == provider:
            return BackendStatus("cuda", True, ort.__version__, f"cuda:{index}")
        reason = _missing_library(ort)
    except Exception as error:
        reason = _one_line(error)
    finally:
        ort.set_default_logger_severity(WARNING)
    cure = "Check the driver (nvidia-smi), and get CUDA and cuDNN with: pip install 'onnxruntime-gpu[cuda,cudnn]'"
    return BackendStatus("cuda", False, ort.__version__, reason=reason, cure=cure)


def _preload_cuda(ort: Any) -> None:
    """Load CUDA and cuDNN from their Python packages, where the system's loader does not look.

    They may be in another folder than ONNX Runtime, as in a virtual environment over another one; by itself it looks
    beside itself only. What is loaded already stays.
    """
    if not hasattr(ort, "preload_dlls"):  # since 1.21
        return
    found = importlib.util.find_spec("nvidia")
    packages = found.submodule_search_locations if found is not None else None
    folders: list[str | None] = [str(Path(folder).absolute().parent) for folder in packages or ()]
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does not find
        for folder in folders or [None]:
            ort.preload_dlls(directory=folder)


def _missing_library(ort: Any) -> str:
    """Why the CUDA provider did not start: mostly a shared library that it needs is not there."""
    try:
        ctypes.CDLL(str(Path(ort.__file__).parent / "capi" / "libonnxruntime_providers_cuda.so"))
    except OSError as error:
        return f"CUDA did not start: {error}"
    return "CUDA did not start"


def _dtype(element_type: int) -> type[np.float32] | type[np.float16]:
    return np.float16 if element_type == FLOAT16 else np.float32


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    # "[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Load model from … failed: …": the code adds nothing.
    return text.split(" : ", 2)[-1] if text.startswith("[ONNXRuntimeError]") else text
