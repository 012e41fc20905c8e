"""Moving averages of weights: what ships, and what sample grids show."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .schedule import average_decay


class MovingAverage:
    """An exponential moving average of a network, in which each parameter has its own age.

    The decay is smaller in the first updates (:func:`.schedule.average_decay`), or the random weights of the start
    would stay in the average for thousands of steps. Layers that join a running training (a new level of a growing
    network) start at that moment: the age of a parameter is the number of updates in which it has had a gradient.

    Args:
        network: is copied.
        ema: decay in the long run, in [0, 1).
    """

    def __init__(self, network: nn.Module, ema: float) -> None:
        self.module = copy.deepcopy(network)
        self.ema = ema
        self.ages = [0 for _ in network.parameters()]

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move towards the network's weights, directly after an optimiser step of it."""
        by_age: dict[int, tuple[list[Tensor], list[Tensor]]] = {}
        pairs = zip(self.module.parameters(), network.parameters(), strict=True)
        for place, (averaged, current) in enumerate(pairs):
            own, other = by_age.setdefault(self.ages[place], ([], []))
            own.append(averaged)
            other.append(current.detach())
            self.ages[place] += current.grad is not None
        newest = max(by_age, default=0)
        own, other = by_age.setdefault(newest, ([], []))
        for kept, new in zip(self.module.buffers(), network.buffers(), strict=True):
            if kept.is_floating_point():  # statistics of a batch norm age with the network
                own.append(kept)
                other.append(new)
            else:
                kept.copy_(new)
        for age, (own, other) in by_age.items():
            if age == 0:
                for kept, new in zip(own, other, strict=True):
                    kept.copy_(new)
            elif own:
                torch._foreach_lerp_(own, other, 1 - average_decay(self.ema, age))

    def restart(self) -> None:
        """Begin anew: the next update copies the weights."""
        self.ages = [0 for _ in self.ages]

    def state_dict(self) -> dict[str, Any]:
        """The averaged weights (``module.…``) and the ages."""
        weights = {f"module.{name}": value for name, value in self.module.state_dict().items()}
        return {**weights, "ages": torch.tensor(self.ages, dtype=torch.int64)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`; a state from before parameters had ages gives all of them the same."""
        prefix = "module."
        self.module.load_state_dict({n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)})
        if "ages" in state:
            self.ages = state["ages"].tolist()
        else:
            self.ages = [int(state["n_averaged"]) for _ in self.ages]
