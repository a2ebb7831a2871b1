"""The tests against scipy and against sums done by hand."""

import numpy as np
import pytest
from scipy import stats

from regeval.ranking.significance import holm, rank_sum, signed_rank_greater


@pytest.mark.parametrize(("cases", "method"), [(6, "exact"), (25, "exact"), (40, "asymptotic")])
def test_signed_rank_is_scipys(cases, method):
    differences = np.random.default_rng(cases).normal(0.2, 1, (7, 3, cases))
    expected = stats.wilcoxon(differences, alternative="greater", method=method, axis=-1).pvalue
    np.testing.assert_allclose(signed_rank_greater(differences), expected, rtol=1e-12)


def test_signed_rank_with_ties_is_scipys_permutation_test():
    differences = np.round(np.random.default_rng(3).normal(0.4, 1, (12, 9)) * 2) / 2
    expected = [
        stats.wilcoxon(row[row != 0], alternative="greater", method=stats.PermutationMethod()).pvalue
        for row in differences
    ]
    np.testing.assert_allclose(signed_rank_greater(differences), expected, rtol=1e-12)


def test_signed_rank_by_hand():
    # |d| ranks 1, 2, 3; positive ranks 2 + 3 = 5; of the 8 sign patterns two reach 5 or more: {2,3}, {1,2,3}.
    assert signed_rank_greater(np.array([-0.1, 0.2, 0.3])) == pytest.approx(2 / 8)
    # The zero is left out: one pattern of four.
    assert signed_rank_greater(np.array([0.0, 0.2, 0.3])) == pytest.approx(1 / 4)
    assert signed_rank_greater(np.zeros(5)) == 1


def test_signed_rank_of_many_is_that_of_each():
    differences = np.random.default_rng(0).normal(size=(9000, 22))  # more than one chunk
    p = signed_rank_greater(differences)
    some = [0, 4500, 8999]
    np.testing.assert_allclose(p[some], [signed_rank_greater(differences[n]) for n in some])


def test_rank_sum_is_scipys():
    rng = np.random.default_rng(5)
    a, b = rng.normal(0.5, 1, (6, 11)), np.round(rng.normal(size=(6, 8)), 1)
    z, p = rank_sum(a, b)
    expected = [stats.ranksums(one, other) for one, other in zip(a, b, strict=True)]
    np.testing.assert_allclose(z, [result.statistic for result in expected])
    np.testing.assert_allclose(p, [result.pvalue for result in expected])


def test_holm_by_hand():
    # Ascending 0.005 x 4, 0.01 x 3, 0.03 x 2, 0.04 x 1, never falling: 0.02, 0.03, 0.06, 0.06.
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm(np.array([[0.6, 0.5], [0.01, 0.9]])), [[1, 1], [0.02, 0.9]])
