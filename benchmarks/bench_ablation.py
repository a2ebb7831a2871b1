"""The ablation on the phantom with the oracle encoder of the tests: what each part is worth, weights aside.

    python benchmarks/bench_ablation.py --work /tmp/ablation

Tokens, cls tokens and their faults are those of test/oracle: the figures say what the pipeline makes of such
tokens, not what DINOv2's are like. Slices, PCA, matching, optimisation and scores are the program's own. A
run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import asdict
from pathlib import Path

from common import ROOT, provenance, write_json

sys.path.insert(0, str(ROOT / "test" / "oracle"))

from oracle_encoder import FAULTS
from oracle_task import OVERRIDES, load_oracle, write_oracle_task

from dinoreg.runtime import choose_device
from dinoreg.settings.load import load_preset
from dinoreg.study.ablation import TABLE_NAME, run_ablation
from dinoreg.study.ablation_rows import ablation_rows
from dinoreg.study.ablation_table import mean_result
from dinoreg.task.run_task import RunOptions
from regtask.dataset import read_dataset

# The paper's up-sampling on the lattices for a CPU, at half their resolution: tokens are 8 mm apart.
CPU_OVERRIDES = ("features.encoders.0.up_sampling=5.3", "features.max_cells=300000")


def main() -> None:
    """Measure what is missing, then write and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for the phantom and all fields")
    parser.add_argument("--size", choices=("demo", "small"), default="demo")
    parser.add_argument("--preset", default="dinoreg-cpu")
    parser.add_argument("--set", nargs="*", default=list(CPU_OVERRIDES), metavar="KEY=VALUE")
    parser.add_argument("--rows", nargs="+", metavar="ROW")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/ablation_oracle")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")

    found = provenance()
    description = options.work / "task" / "Phantom_dataset.json"
    if not description.is_file():
        write_oracle_task(description.parent, size=options.size)
    base = load_preset(options.preset, [*OVERRIDES, *options.set])
    rows = ablation_rows(base, options.rows)
    folder = options.work / "rows"
    results = run_ablation(
        read_dataset(description),
        rows,
        RunOptions(folder, device=choose_device(options.device)),
        load=load_oracle,
    )
    content = {
        "provenance": found,
        "phantom": options.size,
        "preset": options.preset,
        "overrides": [*OVERRIDES, *options.set],
        "oracle": {rendering.name: asdict(faults) for rendering, faults in FAULTS.items()},
        "rows": [
            {
                "name": row.name,
                "what": row.what,
                "mean": asdict(mean_result(list(results[row.name].values()))),
                "cases": {case: asdict(result) for case, result in results[row.name].items()},
            }
            for row in rows
        ],
    }
    write_json(options.output.with_suffix(".json"), content)
    table = (folder / f"{TABLE_NAME}.md").read_text(encoding="utf-8")
    options.output.with_suffix(".md").write_text(table, encoding="utf-8")
    print(table)


if __name__ == "__main__":
    main()
