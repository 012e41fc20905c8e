"""OpenVINO on the CPU. The only importer of openvino."""

from __future__ import annotations

import contextlib
import hashlib
import io
import sys
import threading
from pathlib import Path
from typing import Any, cast

import numpy as np

from .. import processor
from ..cancel import cancellable
from ..errors import BackendError, BackendUnavailable, MissingExtra, ModelFileError
from ..files import cache_folder, keep_code, read_code
from ..model import Model
from .base import Array, BackendStatus, Binding, ModelBackend, Shape, input_names, output_names

TELEMETRY = "openvino_telemetry"
CONVERTER = "openvino.tools.ovc"
"""Turns models of other frameworks into OpenVINO's."""


def load() -> Any:
    """The openvino package, imported so that it reports nothing, and without its converter.

    Importing openvino sends a usage event through the package openvino_telemetry where that is installed; without it
    OpenVINO takes a stub of its own. It also imports its model converter, which takes more than half of the time of the
    import and is not needed to run a model. So the import is made to find neither; a program that wants
    ``openvino.convert_model`` besides gets it on use.
    """
    blocked = [name for name in (TELEMETRY, CONVERTER) if name not in sys.modules]
    for name in blocked:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        import openvino
    except ImportError as error:
        if error.name == "openvino":
            raise MissingExtra("The backend 'openvino'", "openvino", "openvino") from error
        raise BackendUnavailable(
            f"openvino is installed but cannot be imported: {_one_line(error)}. Install it again."
        ) from error
    finally:
        for name in blocked:
            del sys.modules[name]
    if "convert_model" not in vars(openvino):  # hasattr would be such a use
        openvino.__getattr__ = _late
    return openvino


def _late(name: str) -> Any:
    """``openvino.convert_model``, when a program uses it."""
    if name != "convert_model":
        raise AttributeError(f"module 'openvino' has no attribute {name!r}")
    from importlib import import_module

    return import_module(CONVERTER).convert_model


def open_core(openvino: Any) -> Any:
    """The one Core of the process, which is kept to its end.

    OpenVINO's CPU plugin gives the thread that loads it another stack for signals, and unmaps it when the last user of
    the plugin lets go. Where that is another thread, the next signal in the first would be a segmentation fault.
    """
    with _one_at_a_time:
        if openvino.Core not in _cores:
            _cores[openvino.Core] = openvino.Core()
        return _cores[openvino.Core]


_cores: dict[Any, Any] = {}
"""The Core of each library; in tests there are imitations."""
_one_at_a_time = threading.Lock()


def precision_hint() -> str:
    """ "bf16" on a CPU that multiplies bfloat16 (AMX, AVX-512), else "f32", which is faster than an imitation."""
    return "bf16" if processor.flags() & {"amx_bf16", "avx512_bf16"} else "f32"


def configuration(threads: int) -> dict[str, str]:
    """With which a network is compiled for the CPU."""
    return {
        "INFERENCE_PRECISION_HINT": precision_hint(),
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": str(threads),
        "ENABLE_CPU_PINNING": "NO",  # two networks of one thread each would share the first core
    }


class OpenVino(ModelBackend):
    """OpenVINO's CPU plugin, compiled once for each input size."""

    name = "openvino"

    def __init__(self, model: Model, *, threads: int, spin: bool = False) -> None:
        """Open a model.

        Args:
            threads: threads inside one operator.
            spin: has no effect; OpenVINO's threads sleep when idle.

        Raises:
            MissingExtra: openvino is not installed.
            BackendUnavailable: it has no CPU device here.
            ModelFileError: OpenVINO cannot read the model.
        """
        spec = model.spec
        super().__init__(spec, title=model.name, batch=model.batch, threads=threads)
        self._ov = load()
        self.library = f"OpenVINO {_version(self._ov)}"
        self.precision = precision_hint()
        core = open_core(self._ov)
        if not _has_cpu(core):
            raise BackendUnavailable(
                f"{self.library} has no CPU device here; found {core.available_devices}. Use --backend cpu."
            )
        self._core = core
        self._config = configuration(threads)
        self._file = model
        self._cache = None if model.stamps else _Cache(model.file.sha256, str(self._ov.__version__), self._config)
        self._model: Any = None
        if self._cache is None or not self._cache.knows_model():
            self._read()

    def _read(self) -> Any:
        """The network, read from its file.

        Raises:
            ModelFileError: OpenVINO cannot read it.
        """
        if self._model is not None:
            return self._model
        model, source = self._file, self._file.source()
        try:
            read = self._core.read_model(source if isinstance(source, bytes) else str(source))
            steps = self._ov.preprocess.PrePostProcessor(read)
            for name in input_names(model.spec):
                steps.input(name).tensor().set_element_type(self._ov.Type.f32)
            for name in output_names(model.spec):
                steps.output(name).tensor().set_element_type(self._ov.Type.f32)
            self._model = steps.build()
        except Exception as error:  # the library raises RuntimeError and classes of its own
            raise ModelFileError(
                f"{self.library} cannot open {model.name} (opset {model.file.opset}): {_one_line(error)}"
            ) from error
        return self._model

    def _compile(self, shapes: tuple[Shape, ...]) -> tuple[Any, bool]:
        """The network compiled for inputs of these shapes, and whether it is in the cache."""
        content = b"" if self._cache is None else read_code(self._cache.path(shapes))
        if content:
            with contextlib.suppress(Exception):  # of another build of the library: it is compiled again
                return self._core.import_model(io.BytesIO(content), "CPU", self._config), True
        model, partial = self._read(), self._ov.PartialShape
        names = input_names(self.spec)
        model.reshape({name: partial(list(shape)) for name, shape in zip(names, shapes, strict=True)})
        return self._core.compile_model(model, "CPU", self._config), False

    def _bind(self, shapes: tuple[Shape, ...]) -> _Binding:
        return _Binding(self, shapes)

    def _release(self, binding: Binding) -> None:
        if self._cache is not None:
            cast(_Binding, binding).keep(self._cache)

    def _free(self) -> None:
        del self._model, self._core


class _Cache:
    """Compiled networks of one model: to import one takes a third of the time of reading and compiling the file.

    Args:
        sha256: of the model's file.
        library: OpenVINO's version.
        config: with which it is compiled.
    """

    MOST = 256 << 20
    """Bytes of all compiled networks."""
    WORTH = 10
    """Runs after which a network is stored when it is closed: one that ran for a picture or two is not needed again."""

    def __init__(self, sha256: str, library: str, config: dict[str, str]) -> None:
        self._folder = _networks_folder()
        self._model = _digest(sha256, library, processor.name(), config)

    def path(self, shapes: tuple[Shape, ...]) -> Path:
        """The file of a network for inputs of these shapes."""
        return self._folder / f"{self._model}-{_digest(shapes)}.blob"

    def knows_model(self) -> bool:
        """Whether a network of this model was compiled before."""
        return any(self._folder.glob(f"{self._model}-*.blob"))


def _networks_folder() -> Path:
    return cache_folder() / "networks"


def stored_networks() -> list[Path]:
    """The files of all compiled networks that are kept for later starts."""
    return sorted(_networks_folder().glob("*.blob"))


def _digest(*values: object) -> str:
    return hashlib.sha256(repr(values).encode()).hexdigest()[:24]


class _Binding:
    """A network compiled for inputs of fixed shapes, and one request whose tensors share memory with NumPy."""

    def __init__(self, backend: OpenVino, shapes: tuple[Shape, ...]) -> None:
        self._backend = backend
        ov = backend._ov
        self._names = input_names(backend.spec)
        self._runs = 0
        try:
            compiled, self._cached = backend._compile(shapes)
            self._compiled = compiled
            self._request = compiled.create_infer_request()
            outputs = [compiled.output(name) for name in output_names(backend.spec)]
            fixed = all(output.partial_shape.is_static for output in outputs)
            if fixed:
                came = tuple(tuple(output.shape) for output in outputs)
            else:  # a shape that only a run can tell
                self._request.infer(
                    {name: np.zeros(shape, np.float32) for name, shape in zip(self._names, shapes, strict=True)}
                )
                came = tuple(tuple(self._request.get_tensor(output).shape) for output in outputs)
        except ModelFileError:
            raise
        except Exception as error:
            raise BackendError(f"{backend.library} failed on an input of {shapes[0]}: {_one_line(error)}") from error
        backend.check_outputs(came, shapes)
        self._shapes = shapes
        self._moving = () if fixed else tuple(outputs)
        """Outputs whose shape each run decides anew."""
        self._answer: tuple[Array, ...] = () if self._moving else tuple(np.empty(shape, np.float32) for shape in came)
        for output, array in zip(outputs, self._answer, strict=False):
            self._request.set_tensor(output, ov.Tensor(array, shared_memory=True))

    def keep(self, cache: _Cache) -> None:
        """Store the compiled network for the next start, if it was worth it."""
        path = cache.path(self._shapes)
        if not self._cached and self._runs >= cache.WORTH and not path.exists():
            with contextlib.suppress(Exception):  # a network that cannot be exported
                keep_code(path, self._compiled.export_model().getbuffer(), most=cache.MOST)

    def __call__(self, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        backend = self._backend
        self._runs += 1
        try:
            for name, array in zip(self._names, inputs, strict=True):
                self._request.set_tensor(name, backend._ov.Tensor(array, shared_memory=True))
            with cancellable(self._request.cancel):  # heard between two operators
                self._request.infer()
            if not self._moving:
                return self._answer
            answer = tuple(self._request.get_tensor(output).data for output in self._moving)
        except Exception as error:
            raise BackendError(f"{backend.library} failed on {backend.title}: {_one_line(error)}") from error
        backend.check_outputs(tuple(array.shape for array in answer), self._shapes)
        return answer


def status() -> BackendStatus:
    """Whether OpenVINO's CPU plugin runs here.

    Raises:
        MissingExtra: openvino is not installed.
        BackendUnavailable: it cannot be imported.
    """
    ov = load()
    core = open_core(ov)
    if not _has_cpu(core):
        found = core.available_devices
        return BackendStatus("openvino", False, _version(ov), reason=f"it has no CPU device, only {found}")
    return BackendStatus("openvino", True, _version(ov), "cpu")


def _has_cpu(core: Any) -> bool:
    """Whether the CPU plugin is there; a list of all devices would load those of GPUs and NPUs too, for 20 ms."""
    try:
        return "CPU" in core.get_versions("CPU")
    except RuntimeError:  # it is registered and cannot be loaded
        return False


def _version(ov: Any) -> str:
    return str(ov.__version__).split("-")[0]


def _one_line(error: Exception) -> str:
    """What OpenVINO's message says of the cause, without the places in its source code."""
    lines = [line.strip().removeprefix("-- ") for line in str(error).splitlines() if line.strip()]
    noise = ("Exception from", "Check '", "FrontEnd API", "Model wasn't", "While validating", "Summary:")
    telling = [line for line in lines if not line.startswith(noise)]
    return "; ".join(telling or lines)[:400]
