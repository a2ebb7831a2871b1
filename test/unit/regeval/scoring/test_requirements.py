"""Requirements: their form, their paths, and that they fail when they should."""

import math

import pytest

from regeval.scoring.requirements import Gate, read_gates
from regtask import DataError

DOCUMENT = {
    "name": "Knee",
    "aggregates": {
        "DSC": {"mean": 0.61, "per_label": {"7": {"mean": 0.5}}, "reasons": ["x"]},
        "HD": {"mean": None},
    },
    "cases": {"0001_0000<--0001_0001": {"DSC": {"mean": 0.4, "detailed": [0.3, math.nan]}}},
    "reference": {"aggregates": {"DSC": {"mean": 0.2}}},
}


@pytest.mark.parametrize(
    "text",
    [
        "DSC.mean>=0.6",
        "DSC.mean >= 6.1e-1",
        "DSC.mean<1",
        "DSC.mean==0.61",
        "aggregates.DSC.mean<=.61",
        "DSC.per_label.7.mean>0.49",
        "cases.0001_0000<--0001_0001.DSC.mean<=0.4",
        "cases.0001_0000<--0001_0001.DSC.detailed.0<0.31",
        "reference.aggregates.DSC.mean<+0.5",
    ],
)
def test_met(text):
    assert Gate.of(text).failure(DOCUMENT) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("DSC.mean>=0.62", "it is 0.61"),
        ("DSC.mean>0.61", "it is 0.61"),
        ("DSC.mean<0.61", "it is 0.61"),
        ("HD.mean<=100", "there is no value"),
        ("cases.0001_0000<--0001_0001.DSC.detailed.1>=0", "there is no value"),
    ],
)
def test_not_met(text, reason):
    assert Gate.of(text).failure(DOCUMENT) == f"{text}: {reason}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("DCS.mean>=0.6", "no 'DCS'.*is 'DSC' meant"),
        ("DSC.maen>=0.6", "no 'maen'.*is 'mean' meant"),
        ("DSC>=0.6", "not a number.*DSC.mean"),
        ("DSC.mean.x>=0.6", "no 'x'.*shorter path"),
        ("DSC.reasons.0>=0.6", "not a number"),
        ("cases.0001_0000<--0001_0001.DSC.detailed.2>0", "no '2'"),
    ],
)
def test_unknown_path(text, message):
    with pytest.raises(DataError, match=message):
        Gate.of(text).failure(DOCUMENT)


@pytest.mark.parametrize(
    "text", ["", "DSC.mean", "DSC.mean>=", ">=0.6", "DSC.mean>=a", "DSC.mean=>0.6", "a>=1e"]
)
def test_other_forms(text):
    with pytest.raises(DataError, match="not a requirement"):
        Gate.of(text)


def test_all_wrong_forms_are_listed():
    with pytest.raises(DataError) as caught:
        read_gates(["DSC", "DSC.mean>0", "x=1"])
    assert len(caught.value.faults) == 2
