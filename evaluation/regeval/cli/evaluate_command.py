"""`regeval evaluate`: score a submission."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args

from regeval.cli.metrics_csv import metrics_csv
from regeval.cli.metrics_table import format_table
from regeval.cli.verbs import Verbs, add_layout
from regeval.inputs.config import Config, Missing, config_of, read_config
from regeval.inputs.submission import opened
from regeval.scoring.evaluate_submission import evaluate
from regeval.scoring.metrics_file import write_metrics
from regeval.scoring.requirements import read_gates
from regeval.scoring.score import Mode
from regtask.atomic import atomic_write_text
from regtask.dataset import Split, read_dataset

_FAILED = 1


def add_parser(verbs: Verbs) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "evaluate",
        help="score a submission",
        description="Score displacement fields; print a table, before and after, and write a metrics file.",
    )
    parser.add_argument(
        "--predictions",
        type=Path,
        required=True,
        metavar="DIR|ARCHIVE",
        help="the disp_* files of a submission: folder, .zip or .tar.gz",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--config", type=Path, metavar="JSON", help="configuration of the evaluation")
    what.add_argument(
        "--dataset", type=Path, metavar="JSON", help="{Task}_dataset.json: score what lies beside its images"
    )
    parser.add_argument(
        "--data",
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="the ground truth (default: the folder of the JSON)",
    )
    parser.add_argument("--output", type=Path, metavar="JSON", help="metrics file to write")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="the scores in long form: one value a line")
    parser.add_argument(
        "--mode",
        choices=get_args(Mode),
        default="strict",
        help="strict: millimetres, true folds (default); l2r: as the official evaluator has it",
    )
    parser.add_argument(
        "--split", choices=get_args(Split), default="auto", help="with --dataset; auto: test, else val"
    )
    add_layout(parser)
    parser.add_argument(
        "--missing",
        choices=get_args(Missing),
        help="a pair without a usable field: refuse the submission (default, unless the configuration says "
        "otherwise), or score the pair as no displacement or by the worst values",
    )
    parser.add_argument("--jobs", type=_positive, default=1, metavar="N", help="pairs scored at once")
    parser.add_argument(
        "--strict-json", action="store_true", help="null for NaN in mode l2r too (mode strict always does)"
    )
    parser.add_argument(
        "--require",
        action="append",
        default=[],
        metavar="'PATH>=NUMBER'",
        help="fail unless this holds, such as DSC.mean>=0.6; may be repeated",
    )
    parser.set_defaults(run=run, unusable=None)


def run(options: argparse.Namespace) -> int:
    """Score a submission, print a table, write metrics and csv, and hold them against the requirements.

    Returns:
        0, or 1 if a requirement is not met.

    Raises:
        TaskError: an input cannot be used or the output not be written.
    """
    gates = read_gates(options.require)
    config = _config(options)
    with opened(options.predictions) as submission:
        document = evaluate(
            config,
            submission,
            options.mode,
            jobs=options.jobs,
            layout=options.layout,
            unusable=options.unusable,
        )
    if options.output is not None:
        write_metrics(options.output, document, options.strict_json or options.mode == "strict")
    if options.csv is not None:
        atomic_write_text(options.csv, metrics_csv(document))
    sys.stdout.write(format_table(document, str(options.predictions)))
    failures = [failure for gate in gates if (failure := gate.failure(document))]
    for failure in failures:
        sys.stderr.write(f"regeval: requirement not met: {failure}\n")
    return _FAILED if failures else 0


def _config(options: argparse.Namespace) -> Config:
    if options.config is None:
        config = config_of(read_dataset(options.dataset, options.data), options.split, masked=True)
    else:
        config = read_config(options.config, options.data or options.config.parent)
    return config if options.missing is None else replace(config, missing=options.missing)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number
