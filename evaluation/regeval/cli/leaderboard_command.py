"""`regeval leaderboard`: a folder of submissions becomes the site of a challenge."""

import argparse
import sys
from pathlib import Path
from typing import get_args

from regeval.cli.verbs import METHODS, Verbs, add_layout
from regeval.inputs.config import Missing
from regeval.scoring.score import Mode
from regtask.dataset import Split

_NO_RANKING = 1


def add_parser(verbs: Verbs) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "leaderboard",
        help="check, evaluate and rank a folder of submissions; write a site",
        description="Check, evaluate and rank every folder, .zip and .tar.gz in a folder, one a team, and "
        "write a leaderboard and a page a team. Only what has changed is done again.",
        epilog="exit codes: 0; 1 a task has no ranking; 2 wrong usage; 3 a task or the folder of submissions "
        "cannot be used; 4 the site cannot be written",
    )
    parser.add_argument(
        "--dataset",
        type=Path,
        action="append",
        required=True,
        metavar="JSON",
        help="{Task}_dataset.json with the ground truth beside it; may be repeated: one ranking per task",
    )
    parser.add_argument(
        "--submissions",
        type=Path,
        required=True,
        metavar="DIR",
        help="the submissions; with several --dataset one folder a task in it, named like the task",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="SITE", help="folder of the site")
    parser.add_argument(
        "--missing",
        choices=get_args(Missing),
        default="worst",
        help="a pair without a usable field: the worst values (default), no displacement, or refuse to score",
    )
    parser.add_argument("--method", choices=METHODS, default="auto", help="see docs/leaderboard.md")
    parser.add_argument(
        "--reference",
        action="append",
        default=[],
        metavar="NAME",
        help="submission that is compared but never ranked, such as an affine; the first is what a gate "
        "compares with (default: the identity, which is always a reference); may be repeated",
    )
    parser.add_argument("--mode", choices=get_args(Mode), default="strict", help="as of `regeval evaluate`")
    parser.add_argument(
        "--split", choices=get_args(Split), default="auto", help="auto: test if it has pairs, else val"
    )
    add_layout(parser)
    parser.add_argument(
        "--processes", type=_positive, default=1, metavar="N", help="submissions judged at once"
    )
    parser.add_argument(
        "--bootstrap", type=int, default=1000, metavar="N", help="samples for the intervals; 0 for none"
    )
    parser.add_argument(
        "--pictures",
        action="append",
        default=[],
        metavar="all|CASE",
        help="draw this case of every submission, or all cases; may be repeated. Pictures show images and "
        "labels of the task: do not publish them where these are secret",
    )
    parser.add_argument(
        "--pictures-of",
        action="append",
        default=[],
        metavar="NAME",
        help="draw this submission only; may be repeated",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Judge, rank and write the site.

    Returns:
        0, or 1 if a task has no ranking.

    Raises:
        TaskError: a task cannot be used, or the site not be written.
    """
    from regeval.challenge import Settings, draw_pictures, judge_challenge, refuse_unpublished, write_site
    from regeval.ranking import format_leaderboard

    settings = Settings(
        missing=options.missing,
        mode=options.mode,
        split=options.split,
        layout=options.layout,
        method=options.method,
        references=tuple(options.reference),
        processes=options.processes,
        bootstrap=options.bootstrap,
        pictures=tuple(options.pictures),
        pictures_of=tuple(options.pictures_of),
    )
    refuse_unpublished(settings)
    tasks = judge_challenge(options.dataset, options.submissions, options.output, settings, _say)
    pictures = draw_pictures(tasks, settings, _say)
    ranked = write_site(tasks, pictures, options.output, settings)
    for task in ranked:
        if task.board is None:
            sys.stdout.write(f"{task.judged.name}: no ranking: {task.problem}\n")
        else:
            sys.stdout.write(format_leaderboard(task.board))
        for entry, why in task.unscored():
            sys.stdout.write(f"not scored: {entry.name}: {why}\n")
        sys.stdout.write("\n")
    sys.stdout.write(f"{options.output / 'index.html'}\n")
    return _NO_RANKING if any(task.board is None for task in ranked) else 0


def _say(line: str) -> None:
    sys.stderr.write(f"regeval: {line}\n")
    sys.stderr.flush()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number
