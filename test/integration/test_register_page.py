"""What docs/register.md tells a reader to type works as it stands there, on scans with the names it uses."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import write_dose, write_series, write_structures
from scipy.spatial.transform import Rotation

from dinoreg.cli.main import main
from dinoreg.desk.images import read_any, write_any
from dinoreg.phantom import Anatomy, Lattice, SmoothDeformation, render
from dinoreg.phantom.pairs import PAIRS
from regtask.grid import Grid

PAGE = Path(__file__).resolve().parents[2] / "docs" / "register.md"
FIXED = Lattice.centred((56, 46, 44), (6.0, 6.2, 7.4), (0.0, -5.0, 8.0))
MOVING = Lattice.centred((60, 48, 60), (5.6, 5.8, 5.4), (4.0, -2.0, 12.0))
LPS = np.array((-1.0, -1.0, 1.0))
TIPS = np.array([(55.0, 20.0, 30.0), (-50.0, 10.0, 40.0), (5.0, 40.0, -20.0)])  # RAS, inside the body


def blocks(language):
    """The fenced blocks of the page that are in a language, "" for commands."""
    return re.findall(
        rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )


def commands():
    return [line for block in blocks("") for line in block.splitlines()]


def turn():
    """RAS mm of t1 to those of flair: 11 degrees and 14 mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", (5.0, -6.0, 8.0), degrees=True).as_matrix()
    matrix[:3, 3] = (9.0, -8.0, 7.0)
    return matrix


def deformation(plan):
    return plan.deformation(np.random.default_rng(3))


def write_displacement(path, deformation, grid):
    """The deformation as another program would store it: vectors in LPS mm, one for every voxel."""
    voxels = np.moveaxis(np.indices(grid.shape), 0, -1)
    ras = voxels @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    vectors = (deformation(ras.reshape(-1, 3)).reshape(ras.shape) - ras) * LPS
    image = sitk.GetImageFromArray(vectors.transpose(2, 1, 0, 3), isVector=True)
    image.SetSpacing(np.linalg.norm(grid.affine[:3, :3], axis=0).tolist())
    image.SetOrigin((LPS * grid.affine[:3, 3]).tolist())
    image.SetDirection((LPS[:, None] * grid.affine[:3, :3] / np.array(image.GetSpacing())).ravel().tolist())
    sitk.WriteImage(image, str(path))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Every file that the page names as an input."""
    folder = tmp_path_factory.mktemp("page")
    rng = np.random.default_rng(0)
    here, there = Grid(FIXED.shape, FIXED.affine), Grid(MOVING.shape, MOVING.affine)
    anatomy = Anatomy.of(PAIRS[1].patients(rng)[0])
    still = SmoothDeformation()
    planning = render("CT", anatomy, deformation(PAIRS[0]), FIXED, rng)
    second = render("CT", anatomy, still, MOVING, rng)
    mr = render("MR", anatomy, deformation(PAIRS[1]), FIXED, rng)
    t1 = render("MR", anatomy, still, FIXED, rng)
    ct = render("CT", anatomy, still, FIXED, rng)
    elsewhere = np.array(FIXED.affine)  # the table of the other scanner
    elsewhere[:3, 3] += (25.0, -15.0, 30.0)
    table = Grid(FIXED.shape, elsewhere)
    carried = Grid(FIXED.shape, turn() @ FIXED.affine)
    for name, values, grid in (
        ("planning.nii.gz", planning.intensities, here),
        ("second.mha", second.intensities.astype(np.int16), there),
        ("organs.nii.gz", second.organs, there),
        ("more.nii.gz", second.organs, there),
        ("truth.nii.gz", planning.organs, here),
        ("mr.nii.gz", mr.intensities, table),
        ("mr_truth.nii.gz", mr.organs, table),
        ("ct.nrrd", second.intensities.astype(np.int16), there),
        ("ct_organs.nrrd", second.organs, there),
        ("t1.nii.gz", t1.intensities, here),
        ("flair.nii.gz", (3000 - ct.intensities) * ct.mask, carried),
    ):
        write_any(folder / name, values, grid)
    rows = "".join(f"v{n},{x},{y},{z}\n" for n, (x, y, z) in enumerate((TIPS * LPS).tolist()))
    for name in ("tips.fcsv", "p.fcsv"):
        (folder / name).write_text(f"# CoordinateSystem = LPS\n{rows}")
    sitk.WriteTransform(sitk.TranslationTransform(3, (-9.0, 8.0, 7.0)), str(folder / "start.tfm"))
    write_displacement(folder / "1Warp.nii.gz", deformation(PAIRS[0]), here)
    write_series(folder / "NEW_CT", planning.intensities.astype(np.int16), here, "new", intercept=0)
    write_series(folder / "OLD_CT", second.intensities.astype(np.int16), there, "old", intercept=0)
    square = np.array([[20.0, 15], [40, 15], [40, 30], [20, 30]])
    write_structures(
        folder / "RS.dcm", "old", there, {"box": ((9, 9, 9), [(k, square) for k in range(20, 40)])}
    )
    dose = np.zeros(there.shape, np.uint32)
    dose[20:40, 15:30, 20:40] = 50_000
    write_dose(folder / "RD.dcm", dose, there, 1e-3, "old")
    return folder


@pytest.fixture(scope="module")
def done(folder):
    """Run every command of the page, in its order."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return {line: main(shlex.split(line)[1:]) for line in commands()}


def test_every_command_works(done):
    assert len(done) >= 10
    assert {line: code for line, code in done.items() if code} == {}


def test_the_three_jobs_are_among_them(done):
    jobs = [line for line in done if "--output" in line and line.split()[-1] in ("CT", "MR", "HEAD")]
    assert [line.split()[1] for line in jobs] == ["register"] * 3
    assert all(option in jobs[0] for option in ("--labels", "--points"))
    assert "--transform rigid" in jobs[2]


@pytest.mark.parametrize(
    ("moved", "before", "truth"),
    [
        ("CT/labels_organs.nii.gz", "organs.nii.gz", "truth.nii.gz"),
        ("MR/labels_ct_organs.nii.gz", "ct_organs.nrrd", "mr_truth.nii.gz"),
        ("more_on_fixed.nii.gz", "more.nii.gz", "truth.nii.gz"),
    ],
)
def test_organs_come_closer(moved, before, truth, done, folder):
    fixed = read_any(folder / truth)
    stored = sitk.ReadImage(str(folder / before))
    at_rest = sitk.Resample(
        stored, sitk.ReadImage(str(folder / truth)), sitk.Transform(), sitk.sitkNearestNeighbor
    )
    start = sitk.GetArrayFromImage(at_rest).transpose(2, 1, 0)
    end = read_any(folder / moved).data
    scores = [np.mean([dice(fixed.data == n, image == n) for n in (1, 2, 3, 4)]) for image in (start, end)]
    assert scores[1] > max(scores[0] + 0.1, 0.6), scores


def dice(one, other):
    return 2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))


def test_points_lead_where_the_body_moved(done, folder):
    expected = deformation(PAIRS[0])(TIPS) * LPS
    before = np.linalg.norm(TIPS * LPS - expected, axis=1).mean()
    for name in ("CT/points_tips.fcsv", "p_on_moving.fcsv"):
        lines = (folder / name).read_text().splitlines()[1:]
        found = np.array([[float(x) for x in line.split(",")[1:4]] for line in lines])
        assert np.linalg.norm(found - expected, axis=1).mean() < 0.4 * before


@pytest.mark.parametrize(("output", "most_mm"), [("HEAD", 2.0), ("AFFINE", 2.5), ("FROM_START", 5.0)])
def test_a_turned_head_is_turned_back(output, most_mm, done, folder):
    transform = sitk.ReadTransform(str(folder / output / "transform.h5"))
    ends = [np.array(transform.TransformPoint(point)) for point in (TIPS * LPS).tolist()]
    expected = (TIPS @ turn()[:3, :3].T + turn()[:3, 3]) * LPS
    assert np.linalg.norm(TIPS * LPS - expected, axis=1).mean() > 15
    assert np.linalg.norm(ends - expected, axis=1).mean() < most_mm


def test_the_lines_of_python_work(done, folder, monkeypatch):
    monkeypatch.chdir(folder)
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda address: bool(opened.append(address)) or True)
    (source,) = blocks("python")
    lines = source.splitlines()
    assert lines[-1].endswith(".grade")
    names = {}
    exec("\n".join((*lines[:-1], f"grade = {lines[-1]}")), names)
    assert len(opened) == 1
    assert names["grade"] == "good"  # 1Warp.nii.gz holds the truth
