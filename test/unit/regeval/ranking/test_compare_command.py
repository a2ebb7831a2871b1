"""`regeval compare` against scipy, and what it writes."""

import csv
import re

import numpy as np
import pytest
from scipy import stats

from regeval.cli import main
from regeval.ranking import read_run
from regeval.ranking.paired import compare_two

CASES = [f"{n:04d}_0000<--{n:04d}_0001" for n in range(1, 13)]


@pytest.fixture
def two(metrics_file):
    """Two runs on 12 cases; `far` lacks a number of `b` in the third and of both in the fourth."""
    rng = np.random.default_rng(6)
    a = {"DSC": rng.uniform(0.6, 0.9, 12), "HD95": rng.uniform(2, 9, 12), "LogJacDetStd": np.full(12, 0.1)}
    b = {
        "DSC": a["DSC"] - rng.normal(0.03, 0.02, 12),
        "HD95": a["HD95"] + rng.normal(0.1, 1.0, 12),
        "LogJacDetStd": a["LogJacDetStd"] + rng.normal(0.01, 0.03, 12),
    }
    lists = [{name: list(map(float, values)) for name, values in run.items()} for run in (a, b)]
    lists[1]["HD95"][2] = lists[1]["HD95"][3] = lists[0]["HD95"][3] = None
    return [metrics_file(name, run, cases=CASES) for name, run in zip("ab", lists, strict=True)]


def test_tests_are_scipys(two):
    made = compare_two(*(read_run(path.stem, path) for path in two))
    p = []
    for one in made.differences:
        a, b = one.values.copy()
        if one.metric.name == "HD95":  # no number is worse than every number, by more than any two differ
            worst = np.nanmax(one.values) + np.nanmax(one.values) - np.nanmin(one.values) + 1
            a, b = (np.where(np.isfinite(of), of, worst) for of in (a, b))
        d = (a - b)[a != b]
        p.append(stats.wilcoxon(d, method="exact").pvalue)
        assert one.p == pytest.approx(p[-1])
    order = np.argsort(p)
    steps = np.maximum.accumulate(np.sort(p) * (3, 2, 1))
    for step, number in zip(steps, order, strict=True):
        assert made.differences[number].corrected == pytest.approx(min(1, step))
    dice, far, rough = made.differences
    assert dice.winner == 0
    assert (rough.winner, rough.metric.higher_is_better) == (None, False)
    assert far.better[[2, 3]].tolist() == [1, 0]
    assert far.means[0] == pytest.approx(np.nanmean(np.delete(far.values[0], [2, 3])))
    swapped = compare_two(*(read_run(path.stem, path) for path in reversed(two))).differences[0]
    assert (swapped.winner, swapped.p) == (1, dice.p)


def test_signs_by_hand(metrics_file):
    # All 6 differences of one sign: 2 / 2^6.
    a = metrics_file("a", {"HD95": [1.0 + n for n in range(6)]}, cases=CASES[:6])
    b = metrics_file("b", {"HD95": [1.5 + 1.1 * n for n in range(6)]}, cases=CASES[:6])
    (one,) = compare_two(read_run("a", a), read_run("b", b)).differences
    assert one.p == one.corrected == pytest.approx(2 / 64)
    assert one.winner == 0
    assert one.median_change == pytest.approx(0.75)


def test_the_verb(two, tmp_path, capsys):
    code = main(["compare", str(two[0]), f"<b>={two[1]}", "--output", str(tmp_path / "out")])
    out = capsys.readouterr().out
    assert code == 0
    assert "12 cases, a against <b>" in out
    assert re.search(r"DSC .* a is better", out)
    assert re.search(r"LogJacDetStd .* not told apart", out)
    with (tmp_path / "out/compare.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 36
    lost = [row for row in rows if row["metric"] == "HD95" and row["case"] == CASES[2]]
    assert (lost[0]["<b>"], lost[0]["better"], lost[0]["change"]) == ("", "a", "")
    page = (tmp_path / "out/compare.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert page.count("<figure>") == 3
    assert page.count('class="first"') == 35
    assert page.count('class="second"') == 34
    assert page.count('class="won"') + page.count('class="given"') == 34
    assert not re.search(r"https?://|url\(|@import", page)


def test_the_best_cases_stand_on_top(two):
    from regeval.ranking.paired.page import chart

    made = compare_two(*(read_run(path.stem, path) for path in two))
    drawn = chart(made, made.differences[0])
    a, b = made.differences[0].values
    assert [line.tip.split(":")[0] for line in drawn.lines] == [CASES[n] for n in np.argsort(b - a)]


def test_too_few_cases_are_said(metrics_file, capsys):
    files = [
        metrics_file(name, {"DSC": [0.1 + low, 0.2 + low, 0.4 + low]}, cases=CASES[:3])
        for name, low in (("a", 0.0), ("b", 0.3))
    ]
    main(["compare", *map(str, files)])
    assert "3 cases cannot tell two runs apart on 1 metrics" in capsys.readouterr().out


def test_files_of_one_name_are_told_apart(two, tmp_path, capsys):
    for number, path in enumerate(two):
        (tmp_path / f"run{number}").mkdir()
        path.rename(tmp_path / f"run{number}/metrics.json")
    assert main(["compare", *(str(tmp_path / f"run{n}/metrics.json") for n in range(2))]) == 0
    assert "run0/metrics against run1/metrics" in capsys.readouterr().out
    assert main(["compare", "x=none.json", "y=none.json"]) == 3
