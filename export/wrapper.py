"""The export-only module around a generator: fixed names, composition and range inside the graph."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from ganlens.engine.spec import GeneratorSpec, ImageInput, ImageOutput, Size, SizeRule

IMAGE, ATTRIBUTES, LATENT, OUTPUT, MASK = "x", "att", "z", "y", "mask"
"""Names of the graph's tensors, the same for every family."""

FREE_MINIMUM = 2
"""Smallest side of a dynamic graph, in units of ``multiple_of``: instance norm has no statistics over one value."""


class ExportGenerator(nn.Module):
    """Calls a generator as the graph will be called, and finishes its answer.

    The generator takes the inputs that its record names, by position, in the order image, latent, attributes. It
    answers with an image (N, 3, H, W), or with image or segment and mask (N, 1, H, W). A segment ``s`` is composed over
    the input ``x`` with the mask ``m``: ``m s + (1 - m) x``, where ``m`` is first set to 0 in the frame border, so that
    the border of the answer equals the input exactly. The answer is clipped to the record's value range.
    """

    def __init__(self, generator: nn.Module, spec: GeneratorSpec, border_px: int = 0) -> None:
        super().__init__()
        self.generator = generator
        self.composed = spec.output.kind == "segment"
        self.has_mask = spec.output.mask is not None
        self.border_px = border_px if self.composed else 0
        self.low, self.high = spec.value_range
        self.eval()

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """The graph's outputs: image, and the mask where there is one."""
        if not self.has_mask:
            return self.generator(*inputs).clamp(self.low, self.high)  # type: ignore[no-any-return]
        image, mask = self.generator(*inputs)
        if self.border_px:
            b = self.border_px
            mask = functional.pad(mask[:, :, b:-b, b:-b], (b, b, b, b))
        if self.composed:
            image = mask * image + (1 - mask) * inputs[0]
        return image.clamp(self.low, self.high), mask


def graph_spec(spec: GeneratorSpec, size: Size | None) -> GeneratorSpec:
    """The record of the graph that is made from a checkpoint with record ``spec``.

    Args:
        spec: the checkpoint's record.
        size: (height, width) of a static graph; None for a dynamic one.
    """
    rule = spec.size
    preferred = size or rule.preferred
    border_px = round(spec.frame_border_px * min(preferred) / min(rule.preferred))
    minimum = max(rule.minimum, FREE_MINIMUM * rule.multiple_of, 2 * border_px + 1)
    return spec.model_copy(
        update={
            "image": ImageInput(name=IMAGE) if spec.image else None,
            "attributes": spec.attributes.model_copy(update={"name": ATTRIBUTES}) if spec.attributes else None,
            "latent": spec.latent.model_copy(update={"name": LATENT}) if spec.latent else None,
            "output": ImageOutput(name=OUTPUT, kind="image", mask=MASK if spec.output.mask else None),
            "size": SizeRule(
                fixed=size, multiple_of=rule.multiple_of, minimum=minimum, preferred=preferred, margin=rule.margin
            ),
            "frame_border_px": border_px,
        }
    )


def input_names(spec: GeneratorSpec) -> list[str]:
    """Names of the graph's inputs, in the generator's order."""
    return [entry.name for entry in (spec.image, spec.latent, spec.attributes) if entry is not None]


def output_names(spec: GeneratorSpec) -> list[str]:
    """Names of the graph's outputs, in the generator's order."""
    return [OUTPUT] if spec.output.mask is None else [OUTPUT, MASK]
