"""The folder of `dinoreg register`: one result, never a mixture of two, and its inputs as they were."""

import hashlib
import json

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import uid, write_series
from exchange_fields import SHIFT_LPS, overlapping, wavy_transform

from dinoreg.cli.main import main
from dinoreg.desk import output
from dinoreg.desk import register as desk_register
from dinoreg.desk.folder import is_result, read_result
from dinoreg.desk.images import read_any, to_itk
from dinoreg.desk.result_files import remove_earlier
from dinoreg.desk.transforms import write_transform
from regtask.errors import DataError, Fault, OutputError

FIXED, MOVING = overlapping("oblique", "flipped")
BARE = {"transform.h5", "warped.nii.gz", "register.json"}


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Two scans and what belongs to moving."""
    folder = tmp_path_factory.mktemp("scans")
    rng = np.random.default_rng(5)
    for name, grid in (("fixed", FIXED), ("moving", MOVING)):
        sitk.WriteImage(to_itk(rng.normal(0, 9, grid.shape).astype(np.float32), grid), f"{folder}/{name}.mha")
    sitk.WriteImage(to_itk(np.ones(MOVING.shape, np.uint8), MOVING), f"{folder}/organs.nrrd")
    middle = FIXED.index_to_ras([(np.array(FIXED.shape) - 1) / 2])[0] * (-1, -1, 1)
    (folder / "p.fcsv").write_text(f"# CoordinateSystem = LPS\nv,{','.join(map(str, middle))}\n")
    write_transform(folder / "shift.tfm", sitk.TranslationTransform(3, SHIFT_LPS.tolist()))
    write_transform(folder / "bent.h5", wavy_transform(FIXED))
    return folder


@pytest.fixture
def register(scans, tmp_path):
    """Register them to tmp_path/out, without a displacement; returns the exit code."""

    def call(*words):
        common = ["--fixed", scans / "fixed.mha", "--moving", scans / "moving.mha", "--preset", "identity"]
        common += ["--output", tmp_path / "out", "--device", "cpu", "--no-report"]
        return main(["register", *map(str, [*common, *words])])

    return call


@pytest.fixture
def earlier(register, scans, tmp_path):
    """A result with everything, a report, and two files of somebody else."""
    along = ("--labels", scans / "organs.nrrd", "--image", scans / "moving.mha", "--points", scans / "p.fcsv")
    assert register(*along, "--inverse") == 0
    for name in ("report.html", "picture.png", "notes.txt", "labels_mine.nii.gz"):
        (tmp_path / "out" / name).write_text(f"earlier {name}")
    return tmp_path / "out"


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_nothing_of_an_earlier_result_stays_beside_the_new_one(earlier, register):
    assert set(content(earlier)) > BARE
    assert register("--overwrite") == 0
    assert set(content(earlier)) == {*BARE, "notes.txt", "labels_mine.nii.gz"}


def test_what_stops_midway_leaves_no_result(earlier, register, scans, monkeypatch):
    def fails(*_):
        raise OutputError(Fault("disk full", "image"))

    monkeypatch.setattr(output, "write_image", fails)
    assert register("--overwrite", "--image", scans / "moving.mha") == 4
    assert (earlier / "transform.h5").is_file()  # the registration is not lost
    assert not (earlier / "warped.nii.gz").exists()
    assert not is_result(earlier)


def test_an_earlier_result_stays_whole_until_there_is_another(earlier, register, monkeypatch):
    def fails(*_, **__):
        raise DataError(Fault("no way", "scans"))

    before = content(earlier)
    monkeypatch.setattr(desk_register, "register", fails)
    assert register("--overwrite") == 3
    assert content(earlier) == before


@pytest.mark.parametrize(
    "name", ["inverse.h5", "report.html", "picture.png", "labels_organs.nii.gz", "points_p.fcsv"]
)
def test_no_file_is_replaced_unasked(name, register, scans, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    along = ("--labels", scans / "organs.nrrd", "--points", scans / "p.fcsv")
    assert register(*along) == 4
    assert name in capsys.readouterr().err
    assert content(tmp_path / "out") == {name: b"mine"}


@pytest.mark.parametrize(
    "facts",
    [
        '{"files": ["../labels_x", "labels_/../../labels_x", "notes.txt", 3, null, "labels_%s"]}'
        % ("a" * 5000),
        '{"files": "labels_x"}',
        '["labels_x"]',
        "no json",
    ],
)
def test_facts_that_register_did_not_write_remove_nothing_else(facts, tmp_path):
    folder = tmp_path / "out"
    (folder / "labels_").mkdir(parents=True)
    for path in (tmp_path / "labels_x", folder / "notes.txt", folder / "warped.nii.gz"):
        path.write_text("x")
    (folder / "register.json").write_text(facts)
    remove_earlier(folder, [])
    assert {path.name for path in folder.iterdir()} == {"labels_", "notes.txt"}
    assert (tmp_path / "labels_x").is_file()


def test_an_input_that_lies_in_the_folder_stays(earlier, register):
    before = (earlier / "labels_organs.nii.gz").read_bytes()
    assert register("--overwrite", "--image", earlier / "labels_organs.nii.gz", "--other-header") == 0
    assert set(content(earlier)) == {
        *BARE,
        "labels_organs.nii.gz",
        "image_labels_organs.nii.gz",
        "notes.txt",
        "labels_mine.nii.gz",
    }
    assert (earlier / "labels_organs.nii.gz").read_bytes() == before


def test_the_digest_is_that_of_what_was_read(register, scans, tmp_path):
    out = tmp_path / "out"
    assert register("--initial", scans / "shift.tfm") == 0
    before = hashlib.sha256((out / "transform.h5").read_bytes()).hexdigest()
    assert (
        register("--initial", out / "transform.h5", "--overwrite", "--fixed-mask", scans / "fixed.mha") == 0
    )
    noted = json.loads((out / "register.json").read_text())["inputs"]
    assert noted["initial"]["sha256"] == before
    assert noted["fixed_mask"]["sha256"] == noted["fixed"]["sha256"] != ""
    # It is no more, and the page does not need it.
    assert read_result(out).title == "fixed.mha ← moving.mha"


def test_a_series_is_noted_and_read_again(register, tmp_path):
    rng = np.random.default_rng(6)
    stored = {name: rng.integers(0, 900, FIXED.shape).astype(np.int16) for name in ("early", "late")}
    for name, values in stored.items():
        write_series(tmp_path / "two", values, FIXED, name)
    assert register("--fixed", tmp_path / "two", "--fixed-series", uid("late")) == 0
    shown = read_result(tmp_path / "out")
    np.testing.assert_array_equal(shown.fixed.data, stored["late"] - 1024.0)
    # A record without series, as earlier versions wrote it.
    facts = json.loads((tmp_path / "out" / "register.json").read_text())
    for entry in facts["inputs"].values():
        del entry["series"]
    (tmp_path / "out" / "register.json").write_text(json.dumps(facts))
    with pytest.raises(DataError, match=r"several DICOM series.*register --fixed-series"):
        read_result(tmp_path / "out")


@pytest.mark.parametrize(
    "inputs",
    [
        "[1]",
        '["fixed", "moving"]',
        '{"fixed": 1, "moving": 2}',
        '{"fixed": {"path": "x"}, "moving": {"path": 1}}',
    ],
)
def test_a_record_with_other_inputs_is_refused(inputs, tmp_path):
    (tmp_path / "register.json").write_text(f'{{"inputs": {inputs}}}')
    with pytest.raises(DataError, match="not written by register"):
        read_result(tmp_path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--inverse", "--initial", "{scans}/bent.h5"), "leave --inverse out"),
        (("--image", "{scans}/organs.nrrd", "--labels", "{scans}/organs.nrrd"), "file named twice"),
        (("--points", "{scans}/p.fcsv", "{scans}/p.fcsv"), "file named twice"),
    ],
)
def test_bad_calls_end_before_the_registration(
    words, message, register, scans, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(desk_register, "register", lambda *_, **__: pytest.fail("registered"))
    assert register(*(word.format(scans=scans) for word in words)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_linear_initial_transform_has_an_inverse(register, scans, tmp_path):
    assert register("--inverse", "--initial", scans / "shift.tfm") == 0
    back = sitk.ReadTransform(str(tmp_path / "out" / "inverse.h5"))
    np.testing.assert_allclose(back.TransformPoint((0.0, 0.0, 0.0)), -SHIFT_LPS, atol=1e-6)
    assert read_any(tmp_path / "out" / "warped.nii.gz").grid.matches(FIXED)
