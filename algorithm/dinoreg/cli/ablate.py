"""`dinoreg ablate`: what each part of a preset is worth on a task."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

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
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="where the JSON's paths begin")
    parser.add_argument("--split", choices=("auto", "test", "val", "train"), default="auto")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--preset", default="dinoreg", help="see: dinoreg presets (default: dinoreg)")
    source.add_argument("--config", type=Path, metavar="FILE.toml")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override, in all rows"
    )
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="only these (default: all)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N")


def run_ablate(options: argparse.Namespace) -> None:
    """Run the verb from parsed options."""
    # Read when torch is loaded: on shared cores, threads that spin while they wait cost many times the work.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from dinoreg.pipeline.ablation import TABLE_NAME, run_ablation
    from dinoreg.pipeline.ablation_rows import ablation_rows
    from dinoreg.pipeline.presets import load_config, load_preset
    from dinoreg.pipeline.run_task import RunOptions
    from dinoreg.runtime import choose_device
    from regtask.dataset import read_dataset

    base = (
        load_config(options.config, options.set)
        if options.config
        else load_preset(options.preset, options.set)
    )
    rows = ablation_rows(base, options.rows)
    dataset = read_dataset(options.dataset, options.data_dir)
    run_ablation(
        dataset,
        rows,
        RunOptions(output=options.output, split=options.split, device=choose_device(options.device)),
    )
    sys.stdout.write((options.output / f"{TABLE_NAME}.md").read_text(encoding="utf-8"))
