"""From a method's name to what is ranked and how, with the reason in a sentence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from regeval.ranking.challenges import UNPUBLISHED, learn2reg, psmareg
from regeval.ranking.leaderboard import smallest_p
from regeval.ranking.metric_direction import Component
from regeval.ranking.results import Results, compare
from regeval.ranking.runs import Run, with_reference
from regeval.ranking.schemes import ALPHA, COMPONENT_WEIGHTS, Method, Scheme, Test
from regtask.errors import DataError, Fault

Choice = Literal["auto", "l2r", "learn2reg", "wilcoxon-holm", "psmareg", "oncoreg", "lumir"]

_WHAT: Mapping[Method, str] = {
    "l2r": "each run is placed by how few others significantly beat it, metric by metric, case by case",
    "learn2reg": "Learn2Reg's own columns and samples: every label or landmark of every case, the hardest "
    "30 %, smoothness; each run is placed by how few others significantly beat it",
    "wilcoxon-holm": "each run is scored by how many others it significantly beats, paired by case and "
    "corrected for the number of tests; a field that moves nothing cannot win by being smooth",
    "psmareg": "the rules of PSMAReg, Learn2Reg 2026: teams are scored by how many other teams they "
    "significantly beat; accuracy caps what smoothness can earn",
}


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """What `rank_runs` takes: the results, how to rank them, and why so."""

    results: Results
    scheme: Scheme
    why: str


def prepare(
    choice: Choice,
    runs: Sequence[Run],
    *,
    weights: Mapping[str, float] | None = None,
    components: Mapping[Component, float] | None = None,
    test: Test = "rank-sum",
) -> Prepared:
    """Bring runs to the columns of a method.

    Args:
        choice: the method; "auto" takes "wilcoxon-holm" where so many cases can tell so many runs apart by
            it, else "l2r".
        runs: two or more.
        weights: the metrics to rank and their weights; None or empty takes all, alike.
        components: weights of components that are not to be the usual ones.
        test: of "l2r".

    Raises:
        DataError: the runs do not compare, or the method's rules are not published or do not allow what is
            asked for.
    """
    if choice in UNPUBLISHED:
        raise DataError(Fault("rules not published", f"--method {choice}", got=UNPUBLISHED[choice]))
    if weights and choice in ("learn2reg", "psmareg"):
        raise DataError(Fault("weights are part of the rules", f"--method {choice}", "no --weights"))
    shares = {name: (components or {}).get(name, share) for name, share in COMPONENT_WEIGHTS.items()}
    if choice == "learn2reg":
        results, given = learn2reg(with_reference(runs))
        why = _why(choice, "chosen because the challenge ranks so; run time is left out, no file has it")
        return Prepared(results, Scheme("learn2reg", results.metrics, given, shares), why)
    if choice == "psmareg":
        results = psmareg(with_reference(runs))
        scheme = Scheme("psmareg", results.metrics, (1.0,) * len(results.metrics), shares)
        return Prepared(results, scheme, _why(choice, "chosen because the challenge ranks so"))
    method, reason = _chosen(choice, runs)
    if method == "wilcoxon-holm":
        runs = with_reference(runs)
    results = compare(runs, list(weights or ()))
    given = tuple((weights or {}).get(metric.name, 1.0) for metric in results.metrics)
    return Prepared(results, Scheme(method, results.metrics, given, shares, test), _why(method, reason))


def _chosen(choice: Choice, runs: Sequence[Run]) -> tuple[Method, str]:
    if choice == "wilcoxon-holm":
        return "wilcoxon-holm", "chosen because only accuracy should win"
    if choice != "auto":
        return "l2r", "the default, so that the order is comparable with the challenge's"
    count, cases = len(with_reference(runs)), len(runs[0].scores)
    if smallest_p(count, cases) < ALPHA:
        return "wilcoxon-holm", f"chosen because {cases} cases are enough to tell {count} runs apart by it"
    needed = next(number for number in range(cases, 1000) if smallest_p(count, number) < ALPHA)
    return (
        "l2r",
        f"chosen because {cases} cases are too few for wilcoxon-holm, which needs {needed} for {count} runs; "
        "it rewards smoothness as much as accuracy",
    )


def _why(method: Method, reason: str) -> str:
    return f"{_WHAT[method]}; {reason}"
