"""The gates of styles (:mod:`ganlens.engine.evaluate.gates`), as metrics over a training."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ganlens.engine.evaluate.gates import judge_skies, judge_statistics
from ganlens.engine.evaluate.measures import synthetic_skies

from ..data.pictures import to_pixels, to_tensor
from .device import device_of

SKIES = (256, 256)
"""Height and width of the artificial pictures that show a grid or a frame line."""
SHORTFALL = "shortfall"
"""Name of the figure that says how far a style is from passing all gates; 0: it passes."""


@torch.no_grad()
def style_figures(translator: nn.Module, made: Iterable[Tensor], real: Iterable[Tensor]) -> dict[str, float]:
    """Figures of a translator: each gate's measure, how many gates it misses, and by how much in all.

    Args:
        translator: (N, 3, H, W) in [-1, 1] to the same, in eval mode.
        made, real: batches (N, 3, H, W) in [-1, 1]: its translations, and pictures of the style.

    Returns:
        chroma, contrast, fine_detail and colour_spread as shares of the style's; grid_of_N_px and frame_line in levels;
        gates_missed; shortfall: the sum, over the gates that are missed, of the difference to the limit as a share of
        the limit.
    """
    device = device_of(translator)
    results = [to_pixels(image) for batch in made for image in batch]
    targets = [to_pixels(image) for batch in real for image in batch]
    skies = [to_pixels(translator(to_tensor(sky)[None].to(device))[0]) for sky in synthetic_skies(SKIES)]
    gates = [*judge_statistics(results, targets), *judge_skies(skies, None)]
    figures: dict[str, float] = {}
    missed, shortfall = 0, 0.0
    for gate in gates:
        if gate.value is None or gate.limit is None:
            continue
        figures[gate.name.replace(" ", "_")] = gate.value
        if not gate.ok:
            missed += 1
            shortfall += abs(gate.value / gate.limit - 1)
    return {**figures, "gates_missed": float(missed), SHORTFALL: shortfall}
