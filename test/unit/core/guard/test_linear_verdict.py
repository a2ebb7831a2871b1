"""Verdicts on rigid maps: right where the map is, and not where it is off, mirrored or beside the image."""

import numpy as np
import pytest
from linear_scans import FIXED_SHAPE, Body
from scipy import ndimage

from dinoreg.guard.linear_verdict import gather_linear_evidence, judge_linear, judge_map
from dinoreg.guard.verdict import LinearEvidence
from dinoreg.preprocess.prepare import PreparedImage

SPACING = (3.0, 3.4, 5.0)
TO_MM = np.diag([*SPACING, 1.0])
TO_MM[:3, 3] = -np.array(SPACING) * (np.array(FIXED_SHAPE) - 1) / 2


def seen(shift_mm=(0, 0, 0), seed=3, contrast=lambda v: v):
    back = np.eye(4)
    back[:3, 3] = shift_mm
    return Body(seed).seen(FIXED_SHAPE, TO_MM, back, contrast)


def cut(image, slices):
    """Nothing seen outside some slices."""
    kept = np.zeros(FIXED_SHAPE, bool)
    kept[:, :, slices] = True
    return PreparedImage(np.where(kept, image.values, 0), image.foreground & kept, image.content)


@pytest.mark.parametrize("contrast", [lambda v: v, lambda v: 1.05 - v], ids=["alike", "inverted"])
def test_the_right_place_is_good_and_a_place_beside_it_is_not(contrast):
    assert judge_map(seen(), seen(contrast=contrast), SPACING).grade == "good"
    verdict = judge_map(seen(), seen((12, -9, 6), contrast=contrast), SPACING)
    assert verdict.grade != "good"
    assert "hardly stands out" in verdict.reasons[-1]


def test_another_texture_in_the_same_outline_fails():
    evidence = gather_linear_evidence(seen(), seen(seed=4), SPACING)
    assert evidence.apart > 0.7
    assert judge_linear(evidence).grade != "good"


def test_a_part_of_the_body_is_judged_by_what_it_shows():
    part = cut(seen(), slice(8, 18))
    assert part.foreground.sum() < 0.8 * seen().foreground.sum()
    for pair in ((seen(), part), (part, seen())):
        evidence = gather_linear_evidence(*pair, SPACING)
        assert evidence.covered > 0.95
        assert evidence.apart < 0.75  # features beside the cut differ


def test_a_body_that_slides_along_itself_is_not_good(rng):
    """The same in every slice: nothing tells its height, though it is the best to all other sides."""
    texture = ndimage.gaussian_filter(rng.normal(size=FIXED_SHAPE[:2]), 2)[..., None]

    def column():
        values = 1 + 5 * texture + rng.normal(0, 0.02, FIXED_SHAPE)
        return PreparedImage(values.astype(np.float32), np.ones(FIXED_SHAPE, bool), (slice(None),) * 3)

    assert judge_map(column(), column(), SPACING).grade == "failed"


def test_nothing_in_common_fails_with_its_reason():
    verdict = judge_map(cut(seen(), slice(0, 11)), cut(seen(), slice(15, 26)), SPACING)
    assert verdict.grade == "failed"
    assert "have 0 % of the smaller one in common" in verdict.reasons[0]
    assert verdict.as_dict()["verdict_evidence"]["nearby"] is None


def test_without_structure_nothing_can_be_said_for_it():
    flat = PreparedImage(np.ones(FIXED_SHAPE, np.float32), np.ones(FIXED_SHAPE, bool), (slice(None),) * 3)
    assert judge_map(flat, flat, SPACING).grade == "failed"


@pytest.mark.parametrize(
    ("evidence", "grade"),
    [
        (LinearEvidence(0.9, 0.1, 0.4), "good"),
        (LinearEvidence(0.9, 0.3, 0.4), "doubtful"),
        (LinearEvidence(0.9, 0.4, 0.4), "failed"),
        (LinearEvidence(0.4, 0.1, 0.4), "doubtful"),
        (LinearEvidence(0.1, 0.1, 0.4), "failed"),
    ],
)
def test_the_worst_evidence_decides(evidence, grade):
    verdict = judge_linear(evidence)
    assert verdict.grade == grade
    assert bool(verdict.reasons) == (grade != "good")
