"""A metrics file in long form, one value a line, as tables and statistics programs want it."""

import csv
import io
import math
from collections.abc import Iterator, Mapping
from typing import Any

from regeval.scoring.spreadsheet import defused
from regeval.scoring.stand_ins import STAND_IN

COLUMNS = ("case", "metric", "label", "landmark", "value", "stand_in")


def metrics_csv(document: Mapping[str, Any]) -> str:
    """Return the scores of all cases as csv.

    A line is the score of a case where `label` and `landmark` are empty, else that of one label, or of one
    landmark (its row in the csv file of the points, from 0). Numbers are written in full precision, infinity
    as `inf`; what has no value is empty. `stand_in` says as what a case without a usable field was scored.
    Names that a spreadsheet would run as a formula get an apostrophe in front.

    Args:
        document: from `regeval.scoring.metrics_file.metrics_document`.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for case, metrics in document["cases"].items():
        for metric, entry in metrics.items():
            for label, landmark, value in _values(_method(document, metric), entry):
                stand_in = entry.get(STAND_IN, "")
                writer.writerow(
                    (defused(case), defused(metric), label, landmark, _text(value), defused(stand_in))
                )
    return stream.getvalue()


def _method(document: Mapping[str, Any], metric: str) -> Mapping[str, Any]:
    """Return what the configuration says of a metric; of one by the rules of the other mode, too."""
    other = "l2r" if document["mode"] == "strict" else "strict"
    methods: Mapping[str, Mapping[str, Any]] = document["metrics"]
    return methods.get(metric) or methods.get(metric.removesuffix(f"_{other}")) or {}


def _values(method: Mapping[str, Any], entry: Mapping[str, Any]) -> Iterator[tuple[object, object, float]]:
    """Yield label, landmark and value of everything in one score."""
    yield "", "", entry["mean"]
    if labels := method.get("labels"):
        yield from ((label, "", value) for label, value in zip(labels, entry["detailed"], strict=True))
    elif method.get("metric") == "tre":
        yield from (("", number, value) for number, value in enumerate(entry["detailed"]))


def _text(value: float) -> str:
    return "" if math.isnan(value) else repr(float(value))
