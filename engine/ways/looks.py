"""Settings as they change, worked out for the model that runs."""

from __future__ import annotations

from collections.abc import Mapping

from ..backends.base import Array
from ..controls import Controls, Settings
from ..errors import OptionError
from ..model.attributes import attribute_vector, edit_share, plain
from ..spec import GeneratorSpec
from .base import Look, Way


class Looks:
    """The look of a stream's frames, one after the other.

    Args:
        attributes: values by name, for the whole stream.
        controls: settings that may change while it runs; its attributes take the place of those above.
    """

    def __init__(self, attributes: Mapping[str, float], controls: Controls | None = None) -> None:
        self._attributes = attributes
        self._controls = controls
        self._made: tuple[Way, Settings | None, Look] | None = None
        self._names: set[str] = set()

    def at(self, way: Way) -> Look:
        """The look of the next frame, over ``way``.

        Raises:
            OptionError: no model that this stream has run over has such an attribute, or the values do not fit.
        """
        settings = None if self._controls is None else self._controls.snapshot()
        if self._made is not None and self._made[0] is way and self._made[1] is settings:
            return self._made[2]
        values = {**self._attributes, **(settings.attributes if settings is not None else {})}
        spec = way.spec
        names = set() if spec.attributes is None else {plain(name) for name in spec.attributes.names}
        # What only a model before this one has is kept for when it comes back.
        values = {name: value for name, value in values.items() if plain(name) not in self._names - names}
        look = make_look(way, values, settings)
        self._names |= names
        self._made = way, settings, look
        return look


def make_look(way: Way, attributes: Mapping[str, float], settings: Settings | None = None) -> Look:
    """How a frame looks over ``way``: opacity as a share of that with which the way was opened.

    Where the record gives attributes strengths, weak ones fade the whole change: all at 0 hide it.

    Raises:
        OptionError: the model has no such attribute, or the values do not fit.
    """
    own, spec = way.compositor, way.spec
    settings = settings or Settings()
    vector = _vector(spec, attributes)
    share = 1.0 if spec.attributes is None or vector is None else edit_share(spec.attributes, vector[0])
    return Look(
        vector,
        own.opacity * settings.opacity * share,
        own.detail if settings.detail is None else settings.detail,
        settings.bypass,
    )


def _vector(spec: GeneratorSpec, values: Mapping[str, float]) -> Array | None:
    if spec.attributes is not None:
        return attribute_vector(spec.attributes, values)
    if values:
        raise OptionError(f"Model '{spec.name}' has no attributes; {', '.join(values)} was given.")
    return None
