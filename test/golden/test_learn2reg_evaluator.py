"""The official evaluator's own numbers, all of them, from its own synthetic tasks.

The tasks hold imperfect fields (absent and vanishing labels, true folds, npz in half precision, nii.gz) and
what the official scripts wrote for them: a and b that of 2025, cbct that of 2024 with its key point folders.
"""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from regeval.inputs.config import read_config
from regeval.inputs.ground_truth import read_truth
from regeval.inputs.submission import open_submission
from regeval.metrics.landmark_error import tre_mm
from regeval.scoring.evaluate_submission import evaluate
from regeval.scoring.metrics_file import as_strict_json

OFFICIAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "learn2reg_official"
TOLERANCE = 1e-6

pytestmark = [
    pytest.mark.golden,
    pytest.mark.real_data,
    pytest.mark.skipif(not OFFICIAL.is_dir(), reason=f"no official results: {OFFICIAL} does not exist"),
]


def differences(official, ours, path=""):
    """Yield the path of every official value that ours does not reproduce, and the number of values."""
    if isinstance(official, dict):
        for key, value in official.items():
            yield from differences(value, ours[key], f"{path}/{key}")
    elif isinstance(official, list):
        assert len(official) == len(ours), path
        for index, value in enumerate(official):
            yield from differences(value, ours[index], f"{path}[{index}]")
    elif isinstance(official, float):
        same = math.isnan(ours) if math.isnan(official) else ours == official
        yield path, same or abs(ours - official) <= TOLERANCE
    else:
        yield path, ours == official


@pytest.mark.parametrize(
    ("task", "kind"),
    [("a", "plain"), ("a", "masked"), ("b", "plain"), ("b", "masked"), ("cbct", "plain")],
)
def test_every_number(task, kind):
    folder = OFFICIAL / "golden" / task
    config = read_config(folder / f"config_{kind}.json", folder / "gt")
    ours = evaluate(config, open_submission(folder / "disp"), "l2r")
    official = json.loads((folder / f"official_metrics_{kind}.json").read_text(encoding="utf-8"))
    found = dict(differences(official, ours))
    assert len(found) > 500
    assert [path for path, same in found.items() if not same] == []
    assert list(ours)[:4] == list(official)
    assert list(ours["aggregates"])[: len(official["aggregates"])] == list(official["aggregates"])
    strict = as_strict_json(ours)
    json.dumps(strict, allow_nan=False)
    assert strict["aggregates"]["HD95_all"]["mean"] is None
    assert "mean: infinite" in strict["aggregates"]["HD95_all"]["reasons"]


def test_the_comparison_bites():
    assert not all(same for _, same in differences({"x": [1.0]}, {"x": [1.00001]}))
    assert not all(same for _, same in differences({"x": math.nan}, {"x": 1.0}))
    assert not all(same for _, same in differences({"x": math.inf}, {"x": 1.0}))


def test_lung_zero_fields():
    """No images: the voxel size comes from the header of the mask. One pair as a whole, all by landmarks."""
    folder = OFFICIAL / "LungCT_ground_truth"
    config = read_config(folder / "LungCT_VAL_evaluation_config.json", folder)
    submission = open_submission(OFFICIAL / "zero_fields" / "LungCT")
    found = []
    for pair in config.pairs:
        truth = read_truth(config, pair)
        field = submission.read_field(submission.field_name(pair), truth.shape)
        points = truth.official_points["landmarks"]
        found.append(tre_mm(*points, field, truth.official_spacing_mm, "official").mean())
    assert found == pytest.approx([20.18, 15.60, 8.14], abs=5e-3)
    third = evaluate(replace(config, pairs=config.pairs[2:]), submission, "l2r")["aggregates"]
    assert third["TRE_lm"]["mean"] == found[2]
    assert third["LogJacDetStd"]["mean"] == pytest.approx(0, abs=1e-12)
