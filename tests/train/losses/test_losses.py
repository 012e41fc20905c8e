"""Seven losses against hand-computed values, finite differences, and what their gradients must do."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from ganlens.engine.errors import OptionError, TrainingError
from ganlens.train.losses import (
    BEGAN,
    EBGAN,
    FAMILIES,
    GAN,
    LSGAN,
    WGAN,
    WGANGP,
    add_noise,
    adversarial_loss,
    mix,
    pulling_away,
    score_loss,
    shift_randomly,
    slope_penalty,
    slopes,
)

REAL = torch.tensor([1.0, 0.0, 2.0, 1.0])
FAKE = torch.tensor([0.0, 1.0, 3.0, -1.0])


def log_sigmoid(score: float) -> float:
    return math.log(1 / (1 + math.exp(-score)))


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


# --- values by hand --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gan", "cgan"])
def test_gan_by_hand(name: str) -> None:
    loss = adversarial_loss(name)
    expected = -mean([log_sigmoid(s) for s in (1, 0, 2, 1)]) - mean([log_sigmoid(-s) for s in (0, 1, 3, -1)])
    assert loss.discriminator(REAL, FAKE).item() == pytest.approx(expected)
    assert loss.generator(FAKE).item() == pytest.approx(-mean([log_sigmoid(s) for s in (0, 1, 3, -1)]))
    saturating = adversarial_loss(name, minimax=True)
    assert saturating.discriminator(REAL, FAKE).item() == pytest.approx(expected)
    assert saturating.generator(FAKE).item() == pytest.approx(mean([log_sigmoid(-s) for s in (0, 1, 3, -1)]))
    assert loss.conditional == (name == "cgan")


@pytest.mark.parametrize("name", ["wgan", "wgan-gp"])
def test_wasserstein_by_hand(name: str) -> None:
    loss = adversarial_loss(name)
    assert loss.discriminator(REAL, FAKE).item() == pytest.approx(3 / 4 - 4 / 4)
    assert loss.generator(FAKE).item() == pytest.approx(-3 / 4)


def test_energies_by_hand() -> None:
    loss = EBGAN(margin=2.0)
    # 0, 1 and -1 are below the margin; the 3 is above it and counts as 0, which a hinge of the mean would not see
    assert loss.discriminator(REAL, FAKE).item() == pytest.approx(4 / 4 + (2 + 1 + 0 + 3) / 4)
    assert loss.generator(FAKE).item() == pytest.approx(3 / 4)


def test_least_squares_by_hand() -> None:
    loss = LSGAN()
    assert loss.discriminator(REAL, FAKE).item() == pytest.approx(0.5 * (0 + 1 + 1 + 0) / 4 + 0.5 * (0 + 1 + 9 + 1) / 4)
    assert loss.generator(FAKE).item() == pytest.approx(0.5 * (1 + 0 + 4 + 4) / 4)
    other = LSGAN(a=-1, b=1, c=0)
    assert other.discriminator(REAL, FAKE).item() == pytest.approx(0.5 * 2 / 4 + 0.5 * (1 + 4 + 16 + 0) / 4)
    assert other.generator(FAKE).item() == pytest.approx(0.5 * (0 + 1 + 9 + 1) / 4)


def test_least_squares_of_patches_has_the_factors_of_cyclegan() -> None:
    loss = score_loss("lsgan")
    real, fake = REAL.view(2, 1, 1, 2), FAKE.view(2, 1, 1, 2)
    assert loss.discriminator(real, fake).item() == pytest.approx(0.5 * ((0 + 1 + 1 + 0) / 4 + (0 + 1 + 9 + 1) / 4))
    assert loss.generator(fake).item() == pytest.approx((1 + 0 + 4 + 4) / 4)
    assert loss.discriminator(torch.ones(2, 1, 3, 3), torch.zeros(2, 1, 3, 3)).item() == 0
    assert loss.generator(torch.ones(2, 1, 3, 3)).item() == 0


def test_balance_by_hand() -> None:
    loss = BEGAN(gamma=0.5, lambda_k=0.1)
    assert loss.discriminator(torch.tensor([2.0, 4.0]), torch.tensor([1.0, 1.0])).item() == pytest.approx(3.0)  # k = 0
    assert loss.generator(torch.tensor([0.5, 0.7])).item() == pytest.approx(0.6)
    loss.after_generator_step()
    assert loss.k.item() == pytest.approx(0.1 * (0.5 * 3 - 0.6))
    assert loss.measures()["convergence"].item() == pytest.approx(3 + abs(0.5 * 3 - 0.6))
    assert loss.discriminator(torch.tensor([3.0]), torch.tensor([1.0])).item() == pytest.approx(3 - 0.09)


def test_balance_stays_between_0_and_1() -> None:
    loss = BEGAN(lambda_k=1.0)
    for real, fake, expected in ((10.0, 0.0, 1.0), (10.0, 0.0, 1.0), (0.0, 10.0, 0.0), (0.0, 10.0, 0.0)):
        loss.discriminator(torch.tensor([real]), torch.tensor([fake]))
        loss.generator(torch.tensor([fake]))
        loss.after_generator_step()
        assert loss.k.item() == expected


def test_balance_needs_both_errors() -> None:
    with pytest.raises(TrainingError, match="call discriminator and generator before"):
        BEGAN().after_generator_step()


def test_all_processes_keep_one_balance(monkeypatch: pytest.MonkeyPatch) -> None:
    """As seen by one of two, the other of which has errors of 5 and 0.4."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda values: values.add_(torch.tensor([5.0, 0.4])))
    loss = BEGAN(gamma=0.5, lambda_k=0.1)
    loss.discriminator(torch.tensor([3.0]), torch.tensor([1.0]))
    loss.generator(torch.tensor([0.6]))
    loss.after_generator_step()
    assert loss.k.item() == pytest.approx(0.1 * (0.5 * 4 - 0.5))


def play(loss: BEGAN, real: float, steps: int) -> None:
    for _ in range(steps):
        loss.discriminator(torch.tensor([real]), torch.tensor([0.5 * real]))
        loss.generator(torch.tensor([0.5 * real]))
        loss.after_generator_step()


def test_the_rate_is_halved_when_the_convergence_measure_stalls() -> None:
    loss = BEGAN(patience=200)
    play(loss, 1.0, 200)
    assert loss.rate_factor == 1.0
    play(loss, 1.0, 100)  # best at the first look, step 100; 200 steps without a better one
    assert loss.rate_factor == 0.5
    play(loss, 0.1, 300)  # falls
    assert loss.rate_factor == 0.5
    unwatched = BEGAN()
    play(unwatched, 1.0, 500)
    assert unwatched.rate_factor == 1.0


def test_balance_survives_a_checkpoint() -> None:
    one, other = BEGAN(lambda_k=0.1, patience=100), BEGAN(lambda_k=0.1, patience=100)
    play(one, 1.0, 150)
    one.generator(torch.tensor([0.0]))
    one.after_generator_step()
    other.load_state_dict(one.state_dict(), torch.device("cpu"))
    for loss in (one, other):
        play(loss, 1.0, 130)
    assert one.k > 0
    assert torch.equal(one.k, other.k)
    assert one.rate_factor == other.rate_factor == 0.5
    assert [adversarial_loss(name).state_dict() for name in FAMILIES if name != "began"] == [{}] * 6


# --- gradients -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_gradients_agree_with_finite_differences(name: str) -> None:
    torch.manual_seed(0)
    loss = adversarial_loss(name)
    real, fake = (torch.randn(6, dtype=torch.float64, requires_grad=True) for _ in range(2))
    if isinstance(loss, BEGAN):
        loss.k = torch.tensor(0.3, dtype=torch.float64)
    assert torch.autograd.gradcheck(loss.discriminator, (real, fake))
    assert torch.autograd.gradcheck(loss.generator, (fake,))


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_who_pulls_scores_where(name: str) -> None:
    """The discriminator and the generator pull the fakes' scores apart; energies are low for what is real."""
    loss = adversarial_loss(name)
    if isinstance(loss, BEGAN):
        loss.k = torch.tensor(0.5)
    real, fake = torch.tensor([0.2, 0.4], requires_grad=True), torch.tensor([0.1, 0.3], requires_grad=True)
    (real_pull, fake_pull) = torch.autograd.grad(loss.discriminator(real, fake), (real, fake))
    (wish,) = torch.autograd.grad(loss.generator(fake), fake)
    up = 1 if loss.critic == "scores" else -1
    assert (up * real_pull < 0).all()
    assert (up * fake_pull > 0).all()
    assert (up * wish < 0).all()


def test_a_sure_discriminator_leaves_minimax_no_gradient_but_the_other_form_a_full_one() -> None:
    fake = torch.tensor([-30.0], requires_grad=True)
    (saturated,) = torch.autograd.grad(GAN(minimax=True).generator(fake), fake)
    (alive,) = torch.autograd.grad(GAN().generator(fake), fake)
    assert abs(saturated.item()) < 1e-12
    assert alive.item() == pytest.approx(-1)


@pytest.mark.parametrize("minimax", [False, True])
def test_no_score_is_too_large(minimax: bool) -> None:
    loss = GAN(minimax=minimax)
    scores = torch.tensor([-1e4, 1e4], requires_grad=True)
    for value in (loss.discriminator(scores, scores), loss.generator(scores)):
        assert math.isfinite(value.item())
        assert torch.autograd.grad(value, scores)[0].isfinite().all()


def test_bad_enough_fakes_push_no_energy_further() -> None:
    fake = torch.tensor([0.5, 1.5], requires_grad=True)
    (pull,) = torch.autograd.grad(EBGAN(margin=1.0).discriminator(torch.zeros(2), fake), fake)
    assert pull.tolist() == [-0.5, 0.0]


def test_half_precision_scores_are_averaged_in_float32() -> None:
    large = torch.full((1, 1, 64, 64), 300.0, dtype=torch.float16)
    assert score_loss("lsgan").generator(large).item() == pytest.approx(299.0**2)
    for name in FAMILIES:
        assert adversarial_loss(name).discriminator(large, large).dtype == torch.float32


# --- what comes beside the scores ------------------------------------------------------------------------------------


class Linear(nn.Module):
    """A critic whose slope is known: the same everywhere, of length 5."""

    def forward(self, x: Tensor) -> Tensor:
        return (x.flatten(1) * torch.tensor([3.0, 4.0], dtype=x.dtype)).sum(dim=1)


def test_penalty_by_hand() -> None:
    real, fake = torch.randn(3, 1, 1, 2), torch.randn(3, 1, 1, 2)
    assert slope_penalty(Linear(), real, fake).item() == pytest.approx((5 - 1) ** 2)
    assert WGANGP(weight=2.0).penalty(Linear(), real, fake).item() == pytest.approx(2 * 16)
    assert WGAN().penalty(Linear(), real, fake) is None


def test_penalty_counts_a_map_of_scores_by_its_mean() -> None:
    convolution = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.constant_(convolution.weight, 8.0)
    images = torch.randn(2, 1, 2, 2)
    # the mean of four scores 8 x: slope (2, 2, 2, 2), of length 4
    assert slope_penalty(convolution, images, images).item() == pytest.approx((4 - 1) ** 2)


def test_penalty_agrees_with_finite_differences() -> None:
    torch.manual_seed(0)
    real, fake = (torch.randn(2, 1, 2, 2, dtype=torch.float64) for _ in range(2))
    weight = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    out = torch.randn(5, dtype=torch.float64, requires_grad=True)

    def penalty(weight: Tensor, out: Tensor) -> Tensor:
        torch.manual_seed(1)  # the same mixture each time
        return slope_penalty(lambda x: torch.tanh(x.flatten(1) @ weight) @ out, real, fake)

    assert torch.autograd.gradcheck(penalty, (weight, out))


def test_mixtures_lie_between_and_slopes_are_per_sample() -> None:
    real, fake = torch.zeros(64, 1, 2, 2), torch.ones(64, 1, 2, 2)
    mixed = mix(real, fake)
    assert mixed.requires_grad
    assert torch.equal(mixed.amin(dim=(1, 2, 3)), mixed.amax(dim=(1, 2, 3)))  # one share per sample
    assert 0 <= mixed.min() < 0.2 < 0.8 < mixed.max() <= 1
    images = torch.tensor([[1.0, 0.0], [0.0, 2.0]], requires_grad=True)
    assert slopes(images.square().sum(dim=1), images).tolist() == [2.0, 4.0]


def test_clipping_reaches_all_parameters_of_the_critic() -> None:
    critic = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1))
    WGAN(clip=0.05).after_discriminator_step(critic)
    assert max(parameter.abs().max().item() for parameter in critic.parameters()) == pytest.approx(0.05)
    assert isinstance(critic[1], nn.BatchNorm2d)
    assert critic[1].weight.tolist() == pytest.approx([0.05] * 4)


def test_pulling_away_by_hand() -> None:
    codes = torch.tensor([[1.0, 0.0], [2.0, 0.0], [1.0, 1.0]])
    # squared cosines of the pairs: 1, 1/2, 1/2; each pair twice, six ordered pairs
    assert pulling_away(codes).item() == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert pulling_away(torch.eye(4)).item() == 0
    random = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(pulling_away, (random,))
    with pytest.raises(TrainingError, match="got 1. Give --batch 2"):
        pulling_away(codes[:1])


def test_published_settings() -> None:
    found = {name: (*loss.optimizer, loss.n_critic, loss.norm) for name in FAMILIES if (loss := adversarial_loss(name))}
    assert found == {
        "gan": ("adam", 2e-4, 0.5, 0.999, 1, "bn"),
        "cgan": ("adam", 2e-4, 0.5, 0.999, 1, "bn"),
        "wgan": ("rmsprop", 5e-5, 0.0, 0.999, 5, "bn"),
        "wgan-gp": ("adam", 1e-4, 0.0, 0.9, 5, "in"),
        "ebgan": ("adam", 2e-4, 0.5, 0.999, 1, "bn"),
        "began": ("adam", 1e-4, 0.5, 0.999, 1, "none"),
        "lsgan": ("adam", 2e-4, 0.5, 0.999, 1, "bn"),
    }


# --- names -----------------------------------------------------------------------------------------------------------


def test_unknown_losses_name_the_known() -> None:
    for table in (adversarial_loss, score_loss):
        with pytest.raises(OptionError, match="Did you mean lsgan"):
            table("lsgam")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("cgan", "two folders have no labels"),
        ("wgan", "an optimiser without momentum, and this method uses Adam"),
        ("ebgan", "this method has a critic that outputs scores"),
        ("began", "this method has a critic that outputs scores"),
    ],
)
def test_losses_that_make_no_sense_beside_other_losses_are_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(
        OptionError, match=f"{reason}.*Use one of lsgan, gan, wgan-gp, hinge; engine train dcgan takes {name}"
    ):
        score_loss(name)


# --- what is done to pictures ----------------------------------------------------------------------------------------


def test_instance_noise_has_the_asked_deviation_and_none_costs_nothing() -> None:
    images = torch.zeros(1, 3, 64, 64)
    assert add_noise(images, 0.0) is images
    noisy = add_noise(images, 0.25)
    assert noisy.std().item() == pytest.approx(0.25, rel=0.05)
    assert noisy.mean().item() == pytest.approx(0, abs=0.01)


def test_shifts_move_the_whole_batch_by_a_few_pixels_and_mirror_the_border() -> None:
    torch.manual_seed(0)
    images = torch.arange(2 * 64.0).view(2, 1, 8, 8)
    seen = set()
    for _ in range(200):
        moved = shift_randomly(images, 2)
        assert moved.shape == images.shape
        assert torch.equal(moved[1] - moved[0], torch.full((1, 8, 8), 64.0))
        down, right = divmod(int(moved[0, 0, 4, 4]), 8)
        seen.add((down - 4, right - 4))
        inner = images[:, :, down - 2 : down + 2, right - 2 : right + 2]
        assert torch.equal(moved[:, :, 2:6, 2:6], inner)
    assert seen == {(down, right) for down in range(-2, 3) for right in range(-2, 3)}
    assert shift_randomly(images, 0) is images
