"""How a name or path becomes a model file."""

import pytest

from ganlens.engine.errors import ModelFileError, UnknownModel
from ganlens.engine.model import find_model, shipped
from tests.kit.models import identity_model, make_spec


@pytest.fixture
def folder(tmp_path):
    """A package folder with two models."""
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("monet", "cezanne"):
        identity_model(folder / f"{name}.onnx", spec=make_spec(name=name))
    return folder


def test_shipped_models_are_listed_by_name(folder):
    assert [(card.name, card.spec.name) for card in shipped(folder)] == [("cezanne", "cezanne"), ("monet", "monet")]


def test_no_shipped_model_is_no_error(tmp_path):
    assert shipped(tmp_path) == []
    with pytest.raises(UnknownModel, match="None is known"):
        find_model("monet", tmp_path)


def test_what_the_package_ships_has_a_record_of_its_own():
    for card in shipped():
        assert card.spec.architecture != "onnx"
        assert find_model(card.name) == card.path


def test_name_and_path(folder, tmp_path):
    assert find_model("monet", folder) == folder / "monet.onnx"
    path = identity_model(tmp_path / "mine.onnx")
    assert find_model(path, folder) == path
    assert find_model(str(path), folder) == path


def test_folder_of_the_same_name_does_not_hide_a_model(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "monet").mkdir()
    assert find_model("monet", folder) == folder / "monet.onnx"


def test_unknown_name_gets_the_nearest(folder):
    with pytest.raises(UnknownModel, match=r"No model is called 'monnet'. Did you mean monet\?"):
        find_model("monnet", folder)
    with pytest.raises(UnknownModel, match="Known: cezanne, monet"):
        find_model("zzz", folder)


@pytest.mark.parametrize("given", ["no/such/monet.onnx", "monet.onxx", "", "a" * 5000, "\0"])
def test_missing_path(folder, given):
    with pytest.raises(UnknownModel, match=r"does not exist|No model is called"):
        find_model(given, folder)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("net.pth", "PyTorch weights.*engine export"),
        ("net.safetensors", "PyTorch weights.*engine export"),
        ("net.mp4", r"ends in .mp4; expected an ONNX file"),
        ("net", "ends in no suffix"),
    ],
)
def test_files_of_another_kind(folder, tmp_path, name, says):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ModelFileError, match=says):
        find_model(tmp_path / name, folder)


def test_folders(folder, tmp_path):
    with pytest.raises(ModelFileError, match="is a folder"):
        find_model(tmp_path, folder)
    run = tmp_path / "run"
    run.mkdir()
    (run / "generator.safetensors").write_bytes(b"x")
    with pytest.raises(ModelFileError, match="looks like a training run.*engine export"):
        find_model(run, folder)
