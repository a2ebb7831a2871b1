"""`regeval rank`: a local leaderboard from metrics files."""

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, get_args

from regeval.cli.verbs import Verbs
from regtask.atomic import atomic_write_text
from regtask.errors import DataError, Fault, OutputError, nearest

if TYPE_CHECKING:
    from regeval.ranking import Results, Scheme


class _Named(NamedTuple):
    """One argument NAME=VALUE."""

    name: str
    value: str


def add_parser(verbs: Verbs) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "rank",
        help="rank runs by their metrics files",
        description="Rank runs on the same cases: a table, leaderboard.csv and leaderboard.html.",
    )
    parser.add_argument("runs", type=_named, nargs="+", metavar="RUN=METRICS.json", help="name and scores")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="for the csv and the page")
    parser.add_argument(
        "--weights",
        type=_weight,
        nargs="+",
        default=[],
        metavar="METRIC=W",
        help="the metrics to rank and their weights (default: all of known direction, alike); for "
        "wilcoxon-holm also accuracy=W, regularity=W, runtime=W",
    )
    parser.add_argument(
        "--method", choices=("l2r", "wilcoxon-holm"), default="l2r", help="see docs/leaderboard.md"
    )
    parser.add_argument("--test", choices=("rank-sum", "signed-rank"), default="rank-sum", help="test of l2r")
    parser.add_argument(
        "--reference",
        metavar="RUN",
        help="unranked run, and the one that the gate of wilcoxon-holm compares with (default: the identity)",
    )
    parser.add_argument(
        "--bootstrap", type=_count, default=1000, metavar="N", help="samples for the intervals; 0 for none"
    )
    parser.add_argument("--seed", type=_count, default=0, help="of the bootstrap")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Rank, print, and write `leaderboard.csv` and `leaderboard.html`.

    Raises:
        TaskError: an input cannot be used or an output not be written.
    """
    from regeval.ranking import (
        compare,
        format_leaderboard,
        leaderboard_csv,
        rank_runs,
        read_run,
        render_page,
        with_reference,
    )

    metrics, components = _split_weights(options)
    runs = [read_run(name, Path(path)) for name, path in options.runs]
    if options.method == "wilcoxon-holm" and options.reference is None:
        runs = with_reference(runs)
    results = compare(runs, list(metrics))
    gate, named = _gate(options, results), _named_reference(options, results)
    board = rank_runs(
        results,
        _scheme(options, results, metrics, components),
        bootstrap=options.bootstrap,
        seed=options.seed,
        reference=gate,
        unranked={run.name for run in runs if run.is_identity()} | {name for name in (gate, named) if name},
    )
    try:
        options.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            Fault("cannot make folder", str(options.output), got=str(error.strerror))
        ) from error
    atomic_write_text(options.output / "leaderboard.csv", leaderboard_csv(board))
    atomic_write_text(options.output / "leaderboard.html", render_page(board))
    sys.stdout.write(format_leaderboard(board))
    return 0


def _split_weights(options: argparse.Namespace) -> tuple[dict[str, float], dict[str, float]]:
    from regeval.ranking.metric_direction import Component

    weights = dict(options.weights)
    components = {name: weights.pop(name) for name in get_args(Component) if name in weights}
    if components and options.method == "l2r":
        raise DataError(Fault("weight of a component", ", ".join(components), "--method wilcoxon-holm"))
    return weights, components


def _scheme(
    options: argparse.Namespace, results: "Results", metrics: dict[str, float], components: dict[str, float]
) -> "Scheme":
    from regeval.ranking import COMPONENT_WEIGHTS, Scheme

    return Scheme(
        method=options.method,
        metrics=results.metrics,
        weights=tuple(metrics.get(metric.name, 1.0) for metric in results.metrics),
        components={name: components.get(name, weight) for name, weight in COMPONENT_WEIGHTS.items()},
        test=options.test,
    )


def _gate(options: argparse.Namespace, results: "Results") -> str | None:
    from regeval.ranking import REFERENCE

    if options.method != "wilcoxon-holm":
        return None
    if options.reference is None:
        return REFERENCE if REFERENCE in results.runs else None
    return _named_reference(options, results)


def _named_reference(options: argparse.Namespace, results: "Results") -> str | None:
    name: str | None = options.reference
    if name is not None and name not in results.runs:
        guess = nearest(name, results.runs)
        raise DataError(
            Fault(
                "no such run",
                f"--reference {name}",
                f"one of {', '.join(results.runs)}",
                remedy=f"is {guess!r} meant?" if guess else "",
            )
        )
    return name


def _named(text: str) -> _Named:
    name, separator, value = text.partition("=")
    if not (name and separator and value):
        raise argparse.ArgumentTypeError(f"expected NAME=FILE, got {text!r}")
    return _Named(name, value)


def _weight(text: str) -> tuple[str, float]:
    name, _, value = text.rpartition("=")
    try:
        weight = float(value)
    except ValueError:
        weight = math.nan
    if not name or not math.isfinite(weight) or weight <= 0:
        raise argparse.ArgumentTypeError(f"expected METRIC=W with W above 0, got {text!r}")
    return name, weight


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"expected a whole number of 0 or more, got {text!r}")
    return int(text)
