"""DCGAN with each of the seven losses: networks, steps, state, records, and options that do not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.optim import Adam, RMSprop

from ganlens.engine.errors import OptionError, TrainingError
from ganlens.train.checkpoint import load_generator, load_state
from ganlens.train.config import DCGANConfig, make_config
from ganlens.train.loop import Trainer, train
from ganlens.train.losses import BEGAN, FAMILIES
from ganlens.train.methods.dcgan import DCGAN, class_names, classes_of, draw_noise
from ganlens.train.networks import AutoencoderCritic, DCGANGenerator, ScoreCritic, autoencoder_critic
from tests.kit.interrupt import interrupt_after

Config = Callable[..., DCGANConfig]


@pytest.fixture
def dcgan_config(faces: Path, tmp_path: Path) -> Config:
    """A 16 px run that trains in a moment; options can be changed."""

    def make(loss: str = "gan", **changes: Any) -> DCGANConfig:
        values: dict[str, Any] = {
            "loss": loss,
            "data": str(faces),
            "holdout": 3,
            "out": str(tmp_path / "run"),
            "size": 16,
            "width": 2,
            "latent": 5,
            "batch": 4,
            "steps": 4,
            "sample_every": 0,
            "log_every": 2,
            "samples": 2,
        }
        if loss == "cgan":
            values["attributes"] = "Smiling,Young"
        return make_config(DCGANConfig, {**values, **changes})

    return make


def snapshot(network: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()]).clone()


# --- networks --------------------------------------------------------------------------------------------------------


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_networks_have_the_published_layers() -> None:
    generator, critic, autoencoder = DCGANGenerator(), ScoreCritic(), autoencoder_critic()
    up = [(100, 512 * 16), (512 * 256, 16), (256 * 128, 16), (128 * 64, 16), (64 * 3, 16)]
    norms = 2 * (512 + 256 + 128 + 64)
    assert count(generator) == sum(a * b for a, b in up) + norms + 3
    down = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512)
    norms = 2 * (128 + 256 + 512)
    assert count(critic) == down + 64 + norms + 16 * 512 + 1
    decoder = 16 * (64 * 512 + 512 * 256 + 256 * 128 + 128 * 64 + 64 * 3) + 2 * (512 + 256 + 128 + 64) + 3
    assert count(autoencoder) == down + 64 + norms + (512 * 16 * 64 + 64) + decoder


@pytest.mark.parametrize("size", [16, 32, 64])
def test_shapes(size: int) -> None:
    image = DCGANGenerator(7, 3, size, 4)(torch.randn(2, 7), torch.eye(3)[:2])
    assert image.shape == (2, 3, size, size)
    assert image.abs().max() <= 1
    assert ScoreCritic(size, 4, "in", 3)(image, torch.eye(3)[:2]).shape == (2,)
    energy, code = autoencoder_critic(size, 4, "none", 1, 6).energy_and_code(image)
    assert (energy.shape, code.shape) == ((2,), (2, 6))


def test_a_side_that_is_no_power_of_two_is_named() -> None:
    with pytest.raises(TrainingError, match="16, 32, 64, 128 or 256 px, got 48"):
        ScoreCritic(48)
    with pytest.raises(OptionError, match="size must be 16, 32, 64, 128 or 256, got 48"):
        make_config(DCGANConfig, {"data": "d", "out": "o", "size": 48})


@pytest.mark.parametrize("power", [1, 2])
def test_energies_are_errors_of_each_picture(power: int) -> None:
    critic = autoencoder_critic(16, 2, "none", power, 4)
    x = torch.rand(3, 3, 16, 16)
    back = critic.decoder(critic.code(critic.trunk(x).flatten(1)))
    expected = torch.stack([((a - b).abs() ** power).mean() for a, b in zip(back, x, strict=True)])
    assert torch.allclose(critic(x), expected)


def test_labels_change_picture_and_score() -> None:
    z, labels = torch.randn(1, 5).expand(2, -1), torch.eye(2)
    generator, critic = DCGANGenerator(5, 2, 16, 2).eval(), ScoreCritic(16, 2, "in", 2)
    one, other = generator(z, labels)
    assert not torch.allclose(one, other)
    x = torch.rand(1, 3, 16, 16).expand(2, -1, -1, -1)
    assert critic(x, labels)[0] != critic(x, labels)[1]


def test_classes_are_the_combinations_of_attributes() -> None:
    names = class_names(("Male", "Smiling"))
    assert names == ("NotMale_NotSmiling", "NotMale_Smiling", "Male_NotSmiling", "Male_Smiling")
    att = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    assert torch.equal(classes_of(att), torch.eye(4))


def test_noise() -> None:
    uniform, normal = draw_noise(500, 20, "uniform"), draw_noise(500, 20, "normal")
    assert uniform.abs().max() <= 1
    assert uniform.std().item() == pytest.approx(3**-0.5, rel=0.03)
    assert normal.std().item() == pytest.approx(1, rel=0.03)


# --- training --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", FAMILIES)
def test_each_loss_moves_both_networks_in_its_rhythm(dcgan_config: Config, loss: str) -> None:
    trainer = Trainer(dcgan_config(loss, steps=10))
    generator, critic = trainer.method.networks["generator"], trainer.method.networks["critic"]
    dataset = trainer.dataset
    batch = tuple(torch.stack(part) for part in zip(*(dataset[i] for i in range(4)), strict=True))
    moved = []
    for _ in range(5):
        before, critic_before = snapshot(generator), snapshot(critic)
        trainer.update(batch)
        moved.append(not torch.equal(snapshot(generator), before))
        assert not torch.equal(snapshot(critic), critic_before)
        assert all(bool(value.isfinite()) for value in trainer._sums.values())
    assert moved == ([False] * 4 + [True] if loss in ("wgan", "wgan-gp") else [True] * 5)
    assert ("penalty" in trainer._sums) == (loss == "wgan-gp")
    assert isinstance(critic, AutoencoderCritic) == (loss in ("ebgan", "began"))
    if loss == "wgan":
        assert snapshot(critic).abs().max() <= 0.01
    if loss == "began":
        assert trainer.method.state_dict()["loss"]["k"] > 0
        assert trainer._counts["convergence"] == 5


@pytest.mark.parametrize("loss", ["gan", "cgan", "wgan-gp", "began"])
def test_resume_is_exact(dcgan_config: Config, tmp_path: Path, loss: str) -> None:
    options: dict[str, Any] = {"n_critic": 2, "sample_every": 2}
    assert train(dcgan_config(loss, out=str(tmp_path / "whole"), **options))
    stopped = Trainer(dcgan_config(loss, out=str(tmp_path / "parts"), **options))
    interrupt_after(stopped, 2)
    assert not stopped.fit()
    assert train(dcgan_config(loss, out=str(tmp_path / "parts"), **options), resume=True)
    one, other = (load_state(tmp_path / name) for name in ("whole", "parts"))
    for name, network in one["networks"].items():
        assert all(torch.equal(value, other["networks"][name][key]) for key, value in network.items())
    if loss == "began":
        assert one["ranks"][0]["method"]["loss"]["k"] == other["ranks"][0]["method"]["loss"]["k"] > 0


def test_settings_are_the_losses_own_unless_given(dcgan_config: Config) -> None:
    found = {}
    for loss in FAMILIES:
        phase = DCGAN(dcgan_config(loss)).phases[1]
        optimizer = phase.make_optimizer([nn.Parameter(torch.zeros(1))])
        group = optimizer.param_groups[0]
        found[loss] = (type(optimizer), group["lr"], group.get("betas"), phase.every)
    assert found == {
        "gan": (Adam, 2e-4, (0.5, 0.999), 1),
        "cgan": (Adam, 2e-4, (0.5, 0.999), 1),
        "wgan": (RMSprop, 5e-5, None, 5),
        "wgan-gp": (Adam, 1e-4, (0.0, 0.9), 5),
        "ebgan": (Adam, 2e-4, (0.5, 0.999), 1),
        "began": (Adam, 1e-4, (0.5, 0.999), 1),
        "lsgan": (Adam, 2e-4, (0.5, 0.999), 1),
    }
    phase = DCGAN(dcgan_config("wgan-gp", learning_rate=1e-3, beta1=0.3, n_critic=2)).phases[0]
    group = phase.make_optimizer([nn.Parameter(torch.zeros(1))]).param_groups[0]
    assert (group["lr"], group["betas"], phase.every) == (1e-3, (0.3, 0.9), 1)


def test_options_reach_the_losses(dcgan_config: Config) -> None:
    def options(loss: str, **given: Any) -> dict[str, Any]:
        return vars(DCGAN(dcgan_config(loss, **given)).loss)

    assert options("gan", minimax=True)["minimax"]
    assert options("wgan", clip=0.5)["clip"] == 0.5
    assert options("wgan-gp", lambda_gp=3)["weight"] == 3
    assert options("ebgan", margin=4, pulling_away=0.1) == {"margin": 4, "pulling_away": 0.1, "r1": 0}
    balanced = options("began", gamma=0.7, lambda_k=0.1, patience=5)
    assert (balanced["gamma"], balanced["lambda_k"], balanced["patience"]) == (0.7, 0.1, 5)
    squares = options("lsgan", lsgan_targets="-1,1,0")
    assert (squares["a"], squares["b"], squares["c"]) == (-1, 1, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "wgan", "optimizer": "adam", "beta1": 0.5}, "wgan clips weights, and with momentum"),
        ({"loss": "wgan", "beta1": 0.5}, "beta1 belongs to adam"),
        ({"loss": "gan", "clip": 0.1}, "--clip belongs to --loss wgan, not to gan"),
        ({"loss": "lsgan", "minimax": True}, "--minimax belongs to --loss gan and cgan, not to lsgan"),
        ({"loss": "lsgan", "lsgan_targets": "0,1"}, "three numbers a,b,c, got '0,1'"),
        ({"loss": "lsgan", "lsgan_targets": "1,1,1"}, "the same label, 1"),
        ({"loss": "ebgan", "pulling_away": 0.1, "batch": 1}, "needs a batch of 2 or more"),
        ({"loss": "square"}, "--loss: got square, expected one of .*'lsgan'"),
    ],
)
def test_options_that_do_not_fit_are_refused_with_the_reason(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make_config(DCGANConfig, {"data": "d", "out": "o", **options})


def test_pulling_away_is_part_of_the_generators_loss(dcgan_config: Config) -> None:
    method = DCGAN(dcgan_config("ebgan", pulling_away=0.5))
    total, parts = method.generator_step((torch.rand(4, 3, 16, 16),), 0)
    assert parts["pulling_away"] > 0
    assert total.item() == pytest.approx((parts["adversarial"] + 0.5 * parts["pulling_away"]).item())


def test_a_stalled_balance_halves_the_rate_of_both(dcgan_config: Config) -> None:
    trainer = Trainer(dcgan_config("began"))
    assert isinstance(trainer.method, DCGAN)
    assert isinstance(trainer.method.loss, BEGAN)
    trainer.method.loss.rate_factor = 0.5
    trainer.update(trainer.dataset.preview(2, 16))
    assert [optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers.values()] == [5e-5, 5e-5]


def test_the_rate_stays_unless_decay_is_asked_for(dcgan_config: Config) -> None:
    trainer = Trainer(dcgan_config(steps=100))
    assert [trainer.schedule.factor(step) for step in (0, 60, 99)] == [1, 1, 1]
    assert Trainer(dcgan_config(steps=100, decay_steps=0)).schedule.factor(99) < 0.05


# --- data and records ------------------------------------------------------------------------------------------------


def test_a_plain_folder_will_do_but_for_classes(dcgan_config: Config, folders: tuple[Path, Path]) -> None:
    config = dcgan_config(data=str(folders[0]))
    dataset = DCGAN.make_dataset(config)
    assert (dataset.epoch_length, len(dataset[0]), dataset[0][0].shape) == (5, 1, (3, 16, 16))
    assert train(config)
    with pytest.raises(TrainingError, match="has no attribute table"):
        DCGAN.make_dataset(dcgan_config("cgan", data=str(folders[0])))


@pytest.mark.parametrize("loss", ["gan", "cgan"])
def test_run_folder(dcgan_config: Config, tmp_path: Path, loss: str) -> None:
    assert train(dcgan_config(loss, sample_every=4, noise="normal"))
    generator, spec = load_generator(tmp_path / "run")
    assert (spec.architecture, spec.image, spec.size.fixed, spec.options["loss"]) == ("dcgan", None, (16, 16), loss)
    assert spec.latent is not None
    assert (spec.latent.dim, spec.latent.distribution) == (5, "normal")
    assert spec.training is not None
    assert (spec.training.data, spec.training.images_seen) == ("faces", 16)
    labels = []
    if loss == "cgan":
        assert spec.attributes is not None
        assert spec.attributes.names == class_names(("Smiling", "Young"))
        assert spec.attributes.exactly_one
        labels = [torch.eye(4)[:2]]
    else:
        assert spec.attributes is None
    assert generator(torch.randn(2, 5), *labels).shape == (2, 3, 16, 16)
    with Image.open(tmp_path / "run" / "samples" / "step-0000004.png") as grid:
        assert grid.size == ((5 if loss == "cgan" else 8) * 16, 4 * 9 + 2 + 2 * 16)  # a title and captions


def test_sample_grids_leave_the_random_state_alone(dcgan_config: Config) -> None:
    method = DCGAN(dcgan_config())
    batch = (torch.rand(1, 3, 16, 16),)
    before = torch.get_rng_state()
    one, other = (method.sample(batch, method.networks) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert len(one) == 8
    assert not torch.equal(one[1], one[2])
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_the_attribute_loss_asks_of_each_picture_the_heads_that_hold(dcgan_config: Config) -> None:
    method = DCGAN(dcgan_config("attribute", attributes="Smiling,Young"))
    method.networks["critic"].eval()
    x, labels = torch.randn(3, 3, 16, 16), torch.tensor([[1.0, 0, 0, 1], [0, 1, 1, 0], [1, 1, 0, 0]])
    scores = method.networks["critic"](x)
    assert scores.shape == (3, 4)  # both attributes, both absences
    expected = torch.stack([scores[0, [0, 3]], scores[1, [1, 2]], scores[2, [0, 1]]])
    assert torch.equal(method._judge(x, labels), expected)
    real, fake = torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 1.0]])
    assert float(method.loss.discriminator(real, fake)) == 1 + 5
    assert float(method.loss.generator(fake)) == 1


def test_a_run_with_the_attribute_loss_ships_a_generator_with_attributes(dcgan_config: Config) -> None:
    config = dcgan_config("attribute", attributes="Smiling,Young", steps=2)
    assert train(config)
    generator, spec = load_generator(config.run)
    assert spec.attributes is not None and spec.attributes.complement and spec.attributes.names == ("Smiling", "Young")
    assert generator(torch.randn(2, 5), torch.tensor([[1.0, 0, 0, 1]] * 2)).shape == (2, 3, 16, 16)


def test_began_may_square_its_errors(dcgan_config: Config) -> None:
    critics = [DCGAN(dcgan_config("began", exponent=exponent)).networks["critic"] for exponent in (1, 2)]
    assert [critic.power for critic in critics] == [1, 2]
