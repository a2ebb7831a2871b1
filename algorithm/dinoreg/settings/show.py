"""Write a configuration as TOML, every key resolved."""

from __future__ import annotations

import tomli_w

from dinoreg.settings.config import Config


def to_toml(config: Config) -> str:
    """Return a TOML document that reads back as the same configuration."""
    return tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))
