import numpy as np
import pytest
import torch
from core_reference import SHAPE, SHIFT
from scipy import ndimage

from dinoreg.space.features import Features
from dinoreg.space.lattice import Lattice
from dinoreg.start.centres import match_centres


def _features(weight):
    shape = weight.shape[1:]
    weight = torch.from_numpy(weight).float()
    return Features(torch.zeros_like(weight), weight, Lattice(shape, (1,) * len(shape), (1.0,) * len(shape)))


def test_a_shifted_box():
    fixed, moving = np.zeros((1, *SHAPE)), np.zeros((1, *SHAPE))
    fixed[:, 4:9, 12:15, 6:16] = 1
    moving[:, 7:12, 7:10, 13:23] = 1
    torch.testing.assert_close(
        match_centres(_features(fixed), _features(moving)), torch.tensor(SHIFT).float()
    )


@pytest.mark.parametrize("shape", [SHAPE, (20, 26), (20, 1, 34)])
def test_equals_scipy_with_fractional_weights(shape, rng):
    fixed, moving = rng.uniform(size=(1, *shape)), rng.uniform(size=(1, *shape)) ** 4
    expected = np.subtract(ndimage.center_of_mass(moving[0]), ndimage.center_of_mass(fixed[0]))
    found = match_centres(_features(fixed), _features(moving))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_an_empty_foreground_counts_as_the_whole_field_of_view():
    moving = np.zeros((1, *SHAPE))
    moving[0, 4, 5, 6] = 1
    found = match_centres(_features(np.zeros((1, *SHAPE))), _features(moving))
    np.testing.assert_allclose(found, [4 - 9.5, 5 - 12.5, 6 - 16.5])
