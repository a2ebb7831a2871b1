"""What each stage of a preset gains, pair by pair: Dice and TRE after start, discrete stages and Adam.

    python benchmarks/bench_stages.py --data ../shared/data [--preset mind] [--tasks AbdomenMRCT ...]

The task `Phantom` is written on the fly; its landmarks give the TRE. Results are kept after every pair, and a
run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common import ROOT, provenance, write_json
from dinoreg.encoders.pool import EncoderPool
from dinoreg.phantom import write_phantom_task
from dinoreg.pipeline.register import register
from dinoreg.runtime import choose_device
from dinoreg.settings.config import Config
from dinoreg.settings.load import load_preset
from image_pairs import read_image_pair
from regeval.scoring.quick_scores import score_case
from regtask.dataset import Dataset, read_dataset
from regtask.pair import Pair

TASKS = ("Phantom", "AbdomenMRCT", "AbdomenMRMR")


def main() -> None:
    """Measure what is missing in the results file, then print one table per task."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of task folders")
    parser.add_argument("--tasks", nargs="+", default=TASKS)
    parser.add_argument("--preset", default="mind")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/stages.json")
    options = parser.parse_args()

    results: dict[str, Any] = {"provenance": provenance(), "rows": []}
    if options.output.is_file():
        results = json.loads(options.output.read_text(encoding="utf-8"))
    device = choose_device(options.device)
    with tempfile.TemporaryDirectory() as folder:
        for task in options.tasks:
            path = options.data / task / f"{task}_dataset.json"
            dataset = read_dataset(path if task != "Phantom" else write_phantom_task(Path(folder) / task))
            for pair in dataset.pairs():
                if any((row["task"], row["case"]) == (task, pair.case_key) for row in results["rows"]):
                    continue
                results["rows"] += measure(dataset, pair, load_preset(options.preset), task, device)
                write_json(options.output, results)
    print(format_tables(results["rows"]))


def stages(config: Config) -> dict[str, Config]:
    """Return the configuration cut off after each of its stages, by name."""
    cut: dict[str, dict[str, Any]] = {"identity": {"start": (), "discrete": (), "adam": ()}}
    cut["start"] = {"discrete": (), "adam": ()}
    for n in range(1, len(config.discrete) + 1):
        cut[f"discrete {n}"] = {"discrete": config.discrete[:n], "adam": ()}
    for n in range(1, len(config.adam) + 1):
        cut[f"adam {n}"] = {"adam": config.adam[:n]}
    return {name: config.model_copy(update=update) for name, update in cut.items()}


def measure(
    dataset: Dataset, pair: Pair, config: Config, task: str, device: torch.device
) -> list[dict[str, Any]]:
    """Return one row per stage of a pair."""
    images = read_image_pair(dataset, pair, comes_again=True)
    modalities = " to ".join(dataset.modality_of(path) for path in (pair.moving, pair.fixed))
    pool = EncoderPool(device)
    rows = []
    for name, cut in stages(config).items():
        result = register(images, cut, device=device, pool=pool)
        scores = score_case(pair, np.ascontiguousarray(result.displacement))
        rows.append(
            {
                "task": task,
                "case": pair.case_key,
                "modalities": modalities,
                "stage": name,
                "dice": scores.dice,
                "tre_mm": scores.tre_mm,
                "folding_percent": scores.folding_percent,
            }
        )
        print(task, pair.case_key, name, f"Dice {scores.dice}, TRE {scores.tre_mm}", flush=True)
    return rows


def format_tables(rows: list[dict[str, Any]]) -> str:
    """Return Markdown: per task and metric one table, a line per pair and a column per stage."""
    blocks = []
    for task in dict.fromkeys(row["task"] for row in rows):
        of_task = [row for row in rows if row["task"] == task]
        names = list(dict.fromkeys(row["stage"] for row in of_task))
        for key, title, digits in (("dice", "Dice", 3), ("tre_mm", "TRE, mm", 2)):
            if all(row[key] is None for row in of_task):
                continue
            lines = [f"| {task}: {title} | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
            for case in dict.fromkeys(row["case"] for row in of_task):
                values = {row["stage"]: row[key] for row in of_task if row["case"] == case}
                kind = next(row["modalities"] for row in of_task if row["case"] == case)
                cells = ["" if values[n] is None else f"{values[n]:.{digits}f}" for n in names]
                lines.append(f"| {case} ({kind}) | " + " | ".join(cells) + " |")
            blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


if __name__ == "__main__":
    main()
