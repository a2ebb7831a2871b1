"""Presets, configuration files and overrides: read, checked as a whole, all faults at once."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from dinoreg.errors import ConfigError
from dinoreg.settings.config import Config
from dinoreg.settings.inherit import inherit, set_key
from regtask import documents
from regtask.documents import parse_toml
from regtask.errors import DataError, Fault, nearest

S = TypeVar("S", bound=BaseModel)

# Settings whose text may look like a number.
_TEXT_KEYS = {"name", "description", "output.naming"}


def preset_names() -> list[str]:
    """Return the names of all presets."""
    folder = resources.files("dinoreg") / "presets"
    return sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))


def load_preset(name: str, overrides: Sequence[str] = ()) -> Config:
    """Return a preset by name, with `key=value` overrides.

    Raises:
        ConfigError: the preset does not exist, or an override cannot be used.
    """
    values = inherit(_read_preset(name), _read_preset, f"preset {name}")
    return parse_config(values | {"name": name}, where=f"preset {name}", overrides=overrides)


def _read_preset(name: str) -> dict[str, Any]:
    """Return what a preset states itself."""
    if name not in preset_names():
        guess = nearest(name, preset_names())
        raise ConfigError(
            Fault(
                "unknown preset",
                name,
                expected=f"one of {', '.join(preset_names())}",
                remedy=f"did you mean {guess}?" if guess else "list them with: dinoreg presets",
            )
        )
    text = (resources.files("dinoreg") / "presets" / f"{name}.toml").read_text(encoding="utf-8")
    return parse_toml(text, name)


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Return the configuration in a TOML file, with `key=value` overrides.

    Raises:
        ConfigError: the file cannot be read, is not TOML, or holds faults (all of them listed).
    """
    values = inherit(read_toml(path), _read_preset, str(path))
    return parse_config({"name": path.stem} | values, where=str(path), overrides=overrides)


def read_toml(path: Path) -> dict[str, Any]:
    """Return the values of a TOML file.

    Raises:
        ConfigError: the file cannot be read, or is not TOML.
    """
    try:
        return documents.read_toml(path)
    except DataError as error:
        raise ConfigError(*error.faults) from error


def parse_config(values: Mapping[str, Any], *, where: str, overrides: Sequence[str] = ()) -> Config:
    """Check a mapping of settings of a registration as a whole.

    Args and errors as for `parse_settings`.
    """
    return parse_settings(
        Config, values, where=where, overrides=overrides, all_keys="see: dinoreg config show mind"
    )


def parse_settings(
    model: type[S],
    values: Mapping[str, Any],
    *,
    where: str,
    overrides: Sequence[str] = (),
    all_keys: str = "",
) -> S:
    """Check a mapping of settings as a whole.

    Args:
        model: what the settings are of.
        values: nested settings.
        where: named in the messages.
        overrides: "adam.0.iterations=50"; the value is TOML, or else text.
        all_keys: where all keys can be seen, said of an unknown one that resembles none.

    Raises:
        ConfigError: with every fault.
    """
    merged = copy.deepcopy(dict(values))
    faults = [fault for text in overrides if (fault := _override(merged, text))]
    try:
        settings = model.model_validate_json(json.dumps(merged, default=str))
    except ValidationError as error:
        known = _all_keys(model)
        faults += [_fault(detail, where, known, all_keys) for detail in error.errors()]
    if faults:
        raise ConfigError(*faults)
    return settings


def config_hash(config: Config, files: Mapping[int, Mapping[str, str]] = MappingProxyType({})) -> str:
    """Return a short digest of everything that can change a displacement.

    Args:
        config: the settings.
        files: by number of the encoder, sha256 of the files that its settings name, by key ("weights",
            "basis"); they count instead of the paths.
    """
    values = config.model_dump(mode="json", exclude={"name", "description"})
    for number, digests in files.items():
        values["features"]["encoders"][number] |= digests
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def _override(values: dict[str, Any], text: str) -> Fault | None:
    """Set one "a.b=c" in place; stages are addressed by number, from 0."""
    key, separator, raw = text.partition("=")
    fault = Fault(
        "override not understood", f"--set {text}", expected="key=value, as in adam.0.iterations=50"
    )
    if not separator or not key.strip():
        return fault
    value = _value(raw) if key.strip() not in _TEXT_KEYS else raw.strip("\"'")
    expected = set_key(values, key.strip(), value)
    return Fault("override not understood", f"--set {text}", expected=expected) if expected else None


def _value(raw: str) -> Any:
    try:
        return parse_toml(f"value = {raw}", "--set")["value"]
    except DataError:
        return raw


def _fault(detail: Any, where: str, known: Iterable[str], all_keys: str) -> Fault:
    # Without the names of alternatives, which the key does not contain.
    parts = [part for part in detail["loc"] if isinstance(part, int) or part in known]
    if detail["type"] == "extra_forbidden":
        parts = [part for part in detail["loc"][:-1] if part in parts] + [detail["loc"][-1]]
    location = ".".join(str(part) for part in parts)
    key = str(detail["loc"][-1]) if detail["loc"] else ""
    if detail["type"] == "extra_forbidden":
        guess = nearest(key, known) if key not in known else None
        remedy = f"did you mean {guess}?" if guess else all_keys
        if key in known:
            remedy = "other parts have this key, this one does not"
        return Fault("unknown key", f"{where}: {location}", remedy=remedy)
    got = "" if isinstance(detail["input"], (dict, list)) else repr(detail["input"])
    return Fault("setting not allowed", f"{where}: {location}", expected=detail["msg"], got=got)


def _all_keys(model: type[BaseModel]) -> set[str]:
    """Return the keys of a model and of all that are nested in it."""
    keys = set(model.model_fields)
    for one in model.model_fields.values():
        for nested in _models_in(one.annotation):
            keys |= _all_keys(nested)
    return keys


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that a type is made of, such as those of a tuple of alternatives."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)
