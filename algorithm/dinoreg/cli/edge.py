"""The outermost frame of every command: logging, signals, and errors as one message and an exit code."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable

from regtask.untrusted.edge import run_guarded

EXIT_CODES = """exit codes: 0 done; 2 configuration, usage or weights; 3 input data; 4 output; 5 device;
6 numerical failure; 7 some pair has no field; 8 with --strict: a result that cannot be believed; 130 and 143
stopped by Ctrl-C or SIGTERM. With --on-failure fallback a failed pair gets a safe field, is marked in
manifest.json, and does not change the exit code."""


def guarded(action: Callable[[], None], options: argparse.Namespace) -> int:
    """Run an edge of the program: logging, signals, and errors as one message and an exit code.

    Args:
        action: the program.
        options: parsed; paths among them that no file can have are refused first.
    """
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", force=True
    )
    values = [
        one for value in vars(options).values() for one in (value if isinstance(value, list) else [value])
    ]
    return run_guarded("dinoreg", action, values)
