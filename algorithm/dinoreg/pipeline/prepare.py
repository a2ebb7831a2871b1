"""One image, ready to be encoded: intensities in [0, 1], background 0, foreground as a weight."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dinoreg.pipeline.config import Preprocess
from dinoreg.preprocess.foreground import content_box, threshold_foreground
from dinoreg.preprocess.intensity import clip_mr, image_kind, window_ct


@dataclass(frozen=True, slots=True, eq=False)
class PreparedImage:
    """An image as the encoder sees it.

    Attributes:
        values: (I, J, K) float32; [0, 1] where normalised, 0 outside the foreground.
        foreground: (I, J, K) bool.
        content: the smallest box outside which `values` is constant.
        name: identifies the image in the feature cache; without one its features are not remembered.
    """

    values: NDArray[np.float32]
    foreground: NDArray[np.bool_]
    content: tuple[slice, ...]
    name: str


def prepare_image(
    image: NDArray[np.float32],
    settings: Preprocess,
    *,
    modality: str,
    mask: NDArray[np.bool_] | None,
    name: str = "",
) -> PreparedImage:
    """Normalise one image by what it is and find its foreground.

    Args:
        image: (I, J, K), as stored.
        settings: windows, percentile, source of the foreground.
        modality: as the dataset JSON names it; decides between CT and MR, else the values do.
        mask: the task's mask, if it has one.
        name: identifies the image.
    """
    kind = image_kind(modality, image)
    if settings.foreground == "none":
        foreground = np.ones(image.shape, dtype=bool)
    elif mask is not None and settings.foreground != "threshold":
        foreground = mask
    elif settings.foreground in ("task", "task-or-all"):
        foreground = np.ones(image.shape, dtype=bool)
    else:
        foreground = threshold_foreground(image, kind)
    values = image
    if settings.normalise and kind == "ct":
        values = window_ct(image, level_hu=settings.ct_level_hu, width_hu=settings.ct_width_hu)
    elif settings.normalise:
        values = clip_mr(image, percentile=settings.mr_percentile, foreground=foreground)
    if not foreground.all():
        values = np.where(foreground, values, np.float32(0))
    return PreparedImage(values, foreground, content_box(values), name)
