import numpy as np
import pytest

from dinoreg.pretrain.anatomy.noise import noise_array, smooth_noise


def test_mean_and_spread():
    values = smooth_noise((60, 40, 52), 4.0, np.random.default_rng(1), channels=6).numpy()
    assert values.shape == (6, 60, 40, 52)
    assert values.dtype == np.float32
    # About (15 * 10 * 13) ** -0.5 = 0.02, and more as neighbours resemble each other.
    np.testing.assert_allclose(values.mean(axis=(1, 2, 3)), 0, atol=0.25)
    np.testing.assert_allclose(values.mean(), 0, atol=0.1)
    np.testing.assert_allclose(values.std(axis=(1, 2, 3)), 1, atol=0.1)
    assert abs(np.corrcoef(values.reshape(6, -1))[np.triu_indices(6, 1)]).max() < 0.15


@pytest.mark.parametrize("wavelength", [4.0, 8.0])
def test_the_spectrum_is_that_of_cubic_splines(wavelength):
    """Independent control points under a spline whose transform is sinc^4 (Unser 1999, eq. 8)."""
    size = 128
    values = smooth_noise((40, size, 52), wavelength, np.random.default_rng(2), channels=3).numpy()
    window = np.hanning(size).reshape(-1, 1)
    power = (np.abs(np.fft.rfft(values * window, axis=2)) ** 2).mean(axis=(0, 1, 3))
    frequency = np.fft.rfftfreq(size)
    expected = np.sinc(frequency * wavelength) ** 8
    for bound, tolerance in ((0.1, 0.08), (0.2, 0.08), (0.3, 0.05), (0.5, 0.003), (1.0, 3e-5)):
        above = frequency > bound / wavelength
        share = power[above].sum() / power.sum()
        assert share == pytest.approx(expected[above].sum() / expected.sum(), abs=tolerance)


def test_the_generator_decides():
    first = noise_array((9, 12, 7), 3.0, np.random.default_rng(5))
    np.testing.assert_array_equal(first, noise_array((9, 12, 7), 3.0, np.random.default_rng(5)))
    assert np.abs(first - noise_array((9, 12, 7), 3.0, np.random.default_rng(6))).max() > 0.5


def test_a_wavelength_beyond_the_size_still_varies(rng):
    assert noise_array((8, 6, 9), 100.0, rng).std() > 0.01
