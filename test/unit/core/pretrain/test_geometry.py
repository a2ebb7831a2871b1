import numpy as np
import pytest
from pretrain_samples import tiny_config
from scipy.ndimage import map_coordinates

from dinoreg.pretrain.views.geometry import (
    draw_centre,
    draw_geometries,
    draw_geometry,
    draw_voxel_mm,
    show_enough,
)

STILL = (
    "views.rotation_degrees=0",
    "views.scale=1",
    "views.stretch=1",
    "views.shift=[0, 0, 0]",
    "views.elastic=[0.0, 0.0]",
)
LINEAR = np.array([[0.9, 0.2, 0.0], [0.0, -1.4, 0.3], [0.1, 0.0, 2.1]])
CENTRE = np.array([31.0, 17.0, 44.0])
SIZE = 24


def drawn(*overrides, seed=0, linear=LINEAR):
    settings = tiny_config(f"views.size={SIZE}", *overrides).views
    geometry = draw_geometry(linear, CENTRE, settings, np.random.default_rng(seed))
    return tuple(
        part.numpy().astype(np.float64) for part in (geometry.first, geometry.second, geometry.between)
    )


def grid():
    return np.indices((SIZE,) * 3).astype(float)


def fitted(field):
    """Return matrix (3, 3) and value in the middle of a field that is linear in the voxel."""
    at = (grid() - (SIZE - 1) / 2).reshape(3, -1)
    solved, *_ = np.linalg.lstsq(np.vstack([at, np.ones(at.shape[1])]).T, field.reshape(3, -1).T, rcond=None)
    return solved[:3].T, solved[3]


@pytest.mark.parametrize("seed", range(8))
def test_between_leads_to_the_same_place_of_the_anatomy(seed):
    first, second, between = drawn(seed=seed)
    inside = ((between >= 0) & (between <= SIZE - 1)).all(axis=0)
    assert inside.sum() > 500
    found = np.stack([map_coordinates(part, between[:, inside], order=1) for part in first])
    np.testing.assert_allclose(found, second[:, inside], atol=2e-4)
    # Not by being everywhere the same, nor by both views having the same geometry.
    assert np.abs(second - first).mean() > 1
    assert np.linalg.norm(np.gradient(first[0])[0]) > 1


def test_without_chance_a_view_is_the_matrix_around_the_centre():
    first, second, between = drawn(*STILL)
    expected = np.einsum("ab,bijk->aijk", LINEAR, grid() - (SIZE - 1) / 2) + CENTRE.reshape(3, 1, 1, 1)
    np.testing.assert_allclose(first, expected, atol=1e-4)
    np.testing.assert_allclose(second, expected, atol=1e-4)
    np.testing.assert_allclose(between, grid(), atol=1e-5)


def test_shifts_are_up_to_their_share_of_the_size():
    largest = np.zeros(3)
    for seed in range(30):
        first, _, between = drawn(*STILL[:3], "views.shift=[0.1, 0.0, 0.5]", STILL[4], seed=seed)
        shift = (between - grid()).reshape(3, -1)
        assert np.ptp(shift, axis=1).max() < 1e-4
        largest = np.maximum(largest, np.abs(shift[:, 0]))
        moved = np.einsum("ab,b->a", LINEAR, grid()[:, 3, 5, 7] - (SIZE - 1) / 2) + CENTRE
        np.testing.assert_allclose(first[:, 3, 5, 7], moved, atol=1e-4)
    assert largest[1] < 1e-5
    assert 0.8 * 0.1 * SIZE < largest[0] <= 0.1 * SIZE
    assert 0.8 * 0.5 * SIZE < largest[2] <= 0.5 * SIZE


@pytest.mark.parametrize("seed", range(4))
def test_turns_and_stretches_keep_within_their_bounds(seed):
    first, _, between = drawn("views.elastic=[0.0, 0.0]", seed=seed)
    for matrix in (np.linalg.solve(LINEAR, fitted(first)[0]), fitted(between)[0]):
        stretches = np.linalg.svd(matrix)[1]
        assert np.linalg.det(matrix) > 0
        assert stretches.min() > 1 / (1.2 * 1.1) - 1e-4
        assert stretches.max() < 1.2 * 1.1 + 1e-4
        assert np.abs(matrix - np.eye(3)).max() > 0.02
    first, *_ = drawn(*STILL[1:], "views.rotation_degrees=14", seed=seed)
    turn = np.linalg.solve(LINEAR, fitted(first)[0])
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-4)
    angle = np.degrees(np.arccos((np.trace(turn) - 1) / 2))
    assert 0.5 < angle < 3**0.5 * 14 + 1


def test_bends_are_as_strong_and_as_smooth_as_the_bands_say():
    spreads = []
    for seed in range(12):
        first, second, between = drawn(
            *STILL[:4], "views.elastic=[2.0]", "views.wavelength=[6.0]", seed=seed, linear=np.eye(3)
        )
        own = first - grid() - (CENTRE - (SIZE - 1) / 2).reshape(3, 1, 1, 1)
        spreads += [own.std(), (between - grid()).std()]
        assert np.abs(np.diff(own, 2, axis=1)).max() < 20 * 2 / 6**2
        assert np.abs(second - first).max() > 0.2
    assert min(spreads) > 0.2
    assert max(spreads) < 2.6
    assert np.mean(spreads) == pytest.approx(2.0 * 0.6, rel=0.3)  # the strength is uniform in [0.2, 1]


def test_the_generator_decides():
    for one, again, other in zip(drawn(seed=1), drawn(seed=1), drawn(seed=2), strict=True):
        np.testing.assert_array_equal(one, again)
        assert np.abs(one - other).max() > 1


def test_middles_of_views_lie_where_the_view_shows_no_more_air():
    """Along axis 0 the oblique view covers 24 * (0.9 + 0.2) = 26.4 of 60 voxels; along the others, all."""
    settings = tiny_config(f"views.size={SIZE}").views
    rng = np.random.default_rng(2)
    centres = np.array([draw_centre((60, 30, 50), LINEAR, settings, rng) for _ in range(200)])
    reach = np.abs(centres - [29.5, 14.5, 24.5]).max(axis=0)
    largest = np.array([(60 - 26.4) / 2, 0.06 * 30, 0.06 * 50])
    assert (reach <= largest).all()
    assert (reach > 0.95 * largest).all()


def test_voxels_are_mirrored_and_as_large_as_asked():
    settings = tiny_config("views.voxel_mm=[2.0, 8.0]", "views.mirrored=0.25").views
    rng = np.random.default_rng(3)
    drawn = np.array([draw_voxel_mm(settings, rng) for _ in range(400)])
    sizes = np.abs(drawn)
    assert (sizes == sizes[:, :1]).all()
    assert 2 <= sizes.min() < 2.1
    assert 7.6 < sizes.max() <= 8
    assert np.median(sizes) == pytest.approx(4, rel=0.1)  # as often in [2, 4] as in [4, 8]
    np.testing.assert_allclose((drawn < 0).mean(axis=0), 0.25, atol=0.07)


def test_geometries_are_drawn_anew_with_other_middles():
    settings = tiny_config(*STILL, f"views.size={SIZE}").views
    drawn = list(draw_geometries(np.eye(3), (60, 30, 50), settings, np.random.default_rng(4)))
    assert 1 < len(drawn) < 10
    middles = np.array([g.first[:, 11:13, 11:13, 11:13].mean(dim=(1, 2, 3)).numpy() for g in drawn])
    assert (np.abs(np.diff(middles, axis=0)) > 1e-3).all()


def test_all_views_have_to_show_enough():
    much, little = np.zeros((5, 4, 10), bool), np.zeros((5, 4, 10), bool)
    much.ravel()[:16], little.ravel()[:15] = True, True  # of 200: 8 % and less
    assert show_enough(much, much)
    assert not show_enough(much, little)
    assert not show_enough(little, much)
