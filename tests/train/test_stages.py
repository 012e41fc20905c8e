"""A recipe in stages: each run starts from the one before, keeps its pairs, and stops and goes on at any place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from ganlens.engine.errors import OptionError, TrainingError
from ganlens.train import loop
from ganlens.train.checkpoint import load_generator, load_state
from ganlens.train.cli import app, merge
from ganlens.train.config import PairedConfig, earlier_runs, load_config, make_config, read_values
from ganlens.train.loop import Trainer, train

RECIPE = """
method = "paired"
teacher = "filter:comic"
size = 32
tier = "nano"
sample_every = 0
varied = 0
samples = 2

[[stage]]
steps = 2

[[stage]]
steps = 3
learning_rate = 1e-4

[[stage]]
steps = 1
teacher = "filter:pencil"
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "style.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def config(folders: tuple[Path, Path], recipe: Path, tmp_path: Path) -> Callable[..., PairedConfig]:
    def make(**options: Any) -> PairedConfig:
        values = {"photos": str(folders[0]), "out": str(tmp_path / "run"), **options}
        return merge(PairedConfig, values, config_file=recipe)

    return make


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_generator(folder)[0].state_dict()


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, second[name]) for name, value in first.items())


def test_what_is_outside_of_the_tables_holds_for_all_and_the_last_stage_is_the_run(config: Any, tmp_path: Path) -> None:
    run = config()
    runs = [*earlier_runs(run), run]
    assert [stage.steps for stage in runs] == [2, 3, 1]
    assert [stage.teacher for stage in runs] == ["filter:comic", "filter:comic", "filter:pencil"]
    assert [stage.learning_rate for stage in runs] == [2e-3, 1e-4, 2e-3]
    assert {stage.tier for stage in runs} == {"nano"}
    assert [stage.out for stage in runs] == [str(tmp_path / "run" / part) for part in ("stages/1", "stages/2", "")]


def test_options_on_the_command_line_hold_for_all_stages(config: Any) -> None:
    run = config(steps=7, start_from="comic")
    first, second = earlier_runs(run)
    assert (first.steps, second.steps, run.steps) == (7, 7, 7)
    assert first.start_from == "comic"
    assert second.start_from == first.out


def test_one_table_is_a_run_without_stages(tmp_path: Path) -> None:
    (tmp_path / "one.toml").write_text('method = "paired"\n[[stage]]\nsteps = 2\n')
    assert read_values(tmp_path / "one.toml") == {"method": "paired", "steps": 2}


@pytest.mark.parametrize("text", ["stage = []", "[stage]\nsteps = 2"])
def test_a_stage_that_is_no_table_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "wrong.toml").write_text(text)
    with pytest.raises(TrainingError, match=r"expected one table for each stage, headed \[\[stage\]\]"):
        read_values(tmp_path / "wrong.toml")


def test_a_wrong_value_of_an_early_stage_is_refused_before_anything_is_made(
    folders: tuple[Path, Path], recipe: Path, tmp_path: Path
) -> None:
    recipe.write_text(RECIPE.replace("steps = 3", "stepps = 3"))
    with pytest.raises(OptionError, match="Stage 2 of 3: Unknown option 'stepps'. Did you mean steps"):
        merge(PairedConfig, {"photos": str(folders[0]), "out": str(tmp_path / "run")}, config_file=recipe)
    assert not (tmp_path / "run").exists()


def test_stages_run_one_after_the_other(config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[tuple[str, dict[str, torch.Tensor]]] = []
    fit = Trainer.fit

    def told(self: Trainer) -> bool:
        begun.append(
            (self.config.start_from, {k: v.clone() for k, v in self.method.networks["generator"].state_dict().items()})
        )
        return fit(self)

    monkeypatch.setattr(Trainer, "fit", told)
    assert train(config())
    run = tmp_path / "run"
    first, second = run / "stages" / "1", run / "stages" / "2"
    assert [start for start, _ in begun] == ["", str(first), str(second)]
    assert same(begun[1][1], weights(first))
    assert same(begun[2][1], weights(second))
    assert [load_state(folder)["step"] for folder in (first, second, run)] == [2, 3, 1]
    assert load_generator(run)[1].training.steps == 1
    # The teacher of the second stage is that of the first: its answers are not made again. The third one's is another.
    assert (first / "pairs/answers.npy").stat().st_ino == (second / "pairs/answers.npy").stat().st_ino
    assert (second / "pairs/answers.npy").read_bytes() != (run / "pairs/answers.npy").read_bytes()
    assert load_config(run).stages == config().stages


@pytest.mark.parametrize("at", [(1, 1), (1, 2), (2, 1), (3, 0)], ids=["in 1", "after 1", "in 2", "before 3"])
def test_a_stopped_run_goes_on_to_the_same_end(
    config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: tuple[int, int]
) -> None:
    assert train(config(out=str(tmp_path / "whole")))
    stage, step = at
    folder = tmp_path / "run" / ("" if stage == 3 else f"stages/{stage}")
    stop_there(monkeypatch, folder, step)
    with pytest.raises(KeyboardInterrupt):
        train(config())
    monkeypatch.undo()
    run = tmp_path / "run"
    with pytest.raises(TrainingError, match="holds a run. Continue it with --resume"):
        train(config())
    result = CliRunner().invoke(app, ["paired", "--out", str(run), "--resume"])
    assert result.exit_code == 0, result.output
    assert same(weights(run), weights(tmp_path / "whole"))


def stop_there(monkeypatch: pytest.MonkeyPatch, folder: Path, step: int) -> None:
    """The signal in the run of ``folder``, right after the checkpoint of ``step``; 0: before the run begins."""
    if step == 0:
        make = loop.method_of

        def stop(config: PairedConfig) -> Any:
            if config.run == folder:
                raise KeyboardInterrupt
            return make(config)

        monkeypatch.setattr(loop, "method_of", stop)
        return
    update = Trainer.update

    def updated(self: Trainer, batch: Any) -> None:
        update(self, batch)
        if self.config.run == folder and self.step == step:
            self.save()
            raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "update", updated)


def test_a_larger_number_of_steps_goes_on_in_the_last_stage_only(config: Any, tmp_path: Path) -> None:
    assert train(config())
    run = tmp_path / "run"
    with pytest.raises(TrainingError, match="is finished: 1 of 1 steps. Give a larger --steps"):
        train(merge(PairedConfig, {"out": str(run)}, resume=True), resume=True)
    assert train(merge(PairedConfig, {"out": str(run), "steps": 4}, resume=True), resume=True)
    assert load_state(run)["step"] == 4
    assert load_state(run / "stages" / "1")["step"] == 2


def test_a_run_without_stages_does_not_begin_in_a_folder_of_one_with_stages(
    config: Any, paired_config: Callable[..., PairedConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_there(monkeypatch, tmp_path / "run" / "stages" / "1", 1)
    with pytest.raises(KeyboardInterrupt):
        train(config())
    with pytest.raises(TrainingError, match="holds a run"):
        train(paired_config())


def test_resume_refuses_a_file_that_says_something_else(config: Any, recipe: Path, tmp_path: Path) -> None:
    assert train(config(steps=1))
    given = {"out": str(tmp_path / "run")}
    with pytest.raises(TrainingError, match="stage 1: steps is 1 in the run, 2 in the file") as refused:
        merge(PairedConfig, dict(given), config_file=recipe, resume=True)
    assert "Leave --config out; what may change is given as an option." in str(refused.value)
    again = merge(
        PairedConfig, {**given, "steps": 1}, config_file=recipe, resume=True
    )  # the first command, and --resume
    assert again.steps == 1
    recipe.write_text(RECIPE.replace('tier = "nano"', 'tier = "light"').replace("samples = 2\n", ""))
    with pytest.raises(TrainingError, match="tier is 'nano' in the run, 'light' in the file"):
        merge(PairedConfig, {**given, "steps": 1}, config_file=recipe, resume=True)
    recipe.write_text(RECIPE + "\n[[stage]]\nsteps = 1\n")
    with pytest.raises(TrainingError, match="the run has 3 stages, the file 4"):
        merge(PairedConfig, {**given, "steps": 1}, config_file=recipe, resume=True)


def test_stages_are_no_option_of_the_command_line_and_stay_in_the_file(config: Any, tmp_path: Path) -> None:
    assert "--stages" not in CliRunner().invoke(app, ["paired", "--help"]).output
    run = config()
    saved = json.loads(json.dumps(run.effective_values()))
    assert make_config(PairedConfig, saved) == run
