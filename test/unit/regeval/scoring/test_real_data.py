"""Numbers measured by others on the scans and on the official evaluator's own cases."""

import json
from pathlib import Path

import numpy as np
import pytest

from regeval import dice, jacobian_determinant, mean_scores, score_task, tre_mm, warp_labels
from regtask import (
    read_dataset,
    read_field,
    read_header,
    read_labels,
    read_landmark_pair,
    read_landmarks,
    read_mask,
)

DATA = Path(__file__).resolve().parents[5] / "shared" / "data"
OFFICIAL = DATA / "learn2reg_official"

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"no scans: {DATA} does not exist"),
]


def test_hippocampus_identity():
    scores = score_task(read_dataset(DATA / "HippocampusMR" / "HippocampusMR_dataset.json"), None)
    means = mean_scores(scores)
    assert len(scores) == 10
    assert means.dice == pytest.approx(0.702, abs=5e-4)
    assert means.hd95_mm == pytest.approx(2.7, abs=0.05)
    assert means.tre_mm is None


@pytest.mark.parametrize(("case", "expected_mm"), [("0001", 20.18), ("0002", 15.60), ("0003", 8.14)])
def test_lung_zero_field(case, expected_mm):
    folder = OFFICIAL / "LungCT_ground_truth"
    fixed, moving = (
        read_landmarks(folder / f"landmarksTr/LungCT_{case}_{modality}.csv") for modality in ("0000", "0001")
    )
    grid = read_header(folder / f"masksTr/LungCT_{case}_0000.nii.gz").grid
    assert grid.spacing_mm == pytest.approx((1.75, 1.25, 1.75))
    zero = np.zeros((*grid.shape, 3), np.float32)
    for field in (None, zero):
        assert tre_mm(fixed, moving, field, grid.spacing_mm).mean() == pytest.approx(expected_mm, abs=5e-3)


@pytest.fixture
def golden(request):
    task, subject = request.param
    root = OFFICIAL / "golden" / task
    pairs = read_dataset(root / "gt" / "EvalCase_dataset.json").pairs("val")
    pair = next(pair for pair in pairs if pair.fixed_id.subject == subject)
    stem = root / "disp" / f"disp_{subject}_0000_{subject}_0001"
    file = next(
        stem.with_name(stem.name + end) for end in (".npz", ".nii.gz") if Path(f"{stem}{end}").exists()
    )
    official = {
        kind: json.loads((root / f"official_metrics_{kind}.json").read_text())["cases"][pair.case_key]
        for kind in ("plain", "masked")
    }
    return pair, read_field(file), official


EACH = pytest.mark.parametrize(
    "golden", [(task, subject) for task in "ab" for subject in ("0001", "0002", "0003")], indirect=True
)


@EACH
def test_dice_is_the_official_one(golden):
    pair, field, official = golden
    fixed, moving = (read_labels(path)[0] for path in pair.labels())
    ours = dice(fixed, warp_labels(moving, field), range(1, 6))
    for label, expected in enumerate(official["plain"]["DSC"]["detailed"], 1):
        if expected is not None and not np.isnan(expected):
            assert ours[label] == pytest.approx(expected, abs=1e-12)
        else:
            assert label not in fixed or label not in moving


@EACH
def test_landmark_error_is_the_official_one(golden):
    """Up to the interpolation, cubic there and linear here."""
    pair, field, official = golden
    spacing_mm = read_header(pair.moving).grid.spacing_mm
    for kind, name in (("landmarks", "TRE_lm"), ("keypoints", "TRE_kp")):
        ours = tre_mm(*read_landmark_pair(pair, kind), field, spacing_mm).mean()
        assert ours == pytest.approx(official["plain"][name]["mean"], abs=0.05)


@EACH
def test_determinants_give_the_official_spread(golden):
    """The official formula, log(det + 3) without two voxels at every face, applied to our determinants."""
    pair, field, official = golden
    inner = (slice(2, -2),) * 3
    logs = np.log(np.clip(jacobian_determinant(field)[inner] + 3, 1e-9, 1e9))
    assert logs.std() == pytest.approx(official["plain"]["LogJacDetStd"]["mean"], abs=1e-6)
    mask = read_mask(pair.masks().fixed)[inner]
    assert logs[mask].std() == pytest.approx(official["masked"]["LogJacDetStd"]["mean"], abs=1e-6)
