"""The image pool: what comes out, how often, and that its state continues exactly."""

from __future__ import annotations

import torch

from ganlens.train.methods.image_pool import ImagePool


def images(*values: float) -> torch.Tensor:
    return torch.stack([torch.full((3, 2, 2), value) for value in values])


def test_returns_what_comes_until_full() -> None:
    pool = ImagePool(3)
    for value in (1.0, 2.0, 3.0):
        assert torch.equal(pool(images(value)), images(value))
    assert len(pool.images) == 3


def test_then_half_are_old_and_the_new_one_takes_their_place() -> None:
    pool = ImagePool(10, seed=4)
    pool(images(*range(10)))
    old = 0
    for value in range(10, 1010):
        stored = {image[0, 0, 0].item() for image in pool.images}
        out = pool(images(float(value)))[0, 0, 0, 0].item()
        after = {image[0, 0, 0].item() for image in pool.images}
        if out == value:
            assert after == stored
        else:
            old += 1
            assert out in stored
            assert after == stored - {out} | {float(value)}
    assert 430 < old < 570  # p = 1/2, four standard deviations


def test_stored_images_do_not_follow_the_batch() -> None:
    pool = ImagePool(1)
    batch = images(1.0)
    pool(batch)
    batch.zero_()
    assert pool.images[0].max() == 1


def test_size_zero_passes_through() -> None:
    pool = ImagePool(0)
    assert torch.equal(pool(images(1.0, 2.0)), images(1.0, 2.0))
    assert pool.images == []


def test_state_continues_exactly() -> None:
    pool, other = ImagePool(4, seed=1), ImagePool(4, seed=2)
    pool(images(*range(9)))
    other.load_state_dict(pool.state_dict())
    for value in range(20):
        assert torch.equal(pool(images(float(value))), other(images(float(value))))


def test_smaller_pictures_of_an_earlier_size_are_dropped_as_they_come_up() -> None:
    pool = ImagePool(3)
    pool(torch.zeros(3, 3, 4, 4))
    larger = torch.ones(16, 3, 8, 8)
    assert torch.equal(pool(larger), larger)
    assert any(image.shape == (3, 8, 8) for image in pool.images)
