"""The `dinoreg` command."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

from dinoreg.cli.ablate import add_ablate_parser, run_ablate
from dinoreg.cli.apply.parser import add_apply_parser
from dinoreg.cli.apply.run import run_apply
from dinoreg.cli.examples import add_examples
from dinoreg.cli.motion import add_motion_parser, run_motion
from dinoreg.cli.options import add_task_arguments, chosen_config, let_threads_sleep
from dinoreg.cli.pretrain import add_pretrain_parser, run_pretrain
from dinoreg.cli.register import add_register_parser, run_register
from dinoreg.cli.transform.parser import add_transform_parser
from dinoreg.cli.transform.run import run_transform
from dinoreg.cli.tune import add_tune_parser, run_tune
from dinoreg.cli.warp import add_warp_parser, run_warp
from dinoreg.cli.weights import add_weights_parser, run_weights
from regtask.errors import DataError, Fault, nearest
from regtask.pair import Pair
from regtask.untrusted.edge import run_guarded

EXIT_CODES = """exit codes: 0 done; 2 configuration, usage or weights; 3 input data; 4 output; 5 device;
6 numerical failure; 7 some pair has no field; 8 with --strict: a result that cannot be believed; 130 and 143
stopped by Ctrl-C or SIGTERM. With --on-failure fallback a failed pair gets a safe field, is marked in
manifest.json, and does not change the exit code."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs."""
    parser = argparse.ArgumentParser(
        prog="dinoreg", description="Register medical images.", epilog=EXIT_CODES
    )
    parser.add_argument("--version", action="version", version=metadata.version("dinoreg"))
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    run = verbs.add_parser("run", help="register every pair of a dataset JSON", epilog=EXIT_CODES)
    add_run_arguments(run)
    run.add_argument("--dataset", type=Path, required=True, metavar="JSON", help="TASK_dataset.json")
    run.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the fields")
    run.add_argument(
        "--pairs",
        nargs="+",
        metavar="CASE",
        help="only these pairs of the split, named as in the manifest: '0001_0000<--0001_0001'",
    )
    run.set_defaults(on_failure="raise")

    add_register_parser(verbs)
    add_apply_parser(verbs)
    add_transform_parser(verbs)
    add_warp_parser(verbs)
    verbs.add_parser("presets", help="list the presets")
    config = verbs.add_parser("config", help="show a preset, or check a configuration file")
    actions = config.add_subparsers(dest="action", required=True, metavar="ACTION")
    show = actions.add_parser("show", help="print a preset with every key resolved")
    show.add_argument("name")
    check = actions.add_parser("check", help="check a file; all faults are listed")
    check.add_argument("file", type=Path)

    add_ablate_parser(verbs)
    add_tune_parser(verbs)
    add_motion_parser(verbs)
    add_pretrain_parser(verbs)
    add_weights_parser(verbs)
    phantom = verbs.add_parser("phantom", help="write a sample task whose true deformation is known")
    phantom.add_argument("--output", type=Path, required=True, metavar="DIR")
    phantom.add_argument("--size", choices=("demo", "small"), default="demo")
    phantom.add_argument("--seed", type=int, default=0)
    add_examples(parser)
    return parser


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = build_parser().parse_args(arguments)
    return guarded(lambda: _dispatch(options), options)


def guarded(action: Callable[[], None], options: argparse.Namespace) -> int:
    """Run an edge of the program: logging, signals, and errors as one message and an exit code.

    Args:
        action: the program.
        options: parsed; paths among them that no file can have are refused first.
    """
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", force=True
    )
    return run_guarded("dinoreg", action, vars(options).values())


def _dispatch(options: argparse.Namespace) -> None:
    if options.verb == "run":
        run(options)
    elif options.verb == "register":
        run_register(options)
    elif options.verb == "apply":
        run_apply(options)
    elif options.verb == "transform":
        run_transform(options)
    elif options.verb == "warp":
        run_warp(options)
    elif options.verb == "presets":
        _list_presets()
    elif options.verb == "config":
        _config(options)
    elif options.verb == "ablate":
        run_ablate(options)
    elif options.verb == "tune":
        run_tune(options)
    elif options.verb == "motion":
        run_motion(options)
    elif options.verb == "pretrain":
        run_pretrain(options)
    elif options.verb == "weights":
        run_weights(options)
    else:
        from dinoreg.phantom import write_phantom_task

        logging.info("%s", write_phantom_task(options.output, seed=options.seed, size=options.size))


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


def _list_presets() -> None:
    from dinoreg.settings.load import load_preset, preset_names

    width = max(len(name) for name in preset_names())
    for name in preset_names():
        sys.stdout.write(f"{name:<{width}}  {load_preset(name).description}\n")


def _config(options: argparse.Namespace) -> None:
    from dinoreg.settings.load import config_hash, load_config, load_preset
    from dinoreg.settings.show import to_toml

    if options.action == "show":
        sys.stdout.write(to_toml(load_preset(options.name)))
    else:
        config = load_config(options.file)
        sys.stdout.write(f"{options.file}: valid, hash {config_hash(config)}\n")


if __name__ == "__main__":
    sys.exit(main())
