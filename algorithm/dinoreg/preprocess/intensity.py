"""Intensities to [0, 1], by what the image is, never by its role in a pair."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["ct", "mr"]

_CT_NAMES = {"CT", "CBCT", "FBCT", "LDCT", "CECT", "CTA", "4DCT"}

# An image of unknown modality with values below this is taken as CT (air is -1000 HU; MR has no such values).
_CT_EVIDENCE_HU = -200.0


def image_kind(modality: str, image: NDArray[np.float32]) -> Kind:
    """Decide how an image is normalised from its modality's name, else from its values.

    Args:
        modality: as the dataset JSON says it ("CT", "CBCT", "FBCT", "MR T2", "T1w Brain MRI", ...).
        image: (I, J, K).
    """
    words = modality.upper().replace("-", " ").replace("_", " ").split()
    if any(word in _CT_NAMES for word in words):
        return "ct"
    if any(word.startswith(("MR", "T1", "T2", "FLAIR")) for word in words):
        return "mr"
    return "ct" if float(image.min()) < _CT_EVIDENCE_HU else "mr"


def window_ct(image: NDArray[np.float32], *, level_hu: float, width_hu: float) -> NDArray[np.float32]:
    """Clip to level +- width / 2 and scale to [0, 1]."""
    low = level_hu - width_hu / 2
    scaled: NDArray[np.float32] = np.clip((image - low) / width_hu, 0.0, 1.0).astype(np.float32)
    return scaled


def clip_mr(
    image: NDArray[np.float32], *, percentile: float, foreground: NDArray[np.bool_] | None = None
) -> NDArray[np.float32]:
    """Clip to [minimum, percentile] of the foreground and scale to [0, 1]; a constant image becomes 0."""
    values = image if foreground is None or not foreground.any() else image[foreground]
    low, high = float(values.min()), float(np.percentile(values, percentile))
    if high <= low:
        return np.zeros_like(image, dtype=np.float32)
    scaled: NDArray[np.float32] = np.clip((image - low) / (high - low), 0.0, 1.0).astype(np.float32)
    return scaled
