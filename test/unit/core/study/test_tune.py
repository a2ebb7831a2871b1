"""What is tried, and how one of the candidates is chosen; no image is registered here."""

import math

import pytest

from dinoreg.settings.load import config_hash, load_preset, preset_names
from dinoreg.study.ablation_table import CaseResult
from dinoreg.study.candidates import BASE, candidates
from dinoreg.study.choice import choose, rank
from regtask.pair import Pair


def result(dice=None, tre=None, smooth=0.1):
    return CaseResult(
        dice=dice,
        tre_mm=tre,
        tre30_mm=None,
        hd95_mm=None,
        folding_percent=0.0,
        sd_log_jacobian=smooth,
        seconds=1.0,
        features_seconds=0.1,
    )


def pairs_of(tmp_path, *people):
    """Pairs between the people named."""
    names = [(tmp_path / f"T_{a:04d}_0000.nii.gz", tmp_path / f"T_{b:04d}_0000.nii.gz") for a, b in people]
    return [Pair.of(*one) for one in names]


@pytest.mark.parametrize("preset", ["auto", "mind", "dinoreg", "convexadam-published", "ffd-mind"])
def test_candidates_begin_with_the_base_and_all_differ(preset):
    base = load_preset(preset)
    rows = candidates(base, 30)
    assert rows[0].name == BASE
    assert rows[0].config == base
    assert len(rows) <= 30
    assert len({config_hash(row.config) for row in rows}) == len({row.name for row in rows}) == len(rows)
    assert rows == candidates(base, 30)
    if preset == "auto":
        assert len(rows) == 30
        singles = [row.what for row in rows if row.what.count("=") == 1]
        assert len(singles) > 10
        assert {row.name for row in candidates(base, 30, seed=1)} == {row.name for row in rows}
        assert candidates(base, 30, seed=1) != rows


def test_every_preset_has_candidates():
    assert [name for name in preset_names() if len(candidates(load_preset(name), 2)) == 0] == []


def test_the_more_accurate_candidate_wins_and_smoothness_decides_between_equals(tmp_path):
    pairs = pairs_of(tmp_path, (1, 2), (3, 4), (5, 6))
    cases = [pair.case_key for pair in pairs]
    results = {
        BASE: {case: result(dice=0.7) for case in cases},
        "better": {case: result(dice=0.75, smooth=0.11) for case in cases},
        "as good, smoother": {case: result(dice=0.7504, smooth=0.05) for case in cases},
        "worse": {case: result(dice=0.6, smooth=0.01) for case in cases},
    }
    found = rank(results, cases)
    assert next(iter(found)) == "as good, smoother"
    assert found["better"] > found[BASE] > found["worse"]


def test_a_gain_that_does_not_carry_over_to_other_people_is_not_taken(tmp_path):
    """Each candidate is good on one pair and bad on the others."""
    pairs = pairs_of(tmp_path, (1, 2), (3, 4), (5, 6))
    cases = [pair.case_key for pair in pairs]
    results = {BASE: {case: result(tre=3.0) for case in cases}}
    for number, own in enumerate(cases):
        results[f"c{number}"] = {case: result(tre=1.5 if case == own else 3.4, smooth=0.05) for case in cases}
    choice = choose(results, pairs)
    assert choice.unit == "mm TRE"
    assert {fold.person for fold in choice.folds} == {f"{n:04d}" for n in range(1, 7)}
    assert choice.mean_gain < 0
    assert choice.best != BASE
    assert choice.taken == BASE


def test_what_is_better_for_everybody_is_taken(tmp_path):
    pairs = pairs_of(tmp_path, (1, 2), (3, 2), (4, 2))
    cases = [pair.case_key for pair in pairs]
    results = {
        BASE: {case: result(tre=3.0) for case in cases},
        "t001": {case: result(tre=2.0 + 0.1 * n) for n, case in enumerate(cases)},
    }
    choice = choose(results, pairs)
    assert choice.taken == "t001"
    # Person 2 is in every pair: nothing would be left to choose by.
    assert {fold.person: fold.gain for fold in choice.folds} == {"0001": 1.0, "0003": 0.9, "0004": 0.8}


def test_pairs_of_the_same_people_cannot_be_cross_validated(tmp_path):
    pairs = pairs_of(tmp_path, (1, 2), (2, 1))
    cases = [pair.case_key for pair in pairs]
    results = {BASE: {c: result(dice=0.5) for c in cases}, "t001": {c: result(dice=0.6) for c in cases}}
    choice = choose(results, pairs)
    assert choice.folds == ()
    assert math.isnan(choice.mean_gain)
    assert choice.taken == "t001"
