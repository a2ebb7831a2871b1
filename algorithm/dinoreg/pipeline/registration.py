"""What the registration of a pair led to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dinoreg.encoders.evidence import Evidence
from dinoreg.guard.guard import GuardFacts
from dinoreg.guard.verdict import Verdict
from dinoreg.pipeline.plan import Plan
from dinoreg.preprocess.pair import Margins
from dinoreg.stage import StageReport
from dinoreg.start.slice_matching import SliceMatch
from dinoreg.start.slices import SlicesFacts


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """The result of one pair.

    Attributes:
        displacement: (I, J, K, 3) float32, voxels of the fixed image, pull, identity not included.
        plan: every number that was used.
        stages: in the order in which they ran.
        guard: what was repaired last, and how many folds are left.
        device: where it was computed.
        evidence: what the encoders with a PCA saw, to be drawn or written.
        verdict: whether the result can be believed; None where nothing was compared.
        linear: (4, 4) voxels of fixed to voxels of moving, the map that the displacement ends with; None
            where the images as a whole were not moved.
        margins: voxels before and after along each axis that pad both images and were left out of the
            registration, whose plan counts from there; empty or zeros where there were none.
        exchanged: whether the displacement was sought from moving, and inverted; so is the plan then.
        other_way: what was said of a displacement that was sought the other way round and left; None where
            none was. The stages are those of both then.
    """

    displacement: NDArray[np.float32]
    plan: Plan
    stages: tuple[StageReport, ...]
    guard: GuardFacts
    device: torch.device
    evidence: tuple[Evidence, ...] = ()
    verdict: Verdict | None = None
    linear: NDArray[np.float64] | None = None
    margins: Margins = ()
    exchanged: bool = False
    other_way: Verdict | None = None

    @property
    def deformed(self) -> bool:
        """Whether any stage could find a displacement beside the linear map."""
        return bool(self.plan.start or self.plan.correct or self.plan.free)

    def or_better(self, other: Registration | Verdict, stages: tuple[StageReport, ...]) -> Registration:
        """Return what was sought from the other image, or this where only a verdict came of it.

        Args:
            other: the better one, or what is said of a worse one.
            stages: of both.
        """
        if isinstance(other, Verdict):
            return replace(self, stages=stages, other_way=other)
        return replace(other, other_way=self.verdict)

    @property
    def matches(self) -> tuple[SliceMatch, ...]:
        """How slices were matched, to be drawn."""
        found = [stage.facts for stage in self.stages if isinstance(stage.facts, SlicesFacts)]
        return tuple(facts.match for facts in found if facts.match is not None)

    def as_dict(self) -> dict[str, Any]:
        """Return what a manifest says of the pair, as plain JSON values."""
        facts: dict[str, Any] = {
            "folding_percent": self.guard.folding_percent,
            "stages": [stage.as_dict() for stage in self.stages],
            "plan": self.plan.as_dict(),
        }
        if self.exchanged:
            facts["sought_from"] = "moving"
        if self.other_way is not None:
            facts["other_way"] = self.other_way.as_dict()
        if any(map(any, self.margins)):
            facts["padding_left_out"] = [list(margin) for margin in self.margins]
        return facts | (self.verdict.as_dict() if self.verdict is not None else {})
