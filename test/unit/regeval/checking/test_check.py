"""The verb on a made-up task: every fault is named, right fields raise no alarm."""

import json
import zipfile

import numpy as np
import pytest
from spoil import SPOILED

from regtask import read_dataset, read_volume, write_volume

EVIDENCE = ("landmarks", "labels", "images")


@pytest.fixture
def dataset(made, request, tmp_path):
    """The task with only one kind of evidence beside the images."""
    folder = tmp_path / "task"
    folder.mkdir()
    kept = {"imagesTr", f"{request.param}Tr"}
    for kind in kept:
        (folder / kind).symlink_to(made.description.parent / kind)
    path = folder / made.description.name
    path.write_bytes(made.description.read_bytes())
    return path


@pytest.mark.parametrize("dataset", EVIDENCE, indirect=True)
def test_right_fields_raise_no_alarm(made, dataset, check, tmp_path):
    code, text = check(made.write(tmp_path / "fields"), dataset)
    assert (code, "no faults" in text) == (0, True), text
    assert "likely" not in text
    assert text.endswith("would be accepted, and makes sense\n")


@pytest.mark.parametrize("dataset", EVIDENCE, indirect=True)
@pytest.mark.parametrize("name", SPOILED)
def test_spoiled_fields_are_named(name, made, dataset, check, tmp_path):
    folder = made.write(tmp_path / "fields", lambda field: SPOILED[name](field, made.grid.spacing_mm))
    code, text = check(folder, dataset)
    assert code == 1, text
    assert "1 fault:" in text
    assert f"  - {name}" in text


# One field of half the size it should have is not told from a timid one.
@pytest.mark.parametrize("name", [name for name in SPOILED if "half resolution" not in name])
def test_one_spoiled_field_of_three_is_named(name, made, check, tmp_path):
    folder = made.write(tmp_path / "fields")
    stem, field = list(made.fields.items())[1]
    np.savez_compressed(folder / f"{stem}.npz", SPOILED[name](field, made.grid.spacing_mm))
    (folder / f"{stem}.nii.gz").unlink()
    code, text = check(folder, made.description)
    assert code == 1, text
    assert f"  - {name}: {stem}.npz" in text


def test_quality_is_no_fault(made, check, tmp_path):
    """Too timid, too bold, too smooth, or of no use: bad fields, but rightly written."""
    rng = np.random.default_rng(0)
    variants = {
        "timid": lambda field: 0.75 * field,
        "bold": lambda field: 1.35 * field,
        "shift": lambda field: np.broadcast_to(field.mean((0, 1, 2)), field.shape),
        **{f"useless {n}": lambda field: np.broadcast_to(rng.normal(0, 3, 3), field.shape) for n in range(4)},
    }
    for name, make in variants.items():
        code, text = check(made.write(tmp_path / name, make), made.description)
        assert code == 0, f"{name}: {text}"
    assert "worse than no displacement" in text


def test_no_displacement(made, check, tmp_path):
    code, text = check(made.write(tmp_path / "fields", np.zeros_like), made.description)
    assert code == 0
    assert "no displacement at all in 3 of 3 fields" in text
    assert "cannot be told" in text


def stored(folder, stem, array, **names):
    np.savez_compressed(folder / f"{stem}.npz", array)
    (folder / f"{stem}.nii.gz").unlink()


FORMS = {
    "half precision": lambda field: field.astype(np.float16),
    "whole voxels only": lambda field: np.rint(field).astype(np.int16),
    "field is channel-first": lambda field: np.moveaxis(field, -1, 0),
    "field of wrong shape": lambda field: field[:-1],
    "field at half resolution": lambda field: field[::2, ::2, ::2],
    "field of wrong rank": lambda field: field[..., None],
    "not finite": lambda field: np.where(np.arange(3) == 1, np.nan, field),
}


@pytest.mark.parametrize("what", FORMS)
def test_form(what, made, check, tmp_path):
    folder = made.write(tmp_path / "fields")
    stem, field = next(iter(made.fields.items()))
    stored(folder, stem, FORMS[what](field))
    code, text = check(folder, made.description)
    assert code == 1
    assert "1 fault:" in text
    assert what in text
    assert stem in text


def test_channel_first_where_it_is_asked_for(made, check, tmp_path):
    folder = made.write(tmp_path / "fields")
    for stem, field in made.fields.items():
        stored(folder, stem, np.moveaxis(field, -1, 0))
    assert check(folder, made.description, "--layout", "channel_first")[0] == 0


def test_hostile_npz_is_a_fault(made, check, tmp_path):
    folder = made.write(tmp_path / "fields")
    stem = next(iter(made.fields))
    stored(folder, stem, np.array([{"a": 1}], dtype=object))
    code, text = check(folder, made.description)
    assert code == 1
    assert "real numbers" in text


def test_all_faults_at_once_in_a_zip(made, check, tmp_path):
    folder = made.write(tmp_path / "fields")
    first, second, third = made.fields
    (folder / f"{first}.nii.gz").unlink()
    stored(folder, second, made.fields[second].astype(np.float16))
    path = tmp_path / "submission.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
        archive.write(folder / f"{third}.nii.gz", "disp_0099_0000_0098_0000.nii.gz")
    code, text = check(path, made.description)
    assert code == 1
    assert "3 faults:" in text
    for what in ("missing file", "half precision", "surplus file"):
        assert what in text


def test_unreadable_data_set(made, check, tmp_path):
    folder = made.write(tmp_path / "fields")
    code, text = check(folder, tmp_path / "none.json")
    assert (code, "cannot read" in text) == (3, True)
    assert check(tmp_path / "nowhere", made.description)[0] == 3


def test_key_points_and_masks_are_used(made, check, tmp_path):
    folder = tmp_path / "task"
    folder.mkdir()
    (folder / "imagesTr").symlink_to(made.description.parent / "imagesTr")
    (folder / "keypointsTr").symlink_to(made.description.parent / "landmarksTr")
    (folder / "masksTr").mkdir()
    dataset = read_dataset(made.description)
    for image in (made.description.parent / "imagesTr").iterdir():
        mask = read_volume(image).data > 0
        write_volume(folder / "masksTr" / image.name, mask, made.grid, np.uint8)
    path = folder / made.description.name
    path.write_text(json.dumps(dict(dataset.raw)), encoding="utf-8")
    fields = made.write(tmp_path / "fields", np.negative)
    code, text = check(fields, path)
    assert code == 1
    assert "sign swapped" in text
    assert "keypoints (3)" in text
