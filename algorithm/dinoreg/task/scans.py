"""The two images of a pair of a task, as a registration or a judge takes them."""

from __future__ import annotations

from pathlib import Path

from dinoreg.preprocess.pair import ImagePair, Scan
from regtask.dataset import Dataset
from regtask.images import Volume, read_mask
from regtask.pair import Pair


def image_pair(
    dataset: Dataset,
    pair: Pair,
    fixed: Volume,
    moving: Volume,
    *,
    come_again: tuple[bool, bool] = (False, False),
) -> ImagePair:
    """Join two images that were read with their modalities and the masks beside them.

    Args:
        dataset: the task.
        pair: of the task.
        fixed: its fixed image.
        moving: its moving image.
        come_again: whether other pairs have fixed, and moving, too.

    Raises:
        DataError: a mask cannot be read.
    """

    def scan(path: Path, volume: Volume, mask: Path | None, again: bool) -> Scan:
        return Scan(
            volume.data,
            volume.grid,
            modality=dataset.modality_of(path),
            mask=read_mask(mask) if mask is not None else None,
            invalid=volume.invalid,
            name=str(path),
            comes_again=again,
        )

    masks = pair.masks()
    return ImagePair(
        scan(pair.fixed, fixed, masks.fixed, come_again[0]),
        scan(pair.moving, moving, masks.moving, come_again[1]),
    )
