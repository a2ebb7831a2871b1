"""Images and label maps of either format, NIfTI or MetaImage, by the file's name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regtask.grid import Grid
from regtask.images import ImageHeader, Volume, read_header, read_labels, read_volume
from regtask.metaimage import read_header_mha, read_labels_mha, read_volume_mha


def header_of(path: Path) -> ImageHeader:
    """Read where an image lies and how it is stored; see `regtask.images.read_header`."""
    return read_header_mha(path) if _is_mha(path) else read_header(path)


def volume_of(path: Path) -> Volume:
    """Read an image; see `regtask.images.read_volume`."""
    return read_volume_mha(path) if _is_mha(path) else read_volume(path)


def labels_of(path: Path) -> tuple[NDArray[np.integer], Grid]:
    """Read a label map; see `regtask.images.read_labels`."""
    return read_labels_mha(path) if _is_mha(path) else read_labels(path)


def _is_mha(path: Path) -> bool:
    return path.name.endswith(".mha")
