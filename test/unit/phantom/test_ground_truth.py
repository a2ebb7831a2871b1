"""Field, landmarks and images must tell one story; warping here is scipy's, not ours."""

import numpy as np
from scipy.ndimage import map_coordinates

from dinoreg.phantom import ORGAN_NAMES, Anatomy, Lattice, SmoothDeformation, true_field
from dinoreg.phantom.imaging.rasterise import rasterise
from dinoreg.phantom.landmarks import pair_landmarks

SHIFT = np.array([3.0, -5.0, 7.0])


def dice_after_warp(pair, field):
    """Warp the moving labels by linear votes; compare where the field stays in the image."""
    position = np.indices(pair.lattice.shape) + np.moveaxis(field, -1, 0)
    limits = np.reshape(pair.lattice.shape, (3, 1, 1, 1)) - 1
    inside = ((position >= 0) & (position <= limits)).all(axis=0)
    votes = [
        map_coordinates((pair.moving.organs == organ).astype(np.float32), position, order=1, mode="nearest")
        for organ in ORGAN_NAMES
    ]
    warped = np.argmax(votes, axis=0)
    result = {}
    for organ, name in ORGAN_NAMES.items():
        a, b = (warped == organ) & inside, (pair.fixed.organs == organ) & inside
        if organ and b.sum() > 100:
            result[name] = 2 * (a & b).sum() / (a.sum() + b.sum())
    return result


def test_true_field_maps_the_moving_labels_on_the_fixed_labels(pair):
    field = true_field(pair.deformation, pair.lattice)
    dice = dice_after_warp(pair, field)
    assert len(dice) == 13
    assert np.mean(list(dice.values())) > 0.9
    assert min(dice[name] for name in ("liver", "spleen", "kidney_right", "lung_left", "heart")) > 0.93


def test_the_same_check_fails_for_wrong_fields(pair):
    """The measure is worth something: zero, opposite, and transposed fields all score clearly lower."""
    field = true_field(pair.deformation, pair.lattice)
    flipped = field * np.array([-1, 1, 1], np.float32)
    for wrong in (0 * field, -field, field[..., [1, 0, 2]], flipped):
        assert np.mean(list(dice_after_warp(pair, wrong).values())) < 0.86


def test_translation_by_whole_voxels():
    lattice = Lattice.centred((26, 20, 34), (9.0, 9.5, 8.0), (4.0, -5.0, 20.0))
    shift_mm = tuple(SHIFT * [-9.0, 9.5, 8.0])  # axis 0 runs along -x
    deformation = SmoothDeformation(shift_mm)
    field = true_field(deformation, lattice)
    np.testing.assert_allclose(field, np.broadcast_to(SHIFT, field.shape), atol=1e-5)

    table = np.arange(41, dtype=float)[:, None]
    fixed = rasterise(Anatomy.of(), deformation, lattice, table, supersample=1)
    moving = rasterise(Anatomy.of(), SmoothDeformation(), lattice, table, supersample=1)
    seen_fixed = fixed.tissues[:-3, 5:, :-7]  # fixed(i, j, k) = moving(i + 3, j - 5, k + 7)
    seen_moving = moving.tissues[3:, :-5, 7:]
    assert (seen_fixed == seen_moving).mean() > 0.9999
    assert len(np.unique(seen_fixed)) > 20
    np.testing.assert_allclose(fixed.texture[:-3, 5:, :-7], moving.texture[3:, :-5, 7:], atol=1e-4)


def test_landmarks_follow_the_field_and_the_tissue(pair):
    fixed, moving = pair_landmarks(
        pair.anatomy, pair.deformation, pair.lattice, pair.fixed, pair.moving, np.random.default_rng(0)
    )
    assert 50 <= len(fixed) <= 80
    mapped_mm = pair.deformation(pair.lattice.to_mm(fixed))
    np.testing.assert_allclose(pair.lattice.to_mm(moving), mapped_mm, atol=1e-9)

    field = true_field(pair.deformation, pair.lattice)
    read = np.stack([map_coordinates(field[..., c], fixed.T, order=1) for c in range(3)], axis=1)
    np.testing.assert_allclose(fixed + read, moving, atol=0.02)  # linear interpolation of a smooth field

    in_fixed = pair.fixed.organs[tuple(np.rint(fixed).astype(int).T)]
    in_moving = pair.moving.organs[tuple(np.rint(moving).astype(int).T)]
    at_point = pair.anatomy.organs_at(mapped_mm)
    assert (in_fixed == at_point).mean() > 0.7  # the rest are surface points, on the wrong side by rounding
    assert (in_moving == at_point).mean() > 0.7
    assert len(np.unique(at_point)) >= 11


def test_landmarks_are_anatomy_not_noise(pair):
    """Each one lies on a point that was found in the anatomy before any image existed."""
    _, moving = pair_landmarks(
        pair.anatomy, pair.deformation, pair.lattice, pair.fixed, pair.moving, np.random.default_rng(0)
    )
    anchors = pair.anatomy.anchors_mm()
    gaps = np.linalg.norm(anchors[:, None] - pair.lattice.to_mm(moving), axis=2).min(axis=0)
    assert gaps.max() < 0.01  # fixed coordinates are rounded to three decimals
