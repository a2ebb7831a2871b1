"""All measurements on a CUDA machine, in order of worth, each bounded in time and written as soon as it ends.

    OUT=results/gpu python benchmarks/gpu_session.py [--dry-run] [--data ../shared/data] [--only STEP ...]

Every step is a process of its own and leaves NAME.json (and NAME.log) in the folder OUT: one that fails, or
takes too long, is recorded there, and the next one goes on. Without a GPU, `--dry-run` shows on a CPU, with
small images, that all of it runs. Results that are kept go to benchmarks/results/gpu/.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gpu_steps
from common import ROOT, write_json

TOTAL_SECONDS = 540.0


@dataclass(frozen=True, slots=True)
class Step:
    """One measurement.

    Attributes:
        name: of its result.
        action: a key of `gpu_steps.ACTIONS`.
        arguments: of the action.
        seconds: that it may take.
    """

    name: str
    action: str
    arguments: tuple[str, ...]
    seconds: float


def plan(*, dry_run: bool) -> tuple[Step, ...]:
    """Return the steps in order of worth."""
    speed = 180 if dry_run else 60  # a dry run shares its cores with other tests
    whole = "24x20x22" if dry_run else "192x160x192"
    thorax = "20x22x18" if dry_run else "390x280x300"
    return (
        Step("tests", "tests", (), 120),
        Step("kernels", "kernels", ("24", "12x10x11" if dry_run else "96x80x96"), 90),
        Step("agreement", "agreement", (), 200),
        *(Step(f"speed_{preset}", "speed", (preset, whole), speed) for preset in ("auto", "mind")),
        Step("speed_dinoreg-s3", "speed", ("dinoreg-s3", whole), speed),
        Step("speed_dinoreg", "speed", ("dinoreg", whole), 90),
        Step("speed_dinoreg-oncoreg", "speed", ("dinoreg-oncoreg", thorax), 120),
        # The search of `auto` makes more events than a dry run has time to count.
        Step("profile", "profile", ("mind" if dry_run else "auto", whole), 180 if dry_run else 120),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all steps; the exit code says whether all of them succeeded."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dry-run", action="store_true", help="on the CPU, with small images")
    parser.add_argument("--device", help="by default cuda:0; in a dry run, cpu")
    parser.add_argument(
        "--data", type=Path, help="folder of task folders: a real pair instead of the phantom"
    )
    parser.add_argument("--only", nargs="+", metavar="STEP", help="these steps alone")
    parser.add_argument("--output", type=Path, help="by default $OUT, or else benchmarks/results/gpu")
    options = parser.parse_args(arguments)

    output: Path = options.output or Path(os.environ.get("OUT") or ROOT / "benchmarks/results/gpu")
    output.mkdir(parents=True, exist_ok=True)
    shared = ["--device", options.device or ("cpu" if options.dry_run else "cuda:0")]
    shared += ["--dry-run"] * options.dry_run
    shared += ["--data", str(options.data.resolve())] if options.data else []
    end, failed = time.monotonic() + TOTAL_SECONDS, []
    for step in plan(dry_run=options.dry_run):
        if options.only and step.name not in options.only:
            continue
        status = run(step, shared, output, min(step.seconds, end - time.monotonic()))
        print(f"{step.name}: {status}", flush=True)
        if status != "done":
            failed.append(step.name)
    return 1 if failed else 0


def run(step: Step, shared: Sequence[str], output: Path, seconds: float) -> str:
    """Run one step in a process of its own, and see that its result says how it ended."""
    target, log = output / f"{step.name}.json", output / f"{step.name}.log"
    target.unlink(missing_ok=True)
    command = [sys.executable, gpu_steps.__file__, *shared, "--output", str(target)]
    command += [step.action, *step.arguments]
    begin, status = time.monotonic(), "no time was left"
    if seconds > 1:
        with log.open("w", encoding="utf-8") as stream:
            try:
                code = subprocess.run(
                    command, stdout=stream, stderr=stream, timeout=seconds, check=False
                ).returncode
                status = "done" if code == 0 else f"failed with exit code {code}"
            except subprocess.TimeoutExpired:
                status = f"stopped after {seconds:.0f} s"
    found: dict[str, Any] = json.loads(target.read_text(encoding="utf-8")) if target.is_file() else {}
    found |= {"step": step.name, "status": status, "seconds": round(time.monotonic() - begin, 2)}
    found.setdefault("machine", gpu_steps.machine(shared[1]))
    if status != "done" and log.is_file():
        found["log_ends"] = log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
    write_json(target, found)
    return status


if __name__ == "__main__":
    sys.exit(main())
