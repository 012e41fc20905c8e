"""The configuration file: written into each run folder, read back by ``--resume`` and ``--config``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from ganlens.engine.errors import OptionError, TrainingError, did_you_mean, reason, refusal
from ganlens.engine.files import read_file, read_json, replace_file

from .base import STAGES, TrainConfig
from .marks import flag

if sys.version_info >= (3, 11):
    import tomllib
else:  # the same under its former name
    import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]


CONFIG_NAME = "config.json"

CONFIG_FORMAT = 2
"""Version of the file format; raised when the meaning of a value changes."""

OLDEST_SHAPE = "transposed"
"""Shape of runs whose configuration has no ``shape``."""

RECIPES = Path(__file__).parents[1] / "recipes"
"""Configurations that are part of the package; ``--config`` knows them by name."""

C = TypeVar("C", bound="TrainConfig")


def make_config(kind: type[C], values: dict[str, Any]) -> C:
    """A checked configuration.

    Raises:
        OptionError: a value is out of range or a name is unknown; the message names the option.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        option = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise OptionError(f"Unknown option '{option}'. {did_you_mean(option, kind.model_fields)}") from error
        if first["type"] == "missing":
            raise OptionError(f"{flag(option)} is needed: {kind.model_fields[option].description}") from error
        given = f", got {first['input']!r}" if option and first["type"] == "value_error" else ""
        label = f"{flag(option)}: " if option else ""
        raise OptionError(f"{label}{refusal(error)[1]}{given}.") from error


def save_config(config: TrainConfig, folder: Path, session: dict[str, Any] | None = None) -> Path:
    """Write ``config.json`` into the run folder, atomically, and return its path.

    Args:
        session: what is known of the process that trains (:mod:`ganlens.train.provenance`); added to those before.
    """
    path = folder / CONFIG_NAME
    sessions = [*read_sessions(folder), *([session] if session else [])]
    values = {"format": CONFIG_FORMAT, **config.effective_values(), **({"sessions": sessions} if sessions else {})}
    replace_file(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n", durable=True)
    return path


def read_sessions(folder: Path) -> list[dict[str, Any]]:
    """What the configuration of a run folder says of the processes that have trained it; none if there is none."""
    try:
        found = read_json(folder / CONFIG_NAME)
    except (OSError, ValueError):
        return []
    sessions = found.get("sessions", []) if isinstance(found, dict) else []
    return [session for session in sessions if isinstance(session, dict)]


def read_values(path: Path) -> dict[str, Any]:
    """The values of a configuration file, unchecked; ``path`` may be the run folder that holds it.

    Args:
        path: ``config.json`` of a run, a recipe in TOML, or the name of one in ``train/recipes``.

    Returns:
        Of a recipe in stages those of the last one, with those of the others under :data:`~.base.STAGES`.

    Raises:
        TrainingError: the file is missing or is neither a JSON object nor TOML.
    """
    file = path / CONFIG_NAME if path.is_dir() else path
    shipped = RECIPES / f"{path.name}.toml"
    if path == Path(path.name) and not path.exists() and shipped.is_file():
        file = shipped
    try:
        values = tomllib.loads(read_file(file).decode()) if file.suffix == ".toml" else read_json(file)
    except FileNotFoundError as error:
        raise TrainingError(
            f"There is no configuration file {file}. Give the config.json of a run folder, or a recipe (.toml); those "
            f"known by name: {', '.join(sorted(recipe.stem for recipe in RECIPES.glob('*.toml')))}."
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise TrainingError(f"{file} cannot be read as a configuration: {reason(error)}.") from error
    if not isinstance(values, dict):
        raise TrainingError(f"{file} holds no options; expected one JSON object as engine train writes it.")
    values.pop("sessions", None)
    if values.pop("format", 1) == 1 and (path.is_dir() or {"method", "tier", "batch", "seed"} <= values.keys()):
        return _from_format_1(values)
    return _in_stages(values, file)


def _in_stages(values: dict[str, Any], file: Path) -> dict[str, Any]:
    """What a person wrote in ``[[stage]]`` tables; what is outside them holds for all stages."""
    if not isinstance(values.get("stage"), (list, dict)):  # psc-gan has an option of that name, a word
        return values
    tables = values.pop("stage")
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise TrainingError(f"{file}: got stage = {tables!r}, expected one table for each stage, headed [[stage]].")
    *earlier, last = ({**values, **table} for table in tables)
    return {**last, STAGES: earlier} if earlier else last


def _from_format_1(values: dict[str, Any]) -> dict[str, Any]:
    """The values of a run from before the file had a format; not for what a person wrote, which is incomplete."""
    method = values.get("method", "")
    if method in ("acl-gan", "stargan") and values.get("lambda_gp") == 0:
        values["lambda_gp"] = -1.0  # zero stood for the published weight
    if values.get("tier", "mobile") in ("nano", "mobile", "light") and method not in ("psc-gan", "classifier"):
        values.setdefault("shape", OLDEST_SHAPE)
    return values


def is_config(path: Path) -> bool:
    """Whether there is a readable configuration of a training run."""
    from ..methods import (
        METHODS,
    )  # the table of methods needs the configurations; at run time this file needs the table

    try:
        return str(read_values(path).get("method", "")) in METHODS
    except TrainingError:
        return False


def load_config(path: Path) -> TrainConfig:
    """Read back a saved configuration, of whatever method.

    Raises:
        TrainingError: missing, unreadable, or of a method that there is not.
    """
    from ..methods import METHODS

    values = read_values(path)
    method = str(values.get("method", ""))
    if method not in METHODS:
        raise TrainingError(f"{path} names the method '{method}'. {did_you_mean(method, METHODS)}")
    return make_config(METHODS[method].config, values)
