"""What a run leaves beside its weights: history, log, provenance, metrics over time with the best kept, snapshots."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ganlens.engine.errors import OptionError
from ganlens.train.checkpoint import load_generator, load_state
from ganlens.train.config import AttributeConfig, CycleGANConfig, load_config
from ganlens.train.config import make_config as checked_config
from ganlens.train.evaluate.classifier import finish
from ganlens.train.history import read_history
from ganlens.train.loop import Trainer, train
from ganlens.train.methods import METHODS
from tests.kit.interrupt import interrupt_after
from tests.kit.vgg import save_vgg

MakeConfig = Callable[..., CycleGANConfig]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_vgg(tmp_path_factory.mktemp("vgg") / "vgg16.safetensors")


def test_history_has_every_figure_of_every_logged_step(make_config: MakeConfig, tmp_path: Path) -> None:
    assert train(make_config(steps=6))
    points = read_history(tmp_path / "run")
    assert [point.step for point in points if point.name == "cycle"] == [2, 4, 6]
    assert {"generator/total", "discriminator/total", "images_per_second", "learning_rate"} <= {p.name for p in points}
    seconds = [point.seconds for point in points]
    assert seconds == sorted(seconds) and seconds[-1] > 0


def test_a_resumed_run_goes_on_in_the_same_files(
    make_config: MakeConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="ganlens.train.loop")  # whatever ran before in this process
    stopped = Trainer(make_config(steps=6))
    interrupt_after(stopped, 4)
    assert not stopped.fit()
    run = tmp_path / "run"
    with (run / "history.csv").open("a") as file:
        file.write("5,1.0,cycle,0.5\n6,1.0,cyc")  # of a process that was killed later
    assert train(make_config(steps=6), resume=True)
    points = read_history(run)
    assert [point.step for point in points if point.name == "cycle"] == [2, 4, 6]
    values = json.loads((run / "config.json").read_text())
    first, second = values["sessions"]
    assert (first["from_step"], second["from_step"]) == (0, 4)
    assert first["data"] == second["data"] and first["versions"]["torch"] == torch.__version__
    assert first["command"] and first["python"] and first["device"] and first["processes"] == 1
    assert load_config(run).steps == 6
    log = (run / "log.txt").read_text()
    assert "step 2/6" in log and "step 6/6" in log and "stopping after this step" in log


def test_other_pictures_on_resume_are_told(
    make_config: MakeConfig, folders: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    assert train(make_config(steps=2))
    assert train(make_config(steps=3), resume=True)
    assert "differ from those at the start of the run" not in caplog.text
    (folders[0] / "0.png").rename(folders[0] / "other.png")
    assert train(make_config(steps=4), resume=True)
    assert "differ from those at the start of the run" in caplog.text


def test_metrics_over_time_keep_the_best_and_change_nothing(
    make_config: MakeConfig, tmp_path: Path, weights: Path
) -> None:
    options = {"metric_every": 2, "metric_features": str(weights), "metric_pictures": 6, "keep_every": 3}
    assert train(make_config(steps=6, out=str(tmp_path / "measured"), **options))
    assert train(make_config(steps=6, out=str(tmp_path / "plain")))
    one, other = (load_state(tmp_path / name) for name in ("measured", "plain"))
    for name, network in one["networks"].items():
        assert all(torch.equal(value, other["networks"][name][key]) for key, value in network.items())
    distances = {p.step: p.value for p in read_history(tmp_path / "measured") if p.name == "metric/KD-VGG"}
    assert sorted(distances) == [2, 4, 6]
    value, step = one["best"]
    assert value == pytest.approx(min(distances.values()), rel=1e-4) and distances[step] == min(distances.values())
    best = load_generator(tmp_path / "measured" / "best")[1]
    assert best.training is not None and best.training.steps == step
    assert value in best.metrics.values()
    snapshots = sorted(path.name for path in (tmp_path / "measured" / "snapshots").iterdir())
    assert snapshots == ["step-0000003", "step-0000006"]
    kept = load_generator(tmp_path / "measured" / "snapshots" / "step-0000003")[1]
    assert kept.training is not None and kept.training.steps == 3


@pytest.mark.parametrize("method", ["acl-gan", "stargan"])
def test_editors_have_metrics(
    edit_config: Callable[..., AttributeConfig], tmp_path: Path, weights: Path, method: str
) -> None:
    assert train(edit_config(method, steps=2, metric_every=2, metric_features=str(weights), metric_pictures=5))
    assert [p.step for p in read_history(tmp_path / "run") if p.name == "metric/FD-VGG"] == [2]


def test_generators_from_noise_have_metrics(faces: Path, tmp_path: Path, weights: Path) -> None:
    values: dict[str, Any] = {"data": str(faces), "out": str(tmp_path / "run"), "size": 32, "width": 2, "batch": 4}
    values |= {"steps": 2, "holdout": 3, "metric_every": 1, "metric_features": str(weights), "metric_pictures": 5}
    assert train(checked_config(METHODS["dcgan"].config, values))
    assert [p.step for p in read_history(tmp_path / "run") if p.name == "metric/KD-VGG"] == [1, 2]


def test_what_a_metric_needs(make_config: MakeConfig, edit_config: Callable[..., AttributeConfig], faces: Path) -> None:
    with pytest.raises(ValueError, match="--metric-features has no effect without --metric-every"):
        make_config(metric_features="vgg.safetensors")
    with pytest.raises(ValueError, match="needs --metric-features with acl-gan, or --classifier"):
        edit_config(metric_every=5)
    with pytest.raises(OptionError, match="needs --metric-features with dcgan"):
        checked_config(METHODS["dcgan"].config, {"data": str(faces), "out": "run", "metric_every": 5})


def test_translators_pass_the_gates_of_styles_over_time(make_config: MakeConfig, tmp_path: Path) -> None:
    assert train(make_config(steps=2, metric_every=1, metric_pictures=4))
    found = {(p.step, p.name): p.value for p in read_history(tmp_path / "run") if p.name.startswith("metric/")}
    names = {name for step, name in found if step == 2}
    assert {"metric/chroma", "metric/fine_detail", "metric/grid_of_4_px", "metric/frame_line"} <= names
    shortfalls = {step: value for (step, name), value in found.items() if name == "metric/shortfall"}
    state = load_state(tmp_path / "run")
    assert state["best"] == pytest.approx(min((value, step) for step, value in shortfalls.items()), rel=1e-4)
    assert load_generator(tmp_path / "run" / "best")[1].metrics.keys() >= {
        f"shortfall, 4 pictures of the training, step {state['best'][1]}"
    }


def test_editors_are_judged_by_a_classifier_over_time(
    edit_config: Callable[..., AttributeConfig], tmp_path: Path
) -> None:
    judge = tmp_path / "judge"
    assert train(edit_config("classifier", out=str(judge), steps=2))
    finish(edit_config("classifier", out=str(judge), steps=2))  # type: ignore[arg-type]
    assert train(edit_config(steps=2, metric_every=1, metric_pictures=5, classifier=str(judge)))
    found = {(p.step, p.name): p.value for p in read_history(tmp_path / "run") if p.name.startswith("metric/")}
    assert {name for _, name in found} == {"metric/accuracy", "metric/accuracy/Smiling", "metric/accuracy/Young"}
    for step in (1, 2):
        each = [found[step, f"metric/accuracy/{name}"] for name in ("Smiling", "Young")]
        assert found[step, "metric/accuracy"] == pytest.approx(sum(each) / 2, abs=1e-5)
    best = max(found[step, "metric/accuracy"] for step in (1, 2))
    assert load_state(tmp_path / "run")["best"][0] == pytest.approx(-best, rel=1e-4)


def test_gradients_are_clipped(make_config: MakeConfig, tmp_path: Path) -> None:
    def norm(limit: float) -> float:
        trainer = Trainer(make_config(out=str(tmp_path / str(limit)), clip_gradients=limit))
        trainer.update(tuple(part[None] for part in trainer.dataset[0]))
        gradients = [p.grad.flatten() for p in trainer._parameters(trainer.method.phases[0]) if p.grad is not None]
        return float(torch.linalg.vector_norm(torch.cat(gradients)))

    assert norm(0.0) > 0.01
    assert norm(0.01) == pytest.approx(0.01, rel=1e-3)
