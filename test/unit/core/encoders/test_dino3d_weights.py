import hashlib
import json
from dataclasses import replace

import pytest
import torch
from random_dino3d import random_network
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from dinoreg.encoders.dino3d.weights import read_dino3d, write_dino3d
from dinoreg.encoders.registry import load_encoder
from dinoreg.errors import WeightsError
from dinoreg.settings.config import Dino3d
from dinoreg.weights import official
from dinoreg.weights import search as weights
from dinoreg.weights.official import SHIPPED
from dinoreg.weights.search import find_weights

CPU = torch.device("cpu")


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "own.safetensors"
    write_dino3d(path, random_network(), {"spacing_mm": 2.0, "steps": 7})
    return path


@pytest.fixture
def shipped(tmp_path, monkeypatch, path):
    """Let the file of `path` be the one that comes along, in a checkout."""
    content = path.read_bytes()
    file = replace(SHIPPED, sha256=hashlib.sha256(content).hexdigest())
    folder = tmp_path / "checkout" / "weights"
    folder.mkdir(parents=True)
    monkeypatch.setattr(official, "SHIPPED", file)
    monkeypatch.setattr(weights, "_WITH_PROJECT", (tmp_path / "elsewhere", folder))
    monkeypatch.delenv("DINOREG_WEIGHTS", raising=False)
    (folder / file.name).write_bytes(content)
    return folder / file.name


def described(path):
    with safe_open(path, framework="pt") as stream:
        return json.loads(stream.metadata()["dino3d"])


def changed(path, tensors=None, **metadata):
    """Write the file again with other tensors or metadata."""
    text = json.dumps(described(path) | metadata)
    save_file(tensors or load_file(path), path, metadata={"dino3d": text})
    return path


def test_round_trip(path):
    network = random_network()
    found, metadata = read_dino3d(path)
    assert metadata == {
        "format": "dino3d-1",
        "widths": [8, 12],
        "depths": [1, 1],
        "channels": 6,
        "spacing_mm": 2.0,
        "steps": 7,
    }
    assert not found.training
    assert found.stem.weight.is_contiguous(memory_format=torch.channels_last_3d)
    for name, value in network.state_dict().items():
        kept = found.state_dict()[name]
        assert kept.dtype == torch.float32
        torch.testing.assert_close(kept, value.half().float(), atol=0, rtol=0)
    assert {value.dtype for value in load_file(path).values()} == {torch.float16}
    image = torch.rand(1, 1, 16, 8, 24)
    torch.testing.assert_close(found(image), network(image), atol=0.01, rtol=0)


def test_the_same_network_gives_the_same_bytes(path, tmp_path):
    write_dino3d(tmp_path / "again", random_network(), {"steps": 7, "spacing_mm": 2.0})
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("metadata", [{}, {"spacing_mm": 0}, {"spacing_mm": float("nan")}])
def test_no_spacing_is_not_written(tmp_path, metadata):
    with pytest.raises(ValueError, match="spacing_mm"):
        write_dino3d(tmp_path / "w.safetensors", random_network(), metadata)


def test_what_half_precision_cannot_hold_is_not_written(tmp_path):
    network = random_network()
    network.head.bias[0] = 1e6
    with pytest.raises(ValueError, match=r"head\.bias"):
        write_dino3d(tmp_path / "w.safetensors", network, {"spacing_mm": 2.0})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"format": "dino3d-2"}, "dino3d-2"),
        ({"spacing_mm": None}, "not readable"),
        ({"spacing_mm": -1.0}, "spacing_mm -1"),
        ({"depths": [1]}, "as many depths as widths"),
        ({"widths": "8"}, "not readable"),
        ({"widths": [8, 16]}, "do not fit"),
        ({"depths": [1, 2]}, "do not fit"),
    ],
)
def test_metadata_that_cannot_be(path, metadata, message):
    with pytest.raises(WeightsError, match=message):
        read_dino3d(changed(path, **metadata))


def test_tensors_that_do_not_fit(path):
    tensors = load_file(path)
    missing = {name: value for name, value in tensors.items() if name != "head.weight"}
    with pytest.raises(WeightsError, match=r"do not fit.*head\.weight"):
        read_dino3d(changed(path, missing))
    with pytest.raises(WeightsError, match=r"do not fit.*extra"):
        read_dino3d(changed(path, tensors | {"extra": torch.zeros(1)}))
    with pytest.raises(WeightsError, match=r"not finite.*head\.bias"):
        read_dino3d(changed(path, tensors | {"head.bias": torch.full((6,), torch.nan)}))


@pytest.mark.parametrize("content", [b"", b"weights", None])
def test_damaged_files(path, content):
    path.write_bytes(path.read_bytes()[:-100] if content is None else content)
    with pytest.raises(WeightsError, match="not readable"):
        read_dino3d(path)
    with pytest.raises(WeightsError, match="not readable"):
        read_dino3d(path.with_name("absent"))


def test_a_file_without_metadata(path):
    save_file(load_file(path), path)
    with pytest.raises(WeightsError, match="not readable"):
        read_dino3d(path)


def test_the_shipped_file_is_found_and_checked(shipped, tmp_path, monkeypatch):
    loaded = load_encoder(Dino3d(), CPU)
    assert loaded.weights.path == shipped
    assert loaded.weights.provenance == "official"
    assert (loaded.encoder.spacing_mm, loaded.encoder.channels) == (2.0, 6)
    # a folder that is named outranks it, and must hold the same file under its name
    monkeypatch.setenv("DINOREG_WEIGHTS", str(tmp_path / "named"))
    other = tmp_path / "named" / shipped.name
    other.parent.mkdir()
    other.write_bytes(b"other")
    with pytest.raises(WeightsError, match="wrong digest"):
        load_encoder(Dino3d(), CPU)


def test_absent_weights_say_where_they_lie(shipped):
    shipped.unlink()
    with pytest.raises(WeightsError, match=r"no weights for dino3d.*algorithm/weights") as caught:
        find_weights("dino3d")
    assert str(shipped.parent) in str(caught.value)


def test_weights_of_ones_own(shipped, path, tmp_path, monkeypatch):
    write_dino3d(path, random_network(seed=1), {"spacing_mm": 1.5})
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    loaded = load_encoder(Dino3d(weights=str(path), sha256=digest), CPU)
    assert (loaded.weights.sha256, loaded.weights.provenance) == (digest, "custom")
    with pytest.raises(WeightsError, match="wrong digest"):
        load_encoder(Dino3d(weights=str(path), sha256="0" * 64), CPU)
    monkeypatch.setenv("DINOREG_WEIGHTS", str(tmp_path))
    assert load_encoder(Dino3d(weights=path.name), CPU).weights.path == path
    with pytest.raises(WeightsError, match="no weights for dino3d"):
        load_encoder(Dino3d(weights="absent.safetensors"), CPU)
