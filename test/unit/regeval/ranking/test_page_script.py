"""The page's script in node, on the page's own tables: sorting, and picking cases and labels."""

import json
import shutil
import subprocess
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from regeval.ranking import COMPONENT_WEIGHTS, Scheme, compare, rank_runs, render_page
from regeval.ranking.runs import Run

NODE = shutil.which("node")
STUB = Path(__file__).with_name("page_stub.js")
CASES = ("one", "two", "three")
LABELS = ("1", "7", "9")  # no case has the last one


class Tables(HTMLParser):
    """The sortable tables of a page as the stub takes them."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.cell, self.inside = [], None, False
        self.picks = {}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        names = dict(attrs)
        if tag == "details":
            self.picks[names["id"]] = self.picked = []
        if tag == "input":
            self.picked.append({"value": names["value"], "name": names["data-name"]})
        if tag == "table":
            self.inside = "board" in (names.get("class") or "")
            if self.inside:
                self.tables.append({"id": names.get("id"), "head": [], "rows": []})
        if self.inside and tag == "tr" and self.tables[-1]["head"]:
            self.tables[-1]["rows"].append([])
        if self.inside and tag in ("th", "td"):
            data = {key[5:]: value for key, value in names.items() if key.startswith("data-")}
            if "by-label" in data:
                data["byLabel"] = data.pop("by-label")
            self.cell = {"dataset": data, "text": "", "sort": names.get("aria-sort")}
            row = self.tables[-1]["head"] if tag == "th" else self.tables[-1]["rows"][-1]
            row.append(self.cell)

    def handle_endtag(self, tag):
        if tag in ("th", "td"):
            self.cell = None
        if tag == "table":
            self.inside = False

    def handle_data(self, data):
        if self.cell is not None:
            self.cell["text"] += data


def run_of(name, dice, far):
    """A run with two labels, and a distance of one value a case."""
    return Run(
        name,
        "Knee",
        "strict",
        None,
        {c: {"DSC": float(np.nanmean(dice[n])), "HD95": far[n]} for n, c in enumerate(CASES)},
        {"DSC": "dice", "HD95": "hd95"},
        detailed={c: {"DSC": tuple(dice[n])} for n, c in enumerate(CASES)},
        labels={"DSC": LABELS},
    )


@pytest.fixture
def page():
    nan = float("nan")
    runs = [
        run_of("low", [[0.1, 0.3, nan], [0.2, nan, nan], [0.3, 0.5, nan]], [9.0, 8.0, 13.0]),
        run_of("<high>", [[0.9, 0.7, nan], [0.8, nan, nan], [0.7, 0.5, nan]], [1.0, nan, 2.0]),
    ]
    results = compare(runs)
    return render_page(rank_runs(results, Scheme("l2r", results.metrics, (1.0, 1.0), COMPONENT_WEIGHTS)))


@pytest.fixture
def play(page, tmp_path):
    """Play steps in node; returns the tables' texts after each."""
    if NODE is None:
        pytest.skip("no node")

    def call(*steps):
        folder, script = resources.files("regeval.ranking.page"), tmp_path / "script.js"
        texts = [(folder / name).read_text("utf-8") for name in ("page.js", "closer.js")]
        script.write_text("\n".join(texts), encoding="utf-8")
        found = Tables(page)
        shown = {"tables": found.tables, "picks": found.picks}
        (tmp_path / "tables.json").write_text(json.dumps(shown), encoding="utf-8")
        (tmp_path / "steps.json").write_text(json.dumps(steps), encoding="utf-8")
        command = [NODE, STUB, script, tmp_path / "tables.json", tmp_path / "steps.json"]
        return json.loads(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)

    return call


def test_without_a_script_the_means_are_there(page):
    board, closer = Tables(page).tables
    assert closer["id"] == "closer"
    assert len(board["rows"]) == len(closer["rows"]) == 2
    rows = {row[0]["text"]: [cell["text"] for cell in row[1:]] for row in closer["rows"]}
    assert rows == {"low": ["0.267", "10.00"], "<high>": ["0.733", "1.5001 of 3 without number"]}
    assert json.loads(closer["rows"][0][1]["dataset"]["byLabel"])[2] in ([0.2, None, None], [0.8, None, None])


def rows_after(shown):
    return [{row[0]: row[1:] for row in one["tables"][1]} for one in shown]


def test_picking_cases_and_labels(play):
    # Label 7 is left; the cases are one, three, two.
    _, *shown = play(
        *(("box", "labels", 2), ("box", "labels", 0)),
        *(("box", "cases", 0), ("box", "cases", 1), ("all", "labels"), ("all", "cases")),
    )
    rows = rows_after(shown)
    assert rows[0] == {  # means of label 7, which one case lacks; no distance by label
        "low": ["0.4001 of 3 without number", "–"],
        "<high>": ["0.6001 of 3 without number", "–"],
    }
    assert rows[1] == {
        "low": ["0.5001 of 2 without number", "–"],
        "<high>": ["0.5001 of 2 without number", "–"],
    }
    assert rows[2] == {"low": ["–1 of 1 without number", "–"], "<high>": ["–1 of 1 without number", "–"]}
    assert rows[3] == {"low": ["0.200", "8.000"], "<high>": ["0.800", "–1 of 1 without number"]}
    assert rows[4] == {"low": ["0.267", "10.00"], "<high>": ["0.733", "1.5001 of 3 without number"]}
    said = [one["picked"] for one in shown]
    rest = "Ranks and scores stay those over everything."
    assert said[0] == f"Means over 1 of 3 labels (7). {rest}"
    assert said[1] == f"Means over 2 of 3 cases (three, two) and 1 of 3 labels (7). {rest}"
    assert said[3] == f"Means over 1 of 3 cases (two). {rest}"
    assert said[4] == ""
    assert shown[1]["counts"] == {"cases": "2 of 3", "labels": "1 of 3"}
    assert shown[4]["counts"] == {"cases": "all 3", "labels": "all 3"}


def test_picking_several_labels_takes_the_mean_of_a_case_first(play):
    one, whole = rows_after(play(("box", "labels", 1), ("box", "labels", 1)))
    assert one["low"] == ["0.2003 of 6 without number", "–"]
    assert whole["low"] == ["0.267", "10.00"]  # all three are picked
    # Of labels 1 and 7: (0.2 + 0.2 + 0.4) / 3, where the mean over the five values were 0.28.
    (left,) = rows_after(play(("box", "labels", 2)))
    assert left["low"] == ["0.2671 of 6 without number", "–"]


def test_picking_leaves_the_ranking_alone(play):
    before, after = play(("click", 0, 0), ("none", "cases"))
    assert after["tables"][0] == before["tables"][0]
    assert rows_after([after])[0]["low"] == ["–", "–"]


def test_sorting(play):
    def order(shown, number):
        return [row[0 if number else 2] for row in shown["tables"][number]]

    by_name, best, worst = play(("click", 0, 2), ("click", 1, 1), ("click", 1, 1))
    assert [name.strip() for name in order(by_name, 0)] == ["<high>", "low"]
    assert order(best, 1) == ["<high>", "low"]  # Dice, best first
    assert order(worst, 1) == ["low", "<high>"]


def test_what_is_picked_can_be_sorted(play):
    _, _, once, twice, _, back = play(
        ("box", "cases", 0),
        ("box", "cases", 1),
        ("click", 1, 2),
        ("click", 1, 2),
        ("all", "cases"),
        ("click", 1, 2),
    )
    assert once["tables"][1][0][0] == twice["tables"][1][0][0] == "low"  # no number is last either way
    assert back["tables"][1][0][0] == "<high>"


def test_the_page_prints(page):
    assert "@media print" in page
    assert "prefers-color-scheme: dark" in page
    assert page.index("@media print") > page.index("prefers-color-scheme: dark")  # paper is white
