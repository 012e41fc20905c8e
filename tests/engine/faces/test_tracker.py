"""Finding and following faces: where, how steadily, and how they come and go."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from ganlens.engine import Frame, Framing
from ganlens.engine.errors import MissingExtra, OptionError
from ganlens.engine.faces import FaceFraming
from ganlens.engine.faces import detector as opencv
from ganlens.engine.faces.detector import Face, YuNet
from ganlens.engine.faces.finder import Finder
from ganlens.engine.faces.geometry import CELEBA, Similarity
from ganlens.engine.faces.tracker import Follower, robust_similarity
from tests.kit.faces import backdrop, eyes_at, put_face

SIZE = (240, 320)


def frame_of(*faces: tuple[float, float, float, float], number: int = 0, size: tuple[int, int] = SIZE, seed: int = 0):
    """A frame with faces drawn at (x, y), width and degrees."""
    pixels = backdrop(*size, seed)
    for x, y, width, degrees in faces:
        put_face(pixels, (x, y), width, degrees)
    return Frame.from_rgb(pixels, Fraction(number, 30))


def yuv(frame: Frame, pixel_format: str) -> Frame:
    """The luma of a frame, grey."""
    luma = np.ascontiguousarray((frame.planes[0] @ [0.2126, 0.7152, 0.0722]) * 219 / 255 + 16).astype(np.uint8)
    half = -(-luma.shape[0] // 2), -(-luma.shape[1] // 2)
    grey = np.full(half, 128, np.uint8)
    planes = (luma, grey, grey) if pixel_format == "yuv420p" else (luma, np.stack([grey, grey], axis=-1))
    return Frame(planes, pixel_format, time=frame.time)  # type: ignore[arg-type]


def eyes_of(square: Similarity) -> np.ndarray:
    return square.to_frame(CELEBA[:2])


# --- one picture --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pixel_format", ["rgb24", "yuv420p", "nv12"])
@pytest.mark.parametrize("degrees", [0.0, 20.0, -25.0])
def test_a_face_is_found_where_it_is_drawn(pixel_format, degrees):
    frame = frame_of((150, 120, 160, degrees))
    frame = frame if pixel_format == "rgb24" else yuv(frame, pixel_format)
    (face,) = Follower().find(frame)
    assert face.opacity == 1
    assert abs(eyes_of(face.square) - np.array(eyes_at((150, 120), 160, degrees))).max() < 6  # of a square of 140
    assert face.square.degrees == pytest.approx(degrees, abs=7)


def test_two_faces_the_larger_first_and_no_more_than_asked_for():
    frame = frame_of((80, 110, 110, 0), (220, 120, 160, 0))
    faces = Follower().find(frame)
    assert [round(face.square.centre.real / 70) for face in faces] == [3, 1]
    (one,) = Follower(FaceFraming(max_faces=1)).find(frame)
    assert one.square.centre.real > 180


def test_no_face_is_found_where_there_is_none():
    assert Follower().find(frame_of()) == ()
    assert Follower().find(Frame.from_rgb(np.zeros((1, 1, 3), np.uint8))) == ()


def test_faces_of_less_than_16_pixels_are_left_alone():
    """Whatever the detector finds: one of 15 is not changed, one of 30 is."""

    class Fixed:
        def __init__(self, width: float) -> None:
            self.width = width

        def detect(self, picture):
            middle = complex(picture.shape[1], picture.shape[0]) / 2
            side = 2.07 * self.width if picture.shape[0] != 128 else 128
            return [Face(middle + side * (CELEBA - (0.5 + 0.5j)), side / 2.07, 0.9)]

    frame = frame_of()
    assert Follower(detector=Fixed(15)).find(frame) == ()
    assert [face.opacity for face in Follower(detector=Fixed(30)).find(frame)] == [1]


def test_a_face_half_outside_shows_little_or_nothing():
    (inside,) = Follower().find(frame_of((160, 120, 160, 0)))
    outside = Follower().find(frame_of((-4, 120, 160, 0)))
    assert inside.opacity == 1
    assert all(face.opacity < 0.2 for face in outside)


def test_fifty_faces_are_no_trouble():
    grid = [(32 + 64 * (i % 10), 40 + 72 * (i // 10), 62.0, 0.0) for i in range(50)]
    frame = frame_of(*grid, size=(400, 660))
    found = Finder(YuNet()).search(frame)
    assert len(found) > 40
    assert len(Follower(FaceFraming(max_faces=8)).find(frame)) == 8


# --- video --------------------------------------------------------------------------------------------------------


def test_a_moving_face_is_followed_without_trembling_or_lag():
    """It glides, turns and grows; the eyes stay under it within 3 % of the square, frame to frame within 1 %."""
    follower = Follower()
    errors, changes, before = [], [], None
    for number in range(45):
        s = number / 30
        x, y, width, degrees = 110 + 80 * s, 120 + 20 * math.sin(3 * s), 150 * (1 + 0.1 * s), 12 * math.sin(2 * s)
        (face,) = follower.update(frame_of((x, y, width, degrees), number=number))
        error = (eyes_of(face.square) - np.array(eyes_at((x, y), width, degrees))) / face.square.side
        errors.append(np.abs(error).max())
        if before is not None:
            changes.append(np.abs(error - before).max())
        before = error
        assert (face.number, face.opacity) == (1, 1)
    assert max(errors) < 0.05 and np.median(errors) < 0.03
    assert np.median(changes) < 0.006 and max(changes) < 0.02


def test_noise_does_not_shake_the_square():
    """The same face in frames of noise: the detector's answers alone tremble several times as much."""
    follower, finder = Follower(), Finder(YuNet())
    still = frame_of((160, 120, 150, 0)).planes[0]
    ours, theirs = [], []
    for number in range(40):
        noise = np.random.default_rng(number).normal(0, 6, still.shape)
        frame = Frame.from_rgb(np.clip(still + noise, 0, 255).astype(np.uint8), Fraction(number, 30))
        (face,) = follower.update(frame)
        ours.append(face.square)
        sight = finder.look(frame, ours[0])
        assert sight is not None
        theirs.append(sight.square)

    def trembling(squares: list[Similarity]) -> float:
        corners = np.array([square.to_frame(np.array([0, 1, 1j, 1 + 1j])) for square in squares])
        return float(np.abs(np.diff(corners, 2, axis=0)).mean() / squares[0].side)

    assert trembling(ours) < 0.5 * trembling(theirs)
    assert trembling(ours) < 0.002


def opacities(follower: Follower, frames) -> list[float]:
    found = [follower.update(frame) for frame in frames]
    return [faces[0].opacity if faces else 0.0 for faces in found]


def test_a_face_that_enters_fades_in():
    frames = [frame_of(number=i) for i in range(5)]
    frames += [frame_of((160, 120, 150, 0), number=i) for i in range(5, 30)]
    shown = opacities(Follower(FaceFraming(detect_every=3)), frames)
    assert shown[4] == 0 and shown[-1] == 1
    assert 0 < max(np.diff(shown)) < 0.2


def test_a_face_that_vanishes_fades_out():
    frames = [frame_of((160, 120, 150, 0), number=i) for i in range(10)]
    frames += [frame_of(number=i) for i in range(10, 40)]
    shown = opacities(Follower(), frames)
    assert shown[0] == shown[9] == 1 and shown[-1] == 0
    assert 0 > min(np.diff(shown)) > -0.2


def test_a_face_that_leaves_over_the_border_fades_out():
    frames = [frame_of((160 - 5 * i, 120, 150, 0), number=i) for i in range(40)]
    shown = opacities(Follower(), frames)
    assert shown[0] == 1 and shown[-1] == 0
    assert 0 > min(np.diff(shown)) > -0.2


def test_a_cut_begins_anew_at_once():
    frames = [frame_of((90, 110, 130, 0), number=i) for i in range(6)]
    bright = [Frame.from_rgb(255 - frame_of(number=6, seed=3).planes[0] // 3, Fraction(i, 30)) for i in range(6, 10)]
    for frame in bright:
        put_face(frame.planes[0], (220, 130), 160)
    follower = Follower(FaceFraming(detect_every=100))
    faces = [follower.update(frame) for frame in [*frames, *bright]]
    assert [len(found) for found in faces] == [1] * 10
    assert faces[5][0].square.centre.real < 130 and faces[6][0].square.centre.real > 180
    assert faces[6][0].opacity == 1 and faces[6][0].number != faces[5][0].number


def test_a_larger_face_takes_the_place_of_a_smaller_one_by_fading():
    frames = [frame_of((70, 120, 100, 0), number=i) for i in range(5)]
    frames += [frame_of((70, 120, 100, 0), (220, 120, 170, 0), number=i) for i in range(5, 40)]
    follower = Follower(FaceFraming(max_faces=1, detect_every=5))
    found = [follower.update(frame) for frame in frames]
    assert all(len(faces) <= 1 for faces in found)
    assert found[0][0].square.centre.real < 120 and found[-1][0].square.centre.real > 180
    assert found[-1][0].opacity == 1


def test_another_size_of_frames_begins_anew():
    follower = Follower()
    assert follower.update(frame_of((160, 120, 150, 0)))
    assert follower.update(frame_of((100, 80, 120, 0), size=(160, 200), number=1))[0].opacity == 1


def test_frames_without_a_time_and_times_that_stand_still():
    follower = Follower()
    pixels = frame_of((160, 120, 150, 0)).planes[0]
    for time in (None, None, Fraction(1), Fraction(1), Fraction(0)):
        assert follower.update(Frame.from_rgb(pixels, time))[0].opacity == 1


def test_points_on_something_else_do_not_count():
    rng = np.random.default_rng(1)
    source = rng.uniform(0, 100, 40) + 1j * rng.uniform(0, 100, 40)
    motion = Similarity(complex(np.exp(0.1j) * 1.05), 3 + 2j)
    target = motion.to_square(source)
    target[:12] += 25 + 10j  # a hand before the face
    found, weights = robust_similarity(source, target, tolerance=1.0)
    assert abs(found.turn - motion.turn) < 0.002
    assert weights[:12].max() < 0.05 < 0.9 < weights[12:].min()


# --- options and errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"max_faces": 0}, "max_faces: got 0, expected 1 to 64"),
        ({"max_faces": 65}, "expected 1 to 64"),
        ({"detect_every": 0}, "detect_every: got 0, expected at least 1 frame"),
        ({"steady": 1.1}, "steady: got 1.1, expected 0 to 1"),
        ({"feather": -1}, "must not be negative"),
    ],
)
def test_wrong_options_are_named(option, message):
    with pytest.raises(OptionError, match=message):
        FaceFraming(**option)


def test_face_framing_is_no_rectangle():
    with pytest.raises(OptionError, match="FaceFraming"):
        Framing("faces")  # type: ignore[arg-type]


def test_without_opencv_the_cure_is_named(monkeypatch):
    def no_opencv(name, *rest):
        if name == "cv2":
            raise ModuleNotFoundError("No module named 'cv2'", name="cv2")
        return real(name, *rest)

    import builtins

    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", no_opencv)
    with pytest.raises(MissingExtra, match=r"opencv-python-headless.*pip install 'ganlens\[faces\]'"):
        YuNet()
    assert opencv.YUNET.is_file()
