"""The check on scans and on the phantom: right fields raise no alarm, every usual fault is named.

The right fields are made from the anatomy: centres and extents of the labelled organs, joined smoothly. They
come from no registration, and the images were never asked.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import zoom
from spoil import SPOILED

import dinoreg.phantom.task as phantom
from regeval.checking.evidence import gather
from regeval.checking.hypotheses import hypotheses
from regeval.checking.plausibility import judge, judge_single, score_pair
from regtask import (
    field_name_long,
    field_name_short,
    read_dataset,
    read_field,
    read_header,
    read_labels,
    write_field,
)

DATA = Path(__file__).resolve().parents[5] / "shared" / "data"
needs_scans = pytest.mark.skipif(not DATA.is_dir(), reason=f"no scans: {DATA} does not exist")
PAIRS = 4


def anatomy_field(pair) -> np.ndarray:
    """Displacements of the organs' centres and of points two standard deviations from them, spread out."""
    fixed, moving = (read_labels(path)[0] for path in pair.labels())
    ends = ([], [])
    for label in np.intersect1d(fixed, moving)[1:]:
        for image, points in zip((fixed, moving), ends, strict=True):
            voxels = np.argwhere(image == label)
            centre, extent = voxels.mean(axis=0), 2 * voxels.std(axis=0)
            points += [centre, *(centre + np.diag(extent)), *(centre - np.diag(extent))]
    start, end = map(np.array, ends)
    axes = [np.arange(0, size, 4) for size in fixed.shape]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).astype(float)
    distance = ((grid[..., None, :] - start) ** 2).sum(axis=-1)
    width = fixed.shape[0] / 12
    weight = np.exp(-distance / (2 * width**2)) + 1e-6 * np.exp(-distance / (72 * width**2)) + 1e-12
    coarse = (weight / weight.sum(axis=-1, keepdims=True)) @ (end - start)
    factors = [size / len(axis) for size, axis in zip(fixed.shape, axes, strict=True)]
    field = [zoom(coarse[..., axis], factors, order=1) for axis in range(3)]
    return np.stack(field, axis=-1).astype(np.float32)


def scan_pairs(task):
    return read_dataset(DATA / task / f"{task}_dataset.json").pairs()[:PAIRS]


@pytest.fixture(scope="module")
def hippocampus(tmp_path_factory):
    """The first pairs of the task and a right submission to it; never to be changed."""
    folder = tmp_path_factory.mktemp("hippocampus")
    source = DATA / "HippocampusMR" / "HippocampusMR_dataset.json"
    content = json.loads(source.read_text(encoding="utf-8"))
    content["registration_val"] = content["registration_val"][:PAIRS]
    description = folder / source.name
    description.write_text(json.dumps(content), encoding="utf-8")
    (folder / "fields").mkdir()
    for pair in scan_pairs("HippocampusMR"):
        path = folder / "fields" / field_name_long(pair.fixed_id, pair.moving_id)
        write_field(path, anatomy_field(pair), read_header(pair.fixed).grid)
    return description, folder / "fields"


@pytest.fixture
def submission(hippocampus, tmp_path):
    """A copy that a test may spoil: folder, names, and a function that replaces a field."""
    folder = tmp_path / "fields"
    shutil.copytree(hippocampus[1], folder)
    return folder, sorted(path.name for path in folder.iterdir())


@pytest.fixture
def verdict(hippocampus, submission, check):
    return lambda: check(submission[0], hippocampus[0], "--data-dir", DATA / "HippocampusMR")


@needs_scans
@pytest.mark.real_data
def test_right_submission(verdict):
    code, text = verdict()
    assert code == 0, text
    assert "millimetres instead of voxels" in text
    assert "cannot tell: voxels of 1 mm" in text
    assert text.endswith("would be accepted, and makes sense\n")


@needs_scans
@pytest.mark.real_data
@pytest.mark.integration
def test_fields_of_a_registration(hippocampus, check, tmp_path):
    data, output = DATA / "HippocampusMR", tmp_path / "fields"
    command = [
        sys.executable,
        "-m",
        "dinoreg.cli.main",
        "run",
        "--preset",
        "convexadam",
        "--output",
        str(output),
    ]
    command += ["--dataset", str(hippocampus[0]), "--data-dir", str(data), "--device", "cpu"]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    code, text = check(output, hippocampus[0], "--data-dir", data)
    assert code == 0, text
    assert text.endswith("would be accepted, and makes sense\n")


def remove(folder, names):
    (folder / names[0]).unlink()


def add(folder, names):
    shutil.copy(folder / names[0], folder / "disp_0001_0000_0003_0000.nii.gz")


def shorten(folder, names):
    pair = scan_pairs("HippocampusMR")[0]
    (folder / names[0]).rename(folder / field_name_short(pair.fixed_id, pair.moving_id))


def as_npz(change):
    def spoil(folder, names):
        array = change(read_field(folder / names[0]))
        (folder / names[0]).unlink()
        np.savez(folder / names[0].replace(".nii.gz", ".npz"), array)

    return spoil


def every_field(name):
    def spoil(folder, names):
        for file in names:
            field = SPOILED[name](read_field(folder / file), (1.0, 1.0, 1.0))
            (folder / file).unlink()
            np.savez(folder / file.replace(".nii.gz", ".npz"), field)

    return spoil


FAULTS = {
    "missing file": remove,
    "surplus file": add,
    "short name where the long one is due": shorten,
    "field of wrong shape": as_npz(lambda field: field[:, :-3]),
    "field is channel-first": as_npz(lambda field: np.moveaxis(field, -1, 0)),
    "field at half resolution": as_npz(lambda field: field[::2, ::2, ::2]),
    "half precision": as_npz(lambda field: field.astype(np.float16)),
    "not finite": as_npz(lambda field: np.where(field == field.max(), np.nan, field)),
    **{name: every_field(name) for name in SPOILED if "millimetres" not in name},
}


@needs_scans
@pytest.mark.real_data
@pytest.mark.parametrize("what", FAULTS)
def test_fault_is_named_and_no_other(what, submission, verdict):
    FAULTS[what](*submission)
    code, text = verdict()
    assert code == 1, text
    assert "1 fault:" in text
    assert what in text.partition("1 fault:")[2].splitlines()[1]


@pytest.fixture(scope="module")
def abdomen():
    """Pairs of 2 mm with right fields and what speaks for them."""
    return [
        (anatomy_field(pair), gather(pair), read_header(pair.fixed).grid)
        for pair in scan_pairs("AbdomenMRMR")
    ]


def judged(pairs, spoil):
    suspects = hypotheses(pairs[0][2].shape, pairs[0][2].spacing_mm)
    scores = [
        score_pair(spoil(field, grid.spacing_mm), evidence, suspects) for field, evidence, grid in pairs
    ]
    likely = [
        one.hypothesis.name
        for one in judge([s for pair in scores for s in pair], suspects)
        if one.verdict == "likely"
    ]
    return likely, [single.name for pair in scores if (single := judge_single(pair, suspects))]


@needs_scans
@pytest.mark.real_data
def test_two_millimetre_task(abdomen):
    assert abdomen[0][2].spacing_mm == pytest.approx((2, 2, 2))
    for strength in (0.75, 1, 1.4):
        assert judged(abdomen, lambda field, spacing_mm, s=strength: s * field) == ([], [])
    for name, spoil in SPOILED.items():
        assert judged(abdomen, spoil)[0] == [name]


def test_phantom(tmp_path, monkeypatch):
    """Fields that are known to the voxel, between modalities, judged by landmarks and images."""
    monkeypatch.setattr(phantom, "_SIZES", {"small": ((32, 26, 30), (10.5, 10.9, 11.2))})  # for speed
    dataset = read_dataset(phantom.write_phantom_task(tmp_path / "task", size="small"))
    pairs = []
    for pair in dataset.pairs():
        path = tmp_path / "task/fieldsTr" / field_name_long(pair.fixed_id, pair.moving_id)
        if path.is_file():
            pairs.append((read_field(path), gather(pair), read_header(pair.fixed).grid))
    assert len(pairs) >= 3
    assert judged(pairs, lambda field, spacing_mm: field) == ([], [])
    for name, spoil in SPOILED.items():
        assert judged(pairs, spoil)[0] == [name]
