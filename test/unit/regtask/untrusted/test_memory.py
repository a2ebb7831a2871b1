"""What is free, by hand-made files of the system."""

from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from regtask import DataError
from regtask.untrusted import memory
from regtask.untrusted.memory import array_fault, free_bytes, in_words

INT16, GIB = np.dtype(np.int16), 1 << 30


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A machine of 8 GiB free; returns the folders of its processes and of its control groups."""
    monkeypatch.delenv("REGTASK_MEMORY", raising=False)
    monkeypatch.setattr(memory, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(memory, "_address_space", lambda: 1 << 62)
    (tmp_path / "proc/self").mkdir(parents=True)
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: SimpleNamespace(available=8 * GIB))
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    return tmp_path / "proc", tmp_path / "cgroup"


def group(folder, limit, used, names=("memory.max", "memory.current")):
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in zip(names, (limit, used), strict=True):
        (folder / name).write_text(f"{value}\n")


def test_what_the_machine_has(system):
    assert free_bytes() == 8 * GIB


def test_the_real_machine(monkeypatch):
    monkeypatch.delenv("REGTASK_MEMORY", raising=False)
    assert 0 < free_bytes() < psutil.virtual_memory().total


def test_container_of_version_2(system):
    group(system[1], 3 * GIB, GIB)
    assert free_bytes() == 2 * GIB
    group(system[1], "max", GIB)
    assert free_bytes() == 8 * GIB


def test_cached_files_do_not_count_as_used(system):
    group(system[1], 3 * GIB, 2 * GIB)
    (system[1] / "memory.stat").write_text(f"anon 5\ninactive_file {GIB}\n")
    assert free_bytes() == 2 * GIB


def test_the_tightest_group_above_counts(system):
    (system[0] / "self/cgroup").write_text("0::/a/b\n")
    group(system[1] / "a/b", "max", 0)
    group(system[1] / "a", GIB, 0)
    assert free_bytes() == GIB


def test_container_of_version_1(system):
    (system[0] / "self/cgroup").write_text("5:cpu:/x\n4:memory:/docker/0123\n")
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
    group(system[1] / "memory", GIB, 0, names)  # in the container the group is the root of what is seen
    assert free_bytes() == GIB


def test_more_used_than_allowed_is_nothing_free(system):
    group(system[1], GIB, 2 * GIB)
    assert free_bytes() == 0


@pytest.mark.parametrize(("text", "expected"), [("4096", 4096), ("8K", 8192), (" 3g", 3 * GIB)])
def test_memory_by_hand(system, monkeypatch, text, expected):
    monkeypatch.setenv("REGTASK_MEMORY", text)
    assert free_bytes() == expected


@pytest.mark.parametrize("text", ["much", "-1", "1.5G", "G", "9" * 5000])
def test_no_amount(system, monkeypatch, text):
    monkeypatch.setenv("REGTASK_MEMORY", text)
    with pytest.raises(DataError, match="REGTASK_MEMORY"):
        free_bytes()


def test_limit_of_the_address_space(monkeypatch):
    monkeypatch.setattr(memory.psutil.Process, "rlimit", lambda *_: (1 << 50, 1 << 50))
    assert 0 < (1 << 50) - memory._address_space() < 1 << 49


def test_a_quarter_of_what_is_free(system, monkeypatch, tmp_path):
    # 400^3 of int16: 7 bytes each with the copies, 427 MiB; scaled 15 bytes, 916 MiB.
    monkeypatch.setenv("REGTASK_MEMORY", "1709M")
    shape = (400, 400, 400)
    assert array_fault(tmp_path, shape, INT16) is None
    assert "takes 916 MiB" in str(array_fault(tmp_path, shape, INT16, scaled=True))
    monkeypatch.setenv("REGTASK_MEMORY", "1708M")
    assert "too large for this machine" in str(array_fault(tmp_path, shape, INT16))


def test_what_is_small_is_not_asked_about(system, monkeypatch, tmp_path):
    monkeypatch.setenv("REGTASK_MEMORY", "1")
    assert array_fault(tmp_path, (100, 100, 100), INT16) is None


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (5 * GIB, "5 GiB")]
)
def test_in_words(count, text):
    assert in_words(count) == text
