"""What is found from half of an image, judged by the other half."""

import numpy as np
import pytest
import torch

from dinoreg.optimise.instance.held_out import checkerboard, held_out_gain, worth_of_freedom


@pytest.mark.parametrize("shape", [(5, 7, 9), (6, 8), (4, 1, 6)])
@pytest.mark.parametrize("block", [1, 2, 3])
def test_blocks_alternate_along_every_axis(shape, block):
    found = checkerboard(shape, block)
    expected = (np.indices(shape) // block).sum(axis=0) % 2 == 1
    np.testing.assert_array_equal(found[0], expected)


def test_each_fit_sees_one_half_and_is_judged_by_the_other():
    weight = torch.rand(1, 6, 5, 7)
    counted, fitted_to = [], []

    def term(cells):
        counted.append(cells)
        return lambda found: found * cells.sum()

    def fit(own, smoothness):
        fitted_to.append(float(own(torch.ones(()))))
        return torch.tensor(smoothness)

    assert held_out_gain(weight, term, fit, 4.0) == pytest.approx(1 - 0.35)
    left_out, fitted = counted
    assert fitted_to == [float(fitted.sum())] * 2
    torch.testing.assert_close(left_out + fitted, weight)
    assert not (left_out * fitted).any()
    assert left_out.any()
    assert fitted.any()


def test_nothing_left_out_says_nothing():
    assert held_out_gain(torch.ones(1, 1, 1), lambda _: torch.sum, lambda *_: torch.zeros(3), 2.0) == 0


@pytest.mark.parametrize(("gain", "worth"), [(-1, 0), (0.03, 0), (0.04, 0.5), (0.05, 1), (1, 1)])
def test_a_gain_is_worth_more_the_larger_it_is(gain, worth):
    assert worth_of_freedom(gain) == pytest.approx(worth)
