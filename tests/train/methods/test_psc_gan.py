"""PSC-GAN: sizes of its networks, its losses by hand, who moves in which stage, what stage 2 takes and refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from ganlens.engine.errors import OptionError, TrainingError
from ganlens.train.checkpoint import load_generator, load_state
from ganlens.train.config import PSCGANConfig, make_config
from ganlens.train.loop import Trainer, train
from ganlens.train.losses import score_loss
from ganlens.train.methods.psc_gan import PSCGAN, label_loss
from ganlens.train.networks.latent_map import CodeMoments, fit_map
from ganlens.train.networks.psc_gan import (
    CodeClassifier,
    Decoder,
    Discriminator,
    Encoder,
    FaceAsLabelled,
    LabelledGenerator,
    one_per_group,
)
from tests.kit.interrupt import interrupt_after

Make = Callable[..., PSCGANConfig]

LAYOUT = {
    "groups": [
        {
            "name": "mouth",
            "rule": "first_match",
            "values": [{"name": "smiling", "any_of": ["Smiling"]}, {"name": "calm"}],
        },
        {"name": "age", "rule": "first_match", "values": [{"name": "young", "any_of": ["Young"]}, {"name": "old"}]},
    ],
    "conditions": {"c1": ["smiling", "old"]},
}


@pytest.fixture
def make(faces: Path, tmp_path: Path) -> Make:
    """A 64 px run of two stages that trains in a second; options can be changed."""
    layout = tmp_path / "layout.json"
    layout.write_text(json.dumps(LAYOUT))

    def config(**changes: Any) -> PSCGANConfig:
        values: dict[str, Any] = {"data": str(faces), "out": str(tmp_path / "run"), "labels": str(layout), "size": 64}
        values |= {
            "holdout": 3,
            "width": 2,
            "latent": 5,
            "batch": 4,
            "sample_every": 0,
            "log_every": 2,
            "samples": 2,
        }
        stage, vanilla = changes.get("stage", "both"), changes.get("baseline") == "vanilla"
        if stage != "2" and not vanilla:
            values["stage1_steps"] = 3
        if stage != "1":
            values |= {"steps": 3, "map_init": "random"}
        return PSCGANConfig(**{**values, **changes})

    return config


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def snapshot(network: nn.Module) -> Tensor:
    return torch.cat([value.detach().flatten().float() for value in network.state_dict().values()]).clone()


# --- networks ---------------------------------------------------------------------------------------------------------


def test_parameters_at_256_px_are_the_table_s() -> None:
    networks = [Encoder(256), Decoder(256), CodeClassifier(12), LabelledGenerator(256, 12).map, Discriminator(256)]
    assert [round(count(network) / 1e6, 2 if count(network) < 1e6 else 1) for network in networks] == [
        16.1,
        15.4,
        0.13,
        0.06,
        11.2,
    ]


@pytest.mark.parametrize("size", [64, 128, 256])
def test_each_size_follows_the_same_rule(size: int) -> None:
    x = torch.rand(2, 3, size, size) * 2 - 1
    code = Encoder(size, 2)(x)
    assert code.shape == (2, 16)
    y = Decoder(size, 2)(code)
    assert y.shape == x.shape
    assert y.abs().max() <= 1
    assert Discriminator(size, 2)(x).shape == (2,)
    assert Discriminator(size, 2, labels=3)(x, torch.ones(2, 3)).shape == (2,)


def test_a_layer_has_a_bias_unless_a_norm_follows() -> None:
    encoder, decoder = Encoder(64, 2), Decoder(64, 2)
    for network in (encoder, decoder):
        modules = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)]
        chained = [m for m in modules if not any(m is p for p in network.projections)]  # these are bias-free 1x1
        normed = {
            id(a)
            for part in network.modules()
            if isinstance(part, nn.Sequential)
            for a, b in pairwise(part)
            if isinstance(b, nn.BatchNorm2d)
        }
        if isinstance(network, Decoder):
            normed.add(id(network.stem))  # unflattened in between
        assert [m.bias is None for m in chained] == [id(m) in normed for m in chained]
    assert encoder.layers[0][0].bias is not None
    assert decoder.stem.bias is None


def test_other_sizes_are_refused() -> None:
    with pytest.raises(TrainingError, match="made for 64, 128, 256 px, got 96"):
        Encoder(96)


def test_every_layer_is_added_to_the_last_map() -> None:
    decoder = Decoder(64, 2)
    h = torch.rand(2, 16, requires_grad=True)
    for layer in decoder.layers:  # what remains is the way from the first map through its projection
        nn.init.zeros_(layer[0].weight)
    decoder(h).sum().backward()
    assert h.grad is not None
    assert h.grad.abs().sum() > 0


def test_the_last_map_is_the_sum_of_projected_and_resized_maps() -> None:
    encoder = Encoder(64, 2).eval()
    x = torch.rand(1, 3, 64, 64)
    maps, h = [], x
    for layer in encoder.layers:
        h = layer(h)
        maps.append(h)
    total = maps[-1]
    for project, small in zip(encoder.projections, maps[:-1], strict=True):
        total = total + nn.functional.adaptive_avg_pool2d(project(small), 4)
    torch.testing.assert_close(encoder(x), encoder.head(total.flatten(1)))


def test_one_per_group() -> None:
    logits = torch.tensor([[0.1, 0.3, -5.0, -4.0, -6.0]])
    assert one_per_group(logits, (slice(0, 2), slice(2, 5))).tolist() == [[0, 1, 0, 1, 0]]


# --- losses -----------------------------------------------------------------------------------------------------------


def test_label_loss_is_formula_2() -> None:
    logits, labels = torch.tensor([[0.3, -1.2], [2.0, 0.5]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    e = torch.exp(-logits)
    by_hand = -(labels * torch.log(1 / (1 + e)) + (1 - labels) * torch.log(e / (1 + e)))
    torch.testing.assert_close(label_loss(logits, labels), by_hand.mean(dim=1).mean())


def test_stage_1_is_reconstruction_plus_weighted_classification(make: Make) -> None:
    for rec, power in (("mse", 2), ("l1", 1)):
        trainer = Trainer(make(stage="1", rec=rec, lambda_1=0.5, out=f"{make().out}-{rec}"))
        batch = trainer.dataset.preview(2, 64)
        total, parts = trainer.method.phases[0].loss(batch, 0)
        generator, encoder = trainer.method.networks["generator"], trainer.method.networks["encoder"]
        assert isinstance(generator, LabelledGenerator)
        expected = (generator.decoder(encoder(batch[0])) - batch[0]).abs().pow(power).mean()
        torch.testing.assert_close(parts["rec"], expected)
        torch.testing.assert_close(total, parts["rec"] + 0.5 * parts["cls"])


def test_stage_2_is_adversarial_plus_weighted_condition(make: Make) -> None:
    trainer = Trainer(make(lambda_2=0.25))
    trainer.method.start_step(3, 12)
    total, parts = trainer.method.phases[1].loss(trainer.dataset.preview(2, 64), 3)
    torch.testing.assert_close(total, parts["adv"] + 0.25 * parts["cond"])


# --- stages -----------------------------------------------------------------------------------------------------------


def test_who_moves_in_which_stage(make: Make) -> None:
    trainer = Trainer(make())
    networks = trainer.method.networks
    generator = networks["generator"]
    assert isinstance(generator, LabelledGenerator)
    batch = trainer.dataset.preview(2, 64)
    watched = {**networks, "map": generator.map, "decoder": generator.decoder}
    del watched["generator"]
    for stage_1 in (True, True, True, False, False):
        before = {name: snapshot(network) for name, network in watched.items()}
        trainer.update(batch)
        moved = {name for name, network in watched.items() if not torch.equal(snapshot(network), before[name])}
        assert moved == ({"encoder", "classifier", "decoder"} if stage_1 else {"map", "decoder", "discriminator"})
    assert not networks["encoder"].training  # eval mode: also the running statistics stood still above


def test_gradients_reach_the_generator_through_the_frozen_encoder(make: Make) -> None:
    trainer = Trainer(make())
    trainer.method.start_step(3, 12)
    method = trainer.method
    assert isinstance(method, PSCGAN)
    for network in (method.networks["encoder"], method.networks["classifier"]):
        network.requires_grad_(False)
    _, parts = method.phases[1].loss(trainer.dataset.preview(2, 64), 3)
    parts["cond"].backward()
    weight = method.networks["generator"].map.weight
    assert weight.grad is not None
    assert weight.grad.abs().sum() > 0


def test_averages_start_anew_with_stage_2(make: Make) -> None:
    trainer = Trainer(make(ema=0.9, map_init="codes"))
    batch = trainer.dataset.preview(4, 64)
    for _ in range(3):
        trainer.update(batch)
    old = snapshot(trainer.averaged["generator"].module)
    trainer.update(batch)
    averaged, live = snapshot(trainer.averaged["generator"].module), snapshot(trainer.method.networks["generator"])
    assert torch.equal(averaged, live)
    assert not torch.equal(averaged, old)


@pytest.mark.parametrize("stop", [2, 3, 4])
def test_resume_is_exact_in_and_between_the_stages(make: Make, tmp_path: Path, stop: int) -> None:
    assert train(make(out=str(tmp_path / "whole"), map_init="codes"))
    stopped = Trainer(make(out=str(tmp_path / "parts"), map_init="codes"))
    interrupt_after(stopped, stop)
    assert not stopped.fit()
    assert train(make(out=str(tmp_path / "parts"), map_init="codes"), resume=True)
    one, other = (load_state(tmp_path / name) for name in ("whole", "parts"))
    assert one["step"] == other["step"] == 6
    for part in ("networks", "averaged"):
        for name, network in one[part].items():
            assert all(torch.equal(value, other[part][name][key]) for key, value in network.items())


def test_two_runs_give_the_same_start_as_one(make: Make, tmp_path: Path) -> None:
    first = str(tmp_path / "first")
    assert train(make(stage="1", out=first))
    assert not (tmp_path / "first" / "generator.safetensors").exists()  # an autoencoder generates nothing
    trainer = Trainer(make(stage="2", stage1=first, map_init="codes"))
    saved = load_state(Path(first))["networks"]
    for name in ("encoder", "classifier"):
        network = trainer.method.networks[name].state_dict()
        assert all(torch.equal(value, network[key]) for key, value in saved[name].items())
    decoder = trainer.method.networks["generator"].state_dict()
    assert all(torch.equal(v, decoder[k]) for k, v in saved["generator"].items() if k.startswith("decoder."))
    assert trainer.fit()
    assert load_generator(trainer.config.run)[1].training.steps == 3


def test_lengths_of_both_stages(make: Make) -> None:
    per_epoch = 8 // 4
    schedule = Trainer(make(stage1_steps=0, stage1_epochs=2, steps=0, epochs=3, decay_epochs=1)).schedule
    assert schedule.steps_per_epoch == per_epoch
    assert (schedule.first_stage, schedule.steps) == (2 * per_epoch, (2 + 3 + 1) * per_epoch)
    assert [schedule.factor(step) for step in (0, 5 * per_epoch - 1)] == [1, 1]
    assert 0 < schedule.factor(schedule.steps - 1) < 1
    assert make_config(PSCGANConfig, {"data": "d", "out": "o"}).epochs == 30
    assert make_config(PSCGANConfig, {"data": "d", "out": "o"}).stage1_epochs == 50


# --- other adversarial losses -----------------------------------------------------------------------------------------


def test_every_loss_that_scores_plays_stage_2(make: Make) -> None:
    for name in ("gan", "lsgan"):
        trainer = Trainer(make(loss=name, out=f"{make().out}-{name}"))
        trainer.method.start_step(3, 12)
        batch = trainer.dataset.preview(2, 64)
        _, parts = trainer.method.phases[1].loss(batch, 3)
        with torch.no_grad():
            total, _ = trainer.method.phases[2].loss(batch, 3)
        expected = score_loss(name)
        assert isinstance(trainer.method, PSCGAN)
        assert type(trainer.method.loss) is type(expected)
        assert total > 0
        assert parts["adv"] > 0


def test_wgan_gp_takes_five_discriminator_steps_and_no_batch_norm(make: Make) -> None:
    trainer = Trainer(make(loss="wgan-gp", baseline="vanilla", stage="2", steps=20))
    batch = trainer.dataset.preview(4, 64)
    moved = []
    for _ in range(10):
        before = snapshot(trainer.method.networks["generator"].map)
        trainer.update(batch)
        moved.append(not torch.equal(snapshot(trainer.method.networks["generator"].map), before))
    assert moved == [False] * 4 + [True] + [False] * 4 + [True]
    judge = trainer.method.networks["discriminator"]
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in judge.modules())
    assert any(isinstance(layer, nn.InstanceNorm2d) for layer in judge.modules())
    _, parts = trainer.method.phases[2].loss(batch, 10)
    assert parts["penalty"] > 0


@pytest.mark.parametrize(
    ("name", "reason"), [("cgan", "--baseline cgan_d is that"), ("ebgan", "a critic that outputs scores")]
)
def test_losses_that_make_no_sense_are_refused_with_the_reason(make: Make, name: str, reason: str) -> None:
    with pytest.raises(OptionError, match=f"--loss {name} does not fit.*{reason}"):
        Trainer(make(loss=name))


# --- baselines --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("baseline", ["vanilla", "pretrained", "concat", "cgan_d"])
def test_baselines_are_the_method_with_parts_taken_away(make: Make, baseline: str) -> None:
    trainer = Trainer(make(baseline=baseline))
    batch = trainer.dataset.preview(2, 64)
    decoder = snapshot(trainer.method.networks["generator"].decoder)
    for _ in range(trainer.schedule.first_stage):
        trainer.update(batch)
    trained = not torch.equal(snapshot(trainer.method.networks["generator"].decoder), decoder)
    assert trained == (baseline != "vanilla")
    trainer.update(batch)
    trainer.config.run.mkdir()
    trainer.save()
    generator, spec = load_generator(trainer.config.run)
    labelled = baseline in ("concat", "cgan_d")
    assert (spec.attributes is not None) == labelled
    assert not (trainer.config.run / "translator.safetensors").exists()
    arguments = (torch.randn(2, 5), torch.eye(4)[:2]) if labelled else (torch.randn(2, 5),)
    assert generator(*arguments).shape == (2, 3, 64, 64)
    _, parts = trainer.method.phases[1].loss(batch, trainer.step)
    assert "cond" not in parts


# --- files ------------------------------------------------------------------------------------------------------------


def test_records_of_generator_and_translator(make: Make) -> None:
    config = make(sample_every=3)
    assert train(config)
    generator, spec = load_generator(config.run)
    assert isinstance(generator, LabelledGenerator)
    assert spec.image is None
    assert spec.latent is not None
    assert spec.latent.dim == 5
    assert spec.attributes is not None
    assert spec.attributes.groups == (("smiling", "calm"), ("young", "old"))
    assert spec.attributes.exactly_one
    assert sum(row.count for row in spec.attributes.combinations) == 8
    assert spec.size.fixed == (64, 64)
    translator, other = load_generator(config.run / "translator.safetensors")
    assert isinstance(translator, FaceAsLabelled)
    assert other.image is not None
    assert other.latent is None
    assert other.attributes == spec.attributes
    labels = torch.tensor([[1.0, 0, 1, 0]])
    with torch.no_grad():
        assert translator(torch.rand(1, 3, 64, 64), labels).shape == (1, 3, 64, 64)
        assert generator(torch.randn(1, 5), labels).shape == (1, 3, 64, 64)
    grid = np.asarray(Image.open(config.run / "samples" / "step-0000006.png"))
    assert grid[-128:].shape == (2 * 64, 4 * 64, 3)  # noise as c1; the face, as it is labelled, as c1


def test_a_code_that_the_generator_knows_is_found_again() -> None:
    torch.manual_seed(0)
    encoder, classifier, generator = Encoder(64, 4), CodeClassifier(4, 4), LabelledGenerator(64, 4, 6, 4)
    nn.init.normal_(generator.map.weight)
    z, labels = torch.randn(3, 6), torch.tensor([[1.0, 0, 1, 0], [0, 1, 1, 0], [1, 0, 0, 1]])
    code = generator.code(z, labels)
    encoder.forward = lambda x: code  # type: ignore[method-assign]
    classifier.forward = lambda h: labels  # type: ignore[method-assign]
    face = FaceAsLabelled.of(encoder, classifier, generator, [2, 2]).eval()
    wished = labels.roll(1, dims=0)
    with torch.no_grad():
        torch.testing.assert_close(face(torch.zeros(3, 3, 64, 64), wished), generator(z, wished), atol=1e-4, rtol=1e-4)


def test_the_fitted_map_gives_codes_like_the_encoder_s() -> None:
    torch.manual_seed(0)
    labels = torch.eye(3)[torch.randint(0, 3, (4000,))]
    mixing, shift = torch.randn(6, 8), torch.randn(3, 8)
    codes = torch.randn(4000, 6) @ mixing + labels @ shift + 5
    moments = CodeMoments(3, 8)
    moments.add(codes, labels)
    linear = nn.Linear(6 + 3, 8)
    fit_map(linear, moments, 6)
    with torch.no_grad():
        made = linear(torch.cat([torch.randn(4000, 6), labels], dim=1))
    for label in range(3):
        chosen = labels[:, label] == 1
        torch.testing.assert_close(made[chosen].mean(0), codes[chosen].mean(0), atol=0.5, rtol=0)
    torch.testing.assert_close(torch.cov(made.T), torch.cov(codes.T), atol=1.5, rtol=0.1)


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stage": "2"}, "give its run folder with --stage1"),
        ({"stage1": "run"}, "belongs to --stage 2"),
        ({"stage": "1", "baseline": "vanilla"}, "vanilla has no stage 1"),
        ({"size": 96}, "size must be 64, 128 or 256, got 96"),
        ({"stage": "3"}, "--stage: .*'both'"),
        ({"steps": 5, "decay_steps": 6}, "decay_steps 6 is more than steps 5"),
    ],
)
def test_options_that_do_not_fit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make_config(PSCGANConfig, {"data": "d", "out": "o", **changes})


def test_stage_2_refuses_what_is_not_its_stage_1(make: Make, tmp_path: Path, faces: Path) -> None:
    first = str(tmp_path / "first")
    assert train(make(stage="1", out=first))
    with pytest.raises(TrainingError, match="is for 64 px with --width 2, this run is for 128 px"):
        Trainer(make(stage="2", stage1=first, size=128))
    other = {**LAYOUT, "groups": LAYOUT["groups"][:1], "conditions": {}}
    (tmp_path / "other.json").write_text(json.dumps(other))
    with pytest.raises(
        TrainingError, match="has the labels smiling, calm, young, old; now --labels gives smiling, calm"
    ):
        Trainer(make(stage="2", stage1=first, labels=str(tmp_path / "other.json")))
    with pytest.raises(TrainingError, match="There is no configuration file"):
        Trainer(make(stage="2", stage1=str(tmp_path / "nowhere")))
    both = make(out=str(tmp_path / "both"))
    assert train(both)
    with pytest.raises(TrainingError, match="continued with stage 2"):
        Trainer(make(stage="2", stage1=both.out))


def test_a_value_that_no_picture_has_stops_the_run(make: Make, faces: Path) -> None:
    table = faces / "attributes.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0], *(f"{line.split(',')[0]},0,1" for line in lines[1:])]) + "\n")
    with pytest.raises(TrainingError, match="Group mouth: none of 8 training pictures is smiling"):
        Trainer(make())


def test_a_random_map_stays_as_initialised(make: Make) -> None:
    for how in ("codes", "random"):
        trainer = Trainer(make(map_init=how))
        generator = trainer.method.networks["generator"]
        assert isinstance(generator, LabelledGenerator)
        before = snapshot(generator.map)
        batch = trainer.dataset.preview(4, 64)
        for _ in range(3):
            trainer.update(batch)
        trainer.method.start_step(3, 12)
        assert torch.equal(snapshot(generator.map), before) == (how == "random")


def test_formula_4_as_printed_is_an_option(make: Make) -> None:
    scores = torch.tensor([-2.0, 3.0])
    printed, usual = PSCGAN(make(minimax=True)).loss, PSCGAN(make()).loss
    assert printed.generator(scores) == pytest.approx(float(torch.log(1 - scores.sigmoid()).mean()), rel=1e-5)
    assert usual.generator(scores) == pytest.approx(float(-torch.log(scores.sigmoid()).mean()), rel=1e-5)
    with pytest.raises(ValueError, match="--minimax belongs to --loss gan"):
        make(minimax=True, loss="lsgan")
