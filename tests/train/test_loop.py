"""The loop: exact resume, stopping, records, samples, refusals."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from ganlens.engine.errors import TrainingError
from ganlens.train import loop
from ganlens.train.checkpoint import load_generator, load_state
from ganlens.train.config import CycleGANConfig, load_config
from ganlens.train.loop import Trainer, memory_format, train
from ganlens.train.run_lock import only_writer
from ganlens.train.schedule import average_decay
from tests.kit.interrupt import interrupt_after

MakeConfig = Callable[..., CycleGANConfig]


def flatten(value: object, name: str = "") -> dict[str, object]:
    """Nested state as one dictionary of leaves."""
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in flatten(item, f"{name}/{key}").items()}
    if isinstance(value, list | tuple):
        return {k: v for key, item in enumerate(value) for k, v in flatten(item, f"{name}/{key}").items()}
    return {name: value}


def assert_same_state(one: Path, other: Path) -> None:
    """Bit for bit, but for the clock and the folder's name."""
    first, second = (flatten(load_state(folder)) for folder in (one, other))
    assert first.keys() == second.keys()
    for name, value in first.items():
        if name in ("/seconds", "/config"):
            continue
        same = torch.equal(value, second[name]) if isinstance(value, Tensor) else value == second[name]
        assert same, name


@pytest.mark.parametrize(
    "options",
    [{}, {"norm": "bn", "batch": 2, "warmup_steps": 4}, {"norm": "none", "cache_mb": 0, "instance_noise": 0.1}],
)
def test_resume_is_exact(make_config: MakeConfig, tmp_path: Path, options: dict[str, object]) -> None:
    whole = make_config(out=str(tmp_path / "whole"), steps=6, decay_steps=3, **options)
    assert train(whole)
    torch.rand(3)  # what happens between two processes must not matter

    stopped = Trainer(make_config(out=str(tmp_path / "parts"), steps=6, decay_steps=3, **options))
    interrupt_after(stopped, 3)
    assert not stopped.fit()
    assert load_state(tmp_path / "parts")["step"] == 3

    assert train(make_config(out=str(tmp_path / "parts"), steps=6, decay_steps=3, **options), resume=True)
    assert_same_state(tmp_path / "whole", tmp_path / "parts")
    assert load_generator(tmp_path / "whole")[1].weights_sha256 == load_generator(tmp_path / "parts")[1].weights_sha256


def test_a_stop_leaves_the_signal_handlers_as_they_were(make_config: MakeConfig) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    train(make_config(steps=1))
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_run_folder(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config(sample_every=2, data_licence="made up", licence="CC0", note="a test")
    assert train(config)
    run = tmp_path / "run"
    assert load_config(run) == config
    generator, spec = load_generator(run)
    assert load_generator(run / "generator_reverse.safetensors")[1].name == "run-reverse"
    assert (spec.name, spec.architecture, spec.tier) == ("run", "cyclegan", "nano")
    assert spec.size.preferred == (32, 32)  # the multiple of 8 nearest to the 36 px at which pictures were seen whole
    assert spec.size.multiple_of == 8
    assert spec.training is not None
    assert (spec.training.steps, spec.training.images_seen, spec.training.size) == (4, 4, (32, 32))
    assert spec.licence == "CC0"
    assert (spec.training.data, spec.training.data_licence, spec.training.note) == (
        "photos to paintings",
        "made up",
        "a test",
    )
    assert spec.training.seconds > 0
    assert spec.training.hardware
    assert str(tmp_path) not in spec.model_dump_json()
    averaged = load_state(run)["averaged"]["to_painting"]
    assert all(torch.equal(value, averaged[f"module.{name}"]) for name, value in generator.state_dict().items())
    assert sorted(path.name for path in (run / "samples").iterdir()) == [
        "step-0000000.png",
        "step-0000002.png",
        "step-0000004.png",
    ]
    with Image.open(run / "samples" / "step-0000004.png") as grid:
        assert grid.size == (6 * 32, 4 * 9 + 2 + 32)  # a title, captions of up to three lines
        assert np.asarray(grid).std() > 1
    assert list((run / "tensorboard").iterdir())


def test_a_run_goes_on_with_larger_pictures(make_config: MakeConfig, tmp_path: Path) -> None:
    assert train(make_config(steps=3))
    larger = make_config(steps=6, size=40, load_size=48)
    assert train(larger, resume=True)
    state = load_state(tmp_path / "run")
    assert state["step"] == 6
    assert load_config(tmp_path / "run").size == 40
    assert load_generator(tmp_path / "run")[1].size.preferred == (48, 48)


@pytest.mark.parametrize(
    ("asked", "device", "norm", "format"),
    [
        ("auto", "cpu", nn.InstanceNorm2d, torch.contiguous_format),
        ("auto", "cpu", nn.BatchNorm2d, torch.channels_last),
        ("auto", "cuda", nn.InstanceNorm2d, torch.channels_last),
        ("channels_last", "cpu", nn.InstanceNorm2d, torch.channels_last),
        ("contiguous", "cuda", nn.BatchNorm2d, torch.contiguous_format),
    ],
)
def test_the_faster_layout_unless_one_is_asked_for(
    make_config: MakeConfig, asked: str, device: str, norm: type[nn.Module], format: torch.memory_format
) -> None:
    networks = [nn.Sequential(nn.Conv2d(3, 4, 3), norm(4))]
    assert memory_format(make_config(memory_format=asked), torch.device(device), networks) is format


@pytest.mark.parametrize("asked", ["contiguous", "channels_last"])
def test_weights_lie_as_asked(make_config: MakeConfig, asked: str) -> None:
    trainer = Trainer(make_config(memory_format=asked))
    weights = [p for p in trainer.method.networks["to_painting"].parameters() if p.ndim == 4 and p.shape[2] == 3]
    lie = {weight.is_contiguous(memory_format=torch.channels_last) for weight in weights if weight.shape[1] > 1}
    assert lie == {asked == "channels_last"}


def test_average_lags_behind(make_config: MakeConfig) -> None:
    trainer = Trainer(make_config(ema=0.5))
    parameter = next(trainer.method.networks["to_painting"].parameters())
    batch = (torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32))
    trainer.update(batch)
    first = parameter.detach().clone()
    trainer.update(batch)
    averaged = next(trainer.averaged["to_painting"].module.parameters())
    old, new = 2 / 11, 9 / 11  # less of the old than ema at the start
    assert torch.allclose(averaged, old * first + new * parameter, atol=1e-7)


def test_a_short_run_forgets_its_first_weights() -> None:
    share = 1.0
    for count in range(1, 600):
        share *= average_decay(0.999, count)
    assert share < 1e-6 < 0.5 < 0.999**600
    assert average_decay(0.999, 20_000) == 0.999
    assert average_decay(0.0, 0) == 0.0  # the weights as they are


def test_learning_rate_follows_the_schedule(make_config: MakeConfig) -> None:
    trainer = Trainer(make_config(steps=4, decay_steps=2, learning_rate=1e-3))
    rates = []
    for _ in range(4):
        trainer.update((torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32)))
        rates.append([group["lr"] for optimizer in trainer.optimizers.values() for group in optimizer.param_groups])
    assert [rate[0] for rate in rates] == pytest.approx([1e-3, 1e-3, 1e-3 * 2 / 3, 1e-3 / 3])
    assert all(rate[0] == rate[1] for rate in rates)


def test_a_used_folder_is_refused(make_config: MakeConfig, tmp_path: Path) -> None:
    train(make_config(steps=1))
    with pytest.raises(TrainingError, match="holds a run. Continue it with --resume"):
        train(make_config(steps=1))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("precious")
    with pytest.raises(TrainingError, match="not empty"):
        train(make_config(out=str(tmp_path / "other")))
    with pytest.raises(TrainingError, match="is a file"):
        train(make_config(out=str(tmp_path / "other" / "thesis.txt")))


def test_nothing_to_resume(make_config: MakeConfig) -> None:
    with pytest.raises(TrainingError, match="Start without --resume"):
        train(make_config(), resume=True)


def test_a_finished_run_can_be_prolonged(make_config: MakeConfig, tmp_path: Path) -> None:
    train(make_config(steps=2))
    with pytest.raises(TrainingError, match="2 of 2 steps. Give a larger --steps"):
        train(make_config(steps=2), resume=True)
    assert train(make_config(steps=3), resume=True)
    assert load_state(tmp_path / "run")["step"] == 3


def test_a_run_stopped_before_its_first_checkpoint_can_be_resumed(make_config: MakeConfig, tmp_path: Path) -> None:
    trainer = Trainer(make_config())

    def fail(batch: object) -> None:
        raise KeyboardInterrupt

    trainer.update = fail  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    assert train(make_config(), resume=True)


@pytest.mark.parametrize("killed_before", ["save_state", "save_generator"])
def test_killed_while_the_last_checkpoint_is_written_the_run_can_be_finished(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_before: str
) -> None:
    config = make_config(steps=2)
    trainer = Trainer(config)
    write = getattr(loop, killed_before)

    def write_or_die(*arguments: Any) -> Any:
        if trainer.step:
            raise SystemExit("killed")
        return write(*arguments)

    monkeypatch.setattr(loop, killed_before, write_or_die)
    with pytest.raises(SystemExit):
        trainer.fit()
    monkeypatch.undo()
    assert train(config, resume=True)  # not: "is finished"
    averaged = load_state(tmp_path / "run")["averaged"]["to_painting"]
    shipped, spec = load_generator(tmp_path / "run")
    assert spec.training is not None and spec.training.steps == 2
    assert all(torch.equal(value, averaged[f"module.{name}"]) for name, value in shipped.state_dict().items())


def test_killed_before_the_first_checkpoint_a_run_can_be_started_anew(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config()
    trainer = Trainer(config)

    def die() -> None:
        raise SystemExit("killed")

    trainer.save = die  # type: ignore[method-assign]
    with pytest.raises(SystemExit):
        trainer.fit()
    (tmp_path / "run" / ".state.0123456789abcdef.part.pt").write_bytes(b"half")
    with pytest.raises(TrainingError, match="no checkpoint to resume from. Start without --resume"):
        train(config, resume=True)
    assert train(config)


def test_two_trainings_cannot_write_to_one_folder(make_config: MakeConfig, tmp_path: Path) -> None:
    first, second = Trainer(make_config()), Trainer(make_config())  # both have seen an empty folder
    with only_writer(tmp_path_made(tmp_path / "run")):
        with pytest.raises(TrainingError, match=r"Another process \(process \d+\) is training in .*run"):
            second.fit()
        assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["lock"]
    assert first.fit()
    with pytest.raises(TrainingError, match="holds a run"):
        second.fit()
    longer = make_config(steps=6)
    first, second = Trainer(longer, resume=True), Trainer(longer, resume=True)
    assert first.fit()
    with pytest.raises(TrainingError, match="has changed since it was opened"):
        second.fit()
    assert load_state(tmp_path / "run")["step"] == 6


def tmp_path_made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_a_process_can_train_in_one_precision_after_another(make_config: MakeConfig, tmp_path: Path) -> None:
    for number, precision in enumerate(("no", "bf16", "no")):
        assert train(make_config(out=str(tmp_path / f"run{number}"), precision=precision))


def test_divergence_stops_and_keeps_the_last_checkpoint(make_config: MakeConfig, tmp_path: Path) -> None:
    trainer = Trainer(make_config(steps=50))
    with torch.no_grad():
        next(trainer.method.networks["to_photo"].parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"diverged before step 2.*lower --learning-rate"):
        trainer.fit()
    assert load_state(tmp_path / "run")["step"] == 0


def test_bad_data_is_found_before_a_folder_is_made(make_config: MakeConfig, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no folder"):
        train(make_config(photos=str(tmp_path / "nowhere")))
    assert not (tmp_path / "run").exists()


def test_mixed_precision_trains_and_keeps_float32_weights(make_config: MakeConfig) -> None:
    trainer = Trainer(make_config(precision="bf16", steps=2))
    trainer.update((torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32)))
    assert all(bool(torch.isfinite(value)) for value in trainer._sums.values())
    weights = [value for network in trainer.method.networks.values() for value in network.parameters()]
    assert {value.dtype for value in weights} == {torch.float32}
