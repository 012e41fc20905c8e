"""The benchmark of training: that its loops train, that the plain one is the method, and that its shares add up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmarks.train_speed import BareLoop, OurLoop, PlainCycleGAN, configure, main, make_data
from ganlens.train.config import CycleGANConfig
from ganlens.train.losses import LEAST_SQUARES
from ganlens.train.methods.cyclegan import Fakes, discriminator_loss, generator_loss
from tests.kit.fresh_process import fresh_process


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    with fresh_process():
        yield


@pytest.fixture
def config(tmp_path: Path) -> CycleGANConfig:
    found = configure("cyclegan", "quick", make_data(tmp_path / "data"), tmp_path / "run", 1)
    assert isinstance(found, CycleGANConfig)
    return found


def test_every_method_is_measured(tmp_path: Path) -> None:
    path = tmp_path / "speed.json"
    main(["--scale", "quick", "--rounds", "1", "--steps", "1", "--threads", "1", "--json", str(path)])
    result = json.loads(path.read_text())
    assert [row[0] for row in result["table"]["rows"]] == ["cyclegan", "acl-gan", "stargan", "dcgan", "psc-gan"]
    for method, found in result["details"].items():
        assert sum(found["shares"].values()) == pytest.approx(1)
        assert min(found["shares"].values()) >= 0, method
        assert {"ours", "contiguous", "channels_last"} <= found["seconds"].keys()


def test_the_plain_loop_has_the_methods_losses(config: CycleGANConfig) -> None:
    plain = PlainCycleGAN(config, torch.device("cpu"))
    pictures = [torch.rand(1, 3, 32, 32) * 2 - 1 for _ in range(2)]
    plain.load = lambda _: pictures[len(seen) % 2][seen.append(0) or 0]  # type: ignore[assignment,func-returns-value]
    seen: list[int] = []
    networks = dict(zip(("to_painting", "to_photo"), plain.generators, strict=True))
    networks |= dict(zip(("judge_painting", "judge_photo"), plain.judges, strict=True))
    with torch.no_grad():
        _, parts, fakes = generator_loss(networks, *pictures, config, LEAST_SQUARES)
        judged, _ = discriminator_loss(networks, *pictures, Fakes(*fakes), LEAST_SQUARES)
    before = [parameter.detach().clone() for network in networks.values() for parameter in network.parameters()]
    plain.step()
    expected = [parts["adv_painting"] + parts["adv_photo"], parts["cycle"], parts["identity"], judged]
    assert plain.losses == pytest.approx([value.item() for value in expected], rel=1e-4)
    after = [parameter for network in networks.values() for parameter in network.parameters()]
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_the_bare_loop_moves_the_same_networks(config: CycleGANConfig) -> None:
    for loop in (OurLoop(config), BareLoop(config)):
        networks = loop.trainer.method.networks
        before = {name: next(network.parameters()).detach().clone() for name, network in networks.items()}
        assert loop.run(1) > 0
        assert not any(torch.equal(before[name], next(network.parameters())) for name, network in networks.items())
