"""The outermost frame of a command: whatever stops it becomes one message and a documented exit code."""

import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from regtask.errors import DataError, Fault, OutputError, TaskError
from regtask.untrusted.opening import path_fault

_INTERRUPTED = 130


def run_guarded(program: str, action: Callable[[], int | None], arguments: Iterable[object] = ()) -> int:
    """Run a command.

    SIGTERM leaves through the context managers, so that no half-written temporary file stays behind.

    Args:
        program: begins the messages on standard error.
        action: the command; returns its exit code, None for 0.
        arguments: values of its options; paths that no file can have are refused before it begins.

    Returns:
        The exit code: that of the action or of the `TaskError` that stopped it; 130 after an interrupt; 3
        where memory did not suffice; 4 where the system refused something that no other error explains.
        SIGTERM leaves with 143 by `SystemExit`.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files need not be Unicode
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        _refuse_impossible_paths(arguments)
        code = action() or 0
        sys.stdout.flush()
    except TaskError as error:
        return _stopped(program, error)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except MemoryError:
        remedy = "give the container or the process more memory"
        return _stopped(program, DataError(Fault("not enough memory", "this run", remedy=remedy)))
    except BrokenPipeError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered goes there
        return _stopped(program, _refused(error))
    except OSError as error:
        return _stopped(program, _refused(error))
    return code


def _refuse_impossible_paths(arguments: Iterable[object]) -> None:
    paths = [path for path in arguments if isinstance(path, Path)]
    faults = [fault for path in paths if (fault := path_fault(path))]
    if faults:
        raise DataError(*faults)


def _stopped(program: str, error: TaskError) -> int:
    sys.stderr.write(f"{program}: {error}\n")
    return error.exit_code


def _refused(error: OSError) -> OutputError:
    where = str(error.filename or "this run")
    remedy = "check the disk, permissions and limits of this process (ulimit -a)"
    return OutputError(Fault("refused by the system", where, got=error.strerror or str(error), remedy=remedy))
