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


def test_new_runs_record_strengths() -> None:
    names = "Black_Hair,Blond_Hair,Smiling"
    config = make_config(ACLGANConfig, {"data": "faces", "out": "run", "attributes": names})
    port = attribute_spec(config, mask=True, complement=True).attributes
    assert port is not None
    assert [(port.bounds(name), port.strengths[name].neutral) for name in port.names] == [
        ((0.0, 1.0), 0.5),  # a hair colour: to take it away means to set another
        ((0.0, 1.0), 0.5),
        ((-1.0, 1.0), 0.5),
    ]
    plain = attribute_spec(config, mask=True, complement=False).attributes
    assert plain is not None and not plain.strengths  # nothing there leaves a picture alone
