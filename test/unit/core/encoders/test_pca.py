import numpy as np
import pytest
import torch

from dinoreg.encoders.pca import fit_basis, read_basis, write_basis
from dinoreg.errors import ConfigError


def _tokens(rng, count=500, channels=12):
    """Correlated, far from the origin, with a clear order of the variances."""
    mixing = np.linalg.qr(rng.standard_normal((channels, channels)))[0] * 0.7 ** np.arange(channels)
    return rng.standard_normal((count, channels)) @ mixing.T + 5 * rng.standard_normal(channels)


def test_is_the_svd_of_the_centred_tokens(rng):
    tokens = _tokens(rng)
    basis = fit_basis([torch.from_numpy(tokens[:123]), torch.from_numpy(tokens[123:])], 5)
    centred = tokens - tokens.mean(axis=0)
    _, singular, vectors = np.linalg.svd(centred, full_matrices=False)
    for found, expected in zip(basis.components.T.numpy(), vectors[:5], strict=True):
        assert abs(found @ expected) == pytest.approx(1, abs=1e-9)
    np.testing.assert_allclose(basis.explained, (singular**2 / (singular**2).sum())[:5], rtol=1e-9)
    assert float(basis.explained.sum()) < 1  # against the total, not against what was kept
    np.testing.assert_allclose(basis.mean, tokens.mean(axis=0))
    projected = basis.project(torch.from_numpy(tokens)).numpy()
    np.testing.assert_allclose(np.abs(projected), np.abs(centred @ vectors[:5].T), atol=1e-5)


def test_signs_are_fixed_and_splitting_changes_nothing(rng):
    tokens = torch.from_numpy(_tokens(rng))
    basis = fit_basis([tokens], 6)
    largest = basis.components.gather(0, basis.components.abs().argmax(dim=0, keepdim=True))
    assert bool((largest > 0).all())
    again = fit_basis(list(tokens.flip(0).split(7)), 6)
    torch.testing.assert_close(again.components, basis.components, atol=1e-10, rtol=0)
    mirrored = fit_basis([-tokens], 6)
    torch.testing.assert_close(mirrored.components, basis.components, atol=1e-10, rtol=0)


def test_half_precision_tokens_are_summed_in_double(rng):
    tokens = torch.from_numpy(_tokens(rng, count=20_000)).half()
    basis = fit_basis([tokens], 4)
    np.testing.assert_allclose(basis.mean, tokens.double().mean(dim=0), rtol=1e-10)


def test_the_uncentred_projection_keeps_the_mean(rng):
    tokens = torch.from_numpy(_tokens(rng))
    basis = fit_basis([tokens], 4)
    np.testing.assert_allclose(basis.project(tokens).mean(dim=0), np.zeros(4), atol=1e-5)
    plain = basis.project(tokens, centred=False)
    np.testing.assert_allclose(plain, tokens @ basis.components, atol=1e-5)
    assert float(plain.mean(dim=0).abs().max()) > 1


@pytest.mark.parametrize(("count", "channels", "kept"), [(500, 3, 3), (4, 12, 3), (1, 12, 1), (500, 12, 8)])
def test_fewer_components_where_there_are_no_more(count, channels, kept, rng):
    tokens = torch.from_numpy(rng.standard_normal((count, channels)))
    basis = fit_basis([tokens], 8)
    assert basis.components.shape == (channels, kept)
    assert basis.project(tokens).shape == (count, kept)
    assert bool(basis.components.isfinite().all())


def test_equal_tokens_give_zero(rng):
    tokens = torch.ones(50, 6)
    basis = fit_basis([tokens], 3)
    np.testing.assert_allclose(basis.project(tokens), np.zeros((50, 3)), atol=1e-6)
    assert float(basis.explained.sum()) <= 1


def test_no_token_at_all_is_refused():
    with pytest.raises(ValueError, match="needs tokens"):
        fit_basis([torch.empty(0, 5)], 3)


def test_a_saved_basis_reads_back(tmp_path, rng):
    basis = fit_basis([torch.from_numpy(_tokens(rng))], 5)
    write_basis(tmp_path / "basis.safetensors", basis)
    again = read_basis(tmp_path / "basis.safetensors", channels=12)
    for name in ("mean", "components", "explained"):
        assert torch.equal(getattr(again, name), getattr(basis, name))


def test_a_basis_that_does_not_fit_is_refused(tmp_path, rng):
    path = tmp_path / "basis.safetensors"
    write_basis(path, fit_basis([torch.from_numpy(_tokens(rng))], 5))
    with pytest.raises(ConfigError, match="does not fit the encoder"):
        read_basis(path, channels=384)
    path.write_bytes(b"no tensors here")
    with pytest.raises(ConfigError, match="not readable"):
        read_basis(path, channels=12)
    with pytest.raises(ConfigError, match="not readable"):
        read_basis(tmp_path / "absent.safetensors", channels=12)
