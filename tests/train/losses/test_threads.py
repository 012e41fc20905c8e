"""The loss against threads agrees with the gate, and leads away from them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ganlens.engine.evaluate.measures import threads
from ganlens.train.data.pictures import to_pixels, to_tensor
from ganlens.train.losses.threads import thread_loss


def picture(seed: int = 0) -> torch.Tensor:
    noise = np.random.default_rng(seed).normal(120, 12, (64, 64, 1)).clip(0, 255)
    return to_tensor(noise.astype(np.uint8).repeat(3, axis=2))[None]


def rows(height: float) -> torch.Tensor:
    return height * torch.sin(torch.arange(64.0) * 1.3)[:, None].expand(1, 3, 64, 64)


def test_the_loss_is_the_gates_measure() -> None:
    plain, woven = picture(), picture() + rows(0.1)
    ratio = threads([to_pixels(woven[0])]) / max(1, threads([to_pixels(plain[0])]))
    assert thread_loss(woven, plain).item() == pytest.approx(math.log(ratio), abs=0.05)
    assert ratio > 2


def test_a_picture_may_have_what_its_source_has() -> None:
    plain, woven = picture(), picture() + rows(0.1)
    assert thread_loss(woven, woven).item() == 0 and thread_loss(plain, woven).item() == 0


def test_the_gradient_takes_threads_away() -> None:
    height = torch.tensor(0.1, requires_grad=True)
    thread_loss(picture() + height * rows(1.0), picture()).backward()
    assert height.grad is not None and height.grad.item() > 0
    flat = torch.zeros(1, 3, 64, 64, requires_grad=True)
    thread_loss(flat, picture()).backward()
    assert flat.grad is not None and flat.grad.isfinite().all()
