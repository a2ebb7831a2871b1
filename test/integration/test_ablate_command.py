"""`dinoreg ablate` on the tiny task."""

import csv

import pytest

from dinoreg.task.manifest import MANIFEST_NAME

pytestmark = pytest.mark.integration


def test_one_table(tiny, quick, tmp_path, dinoreg):
    command = ("ablate", "--dataset", tiny.description, "--output", tmp_path / "out", "--config", quick)
    done = dinoreg(*command, "--rows", "identity", "full", "no-discrete", "--device", "cpu")
    assert done.code == 0, done.err
    with (tmp_path / "out" / "ablation.csv").open(newline="", encoding="utf-8") as stream:
        lines = {(line["row"], line["case"]): line for line in csv.DictReader(stream)}
    assert set(lines) == {
        (row, case) for row in ("full", "no-discrete", "identity") for case in (*tiny.cases, "mean", "sd")
    }
    assert float(lines["full", "mean"]["tre_mm"]) < 0.7 * float(lines["identity", "mean"]["tre_mm"])
    assert float(lines["full", "mean"]["dice"]) > float(lines["identity", "mean"]["dice"])
    assert done.out == (tmp_path / "out" / "ablation.md").read_text(encoding="utf-8")
    for row in ("full", "no-discrete", "identity"):
        assert {path.name for path in (tmp_path / "out" / row).glob("disp_*")} == set(tiny.fields)

    manifest = tmp_path / "out" / "full" / MANIFEST_NAME
    written = manifest.stat().st_mtime_ns
    again = dinoreg(*command, "--rows", "full", "identity", "--device", "cpu")
    assert again.code == 0, again.err
    assert manifest.stat().st_mtime_ns == written
    assert "no-discrete" not in again.out


def test_unknown_rows_and_absent_weights(tiny, tmp_path, dinoreg, monkeypatch):
    command = ("ablate", "--dataset", tiny.description, "--output", tmp_path / "out", "--device", "cpu")
    unknown = dinoreg(*command, "--preset", "mind", "--rows", "s1")
    assert unknown.code == 2
    assert "no such row: s1; expected full, no-mask" in unknown.err
    monkeypatch.setenv("DINOREG_WEIGHTS", str(tmp_path))
    absent = dinoreg(*command, "--rows", "full")
    assert absent.code == 2
    assert "weights" in absent.err
    assert not list(tmp_path.glob("out/**/disp_*"))
