"""Every task in ../shared/data is read and found sound."""

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from regtask import DataError, read_dataset, read_field, read_landmark_pair, read_landmarks, verify_pairs

REPOSITORY = Path(__file__).resolve().parents[3]
DATA = REPOSITORY.parent / "shared" / "data"
OFFICIAL = DATA / "learn2reg_official"
TASKS = {"AbdomenMRCT": 5, "AbdomenMRMR": 6, "BrainT1": 2, "CardiacED2ES": 15, "HippocampusMR": 10}

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"no scans: {DATA} does not exist"),
]


@pytest.mark.parametrize("path", sorted(DATA.rglob("*_dataset.json")), ids=lambda path: path.stem)
def test_descriptions_validate(path):
    schema = json.loads((REPOSITORY / "datasets_json" / "schema.json").read_text(encoding="utf-8"))
    content = json.loads(path.read_text(encoding="utf-8"))
    errors = jsonschema.Draft202012Validator(schema).iter_errors(content)
    assert [error.message for error in errors] == []


@pytest.mark.parametrize(("name", "count"), TASKS.items())
def test_tasks_are_sound(name, count):
    dataset = read_dataset(DATA / name / f"{name}_dataset.json")
    pairs = dataset.pairs()
    assert len(pairs) == count
    assert all(None not in pair.labels() for pair in pairs)
    assert verify_pairs(pairs, check_values=name != "BrainT1") == []  # its volumes are large
    assert "unknown" not in {dataset.modality_of(pair.moving) for pair in pairs}
    assert dataset.labels[0] == "background"


def test_sequences_have_no_pairs():
    dataset = read_dataset(DATA / "CardiacCine2D" / "CardiacCine2D_dataset.json")
    assert dict(dataset.labels) == {1: "myocardium"}
    assert len(dataset.raw["sequences"]) == 12
    with pytest.raises(DataError, match="no pairs"):
        dataset.pairs()


@pytest.mark.parametrize("case", ["a", "b", "cbct"])
def test_golden_tasks(case):
    root = OFFICIAL / "golden" / case
    (description,) = (root / "gt").glob("*_dataset.json")
    pairs = read_dataset(description).pairs()
    assert verify_pairs(pairs, check_values=False) == []
    shape = json.loads((root / "config_plain.json").read_text())["expected_shape"]
    fields = sorted((root / "disp").iterdir())
    assert len(fields) == len(pairs) == 3
    for field in fields:
        assert read_field(field, tuple(shape[:3])).shape == tuple(shape)
    for pair in pairs:
        for kind in ("landmarks", "keypoints"):
            points = read_landmark_pair(pair, kind)
            assert points.fixed.shape == points.moving.shape


def test_points_of_the_thorax_layout_are_those_of_the_pair():
    pairs = read_dataset(OFFICIAL / "golden" / "cbct" / "gt" / "ThoraxCBCT_dataset.json").pairs()
    assert {path.parent.name for pair in pairs for path in pair.keypoints()} == {"keypoints01Tr"}


def test_lungct_points():
    paths = sorted((OFFICIAL / "LungCT_ground_truth").glob("*Tr/*.csv"))
    assert len(paths) == 12
    for path in paths:
        points = read_landmarks(path)
        assert len(points) > 50
        assert (points >= 0).all()
        assert (points < (192, 192, 208)).all()


def test_official_zero_field():
    path = OFFICIAL / "zero_fields" / "LungCT" / "disp_0001_0001.nii.gz"
    assert not np.any(read_field(path, (192, 192, 208)))
