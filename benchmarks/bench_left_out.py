"""Settings of `auto` chosen on all tasks but one, and what they are worth on that one.

    python benchmarks/bench_left_out.py --data ../shared/data [--tasks ...] [--candidates ...] [--pairs N]
    python benchmarks/bench_left_out.py --table

The candidates are those of `dinoreg tune`. Rows that are there already are kept. All runs in this process.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.stats import rankdata

from bench_registration import TASKS
from common import ROOT, provenance, write_json
from dinoreg.pipeline.register import register
from dinoreg.settings.load import load_preset
from dinoreg.study.candidates import BASE, candidates
from dinoreg.study.choice import DICE_STEP, TRE_STEP_MM
from pair_rows import Row, read_rows
from regtask.dataset import read_dataset
from stored_otherwise import read_case, score

RESULTS = ROOT / "benchmarks" / "results" / "left_out.json"
SINGLE_CHANGES = 23  # of `auto`, itself among them


def means(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Return candidate -> task -> mean score, of the candidates that every pair of every task has."""
    cases = {(row["task"], row["case"]) for row in rows}
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        found.setdefault(row["candidate"], {}).setdefault(row["task"], []).append(row["score"])
    whole = {name: tasks for name, tasks in found.items() if sum(map(len, tasks.values())) == len(cases)}
    return {name: {task: statistics.fmean(s) for task, s in tasks.items()} for name, tasks in whole.items()}


def choose(scores: dict[str, dict[str, float]], tasks: Sequence[str], in_mm: set[str]) -> str:
    """Return the candidate with the best mean place over some tasks; of equal ones the first."""
    names = list(scores)
    places = np.zeros(len(names))
    for task in tasks:
        step, sign = (TRE_STEP_MM, 1) if task in in_mm else (DICE_STEP, -1)
        places += rankdata(np.round([sign * scores[name][task] / step for name in names]))
    return names[int(np.argmin(places))]


def table(rows: Sequence[Row]) -> str:
    """Return the scores of every candidate, and of those chosen without a task, as Markdown."""
    scores, tasks = means(rows), list(dict.fromkeys(row["task"] for row in rows))
    in_mm = {row["task"] for row in rows if row["unit"] == "mm"}
    what = {row["candidate"]: row["what"] for row in rows}

    def text(task: str, value: float) -> str:
        return f"{value:.2f} mm" if task in in_mm else f"{value:.3f}"

    lines = [f"| settings | {' | '.join(tasks)} |", "|---|" + "---|" * len(tasks)]
    for name, by_task in scores.items():
        label = f"{what[name]}" if name != BASE else "`auto` as it is"
        lines.append(f"| {label} | {' | '.join(text(task, by_task[task]) for task in tasks)} |")
    lines += ["", "| left out | chosen on the others | there | `auto` there |", "|---|---|---|---|"]
    for task in tasks:
        name = choose(scores, [other for other in tasks if other != task], in_mm)
        chosen, base = (text(task, scores[one][task]) for one in (name, BASE))
        lines.append(f"| {task} | {what[name]} | {chosen} | {base} |")
    return "\n".join(lines)


def measure(
    data: Path, tasks: Sequence[str], names: Sequence[str], most_pairs: int, output: Path
) -> list[Row]:
    """Measure what is missing, one candidate after the other."""
    rows = read_rows(output)
    done = {(row["task"], row["case"], row["candidate"]) for row in rows}
    datasets = [read_dataset(data / task / f"{task}_dataset.json") for task in tasks]
    for candidate in candidates(load_preset("auto"), SINGLE_CHANGES):
        if candidate.name not in names:
            continue
        for dataset in datasets:
            for pair in dataset.pairs("val")[:most_pairs]:
                if (dataset.name, pair.case_key, candidate.name) in done:
                    continue
                case = read_case(dataset, pair)
                result = register(case.images, candidate.config, device=torch.device("cpu"))
                value = round(score(case, result.displacement), 4)
                row = {"task": dataset.name, "case": pair.case_key, "candidate": candidate.name}
                row |= {"what": candidate.what, "score": value, "unit": case.unit}
                rows.append(row)
                print(dataset.name, pair.case_key, candidate.what, value, flush=True)
                write_json(output, {"provenance": provenance(), "rows": rows})
    return rows


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--tasks", nargs="+", default=[task for task in TASKS if task != "Phantom"])
    every = [candidate.name for candidate in candidates(load_preset("auto"), SINGLE_CHANGES)]
    parser.add_argument("--candidates", nargs="+", default=every, choices=every)
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="only print the tables")
    arguments = parser.parse_args()
    if arguments.table:
        rows = read_rows(arguments.output)
    elif arguments.data is None:
        parser.error("--data is needed to measure")
    else:
        rows = measure(
            arguments.data, arguments.tasks, arguments.candidates, arguments.pairs, arguments.output
        )
    print(table(rows))


if __name__ == "__main__":
    main()
