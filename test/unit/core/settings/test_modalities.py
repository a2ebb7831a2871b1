"""Between two families of modalities intensities are not compared, however much one explains of the other."""

import numpy as np
import pytest
import torch
from core_reference import smooth_noise

from dinoreg.pipeline.register import register
from dinoreg.preprocess.pair import ImagePair, Scan
from dinoreg.settings.config import Config
from dinoreg.settings.load import load_preset
from dinoreg.settings.modalities import for_families
from regtask.grid import Grid


def test_of_auto_mind_is_left():
    auto = load_preset("auto")
    found = for_families(auto, "ct", "mr")
    assert [encoder.name for encoder in found.features.encoders] == ["mind"]
    assert found.features.intensities == "settings"
    assert found.detail is None
    assert (auto.preprocess.beyond_view, found.preprocess.beyond_view) == ("continued", "blank")
    assert found.adam[0].trusted_regularity_weight is None
    assert found.adam[0].regularity_weight == auto.adam[0].regularity_weight
    assert {stage.weights for stage in (*found.start, *found.discrete)} == {(1.0,), ()}
    # What is left is a configuration that could have been written.
    assert Config.model_validate(found.model_dump()) == found


@pytest.mark.parametrize("families", [("ct", "ct"), ("mr", "mr"), ("unknown", "mr"), ("ct", "unknown")])
def test_within_a_family_and_where_one_is_unknown_they_are_measured(families):
    auto = load_preset("auto")
    assert for_families(auto, *families) is auto


@pytest.mark.parametrize("preset", ["mind", "mind+intensity", "ssd", "dinoreg"])
def test_other_presets_stay(preset):
    config = load_preset(preset)
    assert for_families(config, "ct", "mr") is config


@pytest.mark.parametrize(("modality", "compared"), [("MR", True), ("CT", False)])
def test_a_registration_goes_by_it(modality, compared, rng):
    shape = (20, 22, 18)
    values = (100 + 30 * smooth_noise(shape, rng)).astype(np.float32)
    grid = Grid(shape, np.diag([3.0, 3.0, 3.0, 1.0]))
    pair = ImagePair(Scan(values, grid, "MR"), Scan(values, grid, modality))
    overrides = ["adam.0.iterations=2", "preprocess.foreground=none", "start.0.range_mm=[6,6,6]"]
    found = register(pair, load_preset("auto", overrides), device=torch.device("cpu"))
    encoding = next(stage.facts for stage in found.stages if stage.name == "features")
    assert ("intensity" in {encoder.name for encoder in encoding.encoders}) == compared
