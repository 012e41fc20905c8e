"""The backend: plans found in the cache or built for it, opened, and bound to device memory."""

from __future__ import annotations

import numpy as np

from ...cuda import Device
from ...errors import PlanError, ShapeError
from ...model import Model
from ...model.plan_record import Plan, PlanKey, PlanRecord
from ...spec import GeneratorSpec
from ..base import Array, BackendStatus, ModelBackend, Shape, input_names, output_names, zero_inputs
from ..build_progress import observer
from .builder import BuildOptions, build_into, make_key
from .library import TITLES, Kernels, Library, check_installed, load
from .plans import PlanCache
from .profile import BATCHES, Extent, make_profile


class TensorRt(ModelBackend):
    """TensorRT, or TensorRT for RTX, on one GPU.

    Shapes that no plan in the cache takes get a plan of their own, which is built on first use.
    """

    name = "tensorrt"
    usual_batch = BATCHES

    def __init__(
        self,
        model: Model,
        *,
        threads: int,
        spin: bool = False,
        device: int = 0,
        library: Library | None = None,
        gpu: Device | None = None,
    ) -> None:
        """Open a model.

        Args:
            model: an ONNX file, or a plan.
            threads: has no effect; the network runs on the GPU.
            spin: has no effect.
            device: which GPU, as in nvidia-smi and CUDA_VISIBLE_DEVICES.
            library, gpu: None: the installed one, the one at ``device``.

        Raises:
            MissingExtra: neither TensorRT nor TensorRT for RTX is installed, or cuda-bindings is not.
            BackendUnavailable: no driver, an old one, no GPU, or one that the library does not support.
            PlanError: the plan given by path is damaged, or of another GPU or version.
        """
        super().__init__(model.spec, title=model.name, batch=model.batch, threads=threads)
        self._file = model.file
        if library is None:
            check_installed()
        self._gpu = gpu or Device(device)
        self._trt = library or load()
        self._trt.check_device(self._gpu)
        self.library = f"{self._trt.title} on {self._gpu.name}"
        self._cache = PlanCache(say=observer().say)
        self._opened: list[_Opened] = []
        self._warm: tuple[tuple[Shape, ...], PlanBinding] | None = None
        self._given = model.plan is not None
        if model.plan is not None:
            plan = Plan(model.path, model.plan, model.data)
            _check_given(plan, self._key())
            self._opened.append(_Opened(self._trt, self._cache, plan, self._gpu))

    concurrent = True
    """Each has an execution context of its own."""

    @property
    def gpu(self) -> Device:
        """See :class:`~ganlens.engine.cuda.device_protocol.DeviceBackend`."""
        return self._gpu

    def bind_device(self, device: Device, shapes: tuple[Shape, ...]) -> PlanBinding:
        """Prepare the network for inputs of these shapes, in device memory of its own; it has run once then.

        A plan is built first where none in the cache takes these shapes.

        Raises:
            ShapeError: the model does not take them.
            ModelFileError: the library cannot build the model.
            DeviceMemoryError, BackendError: the GPU or the library refused.
        """
        with device.entered():
            return self._bound(device, shapes)

    def _bound(self, device: Device, shapes: tuple[Shape, ...]) -> PlanBinding:
        if self._warm is not None and self._warm[0] == shapes and device.index == self._gpu.index:
            (_, binding), self._warm = self._warm, None
            return binding
        opened = self._open(dict(zip(input_names(self.spec), shapes, strict=True)))
        return PlanBinding(self, self._trt, opened, device, shapes)

    def warm_up(self, size: tuple[int, int] | None = None, batch: int | None = None) -> None:
        """Bind and run once; the first caller with these shapes, pipeline or :meth:`run`, gets this binding."""
        inputs = zero_inputs(self.spec, size, self.check_batch(batch))
        shapes = tuple(array.shape for array in inputs if array is not None)
        self._warm = (shapes, self.bind_device(self._gpu, shapes))

    def _bind(self, shapes: tuple[Shape, ...]) -> _HostBinding:
        with self._gpu.entered():
            return _HostBinding(self._bound(self._gpu, shapes), self._gpu)

    def _free(self) -> None:
        self._opened.clear()
        self._warm = None

    def _key(self) -> PlanKey:
        return make_key(self._trt, self._gpu, self._file, self.spec, BuildOptions())

    def _open(self, shapes: dict[str, Shape]) -> _Opened:
        """An open plan that takes these shapes: one that is open, one of the cache, or a new one."""
        near = [opened for opened in self._opened if opened.record.profile.covers(shapes)]
        if near:
            return min(near, key=lambda opened: opened.record.profile.distance(shapes))
        if self._given:
            raise ShapeError(
                f"got inputs of {' and '.join(map(str, shapes.values()))}; {self.title} takes "
                f"{self._opened[0].record.profile}. Build one for them: engine build MODEL.onnx --opt WIDTHxHEIGHT."
            )
        opened = self._from_cache(shapes) or _Opened(self._trt, self._cache, self._build(shapes), self._gpu)
        self._opened.append(opened)
        return opened

    def _from_cache(self, shapes: dict[str, Shape]) -> _Opened | None:
        key = self._key()
        plan = self._cache.find(key, shapes)
        if plan is None:
            return None
        try:
            return _Opened(self._trt, self._cache, plan, self._gpu)
        except PlanError as error:  # whole, but the library does not want it
            observer().say(f"plan built again: {error}")
            self._cache.discard(plan.path)
            return None

    def _build(self, shapes: dict[str, Shape]) -> Plan:
        profile = make_profile(self._file, self.spec)
        if not profile.covers(shapes):
            profile = make_profile(self._file, self.spec, fastest=_extent(self.spec, shapes))
        say, report = observer()
        return build_into(
            self._cache,
            self._trt,
            self._gpu,
            self._file,
            self.spec,
            profile,
            BuildOptions(),
            report=report,
            on_build=lambda: say(
                f"{self._trt.title} builds a plan of {self.title} for {profile}; it is kept for the next start"
            ),
        )


class _Opened:
    """A deserialised plan."""

    def __init__(self, library: Library, cache: PlanCache, plan: Plan, gpu: Device) -> None:
        self.name = plan.path.name
        self.record: PlanRecord = plan.record
        self.engine = library.open(plan.content, self.name, host_code=plan.record.key.version_compatible)
        self._cache, self._gpu = cache, repr(gpu)  # name, compute capability, driver
        self.kernels = None if library.keeps_timings else Kernels(library, cache.kernels(plan.record, self._gpu))

    def keep_kernels(self) -> None:
        """Store what the library has compiled since; a start then takes no longer than the last one."""
        new = self.kernels.changed() if self.kernels is not None else None
        if new is not None:
            self._cache.keep_kernels(self.record, self._gpu, new)


class PlanBinding:
    """A plan with an execution context, inputs and outputs of fixed shapes, as :mod:`...cuda.binding` says."""

    def __init__(
        self, backend: TensorRt, library: Library, opened: _Opened, device: Device, shapes: tuple[Shape, ...]
    ) -> None:
        # First, so that it is freed first: it uses the engine and, with RTX, the kernels of ``opened``.
        self._context = library.context(opened.engine, backend.title, opened.kernels)
        self._library = library
        self._name = backend.title
        self._opened = opened
        engine = opened.engine
        context = self._context
        library.log.clear()
        names = input_names(backend.spec)
        for name, shape in zip(names, shapes, strict=True):
            if not context.set_input_shape(name, shape):
                library.fail(f"refuses an input of {shape} for {self._name}", otherwise=ShapeError)
        try:
            unknown = context.infer_shapes()
        except RuntimeError:
            library.fail(f"cannot run {self._name} on an input of {shapes[0]}", otherwise=ShapeError)
        if unknown:
            library.fail(f"cannot tell the shapes of {', '.join(unknown)} in {self._name}", otherwise=ShapeError)
        answers = output_names(backend.spec)
        came = tuple(tuple(int(n) for n in context.get_tensor_shape(name)) for name in answers)
        backend.check_outputs(came, shapes)
        self.inputs = tuple(
            device.upload(np.zeros(shape, library.dtype(engine.get_tensor_dtype(name))))
            for name, shape in zip(names, shapes, strict=True)
        )
        self.outputs = tuple(
            device.empty(shape, library.dtype(engine.get_tensor_dtype(name)))
            for name, shape in zip(answers, came, strict=True)
        )
        for name, array in zip((*names, *answers), (*self.inputs, *self.outputs), strict=True):
            if not context.set_tensor_address(name, array.pointer):
                library.fail(f"refuses the memory of '{name}' for {self._name}")
        stream = device.stream()
        self.enqueue(stream.handle)  # the first run of a shape loads and, with RTX, compiles its kernels
        stream.synchronize()
        self.capturable = library.capturable(context, stream.handle)
        opened.keep_kernels()

    def enqueue(self, stream: int) -> None:
        """Start the network on a CUDA stream and return at once.

        Raises:
            BackendError: the library refused.
        """
        if not self._context.execute_async_v3(stream):
            self._library.fail(f"failed on {self._name}")


class _HostBinding:
    """A plan between arrays in host memory: copied in, run, copied out, waited for."""

    def __init__(self, binding: PlanBinding, device: Device) -> None:
        self._binding = binding
        self._device = device
        self._stream = device.stream()
        self._inputs = [device.pinned(array.shape, array.dtype) for array in binding.inputs]
        self._outputs = [device.pinned(array.shape, array.dtype) for array in binding.outputs]
        self._answer: tuple[Array, ...] = tuple(
            array if array.dtype == np.float32 else np.empty(array.shape, np.float32) for array in self._outputs
        )

    def __call__(self, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        with self._device.entered():
            for pinned, array, target in zip(self._inputs, inputs, self._binding.inputs, strict=True):
                np.copyto(pinned, array, casting="same_kind")
                self._stream.to_device(target, pinned)
            self._binding.enqueue(self._stream.handle)
            for pinned, source in zip(self._outputs, self._binding.outputs, strict=True):
                self._stream.to_host(pinned, source)
            self._stream.synchronize()
        for pinned, answer in zip(self._outputs, self._answer, strict=True):
            if pinned is not answer:
                np.copyto(answer, pinned)
        return self._answer


def status(index: int = 0) -> BackendStatus:
    """Whether plans can run here.

    Args:
        index: which GPU.

    Raises:
        MissingExtra: neither library is installed, or cuda-bindings is not.
        BackendUnavailable: the library cannot be imported or is too old; no driver, an old one, or no GPU.
    """
    check_installed()
    device = Device(index)  # before the library, which takes a second to import
    library = load()
    library.check_device(device)
    version = library.title.removeprefix(f"{TITLES['tensorrt']} ").removeprefix("for ")
    return BackendStatus("tensorrt", True, version, f"cuda:{device.index}")


def _check_given(plan: Plan, here: PlanKey) -> None:
    """Refuse a plan, given by path, that was built for another library or GPU.

    Raises:
        PlanError: it was.
    """
    key = plan.record.key
    name = plan.path.name
    cure = f"Build it again: engine build {plan.record.model} -o {name}."
    compatible = key.version_compatible and _major(key.library) == _major(here.library)
    if key.library != here.library and not compatible:
        raise PlanError(f"{name} was built with {key.library}; this is {here.library}. {cure}")
    if key.target == "this GPU" and (key.gpu, key.compute_capability) != (here.gpu, here.compute_capability):
        raise PlanError(f"{name} was built for {key.gpu}; this is {here.gpu}. {cure}")


def _major(title: str) -> str:
    return title.split(".")[0]


def _extent(spec: GeneratorSpec, shapes: dict[str, Shape]) -> Extent:
    batch = next(iter(shapes.values()))[0]
    if spec.image is None:
        return Extent(batch, *(spec.size.fixed or spec.size.preferred))
    return Extent(batch, *shapes[spec.image.name][2:])
