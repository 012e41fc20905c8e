"""What a training run says of its generator."""

from __future__ import annotations

import pytest

from ganlens.train.config import ACLGANConfig, make_config
from ganlens.train.specs import CELEBA, attribute_spec


@pytest.mark.parametrize(("attributes", "alignment"), [("Smiling,Young", "celeba"), ("Smiling,Whiskers", "")])
def test_celeba_attributes_mean_aligned_faces(attributes: str, alignment: str) -> None:
    config = make_config(ACLGANConfig, {"data": "faces", "out": "run", "attributes": attributes})
    assert attribute_spec(config, mask=True, complement=True).face_alignment == alignment
    assert len(CELEBA) == 40
