import numpy as np
import pytest
import torch
from pretrain_samples import write_scan

from dinoreg.pretrain import picture
from dinoreg.pretrain.validate import HELD_OUT_MM, HeldOut, score

SHAPE = (16, 12, 20)


def scan(points, organs=None):
    labels = torch.zeros(SHAPE, dtype=torch.long) if organs is None else torch.from_numpy(organs)
    return HeldOut(torch.rand(1, 1, *SHAPE), labels, torch.from_numpy(np.asarray(points, np.float32)))


def places(image):
    """Features that tell the place: the way on a sphere of unit vectors is steep enough everywhere."""
    cells = [torch.arange(n // 2, dtype=torch.float32) for n in image.shape[2:]]
    grid = torch.stack(torch.meshgrid(*cells, indexing="ij"))
    return torch.cat([grid, torch.full((1, *grid.shape[1:]), 4.0)])


@pytest.fixture
def points(rng):
    return rng.integers(2, 10, (50, 3))


def test_features_of_the_place_find_every_place(points):
    organs = np.ones(SHAPE, np.int64)
    organs[6:] = 2
    triple = tuple(scan(np.unique(points, axis=0), organs) for _ in range(3))
    found = score(places, [triple])
    assert (found.median_mm, found.near, found.organ) == (0, 1, 1)


def test_features_of_another_place_find_that(points):
    """The second scan's points are 4 voxels further along an axis, and so are the features of the first."""
    unique = np.unique(points, axis=0)
    first, second = scan(unique), scan(unique + np.array([0, 0, 4]))
    missed = score(places, [(first, second, scan(unique, np.ones(SHAPE, np.int64)))])
    assert missed.median_mm > 2 * HELD_OUT_MM
    assert missed.near < 0.7
    moved = score(
        lambda image: torch.roll(places(image), 2, dims=3) if image is second.image else places(image),
        [(first, second, scan(unique, np.ones(SHAPE, np.int64)))],
    )
    assert moved.median_mm == 0


def test_the_same_organ_of_another_patient(rng):
    """Features that tell one organ from the rest, but not the other two from each other."""
    organs = rng.integers(1, 4, tuple(n // 2 for n in SHAPE))
    labels = np.kron(organs, np.ones((2, 2, 2), np.int64))
    centres = (np.argwhere(organs > 0) * 2).astype(np.float32) + 0.5
    features = torch.from_numpy((organs == 1).astype(np.float32))
    one = scan(centres, labels)
    share = score(lambda image: torch.stack([features, 1 - features]), [(one, one, one)]).organ
    # Of organs 2 and 3, all points find the same first one: one of them is right, the other wrong.
    assert share == pytest.approx(2 / 3, abs=0.01)


def test_several_triples_are_averaged(points):
    good = tuple(scan(np.unique(points, axis=0), np.ones(SHAPE, np.int64)) for _ in range(3))
    far = (good[0], scan(good[0].points.numpy() + np.float32([0, 0, 6])), good[2])
    near = [score(places, triples).near for triples in ([good], [far], [good, far])]
    assert near[2] == pytest.approx((near[0] + near[1]) / 2)


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1)])
def test_a_real_scan_lies_as_the_held_out_ones(tmp_path, signs):
    """Right, front and top run with the axes; the middle of the scan is the middle of the grid."""
    shape, spacing = (40, 30, 36), np.multiply(signs, (3.0, 4.0, 5.0))
    values = np.zeros(shape)
    values[5:-5, 5:-5, 5:-5] = 300
    place = np.array([12, 20, 26])
    ball = np.linalg.norm(np.indices(shape) - place.reshape(3, 1, 1, 1), axis=0) < 4.2
    values[ball] = 900
    path = write_scan(tmp_path / "scan.nii.gz", values, np.diag([*spacing, 1.0]))
    grid = picture._on_held_out_grid(path)
    assert grid.shape == (1, 1, *picture.HELD_OUT_SHAPE)
    assert 0 <= grid.min() <= grid.max() <= 1
    found = np.argwhere(grid[0, 0].numpy() > 0.7).mean(axis=0)
    expected = (np.array(picture.HELD_OUT_SHAPE) - 1) / 2
    expected = expected + (place - (np.array(shape) - 1) / 2) * spacing / HELD_OUT_MM
    np.testing.assert_allclose(found, expected, atol=0.3)
