"""Everything that is checked about a submission, in one report."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from regeval.checking.evidence import gather
from regeval.checking.fields import check_field, includes_identity
from regeval.checking.files import check_names
from regeval.checking.hypotheses import IDENTITY, Hypothesis, hypotheses
from regeval.checking.plausibility import (
    MARGINS,
    Judgement,
    PairScores,
    Summary,
    judge,
    judge_single,
    score_pair,
    summarise,
)
from regeval.inputs.submission import Submission
from regtask.errors import Fault
from regtask.fields import Layout
from regtask.images import read_header
from regtask.pair import Pair

# Displacements below this, in voxels, are those of a field that does nothing.
_NOTHING = 0.01


@dataclass(frozen=True, slots=True)
class Report:
    """What the check found.

    Attributes:
        faults: why the submission would be refused, or would score badly without need.
        notes: what is worth knowing.
        pairs: number of pairs of the split.
        fields: number of fields that could be read.
        total_bytes: size of all files that hold fields; in an archive, unpacked.
        summaries: mean scores per kind of evidence.
        judgements: one per hypothesis; empty where no field could be weighed.
    """

    faults: tuple[Fault, ...]
    notes: tuple[str, ...]
    pairs: int
    fields: int
    total_bytes: int
    summaries: tuple[Summary, ...]
    judgements: tuple[Judgement, ...]

    @property
    def verdict(self) -> str:
        """The report in one line."""
        if self.faults:
            return "would be refused or scored wrongly"
        if not self.summaries:
            return "would be accepted; whether it makes sense cannot be told"
        better = all(one.submitted > one.zero for one in self.summaries)
        return (
            f"would be accepted, {'and makes sense' if better else 'but is no better than no displacement'}"
        )


def check_submission(
    pairs: Sequence[Pair], submission: Submission, layout: Layout = "channel_last"
) -> Report:
    """Check names, form, values and plausibility of all fields.

    Args:
        pairs: the pairs of the split.
        submission: the files.
        layout: "channel_first" for challenges such as LUMIR that ask for (3, I, J, K).

    Raises:
        DataError: a file of the data set, not of the submission, cannot be used.
    """
    naming = check_names(pairs, submission)
    faults, notes = list(naming.faults), list(naming.notes)
    types: Counter[str] = Counter()
    scores: dict[str, list[PairScores]] = {}
    suspects: dict[str, tuple[Hypothesis, ...]] = {}
    idle, with_identity = [], []
    for pair, name in naming.fields.items():
        grid = read_header(pair.fixed).grid
        field = check_field(submission, name, grid.shape, layout)
        faults.extend(field.faults)
        if field.vectors is None:
            continue
        types[field.dtype] += 1
        if float(np.abs(field.vectors).max()) < _NOTHING:
            idle.append(name)
            continue
        if includes_identity(field.vectors):
            with_identity.append(name)
        suspects[name] = hypotheses(grid.shape, grid.spacing_mm)
        scores[name] = score_pair(field.vectors, gather(pair), suspects[name])
    if idle:
        notes.append(
            f"no displacement at all in {len(idle)} of {len(naming.fields)} fields: cannot tell more"
        )
    if with_identity:
        faults.append(_identity_fault(with_identity))
        if len(with_identity) < len(scores):  # the others are weighed without them
            scores = {name: value for name, value in scores.items() if name not in with_identity}
    total = sum(submission.sizes[name] for name in naming.fields.values())
    if types["float64"]:
        notes.append("float64 takes twice the space of float32, and no evaluator gains from it")
    summaries: tuple[Summary, ...] = ()
    judgements: tuple[Judgement, ...] = ()
    if scores:
        found, summaries, judgements = _plausibility(scores, suspects)
        faults.extend(fault for fault in found if fault.what != IDENTITY or not with_identity)
        notes.extend(_worse_than_nothing(summaries, judgements))
    return Report(tuple(faults), tuple(notes), len(pairs), types.total(), total, summaries, judgements)


def _identity_fault(names: Sequence[str]) -> Fault:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    got = "vectors that grow with the position, by one voxel per voxel"
    remedy = "subtract the index of each voxel from its vector"
    return Fault(IDENTITY, f"{names[0]}{more}", "displacements", got, remedy)


def _plausibility(
    scores: dict[str, list[PairScores]], suspects: dict[str, tuple[Hypothesis, ...]]
) -> tuple[list[Fault], tuple[Summary, ...], tuple[Judgement, ...]]:
    """Weigh the hypotheses on all fields together, and if none holds, on each field alone."""
    # A task has one grid, as a rule; fields of another one are weighed by themselves only.
    first = next(iter(suspects.values()))
    kinds = tuple(one.name for one in first)
    alike = {
        name: value for name, value in scores.items() if tuple(one.name for one in suspects[name]) == kinds
    }
    together = [one for value in alike.values() for one in value]
    judgements, summaries = judge(together, first), summarise(together)
    for number, judgement in enumerate(judgements):
        if judgement.verdict == "likely":
            got = ", ".join(
                f"{one.kind} {one.submitted:.3f} as submitted, {one.corrected[number]:.3f} put right"
                for one in summaries
            )
            where = f"{len(alike)} fields" if len(alike) > 1 else next(iter(alike))
            fault = Fault(judgement.hypothesis.name, where, got=got, remedy=judgement.hypothesis.remedy)
            return [fault], summaries, judgements
    faults = []
    # Where most fields are of no use, some would be of use by chance if their axes were exchanged.
    useful = [all(one.submitted > one.zero for one in value) for value in scores.values()]
    sound = 2 * sum(useful) > len(useful)
    for name, value in scores.items() if sound else ():
        if suspect := judge_single(value, suspects[name]):
            faults.append(
                Fault(suspect.name, name, got="a much better fit when corrected", remedy=suspect.remedy)
            )
    return faults, summaries, judgements


def _worse_than_nothing(summaries: Sequence[Summary], judgements: Sequence[Judgement]) -> list[str]:
    if any(judgement.verdict == "likely" for judgement in judgements):
        return []
    return [
        f"by {one.kind} the fields are worse than no displacement: {one.submitted:.3f} against {one.zero:.3f}"
        for one in summaries
        if one.submitted < one.zero - MARGINS[one.kind]
    ]
