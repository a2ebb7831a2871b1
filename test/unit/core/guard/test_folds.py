import numpy as np
import pytest
import torch
from core_reference import SHAPE, smooth_displacement

from dinoreg.guard import folds
from dinoreg.guard.folds import repair_folds
from dinoreg.space.jacobian import jacobian_determinant


def _folded(shape, rng=None):
    """A field with a sharp fold near the low corner, (rank, *shape)."""
    field = torch.zeros(len(shape), *shape)
    if rng is not None:
        field += torch.from_numpy(smooth_displacement(shape, rng, 1.0))
    at = tuple(slice(4, 7) if n > 1 else slice(None) for n in shape)
    field[(0, *at)] += 4.0
    field[(len(shape) - 1, *at)] -= 3.0
    return field


def _folds(field):
    return int((jacobian_determinant(field) <= 0).sum())


@pytest.mark.parametrize("shape", [SHAPE, (20, 26), (20, 26, 1), (20, 1, 34)])
def test_all_folds_go(shape, rng):
    field = _folded(shape, rng)
    repaired, report = repair_folds(field, max_fraction=0.0)
    assert report.before == _folds(field) > 0
    assert report.after == _folds(repaired) == 0
    assert report.voxels == np.prod(shape)
    assert report.largest_change == pytest.approx(float((repaired - field).abs().max()))


def test_the_far_region_is_untouched_bit_for_bit(rng):
    shape = (20, 26, 80)
    field = _folded(shape, rng)
    repaired, report = repair_folds(field, max_fraction=0.0)
    assert report.after == 0
    # The largest reach is 12: 2 * 12 + 1 voxels whole, as many as 12 falling.
    assert torch.equal(repaired[..., 7 + 38 :], field[..., 7 + 38 :])
    touched = (repaired != field).any(dim=0).any(dim=0).any(dim=0)
    assert touched[4:7].all()
    assert touched.nonzero().max() < 20  # and in fact a small reach was enough


def test_the_input_is_not_written_to(rng):
    field = _folded(SHAPE, rng)
    copy = field.clone()
    repair_folds(field, max_fraction=0.0)
    assert torch.equal(field, copy)


@pytest.mark.parametrize("shape", [SHAPE, (20, 26), (1, 1, 1)])
def test_a_field_without_folds_is_returned_as_it_is(shape, rng):
    for field in (torch.zeros(len(shape), *shape), torch.from_numpy(_without_folds(shape, rng))):
        repaired, report = repair_folds(field, max_fraction=0.0)
        assert repaired is field
        assert (report.before, report.after, report.largest_change) == (0, 0, 0.0)


def _without_folds(shape, rng):
    return smooth_displacement(shape, rng, 1.0) if min(shape) > 1 else np.zeros((3, *shape), np.float32)


def test_few_enough_folds_are_left_alone():
    field = _folded(SHAPE)
    before = _folds(field)
    share = before / np.prod(SHAPE)
    repaired, report = repair_folds(field, max_fraction=share)
    assert repaired is field
    assert report.after == before
    repaired, report = repair_folds(field, max_fraction=0.99 * share)
    assert repaired is not field
    assert report.after < before


def test_working_in_a_box_around_the_folds_changes_nothing(rng, monkeypatch):
    field = _folded((30, 34, 40), rng)
    field[1, 20:23, 20:23, 26:29] += 9.0  # takes a larger reach than the first fold
    boxed, report = repair_folds(field, max_fraction=0.0)
    assert report.after == 0
    monkeypatch.setattr(folds, "_around", lambda bad, margin: tuple(slice(0, n) for n in bad.shape))
    whole, _ = repair_folds(field, max_fraction=0.0)
    torch.testing.assert_close(boxed, whole, atol=1e-5, rtol=0)
