"""Scores of a small task on disk: what is measured, what is missing, what is refused."""

import math

import numpy as np
import pytest

from regeval import hd95_mm, mean_scores, score_case, score_task
from regtask import DataError, Grid, SpaceError, read_dataset, write_field, write_volume

SHAPE, SPACING_MM, SHIFT = (26, 30, 34), (2.0, 0.5, 1.25), (3, -5, 7)
GRID = Grid(SHAPE, np.eye(4))


@pytest.fixture
def predictions(task, shift_field):
    folder = task.parent / "predictions"
    folder.mkdir()
    write_field(folder / "disp_0001_0000_0001_0001.nii.gz", shift_field, GRID)
    write_field(folder / "disp_0002_0002.nii.gz", shift_field, GRID)
    return folder


def test_right_field_is_perfect(task, shift_field):
    scores = score_case(read_dataset(task).pairs()[0], shift_field)
    assert scores.case == "0001_0000<--0001_0001"
    assert scores.dice == 1
    assert {label: scores.dice_per_label[label] for label in (1, 2, 7)} == {1: 1, 2: 1, 7: 1}
    assert math.isnan(scores.dice_per_label[9])
    assert scores.hd95_mm == 0
    assert scores.tre_mm == pytest.approx(0, abs=1e-5)
    assert scores.folding_percent == 0
    assert scores.sd_log_jacobian == 0


def test_identity(task, fixed_labels, moving_labels):
    scores = score_case(read_dataset(task).pairs()[0], None)
    assert scores.tre_mm == pytest.approx(
        np.linalg.norm(np.multiply(SHIFT, SPACING_MM))
    )  # sqrt(36 + 6.25 + 76.5625) = 10.90
    # Label 1, 6 x 10 x 7 voxels moved by (3, -5, 7): no overlap along k. Nor do the others overlap.
    assert scores.dice == 0
    each_mm = [hd95_mm(fixed_labels == label, moving_labels == label, SPACING_MM) for label in (1, 2, 7)]
    assert each_mm[2] == pytest.approx(scores.tre_mm)  # label 7 is one voxel: the length of the shift
    assert scores.hd95_mm == pytest.approx(sum(each_mm) / 3)


def test_lost_organ(task, shift_field):
    """The one voxel of label 7 is read somewhere else; the other labels stay perfect."""
    shift_field[6, 12, 15] = 0
    scores = score_case(read_dataset(task).pairs()[0], shift_field)
    assert scores.dice_per_label[7] == 0
    assert scores.dice == pytest.approx(2 / 3)
    assert scores.hd95_mm == math.inf


def test_pair_without_labels_and_landmarks(task, shift_field):
    scores = score_case(read_dataset(task).pairs()[1], shift_field)
    assert (scores.dice, scores.hd95_mm, scores.tre_mm) == (None, None, None)
    assert scores.dice_per_label == {}
    assert scores.folding_percent == 0


def test_folds_are_counted_within_the_mask(task):
    """One fold outside the mask of pair 1; pair 2 has no mask."""
    field = np.zeros((*SHAPE, 3), np.float32)
    field[1, 1, 1, 0], field[3, 1, 1, 0] = 2, -2  # 1 + (-2 - 2) / 2 = -1 at i = 2
    first, second = read_dataset(task).pairs()
    assert score_case(first, field).folding_percent == 0
    assert score_case(second, field).folding_percent == pytest.approx(100 / np.prod(SHAPE))


def test_task_finds_both_names_in_order(task, predictions):
    scores = score_task(read_dataset(task), predictions)
    assert [score.case for score in scores] == ["0001_0000<--0001_0001", "0002_0000<--0002_0001"]
    assert scores[0].dice == 1


def test_missing_fields_are_all_listed(task, tmp_path):
    with pytest.raises(DataError) as caught:
        score_task(read_dataset(task), tmp_path / "imagesTr")
    assert len(caught.value.faults) == 2
    text = str(caught.value)
    assert "0001_0000<--0001_0001" in text
    assert "disp_0002_0000_0002_0001.nii.gz or disp_0002_0002.nii.gz" in text


def test_bad_fields_are_all_listed(task, predictions):
    for name in ("disp_0001_0000_0001_0001.nii.gz", "disp_0002_0002.nii.gz"):
        half = Grid((13, 15, 17), np.eye(4))
        write_field(predictions / name, np.zeros((13, 15, 17, 3), np.float32), half)
    with pytest.raises(DataError, match="half resolution") as caught:
        score_task(read_dataset(task), predictions)
    assert len(caught.value.faults) == 2


@pytest.mark.parametrize(
    "file", ["labelsTr/Knee_0001_0001", "masksTr/Knee_0001_0000", "imagesTr/Knee_0001_0001"]
)
def test_shapes_have_to_agree(task, shift_field, file):
    write_volume(task.parent / f"{file}.nii.gz", np.ones((5, 6, 7)), Grid((5, 6, 7), np.eye(4)), np.uint8)
    with pytest.raises(DataError, match="another shape"):
        score_case(read_dataset(task).pairs()[0], shift_field)


def test_field_of_another_shape(task):
    with pytest.raises(SpaceError, match="field of another shape"):
        score_case(read_dataset(task).pairs()[0], np.zeros((5, 6, 7, 3), np.float32))


def test_empty_mask(task, shift_field):
    write_volume(task.parent / "masksTr/Knee_0001_0000.nii.gz", np.zeros(SHAPE), GRID, np.uint8)
    with pytest.raises(DataError, match="empty mask"):
        score_case(read_dataset(task).pairs()[0], shift_field)


def test_means_skip_cases_without_the_score(task, predictions):
    scores = score_task(read_dataset(task), predictions)
    means = mean_scores(scores)
    assert means.dice == 1
    assert means.hd95_mm == 0
    assert mean_scores(scores[1:]).dice is None
