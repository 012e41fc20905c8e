"""A run goes back to a snapshot and on from there, exactly; nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from ganlens.engine.errors import TrainingError
from ganlens.train.checkpoint import load_generator, load_state
from ganlens.train.cli import app
from ganlens.train.config import CycleGANConfig
from ganlens.train.history import read_history
from ganlens.train.loop import Trainer, train
from ganlens.train.rollback import list_snapshots, roll_back

MakeConfig = Callable[..., CycleGANConfig]


def test_back_and_on_again_is_the_same_run(make_config: MakeConfig) -> None:
    config = make_config(steps=4, decay_steps=1, keep_every=2, log_every=1)
    assert train(config)
    run, end = config.run, load_generator(config.run)[1].weights_sha256
    assert [(snapshot.step, snapshot.complete) for snapshot in list_snapshots(run)] == [(2, True), (4, True)]
    assert roll_back(run, 2) == 4
    assert load_state(run)["step"] == 2
    assert load_generator(run)[1].training.steps == 2  # type: ignore[union-attr]
    assert train(config, resume=True)
    assert load_generator(run)[1].weights_sha256 == end
    assert sorted({point.step for point in read_history(run)}) == [1, 2, 3, 4]


def test_what_the_run_was_is_kept_and_the_best_stays_the_best(make_config: MakeConfig) -> None:
    config = make_config(steps=3, decay_steps=1, keep_every=2)
    assert train(config)
    state = load_state(config.run)
    torch.save({**state, "best": (0.5, 3)}, config.run / "state.pt")
    roll_back(config.run, 2)
    assert [snapshot.step for snapshot in list_snapshots(config.run)] == [2, 3]
    assert load_state(config.run)["best"] == (0.5, 3)
    roll_back(config.run, 3)
    assert load_state(config.run)["step"] == 3


def test_command(make_config: MakeConfig) -> None:
    config = make_config(steps=2, keep_every=1)
    assert train(config)
    listed = CliRunner().invoke(app, ["rollback", config.out])
    assert listed.output.split() == ["1", "2"]
    done = CliRunner().invoke(app, ["rollback", config.out, "--to", "1"])
    assert "back from step 2 to 1" in done.output and "--resume" in done.output
    refused = CliRunner().invoke(app, ["rollback", config.out, "--to", "7"])
    assert refused.exit_code == 1 and "no snapshot of step 7. Snapshots: 1, 2." in refused.output


def test_refusals(make_config: MakeConfig, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no run folder"):
        list_snapshots(tmp_path)
    trainer = Trainer(make_config(steps=1, keep_every=1))
    assert trainer.fit()
    (tmp_path / "run" / "snapshots" / "step-0000001" / "state.pt").unlink()
    with pytest.raises(TrainingError, match="generators only.*--start-from"):
        roll_back(tmp_path / "run", 1)
