"""The plan cache: what is found, what is built again and why, two builders, pruning."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from ganlens.engine.backends.tensorrt import Plan, PlanCache, PlanKey, PlanRecord, Profile, ShapeRange
from ganlens.engine.backends.tensorrt.plans import model_sha256, read_plan, record_path, write_plan
from ganlens.engine.errors import PlanError
from ganlens.engine.model.description import GraphValue, OnnxFile, read_onnx
from tests.kit.models import identity_model, make_spec

KEY = PlanKey(
    onnx_sha256="a" * 64,
    library="TensorRT 11.4.0",
    driver="CUDA 13.0",
    gpu="NVIDIA H100",
    compute_capability="9.0",
    target="this GPU",
    precision="fp16",
)
IMAGE = GraphValue("x", 1, ("n", 3, "h", "w"))


def profile(opt: int = 64, largest: int = 128) -> Profile:
    return Profile({"x": ShapeRange((1, 3, 16, 16), (1, 3, opt, opt), (4, 3, largest, largest))})


def make_record(content: bytes, shapes: Profile, key: PlanKey = KEY) -> PlanRecord:
    import hashlib

    return PlanRecord.model_validate(
        {
            "key": key.model_dump(),
            "shapes": dict(shapes.ranges),
            "spec": make_spec(None).model_dump(),
            "model": "face.onnx",
            "opset": 20,
            "inputs": ({"name": "x", "element_type": 1, "dims": IMAGE.dims},),
            "outputs": ({"name": "y", "element_type": 1, "dims": IMAGE.dims},),
            "plan_sha256": hashlib.sha256(content).hexdigest(),
            "plan_bytes": len(content),
            "build_seconds": 1.5,
            "built": "2026-01-01T00:00:00+00:00",
            "producer": "ganlens",
        }
    )


class Cache:
    """A cache in a folder of its own, what it said, and how often it built."""

    def __init__(self, folder: Path) -> None:
        self.lines: list[str] = []
        self.builds = 0
        self.cache = PlanCache(folder / "plans", self.lines.append)

    def get(self, shapes: Profile | None = None, content: bytes = b"plan one", key: PlanKey = KEY) -> Plan:
        shapes = shapes or profile()

        def build() -> tuple[bytes, PlanRecord]:
            self.builds += 1
            return content, make_record(content, shapes, key)

        return self.cache.get_or_build(key, shapes, build)

    def find(self, size: int, batch: int = 1, key: PlanKey = KEY) -> Plan | None:
        return self.cache.find(key, {"x": (batch, 3, size, size)})


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path)


def test_the_second_time_nothing_is_built(cache):
    first, second = cache.get(), cache.get()
    assert (cache.builds, cache.lines) == (1, [])
    assert first == second
    assert second.content == b"plan one"
    assert second.record.onnx(Path("face.plan")).inputs == (IMAGE,)


def test_the_folder_is_that_of_ganlens(own_cache):
    assert PlanCache().folder == own_cache / "plans"


def test_only_the_owner_can_read(cache):
    plan = cache.get()
    assert cache.cache.folder.stat().st_mode & 0o077 == 0
    assert plan.path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("field", sorted(PlanKey.model_fields))
def test_every_field_of_the_key_matters(cache, field):
    value = getattr(KEY, field)
    other = KEY.model_copy(update={field: (not value) if isinstance(value, bool) else type(value)(f"{value}1")})
    cache.get()
    assert cache.find(64, key=other) is None
    cache.get(key=other)
    assert cache.builds == 2


def test_the_plan_that_is_fastest_near_the_shapes_is_found(cache):
    near, far = cache.get(profile(64, 128), b"near"), cache.get(profile(32, 512), b"far")
    assert cache.find(64) == near
    assert cache.find(40) == far
    assert cache.find(256) == far
    assert cache.find(1024) is None
    assert cache.find(64, batch=5) is None
    assert cache.cache.find(KEY, {"z": (1, 3, 64, 64)}) is None


# --- plans that are not opened


def corrupt(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[3] ^= 1
    path.write_bytes(bytes(content))


def edit(path: Path, **changes: object) -> None:
    record = json.loads(record_path(path).read_text())
    record_path(path).write_text(json.dumps(record | changes))


DAMAGES = {
    "sha256 differs": corrupt,
    "has 3 bytes; its record says 8": lambda path: path.write_bytes(b"pla"),
    "no readable record": lambda path: record_path(path).unlink(),
    "is not valid": lambda path: record_path(path).write_text("{"),
    "is not valid: spec": lambda path: edit(path, spec={}),
    "format version 9": lambda path: edit(path, format_version=9),
    "built for another configuration (gpu: NVIDIA A100, not NVIDIA H100)": lambda path: edit(
        path, key=KEY.model_copy(update={"gpu": "NVIDIA A100"}).model_dump()
    ),
    "shapes other than those in its name": lambda path: edit(path, shapes={"x": [[1, 3, 8, 8]] * 3}),
    "is not opened: it is a link": lambda path: (
        path.rename(path.with_suffix(".real")) and path.symlink_to(path.with_suffix(".real"))
    ),
}


@pytest.mark.parametrize("says", DAMAGES)
@pytest.mark.parametrize("looked_for", [True, False])
def test_what_is_not_ours_is_built_again_and_the_reason_said_once(cache, says, looked_for):
    DAMAGES[says](cache.get().path)
    assert not looked_for or cache.find(64) is None
    again = cache.get(content=b"plan two")
    begins = "plan ignored: " if looked_for else "plan built again: "
    assert [line.startswith(begins) and says in line for line in cache.lines] == [True]
    assert (cache.builds, again.content) == (2, b"plan two")
    found = cache.find(64)
    assert found is not None and found.content == b"plan two"


def test_a_plan_of_another_user_is_not_opened(cache, monkeypatch):
    cache.get()
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert cache.find(64) is None
    assert "belongs to another user" in cache.lines[0]


def test_a_plan_given_by_path_needs_its_record(tmp_path):
    path = tmp_path / "face.plan"
    path.write_bytes(b"code")
    with pytest.raises(PlanError, match=r"face.plan has no readable record face.plan.json"):
        read_plan(path)
    write_plan(path, b"code", make_record(b"code", profile()))
    assert read_plan(path).content == b"code"
    corrupt(path)
    with pytest.raises(PlanError, match="sha256 differs"):
        read_plan(path)


def test_plan_and_record_are_never_of_two_builds(tmp_path, monkeypatch):
    """A crash between the two writes leaves no pair that fits by chance."""
    path = tmp_path / "face.plan"
    write_plan(path, b"old", make_record(b"old", profile()))
    replaced = []

    def crash(source: str, target: Path) -> None:
        if replaced:
            raise OSError(28, "No space left on device")
        replaced.append(target)
        os.rename(source, target)

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(PlanError, match=r"cannot be written \(no space left on device\)"):
        write_plan(path, b"new", make_record(b"new", profile()))
    assert list(tmp_path.iterdir()) == []  # no rest of either write


def test_a_failed_build_leaves_nothing(cache):
    def fail() -> tuple[bytes, PlanRecord]:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        cache.cache.get_or_build(KEY, profile(), fail)
    assert cache.cache.entries() == []
    cache.get()  # and the lock is free


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "plans").write_text("a file")
    with pytest.raises(PlanError, match=r"cannot be created \(file exists\).*GANLENS_CACHE"):
        Cache(tmp_path).get()


# --- two builders


def _slow_builder(folder: Path, started: object, results: object) -> None:
    cache = Cache(folder)

    def build() -> tuple[bytes, PlanRecord]:
        cache.builds += 1
        started.set()  # type: ignore[attr-defined]
        time.sleep(1.0)
        content = f"built by {os.getpid()}".encode()
        return content, make_record(content, profile())

    plan = cache.cache.get_or_build(KEY, profile(), build)
    results.put((cache.builds, plan.content, cache.lines))  # type: ignore[attr-defined]


def test_two_processes_build_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    started, results = context.Event(), context.Queue()
    first = context.Process(target=_slow_builder, args=(tmp_path, started, results))
    first.start()
    assert started.wait(60)
    cache = Cache(tmp_path)
    second = cache.get()
    builds, content, lines = results.get(timeout=60)
    first.join(60)
    assert (builds, lines) == (1, [])
    assert cache.builds == 0
    assert second.content == content
    assert len(cache.lines) == 1
    assert "waiting for another process that builds this plan" in cache.lines[0]


# --- what lies beside a plan


def test_kernels_are_kept_and_checked(cache):
    record = cache.get().record
    assert cache.cache.kernels(record, "A100") == b""
    cache.cache.keep_kernels(record, "A100", b"sass")
    assert cache.cache.kernels(record, "A100") == b"sass"
    assert cache.cache.kernels(record, "H100") == b""
    (path,) = cache.cache.folder.glob("*.kernels")
    corrupt(path)
    assert cache.cache.kernels(record, "A100") == b""


def test_list_and_remove(cache):
    first, second = cache.get(), cache.get(profile(32), b"plan two")
    cache.cache.keep_kernels(first.record, "A100", b"sass" * 100)
    long_ago = time.time() - 3600
    for path in (second.path, record_path(second.path), second.path.with_suffix(".lock")):
        os.utime(path, (long_ago, long_ago))
    cache.cache.keep_timings(KEY, b"timings")
    assert cache.cache.timings(KEY) == b"timings"
    entries = cache.cache.entries()
    assert [entry.path for entry in entries] == [first.path, second.path]
    assert entries[0].bytes == 8 + record_path(first.path).stat().st_size + 400 + 65
    assert entries[0].age_s < 100
    assert 3500 < entries[1].age_s < 3700
    assert [path.suffix for path in cache.cache.stray()] == [".cache"]
    cache.cache.remove(entries[0])
    assert [entry.path for entry in cache.cache.entries()] == [second.path]
    assert not list(cache.cache.folder.glob("*.kernels"))


def test_opening_a_plan_is_using_it(cache):
    path = record_path(cache.get().path)
    os.utime(path, (1, 1))
    cache.find(64)
    assert path.stat().st_mtime > 1


def test_weights_outside_the_file_count(tmp_path):
    file = read_onnx(identity_model(tmp_path / "m.onnx"))
    assert model_sha256(file) == file.sha256
    (tmp_path / "w.bin").write_bytes(b"1")
    outside = OnnxFile(**{**vars(file), "external": ("w.bin",)})
    one = model_sha256(outside)
    (tmp_path / "w.bin").write_bytes(b"2")
    assert len({one, model_sha256(outside), file.sha256}) == 3


def test_a_plan_of_one_size_has_a_record_of_one_size():
    fixed = Profile({"x": ShapeRange((1, 3, 32, 48), (1, 3, 32, 48), (4, 3, 32, 48))})
    assert make_record(b"c", fixed).plan_spec.size.fixed == (32, 48)
    rule = make_record(b"c", profile()).plan_spec.size
    assert (rule.fixed, rule.preferred, rule.minimum) == (None, (64, 64), 16)


def test_what_is_pruned(cache):
    now = time.time()
    plans = {size: cache.get(profile(size), b"%d" % size) for size in (16, 32, 64)}
    for days, plan in enumerate(plans.values()):
        for path in (plan.path, record_path(plan.path), plan.path.with_suffix(".lock")):
            os.utime(path, (now - 86400 * 10 * days,) * 2)
    paths = [plan.path for plan in plans.values()]
    each = cache.cache.entries()[0].bytes

    def chosen(**limits: object) -> list[Path]:
        return [entry.path for entry in cache.cache.choose(**limits)]

    assert chosen() == []
    assert chosen(everything=True) == paths
    assert chosen(older_than_s=86400 * 15) == paths[2:]
    assert chosen(max_bytes=each * 2 + 10) == paths[2:]
    assert chosen(max_bytes=0) == paths[::-1]
    assert chosen(older_than_s=86400 * 15, max_bytes=each + 10) == [paths[2], paths[1]]
