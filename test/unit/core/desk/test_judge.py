"""`dinoreg judge`: transforms of any form, by scans on grids of their own."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from core_reference import smooth_noise
from desk_scans import SHIFT_MM
from scipy import ndimage

import dinoreg
from dinoreg.cli.main import main
from dinoreg.desk import judge as module
from dinoreg.desk.exchange.lattice import field_transform
from dinoreg.desk.images import to_itk
from dinoreg.desk.judge import judge
from dinoreg.errors import DeviceError
from regtask.errors import DataError
from regtask.grid import Grid

TURN = np.diag([-1.0, -1.0, 1.0])  # RAS to LPS


def bumps(points, height_mm=4.0):
    """A smooth displacement, RAS mm, of points of fixed."""
    return height_mm * np.stack([np.sin(points[:, (a + 1) % 3] / 17 + a) for a in range(3)], axis=1)


def rotation(degrees):
    a = np.radians(degrees)
    return np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])


def pitch(degrees):
    a = np.radians(degrees)
    return np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])


class Truth:
    """A world seen by two scanners: a point p of fixed lies at R (p + bumps(p)) + shift in moving."""

    def __init__(self, degrees, shift_mm):
        rng = np.random.default_rng(5)
        self.world = smooth_noise((80, 80, 80), rng, sigma=1.6)
        self.turn, self.shift = rotation(degrees), np.asarray(shift_mm)
        affine = np.eye(4)
        affine[:3, :3] = rotation(8) @ np.diag((2.0, 2.2, 2.5))
        affine[:3, 3] = (-45, -38, -45)
        self.fixed_grid = Grid((44, 40, 36), affine)
        there = np.eye(4)
        there[:3, :3] = self.turn @ rotation(-5) @ np.diag((-2.3, 1.9, 1.8))
        there[:3, 3] = self.turn @ (60, -58, -54) + self.shift
        self.moving_grid = Grid((54, 60, 60), there)

    def leads_to(self, points):
        return (points + bumps(points)) @ self.turn.T + self.shift

    def scans(self):
        """Both as images; fixed shows at p what moving shows where p lies in it."""
        own = self.fixed_grid.index_to_ras(np.indices(self.fixed_grid.shape).reshape(3, -1).T)
        fixed = self.shown(self.leads_to(own)).reshape(self.fixed_grid.shape)
        own = self.moving_grid.index_to_ras(np.indices(self.moving_grid.shape).reshape(3, -1).T)
        moving = self.shown(own).reshape(self.moving_grid.shape)
        return to_itk(fixed, self.fixed_grid), to_itk(moving, self.moving_grid)

    def shown(self, points):
        at = ((points - self.shift) @ self.turn + 80).T / 2
        values = ndimage.map_coordinates(self.world, at, order=1, mode="nearest")
        return (200 + 100 * values).astype(np.float32)

    def field(self, leads_to=None):
        points = self.fixed_grid.index_to_ras(np.indices(self.fixed_grid.shape).reshape(3, -1).T)
        vectors = ((leads_to or self.leads_to)(points) - points) @ TURN
        return field_transform(vectors.reshape(*self.fixed_grid.shape, 3), self.fixed_grid)


@pytest.fixture(scope="module")
def truth():
    return Truth(0, SHIFT_MM)


@pytest.mark.parametrize(
    ("degrees", "shift_mm"), [(0, SHIFT_MM), (50, SHIFT_MM), (0, (300.0, -500.0, 700.0)), (25, (0, 0, -400))]
)
def test_the_true_transform_is_good_however_far_it_leads(degrees, shift_mm):
    found = Truth(degrees, shift_mm)
    verdict = judge(*found.scans(), found.field())
    assert (verdict.grade, verdict.reasons) == ("good", ())
    assert verdict.evidence.residual < 0.3


def test_another_transform_is_not_good(truth):
    fixed, moving = truth.scans()

    def away(points):
        return truth.leads_to(points) + np.array([12.0, -20.0, 9.0])

    assert judge(fixed, moving, truth.field(away)).grade == "failed"


def part_of_the_field(truth, last):
    """The true transform, known on some planes of fixed only, as of a field of an organ."""
    whole = truth.field().GetDisplacementField()
    return sitk.DisplacementFieldTransform(whole[:, :, 4:last])


def test_a_field_of_a_part_is_judged_where_it_holds(truth):
    whole, part = (judge(*truth.scans(), one) for one in (truth.field(), part_of_the_field(truth, 24)))
    assert part.grade == "good"
    assert part.evidence.residual == pytest.approx(whole.evidence.residual, abs=0.05)


def test_a_field_beside_the_fixed_scan_is_refused(truth):
    beside = sitk.CompositeTransform(3)
    beside.AddTransform(part_of_the_field(truth, 24))
    beside.AddTransform(sitk.TranslationTransform(3, (0.0, 900.0, 0.0)))
    with pytest.raises(DataError, match="says nothing where the fixed scan lies"):
        judge(*truth.scans(), beside)


def test_a_pitch_is_seen_whatever_the_size_of_the_grid():
    """Every so many voxels of a grid of 100 x 100 x n all lie in one slice."""
    grid = Grid((100, 100, 12), np.diag([1.0, 1.0, 6.0, 1.0]))
    turn = TURN @ pitch(40) @ TURN
    points = grid.index_to_ras(np.indices(grid.shape).reshape(3, -1).T) @ TURN
    transform = field_transform((points @ turn.T - points).reshape(*grid.shape, 3), grid)
    matrix = module._linear_part(transform, grid, np.ones(grid.shape, bool))
    np.testing.assert_allclose(matrix[:3, :3], pitch(40), atol=1e-6)


def mirror(points):
    return points * (-1, 1, 1)


@pytest.mark.parametrize("linear", [True, False])
def test_a_mirrored_body_fails_however_well_it_fits(truth, linear):
    """Moving shows exactly what the transform says, but that no body turns right into left."""
    fixed, _ = truth.scans()
    grid = Grid(truth.fixed_grid.shape, np.diag([-1.0, 1.0, 1.0, 1.0]) @ truth.fixed_grid.affine)
    moving = to_itk(sitk.GetArrayFromImage(fixed).transpose(2, 1, 0), grid)
    affine = sitk.AffineTransform(3)
    affine.SetMatrix([-1, 0, 0, 0, 1, 0, 0, 0, 1])
    verdict = judge(fixed, moving, affine if linear else truth.field(mirror))
    assert verdict.grade == "failed"
    assert verdict.reasons == ("it mirrors the body, as nothing that happens to one does",)


@pytest.mark.parametrize("linear", [True, False])
def test_one_that_squeezes_all_to_a_point_fails(truth, linear):
    point = sitk.AffineTransform(3)
    point.SetMatrix((1e-4 * np.diag([1.0, 1.0, 1e-6])).ravel().tolist())
    squeezed = truth.field(lambda points: 0 * points + 3)
    assert judge(*truth.scans(), point if linear else squeezed).grade == "failed"


def test_a_linear_one_that_leads_beside_moving_covers_nothing(truth):
    verdict = judge(*truth.scans(), sitk.TranslationTransform(3, (0.0, 5000.0, 0.0)))
    assert (verdict.grade, verdict.evidence.covered) == ("failed", 0.0)


def test_bad_scans_and_devices_are_refused(truth):
    fixed, moving = truth.scans()
    with pytest.raises(DataError, match="constant image"):
        judge(fixed, sitk.Multiply(moving, 0.0), truth.field())
    with pytest.raises(DeviceError):
        judge(fixed, moving, truth.field(), device="nonsense")


def test_one_that_leads_beside_moving_fails(truth):
    verdict = judge(*truth.scans(), truth.field(lambda points: points + 5000))
    assert verdict.grade == "failed"
    assert verdict.evidence.covered == 0


def test_a_linear_transform_is_judged_as_one(truth):
    scans = truth.scans()
    shift = sitk.TranslationTransform(3, (TURN @ SHIFT_MM).tolist())
    wrong = sitk.TranslationTransform(3, (TURN @ SHIFT_MM + (0, 25, 0)).tolist())
    right = judge(*scans, shift)
    assert "nearby" in right.as_dict()["verdict_evidence"]
    assert right.evidence.apart < judge(*scans, wrong).evidence.apart
    assert judge(*scans, wrong).grade == "failed"


@pytest.fixture(scope="module")
def files(truth, tmp_path_factory):
    folder = tmp_path_factory.mktemp("judged")
    for name, image in zip(("fixed.nii.gz", "moving.mha"), truth.scans(), strict=True):
        sitk.WriteImage(image, str(folder / name))
    sitk.WriteTransform(truth.field(), str(folder / "right.h5"))
    vectors = truth.field(lambda points: points - 30).GetDisplacementField()
    image = sitk.Cast(vectors, sitk.sitkVectorFloat32)
    sitk.WriteImage(image, str(folder / "wrong.nrrd"))
    return folder


def call(files, transform, *words):
    scans = ("--fixed", str(files / "fixed.nii.gz"), "--moving", str(files / "moving.mha"))
    return main(["judge", *scans, "--transform", str(files / transform), *words])


def test_it_is_called_from_python_with_paths(files):
    scans = files / "fixed.nii.gz", files / "moving.mha"
    assert dinoreg.judge(*scans, files / "right.h5").grade == "good"
    assert dinoreg.judge(*scans, str(files / "wrong.nrrd"), form="image").grade == "failed"


def test_the_command_says_the_grade_and_why(files, capsys):
    assert call(files, "right.h5", "--strict") == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert first == "good"
    assert any(line.startswith("  residual: 0.") for line in rest)
    assert call(files, "wrong.nrrd") == 0
    first, reason, *_ = capsys.readouterr().out.splitlines()
    assert first == "failed"
    assert "matched places differ" in reason or "covers" in reason


def test_the_command_can_be_strict_and_write_json(files, capsys):
    assert call(files, "wrong.nrrd", "--json", "--strict") == 8
    said = json.loads(capsys.readouterr().out)
    assert said["verdict"] == "failed"
    assert set(said) == {"verdict", "verdict_reasons", "verdict_evidence"}


def test_a_transform_that_cannot_be_read_is_said(files, capsys):
    (files / "none.tfm").write_text("nothing\n")
    assert call(files, "none.tfm") == 3
    assert "none.tfm" in capsys.readouterr().err
