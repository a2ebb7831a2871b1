"""The same pairs stored otherwise: what Dice or landmark error a preset reaches then.

    python benchmarks/bench_invariance.py --data ../shared/data [--preset auto] [--tasks ...] [--output FILE]

One pair per task; rows that are there already are kept. `stored_otherwise.WAYS` says what is changed.
"""

from __future__ import annotations

import torch

from common import ROOT, provenance, write_json
from dinoreg.pipeline.register import register
from dinoreg.settings.load import load_preset
from pair_rows import read_rows
from regtask.dataset import read_dataset
from stored_otherwise import WAYS, preset_parser, read_case, score

TASKS = ("AbdomenMRCT", "AbdomenMRMR", "HippocampusMR", "LungMR", "BrainMulti", "ThoraxCBCT")
RESULTS = ROOT / "benchmarks" / "results" / "invariance.json"


def table(rows: list[dict[str, object]]) -> str:
    """Return the scores as Markdown, a row per pair and a column per way."""
    found = {(row["task"], row["way"]): row for row in rows}
    lines = [f"| task | {' | '.join(WAYS)} |", "|---|" + "---|" * len(WAYS)]
    for task in dict.fromkeys(row["task"] for row in rows):
        cells = [f"{found[task, way]['score']:.3f}" if (task, way) in found else "" for way in WAYS]
        lines.append(f"| {task} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure what is missing and print the table."""
    parser = preset_parser(__doc__, TASKS, RESULTS)
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    arguments = parser.parse_args()
    rows = read_rows(arguments.output)
    config = load_preset(arguments.preset)
    for task in arguments.tasks:
        dataset = read_dataset(arguments.data / task / f"{task}_dataset.json")
        pair = dataset.pairs("val")[0]
        case = read_case(dataset, pair)
        for way in arguments.ways:
            if any((row["task"], row["way"]) == (task, way) for row in rows):
                continue
            changed = WAYS[way](case)
            result = register(changed.images, config, device=torch.device("cpu"))
            verdict = result.verdict.grade if result.verdict else None
            value = round(score(changed, result.displacement), 4)
            rows.append({"task": task, "case": pair.case_key, "way": way, "score": value, "verdict": verdict})
            write_json(arguments.output, {"provenance": provenance(), "rows": rows})
    print(table(rows))


if __name__ == "__main__":
    main()
