"""Dice by hand and against SimpleITK, and the policy for absent labels."""

import math

import numpy as np
import pytest
import SimpleITK as sitk

from regeval import dice, labels_in_both


def test_by_hand():
    fixed = np.array([1, 1, 1, 2, 2, 0])
    warped = np.array([1, 1, 2, 2, 0, 0])
    # label 1: 2 * 2 / (3 + 2) = 0.8; label 2: 2 * 1 / (2 + 2) = 0.5
    assert dice(fixed, warped, (1, 2)) == {1: 0.8, 2: 0.5}


def test_as_simpleitk():
    rng = np.random.default_rng(4)
    fixed, warped = rng.integers(0, 5, (2, 11, 12, 13), dtype=np.int16)
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(sitk.GetImageFromArray(fixed), sitk.GetImageFromArray(warped))
    ours = dice(fixed, warped, range(1, 5))
    assert ours == pytest.approx({label: overlap.GetDiceCoefficient(label) for label in range(1, 5)})


def test_lost_organ_is_zero_and_absent_one_is_nan():
    fixed, warped = np.array([1, 3, 3]), np.array([0, 3, 4])
    scores = dice(fixed, warped, (1, 3, 4))
    assert scores[1] == 0
    assert scores[3] == pytest.approx(2 / 3)
    assert math.isnan(scores[4])


def test_labels_in_both():
    fixed, moving = np.array([0, 7, 1, 3, -1]), np.array([0, 3, 7, 5, -1])
    assert labels_in_both(fixed, moving) == (3, 7)


def test_shapes_differ():
    with pytest.raises(ValueError, match="one shape"):
        dice(np.zeros((2, 3), int), np.zeros((3, 2), int), (1,))
