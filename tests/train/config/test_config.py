"""The configuration file goes there and back; wrong options are named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from ganlens.engine.errors import OptionError, TrainingError
from ganlens.train.cli import app
from ganlens.train.config import CycleGANConfig, StarGANConfig, load_config, make_config, read_values, save_config
from ganlens.train.methods import METHODS
from ganlens.train.methods.stargan import discriminator_loss
from ganlens.train.networks import StarGANDiscriminator

NEEDED = {"photos": "a", "paintings": "b", "out": "c"}


def test_round_trip(make_config: Callable[..., CycleGANConfig], tmp_path: Path) -> None:
    config = make_config(lambda_cyc=4.5, norm="none")
    path = save_config(config, tmp_path)
    assert load_config(path) == load_config(tmp_path) == config
    assert list(tmp_path.glob("config*")) == [path]


def test_published_defaults() -> None:
    config = make_config(CycleGANConfig, NEEDED)
    assert (config.epochs, config.decay_epochs, config.batch, config.pool) == (100, 100, 1, 50)
    assert (config.learning_rate, config.beta1) == (2e-4, 0.5)
    assert (config.lambda_cyc, config.lambda_identity) == (10, 0.5)
    assert (config.size, config.resize_px, config.discriminator_width) == (256, 286, 64)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 100}, "size must be a multiple of 8, got 100"),
        ({"size": 128, "load_size": 100}, "load_size 100 is smaller than the crop"),
        ({"steps": 5, "decay_steps": 6}, "decay_steps 6 is more than steps 5"),
        ({"batch": 0}, "--batch: got 0, expected more than 0"),
        ({"painting_zoom": float("inf")}, "--painting-zoom: got inf, expected a finite number"),
        ({"learning_rate": float("nan")}, "--learning-rate: got nan, expected a finite number"),
        ({"batch": 10**20}, "--batch: .* expected 65536 or less"),
        ({"size": 10**20}, "--size: .* expected 16384 or less"),
        ({"load_size": 10**20}, "--load-size: .* expected 16384 or less"),
        ({"epochs": 10**20}, "--epochs: .* expected 1000000000 or less"),
        ({"workers": 100_000}, "--workers: got 100000, expected 256 or less"),
        ({"threads": 100_000}, "--threads: got 100000, expected 1024 or less"),
        ({"tier": "tiny"}, "--tier: got tiny, expected one of 'nano', "),
        ({"lambda_cyc": -1}, "--lambda-cyc: .*got -1"),
        ({"lamda_cyc": 1}, "Unknown option 'lamda_cyc'. Did you mean lambda_cyc"),
        ({"ema": 1.0}, "--ema"),
    ],
)
def test_wrong_values_name_the_option(changes: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make_config(CycleGANConfig, {**NEEDED, **changes})


def test_missing_option_is_explained() -> None:
    with pytest.raises(OptionError, match="--paintings is needed: Folder"):
        make_config(CycleGANConfig, {"photos": "a", "out": "c"})


def test_every_option_is_explained() -> None:
    for kind in (entry.config for entry in METHODS.values()):
        assert [name for name, field in kind.model_fields.items() if name != "method" and not field.description] == []


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no configuration file"):
        read_values(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(TrainingError, match="cannot be read as a configuration"):
        read_values(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(TrainingError, match="expected one JSON object"):
        read_values(tmp_path)
    (tmp_path / "config.json").write_text('{"method": "cyclgan"}')
    with pytest.raises(TrainingError, match="Did you mean cyclegan"):
        load_config(tmp_path)


UNPAIRED = {"photos": "a", "paintings": "b", "out": "run"}
FACES = {"data": "faces", "out": "run"}


@pytest.mark.parametrize(
    ("method", "values", "message"),
    [
        ("acl-gan", {"tier": "stargan", "norm": "bn"}, "--norm has no effect with --tier stargan"),
        ("acl-gan", {"tier": "growing", "activation": "leaky"}, "--activation has no effect with --tier growing"),
        ("acl-gan", {"tier": "growing", "discriminator_layers": 4}, "--discriminator-layers has no effect"),
        ("acl-gan", {"generator_width": 32}, "--generator-width belongs to --tier stargan and growing, not to mobile"),
        ("acl-gan", {"fade_images": 5}, "--fade-images belongs to --tier growing"),
        ("acl-gan", {"lambda_gp": 3.0}, "--lambda-gp has no effect without a gradient penalty"),
        ("acl-gan", {"penalty_every": 4}, "--penalty-every has no effect without a gradient penalty"),
        ("cyclegan", {"semantic_layer": "relu2_2"}, "--semantic-layer belongs to --variant semantic and hybrid"),
        ("cyclegan", {"vgg": "weights"}, "--vgg has no effect without"),
        ("cyclegan", {"vgg_scaling": "torchvision"}, "--vgg-scaling has no effect without --vgg"),
        ("dcgan", {"norm": "bn"}, "--norm has no effect with dcgan"),
        ("dcgan", {"attributes": "Male"}, "--attributes belongs to --loss cgan and attribute, not to gan"),
        ("dcgan", {"loss": "wgan", "margin": 2.0}, "--margin belongs to --loss ebgan, not to wgan"),
        ("classifier", {"activation": "leaky"}, "--activation has no effect with classifier"),
        ("classifier", {"labels": "faces", "attributes": "Male"}, "--attributes has no effect with --labels"),
        ("psc-gan", {"tier": "nano"}, "--tier has no effect with psc-gan"),
        ("psc-gan", {"stage": "1", "map_init": "random"}, "--map-init belongs to stage 2"),
        ("psc-gan", {"baseline": "vanilla", "rec": "l1"}, "--rec belongs to stage 1"),
        ("psc-gan", {"baseline": "concat", "lambda_2": 3.0}, "--lambda-2 belongs to --baseline psc, not to concat"),
    ],
)
def test_an_option_without_effect_is_refused(method: str, values: dict[str, Any], message: str) -> None:
    needed = UNPAIRED if method == "cyclegan" else FACES
    make_config(METHODS[method].config, needed)
    with pytest.raises(OptionError, match=message):
        make_config(METHODS[method].config, {**needed, **values})


def test_options_that_the_method_does_not_know_are_not_shown() -> None:
    text = CliRunner().invoke(app, ["psc-gan", "--help"]).output
    assert "--tier" not in text and "--lambda-1" in text


def test_a_weight_of_0_is_0(tmp_path: Path) -> None:
    config = make_config(StarGANConfig, {**FACES, "lambda_gp": 0.0, "out": str(tmp_path)})
    x, att = torch.rand(2, 3, 32, 32), torch.zeros(2, 7)
    judge = StarGANDiscriminator(32, 7, 2)
    total, parts = discriminator_loss(judge, x, att, x, config)
    assert total.item() == pytest.approx((parts["judge"] + parts["judge_class"]).item())
    published = make_config(StarGANConfig, FACES)
    total, parts = discriminator_loss(judge, x, att, x, published)
    assert total.item() == pytest.approx((parts["judge"] + parts["judge_class"] + 10 * parts["penalty"]).item())
    save_config(config, tmp_path)
    assert load_config(tmp_path) == config
    old = json.loads((tmp_path / "config.json").read_text())
    del old["format"]  # as written before; 0 was the word for the published weight
    (tmp_path / "config.json").write_text(json.dumps(old))
    assert load_config(tmp_path).lambda_gp == -1  # type: ignore[attr-defined]
