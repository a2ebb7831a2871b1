"""Outputs of many jobs, in millimetres, become one submission in voxels."""

import json

import numpy as np
import pytest

from regeval.inputs.algorithm_phase import JobFaults, gather_fields
from regtask import DataError, Grid, Pair, read_field, write_volume
from regtask.metaimage import write_field_mha

SHIFT = np.array((3.0, -5.0, 7.0))  # voxels
PAIRS = (("0001_0000", "0001_0001"), ("0002_0001", "0002_0000"))


@pytest.fixture(scope="module")
def grid():
    turn = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-1.5, 2.0, 2.5])
    affine[:3, 3] = (-31.0, 12.5, 104.0)
    return Grid((9, 11, 13), affine)


@pytest.fixture
def truth(tmp_path, grid):
    """Ground truth in which only the fixed images and the moving labels tell where the images lie."""
    pairs = []
    for kind in ("imagesTs", "labelsTs"):
        (tmp_path / "truth" / kind).mkdir(parents=True)
    for names in PAIRS:
        paths = [tmp_path / "truth" / "imagesTs" / f"Tiny_{name}.nii.gz" for name in names]
        write_volume(paths[0], np.zeros(grid.shape), grid)
        write_volume(tmp_path / "truth" / "labelsTs" / paths[1].name, np.zeros(grid.shape), grid, np.uint8)
        pairs.append(Pair.of(*paths))
    return tuple(pairs)


def lps_shift(grid):
    """(3, -5, 7) voxels in LPS mm, by hand: the affine's columns, x and y reversed."""
    ras = grid.affine[:3, :3] @ SHIFT
    return np.array((-ras[0], -ras[1], ras[2]))


@pytest.fixture
def phase(tmp_path, grid, truth):
    """Write the phase's input, the jobs in reverse order; returns the folder and its list of jobs."""
    folder, jobs = tmp_path / "input", []
    for number, (fixed, moving) in reversed(list(enumerate(PAIRS))):
        key = f"job-{number}"
        place = folder / key / "output" / "images" / "displacement-field"
        place.mkdir(parents=True)
        vectors = np.broadcast_to(lps_shift(grid) * (number + 1), (*grid.shape, 3))
        write_field_mha(place / "a.mha", vectors, grid)
        jobs.append(
            {
                "pk": key,
                "status": "Succeeded",
                "inputs": [
                    entry("fixed-image", name=f"Tiny_{fixed}.mha"),
                    entry("moving-image", key="interface", name=f"Tiny_{moving}.nii.gz"),
                ],
                "outputs": [entry("displacement-field", name="a.mha"), entry("report", "report.json")],
            }
        )
    return folder, jobs


def entry(slug, path=None, *, key="socket", name=None):
    return {key: {"slug": slug, "relative_path": path or f"images/{slug}"}, "image": {"name": name}}


def gather(phase, truth, tmp_path, slugs=None):
    folder, jobs = phase
    (folder / "predictions.json").write_text(json.dumps(jobs))
    (tmp_path / "fields").mkdir()
    return gather_fields(folder, truth, slugs or {}, tmp_path / "fields")


def test_fields_in_voxels_under_the_names_of_a_submission(phase, truth, tmp_path):
    assert gather(phase, truth, tmp_path) == JobFaults((), {})
    for number, (fixed, moving) in enumerate(PAIRS):
        field = read_field(tmp_path / "fields" / f"disp_{fixed}_{moving}.nii")
        np.testing.assert_allclose(field[4, 5, 6], SHIFT * (number + 1), atol=1e-4)
        np.testing.assert_allclose(np.ptp(field, axis=(0, 1, 2)), 0, atol=1e-4)


def test_given_slugs(phase, truth, tmp_path):
    for job in phase[1]:
        job["inputs"][0]["socket"]["slug"] = "follow-up"
        job["inputs"][1]["interface"]["slug"] = "baseline"
    assert len(gather(phase, truth, tmp_path).unassigned) == len(PAIRS)
    (tmp_path / "fields").rename(tmp_path / "first")
    assert gather(phase, truth, tmp_path, {"fixed": "follow-up", "moving": "baseline"}) == JobFaults((), {})


def damage(name, phase, grid):
    folder, jobs = phase
    if name == "pk":
        jobs[0]["pk"] = "../../etc"
    elif name == "status":
        jobs[0]["status"] = "Failed"
    elif name == "unknown pair":
        jobs[0]["inputs"][0]["image"]["name"] = "Tiny_0009_0000.mha"
    elif name == "odd name":
        jobs[0]["inputs"][0]["image"]["name"] = "scan"
    elif name == "twice":
        jobs[1]["inputs"] = jobs[0]["inputs"]
    elif name == "no file":
        next((folder / jobs[0]["pk"]).rglob("*.mha")).unlink()
    elif name == "no outputs":
        jobs[0]["outputs"] = []
    elif name == "another grid":
        affine = grid.affine.copy()
        affine[0, 3] += 4
        path = next((folder / jobs[0]["pk"]).rglob("*.mha"))
        write_field_mha(path, np.zeros((*grid.shape, 3)), Grid(grid.shape, affine))
    elif name == "another shape":
        path = next((folder / jobs[0]["pk"]).rglob("*.mha"))
        small = grid.cropped((0, 0, 0), (4, 5, 6))
        write_field_mha(path, np.zeros((*small.shape, 3)), small)


@pytest.mark.parametrize(
    ("name", "message", "assigned"),
    [
        ("pk", "without a usable pk", False),
        ("status", "job failed", True),
        ("unknown pair", "not a pair of the ground truth", False),
        ("odd name", "file name without case", False),
        ("twice", "predicted twice", False),
        ("no file", "one field is needed", True),
        ("no outputs", "no displacement field", True),
        ("another grid", "field on another grid", True),
        ("another shape", "field on another grid", True),
    ],
)
def test_a_fault_of_one_job_is_told_and_the_others_count(
    phase, truth, tmp_path, grid, name, message, assigned
):
    damage(name, phase, grid)
    found = gather(phase, truth, tmp_path)
    (first,) = {pair.case_key for pair in truth if pair.fixed_id.subject == "0002"}  # jobs come in any order
    assert list(found.by_case) == ([first] if assigned else [])
    (fault,) = found.unassigned or found.by_case[first]
    assert message in fault.what
    assert len(list((tmp_path / "fields").iterdir())) == 1


@pytest.mark.parametrize("text", ["", "{}", "[]", "[" * 100000])
def test_unusable_list(tmp_path, truth, text):
    (tmp_path / "predictions.json").write_text(text)
    with pytest.raises(DataError, match="predictions"):
        gather_fields(tmp_path, truth, {}, tmp_path)
