"""Intensities to [0, 1], by what the image is, never by its role in a pair."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32
from numpy.typing import NDArray

Kind = Literal["ct", "mr"]
Family = Literal["ct", "cone-beam ct", "mr", "pet", "ultrasound", "unknown"]

_CT_NAMES = {"CT", "CBCT", "FBCT", "LDCT", "CECT", "CTA", "4DCT"}

# An image of unknown modality with values below this is taken as CT (air is -1000 HU; MR has no such values).
_CT_EVIDENCE_HU = -200.0

_CONE_BEAM_NAMES = {"CBCT", "CONEBEAM"}
_ULTRASOUND_NAMES = {"US", "TRUS", "IUS", "ULTRASOUND"}
_MR_CONTRASTS = ("FLAIR", "T1", "T2")


class StatedKind(NamedTuple):
    """What the name of a modality states: a family, and for MR the contrast or an empty text."""

    family: Family
    contrast: str = ""


def stated_kind(modality: str) -> StatedKind:
    """Return what the words of a modality's name state, without a look at the image.

    A name that states nothing, or two families, is of unknown kind.

    Args:
        modality: as the dataset JSON says it, or a socket's slug ("CT", "fixed-ct", "MR T2", ...).
    """
    words = re.findall(r"[A-Z0-9]+", modality.upper())
    contrast = next((c for c in _MR_CONTRASTS if any(word.startswith(c) for word in words)), "")
    families: set[Family] = set()
    if "CONE" in words or _CONE_BEAM_NAMES & set(words):
        families.add("cone-beam ct")
    elif _CT_NAMES & set(words):
        families.add("ct")
    if contrast or any(word.startswith("MR") for word in words):
        families.add("mr")
    if "PET" in words:
        families.add("pet")
    if _ULTRASOUND_NAMES & set(words):
        families.add("ultrasound")
    if len(families) != 1:
        return StatedKind("unknown")
    return StatedKind(families.pop(), contrast)


def image_family(modality: str, image: Float32[np.ndarray, "*s"]) -> Family:
    """Decide whose intensities an image could be compared with; a cone beam gives a CT.

    Args:
        modality: as for `stated_kind`; where it states nothing the values decide.
        image: (I, J, K).
    """
    stated = stated_kind(modality).family
    if stated == "unknown":
        return image_kind(modality, image)
    return "ct" if stated == "cone-beam ct" else stated


def image_kind(modality: str, image: Float32[np.ndarray, "*s"]) -> Kind:
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


def window_ct(
    image: Float32[np.ndarray, "*s"], *, level_hu: float, width_hu: float
) -> Float32[np.ndarray, "*s"]:
    """Clip to level +- width / 2 and scale to [0, 1]."""
    low = level_hu - width_hu / 2
    scaled: NDArray[np.float32] = np.clip((image - low) / width_hu, 0.0, 1.0).astype(np.float32)
    return scaled


def clip_mr(
    image: Float32[np.ndarray, "*s"],
    *,
    percentile: float,
    foreground: Bool[np.ndarray, "*s"] | None = None,
) -> Float32[np.ndarray, "*s"]:
    """Clip to [minimum, percentile] of the foreground and scale to [0, 1]; a constant image becomes 0."""
    values = image if foreground is None or not foreground.any() else image[foreground]
    low, high = float(values.min()), float(np.percentile(values, percentile))
    if high <= low:
        return np.zeros_like(image, dtype=np.float32)
    scaled: NDArray[np.float32] = np.clip((image - low) / (high - low), 0.0, 1.0).astype(np.float32)
    return scaled
