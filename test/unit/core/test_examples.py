"""The help of every verb ends with examples, and they are calls that the parser takes."""

import shlex

import pytest

from dinoreg.cli.examples import EXAMPLES, verbs_of
from dinoreg.cli.main import build_parser


def test_every_help_has_an_example():
    helps = {name: parser.format_help() for name, parser in verbs_of(build_parser())}
    assert {"run", "transform", "transform invert"} <= set(helps)
    assert [
        name for name, text in helps.items() if f"  dinoreg {name}" not in text.split("examples:")[-1]
    ] == []


def test_every_example_is_of_a_verb():
    assert set(EXAMPLES) <= {name for name, _ in verbs_of(build_parser())}


@pytest.mark.parametrize("call", [call for calls in EXAMPLES.values() for call in calls])
def test_an_example_can_be_called(call):
    program, *words = shlex.split(call.partition(" >")[0])
    assert program == "dinoreg"
    assert build_parser().parse_args(words).verb == words[0]
