"""Growing: bit-identity at both ends of a fade, the schedule, and layers that join when they are used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn.functional import avg_pool2d, interpolate

from ganlens.engine.errors import TrainingError
from ganlens.train.checkpoint import load_generator
from ganlens.train.config import AttributeConfig
from ganlens.train.loop import Trainer, train
from ganlens.train.networks.growing import GrowingDiscriminator, GrowingGenerator, growth, levels

X = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
ATT = torch.tensor([[1.0, 0.0], [0.0, 1.0]])


@pytest.fixture
def generator() -> GrowingGenerator:
    torch.manual_seed(0)
    made = GrowingGenerator(2, 128, width=16)
    for block in made.body:
        torch.nn.init.normal_(block.condition.weight)  # type: ignore[union-attr, arg-type]
    return made


@torch.no_grad()
def test_faded_in_it_is_the_network_built_at_that_size(generator: GrowingGenerator) -> None:
    direct = GrowingGenerator(2, 64, width=16)
    direct.load_state_dict({n: v for n, v in generator.state_dict().items() if n in direct.state_dict()})
    generator.stand(64, 1.0)
    for ours, theirs in zip(generator(X, ATT), direct(X, ATT), strict=True):
        assert torch.equal(ours, theirs)
    judge = GrowingDiscriminator(128, 3, width=4)
    direct_judge = GrowingDiscriminator(64, 3, width=4)
    direct_judge.load_state_dict({n: v for n, v in judge.state_dict().items() if n in direct_judge.state_dict()})
    judge.stand(64, 1.0)
    assert torch.equal(judge(X), direct_judge(X))


@torch.no_grad()
@pytest.mark.parametrize("resolution", [64, 128])
def test_not_yet_faded_in_it_is_the_smaller_network_on_the_pooled_picture(
    generator: GrowingGenerator, resolution: int
) -> None:
    x = interpolate(X, size=(resolution, resolution))
    generator.stand(resolution, 0.0)
    segment, mask = generator(x, ATT)
    generator.stand(resolution // 2, 1.0)
    small_segment, small_mask = generator(avg_pool2d(x, 2), ATT)
    assert torch.equal(segment, interpolate(small_segment, scale_factor=2, mode="nearest"))
    assert torch.equal(mask, interpolate(small_mask, scale_factor=2, mode="nearest"))
    judge = GrowingDiscriminator(128, 3, width=4)
    judge.stand(resolution, 0.0)
    scores = judge(x)
    judge.stand(resolution // 2, 1.0)
    assert torch.equal(scores, judge(avg_pool2d(x, 2)))


@torch.no_grad()
def test_between_it_is_neither(generator: GrowingGenerator) -> None:
    answers = []
    for alpha in (0.0, 0.5, 1.0):
        generator.stand(64, alpha)
        answers.append(generator(X, ATT)[0])
    assert answers[1].shape == X.shape
    assert not torch.allclose(answers[1], answers[0])
    assert not torch.allclose(answers[1], answers[2])


def test_schedule() -> None:
    at = [growth(images, 128, fade=10, stable=20) for images in (0, 19, 20, 25, 30, 49, 50, 59, 60, 500)]
    assert at == [
        (32, 1.0),
        (32, 1.0),
        (64, 0.0),
        (64, 0.5),
        (64, 1.0),
        (64, 1.0),
        (128, 0.0),
        (128, 0.9),
        (128, 1.0),
        (128, 1.0),
    ]
    assert growth(0, 32, 10, 20) == growth(99, 32, 10, 20) == (32, 1.0)


def test_sizes() -> None:
    assert levels(256) == [32, 64, 128, 256]
    for size in (16, 96, 512):
        with pytest.raises(TrainingError, match=f"32, 64, 128 or 256 px, got {size}"):
            levels(size)


def test_training_grows(edit_config: Callable[..., AttributeConfig], tmp_path: Path) -> None:
    config = edit_config(tier="growing", size=64, load_size=64, steps=4, fade_images=8, stable_images=4, sample_every=4)
    trainer = Trainer(config)
    generator = trainer.method.networks["generator"]
    assert isinstance(generator, GrowingGenerator)
    new, old = generator.up["64"][0].weight, generator.to_rgbm["32"].weight  # type: ignore[index]
    batch = trainer.dataset.preview(2, 64)
    stood, moved = [], []
    for _ in range(4):
        before = new.detach().clone(), old.detach().clone()
        trainer.update(batch)
        stood.append((generator.resolution, generator.alpha))
        moved.append(tuple(not torch.equal(a, b) for a, b in zip(before, (new, old), strict=True)))
    assert stood == [(32, 1.0), (64, 0.0), (64, 0.5), (64, 1.0)]
    assert moved == [(False, True), (False, True), (True, True), (True, False)]

    assert train(config)
    loaded, spec = load_generator(tmp_path / "run")
    assert spec.size.preferred == (64, 64)
    assert isinstance(loaded, GrowingGenerator)
    assert (loaded.resolution, loaded.alpha) == (64, 1.0)


def test_growth_counts_the_pictures_of_all_processes(
    edit_config: Callable[..., AttributeConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(edit_config(tier="growing", size=64, load_size=64, steps=9, fade_images=8, stable_images=8))
    generator = trainer.method.networks["generator"]
    assert isinstance(generator, GrowingGenerator)
    two_processes = property(lambda self: 2 * self.step * self.config.batch)
    monkeypatch.setattr(Trainer, "images_seen", two_processes)
    stood = []
    for _ in range(4):
        trainer.update(trainer.dataset.preview(2, 64))
        stood.append((generator.resolution, generator.alpha))
    assert stood == [(32, 1.0), (64, 0.0), (64, 1.0), (64, 1.0)]


def test_a_level_that_joins_late_does_not_ship_its_random_start(edit_config: Callable[..., AttributeConfig]) -> None:
    config = edit_config(
        tier="growing", size=64, load_size=64, steps=200, stable_images=4 * 100, fade_images=8, ema=0.999
    )
    trainer = Trainer(config)
    averaged = trainer.averaged["generator"]
    batch = trainer.dataset.preview(2, 64)
    trainer.step = 100  # the level of 64 px begins here
    for age in range(len(averaged.ages)):
        averaged.ages[age] = 100  # of the layers so far
    network = trainer.method.networks["generator"]
    assert isinstance(network, GrowingGenerator) and isinstance(averaged.module, GrowingGenerator)
    names = [name for name, _ in network.named_parameters()]
    for place, name in enumerate(names):
        if ".64." in name:
            averaged.ages[place] = 0  # as at step 100 of a real run: never had a gradient
    start = network.up["64"][0].weight.detach().clone()  # type: ignore[index]
    for _ in range(4):
        trainer.update(batch)
    live, slow = (part.up["64"][0].weight.detach() for part in (network, averaged.module))  # type: ignore[index]
    assert float((live - start).abs().mean()) > 0
    assert float((slow - live).abs().mean()) < 0.5 * float((slow - start).abs().mean())
    assert {averaged.ages[place] for place, name in enumerate(names) if name.startswith("body")} == {104}
    assert averaged.ages[names.index("up.64.0.weight")] == 3  # in the first of the four its alpha was 0
