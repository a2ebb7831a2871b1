"""`regeval rank`: a local leaderboard from metrics files."""

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, get_args

from regeval.cli.verbs import METHODS, Verbs
from regtask.atomic import atomic_write_text
from regtask.errors import DataError, Fault, OutputError, nearest

if TYPE_CHECKING:
    from regeval.ranking import Prepared
    from regeval.ranking.metric_direction import Component


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
        "wilcoxon-holm also accuracy=W, biomarker=W, regularity=W, runtime=W",
    )
    parser.add_argument("--method", choices=METHODS, default="l2r", help="see docs/leaderboard.md")
    parser.add_argument("--test", choices=("rank-sum", "signed-rank"), default="rank-sum", help="test of l2r")
    parser.add_argument(
        "--reference",
        metavar="RUN",
        help="unranked run, and the one that a gate compares with (default: the identity)",
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
        format_leaderboard,
        leaderboard_csv,
        prepare,
        rank_runs,
        read_run,
        render_page,
    )

    metrics, components = _split_weights(options)
    runs = [read_run(name, Path(path)) for name, path in options.runs]
    made = prepare(options.method, runs, weights=metrics, components=components, test=options.test)
    gate = _gate(options, made)
    added = set(made.results.runs) - {run.name for run in runs}
    outside = (
        added
        | {run.name for run in runs if run.is_identity()}
        | {name for name in (gate, options.reference) if name}
    )
    board = rank_runs(
        made.results,
        made.scheme,
        bootstrap=options.bootstrap,
        seed=options.seed,
        reference=gate,
        unranked=outside,
        why=made.why,
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


def _split_weights(
    options: argparse.Namespace,
) -> tuple[dict[str, float], "dict[Component, float]"]:
    from regeval.ranking.metric_direction import Component

    weights = dict(options.weights)
    components: dict[Component, float] = {
        name: weights.pop(name) for name in get_args(Component) if name in weights
    }
    if components and options.method in ("l2r", "learn2reg", "psmareg"):
        raise DataError(Fault("weight of a component", ", ".join(components), "--method wilcoxon-holm"))
    return weights, components


def _gate(options: argparse.Namespace, made: "Prepared") -> str | None:
    """Return the run that the gate compares with: the one that is named, else the identity."""
    from regeval.ranking import REFERENCE

    runs = made.results.runs
    name: str | None = options.reference
    if name is not None and name not in runs:
        guess = nearest(name, runs)
        remedy = f"is {guess!r} meant?" if guess else ""
        raise DataError(
            Fault("no such run", f"--reference {name}", f"one of {', '.join(runs)}", remedy=remedy)
        )
    if not made.scheme.counts_wins:
        return None
    return name or (REFERENCE if REFERENCE in runs else None)


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
