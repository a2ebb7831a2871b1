"""`dinoreg job`: a sample job from two scans, which the container then registers."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from regtask import read_volume

pytestmark = pytest.mark.integration


def test_a_job_that_the_container_registers(tiny, dinoreg, container, tmp_path):
    fixed, moving = (tiny.image(name) for name in tiny.pairs[0])
    mask = tiny.folder / "masksTr" / fixed.name
    job = tmp_path / "job"
    done = dinoreg("job", "--fixed", fixed, "--moving", moving, "--fixed-mask", mask, "--output", job)
    assert done.code == 0, done.err
    entries = json.loads((job / "inputs.json").read_text(encoding="utf-8"))
    assert [entry["socket"]["slug"] for entry in entries] == ["fixed-image", "moving-image", "fixed-mask"]
    assert entries[0]["image"] == {"name": fixed.name}
    assert entries[0]["socket"] == {
        "slug": "fixed-image",
        "relative_path": "images/fixed-image",
        "is_image_kind": True,
        "is_panimg_kind": True,
        "is_dicom_image_kind": False,
        "is_json_kind": False,
        "is_file_kind": False,
    }
    stored = sitk.ReadImage(job / "images/fixed-image/fixed.mha")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(stored).transpose(2, 1, 0), read_volume(fixed).data)
    np.testing.assert_allclose(stored.GetOrigin(), sitk.ReadImage(fixed).GetOrigin(), atol=1e-4)
    np.testing.assert_allclose(stored.GetDirection(), sitk.ReadImage(fixed).GetDirection(), atol=1e-6)
    assert sitk.ReadImage(job / "images/fixed-mask/fixed-mask.mha").GetPixelID() == sitk.sitkUInt8
    ran = container("--input", job, "--output", tmp_path / "out", "--preset", "identity")
    assert ran.code == 0, ran.err
    report = json.loads((tmp_path / "out/registration-report.json").read_text(encoding="utf-8"))
    sockets = {"fixed": "fixed-image", "moving": "moving-image", "fixed-mask": "fixed-mask"}
    assert report["grand_challenge"]["sockets"] == sockets


def test_sockets_as_the_challenge_names_them(tiny, dinoreg, tmp_path):
    call = ("job", "--fixed", tiny.image("0001_0000"), "--moving", tiny.image("0001_0001"), "--output")
    sockets = ("--socket", "fixed=follow-up-ct", "--socket", "moving=baseline-ct")
    assert dinoreg(*call, tmp_path / "job", *sockets).code == 0
    assert {path.name for path in (tmp_path / "job/images").iterdir()} == {"follow-up-ct", "baseline-ct"}
    again = dinoreg(*call, tmp_path / "job")
    assert (again.code, "choose an empty folder" in again.err) == (4, True)


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("fixed=../x", "small letters, digits and hyphens"),
        ("fixd=x", "PART=SLUG"),
        ("fixed=moving-image", "one slug for two images"),
    ],
)
def test_sockets_that_are_none(tiny, dinoreg, tmp_path, word, words):
    call = ("job", "--fixed", tiny.image("0001_0000"), "--moving", tiny.image("0001_0001"))
    done = dinoreg(*call, "--output", tmp_path / "job", "--socket", word)
    assert done.code == 2
    assert words in done.err
    assert not (tmp_path / "job").exists()
