"""The pictures of the benchmark, and the judgement of quality on them."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ganlens.engine.benchmark import pictures
from ganlens.engine.benchmark.job import Job
from ganlens.engine.benchmark.runner import Plan, benchmark
from ganlens.engine.benchmark.worker import computed_in, judge, make_reference, work
from ganlens.engine.errors import OptionError
from ganlens.engine.media.pictures import write_image
from ganlens.engine.model import open as open_model
from ganlens.engine.pixels.frame import Frame


def test_sixteen_different_pictures_are_shipped() -> None:
    shown = pictures.load_pictures(None, (64, 96))
    assert shown.shape == (16, 64, 96, 3)
    flat = shown.reshape(16, -1).astype(float)
    assert all(np.abs(flat[i] - flat[j]).mean() > 3 for i in range(16) for j in range(i))
    assert all(picture.std() > 10 for picture in shown)
    assert pictures.digest(shown) == pictures.digest(pictures.load_pictures(None, (64, 96)))
    others = pictures.calibration_pictures((64, 96)).reshape(16, -1).astype(float)
    assert all(np.abs(one - two).mean() > 1 for one in flat for two in others)


def test_own_pictures_are_cropped_to_the_size_and_must_be_enough(tmp_path: Path) -> None:
    for number in range(16):
        grey = np.full((30, 60, 3), 10 * number, np.uint8)
        grey[:, :10] = grey[:, -10:] = 255  # cut off by the crop in the middle
        write_image(tmp_path / f"{number:02}.png", Frame.from_rgb(grey))
    shown = pictures.load_pictures(str(tmp_path), (32, 32))
    assert shown.shape == (16, 32, 32, 3)
    assert [int(np.median(picture)) for picture in shown] == [10 * number for number in range(16)]
    (tmp_path / "00.png").unlink()
    with pytest.raises(OptionError, match="got 15 pictures, expected at least 16"):
        pictures.load_pictures(str(tmp_path), (32, 32))


@pytest.fixture
def job(tmp_path: Path) -> Job:
    pytest.importorskip("onnxruntime")
    stored = tmp_path / "pictures.npy"
    np.save(stored, pictures.load_pictures(None, (64, 64)))
    reference = str(tmp_path / "reference.npz")
    return Job("probe", "starry", "cpu", (64, 64), 1, pictures=str(stored), reference=reference)


def test_quality_is_judged_against_the_reference(job: Job) -> None:
    assert "no graph optimisation" in make_reference(job)["reference"]
    good = judge(job)
    assert good["ok"] and good["psnr_db"][0] > 100 and good["cosine"] == pytest.approx(1.0)
    with np.load(job.reference) as stored:
        part = stored["part0"]
    np.savez(job.reference, part0=part + np.float32(0.01))  # as of another network
    bad = judge(job)
    assert not bad["ok"] and bad["max_abs"] == pytest.approx(0.01, rel=0.01)
    assert bad["psnr_db"][0] == pytest.approx(46.0, abs=0.1)


def test_a_reference_without_onnxruntime_says_what_to_install(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    answer = work(replace(job, kind="reference", backend="openvino"))
    assert "The float32 reference needs the package 'onnxruntime'" in answer["error"]
    assert "ganlens[cpu]" in answer["error"]


def test_what_a_library_lowers_by_itself_is_known() -> None:
    class Lowered:
        precision = "bf16"

    assert computed_in(Lowered(), "fp32") == "bf16"  # type: ignore[arg-type]
    assert computed_in(object(), "int8") == "int8"  # type: ignore[arg-type]


@pytest.mark.slow
def test_other_precisions_are_made_and_judged_by_their_own_gate() -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    pytest.importorskip("torch")
    plan = Plan(
        models=("face",), backends=("cpu",), precisions=("fp16", "int8"), scenarios=("latency",), seconds=0.2, runs=1
    )
    result = benchmark(plan)
    assert {row.precision for row in result.results} == {"fp16", "int8"}
    for row in result.results:
        assert row.quality is not None and row.quality.ok
        assert row.quality.gate == {"fp16": "PSNR >= 40 dB", "int8": "PSNR >= 30 dB"}[row.precision]
    assert all(model.derived and model.sha256 != open_model("face").file.sha256 for model in result.models)
