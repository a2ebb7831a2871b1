import numpy as np
import pytest
import torch
from core_reference import smooth_noise

from dinoreg.optimise.agreement import measure_agreement

SHAPE = (24, 30, 38)


@pytest.fixture
def moving(rng):
    return torch.from_numpy(np.clip(0.5 + 0.2 * smooth_noise(SHAPE, rng), 0, 1)).float()


ONES = torch.ones(SHAPE)


@pytest.mark.parametrize(
    "relation",
    [lambda m: m, lambda m: 0.3 + 0.5 * m, lambda m: 1 - m, lambda m: m**3, lambda m: (m - 0.5).abs()],
    ids=["equal", "scaled", "inverted", "gamma", "folded"],
)
def test_a_function_of_moving_is_explained_and_mapped(relation, moving):
    fixed = relation(moving)
    found = measure_agreement(fixed, moving, ONES)
    assert found.explained > 0.97
    assert found.trust == 2.0
    error = (found.map(moving) - fixed).square().mean() / fixed.var()
    assert float(error) < 0.03


def test_unrelated_intensities_are_not_trusted(moving, rng):
    fixed = torch.from_numpy(smooth_noise(SHAPE, rng)).float()
    found = measure_agreement(fixed, moving, ONES)
    assert found.explained < 0.1
    assert found.trust == 0


def test_the_explained_share_is_the_correlation_ratio(moving, rng):
    """Against the definition (Roche et al. 1998) in numpy, bins of equal counts."""
    fixed = moving.square() + 0.1 * torch.from_numpy(smooth_noise(SHAPE, rng)).float()
    found = measure_agreement(fixed, moving, ONES)
    f, m = fixed.numpy().ravel().astype(float), moving.numpy().ravel().astype(float)
    groups = np.array_split(f[np.argsort(m, kind="stable")], 48)
    within = sum(len(g) * g.var() for g in groups) / len(f)
    assert found.explained == pytest.approx(1 - within / f.var(), abs=0.01)


def test_only_what_both_show_counts(moving):
    fixed, weight = moving.clone(), ONES.clone()
    fixed[:12] = torch.rand(12, *SHAPE[1:], generator=torch.Generator().manual_seed(1))
    weight[:12] = 0
    assert measure_agreement(fixed, moving, weight).explained > 0.97
    assert measure_agreement(fixed, moving, ONES).explained < 0.8


def test_flat_images_are_not_trusted(moving):
    flat = torch.full(SHAPE, 0.4)
    for fixed, other in ((flat, moving), (moving, flat)):
        found = measure_agreement(fixed, other, ONES)
        assert found.trust == 0
        assert torch.equal(found.map(moving), moving)
