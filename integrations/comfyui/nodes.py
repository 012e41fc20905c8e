"""The nodes. ComfyUI's IMAGE is a float32 tensor (B, H, W, 3) RGB in [0, 1] on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ganlens.engine import OptionError, Translator, available
from ganlens.engine.model import shipped

AUTOMATIC = "automatic"


def _image_models() -> list[str]:
    return [card.name for card in shipped() if card.spec.image is not None]


class LoadModel:
    """Opens a shipped model, or an ONNX file by path."""

    CATEGORY = "ganlens"
    FUNCTION = "load"
    RETURN_TYPES = ("GANLENS_MODEL",)
    RETURN_NAMES = ("model",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """The node's inputs, as ComfyUI asks for them."""
        backends = ["auto", *(status.name for status in available() if status.usable)]
        return {
            "required": {
                "model": (_image_models(), {"default": "starry"}),
                "framing": ([AUTOMATIC, "fit", "tile", "native"], {"default": AUTOMATIC}),
                "backend": (backends, {"default": "auto"}),
            },
            "optional": {"path": ("STRING", {"default": "", "tooltip": "An ONNX file, instead of a shipped model."})},
        }

    def load(self, model: str, framing: str, backend: str, path: str = "") -> tuple[Translator]:
        """Open the model; ComfyUI keeps the result while the inputs stay the same."""
        mode = None if framing == AUTOMATIC else framing
        return (Translator.open(path.strip() or model, backend=backend, framing=mode),)


class ApplyModel:
    """Translates a batch of images; strength mixes the result with the original."""

    CATEGORY = "ganlens"
    FUNCTION = "apply"
    RETURN_TYPES = ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """The node's inputs, as ComfyUI asks for them."""
        return {
            "required": {
                "model": ("GANLENS_MODEL",),
                "image": ("IMAGE",),
                "strength": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 1.0, "step": 0.05}),
            },
            "optional": {
                "attributes": ("STRING", {"default": "", "tooltip": "For models with attributes: red_hair=1"})
            },
        }

    def apply(
        self, model: Translator, image: torch.Tensor, strength: float, attributes: str = ""
    ) -> tuple[torch.Tensor]:
        """Images (B, H, W, 3) float32 in [0, 1], in and out."""
        values = _attributes(attributes)
        results = []
        for one in image.detach().cpu().float():
            pixels = np.ascontiguousarray((one.clamp(0, 1) * 255).round().to(torch.uint8).numpy())
            painted = torch.from_numpy(np.asarray(model(pixels, **values))).float() / 255
            results.append(torch.lerp(one, painted, strength))
        return (torch.stack(results),)


def _attributes(text: str) -> dict[str, float]:
    values = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = part.partition("=")
        try:
            values[name.strip()] = float(value)
        except ValueError:
            raise OptionError(f"attributes: got {part!r}, expected NAME=VALUE such as smiling=1.") from None
    return values


NODE_CLASS_MAPPINGS: dict[str, type] = {"GanlensLoadModel": LoadModel, "GanlensApplyModel": ApplyModel}
NODE_DISPLAY_NAME_MAPPINGS = {"GanlensLoadModel": "Load ganlens model", "GanlensApplyModel": "Apply ganlens model"}
