"""Seconds and peak memory of encoding one volume by `dino3d`, each time in a fresh process."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import ROOT, provenance, run_process, write_json

GOAL_SECONDS = 20.0
GOAL_MIB = 3 * 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this measurement."""
    parser.add_argument("--shape", nargs=3, type=int, default=(192, 160, 192), metavar="N", help="voxels")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--weights", type=Path, help="by default the shipped ones")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/encoder_inference.json")


def run(options: argparse.Namespace) -> None:
    """Measure, write the results and say whether the goal is reached."""
    found = provenance()
    rows = [measure(options) for _ in range(options.repeats)]
    median = {
        key: statistics.median(row[key] for row in rows)
        for key in ("encode_seconds", "process_seconds", "peak_mib")
    }
    reached = median["process_seconds"] <= GOAL_SECONDS and median["peak_mib"] <= GOAL_MIB
    content = {
        "provenance": found,
        "shape": list(options.shape),
        "threads": options.threads,
        "device": options.device,
        "goal": {"seconds": GOAL_SECONDS, "mib": GOAL_MIB, "reached": reached},
        "median": median,
        "rows": rows,
    }
    write_json(options.output, content)
    print(
        f"{'x'.join(map(str, options.shape))}, {options.threads} threads, median of {len(rows)}:"
        f" {median['encode_seconds']:.1f} s to encode, {median['process_seconds']:.1f} s with imports and"
        f" loading, {median['peak_mib']:.0f} MiB at most; goal {'reached' if reached else 'not reached'}"
    )


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return what a fresh process reports of one encoding, and what it took as a whole."""
    script = str(ROOT / "benchmarks/encode_once.py")
    shape, weights = "x".join(map(str, options.shape)), str(options.weights or "")
    command = [sys.executable, script, shape, str(options.threads), weights, options.device]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log.txt")
        try:
            cost = run_process(command, log)
        except RuntimeError as error:
            raise SystemExit(f"{error}\n{log.read_text(encoding='utf-8')}") from error
        report: dict[str, Any] = json.loads(log.read_text(encoding="utf-8").splitlines()[-1])
    return report | {"process_seconds": cost.seconds, "process_peak_mib": cost.peak_memory_mib}
