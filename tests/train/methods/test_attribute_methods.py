"""ACL-GAN and StarGAN in the loop: who moves when, what is resumed, what is recorded, and masks that close."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from ganlens.engine.errors import OptionError, TrainingError
from ganlens.train.checkpoint import load_generator, load_state
from ganlens.train.config import (
    ACLGANConfig,
    AttributeConfig,
    ClassifierConfig,
    CycleGANConfig,
    StarGANConfig,
    make_config,
)
from ganlens.train.evaluate.classifier import finish
from ganlens.train.loop import Trainer, train
from ganlens.train.losses.attribute import ATTRIBUTE_LOSSES, active_r1_penalty, with_complement
from ganlens.train.methods import acl_gan, stargan
from ganlens.train.networks.composition import edit, total_variation
from ganlens.train.networks.realtime import BalancedHead
from tests.kit.interrupt import interrupt_after

EditConfig = Callable[..., AttributeConfig]
NEEDED = {"data": "faces", "out": "run"}


def snapshot(network: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()]).clone()


def test_published_defaults() -> None:
    acl, star = make_config(ACLGANConfig, NEEDED), make_config(StarGANConfig, NEEDED)
    for config in (acl, star):
        assert (config.size, config.resize_px, config.batch, config.steps, config.flip) == (128, 128, 16, 200_000, True)
        assert (config.learning_rate, config.beta1, config.discriminator_width) == (1e-4, 0.5, 64)
        assert config.attribute_names[:5] == ("Black_Hair", "Blond_Hair", "Brown_Hair", "Male", "Young")
    assert (acl.attribute_names[5:], star.attribute_names[5:]) == (("Mouth_Slightly_Open", "Smiling"), ())
    assert (acl.lambda_att, acl.lambda_con, acl.content, acl.loss, acl.complement) == (
        1,
        10,
        "translation",
        "lsgan",
        True,
    )
    assert [make_config(ACLGANConfig, {**NEEDED, "size": size}).border_px for size in (64, 128, 256)] == [4, 8, 16]
    assert (star.lambda_cls, star.lambda_rec, star.tier) == (1, 10, "stargan")
    assert (stargan.LAMBDA_GP, stargan.N_CRITIC) == (10, 5)


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (ACLGANConfig, {"attributes": " , "}, "attributes names none"),
        (ACLGANConfig, {"attributes": "Male,male"}, "attributes names male more than once"),
        (ACLGANConfig, {"tier": "resnet9"}, "tier resnet9 takes no attributes"),
        (ACLGANConfig, {"size": 32, "border": 16}, "a border of 16 px leaves nothing of 32 px"),
        (ACLGANConfig, {"loss": "square"}, "--loss: got square, expected one of .*'lsgan'"),
        (StarGANConfig, {"tier": "growing"}, "tier growing belongs to acl-gan"),
        (CycleGANConfig, {"tier": "stargan", "photos": "a", "paintings": "b"}, "tier stargan needs attributes"),
    ],
)
def test_wrong_options_are_named(kind: type[Any], changes: dict[str, Any], message: str) -> None:
    needed = NEEDED if issubclass(kind, AttributeConfig) else {"out": "run"}
    with pytest.raises(OptionError, match=message):
        make_config(kind, {**needed, **changes})


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("acl-gan", {"warmup_steps": 2, "discriminator_init": "he"}),
        ("acl-gan", {"loss": "wgan-gp", "n_critic": 2, "complement": False, "tier": "stargan", "targets": "coin"}),
        ("acl-gan", {"loss": "wgan-gp", "penalty": "per_attribute", "n_critic": 3, "content": "identity"}),
        ("acl-gan", {"loss": "logistic", "content": "cycle", "lambda_mask": 0.1, "lambda_tv": 0.1}),
        (
            "acl-gan",
            {
                "tier": "growing",
                "generator_width": 2,
                "fade_images": 8,
                "stable_images": 4,
                "size": 64,
                "load_size": 64,
            },
        ),
        ("acl-gan", {"shape": "joined", "flow": 0.05, "window": "0,0,32", "vary": True}),
        ("stargan", {"n_critic": 2, "tier": "stargan"}),
        ("classifier", {}),
    ],
)
def test_resume_is_exact(edit_config: EditConfig, tmp_path: Path, method: str, options: dict[str, Any]) -> None:
    whole = edit_config(method, out=str(tmp_path / "whole"), steps=6, **options)
    assert train(whole)
    torch.rand(3)  # what happens between two processes must not matter
    stopped = Trainer(edit_config(method, out=str(tmp_path / "parts"), steps=6, **options))
    interrupt_after(stopped, 3)
    assert not stopped.fit()
    assert train(edit_config(method, out=str(tmp_path / "parts"), steps=6, **options), resume=True)
    one, other = (load_state(tmp_path / name) for name in ("whole", "parts"))
    assert one["step"] == other["step"] == 6
    for part in ("networks", "averaged"):
        for name, network in one[part].items():
            assert all(torch.equal(value, other[part][name][key]) for key, value in network.items())


def test_an_edit_is_learned_coarse_to_fine_where_the_discriminator_has_its_own_size(
    edit_config: EditConfig, tmp_path: Path
) -> None:
    assert train(edit_config(discriminator_size=32, steps=2))
    assert train(edit_config(discriminator_size=32, steps=4, size=64, load_size=72), resume=True)
    spec = load_generator(tmp_path / "run")[1]
    assert (spec.size.preferred, spec.frame_border_px) == ((64, 64), 4)
    assert train(edit_config(out=str(tmp_path / "other"), steps=2))
    with pytest.raises(
        TrainingError, match="--size cannot change in this run: its discriminator.*--discriminator-size"
    ):
        train(edit_config(out=str(tmp_path / "other"), steps=4, size=64, load_size=72), resume=True)


def test_the_generator_moves_in_every_nth_step_only(edit_config: EditConfig) -> None:
    for method, options in (("acl-gan", {"loss": "wgan-gp"}), ("stargan", {})):
        trainer = Trainer(edit_config(method, steps=10, **options))
        generator, judge = trainer.method.networks["generator"], trainer.method.networks["discriminator"]
        batch = trainer.dataset.preview(2, 32)
        for step in range(1, 6):
            before, judge_before = snapshot(generator), snapshot(judge)
            average = snapshot(trainer.averaged["generator"].module)
            trainer.update(batch)
            assert torch.equal(snapshot(generator), before) == (step != 5)
            assert torch.equal(snapshot(trainer.averaged["generator"].module), average) == (step != 5)
            assert not torch.equal(snapshot(judge), judge_before)


def test_the_generator_waits_for_the_warm_up(edit_config: EditConfig) -> None:
    trainer = Trainer(edit_config(warmup_steps=2))
    batch = trainer.dataset.preview(2, 32)
    moved = []
    for _ in range(4):
        before = snapshot(trainer.method.networks["generator"])
        trainer.update(batch)
        moved.append(not torch.equal(snapshot(trainer.method.networks["generator"]), before))
    assert moved == [False, False, True, True]


def test_acl_gan_needs_one_generator_pass_and_stargan_two(edit_config: EditConfig) -> None:
    def passes(method: str, **options: Any) -> int:
        trainer = Trainer(edit_config(method, **options))
        calls = []
        trainer.method.networks["generator"].register_forward_hook(lambda *_: calls.append(1))
        for phase in trainer.method.phases:
            if phase.name == "generator":
                if method == "stargan":
                    trainer.method.phases[0].loss(trainer.dataset.preview(2, 32), 0)
                    calls.clear()
                phase.loss(trainer.dataset.preview(2, 32), 0)
        return len(calls)

    assert passes("acl-gan") == 1
    assert passes("acl-gan", content="identity") == passes("acl-gan", content="cycle") == 2
    assert passes("stargan") == 2


def test_acl_generator_loss_is_the_weighted_sum(edit_config: EditConfig) -> None:
    weights = {"lambda_att": 0.5, "lambda_con": 4.0, "lambda_mask": 2.0, "lambda_tv": 3.0, "lambda_smooth": 5.0}
    config = edit_config(**weights, lambda_colour=6.0)
    assert isinstance(config, ACLGANConfig)
    method = acl_gan.ACLGAN(config)
    x, att = torch.rand(2, 3, 32, 32), with_complement(torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    total, parts, made = acl_gan.generator_loss(method.networks, x, att, att, config, method.loss)
    with torch.no_grad():
        image, mask, raw, _ = edit(method.networks["generator"], x, att, config.border_px)
        scores = method.networks["discriminator"](image)
    assert mask is not None and raw is not None
    assert config.border_px and not torch.equal(mask, raw)
    attribute = ((scores - 1) ** 2 * att).sum(1).mean()
    expected = 0.5 * attribute + 4 * l1_loss(image, x) + 2 * mask.mean()
    expected += 3 * total_variation(raw) + 5 * total_variation(image - x)
    colours = image - image.mean(1, keepdim=True) - (x - x.mean(1, keepdim=True))
    expected += 6 * colours.abs().mean()
    assert torch.allclose(total, expected)
    assert torch.equal(made.image, image)
    assert parts["mask"].item() == pytest.approx(mask.mean().item())


def test_stargan_losses_by_hand(edit_config: EditConfig) -> None:
    config = edit_config("stargan", lambda_cls=2.0, lambda_rec=3.0)
    assert isinstance(config, StarGANConfig)
    method = stargan.StarGAN(config)
    x, att = torch.rand(2, 3, 32, 32), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    target = att.flip(0)
    total, _ = stargan.generator_loss(method.networks, x, att, target, config)
    with torch.no_grad():
        fake = method.networks["generator"](x, target)
        source, logits = method.networks["discriminator"](fake)
        probability = torch.sigmoid(logits)
        classes = -(target * probability.log() + (1 - target) * (1 - probability).log()).sum() / 2
        expected = -source.mean() + 2 * classes + 3 * l1_loss(method.networks["generator"](fake, att), x)
    assert torch.allclose(total, expected, atol=1e-5)


@pytest.mark.parametrize(("method", "tier"), [("acl-gan", "nano"), ("acl-gan", "stargan"), ("stargan", "stargan")])
def test_run_folder(edit_config: EditConfig, tmp_path: Path, method: str, tier: str) -> None:
    assert train(edit_config(method, tier=tier, steps=5, sample_every=5, attributes="Smiling,Young"))
    run = tmp_path / "run"
    generator, spec = load_generator(run)
    assert (spec.architecture, spec.tier, spec.size.preferred) == (method, tier, (32, 32))
    assert spec.attributes is not None
    assert spec.attributes.names == ("Smiling", "Young")
    assert spec.attributes.complement == (method == "acl-gan")
    assert spec.output.kind == ("segment" if method == "acl-gan" else "image")
    assert spec.frame_border_px == (2 if method == "acl-gan" else 0)
    assert spec.training is not None
    assert (spec.training.data, spec.training.images_seen) == ("faces", 20)
    assert str(tmp_path) not in spec.model_dump_json()
    edited = edit(generator, torch.rand(1, 3, 32, 32), torch.zeros(1, spec.attributes.length), spec.frame_border_px)
    assert edited.image.shape == (1, 3, 32, 32)
    with Image.open(run / "samples" / "step-0000005.png") as grid:
        assert grid.size == (
            3 * 32,
            4 * 9 + 2 + 2 * 32,
        )  # title, captions, two people
        assert np.asarray(grid).std() > 1


def test_hair_colours_are_a_group_of_which_one_holds() -> None:
    config = make_config(ACLGANConfig, NEEDED)
    spec = acl_gan.ACLGAN(config).specs()["generator"][1]
    assert spec.attributes is not None
    assert spec.attributes.groups == (("Black_Hair", "Blond_Hair", "Brown_Hair"),)
    assert not spec.attributes.exactly_one


def test_closed_masks_are_told_with_the_cure(edit_config: EditConfig, caplog: pytest.LogCaptureFixture) -> None:
    config = edit_config(lambda_con=7.0)
    assert isinstance(config, ACLGANConfig)
    method = acl_gan.ACLGAN(config)
    for step in range(1999):
        method.watch(torch.tensor(0.004), step)
    assert "closed" not in caplog.text
    method.watch(torch.tensor(0.004), 1999)
    assert "masks have been closed for 2000 steps" in caplog.text
    assert "--resume with a lower --lambda-con than 7" in caplog.text
    assert method.state_dict() == {"closed": 0, "images": 0}


def test_masks_are_watched_in_training(edit_config: EditConfig) -> None:
    trainer = Trainer(edit_config())
    head = trainer.method.networks["generator"].head
    assert isinstance(head, BalancedHead)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.fill_(-20.0)
    trainer.update(trainer.dataset.preview(1, 32))
    assert trainer.method.state_dict() == {"closed": 1, "images": 0}
    assert trainer._sums["closed_masks"] == 1


def test_open_masks_reset_the_count(edit_config: EditConfig) -> None:
    trainer = Trainer(edit_config())
    trainer.method.load_state_dict({"closed": 1999}, torch.device("cpu"))
    trainer.update(trainer.dataset.preview(1, 32))
    assert trainer.method.state_dict() == {"closed": 0, "images": 0}


def test_labels_reach_the_generator_through_the_judge(edit_config: EditConfig) -> None:
    trainer = Trainer(edit_config())
    trainer.update(trainer.dataset.preview(2, 32))
    condition = trainer.method.networks["generator"].body[0].condition  # type: ignore[index]
    assert condition.weight.abs().sum() > 0  # it starts at zero


@pytest.mark.parametrize("method", ["acl-gan", "stargan"])
def test_a_classifier_measures_for_the_log_and_is_never_moved(
    edit_config: EditConfig, tmp_path: Path, method: str
) -> None:
    judge = edit_config("classifier", out=str(tmp_path / "judge"), steps=2)
    assert isinstance(judge, ClassifierConfig)
    train(judge)
    finish(judge)
    trainer = Trainer(edit_config(method, classifier=str(tmp_path / "judge"), n_critic=1, steps=20))
    weights = snapshot(trainer.method.fixed["classifier"])
    for _ in range(11):
        trainer.update(trainer.dataset.preview(2, 32))
    assert torch.equal(snapshot(trainer.method.fixed["classifier"]), weights)
    names = {"accuracy", "accuracy/Smiling", "accuracy/Young"}
    assert {name for name in trainer._sums if name.startswith("accuracy")} == names
    assert {trainer._counts[name] for name in names} == {1}
    assert trainer._sums["accuracy"] == (trainer._sums["accuracy/Smiling"] + trainer._sums["accuracy/Young"]) / 2


def test_classifier_options(edit_config: EditConfig) -> None:
    config = make_config(ClassifierConfig, NEEDED)
    assert (config.size, config.load_size, config.beta1) == (64, 72, 0.9)


def test_a_lazy_penalty_weighs_as_many_times_more() -> None:
    torch.manual_seed(0)
    config = make_config(ACLGANConfig, {**NEEDED, "loss": "logistic", "penalty_every": 3, "lambda_gp": 2.0})
    discriminator = nn.Sequential(nn.Conv2d(3, 2, 4), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    x, fake = torch.rand(2, 4, 3, 8, 8)
    att = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
    loss = ATTRIBUTE_LOSSES["logistic"]
    due, without = (
        acl_gan.discriminator_loss(discriminator, x, att, fake, att, config, loss, step)[0] for step in (3, 4)
    )
    assert due.item() - without.item() == pytest.approx(6 * active_r1_penalty(discriminator, x, att, fake, att).item())


def test_a_shallow_discriminator_has_fewer_layers() -> None:
    config = make_config(ACLGANConfig, {**NEEDED, "size": 64, "discriminator_width": 8, "discriminator_layers": 4})
    discriminator = acl_gan.ACLGAN(config).networks["discriminator"]
    assert [tuple(parameter.shape) for parameter in discriminator.parameters() if parameter.ndim == 4] == [
        (8, 3, 4, 4),
        (16, 8, 4, 4),
        (32, 16, 4, 4),
        (64, 32, 4, 4),
        (14, 64, 4, 4),
    ]


def test_a_discriminator_of_half_the_size_cannot_see_dots() -> None:
    config = make_config(ACLGANConfig, {**NEEDED, "discriminator_width": 8, "discriminator_size": 64})
    discriminator = acl_gan.ACLGAN(config).networks["discriminator"]
    x = torch.rand(1, 3, 128, 128)
    dots = 0.3 * torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).tile(64, 64)
    torch.testing.assert_close(discriminator(x + dots), discriminator(x))
    with pytest.raises(OptionError, match="discriminator_size 48 does not divide size 128"):
        make_config(ACLGANConfig, {**NEEDED, "discriminator_size": 48})


def test_a_discriminator_with_a_window_sees_dots_there_and_nowhere_else() -> None:
    torch.manual_seed(0)
    options = {"discriminator_width": 8, "discriminator_size": 64, "window": "32,64,48", "shape": "joined"}
    discriminator = acl_gan.ACLGAN(make_config(ACLGANConfig, {**NEEDED, **options})).networks["discriminator"]
    x = torch.rand(1, 3, 128, 128)
    dots = 0.3 * torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).tile(64, 64)
    inside = torch.zeros(128, 128)
    inside[64:112, 32:80] = 1
    torch.testing.assert_close(discriminator(x + dots * (1 - inside)), discriminator(x))
    assert (discriminator(x + dots * inside) - discriminator(x)).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window": "32,64", "shape": "joined"}, "window takes left,top,side in pixels, .* got '32,64'"),
        ({"window": "32,70,64", "shape": "joined"}, "window 32,70,64: its side must be a multiple of 8, at least 32"),
        ({"window": "0,0,32", "shape": "joined", "lambda_shift": 1.0}, "lambda_shift compares edits of pieces"),
        ({"window": "0,0,32"}, "--window belongs to --shape joined"),
        ({"flow": 0.05}, "--flow belongs to --shape joined"),
        ({"targets": "opposite"}, "--targets opposite has no meaning for several classes or hair colours"),
    ],
)
def test_options_of_moving_edits_that_do_not_fit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make_config(ACLGANConfig, {**NEEDED, **changes})


def test_shift_loss_of_an_edit_is_zero_without_a_grid() -> None:
    class Tint(nn.Module):
        def __init__(self, weave: float) -> None:
            super().__init__()
            self.weave = weave

        def forward(self, x: Tensor, att: Tensor) -> tuple[Tensor, Tensor]:
            mask = torch.full_like(x[:, :1], 0.5)
            mask[:, :, ::8] += self.weave
            return x * 0.5 + 0.2, mask

    x, target = torch.rand(2, 3, 64, 64), torch.ones(2, 2)
    for weave, expected in ((0.0, 0.0), (0.4, 0.01)):
        generator = Tint(weave)
        loss = acl_gan.shift_on_some(generator, x, target, edit(generator, x, target, 4).image, 4)
        assert loss.item() == pytest.approx(0, abs=1e-6) if not weave else loss.item() > expected


def test_open_wishes_reach_the_generator_as_a_half_and_no_head() -> None:
    torch.manual_seed(0)
    config = make_config(ACLGANConfig, {**NEEDED, "discriminator_width": 2, "size": 64, "open_share": 0.5})
    method = acl_gan.ACLGAN(config)
    att = torch.randint(2, (64, 7)).float()
    labels, target, active = method._draw(att)
    left_open = target[:, :7] == 0.5
    assert 0.4 < left_open.float().mean() < 0.6
    torch.testing.assert_close(target[:, :7][~left_open], labels[~left_open])
    torch.testing.assert_close(target[:, 7:], 1 - target[:, :7])
    assert active[:, :7][left_open].sum() == active[:, 7:][left_open].sum() == 0
    torch.testing.assert_close(active[:, :7] + active[:, 7:], (~left_open).float())

    all_asked = acl_gan.ACLGAN(make_config(ACLGANConfig, {**NEEDED, "discriminator_width": 2}))._draw(att)
    assert all_asked.active is all_asked.target

    plain = acl_gan.ACLGAN(config.model_copy(update={"complement": False}))
    _, target, active = plain._draw(att)
    assert set(target.unique().tolist()) == {0, 1}  # nothing lies between off and on where absence has no label
    assert torch.all(active <= target)


def test_a_run_starts_from_the_generator_of_another(edit_config: EditConfig, tmp_path: Path) -> None:
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    train(edit_config("acl-gan", out=first, steps=2))
    trainer = Trainer(edit_config("acl-gan", out=second, start_from=first, discriminator_width=6))
    shipped, _ = load_generator(first)
    assert torch.equal(snapshot(trainer.method.networks["generator"]), snapshot(shipped))
    assert torch.equal(snapshot(trainer.averaged["generator"].module), snapshot(shipped))


@pytest.mark.parametrize(
    ("method", "changes", "message"),
    [
        ("acl-gan", {"tier": "mobile"}, "--start-from .*its generator is a nano network .*is mobile"),
        ("acl-gan", {"attributes": "Young,Smiling"}, "its generator takes .*Give the same --attributes"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(
    edit_config: EditConfig, tmp_path: Path, method: str, changes: dict[str, Any], message: str
) -> None:
    first = str(tmp_path / "first")
    train(edit_config("acl-gan", out=first, steps=1))
    with pytest.raises(TrainingError, match=message):
        Trainer(edit_config(method, out=str(tmp_path / "second"), start_from=first, **changes))
