"""The ComfyUI nodes keep to the contract of custom nodes."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from ganlens.engine import OptionError
from tests.kit.models import attribute_model, invert_model

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
PACK = Path(__file__).parents[2] / "integrations" / "comfyui"


@pytest.fixture(scope="module")
def pack() -> ModuleType:
    """The folder imported as ComfyUI imports it: as a package, by path."""
    spec = importlib.util.spec_from_file_location("comfyui_ganlens", PACK / "__init__.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def node(pack: ModuleType, name: str) -> object:
    return pack.NODE_CLASS_MAPPINGS[name]()


def load(pack: ModuleType, path: object) -> object:
    (model,) = node(pack, "GanlensLoadModel").load("starry", "automatic", "cpu", str(path))
    return model


def test_the_contract(pack: ModuleType) -> None:
    assert set(pack.NODE_CLASS_MAPPINGS) == set(pack.NODE_DISPLAY_NAME_MAPPINGS)
    for kind in pack.NODE_CLASS_MAPPINGS.values():
        assert callable(getattr(kind, kind.FUNCTION)) and kind.CATEGORY and isinstance(kind.RETURN_TYPES, tuple)
        inputs = kind.INPUT_TYPES()
        assert set(inputs) <= {"required", "optional"}
        for name, (kinds, *options) in [*inputs["required"].items(), *inputs["optional"].items()]:
            assert isinstance(kinds, (str, list)), name
            if isinstance(kinds, list):
                assert options[0]["default"] in kinds


def test_a_batch_with_strength(pack: ModuleType, tmp_path: Path) -> None:
    model = load(pack, invert_model(tmp_path / "invert.onnx", None))
    images = torch.tensor([0.2, 0.7])[:, None, None, None].expand(2, 24, 32, 3)  # flat: resampling changes nothing
    apply = node(pack, "GanlensApplyModel").apply
    (full,) = apply(model, images, 1.0)
    assert full.shape == images.shape and full.dtype == torch.float32 and full.min() >= 0 and full.max() <= 1
    assert torch.allclose(full, 1 - images, atol=0.01)
    (none,) = apply(model, images, 0.0)
    assert torch.equal(none, images)
    (half,) = apply(model, images, 0.5)  # halfway to the inverse
    assert torch.allclose(half, torch.full_like(half, 0.5), atol=0.01)


def test_attributes(pack: ModuleType, tmp_path: Path) -> None:
    model = load(pack, attribute_model(tmp_path / "face.onnx"))
    apply = node(pack, "GanlensApplyModel").apply
    (changed,) = apply(model, torch.full((1, 16, 24, 3), 0.5), 1.0, "brighter=1")
    assert changed.shape == (1, 16, 24, 3)
    with pytest.raises(OptionError, match="got 'smiling', expected NAME=VALUE"):
        apply(model, torch.zeros(1, 16, 24, 3), 1.0, "smiling")
