"""`dinoreg ablate`: what each part of a preset is worth on a task."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dinoreg.cli.options import add_task_arguments, chosen_config, let_threads_sleep

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[argparse.ArgumentParser]


def add_ablate_parser(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "ablate",
        help="run a task once per part of a preset taken away, and write one table",
        description="Register a task with a preset and with one part of it taken away or replaced at a time;"
        " write ablation.csv and ablation.md. What is finished is not run again.",
    )
    parser.add_argument("--dataset", type=Path, required=True, metavar="JSON", help="TASK_dataset.json")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="one folder per row in it")
    add_task_arguments(parser, preset="dinoreg", override_help="override, in all rows")
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="only these (default: all)")


def run_ablate(options: argparse.Namespace) -> None:
    """Run the verb from parsed options."""
    let_threads_sleep()
    from dinoreg.runtime import choose_device
    from dinoreg.study.ablation import TABLE_NAME, run_ablation
    from dinoreg.study.ablation_rows import ablation_rows
    from dinoreg.task.run_task import RunOptions
    from regtask.dataset import read_dataset

    rows = ablation_rows(chosen_config(options), options.rows)
    dataset = read_dataset(options.dataset, options.data_dir)
    run_ablation(
        dataset,
        rows,
        RunOptions(output=options.output, split=options.split, device=choose_device(options.device)),
    )
    sys.stdout.write((options.output / f"{TABLE_NAME}.md").read_text(encoding="utf-8"))
