"""The settings that a task can be worth tuning, and the configurations that are tried of them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

from dinoreg.errors import ConfigError
from dinoreg.settings.config import Adam, Config, Discrete, Mind, Preprocess
from dinoreg.settings.inherit import set_key
from dinoreg.settings.load import config_hash, parse_config
from dinoreg.study.ablation_rows import Row

BASE = "base"
# Dotted key -> value.
Change = Mapping[str, Any]


def candidates(base: Config, trials: int, *, seed: int = 0) -> tuple[Row, ...]:
    """Return the configurations to try: the base, every single change, then changes drawn together.

    They do not depend on what the trials find, so that a choice among them can be cross-validated on the same
    trials.

    Args:
        base: what is tuned.
        trials: how many at most, the base included.
        seed: of the draws.
    """
    axes = [axis for axis in _axes(base) if axis]
    draw = random.Random(seed)
    rows: dict[str, Row] = {}

    def add(name: str, change: Change) -> None:
        try:
            config = _changed(base, change)
        except ConfigError:
            return  # a value that this base cannot take together with its other settings
        if len(rows) < trials and config_hash(config) not in rows:
            what = ", ".join(f"{key} = {value}" for key, value in change.items()) or "as it is"
            rows[config_hash(config)] = Row(name, what, config)

    add(BASE, {})
    for change in (change for axis in axes for change in axis):
        add(f"t{len(rows):03d}", change)
    for _ in range(20 * trials if len(axes) > 1 else 0):
        several = draw.sample(axes, k=draw.randint(2, min(4, len(axes))))
        add(f"t{len(rows):03d}", {k: v for axis in several for k, v in draw.choice(axis).items()})
    return tuple(rows.values())


def _axes(base: Config) -> Iterator[list[Change]]:
    """Yield the alternatives to one setting after the other, those that usually matter most first."""
    last = len(base.adam) - 1
    if base.adam and isinstance(stage := base.adam[last], Adam):
        key = f"adam.{last}"
        weights = {"regularity_weight": stage.regularity_weight}
        if stage.trusted_regularity_weight is not None:
            weights["trusted_regularity_weight"] = stage.trusted_regularity_weight
        yield [{f"{key}.{n}": round(f * w, 6) for n, w in weights.items()} for f in (0.5, 2.0, 0.25)]
        yield [{f"{key}.smoothing_repeats": n} for n in (2, 1) if n != stage.smoothing_repeats]
        yield [{f"{key}.iterations": 2 * stage.iterations}]
        yield [{f"{key}.similarity": "lcc" if stage.similarity == "ssd" else "ssd"}]
    if base.detail is not None:
        weight = base.detail.regularity_weight
        yield [
            *({"detail.regularity_weight": round(factor * weight, 6)} for factor in (0.5, 2.0)),
            {"detail.iterations": 2 * base.detail.iterations},
            {"detail": None},
        ]
    for number, encoder in enumerate(base.features.encoders):
        if isinstance(encoder, Mind):
            key = f"features.encoders.{number}"
            shapes = ((1, 2), (1, 1), (2, 2), (1, 3))  # radius, dilation
            yield [
                {f"{key}.radius": radius, f"{key}.dilation": dilation}
                for radius, dilation in shapes
                if (radius, dilation) != (encoder.radius, encoder.dilation)
            ]
    if base.features.max_cells is not None:
        yield [{"features.max_cells": round(factor * base.features.max_cells)} for factor in (2, 0.5)]
    for number, search in enumerate(base.discrete):
        if isinstance(search, Discrete):
            key = f"discrete.{number}.radius_mm"
            yield [{key: round(factor * search.radius_mm, 3)} for factor in (0.5, 1.5)]
    if base.preprocess.normalise:
        yield list(_intensities(base.preprocess))
    if base.renewed is not None:
        yield [{"renewed.rounds": base.renewed.rounds + 1}, {"renewed": None}]


def _intensities(settings: Preprocess) -> Iterator[Change]:
    if settings.mr_percentile < 99:
        yield {"preprocess.mr_percentile": 99.5}
    if settings.ct == "tissues":
        yield {"preprocess.ct": "window"}
    elif settings.ct_width_hu < 1600:
        yield {"preprocess.ct_level_hu": -200.0, "preprocess.ct_width_hu": 1600.0}


def _changed(base: Config, change: Change) -> Config:
    values: dict[str, Any] = base.model_dump(mode="json", exclude_none=True)
    for key, value in change.items():
        if expected := set_key(values, key, value):
            raise AssertionError(f"{key}: {expected}")
    return parse_config(values, where="tune")
