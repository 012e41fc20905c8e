"""The libraries that build and run plans: TensorRT 10.3 and newer, TensorRT 11, TensorRT for RTX.

The only importer of them. Their Python interfaces are one and the same, but for what :class:`Library` tells: how the
plan's target is named, what is kept between builds, whether a plan can be checked before it is opened. TensorRT 8.6 is
not supported: without strongly typed networks the precision of a plan would not be that of the ONNX file, and its
parser makes cuDNN plugins of the norms.

Sources: the classes and signatures of the Python packages 10.3.0, 11.4.0 and RTX 1.7.1
(``tests/engine/tensorrt_api.json`` lists them); NVIDIA's "Migrating from TensorRT 10.x to 11.x" and "Porting Guide for
TensorRT Applications" (RTX).
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import re
import sys
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from ...cuda import Device
from ...cuda.driver import extra_for
from ...errors import (
    BackendError,
    BackendUnavailable,
    DeviceLost,
    DeviceMemoryError,
    MissingExtra,
    ModelFileError,
    PlanError,
    install_command,
)

Flavour = Literal["tensorrt", "tensorrt_rtx"]
PACKAGES: dict[Flavour, str] = {"tensorrt": "tensorrt", "tensorrt_rtx": "tensorrt-rtx"}
"""Module → distribution, in order of preference."""
TITLES: dict[Flavour, str] = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT for RTX"}
OLDEST: dict[Flavour, tuple[int, int]] = {"tensorrt": (10, 3), "tensorrt_rtx": (1, 2)}
"""RTX before 1.2 cannot be captured in a CUDA graph."""

RTX_TARGETS = ("portable", "sm_75", "sm_80", "sm_86", "sm_89", "sm_120", "sm_121")
"""What a plan of TensorRT for RTX can be built for; "portable": compute capability 8.0 and newer."""

RTX_CAPABILITIES = ((7, 5), (8, 0), (8, 6), (8, 9), (12, 0), (12, 1))
"""Compute capabilities that the builder of TensorRT for RTX accepts as targets."""


class Log:
    """What a library said, the newest last; handed to it in place of its own printer."""

    KEPT = 50

    def __init__(self, module: Any) -> None:
        log = self

        class Logger(module.ILogger):  # type: ignore[misc]
            def __init__(self) -> None:
                module.ILogger.__init__(self)

            def log(self, severity: Any, message: str) -> None:
                if severity <= module.ILogger.Severity.ERROR:  # smaller is worse
                    log.errors.append(message)
                    del log.errors[: -Log.KEPT]

        self.errors: list[str] = []
        self.logger = Logger()

    def text(self) -> str:
        """The errors since the last :meth:`clear`, cleaned, on one line."""
        lines: list[str] = []
        for message in self.errors:
            said = clean(message)
            if said and said not in lines:
                lines.append(said)
        # Without a driver everything else that is said is also answered with "driver version is insufficient".
        telling = [line for line in lines if not _DRIVER.search(line)]
        return "; ".join(telling or lines)[:500]

    def clear(self) -> None:
        """Forget what was said."""
        self.errors.clear()


@dataclass
class Library:
    """One of the libraries, ready to use."""

    module: Any
    flavour: Flavour
    version: str
    log: Log = field(repr=False)

    @property
    def title(self) -> str:
        """Name and version, as users know it: "TensorRT 10.3.0"."""
        return f"{TITLES[self.flavour]} {self.version}"

    @property
    def builds_without_gpu(self) -> bool:
        """TensorRT times its kernels on the GPU; TensorRT for RTX compiles them when the plan is opened."""
        return self.flavour == "tensorrt_rtx"

    @property
    def keeps_timings(self) -> bool:
        """Whether a timing cache makes the next build faster. For RTX it has no effect, and would need a GPU."""
        return self.flavour == "tensorrt"

    @property
    def ties_to_gpu(self) -> bool:
        """Whether a plan depends on the GPU and driver that built it; with RTX it depends on its target alone."""
        return self.flavour == "tensorrt"

    @property
    def checks_plans(self) -> bool:
        """Whether it can tell what is wrong with a plan before it opens it."""
        return hasattr(self.module.Runtime, "get_engine_validity")

    @property
    def hardware_levels(self) -> tuple[str, ...]:
        """How far a plan can be made to run on other GPUs."""
        known = {"ampere": "AMPERE_PLUS", "same": "SAME_COMPUTE_CAPABILITY"}
        if self.flavour == "tensorrt_rtx":
            return ()
        return tuple(word for word, name in known.items() if hasattr(self.module.HardwareCompatibilityLevel, name))

    def dtype(self, data_type: Any) -> np.dtype[Any]:
        """NumPy's type of a tensor's type.

        Raises:
            ModelFileError: it is neither float32 nor float16.
        """
        known: dict[Any, np.dtype[Any]] = {
            self.module.float32: np.dtype(np.float32),
            self.module.float16: np.dtype(np.float16),
        }
        found = known.get(data_type)
        if found is None:
            raise ModelFileError(f"the plan has an input or output of {data_type}; expected float32 or float16.")
        return found

    def check_device(self, device: Device) -> None:
        """Refuse a GPU or a driver that the installed library cannot use.

        Raises:
            BackendUnavailable: the driver is older than the CUDA that the library was built for, or TensorRT for RTX
                does not support the GPU.
        """
        if self.flavour == "tensorrt_rtx" and device.compute_capability not in RTX_CAPABILITIES:
            known = ", ".join(f"{major}.{minor}" for major, minor in RTX_CAPABILITIES)
            raise BackendUnavailable(
                f"{self.title} supports compute capabilities {known}; {device.name} has "
                f"{'.'.join(map(str, device.compute_capability))}. Install TensorRT instead: "
                f"{install_command(extra_for('tensorrt'))}"
            )
        wanted = cuda_major(self.flavour)
        major, minor = device.driver_version
        if wanted is not None and major < wanted:
            stem = PACKAGES[self.flavour]
            extra = "tensorrt" if self.flavour == "tensorrt" else "rtx"
            # Without its parts the first package would come back with the next installation.
            packages = [stem, *(f"{stem}-cu{wanted}{part}" for part in ("", "-libs", "-bindings"))]
            raise BackendUnavailable(
                f"The NVIDIA driver knows CUDA {major}.{minor}; {self.title} here is made for CUDA {wanted}. "
                f"Install a newer driver, or: {install_command(f'{extra}-cu{major}', without=' '.join(packages))}"
            )

    def fail(self, action: str, cure: str = "", *, otherwise: type[Exception] = BackendError) -> NoReturn:
        """Raise what the library's own words say, after it answered with nothing.

        Args:
            action: what was asked for, to stand after the library's name: "cannot open face.plan".
            cure: what to do where the words tell no better.

        Raises:
            DeviceMemoryError, DeviceLost, BackendUnavailable: where that is what they say; else ``otherwise``.
        """
        raw = " ".join(self.log.errors)
        said = self.log.text() or "no reason given"
        self.log.clear()
        message = f"{self.title} {action}: {said}."
        if _MEMORY.search(raw):
            raise DeviceMemoryError(f"{message} Close what else uses the GPU, or choose a smaller size or batch.")
        if _LOST.search(raw):
            raise DeviceLost(f"{message} Start the program again; look for 'Xid' in the system's log (dmesg).")
        if _NO_GPU.search(raw):
            raise BackendUnavailable(f"{message} The driver shows no GPU; look at nvidia-smi and CUDA_VISIBLE_DEVICES.")
        if _DRIVER.search(raw) and _DRIVER.search(said):
            raise BackendUnavailable(f"{message} Install NVIDIA's driver, or a newer one (see nvidia-smi).")
        raise otherwise(f"{message} {cure}".rstrip())

    def start(self, cls: Literal["Builder", "Runtime"]) -> Any:
        """The library's builder or runtime.

        Raises:
            BackendUnavailable: it needs a GPU or a newer driver.
        """
        self.log.clear()
        try:
            return getattr(self.module, cls)(self.log.logger)
        except (TypeError, RuntimeError):  # pybind11: "factory function returned nullptr"; the log says why
            self.fail("cannot start", "Look at nvidia-smi and engine backends.", otherwise=BackendUnavailable)

    # --- opening plans ------------------------------------------------------------------------------------------------

    def open(self, plan: bytes, name: str, *, host_code: bool = False) -> Any:
        """Deserialise a plan that has been found whole.

        Args:
            name: of the plan, for messages.
            host_code: the plan holds code for the CPU too, as version-compatible ones do.

        Raises:
            PlanError: it is for another GPU or another version, or corrupt; building it anew helps.
            BackendUnavailable, DeviceMemoryError: the driver or the GPU refuses, or is not supported.
        """
        runtime = self.start("Runtime")
        if host_code:
            runtime.engine_host_code_allowed = True
        if self.checks_plans:
            self._check(runtime, plan, name)
        engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            self.fail(f"cannot open {name}", "Build it again.", otherwise=PlanError)
        return engine

    def _check(self, runtime: Any, plan: bytes, name: str) -> None:
        """What TensorRT for RTX finds in a plan's header; the diagnostics are bits."""
        validity, bits = runtime.get_engine_validity(plan)
        if validity != self.module.EngineValidity.INVALID:
            return
        found = self.module.EngineInvalidityDiagnostics
        words = {
            "VERSION_MISMATCH": "it was built with another version",
            "UNSUPPORTED_CC": "it was built for other GPUs, or the library does not support this one",
            "MALFORMED_ENGINE": "it is damaged",
            "OLD_CUDA_DRIVER": "the NVIDIA driver is too old for it",
            "OLD_CUDA_RUNTIME": "the CUDA runtime is too old for it",
            "INSUFFICIENT_GPU_MEMORY": "the GPU has too little memory for it",
            "CUDA_ERROR": "CUDA failed",
        }
        names = [word for word in words if int(bits) & int(getattr(found, word, 0))]
        if not names:
            self.fail(f"cannot open {name}", "Build it again.", otherwise=PlanError)
        said = f"{self.title} cannot open {name}: {' and '.join(words[word] for word in names)}."
        if "INSUFFICIENT_GPU_MEMORY" in names:
            raise DeviceMemoryError(f"{said} Close what else uses the GPU, or choose a smaller size or batch.")
        if {"OLD_CUDA_DRIVER", "OLD_CUDA_RUNTIME", "CUDA_ERROR"} & set(names):
            raise BackendUnavailable(f"{said} Install NVIDIA's driver, or a newer one (see nvidia-smi).")
        if "UNSUPPORTED_CC" in names:  # built again it would be the same: keep it
            raise BackendUnavailable(f"{said} Build it for this GPU, or use TensorRT or --backend cuda.")
        raise PlanError(f"{said} Build it again.")

    def context(self, engine: Any, name: str, kernels: Kernels | None) -> Any:
        """What runs an opened plan, with memory of its own.

        Args:
            kernels: kernels compiled at earlier starts (RTX); this context adds to them.

        Raises:
            DeviceMemoryError, BackendError: the GPU or the library refuses.
        """
        self.log.clear()
        if kernels is None:
            context = engine.create_execution_context()
        else:
            context = engine.create_execution_context(kernels.config(engine))
        if context is None:
            self.fail(f"cannot run {name}")
        return context

    def capturable(self, context: Any, stream: int) -> bool:
        """Whether inference with ``context`` can be recorded into a CUDA graph."""
        if hasattr(context, "is_stream_capturable"):
            return bool(context.is_stream_capturable(stream))
        return True  # TensorRT: all but loops and shapes that depend on data, which generators do not have


class Kernels:
    """The kernels that TensorRT for RTX compiles for this GPU when a plan first runs; kept for the next start."""

    def __init__(self, library: Library, stored: bytes) -> None:
        self._library = library
        self._stored = stored
        self._cache: Any = None

    def config(self, engine: Any) -> Any:
        """How a context of ``engine`` is made, so that it uses and adds to these kernels."""
        config = engine.create_runtime_config()
        # Compile for a shape before its first run, not in the background: a captured graph keeps the kernels it has.
        config.dynamic_shapes_kernel_specialization_strategy = (
            self._library.module.DynamicShapesKernelSpecializationStrategy.EAGER
        )
        if self._cache is None:
            self._cache = config.create_runtime_cache()
            if self._stored:
                self._cache.deserialize(self._stored)  # answers False to those of another GPU or version: none then
        config.set_runtime_cache(self._cache)
        return config

    def changed(self) -> bytes | None:
        """What is to be stored now; None where nothing was added."""
        if self._cache is None:
            return None
        now = bytes(memoryview(self._cache.serialize()))
        return now if now and now != self._stored else None


def load() -> Library:
    """The library that is installed; TensorRT before TensorRT for RTX.

    Raises:
        MissingExtra: neither is.
        BackendUnavailable: what is installed cannot be imported, or is too old.
    """
    problems: list[str] = []
    for flavour in PACKAGES:
        try:
            return _load(flavour)
        except BackendUnavailable as error:
            problems.append(str(error).rstrip("."))
        except (ImportError, OSError, RuntimeError) as error:  # a shared library is missing, or does not fit
            if getattr(error, "name", None) != flavour:
                major = cuda_major(flavour)
                package = f"{PACKAGES[flavour]}-cu{major}" if major else PACKAGES[flavour]
                problems.append(
                    f"{flavour} is installed but cannot be imported: {clean(str(error))}. "
                    f"Install it again: pip install --force-reinstall {package}"
                )
    if problems:
        raise BackendUnavailable(f"{'; '.join(problems)}.")
    raise _missing()


def check_installed() -> None:
    """Refuse at once, without importing anything, where neither library is installed.

    Raises:
        MissingExtra: neither is.
    """
    if not any(sys.modules.get(flavour) or importlib.util.find_spec(flavour) for flavour in PACKAGES):
        raise _missing()


def _missing() -> MissingExtra:
    return MissingExtra("The backend 'tensorrt'", "tensorrt or tensorrt-rtx", extra_for("tensorrt"))


def _load(flavour: Flavour) -> Library:
    module = importlib.import_module(flavour)
    version = str(module.__version__)
    found = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if found < OLDEST[flavour]:
        oldest = ".".join(map(str, OLDEST[flavour]))
        raise BackendUnavailable(
            f"{TITLES[flavour]} {version} is installed; ganlens needs {oldest} or newer. "
            f"Upgrade it: pip install -U {PACKAGES[flavour]}."
        )
    return Library(module, flavour, version, Log(module))


def cuda_major(flavour: Flavour) -> int | None:
    """The CUDA that the installed library was built for, from the names of its distributions; None if unknown."""
    stem = PACKAGES[flavour]
    for major in (13, 12, 11):
        for name in (f"{stem}-cu{major}", f"{stem}-cu{major}-bindings"):
            try:
                importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                continue
            return major
    return None


def host_bytes(memory: Any) -> bytes:
    """The content of an IHostMemory."""
    view: NDArray[np.uint8] = np.frombuffer(memory, np.uint8)
    return view.tobytes()


_MEMORY = re.compile(r"out ?of ?memory|OutOfMemory|cudaError 2\b|could not be allocated|FAILED_ALLOCATION", re.I)
_LOST = re.compile(r"cudaError (46|214|220|700|702|709|710|71[4-9]|719|721)\b|illegal memory access|unspecified launch")
_NO_GPU = re.compile(r"cudaError (100|101)\b|no CUDA-capable device", re.I)
_DRIVER = re.compile(
    r"cudaError (35|36|803|804)\b|driver version is insufficient|initialization failure with error 35", re.I
)

_CODE = re.compile(
    r"Error Code \d+: [A-Za-z ]+\((.*)\)$"
)  # …: Error Code 4: API Usage Error (what it means. In f at …)
_PLACE = re.compile(r"^(\[[\w.:]+\]\s*|I?\w+::\w+:\s*|\w+\.cpp:\d+:?\s*|ERROR:\s*|\[\d+\]\s*|Error Code \d+:\s*)+")
_WHERE = re.compile(r"\s*\bIn [\w:<>~() ]+? at /\S+:\d+.*$")
_CUDA = re.compile(r"cudaError \d+: [^)]*")


def clean(message: str) -> str:
    """A library's message without the places in its source code."""
    text = " ".join(message.split())
    if text.startswith("ModelImporter"):  # the parser's summary; its error list has more detail
        return ""
    cuda = _CUDA.search(text)
    code = _CODE.search(text)
    text = code[1] if code else _PLACE.sub("", text)
    text = _WHERE.sub("", text).strip(" .(")
    if cuda and cuda[0] not in text:
        return f"{text} ({cuda[0]})" if text else cuda[0]
    return text
