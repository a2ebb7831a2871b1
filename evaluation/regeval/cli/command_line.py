"""Command line: `regeval VERB ...` or `python -m regeval VERB ...`.

Each verb is a module with `add_parser(verbs)`, which adds its parser and sets `run` on it, and
`run(options) -> int`, which returns the exit status. What only some verbs need (jinja2) is imported
inside their `run`.
"""

import argparse
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from types import MappingProxyType

from regeval.cli import (
    check_command,
    compare_command,
    config_command,
    evaluate_command,
    leaderboard_command,
    rank_command,
)
from regeval.cli.verbs import Verbs
from regtask.untrusted.edge import run_guarded

# Name and parser of each verb.
VERBS: Mapping[str, Callable[[Verbs], None]] = MappingProxyType(
    {
        "check": check_command.add_parser,
        "compare": compare_command.add_parser,
        "config": config_command.add_parser,
        "evaluate": evaluate_command.add_parser,
        "leaderboard": leaderboard_command.add_parser,
        "rank": rank_command.add_parser,
    }
)
# Set by the evaluation image, where nothing is installed that would know it.
_VERSION_VARIABLE = "REGEVAL_VERSION"


def main(arguments: Sequence[str] | None = None, **more: object) -> int:
    """Run one verb.

    Args:
        arguments: command line without the program's name; None takes that of the process.
        more: what a verb takes that no option gives; replaces its default.

    Returns:
        Exit status: that of the verb, or of what stopped it (`run_guarded`); why goes to standard error.
    """
    options = _parser().parse_args(arguments)
    vars(options).update(more)
    logging.basicConfig(level=logging.WARNING, format="regeval: %(message)s")
    return run_guarded("regeval", lambda: int(options.run(options)), vars(options).values())


def version() -> str:
    """Return the version of the program; "unknown" where it is neither installed nor in its image."""
    if stated := os.environ.get(_VERSION_VARIABLE):
        return stated
    try:
        return metadata.version("dinoreg")
    except metadata.PackageNotFoundError:
        return "unknown"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="regeval", description="Judge displacement fields of a challenge.")
    parser.add_argument("--version", action="version", version=version())
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for add_parser in VERBS.values():
        add_parser(verbs)
    return parser
