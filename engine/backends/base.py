"""The narrow seam between the engine and the libraries that run a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import BackendError, OptionError, ShapeError
from ..spec import GeneratorSpec, SizeRule, format_size

if TYPE_CHECKING:
    from typing_extensions import Self

Array = NDArray[np.float32]
Shape = tuple[int, ...]


class Output(NamedTuple):
    """The output of a generator."""

    translated: Array
    """(N, 3, H, W) float32 in the model's value range and channel order."""
    mask: Array | None = None
    """(N, 1, H, W) float32 in [0, 1]; 1 shows ``translated``."""

    def part(self, index: int) -> Output:
        """The output for one picture, as if the batch had only that picture."""
        one = slice(index, index + 1)
        return Output(self.translated[one], None if self.mask is None else self.mask[one])


class Backend(Protocol):
    """Runs one model. Arrays in and out live on ``device``; one call at a time.

    Buffers returned by :meth:`run` may be reused by the next :meth:`run`: use or copy them before.
    """

    name: str
    """As in ``--backend``: "cpu", "openvino", "cuda", "tensorrt"."""
    device: str
    """Where the arrays live: "cpu" or "cuda:0"."""
    spec: GeneratorSpec
    batch: int | None
    """Pictures that every run must have, where the model fixes their number."""
    usual_batch: int
    """Default batch size if several pictures are available and the model has a free batch dimension; 1 where batching
    was not measured to be faster."""

    def run(self, image: Array | None, attributes: Array | None = None, latent: Array | None = None) -> Output:
        """Run inference once.

        Args:
            image: (N, 3, H, W) float32 in the spec's value range and channel order, C-contiguous; None for a
                generator without image input.
            attributes: (N, C) float32, as :class:`~ganlens.engine.spec.AttributeInput` says.
            latent: (N, dim) float32.

        Raises:
            ShapeError: an input does not fit the spec.
            BackendError: the library failed.
        """
        ...

    def close(self) -> None:
        """Free the model. A second call has no effect."""
        ...


@dataclass(frozen=True)
class Choice:
    """Which backend runs, and why backends with higher preference do not."""

    name: str
    lines: tuple[str, ...] = ()
    """One line each, for the user; the last one is of the backend that runs."""

    def shown(self, *, verbose: bool) -> tuple[str, ...]:
        """What a command prints: the line of the backend that runs; with ``--verbose`` also why the others do not."""
        return self.lines if verbose else self.lines[-1:]


class BackendStatus(NamedTuple):
    """Whether a backend runs on this machine."""

    name: str
    usable: bool
    version: str = ""
    device: str = ""
    reason: str = ""
    """Why it is not usable."""
    cure: str = ""


class Binding(Protocol):
    """One network prepared for inputs of fixed shapes, with its output buffers."""

    def __call__(self, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        """Run on checked inputs in the order of the spec; the outputs are overwritten by the next call."""
        ...


class ModelBackend(ABC):
    """Common part of the backends: input checks, and one :class:`Binding` per set of input shapes."""

    name: str
    device = "cpu"
    spec: GeneratorSpec
    choice: Choice
    title: str
    """What messages call the model: the name of its file."""
    threads: int
    """Threads that the network runs on."""
    library: str
    """Name and version of the library that runs the network."""
    precision = ""
    """What the library computes in where it is not what the file says: OpenVINO takes "bf16" on a CPU that multiplies
    it."""
    batch: int | None
    usual_batch = 1

    BINDINGS = 4
    """Sets of input shapes that stay prepared; the one unused for longest makes room."""

    def __init__(self, spec: GeneratorSpec, *, title: str, batch: int | None = None, threads: int = 1) -> None:
        """Describe the model; it need not be a file.

        Args:
            title: what messages call the model, such as the name of its file.
            batch: pictures that every run must have, if the model fixes their number.
            threads: threads that the network runs on.
        """
        self.spec = spec
        self.title = title
        self.batch = batch
        self.threads = threads
        self.choice = Choice(self.name)
        self._bindings: OrderedDict[tuple[Shape, ...], Binding] = OrderedDict()
        self._closed = False

    @abstractmethod
    def _bind(self, shapes: tuple[Shape, ...]) -> Binding:
        """Prepare the network for inputs of these shapes."""

    def _release(self, binding: Binding) -> None:  # noqa: B027  # most backends have nothing to do then
        """What is done with a binding that is no longer used."""

    @abstractmethod
    def _free(self) -> None:
        """Let the library's objects go."""

    @property
    def runs_on(self) -> str:
        """The line of a :class:`Choice` for a backend that runs."""
        lowered = f", computing in {self.precision}" if self.precision not in ("", "f32") else ""
        return f"{self.name}: runs on {self.library}{lowered}"

    def run(self, image: Array | None, attributes: Array | None = None, latent: Array | None = None) -> Output:
        """See :meth:`Backend.run`."""
        if self._closed:
            raise BackendError(f"{self.title} was closed; open it again.")
        inputs = check_inputs(self.spec, image, attributes, latent)
        return Output(*self._binding(tuple(array.shape for array in inputs))(inputs))

    def _binding(self, shapes: tuple[Shape, ...]) -> Binding:
        """The network prepared for inputs of these shapes, now or earlier."""
        binding = self._bindings.get(shapes)
        if binding is None:
            if self.batch is not None and shapes[0][0] != self.batch:
                raise ShapeError(f"got a batch of {shapes[0][0]}; {self.title} is made for a batch of {self.batch}.")
            binding = self._bind(shapes)
            self._bindings[shapes] = binding
            if len(self._bindings) > self.BINDINGS:
                self._release(self._bindings.popitem(last=False)[1])
        elif len(self._bindings) > 1:
            self._bindings.move_to_end(shapes)
        return binding

    def set_size_rule(self, rule: SizeRule) -> None:
        """Replace the size rule of the spec by one that was found by trying."""
        self.spec = self.spec.model_copy(update={"size": rule})

    def warm_up(self, size: tuple[int, int] | None = None, batch: int | None = None) -> None:
        """Run once on zeros, so that the first frame is no slower than the others.

        Args:
            size: (height, width), rounded up to what the model takes; the model's own size by default.
            batch: pictures in the run; None: one, or as many as the model wants.

        Raises:
            OptionError: the model is made for another batch.
        """
        self.run(*zero_inputs(self.spec, size, self.check_batch(batch)))

    def check_batch(self, batch: int | None) -> int:
        """The pictures of a run for which ``batch`` are asked; None: one, or as many as the model wants.

        Raises:
            OptionError: the model is made for another number.
        """
        if batch is not None and self.batch not in (None, batch):
            raise OptionError(
                f"a batch of {batch} was asked for; {self.title} is made for a batch of {self.batch}. Leave "
                "it out, or export the model with --dynamic."
            )
        return batch or self.batch or 1

    def output_shapes(self, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """What the outputs must be for inputs of these shapes, in the order of the spec: translated, then the mask."""
        batch = shapes[0][0]
        if self.spec.image is not None:
            height, width = shapes[0][2:]
        else:
            height, width = self.spec.size.fixed or self.spec.size.preferred
        image = (batch, 3, height, width)
        return (image, (batch, 1, height, width)) if self.spec.output.mask else (image,)

    def check_outputs(self, given: tuple[Shape, ...], shapes: tuple[Shape, ...]) -> None:
        """Check that the output of the network has the size of its input.

        Raises:
            ShapeError: an output has another shape than :meth:`output_shapes` says.
        """
        expected = self.output_shapes(shapes)
        if given != expected:
            raise ShapeError(
                f"{self.title} answered {_shapes_text(given)} to an input of {_shapes_text(shapes[:1])}; "
                f"expected {_shapes_text(expected)}: a picture of the input's size in three channels."
            )

    def close(self) -> None:
        """Free the model. A second call has no effect."""
        if not self._closed:
            self._closed = True
            while self._bindings:
                self._release(self._bindings.popitem()[1])
            self._free()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def input_names(spec: GeneratorSpec) -> tuple[str, ...]:
    """Names of the graph's inputs in the order of :func:`check_inputs`: image, attributes, latent."""
    return tuple(part.name for part in (spec.image, spec.attributes, spec.latent) if part is not None)


def output_names(spec: GeneratorSpec) -> tuple[str, ...]:
    """Names of the graph's outputs in the order of :class:`Output`."""
    return (spec.output.name,) if spec.output.mask is None else (spec.output.name, spec.output.mask)


def check_inputs(
    spec: GeneratorSpec, image: Array | None, attributes: Array | None, latent: Array | None
) -> tuple[Array, ...]:
    """The inputs that the spec asks for, in its order.

    Raises:
        ShapeError: one is missing, not wanted, or of the wrong shape, dtype or memory order.
    """
    inputs: list[Array] = []
    _check_input(inputs, "image", image, spec.image is not None, 4)
    _check_input(inputs, "attributes", attributes, spec.attributes is not None, 2)
    _check_input(inputs, "latent", latent, spec.latent is not None, 2)
    if image is not None:
        if image.shape[1] != 3 or image.shape[0] < 1:
            raise ShapeError(f"got an image batch of shape {image.shape}, expected (N, 3, height, width).")
        if not spec.size.accepts((image.shape[2], image.shape[3])):
            raise ShapeError(
                f"got an image of {format_size(image.shape[2:])} (width x height); {spec.name} takes {spec.size}."
            )
    if attributes is not None and spec.attributes is not None and attributes.shape[1] != spec.attributes.length:
        raise ShapeError(
            f"got attributes of shape {attributes.shape}, expected (N, {spec.attributes.length}): "
            f"{', '.join(spec.attributes.names)}"
            f"{', then 1 minus each' if spec.attributes.complement else ''}."
        )
    if latent is not None and spec.latent is not None and latent.shape[1] != spec.latent.dim:
        raise ShapeError(f"got a latent of shape {latent.shape}, expected (N, {spec.latent.dim}).")
    if any(array.shape[0] != inputs[0].shape[0] for array in inputs):
        raise ShapeError(
            f"got inputs for {[array.shape[0] for array in inputs]} pictures, expected the same number in each."
        )
    return tuple(inputs)


def _check_input(inputs: list[Array], what: str, array: Array | None, wanted: bool, ndim: int) -> None:
    if array is None:
        if wanted:
            raise ShapeError(f"the model needs {what}; got none.")
        return
    if not wanted:
        raise ShapeError(f"got {what} of shape {array.shape}; the model takes none.")
    if array.ndim != ndim or array.dtype != np.float32 or not array.flags.c_contiguous:
        order = "" if array.flags.c_contiguous else ", not C-contiguous"
        raise ShapeError(
            f"got {what} of shape {array.shape}, {array.dtype}{order}, "
            f"expected {ndim} dimensions of C-contiguous float32."
        )
    inputs.append(array)


def zero_inputs(
    spec: GeneratorSpec, size: tuple[int, int] | None = None, batch: int = 1
) -> tuple[Array | None, Array | None, Array | None]:
    """The inputs of ``batch`` pictures for ``run``, all zero, at ``size`` or the spec's own size."""
    size = spec.size.round_up(size or spec.size.preferred)
    return (
        np.zeros((batch, 3, *size), np.float32) if spec.image else None,
        np.zeros((batch, spec.attributes.length), np.float32) if spec.attributes else None,
        np.zeros((batch, spec.latent.dim), np.float32) if spec.latent else None,
    )


def _shapes_text(shapes: tuple[Shape, ...]) -> str:
    return " and ".join(str(shape) for shape in shapes)


class FunctionBackend:
    """A backend made of a Python function, for tests and for models that live elsewhere.

    The function gets the inputs that the model has, in the order image, attributes, latent.
    """

    name = "function"
    device = "cpu"
    batch: int | None = None
    usual_batch = 1

    def __init__(self, spec: GeneratorSpec, function: Callable[..., Array | Output]) -> None:
        self.spec = spec
        self._function = function

    def run(self, image: Array | None, attributes: Array | None = None, latent: Array | None = None) -> Output:
        answer = self._function(*(array for array in (image, attributes, latent) if array is not None))
        return answer if isinstance(answer, Output) else Output(answer)

    def close(self) -> None:
        pass
