"""Pages of fields that are there already, beside whatever else lies in their folder."""

import json
import logging

import numpy as np
import pytest

from dinoreg.task import reports
from regtask.dataset import Dataset
from regtask.errors import OutputError
from regtask.fields import write_field
from regtask.grid import Grid
from regtask.images import write_volume
from regtask.names import field_names

GRID = Grid((14, 12, 10), np.diag([1.5, 2.0, 2.5, 1.0]))
FOREIGN = {
    "web": json.dumps({"manifest_version": 3, "name": "viewer"}),
    "list": json.dumps([1, 2]),
    "other format": json.dumps({"format": 7, "pairs": {}}),
    "pairs that are none": json.dumps({"format": 1, "pairs": ["a"]}),
    "no json": "fields: 3",
}


@pytest.fixture
def task(tmp_path):
    """One pair, and its field in tmp_path/fields."""
    rng = np.random.default_rng(9)
    (tmp_path / "imagesTr").mkdir()
    (tmp_path / "fields").mkdir()
    names = ("./imagesTr/T_0001_0000.nii.gz", "./imagesTr/T_0002_0000.nii.gz")
    for name in names:
        write_volume(tmp_path / name, rng.normal(0, 9, GRID.shape), GRID)
    pairs = [{"fixed": names[0], "moving": names[1]}]
    found = Dataset("T", tmp_path, {}, {0: "CT"}, {"registration_val": pairs})
    (pair,) = found.pairs()
    (name,) = field_names(pair.fixed_id, pair.moving_id, "long")
    write_field(tmp_path / "fields" / name, np.full((*GRID.shape, 3), (3, -5, 7), np.float32), GRID)
    return found


@pytest.fixture
def shown(monkeypatch):
    """What the pages would show; drawing takes a second, and is tested elsewhere."""
    seen = []
    page = type("Page", (), {"text": "<html>"})()
    monkeypatch.setattr(reports, "make_page", lambda one: seen.append(one) or page)
    monkeypatch.setattr(reports, "index_row", lambda *_: None)
    monkeypatch.setattr(reports, "write_index", lambda path, *_: path.write_text("index"))
    return seen


def test_the_verdict_is_that_of_the_manifest(task, shown):
    folder = task.root / "fields"
    entry = {"status": "ok", "verdict": "doubtful", "verdict_reasons": ["folds"]}
    content = {"format": 1, "pairs": {task.pairs()[0].case_key: entry}}
    (folder / "manifest.json").write_text(json.dumps(content))
    assert reports.write_reports(folder, task, task.pairs()) == folder / "reports" / "index.html"
    assert (shown[0].verdict, shown[0].reasons) == ("doubtful", ("folds",))


def test_an_image_without_contrast_has_a_page_without_a_verdict(task, shown, caplog):
    write_volume(task.pairs()[0].moving, np.full(GRID.shape, 7.0, np.float32), GRID)
    reports.write_reports(task.root / "fields", task, task.pairs())
    assert (shown[0].verdict, shown[0].reasons) == ("", ())
    assert "no verdict: constant image" in caplog.text


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_the_manifest_of_another_program_stops_no_page(content, task, shown, caplog):
    folder = task.root / "fields"
    (folder / "manifest.json").write_text(content)
    with caplog.at_level(logging.WARNING):
        reports.write_reports(folder, task, task.pairs())
    assert "manifest.json: not of dinoreg run; its verdicts are not known" in caplog.text
    assert len(list((folder / "reports").iterdir())) == 2
    assert shown[0].verdict == "failed"  # the images are noise: so the judge says, whoever made the field
    assert (folder / "manifest.json").read_text() == content


def test_a_file_where_the_pages_go_is_said(task, shown):
    (task.root / "fields" / "reports").write_text("mine")
    with pytest.raises(OutputError, match="output folder not usable"):
        reports.write_reports(task.root / "fields", task, task.pairs())
    assert not shown
