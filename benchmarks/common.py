"""What every benchmark shares: the machine, the commit, and a process with its times and peak memory."""

from __future__ import annotations

import ast
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
_STOPPED = 124  # what `timeout` ends with when it has stopped a command


# A process starts with the peak memory of the one that it was forked from, however small it is. This one
# stands between, which is tiny, and writes seconds, status, peak KiB and processor seconds to a descriptor.
_LAUNCHER = """
import os, sys, time
begin = time.perf_counter()
process = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(process, 0)
found = time.perf_counter() - begin, status, usage.ru_maxrss, usage.ru_utime + usage.ru_stime
os.write(int(sys.argv[1]), repr(found).encode())
"""


@dataclass(frozen=True, slots=True)
class ProcessCost:
    """Wall time, processor time of all cores, and largest resident memory of one finished process."""

    seconds: float
    peak_memory_mib: float
    cpu_seconds: float


def run_process(command: Sequence[str], log: Path, *, most_seconds: int | None = None) -> ProcessCost:
    """Run a command to its end, alone, and measure it.

    Args:
        command: to be run.
        log: file for what it prints.
        most_seconds: after which it is stopped.

    Raises:
        TimeoutError: it was stopped.
        RuntimeError: it failed; its output is in `log`.
    """
    if most_seconds is not None:
        command = ["timeout", str(most_seconds), *command]
    reading, writing = os.pipe()
    launch = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(writing), *command]
    try:
        with log.open("w", encoding="utf-8") as stream:
            subprocess.run(launch, stdout=stream, stderr=stream, pass_fds=[writing], check=True)
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"not started, see {log}: {' '.join(command)}") from error
    finally:
        os.close(writing)
        with os.fdopen(reading, encoding="utf-8") as pipe:
            report = pipe.read()
    seconds, status, peak_kib, cpu_seconds = ast.literal_eval(report)
    code = os.waitstatus_to_exitcode(status)
    if most_seconds is not None and code == _STOPPED:
        raise TimeoutError(f"stopped after {most_seconds} s, see {log}: {' '.join(command)}")
    if code:
        raise RuntimeError(f"exit code {code}, see {log}: {' '.join(command)}")
    return ProcessCost(seconds, peak_kib / 1024, cpu_seconds)


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
