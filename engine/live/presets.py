"""Presets 1 to 9: a model and its controls, kept in a JSON file."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import platformdirs

from ..errors import MediaError, OptionError, reason
from ..files import read_json

NUMBERS = range(1, 10)


def default_file() -> Path:
    """Where presets are kept unless a file is named."""
    return platformdirs.user_config_path("ganlens") / "presets.json"


class Presets:
    """Presets of a file; it is written when one is saved.

    Raises:
        MediaError: the file cannot be read, or is not a presets file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._presets: dict[int, dict[str, Any]] = {}
        try:
            loaded = read_json(path)
            self._presets = {int(key): dict(value) for key, value in loaded["presets"].items() if int(key) in NUMBERS}
        except FileNotFoundError:
            return
        except OSError as error:
            raise MediaError(f"{path} cannot be read ({reason(error)}).") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise MediaError(f"{path} is not a presets file. Give another with --preset.") from error

    def __getitem__(self, number: int) -> dict[str, Any]:
        """A preset: "model" and "controls".

        Raises:
            OptionError: there is no preset of that number.
        """
        if number not in self._presets:
            raise OptionError(
                f"There is no preset {number}. Saved: {', '.join(map(str, sorted(self._presets))) or 'none'}."
            )
        return self._presets[number]

    def save(self, number: int, preset: dict[str, Any]) -> None:
        """Keep a preset and write the file.

        Raises:
            OptionError: not a number from 1 to 9.
            MediaError: the file cannot be written; it stays as it was.
        """
        if number not in NUMBERS:
            raise OptionError(f"preset: got {number}, expected 1 to 9.")
        presets = {**self._presets, number: preset}
        text = json.dumps({"presets": {str(key): presets[key] for key in sorted(presets)}}, indent=2) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
            with os.fdopen(handle, "w") as file:
                file.write(text)
            os.replace(name, self.path)
        except OSError as error:
            raise MediaError(f"{self.path} cannot be written ({reason(error)}).") from error
        self._presets = presets

    def state(self) -> dict[str, dict[str, Any]]:
        """All presets by number."""
        return {str(number): self._presets[number] for number in sorted(self._presets)}
