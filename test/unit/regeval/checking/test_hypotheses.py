"""Each correction undoes what its name says, on a non-cubic grid with an asymmetric field."""

import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from spoil import SPOILED

from regeval.checking.hypotheses import hypotheses

SHAPE = (12, 9, 7)
SPACING_MM = (2.0, 0.5, 3.0)
POINTS = np.array([[3.0, 4.0, 5.0], [10.5, 1.25, 2.0], [0.0, 8.0, 6.0]])


def sampler(field):
    return lambda points: np.stack(
        [map_coordinates(part, points.T, order=1) for part in np.moveaxis(field, -1, 0)], 1
    )


@pytest.fixture
def field():
    i, j, k = np.indices(SHAPE, dtype=float)
    return np.stack([3 + 0.1 * j, -5 + 0.2 * k, 7 - 0.3 * i], axis=-1)


@pytest.mark.parametrize("name", SPOILED)
def test_correction_undoes_the_fault(name, field):
    suspect = next(one for one in hypotheses(SHAPE, SPACING_MM) if one.name == name)
    spoiled = SPOILED[name](field, SPACING_MM)
    assert not np.allclose(sampler(spoiled)(POINTS), sampler(field)(POINTS))
    np.testing.assert_allclose(suspect.corrected(sampler(spoiled), POINTS), sampler(field)(POINTS))


def test_every_other_order_of_components_is_suspected_once(field):
    names = [one.name for one in hypotheses(SHAPE, SPACING_MM) if "order" in one.name]
    assert len(set(names)) == 5
    for name in names:
        held = ["ijk".index(letter) for letter in name.partition("(")[2].rstrip(")").split(", ")]
        suspect = next(one for one in hypotheses(SHAPE, SPACING_MM) if one.name == name)
        found = suspect.corrected(sampler(field[..., held]), POINTS)
        np.testing.assert_allclose(found, sampler(field)(POINTS))


def test_transposed_array_is_suspected_where_the_shape_hides_it():
    assert not [one for one in hypotheses((12, 9, 7), SPACING_MM) if one.name.startswith("array")]
    field = np.random.default_rng(0).normal(size=(8, 9, 8, 3))
    suspect = next(one for one in hypotheses((8, 9, 8), SPACING_MM) if one.name.startswith("array"))
    spoiled = np.flip(field.transpose(2, 1, 0, 3), -1)
    points = np.array([[1.0, 2.0, 3.0], [7.0, 0.0, 4.0]])
    np.testing.assert_allclose(suspect.corrected(sampler(spoiled), points), sampler(field)(points))


def test_halfway_is_the_geometric_mean(field):
    for name in ("millimetres instead of voxels", "values of a grid of half resolution"):
        suspect = next(one for one in hypotheses(SHAPE, SPACING_MM) if one.name == name)
        whole, half = (make(sampler(field), POINTS) for make in (suspect.corrected, suspect.halfway))
        np.testing.assert_allclose(half**2, whole * sampler(field)(POINTS))


@pytest.mark.parametrize(
    ("spacing_mm", "said"), [((1, 1, 1), "voxels of 1 mm"), ((1, 1, 2), ""), ((2, 2, 2), "")]
)
def test_millimetres_cannot_be_told_at_1_mm(spacing_mm, said):
    suspect = next(one for one in hypotheses(SHAPE, spacing_mm) if one.name.startswith("millimetres"))
    assert suspect.undecidable == said
