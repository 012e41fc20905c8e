"""The public names, and what importing the package must not bring along."""

import subprocess
import sys

import pytest

import ganlens.engine as engine


def test_every_public_name_can_be_imported():
    for name in engine.__all__:
        assert getattr(engine, name) is not None
    assert sorted(engine.__all__) == engine.__all__
    assert set(engine._HOME) == set(engine.__all__)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'translate_everything'"):
        engine.translate_everything  # noqa: B018


@pytest.mark.parametrize(
    ("code", "banned"),
    [
        ("import ganlens.engine", "numpy torch onnxruntime openvino av onnx tensorrt pydantic rich"),
        ("import ganlens.engine.cli", "numpy torch onnxruntime openvino av onnx tensorrt pydantic"),
        ("from ganlens.engine import Translator", "torch onnxruntime openvino av onnx tensorrt"),
        ("from ganlens.engine import VideoSource, Translator", "torch onnxruntime openvino onnx tensorrt"),
    ],
)
def test_imports_stay_light(code, banned):
    check = f"import sys\n{code}\nprint([m for m in {banned.split()!r} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_checkout_that_is_not_installed_says_so(monkeypatch):
    monkeypatch.delattr(engine, "_kernels")
    monkeypatch.setitem(sys.modules, "ganlens.engine._kernels", None)  # as where it is not built
    with pytest.raises(ImportError, match="checkout of ganlens without its compiled module. Install it there"):
        from ganlens.engine import _kernels  # noqa: F401


def test_a_folder_called_ganlens_does_not_hide_the_installed_package(tmp_path):
    (tmp_path / "ganlens" / "engine").mkdir(parents=True)  # such as a clone of the repository
    code = "import ganlens.engine; print(ganlens.engine.__file__)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert str(tmp_path) not in result.stdout
