"""The helpers of the golden scripts, which the encoder tests start from as well."""

import hashlib
import sys
from pathlib import Path
from types import MappingProxyType

import pytest
import torch

SCRIPTS = Path(__file__).parents[3] / "golden" / "scripts"
sys.path.insert(0, str(SCRIPTS))


@pytest.fixture
def official_file(tmp_path):
    """Write a case of `dinov2_reference` as Meta's files are written; returns its path for this test."""
    from dinov2_reference import official_state

    def write(case, change=lambda state: state):
        state = {name: torch.from_numpy(array) for name, array in official_state(case).items()}
        path = tmp_path / f"{case}.pth"
        torch.save(change(state), path)
        return path

    yield write
    for path in tmp_path.glob("*.pth"):
        path.unlink()  # pytest keeps the folders of passed tests, and these files are large


@pytest.fixture
def pinned(monkeypatch):
    """Let b"weights" be the one official file, that of vits14."""
    from dinoreg.cli import weights as command
    from dinoreg.encoders import weights

    digest = hashlib.sha256(b"weights").hexdigest()
    file = weights.OfficialFile("vits14", "dinov2_vits14", "dinov2_vits14_pretrain.pth", digest, 7, 1)
    for module in (weights, command):
        monkeypatch.setattr(module, "OFFICIAL", MappingProxyType({"vits14": file}))
    monkeypatch.setattr(weights, "_WITH_PROJECT", ())
    return file
