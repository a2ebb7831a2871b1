"""The verb on a made-up task: every fault is named, right fields raise no alarm."""

import gzip
import json
import struct
import zipfile

import numpy as np
import pytest
from spoil import SPOILED

from regeval.checking import Report, format_report
from regeval.cli import main
from regtask import read_dataset, read_volume, write_volume
from regtask.errors import Fault

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


def packed(folder, path, inner="", litter=False):
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, f"{inner}{file.name}")
            if litter:
                archive.writestr(f"__MACOSX/{inner}._{file.name}", b"x")
    return path


def two_folders(folder, tmp_path):
    for number, file in enumerate(sorted(folder.iterdir())):
        (tmp_path / "two" / str(number)).mkdir(parents=True)
        file.rename(tmp_path / "two" / str(number) / file.name)
    return tmp_path / "two"


def far_voxels(folder, tmp_path):
    """The header says that the values begin megabytes later, and so they do."""
    file = min(folder.iterdir())
    content = bytearray(gzip.decompress(file.read_bytes()))
    content[108:112] = struct.pack("<f", 5e6)
    file.write_bytes(gzip.compress(content[:352] + bytes(5_000_000 - 352) + content[352:]))
    return folder


def way_out(folder, tmp_path):
    path = packed(folder, tmp_path / "fields.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../disp_0001_0000_0002_0000.npz", b"x")
    return path


def damaged_archive(folder, tmp_path):
    path = packed(folder, tmp_path / "fields.zip")
    content = bytearray(path.read_bytes())
    content[200:210] = bytes(10)
    path.write_bytes(content)
    return path


PACKED = {
    "zip": (lambda folder, tmp: packed(folder, tmp / "fields.zip"), True),
    "folder in a zip": (lambda folder, tmp: packed(folder, tmp / "fields.zip", "my fields/"), True),
    "by a file manager": (lambda folder, tmp: packed(folder, tmp / "fields.zip", "fields/", True), True),
    "folder in a folder": (lambda folder, tmp: folder.parent, True),
    "two folders": (two_folders, False),
    "deep in a zip": (lambda folder, tmp: packed(folder, tmp / "fields.zip", "a/b/"), True),
    "a path out of the zip": (way_out, False),
    "far voxels": (far_voxels, False),
    "damaged archive": (damaged_archive, False),
}


@pytest.mark.parametrize(("pack", "accepted"), PACKED.values(), ids=PACKED)
def test_what_the_evaluation_reads_is_accepted_and_nothing_else(made, check, tmp_path, pack, accepted):
    (tmp_path / "outer").mkdir()
    submission = pack(made.write(tmp_path / "outer" / "fields"), tmp_path)
    code, text = check(submission, made.description)
    assert (code == 0) == accepted, text
    evaluate = ["evaluate", "--dataset", str(made.description), "--predictions", str(submission)]
    assert (main(evaluate) == 0) == accepted


def test_one_fault_of_many_fields_is_said_once(made, check, tmp_path):
    folder = made.write(tmp_path / "fields")
    first, second, third = sorted(made.fields)
    for stem in (first, second):
        stored(folder, stem, made.fields[stem].astype(np.float16))
    (folder / f"{third}.nii.gz").rename(folder / "disp_0099_0000_0098_0000.nii.gz")
    code, text = check(folder, made.description)
    assert code == 1
    assert "3 faults:" in text
    assert text.count("half precision") == text.count("write float32") == 1
    assert f"half precision, 2 times: {first}.npz, {second}.npz; expected float32; got float16" in text
    assert text.count("missing file: ") == text.count("surplus file: ") == 1


def test_fields_under_exchanged_names_are_one_fault(made, check, tmp_path):
    folder = made.write(tmp_path / "fields")
    for file in list(folder.iterdir()):
        _, fixed, one, moving, other = file.name.removesuffix(".nii.gz").split("_")
        file.rename(folder / f"disp_{moving}_{other}_{fixed}_{one}.nii.gz")
    _, text = check(folder, made.description)
    assert "2 faults:" in text
    assert "missing file, 3 times: field of 0001_0000<--0002_0000, field of 0003_0000<--0004_0000, " in text
    assert "surplus file, 3 times: " in text
    assert text.count("the fixed image comes first") == 1


def test_many_places_are_cut_off():
    faults = [Fault("lost", f"field {number}", got=str(number)) for number in range(30)]
    report = Report(tuple(faults), (), 30, 0, 0, (), ())
    (line,) = [line for line in format_report("x", report).splitlines() if "lost" in line]
    assert line.startswith("  - lost, 30 times: field 0, ")
    assert line.endswith("field 19 and 10 more; got 0 for the first")


def test_places_are_those_within_the_submission(made, check, tmp_path):
    folder = made.write(tmp_path / "fields")
    stem, field = next(iter(made.fields.items()))
    stored(folder, stem, field[:-1])
    _, text = check(packed(folder, tmp_path / "fields.zip", "inner/"), made.description)
    assert f"field of wrong shape: {stem}.npz; " in text
