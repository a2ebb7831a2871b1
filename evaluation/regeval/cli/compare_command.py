"""`regeval compare`: two runs, case by case."""

import argparse
import sys
from pathlib import Path

from regeval.cli.verbs import Verbs
from regtask.atomic import atomic_write_text
from regtask.errors import Fault, OutputError


def add_parser(verbs: Verbs) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "compare",
        help="test two runs against each other, case by case",
        description="Paired tests of two runs on the same cases, and where they differ.",
    )
    for name in ("A", "B"):
        parser.add_argument(
            name.lower(),
            metavar=name,
            help="metrics file, or NAME=FILE; the name is that of the file otherwise",
        )
    parser.add_argument(
        "--metrics", nargs="+", default=[], metavar="METRIC", help="(default: all of known direction)"
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="for compare.html and compare.csv")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compare, print, and write the page and the table.

    Raises:
        TaskError: an input cannot be used or an output not be written.
    """
    from regeval.ranking import read_run
    from regeval.ranking.paired import compare_two, comparison_csv, format_comparison, render_comparison

    (first, a), (second, b) = _named(options.a), _named(options.b)
    if first == second:
        first, second = (f"{path.resolve().parent.name}/{path.stem}" for path in (a, b))
    comparison = compare_two(read_run(first, a), read_run(second, b), options.metrics)
    if options.output is not None:
        try:
            options.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            fault = Fault("cannot make folder", str(options.output), got=str(error.strerror))
            raise OutputError(fault) from error
        atomic_write_text(options.output / "compare.csv", comparison_csv(comparison))
        atomic_write_text(options.output / "compare.html", render_comparison(comparison))
    sys.stdout.write(format_comparison(comparison))
    return 0


def _named(text: str) -> tuple[str, Path]:
    name, separator, path = text.partition("=")
    if separator and name and path and not Path(text).is_file():
        return name, Path(path)
    return Path(text).stem, Path(text)
