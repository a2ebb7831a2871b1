import logging
from collections import Counter

import numpy as np
import pytest

from regtask import DataError, Grid, Pair, raise_for, verify, verify_pairs, write_volume

FIXED, MOVING = "Torso_0001_0000.nii.gz", "Torso_0001_0001.nii.gz"


@pytest.fixture
def pair(task):
    return Pair.of(task / "imagesTr" / FIXED, task / "imagesTr" / MOVING)


def whats(faults):
    return [fault.what for fault in faults]


def test_sound_task(pair):
    assert verify_pairs([pair], same_grid="grid", require_masks=True) == []
    raise_for([])


def test_missing_and_unreadable_images(pair):
    pair.fixed.unlink()
    pair.moving.write_bytes(b"")
    assert whats(verify_pairs([pair])) == ["cannot read", "empty file"]


def test_image_that_is_not_finite(pair, raw_nifti):
    data = np.full((2, 3, 4), np.nan, np.float32)
    raw_nifti("x.nii.gz", datatype=16, bitpix=32, data=data.tobytes()).replace(pair.fixed)
    assert "values that are not finite" in whats(verify_pairs([pair]))


def test_constant_image(pair, grid):
    write_volume(pair.moving, np.full(grid.shape, -7.0), grid)
    (fault,) = verify_pairs([pair])
    assert (fault.what, fault.where, fault.got) == ("constant image", str(pair.moving), "-7 everywhere")


def test_images_of_two_shapes(task, pair, grid, values):
    for kind in ("imagesTr", "labelsTr", "masksTr"):
        path = task / kind / MOVING
        write_volume(path, (values > 0)[:, :, :3], grid.cropped((0, 0, 0), (5, 7, 3)), np.uint8)
    (fault,) = verify_pairs([pair])
    assert fault.what == "fixed and moving image differ"
    assert "shape (5, 7, 4) and (5, 7, 3)" in fault.got
    assert fault.where == "0001_0000<--0001_0001"


def moved(grid):
    affine = grid.affine.copy()
    affine[:3, 3] += (0, 0, 5)
    return Grid(grid.shape, affine)


def test_images_in_two_places(task, pair, grid, values, caplog):
    for kind in ("imagesTr", "labelsTr", "masksTr"):
        write_volume(task / kind / MOVING, values > 0, moved(grid), np.uint8)
    assert whats(verify_pairs([pair], same_grid="grid")) == ["fixed and moving image differ"]
    with caplog.at_level(logging.WARNING):
        assert verify_pairs([pair], same_grid="shape") == []
    assert "corners up to 5 mm apart" in caplog.text


@pytest.mark.parametrize(("kind", "name"), [("labelsTr", "label map"), ("masksTr", "mask")])
def test_companion_that_does_not_fit_its_image(task, pair, grid, values, kind, name):
    write_volume(task / kind / FIXED, (values > 0)[1:], grid.cropped((1, 0, 0), (4, 7, 4)), np.uint8)
    assert whats(verify_pairs([pair])) == [f"image and {name} differ"]
    assert whats(verify_pairs([pair], check_values=False)) == [f"image and {name} differ"]


def test_companion_in_another_place(task, pair, grid, values):
    write_volume(task / "masksTr" / FIXED, values > 0, moved(grid), np.uint8)
    assert whats(verify_pairs([pair], same_grid="grid")) == ["image and mask differ"]


def test_empty_mask(task, pair, grid):
    write_volume(task / "masksTr" / MOVING, np.zeros(grid.shape), grid, np.uint8)
    assert whats(verify_pairs([pair])) == ["empty mask"]


def test_mask_other_than_0_and_1(task, pair, grid, values):
    write_volume(task / "masksTr" / FIXED, (values > 0) * 255, grid, np.uint8)
    assert whats(verify_pairs([pair])) == ["mask is not binary"]


def test_interpolated_labels(task, pair, grid, values):
    write_volume(task / "labelsTr" / FIXED, values, grid)
    assert whats(verify_pairs([pair])) == ["values that are not labels"]


def test_missing_masks_are_a_fault_on_request_only(task, pair):
    (task / "masksTr" / MOVING).unlink()
    assert verify_pairs([pair]) == []
    (fault,) = verify_pairs([pair], require_masks=True)
    assert fault.what == "mask missing"
    assert str(pair.moving) in fault.expected


def test_headers_only(task, pair, grid, monkeypatch):
    write_volume(pair.fixed, np.zeros(grid.shape), grid)
    monkeypatch.setattr(verify, "read_volume", None)
    monkeypatch.setattr(verify, "read_labels", None)
    assert verify_pairs([pair], check_values=False) == []


def test_everything_is_reported_at_once_and_raised(task, pair, grid):
    pair.fixed.unlink()
    write_volume(pair.moving, np.zeros(grid.shape), grid)
    write_volume(task / "masksTr" / FIXED, np.zeros(grid.shape), grid, np.uint8)
    faults = verify_pairs([pair])
    assert whats(faults) == ["cannot read", "constant image", "empty mask"]
    with pytest.raises(DataError) as caught:
        raise_for(faults)
    assert list(caught.value.faults) == faults


def test_every_file_is_opened_once(pair, monkeypatch):
    opened = Counter()

    def counting(read):
        def counted(path):
            opened[path] += 1
            return read(path)

        return counted

    for name in ("read_volume", "read_labels", "read_header"):
        monkeypatch.setattr(verify, name, counting(getattr(verify, name)))
    swapped = Pair.of(pair.moving, pair.fixed)
    assert verify_pairs([pair, swapped, pair]) == []
    assert len(opened) == 6
    assert set(opened.values()) == {1}


def test_a_fault_of_a_shared_file_is_reported_once(pair):
    pair.fixed.unlink()
    assert len(verify_pairs([pair, Pair.of(pair.moving, pair.fixed)])) == 1
