"""The presets `ffd-*` from files to a written field, on a task of single slices."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from regtask import Grid, read_dataset, write_volume
from regtask.fields import read_field

pytestmark = pytest.mark.integration
SHAPE = (48, 40, 1)


@pytest.fixture(scope="module")
def slice_task(tmp_path_factory, oblique):
    """One pair: a bright ring that is smaller in the moving image, on a textured ground."""
    folder = tmp_path_factory.mktemp("slices")
    rng = np.random.default_rng(3)
    ground = ndimage.gaussian_filter(rng.standard_normal(SHAPE[:2]), 2.0)
    x, y = np.indices(SHAPE[:2])
    for role, radius in ((0, 11.0), (1, 8.0)):
        distance = np.hypot(x - 22, y - 21)
        ring = np.exp(-((distance - radius) ** 2) / 8)
        labels = (distance < radius).astype(np.uint8)[..., None]
        image = (600 * ring + 300 * ground + 500).astype(np.float32)[..., None]
        for kind, values in (("imagesTr", image), ("labelsTr", labels)):
            (folder / kind).mkdir(exist_ok=True)
            path = folder / kind / f"Ring_0001_000{role}.nii.gz"
            write_volume(path, values, Grid(SHAPE, oblique), values.dtype)
    names = {
        "fixed": "./imagesTr/Ring_0001_0000.nii.gz",
        "moving": "./imagesTr/Ring_0001_0001.nii.gz",
    }
    description = {"name": "Ring", "modality": {"0": "MR", "1": "MR"}, "registration_val": [names]}
    (folder / "Ring_dataset.json").write_text(json.dumps(description), encoding="utf-8")
    return folder / "Ring_dataset.json"


@pytest.mark.parametrize("preset", ["ffd-ncc", "ffd-mind"])
def test_slices_are_registered(dinoreg, slice_task, tmp_path, preset):
    from regeval.scoring.quick_scores import score_task

    output = tmp_path / "fields"
    done = dinoreg("run", "--dataset", slice_task, "--output", output, "--preset", preset, "--pictures")
    assert done.code == 0, done.err
    field = read_field(output / "disp_0001_0000_0001_0001.nii.gz")
    assert field.shape == (*SHAPE, 3)
    assert not field[..., 2].any()
    dataset = read_dataset(slice_task)
    ((before,), (after,)) = score_task(dataset, None), score_task(dataset, output)
    assert before.dice < 0.75
    assert after.dice > 0.88
    assert after.folding_percent == 0
    (entry,) = json.loads((output / "manifest.json").read_text())["pairs"].values()
    assert entry["verdict"] == "doubtful"  # a single slice, at best
    assert entry["verdict_evidence"]["residual"] < 0.5
    (level, finest) = entry["stages"][0]["details"]["levels"]
    assert level["losses"][0] > finest["losses"][-1]
    assert len(list((output / "pictures").glob("*.png"))) == 1


@pytest.fixture
def sam_file(tmp_path, monkeypatch):
    """A small image encoder with random weights under the official keys."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "golden" / "scripts"))
    from sam_reference import official_state

    path = tmp_path / "medsam_tiny.pth"
    torch.save({name: torch.from_numpy(array) for name, array in official_state("tiny").items()}, path)
    yield path
    path.unlink()


@pytest.mark.parametrize("order", ["dynamic", "static"])
def test_a_transformer_from_a_file_guides(dinoreg, slice_task, sam_file, tmp_path, order):
    """With random weights it says nothing of accuracy; here it is to work, and to be named."""
    output = tmp_path / "fields"
    changes = {
        "features.encoders.0.weights": sam_file,
        "ffd.0.feature_grid": 6,
        "ffd.0.iterations": 20,
        "ffd.0.alpha": 0.9,
        "ffd.0.order": order,
    }
    options = [part for key, value in changes.items() for part in ("--set", f"{key}={value}")]
    done = dinoreg(
        "run", "--dataset", slice_task, "--output", output, "--preset", "ffd-sam", "--device", "cpu", *options
    )
    assert done.code == 0, done.err
    manifest = json.loads((output / "manifest.json").read_text())
    assert manifest["weights"]["0"]["sha256"] == hashlib.sha256(sam_file.read_bytes()).hexdigest()
    (entry,) = manifest["pairs"].values()
    for level in entry["stages"][0]["details"]["levels"]:
        assert level["losses"][0] > level["losses"][-1] > 0
    assert read_field(output / "disp_0001_0000_0001_0001.nii.gz").any()


def test_without_weights_the_guide_is_refused(dinoreg, slice_task, tmp_path, monkeypatch):
    monkeypatch.setenv("DINOREG_WEIGHTS", str(tmp_path))
    for preset, name in (("ffd-dinov2", "vitb14-reg"), ("ffd-sam", "sam_vit_b_01ec64.pth")):
        done = dinoreg("run", "--dataset", slice_task, "--output", tmp_path / preset, "--preset", preset)
        assert done.code == 2
        assert "no weights" in done.err
        assert name in done.err
