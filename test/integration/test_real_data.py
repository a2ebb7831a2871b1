"""Real scans: overlap on the hippocampus, and a shift of a brain that is known."""

import logging
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from dinoreg.settings.load import load_preset
from dinoreg.task.run_task import RunOptions, run_task
from regtask import Grid, read_dataset, read_field, write_volume

log = logging.getLogger(__name__)

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"

pytestmark = [
    pytest.mark.integration,
    pytest.mark.real_data,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"no scans: {DATA} does not exist"),
]


def load(path):
    return np.asanyarray(nib.load(path).dataobj)


def dice(one, other):
    labels = set(np.unique(one)) & set(np.unique(other)) - {0}
    assert labels
    return np.mean(
        [2 * ((one == k) & (other == k)).sum() / ((one == k).sum() + (other == k).sum()) for k in labels]
    )


def test_hippocampus(tmp_path):
    """All ten pairs: of the first three, the identity alone has a mean Dice above 0.75."""
    dataset = read_dataset(DATA / "HippocampusMR" / "HippocampusMR_dataset.json")
    run_task(dataset, load_preset("convexadam"), RunOptions(tmp_path / "out"))
    before, after = [], []
    for pair in dataset.pairs():
        fixed, moving = (load(path).astype(int) for path in pair.labels())
        field = read_field(tmp_path / "out" / f"disp_{pair.fixed_id}_{pair.moving_id}.nii.gz", fixed.shape)
        positions = np.indices(fixed.shape) + np.moveaxis(field, -1, 0)
        before.append(dice(fixed, moving))
        after.append(dice(fixed, ndimage.map_coordinates(moving, positions, order=0, mode="nearest")))
    log.info("Dice %.3f -> %.3f", np.mean(before), np.mean(after))
    assert np.mean(before) < 0.71
    assert np.mean(after) > 0.75


@pytest.mark.parametrize("shape", [(72, 84, 96), (71, 83, 94)], ids=["by 6", "not by 6"])
def test_shift_of_a_brain(tmp_path, shape):
    """Fixed voxel x shows what the moving image shows at x + (3, -5, 7)."""
    shift = (3, -5, 7)
    image = nib.load(DATA / "BrainT1" / "imagesTr" / "BrainT1_0001_0000.nii.gz")
    scene = np.asanyarray(image.dataobj, dtype=np.float32)[40:, 50:, 60:][tuple(slice(0, n) for n in shape)]
    assert scene.shape == shape
    inside = [np.clip(np.arange(n) + s, 0, n - 1) for n, s in zip(shape, shift, strict=True)]
    folder = tmp_path / "imagesTr"
    folder.mkdir()
    grid = Grid(shape, image.affine)
    write_volume(folder / "Brain_0001_0000.nii.gz", scene[np.ix_(*inside)], grid)
    write_volume(folder / "Brain_0002_0000.nii.gz", scene, grid)
    description = tmp_path / "Brain_dataset.json"
    description.write_text(
        '{"name": "Brain", "modality": {"0": "T1w MR"}, "registration_val": [{'
        '"fixed": "./imagesTr/Brain_0001_0000.nii.gz", "moving": "./imagesTr/Brain_0002_0000.nii.gz"}]}'
    )
    run_task(read_dataset(description), load_preset("convexadam"), RunOptions(tmp_path / "out"))
    field = read_field(tmp_path / "out" / "disp_0001_0000_0002_0000.nii.gz", shape)
    half = field[tuple(slice(n // 4, n - n // 4) for n in shape)]
    found = np.median(half.reshape(-1, 3), axis=0)
    log.info("%s: shift %s", shape, found.round(3))
    np.testing.assert_allclose(found, shift, atol=0.1)
