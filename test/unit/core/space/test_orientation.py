import itertools

import nibabel as nib
import numpy as np
import pytest
import torch

from dinoreg.space.orientation import orientation_of, ras_axes, to_ras

ALL = [
    "".join(letters)
    for order in itertools.permutations(("LR", "PA", "IS"))
    for letters in itertools.product(*order)
]


@pytest.mark.parametrize("orientation", ALL)
def test_a_volume_is_turned_as_nibabel_turns_it(orientation, rng):
    values = rng.random((3, 4, 5))
    turned = nib.orientations.apply_orientation(values, nib.orientations.axcodes2ornt(orientation))
    np.testing.assert_array_equal(to_ras(torch.from_numpy(values)[None], orientation)[0], turned)
    axes, falls = ras_axes(orientation)
    assert [orientation[axis] for axis in axes] == [
        opposite if fall else letter for letter, opposite, fall in zip("RAS", "LPI", falls, strict=True)
    ]


def test_oblique_affines_have_the_closest_orientation():
    turn = np.array([[0.8, -0.6, 0.0, -31], [0.6, 0.8, 0.0, 12], [0.0, 0.0, 1.0, 104], [0, 0, 0, 1]])
    oblique = turn @ np.diag([-1.5, 2.0, 2.5, 1.0])
    assert orientation_of(oblique) == "LAS"


@pytest.mark.parametrize("affine", [None, np.eye(4), np.diag([2.0, 1.5, 3.0, 1.0])])
def test_a_placeholder_states_nothing(affine):
    assert orientation_of(affine) == "RAS"


def test_mirrored_axes_are_a_statement():
    affine = np.diag([-2.0, -1.5, 3.0, 1.0])
    assert orientation_of(affine) == "LPS"
