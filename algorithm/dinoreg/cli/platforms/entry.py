"""Register what a challenge platform, or a person, has mounted.

The image's entry: what is mounted and given says who is calling, and that caller's front end does the rest.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from importlib import metadata
from pathlib import Path

from dinoreg.cli import main as command
from dinoreg.cli.edge import guarded
from dinoreg.cli.platforms import grand_challenge, invoke, learn2reg2026, lumir
from dinoreg.cli.platforms.job_files import INPUTS, is_job
from dinoreg.cli.platforms.options import container_arguments, container_parser, given_arguments
from dinoreg.cli.task_run import run
from regtask.errors import DataError, Fault, nearest

# Set by `build.sh --api invoke`; the platform knows the same by a label of the image.
API_VARIABLE = "DINOREG_API"
_CALLERS = """What is run: a verb if one is given (`warp --help` explains that one; none of the options here
apply). Else, with five paths, Learn2Reg 2026's pair. Else the job of --input's inputs.json (Grand
Challenge), its one *_dataset.json (Learn2Reg), or LUMIR's mounts. """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the container was called for; returns its exit code."""
    given = given_arguments(arguments)
    if given and given[0] in command.VERBS:
        return command.main(given)
    options = _parser().parse_args(container_arguments(arguments))
    _refuse_other_paths(options)
    return guarded(lambda: _dispatch(options), options)


def _parser() -> argparse.ArgumentParser:
    parser = container_parser(__doc__, f"{_CALLERS}Verbs: {', '.join(command.VERBS)}. ")
    parser.add_argument("--version", action="version", version=metadata.version("dinoreg"))
    parser.add_argument(
        "paths",
        nargs="*",
        type=Path,
        metavar="PATH",
        help=f"Learn2Reg 2026: {' '.join(learn2reg2026.PATHS)}; the field is written where the last one says",
    )
    parser.add_argument(
        "--dataset", type=Path, metavar="JSON", help="the task (default: what lies in --input)"
    )
    parser.add_argument("--root", type=Path, default=Path("/"), metavar="DIR", help="where mounts begin")
    parser.add_argument(
        "--input", type=Path, metavar="DIR", help="folder of the task or job (default: /input)"
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder for the fields (default: /output)")
    parser.add_argument(
        "--api",
        choices=("exec", "invoke"),
        default=os.environ.get(API_VARIABLE) or "exec",
        help=f"Grand Challenge: once per case, or a server on port {invoke.PORT} (default: as built)",
    )
    parser.add_argument("--port", type=int, default=invoke.PORT, help="of the server; 0 for any")
    grand_challenge.add_arguments(parser)
    parser.set_defaults(usage_error=parser.error)
    return parser


def _refuse_other_paths(options: argparse.Namespace) -> None:
    """End with a usage error where paths are given, but not five."""
    count, wanted = len(options.paths), " ".join(learn2reg2026.PATHS)
    if count in (0, len(learn2reg2026.PATHS)):
        return
    verb = nearest(str(options.paths[0]), command.VERBS)
    meant = f"; did you mean the verb {verb}?" if verb else ""
    options.usage_error(f"five paths are expected, {wanted}, got {count}{meant}")


def _dispatch(options: argparse.Namespace) -> None:
    folder = options.input or options.root / "input"
    output = options.output or options.root / "output"
    if options.paths:
        learn2reg2026.run_pair(options)
    elif options.api == "invoke":

        def load() -> partial[None]:
            return partial(grand_challenge.Registration(options).run, folder, output)

        invoke.serve(load, port=options.port)
    elif options.dataset is None and is_job(folder):
        grand_challenge.Registration(options).run(folder, output)
    else:
        _use_task(options, folder, output)
        run(options)


def _use_task(options: argparse.Namespace, folder: Path, output: Path) -> None:
    """Complete the options by the task that was named or mounted.

    Raises:
        DataError: there is none, or more than one.
    """
    options.output = output
    found = sorted(folder.glob("*_dataset.json"))
    if options.dataset is None and not found and (mounts := lumir.find_mounts(options.root)) is not None:
        options.dataset = mounts.description
        options.data_dir = options.data_dir or options.input or mounts.images
        options.output = mounts.fields if output == options.root / "output" else output
        options.set = [lumir.NAMING, *options.set]
    elif options.dataset is None and len(found) == 1:
        options.dataset = found[0]
    elif options.dataset is None:
        raise DataError(
            Fault(
                "one dataset JSON is needed",
                str(folder),
                expected=f"one file *_dataset.json, or a job's {INPUTS}",
                got=", ".join(path.name for path in found) or "none",
                remedy="mount the task folder there (-v TASK:/input:ro), or name the file with --dataset",
            )
        )


if __name__ == "__main__":
    sys.exit(main())
