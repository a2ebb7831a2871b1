"""Checks of tokens, B-splines, published numerics and orientation, for sound and for broken code.

Everything is called through its module, so that a mutation put in by monkeypatch is seen. What is expected
comes from formulas, SciPy and nibabel.
"""

import nibabel as nib
import numpy as np
import torch
from core_reference import central_half, positions, shifted_pair
from scipy import interpolate, ndimage

from dinoreg.encoders.slices import slicewise
from dinoreg.encoders.slices.slice_plan import SlicePlan
from dinoreg.optimise import bspline, published
from dinoreg.space import orientation
from dinoreg.space.features import Features
from dinoreg.space.lattice import Lattice


def check_token_positions(axis):
    """Tokens that hold their own voxel position come out at the centres of the cells; beyond content, 0."""
    shape, stride, origin = (21, 26, 35), (2, 3, 4), (1, 2, 3)
    content = ((2, 19), (3, 25), (4, 33))
    plane = [a for a in range(3) if a != axis]
    indices = tuple(range(content[axis][0], content[axis][1], 5))
    crop = tuple(content[a] for a in plane)
    patches = (4, 7)
    plan = SlicePlan(shape, axis, indices, content[axis], crop, patches, 14)
    centres = {axis: np.array(indices, float)}
    for a, count, (start, stop) in zip(plane, patches, crop, strict=True):
        centres[a] = start + (np.arange(count) + 0.5) * (stop - start) / count - 0.5
    grid = np.stack(np.meshgrid(centres[axis], *(centres[a] for a in plane), indexing="ij"))
    values = np.stack([grid[[axis, *plane].index(a)] for a in range(3)]).swapaxes(0, 1)  # (n, 3, h, w)
    block = tuple(n - o for n, o in zip(shape, origin, strict=True))
    lattice = Lattice(block, stride, tuple(map(float, stride)))
    tokens = torch.from_numpy(np.ascontiguousarray(values)).float()
    found = slicewise.place_tokens(tokens, plan, lattice, origin=origin).numpy()
    steps, begin = (np.reshape(v, (3, 1, 1, 1)) for v in (stride, origin))
    expected = begin + (positions(lattice.shape) + 0.5) * steps - 0.5
    low, high = (
        np.array([centres[a][end] for a in range(3)]).reshape(3, 1, 1, 1) + margin
        for end, margin in ((0, steps / 2), (-1, -steps / 2))
    )
    inside = ((expected >= low) & (expected <= high)).all(axis=0)
    assert inside.sum() > 50
    np.testing.assert_allclose(found[:, inside], expected[:, inside], atol=1e-3)
    last = np.array([stop for _, stop in content]).reshape(3, 1, 1, 1)
    beyond = (expected - (steps - 1) / 2 >= last).any(axis=0)
    assert beyond.any()
    assert np.abs(found[:, beyond]).max() == 0


def check_bspline_values(rng):
    """The displacement is SciPy's tensor product of cubic B-splines over [-0.5, n - 0.5]."""
    shape, mesh = (11, 14, 9), (4, 5, 3)
    control = rng.normal(scale=3, size=(3, *(m + 3 for m in mesh)))
    matrices = []
    for n, spans in zip(shape, mesh, strict=True):
        knots = -0.5 + np.arange(-3, spans + 4) * n / spans
        matrices.append(interpolate.BSpline.design_matrix(np.arange(n), knots, 3).toarray())
    expected = np.einsum("cxyz,ix,jy,kz->cijk", control, *matrices)
    lattice = Lattice(shape, (1, 1, 1), (1.0, 1.0, 1.0))
    found = bspline.BSpline(torch.from_numpy(control).float(), lattice).displacement().detach()
    np.testing.assert_allclose(found, expected, atol=1e-4)


def check_bspline_refinement(rng):
    """Twice as many spans hold the same function."""
    lattice = Lattice((12, 10, 15), (1, 1, 1), (1.0, 1.0, 1.0))
    control = torch.from_numpy(rng.normal(size=(3, 7, 5, 8))).float()
    refined = bspline.refine_control(control, (8, 4, 10))
    before, after = (bspline.BSpline(c, lattice).displacement().detach() for c in (control, refined))
    np.testing.assert_allclose(after, before, atol=2e-5)


def check_published_sampling(rng):
    """A volume is read at x + u n / (n - 1), and between the border and the outside towards 0."""
    shape = (9, 12, 7)
    volume = rng.normal(size=(2, *shape)).astype(np.float32)
    vectors = rng.uniform(-4, 4, size=(3, *shape)).astype(np.float32)
    gain = np.reshape([n / (n - 1) for n in shape], (3, 1, 1, 1))
    found = published.sample_published(torch.from_numpy(volume), torch.from_numpy(vectors))
    at = positions(shape) + vectors * gain
    expected = [ndimage.map_coordinates(v, at, order=1, mode="grid-constant", cval=0.0) for v in volume]
    np.testing.assert_allclose(found, np.stack(expected), atol=1e-4)


def _published_pair(rng, shift_cells, *, stride=2, shape=(37, 30, 34)):
    lattice = Lattice(shape, (stride,) * 3, (float(stride),) * 3)
    cells = tuple(-(-n // stride) for n in shape)
    pair = shifted_pair(cells, shift_cells, rng, sigma=1.5, channels=4)
    weight = torch.ones(1, *cells)
    return [Features(torch.from_numpy(np.ascontiguousarray(v)).float(), weight, lattice) for v in pair]


def check_published_search(rng):
    """A shift by whole cells is found in voxels; cells that reach over the edge do not count."""
    fixed, moving = _published_pair(rng, (1, -2, 3))
    found = published.search_published(fixed, moving, 3, consistency_iterations=2)
    assert found.shape == (3, 37, 30, 34)
    median = np.median(found.numpy()[(slice(None), *central_half(found.shape[1:]))].reshape(3, -1), axis=1)
    np.testing.assert_allclose(median, [2, -4, 6], atol=0.3)
    fixed.values[:, -1] = 100.0  # the axis of 37 voxels ends in half a cell
    again = published.search_published(fixed, moving, 3, consistency_iterations=2)
    np.testing.assert_allclose(again, found, atol=1e-5)


def check_published_refinement(rng):
    """A shift of 1, -1 and 2 cells is stored (n - 1) / n times as long, and read the other way round."""
    fixed, moving = _published_pair(rng, (1, -1, 2), shape=(20, 24, 28))
    start = torch.zeros(3, 20, 24, 28)
    found, trace = published.refine_published(
        fixed, moving, start, regularity_weight=0.02, iterations=60, learning_rate=0.3
    )
    assert trace.iterations == 59  # the field before the last step
    median = np.median(found.numpy()[(slice(None), *central_half((20, 24, 28)))].reshape(3, -1), axis=1)
    cells = np.array([10, 12, 14])
    np.testing.assert_allclose(median, np.array([2, -2, 4]) * (cells - 1) / cells, atol=0.09)


# Each array axis runs along another one in RAS, and the inverse permutation differs from it.
_TURNED = "PIR"


def check_turned_volume(rng):
    """A volume is turned as nibabel turns it, and back."""
    values = rng.random((3, 4, 5))
    expected = nib.orientations.apply_orientation(values, nib.orientations.axcodes2ornt(_TURNED))
    turned = orientation.to_ras(torch.from_numpy(values)[None], _TURNED)
    assert turned[0].shape == expected.shape
    np.testing.assert_array_equal(turned[0], expected)
    np.testing.assert_array_equal(orientation.from_ras(turned, _TURNED)[0], values)


def check_turned_vectors(rng):
    """Components along right, anterior, superior become those along the array's axes, by its affine."""
    vectors = rng.normal(size=(3, 2, 3, 4))
    # Index -> RAS of unit voxels: the first axis runs to P, the second to I, the third to R.
    affine = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    assert (
        "".join(nib.orientations.aff2axcodes(np.block([[affine, np.zeros((3, 1))], [0, 0, 0, 1]]))) == _TURNED
    )
    found = orientation.turn_vectors_from_ras(torch.from_numpy(vectors), _TURNED)
    np.testing.assert_allclose(found, np.einsum("ab,b...->a...", np.linalg.inv(affine), vectors))
