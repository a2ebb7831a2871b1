import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from dinoreg.pretrain.views import artefacts
from dinoreg.pretrain.views.artefacts import degrade

SHAPE = (17, 13, 21)


@pytest.fixture
def image(rng):
    return torch.from_numpy(rng.random(SHAPE, dtype=np.float32))


@pytest.mark.parametrize("sigmas", [(0.3, 0.6, 0.9), (1.7, 0.4, 0.8)])
def test_blur_is_a_gaussian_with_repeated_border(image, sigmas):
    found = artefacts._blur(image, np.array(sigmas))
    radius = [int(np.ceil(2.5 * sigma)) for sigma in sigmas]
    expected = gaussian_filter(image.numpy().astype(float), sigmas, mode="nearest", radius=radius)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(("axis", "factor"), [(0, 4), (1, 3), (2, 2)])
def test_thick_slices_are_means_drawn_out_again(image, axis, factor):
    lines = np.moveaxis(image.numpy().astype(float), axis, -1)
    size = lines.shape[-1]
    starts = range(0, size, factor)
    means = np.stack([lines[..., s : s + factor].mean(axis=-1) for s in starts], axis=-1)
    expected = np.empty_like(lines)
    for voxel in range(size):
        place = min(max((voxel + 0.5) / factor - 0.5, 0), len(starts) - 1)
        low = min(int(place), len(starts) - 2)
        share = place - low
        expected[..., voxel] = (1 - share) * means[..., low] + share * means[..., low + 1]
    found = artefacts._thick_slices(image, axis, factor)
    np.testing.assert_allclose(np.moveaxis(found.numpy(), axis, -1), expected, atol=1e-5)


def test_thick_slices_by_hand():
    line = torch.tensor([3.0, 5.0, 10.0, 2.0, 7.0]).view(5, 1, 1)
    found = artefacts._thick_slices(line, 0, 2).flatten().tolist()
    assert found == pytest.approx([4.0, 4.5, 5.5, 6.25, 6.75])  # of the means 4, 6 and 7


def test_streaks_come_from_bone_and_lie_in_its_slices():
    image = torch.full((16, 16, 12), 0.5)
    image[5, 9, :4] = 1.4
    found = artefacts._cone_beam(image, np.random.default_rng(3))
    assert found.isfinite().all()
    streaked = found[:, :, :4].std(dim=2)
    plain = found[:, :, 4:]
    assert (plain - plain[:, :, :1]).abs().max() < 1e-5
    assert streaked.max() < 1e-5  # the rod is the same in its slices
    streaks = (found[:, :, 0] - found[:, :, 8]).clone()
    streaks[5, 9] = 0
    assert streaks.abs().max() > 0.05
    assert (streaks.abs() > 0.02).float().mean() < 0.7  # along rays, not everywhere
    # Cupping: what is left of an even image is darkest in the middle, alike in all directions.
    cup = plain[:, :, 0]
    torch.testing.assert_close(cup, cup.flip(0))
    torch.testing.assert_close(cup, cup.T)
    assert cup[0, 0] > cup[8, 8]


@pytest.mark.parametrize("value", [0.0, 0.5, 1.3])
def test_even_images_survive_the_cone_beam(value):
    found = artefacts._cone_beam(torch.full((8, 8, 8), value), np.random.default_rng(1))
    assert found.isfinite().all()
    assert found.abs().max() < 3


@pytest.mark.parametrize("seed", range(6))
def test_noise_of_ct_and_mr(seed):
    even = torch.full((30, 30, 30), 10.0)
    # The magnitude of noise alone is Rayleigh distributed: mean (pi / 2)^0.5, deviation (2 - pi / 2)^0.5.
    magnitude = artefacts._noise(0 * even, np.random.default_rng(seed), rician=True)
    strength = float(magnitude.mean()) / (np.pi / 2) ** 0.5
    assert 0 < strength < 0.15
    assert magnitude.min() >= 0
    assert float(magnitude.std()) == pytest.approx(strength * (2 - np.pi / 2) ** 0.5, rel=0.03)
    added = (artefacts._noise(even, np.random.default_rng(seed), rician=False) - even)[2:-2, 2:-2, 2:-2]
    neighbours = float(torch.corrcoef(torch.stack([added[1:].flatten(), added[:-1].flatten()]))[0, 1])
    kernel = np.exp(-0.5 * (np.arange(-2, 3) / 0.6) ** 2)
    blurred = 1.8 * np.square(kernel / kernel.sum()).sum() ** 1.5
    assert float(added.std()) == pytest.approx(strength * (blurred if neighbours > 0.2 else 1), rel=0.03)
    assert abs(float(added.mean())) < 0.05 * strength + 1e-5


def test_noise_is_white_or_correlated():
    found = []
    for seed in range(12):
        noise = artefacts._noise(torch.zeros(20, 20, 20), np.random.default_rng(seed), rician=False)
        pair = torch.stack([noise[:, 1:].flatten(), noise[:, :-1].flatten()])
        found.append(float(torch.corrcoef(pair)[0, 1]))
    assert min(found) == pytest.approx(0, abs=0.05)
    assert 0.3 < max(found) < 0.7


@pytest.mark.parametrize("is_ct", [True, False])
def test_a_degraded_image_is_still_that_image(is_ct):
    image = torch.from_numpy(np.kron(np.random.default_rng(0).random((5, 5, 5)), np.ones((5, 5, 5)))).float()
    for seed in range(25):
        found = degrade(image, np.random.default_rng(seed), is_ct=is_ct)
        assert found.shape == image.shape
        assert found.dtype == torch.float32
        assert found.isfinite().all()
        likeness = torch.corrcoef(torch.stack([found.flatten(), image.flatten()]))[0, 1]
        assert 0.5 < likeness < 0.999, seed
    torch.testing.assert_close(found, degrade(image, np.random.default_rng(24), is_ct=is_ct))
