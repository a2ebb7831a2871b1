import errno
import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from dinoreg.weights.safe_file import write_safetensors, write_state
from regtask.errors import OutputError

TENSORS = {"weight": torch.arange(6.0).view(2, 3), "bias": torch.tensor([3.0, -5.0, 7.0])}


def test_tensors_and_metadata_come_back(tmp_path):
    path = tmp_path / "file.safetensors"
    write_safetensors(path, TENSORS, {"origin": "here"})
    found = load_file(path)
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[name], TENSORS[name]) for name in TENSORS)
    with safe_open(path, framework="pt") as stream:
        assert stream.metadata() == {"origin": "here"}


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_others_may_read_it_where_the_umask_allows_it(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_safetensors(tmp_path / "file.safetensors", TENSORS)
    finally:
        os.umask(before)
    assert (tmp_path / "file.safetensors").stat().st_mode & 0o777 == mode


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(OutputError, match=r"cannot write.*create the folder"):
        write_safetensors(tmp_path / "none" / "file.safetensors", TENSORS)


def test_a_state_comes_back(tmp_path):
    state = {"step": 3, "weights": TENSORS, "losses": [0.5, 0.25]}
    write_state(tmp_path / "checkpoint.pt", state)
    found = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert (found["step"], found["losses"]) == (3, [0.5, 0.25])
    assert all(torch.equal(found["weights"][name], TENSORS[name]) for name in TENSORS)


@pytest.mark.parametrize("write", [write_safetensors, write_state])
def test_a_full_disk_keeps_what_was_there(tmp_path, monkeypatch, write):
    path = tmp_path / "file"
    write(path, TENSORS)
    before = path.read_bytes()

    def full(self, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match=r"cannot write.*free space"):
        write(path, TENSORS)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
