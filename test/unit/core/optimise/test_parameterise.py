import itertools

import numpy as np
import pytest
import torch
from core_checks import check_constant_stays
from core_reference import SHAPE, box, smooth_displacement

from dinoreg.optimise.parameterise import Affine, SmoothedDense


@pytest.mark.parametrize("shape", [SHAPE, (20, 26), (20, 1, 34)])
@pytest.mark.parametrize(("width", "repeats"), [(3, 3), (7, 2), (5, 0)])
def test_smoothed_dense_begins_at_the_smoothed_start(shape, width, repeats, rng):
    start = smooth_displacement(shape, rng, 3.0, sigma=1.0)
    found = SmoothedDense(torch.from_numpy(start), width=width, repeats=repeats).displacement()
    np.testing.assert_allclose(found.detach(), box(start, width, repeats), atol=1e-5)


def test_smoothed_dense_does_not_write_into_its_start(rng):
    start = torch.from_numpy(smooth_displacement(SHAPE, rng, 3.0))
    copy, model = start.clone(), SmoothedDense(start, width=3, repeats=1)
    model.vectors.data.add_(1.0)
    assert torch.equal(start, copy)


@pytest.mark.parametrize("shape", [SHAPE, (20, 26), (1, 26, 3)])
def test_a_constant_keeps_its_value_up_to_the_border(shape):
    check_constant_stays(shape)


@pytest.mark.parametrize("shape", [SHAPE, (20, 26), (20, 1, 34)])
def test_affine_at_the_corners(shape, rng):
    rank = len(shape)
    model = Affine(shape)
    assert not model.displacement().any()
    assert sum(p.numel() for p in model.parameters()) == rank * (rank + 1)
    matrix, translation = rng.standard_normal((rank, rank)), rng.standard_normal(rank)
    model.matrix.data = torch.from_numpy(matrix).float()
    model.translation.data = torch.from_numpy(translation).float()
    found = model.displacement().detach().numpy()
    for corner in itertools.product(*((0, n - 1) for n in shape)):
        # From the centre of the lattice, in halves of its largest size.
        lever = [(c - (n - 1) / 2) / (max(shape) / 2) for c, n in zip(corner, shape, strict=True)]
        expected = [translation[a] + sum(matrix[a, b] * lever[b] for b in range(rank)) for a in range(rank)]
        np.testing.assert_allclose(found[(slice(None), *corner)], expected, atol=1e-5)


def test_affine_has_gradients_for_all_parameters(rng):
    model = Affine((5, 6, 7))
    (model.displacement() * torch.from_numpy(rng.standard_normal((3, 5, 6, 7))).float()).sum().backward()
    assert (model.matrix.grad != 0).all()
    assert (model.translation.grad != 0).all()
