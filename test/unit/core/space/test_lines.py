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

    monkeypatch.setattr(separable, "_multiplied", None)  # no whole matrix is taken
    given = volume.detach().clone()
    found = apply_along_axes(volume, along)
    (gradient,) = torch.autograd.grad(found, volume, incoming)
    assert torch.equal(volume, given)
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


def test_what_is_filtered_in_place_is_what_it_would_be_apart():
    """In place from the second axis on, in more columns than are kept together; 41 rows become 36."""
    generator = torch.Generator().manual_seed(4)
    volume = torch.randn(2, 30, 41, 333, generator=generator)
    along = [box_matrix(30, 3, 2), torch.eye(41).roll(3, 0)[:36], box_matrix(333, 5, 2)]
    apart = volume
    for axis, matrix in enumerate(along):
        apart = apply_along_axes(
            apart, [torch.eye(n) if a != axis else matrix for a, n in enumerate(apart.shape[1:])]
        )
    assert torch.equal(apply_along_axes(volume, along), apart)
    square = [box_matrix(n, 3, 2) for n in volume.shape[1:]]
    once = apply_along_axes(volume.movedim(1, 2), [square[1], square[0], square[2]]).movedim(1, 2)
    assert torch.allclose(apply_along_axes(volume, square), once, atol=1e-6)


def test_threads_move_no_bit():
    volume = torch.randn(2, 30, 41, 333, generator=torch.Generator().manual_seed(5))
    along = [box_matrix(n, 3, 3) for n in volume.shape[1:]]
    kept, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(apply_along_axes(volume, along))
    finally:
        torch.set_num_threads(kept)
    assert torch.equal(*found)
