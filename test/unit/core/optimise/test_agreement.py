import numpy as np
import pytest
import torch
from core_reference import smooth_noise

from dinoreg.encoders.pair import intensities_on
from dinoreg.optimise.intensities.agreement import explained_by, measure_agreement
from dinoreg.preprocess.prepare import PreparedImage
from dinoreg.space.frame import Frame

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


def test_two_images_explain_each_other_where_they_are_brought_together(rng):
    """On cells of (2, 3, 1) voxels; the shift is whole cells along each axis."""
    shape, stride, cells = (40, 54, 30), (2, 3, 1), (3, -5, 7)
    scene = np.clip(0.5 + 0.2 * smooth_noise(shape, rng), 0, 1).astype(np.float32)
    moving = np.roll(scene, np.multiply(cells, stride), (0, 1, 2))
    inside = np.zeros(shape, bool)
    inside[8:-8, 18:-18, 9:-9] = True  # what is rolled round the edge does not count
    frame = Frame(shape, (1.0, 1.0, 1.0), tuple((0, n) for n in shape))
    lattice = frame.lattice(stride)
    box = tuple(slice(0, n) for n in shape)

    def on_cells(values, foreground):
        image = PreparedImage(values, foreground, box)
        return intensities_on(image, frame, lattice, masked=True, device=torch.device("cpu"))

    fixed, everywhere = 1 - scene, np.ones(shape, bool)
    vectors = torch.tensor(cells, dtype=torch.float32).view(3, 1, 1, 1).expand(3, *lattice.shape).contiguous()
    right = explained_by(on_cells(fixed, inside), on_cells(moving, everywhere), vectors)
    wrong = explained_by(on_cells(fixed, inside), on_cells(moving, everywhere), -vectors)
    assert right > 0.95
    assert wrong < 0.5
    assert explained_by(on_cells(fixed, ~everywhere), on_cells(moving, everywhere), vectors) is None
