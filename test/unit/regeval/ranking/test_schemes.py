"""Scores against examples worked by hand."""

import numpy as np
import pytest

from regeval.ranking import COMPONENT_WEIGHTS, Metric, Scheme

ACCURACY = (Metric("DSC", True, "accuracy"), Metric("HD95", False, "accuracy"))
REGULARITY = Metric("LogJacDetStd", False, "regularity")


def scheme(method, metrics=(*ACCURACY, REGULARITY), weights=(1.0, 1.0, 1.0), test="rank-sum"):
    return Scheme(method, metrics, weights, COMPONENT_WEIGHTS, test)


def wins(*pairs, runs=4):
    matrix = np.zeros((runs, runs), bool)
    for winner, loser in pairs:
        matrix[winner, loser] = True
    return matrix


def test_l2r_rank_scores_with_ties():
    # 0 beats all, 1 and 2 beat 3 only. Losses 0, 1, 1, 3: places 1.0, (0.4 + 0.7) / 2 twice, 0.1.
    beaten = wins((0, 1), (0, 2), (0, 3), (1, 3), (2, 3))
    scores = scheme("l2r").metric_scores(beaten[None])[0]
    np.testing.assert_allclose(scores, [1.0, 0.55, 0.55, 0.1])
    np.testing.assert_allclose(scheme("l2r").metric_scores(wins()[None])[0], [0.55] * 4)


def test_l2r_total_is_the_weighted_geometric_mean():
    scores = np.array([[1.0, 0.1], [0.1, 1.0], [0.55, 0.55]])
    equal = scheme("l2r").totals(scores)
    np.testing.assert_allclose(equal, (1.0 * 0.1 * 0.55) ** (1 / 3))
    tilted = scheme("l2r", weights=(3.0, 1.0, 1.0)).totals(scores)
    np.testing.assert_allclose(tilted, [(1.0**3 * 0.1 * 0.55) ** (1 / 5), (0.1**3 * 1.0 * 0.55) ** (1 / 5)])


@pytest.mark.parametrize("test", ["rank-sum", "signed-rank"])
def test_l2r_sees_the_direction_of_significant_differences(test):
    steps = np.linspace(0, 1, 8)
    goodness = np.stack([steps + 5, steps + 0.001, steps])[None]  # 0 is far better than 1 and 2
    found = scheme("l2r", ACCURACY[:1], (1.0,), test).wins(goodness)[0]
    expected = wins((0, 1), (0, 2), runs=3)
    if test == "signed-rank":  # paired: a difference that is small but always there counts
        expected[1, 2] = True
    np.testing.assert_array_equal(found, expected)


def test_holm_corrects_over_all_ordered_pairs_of_a_metric():
    # All of N differences positive: p = 1 / 2^N; 3 runs are 6 comparisons. 1/64 x 6 > 0.05, 1/128 x 6 < 0.05.
    for cases, counts in ((6, False), (7, True)):
        goodness = np.arange(3.0)[:, None] * np.ones(cases) + np.arange(cases) * 0.01
        goodness += np.random.default_rng(1).uniform(0, 0.1, goodness.shape)
        found = scheme("wilcoxon-holm", ACCURACY[:1], (1.0,)).wins(goodness[None])[0]
        assert found[2, 0] == counts
        assert not found[0].any()


def test_published_example_of_psmareg():
    # Learn2Reg 2026, fourth place, K = 16: beats 9, 4, 4, 2 on accuracy, 3 on regularity; here without the
    # component of lesion volumes. Accuracy (10 + 5 + 5 + 3) / 4 / 16 = 0.359, regularity 4 / 16 = 0.25.
    metrics = (*(Metric(name, True, "accuracy") for name in "abcd"), REGULARITY)
    won = np.zeros((5, 16, 16), bool)
    for row, count in enumerate((9, 4, 4, 2, 3)):
        won[row, 0, 1 : count + 1] = True
    psma = scheme("wilcoxon-holm", metrics, (1.0,) * 5)
    scores = psma.metric_scores(won)
    components = psma.component_scores(scores, None)
    assert components["accuracy"][0] == pytest.approx(23 / 64)
    assert components["regularity"][0] == pytest.approx(0.25)
    assert psma.totals(scores)[0] == pytest.approx(100 * (23 / 64) ** (2 / 3) * 0.25 ** (1 / 3))


def test_cap_and_gate():
    # Run 3 does not move: beats all on regularity, nobody on accuracy. Run 0 beats it on one of two metrics.
    won = np.stack([wins((0, 3)), wins((1, 2)), wins((3, 0), (3, 1), (3, 2))])
    holm = scheme("wilcoxon-holm")
    np.testing.assert_array_equal(holm.gate(won, reference=3), [True, False, False, False])
    scores = holm.metric_scores(won)
    np.testing.assert_allclose(scores[2], [0.25, 0.25, 0.25, 1.0])
    capped = holm.component_scores(scores, np.ones(4, bool))
    np.testing.assert_allclose(capped["regularity"], [0.25, 0.25, 0.25, 0.25])  # accuracy of 3 is 1 / 4
    gated = holm.component_scores(scores, holm.gate(won, 3))
    np.testing.assert_allclose(gated["accuracy"], [0.375, 0.375, 0.25, 0.25])
    np.testing.assert_allclose(gated["regularity"], 0.25)


def test_batches_are_many_single_rankings():
    goodness = np.random.default_rng(2).normal(size=(3, 5, 4, 8)).cumsum(axis=2)  # metric, sample, run, case
    for method in ("l2r", "wilcoxon-holm"):
        one = scheme(method)
        batch = one.wins(goodness)
        for sample in range(5):
            np.testing.assert_array_equal(batch[:, sample], one.wins(goodness[:, sample]))
        totals = one.totals(one.metric_scores(batch), one.gate(batch, 0))
        alone = one.wins(goodness[:, 4])
        np.testing.assert_allclose(totals[4], one.totals(one.metric_scores(alone), one.gate(alone, 0)))
