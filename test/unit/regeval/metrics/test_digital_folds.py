"""Folds between voxels: against determinants of every tetrahedron, and by hand."""

import itertools

import numpy as np
import pytest

from regeval import folding_fraction
from regeval.metrics.digital_folds import DigitalFolds

CENTRAL = (((-1, -1, 0), (-1, 0, -1), (0, -1, -1)), ((1, 1, 0), (0, 1, 1), (1, 0, 1)))


def tetrahedra_of(positions, voxel):
    """Determinants of the ten tetrahedra of a voxel, from where its neighbours go; numpy's own algebra."""

    def edges(*offsets):
        return [positions[tuple(np.add(voxel, offset))] - positions[tuple(voxel)] for offset in offsets]

    for signs in itertools.product((1, -1), repeat=3):
        yield np.prod(signs) * np.linalg.det(edges(*np.diag(signs)))
    for offsets in CENTRAL:
        yield np.linalg.det(edges(*offsets))


def test_every_voxel_of_a_rough_field():
    rng = np.random.default_rng(3)
    field = (0.5 * rng.normal(size=(6, 5, 7, 3))).astype(np.float32)
    positions = np.moveaxis(np.indices(field.shape[:3]), 0, -1) + field.astype(float)
    found = DigitalFolds.of(field)
    for voxel in itertools.product(*(range(1, size - 1) for size in field.shape[:3])):
        values = list(tetrahedra_of(positions, voxel))
        inner = tuple(np.subtract(voxel, 1))
        assert found.folded[inner] == (min(values) <= 0)
        # A tetrahedron is a sixth of the determinant; two divisions of space, each counts half.
        expected = sum(max(-value, 0) for value in values) / 6 / 2
        assert found.volume[inner] == pytest.approx(expected, abs=1e-5)
    assert 0.2 < found.folded.mean() < 1


def test_identity_and_translation(shift_field):
    for field in (np.zeros_like(shift_field), shift_field):
        assert DigitalFolds.of(field).within(None)[:2] == (0, 0)


def test_reflection_turns_everything_over():
    """phi(x) = -x along i: all tetrahedra are turned over, and together they fill each voxel's volume."""
    field = np.zeros((8, 7, 6, 3), np.float32)
    field[..., 0] = -2 * np.arange(8)[:, None, None]
    folds, volume, judged = DigitalFolds.of(field).within(None)
    assert folds == judged == 6 * 5 * 4
    # Per voxel: eight corners of 1/6 and two central of 2/6, halved.
    assert volume == pytest.approx(judged * (8 / 6 + 2 * 2 / 6) / 2)


def test_sees_what_central_differences_miss():
    """Every other plane jumps over its neighbour; central differences see a constant stretch."""
    field = np.zeros((12, 6, 6, 3), np.float32)
    field[::2, ..., 0] = 1.5
    assert folding_fraction(field[1:-1]) <= 0.2  # one-sided differences at the ends only
    assert DigitalFolds.of(field).folded.all()


def test_mask_chooses_and_threads_do_not_matter():
    rng = np.random.default_rng(8)
    field = rng.normal(size=(30, 20, 10, 3)).astype(np.float32)
    mask = np.zeros((30, 20, 10), bool)
    mask[:15] = True
    one, two = DigitalFolds.of(field, threads=1), DigitalFolds.of(field, threads=3)
    np.testing.assert_array_equal(one.volume, two.volume)
    folds, volume, judged = one.within(mask)
    assert judged == 14 * 18 * 8
    assert folds == one.folded[:14].sum()
    assert volume == pytest.approx(one.volume[:14].sum(), rel=1e-5)


@pytest.mark.parametrize("shape", [(5, 5, 2, 3), (5, 5, 1, 3), (3, 5, 5, 5), (5, 5, 5)])
def test_too_flat(shape):
    with pytest.raises(ValueError, match="at least 3 voxels"):
        DigitalFolds.of(np.zeros(shape, np.float32))
