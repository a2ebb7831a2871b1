"""The matrix, the pairs and the line are where the indices say."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread

from dinoreg.report import slice_picture, style
from dinoreg.report.slice_picture import SliceComparison, draw_slices
from regtask import OutputError

SHIFT = 7.0


@pytest.fixture
def slices():
    """Every third slice and the last one; alike are those 7 slices apart."""
    fixed_at, moving_at = np.append(np.arange(0, 60, 3), 61.0), np.append(np.arange(0, 75, 3), 76.0)
    distances = np.abs(moving_at - fixed_at[:, None] - SHIFT)
    fixed_valid, moving_valid = np.ones(21, bool), np.ones(26, bool)
    fixed_valid[:2] = moving_valid[-3:] = False
    return SliceComparison(distances, fixed_at, moving_at, fixed_valid, moving_valid, 2.5, 2)


def test_closest_pairs(slices):
    rng = np.random.default_rng(0)
    slices = replace(slices, distances=rng.random(slices.distances.shape))
    pairs = slices.closest_pairs(10)
    allowed = np.outer(slices.fixed_valid, slices.moving_valid)
    expected = np.sort(slices.distances[allowed])[:10]
    np.testing.assert_array_equal(slices.distances[*pairs.T], expected)
    assert allowed[*pairs.T].all()
    assert len(replace(slices, fixed_valid=slices.fixed_valid & False).closest_pairs(10)) == 0
    assert len(slices.closest_pairs(10_000)) == 19 * 23


def test_cells_lie_around_their_slices(slices):
    axes = Figure().add_subplot()
    rows, columns = (slice_picture._edges(at) for at in (slices.fixed_at, slices.moving_at))
    np.testing.assert_allclose(rows[:3], [-1.5, 1.5, 4.5])
    np.testing.assert_allclose(rows[-3:], [55.5, 59, 63])  # the last slice is 4 voxels from the one before
    mesh = slice_picture._draw_distances(axes, slices, rows, columns)
    shown = mesh.get_array()
    assert shown.shape == (21, 26)
    assert shown.mask[:2].all()
    assert shown.mask[:, -3:].all()
    assert shown.mask.sum() == 2 * 26 + 3 * 21 - 6
    assert mesh.get_clim() == (shown.min(), shown.max())
    np.testing.assert_allclose(slice_picture._edges(np.array([4.0])), [3.5, 4.5])


def test_pairs_and_line_follow_the_shift(slices):
    axes = Figure().add_subplot()
    axes.set_ylim(0, 60)
    pairs = np.array([[5, 8], [10, 12]])
    marks, line, none, _ = slice_picture._draw_match(axes, slices, pairs, SHIFT)
    np.testing.assert_allclose(marks.get_offsets(), [[24, 15], [36, 30]])  # moving to the right, fixed up
    np.testing.assert_allclose(line.get_xydata(), [[7, 0], [67, 60]])
    np.testing.assert_allclose(none.get_xydata(), [[0, 0], [60, 60]])


def test_millimetres_beside_indices(slices):
    axes = Figure().add_subplot()
    axes.set_xlim(0, 40)
    slice_picture._label(axes, slices)
    FigureCanvasAgg(axes.figure).draw()
    top, right = axes.child_axes
    np.testing.assert_allclose(top.get_xlim(), (0, 100))
    assert [part.get_xlabel() for part in (axes, top)] == ["moving, k", "moving, mm"]
    assert [part.get_ylabel() for part in (axes, right)] == ["fixed, k", "fixed, mm"]


def count(path, colour):
    pixels = imread(path)[..., :3]
    return int((np.abs(pixels - np.array(to_rgb(colour))).max(axis=-1) < 0.05).sum())


def test_picture(slices, tmp_path):
    draw_slices(tmp_path / "a.png", slices, slices.closest_pairs(10), SHIFT, title="0001_0000<--0001_0001")
    draw_slices(tmp_path / "b.png", slices, np.zeros((0, 2), int), 500.0)  # the line is off the page
    assert count(tmp_path / "a.png", style.LABEL_COLOURS[2]) > 300 + count(
        tmp_path / "b.png", style.LABEL_COLOURS[2]
    )
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.png", "b.png"]


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (40, 3)])
def test_few_slices_and_none_that_took_part(tmp_path, size):
    n, m = size
    slices = SliceComparison(
        np.zeros(size), np.arange(float(n)), np.arange(float(m)), np.zeros(n, bool), np.zeros(m, bool), 1.0, 0
    )
    draw_slices(tmp_path / "a.png", slices, slices.closest_pairs(10), 0.0)
    assert imread(tmp_path / "a.png").std() > 0


@pytest.mark.parametrize("name", ["fixed_at", "moving_at", "fixed_valid", "moving_valid"])
def test_shapes_have_to_fit(slices, tmp_path, name):
    short = replace(slices, **{name: getattr(slices, name)[:-1]})
    with pytest.raises(ValueError, match=f"{name}: expected shape"):
        draw_slices(tmp_path / "a.png", short, np.zeros((0, 2), int), 0.0)
    with pytest.raises(ValueError, match="pairs: expected shape"):
        draw_slices(tmp_path / "a.png", slices, np.zeros((3, 3), int), 0.0)


def test_no_folder(slices, tmp_path):
    with pytest.raises(OutputError, match="cannot write"):
        draw_slices(tmp_path / "no" / "a.png", slices, np.zeros((0, 2), int), 0.0)
