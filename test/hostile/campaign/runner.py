"""Run cases in forked children of one warm process, and judge what comes of each."""

import contextlib
import hashlib
import logging
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path

from campaign.case import DOCUMENTED, Case, Outcome, Play
from campaign.task import copy_task

LONGEST_S = 60
LONGEST_PLAY_S = 300
MOST_MEGABYTES = 700
# Beyond what the warm process has; so the limits by memory are those of a container of this size.
_ADDRESS_SPACE = 4 << 30
_BAD_WORDS = re.compile(r"Traceback|Exception ignored|Fatal Python error|Segmentation fault")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def programs() -> dict[str, Callable[[list[str]], int]]:
    """Return the entries of the programs; importing what they use is what the children need not pay for."""
    from dinoreg.cli import main
    from dinoreg.cli.platforms import entry
    from regeval import cli
    from regeval.cli import container

    for name in ("dinoreg.warp.apply", "dinoreg.task.run_task", "regeval.scoring", "regeval.ranking"):
        import_module(name)
    return {
        "dinoreg": main.main,
        "container": entry.main,
        "regeval": cli.main,
        "evaluation": container.main,
    }


def run_cases(cases: Sequence[Case | Play], template: Path, work: Path, jobs: int) -> Iterator[Outcome]:
    """Run cases, some at once, and yield their outcomes as they end.

    Args:
        cases: what to run.
        template: the sound task.
        work: empty folder; what a case without a problem wrote is removed.
        jobs: how many at once.
    """
    entries = programs()
    baseline = _baseline()
    waiting = list(enumerate(cases))[::-1]
    running: dict[int, tuple[Case | Play, Path, float]] = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            number, case = waiting.pop()
            folder = work / f"{number:04}"
            folder.mkdir()
            running[_fork(case, folder, template, entries)] = (case, folder, time.monotonic())
        time.sleep(0.002)
        for pid, (case, folder, begin) in list(running.items()):
            seconds = time.monotonic() - begin
            late = seconds > (LONGEST_S if isinstance(case, Case) else LONGEST_PLAY_S)
            if late:
                os.killpg(pid, signal.SIGKILL)
            ended, status, usage = os.wait4(pid, 0 if late else os.WNOHANG)
            if not ended:
                continue
            del running[pid]
            megabytes = max(0, usage.ru_maxrss // 1024 - baseline)
            outcome = Outcome(case.name, os.waitstatus_to_exitcode(status), seconds, megabytes)
            outcome.problems = [f"hangs: {seconds:.0f} s"] if late else list(_problems(case, folder, outcome))
            if not outcome.problems:
                shutil.rmtree(folder)
            yield outcome


def _fork(
    case: Case | Play, folder: Path, template: Path, entries: dict[str, Callable[[list[str]], int]]
) -> int:
    pid = os.fork()
    if pid:
        with contextlib.suppress(OSError):  # the child does it too; whoever is first
            os.setpgid(pid, pid)
        return pid
    code = 99
    try:
        os.setpgid(0, 0)
        _settle(folder)
        copy_task(template, folder)
        if isinstance(case, Play):
            (folder / "problems").write_text("\n".join(case.act(folder)))
            code = 0
        else:
            arguments = case.make(folder)
            (folder / "kept").write_text(_digests(folder, case.kept))
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            limit = pages * resource.getpagesize() + _ADDRESS_SPACE
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            code = entries[case.program](arguments)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(code)


def _settle(folder: Path) -> None:
    """Give a child its own folder, temporary folder and standard streams."""
    (folder / "tmp").mkdir()
    os.environ["TMPDIR"] = str(folder / "tmp")
    tempfile.tempdir = None
    os.chdir(folder)
    logging.getLogger().handlers.clear()
    for number, name in ((0, os.devnull), (1, "stdout"), (2, "stderr")):
        descriptor = os.open(name, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT)
        os.dup2(descriptor, number)
        os.close(descriptor)
    # As the interpreter makes them: whoever started the campaign may have put others there.
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115


def _problems(case: Case | Play, folder: Path, outcome: Outcome) -> Iterator[str]:
    text = {
        name: (folder / name).read_text(encoding="utf-8", errors="replace") for name in ("stdout", "stderr")
    }
    for name, content in text.items():
        if found := _BAD_WORDS.search(content):
            yield f"{found[0]} on {name}: ...{content[-1200:]}"
    if isinstance(case, Play):
        problems = folder / "problems"
        yield from problems.read_text().splitlines() if problems.exists() else ["the play broke off"]
        return
    if outcome.code not in DOCUMENTED[case.program]:
        yield f"exit code {outcome.code} is not documented: ...{text['stderr'][-600:]}"
    elif outcome.code not in case.codes:
        yield f"exit code {outcome.code} instead of {sorted(case.codes)}: ...{text['stderr'][-600:]}"
    if outcome.code and not text["stderr"].strip() and outcome.code != 1:
        yield "fails without a word"
    if outcome.code and case.says and case.says not in text["stderr"]:
        yield f"does not say {case.says!r}: ...{text['stderr'][-600:]}"
    if found := _CONTROLS.search(text["stderr"]):
        yield f"control character {found[0]!r} on stderr"
    if outcome.megabytes > MOST_MEGABYTES:
        yield f"takes {outcome.megabytes:.0f} MB"
    kept = folder / "kept"
    if kept.exists() and kept.read_text() != _digests(folder, case.kept):
        yield f"lost or changed: one of {case.kept}"
    left = [path.name for path in (folder / "tmp").iterdir()]
    if left:
        yield f"left in the temporary folder: {left}"
    if (folder / "pwned").exists():
        yield "ran a program of the input's"


def _digests(folder: Path, files: Sequence[str]) -> str:
    def digest(path: Path) -> str:
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "gone"

    return "\n".join(f"{name} {digest(folder / name)}" for name in files)


def _baseline() -> int:
    """Return the MB that a child has before it does anything."""
    pid = os.fork()
    if not pid:
        os._exit(0)
    return os.wait4(pid, 0)[2].ru_maxrss // 1024
