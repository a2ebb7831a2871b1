"""Entry of the container: every pair of the one task in /input, fields to /output."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from dinoreg.cli.main import EXIT_CODES, add_run_arguments, guarded, run
from regtask.errors import DataError, Fault


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the container's job; returns its exit code."""
    parser = argparse.ArgumentParser(prog="dinoreg", description=__doc__, epilog=EXIT_CODES)
    add_run_arguments(parser)
    parser.add_argument(
        "--dataset", type=Path, metavar="JSON", help="default: the one *_dataset.json in /input"
    )
    parser.add_argument("--input", type=Path, default=Path("/input"), help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, default=Path("/output"), metavar="DIR")
    parser.set_defaults(on_failure="fallback")
    options = parser.parse_args(arguments)

    def job() -> None:
        if options.dataset is None:
            options.dataset = find_dataset(options.input)
        run(options)

    return guarded(job)


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
