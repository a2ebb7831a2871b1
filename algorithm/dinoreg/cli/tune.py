"""`dinoreg tune`: the settings that suit a new task, found on a few of its pairs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dinoreg.cli.options import add_task_arguments, chosen_config, let_threads_sleep

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[argparse.ArgumentParser]


def add_tune_parser(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "tune",
        help="find the settings that suit a task, from a few pairs with labels or landmarks",
        description="Try settings on the pairs of a task, rank them as Learn2Reg ranks (accuracy, the hardest"
        " 30 %%, smoothness), cross-validate the choice over people, and write the configuration. The base"
        " stays where choosing does not pay. What is finished is not run again.",
    )
    parser.add_argument("--dataset", type=Path, required=True, metavar="JSON", help="TASK_dataset.json")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.toml", help="the configuration")
    parser.add_argument(
        "--work", type=Path, metavar="DIR", help="trials and report (default: FILE.toml.trials)"
    )
    parser.add_argument(
        "--trials", type=_at_least_two, default=16, help="settings to try (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the settings that are drawn together")
    add_task_arguments(parser, preset="auto", override_help="override, in all trials")


def run_tune(options: argparse.Namespace) -> None:
    """Run the verb from parsed options."""
    let_threads_sleep()
    from dinoreg.runtime import choose_device
    from dinoreg.study.tune import REPORT_NAME, tune
    from dinoreg.task.run_task import RunOptions
    from regtask.dataset import read_dataset

    work = options.work or options.output.with_name(options.output.name + ".trials")
    tune(
        read_dataset(options.dataset, options.data_dir),
        chosen_config(options),
        options.output,
        RunOptions(output=work, split=options.split, device=choose_device(options.device)),
        trials=options.trials,
        seed=options.seed,
    )
    sys.stdout.write((work / REPORT_NAME).read_text(encoding="utf-8"))
    sys.stdout.write(f"\nwritten: {options.output}\n")


def _at_least_two(text: str) -> int:
    value = int(text) if text.isdecimal() and len(text) < 7 else 0
    if value < 2:
        raise argparse.ArgumentTypeError(f"expected a whole number of 2 or more, got {text}")
    return value
