import json

import numpy as np
import pytest
import torch
from core_reference import SHAPE, SHIFT, SPACING, shifted_pair

from dinoreg.guard.linear_verdict import judge_linear
from dinoreg.guard.verdict import Evidence, LinearEvidence, gather_evidence, judge
from dinoreg.space.features import Features
from dinoreg.space.lattice import Lattice


def _features(values, weight=None):
    weight = torch.ones(1, *SHAPE) if weight is None else weight
    return Features(torch.from_numpy(values).float(), weight, Lattice(SHAPE, (1, 1, 1), SPACING))


def _shift(shift):
    return torch.tensor(shift, dtype=torch.float32).view(3, 1, 1, 1).expand(3, *SHAPE).contiguous()


def test_the_true_displacement_is_good_and_a_wrong_one_is_not(rng):
    fixed, moving = shifted_pair(SHAPE, SHIFT, rng, channels=4)
    right = gather_evidence(_features(fixed), _features(moving), _shift(SHIFT))
    assert right.residual < 0.01
    kept = np.prod([1 - abs(t) / n for t, n in zip(SHIFT, SHAPE, strict=True)])
    assert abs(right.covered - kept) < 0.02
    assert judge(right).grade == "good"
    wrong = gather_evidence(_features(fixed), _features(moving), _shift((-3, 5, -2)))
    assert 0.8 < wrong.residual < 1.2
    assert judge(wrong).grade == "failed"


def test_the_residual_is_relative_to_unrelated_places(rng):
    fixed, moving = shifted_pair(SHAPE, SHIFT, rng, channels=4)
    one = gather_evidence(_features(fixed), _features(moving), _shift((0, 0, 0)))
    scaled = gather_evidence(_features(7 * fixed), _features(7 * moving), _shift((0, 0, 0)))
    assert abs(one.residual - scaled.residual) < 1e-4


def test_nothing_in_common_is_a_failure(rng):
    fixed, moving = shifted_pair(SHAPE, SHIFT, rng, channels=2)
    evidence = gather_evidence(_features(fixed), _features(moving), _shift((40, 0, 0)))
    assert evidence.covered == 0
    assert judge(evidence).grade == "failed"
    assert "covers 0 %" in judge(evidence).reasons[0]


def test_a_field_that_stretches_a_lot_is_implausible(rng):
    fixed, _ = shifted_pair(SHAPE, SHIFT, rng, channels=2)
    displacement = _shift((0, 0, 0)).clone()
    displacement[0] = torch.arange(SHAPE[0]).view(-1, 1, 1) * -0.9  # volumes shrink tenfold
    evidence = gather_evidence(_features(fixed), _features(fixed), displacement)
    assert evidence.implausible > 0.9


@pytest.mark.parametrize(
    ("most_mm", "body_mm", "grade"),
    [
        (None, None, "good"),
        (5.9, 300.0, "good"),
        (6.1, 300.0, "doubtful"),
        (4.1, 200.0, "doubtful"),
        (200.0, 300.0, "doubtful"),
    ],
)
def test_what_is_still_moved_is_measured_by_the_body(most_mm, body_mm, grade):
    verdict = judge(Evidence(0.9, 0.1, 0.0, remaining_mm=3.0, remaining_most_mm=most_mm, body_mm=body_mm))
    assert verdict.grade == grade
    words = [f"from where it leads another optimisation moves a tenth of the body by {most_mm} mm or more"]
    assert list(verdict.reasons) == (words if grade == "doubtful" else [])


@pytest.mark.parametrize(
    ("one", "other", "better"),
    [
        (Evidence(0.9, 0.58, 0.0), Evidence(0.9, 0.7, 0.0), True),
        (Evidence(0.9, 0.62, 0.0), Evidence(0.9, 0.7, 0.0), False),
        (Evidence(0.9, 0.5, 0.06), Evidence(0.9, 0.7, 0.0), False),  # bought by tearing
        (Evidence(0.1, 0.3, 0.0), Evidence(0.9, 0.7, 0.0), False),  # of the little that it covers
        (Evidence(0.9, 0.5, 0.0, explained=0.02), Evidence(0.9, 0.7, 0.0, explained=0.5), False),
        (LinearEvidence(0.9, 0.1, 0.9), Evidence(0.9, 0.7, 0.0), False),
    ],
)
def test_clearly_better_is_by_a_margin_and_no_worse_otherwise(one, other, better):
    verdicts = [judge_linear(e) if isinstance(e, LinearEvidence) else judge(e) for e in (one, other)]
    assert verdicts[0].is_clearly_better_than(verdicts[1]) is better


def test_the_worst_evidence_decides_and_is_named():
    verdict = judge(Evidence(covered=0.9, residual=0.1, implausible=0.4))
    assert verdict.grade == "failed"
    assert len(verdict.reasons) == 1
    assert judge(Evidence(covered=0.9, residual=0.1, implausible=0.0)).reasons == ()
    assert set(verdict.as_dict()) == {"verdict", "verdict_reasons", "verdict_evidence"}


@pytest.mark.parametrize(
    ("explained", "one_family", "grade"),
    [
        (0.8, True, "good"),
        (0.3, True, "doubtful"),
        (0.1, True, "failed"),
        (0.03, False, "good"),
        (None, True, "good"),
    ],
)
def test_intensities_of_one_family_of_modalities_have_to_agree(explained, one_family, grade):
    """With features that leave as much as they do between two people."""
    verdict = judge(Evidence(0.9, 0.5, 0.03, explained, one_family))
    assert verdict.grade == grade
    assert len(verdict.reasons) == (grade != "good")
    if verdict.reasons:
        assert f"tells {100 * explained:.0f} %" in verdict.reasons[0]
    assert json.loads(json.dumps(verdict.as_dict()))["verdict_evidence"]["one_family"] is one_family


def test_what_two_reasons_share_is_said_once():
    verdict = judge(Evidence(0.9, 0.7, 0.1, 0.1, True))
    assert verdict.grade == "failed"
    assert len(verdict.reasons) == 1


@pytest.mark.parametrize("shape", [(20, 26, 1), (1, 26, 20), (20, 26)])
def test_a_single_slice_is_doubtful_at_best(shape, rng):
    values = torch.from_numpy(rng.standard_normal((4, *shape))).float()
    lattice = Lattice(shape, (1,) * len(shape), (1.0,) * len(shape))
    features = Features(values, torch.ones(1, *shape), lattice)
    verdict = judge(gather_evidence(features, features, torch.zeros(len(shape), *shape)))
    assert verdict.grade == "doubtful"
    assert verdict.reasons == ("the limits are those of volumes, and this is a single slice",)


def test_a_few_slices_on_one_layer_of_cells_are_a_volume(rng):
    values = torch.from_numpy(rng.standard_normal((4, 20, 26, 1))).float()
    features = Features(values, torch.ones(1, 20, 26, 1), Lattice((60, 78, 3), (3, 3, 3), (2.1, 2.1, 3.0)))
    assert not gather_evidence(features, features, torch.zeros(3, 20, 26, 1)).single_slice


@pytest.mark.parametrize("name", ["covered", "residual", "implausible"])
def test_evidence_that_is_no_number_is_no_good(name):
    known = {"covered": 1.0, "residual": 0.1, "implausible": 0.0}
    assert judge(Evidence(**known)).grade == "good"
    assert judge(Evidence(**known | {name: float("nan")})).grade == "failed"


def test_the_words_name_the_image_that_shows_a_part():
    for exchanged, words in ((False, "the moving image covers 30 % of the fixed one"),
                             (True, "the fixed image covers 30 % of the moving one")):  # fmt: skip
        assert judge(Evidence(0.3, 0.1, 0.0, exchanged=exchanged)).reasons == (words,)
