"""The encoder against timm (golden file) and against transformers' own model."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from dinov2_reference import digest, slices
from dinov3_reference import CASES, HEAD_CHANNELS, PATCH, REGISTERS, SHAPE, official_state
from safetensors.torch import save_file
from transformers import DINOv3ViTConfig, DINOv3ViTModel

from dinoreg.encoders.vit.dinov3 import load_dinov3
from dinoreg.errors import WeightsError

GOLDEN = Path(__file__).parents[3] / "golden" / "dinov3_timm.npz"


@pytest.fixture
def own_file(tmp_path):
    def write(case, change=lambda state: state):
        state = {name: torch.from_numpy(array) for name, array in official_state(case).items()}
        path = tmp_path / f"dinov3_{case}.pth"
        torch.save(change(state), path)
        return path

    return write


def encode(encoder, grey=None):
    with torch.no_grad():
        return encoder(torch.from_numpy(slices(SHAPE)) if grey is None else grey)


@pytest.mark.golden
@pytest.mark.parametrize("case", CASES)
def test_tokens_of_timm(own_file, case):
    with np.load(GOLDEN) as golden:
        assert digest(*official_state(case).values()) == golden[f"{case}_digest"], "other weights than timm's"
        assert digest(slices(SHAPE)) == golden["slices_digest"], "other slices than timm's"
        cls, patches = golden[f"{case}_cls"], golden[f"{case}_patches"]
    encoder = load_dinov3(own_file(case))
    assert encoder.model.config._attn_implementation == "sdpa"
    assert (encoder.patch_size, encoder.channels) == (PATCH, CASES[case][0])
    assert encoder.architecture.heads == CASES[case][0] // HEAD_CHANNELS
    tokens = encode(encoder)
    assert tokens.patches.shape == (2, CASES[case][0], 3, 5)
    np.testing.assert_allclose(tokens.cls, cls, atol=1e-4)
    np.testing.assert_allclose(tokens.patches.flatten(2).transpose(1, 2), patches, atol=1e-4)


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("names", ["saved", "in_memory"])
def test_hugging_face_folder(tmp_path, gated, names):
    torch.manual_seed(3)
    config = DINOv3ViTConfig(
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,  # of 32 channels: told by config.json alone
        intermediate_size=200,
        use_gated_mlp=gated,
        hidden_act="silu" if gated else "gelu",
        num_register_tokens=REGISTERS,
        rope_theta=50.0,
        initializer_range=0.3,
    )
    model = DINOv3ViTModel(config).eval()
    model.save_pretrained(tmp_path)
    if names == "in_memory":
        save_file(model.state_dict(), tmp_path / "model.safetensors")
    grey = torch.rand(2, 1, *SHAPE)
    with torch.no_grad():
        expected = model(grey.expand(-1, 3, -1, -1)).last_hidden_state
    tokens = encode(load_dinov3(tmp_path), grey)
    torch.testing.assert_close(tokens.cls, expected[:, 0], atol=1e-4, rtol=0)
    found = tokens.patches.flatten(2).transpose(1, 2)
    torch.testing.assert_close(found, expected[:, 1 + REGISTERS :], atol=1e-4, rtol=0)

    settings = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(settings | {"layer_norm_eps": 1e-3}))
    with pytest.raises(WeightsError, match=r"layer_norm_eps.*expected 1e-05; got 0.001"):
        load_dinov3(tmp_path)
    del settings["num_attention_heads"]
    (tmp_path / "config.json").write_text(json.dumps(settings))
    with pytest.raises(WeightsError, match=r"size not stated.*config.json, num_attention_heads"):
        load_dinov3(tmp_path)


def test_periods_of_the_file_count(own_file):
    def slower(state):
        return state | {"rope_embed.periods": state["rope_embed.periods"] * 1.5}

    exact = encode(load_dinov3(own_file("tiny"))).patches
    assert (encode(load_dinov3(own_file("tiny", slower))).patches - exact).abs().max() > 0.01


def test_bias_of_the_keys_is_masked(own_file):
    """Whatever stands there; an unmasked one does count, since the keys are rotated afterwards."""

    def other_keys(state, *, masked):
        for name in list(state):
            if name.endswith("qkv.bias"):
                state[name][128:256] = 5.0
            if name.endswith("bias_mask") and not masked:
                del state[name]
        return state

    exact = encode(load_dinov3(own_file("tiny"))).patches
    masked = encode(load_dinov3(own_file("tiny", lambda s: other_keys(s, masked=True)))).patches
    unmasked = encode(load_dinov3(own_file("tiny", lambda s: other_keys(s, masked=False)))).patches
    torch.testing.assert_close(masked, exact, atol=0, rtol=0)
    assert (unmasked - exact).abs().max() > 0.01


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(own_file, dtype):
    path = own_file("tiny")
    exact = encode(load_dinov3(path))
    half = load_dinov3(path, dtype=dtype)
    assert half.model.rope_embeddings.inv_freq.dtype == torch.float32
    tolerance = 0.02 if dtype == torch.float16 else 0.15
    torch.testing.assert_close(encode(half).patches.float(), exact.patches, atol=tolerance, rtol=0)
    with torch.autocast("cpu", dtype=dtype):
        tokens = encode(load_dinov3(path))
    torch.testing.assert_close(tokens.patches.float(), exact.patches, atol=tolerance, rtol=0)


def test_gradients_reach_the_slices(own_file):
    encoder = load_dinov3(own_file("tiny_gated"), normalisation="imagenet")
    grey = torch.rand(1, 1, *SHAPE, requires_grad=True)
    encoder(grey).patches.square().mean().backward()
    assert grey.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in encoder.parameters())


def test_faults_are_listed_together(own_file):
    def damage(state):
        del state["blocks.1.mlp.fc2.bias"]
        state["norm.weight"] = state["norm.weight"][:-1]
        return state | {"head.weight": torch.zeros(3)}

    with pytest.raises(WeightsError) as caught:
        load_dinov3(own_file("tiny", damage))
    for part in ("blocks.1.mlp.fc2.bias", "norm.weight is (127,), not (128,)", "head.weight"):
        assert part in str(caught.value)


def test_a_dinov2_is_no_dinov3(official_file):
    with pytest.raises(WeightsError, match=r"no DINOv3 checkpoint: .*; expected rope_embed.periods"):
        load_dinov3(official_file("tiny_reg"))


def test_no_periods(own_file):
    with pytest.raises(WeightsError, match=r"no DINOv3 checkpoint: .*; expected rope_embed.periods"):
        load_dinov3(own_file("tiny", lambda state: state | {"rope_embed.periods": torch.zeros(0)}))
