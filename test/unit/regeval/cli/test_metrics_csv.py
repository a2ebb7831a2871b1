"""The scores in long form: every number of the metrics file, once, and nothing that a spreadsheet runs."""

import csv
import io
import json
import math

import numpy as np
import pytest

from regeval.cli import main
from regeval.cli.metrics_csv import metrics_csv
from regtask import Grid, write_field

SHAPE = (26, 30, 34)
FIRST, SECOND = "0001_0000<--0001_0001", "0002_0000<--0002_0001"


@pytest.fixture
def written(task, shift_field, tmp_path):
    """Evaluate two fields, of which one loses label 7; returns the lines and the metrics file."""
    folder = tmp_path / "predictions"
    folder.mkdir()
    shift_field[6, 12, 15] = 0
    for subject in ("0001", "0002"):
        write_field(folder / f"disp_{subject}_{subject}.nii.gz", shift_field, Grid(SHAPE, np.eye(4)))

    def evaluate(*options):
        table, metrics = tmp_path / "scores.csv", tmp_path / "metrics.json"
        words = ["evaluate", "--dataset", str(task), "--predictions", str(folder), "--csv", str(table)]
        assert main([*words, "--output", str(metrics), *options]) == 0
        return table, json.loads(metrics.read_text())

    evaluate.folder = folder
    return evaluate


def lines_of(table):
    with table.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def value(lines, case, metric, label="", landmark=""):
    (line,) = [
        one
        for one in lines
        if (one["case"], one["metric"], one["label"], one["landmark"]) == (case, metric, label, landmark)
    ]
    return float(line["value"]) if line["value"] else None


def test_values(written):
    lines = lines_of(written()[0])
    assert list(lines[0]) == ["case", "metric", "label", "landmark", "value", "stand_in"]
    assert value(lines, FIRST, "DSC") == pytest.approx(2 / 3)
    assert [value(lines, FIRST, "DSC", label) for label in "1279"] == [1, 1, 0, None]
    assert value(lines, FIRST, "HD95_l2r", "7") == math.inf
    assert value(lines, FIRST, "TRE_lm", landmark="1") == pytest.approx(0, abs=1e-6)
    assert value(lines, SECOND, "DSC") is None
    assert value(lines, SECOND, "sdLogJ") > 0
    assert {line["stand_in"] for line in lines} == {""}


@pytest.mark.parametrize("mode", ["strict", "l2r"])
def test_every_number_of_the_metrics_file_is_there(written, mode):
    table, content = written("--mode", mode)
    lines = lines_of(table)
    for case, metrics in content["cases"].items():
        for metric, entry in metrics.items():
            found = [line for line in lines if (line["case"], line["metric"]) == (case, metric)]
            detailed = entry["detailed"] if isinstance(entry["detailed"], list) else []
            assert len(found) == 1 + len(detailed), metric
            for line, expected in zip(found, [entry["mean"], *detailed], strict=True):
                number = float(line["value"]) if line["value"] else math.nan
                if expected is None or math.isnan(expected):
                    assert not math.isfinite(number)
                else:
                    assert number == expected  # to the last digit
    assert len({tuple(list(line.values())[:4]) for line in lines}) == len(lines)


def test_cases_without_a_field_are_marked(written):
    (written.folder / "disp_0001_0001.nii.gz").unlink()
    lines = lines_of(written("--missing", "worst")[0])
    assert {line["stand_in"] for line in lines if line["case"] == FIRST} == {"worst"}
    assert {line["stand_in"] for line in lines if line["case"] == SECOND} == {""}


def test_formulas_are_defused(written):
    _, content = written()
    entry = {"mean": -0.5, "detailed": -0.5, "stand_in": "@SUM(A1)"}
    names = {"=HYPERLINK(1)": entry, "+1": entry, "-1": entry, "\t=1": entry, "a\r=1": entry, 'x",=1': entry}
    text = metrics_csv({**content, "cases": {"=cmd|' /C calc'!A1": names}})
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert len(rows) == 1 + len(names)
    for case, metric, *_, number, stand_in in rows[1:]:
        assert (case, stand_in) == ("'=cmd|' /C calc'!A1", "'@SUM(A1)")
        assert not metric.startswith(("=", "+", "-", "@", "\t", "\r"))
        assert float(number) == -0.5
    assert "\r" not in text


def test_pandas_opens_it(written):
    pandas = pytest.importorskip("pandas")
    table, content = written()
    frame = pandas.read_csv(table)
    assert list(frame.dtypes.astype(str)[["label", "landmark", "value"]]) == ["float64"] * 3
    dice = frame[(frame.metric == "DSC") & frame.label.notna()].pivot(
        index="case", columns="label", values="value"
    )
    assert dice.loc[FIRST].tolist()[:3] == [1, 1, 0]
    assert dice.loc[FIRST].dropna().mean() == pytest.approx(content["cases"][FIRST]["DSC"]["mean"])


def test_a_folder_that_is_not_there(task, written, tmp_path, capsys):
    words = ["evaluate", "--dataset", str(task), "--predictions", str(written.folder)]
    assert main([*words, "--csv", str(tmp_path / "nowhere" / "scores.csv")]) == 4
    assert "nowhere" in capsys.readouterr().err
