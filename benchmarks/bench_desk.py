"""`dinoreg register` beside ANTs and elastix on scans with grids of their own: errors, overlap, folds, cost.

    python -m venv PEERS && PEERS/bin/pip install antspyx==0.6.3 itk-elastix==0.25.4
    python benchmarks/bench_desk.py --data ../shared/data [--peers PEERS/bin/python] [--groups "brain MR"]

The pairs are made by `desk_pairs.py`. Every method registers a pair in a process of its own, from files to
the written transform, with one thread, the others within 12 minutes, at its defaults: `dinoreg register` with
`auto`, `SyNRA` of antspyx, the maps `rigid`, `affine` and `bspline` of elastix (`registration_peers.py`).
What it found is then compared with what is known. Rows that are there already are kept.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from common import ROOT, provenance, run_process, write_json
from desk_pairs import DeskPair, desk_pairs
from dinoreg.desk.exchange.lattice import displacement_on
from pair_rows import Row, read_rows
from regeval.metrics.hd95 import hd95_mm
from regeval.metrics.jacobian_folds import jacobian_determinant
from regeval.metrics.overlap import dice, labels_in_both
from regeval.metrics.warp import warp_labels, warp_landmarks
from regtask.fields import read_field
from regtask.physical import lps_to_voxels

RESULTS = ROOT / "benchmarks" / "results" / "desk.json"
METHODS = ("dinoreg", "syn", "elastix")
TITLES = {
    "before": "as they lie",
    "dinoreg": "`register`",
    "syn": "ANTs 0.6.3, SyN",
    "elastix": "itk-elastix 0.25.4",
}
_SHOWN = {
    "tre_mm": ("error, mm", "{:.2f}"),
    "dice": ("Dice", "{:.3f}"),
    "hd95_mm": ("HD95, mm", "{:.1f}"),
    "folding_percent": ("folds, %", "{:.2f}"),
    "cpu_seconds": ("processor time, s", "{:.0f}"),
    "peak_memory_mib": ("peak memory, MiB", "{:.0f}"),
}
_MOST_SECONDS = 720
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"}


def before(pair: DeskPair) -> NDArray[np.float32]:
    """Return what lies at one place of the scanner, as `found` does."""
    nowhere = np.zeros((*pair.fixed.grid.shape, 3), dtype=np.float32)
    return lps_to_voxels(nowhere, pair.fixed.grid, pair.moving.grid)


def measure(pair: DeskPair, method: str, peers: Path | None) -> Row:
    """Register a pair by a method, from files to the written transform, and score what it found."""
    row: Row = {"group": pair.group, "pair": pair.name, "method": method}
    if method == "before":
        return row | scores(pair, before(pair))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fixed, moving, field = folder / "fixed.nii.gz", folder / "moving.nii.gz", folder / "field.nii"
        pair.fixed.write(fixed)
        pair.moving.write(moving)
        if method == "dinoreg":
            command = [sys.executable, "-m", "dinoreg.cli.main", "register", "--device", "cpu", "--no-report"]
            command += ["--fixed", str(fixed), "--moving", str(moving), "--output", str(folder / "out")]
        else:
            script = ROOT / "benchmarks" / "registration_peers.py"
            command = [str(peers), str(script), method, str(fixed), str(moving), str(field)]
        try:
            limit = None if method == "dinoreg" else _MOST_SECONDS
            cost = run_process(command, folder / "log.txt", most_seconds=limit)
        except TimeoutError:
            return row | {"stopped_after_seconds": _MOST_SECONDS} | _made_by()
        if method == "dinoreg":
            transform = sitk.ReadTransform(str(folder / "out" / "transform.h5"))
            found = lps_to_voxels(
                displacement_on(transform, pair.fixed.grid), pair.fixed.grid, pair.moving.grid
            )
            facts = json.loads((folder / "out" / "register.json").read_text(encoding="utf-8"))
            row |= {"verdict": facts["verdict"], "verdict_reasons": facts["verdict_reasons"]}
        else:
            found = read_field(field)
    row |= scores(pair, found)
    row |= {"seconds": round(cost.seconds, 2), "cpu_seconds": round(cost.cpu_seconds, 2)}
    return row | {"peak_memory_mib": round(cost.peak_memory_mib)} | _made_by()


def scores(pair: DeskPair, found: NDArray[np.float32]) -> Row:
    """Compare what was found with what is known of a pair.

    Args:
        pair: the pair.
        found: (I, J, K, 3), from a voxel of fixed to that of moving where it belongs, less the former.
    """
    row: Row = {"tre_mm": None, "tre_95_mm": None, "dice": None, "hd95_mm": None}
    there = pair.moving.grid
    if pair.landmarks is not None:
        here, true = pair.landmarks
        leads = warp_landmarks(pair.fixed.grid.ras_to_index(here), found)
        errors = np.linalg.norm(there.index_to_ras(leads) - true, axis=1)
        row |= {"tre_mm": _rounded(errors.mean()), "tre_95_mm": _rounded(np.percentile(errors, 95))}
    if pair.labels is not None:
        fixed, moving = (volume.values.astype(np.int16) for volume in pair.labels)
        warped = warp_labels(moving, found)
        present = labels_in_both(fixed, moving)
        spacing = pair.fixed.grid.spacing_mm
        distances = [hd95_mm(fixed == label, warped == label, spacing) for label in present]
        kept = [distance for distance in distances if np.isfinite(distance)]
        row |= {"dice": _rounded(statistics.fmean(dice(fixed, warped, present).values()))}
        row |= {"hd95_mm": _rounded(statistics.fmean(kept)) if kept else None}
        row |= {"labels": len(present), "labels_lost": len(present) - len(kept)}
    # Grids of other handedness turn the sign of every determinant; what folds has the other one.
    turned = np.sign(np.linalg.det(np.linalg.solve(there.affine, pair.fixed.grid.affine)))
    folded = jacobian_determinant(found) * turned <= 0
    return row | {"folding_percent": round(100 * float(folded.mean()), 4)}


def table(rows: list[Row]) -> str:
    """Return errors, overlap, folds, times and memory as Markdown, a line per pair."""
    methods = [m for m in TITLES if any(row["method"] == m for row in rows)]
    lines = [
        "| pair | | " + " | ".join(TITLES[m] for m in methods) + " |",
        "|---" * (2 + len(methods)) + "|",
    ]
    pairs = dict.fromkeys((row["group"], row["pair"]) for row in rows)
    for group, name in pairs:
        of_pair = {row["method"]: row for row in rows if (row["group"], row["pair"]) == (group, name)}
        title = f"{group}, {name}"
        for key, (what, form) in _SHOWN.items():
            cells = [_cell(of_pair.get(m, {}), key, form) for m in methods]
            if any(cells):
                lines.append(f"| {title} | {what} | {' | '.join(cells)} |")
                title = ""
    return "\n".join(lines)


def _cell(row: Row, key: str, form: str) -> str:
    if "stopped_after_seconds" in row and key == "cpu_seconds":
        return f"stopped after {row['stopped_after_seconds'] // 60} min"
    value = row.get(key)
    return "" if value is None else form.format(value)


def _rounded(value: float) -> float:
    return round(float(value), 4)


def _made_by() -> Row:
    made = provenance()
    return {"commit": made["commit"], "load_before": round(made["load_before"], 2)}


def main() -> None:
    """Measure what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--peers", type=Path, help="the Python that has antspyx and itk-elastix")
    parser.add_argument("--groups", nargs="+", help="of pairs; by default all")
    parser.add_argument("--methods", nargs="+", choices=METHODS, help="by default, those that are there")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    os.environ.update(_ONE_THREAD)
    rows = read_rows(options.output)
    methods = options.methods or (METHODS if options.peers else METHODS[:1])
    for pair in desk_pairs(options.data / "native"):
        if options.groups and pair.group not in options.groups:
            continue
        for method in ("before", *methods):
            if not any(
                (row["group"], row["pair"], row["method"]) == (pair.group, pair.name, method) for row in rows
            ):
                rows.append(measure(pair, method, options.peers))
                print(rows[-1], flush=True)
                write_json(options.output, {"provenance": provenance(), "rows": rows})
    print(table(rows))


if __name__ == "__main__":
    main()
