"""A pair of a task in memory, as a run reads it."""

from __future__ import annotations

from dinoreg.preprocess.pair import ImagePair
from dinoreg.task.scans import image_pair
from regtask.dataset import Dataset
from regtask.images import read_volume
from regtask.pair import Pair


def read_image_pair(dataset: Dataset, pair: Pair, *, comes_again: bool = False) -> ImagePair:
    """Read both images and the masks beside them."""
    volumes = read_volume(pair.fixed), read_volume(pair.moving)
    return image_pair(dataset, pair, *volumes, come_again=(comes_again, comes_again))
