"""Dice and HD95 in mm against SimpleITK's own filters on anisotropic masks, where they define the same."""

import numpy as np
import pytest
import SimpleITK as sitk

from regeval.inputs.config import Config, Method
from regeval.inputs.ground_truth import Truth
from regeval.metrics.hd95 import hd95_mm
from regeval.metrics.hd95_official import hd95_voxels
from regeval.metrics.overlap import dice
from regeval.scoring.pair_measures import measure

SPACING_MM = (2.0, 0.5, 1.25)


def image_of(labels):
    image = sitk.GetImageFromArray(labels.transpose(2, 1, 0).astype(np.uint8))
    image.SetSpacing(SPACING_MM)
    return image


def hausdorff_mm(a, b):
    measures = sitk.HausdorffDistanceImageFilter()
    measures.Execute(image_of(a), image_of(b))
    return measures.GetHausdorffDistance()


def truth_of(fixed, moving):
    return Truth("x", fixed.shape, (fixed, moving), None, {}, {}, SPACING_MM, SPACING_MM, SPACING_MM)


@pytest.mark.parametrize("shift", [(3, 0, 0), (0, -5, 0), (0, 0, 7), (3, -5, 7)])
def test_one_voxel_moved(shift):
    """One distance only, so any percentile is the maximum: SimpleITK's Hausdorff distance."""
    a = np.zeros((20, 24, 28), bool)
    a[9, 12, 14] = True
    b = np.roll(a, shift, (0, 1, 2))
    expected = hausdorff_mm(a, b)
    assert expected == pytest.approx(np.linalg.norm(np.multiply(shift, SPACING_MM)))
    assert hd95_mm(a, b, SPACING_MM) == pytest.approx(expected)


@pytest.mark.parametrize(("axis", "shift"), [(0, 3), (1, -5), (2, 7)])
def test_plates(axis, shift):
    ranges = [slice(6, 20)] * 3
    ranges[axis] = slice(12, 13)
    a = np.zeros((26, 26, 26), bool)
    a[tuple(ranges)] = True
    b = np.roll(a, shift, axis)
    assert hd95_mm(a, b, SPACING_MM) == pytest.approx(hausdorff_mm(a, b))


def test_never_more_than_the_hausdorff_distance_of_apart_objects():
    """Apart from each other, surface and object have one distance: HD95 is below the maximum, not far."""
    rng = np.random.default_rng(6)
    for _ in range(5):
        a, b = np.zeros((2, 30, 30, 30), bool)
        start = rng.integers(1, 6, 3)
        a[tuple(slice(s, s + size) for s, size in zip(start, rng.integers(2, 7, 3), strict=True))] = True
        start = rng.integers(14, 20, 3)
        b[tuple(slice(s, s + size) for s, size in zip(start, rng.integers(2, 7, 3), strict=True))] = True
        highest = hausdorff_mm(a, b)
        assert 0.8 * highest < hd95_mm(a, b, SPACING_MM) <= highest + 1e-9


def test_overlap_and_the_path_through_boxes():
    """Through `measure`, label by label in its box: as SimpleITK says, and as the whole image says."""
    rng = np.random.default_rng(4)
    fixed, moving = (
        np.kron(rng.integers(0, 5, (4, 5, 4)), np.ones((5, 4, 5))).astype(np.int16) for _ in "ab"
    )
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(image_of(fixed), image_of(moving))
    config = Config("x", (Method("DSC", "dice", (1, 2, 3, 4)),), (), None, masked=False)
    for threads in (1, 3):
        found = measure(config, truth_of(fixed, moving), None, threads).labels
        assert set(found) == {1, 2, 3, 4}
        for label, one in found.items():
            a, b = fixed == label, moving == label
            assert one.dice == pytest.approx(overlap.GetDiceCoefficient(label), abs=1e-12)
            assert one.dice == dice(fixed, moving, (label,))[label]
            assert one.hd95_mm == hd95_mm(a, b, SPACING_MM)
            assert one.hd95_voxels == hd95_voxels(a, b)
