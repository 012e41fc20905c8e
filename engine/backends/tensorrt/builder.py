"""ONNX file → plan: a strongly typed network, so that its precision is that of the file and nothing else."""

from __future__ import annotations

import _thread
import datetime
import hashlib
import importlib.metadata
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ...cuda import Device
from ...errors import (
    BackendError,
    BackendUnavailable,
    ModelFileError,
    OptionError,
    did_you_mean,
    install_command,
    reason,
)
from ...model.description import OnnxFile
from ...model.plan_record import Plan, PlanKey, PlanRecord, Profile, tensors
from ...spec import GeneratorSpec
from ..build_progress import Report
from .library import RTX_TARGETS, Library, clean, host_bytes
from .plans import PlanCache, model_sha256
from .progress import Progress

THIS_GPU = "this GPU"
SHORTEST_WORKSPACE = 1 << 20
INTEGRATED_WORKSPACE = 1 << 30
"""Default workspace on GPUs that share memory with the host: using all of it would stall the system."""


@dataclass(frozen=True)
class BuildOptions:
    """How a plan is built."""

    workspace: int = 0
    """Bytes that one kernel may use for itself; 0: all that the GPU has, or 1 GiB where it shares the host's memory."""
    target: str = ""
    """What the plan runs on. TensorRT: "" for this GPU, "same" for its compute capability, "ampere" for Ampere and
    newer. TensorRT for RTX: one of :data:`~.library.RTX_TARGETS`, "" for this GPU's."""
    version_compatible: bool = False
    """TensorRT: newer releases of the same major version can run the plan; it holds CPU code then."""


class Built(NamedTuple):
    """What a build gives."""

    content: bytes
    record: PlanRecord
    timings: bytes
    """The library's timings of its kernels, for the next build; empty where it keeps none."""


def make_key(
    library: Library, device: Device | None, file: OnnxFile, spec: GeneratorSpec, options: BuildOptions
) -> PlanKey:
    """All that a plan depends on, but for its shapes.

    Raises:
        OptionError: the library has no such option.
        BackendUnavailable: it builds plans on a GPU only, and no GPU is available.
    """
    if device is None and not library.builds_without_gpu:
        raise BackendUnavailable(
            f"{library.title} builds a plan on the GPU that will run it, and this machine has none. Build it there; or "
            f"build without a GPU with TensorRT for RTX: {install_command('rtx', without='tensorrt')}."
        )
    if options.workspace and options.workspace < SHORTEST_WORKSPACE:
        raise OptionError(f"got a workspace of {options.workspace} bytes, expected 1 MiB or more, as 2GiB.")
    if options.version_compatible and library.flavour == "tensorrt_rtx":
        raise OptionError(
            f"{library.title} has no version-compatible plans: each release needs its own. Leave the option out."
        )
    tied = device if library.ties_to_gpu else None
    return PlanKey(
        onnx_sha256=model_sha256(file),
        library=library.title,
        driver="CUDA {}.{}".format(*tied.driver_version) if tied else "",
        gpu=tied.name if tied else "",
        compute_capability="{}.{}".format(*tied.compute_capability) if tied else "",
        target=_target(library, device, options.target),
        precision=spec.precision,
        workspace=options.workspace,
        version_compatible=options.version_compatible,
    )


def _target(library: Library, device: Device | None, asked: str) -> str:
    if library.flavour == "tensorrt":
        if asked and asked not in library.hardware_levels:
            known = [*library.hardware_levels]
            raise OptionError(
                f"{library.title} cannot build for {asked!r}. {did_you_mean(asked, known)} "
                "Without the option a plan is for this GPU."
            )
        return asked or THIS_GPU
    if asked:
        if asked not in RTX_TARGETS:
            raise OptionError(f"{library.title} cannot build for {asked!r}. {did_you_mean(asked, RTX_TARGETS)}")
        return asked
    # Its plans run on compute capability 8.0 and newer; Turing must be asked for.
    return "sm_75" if device is not None and device.compute_capability == (7, 5) else "portable"


def build(
    library: Library,
    device: Device | None,
    file: OnnxFile,
    spec: GeneratorSpec,
    profile: Profile,
    options: BuildOptions,
    key: PlanKey,
    *,
    timings: bytes = b"",
    report: Report | None = None,
) -> Built:
    """Build a plan. Ctrl-C stops it at the library's next step.

        Args:
            timings: what an earlier build gave.
    report: called with the progress; returning False stops the build.

        Raises:
            ModelFileError: the library cannot run the graph; its words name the node.
            BackendError: the build was stopped by ``report``, or the library failed.
            BackendUnavailable, DeviceMemoryError: there is no GPU or too little of it.
    """
    started = time.perf_counter()
    builder = library.start("Builder")
    network, _parser = parse(library, builder, file)
    config = builder.create_builder_config()
    if not options.workspace and device is not None and device.info.integrated:
        options = replace(options, workspace=INTEGRATED_WORKSPACE)
    _configure(library, builder, network, config, profile, options, key)
    cache = _use_timings(library, config, timings)
    progress = Progress(report)
    monitor = progress.monitor(library.module)
    config.progress_monitor = monitor
    serialized = _in_thread(lambda: builder.build_serialized_network(network, config), progress, device)
    if serialized is None:
        if progress.error is not None:
            raise progress.error
        if progress.cancelled:
            library.log.clear()
            raise BackendError(f"The build of a plan of {file.path.name} was stopped.")
        library.fail(
            f"cannot build a plan of {file.path.name} for {profile}",
            "Give shapes that the model takes, or use --backend cuda.",
            otherwise=ModelFileError,
        )
    content = host_bytes(serialized)
    record = PlanRecord(
        key=key,
        shapes=dict(profile.ranges),
        spec=spec,
        model=file.path.name,
        opset=file.opset,
        inputs=tensors(file.inputs),
        outputs=tensors(file.outputs),
        plan_sha256=hashlib.sha256(content).hexdigest(),
        plan_bytes=len(content),
        build_seconds=round(time.perf_counter() - started, 3),
        built=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        producer=_producer(),
    )
    return Built(content, record, host_bytes(cache.serialize()) if cache is not None else b"")


def build_into(
    cache: PlanCache,
    library: Library,
    device: Device | None,
    file: OnnxFile,
    spec: GeneratorSpec,
    profile: Profile,
    options: BuildOptions,
    *,
    report: Report | None = None,
    on_build: Callable[[], None] | None = None,
) -> Plan:
    """The plan of these shapes in the cache, built if it is not there. See :func:`build`.

    Args:
        on_build: called before a build begins.
    """
    key = make_key(library, device, file, spec, options)

    def make() -> tuple[bytes, PlanRecord]:
        if on_build is not None:
            on_build()
        built = build(library, device, file, spec, profile, options, key, timings=cache.timings(key), report=report)
        cache.keep_timings(key, built.timings)
        return built.content, built.record

    return cache.get_or_build(key, profile, make)


def parse(library: Library, builder: Any, file: OnnxFile) -> tuple[Any, Any]:
    """The network of an ONNX file, and the parser, which holds its weights.

    Raises:
        ModelFileError: the library does not know an operator, or the graph is not right.
    """
    module = library.module
    # Always on in 11 and RTX, which ignore the flag.
    network = builder.create_network(1 << int(module.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = module.OnnxParser(network, library.log.logger)
    try:
        content = file.path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{file.path} cannot be read ({reason(error)}).") from error
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise ModelFileError(f"{file.path} was changed or replaced since it was opened. Open it again.")
    if not parser.parse(content, str(file.path)):
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        library.log.clear()
        raise ModelFileError(
            f"{library.title} cannot open {file.path.name} (opset {file.opset}): "
            f"{parser_words(errors) or 'no reason given'}. Export it with other options, or use --backend cuda."
        )
    return network, parser


def parser_words(errors: list[Any]) -> str:
    """What the parser found, one part for each node: "node 'c' (Conv): the weights do not fit"."""
    parts: list[str] = []
    for error in errors:
        where = ""
        if error.node_operator():
            name = f" '{error.node_name()}'" if error.node_name() else f" {error.node()}"
            where = f"node{name} ({error.node_operator()}): "
        part = where + _parser_reason(str(error.desc()), error.node_operator())
        if part not in parts:
            parts.append(part)
    return "; ".join(parts[:3])


def _parser_reason(text: str, operator: str) -> str:
    if "Plugin not found" in text:
        return f"the operator {operator} is not known"
    lines = [clean(line) for line in text.splitlines()]
    telling = [line for line in lines if line and not re.search(r"Invalid Node|cudaError", line)]
    said = "; ".join(telling or [clean(text)])
    # "Assertion failed: (condition in C++): what it means"
    found = re.match(r"Assertion failed: .*?:\s+(?=[A-Z])(.+)", said)
    return (found[1] if found else said).rstrip(".")


def _configure(
    library: Library, builder: Any, network: Any, config: Any, profile: Profile, options: BuildOptions, key: PlanKey
) -> None:
    module = library.module
    if options.workspace:
        config.set_memory_pool_limit(module.MemoryPoolType.WORKSPACE, options.workspace)
    if options.version_compatible:
        config.set_flag(module.BuilderFlag.VERSION_COMPATIBLE)
    if library.flavour == "tensorrt_rtx":
        # All memory is ours, or a run could not be recorded into a CUDA graph.
        config.set_flag(module.BuilderFlag.REQUIRE_USER_ALLOCATION)
        if key.target != "portable":
            config.num_compute_capabilities = 1
            config.set_compute_capability(getattr(module.ComputeCapability, key.target.replace("sm_", "SM")), 0)
    elif key.target != THIS_GPU:
        level = {"ampere": "AMPERE_PLUS", "same": "SAME_COMPUTE_CAPABILITY"}[key.target]
        config.hardware_compatibility_level = getattr(module.HardwareCompatibilityLevel, level)
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    if all(-1 not in tuple(tensor.shape) for tensor in inputs):
        return
    ranges = builder.create_optimization_profile()
    for tensor in inputs:
        shapes = profile.ranges[tensor.name]
        ranges.set_shape(tensor.name, shapes.min, shapes.opt, shapes.max)
    if config.add_optimization_profile(ranges) < 0:
        library.fail(f"refuses the shapes {profile}", otherwise=OptionError)


def _use_timings(library: Library, config: Any, timings: bytes) -> Any:
    """Let the build use and add to earlier timings; those of another version or GPU are left aside."""
    if not library.keeps_timings:
        return None
    for content in (timings, b"") if timings else (b"",):
        cache = config.create_timing_cache(content)
        if cache is not None and config.set_timing_cache(cache, False):
            return cache
    library.log.clear()
    return None


def _in_thread(work: Callable[[], Any], progress: Progress, device: Device | None) -> Any:
    """Run the build beside the main thread, which can then see Ctrl-C; the library lets go of Python's lock."""
    answer: list[Any] = []
    failure: list[BaseException] = []
    began, finished = threading.Event(), threading.Event()

    def run() -> None:
        began.set()
        try:
            if device is not None:
                device.use()
            answer.append(work())
        except BaseException as error:
            failure.append(error)
        finally:
            finished.set()

    # Not Thread.start, which waits for the thread: an interrupt of that wait would leave while the library works, and
    # the program's end would crash in it.
    started = False
    interrupt: KeyboardInterrupt | None = None
    while True:
        try:
            if not started:
                _thread.start_new_thread(run, ())
                started = True
            while not finished.wait(0.1):
                pass
            break
        except KeyboardInterrupt as error:
            interrupt = error
            progress.cancel()
            started = started or began.wait(1.0)
            if not started:
                raise
    if interrupt is not None:
        raise interrupt
    if failure:
        raise failure[0]
    return answer[0]


def _producer() -> str:
    try:
        return f"ganlens {importlib.metadata.version('ganlens')}"
    except importlib.metadata.PackageNotFoundError:
        return "ganlens"
