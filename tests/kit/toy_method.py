"""A toy training method, second file: its networks and phases."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn.functional import l1_loss

from ganlens.engine.spec import GeneratorSpec
from ganlens.train.data.datasets import UnpairedDataset
from ganlens.train.methods.base import Batch, Method, Parts, Phase, adam
from ganlens.train.networks import make_generator
from ganlens.train.specs import image_to_image_spec
from tests.kit.toy_config import ToyConfig


class Toy(Method):
    """Network ``generator``, one phase."""

    averaged = ("generator",)

    def __init__(self, config: ToyConfig) -> None:
        self.config = config
        self.spec = image_to_image_spec(config, config.model_name)
        self.networks = {"generator": make_generator(self.spec)}
        self.phases = (Phase("generator", ("generator",), self.step, adam(config.learning_rate, config.beta1)),)

    @classmethod
    def make_dataset(cls, config: ToyConfig) -> UnpairedDataset:
        """Two folders of pictures."""
        return UnpairedDataset.of(config)

    def step(self, batch: Batch, step: int) -> tuple[Tensor, Parts]:
        """Loss of the generator."""
        loss = l1_loss(self.networks["generator"](batch[0]), batch[0] + self.config.brightness)
        return loss, {"brighter": loss}

    def specs(self) -> dict[str, tuple[str, GeneratorSpec]]:
        """The generator."""
        return {"generator": ("generator", self.spec)}

    def sample(self, batch: Batch, networks: Mapping[str, nn.Module]) -> list[Tensor]:
        """Picture, brighter picture."""
        return [batch[0], networks["generator"](batch[0])]
