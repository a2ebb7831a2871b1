"""Whatever stops a command: one message, a documented exit code, no traceback."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from regtask import DataError, Fault
from regtask.untrusted.edge import run_guarded


@pytest.fixture(autouse=True)
def restored():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def failing(error):
    def action():
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (DataError(Fault("empty", "a.nii")), 3, "x: empty: a.nii\n"),
        (KeyboardInterrupt(), 130, ""),
        (MemoryError(), 3, "x: not enough memory: this run"),
        (PermissionError(13, "Permission denied", "/a"), 4, "x: refused by the system: /a"),
        (OSError(24, "Too many open files"), 4, "got Too many open files"),
    ],
)
def test_message_and_code(capsys, error, code, message):
    assert run_guarded("x", failing(error)) == code
    assert message in capsys.readouterr().err


def test_the_code_of_the_action():
    assert run_guarded("x", lambda: None) == 0
    assert run_guarded("x", lambda: 1) == 1


def test_bugs_are_not_hidden():
    with pytest.raises(ZeroDivisionError):
        run_guarded("x", failing(ZeroDivisionError()))


def test_impossible_paths_are_refused_before_the_action(capsys):
    code = run_guarded("x", failing(ZeroDivisionError()), [1, "a\0", Path("a\0"), Path("y" * 5000)])
    assert code == 3
    assert capsys.readouterr().err.startswith("x: 2 faults:\n")


# What started the tests may ignore Ctrl-C, as a shell has its background jobs do.
PROGRAM = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from regtask.untrusted.edge import run_guarded
def action():
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        print("left")
sys.exit(run_guarded("x", action))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_leave_through_the_context_managers(number, code):
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    os.kill(process.pid, number)
    assert process.communicate(timeout=20)[0] == "left\n"
    assert process.returncode == code


WRITES = """
import sys
from regtask.untrusted.edge import run_guarded
sys.exit(run_guarded("x", lambda: print({text})))
"""


def run_program(text, **options):
    program = WRITES.format(text=text)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    return subprocess.run(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, check=False, env=environment, **options
    )


def test_a_reader_that_has_gone():
    read, write = os.pipe()
    os.close(read)
    done = run_program("'y' * 10", stdout=write)
    os.close(write)
    assert done.returncode == 4
    assert done.stderr.startswith(b"x: refused by the system")
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


def test_names_that_are_no_unicode_are_escaped():
    done = run_program(r"'a\udc80'", stdout=subprocess.PIPE)
    assert (done.returncode, done.stdout) == (0, b"a\\udc80\n")
