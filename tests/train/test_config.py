"""The configuration file goes there and back; wrong options are named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ganlens.engine.errors import OptionError, TrainingError
from ganlens.train.config import CONFIGS, CycleGANConfig, load_config, make_config, read_values, save_config

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
        ({"batch": 0}, "--batch: .*greater than 0, got 0"),
        ({"tier": "tiny"}, "--tier: .*'nano'.*got 'tiny'"),
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
    for kind in CONFIGS.values():
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
