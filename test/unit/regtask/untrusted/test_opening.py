"""Only regular files are opened, and nothing that is there counts as absent."""

import os
import socket
import threading
from pathlib import Path

import pytest

from regtask import DataError
from regtask.untrusted.opening import is_regular, lies_there, open_regular, path_fault

IMPOSSIBLE = {"nul": "a\0b", "surrogate": "a\ud800b", "long": "x" * 5000, "deep": "x/" * 5000}


def make_fifo(path):
    os.mkfifo(path)


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


KINDS = {
    "a directory": Path.mkdir,
    "a named pipe": make_fifo,
    "a socket": make_socket,
    "a device": lambda path: path.symlink_to("/dev/zero"),
}


def refusal(path):
    """What `open_regular` says of a path; in a thread, since a pipe would wait for its writer."""
    found = []

    def open_it():
        with pytest.raises(DataError) as caught:
            open_regular(path)
        found.append(str(caught.value))

    thread = threading.Thread(target=open_it, daemon=True)
    thread.start()
    thread.join(10)
    return "".join(found)


@pytest.mark.parametrize(("kind", "make"), KINDS.items(), ids=KINDS)
def test_only_regular_files(tmp_path, kind, make):
    path = tmp_path / "x"
    make(path)
    assert refusal(path) == f"cannot read: {path}; expected a regular file; got {kind} -> check the path"
    assert lies_there(path)
    assert not is_regular(path)


def test_a_file_that_becomes_a_pipe_between_look_and_opening(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(b"1")
    status = path.stat()
    path.unlink()
    os.mkfifo(path)
    monkeypatch.setattr(Path, "stat", lambda *_: status)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    assert "a named pipe" in refusal(path)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_link_to_a_file_is_one(tmp_path):
    (tmp_path / "x").write_bytes(b"123")
    (tmp_path / "y").symlink_to("x")
    with open_regular(tmp_path / "y") as stream:
        assert stream.read() == b"123"
    assert is_regular(tmp_path / "y")


def test_links_to_nothing_lie_there(tmp_path):
    (tmp_path / "x").symlink_to("nothing")
    (tmp_path / "y").symlink_to("y")
    for name, got in (("x", "a link to something that does not exist"), ("y", "symbolic links")):
        assert lies_there(tmp_path / name)
        with pytest.raises(DataError, match=got):
            open_regular(tmp_path / name)
    assert not lies_there(tmp_path / "z")
    assert not lies_there(tmp_path / "x" / "z")


@pytest.mark.parametrize("text", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_impossible_paths(tmp_path, text):
    path = tmp_path / text
    with pytest.raises(DataError, match=r"impossible path|File name too long"):
        open_regular(path)
    assert not is_regular(path)
    assert path_fault(path)
    assert str(path_fault(path)).isprintable()


def test_possible_paths(tmp_path):
    assert path_fault(tmp_path) is None
    assert path_fault(tmp_path / "nothing" / "at all") is None
