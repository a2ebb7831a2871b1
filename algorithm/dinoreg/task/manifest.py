"""The manifest of a run: what was done, with what, and how each pair ended. One JSON beside the fields."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from dinoreg import runtime
from dinoreg.encoders.pool import EncoderPool
from dinoreg.settings.config import Config
from dinoreg.space.kernels.choice import describe_kernels
from regtask.atomic import atomic_write_text
from regtask.documents import read_json
from regtask.errors import DataError, Fault, OutputError

MANIFEST_NAME = "manifest.json"
_MAX_BYTES = 1 << 30  # our own: some kilobytes per pair
_FORMAT = 1

# ok: registered; fallback: failed, a safe field was written; failed: failed, nothing could be written.
Status = Literal["ok", "fallback", "failed"]


@dataclass(slots=True)
class Manifest:
    """Facts of a run, written anew after every pair."""

    header: dict[str, Any]
    pairs: dict[str, dict[str, Any]] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write the manifest, whole or not at all."""
        content = {"format": _FORMAT, **self.header, "pairs": self.pairs}
        atomic_write_text(folder / MANIFEST_NAME, json.dumps(content, indent=1, allow_nan=False) + "\n")

    def is_complete(self, case: str, config_digest: str, folder: Path) -> bool:
        """Tell whether a pair was registered with these settings and its files are as they were written."""
        entry = self.pairs.get(case, {})
        files = entry.get("files", {})
        return (
            entry.get("status") == "ok"
            and entry.get("config_hash") == config_digest
            and bool(files)
            and all(
                (folder / n).is_file() and (folder / n).stat().st_size == size for n, size in files.items()
            )
        )


def read_pairs(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the pairs of an earlier run's manifest; none where it wrote none.

    Raises:
        OutputError: the file is there but not a manifest.
    """
    path = folder / MANIFEST_NAME
    if not path.is_file():
        return {}
    try:
        content = read_json(path, "a manifest in JSON", _MAX_BYTES)
        pairs: dict[str, dict[str, Any]] = content["pairs"]
        if content["format"] != _FORMAT or not all(isinstance(entry, dict) for entry in pairs.values()):
            raise ValueError(f"format {content['format']}, or a pair that is not an object")
    except (DataError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise OutputError(
            Fault("manifest not readable", str(path), got=str(error), remedy="remove it to start afresh")
        ) from error
    return pairs


def run_header(config: Config, pool: EncoderPool, digest: str) -> dict[str, Any]:
    """Return what a manifest says of all pairs: settings, weights, machine, time.

    Args:
        config: all settings.
        pool: with the encoders that the settings name.
        digest: of the configuration, see `config_hash`.
    """
    sources = enumerate(pool.sources(config.features.encoders))
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": config.model_dump(mode="json"),
        "config_hash": digest,
        "weights": {
            str(n): {
                "encoder": source.settings.name,
                "sha256": source.weights.sha256,
                "provenance": source.weights.provenance,
                "path": str(source.weights.path),
            }
            for n, source in sources
            if source.weights is not None
        },
        "machine": runtime.describe_machine(pool.device) | {"kernels": describe_kernels(pool.device)},
    }
