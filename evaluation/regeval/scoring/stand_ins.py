"""What a pair scores whose field is missing or unusable.

`identity`: as with no displacement at all. That is perfectly regular, so leaving a hard pair out can pay.
`worst`: as if the field had carried everything out of the image and folded every voxel, so that no submitted
field is expected to do worse. Every label is lost by the rules of the mode (Dice 0; HD95 the diagonal of the
image, or infinite), every landmark misses by the diagonal or by its initial error, whichever is larger, and
every measure of regularity has its largest value.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from regeval.inputs.config import Missing
from regeval.scoring.pair_measures import LabelMeasures, Measures, diagonal_mm
from regeval.scoring.score import BothScores, Score
from regtask.errors import Fault

# Beside `mean` in every score of such a pair.
STAND_IN = "stand_in"


@dataclass(frozen=True, slots=True)
class StandIn:
    """Why a pair is scored without its field, and by what.

    Attributes:
        policy: "identity" or "worst".
        faults: what is wrong with the field, at least one.
    """

    policy: Missing
    faults: tuple[Fault, ...]

    @property
    def reason(self) -> str:
        """The faults in one line."""
        return "; ".join(map(str, self.faults))


def stand_in_measures(policy: Missing, initial: Measures) -> Measures:
    """Return what takes the place of the measures of a field.

    Args:
        policy: "identity" or "worst".
        initial: measures of the identity on the pair.
    """
    if policy == "identity":
        return initial
    truth = initial.truth
    moving_mm = truth.moving_spacing_mm
    farthest_mm = diagonal_mm(truth.shape, moving_mm)
    official_mm = diagonal_mm(truth.shape, truth.official_spacing_mm or moving_mm)
    lost = LabelMeasures(dice=0.0, hd95_voxels=math.inf, hd95_mm=math.inf)
    return replace(
        initial,
        labels=dict.fromkeys(initial.labels, lost),
        tre_mm={kind: np.maximum(errors, farthest_mm) for kind, errors in initial.tre_mm.items()},
        official_tre_mm={
            kind: np.maximum(errors, official_mm) for kind, errors in initial.official_tre_mm.items()
        },
        invented=True,
    )


def marked(scores: BothScores, stand_in: StandIn) -> BothScores:
    """Return the scores, each of which says that it does not come from a field, and why."""
    reason = f"no usable field, scored as {stand_in.policy}: {stand_in.reason}"

    def mark(named: Mapping[str, Score]) -> dict[str, Score]:
        return {
            name: replace(
                score, more={**score.more, STAND_IN: stand_in.policy}, reasons=(reason, *score.reasons)
            )
            for name, score in named.items()
        }

    return BothScores(mark(scores.official), mark(scores.strict), mark(scores.regularity))
