"""Command line: `regeval VERB ...` or `python -m regeval VERB ...`.

Each verb is a module with `add_parser(verbs)`, which adds its parser and sets `run` on it, and
`run(options) -> int`, which returns the exit status. What only some verbs need (jinja2) is imported
inside their `run`.
"""

import argparse
import logging
from collections.abc import Callable, Sequence
from importlib import metadata

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

# One line per verb.
_ADD_PARSER: tuple[Callable[[Verbs], None], ...] = (
    check_command.add_parser,
    compare_command.add_parser,
    config_command.add_parser,
    evaluate_command.add_parser,
    leaderboard_command.add_parser,
    rank_command.add_parser,
)


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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="regeval", description="Judge displacement fields of a challenge.")
    parser.add_argument("--version", action="version", version=_version())
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for add_parser in _ADD_PARSER:
        add_parser(verbs)
    return parser


def _version() -> str:
    """The version of the distribution that regeval is part of; its image has the modules alone."""
    try:
        return metadata.version("dinoreg")
    except metadata.PackageNotFoundError:
        return "regeval, not installed as a package"
