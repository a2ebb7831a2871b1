"""Inverses: exact where they can be, with a residual that is true, and refused where they miss."""

import numpy as np
import pytest
import SimpleITK as sitk
from exchange_fields import GRIDS, grid, inner_points, lead, rigid, wavy, wavy_transform

from dinoreg.desk.exchange.inverse import invert
from dinoreg.desk.exchange.lattice import field_transform, points_of
from dinoreg.desk.exchange.parts import joined
from regtask.errors import DataError

# Large enough that most of fixed stays inside it after a shift of 3, -5, 7 mm.
MOVING = grid((34, 32, 26), (1.2, 1.4, 2.2), (-8, 14, 5), (-1, 1, 1), (8, 10, -18))


@pytest.mark.parametrize("fixed", GRIDS.values(), ids=GRIDS)
def test_there_and_back(fixed):
    transform = wavy_transform(fixed)
    wide = around(fixed)
    found = invert(transform, fixed, wide)
    points = inner_points(fixed)
    back = lead(found.transform, lead(transform, points))
    assert np.linalg.norm(back - points, axis=1).max() < 0.03
    assert found.most_mm <= found.largest_mm < 0.03
    assert found.compared > 1000


def around(fixed, margin=12):
    """A grid along other axes that holds all of fixed, moved by SHIFT_LPS."""
    corners = points_of(fixed) * (-1, -1, 1)
    spacing = (0.9, 1.1, 1.3)
    low = corners.min(axis=0) - margin
    shape = np.ceil((np.ptp(corners, axis=0) + 2 * margin) / spacing).astype(int)
    return grid(tuple(shape), spacing, (0, 0, 0), (1, 1, 1), low)


def test_it_agrees_with_itk():
    """An independent iteration: ITK's InvertDisplacementField works on the field's own lattice."""
    fixed = GRIDS["oblique"]
    vectors = wavy(fixed) - (3.0, -5.0, 7.0)  # ITK's filter needs what stays inside
    transform = field_transform(vectors, fixed)
    filter_ = sitk.InvertDisplacementFieldImageFilter()
    filter_.SetMaximumNumberOfIterations(100)
    filter_.SetMaxErrorToleranceThreshold(1e-4)
    filter_.SetMeanErrorToleranceThreshold(1e-5)
    filter_.EnforceBoundaryConditionOff()
    theirs = sitk.DisplacementFieldTransform(filter_.Execute(transform.GetDisplacementField()))
    ours = invert(transform, fixed, fixed).transform
    points = inner_points(fixed, margin=0.3)
    np.testing.assert_allclose(lead(ours, points), lead(theirs, points), atol=0.01)


def test_a_linear_transform_is_inverted_exactly():
    found = invert(rigid(), GRIDS["oblique"], MOVING)
    points = inner_points(GRIDS["oblique"])
    np.testing.assert_allclose(lead(found.transform, lead(rigid(), points)), points, atol=1e-9)
    assert found.transform.IsLinear()


def test_a_linear_transform_that_squeezes_space_flat_has_no_inverse():
    flat = sitk.AffineTransform(3)
    flat.SetMatrix((0.8, -0.6, 0, 0.8, -0.6, 0, 0, 0, 1))
    with pytest.raises(DataError, match="without an inverse"):
        invert(joined([rigid(), flat]), GRIDS["oblique"], MOVING)


@pytest.mark.parametrize("degrees", [40, 170])
def test_a_large_turn_before_a_field(degrees):
    """The undamped v <- -u(y + v) diverges where the turn alone changes u by more than the way."""
    fixed = GRIDS["plain"]
    centre = points_of(fixed).mean(axis=0)
    both = joined([wavy_transform(fixed), rigid((degrees, 5, -20), centre=centre)])
    found = invert(both, fixed, around(fixed, margin=25))
    assert found.largest_mm < 0.05
    assert found.compared > 1000


def test_the_residual_is_the_largest_there_is():
    """A steep field on a coarse grid of the inverse: the error said is the one found between the voxels."""
    fixed = GRIDS["plain"]
    transform = wavy_transform(fixed, amplitude_mm=2.4)
    coarse = grid((8, 8, 8), (5.0, 5.0, 5.0), (0, 0, 0), (1, 1, 1), (-12, -8, -6))
    found = invert(transform, fixed, coarse)
    cells = grid((7, 7, 7), (5.0, 5.0, 5.0), (0, 0, 0), (1, 1, 1), (-9.5, -5.5, -3.5))
    points = points_of(cells)
    at_fixed = lead(found.transform, points)
    index = fixed.ras_to_index(at_fixed * (-1, -1, 1))
    inside = ((index >= 0) & (index <= np.array(fixed.shape) - 1)).all(axis=1)
    missed = np.where(inside, np.linalg.norm(lead(transform, at_fixed) - points, axis=1), 0)
    assert missed.max() == pytest.approx(found.largest_mm, rel=1e-3)
    np.testing.assert_allclose(points[missed.argmax()], found.worst_lps, atol=1e-6)
    assert found.largest_mm > 0.05


def test_what_matters_can_be_named():
    """A fold has no inverse; away from it the rest has."""
    fixed = GRIDS["plain"]
    vectors = np.zeros((*fixed.shape, 3), np.float32)
    vectors[8:12, 9, 7, 0] = (6, 2, -2, -6)
    transform = field_transform(vectors, fixed)
    matters = np.ones(fixed.shape, bool)
    matters[4:16, 6:12, 4:10] = False
    assert invert(transform, fixed, fixed).largest_mm > 0.5
    assert invert(transform, fixed, fixed, matters=matters).largest_mm < 1e-3
