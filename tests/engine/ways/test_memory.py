"""What cannot fit into the memory is refused before it starts."""

from __future__ import annotations

import pytest

from ganlens.engine import Translator
from ganlens.engine.errors import OptionError
from ganlens.engine.pixels.framing import Framing
from ganlens.engine.spec import SizeRule
from ganlens.engine.ways import memory
from tests.kit.models import identity_model


@pytest.mark.parametrize(("mode", "cure"), [("native", "tile or fit"), ("tile", "--framing fit")])
def test_what_does_not_fit_is_refused_with_the_cure(tmp_path, monkeypatch, mode, cure):
    model = identity_model(tmp_path / "m.onnx", None)
    monkeypatch.setattr(memory, "available_memory", lambda: 10**6)
    with pytest.raises(OptionError, match=rf"'{mode}' at .* needs at least 0\.\d GiB .* {cure}"):
        Translator.open(model, backend="cpu", framing=mode, frame_size=(1200, 1600))
    Translator.open(model, backend="cpu", framing=mode, frame_size=(48, 64)).close()
    monkeypatch.setattr(memory, "available_memory", lambda: None)
    Translator.open(model, backend="cpu", framing=mode, frame_size=(480, 640)).close()


def test_the_arrays_that_are_counted():
    rule = SizeRule(preferred=(64, 64))
    whole = Framing("native").layout((100, 200), rule)
    assert memory.least_memory(whole, 2, 3, 3) == 2 * 3 * 4 * 6 * 100 * 200
    assert memory.available_memory() > 2**20
