"""The metrics file: made from scores, written as the official one or as strict JSON."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from regeval.inputs.config import Config, official_methods
from regeval.scoring.aggregates import aggregates
from regeval.scoring.score import BothScores, Mode
from regeval.scoring.stand_ins import StandIn
from regtask.atomic import atomic_write_text

_VERSION = "2.0"


def metrics_document(
    config: Config,
    mode: Mode,
    after: Mapping[str, BothScores],
    before: Mapping[str, BothScores],
    files: Mapping[str, str],
    stand_ins: Mapping[str, StandIn],
) -> dict[str, Any]:
    """Return the metrics file; its first four keys are the official ones.

    Args:
        config: what was scored.
        mode: whose numbers stand under the names of the configuration.
        after: name of the pair -> scores of its field.
        before: the same of the identity, which becomes the reference.
        files: name of the pair -> file of its field; empty if the identity itself was scored.
        stand_ins: name of the pair -> what was scored instead of its field, where that was of no use.
    """
    identity = list(before.values())
    return {
        "name": config.task,
        "aggregates": aggregates(config, list(after.values()), identity, mode),
        "cases": _cases(after, mode),
        "eval_version": _VERSION,
        "mode": mode,
        "masked": config.masked,
        "metrics": {entry["name"]: entry for entry in official_methods(config)},
        "files": dict(files),
        "missing": {
            "policy": config.missing,
            "count": len(stand_ins),
            "cases": {key: one.reason for key, one in stand_ins.items()},
        },
        "reference": {
            "name": "identity",
            "aggregates": aggregates(config, identity, identity, mode),
            "cases": _cases(before, mode),
        },
    }


def write_metrics(path: Path, document: Mapping[str, Any], strict_json: bool) -> None:
    """Write a metrics file, whole or not at all.

    Args:
        path: file in an existing folder.
        document: from `metrics_document`.
        strict_json: whether NaN and infinity become null with a reason beside them; if not they are written
            as the official evaluator does, which few JSON readers accept.

    Raises:
        OutputError: disk full, read-only, no permission, or the folder does not exist.
    """
    content = as_strict_json(document) if strict_json else document
    atomic_write_text(path, json.dumps(content, indent=1, allow_nan=not strict_json) + "\n")


def as_strict_json(value: Any) -> Any:
    """Return a copy in which NaN and infinity are None; the object that holds them says so in `reasons`."""
    if isinstance(value, Mapping):
        copy = {str(key): as_strict_json(item) for key, item in value.items()}
        lacking = [text for key, item in value.items() if (text := _lack(str(key), item))]
        if lacking:
            copy["reasons"] = [*value.get("reasons", ()), *lacking]
        return copy
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [as_strict_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _lack(key: str, item: Any) -> str:
    """Say what about an entry cannot be written; empty if all can."""
    if isinstance(item, float) and not math.isfinite(item):
        return f"{key}: {_word(item)}"
    if isinstance(item, Sequence) and not isinstance(item, str):
        places = [
            f"{place}: {_word(one)}"
            for place, one in enumerate(item)
            if isinstance(one, float) and not math.isfinite(one)
        ]
        return f"{key}: {', '.join(places)}" if places else ""
    return ""


def _word(value: float) -> str:
    return "no value" if math.isnan(value) else "infinite"


def _cases(scores: Mapping[str, BothScores], mode: Mode) -> dict[str, Any]:
    return {
        key: {name: score.as_json() for name, score in one.named(mode).items()} for key, one in scores.items()
    }
