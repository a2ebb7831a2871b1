"""Configurations that begin from another one: `extends` names a preset, `change` alters single keys of it.

    extends = "ffd-ncc"
    [change]
    "ffd.0.alpha" = 0.3

Tables are merged key by key; a list, such as the stages, stands for the whole of the other one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from dinoreg.errors import ConfigError
from regtask.documents import MAX_DEPTH
from regtask.errors import Fault

_MOST_DIGITS = 6  # of the number of a stage

# The name of a preset -> its values as written.
ReadPreset = Callable[[str], Mapping[str, Any]]


def inherit(values: Mapping[str, Any], read: ReadPreset, where: str) -> dict[str, Any]:
    """Return the values with those of the presets that they extend, without `extends` and `change`.

    Args:
        values: as written.
        read: gives the values of a preset, as written.
        where: named in the messages.

    Raises:
        ConfigError: a preset that is not there, one that extends itself, or a change of nothing.
    """
    return _inherit(values, read, where, ())


def set_key(values: dict[str, Any], key: str, value: Any) -> str:
    """Set "a.b.0.c" in place; stages are addressed by number, from 0.

    Returns:
        Empty, or what was expected instead.
    """
    target: Any = values
    *path, last = key.split(".")
    if len(path) > MAX_DEPTH:
        return f"at most {MAX_DEPTH} parts"
    for part in path:
        if isinstance(target, list):
            if not part.isdecimal() or len(part) > _MOST_DIGITS or int(part) >= len(target):
                return f"a number below {len(target)} instead of {part[:40]}"
            target = target[int(part)]
        elif isinstance(target, dict):
            target = target.setdefault(part, {})
        else:
            return f"nothing below {part}"
    if not isinstance(target, dict):
        return f"a key in a table instead of {last}"
    target[last] = value
    return ""


def _inherit(
    values: Mapping[str, Any], read: ReadPreset, where: str, before: tuple[str, ...]
) -> dict[str, Any]:
    own = copy.deepcopy(dict(values))
    base, changes = own.pop("extends", None), own.pop("change", {})
    if base is not None:
        if not isinstance(base, str) or base in before:
            raise ConfigError(
                Fault(
                    "cannot extend this",
                    f"{where}: extends",
                    expected="the name of another preset",
                    got=" -> ".join((*before, str(base))),
                )
            )
        whole = _inherit(read(base), read, f"preset {base}", (*before, base))
        own = _merged({key: value for key, value in whole.items() if key != "description"}, own)
    if not isinstance(changes, Mapping):
        raise ConfigError(
            Fault("setting not allowed", f"{where}: change", expected='a table of "key" = value')
        )
    faults = [
        Fault("no such key", f"{where}: change", expected=expected, got=key)
        for key, value in changes.items()
        if (expected := set_key(own, key, value))
    ]
    if faults:
        raise ConfigError(*faults)
    return own


def _merged(base: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in own.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged
