"""How a result is judged: on which cells, by which features, and by what the images themselves show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import torch

from dinoreg.encoders.pair import PairFeatures, intensities_on
from dinoreg.encoders.pool import EncoderPool
from dinoreg.guard.verdict import Verdict, gather_evidence, judge
from dinoreg.optimise.intensities.agreement import explained_by
from dinoreg.preprocess.prepare import PreparedImage
from dinoreg.settings.config import Config
from dinoreg.settings.encoders import Mind
from dinoreg.space.deformation import Deformation
from dinoreg.space.features import FeaturePair, Part
from dinoreg.space.frame import Frame
from dinoreg.space.lattice import Lattice


@dataclass(frozen=True, slots=True)
class Judged:
    """What a verdict is made from.

    Attributes:
        lattice: of the features, where anatomy outweighs noise.
        weights: of the features.
        fine: where intensities are compared.
        masked: whether cells without foreground do not count.
    """

    lattice: Lattice
    weights: tuple[float, ...]
    fine: Lattice
    masked: bool

    @classmethod
    def planned(cls, config: Config, lattice: Callable[[Any], Lattice], finest: Lattice) -> Self | None:
        """Judge on the last discrete stage's lattice and, where it states none, by the first one's weights.

        Args:
            config: all settings; where they compare no features there is nothing to judge by.
            lattice: of the settings of a stage.
            finest: of the features.
        """
        if config.discrete:
            first, last = config.discrete[0], config.discrete[-1]
            weights = getattr(last, "weights", ()) or getattr(first, "weights", ())
            return cls(lattice(last), weights, finest, config.masked)
        last_step = (*config.start, *config.adam)[-1:]
        return cls(lattice(last_step[0]), (), finest, config.masked) if last_step else None

    def verdict(
        self,
        features: PairFeatures,
        found: Deformation,
        images: tuple[PreparedImage, PreparedImage],
        frame: Frame,
        *,
        exchanged: bool = False,
    ) -> Verdict:
        """Grade what was found.

        Intensities that were made alike prove nothing between two families of modalities, a CT and an MR say:
        where they were compared the structure of the images judges, by MIND.

        Args:
            features: that it was found by.
            found: the deformation, on any lattice of the frame.
            images: fixed and moving.
            frame: of the pair.
            exchanged: whether fixed and moving changed places.
        """
        device = found.vectors.device
        one_family = images[0].family == images[1].family
        seen = features.on(self.lattice, self.weights)
        if not one_family and any(part.encoder == "intensity" for part in seen.parts):
            seen = structure_of(images, frame, self.lattice, device)
        fixed, moving = (
            intensities_on(image, frame, self.fine, masked=self.masked, device=device) for image in images
        )
        evidence = gather_evidence(
            seen.fixed,
            seen.moving,
            found.on(self.lattice).vectors,
            explained=explained_by(fixed, moving, found.on(self.fine).vectors),
            one_family=one_family,
            exchanged=exchanged,
        )
        return judge(evidence)


def structure_of(
    images: tuple[PreparedImage, PreparedImage], frame: Frame, lattice: Lattice, device: torch.device
) -> FeaturePair:
    """Return MIND of fixed and moving on a lattice over the box of a frame, as `auto` and `mind` have it."""
    (source,) = EncoderPool(device).sources((Mind(),))
    found = source.encode(images, frame, lattice)
    return FeaturePair(found.fixed, found.moving, (Part(source.settings.name, source.channels, 1.0),))
