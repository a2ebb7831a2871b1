"""The report of a check for people."""

from collections.abc import Iterable, Sequence

from regeval.checking.submission_check import Report
from regtask.errors import Fault

# Places of one fault that are listed.
_MAX_NAMED = 20
_UNITS = {
    "landmarks": "share of the landmarks' distance that is gone",
    "keypoints": "share of the key points' distance that is gone",
    "labels": "Dice",
    "images": "normalised mutual information of the images",
}


def format_report(title: str, report: Report) -> str:
    """Return the report as text: faults, notes, and how well each hypothesis fits.

    A fault that several fields have is said once, with all of them.
    """
    size = f"{report.total_bytes / 1e6:.1f} MB"
    lines = [f"{title}: {report.fields} of {report.pairs} fields can be read, {size}", ""]
    lines += fault_lines(report.faults)
    lines += [f"  note: {note}" for note in report.notes]
    if report.judgements:
        lines += ["", *_plausibility(report)]
    return "\n".join([*lines, "", report.verdict]) + "\n"


def fault_lines(faults: Sequence[Fault]) -> list[str]:
    """Return how many kinds of faults there are, and each once with its places."""
    together = [_together(alike) for alike in by_kind(faults)]
    count = len(together)
    head = f"{count} {'fault' if count == 1 else 'faults'}:" if count else "no faults"
    return [head, *(f"  - {text}" for text in together)]


def by_kind(faults: Iterable[Fault]) -> list[list[Fault]]:
    """Return faults in groups that differ only in their place and in what it brings with it."""
    kinds: dict[tuple[str, str], list[Fault]] = {}
    for fault in faults:
        kinds.setdefault((fault.what, fault.remedy), []).append(fault)
    return list(kinds.values())


def _together(faults: Sequence[Fault]) -> str:
    """Return faults that differ in their place, and in what it brings with it, as one."""
    first = faults[0]
    if len(faults) == 1:
        return str(first)
    places = [fault.where for fault in faults]
    more = f" and {len(places) - _MAX_NAMED} more" if len(places) > _MAX_NAMED else ""
    text = f"{first.what}, {len(faults)} times: {', '.join(places[:_MAX_NAMED])}{more}"
    for word, values in (
        ("expected", [fault.expected for fault in faults]),
        ("got", [fault.got for fault in faults]),
    ):
        if values[0]:
            text += f"; {word} {values[0]}" + ("" if len(set(values)) == 1 else " for the first")
    return f"{text} -> {first.remedy}" if first.remedy else text


def _plausibility(report: Report) -> list[str]:
    heads = [f"{summary.kind} ({summary.pairs})" for summary in report.summaries]
    rows = [
        ("", *heads, ""),
        ("as submitted", *_cells(one.submitted for one in report.summaries), ""),
        ("no displacement", *_cells(one.zero for one in report.summaries), ""),
    ]
    for number, judgement in enumerate(report.judgements):
        known = judgement.hypothesis.undecidable == ""
        cells = _cells(one.corrected[number] if known else None for one in report.summaries)
        rows.append((judgement.hypothesis.name, *cells, judgement.verdict))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "Does it make sense? How well the fields fit, and how they would if a suspicion were put right",
        "(higher is better):",
    ]
    for summary in report.summaries:
        lines.append(f"  {summary.kind}: {_UNITS[summary.kind]}, mean of {summary.pairs} pairs")
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:-1], strict=True)]
        lines.append("  ".join(["", row[0].ljust(widths[0]), *cells, row[-1]]).rstrip())
    return lines


def _cells(values: Iterable[float | None]) -> list[str]:
    return ["" if value is None else f"{value:.3f}" for value in values]
