"""Run the campaign of broken inputs: `make hostile`, or a share: `python test/hostile/run.py --part`."""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

# One thread each, before anything is imported that counts the cores: the cases share them.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
# Numba's OpenMP layer does not outlive a fork.
os.environ.setdefault("NUMBA_THREADING_LAYER", "workqueue")
sys.path.insert(0, str(Path(__file__).parent))

from campaign.cases import all_cases  # noqa: E402
from campaign.runner import run_cases  # noqa: E402
from campaign.task import write_task  # noqa: E402

# The short campaign takes one in so many of the cases that are not heavy.
_SHARE = 6


def say(line: str) -> None:
    """Write a line at once: a campaign takes minutes."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Run the cases; returns 1 if one has a problem."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", action="store_true", help="a share of the cases, without the heavy ones")
    parser.add_argument("--only", metavar="TEXT", help="the cases whose name contains this")
    parser.add_argument("--list", action="store_true", help="print the names")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--work", type=Path, help="folder that keeps what failed (default: temporary)")
    options = parser.parse_args()
    cases = all_cases()
    if options.part:
        light = [case for case in cases if not case.heavy]
        cases = light[::_SHARE]
    if options.only:
        cases = [case for case in cases if options.only in case.name]
    if options.list:
        say("\n".join(case.name for case in cases))
        return 0
    if not cases:
        parser.error("no such case")
    begin, failed, slowest = time.monotonic(), 0, []
    with tempfile.TemporaryDirectory(prefix="hostile-") as temporary:
        work = options.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        template = work / "sound"
        write_task(template)
        (work / "cases").mkdir()
        for outcome in run_cases(cases, template, work / "cases", options.jobs):
            slowest.append((outcome.seconds, outcome.name, outcome.megabytes))
            if outcome.problems:
                failed += 1
                say(f"FAILED {outcome.name} (exit code {outcome.code}, {outcome.seconds:.1f} s)")
                say("\n".join(f"    {problem}" for problem in outcome.problems))
    for seconds, name, megabytes in sorted(slowest, reverse=True)[:5]:
        say(f"{seconds:6.1f} s {megabytes:5.0f} MB  {name}")
    say(f"{len(cases)} cases, {failed} failed, {time.monotonic() - begin:.0f} s")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
