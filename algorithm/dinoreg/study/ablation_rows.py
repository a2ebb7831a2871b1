"""The rows of an ablation: a configuration with one part taken away or replaced at a time."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dinoreg.errors import ConfigError
from dinoreg.settings.config import (
    Adam,
    Config,
    HypothesesStart,
    Mind,
    SlicesStart,
    TokenSettings,
)
from dinoreg.settings.load import config_hash, parse_config
from regtask.errors import Fault, nearest

Overrides = Mapping[str, Any]
_WINDOW = Adam.model_fields["lcc_window"].default


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        name: of the row, and of its folder.
        what: for people.
        config: what is run.
    """

    name: str
    what: str
    config: Config


def ablation_rows(base: Config, names: Sequence[str] | None = None) -> tuple[Row, ...]:
    """Return the rows that differ from the full method, which comes first.

    The parts no-slice-match, no-pca-mask, s1 and s3 are those of Song et al. 2024, table 3. A row that
    changes nothing in `base` (the up-sampling that it has, an encoder that it lacks), or that `base` cannot
    take, is left out.

    Args:
        base: the full method.
        names: the rows wanted, in any order; by default all.

    Raises:
        ConfigError: this configuration does not have a row of that name.
    """
    rows: dict[str, Row] = {}
    seen: set[str] = set()
    for name, what, overrides in (("full", "the whole method", {}), *_changes(base)):
        try:
            config = _override(base, overrides, name)
        except ConfigError:
            continue  # this base has no use for it
        if config_hash(config) not in seen:
            seen.add(config_hash(config))
            rows[name] = Row(name, what, config)
    if names is None:
        return tuple(rows.values())
    faults = [
        Fault(
            "no such row",
            name,
            expected=", ".join(rows),
            remedy=f"did you mean {guess}?" if (guess := nearest(name, rows)) else "",
        )
        for name in names
        if name not in rows
    ]
    if faults:
        raise ConfigError(*faults)
    return tuple(row for name, row in rows.items() if name in names)


def _changes(base: Config) -> Iterable[tuple[str, str, Overrides]]:
    """Yield (name, what it is, dotted key -> value)."""
    others = [step for step in base.start if not isinstance(step, SlicesStart)]
    yield "no-slice-match", "without slice matching", {"start": others}
    yield "no-pca-mask", "without the mask of the PCA", _tokens(base, pca_mask=False)
    yield "no-mask", "without any foreground masks", {"masked": False, "preprocess.foreground": "none"}
    yield "s1", "without up-sampling", _tokens(base, up_sampling=1.0)
    yield "s3", "up-sampling by 3", _tokens(base, up_sampling=3.0)
    for axis, plane in enumerate(("sagittal", "coronal", "axial")):
        if _cut_by_anatomy(base):
            overrides = _tokens(base, slices=plane) | {"start": _by_slices(base, slices=plane)}
            yield f"axis-{axis}", f"{plane} slices", overrides
            continue
        overrides = _tokens(base, axis=axis) | {"start": _by_slices(base, axis=axis)}
        yield f"axis-{axis}", f"slices across array axis {axis}", overrides
    for step in (1, 3, 6):
        yield f"step-{step}", f"one slice in {step} encoded", _tokens(base, slice_step=step)
    for similarity in ("ssd", "lcc"):
        overrides = {f"adam.{i}.similarity": similarity for i in range(len(base.adam))}
        if similarity == "ssd":  # which has no window
            overrides |= {f"adam.{i}.lcc_window": _WINDOW for i in range(len(base.adam))}
        yield similarity, similarity.upper(), overrides
    for name, robust in (("published", False), ("robust", True)):
        overrides = {"start": _by_slices(base, robust=robust)}
        yield f"{name}-match", f"{name} rule of slice matching", overrides
    yield "no-discrete", "without the discrete stage", {"discrete": []}
    yield "adam-alone", "without slice matching and discrete stage", {"start": others, "discrete": []}
    yield from _ensembles(base)
    stages: dict[str, Any] = {key: [] for key in ("discrete", "adam", "ffd") if key in Config.model_fields}
    yield "identity", "no displacement", {"start": [], "linear": None, **stages}
    yield "start-only", "the start alone", stages


def _ensembles(base: Config) -> Iterable[tuple[str, str, Overrides]]:
    tokens = [encoder for encoder in base.features.encoders if isinstance(encoder, TokenSettings)]
    minds = [encoder for encoder in base.features.encoders if isinstance(encoder, Mind)] or [Mind()]
    if not tokens:
        return
    key = "features.encoders"
    yield "tokens-alone", "without MIND", {key: tokens}
    for how in ("concatenate", "average"):
        yield f"mind-{how}", f"with MIND, {how}d", {key: [*tokens, *minds], "features.ensemble": how}
    # MIND has no cls token: it starts as the preset `mind` does.
    start = [
        HypothesesStart(kind="hypotheses") if isinstance(step, SlicesStart) else step for step in base.start
    ]
    yield "mind-alone", "MIND alone, started from hypotheses", {key: minds, "start": start}


def _cut_by_anatomy(base: Config) -> bool:
    """Whether slices go by the directions of the patient."""
    tokens = [one for one in base.features.encoders if isinstance(one, TokenSettings)]
    return any(one.slices != "array" for one in tokens)


def _tokens(base: Config, **changes: Any) -> dict[str, Any]:
    """Change every token encoder."""
    return {
        f"features.encoders.{i}.{key}": value
        for i, encoder in enumerate(base.features.encoders)
        if isinstance(encoder, TokenSettings)
        for key, value in changes.items()
    }


def _by_slices(base: Config, **changes: Any) -> list[Any]:
    """Change every step of slice matching, and keep the other steps."""
    return [step.model_copy(update=changes) if isinstance(step, SlicesStart) else step for step in base.start]


def _override(base: Config, overrides: Overrides, row: str) -> Config:
    values: dict[str, Any] = base.model_dump(mode="json", exclude_none=True)
    for key, value in overrides.items():
        target: Any = values
        *path, last = key.split(".")
        for part in path:
            target = target[int(part)] if isinstance(target, list) else target[part]
        target[last] = _plain(value)
    return parse_config(copy.deepcopy(values), where=f"row {row}")


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value
