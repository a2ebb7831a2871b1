"""The calls of the platforms: OncoReg's scripts and Grand Challenge's exec mode."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from regtask import read_field, read_landmarks

pytestmark = pytest.mark.container

PRESET = "convexadam"


def test_oncoreg_registration(phantom, phantom_run, image, shut_in, writable):
    mounts = {"/oncoreg/data:ro": phantom.folder, "/oncoreg/results": writable}
    environment = f"DINOREG_ARGUMENTS=--preset {PRESET}"
    done = shut_in(image, "Phantom", "Val", mounts=mounts, entry="./test.sh", environment=environment)
    assert done.code == 0, done.err
    for name in phantom.fields:
        np.testing.assert_array_equal(read_field(writable / name), read_field(phantom_run.output / name))


def test_oncoreg_part_without_pairs(phantom, image, shut_in, writable):
    mounts = {"/oncoreg/data:ro": phantom.folder, "/oncoreg/results": writable}
    done = shut_in(image, "Phantom", "Ts", mounts=mounts, entry="./test.sh")
    assert done.code == 3
    assert "no pairs in split 'test'" in done.err


def test_oncoreg_descriptions_are_in_the_image(phantom, image, shut_in, writable):
    mounts = {"/oncoreg/data:ro": phantom.folder, "/oncoreg/results": writable}
    done = shut_in(image, "ThoraxCBCT", "Val", "--on-failure", "raise", mounts=mounts, entry="./test.sh")
    assert done.code == 3
    assert "using /opt/dinoreg/datasets_json/ThoraxCBCT_dataset.json" in done.err
    assert "ThoraxCBCT_0011_0001.nii.gz" in done.err


def test_oncoreg_training_is_nothing_to_do(image, shut_in, writable):
    done = shut_in(image, "ThoraxCBCT", mounts={"/oncoreg/model": writable}, entry="./train.sh")
    assert done.code == 0
    assert "nothing is trained" in done.out
    assert list(writable.iterdir()) == []


def dice(one, other):
    a, b = (sitk.GetArrayViewFromImage(image) for image in (one, other))
    labels = np.intersect1d(a, b)[1:]
    return np.mean([2 * np.sum((a == n) & (b == n)) / (np.sum(a == n) + np.sum(b == n)) for n in labels])


def test_exec_mode_writes_one_field_and_a_report(exec_job):
    assert exec_job.finished.code == 0, exec_job.finished.err
    report = exec_job.output / "registration-report.json"
    files = {path for path in exec_job.output.rglob("*") if path.is_file()}
    assert files == {exec_job.field, report}
    pairs = json.loads(report.read_text())["pairs"]
    assert [pair["status"] for pair in pairs.values()] == ["ok"]


@pytest.fixture
def transform(exec_job):
    """ITK's transform from the field, as a user of the platform makes it."""
    field = sitk.ReadImage(exec_job.field)
    assert sitk.GetArrayViewFromImage(field).shape[0] == 3
    parts = [sitk.Cast(field[:, :, :, axis], sitk.sitkFloat64) for axis in range(3)]
    return sitk.DisplacementFieldTransform(sitk.Compose(*parts))


def test_exec_mode_field_warps_the_moving_onto_the_fixed_scan(phantom, exec_job, transform):
    nearest = sitk.sitkNearestNeighbor
    fixed, moving = (
        sitk.ReadImage(phantom.folder / "labelsTr" / f"Phantom_{name}.nii.gz")
        for name in (exec_job.fixed, exec_job.moving)
    )
    given = sitk.Resample(moving, sitk.ReadImage(exec_job.scan("moving")), sitk.Transform(), nearest)
    before = sitk.Resample(given, fixed, sitk.Transform(), nearest)
    after = sitk.Resample(given, fixed, transform, nearest)
    assert dice(after, fixed) > dice(before, fixed) + 0.03


def test_exec_mode_field_brings_landmarks_together(phantom, exec_job, transform):
    here, there = (
        np.array([image.TransformContinuousIndexToPhysicalPoint(point) for point in points.tolist()])
        for name in (exec_job.fixed, exec_job.moving)
        for image in [sitk.ReadImage(phantom.folder / "imagesTr" / f"Phantom_{name}.nii.gz")]
        for points in [read_landmarks(phantom.folder / "landmarksTr" / f"Phantom_{name}.csv")]
    )
    moved = np.array([transform.TransformPoint(point) for point in here.tolist()])
    before, after = (np.linalg.norm(there - points, axis=1).mean() for points in (here, moved))
    assert after < 0.7 * before  # rounding alone moves it between 0.60 and 0.61
