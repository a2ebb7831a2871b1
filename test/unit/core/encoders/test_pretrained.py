"""Hugging Face folders as people have them: in shards, as pickled tensors, damaged, or of another kind."""

import hashlib
import json
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Dinov2Config, Dinov2Model
from transformers.utils import logging

from dinoreg.encoders.registry import load_encoder
from dinoreg.encoders.vit.dinov2 import load_dinov2
from dinoreg.errors import WeightsError
from dinoreg.settings.config import Dinov3
from dinoreg.weights.model_folder import folder_sha256, tensor_files

PATCH, GRID = 14, 6


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    return Dinov2Model(
        Dinov2Config(
            hidden_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            image_size=GRID * PATCH,
            patch_size=PATCH,
            initializer_range=0.3,
        )
    ).eval()


def write(model, folder, kind):
    """The same tensors in each of the four ways that transformers reads."""
    model.save_pretrained(folder, max_shard_size="200KB" if "shards" in kind else "1GB")
    if "bin" in kind:
        for path in folder.glob("*.safetensors"):
            torch.save(
                load_file(path),
                folder / path.name.replace("model", "pytorch_model", 1).replace("safetensors", "bin"),
            )
            path.unlink()
        index = folder / "model.safetensors.index.json"
        if index.exists():
            text = index.read_text().replace("model-", "pytorch_model-").replace(".safetensors", ".bin")
            (folder / "pytorch_model.bin.index.json").write_text(text)
            index.unlink()
    return folder


KINDS = ("safetensors", "safetensors in shards", "bin", "bin in shards")


@pytest.mark.parametrize("kind", KINDS)
def test_every_way_of_saving(model, tmp_path, capfd, kind):
    folder = write(model, tmp_path / "model", kind)
    files = tensor_files(folder)
    assert (len(files) > 1) == ("shards" in kind)
    assert {path.suffix for path in files} == {".bin" if "bin" in kind else ".safetensors"}
    capfd.readouterr()
    verbosity = logging.get_verbosity()
    encoder = load_dinov2(None, folder)
    assert "".join(capfd.readouterr()) == ""  # neither bars nor reports
    assert logging.get_verbosity() == verbosity
    assert logging.is_progress_bar_enabled()
    assert encoder.model.config._attn_implementation == "sdpa"
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}
    assert (encoder.architecture.heads, encoder.architecture.grid) == (4, GRID)
    grey = torch.rand(2, 1, GRID * PATCH, GRID * PATCH)
    with torch.no_grad():
        expected = model(grey.expand(-1, 3, -1, -1)).last_hidden_state
        found = encoder(grey)
    torch.testing.assert_close(found.cls, expected[:, 0], atol=1e-5, rtol=0)
    torch.testing.assert_close(found.patches.flatten(2).transpose(1, 2), expected[:, 1:], atol=1e-5, rtol=0)


def test_half_precision_on_disk_is_float32_in_memory(model, tmp_path):
    model.save_pretrained(tmp_path)
    halves = {name: tensor.half() for name, tensor in load_file(tmp_path / "model.safetensors").items()}
    save_file(halves, tmp_path / "model.safetensors", {"format": "pt"})
    encoder = load_dinov2(None, tmp_path)
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}


def test_the_digest_covers_every_shard(model, tmp_path):
    folder = write(model, tmp_path, "safetensors in shards")
    files = tensor_files(folder)
    lines = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files)
    before = folder_sha256(folder)
    assert before == hashlib.sha256(lines.encode()).hexdigest()
    files[-1].write_bytes(files[-1].read_bytes() + b"x")
    assert folder_sha256(folder) != before


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


@pytest.mark.parametrize("damage", ["code", "cut", "noise", "nothing"])
@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_damaged_tensors(model, tmp_path, capfd, kind, damage):
    (path,) = tensor_files(write(model, tmp_path, kind))
    if damage == "code":
        path.write_bytes(pickle.dumps({"a": Evil()}, protocol=2) + bytes(200_000))
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-300])
    else:
        path.write_bytes(bytes(range(256)) * 999 if damage == "noise" else b"")
    with pytest.raises(
        WeightsError, match=f"not a model of transformers|larger model than: {tmp_path}|hold: "
    ):
        load_dinov2(None, tmp_path)
    assert "executed" not in "".join(capfd.readouterr())


def test_what_transformers_passes_over_is_refused(model, tmp_path):
    model.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    del tensors["layernorm.bias"]
    tensors["layernorm.weight"] = tensors["layernorm.weight"][:-1]
    tensors["embeddings.cls_token"][0, 0, 5] = float("nan")
    save_file(tensors | {"head.weight": torch.zeros(3)}, path, {"format": "pt"})
    with pytest.raises(WeightsError) as caught:
        load_dinov2(None, tmp_path)
    message = str(caught.value)
    for part in (
        "are missing",
        "layernorm.bias",
        "not expected",
        "head.weight",
        "layernorm.weight is (63,), not (64,)",
        "finite",
        "embeddings.cls_token",
    ):
        assert part in message
    assert len(caught.value.faults) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_hidden_layers": 10**9}, "larger model than the files hold"),
        ({"hidden_size": 10**9}, "larger model than the files hold"),
        ({"hidden_size": None}, r"size not stated: .*hidden_size; .*got nothing"),
        ({"num_attention_heads": "4"}, "size not stated"),
        ({"num_attention_heads": True}, "size not stated"),
        ({"patch_size": 0}, "size not stated"),
        ({"num_attention_heads": 5}, r"another shape: .*k_proj.bias is \(64,\), not \(60,\)"),
        ({"model_type": "bert"}, "no DINOv2: .*; expected dinov2 or dinov2_with_registers; got bert"),
        ({"quantization_config": {"quant_method": "x"}}, "not supported: .*quantization_config"),
        ({"transformers_weights": "other.safetensors"}, "not supported: .*transformers_weights"),
    ],
)
def test_a_config_that_does_not_fit(model, tmp_path, change, message):
    model.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text()) | change
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    with pytest.raises(WeightsError, match=message):
        load_dinov2(None, tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", "", "\udcff", "[" * 9999])
def test_a_config_that_is_none(model, tmp_path, content):
    model.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(WeightsError, match=r"config\.json"):
        load_dinov2(None, tmp_path)


def test_an_adapter_is_not_applied(model, tmp_path):
    model.save_pretrained(tmp_path)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "elsewhere/model"}))
    with pytest.raises(WeightsError, match="a model with an adapter"):
        load_dinov2(None, tmp_path)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({"weight_map": {"a": "../model.safetensors"}}, "impossible name of a shard"),
        ({"weight_map": {"a": "shard.bin"}}, "impossible name of a shard"),
        ({"weight_map": {"a": "shard.safetensors"}}, "a shard is missing: .*shard.safetensors"),
        ({"weight_map": {}}, "not an index of shards"),
        ({"weight_map": {"a": 3}}, "not an index of shards"),
        ([], "not an index of shards"),
    ],
)
def test_an_index_that_is_none(tmp_path, index, message):
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(WeightsError, match=message):
        tensor_files(tmp_path)


def test_a_lone_file_of_transformers_names_its_folder(model, tmp_path):
    model.save_pretrained(tmp_path / "folder")
    lone = (tmp_path / "folder" / "model.safetensors").rename(tmp_path / "lone.safetensors")
    with pytest.raises(WeightsError, match=r"no DINOv2 checkpoint: .*-> name the Hugging Face folder"):
        load_dinov2(None, lone)


def test_dinov3_by_its_name_on_the_hub(tmp_path, monkeypatch):
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    folder = tmp_path / "models--facebook--dinov3-vits16-pretrain-lvd1689m" / "snapshots" / "114c13"
    settings = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 96}
    DINOv3ViTModel(DINOv3ViTConfig(**settings)).save_pretrained(folder)
    monkeypatch.setenv("DINOREG_WEIGHTS", str(tmp_path))
    named = Dinov3(weights="facebook/dinov3-vits16-pretrain-lvd1689m")
    loaded = load_encoder(named, torch.device("cpu"))
    assert loaded.weights.path == folder
    assert loaded.encoder.architecture.hidden == 96
