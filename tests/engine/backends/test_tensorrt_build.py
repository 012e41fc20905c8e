"""Real builds with TensorRT for RTX, which needs no GPU for them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx (Linux on x86-64)")

from ganlens.engine.backends.tensorrt import (
    BuildOptions,
    Built,
    Extent,
    PlanCache,
    build,
    build_into,
    load,
    make_key,
    make_profile,
    parse_extent,
)
from ganlens.engine.backends.tensorrt.builder import parse
from ganlens.engine.errors import BackendError, BackendUnavailable, ModelFileError, OptionError
from ganlens.engine.model.description import read_onnx, spec_of
from tests.conftest import cuda_devices
from tests.kit.models import (
    attribute_model,
    constant,
    half_mask_model,
    half_precision_model,
    identity_model,
    make_spec,
    network_model,
    save_graph,
    tensor,
)

without_tensorrt = pytest.mark.skipif(load().flavour != "tensorrt_rtx", reason="TensorRT itself is installed")
pytestmark = without_tensorrt

MODELS = {
    "fixed": lambda path: network_model(path, (32, 48)),
    "free": lambda path: network_model(path, None),
    "attributes": attribute_model,
    "mask": half_mask_model,
    "float16": half_precision_model,
}


def build_now(path: Path, options: BuildOptions | None = None, **more: Any) -> Built:
    """Without a GPU, as a machine builds for others."""
    file = read_onnx(path)
    spec = spec_of(file)
    library, options = load(), options or BuildOptions()
    key = make_key(library, None, file, spec, options)
    profile = more.pop("profile", None) or make_profile(file, spec)
    return build(library, None, file, spec, profile, options, key, **more)


@pytest.mark.parametrize("kind", MODELS)
def test_build(tmp_path, kind):
    path = MODELS[kind](tmp_path / "m.onnx")
    moments: list[Any] = []
    built = build_now(path, report=moments.append)
    assert len(built.content) == built.record.plan_bytes > 10_000
    assert built.timings == b""
    assert built.record.build_seconds > 0
    assert built.record.key.onnx_sha256 == read_onnx(path).sha256
    fractions = [moment.fraction for moment in moments]
    assert fractions == sorted(fractions)
    assert 0.5 < fractions[-1] <= 1
    assert moments[-1].left_s is None or moments[-1].left_s < moments[-1].seconds


def test_the_types_of_the_network_are_those_of_the_file(tmp_path):
    library = load()
    for name, data_type in (("float16", "HALF"), ("fixed", "FLOAT")):
        file = read_onnx(MODELS[name](tmp_path / "m.onnx"))
        network, _parser = parse(library, library.start("Builder"), file)
        types = {network.get_layer(i).get_output(0).dtype.name for i in range(network.num_layers)}
        assert types & {"FLOAT", "HALF"} == {data_type}  # beside the integers of shapes


def test_types_of_inputs_and_outputs():
    library = load()
    assert library.dtype(library.module.float16) == np.float16
    assert library.dtype(library.module.DataType.FLOAT) == np.float32
    with pytest.raises(ModelFileError, match="expected float32 or float16"):
        library.dtype(library.module.int8)


def test_other_targets(tmp_path):
    path = identity_model(tmp_path / "m.onnx")
    plans = {target: build_now(path, BuildOptions(target=target)) for target in ("", "sm_75", "sm_120")}
    assert [plan.record.key.target for plan in plans.values()] == ["portable", "sm_75", "sm_120"]
    assert len({plan.content for plan in plans.values()}) == 3


def test_weights_outside_the_file(tmp_path):
    import onnx

    model = onnx.load(network_model(tmp_path / "m.onnx"))
    folder = tmp_path / "outside"
    folder.mkdir()
    onnx.save(model, folder / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    assert (folder / "w.bin").stat().st_size > 1000
    assert build_now(folder / "m.onnx").record.plan_bytes > 10_000


# --- shapes


def test_shapes_as_asked(tmp_path):
    file = read_onnx(network_model(tmp_path / "m.onnx", None))
    spec = spec_of(file)
    profile = make_profile(file, spec, fastest=Extent(2, 64, 96))
    assert profile.ranges["x"] == ((1, 3, 4, 4), (2, 3, 64, 96), (4, 3, 512, 512))
    assert str(profile) == "1x3x4x4 to 4x3x512x512, fastest at 2x3x64x96"
    exact = Extent(1, 64, 96)
    profile = make_profile(file, spec, smallest=exact, fastest=exact, largest=exact)
    assert profile.fixed
    assert str(profile) == "1x3x64x96"
    assert build_now(file.path, profile=profile).record.plan_spec.size.fixed == (64, 96)
    larger = make_profile(file, spec, fastest=Extent(8, 720, 1280))
    assert larger.ranges["x"].max == (8, 3, 720, 1280)


def test_shapes_that_the_model_does_not_take(tmp_path):
    file = read_onnx(network_model(tmp_path / "m.onnx", None))
    spec = spec_of(file)
    with pytest.raises(OptionError, match=r"got 1x64x65 as the fastest shape; tiny takes any multiple of 4.*1x64x68"):
        make_profile(file, spec, fastest=Extent(1, 65, 64))
    with pytest.raises(OptionError, match="expected smallest <= fastest <= largest"):
        make_profile(file, spec, fastest=Extent(1, 64, 64), largest=Extent(1, 32, 32))
    fixed = read_onnx(identity_model(tmp_path / "f.onnx"))
    with pytest.raises(OptionError, match=r"got 1x64x64 as the fastest shape; tiny takes 24x16"):
        make_profile(fixed, spec_of(fixed), fastest=Extent(1, 64, 64))
    with pytest.raises(OptionError, match=r"is made for 'x' float32 \(1, 3, 16, 24\); got 4x24x16"):
        make_profile(fixed, spec_of(fixed), fastest=Extent(4, 16, 24))


def test_extents_are_written_as_users_write_them():
    assert parse_extent("--opt", "384x256") == (1, 256, 384)
    assert parse_extent("--opt", "4X384X256") == (4, 256, 384)
    for text in ("", "256", "0x8x8", "1x2x3x4", "axb"):
        with pytest.raises(OptionError, match="--opt: got .*expected WIDTHxHEIGHT"):
            parse_extent("--opt", text)


# --- graphs that cannot be built


def broken(path: Path, node: Any, weights: Any = (), opset: int = 17) -> Path:
    dims = (1, 3, 8, 8)
    record = make_spec((8, 8))
    return save_graph(path, [node], [tensor("x", dims)], [tensor("y", dims)], weights, record, opset)


@pytest.mark.parametrize(
    ("node", "weights", "says"),
    [
        (
            helper.make_node("Nonsense", ["x"], ["y"], name="head"),
            [],
            "node 'head' (Nonsense): the operator Nonsense is not known",
        ),
        (
            helper.make_node("Conv", ["x", "w"], ["y"], name="stem"),
            [constant("w", np.ones((3, 5, 1, 1)))],
            "node 'stem' (Conv): Kernel weight dimension failed to broadcast to input",
        ),
        (
            helper.make_node("Add", ["x", "w"], ["y"], name="mix"),
            [constant("w", np.ones((1, 3, 1, 1)), np.float16)],
            "node 'mix' (Add): mix: ElementWiseOperation SUM must have same input types. But they are of types "
            "Float and Half",
        ),
    ],
    ids=["unknown operator", "wrong weights", "mixed types"],
)
def test_the_message_names_node_operator_and_reason(tmp_path, node, weights, says):
    with pytest.raises(ModelFileError) as caught:
        build_now(broken(tmp_path / "m.onnx", node, weights))
    expected = (
        f"{load().title} cannot open m.onnx (opset 17): {says}. Export it with other options, or use --backend cuda."
    )
    assert str(caught.value) == expected


def test_sizes_at_which_the_graph_breaks(tmp_path):
    """A record that promises sizes which the graph does not take."""
    record = make_spec(None, multiple_of=1)
    path = network_model(tmp_path / "m.onnx", None, depth=3)
    import onnx

    model = onnx.load(path)
    del model.metadata_props[:]
    helper.set_model_props(model, record.to_metadata())
    path.write_bytes(model.SerializeToString())
    file = read_onnx(path)
    shapes = make_profile(file, record, fastest=Extent(1, 73, 73))
    with pytest.raises(
        ModelFileError, match=r"cannot build a plan of m.onnx for .*fastest at 1x3x73x73: .*node_of_s0.*"
    ):
        build_now(path, profile=shapes)


def test_a_file_that_is_gone(tmp_path):
    path = identity_model(tmp_path / "m.onnx")
    file, library = read_onnx(path), load()
    path.unlink()
    with pytest.raises(ModelFileError, match=r"m.onnx cannot be read \(no such file"):
        parse(library, library.start("Builder"), file)


# --- stopping


def test_a_build_can_be_stopped(tmp_path):
    with pytest.raises(BackendError, match="The build of a plan of m.onnx was stopped"):
        build_now(network_model(tmp_path / "m.onnx"), report=lambda moment: moment.fraction < 0.3)


def test_ctrl_c_stops_a_build_and_leaves_nothing(tmp_path):
    """In a process of its own: the signal comes in the middle of the build."""
    network_model(tmp_path / "m.onnx")
    code = """
import signal, time
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent in the background may have it ignored
from ganlens.engine.backends.tensorrt import BuildOptions, PlanCache, build_into, load, make_profile
from ganlens.engine.model.description import read_onnx, spec_of
file = read_onnx("m.onnx"); spec = spec_of(file); cache = PlanCache(Path("plans"))
def slowly(moment):
    print("building", flush=True)
    time.sleep(0.2)
try:
    build_into(cache, load(), None, file, spec, make_profile(file, spec), BuildOptions(), report=slowly)
except KeyboardInterrupt:
    print("interrupted", [path.suffix for path in cache.folder.iterdir() if path.suffix != ".lock"])
"""
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "building\n"
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    out, _ = process.communicate(timeout=60)
    assert out.splitlines()[-1] == "interrupted []"
    assert time.monotonic() - began < 30


# --- the cache, and what a machine without a GPU cannot do


def test_the_cache_builds_once(tmp_path):
    file = read_onnx(network_model(tmp_path / "m.onnx", None))
    spec, library, begun = spec_of(file), load(), []
    cache = PlanCache(tmp_path / "plans")
    for _ in range(2):
        plan = build_into(
            cache, library, None, file, spec, make_profile(file, spec), BuildOptions(), on_build=lambda: begun.append(1)
        )
    assert begun == [1]
    assert sorted(path.suffix for path in cache.folder.iterdir()) == [".json", ".lock", ".plan"]
    assert cache.find(plan.record.key, {"x": (2, 3, 64, 128)}) == plan


@pytest.mark.skipif(cuda_devices() > 0, reason="there is a GPU")
def test_without_a_gpu_a_plan_is_not_opened_and_the_cure_named(tmp_path):
    content = build_now(identity_model(tmp_path / "m.onnx")).content
    with pytest.raises(BackendUnavailable, match=r"cannot open m.plan: .*driver.*Install NVIDIA's driver"):
        load().open(content, "m.plan")
