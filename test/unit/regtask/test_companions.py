"""What lies beside an image under the name of its companion counts, whatever it is; reading it says what."""

import os
from pathlib import Path

import numpy as np
import pytest

from regtask import DataError, Pair, read_labels, read_landmark_pair, verify_pairs, write_landmarks

IMPOSTORS = {
    "folder": (Path.mkdir, "a directory"),
    "pipe": (os.mkfifo, "a named pipe"),
    "link to nothing": (lambda path: path.symlink_to("nothing"), "a link to something that does not exist"),
    "link to itself": (lambda path: path.symlink_to(path.name), "symbolic links"),
}


@pytest.fixture
def pair(task):
    images = task / "imagesTr"
    return Pair.of(images / "Torso_0001_0000.nii.gz", images / "Torso_0001_0001.nii.gz")


@pytest.mark.parametrize("kind", ["landmarks", "keypoints"])
@pytest.mark.parametrize(("make", "got"), IMPOSTORS.values(), ids=IMPOSTORS)
def test_points_that_cannot_be_read_are_not_absent(task, pair, kind, make, got):
    folder = task / f"{kind}Tr"
    folder.mkdir()
    write_landmarks(folder / "Torso_0001_0000.csv", np.ones((2, 3)))
    assert read_landmark_pair(pair, kind) is None
    make(folder / "Torso_0001_0001.csv")
    with pytest.raises(DataError, match=f"cannot read.*Torso_0001_0001.csv.*{got}"):
        read_landmark_pair(pair, kind)


@pytest.mark.parametrize("kind", ["labels", "masks"])
@pytest.mark.parametrize(("make", "got"), IMPOSTORS.values(), ids=IMPOSTORS)
def test_label_maps_and_masks_that_cannot_be_read_are_not_absent(task, pair, kind, make, got):
    path = task / f"{kind}Tr" / "Torso_0001_0001.nii.gz"
    path.unlink()
    assert getattr(pair, kind)().moving is None
    assert verify_pairs([pair]) == []
    make(path)
    assert getattr(pair, kind)().moving == path
    with pytest.raises(DataError, match=got):
        read_labels(path)
    (fault,) = verify_pairs([pair])
    assert got in str(fault)


def test_a_folder_that_may_not_be_looked_into_is_not_absent(task, pair, monkeypatch):
    def forbidden(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "lstat", forbidden)
    assert pair.landmarks().fixed == task / "landmarksTr" / "Torso_0001_0000.csv"
