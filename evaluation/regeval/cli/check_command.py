"""`regeval check`: find the usual faults of a submission before the challenge does."""

import argparse
import sys
from pathlib import Path
from typing import get_args

from regeval.cli.verbs import Verbs, add_layout
from regtask.dataset import Split, read_dataset

_FAULTS_FOUND = 1


def add_parser(verbs: Verbs) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "check",
        help="would a submission be accepted, and does it make sense?",
        description="Check names, form, values and plausibility of a submission, or the task itself.",
        epilog="exit codes: 0 no faults; 1 faults found; 3 the data set or the submission cannot be read",
    )
    parser.add_argument(
        "--predictions", type=Path, metavar="DIR|ARCHIVE", help="folder, .zip or .tar.gz, with --dataset"
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--dataset", type=Path, metavar="JSON", help="{Task}_dataset.json")
    what.add_argument(
        "--task",
        type=Path,
        metavar="JSON",
        help="check this {Task}_dataset.json itself, its images, label maps, masks and landmarks",
    )
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="where the images lie (default: beside the JSON)"
    )
    parser.add_argument(
        "--split", choices=get_args(Split), default="auto", help="auto: test if it has pairs, else val"
    )
    add_layout(parser)
    parser.set_defaults(run=run, usage_error=parser.error)


def run(options: argparse.Namespace) -> int:
    """Check a submission, or a task, and print the report.

    Returns:
        0 without faults, 1 with.

    Raises:
        TaskError: the data set or the submission as a whole cannot be read.
    """
    from regeval.checking import check_submission, format_report
    from regeval.inputs.submission import opened

    if (options.predictions is None) != (options.dataset is None):
        options.usage_error("--predictions goes with --dataset, and --dataset with --predictions")
    if options.task is not None:
        return _run_task(options)
    dataset = read_dataset(options.dataset, options.data_dir)
    pairs = dataset.pairs(options.split)
    with opened(options.predictions) as submission:
        report = check_submission(pairs, submission, options.layout)
    sys.stdout.write(format_report(f"{dataset.name}, {options.predictions}", report))
    return _FAULTS_FOUND if report.faults else 0


def _run_task(options: argparse.Namespace) -> int:
    from regeval.checking.task import check_task, format_task_report

    dataset = read_dataset(options.task, options.data_dir)
    report = check_task(dataset, options.split)
    sys.stdout.write(format_task_report(dataset.name, report))
    return _FAULTS_FOUND if report.faults else 0
