"""`dinoreg run`, and what the platforms that give a whole task share with it: options, and the run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from dinoreg.cli.options import add_task_arguments, chosen_config, let_threads_sleep
from regtask.errors import DataError, Fault, nearest
from regtask.pair import Pair


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a run that the command and the container share."""
    add_task_arguments(parser, preset="auto", override_help="override, as in adam.0.iterations=50")
    parser.add_argument("--on-failure", choices=("raise", "fallback"))
    parser.add_argument(
        "--strict", action="store_true", help="exit code 8 if the verdict on a pair is `failed`"
    )
    parser.add_argument(
        "--resume", action="store_true", help="skip pairs that are complete and made from the same inputs"
    )
    parser.add_argument(
        "--pictures",
        action="store_true",
        help="one picture per pair, in OUTPUT/pictures; with --resume also those that complete pairs lack",
    )


def run(options: argparse.Namespace) -> None:
    """Run a task from parsed options."""
    let_threads_sleep()
    from dinoreg.runtime import choose_device
    from dinoreg.task.run_task import RunOptions, run_task
    from regtask.dataset import read_dataset

    dataset = read_dataset(options.dataset, options.data_dir)
    run_task(
        dataset,
        chosen_config(options),
        RunOptions(
            output=options.output,
            split=options.split,
            device=choose_device(options.device),
            on_failure=options.on_failure,
            resume=options.resume,
            pictures=options.pictures,
            strict=options.strict,
        ),
        pairs=_named_pairs(dataset.pairs(options.split), options.pairs),
    )


def _named_pairs(pairs: Sequence[Pair], names: Sequence[str] | None) -> Sequence[Pair]:
    """Return the pairs that were named, or all.

    Raises:
        DataError: the split has no such pair.
    """
    if names is None:
        return pairs
    by_name = {pair.case_key: pair for pair in pairs}
    faults = [
        Fault("no such pair", name, remedy=f"did you mean {close}?" if close else "")
        for name in names
        if name not in by_name
        for close in [nearest(name, by_name)]
    ]
    if faults:
        raise DataError(*faults)
    return [by_name[name] for name in dict.fromkeys(names)]
