"""One pair by one method in a process of its own, scored: a row of a table; and the table of such rows."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from common import provenance, run_process
from regeval.scoring.quick_scores import score_case
from regtask.dataset import Dataset
from regtask.fields import read_field
from regtask.names import field_name_long
from regtask.pair import Pair

Row = dict[str, Any]
# Folder for all that is written, and the field that is to be written there, to the command that does it.
MakeCommand = Callable[[Path, Path], Sequence[str]]
COLUMNS = ("hd95_mm", "folding_percent", "sd_log_jacobian", "cpu_seconds", "peak_memory_mib")
GRADES = ("good", "doubtful", "failed")


def measure_preset(
    dataset: Dataset, pair: Pair, preset: str, *, device: str, overrides: Sequence[str] = ()
) -> Row:
    """Register a pair by a preset, from files to the written field, and score it."""

    def command(folder: Path, _: Path) -> list[str]:
        run = [sys.executable, "-m", "dinoreg.cli.main", "run", "--dataset", str(description_of(dataset))]
        run += ["--pairs", pair.case_key, "--output", str(folder), "--preset", preset, "--device", device]
        return [*run, *(part for override in overrides for part in ("--set", override))]

    return measure_command(dataset, pair, preset, command)


def description_of(dataset: Dataset) -> Path:
    """Return the file that a task of the benchmarks was read from."""
    return dataset.root / f"{dataset.name}_dataset.json"


def measure_command(dataset: Dataset, pair: Pair, method: str, make_command: MakeCommand) -> Row:
    """Run a command that registers a pair, and score the field that it wrote.

    Raises:
        RuntimeError: the command failed.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        field = folder / field_name_long(pair.fixed_id, pair.moving_id)
        cost = run_process(make_command(folder, field), folder / "log.txt")
        scores = score_case(pair, read_field(field))
        entry = _manifest_entry(folder / "manifest.json")
    row = {"task": dataset.name, "case": pair.case_key, "method": method, **asdict(scores), **asdict(cost)}
    row["dice_per_label"] = {str(label): value for label, value in scores.dice_per_label.items()}
    row["stage_seconds"] = _stage_seconds(entry)
    row |= {key: entry[key] for key in ("verdict", "verdict_evidence") if key in entry}
    row |= {key: provenance()[key] for key in ("commit", "cpu")}
    print(f"{dataset.name} {pair.case_key} {method}: {score_text(row)}, {cost.cpu_seconds:.1f} s", flush=True)
    return row


def score_of(row: Row) -> float:
    """Return what a row is judged by: Dice, or the landmark error in mm where the pair has no labels."""
    score: float = row["tre_mm"] if row["dice"] is None else row["dice"]
    return score


def score_text(row: Row) -> str:
    """Return that score with its name."""
    return f"TRE {row['tre_mm']:.2f} mm" if row["dice"] is None else f"Dice {row['dice']:.3f}"


def read_rows(results: Path) -> list[Row]:
    """Return the rows that a results file has already; none where it is not there."""
    rows: list[Row] = json.loads(results.read_text(encoding="utf-8"))["rows"] if results.is_file() else []
    return rows


def find_row(rows: Iterable[Row], task: str, pair: Pair, method: str) -> Row | None:
    """Return what was measured of a pair by a method."""
    of_pair = (row for row in rows if (row["task"], row["case"]) == (task, pair.case_key))
    return next((row for row in of_pair if row["method"] == method), None)


def group_rows(rows: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    """Return the rows by task and method, in order of appearance."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["task"], row["method"]), []).append(row)
    return groups


def in_order(rows: Iterable[Row], tasks: Sequence[str], methods: Sequence[str]) -> list[Row]:
    """Return the rows by task, method and pair, in which order they were ever measured."""

    def place(names: Sequence[str], name: str) -> int:
        return names.index(name) if name in names else len(names)

    return sorted(rows, key=lambda r: (place(tasks, r["task"]), place(methods, r["method"]), r["case"]))


def format_table(rows: Iterable[Row]) -> str:
    """Return a Markdown table: one line per task and method, means over the pairs."""
    lines = [
        "| task | method | pairs | Dice or TRE | per pair | HD95 mm | folds % | sdLogJ | processor s |"
        " peak MiB | good / doubtful / failed |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (task, method), group in group_rows(rows).items():
        by_label = all(row["dice"] is not None for row in group)
        scores = [score_of(row) for row in group]
        mean = f"{statistics.fmean(scores):.3f}" if by_label else f"{statistics.fmean(scores):.2f} mm"
        each = " ".join(f"{score:.2f}".lstrip("0") for score in scores)
        others = " | ".join(_mean_text(group, key) for key in COLUMNS)
        graded = any("verdict" in row for row in group)
        grades = " / ".join(str(sum(row.get("verdict") == grade for row in group)) for grade in GRADES)
        lines.append(
            f"| {task} | {method} | {len(group)} | {mean} | {each} | {others} | {grades if graded else ''} |"
        )
    return "\n".join(lines)


def _mean_text(group: Sequence[Row], key: str) -> str:
    """Return a cell: the mean over the pairs, or the largest memory; nothing where it was not measured."""
    values = [row[key] for row in group]
    if None in values:
        return ""
    if key == "peak_memory_mib":
        return f"{max(values):.0f}"
    digits = 1 if key in ("hd95_mm", "cpu_seconds") else 3
    return f"{statistics.fmean(values):.{digits}f}"


def _manifest_entry(manifest: Path) -> dict[str, Any]:
    """Return what the manifest says of its one pair; nothing where a peer wrote none."""
    if not manifest.is_file():
        return {}
    (entry,) = json.loads(manifest.read_text(encoding="utf-8"))["pairs"].values()
    return dict(entry)


def _stage_seconds(entry: dict[str, Any]) -> dict[str, float]:
    seconds: dict[str, float] = {}
    for stage in entry.get("stages", ()):
        seconds[stage["name"]] = seconds.get(stage["name"], 0.0) + stage["seconds"]
    return seconds
