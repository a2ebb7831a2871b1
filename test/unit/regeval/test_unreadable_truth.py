"""A ground truth that lies there but cannot be read is a fault, not a score that is lost in silence."""

import os
from pathlib import Path

import pytest

from regeval.inputs.config import config_of
from regeval.inputs.ground_truth import read_truth
from regtask import DataError, read_dataset


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("nothing")])
@pytest.mark.parametrize("name", ["landmarksTr/Knee_0001_0001.csv", "imagesTr/Knee_0001_0001.nii.gz"])
def test_unreadable(task, name, make):
    config = config_of(read_dataset(task))
    assert "tre" in [method.kind for method in config.methods]
    path = task.parent / name
    path.unlink()
    make(path)
    with pytest.raises(DataError, match=f"cannot read: {path}"):
        read_truth(config_of(read_dataset(task)), config.pairs[0])
