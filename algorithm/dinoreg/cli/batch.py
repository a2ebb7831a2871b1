"""Entry of the container: every pair of the one task in /input, fields to /output.

Without a task but with Grand Challenge's /input/inputs.json it is that platform's job (cli.grand_challenge).
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from dinoreg.cli import grand_challenge
from dinoreg.cli.main import EXIT_CODES, add_run_arguments, guarded, run
from regtask.errors import DataError, Fault

# Platforms start a container without arguments: those of this variable come before any that are given.
ARGUMENTS_VARIABLE = "DINOREG_ARGUMENTS"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the container's job; returns its exit code."""
    parser = container_parser(__doc__)
    parser.add_argument(
        "--dataset", type=Path, metavar="JSON", help="default: the one *_dataset.json in /input"
    )
    parser.add_argument("--input", type=Path, default=Path("/input"), help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, default=Path("/output"), metavar="DIR")
    grand_challenge.add_arguments(parser)
    options = parser.parse_args(container_arguments(arguments))

    def job() -> None:
        if options.dataset is None and grand_challenge.is_job(options.input):
            grand_challenge.run_job(options)
            return
        if options.dataset is None:
            options.dataset = find_dataset(options.input)
        run(options)

    return guarded(job, options)


def container_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options of a run, as a container needs them: every pair gets a field."""
    parser = argparse.ArgumentParser(
        prog="dinoreg",
        description=description,
        epilog=f"{EXIT_CODES} Arguments in ${ARGUMENTS_VARIABLE} are read first.",
    )
    add_run_arguments(parser)
    parser.set_defaults(on_failure="fallback", pairs=None)
    return parser


def container_arguments(arguments: Sequence[str] | None) -> list[str]:
    """Return the arguments of the environment, then those given (by default the process's)."""
    given = sys.argv[1:] if arguments is None else arguments
    return [*shlex.split(os.environ.get(ARGUMENTS_VARIABLE, "")), *given]


def find_dataset(folder: Path) -> Path:
    """Return the one dataset JSON in a folder.

    Raises:
        DataError: there is none, or more than one.
    """
    found = sorted(folder.glob("*_dataset.json"))
    if len(found) == 1:
        return found[0]
    raise DataError(
        Fault(
            "one dataset JSON is needed",
            str(folder),
            expected="one file *_dataset.json",
            got=", ".join(path.name for path in found) or "none",
            remedy="mount the task folder there (-v TASK:/input:ro), or name the file with --dataset",
        )
    )


if __name__ == "__main__":
    sys.exit(main())
