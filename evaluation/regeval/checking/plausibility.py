"""Does a submission make sense? Each hypothesis is weighed against the fields as they were submitted."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from regeval.checking.evidence import Evidence, Kind
from regeval.checking.hypotheses import Hypothesis, Vectors

# By how much a correction must fit better on average to be believed. A right field of any quality loses by
# every correction; what it could gain by chance was measured to be below these, see test_check_real_data.py.
MARGINS: Mapping[Kind, float] = MappingProxyType(
    {"landmarks": 0.05, "keypoints": 0.05, "labels": 0.02, "images": 0.004}
)
_SHARE_OF_PAIRS = 0.7
# One pair alone is weaker evidence than several that agree.
_FEW_PAIRS, _FEW_FACTOR, _SINGLE_FACTOR = 3, 2.0, 6.0


@dataclass(frozen=True, slots=True)
class PairScores:
    """Scores of one pair by one kind of evidence: each hypothesis corrected, and halfway."""

    kind: Kind
    submitted: float
    zero: float
    corrected: tuple[float, ...]
    halfway: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """Means over the pairs that have one kind of evidence."""

    kind: Kind
    pairs: int
    submitted: float
    zero: float
    corrected: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on one hypothesis: "likely", "no", or "cannot tell" with the reason."""

    hypothesis: Hypothesis
    verdict: str


def score_pair(
    vectors: NDArray[np.floating], evidences: Sequence[Evidence], suspects: Sequence[Hypothesis]
) -> list[PairScores]:
    """Score a field as submitted, no displacement, and every correction of the field.

    Args:
        vectors: (I, J, K, 3) as submitted.
        evidences: what the data set offers for this pair.
        suspects: the hypotheses.
    """
    scores = []
    for evidence in evidences:
        points = evidence.points
        here = _sampled(vectors, points)

        def field(
            places: Vectors, points: Vectors = points, here: Vectors = here
        ) -> Vectors:  # nearly all hypotheses look where the evidence is
            return here if places is points else _sampled(vectors, places)

        scores.append(
            PairScores(
                kind=evidence.kind,
                submitted=evidence.score(here),
                zero=evidence.score(np.zeros_like(points)),
                corrected=tuple(evidence.score(one.corrected(field, points)) for one in suspects),
                halfway=tuple(
                    None if one.halfway is None else evidence.score(one.halfway(field, points))
                    for one in suspects
                ),
            )
        )
    return scores


def judge(scores: Sequence[PairScores], suspects: Sequence[Hypothesis]) -> tuple[Judgement, ...]:
    """Weigh each hypothesis on all pairs; at most one, the best, is "likely".

    Args:
        scores: of all pairs, by any kinds of evidence.
        suspects: the hypotheses, in the order of the scores.
    """
    found = _best(scores, suspects, None)
    judgements = []
    for number, suspect in enumerate(suspects):
        if suspect.undecidable:
            verdict = f"cannot tell: {suspect.undecidable}"
        elif number == found:
            verdict = "likely"
        elif all(abs(_gain(group, number)) < MARGINS[kind] / 4 for kind, group in by_kind(scores).items()):
            verdict = "cannot tell: fits as well"
        else:
            verdict = "no"
        judgements.append(Judgement(suspect, verdict))
    return tuple(judgements)


def judge_single(scores: Sequence[PairScores], suspects: Sequence[Hypothesis]) -> Hypothesis | None:
    """Return the hypothesis that a single pair gives strong evidence for, or None."""
    found = _best(scores, suspects, _SINGLE_FACTOR)
    return None if found is None else suspects[found]


def summarise(scores: Sequence[PairScores]) -> tuple[Summary, ...]:
    """Return the means per kind of evidence, the most telling kind first."""
    return tuple(
        Summary(
            kind,
            len(group),
            _mean(one.submitted for one in group),
            _mean(one.zero for one in group),
            tuple(np.mean([one.corrected for one in group], axis=0).tolist()),
        )
        for kind, group in by_kind(scores).items()
    )


def by_kind(scores: Sequence[PairScores]) -> dict[Kind, list[PairScores]]:
    """Group scores by their kind of evidence, the most telling kind first."""
    groups: dict[Kind, list[PairScores]] = {
        kind: [one for one in scores if one.kind == kind] for kind in MARGINS
    }
    return {kind: group for kind, group in groups.items() if group}


def _best(scores: Sequence[PairScores], suspects: Sequence[Hypothesis], factor: float | None) -> int | None:
    """Return the number of the believed hypothesis: strong by one kind of evidence, refuted by none."""
    groups = by_kind(scores)
    strength: dict[int, float] = {}
    for number, suspect in enumerate(suspects):
        if suspect.undecidable:
            continue
        if any(_is_refuted(group, number, MARGINS[kind]) for kind, group in groups.items()):
            continue
        if _goes_too_far(next(iter(groups.values())), number):
            continue
        gains = [
            _gain(group, number) / MARGINS[kind]
            for kind, group in groups.items()
            if _is_strong(group, number, MARGINS[kind], factor)
        ]
        if gains:
            strength[number] = max(gains)
    return max(strength, key=lambda number: strength[number], default=None)


def _is_strong(group: Sequence[PairScores], number: int, margin: float, factor: float | None) -> bool:
    if factor is None:
        factor = _FEW_FACTOR if len(group) < _FEW_PAIRS else 1.0
    gains = np.array([one.corrected[number] - one.submitted for one in group])
    return bool(gains.mean() >= factor * margin and np.mean(gains > 0) >= _SHARE_OF_PAIRS)


def _is_refuted(group: Sequence[PairScores], number: int, margin: float) -> bool:
    """Tell whether a correction makes the fit worse, or helps no more than no displacement."""
    over_zero = np.array([one.corrected[number] - one.zero for one in group])
    return bool(
        _gain(group, number) < -margin
        or over_zero.mean() < margin / 2
        or np.mean(over_zero > 0) < _SHARE_OF_PAIRS
    )


def _goes_too_far(group: Sequence[PairScores], number: int) -> bool:
    """Tell whether half the correction fits better than the whole."""
    past_half = [one.corrected[number] - half for one in group if (half := one.halfway[number]) is not None]
    return bool(past_half) and float(np.mean(past_half)) <= 0


def _sampled(vectors: NDArray[np.floating], points: Vectors) -> Vectors:
    """Interpolate a field (I, J, K, 3) linearly at points (N, 3)."""
    columns = [
        map_coordinates(vectors[..., axis], points.T, output=np.float64, order=1, mode="nearest")
        for axis in range(3)
    ]
    return np.stack(columns, axis=1)


def _gain(group: Sequence[PairScores], number: int) -> float:
    return _mean(one.corrected[number] - one.submitted for one in group)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
