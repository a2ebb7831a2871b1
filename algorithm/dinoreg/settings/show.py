"""Write a configuration as TOML, every key resolved."""

from __future__ import annotations

import json
from typing import Any

from dinoreg.settings.config import Config


def to_toml(config: Config) -> str:
    """Return a TOML document that reads back as the same configuration."""
    values = config.model_dump(mode="json", exclude_none=True)
    lines: list[str] = []
    _table(values, (), lines)
    return "\n".join(lines).strip() + "\n"


def _table(values: dict[str, Any], path: tuple[str, ...], lines: list[str]) -> None:
    nested = {key: value for key, value in values.items() if isinstance(value, dict)}
    stages = {
        key: value
        for key, value in values.items()
        if isinstance(value, list) and value and isinstance(value[0], dict)
    }
    for key, value in values.items():
        if key not in nested and key not in stages:
            lines.append(f"{key} = {json.dumps(value, ensure_ascii=False)}")
    for key, value in nested.items():
        lines.extend(["", f"[{'.'.join((*path, key))}]"])
        _table(value, (*path, key), lines)
    for key, items in stages.items():
        for item in items:
            lines.extend(["", f"[[{'.'.join((*path, key))}]]"])
            _table(item, (*path, key), lines)
