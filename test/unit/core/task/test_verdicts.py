import logging

from dinoreg.task.entry import say_verdicts

ENTRIES = {
    "a": {"verdict": "good", "verdict_reasons": []},
    "b": {"verdict": "failed", "verdict_reasons": ["the moving image covers 3 % of the fixed one"]},
    "c": {"verdict": "doubtful", "verdict_reasons": ["x"]},
    "d": {"status": "fallback"},
}


def test_all_are_counted_and_those_that_are_not_good_named(caplog):
    caplog.set_level(logging.INFO)
    (fault,) = say_verdicts(ENTRIES)
    assert fault.where == "b"
    assert "covers 3 %" in fault.got
    (record,) = caplog.records
    assert record.getMessage() == "verdicts: 1 good, 1 doubtful (c), 1 failed (b)"
    assert record.levelno == logging.WARNING


def test_nothing_to_say(caplog):
    assert say_verdicts({"d": ENTRIES["d"]}) == []
    assert say_verdicts({"a": ENTRIES["a"]}) == []
    assert len(caplog.records) == 0 or caplog.records[-1].levelno == logging.INFO
