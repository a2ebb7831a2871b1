"""`regeval config`: write the configuration of an evaluation."""

import argparse
import json
import sys
from pathlib import Path
from typing import get_args

from regeval.cli.verbs import Verbs
from regeval.inputs.config import Missing, Points, as_official, config_of
from regtask.atomic import atomic_write_text
from regtask.dataset import Split, read_dataset
from regtask.errors import DataError, Fault


def add_parser(verbs: Verbs) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "config",
        help="write the configuration of an evaluation",
        description="Write an evaluation configuration in the form of the official Learn2Reg evaluator.",
    )
    parser.add_argument("--dataset", type=Path, required=True, metavar="JSON", help="{Task}_dataset.json")
    parser.add_argument("--output", type=Path, required=True, metavar="JSON", help="configuration to write")
    parser.add_argument(
        "--data",
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="where the images lie (default: beside the dataset JSON)",
    )
    parser.add_argument(
        "--split", choices=get_args(Split), default="auto", help="auto: test if it has pairs, else val"
    )
    parser.add_argument(
        "--labels",
        nargs="*",
        metavar="LABEL",
        help="labels or ranges such as 1-13; default: all, if every pair has label maps; none: no Dice",
    )
    parser.add_argument(
        "--landmarks",
        nargs="*",
        choices=get_args(Points),
        help="default: those that every pair has; none: no TRE",
    )
    parser.add_argument("--masked", action="store_true", help="judge regularity within the fixed masks")
    parser.add_argument(
        "--missing",
        choices=get_args(Missing),
        default="refuse",
        help="what becomes of a pair without a usable field, see `regeval evaluate`",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the configuration.

    Raises:
        TaskError: an input cannot be used or the output not be written.
    """
    dataset = read_dataset(options.dataset, options.data)
    labels = None if options.labels is None else _labels(options.labels)
    config = config_of(
        dataset,
        options.split,
        labels=labels,
        points=options.landmarks,
        masked=options.masked,
        everywhere=True,
        missing=options.missing,
    )
    content = as_official(config, dataset.root)
    atomic_write_text(options.output, json.dumps(content, indent=1) + "\n")
    names = ", ".join(method.name for method in config.methods)
    sys.stdout.write(f"{options.output}: {len(config.pairs)} pairs, {names}\n")
    return 0


def _labels(texts: list[str]) -> list[int]:
    labels: list[int] = []
    faults: list[Fault] = []
    for text in texts:
        first, _, last = text.partition("-")
        if first.isascii() and first.isdigit() and (not last or (last.isascii() and last.isdigit())):
            labels.extend(range(int(first), int(last or first) + 1))
        else:
            faults.append(Fault("not a label", text, "a number such as 4 or a range such as 1-13"))
    if faults:
        raise DataError(*faults)
    return list(dict.fromkeys(labels))
