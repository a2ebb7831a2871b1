"""Signals, races and scarce resources: nothing already written is lost, and what is left can be resumed."""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from campaign import commands
from campaign.case import DOCUMENTED, Case, Play
from campaign.task import FIELD
from regtask import DataError, read_field

_MODULES = {"dinoreg": "dinoreg.cli.main", "regeval": "regeval"}
_PRESET = ("--preset", "mind", "--set", "adam.0.iterations=30")
_LONGEST = 90


def start(
    program: str, arguments: list[str], variables: dict[str, str] | None = None, **options: object
) -> subprocess.Popen[str]:
    """Start a program in a process of its own, as users do: without what the campaign sets for its forks."""
    command = [sys.executable, "-m", _MODULES[program], *arguments]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=kept | (variables or {}), text=True, **pipes, **options)


def finish(process: subprocess.Popen[str], program: str, *codes: int) -> list[str]:
    """Wait for a program; returns what is wrong with its end."""
    try:
        out, err = process.communicate(timeout=_LONGEST)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return [f"{program} hangs"]
    # Within its last milliseconds the interpreter gives the signals back to the system.
    code = 128 - process.returncode if process.returncode < 0 else process.returncode
    problems = [f"traceback: {err[-1500:]}"] if "Traceback" in out + err else []
    allowed = codes or DOCUMENTED[program]
    if code not in allowed:
        problems.append(f"exit code {process.returncode}, not in {sorted(allowed)}: {err[-500:]}")
    return problems


def written_problems(output: Path) -> list[str]:
    """Return what is not whole in an output folder."""
    problems = [f"left behind: {path.name}" for path in output.glob(".*")]
    for path in output.glob("disp_*"):
        try:
            read_field(path)
        except DataError as error:
            problems.append(f"half a field: {error}")
    manifest = output / "manifest.json"
    if manifest.exists():
        try:
            json.loads(manifest.read_text(encoding="utf-8"))
        except ValueError as error:
            problems.append(f"half a manifest: {error}")
    return problems


def _catches_signals(process: subprocess.Popen[str]) -> None:
    """Wait until the program has taken over SIGTERM: what comes before is the interpreter's."""
    bit = 1 << (signal.SIGTERM - 1)
    end = time.monotonic() + 30
    while time.monotonic() < end and process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
        if int(caught, 16) & bit:
            return
        time.sleep(0.005)


def _interrupted_run(number: signal.Signals, seed: int, folder: Path) -> list[str]:
    arguments = commands.run(folder, *_PRESET)
    process = start("dinoreg", arguments)
    _catches_signals(process)
    time.sleep(random.Random(seed).uniform(0, 5))
    process.send_signal(number)
    problems = finish(process, "dinoreg", 0, 130, 143)
    output = folder / "out"
    problems += written_problems(output)
    problems += finish(start("dinoreg", [*arguments, "--resume"]), "dinoreg", 0)
    return problems + written_problems(output) + _missing(output)


def _killed_run(seed: int, folder: Path) -> list[str]:
    """SIGKILL leaves no chance to clean up: the next run does."""
    arguments = commands.run(folder, *_PRESET)
    process = start("dinoreg", arguments)
    _catches_signals(process)
    time.sleep(random.Random(seed).uniform(0, 5))
    process.kill()
    process.communicate()
    problems = finish(start("dinoreg", [*arguments, "--resume"]), "dinoreg", 0)
    return problems + written_problems(folder / "out") + _missing(folder / "out")


def _interrupted_score(number: signal.Signals, seed: int, folder: Path) -> list[str]:
    before = '{"earlier": "scores"}'
    (folder / "metrics.json").write_text(before)
    process = start("regeval", commands.evaluate(folder))
    _catches_signals(process)
    time.sleep(random.Random(seed).uniform(0, 1))
    process.send_signal(number)
    problems = finish(process, "regeval", 0, 130, 143)
    text = (folder / "metrics.json").read_text()
    if text != before and "cases" not in json.loads(text):
        problems.append("the earlier scores are lost")
    return problems + [f"left behind: {path.name}" for path in folder.glob(".*")]


def _two_runs(resume: bool, folder: Path) -> list[str]:
    arguments = commands.run(folder, *_PRESET, *(["--resume"] if resume else []))
    processes = [start("dinoreg", arguments) for _ in range(2)]
    problems = [problem for process in processes for problem in finish(process, "dinoreg", 0, 4)]
    if all(process.returncode for process in processes):
        problems.append("neither of two runs came to its end")
    return problems + written_problems(folder / "out") + _missing(folder / "out")


def _missing(output: Path) -> list[str]:
    return [] if (output / FIELD).is_file() else ["no field"]


def _scarce(program: str, limit: int, value: int, codes: tuple[int, ...], folder: Path) -> list[str]:
    arguments = commands.run(folder, *_PRESET) if program == "dinoreg" else commands.evaluate(folder)
    process = start(program, arguments, preexec_fn=lambda: resource.setrlimit(limit, (value, value)))
    return finish(process, program, *codes) + (
        written_problems(folder / "out") if program == "dinoreg" else []
    )


def _no_temporary_folder(program: str, folder: Path) -> list[str]:
    arguments = commands.run(folder, *_PRESET) if program == "dinoreg" else commands.evaluate(folder)
    process = start(program, arguments, variables={"TMPDIR": str(folder / "nothing")})
    return finish(process, program, 0)


def _threads(folder: Path) -> list[str]:
    fields = []
    for threads in ("1", "2"):
        arguments = commands.run(folder, *_PRESET)
        arguments[arguments.index("--output") + 1] = str(folder / threads)
        problems = finish(start("dinoreg", arguments, variables={"OMP_NUM_THREADS": threads}), "dinoreg", 0)
        if problems:
            return problems
        fields.append(read_field(folder / threads / FIELD))
    difference = float(np.abs(fields[0] - fields[1]).max())
    return [f"one thread and two differ by {difference} voxels"] if difference > 0.01 else []


def _existing(command: Callable[[Path], list[str]], *files: str) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        for file in files:
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("written earlier")
        return command(folder)

    return make


def _spoilt_and_existing(folder: Path) -> list[str]:
    (folder / "task/landmarksTr/Knee_0001_0001.csv").write_text("1,2\n")
    return _existing(commands.evaluate, "metrics.json")(folder)


def cases() -> Iterator[Case | Play]:
    fields = ("out/manifest.json", f"out/{FIELD}")
    for file in fields:
        make = _existing(commands.run, file)
        yield Case(f"output exists: {file}", "dinoreg", make, frozenset({4}), "exists already", (file,))
    resumed = _existing(lambda folder: commands.run(folder, "--resume"), *fields)
    yield Case(
        "output exists: manifest that is none, --resume",
        "dinoreg",
        resumed,
        frozenset({4}),
        "manifest",
        fields,
    )
    yield Case(
        "output exists: scores, and the input is broken",
        "regeval",
        _spoilt_and_existing,
        kept=("metrics.json",),
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        for seed in range(6):
            act = partial(_interrupted_run, number, seed)
            yield Play(f"{number.name} while registering, moment {seed}", act, heavy=seed > 0)
            act = partial(_interrupted_score, number, seed)
            yield Play(f"{number.name} while scoring, moment {seed}", act, heavy=seed > 0)
    for seed in range(4):
        yield Play(f"SIGKILL while registering, moment {seed}", partial(_killed_run, seed))
    yield Play("two runs into one output", partial(_two_runs, False))
    yield Play("two runs that resume in one output", partial(_two_runs, True))
    for program in ("dinoreg", "regeval"):
        yield Play(f"64 open files: {program}", partial(_scarce, program, resource.RLIMIT_NOFILE, 64, (0, 4)))
        yield Play(
            f"16 open files: {program}", partial(_scarce, program, resource.RLIMIT_NOFILE, 16, (0, 3, 4))
        )
        yield Play(
            f"files of 100 bytes: {program}", partial(_scarce, program, resource.RLIMIT_FSIZE, 100, (4,))
        )
        yield Play(f"no temporary folder: {program}", partial(_no_temporary_folder, program))
    yield Play("one thread against two", _threads)
