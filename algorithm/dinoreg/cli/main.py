"""The `dinoreg` command."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from types import MappingProxyType

from dinoreg.cli.ablate import add_ablate_parser, run_ablate
from dinoreg.cli.apply.parser import add_apply_parser
from dinoreg.cli.apply.run import run_apply
from dinoreg.cli.edge import EXIT_CODES, guarded
from dinoreg.cli.examples import add_examples
from dinoreg.cli.job import add_job_parser, run_job
from dinoreg.cli.judge import add_judge_parser, run_judge
from dinoreg.cli.motion import add_motion_parser, run_motion
from dinoreg.cli.pretrain import add_pretrain_parser, run_pretrain
from dinoreg.cli.register.parser import add_register_parser
from dinoreg.cli.register.run import run_register
from dinoreg.cli.report import add_report_parser, run_report
from dinoreg.cli.task_run import add_run_arguments, run
from dinoreg.cli.transform.parser import add_transform_parser
from dinoreg.cli.transform.run import run_transform
from dinoreg.cli.tune import add_tune_parser, run_tune
from dinoreg.cli.warp import add_warp_parser, run_warp
from dinoreg.cli.weights import add_weights_parser, run_weights


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs."""
    parser = argparse.ArgumentParser(
        prog="dinoreg", description="Register medical images.", epilog=EXIT_CODES
    )
    parser.add_argument("--version", action="version", version=metadata.version("dinoreg"))
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    task = verbs.add_parser("run", help="register every pair of a dataset JSON", epilog=EXIT_CODES)
    add_run_arguments(task)
    task.add_argument("--dataset", type=Path, required=True, metavar="JSON", help="TASK_dataset.json")
    task.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the fields")
    task.add_argument(
        "--pairs",
        nargs="+",
        metavar="CASE",
        help="only these pairs of the split, named as in the manifest: '0001_0000<--0001_0001'",
    )
    task.set_defaults(on_failure="raise")

    add_register_parser(verbs)
    add_apply_parser(verbs)
    add_judge_parser(verbs)
    add_report_parser(verbs)
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
    add_job_parser(verbs)
    phantom = verbs.add_parser("phantom", help="write a sample task whose true deformation is known")
    phantom.add_argument("--output", type=Path, required=True, metavar="DIR")
    phantom.add_argument("--size", choices=("demo", "small"), default="demo")
    phantom.add_argument("--seed", type=int, default=0)
    add_examples(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = build_parser().parse_args(arguments)
    return guarded(lambda: VERBS[options.verb](options), options)


def _phantom(options: argparse.Namespace) -> None:
    from dinoreg.phantom import write_phantom_task

    logging.info("%s", write_phantom_task(options.output, seed=options.seed, size=options.size))


def _list_presets(options: argparse.Namespace) -> None:
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


VERBS: Mapping[str, Callable[[argparse.Namespace], None]] = MappingProxyType(
    {
        "run": run,
        "register": run_register,
        "apply": run_apply,
        "judge": run_judge,
        "report": run_report,
        "transform": run_transform,
        "warp": run_warp,
        "presets": _list_presets,
        "config": _config,
        "ablate": run_ablate,
        "tune": run_tune,
        "motion": run_motion,
        "pretrain": run_pretrain,
        "weights": run_weights,
        "job": run_job,
        "phantom": _phantom,
    }
)


if __name__ == "__main__":
    sys.exit(main())
