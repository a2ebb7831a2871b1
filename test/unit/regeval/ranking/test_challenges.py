"""The rankings of challenges: published figures, sums by hand, and plain loops over scipy's tests."""

import itertools
import json

import numpy as np
import pytest
from scipy import stats

from regeval.ranking import COMPONENT_WEIGHTS, REFERENCE, Metric, Scheme, prepare, rank_runs, read_run
from regtask.errors import DataError

# Learn2Reg 2026, PSMAReg, official results of 2026-10-09, K = 16: significance scores times 16 of CT and PET
# Dice, CT and PET HD95, MTV, TLG, NDV; then the three components and the final score as printed.
PUBLISHED = {
    "neeldey": ((13, 14, 15, 7, 10, 14, 9), (0.7656, 0.75, 0.5625), 71.39),
    "MIAgent": ((13, 16, 12, 16, 2, 3, 6), (0.8906, 0.1562, 0.375), 37.34),
    "tinymilky": ((14, 4, 15, 2, 2, 4, 9), (0.5469, 0.1875, 0.5469), 35.64),
    "shishuyue": ((10, 5, 5, 3, 6, 7, 4), (0.3594, 0.3594, 0.25), 33.42),
    "longlai0000": ((5, 5, 3, 3, 15, 14, 8), (0.25, 0.25, 0.25), 25.0),
    "housheng": ((16, 5, 13, 4, 1, 2, 1), (0.5938, 0.0938, 0.0625), 18.09),
    "royxue07": ((2, 2, 2, 2, 9, 9, 9), (0.125, 0.0625, 0.0625), 8.25),  # does not pass the gate
}
CASES = [f"{n:04d}_0000<--{n:04d}_0001" for n in range(1, 9)]
LABELS = (1, 2, 5)


def test_published_scores_of_psmareg():
    names = ("CT_DSC", "PET_DSC", "CT_HD95", "PET_HD95", "MTV", "TLG", "NDV")
    kinds = ("accuracy",) * 4 + ("biomarker",) * 2 + ("regularity",)
    metrics = tuple(Metric(name, "DSC" in name, kind) for name, kind in zip(names, kinds, strict=True))
    scheme = Scheme("psmareg", metrics, (1.0,) * 7, COMPONENT_WEIGHTS)
    scores = np.full((7, 16), 1 / 16)  # the other teams do not matter
    scores[:, : len(PUBLISHED)] = np.array([row for row, _, _ in PUBLISHED.values()]).T / 16
    passed = np.array([name != "royxue07" for name in PUBLISHED] + [True] * (16 - len(PUBLISHED)))
    components, totals = scheme.component_scores(scores, passed), scheme.totals(scores, passed)
    for number, (name, (_, expected, final)) in enumerate(PUBLISHED.items()):
        found = [float(of[number]) for of in components.values()]
        assert found == pytest.approx(expected, abs=6e-5), name
        assert float(totals[number]) == pytest.approx(final, abs=6e-3), name


def metrics_file(path, values, before, kinds, ndv=None, cases=CASES):
    """Write what `regeval evaluate` writes, from metric -> (cases, details)."""

    def written(of):
        return {
            case: {
                name: {
                    "mean": None if np.isnan(rows[n]).all() else float(np.nanmean(rows[n])),
                    "detailed": [None if not np.isfinite(one) else float(one) for one in rows[n]],
                }
                for name, rows in of.items()
            }
            | ({"NDV_percent": {"mean": float(ndv[n] if of is values else 0)}} if ndv is not None else {})
            for n, case in enumerate(cases)
        }

    content = {
        "name": "Knee",
        "cases": written(values),
        "mode": "strict",
        "masked": False,
        "metrics": {
            name: {"name": name, "metric": kind} | ({"labels": list(LABELS)} if kind != "tre" else {})
            for name, kind in kinds.items()
        },
        "reference": {"name": "identity", "cases": written(before)},
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    return read_run(path.stem, path)


@pytest.fixture
def labelled(tmp_path):
    """Three runs with labels, hard to tell apart, one label lost and one absent; and the identity."""
    rng = np.random.default_rng(11)

    def made(dice, distance, spread):
        values = {
            "DSC": np.clip(dice + rng.normal(0, 0.06, (8, 3)), 0, 1),
            "HD95": np.abs(distance + rng.normal(0, 1.2, (8, 3))),
            "LogJacDetStd": spread + np.abs(rng.normal(0, 0.02, (8, 1))),
        }
        values["DSC"][2, 1], values["HD95"][2, 1] = np.nan, np.nan  # absent from the images of case 3
        return values

    before = made(0.4, 9.0, 0.0)
    before["LogJacDetStd"][:] = 0
    kinds = {"DSC": "dice", "HD95": "hd95", "LogJacDetStd": "sdlogj"}
    runs = []
    for name, numbers in {"a": (0.7, 5, 0.2), "b": (0.66, 6, 0.1), "c": (0.5, 8, 0.3)}.items():
        values = made(*numbers)
        if name == "c":
            values["DSC"][0, 0], values["HD95"][0, 0] = 0.0, np.inf
        runs.append(metrics_file(tmp_path / f"{name}.json", values, before, kinds))
    return runs


def places(samples, higher):
    """Learn2Reg's scores of a metric from lists of samples, one test after the other."""
    samples = [np.asarray(one) * (1 if higher else -1) for one in samples]
    losses = []
    for own in samples:
        tests = [stats.ranksums(other, own) for other in samples]
        losses.append(sum(one.statistic > 0 and one.pvalue < 0.05 for one in tests))
    scale = np.linspace(0.1, 1, len(samples))
    order = sorted(losses, reverse=True)
    return [np.mean([scale[n] for n, loss in enumerate(order) if loss == own]) for own in losses]


def standings(prepared, **more):
    board = rank_runs(prepared.results, prepared.scheme, bootstrap=0, **more)
    return {one.run: one for one in board.standings}


def test_learn2reg_with_labels_is_a_plain_loop(labelled):
    runs = [*labelled, labelled[0].reference]
    dice = [[v if v == v else 0.0 for c in CASES for v in run.detailed[c]["DSC"]] for run in runs]
    far = [[v if np.isfinite(v) else 10.0 for c in CASES for v in run.detailed[c]["HD95"]] for run in runs]
    hard = sorted(range(24), key=lambda n: dice[3][n])[:7]  # round(0.3 x 24)
    rough = [[run.scores[c]["LogJacDetStd"] for c in CASES] for run in runs[:3]] + [[1.5] * 8]
    columns = [
        places(dice, True),
        places([[row[n] for n in hard] for row in dice], True),
        places(far, False),
        places(rough, False),
    ]
    found = standings(prepare("learn2reg", labelled), unranked=[REFERENCE])
    for number, name in enumerate(("a", "b", "c", REFERENCE)):
        assert found[name].score == pytest.approx(np.prod([column[number] for column in columns]) ** 0.25)
        assert found[name].means["DSC"] == pytest.approx(np.mean(dice[number]))
        assert found[name].means["HD95"] == pytest.approx(np.mean(far[number]))
    assert len({one.score for one in found.values()}) == 4
    assert found[REFERENCE].metric_scores["LogJacDetStd"] == pytest.approx(0.1)
    assert found[REFERENCE].rank is None
    # A case without any of the hardest labels lacks nothing.
    assert np.isnan(prepare("learn2reg", labelled).results.values[1, 0]).any()
    assert found["a"].without_number["DSC30"] == 0


def test_learn2reg_with_landmarks_by_hand(tmp_path):
    # 10 landmarks a case: the hardest are the 3 that start worst. `a` halves every error, `b` only those.
    start = np.tile(np.arange(10.0, 20.0), (8, 1)) + np.arange(8)[:, None] * 0.01
    halved = start / 2
    b = start.copy()
    b[:, 7:] = halved[:, 7:]
    kinds = {"TRE_lm": "tre", "LogJacDetStd": "sdlogj"}
    still, some = np.zeros((8, 1)), np.linspace(0.1, 0.2, 8)[:, None]
    runs = [
        metrics_file(
            tmp_path / f"{name}.json",
            {"TRE_lm": values, "LogJacDetStd": some},
            {"TRE_lm": start, "LogJacDetStd": still},
            kinds,
        )
        for name, values in (("a", halved), ("b", b))
    ]
    made = prepare("learn2reg", runs)
    assert [one.name for one in made.results.metrics] == ["TRE_lm", "TRE_lm30", "LogJacDetStd"]
    assert made.scheme.weights == (2.0, 1.0, 1.0)
    found = standings(made, unranked=[REFERENCE])
    assert found["a"].means["TRE_lm30"] == pytest.approx(np.mean([8.5, 9.0, 9.5]) + 0.0175)
    # TRE: a beats b and the start, b beats the start: 1, 0.55, 0.1. TRE30: a and b alike, 0.775, start 0.1.
    # Smoothness: alike 0.775; the start counts as 5: 0.1.
    assert found["a"].score == pytest.approx((1**2 * 0.775 * 0.775) ** 0.25)
    assert found["b"].score == pytest.approx((0.55**2 * 0.775 * 0.775) ** 0.25)
    assert found[REFERENCE].score == pytest.approx(0.1)


@pytest.mark.parametrize("seed", range(4))
def test_bootstrap_of_samples_draws_cases(labelled, seed):
    made = prepare("learn2reg", labelled)
    board = rank_runs(made.results, made.scheme, bootstrap=3, seed=seed, unranked=[REFERENCE])
    ranks = []
    for draw in np.random.default_rng(seed).integers(8, size=(3, 8)):
        columns = []
        for goodness, case_of in made.results.tested():
            where = [n for case in draw for n in range(len(case_of)) if case_of[n] == case]
            columns.append(places(goodness[:, where], True))
        score = np.prod(columns, axis=0)[:3] ** 0.25
        ranks.append([1 + int((score > own + 1e-9).sum()) for own in score])
    for name, column in zip("abc", zip(*ranks, strict=True), strict=True):
        interval = next(one.interval for one in board.standings if one.run == name)
        assert interval == (min(column), max(column))


def signed_rank(a, b):
    """One-sided p by all signs of the differences that are not 0."""
    d = (np.array(a) - np.array(b))[np.array(a) != np.array(b)]
    if not d.size:
        return 1.0
    rank = stats.rankdata(abs(d))
    sums = [rank @ signs for signs in itertools.product((0, 1), repeat=len(d))]
    return np.mean(np.array(sums) >= rank[d > 0].sum() - 1e-9)


def stepped(p):
    """Which of several p-values Holm rejects, one after the other."""
    rejected = set()
    for step, key in enumerate(sorted(p, key=p.get)):
        if p[key] * (len(p) - step) >= 0.05:
            break
        rejected.add(key)
    return rejected


@pytest.fixture
def patients(tmp_path):
    """Three teams on eight patients, both directions each; `lazy` is smooth and does nothing for accuracy."""
    rng = np.random.default_rng(5)
    cases = [f"{n:04d}_0000<--{n:04d}_0001" for n in range(8)] + [
        f"{n:04d}_0001<--{n:04d}_0000" for n in range(8)
    ]
    kinds = {"DSC": "dice", "HD95": "hd95"}
    before = {"DSC": 0.3 + rng.normal(0, 0.02, (16, 3)), "HD95": 20 + rng.normal(0, 1, (16, 3))}
    runs = []
    for name, dice, distance, ndv in (
        ("good", 0.8, 5.0, 0.2), ("fair", 0.7, 8.0, 0.004), ("lazy", 0.3, 20.0, 0.0),
    ):  # fmt: skip
        values = {
            "DSC": dice + rng.normal(0, 0.02, (16, 3)),
            "HD95": distance + rng.normal(0, 1, (16, 3)),
        }
        runs.append(
            metrics_file(
                tmp_path / f"{name}.json", values, before, kinds, ndv * rng.uniform(0.5, 1, 16), cases
            )
        )
    return runs


def test_psmareg_is_a_plain_loop(patients):
    made = prepare("psmareg", patients)
    assert made.results.runs == ("good", "fair", "lazy", REFERENCE)
    assert len(made.results.cases) == 8
    assert made.results.cases[0] == "0000_0000 + 0000_0001"
    found = standings(made, unranked=[REFERENCE], reference=REFERENCE)

    def of_patients(run, metric):
        both = [run.scores[f"{n:04d}_0000<--{n:04d}_0001"][metric] for n in range(8)]
        other = [run.scores[f"{n:04d}_0001<--{n:04d}_0000"][metric] for n in range(8)]
        mean = (np.array(both) + other) / 2
        return {"DSC": mean, "HD95": -mean, "NDV_percent": -np.maximum(mean, 0.005)}[metric]

    scores, beats = {}, {run.name: 0 for run in patients}
    for metric in ("DSC", "HD95", "NDV_percent"):
        values = {run.name: of_patients(run, metric) for run in patients}
        p = {(a, b): signed_rank(values[a], values[b]) for a, b in itertools.permutations(values, 2)}
        won = stepped(p)
        scores[metric] = {name: (sum(a == name for a, _ in won) + 1) / 3 for name in values}
        if metric != "NDV_percent":
            start = of_patients(patients[0].reference, metric)
            for name in stepped({name: signed_rank(values[name], start) for name in values}):
                beats[name] += 1
    assert beats == {"good": 2, "fair": 2, "lazy": 0}
    for name in values:
        accuracy = (scores["DSC"][name] + scores["HD95"][name]) / 2
        smooth = min(accuracy, scores["NDV_percent"][name]) if beats[name] else 1 / 3
        assert found[name].metric_scores == pytest.approx({key: of[name] for key, of in scores.items()})
        assert found[name].components["accuracy"] == pytest.approx(accuracy)
        assert found[name].components["regularity"] == pytest.approx(smooth)
        assert found[name].score == pytest.approx(100 * accuracy ** (2 / 3) * smooth ** (1 / 3))
    # Below 0.005 % NDV is equal: `fair` and `lazy` both beat `good` only.
    assert scores["NDV_percent"] == {"good": 1 / 3, "fair": 2 / 3, "lazy": 2 / 3}
    assert np.isnan(found[REFERENCE].score)


@pytest.mark.parametrize("challenge", ["oncoreg", "lumir"])
def test_rules_that_are_not_published_are_refused(challenge, labelled, rank):
    with pytest.raises(DataError, match="rules not published"):
        prepare(challenge, labelled)


def test_weights_are_part_of_the_rules(labelled):
    with pytest.raises(DataError, match="part of the rules"):
        prepare("learn2reg", labelled, weights={"DSC": 1})


def test_what_a_challenge_needs_is_said(tmp_path, labelled):
    with pytest.raises(DataError, match="NDV"):
        prepare("psmareg", labelled)
    run = metrics_file(
        tmp_path / "x.json", {"DSC": np.ones((8, 3))}, {"DSC": np.ones((8, 3))}, {"DSC": "dice"}
    )
    with pytest.raises(DataError, match="no sdlogj"):
        prepare("learn2reg", [run, labelled[0]])


@pytest.mark.parametrize(("cases", "method"), [(7, "l2r"), (8, "wilcoxon-holm")])
def test_auto_takes_what_so_many_cases_can_decide(tmp_path, cases, method):
    # Three runs and the identity: 12 comparisons; 12 / 2^8 = 0.047.
    rng = np.random.default_rng(0)
    before = {"DSC": rng.uniform(0, 1, (cases, 3))}
    runs = [
        metrics_file(
            tmp_path / f"{name}.json", {"DSC": rng.uniform(0, 1, (cases, 3))}, before, {"DSC": "dice"},
            cases=CASES[:cases],
        )
        for name in "abc"
    ]  # fmt: skip
    made = prepare("auto", runs)
    assert made.scheme.method == method
    assert f"{cases} cases are" in made.why
    assert method == "wilcoxon-holm" or "needs 8 for 4 runs" in made.why


def test_the_verb_ranks_by_a_challenge(labelled, tmp_path, rank):
    files = [f"{run.name}={tmp_path / run.name}.json" for run in labelled]
    code, out, _ = rank(*files, "--method", "learn2reg", "--bootstrap", 10)
    assert code == 0
    assert "DSC30" in out
    assert "method: Learn2Reg's own columns" in out
    page = (tmp_path / "board/leaderboard.html").read_text(encoding="utf-8")
    assert "labels or landmarks of all cases" in page
    code, _, err = rank(*files, "--method", "oncoreg")
    assert code == 3
    assert "never published" in err
