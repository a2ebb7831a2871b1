"""The file of the results and the Markdown tables that are made of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common import provenance, write_json


def read_rows(path: Path, experiment: str) -> list[dict[str, Any]]:
    """Return the rows of an experiment that were measured so far."""
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return [row for row in content.get("rows", []) if row["experiment"] == experiment]


def update(
    path: Path, experiment: str, rows: Sequence[dict[str, Any]], absent: Mapping[str, str], numbers: Any
) -> None:
    """Put rows in the place of those of the same name, and write the tables again."""
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    content.setdefault("provenance", {})[experiment] = provenance()
    if numbers is not None:
        content.setdefault("figures", {})[experiment] = numbers
    table = {(r["experiment"], r["name"]): r for r in [*content.get("rows", []), *rows]}
    content["rows"] = list(table.values())
    measured = {row["encoder"] for row in content["rows"]}
    missing = {**content.get("not_measured", {}), **absent}
    content["not_measured"] = {name: why for name, why in missing.items() if name not in measured}
    write_json(path, content)
    path.with_suffix(".md").write_text(format_tables(content), encoding="utf-8")


def format_tables(content: dict[str, Any]) -> str:
    """Return the Markdown tables of all experiments."""
    lines = []
    for experiment in dict.fromkeys(row["experiment"] for row in content["rows"]):
        rows = [row for row in content["rows"] if row["experiment"] == experiment]
        command = content["provenance"][experiment]["command"]
        lines += [f"## {experiment}", "", f"`{command}`", "", format_rows(rows), ""]
    if content["not_measured"]:
        lines += ["## Not measured", ""]
        lines += [f"* {name}: {reason}" for name, reason in content["not_measured"].items()] + [""]
    return "\n".join(lines)


def format_rows(rows: Sequence[dict[str, Any]]) -> str:
    """Return the Markdown table of one experiment."""
    labels = list(rows[0]["dice_per_label"])
    titles = " | ".join(f"label {n} ({rows[0]['pairs_per_label'][n]} pairs)" for n in labels)
    lines = [f"| | Dice | {titles} | HD95 | sdLogJ | folds % | s |", "|---" * (6 + len(labels)) + "|"]
    for row in rows:
        each = " | ".join(f"{row['dice_per_label'][label]:.3f}" for label in labels)
        lines.append(
            f"| {row['name']} | {row['dice']:.3f} ± {row['dice_sd']:.3f} | {each} |"
            f" {row['hd95']:.2f} ± {row['hd95_sd']:.2f} | {row['sd_log_jacobian']:.3f} |"
            f" {row['folding_percent']:.3f} | {row['seconds']:.1f} |"
        )
    return "\n".join(lines)
