"""Planes, windows, grid lines and determinants that the picture is made of."""

import numpy as np
import pytest
import SimpleITK as sitk
from matplotlib.figure import Figure
from nibabel import Nifti1Image, as_closest_canonical

from dinoreg.report.content import choose_centre, find_content, grey_window
from dinoreg.report.determinant import jacobian_determinant
from dinoreg.report.grid_lines import deformed_grid
from dinoreg.report.panels import draw_contours
from dinoreg.report.views import make_views

RAS = np.eye(4)
OBLIQUE_ASL = np.array([[0.1, -2, 0.1, 5], [1.5, 0.1, 0.0, -7], [0.1, 0.0, -3, 2], [0, 0, 0, 1.0]])
LPS = np.diag([-2.0, -1.5, 3.0, 1.0])
PIR = np.array([[0, 0, 2.0, 1], [-1.5, 0, 0, 0], [0, -3.0, 0, 0], [0, 0, 0, 1]])


@pytest.mark.parametrize("affine", [LPS, PIR, OBLIQUE_ASL], ids=["LPS", "PIR", "oblique"])
def test_planes_are_those_of_the_reoriented_image(affine):
    """nibabel turns the image to RAS; there axial is [:, :, k], up is rising j, and right is drawn left."""
    data = np.random.default_rng(1).random((5, 6, 7))
    centre = (1, 2, 3)
    marked = np.zeros(data.shape)
    marked[centre] = 1
    ras, ras_marked = (as_closest_canonical(Nifti1Image(a, affine)).get_fdata() for a in (data, marked))
    i, j, k = np.argwhere(ras_marked == 1)[0]
    expected = {
        "axial": ras[::-1, :, k].T,
        "coronal": ras[::-1, j, :].T,
        "sagittal": ras[i, ::-1, :].T,
    }
    views = make_views(centre, data.shape, (1, 1, 1), affine)
    assert [view.name for view in views] == ["axial", "coronal", "sagittal"]
    assert [view.edges for view in views] == ["RLPA", "RLIS", "APIS"]
    for view in views:
        np.testing.assert_allclose(view.take(data), expected[view.name])


def test_size_and_components_follow_the_plane():
    views = make_views((0, 0, 0), (4, 5, 6), (2.0, 3.0, 10.0), LPS)
    assert [view.size_mm for view in views] == [(8, 15), (8, 60), (15, 60)]
    assert views[1].take(np.zeros((4, 5, 6, 3))).shape == (6, 4, 3)


def test_placeholder_header_gets_no_letters():
    for affine in (None, np.diag([2.0, 2.0, 2.0, 1.0])):
        view = make_views((1, 2, 3), (4, 5, 6), (2, 2, 2), affine)[0]
        assert view.edges == ""
        assert view.caption == "axial?, k = 3"
    assert make_views((1, 2, 3), (4, 5, 6), (2, 2, 2), LPS)[0].caption == "axial, k = 3"


@pytest.mark.parametrize("moving", [RAS, LPS, PIR, OBLIQUE_ASL], ids=["RAS", "LPS", "PIR", "oblique"])
@pytest.mark.parametrize("fixed", [LPS, PIR, OBLIQUE_ASL], ids=["LPS", "PIR", "oblique"])
def test_letters_of_another_image_in_the_same_plane(fixed, moving):
    """Walk from the middle of the page to each edge: the moving image's own affine says which way that is."""
    if moving is RAS:
        moving = np.array([[2.0, 0.1, 0, 4], [-0.1, 1.5, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1]])
    for view in make_views((1, 2, 3), (4, 5, 6), (1, 1, 1), fixed):
        expected = ""
        for axis, flipped in zip((view.across, view.up), view.flipped, strict=True):
            for to_the_end in (False, True):
                step = moving[:3, axis] * (1 if to_the_end != flipped else -1)
                patient = np.abs(step).argmax()
                expected += "RAS"[patient] if step[patient] > 0 else "LPI"[patient]
        assert view.edges_of(moving) == expected
        assert view.edges_of(fixed) == view.edges


def test_letters_by_hand():
    """The plane of an LPS image, right on the left; an image mirrored along i has its right on the right."""
    view = make_views((1, 2, 3), (4, 5, 6), (1, 1, 1), LPS)[0]
    assert view.edges == "RLPA"
    assert view.edges_of(LPS @ np.diag([-1, 1, 1, 1])) == "LRPA"
    assert view.edges_of(np.array([[0, 2.0, 0, 0], [0, 0, 3, 0], [1, 0, 0, 0], [0, 0, 0, 1]])) == "ISRL"
    assert view.edges_of(None) == view.edges_of(np.diag([2.0, 2.0, 2.0, 1.0])) == ""


def test_flat_image_has_one_plane():
    assert [view.name for view in make_views((0, 0, 0), (9, 9, 1), (1, 1, 1), None)] == ["axial"]


@pytest.mark.parametrize(("affine", "sign"), [(np.diag([2.0, 1.5, 3, 1]), -1), (LPS, 1)])
def test_grid_lines_move_by_the_displacement(affine, sign):
    """In RAS rising i is towards the patient's right, so the left of the page; in LPS the opposite."""
    shape, spacing_mm = (20, 24, 16), (2.0, 1.5, 3.0)
    view = make_views((10, 12, 8), shape, spacing_mm, affine)[0]
    zero = np.zeros((*shape, 3), np.float32)
    shifted = zero + np.float32((3, -5, 7))
    before, after = (deformed_grid(field, spacing_mm, view) for field in (zero, shifted))
    # (3, -5, 7) voxels are (6, -7.5, 21) mm; up the page is the front: rising j in RAS, falling in LPS
    moved = after.segments_mm - before.segments_mm
    np.testing.assert_allclose(moved[..., 0], sign * 6.0)
    np.testing.assert_allclose(moved[..., 1], -sign * -7.5)
    np.testing.assert_allclose(after.length_mm, np.sqrt(36 + 56.25 + 441))


def test_grid_of_the_identity_is_straight_and_inside():
    view = make_views((4, 4, 4), (40, 30, 12), (1.0, 2.0, 4.0), None)[1]
    lines = deformed_grid(np.zeros((40, 30, 12, 3)), (1.0, 2.0, 4.0), view).segments_mm
    steps = np.abs(np.diff(lines, axis=1)[:, 0])
    assert {tuple(step) for step in steps.round(6)} == {(1.0, 0.0), (0.0, 4.0)}
    assert lines.min() == 0.5
    assert (lines.max(axis=(0, 1)) == (39.5, 46.0)).all()


def test_determinant_as_simpleitk():
    """More planes than one slab holds."""
    i, j, k = np.indices((37, 9, 8)) / 3
    field = np.stack([np.sin(j + i), np.cos(i) + 0.3 * k, np.sin(k) * 0.5], -1)
    vectors = sitk.GetImageFromArray(field.transpose(2, 1, 0, 3), isVector=True)
    theirs = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(vectors)).transpose(2, 1, 0)
    inner = (slice(1, -1),) * 3
    np.testing.assert_allclose(jacobian_determinant(field)[inner], theirs[inner], atol=1e-5)


def test_determinant_of_a_flat_field():
    field = np.zeros((17, 6, 1, 3), np.float32)
    field[..., 0] = 0.5 * np.arange(17)[:, None, None]
    np.testing.assert_allclose(jacobian_determinant(field), 1.5)


def test_outline_of_an_organ_that_fills_the_plane():
    view = make_views((2, 2, 2), (6, 5, 4), (2.0, 1.0, 1.0), None)[0]
    axes = Figure().add_subplot()
    draw_contours(axes, np.ones((5, 6), np.int16), view)
    (outline,) = (path for contour in axes.collections for path in contour.get_paths())
    np.testing.assert_allclose(outline.get_extents().bounds, (0, 0, 12, 5), atol=1e-6)


def ct(lung_fraction):
    rng = np.random.default_rng(0)
    image = np.full((40, 40, 10), -1000.0, np.float32)
    body = rng.normal(40, 60, (30, 30, 10))
    body[: round(30 * lung_fraction)] = -850
    image[5:35, 5:35] = body
    return image


def test_windows_of_ct():
    assert grey_window(ct(0)) == (-160, 240)
    assert grey_window(ct(0.4)) == (-1000, 500)


def test_window_ignores_single_bright_voxels_and_background():
    image = np.zeros((30, 30, 10), np.float32)
    image[8:22, 8:22] = np.random.default_rng(0).uniform(100, 300, (14, 14, 10))
    image[0, 0, 0] = 1e6
    low, high = grey_window(image)
    assert 95 < low < 115
    assert 285 < high < 305


def test_content_of_a_constant_image_is_all():
    assert find_content(np.full((3, 4, 5), 2.0)).all()
    assert grey_window(np.full((3, 4, 5), 2.0)) == (1.5, 2.5)


def test_centre_is_the_middle_of_the_content():
    image = np.zeros((30, 40, 20), np.float32)
    image[4:11, 20:31, 12:17] = 1
    assert choose_centre(image) == (7, 25, 14)


def test_centre_shows_most_labels():
    labels = np.zeros((30, 40, 20), np.int16)
    labels[2:12, 5:30, 2:8] = 1
    labels[2:7, 5:30, 8:10] = 1  # half its largest section, yet here the other label is seen too
    labels[20:24, 25:28, 8:14] = 2  # small, and off the middle of the large one
    centre = choose_centre(np.zeros(labels.shape, np.float32), labels)
    assert 25 <= centre[1] < 28
    assert 8 <= centre[2] < 10
