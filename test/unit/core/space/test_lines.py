"""Narrow matrices along one axis: the compiled band gives what the whole matrix gives."""

import pytest
import torch

from dinoreg.space import separable
from dinoreg.space.separable import apply_along_axes, box_matrix, interpolation_matrix

SHAPE = (30, 41, 33)


def matrices(kind):
    if kind == "box":
        return [box_matrix(n, 3, 3) for n in SHAPE]
    if kind == "zero border":
        return [box_matrix(n, 3, 1, border="zero") for n in SHAPE]
    if kind == "finer":
        return [interpolation_matrix(2 * n - 1, n, 2.0) for n in SHAPE]
    return [torch.eye(n).roll(3, 0)[: n - 5] for n in SHAPE]


@pytest.mark.parametrize("kind", ["box", "zero border", "finer", "picked"])
def test_band_equals_the_whole_matrix_with_gradient(kind, monkeypatch):
    generator = torch.Generator().manual_seed(3)
    volume = torch.randn(2, *SHAPE, generator=generator, requires_grad=True)
    along = matrices(kind)
    expected = volume.double()
    for axis, matrix in enumerate(along, start=1):
        expected = torch.tensordot(expected, matrix.double(), dims=([axis], [1])).movedim(-1, axis)
    incoming = torch.randn(expected.shape, generator=generator)
    (expected_gradient,) = torch.autograd.grad((expected * incoming).sum(), volume)

    banded = []
    kept = separable._filter
    monkeypatch.setattr(separable, "_filter", lambda *given: banded.append(given[2]) or kept(*given))
    found = apply_along_axes(volume, along)
    (gradient,) = torch.autograd.grad((found * incoming).sum(), volume)
    assert sorted(banded) == [1, 1, 2, 2, 3, 3]
    assert torch.allclose(found.double(), expected, atol=1e-5)
    assert torch.allclose(gradient, expected_gradient, atol=1e-5)


def test_wide_matrices_small_volumes_and_doubles_are_multiplied_whole(monkeypatch):
    monkeypatch.setattr(separable, "_filter", None)
    volume = torch.ones(2, *SHAPE)
    wide = [torch.full((n, n), 1 / n) for n in SHAPE]
    narrow = [box_matrix(n, 3, 1) for n in SHAPE]
    assert torch.allclose(apply_along_axes(volume, wide), volume, atol=1e-5)
    small = torch.ones(1, *SHAPE[:2], 20)
    assert small.numel() < separable._FEWEST_VALUES
    assert torch.allclose(apply_along_axes(small, [*narrow[:2], box_matrix(20, 3, 1)]), small)
    apply_along_axes(volume.double(), [m.double() for m in narrow])
