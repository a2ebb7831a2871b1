"""`dinoreg report` on fields that are there already."""

import re
import shutil

import numpy as np
import pytest


@pytest.fixture
def fields(quick_run, tmp_path):
    """The fields of a run, to be reported on."""
    return shutil.copytree(quick_run[0], tmp_path / "fields")


def test_a_page_per_pair_and_an_index(fields, tiny, dinoreg):
    finished = dinoreg("report", fields, "--dataset", tiny.description)
    assert finished.code == 0
    folder = fields / "reports"
    pages = sorted(path.name for path in folder.iterdir())
    assert pages == sorted([*(f"{a}_{b}.html" for a, b in tiny.pairs), "index.html"])
    index = (folder / "index.html").read_text(encoding="utf-8")
    links = re.findall(r'<td><a href="([^"]+)">[^<]', index)
    assert sorted([*links, "index.html"]) == pages
    first = (folder / links[0]).read_text(encoding="utf-8")
    assert "Not for clinical use" in first
    errors = [tuple(map(float, pair)) for pair in re.findall(r"([\d.]+) → ([\d.]+) mm", index)]
    before = [np.linalg.norm(np.multiply(shift, tiny.grid.spacing_mm)) for shift in tiny.shifts]
    np.testing.assert_allclose(sorted(a for a, _ in errors), sorted(before), atol=0.01)
    assert sum(b for _, b in errors) < 0.5 * sum(before)


def test_fields_of_another_program_need_no_manifest(fields, tiny, dinoreg):
    """One in Learn2Reg's older form, the others lacking: a page for the one, a word for the others."""
    from regtask.fields import read_field

    name = tiny.fields[0]
    vectors = read_field(fields / name)
    for path in [*fields.glob("disp_*"), fields / "manifest.json"]:
        path.unlink()
    np.savez(fields / name.replace(".nii.gz", ".npz"), vectors)
    finished = dinoreg("report", fields, "--dataset", tiny.description)
    assert finished.code == 0
    assert len(list((fields / "reports").iterdir())) == 2
    assert finished.err.count("no field, no page") == 2


def test_a_folder_without_fields(tiny, dinoreg, tmp_path):
    finished = dinoreg("report", tmp_path, "--dataset", tiny.description)
    assert finished.code == 3
    assert tiny.fields[0] in finished.err
