"""`regeval evaluate`: score a submission."""

import argparse
import dataclasses
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from regeval.scores import CaseScores, mean_scores, score_task
from regeval.table import format_table
from regtask.atomic import atomic_write_text
from regtask.dataset import Dataset, Split, read_dataset

if TYPE_CHECKING:
    from regeval.cli import Verbs


def add_parser(verbs: "Verbs") -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "evaluate", help="score a submission", description="Score displacement fields, before and after."
    )
    parser.add_argument("--dataset", type=Path, required=True, metavar="JSON", help="{Task}_dataset.json")
    parser.add_argument(
        "--predictions", type=Path, required=True, metavar="DIR", help="folder with the disp_*.nii.gz files"
    )
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="where the images lie (default: beside the JSON)"
    )
    parser.add_argument(
        "--split", choices=get_args(Split), default="auto", help="auto: test if it has pairs, else val"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the scores to this file")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Score the fields of a task, print a table, and write the numbers if asked.

    Raises:
        TaskError: an input cannot be used or the output not be written.
    """
    dataset = read_dataset(options.dataset, options.data_dir)
    after = score_task(dataset, options.predictions, options.split)
    before = score_task(dataset, None, options.split)
    if options.json is not None:
        atomic_write_text(options.json, _as_json(dataset, before, after))
    title = f"{dataset.name}, {len(after)} pairs, identity -> {options.predictions}"
    sys.stdout.write(format_table(title, before, after))
    return 0


def _as_json(dataset: Dataset, before: Sequence[CaseScores], after: Sequence[CaseScores]) -> str:
    content = {
        "task": dataset.name,
        "labels": {str(label): name for label, name in dataset.labels.items()},
        "mean": {
            "before": dataclasses.asdict(mean_scores(before)),
            "after": dataclasses.asdict(mean_scores(after)),
        },
        "cases": [
            {"case": one.case, "before": _without_name(one), "after": _without_name(other)}
            for one, other in zip(before, after, strict=True)
        ],
    }
    return json.dumps(_strict(content), indent=1, allow_nan=False) + "\n"


def _without_name(scores: CaseScores) -> dict[str, Any]:
    return {key: value for key, value in dataclasses.asdict(scores).items() if key != "case"}


def _strict(value: Any) -> Any:
    """Replace what strict JSON cannot hold: nan by null, infinity by the text "inf"."""
    if isinstance(value, dict):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_strict(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value
