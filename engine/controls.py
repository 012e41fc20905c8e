"""What can be changed while frames flow: one thread sets, others read an immutable snapshot once per frame."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal, get_args

from .errors import OptionError, did_you_mean

Compare = Literal["off", "split", "side"]
"""Show the translation alone, the original in the left part of the frame, or both beside each other."""


@dataclass(frozen=True)
class Settings:
    """One state of the controls; a frame is translated under exactly one."""

    attributes: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """Values by attribute name, as of :meth:`Translator.__call__ <ganlens.engine.Translator.__call__>`."""
    opacity: float = 1.0
    """0 shows the original, 1 the translation; a share of the opacity with which the translator was opened."""
    detail: float | None = None
    """How much of the original's fine detail is added back, 0 to 1; None: as the translator was opened."""
    bypass: bool = False
    """Whether frames pass through unchanged."""
    mirror: bool = False
    """Whether the shown picture is flipped left to right, as in a mirror."""
    compare: Compare = "off"
    split: float = 0.5
    """Where the original ends with ``compare="split"``, as a share of the width."""
    version: int = 0
    """Rises with every change."""

    def values(self) -> dict[str, Any]:
        """All but the attributes, by name, as :meth:`Controls.set` takes them."""
        return {name: getattr(self, name) for name in ("opacity", "detail", "bypass", "mirror", "compare", "split")}


_SHARES = ("opacity", "detail", "split")
_SWITCHES = ("bypass", "mirror")


class Controls:
    """Thread-safe settings of a running stream.

    >>> controls = Controls(attributes={"smiling": 1.0})
    >>> controls.set(opacity=0.5)
    >>> controls.snapshot().opacity
    0.5

    Args:
        values: as of :meth:`set`.
    """

    def __init__(self, **values: Any) -> None:
        self._lock = threading.Lock()
        self._settings = Settings()
        self._watchers: list[Callable[[Settings], None]] = []
        if values:
            self.set(**values)

    def set(self, **values: Any) -> Settings:
        """Change some settings at once, from the next frame on; the others stay.

        Args:
            values: fields of :class:`Settings`. ``attributes`` is merged into those already set; an attribute with
                the value None is forgotten.

        Raises:
            OptionError: an unknown setting, or a value outside its range. Nothing is changed then.
        """
        checked = {name: _checked(name, value) for name, value in values.items()}
        with self._lock:
            before = self._settings
            if "attributes" in checked:
                merged = {**before.attributes, **checked["attributes"]}
                kept = {name: value for name, value in merged.items() if value is not None}
                checked["attributes"] = MappingProxyType(kept)
            self._settings = settings = replace(before, **checked, version=before.version + 1)
            watchers = list(self._watchers)
        for watcher in watchers:
            watcher(settings)
        return settings

    def snapshot(self) -> Settings:
        """The present settings; they never change, a later call gives later ones."""
        return self._settings

    def watch(self, watcher: Callable[[Settings], None]) -> Callable[[], None]:
        """Call ``watcher`` after each change, in the thread that made it; the result ends that."""
        with self._lock:
            self._watchers.append(watcher)

        def unwatch() -> None:
            with self._lock:
                if watcher in self._watchers:
                    self._watchers.remove(watcher)

        return unwatch


def _checked(name: str, value: Any) -> Any:
    if name == "attributes":
        if not isinstance(value, Mapping):
            raise OptionError(f"attributes: got {value!r}, expected values by name, such as {{'smiling': 1.0}}.")
        return {str(key): None if number is None else _number(str(key), number) for key, number in value.items()}
    if name in _SHARES:
        if value is None and name == "detail":
            return None
        number = _number(name, value)
        if not 0 <= number <= 1:
            raise OptionError(f"{name}: got {number:g}, expected 0 to 1.")
        return number
    if name in _SWITCHES:
        if not isinstance(value, bool):
            raise OptionError(f"{name}: got {value!r}, expected true or false.")
        return value
    if name == "compare":
        if value not in get_args(Compare):
            raise OptionError(f"compare: got {value!r}, expected one of {', '.join(get_args(Compare))}.")
        return value
    known = ("attributes", *_SHARES, *_SWITCHES, "compare")
    raise OptionError(f"No setting is called {name!r}. {did_you_mean(name, known)}")


def _number(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise OptionError(f"{name}: got {value!r}, expected a number.") from None
    if number != number or number in (float("inf"), float("-inf")):
        raise OptionError(f"{name}: got {number}, expected a finite number.")
    return number
