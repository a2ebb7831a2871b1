"""Every setting changes what comes out, the field or the facts of the manifest, or is refused."""

import ast
import copy
from functools import lru_cache
from typing import get_args

import numpy as np
import pytest
import torch
from core_reference import smooth_noise
from slice_encoders import MeanEncoder, load_mean

from dinoreg.encoders.pool import EncoderPool
from dinoreg.errors import ConfigError
from dinoreg.facts import plain
from dinoreg.pipeline.register import register
from dinoreg.preprocess.pair import ImagePair, Scan
from dinoreg.settings import encoders, stages
from dinoreg.settings.config import Config, FeatureSettings, Guard, Preprocess
from dinoreg.settings.inherit import set_key
from dinoreg.settings.load import parse_config
from regtask.grid import Grid

SHAPE, SPACING = (13, 15, 17), (4.0, 2.0, 3.0)
CPU = torch.device("cpu")
MIND, TOKENS = {"name": "mind"}, {"name": "dinov2", "up_sampling": 4.0, "slice_step": 2, "components": 2}
BOTH = [MIND, {"name": "intensity"}]
ADAM = {"cell_mm": 4.0, "iterations": 12, "learning_rate": 0.3}
BASE = {
    "features": {"cell_mm": 4.0, "encoders": [MIND]},
    "discrete": [{"cell_mm": 8.0, "radius_mm": 8.0, "consistency_iterations": 2}],
    "adam": [ADAM],
}
FREE = {"adam": [], "discrete": [], "features": {"encoders": [MIND]}}
FREE |= {"ffd": [{"cell_mm": 4.0, "control_mm": 12.0, "levels": 1, "iterations": 12, "alpha": 0.5}]}
PUBLISHED = {
    "voxel_lengths": True,
    "features": {"cell_mm": 2.0, "encoders": [MIND]},
    "discrete": [{"kind": "published", "cell_mm": 2.0, "radius_mm": 4.0}],
    "adam": [{"kind": "published", "cell_mm": 2.0, "iterations": 6}],
}
MEASURED = BASE | {"features": {"cell_mm": 8.0, "intensities": "measured", "encoders": BOTH}}


def starting(**step):
    return BASE | {"start": [step]}


def encoding(*settings):
    return BASE | {"features": {"cell_mm": 4.0, "encoders": list(settings)}}


# What is found by other tests: names, files of weights, and what only a GPU does.
ELSEWHERE = {"name", "description", "output", "kind", "weights", "sha256", "variant", "normalisation"}
ELSEWHERE |= {"intensities", "precision", "basis"}
HYPOTHESES = starting(kind="hypotheses", range_mm=[0, 0, 12.0], step_mm=6.0, cell_mm=4.0, radius_mm=[4.0] * 3)
SEARCH = starting(kind="search", range_mm=[12.0] * 3, cell_mm=4.0)
SEARCH["start"][0].pop("cell_mm")
# What images as small as these do not show, and other tests do.
TOO_SMALL = {
    (FeatureSettings, "max_voxels"),  # test_working.py
    (Preprocess, "beyond_view"),  # test_field_of_view.py
    (Config, "sought_from"),  # test_exchanged.py
    (stages.HypothesesStart, "min_overlap"),  # test_hypotheses.py
    (stages.SearchStart, "least_gain"),  # test_search.py
    (stages.SearchStart, "keep"),
    (stages.Adam, "trusted_regularity_weight"),  # test_instance.py
    (Config, "renewed"),  # test_renewed.py, test_register.py
    (stages.Linear, "min_overlap"),  # linear/test_evidence.py
    (stages.Linear, "least_degrees"),
    (stages.Linear, "least_gain"),
}
# class -> (where it stands, whole configuration, setting -> another value). A value may come with settings
# beside it without which it would not count, and which are there before it is changed.
WALK = {
    Config: (
        "",
        BASE,
        {
            "voxel_lengths": True,
            "masked": False,
            "preprocess": {"normalise": False},
            "features": {"cell_mm": 8.0},
            "start": [{"kind": "centres"}],
            "discrete": [],
            "adam": [],
            "detail": ({"least_trust": 0.0}, {"features": MEASURED["features"]}),
            "ffd": FREE["ffd"],
            "linear": {},
            "guard": ({"max_folding_percent": 100.0}, {"adam.0.learning_rate": 30.0}),
        },
    ),
    Preprocess: (
        "preprocess",
        BASE,
        {
            "ct": "tissues",
            "ct_level_hu": 0.0,
            "ct_width_hu": 100.0,
            "mr_percentile": 60.0,
            "normalise": False,
            "background": "kept",
            "foreground": "none",
        },
    ),
    FeatureSettings: (
        "features",
        BASE,
        {
            "encoders": [{"name": "intensity"}],
            "ensemble": ("average", {"features.encoders": BOTH}),
            "cell_mm": 8.0,
            "max_cells": 1000,
            "grid": "cubic",
            "intensities": ("measured", {"features.encoders": BOTH}),
            "unit_scale": False,
        },
    ),
    Guard: ("guard", BASE, {"max_folding_percent": (100.0, {"adam.0.learning_rate": 30.0})}),
    encoders.Mind: (
        "features.encoders.0",
        encoding(*BOTH),
        {"weight": 3.0, "radius": 2, "dilation": 1},
    ),
    encoders.Intensity: ("features.encoders.1", encoding(*BOTH), {"weight": 3.0}),
    encoders.Dinov2: (
        "features.encoders.0",
        encoding(TOKENS, MIND),
        {
            "weight": 3.0,
            "slices": "coronal",
            "axis": 1,
            "up_sampling": 2.0,
            "token_pitch_mm": 4.0,
            "whole_slices": True,
            "slice_step": 3,
            "components": 3,
            "projection": "uncentred",
            "pca_mask": False,
            "foreground_share": 0.5,
            "batch": 2,
            "storage": "float32",
        },
    ),
    encoders.Dino3d: (
        "features.encoders.0",
        encoding({"name": "dino3d"}, MIND),
        {
            "weight": 3.0,
            "components": 8,
            "spacing_mm": 6.0,
            "tile": (16, {"features.encoders.0.spacing_mm": 1.5}),
        },
    ),
    stages.SlicesStart: (
        "start.0",
        encoding(TOKENS) | {"start": [{"kind": "slices", "robust": False}]},
        {
            "descriptor": "features",
            "slices": "coronal",
            "axis": 1,
            "closest": 1,
            "robust": (True, {}),
        },
    ),
    stages.AffineStart: (
        "start.0",
        starting(kind="affine", iterations=3, cell_mm=4.0),
        {"cell_mm": 8.0, "iterations": 1, "learning_rate": 0.2, "min_overlap": 1.0},
    ),
    stages.HypothesesStart: (
        "start.0",
        HYPOTHESES,
        {
            "range_mm": [0, 0, 6.0],
            "step_mm": 12.0,
            "cell_mm": 8.0,
            "radius_mm": [8.0] * 3,
            "weights": ([1.0, 3.0], {"features.encoders": BOTH}),
        },
    ),
    stages.SearchStart: (
        "start.0",
        SEARCH,
        {
            "range_mm": [4.0] * 3,
            "min_overlap": 1.0,
            "weights": ([1.0, 3.0], {"features.encoders": BOTH}),
        },
    ),
    stages.Linear: (
        "linear",
        BASE | {"linear": {"range_degrees": 10.0}},
        {"model": "affine", "when": "evidence", "range_degrees": 30.0, "range_share": 0.0},
    ),
    stages.Discrete: (
        "discrete.0",
        BASE,
        {
            "cell_mm": 4.0,
            "radius_mm": 16.0,
            "consistency_iterations": 0,
            "weights": ([1.0, 3.0], {"features.encoders": BOTH}),
        },
    ),
    stages.Adam: (
        "adam.0",
        BASE,
        {
            "cell_mm": 8.0,
            "iterations": 3,
            "learning_rate": 0.1,
            "decay": "cosine",
            "regularity_weight": 5.0,
            "smoothing_width": 5,
            "smoothing_repeats": 1,
            "similarity": "lcc",
            "lcc_window": (5, {"adam.0.similarity": "lcc"}),
            "stop_below": (1.0, {"adam.0.iterations": 30}),
            "weights": ([1.0, 3.0], {"features.encoders": BOTH}),
        },
    ),
    stages.Detail: (
        "detail",
        MEASURED | {"detail": {"least_trust": 0.0, "learning_rate": 0.3}},
        {
            "iterations": 3,
            "learning_rate": 0.1,
            "regularity_weight": 5.0,
            "smoothing_width": 5,
            "smoothing_repeats": 1,
            "least_trust": 2.0,
        },
    ),
    stages.PublishedDiscrete: (
        "discrete.0",
        PUBLISHED,
        {"cell_mm": 4.0, "radius_mm": 2.0, "consistency_iterations": 0},
    ),
    stages.PublishedAdam: (
        "adam.0",
        PUBLISHED,
        {"cell_mm": 4.0, "iterations": 3, "learning_rate": 0.1, "regularity_weight": 5.0},
    ),
    stages.Ffd: (
        "ffd.0",
        FREE,
        {
            "cell_mm": 8.0,
            "control_mm": 24.0,
            "levels": 2,
            "iterations": 3,
            "learning_rate": 0.01,
            "regularity_weight": 9.0,
            "alpha": 0.1,
            "distance": "l1",
            "order": "static",
            "feature_grid": (8, {"features.encoders": [{"name": "dinov2"}]}),
            "stop_below": (1.0, {"ffd.0.iterations": 30}),
        },
    ),
}
CASES = [(model, key) for model, (_, _, values) in WALK.items() for key in values]


def settings_classes():
    """All classes of settings, but those that only others are made from."""
    found, waiting = set(), [Config]
    while waiting:
        model = waiting.pop()
        found.add(model)
        waiting += [m for f in model.model_fields.values() for m in _models(f.annotation)]
    return found


def _models(annotation):
    if isinstance(annotation, type) and issubclass(annotation, stages.Settings):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


@lru_cache(maxsize=2)
def pair(fixed="CT"):
    """A CT with a lung and its fill, and an MR of the same body, moved and folded here and there.

    Intensities are measured within one family of modalities only: there `fixed` is called an MR.
    """
    rng = np.random.default_rng(3)
    index = np.indices(SHAPE)
    centre = np.reshape([(n - 1) / 2 for n in SHAPE], (-1, 1, 1, 1))
    radius = np.sqrt((((index - centre) / (0.45 * np.reshape(SHAPE, (-1, 1, 1, 1)))) ** 2).sum(axis=0))
    noise = smooth_noise(SHAPE, rng, sigma=1.0)
    ct = np.where(radius < 1, 40 + 60 * noise, -1000.0)
    ct[3:7, 5:9, 4:12] = -800 + 40 * noise[3:7, 5:9, 4:12]
    mr = np.roll(
        np.where(radius < 1, 300 + 90 * noise + 40 * rng.standard_normal(SHAPE), 3.0), (1, 2), (1, 2)
    )
    grid = Grid(SHAPE, np.diag([-SPACING[0], -SPACING[1], SPACING[2], 1.0]))
    mask = radius < 1.1
    return ImagePair(
        Scan(ct.astype(np.float32), grid, fixed, mask=mask),
        Scan(mr.astype(np.float32), grid, "MR", mask=mask),
    )


def outcome(values):
    """The field, and what is reported without seconds and memory."""
    config = parse_config(values, where="test")
    pool = EncoderPool(CPU, load=load_mean(MeanEncoder(channels=3)))
    measured = config.features.intensities == "measured"
    found = register(pair("MR" if measured else "CT"), config, device=CPU, pool=pool)
    return found.displacement, _steady([stage.as_dict() for stage in found.stages]), plain(found.verdict)


def _steady(value):
    if isinstance(value, dict):
        return {k: _steady(v) for k, v in value.items() if "seconds" not in k and "memory" not in k}
    return [_steady(one) for one in value] if isinstance(value, list) else value


@lru_cache(maxsize=64)
def before(where):
    return outcome(ast.literal_eval(where))


def changed(values, overrides):
    values = copy.deepcopy(values)
    for key, value in overrides.items():
        assert set_key(values, key, value) == ""
    return values


def test_every_setting_is_walked():
    others = {type(Config().output), encoders.Dinov3, encoders.Sam, stages.CentresStart, stages.Renewed}
    assert settings_classes() - others == set(WALK)
    for model, (_, _, values) in WALK.items():
        too_small = {key for of, key in TOO_SMALL if of is model}
        assert set(model.model_fields) - ELSEWHERE - too_small <= set(values), model
    ours = set(encoders.Dinov2.model_fields)
    assert set(encoders.Dinov3.model_fields) | set(encoders.Sam.model_fields) <= ours | {"intensities"}


@pytest.mark.parametrize(("model", "key"), CASES, ids=[f"{m.__name__}.{k}" for m, k in CASES])
def test_every_setting_counts(model, key):
    where, base, values = WALK[model]
    value, beside = values[key] if isinstance(values[key], tuple) else (values[key], {})
    base = changed(base, beside)
    other = changed(base, {f"{where}.{key}" if where else key: value})
    field, facts, verdict = before(repr(base))
    found, reported, judged = outcome(other)
    assert not np.array_equal(field, found) or (facts, verdict) != (reported, judged)


@pytest.mark.parametrize(
    ("base", "overrides", "named"),
    [
        (FREE, {"features.encoders": [{"name": "dinov2", "up_sampling": 2.0}]}, "encoders.0.up_sampling"),
        (FREE, {"features.encoders": [{"name": "sam", "components": 8}]}, "features.encoders.0.components"),
        (FREE, {"features.encoders": [{"name": "sam", "precision": "float16"}]}, "encoders.0.precision"),
        (FREE, {"ffd.0.alpha": 0.0, "ffd.0.distance": "l1"}, r"ffd\.0\.distance"),
        (BASE, {"adam.0.lcc_window": 5}, r"adam\.0\.lcc_window"),
        (BASE, {"adam.0.smoothing_repeats": 0, "adam.0.smoothing_width": 7}, r"adam\.0\.smoothing_width"),
        (BASE, {"preprocess": {"normalise": False, "ct_level_hu": 0.0}}, "preprocess.ct_level_hu"),
        (BASE, {"features.max_voxels": 20_000}, "features.max_voxels"),
        (BASE, {"start": [{"kind": "slices", "descriptor": "features", "closest": 3}]}, "start.0.closest"),
        (BASE, {"linear": {"when": "evidence", "model": "affine"}}, "linear.model"),
        (BASE, {"linear": {"least_degrees": 5.0}}, "linear.least_degrees"),
    ],
)
def test_a_setting_that_would_do_nothing_is_refused(base, overrides, named):
    with pytest.raises(ConfigError, match=f"no effect.*{named}"):
        parse_config(changed(base, overrides), where="test")
    assert parse_config(base, where="test")
