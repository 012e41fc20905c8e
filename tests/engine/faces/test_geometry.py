"""Where the square of a face lies."""

import math

import numpy as np
import pytest

from ganlens.engine.errors import OptionError
from ganlens.engine.faces.geometry import CELEBA, Similarity, share_inside, sidewise

UPRIGHT = Similarity(1 / 100, -(200 + 50j) / 100)
"""A square of 100 pixels whose left upper corner is at x = 200, y = 50."""


def turned(degrees: float, side: float = 100.0, centre: complex = 300 + 200j) -> Similarity:
    turn = np.exp(-1j * math.radians(degrees)) / side
    return Similarity(complex(turn), complex(0.5 + 0.5j - turn * centre))


def test_the_parts_of_a_square():
    assert (UPRIGHT.side, UPRIGHT.centre, UPRIGHT.degrees) == (pytest.approx(100), 250 + 100j, 0)
    assert UPRIGHT.to_square(np.array([200 + 50j, 300 + 150j])) == pytest.approx([0, 1 + 1j])
    assert UPRIGHT.to_frame(np.array([0, 1 + 1j])) == pytest.approx([200 + 50j, 300 + 150j])
    leaning = turned(20)
    assert (leaning.side, leaning.degrees) == (pytest.approx(100), pytest.approx(20))
    assert leaning.to_frame(leaning.to_square(np.array([3 + 4j]))) == pytest.approx([3 + 4j])


def test_eyes_of_a_square_stand_where_celeba_has_them():
    """In CelebA's aligned 178x218 they are at about (69.5, 111.5) and (107.7, 111.5); the square begins in row 20."""
    eyes = CELEBA[:2] * 178 + 20j
    assert abs(eyes - np.array([69.5 + 111.5j, 107.7 + 111.5j])).max() < 1


@pytest.mark.parametrize("degrees", [0, 25, -60, 170])
def test_landmarks_give_the_square_back(degrees):
    square = turned(degrees, 77)
    found = Similarity.of_face(square.to_frame(CELEBA))
    assert found.distance(square) < 1e-9
    assert found.degrees == pytest.approx(degrees)


def test_one_landmark_off_moves_the_square_little():
    square = turned(10)
    landmarks = square.to_frame(CELEBA)
    landmarks[2] += 10  # the nose, a tenth of the square
    assert Similarity.of_face(landmarks).distance(square) < 0.03


def test_weights_of_zero_leave_points_out():
    points = np.array([0, 1, 1j, 5 + 5j])
    goal = np.array([2, 4, 2 + 2j, 0])
    fitted = Similarity.between(points, goal, np.array([1.0, 1, 1, 0]))
    assert (fitted.turn, fitted.shift) == (pytest.approx(2), pytest.approx(2))


def test_tensor_parameters_map_pixels_of_the_frame():
    square = turned(30)
    a, b, shift_u, shift_v = square.tensor((64, 64))
    corner = square.to_frame(np.array([1 + 0j]))[0]
    u, v = a * corner.real - b * corner.imag + shift_u, b * corner.real + a * corner.imag + shift_v
    assert (u, v) == (pytest.approx(64), pytest.approx(0, abs=1e-9))
    with pytest.raises(OptionError, match="got a face model of 32x64"):
        square.tensor((64, 32))


def test_a_square_moves_with_the_picture():
    motion = Similarity(1.1 * np.exp(0.2j), 3 - 2j)
    before = turned(5)
    now = before.moved(motion)
    points = np.array([0, 1, 0.3 + 0.7j])
    assert now.to_frame(points) == pytest.approx(motion.to_square(before.to_frame(points)))


def test_steps_lead_from_one_square_to_the_other():
    one, other = turned(0, 100), turned(40, 200, 320 + 210j)
    assert one.step_to(other, 0).distance(one) < 1e-9
    assert one.step_to(other, 1).distance(other) < 1e-9
    half = one.step_to(other, 0.5)
    assert (half.side, half.degrees, half.centre) == (
        pytest.approx(math.sqrt(20000)),
        pytest.approx(20),
        pytest.approx(310 + 205j),
    )


def test_share_of_the_face_inside_the_frame():
    assert share_inside(UPRIGHT, (200, 400)) == 1
    assert share_inside(UPRIGHT, (200, 250)) == pytest.approx(0.5)  # cut through its middle
    assert share_inside(UPRIGHT, (60, 400)) == 0


def test_a_head_that_turns_is_seen_to():
    landmarks = turned(33).to_frame(CELEBA)
    assert sidewise(landmarks) == pytest.approx(0, abs=1e-6)
    half = landmarks.copy()
    half[2] += 0.5 * (landmarks[1] - landmarks[0]) / 2
    assert sidewise(half) == pytest.approx(0.5, abs=0.01)
    assert sidewise(np.zeros(5, complex)) == 2
