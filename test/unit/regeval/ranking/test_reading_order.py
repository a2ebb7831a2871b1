"""What a reader meets first: who stands above whom, what cannot be told, and cells that are only text."""

import csv
import io
import math
from dataclasses import replace

import numpy as np
import pytest

from regeval.ranking import (
    COMPONENT_WEIGHTS,
    Results,
    Scheme,
    compare,
    leaderboard_csv,
    metric_of,
    rank_runs,
    render_page,
)
from regeval.ranking.runs import Run


def board(runs, values, method="l2r", test="rank-sum"):
    metrics = (metric_of("HD95", "hd95"), metric_of("DSC", "dice"))
    cases = tuple(f"case{n}" for n in range(values.shape[-1]))
    results = Results("task", tuple(runs), cases, metrics, values, {})
    return rank_runs(results, Scheme(method, metrics, (1.0, 1.0), COMPONENT_WEIGHTS, test), bootstrap=0)


def test_equal_ranks_stand_by_their_means():
    distances = np.array([[5.0, 5.1], [4.0, 4.1], [np.nan, np.nan], [4.0, 4.1]])
    overlaps = np.array([[0.9, 0.9], [0.7, 0.7], [0.9, 0.9], [0.8, 0.8]])
    made = board(("a", "b", "c", "d"), np.stack([distances, overlaps]))
    assert {one.rank for one in made.standings} == {1}
    assert [one.run for one in made.standings] == ["d", "b", "a", "c"]


@pytest.mark.parametrize(("test", "enough"), [("rank-sum", 3), ("signed-rank", 6)])
def test_l2r_says_when_no_difference_can_count(test, enough):
    for cases, silent in ((enough - 1, False), (enough, True)):
        values = np.arange(4.0 * cases).reshape(2, 2, cases)
        assert (board(("a", "b"), values, test=test).warnings() == ()) is silent


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_names_are_no_formulas_in_the_csv(start):
    name = f"{start}SUM(1)"
    text = leaderboard_csv(board((name, "b\r=1"), np.ones((2, 2, 3))))
    cells = [row["run"] for row in csv.DictReader(io.StringIO(text, newline=""))]
    assert sorted(cells) == sorted(["'" + name.replace("\r", " "), "b =1"])


def test_a_reference_takes_no_rank(rank, metrics_file, tmp_path):
    files = [
        f"{name}={metrics_file(name, {'DSC': [mean + 0.01 * n for n in range(10)]})}"
        for name, mean in (("still", 0.9), ("good", 0.6), ("poor", 0.3))
    ]
    assert rank(*files, "--reference", "still", "--bootstrap", 20)[0] == 0
    with (tmp_path / "board/leaderboard.csv").open(encoding="utf-8", newline="") as stream:
        lines = [(row["run"], row["rank"], row["rank low"]) for row in csv.DictReader(stream)]
    assert lines == [("good", "1", "1"), ("poor", "2", "2"), ("still", "", "")]
    assert ">reference</td>" in (tmp_path / "board/leaderboard.html").read_text(encoding="utf-8")


def test_the_identity_is_known_by_its_numbers():
    still = Run(
        "identity", "task", "l2r", None, {"a": {"DSC": 0.5, "HD95": math.nan, "LogJacDetStd": 0.0}}, {}
    )
    assert replace(still, name="x", reference=still).is_identity()
    assert not replace(
        still, name="x", scores={"a": {"DSC": 0.6, "HD95": 1.0}}, reference=still
    ).is_identity()
    assert not still.is_identity()
    rounded = {case: {name: value + 4e-16 for name, value in of.items()} for case, of in still.scores.items()}
    assert replace(still, name="x", scores=rounded, reference=still).is_identity()
    moved = {case: {name: value + 1e-6 for name, value in of.items()} for case, of in still.scores.items()}
    assert not replace(still, name="x", scores=moved, reference=still).is_identity()


@pytest.mark.parametrize(("mode", "unit"), [("l2r", "voxels"), ("strict", "mm")])
def test_the_page_names_units_and_explains_itself(mode, unit):
    runs = [
        Run(name, "task", mode, None, {"a": {"far": value}, "b": {"far": value + 1}}, {"far": "hd95"})
        for name, value in (("one", 3.0), ("other", 4.0))
    ]
    results = compare(runs)
    scheme = Scheme("wilcoxon-holm", results.metrics, (1.0,), COMPONENT_WEIGHTS)
    page = render_page(rank_runs(results, scheme, bootstrap=0, reference="other", unranked=["other"]))
    assert f">far ({unit})</button>" in page
    assert all(f"{word}: " in page for word in ("Method", "Score", "Gate"))
