"""What every benchmark shares: the machine, the commit, and a process with its times and peak memory."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class ProcessCost:
    """Wall time, processor time of all cores, and largest resident memory of one finished process."""

    seconds: float
    peak_memory_mib: float
    cpu_seconds: float


def run_process(command: Sequence[str], log: Path) -> ProcessCost:
    """Run a command to its end, alone, and measure it.

    Raises:
        RuntimeError: it failed; its output is in `log`.
    """
    begin = time.perf_counter()
    with log.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream)
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"exit code {process.returncode}, see {log}: {' '.join(command)}")
    return ProcessCost(seconds, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime)


def provenance() -> dict[str, Any]:
    """Return commit, machine and command line, to be stored with every result."""
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    changed = subprocess.run(
        ["git", "status", "--porcelain", "algorithm", "datasets_json", "evaluation"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return {
        "commit": commit.stdout.strip() + (" with changes" if changed.stdout.strip() else ""),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        "command": " ".join(["python", *sys.argv]),
        "date": time.strftime("%Y-%m-%d"),
    }


def write_json(path: Path, content: Any) -> None:
    """Write results, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
