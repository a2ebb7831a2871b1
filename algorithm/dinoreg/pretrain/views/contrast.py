"""How bright each structure is: random, or roughly as in CT, T1- and T2-weighted MR, in units of the window.

Means and spreads of the modalities are textbook knowledge of what is bright and dark, not fitted to any scan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from dinoreg.pretrain.anatomy.labels import Kind

Range = tuple[float, float]  # mean, spread; values end in [0, 1]


@dataclass(frozen=True, slots=True, eq=False)
class Contrast:
    """The brightness of every structure in one view.

    Attributes:
        mean: (number of ids,) float32, mostly in [0, 1].
        texture: (number of ids, 2) float32, amplitude of a fine and a coarse texture.
        is_ct: intensities are absolute: no rescaling by percentiles.
    """

    mean: NDArray[np.float32]
    texture: NDArray[np.float32]
    is_ct: bool


_CT: Mapping[Kind, Range] = MappingProxyType(
    {
        Kind.GAS: (0.0, 0.0),
        Kind.LUNG: (0.0, 0.02),
        Kind.FAT: (0.12, 0.03),
        Kind.MUSCLE: (0.52, 0.04),
        Kind.ORGAN: (0.6, 0.1),
        Kind.FLUID: (0.4, 0.05),
        Kind.BLOOD: (0.7, 0.2),
        Kind.BONE: (1.3, 0.2),
        Kind.MARROW: (0.8, 0.15),
    }
)
_T1: Mapping[Kind, Range] = MappingProxyType(
    {
        Kind.GAS: (0.02, 0.02),
        Kind.LUNG: (0.06, 0.04),
        Kind.FAT: (0.9, 0.12),
        Kind.MUSCLE: (0.38, 0.08),
        Kind.ORGAN: (0.48, 0.13),
        Kind.FLUID: (0.18, 0.08),
        Kind.BLOOD: (0.4, 0.3),
        Kind.BONE: (0.08, 0.05),
        Kind.MARROW: (0.6, 0.2),
    }
)
_T2: Mapping[Kind, Range] = MappingProxyType(
    {
        Kind.GAS: (0.02, 0.02),
        Kind.LUNG: (0.06, 0.04),
        Kind.FAT: (0.75, 0.15),
        Kind.MUSCLE: (0.2, 0.07),
        Kind.ORGAN: (0.42, 0.2),
        Kind.FLUID: (1.1, 0.15),
        Kind.BLOOD: (0.25, 0.2),
        Kind.BONE: (0.08, 0.05),
        Kind.MARROW: (0.45, 0.2),
    }
)
_SUPPRESSED_FAT: Range = (0.15, 0.06)
_SUPPRESSED = 0.45  # how often in MR
_STYLES = ("random", "ct", "t1", "t2")
_SHARES = (0.4, 0.25, 0.15, 0.2)
_TEXTURE = 0.035


def draw_contrast(kinds: NDArray[np.uint8], rng: np.random.Generator) -> Contrast:
    """Draw a contrast for structures of these kinds.

    Args:
        kinds: (number of ids,), the `Kind` of each; ids of AIR stay at 0.
        rng: source of everything.
    """
    style = str(rng.choice(_STYLES, p=_SHARES))
    if style == "random":
        mean = _random_means(kinds, rng)
    else:
        mean = _modality_means({"ct": _CT, "t1": _T1, "t2": _T2}[style], kinds, rng, is_ct=style == "ct")
    mean[kinds == Kind.AIR] = 0
    strength = _TEXTURE * rng.uniform(0.2, 2.0) * (0.5 if style == "ct" else 1.0)
    texture = strength * rng.standard_normal((len(kinds), 2)).astype(np.float32)
    texture[kinds == Kind.AIR] = 0
    return Contrast(mean, texture, is_ct=style == "ct")


def _random_means(kinds: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float32]:
    """Every structure anything; structures of a kind are alike in some contrasts; gas is mostly dark."""
    own = rng.random(len(kinds))
    alike = rng.random(len(Kind))[kinds]
    share = rng.random() * (rng.random() < 0.5)
    mean = share * alike + (1 - share) * own
    if rng.random() < 0.8:
        mean[kinds == Kind.GAS] *= 0.1
    if rng.random() < 0.7:
        mean[kinds == Kind.LUNG] *= 0.2
    return mean.astype(np.float32)


def _modality_means(
    table: Mapping[Kind, Range], kinds: NDArray[np.uint8], rng: np.random.Generator, *, is_ct: bool
) -> NDArray[np.float32]:
    table = dict(table)
    if not is_ct and rng.random() < _SUPPRESSED:
        table[Kind.FAT] = _SUPPRESSED_FAT
    mean = np.zeros(len(kinds))
    for kind, (middle, spread) in table.items():
        of_kind = kinds == kind
        # Half of the spread is common to the kind: with contrast agent all vessels are bright.
        draws = rng.normal() * 0.7 + 0.7 * rng.standard_normal(int(of_kind.sum()))
        mean[of_kind] = middle + spread * draws
    return np.clip(mean, 0, 1.5).astype(np.float32)
