import itertools

import numpy as np
import pytest
import torch
from core_reference import affine_displacement, positions
from linear_scans import Body, rigid
from scipy.ndimage import map_coordinates

from dinoreg.linear.move import before_map, in_voxels, linear_part, read_through, scaling, then_map
from dinoreg.preprocess.prepare import PreparedImage
from dinoreg.space.deformation import Deformation
from dinoreg.space.frame import Frame
from dinoreg.space.working import working_grid

SHAPE, SPACING = (20, 26, 14), (1.5, 0.8, 2.5)
MATRIX = in_voxels(rigid((4, -12, 10), (3, -5, 7)), scaling(SPACING))


def _by_matrix(matrix, at):
    return np.einsum("ab,b...->a...", matrix[:3, :3], at) + matrix[:3, 3].reshape(3, 1, 1, 1)


def test_the_map_follows_the_displacement(rng):
    vectors = rng.standard_normal((3, *SHAPE)).astype(np.float32)
    total = then_map(torch.from_numpy(vectors), MATRIX)
    expected = _by_matrix(MATRIX, positions(SHAPE) + vectors) - positions(SHAPE)
    np.testing.assert_allclose(total.numpy(), expected, atol=1e-4)
    back = before_map(np.moveaxis(total.numpy(), 0, -1), MATRIX)
    np.testing.assert_allclose(np.moveaxis(back, -1, 0), vectors, atol=1e-4)


def test_an_image_is_read_where_the_map_leads():
    image = Body().seen(
        SHAPE, np.diag([6.0, 5, 8, 1]) - np.array([[0, 0, 0, 60], [0] * 3 + [65], [0] * 3 + [56], [0] * 4])
    )
    read = read_through(image, MATRIX)
    at = _by_matrix(MATRIX, positions(SHAPE))
    expected = map_coordinates(image.values, at, order=1, cval=0.0)
    inside = read.foreground
    assert 0.2 < inside.mean() < 0.8
    np.testing.assert_allclose(read.values[inside], expected[inside], atol=1e-4)
    assert not read.values[~inside].any()
    outside = (at < -0.5).any(axis=0) | (at > np.array(SHAPE).reshape(3, 1, 1, 1) - 0.5).any(axis=0)
    assert not inside[outside].any()


def test_the_linear_part_of_a_deformation_is_in_mm_of_the_image():
    frame = Frame((24, 30, 20), SPACING, ((4, 24), (6, 28), (2, 18)))
    matrix = np.eye(4)
    matrix[:3] += 0.05 * np.array([[1, 2, 0, 60], [-2, 1, 1, -100], [0, 1, -1, 140]])
    for stride in ((1, 1, 1), (4, 2, 3)):
        lattice = frame.lattice(stride)
        centres = [
            mm * (start + (np.arange(n) + 0.5) * s - 0.5)
            for mm, (start, _), n, s in zip(SPACING, frame.box, lattice.shape, stride, strict=True)
        ]
        places = np.stack(np.meshgrid(*centres, indexing="ij"))
        moves = _by_matrix(matrix, places) - places
        cells = moves / np.array(lattice.spacing_mm).reshape(3, 1, 1, 1)
        found = linear_part(Deformation(torch.from_numpy(cells).float(), lattice), frame)
        np.testing.assert_allclose(found, matrix, atol=1e-4)


@pytest.mark.parametrize(
    "shape", [(64, 63, 40), (50, 50, 1), (20, 1, 30)], ids=["samples of one slice", "one slice", "one column"]
)
def test_a_translation_has_no_other_linear_part(shape):
    """Where every so many cells would be those of one slice, and where there is one slice."""
    frame = Frame(tuple(2 * n for n in shape), (2.0, 2.0, 2.0), tuple((0, 2 * n) for n in shape))
    lattice = frame.lattice((2, 2, 2))
    moved = torch.tensor([5.0, 0.0, 10.0]).view(3, 1, 1, 1).expand(3, *lattice.shape)
    expected = np.eye(4)
    expected[:3, 3] = (20.0, 0.0, 40.0)
    np.testing.assert_allclose(linear_part(Deformation(moved, lattice), frame), expected, atol=1e-6)


def test_what_lies_beyond_an_image_is_what_it_shows_outside_its_foreground():
    """A background that was kept stays; one on the scale of the file goes on with its lowest value."""
    values = np.full(SHAPE, 0.3, np.float32)
    foreground = np.zeros(SHAPE, bool)
    foreground[5:15, 6:20, 3:11] = True
    values[foreground] = 0.8
    kept = PreparedImage(values, foreground, (slice(0, 20), slice(0, 26), slice(0, 14)))
    np.testing.assert_array_equal(read_through(kept, np.eye(4)).values, values)
    air = PreparedImage(1000 * values - 1000, np.ones(SHAPE, bool), kept.content)
    shifted = np.eye(4)
    shifted[:3, 3] = (3, -5, 7)
    read = read_through(air, shifted).values
    np.testing.assert_allclose(read[-3:], -700, atol=1e-3)
    np.testing.assert_allclose(read[:, :5], -700, atol=1e-3)


@pytest.mark.parametrize("orientation", ["".join(o) for o in itertools.permutations("RAS")] + ["LPS", "PIR"])
def test_a_map_of_the_working_grid_is_one_of_the_image(orientation):
    """Against the way in which a displacement comes back, which is tested on its own."""
    grid = working_grid(SHAPE, SPACING, orientation, max_voxels=10**6)
    turn = 0.1 * np.array([[0, 1, 0], [-1, 0, 0.5], [0.3, 0, 0.2]])
    field = affine_displacement(turn, (3, -5, 7), grid.shape)
    matrix = np.eye(4)
    at = positions(grid.shape).reshape(3, -1)
    known = np.c_[at.T, np.ones(at.shape[1])]
    matrix[:3] += np.linalg.lstsq(known, field.reshape(3, -1).T, rcond=None)[0].T
    back = grid.displacement_to_image(torch.from_numpy(field)).numpy()
    expected = then_map(torch.zeros(3, *SHAPE), in_voxels(matrix, grid.from_image())).numpy()
    inner = (
        slice(None),
        *(slice(3, -3),) * 3,
    )  # at the edge a displacement is held, not continued
    np.testing.assert_allclose(back[inner], expected[inner], atol=2e-3)
