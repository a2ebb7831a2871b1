"""What a configuration is likely to get wrong on a task, said before the first pair."""

from __future__ import annotations

from collections.abc import Sequence

from dinoreg.settings.config import Config, Intensity
from regtask.dataset import Dataset
from regtask.pair import Pair


def intensities_across_modalities(dataset: Dataset, pairs: Sequence[Pair], config: Config) -> str:
    """Return a warning where intensities of two modalities would be compared; else an empty text."""
    if config.features.intensities == "measured":  # they count where the images show that they may
        return ""
    if not any(isinstance(encoder, Intensity) for encoder in config.features.encoders):
        return ""
    modalities = [(dataset.modality_of(pair.fixed), dataset.modality_of(pair.moving)) for pair in pairs]
    mixed = [names for names in modalities if names[0] != names[1]]
    if not mixed:
        return ""
    fixed, moving = mixed[0]
    return (
        f"{len(mixed)} of {len(pairs)} pairs are of two modalities, such as {fixed} and {moving}: registered"
        " by their intensities they go wrong; use --preset mind"
    )
