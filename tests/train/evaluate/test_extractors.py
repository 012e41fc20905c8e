"""Which features a file gives, what the distances on them are called, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from safetensors.torch import save_file

from ganlens.engine.errors import TrainingError
from ganlens.train.evaluate.extractors import FIDFeatures, Mixed5Features, VGGFeatures, open_extractor
from ganlens.train.networks.inception import BlockE, FIDInception
from ganlens.train.networks.vgg16 import VGG16


def save_onnx(path: Path, output: str = "mixed5_gap") -> Path:
    """The mean of each channel, of pictures of 299 px."""
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["input", "axes"], [output], keepdims=0)],
        "means",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, 299, 299])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", 3])],
        [onnx.numpy_helper.from_array(np.array([2, 3], dtype=np.int64), "axes")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def test_vgg_features_are_pooled_and_double() -> None:
    network = VGG16("relu2_1")
    extractor = VGGFeatures(network)
    x = torch.rand(2, 3, 16, 16) * 2 - 1
    assert extractor(x).dtype == torch.float64
    assert torch.equal(extractor(x), network.pooled(x).double())
    assert (extractor.num_features, extractor.frechet, extractor.kernel) == (128, "FD-VGG", "KD-VGG")
    assert extractor.features == "VGG16 relu2_1, mean over positions, 128-d"


def test_onnx_features_get_pictures_in_zero_to_one(tmp_path: Path) -> None:
    extractor = open_extractor(inception=save_onnx(tmp_path / "inception.onnx"))
    assert isinstance(extractor, Mixed5Features)
    assert (extractor.num_features, extractor.frechet, extractor.kernel) == (3, "FD-mixed5", "KD-mixed5")
    x = torch.tensor([-1.0, 0.0, 1.0]).view(1, 3, 1, 1).expand(2, 3, 40, 40)
    assert torch.allclose(extractor(x), torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64).expand(2, 3), atol=1e-6)


def test_onnx_files_without_those_features(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="outputs pool3; expected mixed5_gap"):
        open_extractor(inception=save_onnx(tmp_path / "other.onnx", "pool3"))
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(TrainingError, match="cannot be opened"):
        open_extractor(inception=tmp_path / "text.onnx")
    with pytest.raises(TrainingError, match="There is no file"):
        open_extractor(inception=tmp_path / "missing.onnx")


def test_fid_inception(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = FIDInception().eval()
    # torchvision's Inception-v3 with 1008 classes and without its auxiliary head has as many.
    assert sum(parameter.numel() for parameter in network.parameters()) == 23_850_960
    state = {name: value for name, value in network.state_dict().items() if "num_batches" not in name}
    assert len(state) == 94 * 5 + 2
    save_file(state, tmp_path / "fid.safetensors")
    extractor = open_extractor(inception=tmp_path / "fid.safetensors", vgg=tmp_path / "unused")
    assert isinstance(extractor, FIDFeatures)
    assert (extractor.num_features, extractor.frechet, extractor.kernel) == (2048, "FID", "KID")
    x = torch.rand(1, 3, 299, 299) * 2 - 1
    features = extractor(x)
    assert features.shape == (1, 2048)
    with torch.no_grad():
        assert torch.allclose(features, network(x).double())  # a picture of 299 px is not resampled
        expected = features.float() @ network.fc.weight.t()
    assert torch.allclose(extractor.class_logits(x), expected.double(), atol=1e-6)

    del state["Mixed_6c.branch_pool.bn.weight"]
    torch.save(state, tmp_path / "part.pth")
    with pytest.raises(TrainingError, match="Mixed_6c.branch_pool.bn.weight is missing or misshapen .1 of 472"):
        FIDFeatures(tmp_path / "part.pth")


def test_the_last_pooling_branch_takes_the_maximum() -> None:
    x = torch.zeros(1, 1, 3, 3)
    x[0, 0, 1, 1] = 9
    for largest, expected in ((True, 9.0), (False, 9 / 4)):  # at a corner, of the four pixels that are not padding
        block = BlockE(1, largest=largest).eval()
        convolution = block.branch_pool
        torch.nn.init.ones_(convolution.conv.weight)
        with torch.no_grad():
            pooled = block(x)[0, -192:, 0, 0]
        assert torch.allclose(pooled, torch.full((192,), expected), rtol=1e-3)


def test_files_that_are_no_weights(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"needs features.*--inception.*--weights"):
        open_extractor()
    with pytest.raises(TrainingError, match="There is no file"):
        FIDFeatures(tmp_path / "missing.pth")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(TrainingError, match="not a readable file of weights"):
        FIDFeatures(tmp_path / "text.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(TrainingError, match="holds a list"):
        FIDFeatures(tmp_path / "list.pth")
