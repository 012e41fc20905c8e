"""Options of the loop: accumulation, compilation, the estimate, captions, epochs to sample, domain names, trackers."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.utils import is_wandb_available
from PIL import Image
from typer.testing import CliRunner

from ganlens.engine.errors import OptionError, TrainingError
from ganlens.train import loop
from ganlens.train.checkpoint import load_generator, load_state
from ganlens.train.cli import app
from ganlens.train.config import AttributeConfig, CycleGANConfig
from ganlens.train.config import make_config as checked
from ganlens.train.loop import Trainer, train
from ganlens.train.sample_sheet import make_sheet

MakeConfig = Callable[..., CycleGANConfig]


@pytest.mark.parametrize("n_critic", [1, 2])
def test_accumulation_is_one_batch_in_parts(make_config: MakeConfig, tmp_path: Path, n_critic: int) -> None:
    """Without batch norm and picture pools a step in parts is a step."""
    states = []
    for accumulate in (1, 2):
        options = {"batch": 4, "pool": 0, "steps": 2, "n_critic": n_critic, "log_every": 1}
        assert train(make_config(out=str(tmp_path / str(accumulate)), accumulate=accumulate, **options))
        states.append(load_state(tmp_path / str(accumulate)))
    for network, weights in states[0]["networks"].items():
        others = states[1]["networks"][network]
        differences = torch.cat([(value - others[name]).abs().flatten() for name, value in weights.items()])
        assert differences.mean() < 2e-6, network  # where a weight moves by about 4e-4


@pytest.mark.parametrize("method", ["acl-gan", "stargan"])
def test_each_part_keeps_what_its_phases_hand_on(
    edit_config: Callable[..., AttributeConfig], method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The discriminator judges the edits of the pictures that it sees, not those of another part."""
    trainer = Trainer(edit_config(method, accumulate=2, n_critic=1))
    seen: dict[str, list[torch.Tensor]] = {}
    for place, phase in enumerate(trainer.method.phases):

        def loss(batch: Any, step: int, phase: Any = phase) -> Any:
            seen.setdefault(phase.name, []).append(batch[1])
            return phase.loss(batch, step)

        phases = list(trainer.method.phases)
        phases[place] = phase._replace(loss=loss)
        trainer.method.phases = tuple(phases)
    batch = (torch.rand(4, 3, 32, 32), torch.tensor([[1.0, 0], [0, 1], [1, 1], [0, 0]]))
    trainer.update(batch)
    assert all(torch.equal(torch.cat(parts), batch[1]) and len(parts) == 2 for parts in seen.values())
    assert len(seen) == 2


def test_a_batch_that_cannot_be_parted_is_refused(make_config: MakeConfig) -> None:
    with pytest.raises(ValueError, match="accumulate 3 does not divide batch 4"):
        make_config(batch=4, accumulate=3)


def test_compile_reaches_the_generators(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda network: compiled.append(network))
    trainer = Trainer(make_config(compile=True))
    assert compiled == [trainer.method.networks["to_painting"], trainer.method.networks["to_photo"]]


def test_the_estimate_changes_nothing(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="ganlens.train.loop")  # whatever ran before in this process
    found = []
    for name, worth in (("with", 1), ("without", 1000)):
        monkeypatch.setattr(loop, "WORTH_AN_ESTIMATE", worth)
        assert train(make_config(out=str(tmp_path / name), steps=3, decay_steps=1, n_critic=2, norm="bn", batch=2))
        found.append(load_generator(tmp_path / name)[1].weights_sha256)
    assert found[0] == found[1]
    told = [record.getMessage() for record in caplog.records if "on this machine" in record.getMessage()]
    assert len(told) == 1 and "3 steps of" in told[0]


@pytest.mark.parametrize(("seconds", "said"), [(42.4, "42 s"), (600, "10 min"), (9000, "2.5 h")])
def test_span(seconds: float, said: str) -> None:
    assert loop.span(seconds) == said


def test_captions_stand_over_the_columns() -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    sheet = make_sheet([[picture, picture]] * 2, ["photo", "as a painting"], "step 7")
    assert sheet.shape == (3 * 9 + 2 + 128, 128, 3)
    assert (sheet[-128:] == 0).all()
    header = sheet[:-128]
    assert all((part < 128).any() and (part > 128).any() for part in (header[:10], header[10:, :64], header[10:, 64:]))
    assert make_sheet([[picture, picture]]).shape == (64, 128, 3)


def test_epochs_are_sampled_and_domains_have_names(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config(steps=11, sample_epochs="0,2", names="horse, zebra")  # 5 photos: an epoch is 5 steps
    trainer = Trainer(config)
    assert trainer.method.captions() == ["horse", "as zebra", "and back", "zebra", "as horse", "and back"]
    assert trainer.fit()
    assert [path.stem for path in sorted((tmp_path / "run" / "samples").iterdir())] == ["step-0000000", "step-0000010"]


@pytest.mark.parametrize("names", ["horse", "horse,horse", "a,b,c", "a,"])
def test_two_domains_have_two_names(names: str) -> None:
    with pytest.raises(OptionError, match="names takes two different words"):
        checked(CycleGANConfig, {"photos": "a", "paintings": "b", "out": "c", "names": names})


def test_folders_may_be_called_source_and_target(folders: tuple[Path, Path], tmp_path: Path) -> None:
    small = [
        "--tier",
        "nano",
        "--size",
        "32",
        "--load-size",
        "36",
        "--steps",
        "1",
        "--discriminator-width",
        "8",
        "--samples",
        "1",
    ]
    places = ["--source", str(folders[0]), "--target", str(folders[1]), "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(app, ["cyclegan", *places, *small])
    assert done.exit_code == 0, done.output
    with Image.open(tmp_path / "run" / "samples" / "step-0000001.png") as grid:
        assert grid.width == 6 * 32


WANDB = '''
"""Writes down what it is told."""
import json, os
def log(*what):
    with open(os.environ["TOLD"], "a") as file:
        file.write(json.dumps(what) + "\\\\n")
class Config(dict):
    def update(self, values, **options):
        log("config", values.get("tier"))
class Run:
    config = Config()
    def log(self, values, step=None, **options):
        log("log", sorted(values), step)
    def finish(self):
        log("finish")
config = Config()
def init(project=None, **options):
    log("init", project, options.get("name"))
    return Run()
'''


def test_a_tracker_is_told(make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrainingError, match=r"needs the package wandb. Install it: pip install 'ganlens\[wandb\]'"):
        monkeypatch.setattr(loop, "find_spec", lambda name: None)
        Trainer(make_config(track="wandb"))
    monkeypatch.undo()
    if not is_wandb_available():
        pytest.skip("accelerate knows no tracker here: the package wandb is not installed")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "wandb.py").write_text(WANDB.replace("\\\\", "\\"))
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    monkeypatch.setenv("TOLD", str(tmp_path / "told"))
    try:
        assert train(make_config(track="wandb", steps=2))
    finally:
        sys.modules.pop("wandb", None)
    told = (tmp_path / "told").read_text().splitlines()
    assert told[0] == '["init", "ganlens", "run"]' and '["config", "nano"]' in told
    assert any("generator/total" in line and line.endswith(", 2]") for line in told) and told[-1] == '["finish"]'
