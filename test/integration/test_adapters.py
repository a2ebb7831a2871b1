"""The calls of the platforms: OncoReg's scripts and Grand Challenge's exec mode."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from itk_images import FLIP, as_itk
from scipy import ndimage

from dinoreg.cli.platforms import oncoreg
from dinoreg.task import entry
from regtask import Grid, read_field

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
SHIFT_MM = np.array((3.0, -5.0, 7.0))  # RAS


# ---------------------------------------------------------------------------------------------------- OncoReg


@pytest.fixture
def call(edge, tmp_path):
    """The call, with its folders below tmp_path and the repository's descriptions."""
    (tmp_path / "data").mkdir()
    return lambda *arguments: edge(
        oncoreg.main, *arguments, "--root", tmp_path, "--descriptions", ROOT / "datasets_json"
    )


@pytest.mark.parametrize(("part", "pairs"), [("Val", 3), ("Ts", 1), ("Tr", 2)])
def test_part_chooses_the_pairs(tiny, call, tmp_path, part, pairs):
    shutil.copytree(tiny.folder, tmp_path / "data", dirs_exist_ok=True)
    description = tmp_path / "data" / "Tiny_dataset.json"
    content = json.loads(description.read_text())
    content["registration_test"] = content["registration_val"][:1]
    content["training_paired_images"] = content["registration_val"][1:]
    description.write_text(json.dumps(content))
    done = call("Tiny", part, "--preset", "identity")
    assert done.code == 0, done.err
    assert len(list((tmp_path / "results").glob("disp_*.nii.gz"))) == pairs


def test_description_of_the_repository_where_the_data_has_none(tiny, call, tmp_path):
    folder = tmp_path / "data" / "imagesTr"
    folder.mkdir()
    for case in ("0011", "0012", "0013"):
        for modality in ("0000", "0001", "0002"):
            shutil.copy(tiny.image("0001_0000"), folder / f"ThoraxCBCT_{case}_{modality}.nii.gz")
    done = call("ThoraxCBCT", "Val", "--preset", "identity")
    assert done.code == 0, done.err
    assert "the data has no ThoraxCBCT_dataset.json" in done.err
    fields = sorted(path.name for path in (tmp_path / "results").glob("disp_*"))
    assert fields[0] == "disp_0011_0001_0011_0000.nii.gz"
    assert len(fields) == 6


def test_unknown_task(call):
    done = call("Torax", "Ts")
    assert done.code == 3
    assert "no description of the task" in done.err
    assert "ThoraxCBCT" in done.err


def test_unknown_part_is_a_usage_error(call):
    assert call("ThoraxCBCT", "Test").code == 2


def test_arguments_of_the_environment_come_first(tiny, call, tmp_path, monkeypatch):
    shutil.copytree(tiny.folder, tmp_path / "data", dirs_exist_ok=True)
    monkeypatch.setenv("DINOREG_ARGUMENTS", "--preset identity --set output.naming=both")
    assert call("Tiny", "Val", "--set", "output.naming=2024").code == 0
    names = {path.name for path in (tmp_path / "results").glob("disp_*")}
    assert "disp_0001_0001.nii.gz" in names
    assert "disp_0001_0000_0001_0001.nii.gz" not in names


@pytest.mark.parametrize(("given", "expected"), [(None, "mounted"), ("other", "other")])
def test_weights_mounted_where_this_call_mounts_them(tiny, call, tmp_path, monkeypatch, given, expected):
    seen = []
    monkeypatch.setattr(oncoreg, "run", lambda options: seen.append(oncoreg.os.environ["DINOREG_WEIGHTS"]))
    shutil.copy(tiny.description, tmp_path / "data")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights.pth").touch()
    monkeypatch.setenv("DINOREG_WEIGHTS", given or "")
    if given is None:
        monkeypatch.delenv("DINOREG_WEIGHTS")
    assert call("Tiny", "Val").code == 0
    assert seen == [{"mounted": str(tmp_path / "model"), "other": "other"}[expected]]


# -------------------------------------------------------------------------------------------- Grand Challenge


def grid_of(shape, spacing, angle):
    """An oblique grid whose centre is the scanner's."""
    c, s = np.cos(angle), np.sin(angle)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.diag(spacing)
    affine[:3, 3] = -affine[:3, :3] @ (np.array(shape) - 1) / 2
    return Grid(shape, affine)


FIXED, MOVING = grid_of((36, 40, 30), (2.0, -2.2, 2.6), 0.3), grid_of((50, 44, 34), (-1.6, 2.0, 2.4), -0.2)


@pytest.fixture(scope="module")
def scans():
    """Two scans of one scene: what the fixed one shows at p lies at p + SHIFT_MM in the moving one."""
    scene_grid = grid_of((70, 70, 70), (1.8, 1.8, 1.8), 0.0)
    scene = ndimage.gaussian_filter(np.random.default_rng(3).standard_normal(scene_grid.shape), 2.5)
    scene = 1000 * (scene - scene.min()) / np.ptp(scene)
    radius = np.linalg.norm(np.indices(scene.shape).T - 34.5, axis=-1).T
    image = as_itk(np.where(radius < 24, scene + 200, 0).astype(np.float32), scene_grid)
    there = sitk.TranslationTransform(3, (FLIP @ SHIFT_MM).tolist())
    empty_fixed, empty_moving = (as_itk(np.zeros(g.shape, np.float32), g) for g in (FIXED, MOVING))
    return sitk.Resample(image, empty_fixed, there), sitk.Resample(image, empty_moving)


@pytest.fixture
def job(tmp_path, scans):
    """Write a job; returns its folder."""

    def write(key="socket", slugs=("fixed-mr", "moving-mr"), images=scans):
        folder = tmp_path / "input"
        entries = [{key: {"slug": "age", "relative_path": "age.json"}, "value": 40}]
        for slug, image in zip(slugs, images, strict=True):
            place = folder / "images" / slug
            place.mkdir(parents=True)
            sitk.WriteImage(image, place / "5a9c.mha", useCompression=True)
            entries.append({key: {"slug": slug, "relative_path": f"images/{slug}"}, "image": {"name": "x"}})
        (folder / "inputs.json").write_text(json.dumps(entries))
        return folder

    return write


def correlation(one, other):
    a, b = (sitk.GetArrayViewFromImage(image).ravel() for image in (one, other))
    return np.corrcoef(a, b)[0, 1]


def transform_from(path):
    """ITK's transform from a field file, as a user of the platform makes it."""
    image = sitk.ReadImage(path)
    components = [image[:, :, :, number] for number in range(3)]
    return sitk.DisplacementFieldTransform(
        sitk.Compose(*(sitk.Cast(c, sitk.sitkFloat64) for c in components))
    )


@pytest.mark.parametrize("key", ["socket", "interface"])
def test_field_warps_the_moving_image_onto_the_fixed_one(job, scans, container, tmp_path, quick, key):
    steps = ("--config", quick, "--set", "adam.0.iterations=60")
    done = container("--input", job(key), "--output", tmp_path / "out", *steps)
    assert done.code == 0, done.err
    files = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert files == ["images/displacement-field/displacement-field.mha", "registration-report.json"]
    fixed, moving = scans
    before = sitk.Resample(moving, fixed)
    transform = transform_from(tmp_path / "out" / files[0])
    after = sitk.Resample(moving, fixed, transform)
    assert correlation(before, fixed) < 0.75
    assert correlation(after, fixed) > 0.95
    points = [fixed.TransformIndexToPhysicalPoint((i, j, 15)) for i in (14, 18, 22) for j in (16, 20, 24)]
    found = np.median([np.subtract(transform.TransformPoint(point), point) for point in points], axis=0)
    np.testing.assert_allclose(FLIP @ found, SHIFT_MM, atol=1.0)
    report = json.loads((tmp_path / "out" / files[1]).read_text())
    assert [pair["status"] for pair in report["pairs"].values()] == ["ok"]
    assert report["grand_challenge"]["sockets"] == {"fixed": "fixed-mr", "moving": "moving-mr"}
    assert report["grand_challenge"]["moved_before_mm"] == [0, 0, 0]


def test_identity_is_no_displacement_in_the_scanner(job, container, tmp_path):
    done = container("--input", job(), "--output", tmp_path / "out", "--preset", "identity")
    assert done.code == 0, done.err
    field = sitk.ReadImage(tmp_path / "out/images/displacement-field/displacement-field.mha")
    assert not sitk.GetArrayViewFromImage(field).any()


def test_scans_that_do_not_overlap(job, scans, container, tmp_path, quick):
    fixed, moving = scans[0], sitk.Image(scans[1])
    moving.SetOrigin(np.add(moving.GetOrigin(), (900, -300, 500)).tolist())
    done = container("--input", job(images=(fixed, moving)), "--output", tmp_path / "out", "--config", quick)
    assert done.code == 0, done.err
    assert "centre on centre" in done.err
    transform = transform_from(tmp_path / "out/images/displacement-field/displacement-field.mha")
    assert correlation(sitk.Resample(moving, fixed, transform), fixed) > 0.9


def test_sockets_of_other_names(job, container, tmp_path, monkeypatch):
    folder = job(slugs=("follow-up", "baseline"))
    refused = container("--input", folder, "--output", tmp_path / "out", "--preset", "identity")
    assert refused.code == 3
    assert "--socket fixed=SLUG --socket moving=SLUG" in refused.err
    monkeypatch.setenv(
        "DINOREG_ARGUMENTS",
        "--preset identity --socket fixed=follow-up --socket moving=baseline "
        "--socket field=images/dvf --socket report=a/report.json",
    )
    done = container("--input", folder, "--output", tmp_path / "out")
    assert done.code == 0, done.err
    assert (tmp_path / "out/images/dvf/displacement-field.mha").is_file()
    assert (tmp_path / "out/a/report.json").is_file()


def test_masks_and_modalities_reach_the_registration(job, scans, container, tmp_path, monkeypatch):
    seen = []

    def look(name, read, config, **more):
        seen.append(read())
        raise SystemExit(0)

    monkeypatch.setattr(entry, "attempt", look)
    mask = sitk.Cast(scans[1] > 100, sitk.sitkUInt8) * 255
    folder = job(slugs=("fixed-mr", "moving-ct", "moving-mask"), images=(*scans, mask))
    container("--input", folder, "--output", tmp_path / "out")
    (pair,) = seen
    assert (pair.fixed.modality, pair.moving.modality) == ("fixed-mr", "moving-ct")
    assert pair.fixed.mask is None
    # Nearest neighbour and linear interpolation differ at the rim alone.
    assert (pair.moving.mask != (pair.moving.values > 100)).mean() < 0.05 < pair.moving.mask.mean() < 0.95


@pytest.mark.parametrize(
    ("word", "message"),
    [("fixd=a", "did you mean fixed"), ("field=/etc", "not a socket"), ("field", "not a")],
)
def test_faulty_socket_is_a_configuration_error(job, container, tmp_path, word, message):
    done = container("--input", job(), "--output", tmp_path / "out", "--socket", word)
    assert done.code == 2
    assert message in done.err


def test_images_that_are_not_one_mha(job, container, tmp_path):
    folder = job()
    (folder / "images" / "moving-mr" / "second.mha").touch()
    done = container("--input", folder, "--output", tmp_path / "out")
    assert done.code == 3
    assert "one image is needed" in done.err


def test_a_task_beside_the_list_of_inputs_is_run_as_a_task(tiny, container, tmp_path):
    task = tiny.copied_to(tmp_path / "task")
    (task.folder / "inputs.json").write_text("[]")
    assert container("--input", task.folder, "--output", tmp_path / "out", "--preset", "identity").code == 0
    assert not read_field(tmp_path / "out" / tiny.fields[0]).any()


def spoilt(image, share):
    """A copy with NaN in the first slices."""
    array = sitk.GetArrayFromImage(image)
    array[: round(share * len(array))] = np.nan
    copy = sitk.GetImageFromArray(array)
    copy.CopyInformation(image)
    return copy


def test_voxels_without_a_value_do_not_count(job, scans, container, tmp_path, quick):
    folder = job(images=(scans[0], spoilt(scans[1], 0.2)))
    done = container("--input", folder, "--output", tmp_path / "out", "--config", quick)
    assert done.code == 0, done.err
    assert "voxels have no value" in done.err
    report = json.loads((tmp_path / "out/registration-report.json").read_text())
    assert [pair["status"] for pair in report["pairs"].values()] == ["ok"]


def test_a_mask_needs_all_its_values(job, scans, container, tmp_path, quick):
    slugs = ("fixed-mr", "moving-mr", "fixed-mask")
    folder = job(slugs=slugs, images=(*scans, spoilt(scans[0], 0.2)))
    done = container("--input", folder, "--output", tmp_path / "out", "--config", quick)
    assert done.code == 3
    assert "mask with voxels without a value: fixed-mask" in done.err
