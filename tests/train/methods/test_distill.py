"""Distillation: its terms, what it trains, and whom it accepts as teacher."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import adaptive_avg_pool2d, l1_loss

from ganlens.engine.errors import ModelFileError, TrainingError
from ganlens.engine.spec import AttributeInput, GeneratorSpec
from ganlens.train.checkpoint import load_generator, save_generator
from ganlens.train.config import CycleGANConfig, DistillConfig
from ganlens.train.loop import Trainer, only_trainable, train
from ganlens.train.losses import LEAST_SQUARES
from ganlens.train.methods.distill import Distillation, student_loss
from ganlens.train.networks import make_generator

BATCH = (torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32))


@pytest.fixture
def make_distill(make_config: Callable[..., CycleGANConfig], tmp_path: Path) -> Callable[..., DistillConfig]:
    """A nano student of an untrained nano (or other) teacher."""

    def make(tier: str = "nano", **changes: Any) -> DistillConfig:
        spec = GeneratorSpec(name="teacher", architecture="cyclegan", tier=tier)
        teacher = tmp_path / f"{tier}.safetensors"
        if not teacher.exists():
            save_generator(make_generator(spec), spec, teacher)
        shared = set(DistillConfig.model_fields) - {"method"}
        values = make_config().model_dump(include=shared)
        return DistillConfig(**{**values, "teacher": str(teacher), **changes})

    return make


def test_terms(make_distill: Callable[..., DistillConfig]) -> None:
    method = Distillation(make_distill(lambda_output=10, lambda_feature=2))
    student, teacher = method.networks["student"], method.fixed["teacher"]
    total, parts, painting = student_loss(method.networks, teacher, BATCH[0], method.config, LEAST_SQUARES)
    expected = student(BATCH[0])
    assert torch.equal(painting, expected.detach())
    assert parts["output"].item() == pytest.approx(l1_loss(expected, teacher(BATCH[0])).item())
    weighted = parts["adv_painting"] + 10 * parts["output"] + 2 * parts["feature"]
    assert total.item() == pytest.approx(weighted.item())


def test_no_distance_when_the_student_is_the_teacher(make_distill: Callable[..., DistillConfig]) -> None:
    method = Distillation(make_distill(shape="transposed"))  # the teacher's record names none: the first shape
    method.networks["student"].load_state_dict(method.fixed["teacher"].state_dict())
    for project in method.networks["projections"].children():
        project.weight.data.copy_(torch.eye(64)[:, :, None, None])
        project.bias.data.zero_()
    _, parts, _ = student_loss(method.networks, method.fixed["teacher"], BATCH[0], method.config, LEAST_SQUARES)
    assert parts["output"].item() == 0
    assert parts["feature"].item() == pytest.approx(0, abs=1e-9)


def test_features_of_a_finer_teacher_are_averaged_down(make_distill: Callable[..., DistillConfig]) -> None:
    method = Distillation(make_distill("resnet6"))
    teacher = method.fixed["teacher"]
    _, own = method.networks["student"].forward_features(BATCH[0])
    _, other = teacher.forward_features(BATCH[0])
    assert own[0].shape == (1, 64, 4, 4)
    assert other[0].shape == (1, 256, 8, 8)
    _, parts, _ = student_loss(method.networks, teacher, BATCH[0], method.config, LEAST_SQUARES)
    expected = sum(
        (project(f) - adaptive_avg_pool2d(t, 4)).square().mean()
        for project, f, t in zip(method.networks["projections"], own, other, strict=True)
    )
    assert parts["feature"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_teacher_never_moves_and_never_gets_gradients(make_distill: Callable[..., DistillConfig]) -> None:
    trainer = Trainer(make_distill(learning_rate=1e-2))
    teacher = trainer.method.fixed["teacher"]
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    trainer.update(BATCH)
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    assert all(not parameter.requires_grad and parameter.grad is None for parameter in teacher.parameters())


def test_student_and_projections_train_together(make_distill: Callable[..., DistillConfig]) -> None:
    method = Distillation(make_distill())
    phase = method.phases[0]
    with only_trainable(method.networks, phase.networks):
        phase.loss(BATCH, 0)[0].backward()
    for name, network in method.networks.items():
        moved = [parameter.grad is not None for parameter in network.parameters()]
        assert all(moved) if name in ("student", "projections") else not any(moved)


def test_a_run_and_its_resume(make_distill: Callable[..., DistillConfig], tmp_path: Path) -> None:
    assert train(make_distill(steps=2, sample_every=2))
    assert load_generator(tmp_path / "run")[1].tier == "nano"
    assert train(make_distill(steps=3), resume=True)
    other = make_distill("mobile", steps=4)
    with pytest.raises(TrainingError, match="changed since the run began"):
        train(other, resume=True)


def test_a_teacher_with_labels_is_refused(make_distill: Callable[..., DistillConfig], tmp_path: Path) -> None:
    spec = GeneratorSpec(
        name="faces", architecture="acl-gan", tier="nano", attributes=AttributeInput(names=("Smiling",))
    )
    save_generator(make_generator(spec), spec, tmp_path / "faces.safetensors")
    with pytest.raises(TrainingError, match="'faces' is a acl-gan generator with labels"):
        Trainer(make_distill(teacher=str(tmp_path / "faces.safetensors")))


def test_a_missing_teacher_is_refused(make_distill: Callable[..., DistillConfig], tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no checkpoint"):
        Trainer(make_distill(teacher=str(tmp_path / "nowhere")))
