"""A metrics file as a fixed-width table for people."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

_GAP = "   "
# Metrics with a "before", and their units.
_UNITS = {
    "dice": {"strict": "", "l2r": ""},
    "hd95": {"strict": "mm", "l2r": "voxels"},
    "tre": {"strict": "mm", "l2r": "mm"},
}
# What HD95 becomes where a label was lost.
_LOST = {"strict": "the diagonal of the image", "l2r": "infinite"}
# Metrics of the field alone, shown without a "before"; title and name in the file.
_FIELD = (("folds %", "folds_percent"), ("sdLogJ", "sdLogJ"))


def format_table(document: Mapping[str, Any], source: str) -> str:
    """Return one line per pair and the means, each score "identity -> field".

    Folds and sdLogJ belong to the field alone, so they have no "before"; they are those within the fixed mask
    where there is one. A score that no pair has leaves no column; where one pair lacks it the cell is "-".
    A pair that was scored without a field says so behind its name, and why below the table.

    Args:
        document: from `regeval.scoring.metrics_file.metrics_document`.
        source: where the fields come from.
    """
    after, before = document["cases"], document["reference"]["cases"]
    names = [
        name for name in _shown(document) if any(_value(case, name) is not None for case in after.values())
    ]
    titles = ["pair", *(_title(document, name) for name in names), *(title for title, _ in _FIELD)]
    rows = [
        [
            _name(document, key),
            *(_change(document, before[key], case, name) for name in names),
            *_field_cells(case),
        ]
        for key, case in after.items()
    ]
    means = (document["reference"]["aggregates"], document["aggregates"])
    mean_row = ["mean", *(_change(document, *means, name) for name in names), *_field_means(after)]
    lines = [titles, *rows, mean_row]
    widths = [max(len(line[column]) for line in lines) for column in range(len(titles))]
    text = [_line(line, widths) for line in lines]
    rule = "-" * max(len(line) for line in text)
    head = f"{document['name']}, {len(after)} pairs, mode {document['mode']}, identity -> {source}"
    table = [head, "", text[0], rule, *text[1:-1], rule, text[-1], *_notes(document)]
    return "\n".join(table) + "\n"


def _name(document: Mapping[str, Any], key: str) -> str:
    return f"{key} [{document['missing']['policy']}]" if key in document["missing"]["cases"] else key


def _shown(document: Mapping[str, Any]) -> list[str]:
    """Return the metrics of the configuration, but for the regularity, which has its own columns."""
    return [name for name, method in document["metrics"].items() if method["metric"] in _UNITS]


def _title(document: Mapping[str, Any], name: str) -> str:
    return f"{name} {_UNITS[document['metrics'][name]['metric']][document['mode']]}".rstrip()


def _value(entry: Mapping[str, Any], name: str) -> float | None:
    value = entry.get(name, {}).get("mean")
    return None if value is None or math.isnan(value) else float(value)


def _change(
    document: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any], name: str
) -> str:
    one, other = _value(before, name), _value(after, name)
    if one is None and other is None:
        return "-"
    digits = 3 if document["metrics"][name]["metric"] == "dice" else 2
    return f"{_number(one, digits):>6} -> {_number(other, digits):>6}"


def _field_cells(case: Mapping[str, Any]) -> list[str]:
    return [_number(_field_value(case, name), 3) for _, name in _FIELD]


def _field_value(case: Mapping[str, Any], name: str) -> float | None:
    masked = f"{name}_masked"
    return _value(case, masked if masked in case else name)


def _field_means(cases: Mapping[str, Mapping[str, Any]]) -> list[str]:
    means = []
    for _, name in _FIELD:
        values = [value for case in cases.values() if (value := _field_value(case, name)) is not None]
        means.append(_number(sum(values) / len(values) if values else None, 3))
    return means


def _notes(document: Mapping[str, Any]) -> list[str]:
    """Say which pairs had no field, and how many labels were lost or absent, in any metric."""
    ending = "" if document["mode"] == "strict" else "_strict"
    entries = [document["aggregates"][f"{name}{ending}"] for name in _shown(document)]
    lost = max((entry.get("lost_labels", 0) for entry in entries), default=0)
    absent = max((entry.get("absent_labels", 0) for entry in entries), default=0)
    notes = []
    if lost:
        notes.append(f"labels that vanished in warping (Dice 0, HD95 {_LOST[document['mode']]}): {lost}")
    if absent:
        notes.append(f"labels that are not in both images of their pair and do not count: {absent}")
    if missing := document["missing"]["cases"]:
        total, policy = len(document["cases"]), document["missing"]["policy"]
        notes.append(f"no usable field, scored as {policy}, in all means: {len(missing)} of {total} pairs")
        notes += [f"  - {key}: {why}" for key, why in missing.items()]
    return ["", *notes] if notes else []


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (
        cell.ljust(width) if column == 0 else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return _GAP.join((first, *others)).rstrip()
