"""`make test-fast`: which modules it leaves out, and that the measured times are of modules that exist."""

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def selection():
    spec = importlib.util.spec_from_file_location("root_conftest", ROOT / "test" / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_modules_that_took_long_are_left_out_and_new_ones_are_not(selection):
    limit = selection.SLOW_SECONDS
    times = {"test/unit/a.py": limit + 0.1, "test/unit/b.py": limit}
    slow = [selection.is_slow(ROOT / "test" / "unit" / f"{name}.py", times) for name in "abc"]
    assert slow == [True, False, False]
    assert not selection.is_slow(Path("/elsewhere/a.py"), times)


def test_nothing_is_left_out_unless_it_is_asked_for(selection):
    name, seconds = max(selection.read_times(selection.TIMES).items(), key=lambda item: item[1])
    assert seconds > selection.SLOW_SECONDS
    asked = [SimpleNamespace(getoption=lambda _, fast=fast: fast) for fast in (False, True)]
    assert [selection.pytest_ignore_collect(ROOT / name, config) for config in asked] == [None, True]


def test_the_fast_modules_stay_within_a_minute(selection):
    times = selection.read_times(selection.TIMES)
    assert [name for name in times if not (ROOT / name).is_file()] == []
    fast = [seconds for seconds in times.values() if seconds <= selection.SLOW_SECONDS]
    assert len(fast) > len(times) / 2
    assert sum(fast) < 40  # the rest of the minute goes to imports


def test_measuring_keeps_what_was_not_measured_and_drops_what_is_gone(selection, tmp_path):
    for name in ("a.py", "b.py"):
        (tmp_path / name).touch()
    path = tmp_path / "times.json"
    path.write_text('{"gone.py": 3.0, "b.py": 2.0, "a.py": 9.0}')
    watch = selection.Stopwatch(tmp_path, path)
    for seconds in (0.25, 0.5):
        watch.pytest_runtest_logreport(SimpleNamespace(nodeid="a.py::test_it[1]", duration=seconds))
    watch.pytest_sessionfinish()
    assert json.loads(path.read_text()) == {"a.py": 0.8, "b.py": 2.0}


def test_a_module_stays_in_one_process_and_so_do_all_that_use_the_images(selection):
    tests = [
        ROOT / "test" / name
        for name in ("unit/test_docs.py", "container/test_run.py", "container/test_image.py")
    ]
    groups = [selection.group_of(path) for path in tests]
    assert groups[0] != groups[1] == groups[2]
