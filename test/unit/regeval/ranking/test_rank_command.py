"""The verb: what it prints, writes and refuses."""

import csv
import itertools
import json
import math
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from regeval.ranking import COMPONENT_WEIGHTS, Results, Scheme, compare, metric_of, rank_runs, read_run

CASES = [f"{2 * n + 1:04d}_0000<--{2 * n + 2:04d}_0000" for n in range(10)]


def rows(tmp_path):
    with (tmp_path / "board/leaderboard.csv").open(encoding="utf-8", newline="") as stream:
        return {row["run"]: row for row in csv.DictReader(stream)}


@pytest.mark.parametrize("method", ["l2r", "wilcoxon-holm"])
def test_known_order(rank, four, tmp_path, method):
    code, out, _ = rank(*four, "--method", method, "--bootstrap", 50)
    assert code == 0
    board = rows(tmp_path)
    assert [name for name in board if name in ("best", "good")] == ["best", "good"]
    assert board["best"]["rank"] == "1"
    assert float(board["best"]["DSC mean"]) == pytest.approx(0.8045)
    assert float(board["best"]["HD95 mean"]) == pytest.approx(5.9955)
    assert [line.split()[2] for line in out.splitlines()[4:8]] == list(board)
    assert (tmp_path / "board/leaderboard.html").is_file()


def test_identity_cannot_score(rank, four, tmp_path):
    rank(*four, "--method", "wilcoxon-holm", "--bootstrap", 0)
    board = rows(tmp_path)
    # All 10 differences of one sign: p = 2^-10, 12 comparisons: 0.012. Every difference of the runs counts.
    assert float(board["identity"]["LogJacDetStd score"]) == 1
    assert float(board["identity"]["regularity"]) == 0.25
    assert float(board["identity"]["score"]) == pytest.approx(25)
    assert (board["identity"]["gate"], board["poor"]["gate"]) == ("not passed", "passed")
    # best: accuracy 1; its fields are smoother than those of `good` only: 2/4.
    assert float(board["best"]["score"]) == pytest.approx(100 * 0.5 ** (1 / 3))


def test_weights_choose_metrics_and_count(rank, four, tmp_path):
    rank(*four, "--weights", "DSC=1", "LogJacDetStd=9", "--bootstrap", 0)
    board = rows(tmp_path)
    assert "HD95 mean" not in board["best"]
    assert board["identity"]["rank"] == "1"


def close_runs():
    """Results of four runs on nine cases that are hard to tell apart."""
    rng = np.random.default_rng(8)
    values = 0.5 + 0.02 * np.arange(4)[:, None] + rng.normal(0, 0.03, (4, 9))
    metric = metric_of("DSC")
    return Results("Knee", tuple("abcd"), tuple(CASES[:9]), (metric,), values[None], {})


def intervals(results, method, seed, count):
    scheme = Scheme(method, results.metrics, (1.0,), COMPONENT_WEIGHTS)
    board = rank_runs(results, scheme, bootstrap=count, seed=seed)
    return {one.run: one.interval for one in board.standings}


@pytest.mark.parametrize("method", ["l2r", "wilcoxon-holm"])
def test_intervals_are_those_of_a_plain_loop(method):
    results = close_runs()
    draws = np.random.default_rng(3).integers(9, size=(60, 9))
    ranks = []
    for draw in draws:
        sample = results.values[0][:, draw]
        beaten, p = np.zeros((4, 4), bool), np.ones((4, 4))
        for a in range(4):
            for b in range(4):
                if method == "l2r":
                    test = stats.ranksums(sample[a], sample[b])
                    beaten[a, b] = test.statistic > 0 and test.pvalue < 0.05
                elif a != b:
                    # Exact, given the ties: all signs of the differences that are not 0.
                    d = (sample[a] - sample[b])[sample[a] != sample[b]]
                    place = stats.rankdata(abs(d))
                    sums = [place @ signs for signs in itertools.product((0, 1), repeat=len(d))]
                    p[a, b] = np.mean(np.array(sums) >= place[d > 0].sum())
        for step, place in enumerate(
            np.argsort(p, axis=None)[:12]
        ):  # Holm: reject until the first that fails
            if p.flat[place] * (12 - step) >= 0.05:
                break
            beaten.flat[place] = True
        score = beaten.sum(axis=1) if method == "wilcoxon-holm" else -beaten.sum(axis=0)
        ranks.append([1 + int((score > own).sum()) for own in score])
    found = intervals(results, method, 3, 60)
    # 60 samples: the 2.5 % quantile is the second smallest rank.
    for run, column in zip("abcd", zip(*ranks, strict=True), strict=True):
        assert found[run] == (sorted(column)[1], sorted(column)[58])
    assert method == "wilcoxon-holm" or len(set(found.values())) > 1


def test_intervals_are_seeded():
    results = close_runs()
    some = [intervals(results, "l2r", seed, 3) for seed in range(8)]
    assert some == [intervals(results, "l2r", seed, 3) for seed in range(8)]
    assert any(one != some[0] for one in some)


def test_too_few_cases_are_said(rank, metrics_file):
    values = {"a": [0.1, 0.2, 0.3], "b": [0.7, 0.8, 0.9], "c": [0.4, 0.5, 0.6]}
    runs = [f"{name}={metrics_file(name, {'DSC': dice}, cases=CASES[:3])}" for name, dice in values.items()]
    _, out, _ = rank(*runs, "--method", "wilcoxon-holm", "--bootstrap", 0)
    assert "3 cases cannot tell 3 runs apart" in out
    assert "0.75" in out  # 6 comparisons, at best 1/8 each
    assert "no gate" in out


def test_missing_cases_are_listed(rank, metrics_file):
    whole = metrics_file("whole", {"DSC": [0.5] * 10})
    part = metrics_file("part", {"DSC": [0.5] * 8}, cases=CASES[:8])
    code, _, err = rank(f"whole={whole}", f"part={part}")
    assert code == 3
    assert "part" in err
    assert "whole;" not in err
    assert CASES[8] in err
    assert CASES[9] in err
    assert CASES[0] not in err


def test_other_refusals(rank, metrics_file, tmp_path):
    one = metrics_file("one", {"DSC": [0.5] * 10})
    other = metrics_file("other", {"DSC": [0.5] * 10}, task="Elsewhere")
    assert "different tasks" in rank(f"a={one}", f"b={other}")[2]
    assert "two or more" in rank(f"a={one}")[2]
    assert "one name" in rank(f"a={one}", f"a={one}")[2]
    assert "is 'DSC' meant?" in rank(f"a={one}", f"b={one}", "--weights", "DCS=1")[2]
    assert (
        "no such run"
        in rank(
            f"a={one}", f"b={one}", "--weights", "DSC=1", "--method", "wilcoxon-holm", "--reference", "c"
        )[2]
    )
    assert "--method wilcoxon-holm" in rank(f"a={one}", f"b={one}", "--weights", "accuracy=1")[2]
    assert "nothing to rank" in rank(f"a={one}", f"b={one}")[2]  # the same everywhere
    bad = tmp_path / "bad.json"
    for text in ("{", "[]", '{"cases": {}}', '{"cases": {"a": 3}}'):
        bad.write_text(text, encoding="utf-8")
        assert "not a metrics file" in rank(f"a={one}", f"b={bad}")[2]
    assert "cannot read" in rank(f"a={one}", f"b={tmp_path / 'none.json'}")[2]
    for wrong in (["--weights", "DSC=0"], ["--weights", "DSC"], ["--weights", "DSC=nan"], ["--seed", "x"]):
        with pytest.raises(SystemExit) as stop:
            rank(f"a={one}", f"b={one}", *wrong)
        assert stop.value.code == 2


def evaluated(path, metrics, more=None, before=None, **keys):
    """Write what `regeval evaluate` writes: kinds of the metrics, a mode, and the identity."""

    def cases(values, beside):
        return {
            case: {name: {"mean": column[n], **beside} for name, column in values.items()}
            for n, case in enumerate(CASES)
        }

    content = {
        "name": "Knee",
        "cases": cases(metrics | {"num_foldings": list(range(10))}, more or {}),
        "mode": "strict",
        "masked": False,
        "metrics": {name: {"name": name, "metric": kind} for name, kind in {"A": "dice", "B": "tre"}.items()},
        **({"reference": {"name": "identity", "cases": cases(before, {})}} if before else {}),
        **keys,
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_files_of_evaluate(rank, tmp_path):
    """Kinds give the direction, only what was asked for is ranked, and the identity comes from the file."""
    steps = [0.01 * n for n in range(10)]
    before = {"A": [0.2 + s for s in steps], "B": [9 + s for s in steps]}
    runs = []
    for name, a, b in (("one", 0.8, 2.0), ("two", 0.6, 3.0)):
        metrics = {"A": [a + s for s in steps], "B": [b + s for s in steps]}
        runs.append(f"{name}={evaluated(tmp_path / name, metrics, {'hardest30': b}, before)}")
    code, out, _ = rank(*runs, "--method", "wilcoxon-holm", "--bootstrap", 0)
    assert code == 0
    board = rows(tmp_path)
    assert list(board) == ["one", "two", "identity"]
    assert [name for name in board["one"] if name.endswith("mean")] == ["A mean", "B mean"]
    assert board["identity"]["gate"] == "not passed"
    assert "B.hardest30 (not in every run and case)" in out  # the reference was written without
    rank(*runs, "--method", "l2r", "--bootstrap", 0)
    assert list(rows(tmp_path)) == ["one", "two"]
    assert float(rows(tmp_path)["two"]["B.hardest30 mean"]) == 3


def test_files_of_different_rules_do_not_compare(rank, tmp_path, metrics_file):
    values = {"A": [0.1 * n for n in range(10)], "B": [1.0] * 10}
    strict = evaluated(tmp_path / "strict.json", values)
    masked = evaluated(tmp_path / "masked.json", values, masked=True)
    official = metrics_file("official", {"A_dice": [0.5] * 10, "A": [0.5] * 10})
    assert "one masked" in rank(f"a={strict}", f"b={masked}")[2]
    assert "mode strict (a), mode l2r (b)" in rank(f"a={strict}", f"b={official}")[2]


def test_values_without_number_are_the_worst(metrics_file):
    first = metrics_file("first", {"HD95": [3.0, None, 5.0], "DSC": [0.9, 0.8, 0.7]}, cases=CASES[:3])
    second = metrics_file("second", {"HD95": [4.0, 90.0, math.inf], "DSC": [0.9, None, 0.1]}, cases=CASES[:3])
    results = compare([read_run("first", first), read_run("second", second)])
    distance, dice = results.goodness()
    assert distance[0, 0] == -3
    assert distance[0, 1] == distance[1, 2] < -90 - (90 - 3)
    assert dice[1, 1] < 0.1 - (0.9 - 0.1)
    assert np.isfinite(results.goodness()).all()


@pytest.mark.parametrize(
    ("name", "higher", "component"),
    [
        ("DSC", True, "accuracy"),
        ("Dice30", True, "accuracy"),
        ("TRE_kp", False, "accuracy"),
        ("HD95_mm", False, "accuracy"),
        ("LogJacDetStd", False, "regularity"),
        ("num_foldings", False, "regularity"),
        ("runtime", False, "runtime"),
    ],
)
def test_directions(name, higher, component):
    metric = metric_of(name)
    assert (metric.higher_is_better, metric.component) == (higher, component)


def test_unknown_metric_is_left_out_and_said(rank, metrics_file):
    runs = [
        f"{n}={metrics_file(n, {'DSC': [0.1 * i] * 10, 'Wobble': [i] * 10})}" for i, n in enumerate("ab", 1)
    ]
    _, out, _ = rank(*runs, "--bootstrap", 0)
    assert "Wobble (unknown direction)" in out
    assert "unknown direction" in rank(*runs, "--weights", "Wobble=1")[2]


def test_the_evaluator_needs_none_of_it():
    """What only a ranking needs is imported by it alone."""
    blocked = (
        "import sys; sys.modules |= dict.fromkeys(('jinja2', 'pandas', 'matplotlib', 'torch', 'dinoreg'));"
    )
    code = "import regeval.cli as c; c.main(['rank', '--help'])"
    done = subprocess.run(
        [sys.executable, "-c", f"{blocked} {code}"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def lacking(metrics_file, name, dice, policy="", cases=None):
    path = metrics_file(name, {"DSC": dice})
    content = json.loads(path.read_text())
    if policy:
        content["missing"] = {"policy": policy, "count": len(cases), "cases": cases}
        path.write_text(json.dumps(content))
    return f"{name}={path}"


def test_cases_without_a_field_are_marked(rank, metrics_file, tmp_path):
    why = "no displacement field: <i>disp_0003</i>"
    good = lacking(metrics_file, "good", [0.8 + 0.01 * n for n in range(10)])
    poor = lacking(metrics_file, "poor", [0.7, 0.0, 0.0, *[0.6] * 7], "worst", {CASES[1]: why, CASES[2]: why})
    code, out, _ = rank(good, poor, "--bootstrap", 0)
    assert code == 0
    assert next(line for line in out.splitlines() if "poor [2 worst]" in line)
    assert "good [" not in out
    assert f"note: poor: 2 of 10 cases had no usable field and are scored as worst: {CASES[1]}, " in out
    assert {name: row["cases without field"] for name, row in rows(tmp_path).items()} == {
        "good": "0",
        "poor": "2",
    }
    page = (tmp_path / "board/leaderboard.html").read_text(encoding="utf-8")
    assert "2 without field, scored as worst" in page
    assert page.count('class="stand-in"') == 2
    assert page.count("no usable field, scored as worst)") == 4  # a point and a cell for each
    assert page.count("&lt;i&gt;disp_0003") == 2
    assert "<i>" not in page


def test_a_page_without_such_cases_does_not_speak_of_them(rank, four, tmp_path):
    rank(*four, "--bootstrap", 0)
    page = (tmp_path / "board/leaderboard.html").read_text(encoding="utf-8")
    assert "without field" not in page
    assert 'class="stand-in"' not in page


def test_stand_ins_of_two_kinds_do_not_compare(rank, metrics_file):
    dice = [0.1 * n for n in range(10)]
    one, other = (
        lacking(metrics_file, name, dice, name, {CASES[1]: "no field"}) for name in ("identity", "worst")
    )
    sound = lacking(metrics_file, "sound", [0.5] * 10)
    assert rank(one, sound, "--bootstrap", 0)[0] == 0
    assert "one stand-in for missing fields" in rank(one, other)[2]
