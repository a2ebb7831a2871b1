"""What the platforms share: arguments built into the image, and the options of a run without a person."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence

from dinoreg.cli.edge import EXIT_CODES
from dinoreg.cli.task_run import add_run_arguments

# Platforms start a container without arguments: those of this variable come before any that are given.
ARGUMENTS_VARIABLE = "DINOREG_ARGUMENTS"


def container_parser(description: str | None, epilog: str = "") -> argparse.ArgumentParser:
    """Return a parser with the options of a run, as a container needs them: every pair gets a field."""
    parser = argparse.ArgumentParser(
        prog="dinoreg",
        description=description,
        epilog=f"{epilog}{EXIT_CODES} Arguments in ${ARGUMENTS_VARIABLE} are read first.",
    )
    add_run_arguments(parser)
    parser.set_defaults(on_failure="fallback", pairs=None)
    return parser


def given_arguments(arguments: Sequence[str] | None) -> list[str]:
    """Return the arguments given, by default the process's."""
    return list(sys.argv[1:] if arguments is None else arguments)


def container_arguments(arguments: Sequence[str] | None) -> list[str]:
    """Return the arguments of the environment, then those given."""
    return [*shlex.split(os.environ.get(ARGUMENTS_VARIABLE, "")), *given_arguments(arguments)]
