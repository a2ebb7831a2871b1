import itertools
import math

import numpy as np
import pytest
import torch
from core_checks import check_coarse_centres, check_resize_of_linear
from core_reference import SHAPE, SPACING

from dinoreg.space.lattice import Lattice, finest_lattice_within, make_lattice, pool, resize_displacement


def _lattice(shape, stride, spacing=SPACING):
    return Lattice(tuple(shape), tuple(stride), tuple(s * k for s, k in zip(spacing, stride, strict=False)))


@pytest.mark.parametrize(
    ("shape", "stride"),
    [(SHAPE, (5, 13, 2)), (SHAPE, (3, 4, 5)), ((20, 26), (2, 3)), ((1, 26, 34), (1, 7, 1))],
)
def test_coarse_centres(shape, stride):
    check_coarse_centres(shape, stride)


@pytest.mark.parametrize(
    ("shape", "stride"), [(SHAPE, (3, 4, 5)), ((20, 26), (3, 5)), ((7, 1, 9), (4, 1, 9))]
)
def test_pool_equals_replicated_block_means(shape, stride, rng):
    volume = rng.standard_normal((3, *shape)).astype(np.float32)
    padded = np.pad(volume, [(0, 0), *((0, -n % s) for n, s in zip(shape, stride, strict=True))], mode="edge")
    split = [n for total, s in zip(padded.shape[1:], stride, strict=True) for n in (total // s, s)]
    expected = padded.reshape(3, *split).mean(axis=tuple(range(2, 2 + 2 * len(shape), 2)))
    found = pool(torch.from_numpy(volume), stride)
    assert found.shape[1:] == _lattice(shape, stride).shape
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_lattice_shape_counts_the_cell_over_the_edge():
    assert _lattice(SHAPE, (3, 13, 40)).shape == (7, 2, 1)


def test_a_length_in_cells():
    lattice = Lattice((40, 40, 1), (2, 4, 1), (3.0, 8.0, 5.0))
    # 12 mm: 4 cells of 3, 1.5 -> 2 cells of 8, none across a single slice; never none elsewhere.
    assert lattice.cells_within(12.0) == (4, 2, 0)
    assert lattice.cells_within(0.1) == (1, 1, 0)


def test_wider_cells_but_not_across_a_single_slice():
    lattice = Lattice((40, 41, 1), (2, 4, 1), (3.0, 8.0, 5.0))
    assert lattice.widened(3) == Lattice((40, 41, 1), (6, 12, 1), (9.0, 24.0, 5.0))
    assert lattice.widened(3).shape == (7, 4, 1)
    assert lattice.widened(1) == lattice


def test_strides_come_nearest_to_the_cell():
    # 6 mm over 1.5, 0.8, 2.5 mm: 4, 7.5 -> 8 (half to even), 2.4 -> 2
    assert make_lattice(SHAPE, SPACING, 6.0).stride == (4, 8, 2)
    assert make_lattice(SHAPE, SPACING, 6.0).spacing_mm == pytest.approx((6.0, 6.4, 5.0))


def test_never_finer_than_the_image_and_never_across_a_single_slice():
    assert make_lattice((20, 1, 34), SPACING, 0.1).stride == (1, 1, 1)
    assert make_lattice((20, 1, 34), SPACING, 10.0).stride == (7, 1, 4)


@pytest.mark.parametrize("cell_mm", [0.5, 3.0, 7.0, 12.0])
@pytest.mark.parametrize("base", [(1, 1, 1), (2, 3, 1), (4, 2, 5)])
def test_strides_are_multiples(cell_mm, base):
    stride = make_lattice(SHAPE, SPACING, cell_mm, multiple_of=base).stride
    for s, b, mm in zip(stride, base, SPACING, strict=True):
        assert s % b == 0
        best = min((b * k for k in range(1, 40)), key=lambda n: abs(n * mm - cell_mm))
        assert abs(s * mm - cell_mm) == pytest.approx(abs(best * mm - cell_mm))


@pytest.mark.parametrize("budget", [20, 300, 2_000, 10_000, 17_680, 10**6])
@pytest.mark.parametrize("shape", [SHAPE, (20, 26, 1)])
def test_finest_lattice_within_a_budget(shape, budget):
    lattice, cell_mm = finest_lattice_within(shape, SPACING, budget)
    assert math.prod(lattice.shape) <= budget
    assert lattice == make_lattice(shape, SPACING, cell_mm)
    for axis, k in itertools.product(range(3), range(1, 35)):
        finer = k * SPACING[axis]
        if shape[axis] > 1 and finer < cell_mm:
            assert math.prod(make_lattice(shape, SPACING, finer).shape) > budget


def test_a_budget_below_one_cell_gives_the_coarsest():
    lattice, _ = finest_lattice_within(SHAPE, SPACING, 0)
    assert lattice.shape == (1, 1, 1)


STRIDES = [
    ((3, 4, 2), (1, 1, 1)),
    ((1, 1, 1), (3, 4, 2)),
    ((2, 2, 1), (6, 4, 3)),
    ((5, 13, 17), (1, 1, 1)),
    ((4, 3, 5), (3, 2, 4)),
]


@pytest.mark.parametrize(("source", "target"), STRIDES)
def test_resize_keeps_the_length_of_a_constant(source, target):
    source, target = _lattice(SHAPE, source), _lattice(SHAPE, target)
    millimetres = np.array([3.0, -5.0, 7.0])
    cells = torch.from_numpy(millimetres / source.spacing_mm).float()
    found = resize_displacement(cells.view(3, 1, 1, 1).expand(3, *source.shape), source, target)
    assert found.shape == (3, *target.shape)
    back = np.moveaxis(found.numpy(), 0, -1) * target.spacing_mm
    np.testing.assert_allclose(back, np.broadcast_to(millimetres, back.shape), rtol=1e-5)


@pytest.mark.parametrize(("source", "target"), STRIDES)
def test_resize_is_exact_for_a_linear_displacement(source, target):
    check_resize_of_linear(SHAPE, source, target)


def test_resize_of_a_plane():
    check_resize_of_linear((20, 26), (3, 4), (1, 1))


def test_resize_with_an_axis_of_size_one():
    check_resize_of_linear((20, 1, 34), (3, 1, 2), (1, 1, 1))


def test_resize_to_the_same_lattice_changes_nothing(rng):
    lattice = _lattice(SHAPE, (3, 4, 2))
    field = torch.from_numpy(rng.standard_normal((3, *lattice.shape)))
    assert resize_displacement(field, lattice, lattice) is field
