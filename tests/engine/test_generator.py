"""Pictures from noise: the same from the same seed, whatever the batch and the backend."""

import numpy as np
import pytest

from ganlens.engine import FunctionBackend, Generator, Translator, read_spec
from ganlens.engine.backends import available
from ganlens.engine.errors import MediaError, ModelFileError, OptionError, ShapeError
from ganlens.engine.model.attributes import attribute_vector
from ganlens.engine.model.latents import LARGEST_SEED, between, draw, read_latents, seeded
from ganlens.engine.spec import LatentInput
from tests.kit.models import FACE_LABELS, invert_model, make_spec, noise_model

USABLE = [status.name for status in available() if status.usable]
NORMAL, UNIFORM = LatentInput(dim=6), LatentInput(dim=6, distribution="uniform")


def echo(dim=4, size=(2, 2), **spec):
    """A generator whose pixels are its latent: the first three values, everywhere; it keeps what it was given."""
    runs = []

    def function(*inputs):
        runs.append(inputs)
        latent = inputs[-1]
        return np.broadcast_to(latent[:, :3, None, None], (len(latent), 3, *size)).astype(np.float32)

    generator = Generator(FunctionBackend(make_spec(size, image=None, latent={"dim": dim}, **spec), function))
    return generator, runs


# --- the contract


@pytest.mark.parametrize("name", USABLE)
@pytest.mark.parametrize("batch", ["n", 1])
def test_a_seed_is_the_same_picture_on_each_backend(tmp_path, name, batch):
    path = noise_model(tmp_path / "psc.onnx", batch=batch)
    with Generator.open(path, backend=name) as generator:
        pictures = generator(labels=["Female", "WAVY"], seed=7, n=9)
        exact = name in ("cpu", "openvino") and getattr(generator.backend, "precision", "f32") == "f32"
    assert pictures.shape == (9, 16, 24, 3) and pictures.dtype == np.uint8
    rng = np.random.default_rng(0)  # the model's own weights
    w, v = rng.normal(0, 0.4, (6, 1152)).astype(np.float32), rng.normal(0, 0.4, (5, 1152)).astype(np.float32)
    label = attribute_vector(FACE_LABELS, {"female": 1, "wavy": 1})
    for number, picture in enumerate(pictures):
        latent = draw(NORMAL, seeded(7 + number))
        expected = np.tanh(latent @ w + label @ v).reshape(3, 16, 24).transpose(1, 2, 0)
        difference = np.abs(picture - np.clip(expected * 127.5 + 127.5, 0, 255)).max()
        assert difference <= (0.51 if exact else 5.0), "rounded to the nearest level; TF32 and bfloat16 are coarser"


def test_seeds_are_what_they_were_in_the_first_release():
    """Numbers that must never change: a seed in a file's name is a promise."""
    np.testing.assert_allclose(
        draw(NORMAL, seeded(7)), [0.0012301, 0.2987455, -0.2741379, -0.8905918, -0.4546710, -0.9916465], atol=1e-6
    )
    np.testing.assert_allclose(draw(UNIFORM, seeded(7))[:2], [0.2501910, 0.7944277], atol=1e-6)


def test_a_picture_depends_on_its_seed_only():
    generator, _ = echo()
    many = list(generator.pictures(seed=3, n=11))
    assert [picture.seed for picture in many] == list(range(3, 14))
    for picture in many:
        np.testing.assert_array_equal(generator(seed=picture.seed)[0], picture.pixels)
    assert len({picture.pixels.tobytes() for picture in many}) == 11


def test_labels_left_open_belong_to_the_seed(tmp_path):
    with Generator.open(noise_model(tmp_path / "psc.onnx")) as generator:
        many = list(generator.pictures(labels=["male"], seed=0, n=12))
        assert all(picture.labels[0] == "male" and len(picture.labels) == 2 for picture in many)
        assert len({picture.labels for picture in many}) == 3
        for picture in many[5:7]:
            (again,) = generator.pictures(labels=["male"], seed=picture.seed)
            assert again.labels == picture.labels
            assert np.abs(again.pixels.astype(int) - picture.pixels).max() <= 1


@pytest.mark.parametrize("n", [1, 4, 5, 8, 9])
def test_runs_are_of_one_size(n):
    generator, runs = echo()
    assert len(generator(n=n)) == n
    sizes = {len(run[-1]) for run in runs}
    assert len(sizes) == 1 and sizes.pop() <= Generator.BATCH


def test_a_graph_of_a_fixed_batch_is_filled_up(tmp_path):
    generator, runs = echo()
    generator.backend.batch = 3
    free = echo()[0](n=7)
    np.testing.assert_array_equal(generator(n=7), free)
    assert [len(run[-1]) for run in runs] == [3, 3, 3]


def test_levels_range_and_channel_order():
    latent = np.array([[0.0, 0.5, 2.0, 9.0]])
    for order, expected in (("RGB", [0, 128, 255]), ("BGR", [255, 128, 0])):
        generator, _ = echo(value_range=(0.0, 1.0), channel_order=order)
        np.testing.assert_array_equal(generator(latent=latent)[0, 0, 0], expected)


# --- latents


def test_given_latents_take_the_place_of_drawn_ones_and_leave_the_labels(tmp_path):
    latents = np.zeros((3, 6))
    with Generator.open(noise_model(tmp_path / "psc.onnx")) as generator:
        drawn = [picture.labels for picture in generator.pictures(seed=5, n=3)]
        given = list(generator.pictures(seed=5, latent=latents))
        assert [picture.labels for picture in given] == drawn
        assert len(generator(latent=latents[0])) == 1


@pytest.mark.parametrize("port", [NORMAL, UNIFORM])
def test_drawn_latents_have_the_distribution_of_the_training(port):
    values = np.concatenate([draw(port, seeded(seed)) for seed in range(2000)])
    assert abs(values.mean()) < 0.03
    assert abs(values.std() - (1.0 if port is NORMAL else 3**-0.5)) < 0.03
    assert port is NORMAL or np.abs(values).max() <= 1


def test_between_normal_latents_the_way_keeps_their_length():
    start, end = np.float32([3, 0, 0]), np.float32([0, 4, 0])
    port = LatentInput(dim=3)
    np.testing.assert_allclose(between(port, start, end, 0), start, atol=1e-6)
    np.testing.assert_allclose(between(port, start, end, 1), end, atol=1e-6)
    np.testing.assert_allclose(between(port, start, end, 0.5), [3 * 0.5**0.5, 4 * 0.5**0.5, 0], atol=1e-6)
    np.testing.assert_allclose(between(port, start, -start, 0.5), [0, 0, 0], atol=1e-5)  # no great circle is the one
    uniform = LatentInput(dim=3, distribution="uniform")
    np.testing.assert_allclose(between(uniform, start, end, 0.5), [1.5, 2, 0])


def test_a_walk_passes_through_every_picture_and_ends_where_it_began(tmp_path):
    with Generator.open(noise_model(tmp_path / "psc.onnx"), backend=USABLE[-1]) as generator:
        stations = generator(seed=2, n=3).astype(int)
        frames = np.stack(list(generator.walk(12, seed=2, n=3))).astype(int)
    assert len(frames) == 12
    assert np.abs(frames[[0, 4, 8]] - stations).max() <= 1
    steps = np.abs(np.diff(frames, axis=0, append=frames[:1])).mean(axis=(1, 2, 3))
    assert steps.max() < 3 * steps.mean(), "no jump, also not from the last frame to the first"


def test_latents_from_a_file(tmp_path):
    path = tmp_path / "z.npy"
    np.save(path, np.arange(12.0).reshape(2, 6))
    latents = read_latents(path, NORMAL)
    assert latents.dtype == np.float32 and latents.shape == (2, 6)


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros(5), r"z.npy of shape \(5,\), expected \(6,\) or \(N, 6\)"),
        (np.zeros((2, 3, 6)), r"got .*of shape \(2, 3, 6\)"),
        (np.zeros((0, 6)), r"got .*of shape \(0, 6\)"),
        (np.full(6, np.nan), "expected finite numbers"),
        (np.array(["a"] * 6), "of <U1, expected finite numbers"),
    ],
)
def test_latents_that_do_not_fit(tmp_path, array, says):
    np.save(tmp_path / "z.npy", array)
    with pytest.raises(ShapeError, match=says):
        read_latents(tmp_path / "z.npy", NORMAL)


def test_files_that_hold_no_latents(tmp_path):
    (tmp_path / "text.npy").write_text("1 2 3")
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 cut off")
    np.savez(tmp_path / "many.npz", np.zeros(6))
    for name in ("missing.npy", "text.npy", "cut.npz", "many.npz", "."):
        with pytest.raises(MediaError, match="as numpy.save writes it"):
            read_latents(tmp_path / name, NORMAL)


# --- wrong use


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"n": 0}, OptionError, "n: got 0, expected at least 1"),
        ({"seed": -1}, OptionError, "seed: got -1 for . pictures, expected 0 to 42949672"),
        ({"seed": LARGEST_SEED, "n": 2}, OptionError, f"for 2 pictures, expected 0 to {LARGEST_SEED - 1}"),
        ({"labels": ["female"]}, OptionError, "'tiny' takes no labels, got female"),
        ({"latent": np.zeros(5)}, ShapeError, r"got a latent of shape \(5,\), expected \(4,\) or \(N, 4\)"),
        ({"latent": np.zeros((2, 4)), "n": 3}, OptionError, "got n = 3 with 2 latents"),
    ],
)
def test_wrong_options(options, error, says):
    generator, runs = echo()
    with pytest.raises(error, match=says):
        generator(**options)
    with pytest.raises(error, match=says):
        generator.walk(10, **{"n": 2, **options} if "latent" not in options else options)
    assert not runs


def test_a_walk_needs_two_pictures_and_a_frame_for_each():
    generator, _ = echo()
    with pytest.raises(OptionError, match="got 1 picture for a walk"):
        generator.walk(10, n=1)
    with pytest.raises(OptionError, match="got 3 frames for a walk through 4 pictures"):
        generator.walk(3, n=4)


def test_models_that_take_an_image_and_models_that_take_none(tmp_path):
    with pytest.raises(OptionError, match="'tiny' takes an image and cannot generate from noise. Use engine translate"):
        Generator.open(invert_model(tmp_path / "invert.onnx"))
    with pytest.raises(OptionError, match="'psc' generates images from noise and takes no frame. Use engine generate"):
        Translator.open(noise_model(tmp_path / "psc.onnx"))
    with pytest.raises(ModelFileError, match="foreign.onnx has no ganlens record"):
        Generator.open(invert_model(tmp_path / "foreign.onnx", foreign=True))


def test_the_record_survives_the_file(tmp_path):
    spec = read_spec(noise_model(tmp_path / "psc.onnx"))
    assert spec.image is None and spec.latent == NORMAL and spec.attributes == FACE_LABELS
