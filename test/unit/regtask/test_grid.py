import nibabel
import numpy as np
import pytest
import SimpleITK

from regtask import Grid, SpaceError, write_volume


def shifted(grid: Grid, offset_mm: tuple[float, float, float]) -> Grid:
    affine = grid.affine.copy()
    affine[:3, 3] += offset_mm
    return Grid(grid.shape, affine)


def test_spacing_and_volume(grid):
    assert grid.rank == 3
    assert grid.spacing_mm == pytest.approx((1.5, 2.25, 3.0))
    assert grid.voxel_volume_mm3 == pytest.approx(1.5 * 2.25 * 3.0)


def test_index_to_ras_agrees_with_nibabel(grid):
    points = np.array([[0, 0, 0], [4, 6, 3], [1.25, -2.0, 7.5]])
    np.testing.assert_allclose(
        grid.index_to_ras(points), nibabel.affines.apply_affine(grid.affine, points), rtol=0, atol=1e-12
    )


def test_index_to_ras_agrees_with_simpleitk(grid, tmp_path):
    path = tmp_path / "x.nii.gz"
    write_volume(path, np.zeros(grid.shape), grid)
    image = SimpleITK.ReadImage(str(path))
    for index in [(0, 0, 0), (4, 0, 0), (0, 6, 0), (0, 0, 3), (4, 6, 3)]:
        lps = np.array(image.TransformIndexToPhysicalPoint(index))
        np.testing.assert_allclose(grid.index_to_ras([index])[0], lps * (-1, -1, 1), atol=1e-4)


def test_ras_to_index_inverts(grid):
    points = np.array([[0.5, 2.0, -3.0], [4, 6, 3]])
    np.testing.assert_allclose(grid.ras_to_index(grid.index_to_ras(points)), points, atol=1e-12)


def test_affine_cannot_be_changed_from_outside(grid):
    source = np.eye(4)
    own = Grid((2, 3, 4), source)
    source[0, 3] = 9
    assert own.affine[0, 3] == 0
    with pytest.raises(ValueError, match="read-only"):
        own.affine[0, 3] = 9


def test_matches_within_tolerance(grid):
    assert grid.matches(shifted(grid, (0.0009, 0, 0)))
    assert not grid.matches(shifted(grid, (0.0011, 0, 0)))
    assert grid.matches(shifted(grid, (0.4, 0, 0)), tolerance_mm=0.5)


def test_matches_measures_at_the_far_corner():
    # 1e-4 mm of spacing is nothing at the origin and 0.05 mm after 500 voxels.
    assert not Grid((500, 2, 2), np.eye(4)).matches(Grid((500, 2, 2), np.diag([1.0001, 1, 1, 1])))


def test_matches_compares_shape(grid):
    assert not grid.matches(Grid((5, 7, 3), grid.affine))


def test_matches_sees_the_thickness_of_a_single_slice():
    assert not Grid((4, 4, 1), np.eye(4)).matches(Grid((4, 4, 1), np.diag([1, 1, 8, 1])))


def test_differences_name_what_differs(grid):
    assert grid.differences(grid) == ""
    other = grid.affine.copy()
    other[:3, :3] = other[:3, :3] @ np.diag([1, 1, 2])
    text = grid.differences(Grid((5, 7, 9), other))
    assert "shape (5, 7, 4) and (5, 7, 9)" in text
    assert "spacing (1.5, 2.25, 3) and (1.5, 2.25, 6) mm" in text
    assert "origin" not in text
    assert "turned" not in text
    assert "origin" in grid.differences(shifted(grid, (0, 2, 0)))


def test_differences_measure_the_turn():
    turned = np.eye(4)
    turned[:2, :2] = [[0.8, -0.6], [0.6, 0.8]]  # arc cosine of 0.8 is 36.87 degrees
    assert "36.9 degrees" in Grid((2, 3, 4), np.eye(4)).differences(Grid((2, 3, 4), turned))


def test_cropped_keeps_places(grid):
    block = grid.cropped((1, 2, 3), (4, 3, 1))
    assert block.shape == (4, 3, 1)
    np.testing.assert_allclose(block.index_to_ras([[2, 0, 0]]), grid.index_to_ras([[3, 2, 3]]))


@pytest.mark.parametrize(
    ("start", "shape"),
    [
        ((0, 0, 0), (6, 7, 4)),
        ((-1, 0, 0), (2, 2, 2)),
        ((0, 0, 2), (5, 7, 3)),
        ((0, 0, 0), (5, 0, 4)),
        ((0, 0), (1, 1)),
    ],
)
def test_crop_beyond_the_grid_is_refused(grid, start, shape):
    with pytest.raises(SpaceError, match="crop beyond"):
        grid.cropped(start, shape)


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 0), (3, 4, 5, 6), (-1, 2, 3)])
def test_impossible_shape_is_refused(shape):
    with pytest.raises(SpaceError, match="not a shape"):
        Grid(shape, np.eye(4))


@pytest.mark.parametrize(
    "affine",
    [
        np.eye(3),
        np.diag([1.0, 1.0, 0.0, 1.0]),
        np.diag([1.0, np.nan, 1.0, 1.0]),
        np.diag([1.0, 1.0, 1.0, 2.0]),
        np.array([[1.0, 1.0, 0, 0], [1.0, 1.0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]]),
    ],
    ids=["3x3", "flat", "nan", "projective", "parallel axes"],
)
def test_impossible_affine_is_refused(affine):
    with pytest.raises(SpaceError, match="affine"):
        Grid((2, 3, 4), affine)


def test_sheared_axes_are_tolerated():
    affine = np.eye(4)
    affine[0, 1] = 0.5
    assert Grid((2, 3, 4), affine).voxel_volume_mm3 == pytest.approx(1.0)
