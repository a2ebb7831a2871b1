"""Peak memory and processor time of an Adam stage, all channels at once and some at a time.

    python benchmarks/bench_memory.py

Each case runs in a process of its own, on random features of the channels of `dinoreg-oncoreg`, and reports
the largest resident memory beyond that before the stage. Results: benchmarks/results/memory.json.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from common import ROOT, provenance, write_json
from dinoreg.optimise.adam import refine_adam
from dinoreg.optimise.blocks.terms import lcc_by_blocks, ssd_by_blocks, sum_in_turn
from dinoreg.optimise.data_term import DataTerm, warp_and_compare
from dinoreg.optimise.parameterise import SmoothedDense
from dinoreg.optimise.similarity import lcc, ssd
from dinoreg.runtime import return_freed_memory
from dinoreg.space.features import FeaturePair, Features, Part
from dinoreg.space.lattice import Lattice
from dinoreg.space.sampling import channels_last

SHAPE = (48, 40, 48)
PARTS = (24, 12)
WINDOW, ITERATIONS = 9, 2
# similarity, channels at a time, statistics kept, title
CASES = (
    ("joint-lcc", sum(PARTS), True, "LCC, all channels at once (before)"),
    ("lcc", 6, True, "LCC, 6 at a time"),
    ("lcc", 6, False, "LCC, 6 at a time, statistics anew"),
    ("lcc", 1, False, "LCC, 1 at a time, statistics anew"),
    ("ssd", sum(PARTS), False, "SSD, compiled, all channels"),
    ("plain-ssd", sum(PARTS), False, "SSD by torch, all channels at once (as on a GPU, before)"),
    ("plain-ssd", 4, False, "SSD by torch, 4 at a time"),
    ("none", 1, False, "no data term: displacement and Adam alone"),
)


def main() -> None:
    """Measure every case, or one in this process."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/memory.json")
    parser.add_argument("--case", type=int, help="this one, in this process")
    options = parser.parse_args()
    if options.case is not None:
        print(json.dumps(_measure(*CASES[options.case][:3])))
        return
    results: dict[str, Any] = {"provenance": provenance(), "shape": SHAPE, "parts": PARTS, "rows": []}
    for number, (*_, title) in enumerate(CASES):
        command = [sys.executable, __file__, "--case", str(number)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        results["rows"].append({"case": title, **json.loads(done.stdout)})
        write_json(options.output, results)
    print(table(results))


def table(results: dict[str, Any]) -> str:
    """Return the rows as Markdown."""
    lines = ["| Adam stage | peak MiB | values per cell | processor s / iteration |", "|---|---|---|---|"]
    for row in results["rows"]:
        lines.append(
            f"| {row['case']} | {row['peak_mib']:.0f} | {row['values_per_cell']:.0f} | {row['seconds']:.2f} |"
        )
    return "\n".join(lines)


def _measure(similarity: str, channels: int, keep: bool) -> dict[str, float]:
    torch.manual_seed(0)
    lattice = Lattice(SHAPE, (1, 1, 1), (2.0, 2.0, 2.0))
    fixed, moving = (
        Features(channels_last(torch.rand(sum(PARTS), *SHAPE)), torch.ones(1, *SHAPE), lattice)
        for _ in range(2)
    )
    parts = tuple(Part(str(count), count, count / sum(PARTS)) for count in PARTS)
    pair = FeaturePair(fixed, moving, parts)
    _run(_term(pair, "ssd", 36, False), SHAPE, lattice, iterations=1)  # compiles
    before = _fresh_peak_mib()
    begin = time.process_time()
    _run(_term(pair, similarity, channels, keep), SHAPE, lattice, iterations=ITERATIONS)
    seconds = (time.process_time() - begin) / ITERATIONS
    peak = _peak_mib() - before
    return {"peak_mib": peak, "values_per_cell": peak * 2**20 / 4 / math.prod(SHAPE), "seconds": seconds}


def _term(pair: FeaturePair, similarity: str, channels: int, keep: bool) -> DataTerm:
    if similarity == "joint-lcc":
        return warp_and_compare(
            lcc(pair.fixed.values, window=WINDOW), pair.moving.values, weight=pair.fixed.weight
        )
    if similarity == "lcc":
        return lcc_by_blocks(pair, channels, window=WINDOW, weight=pair.fixed.weight, keep=keep)
    if similarity == "ssd":
        return ssd_by_blocks(pair, channels, weight=pair.fixed.weight)
    if similarity == "none":
        return lambda displacement: displacement.square().mean()
    blocks = zip(
        torch.split(pair.fixed.values, channels), torch.split(pair.moving.values, channels), strict=True
    )
    return sum_in_turn([warp_and_compare(ssd(f), m, weight=pair.fixed.weight) for f, m in blocks])


def _run(term: DataTerm, shape: tuple[int, ...], lattice: Lattice, *, iterations: int) -> None:
    model = SmoothedDense(torch.zeros(3, *shape), width=7, repeats=5)
    refine_adam(
        model,
        term,
        regularity_weight=1.0,
        spacing_mm=lattice.spacing_mm,
        iterations=iterations,
        learning_rate=0.1,
        reach=[n / 2 for n in shape],
    )


def _fresh_peak_mib() -> float:
    """Begin a new measurement of the peak (Linux)."""
    return_freed_memory()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _peak_mib()


def _peak_mib() -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


if __name__ == "__main__":
    main()
