"""`dinoreg judge`: whether a transform of any program can be believed."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dinoreg.cli.options import FORM_NAMES, add_scan_arguments, let_threads_sleep
from dinoreg.errors import VerdictError
from regtask.errors import Fault

if TYPE_CHECKING:
    from dinoreg.guard.verdict import Verdict

_DESCRIPTION = """Grade a transform by the two scans that it is said to bring together: good, doubtful or
failed, with the reasons. Read is what `dinoreg transform` reads, of whatever program; nothing is registered.
How far a grade can be trusted: docs/verdict.md."""


def add_judge_parser(verbs: Any) -> None:
    """Add the verb to the subparsers of the command."""
    parser = verbs.add_parser(
        "judge", help="say whether a transform of any program can be believed", description=_DESCRIPTION
    )
    parser.add_argument("--fixed", type=Path, required=True, metavar="SCAN")
    parser.add_argument("--moving", type=Path, required=True, metavar="SCAN")
    parser.add_argument("--transform", type=Path, required=True, metavar="T", help="fixed to moving")
    parser.add_argument(
        "--from",
        dest="form",
        choices=FORM_NAMES,
        help="if the file does not tell",
    )
    add_scan_arguments(parser)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument("--strict", action="store_true", help="exit code 8 if the verdict is `failed`")


def run_judge(options: argparse.Namespace) -> None:
    """Run the verb from parsed options.

    Raises:
        TaskError: see `dinoreg.desk.judge.judge`.
        VerdictError: with --strict, the transform cannot be believed.
    """
    let_threads_sleep()
    from dinoreg.desk.judge import judge

    verdict = judge(
        options.fixed,
        options.moving,
        options.transform,
        form=options.form,
        fixed_mask=options.fixed_mask,
        moving_mask=options.moving_mask,
        fixed_modality=options.fixed_modality,
        moving_modality=options.moving_modality,
        fixed_series=options.fixed_series,
        moving_series=options.moving_series,
        device=options.device,
    )
    said = verdict.as_dict()
    sys.stdout.write(json.dumps(said, indent=1) + "\n" if options.json else _lines(verdict))
    if options.strict and verdict.grade == "failed":
        got = "; ".join(verdict.reasons)
        raise VerdictError(Fault("the registration failed", str(options.transform), got=got))


def _lines(verdict: Verdict) -> str:
    evidence = verdict.as_dict()["verdict_evidence"]
    known = [f"  {name}: {value}" for name, value in evidence.items() if value is not None]
    return "\n".join([verdict.grade, *(f"  {reason}" for reason in verdict.reasons), *known]) + "\n"
