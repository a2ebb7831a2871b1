"""Images with voxels that have no value: marked, and filled with the lowest value."""

import logging

import numpy as np
import pytest
import SimpleITK as sitk
from itk_images import as_itk

from regtask import DataError, Pair, read_volume, verify_pairs, write_volume
from regtask.metaimage import read_field_mha, read_volume_mha


@pytest.fixture(params=["nii.gz", "mha"])
def stored(request, tmp_path, grid):
    """Write an image in one of the formats; returns how it is read back."""

    def write(values):
        path = tmp_path / f"x.{request.param}"
        if request.param == "mha":
            sitk.WriteImage(as_itk(values.astype(np.float32), grid), path)
            return lambda: read_volume_mha(path)
        lacking = ~np.isfinite(values)
        write_volume(path, np.where(lacking, 0, values), grid, invalid=lacking)
        return lambda: read_volume(path)

    return write


@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf])
def test_marked_and_filled_with_the_lowest_value(stored, values, hole):
    given = values.copy()
    given[1, 2, 3] = given[:, 0] = hole
    volume = stored(given)()
    np.testing.assert_array_equal(volume.invalid, ~np.isfinite(given))
    assert volume.data.dtype == np.float32
    np.testing.assert_array_equal(volume.data[~volume.invalid], given[np.isfinite(given)])
    assert set(volume.data[volume.invalid]) == {given[np.isfinite(given)].min()}
    # 5 x 4 voxels of one slice, and one.
    assert volume.invalid_text().startswith("21 of 140 voxels have no value")


def test_no_mask_where_every_voxel_has_a_value(stored, values):
    volume = stored(values)()
    assert volume.invalid is None
    assert volume.invalid_text() == ""


def test_up_to_nineteen_in_twenty_may_lack_a_value(stored, values):
    # Of 140 voxels 133 are 95 %.
    given = values.ravel().copy()
    given[:133] = np.nan
    assert stored(given.reshape(values.shape))().invalid.sum() == 133
    given[133] = np.nan
    with pytest.raises(DataError, match=r"not finite.*134 of 140.*95%"):
        stored(given.reshape(values.shape))()


def test_a_field_needs_all_its_values(tmp_path, grid, values):
    vectors = np.stack([values] * 3, axis=-1)
    vectors[1, 2, 3, 0] = np.nan
    image = sitk.JoinSeries([as_itk(vectors[..., c], grid) for c in range(3)])
    sitk.WriteImage(image, tmp_path / "f.mha")
    with pytest.raises(DataError, match=r"not finite.*1 of 420, the first at \(1, 2, 3, 0\)"):
        read_field_mha(tmp_path / "f.mha")


def test_the_check_of_a_task_warns_with_the_count(task, grid, values, caplog):
    images = task / "imagesTr"
    pair = Pair.of(images / "Torso_0001_0000.nii.gz", images / "Torso_0001_0001.nii.gz")
    write_volume(pair.fixed, values, grid, invalid=values < 0)
    with caplog.at_level(logging.WARNING):
        assert verify_pairs([pair]) == []
    assert f"{pair.fixed}: 4 of 140 voxels have no value" in caplog.text


def test_a_constant_beside_voxels_without_a_value_is_constant(task, grid, values):
    images = task / "imagesTr"
    pair = Pair.of(images / "Torso_0001_0000.nii.gz", images / "Torso_0001_0001.nii.gz")
    write_volume(pair.fixed, np.ones_like(values), grid, invalid=values < 0)
    assert "constant image" in str(verify_pairs([pair])[0])
