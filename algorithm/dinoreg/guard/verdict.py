"""Whether a registration can be believed, in words and numbers.

A field can be smooth, finite and free of folds and still be wrong: the other body part, a mirrored scan, a
start that missed. What gives that away is how much of the fixed image the moving one covers, how much closer
the matched features are than unrelated ones, how far the field stretches, and whether the brightness of one
image then says anything of that of the other. docs/verdict.md has the pairs, right and wrong, that the limits
were set on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from dinoreg.space.features import Features, warp_features
from dinoreg.space.jacobian import jacobian_determinant

Grade = Literal["good", "doubtful", "failed"]
_GRADES: tuple[Grade, ...] = "good", "doubtful", "failed"
Statement = tuple[float, tuple[float, float], str]

# (doubtful, failed): beyond the first a person should look, beyond the second the field is of no use.
_COVERED = 0.5, 0.2
_MISMATCH = 0.64, 0.75
# Within one family of modalities. Between two, intensities say too little: 5 to 26 % of an MR by the CT of
# another person, 3 to 16 % by one that is mirrored or turned.
_LIKENESS = 0.05, -0.4
# Of the size of the body. Between people much may be moved further and be right as well.
_REMAINING = 0.02, math.inf
_CLEARLY = 0.1  # of the mismatch
# A cell that shrinks or grows by more than this factor is implausible for most tissue.
_LARGEST_CHANGE = 4.0
_PERMUTATION_SEED = 0
MIRRORED = "it mirrors the body, as nothing that happens to one does"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for or against a registration.

    Attributes:
        covered: share of the fixed foreground that moving has content for, 0 to 1.
        residual: mean squared feature distance of matched places over that of unrelated ones; near 0 where
            the images are alike everywhere, 1 where the match is as good as chance.
        implausible: share of the covered cells whose volume changes by more than a factor of 4.
        explained: share of the variance of the fixed image that the best function of the moving one explains
            where the field brought it, 0 to 1; None where too little was seen to say.
        one_family: whether both images are of one family of modalities.
        single_slice: whether the images have two dimensions.
        exchanged: whether moving stands in the place of fixed: the displacement was sought from there.
        shown: where they are exchanged, share of fixed where moving shows something, 0 to 1: beyond it the
            displacement is extrapolated.
        mirrored: whether the displacement as a whole turns right into left.
        remaining_mm: mean length by which another optimisation moves the foreground, from where the
            displacement leads; None where that was not tried.
        remaining_most_mm: 90 % of it are moved by less.
        body_mm: size of the foreground, the geometric mean of its extents, of the image looked from.
    """

    covered: float
    residual: float
    implausible: float
    explained: float | None = None
    one_family: bool = True
    single_slice: bool = False
    exchanged: bool = False
    shown: float | None = None
    mirrored: bool = False
    remaining_mm: float | None = None
    remaining_most_mm: float | None = None
    body_mm: float | None = None

    @property
    def mismatch(self) -> float:
        """The residual, and what it was bought with: a wrong match lowers it by stretching the field."""
        return self.residual + 2 * self.implausible

    @property
    def likeness(self) -> float | None:
        """What speaks for the match in the intensities, less what speaks against it in the features."""
        return None if self.explained is None else self.explained - self.mismatch

    @property
    def remaining_share(self) -> float:
        """What is still moved, as a share of the size of the body; 0 where that was not tried."""
        return (self.remaining_most_mm or 0.0) / (self.body_mm or 1.0)


@dataclass(frozen=True, slots=True)
class LinearEvidence:
    """What speaks for or against a linear map.

    Attributes:
        covered: share of the smaller of the two foregrounds that the other image has content for, 0 to 1.
        residual: mean squared feature distance of matched places over that of unrelated ones; near 0 where
            the images are alike everywhere, 1 where the match is as good as chance.
        nearby: the least of the same with moving moved by 6 % of the size of the body, over 26 directions;
            None where too little was seen to say.
        mirrored: whether the map turns right into left.
    """

    covered: float
    residual: float
    nearby: float | None
    mirrored: bool = False

    @property
    def apart(self) -> float:
        """The residual over that nearby: far below 1 where the map is better than all maps around it."""
        return 1.0 if not self.nearby else self.residual / self.nearby


@dataclass(frozen=True, slots=True)
class Verdict:
    """A grade, the reasons for it in words, and the evidence."""

    grade: Grade
    reasons: tuple[str, ...]
    evidence: Evidence | LinearEvidence

    @property
    def asks_for_another(self) -> bool:
        """Whether something else may be found that looks better; of a single slice too little is known."""
        return self.grade != "good" and not (
            isinstance(self.evidence, Evidence) and self.evidence.single_slice
        )

    def is_clearly_better_than(self, other: Verdict) -> bool:
        """Tell whether the images fit better by this one, by more than an inverse may lose between people."""
        here, there = self.evidence, other.evidence
        if not (isinstance(here, Evidence) and isinstance(there, Evidence)):
            return False
        worse = _GRADES.index(self.grade) > _GRADES.index(other.grade)
        return not worse and here.mismatch < there.mismatch - _CLEARLY

    def as_dict(self) -> dict[str, Any]:
        """Return what the manifest says of a pair."""
        return {
            "verdict": self.grade,
            "verdict_reasons": list(self.reasons),
            "verdict_evidence": {
                name: round(value, 4) if isinstance(value, float) else value
                for name, value in asdict(self.evidence).items()
            },
        }


def gather_evidence(
    fixed: Features,
    moving: Features,
    displacement: Tensor,
    *,
    explained: float | None = None,
    one_family: bool = True,
    exchanged: bool = False,
) -> Evidence:
    """Measure a displacement on the features that it was found by.

    Args:
        fixed: on a lattice.
        moving: on the same lattice.
        displacement: (rank, *S) cells, pull.
        explained: as in `Evidence`.
        one_family: as in `Evidence`.
        exchanged: as in `Evidence`.
    """
    warped = warp_features(moving, displacement)
    here, there = fixed.weight[0] > 0.5, warped.weight[0] > 0.5
    common = here & there
    covered = float(common.sum()) / max(1.0, float(here.sum()))
    single_slice = sum(n > 1 for n in fixed.lattice.image_shape) < 3
    if not bool(common.any()):
        shown = 0.0 if exchanged else None
        return Evidence(covered, 1.0, 1.0, explained, one_family, single_slice, exchanged, shown)
    matched = fixed.values[:, common]
    found = warped.values[:, common]
    generator = torch.Generator().manual_seed(_PERMUTATION_SEED)
    order = torch.randperm(matched.shape[1], generator=generator).to(matched.device)
    unrelated = float((matched - found[:, order]).square().sum(dim=0).mean())
    residual = float((matched - found).square().sum(dim=0).mean()) / unrelated if unrelated > 0 else 1.0
    determinant = jacobian_determinant(displacement)[common]
    implausible = (determinant < 1 / _LARGEST_CHANGE) | (determinant > _LARGEST_CHANGE)
    stretched = float(implausible.float().mean())
    shown = None
    if exchanged:  # so many cells become of those that they have in common
        there_at_all = max(1.0, float((moving.weight > 0.5).sum()))
        shown = min(1.0, float(determinant.clamp(min=0).sum()) / there_at_all)
    return Evidence(covered, residual, stretched, explained, one_family, single_slice, exchanged, shown)


def judge(evidence: Evidence) -> Verdict:
    """Grade a registration by the worst of what its evidence says."""
    differ = (
        f"matched places differ by {100 * evidence.residual:.0f} % of what unrelated ones do, and"
        f" {100 * evidence.implausible:.1f} % of the field changes volume {_LARGEST_CHANGE:g}-fold"
    )
    still = (
        "from where it leads another optimisation moves a tenth of the body by"
        f" {evidence.remaining_most_mm or 0.0:.1f} mm or more"
    )
    shown, by = ("moving", "fixed") if evidence.exchanged else ("fixed", "moving")
    says: list[Statement] = [
        (-evidence.covered, (-_COVERED[0], -_COVERED[1]),
         f"the {by} image covers {100 * evidence.covered:.0f} % of the {shown} one"),
        (evidence.mismatch, _MISMATCH, differ),
        (evidence.remaining_share, _REMAINING, still),
        (evidence.mirrored, (0.5, 0.5), MIRRORED),
        (evidence.single_slice, (0.5, 1.5), "the limits are those of volumes, and this is a single slice"),
    ]  # fmt: skip
    if evidence.likeness is not None and evidence.explained is not None and evidence.one_family:
        told = f"the brightness of one image tells {100 * evidence.explained:.0f} % of that of the other"
        limits = -_LIKENESS[0], -_LIKENESS[1]
        says.append((-evidence.likeness, limits, f"{told}, while {differ}"))
    verdict = graded(says, evidence)
    reasons = verdict.reasons
    if len(reasons) > 1 and reasons[-1].endswith(differ):  # what it repeats need not stand there twice
        reasons = tuple(text for text in reasons if text != differ)
    return replace(verdict, reasons=reasons)


def graded(says: Sequence[Statement], evidence: Evidence | LinearEvidence) -> Verdict:
    """Grade by the worst of several statements.

    Args:
        says: value, the limits above which it is doubtful and failed, and the words for it.
        evidence: that they were made from.
    """
    # Not "above the limit": what is no number is no good.
    worst = max((not value <= doubtful) + (not value <= failed) for value, (doubtful, failed), _ in says)
    reasons = tuple(text for value, (doubtful, _), text in says if not value <= doubtful)
    return Verdict(_GRADES[worst], reasons, evidence)
