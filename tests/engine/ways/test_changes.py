"""What changes while frames flow: attributes, opacity, detail, bypass, and the model itself."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ganlens.engine import (
    Color,
    Compositor,
    Controls,
    Frame,
    Framing,
    FunctionBackend,
    GeneratorSpec,
    Output,
    Translator,
    cuda,
)
from ganlens.engine.cuda import Device
from ganlens.engine.errors import BackendError, EngineError, OptionError
from ganlens.engine.faces import FaceFraming
from ganlens.engine.spec import AttributeInput, ImageOutput, SizeRule
from ganlens.engine.ways import opening
from ganlens.engine.ways.gpu import FramePipeline
from tests.engine.ways.test_batches import Counting, assert_same, crowd, pictures
from tests.fakes.cuda import FakeCuda, OnnxRuntimeOnFake, kept_cubins
from tests.kit.faces import tint_model
from tests.kit.models import attribute_model, identity_model, invert_model, network_model

FREE = SizeRule(multiple_of=8, minimum=8, preferred=(32, 48))
PORT = AttributeInput(names=("brighter", "darker"))
CPU = ("cpu", "openvino")


def shifting(x: NDArray[np.float32], attributes: NDArray[np.float32]) -> NDArray[np.float32]:
    return x * 0.5 + attributes[:, :1, None, None] - attributes[:, 1:, None, None]  # type: ignore[no-any-return]


def shift(
    lanes: int = 1, batch: int | None = None, function: Callable[..., Any] = shifting, **blending: Any
) -> Translator:
    """A translator with attributes, over a function."""
    spec = GeneratorSpec(name="test", architecture="onnx", size=FREE, attributes=PORT)
    more = [lambda: FunctionBackend(spec, function)] * (lanes - 1)
    return Translator(FunctionBackend(spec, function), Compositor(spec, Framing("fit"), **blending), more, batch=batch)


def changing(
    frames: list[Frame], controls: Controls, changes: dict[int, dict[str, Any]], asked: list[int] | None = None
) -> Iterator[Frame]:
    """The frames, with changes of the controls just before some of them."""
    for number, frame in enumerate(frames):
        if number in changes:
            controls.set(**changes[number])
        if asked is not None:
            asked.append(number)
        yield frame


# --- settings ---------------------------------------------------------------------------------------------------------


CHANGES: dict[int, dict[str, Any]] = {
    2: {"attributes": {"brighter": 0.75}},
    4: {"opacity": 0.25},
    5: {"detail": 0.5},
    7: {"bypass": True},
    9: {"bypass": False, "attributes": {"darker": 0.5, "brighter": None}, "opacity": 1.0, "detail": None},
    10: {"opacity": 0.0},
    12: {"opacity": 0.5},
}


def expected_of_changes(frames: list[Frame], one: Callable[..., Translator]) -> list[Frame]:
    """Each frame by a translator of its own, opened with the settings of its moment."""
    state: dict[str, Any] = {"attributes": {}, "opacity": 1.0, "detail": None, "bypass": False}
    answers = []
    for number, frame in enumerate(frames):
        for name, value in CHANGES.get(number, {}).items():
            if name == "attributes":
                merged = {**state["attributes"], **value}
                value = {key: amount for key, amount in merged.items() if amount is not None}
            state[name] = value
        if state["bypass"]:
            answers.append(frame)
            continue
        with one(detail=state["detail"] or 0.0, opacity=state["opacity"]) as translator:
            answers.append(translator(frame, attributes=state["attributes"]))
    return answers


@pytest.mark.parametrize("batch", [None, 3])
@pytest.mark.parametrize("lanes", [1, 3])
def test_settings_change_while_frames_flow(lanes: int, batch: int | None) -> None:
    frames, controls = pictures(14, (40, 60)), Controls()
    with shift(lanes, batch) as translator:
        came = list(translator.stream(changing(frames, controls, CHANGES), controls=controls))
    assert_same(came, expected_of_changes(frames, lambda **options: shift(**options)))


def test_rows_of_one_run_differ_in_attributes_opacity_and_detail() -> None:
    counting = Counting(shifting)
    frames, controls = pictures(4, (40, 60)), Controls()
    changes = {1: {"attributes": {"brighter": 0.5}}, 2: {"opacity": 0.5}, 3: {"detail": 1.0}}
    with shift(batch=4, function=counting) as translator:
        came = list(translator.stream(changing(frames, controls, changes), controls=controls))
    assert counting.runs == [4]
    expected = []
    for attributes, options in (
        ({}, {}),
        ({"brighter": 0.5}, {}),
        ({"brighter": 0.5}, {"opacity": 0.5}),
        ({"brighter": 0.5}, {"opacity": 0.5, "detail": 1.0}),
    ):
        with shift(**options) as one:
            expected.append(one(frames[len(expected)], attributes=attributes))
    assert_same(came, expected)


def test_hidden_frames_pass_themselves_without_a_run() -> None:
    counting = Counting(shifting)
    frames, controls = pictures(6), Controls(bypass=True)
    with shift(function=counting) as translator:
        changes = {3: {"bypass": False, "opacity": 0.0}}
        came = list(translator.stream(changing(frames, controls, changes), controls=controls))
        assert all(ours is theirs for ours, theirs in zip(came, frames, strict=True))
        assert counting.runs == [] and not translator.times.summary()
    with shift(function=counting, opacity=0.0) as translator:
        image = frames[0].planes[0]
        result = translator(image)
        assert np.array_equal(result, image) and result is not image and counting.runs == []


def test_nothing_is_made_anew_when_opacity_or_detail_change() -> None:
    frames, controls = pictures(6, (40, 60)), Controls()
    with shift() as translator:
        compositor: Any = translator.compositor
        changes = {n: {"opacity": 1 - n / 10, "detail": n / 10} for n in range(1, 6)}
        made = []
        for _ in translator.stream(changing(frames, controls, changes), controls=controls):
            made.append([id(geometry) for geometry in compositor._geometries.values()])
    assert len(made) == 6 and all(row == made[0] and len(row) == 1 for row in made)


def test_attributes_by_keyword_by_name_and_by_controls() -> None:
    frame = pictures(1)[0]
    with shift() as translator:
        expected = translator(frame, brighter=0.5)
        assert_same([translator(frame, attributes={"Brighter": 0.5})], [expected])
        assert_same(list(translator.stream([frame], brighter=0.5)), [expected])
        controls = Controls(attributes={"brighter": 0.5})
        assert_same(list(translator.stream([frame], controls=controls, attributes={"darker": 0.0})), [expected])
        with pytest.raises(OptionError, match="Unknown attribute 'brighte'"):
            translator.stream([frame], controls=Controls(attributes={"brighte": 1}))


def test_opacity_of_the_controls_is_a_share_of_the_translators() -> None:
    frame = pictures(1)[0]
    with shift(opacity=0.25) as expected, shift(opacity=0.5) as translator:
        assert_same(list(translator.stream([frame], controls=Controls(opacity=0.5))), [expected(frame)])


def test_a_wrong_attribute_while_frames_flow_is_named_with_its_frame_after_those_before_it() -> None:
    frames, controls = pictures(8), Controls()
    with shift(2) as translator:
        stream = translator.stream(changing(frames, controls, {5: {"attributes": {"nose": 1.0}}}), controls=controls)
        came = []
        with pytest.raises(OptionError, match="Unknown attribute 'nose'") as error:
            for frame in stream:
                came.append(frame)
    assert len(came) == 5 and error.value.frame_number == 6


@pytest.mark.parametrize("in_flight", [1, 2])
def test_settings_of_faces_change_and_following_goes_on(tmp_path: Path, in_flight: int) -> None:
    model, frames, controls = tint_model(tmp_path / "tint.onnx"), crowd(9)[:8], Controls()
    changes: dict[int, dict[str, Any]] = {
        2: {"attributes": {"smiling": 1.0}},
        4: {"bypass": True},
        5: {"bypass": False},
        6: {"opacity": 0.5, "detail": 0.5},
    }
    options: dict[str, Any] = {"backend": "cpu", "threads": in_flight, "in_flight": in_flight}
    with Translator.open(model, framing=FaceFraming(detect_every=100), **options) as translator:
        came = list(translator.stream(changing(frames, controls, changes), controls=controls))
        assert translator.frames_with_faces == 8
        neutral = list(translator.stream(frames))
        smiling = list(translator.stream(frames, smiling=1.0))
    with Translator.open(model, framing=FaceFraming(detect_every=100), opacity=0.5, detail=0.5, **options) as half:
        weak = list(half.stream(frames, smiling=1.0))
    # Searched for in the first frame only: the faces of later ones are there because they were followed.
    assert_same(came, [*neutral[:2], *smiling[2:4], frames[4], smiling[5], *weak[6:]])
    assert came[4] is frames[4]


# --- clips side by side -----------------------------------------------------------------------------------------------


def as_nv12(frame: Frame) -> Frame:
    luma = np.ascontiguousarray(frame.planes[0][..., 0])
    half = np.ascontiguousarray(frame.planes[0][::2, ::2, 1:])
    return Frame((luma, half), "nv12", Color("bt601", True, "center"), frame.time)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("lanes", [1, 2])
def test_two_clips_of_other_sizes_and_formats_share_runs(lanes: int, masked: bool) -> None:
    def network(x: NDArray[np.float32]) -> Any:
        return Output(-x, (x[:, :1] + 1) / 2) if masked else -x

    fixed = SizeRule(fixed=(32, 48), preferred=(32, 48))
    output = ImageOutput(kind="segment", mask="mask") if masked else ImageOutput()
    spec = GeneratorSpec(name="test", architecture="onnx", size=fixed, output=output)
    small, large = pictures(6, (40, 60)), [as_nv12(frame) for frame in pictures(6, (96, 128), first=20)]
    mixed = [frame for pair in zip(small, large, strict=True) for frame in pair]
    runs: list[int] = []

    def make(batch: int | None) -> Translator:
        counting = Counting(network)
        counting.runs = runs
        backends = [FunctionBackend(spec, counting) for _ in range(lanes)]
        more = [lambda backend=backend: backend for backend in backends[1:]]  # type: ignore[misc]
        return Translator(backends[0], Compositor(spec, detail=0.5), more, batch=batch)

    with make(4) as together:
        came = list(together.stream(mixed))
    assert runs == [4, 4, 4]
    with make(None) as alone:
        assert_same(came[::2], list(alone.stream(small)))
        assert_same(came[1::2], list(alone.stream(large)))


def test_faces_of_two_clips_share_runs(tmp_path: Path) -> None:
    model = tint_model(tmp_path / "tint.onnx", batch="n")
    wide = crowd(3)[:2]
    narrow = [Frame.from_rgb(np.ascontiguousarray(frame.planes[0][:, :320]), frame.time) for frame in wide]
    with Translator.open(model, backend="cpu", threads=1) as alone:
        expected = [alone(frame, smiling=1.0) for frame in (wide[0], narrow[0])]
    with Translator.open(model, backend="cpu", threads=1, batch=2) as translator:
        runs: list[int] = []
        real = translator.backend.run

        def counted(image: Any, *more: Any) -> Output:
            runs.append(len(image))
            return real(image, *more)

        translator.backend.run = counted  # type: ignore[method-assign]
        came = list(translator.stream([wide[0], narrow[0]], smiling=1.0))
    assert_same(came, expected)
    assert runs == [2, 2, 1], "three faces of one frame and two of the other"


# --- another model ----------------------------------------------------------------------------------------------------


class Gate:
    """Frames that wait for a future before a certain one is given."""

    def __init__(self, frames: list[Frame]) -> None:
        self.frames = frames
        self.before: dict[int, Callable[[], object]] = {}

    def __iter__(self) -> Iterator[Frame]:
        for number, frame in enumerate(self.frames):
            if number in self.before:
                self.before[number]()
            yield frame


@pytest.mark.parametrize("in_flight", [1, 3])
@pytest.mark.parametrize("backend", [*CPU, "auto"])
def test_a_model_takes_over_between_two_frames(tmp_path: Path, backend: str, in_flight: int) -> None:
    ink, same = invert_model(tmp_path / "ink.onnx"), identity_model(tmp_path / "same.onnx")
    frames, options = pictures(12), {"backend": backend, "threads": in_flight, "in_flight": in_flight}
    with Translator.open(ink, **options) as translator:  # type: ignore[arg-type]
        before = translator.backend
        source = Gate(frames)
        source.before[5] = lambda: translator.swap(same).result(60)
        came = list(translator.stream(source))
        assert translator.spec.name == "tiny" and translator.backend is not before
        with pytest.raises(BackendError, match=r"ink\.onnx was closed"):
            before.run(np.zeros((1, 3, 16, 24), np.float32))
        with Translator.open(ink, **options) as first, Translator.open(same, **options) as second:  # type: ignore[arg-type]
            assert_same(came, [*(first(frame) for frame in frames[:5]), *(second(frame) for frame in frames[5:])])
        assert_same([translator(frames[0])], [came[0]], within=255)


@pytest.mark.parametrize("in_flight", [1, 2])
@pytest.mark.parametrize("backend", CPU)
def test_faces_and_styles_take_over_from_each_other(tmp_path: Path, backend: str, in_flight: int) -> None:
    style, face = invert_model(tmp_path / "ink.onnx"), tint_model(tmp_path / "tint.onnx")
    frames, options = crowd(10)[:9], {"backend": backend, "threads": in_flight, "in_flight": in_flight}
    controls = Controls()
    with Translator.open(style, **options) as translator:  # type: ignore[arg-type]
        source = Gate(frames)

        def to_faces() -> None:
            translator.swap(face).result(60)
            controls.set(attributes={"smiling": 1.0})

        source.before = {3: to_faces, 6: lambda: translator.swap(style, framing="fit").result(60)}
        came = list(translator.stream(source, controls=controls))  # the attribute stays set; the style has none
    with Translator.open(style, **options) as one, Translator.open(face, **options) as other:  # type: ignore[arg-type]
        styled = list(one.stream(frames))
        faced = list(other.stream(frames[3:6], smiling=1.0))
    assert_same(came, [*styled[:3], *faced, *styled[6:]])


def test_faces_are_followed_on_from_one_face_model_to_the_next(tmp_path: Path) -> None:
    first, second = tint_model(tmp_path / "a.onnx"), tint_model(tmp_path / "b.onnx", kind="segment")
    frames, framing = crowd(7)[:6], FaceFraming(detect_every=100)
    with Translator.open(first, backend="cpu", threads=1, framing=framing) as translator:
        source = Gate(frames)
        source.before[3] = lambda: translator.swap(second).result(60)
        came = list(translator.stream(source, smiling=1.0))
        assert translator.frames_with_faces == 6
    answers = []
    for model in (first, second):
        with Translator.open(model, backend="cpu", threads=1, framing=framing) as one:
            answers.append(list(one.stream(frames, smiling=1.0)))
    assert_same(came, [*answers[0][:3], *answers[1][3:]])


def test_the_model_stays_where_the_next_cannot_be_opened(tmp_path: Path) -> None:
    ink = invert_model(tmp_path / "ink.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"\x08\x08nothing")
    frames = pictures(6)
    with Translator.open(ink, backend="cpu", threads=1) as translator:
        kept, errors = translator.backend, []

        def fail() -> None:
            errors.append(translator.swap(tmp_path / "broken.onnx").exception(60))

        source = Gate(frames)
        source.before[3] = fail
        came = list(translator.stream(source))
        assert len(came) == 6 and translator.backend is kept
        assert isinstance(errors[0], EngineError) and "broken.onnx" in str(errors[0])
        with pytest.raises(OptionError, match="No backend is called"):
            translator.swap(ink, backend="abacus").result(60)
        assert_same([translator(frames[0])], [came[0]])


def test_the_last_of_several_swaps_stays_and_none_leaks(tmp_path: Path) -> None:
    models = [invert_model(tmp_path / f"{n}.onnx") for n in range(4)]
    last = identity_model(tmp_path / "last.onnx")
    frame = pictures(1)[0]
    with Translator.open(models[0], backend="cpu", threads=1) as translator:
        futures = [translator.swap(model) for model in [*models[1:], last]]
        for future in futures:
            future.exception(60)
        assert futures[-1].exception() is None
        with Translator.open(last, backend="cpu", threads=1) as expected:
            assert_same([translator(frame)], [expected(frame)])
    with pytest.raises(BackendError, match="was closed"):
        translator.swap(models[0]).result(60)
    with pytest.raises(BackendError, match="was closed"):
        translator(frame)
    with pytest.raises(BackendError, match="was closed"):
        list(translator.stream([frame]))


def test_a_file_replaced_meanwhile_changes_nothing(tmp_path: Path) -> None:
    """Fault D5: every network in flight is of the bytes that were read first."""
    model = invert_model(tmp_path / "m.onnx")
    frames = pictures(24)
    for backend in CPU:
        invert_model(model)
        with Translator.open(model, backend=backend, threads=3, in_flight=3) as translator:
            identity_model(model)
            came = list(translator.stream(frames))
            expected = [translator(frame) for frame in frames]
        assert_same(came, expected)


# --- over the GPU -----------------------------------------------------------------------------------------------------


@pytest.fixture
def open_on_fake(monkeypatch: pytest.MonkeyPatch, own_cache: object) -> Callable[..., Translator]:
    """Translator.open, with a GPU that is the fake."""
    monkeypatch.setenv("GANLENS_CACHE", str(kept_cubins()))
    fake = FakeCuda()
    real = opening.open_backend

    def open_there(model: Any, backend: str, **options: Any) -> Any:
        return real(model, backend, **options) if backend == "cpu" else OnnxRuntimeOnFake(model.path, fake)

    monkeypatch.setattr(opening, "open_backend", open_there)
    monkeypatch.setattr(cuda, "Device", lambda: Device(driver=fake))
    return lambda model, **options: Translator.open(model, backend="cuda", **options)


@pytest.mark.parametrize("batch", [None, 2])
@pytest.mark.parametrize("in_flight", [1, 3])
def test_settings_change_over_the_gpu(
    open_on_fake: Callable[..., Translator], tmp_path: Path, in_flight: int, batch: int | None
) -> None:
    model, frames, controls = attribute_model(tmp_path / "m.onnx"), pictures(14, (32, 48)), Controls()
    with open_on_fake(model, in_flight=in_flight, batch=batch) as translator:
        assert isinstance(translator.way, FramePipeline)
        came = list(translator.stream(changing(frames, controls, CHANGES), controls=controls))
        backend = translator.backend
        spec = translator.spec

        def one(**blending: Any) -> Translator:
            made = Translator(backend, Compositor(spec, target="scalar", **blending))
            made.close = lambda: None  # type: ignore[method-assign]
            return made

        assert_same(came, expected_of_changes(frames, one), within=1 if batch else 0)


@pytest.mark.parametrize("in_flight", [1, 2])
def test_models_take_over_on_the_gpu_and_to_the_cpu_and_back(
    open_on_fake: Callable[..., Translator], tmp_path: Path, in_flight: int
) -> None:
    first, second = invert_model(tmp_path / "a.onnx"), network_model(tmp_path / "b.onnx", None)
    frames = pictures(12)
    with open_on_fake(first, in_flight=in_flight) as translator:
        way = translator.way
        source = Gate(frames)
        source.before = {
            3: lambda: translator.swap(second).result(60),
            6: lambda: translator.swap(first, backend="cpu").result(60),
            9: lambda: translator.swap(first).result(60),
        }
        came = list(translator.stream(source))
        assert isinstance(translator.way, FramePipeline) and translator.way is not way
    with Translator.open(first, backend="cpu") as one, Translator.open(second, backend="cpu") as other:
        expected = [*map(one, frames[:3]), *map(other, frames[3:6]), *map(one, frames[6:])]
    assert_same(came, expected, within=1)


# --- several threads --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lanes", [1, 2])
def test_pictures_of_several_threads_are_their_own(lanes: int) -> None:
    """Fault D10."""

    def slow(x: NDArray[np.float32], attributes: NDArray[np.float32]) -> NDArray[np.float32]:
        time.sleep(0.001)
        return shifting(x, attributes)

    frames = pictures(40)
    with shift(lanes, function=slow) as translator:
        expected = [translator(frame, brighter=0.5) for frame in frames]
        answers: dict[int, list[Frame]] = {}

        def work(part: int) -> None:
            if part == 3:
                answers[part] = list(translator.stream(frames[part::4], brighter=0.5))
            else:
                answers[part] = [translator(frame, brighter=0.5) for frame in frames[part::4]]

        threads = [threading.Thread(target=work, args=(part,)) for part in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for part in range(4):
        assert_same(answers[part], expected[part::4])


def test_a_second_stream_of_faces_is_refused_and_single_pictures_do_not_disturb(tmp_path: Path) -> None:
    model, frames = tint_model(tmp_path / "tint.onnx"), crowd(6)[:5]
    with Translator.open(model, backend="cpu", threads=1) as translator:
        expected = list(translator.stream(frames, smiling=1.0))
        stream = translator.stream(frames, smiling=1.0)
        came = [next(stream)]
        with pytest.raises(OptionError, match="another stream, which has not ended"):
            list(translator.stream(frames))
        single = translator(frames[0], smiling=1.0)
        came += stream
        assert_same(came, expected)
        assert_same([single], expected[:1])
        assert len(list(translator.stream(frames))) == 5


def test_times_are_those_of_the_translator_after_a_swap(tmp_path: Path) -> None:
    with Translator.open(invert_model(tmp_path / "a.onnx"), backend="cpu", threads=1) as translator:
        list(translator.stream(pictures(3)))
        translator.swap(identity_model(tmp_path / "b.onnx")).result(60)
        list(translator.stream(pictures(4)))
        assert translator.times.summary()["run"].frames == 7


@pytest.mark.parametrize("lanes", [1, 2])
def test_nothing_is_left_in_a_circle(tmp_path: Path, lanes: int) -> None:
    """What is in one outlives the program, and nanobind then complains of leaked kernels."""
    ink = invert_model(tmp_path / "ink.onnx")
    gc.collect()
    gc.disable()
    try:
        translator = Translator.open(ink, backend="cpu", threads=lanes, in_flight=lanes)
        list(translator.stream(pictures(6), controls=Controls(opacity=0.5)))
        kept = [weakref.ref(translator.compositor), weakref.ref(translator.backend)]
        translator.swap(ink).result(60)
        list(translator.stream(pictures(6)))
        kept += [weakref.ref(translator.compositor), weakref.ref(translator)]
        translator.close()
        del translator
        deadline = time.monotonic() + 5  # the thread of the swap ends by itself
        while any(one() is not None for one in kept) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert [one() for one in kept] == [None] * 4
    finally:
        gc.enable()
