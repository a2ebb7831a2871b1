"""The report of two scans: from memory, from the folder that was written, in a notebook and in a browser."""

import json
import re
import shutil
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

import dinoreg
from dinoreg.cli.main import main
from dinoreg.desk.folder import read_result
from dinoreg.desk.images import read_label_map, write_any
from dinoreg.desk.output import write_labels, write_result
from dinoreg.desk.points import read_points, write_points
from dinoreg.desk.report import points_of, show_result
from dinoreg.desk.result_files import note_inputs
from dinoreg.desk.transforms import make_transform, transform_points
from dinoreg.guard.verdict import Evidence, judge

POINTS = "x,y,z\n1.0,2.0,-3.0\n-8.0,4.0,6.0\n"


@pytest.fixture(scope="module")
def result(files):
    """Two scans with a smooth displacement of some voxels, as if it had been found."""
    found = dinoreg.register(files / "fixed.nii.gz", files / "moving.mha", preset="identity", device="cpu")
    rng = np.random.default_rng(4)
    noise = [ndimage.gaussian_filter(rng.normal(size=found.fixed.grid.shape), 6) for _ in range(3)]
    field = (np.stack(noise, -1) / np.std(noise) + (3, -5, 7)).astype(np.float32)
    transform = make_transform(field, found.fixed.grid, found.read_on)
    judged = replace(found.registration, verdict=judge(Evidence(0.4, 0.1, 0.0)))
    return replace(found, displacement=field, transform=transform, registration=judged)


def core_of(organs):
    """The larger organ's middle, as a label map of its own with the number of the other organ."""
    return ndimage.binary_erosion(organs == 1, iterations=2).astype(np.uint8)


@pytest.fixture(scope="module")
def written(result, files, tmp_path_factory):
    """The folder that `register` writes, and the inputs beside it."""
    base = tmp_path_factory.mktemp("written")
    for name in ("fixed.nii.gz", "moving.mha", "organs.nrrd"):
        shutil.copy(files / name, base / name)
    (base / "p.csv").write_text(POINTS)
    out = base / "many" / "out"
    out.mkdir(parents=True)
    (base / "q.fcsv").write_text("# CoordinateSystem = LPS\nv,5,6,7\n")
    organs = read_label_map(base / "organs.nrrd")[0]
    write_any(base / "core.nrrd", core_of(organs.data), organs.grid)
    named, labels, points = {}, {}, {}
    for name in ("organs", "core"):
        read = read_label_map(base / f"{name}.nrrd")
        moved = write_labels(out / f"labels_{name}.nii.gz", *read, result.fixed.grid, result)
        named[f"labels_{name}.nii.gz"], labels[name] = base / f"{name}.nrrd", (read[0], moved)
    for name in ("p.csv", "q.fcsv"):
        read = read_points(base / name, "lps", result.fixed.grid)
        there = transform_points(result.transform, read.lps)
        write_points(out / f"points_{name}", read, there, result.moving.grid)
        named[f"points_{name}"], points[name] = base / name, read.lps
    write_result(
        out,
        result,
        inputs=note_inputs({"fixed": base / "fixed.nii.gz", "moving": base / "moving.mha"} | named, {}),
        settings={"name": "auto"},
        written=list(named),
        inverse=None,
        labels=labels,
        points=points,
        report=True,
    )
    return out


@pytest.fixture
def folder(written, tmp_path):
    """A copy, to be spoilt: the paths within it are its own."""
    shutil.copytree(written.parents[1], tmp_path / "copy")
    facts = tmp_path / "copy" / "many" / "out" / "register.json"
    facts.write_text(facts.read_text().replace(str(written.parents[1]), str(tmp_path / "copy")))
    return facts.parent


def run(*words):
    return main([str(word) for word in words])


def facts_of(page):
    (text,) = re.findall(r'id="facts">(.*?)</script>', page.read_text(encoding="utf-8"))
    return json.loads(text)


def test_what_was_written_is_shown_as_it_was_in_memory(written, result, files):
    organs = read_label_map(files / "organs.nrrd")[0]
    core = replace(organs, data=core_of(organs.data).astype(np.float32))
    labels = {
        name: (drawn, result.apply(drawn, labels=True))
        for name, drawn in (("organs", organs), ("core", core))
    }
    sets = {"p.csv": np.array([[1.0, 2.0, -3.0], [-8.0, 4.0, 6.0]]), "q.fcsv": np.array([[5.0, 6.0, 7.0]])}
    points = points_of(sets, result.transform, result.fixed.grid, result.moving.grid)
    before = show_result(result, labels=labels, points=points)
    again = read_result(written, space="lps")
    np.testing.assert_allclose(again.displacement, result.displacement, atol=1e-3)
    np.testing.assert_allclose(again.warped, before.warped, atol=1e-3)
    np.testing.assert_array_equal(again.moving_labels, before.moving_labels)
    np.testing.assert_array_equal(again.warped_labels, before.warped_labels)
    np.testing.assert_allclose(again.points.fixed, before.points.fixed, atol=1e-3)
    np.testing.assert_allclose(again.points.found, before.points.found, atol=1e-3)
    assert again.label_names == before.label_names == {1: "organs 1", 2: "organs 3", 3: "core 1"}
    assert again.points.names == before.points.names == ("p.csv 1", "p.csv 2", "q.fcsv 1")
    assert again.verdict == before.verdict == "doubtful"
    assert again.reasons == before.reasons != ()
    assert again.title == "fixed.nii.gz ← moving.mha"


def test_a_point_of_the_page_leads_where_the_transform_does(written, result):
    (shown,) = facts_of(written / "report.html")["points"][:1]
    facts = facts_of(written / "report.html")
    fixed, moving = (np.array(facts["lattices"][name]["affine"]) for name in ("fixed", "moving"))
    lps = (fixed @ [*shown["fixed"], 1])[:3] * (-1, -1, 1)
    np.testing.assert_allclose(lps, (1, 2, -3), atol=0.01)
    there = (moving @ [*shown["found"], 1])[:3] * (-1, -1, 1)
    np.testing.assert_allclose(there, transform_points(result.transform, lps[None])[0], atol=0.02)


def test_the_command_writes_the_page_anew_and_an_index(folder, capfd):
    (folder / "report.html").unlink()
    assert run("report", folder) == 0
    assert "say --space" in capfd.readouterr().err  # a csv does not state its space
    assert len(facts_of(folder / "report.html")["points"]) == 1  # that of the fcsv
    shutil.copytree(folder, folder.with_name("other"))
    other = folder.with_name("other") / "register.json"
    other.write_text(other.read_text().replace('"doubtful"', '"failed"'))
    assert run("report", folder.parent, "--space", "lps") == 0
    assert len(facts_of(folder / "report.html")["points"]) == 3
    index = (folder.parent / "index.html").read_text(encoding="utf-8")
    links = re.findall(r'<td><a href="([^"]+)">[^<]', index)
    assert links == ["other/report.html", "out/report.html"]


def test_every_label_map_is_outlined(written):
    facts = facts_of(written / "report.html")
    assert [label["name"] for label in facts["labels"]] == ["organs 1", "organs 3", "core 1"]


@pytest.mark.parametrize(
    ("spoil", "code", "message"),
    [
        (lambda folder: (folder.parents[1] / "moving.mha").unlink(), 3, "is gone"),
        (lambda folder: (folder.parents[1] / "fixed.nii.gz").write_bytes(b"1"), 3, "has changed"),
        (lambda folder: (folder / "register.json").write_text("[1]"), 3, "not written by register"),
        (lambda folder: (folder / "transform.h5").write_text("x"), 3, "not a transform"),
        (lambda folder: (folder / "warped.nii.gz").unlink(), 3, "no such file"),
        (lambda folder: (folder / "register.json").unlink(), 2, "--dataset"),
        (lambda folder: shutil.rmtree(folder), 3, "no such folder"),
    ],
)
def test_what_cannot_be_shown_is_said(spoil, code, message, folder, capfd):
    spoil(folder)
    assert run("report", folder) == code
    told = capfd.readouterr().err
    assert message in told
    assert "Traceback" not in told


def test_show_opens_the_browser_from_a_script(result, files, monkeypatch, tmp_path):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda address: bool(opened.append(address)) or True)
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    result.show(labels=files / "organs.nrrd", label_names={1: "spleen"}, path=tmp_path / "r.html")
    assert opened == [(tmp_path / "r.html").as_uri()]
    assert facts_of(tmp_path / "r.html")["labels"][0]["name"] == "spleen"


def test_show_is_the_output_of_a_cell_in_a_notebook(result, monkeypatch):
    shown = []
    shell = SimpleNamespace(kernel=object())
    display = SimpleNamespace(display=shown.append)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell, display=display))
    monkeypatch.setattr("webbrowser.open", lambda address: pytest.fail("a notebook opens no browser"))
    assert result.show() is None
    html = shown[0]._repr_html_()
    assert html.startswith("<iframe")
    assert "<script" not in html  # the page is the value of an attribute
    assert "&lt;script" in html
