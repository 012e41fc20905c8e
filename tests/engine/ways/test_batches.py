"""Several pictures in one run of the network: frames, tiles and faces come out as they do one by one."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ganlens.engine import Compositor, Frame, Framing, FunctionBackend, GeneratorSpec, Output, Translator, VideoSource
from ganlens.engine.backends import ModelBackend, open_backend
from ganlens.engine.errors import BackendError, MediaError, OptionError, ShapeError
from ganlens.engine.faces import FaceFraming
from ganlens.engine.spec import AttributeInput, ImageOutput, SizeRule
from ganlens.engine.threads import Group, grouped
from ganlens.engine.ways.batching import face_runs
from tests.engine.media.test_hardware import write_clip
from tests.kit.faces import backdrop, put_face, tint_model
from tests.kit.models import identity_model, invert_model, network_model, noise_image

FREE = SizeRule(multiple_of=8, minimum=8, preferred=(32, 48))
ATTRIBUTES = AttributeInput(names=("brighter", "darker"))
FACED = "image", "segment"


def pictures(count: int, size: tuple[int, int] = (32, 48), first: int = 0) -> list[Frame]:
    """RGB frames of smooth colours."""
    y, x = np.mgrid[0 : size[0], 0 : size[1]] / max(size)
    return [
        Frame.from_rgb(
            (127 + 90 * np.stack([np.sin(3 * x + n), np.cos(2 * y - n), np.sin(x * y + n)], -1)).astype(np.uint8),
            Fraction(n, 25),
        )
        for n in range(first, first + count)
    ]


class Counting:
    """A network as a function that notes how many pictures each run has."""

    def __init__(self, function: Callable[..., Any] = lambda x: -x) -> None:
        self.runs: list[int] = []
        self._function = function

    def __call__(self, image: NDArray[np.float32], *more: NDArray[np.float32]) -> Any:
        assert all(len(array) == len(image) for array in more)
        self.runs.append(len(image))
        return self._function(image, *more)


def make(
    network: Counting, batch: int | None = None, framing: str = "native", fixed: int | None = None, **options: Any
) -> Translator:
    spec = GeneratorSpec(name="test", architecture="onnx", size=FREE, **options.pop("spec", {}))
    backend = FunctionBackend(spec, network)
    backend.batch = fixed
    return Translator(backend, Compositor(spec, Framing(framing), **options), batch=batch)  # type: ignore[arg-type]


def assert_same(ours: list[Frame], theirs: list[Frame], within: int = 0) -> None:
    assert [frame.time for frame in ours] == [frame.time for frame in theirs]
    for one, other in zip(ours, theirs, strict=True):
        for a, b in zip(one.planes, other.planes, strict=True):
            assert np.abs(a.astype(int) - b).max() <= within


# --- groups -----------------------------------------------------------------------------------------------------------


def test_groups_are_full_but_for_the_last() -> None:
    assert list(grouped(range(7), 3)) == [Group(1, [0, 1, 2]), Group(4, [3, 4, 5]), Group(7, [6])]
    assert list(grouped([], 3)) == [] and list(grouped("ab", 2)) == [Group(1, ["a", "b"])]


def test_a_change_begins_a_new_group() -> None:
    assert list(grouped("aaabba", 2, str)) == [
        Group(1, ["a", "a"]),
        Group(3, ["a"]),
        Group(4, ["b", "b"]),
        Group(6, ["a"]),
    ]


def test_an_error_comes_after_what_was_before_it_and_closes_the_upstream() -> None:
    closed = []

    def upstream() -> Iterator[int]:
        try:
            yield from range(5)
            raise MediaError("broken on purpose")
        finally:
            closed.append(True)

    groups = grouped(upstream(), 4)
    assert next(groups).items == [0, 1, 2, 3] and next(groups).items == [4]
    with pytest.raises(MediaError, match="broken on purpose") as error:
        next(groups)
    assert error.value.frame_number == 6 and closed == [True]
    groups = grouped(upstream(), 2)
    next(groups)
    groups.close()
    assert closed == [True, True]


# --- frames -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("detail", [0.0, 1.0])
@pytest.mark.parametrize("framing", ["native", "fit"])
def test_frames_share_runs(framing: str, detail: float) -> None:
    frames, network = pictures(8), Counting()
    with make(Counting(), framing=framing, detail=detail) as single:
        expected = list(single.stream(frames))
    with make(network, 3, framing, detail=detail) as translator:
        came = list(translator.stream(frames))
        assert network.runs == [3, 3, 3], "the last run is filled up: no network is prepared for another number"
        assert {row.frames for row in translator.times.summary().values()} == {8}
        assert_same([translator(frames[0])], expected[:1])
        assert network.runs[3:] == [1]
    assert_same(came, expected)


def test_masks_and_attributes_reach_their_picture() -> None:
    def network(x: NDArray[np.float32], attributes: NDArray[np.float32]) -> Output:
        return Output(x * 0.5 + attributes[:, :1, None, None] - attributes[:, 1:, None, None], (x[:, :1] + 1) / 2)

    spec = {"attributes": ATTRIBUTES, "output": ImageOutput(kind="segment", mask="mask")}
    answers = []
    for batch in (None, 4):
        with make(Counting(network), batch, spec=spec) as translator:
            answers.append(list(translator.stream(pictures(6), brighter=0.5)))
    assert_same(*answers)


def test_frames_of_other_sizes_and_formats_begin_a_new_run() -> None:
    frames = [*pictures(3), *pictures(2, (40, 48), first=3), *pictures(3, first=5)]
    network = Counting()
    with make(network, 2) as translator, make(Counting()) as single:
        assert_same(list(translator.stream(frames)), list(single.stream(frames)))
    assert network.runs == [2, 1, 2, 2, 1]


def test_several_in_flight_take_groups_in_order() -> None:
    frames = pictures(23)
    spec = GeneratorSpec(name="test", architecture="onnx", size=FREE)
    threads = set()

    def network(x: NDArray[np.float32]) -> NDArray[np.float32]:
        threads.add(threading.get_ident())
        return -x

    def lane() -> FunctionBackend:
        return FunctionBackend(spec, network)

    with (
        Translator(FunctionBackend(spec, network), Compositor(spec, Framing("native")), [lane, lane], batch=4) as three,
        make(Counting()) as single,
    ):
        assert_same(list(three.stream(frames)), list(single.stream(frames)))
    assert threading.get_ident() not in threads or len(threads) > 1


def test_an_error_names_the_first_frame_of_its_run() -> None:
    def network(x: NDArray[np.float32]) -> NDArray[np.float32]:
        if len(counting.runs) == 3:
            raise BackendError("broken on purpose")
        return x

    counting = Counting(network)
    with make(counting, 2) as translator, pytest.raises(BackendError) as error:
        list(translator.stream(pictures(8)))
    assert error.value.frame_number == 5


def test_a_network_of_a_fixed_batch_is_filled_up() -> None:
    network = Counting()
    with make(network, fixed=4) as translator, make(Counting()) as single:
        assert translator.batch == 4
        assert_same(list(translator.stream(pictures(5))), list(single.stream(pictures(5))))
        assert_same([translator(pictures(1)[0])], [single(pictures(1)[0])])
    assert network.runs == [4, 4, 4]


# --- tiles ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("masked", [False, True])
def test_tiles_of_a_frame_share_runs(masked: bool) -> None:
    def network(x: NDArray[np.float32]) -> Any:
        return Output(-x, (x[:, :1] + 1) / 2) if masked else -x

    spec = {"size": SizeRule(fixed=(32, 32), preferred=(32, 32))}
    spec |= {"output": ImageOutput(kind="segment", mask="mask")} if masked else {}
    frames = pictures(2, (64, 100))
    answers, runs = [], []
    for batch in (None, 3, 64):
        counting = Counting(network)
        record = GeneratorSpec(name="test", architecture="onnx", **spec)
        with Translator(FunctionBackend(record, counting), Compositor(record, Framing("tile")), batch=batch) as one:
            answers.append(list(one.stream(frames)))
        runs.append(counting.runs)
    tiles = len(runs[0]) // 2
    assert set(runs[0]) == {1} and set(runs[1]) == {3} and len(runs[1]) == 2 * -(-tiles // 3)
    assert runs[2] == [tiles, tiles], "no larger than there are tiles"
    for other in answers[1:]:
        assert_same(answers[0], other)


# --- faces ------------------------------------------------------------------------------------------------------------


def crowd(count: int = 6) -> list[Frame]:
    """Frames with three faces each, which move, and one frame without any."""
    frames = []
    for number in range(count):
        pixels = backdrop(240, 480)
        if number != count - 1:
            for place in range(3):
                put_face(pixels, (80 + 160 * place + 2 * number, 115 + 8 * place), 140, 4.0 * place)
        frames.append(Frame.from_rgb(pixels, Fraction(number, 30)))
    return frames


@pytest.mark.parametrize("kind", FACED)
@pytest.mark.parametrize("name", ["cpu", "openvino"])
def test_faces_of_a_frame_share_runs(tmp_path: Path, name: str, kind: str) -> None:
    model = tint_model(tmp_path / "tint.onnx", kind=kind, batch="n")
    frame = crowd(2)[0]
    answers = []
    for batch, runs in ((None, [1, 1, 1]), (2, [2, 1]), (4, [2, 1]), (3, [3])):
        with Translator.open(model, backend=name, threads=1, batch=batch) as translator:
            seen, real = [], translator.backend.run

            def counted(image: Any, *more: Any, seen: Any = seen, real: Any = real) -> Output:
                seen.append(len(image))
                return real(image, *more)  # type: ignore[no-any-return]

            translator.backend.run = counted  # type: ignore[method-assign]
            answers.append([translator(frame, smiling=1.0)])
            assert seen == runs
            assert translator.times.summary()["run"].frames == 3
    for other in answers[1:]:
        assert_same(answers[0], other)


@pytest.mark.parametrize("steady", [0.0, 0.8])
@pytest.mark.parametrize("in_flight", [1, 2])
def test_faces_of_several_frames_share_runs(tmp_path: Path, in_flight: int, steady: float) -> None:
    """Faces that remember the frame before do so too where that frame is of the same run."""
    model = tint_model(tmp_path / "tint.onnx", batch="n")
    answers = []
    for batch in (None, 4):
        with Translator.open(
            model,
            backend="cpu",
            threads=in_flight,
            in_flight=in_flight,
            batch=batch,
            framing=FaceFraming(steady=steady),
        ) as translator:
            answers.append(list(translator.stream(crowd(), smiling=1.0)))
    assert_same(*answers)


def test_backends_on_a_gpu_let_faces_share_runs_unasked() -> None:
    from ganlens.engine.backends.onnxruntime_backend import OnnxRuntimeCpu, OnnxRuntimeCuda
    from ganlens.engine.backends.openvino_backend import OpenVino
    from ganlens.engine.backends.tensorrt import TensorRt

    assert [cls.usual_batch for cls in (OnnxRuntimeCpu, OpenVino, OnnxRuntimeCuda, TensorRt)] == [1, 1, 4, 4]
    spec = GeneratorSpec(name="test", architecture="onnx", size=FREE)
    backend = FunctionBackend(spec, Counting())
    backend.usual_batch = 4
    assert Translator(backend).batch == 1, "frames do not wait for each other unasked"
    assert [face_runs(faces, 4, None) for faces in (0, 1, 3, 7, 8)] == [[], [1], [2, 1], [4, 2, 1], [4, 4]]
    assert face_runs(7, 8, 3) == [3, 3, 1]
    assert face_runs(23, 8, None) == [8, 8, 4, 2, 1]
    assert len({count for faces in range(65) for count in face_runs(faces, 8, None)}) <= ModelBackend.BINDINGS


# --- networks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cpu", "openvino"])
def test_a_network_answers_the_same_in_a_batch(tmp_path: Path, name: str) -> None:
    """Within rounding: libraries may add up in another order."""
    model = network_model(tmp_path / "m.onnx", None)
    image = noise_image((32, 48), batch=3)
    with open_backend(model, name, threads=1, size=(32, 48), batch=3) as backend:
        assert list(backend._bindings) == [((3, 3, 32, 48),)], "warmed up for the batch"
        together = backend.run(image).translated.copy()
        alone = [backend.run(image[index : index + 1]).translated.copy() for index in range(3)]
    np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-5)
    with Translator.open(model, backend=name, threads=1, batch=3, frame_size=(32, 48)) as translator:
        together_frames = list(translator.stream(pictures(4)))
        assert_same(together_frames, [translator(frame) for frame in pictures(4)], within=1)


def test_a_model_of_another_batch_is_refused(tmp_path: Path) -> None:
    model = invert_model(tmp_path / "m.onnx")
    for name in ("cpu", "auto"):
        with pytest.raises(OptionError, match="batch of 4 was asked for; m.onnx is made for a batch of 1.*--dynamic"):
            Translator.open(model, backend=name, batch=4)
    faces = tint_model(tmp_path / "faces.onnx")
    with pytest.raises(OptionError, match="faces.onnx is made for a batch of 1"):
        Translator.open(faces, backend="cpu", batch=2)
    with pytest.raises(OptionError, match="batch: got 0"):
        Translator.open(model, backend="cpu", batch=0)
    with Translator.open(model, backend="cpu", batch=1) as translator:
        assert translator.batch == 1


@pytest.mark.parametrize("name", ["cpu", "openvino", "auto"])
def test_a_model_of_a_fixed_batch_opens_and_runs(tmp_path: Path, name: str) -> None:
    model = tint_model(tmp_path / "tint.onnx", batch=2)
    with Translator.open(model, backend=name, threads=1) as translator:
        assert translator.backend.batch == 2
        changed = translator(crowd(2)[0], smiling=1.0)
    with Translator.open(tint_model(tmp_path / "one.onnx"), backend="cpu", threads=1) as single:
        assert_same([changed], [single(crowd(2)[0], smiling=1.0)])


# --- the command ------------------------------------------------------------------------------------------------------


def test_batch_by_the_command(engine: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    clip, model = write_clip(tmp_path / "clip.mp4"), identity_model(tmp_path / "m.onnx", None)
    common = ("translate", "--video", clip, "-m", model, "--backend", "cpu", "--crf", 0, "-q")
    status, out, err = engine(*common, "-o", "o.mp4", "--batch", 5, "--in-flight", 1, "--json", "-")
    assert status == 0, err
    assert json.loads(out)["batch"] == 5
    assert engine(*common, "-o", "single.mp4")[0] == 0
    with VideoSource(tmp_path / "o.mp4") as ours, VideoSource(tmp_path / "single.mp4") as single:
        assert_same([frame.copy() for frame in ours], [frame.copy() for frame in single])


def test_an_answer_of_another_size_is_no_picture_of_a_compositor() -> None:
    compositor = Compositor(GeneratorSpec(name="test", architecture="onnx", size=FREE), Framing("native"))
    (frame,) = pictures(1)
    image = compositor.prepare(frame)
    assert image.shape == (3, 32, 48)
    with pytest.raises(ShapeError, match="answered an image of shape"):
        compositor.compose(frame, Output(image[None, :, ::2]), frame.copy())
