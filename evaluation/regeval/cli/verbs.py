"""What the verbs of the command line share."""

import argparse
from typing import TYPE_CHECKING, TypeAlias, get_args

from regtask.fields import Layout

if TYPE_CHECKING:  # argparse's class takes no parameter when the program runs
    Verbs: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Verbs = argparse._SubParsersAction

# As `regeval.ranking.methods.Choice` has them; written out, since the ranking is imported late.
METHODS = ("auto", "l2r", "learn2reg", "wilcoxon-holm", "psmareg", "oncoreg", "lumir")


def add_layout(parser: argparse.ArgumentParser) -> None:
    """Add the option that tells the order of the axes in a submission's files."""
    parser.add_argument(
        "--layout",
        type=_layout,
        choices=get_args(Layout),
        default="channel_last",
        metavar="channel-last|channel-first",
        help="axes of the files: (I, J, K, 3), the default, or (3, I, J, K), as LUMIR allows",
    )


def _layout(text: str) -> str:
    return text.replace("-", "_")
