"""Shapes are checked in all tests, see `shape_checker`.

`pytest --fast` leaves out the test modules that take long, by the times of the last measured run:

    pytest test/unit --write-times     # measures, and renews the file of times: a few minutes

A module that the file does not know counts as fast until it is measured.

`pytest -n 2` runs modules side by side: one process for a module, whose fixtures are then made once, and one
for all of test/container, which build and run the same images.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from shape_checker import check_shapes

check_shapes()

ROOT = Path(__file__).resolve().parent.parent
TIMES = ROOT / "test" / "times.json"  # module -> seconds of all its tests
SLOW_SECONDS = 0.8
CONTAINER = ROOT / "test" / "container"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="leave out test modules that take long")
    parser.addoption("--write-times", action="store_true", help=f"renew {TIMES.name}, which --fast goes by")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--write-times"):
        config.pluginmanager.register(Stopwatch(ROOT), "stopwatch")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    if not config.getoption("--fast"):
        return None
    return True if is_slow(collection_path, read_times(TIMES)) else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadScopeScheduling  # only where several processes were asked for

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(ROOT / nodeid.partition("::")[0])

    return ByGroup(config, log)


def group_of(path: Path) -> str:
    """Which tests belong into one process: those of a module, and all that use the images."""
    return "container" if path.is_relative_to(CONTAINER) else path.as_posix()


@pytest.fixture(autouse=True)
def _no_log_into_closed_streams() -> Iterator[None]:
    """Take away the handlers of a command that ran in this process: their stream closes with the test."""
    yield
    for handler in list(logging.root.handlers):
        if type(handler) is logging.StreamHandler:
            logging.root.removeHandler(handler)


def is_slow(path: Path, times: dict[str, float]) -> bool:
    """Whether a module took long when it was last measured."""
    return path.is_relative_to(ROOT) and times.get(path.relative_to(ROOT).as_posix(), 0.0) > SLOW_SECONDS


def read_times(path: Path) -> dict[str, float]:
    """Return the measured seconds by module; nothing where they were never measured."""
    times: dict[str, float] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return times


class Stopwatch:
    """Adds up what the tests of each module take, and writes it in the place of what was known of them."""

    def __init__(self, root: Path, path: Path = TIMES) -> None:
        self._root, self._path = root, path
        self._seconds: dict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid.partition("::")[0]] += report.duration

    def pytest_sessionfinish(self) -> None:
        times = {**read_times(self._path), **self._seconds}
        kept = {name: round(times[name], 1) for name in sorted(times) if (self._root / name).is_file()}
        self._path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
