"""Facts: frozen dataclasses of what a step found, and how they are written into a report."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from types import MappingProxyType
from typing import Any

# Metadata of a field: its own fields are reported beside the others.
INLINE = MappingProxyType({"inline": True})
# Metadata of a field that is drawn, not written.
UNREPORTED = MappingProxyType({"unreported": True})


def plain(facts: Any) -> Any:
    """Return facts as plain JSON values; what is None is left out."""
    if is_dataclass(facts) and not isinstance(facts, type):
        values: dict[str, Any] = {}
        for one in fields(facts):
            value = getattr(facts, one.name)
            if value is None or "unreported" in one.metadata:
                continue
            values |= plain(value) if "inline" in one.metadata else {one.name: plain(value)}
        return values
    if isinstance(facts, dict):
        return {key: plain(value) for key, value in facts.items()}
    if isinstance(facts, list | tuple):
        return [plain(item) for item in facts]
    return facts
