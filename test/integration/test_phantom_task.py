"""The phantom end to end: what registration makes of a deformation that is known exactly."""

import json
import logging
from types import MappingProxyType

import numpy as np
import pytest
from scipy import ndimage

from dinoreg.phantom import task as task_module
from dinoreg.settings.load import load_preset
from dinoreg.task.run_task import RunOptions, run_task
from regtask import Grid, read_dataset, read_field, read_header, read_landmark_pair, verify_pairs

log = logging.getLogger(__name__)

pytestmark = pytest.mark.integration

CT_TO_CT = ("0002_0000<--0001_0000", "0006_0000<--0005_0000")


@pytest.fixture(scope="module")
def phantom(whole_phantom):
    """The two CT to CT pairs: a breath, and a breath with another scan range."""
    dataset = read_dataset(whole_phantom)
    assert verify_pairs(dataset.pairs(), require_masks=True) == []
    content = dict(dataset.raw)
    content["registration_val"] = [
        entry
        for entry, pair in zip(content["registration_val"], dataset.pairs(), strict=True)
        if pair.case_key in CT_TO_CT
    ]
    path = whole_phantom.with_name("CtToCt_dataset.json")
    path.write_text(json.dumps(content), encoding="utf-8")
    return read_dataset(path)


@pytest.fixture(scope="module")
def whole_phantom(tmp_path_factory):
    """The whole task at 11 mm, in a second or two."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task_module, "_SIZES", MappingProxyType({"small": ((30, 24, 28), (11.2, 11.8, 12.0))}))
        return task_module.write_phantom_task(tmp_path_factory.mktemp("phantom") / "task", size="small")


def errors_mm(pair, field):
    points = read_landmark_pair(pair)
    grid: Grid = read_header(pair.fixed).grid
    vectors = [
        ndimage.map_coordinates(field[..., axis], points.fixed.T, order=1, mode="nearest")
        for axis in range(3)
    ]
    offsets = points.fixed + np.transpose(vectors) - points.moving
    return np.linalg.norm(offsets @ grid.affine[:3, :3].T, axis=1)


def determinants(field):
    gradients = [np.gradient(field[..., axis], axis=(0, 1, 2)) for axis in range(3)]
    matrix = np.moveaxis(np.array(gradients), (0, 1), (-2, -1)) + np.eye(3)
    return np.linalg.det(matrix)


@pytest.mark.parametrize("preset", ["convexadam", "mind"])
def test_ct_to_ct(phantom, tmp_path, preset):
    manifest = run_task(phantom, load_preset(preset), RunOptions(tmp_path))
    assert tuple(manifest.pairs) == CT_TO_CT
    for pair in phantom.pairs():
        entry = manifest.pairs[pair.case_key]
        (name,) = entry["files"]
        field = read_field(tmp_path / name, (30, 24, 28))
        before, after = errors_mm(pair, np.zeros_like(field)).mean(), errors_mm(pair, field).mean()
        log.info("%s, %s: mean TRE %.2f -> %.2f mm", pair.case_key, preset, before, after)
        voxel_diagonal = np.linalg.norm(read_header(pair.fixed).grid.spacing_mm)
        assert before > 9
        assert after < before * 0.65
        assert after < voxel_diagonal / 3  # 7 mm at 11 to 12 mm voxels
        if preset == "mind":
            assert after < before / 2
            assert after < voxel_diagonal / 4
            assert entry["folding_percent"] == 0
            assert determinants(field).min() > 0


def test_true_field_beats_all(phantom):
    """The landmarks and the task's own fields agree, so the errors above are those of the registration."""
    for pair in phantom.pairs():
        name = f"disp_{pair.fixed_id}_{pair.moving_id}.nii.gz"
        field = read_field(phantom.root / "fieldsTr" / name)
        assert errors_mm(pair, field).mean() < 0.5


def test_identity_on_the_phantom(whole_phantom, tmp_path):
    dataset = read_dataset(whole_phantom)
    manifest = run_task(dataset, load_preset("identity"), RunOptions(tmp_path))
    assert len(manifest.pairs) == 5
    assert len(list(tmp_path.glob("disp_*"))) == 5
    for path in tmp_path.glob("disp_*"):
        assert not read_field(path, (30, 24, 28)).any()


def test_verb(tmp_path, dinoreg, monkeypatch):
    monkeypatch.setattr(task_module, "_SIZES", MappingProxyType({"small": ((12, 10, 11), (28, 28, 30))}))
    monkeypatch.setattr(task_module, "PAIRS", task_module.PAIRS[:1])
    done = dinoreg("phantom", "--output", tmp_path / "task", "--size", "small", "--seed", "3")
    assert done.code == 0, done.err
    path = tmp_path / "task" / "Phantom_dataset.json"
    assert str(path) in done.err
    assert len(read_dataset(path).pairs()) == 1
