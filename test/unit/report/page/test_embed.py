import base64
import gzip

import numpy as np
import pytest
from page_samples import FIXED, MOVING, SHIFT, make_shown

from dinoreg.report.page import content, embed, mismatch
from regtask.grid import Grid


@pytest.mark.parametrize("grid", [FIXED, MOVING])
@pytest.mark.parametrize("most", [10**9, 9000, 500])
def test_an_embedded_voxel_lies_where_its_stored_ones_do(grid, most):
    """A linear image has, averaged over a block, the value of the block's centre."""
    lattice = embed.make_lattice(grid, most)
    assert lattice.letters == "RAS"
    assert np.prod(lattice.shape) <= most
    index = np.indices(grid.shape).reshape(3, -1).T
    ras = grid.index_to_ras(index).reshape(*grid.shape, 3)
    reduced = embed.reduce_mean(ras, lattice)
    places = np.indices(lattice.shape).reshape(3, -1).T
    expected = (places @ lattice.affine[:3, :3].T + lattice.affine[:3, 3]).reshape(*lattice.shape, 3)
    # A last block that reaches over the border repeats it: only whole blocks are linear.
    stored = (places @ lattice.stored[:3, :3].T + lattice.stored[:3, 3]).reshape(*lattice.shape, 3)
    reach = (np.array(lattice.stride) - 1) / 2
    whole = (stored + reach <= np.array(grid.shape) - 1).all(axis=-1)
    assert whole.mean() > 0.5
    np.testing.assert_allclose(reduced[whole], expected[whole], atol=1e-3)
    assert (np.diag(lattice.affine)[:3] > 0).all()


def test_the_finest_axis_is_reduced_first():
    lattice = embed.make_lattice(Grid((64, 64, 16), np.diag([1.0, 1, 5, 1])), 64 * 64 * 4)
    assert lattice.stride == (2, 2, 1)
    assert lattice.letters == ""  # such an affine states no orientation


def test_packed_values_come_back_first_axis_fastest():
    values = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    raw = gzip.decompress(base64.b64decode(embed.pack(values)))
    assert list(raw[:3]) == [0, 12, 4]
    assert np.array_equal(np.frombuffer(raw, np.uint8).reshape((2, 3, 4), order="F"), values)


def test_greys_keep_the_window_in_their_middle_half_and_nothing_for_absent_voxels():
    grid = Grid((3, 1, 1), np.eye(4))
    image = np.array([-100.0, 0.0, 900.0], np.float32).reshape(3, 1, 1)
    absent = np.array([False, False, True]).reshape(3, 1, 1)
    greys = embed.greys_in(image, embed.make_lattice(grid, 10), (-100, 100), absent)
    low, high = embed.grey_limits()
    assert abs(int(greys[0, 0, 0]) - low) <= 1
    assert greys[1, 0, 0] == 128
    assert greys[2, 0, 0] == 0
    assert high - low == pytest.approx(127, abs=1)


def test_the_way_from_fixed_to_moving_in_the_page():
    """Through the page's numbers a voxel of fixed leads to where the scanner says."""
    shown = make_shown()
    facts = content.make_content(shown, None, 20_000).facts
    fixed, moving = (np.array(facts["lattices"][name]["affine"]) for name in ("fixed", "moving"))
    place = np.array([5.0, 6.0, 4.0])  # voxels of the page
    stored = embed.make_lattice(FIXED, 20_000).stored
    shift = np.linalg.solve(stored[:3, :3], SHIFT)
    there = np.array(facts["toMoving"]) @ [*(place + shift), 1]
    ras = moving @ there
    expected = fixed[:3, :3] @ place + fixed[:3, 3] + FIXED.affine[:3, :3] @ SHIFT
    np.testing.assert_allclose(ras[:3], expected, atol=1e-3)
    np.testing.assert_allclose(np.array(facts["fromMoving"]) @ there, [*(place + shift), 1], atol=1e-9)


def test_structure_that_differs_stands_out():
    rng = np.random.default_rng(0)
    one, other = (rng.normal(size=(24, 20, 18)).astype(np.float32) for _ in range(2))
    mixed = np.where(
        np.arange(24)[:, None, None] < 12, -3 * one + 5, other
    )  # inverted contrast, other tissue
    found = mismatch.mismatch(one, mixed)
    assert found[:8].mean() < 0.05
    assert found[16:].mean() == pytest.approx(1, abs=0.15) or found[16:].mean() > 1


def test_where_moving_has_no_data():
    shown = make_shown()
    expected = np.zeros(FIXED.shape, bool)
    for index in np.ndindex(*FIXED.shape):
        at = MOVING.ras_to_index(FIXED.index_to_ras([np.array(index) + SHIFT]))[0]
        expected[index] = ((at >= -0.5) & (at < np.array(MOVING.shape) - 0.5)).all()
    assert 0.1 < expected.mean() < 0.95
    np.testing.assert_array_equal(shown.has_data(), expected)
