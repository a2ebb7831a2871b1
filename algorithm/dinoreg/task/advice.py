"""What a configuration is likely to get wrong on a task, said before the first pair.

Rule: two images are compared by the kind that the words of their modalities state, never by the words
themselves. Kinds are CT, cone-beam CT, MR (with its contrast, T1, T2 or FLAIR, where one is named), PET and
ultrasound. A name that states no kind, such as "fixed" or "unknown", differs from nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from dinoreg.preprocess.intensity import StatedKind, stated_kind
from dinoreg.settings.config import Config, Intensity
from regtask.dataset import Dataset
from regtask.pair import Pair

# What two kinds may have against each other, the worst first, and what follows from it.
_OUTCOMES = {
    "of two modalities": "registered by their intensities they go wrong; use --preset mind",
    "of two contrasts": "registered by their intensities they go wrong; use --preset mind",
    "CT against cone-beam CT": "the grey values of a cone beam are no Hounsfield units, so intensities are"
    " compared with an error; --preset mind does not compare them",
}


def intensities_across_modalities(dataset: Dataset, pairs: Sequence[Pair], config: Config) -> str:
    """Return a warning where intensities of two modalities would be compared; else an empty text."""
    if config.features.intensities == "measured":  # they count where the images show that they may
        return ""
    if not any(isinstance(encoder, Intensity) for encoder in config.features.encoders):
        return ""
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for pair in pairs:
        names = dataset.modality_of(pair.fixed), dataset.modality_of(pair.moving)
        found[_difference(stated_kind(names[0]), stated_kind(names[1]))].append(names)
    for what, outcome in _OUTCOMES.items():
        if what in found:
            example = " and ".join(found[what][0])
            return f"{len(found[what])} of {len(pairs)} pairs are {what}, such as {example}: {outcome}"
    return ""


def _difference(fixed: StatedKind, moving: StatedKind) -> str:
    """Return a key of `_OUTCOMES`, or an empty text where nothing is known to differ."""
    families = {fixed.family, moving.family}
    if "unknown" in families:
        return ""
    if families == {"ct", "cone-beam ct"}:
        return "CT against cone-beam CT"
    if len(families) == 2:
        return "of two modalities"
    if fixed.contrast and moving.contrast and fixed.contrast != moving.contrast:
        return "of two contrasts"
    return ""
