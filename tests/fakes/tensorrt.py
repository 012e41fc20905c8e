"""TensorRT for machines without it: what we use of TensorRT 10.3, 11.4 and TensorRT for RTX 1.7, on the host.

Every public name is checked against the list made from the real packages (``tensorrt_api.json``): what a release does
not have is an AttributeError here too. The behaviour follows what was seen of TensorRT for RTX and what NVIDIA's
documentation says of the others: answers are None or False where something is wrong, the reason goes to the logger.
A "plan" holds the ONNX file and the options; a run computes it with ONNX Runtime in the fake GPU's memory.
"""

from __future__ import annotations

import ctypes
import enum
import functools
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from tests.fakes.cuda import FakeCuda

API = json.loads((Path(__file__).parent / "tensorrt_api.json").read_text())
RELEASES = {"10": "tensorrt", "11": "tensorrt", "rtx": "tensorrt_rtx"}
MAGIC = b"fake plan\n"
ENUMS = (
    "BuilderFlag",
    "NetworkDefinitionCreationFlag",
    "MemoryPoolType",
    "HardwareCompatibilityLevel",
    "ComputeCapability",
    "EngineValidity",
    "DynamicShapesKernelSpecializationStrategy",
)
BITS = (
    "VERSION_MISMATCH",
    "UNSUPPORTED_CC",
    "OLD_CUDA_DRIVER",
    "OLD_CUDA_RUNTIME",
    "INSUFFICIENT_GPU_MEMORY",
    "MALFORMED_ENGINE",
    "CUDA_ERROR",
)
SAID = {
    "no profile": "IBuilder::buildSerializedNetwork: Error Code 4: API Usage Error (Network has dynamic or shape "
    "inputs, but no optimization profile has been defined. In validate at /_src/optimizer/api/network.cpp:4023)",
    "cancelled": "IBuilder::buildSerializedNetwork: Error Code 7: BuildCanceled (Build canceled by user In next at "
    "/_src/optimizer/common/scopedProgressReporter.cpp:92)",
    "bad profile": "IOptimizationProfile::isValid: Error Code 4: API Usage Error (Invalid optimization profiles for "
    "input tensors x, please ensure that they satisfy MIN<=OPT<=MAX. In isValid at /_src/o.cpp:367)",
    "version": "IRuntime::deserializeCudaEngine: Error Code 1: Serialization (Version tag does not match. In check at "
    "/_src/runtime/r.cpp:12)",
    "outside": "IExecutionContext::setInputShape: Error Code 3: API Usage Error (the shape is outside of the profile. "
    "In setInputShape at /_src/runtime/api/executionContext.cpp:9)",
}
TYPES = {1: "FLOAT", 10: "HALF", 7: "INT64"}


@functools.cache
def names(release: str, cls: str) -> set[str]:
    """The public names of a class in a release."""
    entry = API["classes"][cls]
    return {*entry.get("all", []), *entry.get(release, [])}


class FakeTensorRt(types.ModuleType):
    """A release, to be put into ``sys.modules``.

    Args:
        release: "10", "11" or "rtx".
        gpu: the fake GPU; None: the machine has none.
        operators: of ONNX, that its parser knows.
    """

    def __init__(self, release: str, gpu: FakeCuda | None = None, *, gpu_name: str = "Fake GPU") -> None:
        super().__init__(RELEASES[release])
        self.release, self.gpu, self.gpu_name = release, gpu, gpu_name
        self.__version__ = API["versions"][release]
        self.builds = 0
        self.fails: dict[str, str] = {}
        """What is asked for → what the logger is told while it fails."""
        self.seen: dict[str, Any] = {}
        """What the last build was given."""
        for cls in ENUMS:
            if release in API["classes"][cls]["in"]:
                members = sorted(names(release, cls) - {"name", "value"})
                setattr(self, cls, enum.IntEnum(cls, {name: number for number, name in enumerate(members)}))  # type: ignore[misc]
        if release == "rtx":
            assert set(BITS) <= names("rtx", "EngineInvalidityDiagnostics")
            self.EngineInvalidityDiagnostics = enum.IntFlag("Bits", {name: 1 << i for i, name in enumerate(BITS)})  # type: ignore[misc]
        self.float32, self.float16 = "DataType.FLOAT", "DataType.HALF"
        for cls in (ILogger, IProgressMonitor):
            setattr(self, cls.__name__, cls)
        for real in (Builder, OnnxParser, Runtime):
            listed = names(release, real.api)
            members = {k: v for k, v in vars(real).items() if k in listed or k.startswith("_") or k == "api"}
            setattr(self, real.__name__, type(real.__name__, (Listed,), {**members, "fake": self}))

    def say(self, logger: Any, message: str) -> None:
        logger.log(ILogger.Severity.ERROR, message)

    def refuses(self, what: str, logger: Any) -> bool:
        """Whether ``what`` is to fail now; says why."""
        if what in self.fails:
            self.say(logger, self.fails[what])
            return True
        return False


class ILogger:
    """Called by the library with severities, of which smaller is worse."""

    class Severity(enum.IntEnum):
        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class IProgressMonitor:
    """Called by the library while it builds."""


class Listed:
    """Base of the fake classes: public names must be in the list of the release."""

    fake: FakeTensorRt
    api = ""

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and name != "fake":
            _check_listed(object.__getattribute__(self, "fake"), type(self), name)
        return object.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and name != "fake":
            _check_listed(self.fake, type(self), name)
        object.__setattr__(self, name, value)


def _check_listed(fake: FakeTensorRt, cls: type[Listed], name: str) -> None:
    if name not in names(fake.release, cls.api):
        raise AttributeError(f"'{cls.api}' object has no attribute '{name}'")


class Builder(Listed):
    api = "Builder"

    def __init__(self, logger: Any) -> None:
        self._logger = logger
        if self.fake.release != "rtx" and self.fake.gpu is None:
            self.fake.say(logger, "CUDA initialization failure with error: 100")
            raise TypeError("pybind11::init(): factory function returned nullptr")

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        strong = 1 << int(self.fake.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        if self.fake.release == "10":
            assert flags & strong, "TensorRT 10 would choose the precision itself"
        return INetworkDefinition(self.fake)

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig(self.fake, self._logger)

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile(self.fake)

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> Any:
        fake = self.fake
        flags = {flag.name for flag in config._flags}
        fake.seen = {
            "flags": flags,
            "workspace": config._workspace,
            "level": str(getattr(config.hardware_compatibility_level, "name", "NONE")),
            "targets": [target.name for target in config._targets],
            "timings": config._timings._content if config._timings else None,
            "profile": config._profile,
        }
        if fake.refuses("build", self._logger):
            return None
        if fake.release == "rtx" and config._timings is not None:
            raise AssertionError("a timing cache makes TensorRT for RTX look for a GPU")
        dynamic = [t for t in network._inputs if -1 in t.shape]
        if dynamic and config._profile is None:
            fake.say(self._logger, SAID["no profile"])
            return None
        monitor = config.progress_monitor
        if monitor is not None:
            monitor.phase_start("Building engine", None, 2)
            for phase in ("Optimizing graph", "Timing graph nodes"):
                monitor.phase_start(phase, "Building engine", 4)
                for step in range(4):
                    if not monitor.step_complete(phase, step):
                        fake.say(self._logger, SAID["cancelled"])
                        return None
                monitor.phase_finish(phase)
            monitor.phase_finish("Building engine")
        fake.builds += 1
        if config._timings is not None:
            config._timings._content += b"+timed"
        header = {
            "release": fake.release,
            "version": fake.__version__,
            "gpu": fake.gpu_name,
            "profile": config._profile,
            "host_code": "VERSION_COMPATIBLE" in flags,
            "capturable": fake.release != "rtx" or "REQUIRE_USER_ALLOCATION" in flags,
        }
        return np.frombuffer(MAGIC + json.dumps(header).encode() + b"\n" + network._content, np.uint8)


class ITensor:
    def __init__(self, value: onnx.ValueInfoProto) -> None:
        kind = value.type.tensor_type
        self.name = value.name
        self.dtype = f"DataType.{TYPES[kind.elem_type]}"
        self.shape = tuple(d.dim_value if d.HasField("dim_value") else -1 for d in kind.shape.dim)


class INetworkDefinition(Listed):
    api = "INetworkDefinition"

    def __init__(self, fake: FakeTensorRt) -> None:
        object.__setattr__(self, "fake", fake)
        self._inputs: list[ITensor] = []
        self._content = b""

    @property
    def num_inputs(self) -> int:
        return len(self._inputs)

    def get_input(self, index: int) -> ITensor:
        return self._inputs[index]


class OnnxParser(Listed):
    api = "OnnxParser"

    def __init__(self, network: INetworkDefinition, logger: Any) -> None:
        self._network, self._logger = network, logger
        self._errors: list[ParserError] = []

    def parse(self, model: bytes, path: str | None = None) -> bool:
        graph = onnx.load_model_from_string(model).graph
        for index, node in enumerate(graph.node):
            if not onnx.defs.has(node.op_type):
                self.fake.say(
                    self._logger, f"ModelImporter.cpp:140: While parsing node number {index} [{node.op_type}]"
                )
                self._errors.append(
                    ParserError(index, node, 'creator && "Plugin not found, are the plugin name right?"')
                )
        self._network._inputs = [ITensor(value) for value in graph.input]
        self._network._content = model
        return not self._errors

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> ParserError:
        return self._errors[index]


class ParserError:
    """Its fields are calls."""

    def __init__(self, index: int, node: onnx.NodeProto, text: str) -> None:
        self.node = lambda: index
        self.node_name = lambda: node.name
        self.node_operator = lambda: node.op_type
        self.desc = lambda: text


class IBuilderConfig(Listed):
    api = "IBuilderConfig"

    def __init__(self, fake: FakeTensorRt, logger: Any) -> None:
        object.__setattr__(self, "fake", fake)
        self._logger = logger
        self._flags: list[Any] = []
        self._workspace = 0
        self._targets: list[Any] = []
        self._profile: dict[str, Any] | None = None
        self._timings: ITimingCache | None = None
        self.progress_monitor: Any = None
        self.hardware_compatibility_level: Any = None

    def set_flag(self, flag: Any) -> None:
        self._flags.append(flag)

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        assert pool == self.fake.MemoryPoolType.WORKSPACE
        self._workspace = pool_size

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        for low, opt, high in profile._shapes.values():
            if not all(a <= b <= c for a, b, c in zip(low, opt, high, strict=True)):
                self.fake.say(self._logger, SAID["bad profile"])
                return -1
        self._profile = profile._shapes
        return 0

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache | None:
        return ITimingCache(self.fake, bytes(serialized_timing_cache))

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        assert ignore_mismatch is False
        if cache._content and not cache._content.startswith(self.fake.__version__.encode()):
            self.fake.say(self._logger, "the timing cache is of another version")
            return False
        cache._content = cache._content or self.fake.__version__.encode()
        self._timings = cache
        return True

    @property
    def num_compute_capabilities(self) -> int:
        return len(self._targets)

    @num_compute_capabilities.setter
    def num_compute_capabilities(self, count: int) -> None:
        self._targets = [None] * count

    def set_compute_capability(self, compute_capability: Any, index: int) -> bool:
        self._targets[index] = compute_capability
        return True


class IOptimizationProfile(Listed):
    api = "IOptimizationProfile"

    def __init__(self, fake: FakeTensorRt) -> None:
        object.__setattr__(self, "fake", fake)
        self._shapes: dict[str, Any] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        self._shapes[input] = (list(min), list(opt), list(max))


class ITimingCache(Listed):
    api = "ITimingCache"

    def __init__(self, fake: FakeTensorRt, content: bytes) -> None:
        object.__setattr__(self, "fake", fake)
        self._content = content

    def serialize(self) -> Any:
        return np.frombuffer(self._content, np.uint8)


class Runtime(Listed):
    api = "Runtime"

    def __init__(self, logger: Any) -> None:
        self._logger = logger
        self.engine_host_code_allowed = False
        if self.fake.release != "rtx" and self.fake.gpu is None:
            raise TypeError("pybind11::init(): factory function returned nullptr")

    def get_engine_validity(self, buffer: bytes) -> tuple[Any, int]:
        validity, diagnostics = self.fake.EngineValidity, self.fake.EngineInvalidityDiagnostics
        if "validity" in self.fake.fails:
            return validity.INVALID, int(diagnostics[self.fake.fails["validity"]])
        if not bytes(buffer).startswith(MAGIC):
            return validity.INVALID, int(diagnostics.MALFORMED_ENGINE)
        if _header(buffer)[0]["version"] != self.fake.__version__:
            return validity.INVALID, int(diagnostics.VERSION_MISMATCH)
        return validity.VALID, 0

    def deserialize_cuda_engine(self, plan: bytes) -> ICudaEngine | None:
        if self.fake.refuses("deserialize", self._logger):
            return None
        header, content = _header(plan)
        if header["host_code"] and not self.engine_host_code_allowed:
            self.fake.say(self._logger, "the plan holds host code, which is not allowed")
            return None
        if header["version"] != self.fake.__version__ and not header["host_code"]:
            self.fake.say(self._logger, SAID["version"])
            return None
        return ICudaEngine(self.fake, header, content, self._logger)


class ICudaEngine(Listed):
    api = "ICudaEngine"

    def __init__(self, fake: FakeTensorRt, header: dict[str, Any], content: bytes, logger: Any) -> None:
        object.__setattr__(self, "fake", fake)
        graph = onnx.load_model_from_string(content).graph
        self._tensors = {value.name: ITensor(value) for value in [*graph.input, *graph.output]}
        self._inputs = [value.name for value in graph.input]
        self._outputs = [value.name for value in graph.output]
        self._header, self._content, self._logger = header, content, logger

    def get_tensor_dtype(self, name: str) -> str:
        return self._tensors[name].dtype

    def create_runtime_config(self) -> IRuntimeConfig:
        return IRuntimeConfig(self.fake)

    def create_execution_context(self, config: IRuntimeConfig | None = None) -> IExecutionContext | None:
        if self.fake.refuses("context", self._logger):
            return None
        return IExecutionContext(self.fake, self, config)


class IRuntimeConfig(Listed):
    api = "IRuntimeConfig"

    def __init__(self, fake: FakeTensorRt) -> None:
        object.__setattr__(self, "fake", fake)
        self.dynamic_shapes_kernel_specialization_strategy = fake.DynamicShapesKernelSpecializationStrategy.LAZY
        self._cache: IRuntimeCache | None = None

    def create_runtime_cache(self) -> IRuntimeCache:
        return IRuntimeCache(self.fake)

    def set_runtime_cache(self, cache: IRuntimeCache | None = None) -> bool:
        self._cache = cache
        return True


class IRuntimeCache(Listed):
    api = "IRuntimeCache"

    def __init__(self, fake: FakeTensorRt) -> None:
        object.__setattr__(self, "fake", fake)
        self._kernels: set[str] = set()

    def serialize(self) -> Any:
        return np.frombuffer(" ".join(sorted(self._kernels)).encode(), np.uint8)

    def deserialize(self, blob: bytes) -> bool:
        self._kernels |= set(bytes(blob).decode().split())
        self.fake.seen["kernels"] = sorted(self._kernels)
        return True


class IExecutionContext(Listed):
    api = "IExecutionContext"

    def __init__(self, fake: FakeTensorRt, engine: ICudaEngine, config: IRuntimeConfig | None) -> None:
        object.__setattr__(self, "fake", fake)
        self._engine, self._config = engine, config
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._answers: dict[str, tuple[int, ...]] = {}
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(engine._content, options, providers=["CPUExecutionProvider"])
        if config is not None:
            eager = fake.DynamicShapesKernelSpecializationStrategy.EAGER
            assert config.dynamic_shapes_kernel_specialization_strategy == eager

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        tensor = self._engine._tensors[name]
        profile = (self._engine._header["profile"] or {}).get(name)
        low, _, high = profile or (tensor.shape, None, tensor.shape)
        if len(shape) != len(low) or not all(a <= n <= b for a, n, b in zip(low, shape, high, strict=True)):
            self.fake.say(self._engine._logger, SAID["outside"])
            return False
        self._shapes[name] = tuple(shape)
        return True

    def infer_shapes(self) -> list[str]:
        missing = [name for name in self._engine._inputs if name not in self._shapes]
        if not missing:
            feeds = {name: np.zeros(shape, self._dtype(name)) for name, shape in self._shapes.items()}
            try:
                answers = self._session.run(self._engine._outputs, feeds)
            except Exception as error:  # ONNX Runtime's own classes
                self.fake.say(self._engine._logger, "dimensions not compatible for elementwise")
                raise RuntimeError("shape inference failed") from error
            self._answers = {n: tuple(a.shape) for n, a in zip(self._engine._outputs, answers, strict=True)}
        return missing

    def _dtype(self, name: str) -> Any:
        return np.float16 if self._engine._tensors[name].dtype == "DataType.HALF" else np.float32

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._shapes[name] if name in self._shapes else self._answers[name]

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return True

    def is_stream_capturable(self, stream: int) -> bool:
        return bool(self._engine._header["capturable"])

    def execute_async_v3(self, stream_handle: int) -> bool:
        fake = self.fake
        if fake.refuses("execute", self._engine._logger):
            return False
        assert fake.gpu is not None
        if self._config is not None and self._config._cache is not None:
            self._config._cache._kernels.add("x".join(map(str, next(iter(self._shapes.values())))))
        outputs = {name: self.get_tensor_shape(name) for name in self._engine._outputs}

        def run() -> None:
            feeds = {name: self._view(name, shape) for name, shape in self._shapes.items()}
            for (name, shape), answer in zip(outputs.items(), self._session.run(list(outputs), feeds), strict=True):
                np.copyto(self._view(name, shape), answer)

        status = fake.gpu.put(stream_handle, run)
        return status == (0,)

    def _view(self, name: str, shape: tuple[int, ...]) -> Any:
        dtype = np.dtype(self._dtype(name))
        size = int(np.prod(shape)) * dtype.itemsize
        memory: Any = (ctypes.c_uint8 * size).from_address(self._addresses[name])
        return np.frombuffer(memory, dtype).reshape(shape)


def _header(plan: bytes) -> tuple[dict[str, Any], bytes]:
    assert bytes(plan).startswith(MAGIC)
    header, _, content = bytes(plan)[len(MAGIC) :].partition(b"\n")
    return json.loads(header), content


def install(monkeypatch: Any, release: str, gpu: FakeCuda | None = None, **options: Any) -> FakeTensorRt:
    """Make a release the one that is installed; the real ones are hidden."""
    fake = FakeTensorRt(release, gpu, **options)
    for module in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, module, fake if module == fake.__name__ else None)
    return fake
