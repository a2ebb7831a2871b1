"""Accuracy, folds, time and memory of the presets on the tasks of real scans, and the gain over MIND."""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path

from common import ROOT, provenance, write_json
from dinoreg.runtime import choose_device
from encoder_presets import Chosen, add_common_arguments, find_presets
from pair_rows import Row, find_row, format_table, group_rows, in_order, measure_preset
from regtask.dataset import read_dataset

PRESETS = ("identity", "convexadam", "ssd", "mind", "mind+intensity", "dino3d", "dino3d+mind")
BASELINES = ("convexadam", "ssd", "mind")
REFERENCE = "mind"  # the same start, stages and optimiser budget
# Gain in mean Dice over the reference that `dino3d` or `dino3d+mind` is to reach.
GOALS = {"AbdomenMRCT": 0.05, "AbdomenMRMR": 0.05, "BrainT1": -0.01, "HippocampusMR": -0.01}
# What is registered to what.
IMAGES = {
    "AbdomenMRCT": "MR to CT",
    "AbdomenMRMR": "T2 to T2, two people",
    "BrainT1": "T1 to T1, two people",
    "HippocampusMR": "T1 to T1, two people",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this comparison."""
    parser.add_argument("--data", type=Path, required=True, help="folder of task folders")
    parser.add_argument("--tasks", nargs="+", default=list(GOALS))
    parser.add_argument("--limit", type=int, help="only the first so many pairs of each task")
    add_common_arguments(parser, PRESETS)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/encoder.json")


def run(options: argparse.Namespace) -> None:
    """Measure what is missing, pair by pair with the presets in turn, then write and print the tables.

    A row is missing if there is none of the same settings, weights and device; an outdated one is replaced.
    """
    results = {"provenance": provenance(), "rows": []}
    if options.output.is_file():
        results["rows"] = json.loads(options.output.read_text(encoding="utf-8"))["rows"]
    rows = results["rows"]
    chosen = list(find_presets(options.presets, options.weights, choose_device(options.device)))
    for task in options.tasks:
        dataset = read_dataset(options.data / task / f"{task}_dataset.json")
        for pair in dataset.pairs()[: options.limit]:
            for preset in chosen:
                known = find_row(rows, task, pair, preset.name)
                if known is not None and not options.again and _is_current(known, preset, options.device):
                    continue
                row = measure_preset(
                    dataset, pair, preset.name, device=options.device, overrides=preset.overrides
                )
                row |= {"digest": preset.digest, "weights": preset.weights, "device": options.device}
                if known is not None:
                    rows[rows.index(known)] = row
                else:
                    rows.append(row)
                write_json(options.output, results)
    tables = f"{format_table(sort_rows(rows))}\n\n{format_gains(rows)}\n"
    options.output.with_suffix(".md").write_text(tables, encoding="utf-8")
    print(tables)


def sort_rows(rows: Sequence[Row]) -> list[Row]:
    """Return the rows in the order of the tables."""
    return in_order(rows, list(GOALS), PRESETS)


def format_overview(rows: Sequence[Row]) -> str:
    """Return a Markdown table of mean Dice: a line per task, a column per preset, the best in bold."""
    means = {key: statistics.fmean(r["dice"] for r in group) for key, group in group_rows(rows).items()}
    lines = [f"| task | {' | '.join(PRESETS)} |", "|---" * (len(PRESETS) + 1) + "|"]
    for task in GOALS:
        dice = {preset: f"{means[task, preset]:.3f}".lstrip("0") for preset in PRESETS}
        best = max(dice, key=lambda preset: means[task, preset])
        dice[best] = f"**{dice[best]}**"
        lines.append(f"| {task} ({IMAGES[task]}) | {' | '.join(dice.values())} |")
    return "\n".join(lines)


def format_gains(rows: Sequence[Row]) -> str:
    """Return a Markdown table of the Dice of `dino3d...` less that of each baseline, on the pairs of both."""
    titles = [f"over {name}" for name in BASELINES]
    lines = [
        f"| task | method | {' | '.join(titles)} | over {REFERENCE}, per pair | goal | reached |",
        "|---" * (len(BASELINES) + 5) + "|",
    ]
    groups = {
        key: {row["case"]: row["dice"] for row in group} for key, group in group_rows(sort_rows(rows)).items()
    }
    for (task, method), dice in groups.items():
        if not method.startswith("dino3d"):
            continue
        gains = {name: _gains(dice, groups.get((task, name), {})) for name in BASELINES}
        means = [f"{statistics.fmean(g):+.3f}" if g else "" for g in gains.values()]
        each, goal = gains[REFERENCE], GOALS.get(task)
        reached = "" if goal is None or not each else "yes" if statistics.fmean(each) >= goal else "no"
        lines.append(
            f"| {task} | {method} | {' | '.join(means)} | {' '.join(f'{g:+.2f}' for g in each)} |"
            f" {'' if goal is None else f'{goal:+.2f}'} | {reached} |"
        )
    return "\n".join(lines)


def _gains(dice: dict[str, float], baseline: dict[str, float]) -> list[float]:
    return [value - baseline[case] for case, value in dice.items() if case in baseline]


def _is_current(row: Row, preset: Chosen, device: str) -> bool:
    return (row["digest"], row["device"]) == (preset.digest, device)
