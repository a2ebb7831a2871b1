"""A pair of a task in memory, as a run reads it."""

from __future__ import annotations

from pathlib import Path

from dinoreg.preprocess.pair import ImagePair, Scan
from regtask.dataset import Dataset
from regtask.images import read_mask, read_volume
from regtask.pair import Pair


def read_image_pair(dataset: Dataset, pair: Pair, *, comes_again: bool = False) -> ImagePair:
    """Read both images and the masks beside them."""

    def scan(path: Path, mask: Path | None) -> Scan:
        volume = read_volume(path)
        return Scan(
            volume.data,
            volume.grid,
            modality=dataset.modality_of(path),
            mask=read_mask(mask) if mask is not None else None,
            invalid=volume.invalid,
            name=str(path),
            comes_again=comes_again,
        )

    masks = pair.masks()
    return ImagePair(scan(pair.fixed, masks.fixed), scan(pair.moving, masks.moving))
