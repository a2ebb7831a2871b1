"""Files that hold no weights end in one message, whatever is wrong with them."""

import pickle
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from dinoreg.errors import WeightsError
from dinoreg.weights.checkpoint import convert, read_checkpoint

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4)}


def test_both_kinds(tmp_path):
    torch.save(TENSORS, tmp_path / "a.pth")
    save_file(TENSORS, tmp_path / "a.safetensors")
    for path in (tmp_path / "a.pth", tmp_path / "a.safetensors"):
        found = read_checkpoint(path)
        assert found.tensors.keys() == TENSORS.keys()
        assert all(torch.equal(found.tensors[name], TENSORS[name]) for name in TENSORS)


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def _write(path, kind):
    if kind == "code":
        torch.save({"a": Evil()}, path)
    elif kind == "nested":
        torch.save({"model": TENSORS}, path)
    elif kind == "list":
        torch.save([torch.ones(2)], path)
    elif kind == "empty":
        torch.save({}, path)
    elif kind == "plain pickle":
        path.write_bytes(pickle.dumps({"a": Evil()}, protocol=2))
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a", "b")
    elif kind == "cut":
        torch.save(TENSORS, path)
        path.write_bytes(path.read_bytes()[:-300])
    elif kind == "noise":
        path.write_bytes(bytes(range(256)) * 9)
    elif kind == "nothing":
        path.write_bytes(b"")


@pytest.mark.parametrize(
    "kind",
    ["code", "nested", "list", "empty", "plain pickle", "zip", "cut", "noise", "nothing", "absent"],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_no_weights(tmp_path, capsys, kind, suffix):
    path = tmp_path / f"a{suffix}"
    _write(path, kind)
    with pytest.raises(WeightsError, match=f"not a file of weights: .*a{suffix}; expected .*; got ."):
        read_checkpoint(path)
    assert "executed" not in capsys.readouterr().out


def test_stacked_tensors_are_taken_apart(tmp_path):
    tensors = {"qkv": torch.arange(12.0).reshape(6, 2), "old": torch.ones(1)}
    shapes = {"q": (1, 2), "k": (2, 2), "v": (3, 2)}
    found = convert(tensors, {"qkv": ("q", "k", "v")}, shapes, where=tmp_path, ignored={"old"})
    assert {name: tuple(tensor.shape) for name, tensor in found.items()} == shapes
    assert found["k"].tolist() == [[2, 3], [4, 5]]


def test_many_names_are_shortened(tmp_path):
    layout = {f"t{i}": (f"t{i}",) for i in range(20)}
    with pytest.raises(WeightsError, match=r"t0, .*t7 and 12 more"):
        convert({}, layout, {}, where=tmp_path)


@pytest.mark.parametrize("value", [torch.tensor([1, 2]), torch.tensor([1.0, float("inf")])])
def test_values_that_are_no_weights(tmp_path, value):
    with pytest.raises(WeightsError, match=r"something else than finite numbers: .*; got a"):
        convert({"a": value}, {"a": ("a",)}, {"a": (2,)}, where=tmp_path)
