"""A stand-in for the official file."""

import hashlib
from types import MappingProxyType

import pytest

from dinoreg.cli import weights as command
from dinoreg.weights import official, search


@pytest.fixture
def pinned(monkeypatch):
    """Let b"weights" be the one official file, that of vits14, and b"folder" the tensors of its folder."""
    digest, in_folder = (hashlib.sha256(content).hexdigest() for content in (b"weights", b"folder"))
    file = official.OfficialFile(
        "vits14",
        "dinov2_vits14",
        "dinov2_vits14_pretrain.pth",
        digest,
        7,
        1,
        official.OfficialFolder("facebook/dinov2-small", in_folder, 1),
    )
    for module in (official, command):
        monkeypatch.setattr(module, "OFFICIAL", MappingProxyType({"vits14": file}))
    monkeypatch.setattr(search, "_WITH_PROJECT", ())
    return file
