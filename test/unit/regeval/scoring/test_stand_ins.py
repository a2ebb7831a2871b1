"""Pairs without a usable field: refused, or scored by a stand-in that is marked wherever it counts."""

import json
import math
import zipfile

import numpy as np
import pytest

from regeval.cli.metrics_table import format_table
from regeval.inputs.config import config_of
from regeval.inputs.submission import Submission, open_submission
from regeval.scoring.evaluate_submission import evaluate
from regeval.scoring.metrics_file import as_strict_json
from regtask import DataError, Grid, read_dataset, read_field, write_field, write_landmarks
from regtask.errors import Fault, OutputError

SHAPE, SPACING_MM, SHIFT = (26, 30, 34), (2.0, 0.5, 1.25), (3, -5, 7)
GRID = Grid(SHAPE, np.diag([*SPACING_MM, 1.0]))
FIRST, SECOND = "0001_0000<--0001_0001", "0002_0000<--0002_0001"
DIAGONAL_MM = math.hypot(26 * 2, 30 * 0.5, 34 * 1.25)
NAME = "disp_0001_0001.nii.gz"


def without(folder):
    (folder / NAME).unlink()


def unreadable(folder):
    (folder / NAME).write_bytes((folder / NAME).read_bytes()[:400])


def another_shape(folder):
    write_field(folder / NAME, np.zeros((13, 15, 17, 3), np.float32), Grid((13, 15, 17), np.eye(4)))


def with_value(value):
    def spoil(folder):
        field = np.zeros((*SHAPE, 3), np.float32)
        field[3, 4, 5, 1] = value
        (folder / NAME).unlink()
        np.savez(folder / NAME.replace(".nii.gz", ".npz"), field)

    return spoil


SPOILED = {
    "missing": (without, "no displacement field: 0001_0000<--0001_0001"),
    "unreadable": (unreadable, NAME),
    "another shape": (another_shape, "half resolution"),
    "NaN": (with_value(np.nan), "not finite"),
    "infinite": (with_value(np.inf), "not finite"),
}


@pytest.fixture
def folder(tmp_path, shift_field):
    path = tmp_path / "predictions"
    path.mkdir()
    for subject in ("0001", "0002"):
        write_field(path / f"disp_{subject}_{subject}.nii.gz", shift_field, GRID)
    return path


@pytest.fixture
def scored(task, folder):
    def score(missing, mode="strict", **options):
        config = config_of(read_dataset(task), masked=True, missing=missing)
        return evaluate(config, open_submission(folder), mode, **options)

    return score


@pytest.mark.parametrize(("spoil", "why"), SPOILED.values(), ids=SPOILED)
def test_each_way_to_lack_a_field(scored, folder, spoil, why):
    spoil(folder)
    with pytest.raises(DataError, match=why):
        scored("refuse")
    for policy, dice in (("identity", 0), ("worst", 0)):
        document = scored(policy)
        assert document["cases"][FIRST]["DSC"]["mean"] == dice
        assert (document["missing"]["policy"], document["missing"]["count"]) == (policy, 1)
        (case, reason), *more = document["missing"]["cases"].items()
        assert (case, more) == (FIRST, [])
        assert why in reason
        for entry in document["cases"][FIRST].values():
            assert entry["stand_in"] == policy
            assert why in entry["reasons"][0]
        assert not any("stand_in" in entry for entry in document["cases"][SECOND].values())
        assert document["aggregates"]["DSC"]["stand_ins"] == 1
        assert document["aggregates"]["TRE_lm_l2r"]["stand_ins"] == 1


def test_a_sound_submission_is_the_same_by_every_policy(scored):
    refused, *others = (scored(policy) for policy in ("refuse", "identity", "worst"))
    assert refused.pop("missing") == {"policy": "refuse", "count": 0, "cases": {}}
    for document in others:
        assert document.pop("missing")["count"] == 0
        assert str(document) == str(refused)
    assert "stand_ins" not in refused["aggregates"]["DSC"]


@pytest.mark.parametrize("mode", ["strict", "l2r"])
def test_identity_has_the_numbers_of_no_displacement(scored, folder, mode):
    without(folder)
    document = scored("identity", mode)
    case, reference = document["cases"][FIRST], document["reference"]["cases"][FIRST]
    for name, entry in reference.items():
        for key in ("mean", "detailed", "lost_labels"):
            assert str(case[name].get(key)) == str(entry.get(key)), name
    assert "stand_in" not in reference["DSC"]
    assert case["TRE_lm"]["mean"] == pytest.approx(np.linalg.norm(np.multiply(SHIFT, SPACING_MM)))


def test_worst_values(scored, folder):
    without(folder)
    case = scored("worst")["cases"][FIRST]
    assert case["DSC"]["detailed"][:3] == [0, 0, 0]
    assert math.isnan(case["DSC"]["detailed"][3])  # label 9 is in one image only and counts for nobody
    assert case["HD95"]["detailed"][:3] == pytest.approx([DIAGONAL_MM] * 3)
    assert case["TRE_lm"]["detailed"] == pytest.approx((DIAGONAL_MM,) * 2)
    assert case["TRE_lm"]["hardest30"] == pytest.approx(DIAGONAL_MM)
    assert case["HD95_l2r"]["detailed"][:3] == [math.inf] * 3  # what the official rules make of a lost label
    assert case["TRE_lm_l2r"]["mean"] == pytest.approx(DIAGONAL_MM)
    assert case["LogJacDetStd"]["mean"] == case["LogJacDetStd_l2r"]["mean"] == pytest.approx(20.723, abs=1e-3)
    assert case["folds"]["mean"] == np.prod(SHAPE)
    assert case["num_foldings"]["mean"] == case["num_foldings_l2r"]["mean"] == 18 * 22 * 26  # the mask
    for name in ("folds_percent", "digital_folds_percent", "NDV_percent", "folds_percent_masked"):
        assert case[name]["mean"] == 100
    assert case["DSC"]["lost_labels"] == []  # no warping lost them
    assert case["DSC"]["absent_labels"] == [9]


def test_worst_is_never_better_than_the_identity(task, scored, folder):
    """A landmark far outside of the image: the diagonal would be a gain."""
    write_landmarks(
        task.parent / "landmarksTr/Knee_0001_0001.csv", np.array([[10.0, 12.0, 9.5], [8.0, 20.5, 900.0]])
    )
    without(folder)
    near, far = scored("worst")["cases"][FIRST]["TRE_lm"]["detailed"]
    assert near == pytest.approx(DIAGONAL_MM)
    assert far == pytest.approx((900 - 15) * 1.25)


def test_no_field_of_the_task_is_worse(scored, folder):
    """Fields that lose every label, and that fold everywhere."""
    rng = np.random.default_rng(1)
    bad = {"far": np.full((*SHAPE, 3), 40.0), "noise": rng.normal(0, 9, (*SHAPE, 3))}
    without(folder)
    worst = scored("worst")["cases"][FIRST]
    for name, field in bad.items():
        write_field(folder / NAME, field.astype(np.float32), GRID)
        case = scored("refuse")["cases"][FIRST]
        assert case["DSC"]["mean"] >= worst["DSC"]["mean"], name
        for metric in (
            "HD95",
            "HD95_l2r",
            "LogJacDetStd",
            "LogJacDetStd_l2r",
            "folds",
            "digital_folds_percent",
        ):
            assert case[metric]["mean"] <= worst[metric]["mean"], (name, metric)


def test_a_submission_without_any_field_is_refused(scored, folder):
    without(folder)
    (folder / "disp_0002_0002.nii.gz").write_bytes(b"nothing")
    for policy in ("identity", "worst"):
        with pytest.raises(DataError) as caught:
            scored(policy)
        assert [fault.what for fault in caught.value.faults][:2] == [
            "no usable field at all",
            "no displacement field",
        ]
        assert len(caught.value.faults) == 3


def test_hostile_archives_are_refused_whatever_the_policy(task, folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "fields.zip", "w") as archive:
        archive.write(folder / "disp_0002_0002.nii.gz", "disp_0002_0002.nii.gz")
        archive.writestr("../disp_0001_0001.nii.gz", b"")
    config = config_of(read_dataset(task), missing="worst")
    with pytest.raises(DataError, match="path leaves the archive"):
        evaluate(config, open_submission(tmp_path / "fields.zip"), "strict")


@pytest.mark.parametrize("error", [MemoryError(), OutputError(Fault("no space to unpack", "/tmp"))])
def test_what_the_machine_lacks_is_not_laid_to_the_submission(scored, folder, monkeypatch, error):
    read = Submission.read_field

    def lacking(self, name, *arguments):
        if name == NAME:
            raise error
        return read(self, name, *arguments)

    monkeypatch.setattr(Submission, "read_field", lacking)
    with pytest.raises(DataError, match=r"memory|space"):
        scored("worst")


def test_memory_that_runs_out_within_reading(scored, monkeypatch):
    def exhausted(path, *arguments):
        if path.name == NAME:
            raise MemoryError
        return read_field(path, *arguments)

    monkeypatch.setattr("regeval.inputs.submission.read_field", exhausted)
    with pytest.raises(DataError, match="not enough memory"):
        scored("worst")


def test_ground_truth_is_not_laid_to_the_submission(task, scored, folder):
    without(folder)
    (task.parent / "labelsTr/Knee_0002_0000.nii.gz").write_bytes(b"x")
    (task.parent / "labelsTr/Knee_0002_0001.nii.gz").write_bytes(b"x")
    with pytest.raises(DataError, match="Knee_0002"):
        scored("worst")


def test_processes_give_the_same(scored, folder):
    without(folder)
    assert str(scored("worst", jobs=2)) == str(scored("worst"))


def test_the_table_marks_them(scored, folder):
    without(folder)
    lines = format_table(scored("worst"), "fields").splitlines()
    row = next(line for line in lines if line.startswith(FIRST))
    assert row.startswith(f"{FIRST} [worst] ")
    assert "10.90 ->  68.81" in row  # sqrt(52^2 + 15^2 + 42.5^2)
    assert not any(line.startswith(f"{SECOND} [") for line in lines)
    assert "no usable field, scored as worst, in all means: 1 of 2 pairs" in lines
    assert lines[-1].startswith(f"  - {FIRST}: no displacement field")


def test_strict_json_holds(scored, folder):
    without(folder)
    strict = as_strict_json(scored("worst", "l2r"))
    json.dumps(strict, allow_nan=False)
    assert "mean: infinite" in strict["cases"][FIRST]["HD95"]["reasons"]
