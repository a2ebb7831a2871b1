"""The page's script in node, on the page's own tables: sorting, and picking a case or a label."""

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
LABELS = ("1", "7")


class Tables(HTMLParser):
    """The sortable tables of a page as the stub takes them."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.cell, self.inside = [], None, False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        names = dict(attrs)
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
        run_of("low", [[0.1, 0.3], [0.2, nan], [0.3, 0.5]], [9.0, 8.0, 13.0]),
        run_of("<high>", [[0.9, 0.7], [0.8, nan], [0.7, 0.5]], [1.0, nan, 2.0]),
    ]
    results = compare(runs)
    return render_page(rank_runs(results, Scheme("l2r", results.metrics, (1.0, 1.0), COMPONENT_WEIGHTS)))


@pytest.fixture
def play(page, tmp_path):
    """Play steps in node; returns the tables' texts after each."""
    if NODE is None:
        pytest.skip("no node")

    def call(*steps):
        script = resources.files("regeval.ranking.page") / "page.js"
        (tmp_path / "tables.json").write_text(json.dumps(Tables(page).tables), encoding="utf-8")
        (tmp_path / "steps.json").write_text(json.dumps(steps), encoding="utf-8")
        command = [NODE, STUB, str(script), tmp_path / "tables.json", tmp_path / "steps.json"]
        return json.loads(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)

    return call


def test_without_a_script_the_means_are_there(page):
    board, closer = Tables(page).tables
    assert closer["id"] == "closer"
    assert len(board["rows"]) == len(closer["rows"]) == 2
    rows = {row[0]["text"]: [cell["text"] for cell in row[1:]] for row in closer["rows"]}
    assert rows == {"low": ["0.267", "10.00"], "<high>": ["0.733", "1.500"]}
    assert json.loads(closer["rows"][0][1]["dataset"]["byLabel"])[2] in ([0.2, None], [0.8, None])


def test_picking_a_case_and_a_label(play):
    shown = play(("pick", "label", "7"), ("pick", "case", "2"), ("pick", "label", ""), ("pick", "case", ""))
    rows = [{row[0]: row[1:] for row in one["tables"][1]} for one in shown]
    assert rows[0] == {
        "low": ["0.400", "–"],
        "<high>": ["0.600", "–"],
    }  # mean of label 7; no distance by label
    assert rows[1] == {"low": ["–", "–"], "<high>": ["–", "–"]}  # cases are sorted; "two" lacks it
    assert rows[2] == {"low": ["0.200", "8.000"], "<high>": ["0.800", "–"]}
    assert rows[3] == {"low": ["0.267", "10.00"], "<high>": ["0.733", "1.500"]}
    assert [one["picked"] for one in shown] == ["label 7", "case 2, label 7", "case 2", ""]


def test_sorting(play):
    def order(shown, number):
        return [row[0 if number else 2] for row in shown["tables"][number]]

    by_name, best, worst = play(("click", 0, 2), ("click", 1, 1), ("click", 1, 1))
    assert [name.strip() for name in order(by_name, 0)] == ["<high>", "low"]
    assert order(best, 1) == ["<high>", "low"]  # Dice, best first
    assert order(worst, 1) == ["low", "<high>"]


def test_what_is_picked_can_be_sorted(play):
    _, once, twice, _, back = play(
        ("pick", "case", "2"), ("click", 1, 2), ("click", 1, 2), ("pick", "case", ""), ("click", 1, 2)
    )
    assert once["tables"][1][0][0] == twice["tables"][1][0][0] == "low"  # no number is last either way
    assert back["tables"][1][0][0] == "<high>"


def test_the_page_prints(page):
    assert "@media print" in page
    assert "prefers-color-scheme: dark" in page
    assert page.index("@media print") > page.index("prefers-color-scheme: dark")  # paper is white
