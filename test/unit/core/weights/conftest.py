"""A stand-in for the official file."""

import hashlib
from types import MappingProxyType

import pytest

from dinoreg.cli import weights as command
from dinoreg.weights import official, search


@pytest.fixture
def pinned(monkeypatch):
    """Let b"weights" be the one official file, that of vits14."""
    digest = hashlib.sha256(b"weights").hexdigest()
    file = official.OfficialFile("vits14", "dinov2_vits14", "dinov2_vits14_pretrain.pth", digest, 7, 1)
    for module in (official, command):
        monkeypatch.setattr(module, "OFFICIAL", MappingProxyType({"vits14": file}))
    monkeypatch.setattr(search, "_WITH_PROJECT", ())
    return file
