"""The encoder against timm (golden file) and against transformers' own models."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from dinov2_reference import CASES, KEPT, NATIVE, NON_SQUARE, PATCH, digest, official_state, slices
from safetensors.torch import save_file
from transformers import Dinov2Config, Dinov2Model, Dinov2WithRegistersConfig, Dinov2WithRegistersModel

from dinoreg.encoders.vit import dinov2
from dinoreg.encoders.vit.dinov2 import load_dinov2
from dinoreg.encoders.vit.dinov2_keys import VARIANTS, Architecture
from dinoreg.errors import WeightsError

GOLDEN = Path(__file__).parents[3] / "golden" / "dinov2_timm.npz"


def encode(encoder, shape):
    with torch.no_grad():
        return encoder(torch.from_numpy(slices(shape)))


@pytest.mark.golden
@pytest.mark.parametrize(
    ("case", "kind"), [(case, "non_square") for case in CASES] + [("tiny", "native"), ("tiny_reg", "native")]
)
def test_tokens_of_timm(official_file, case, kind):
    shape = NON_SQUARE if kind == "non_square" else NATIVE
    with np.load(GOLDEN) as golden:
        assert digest(*official_state(case).values()) == golden[f"{case}_digest"], "other weights than timm's"
        assert digest(slices(shape)) == golden[f"{kind}_slices_digest"], "other slices than timm's"
        cls, patches = golden[f"{case}_{kind}_cls"], golden[f"{case}_{kind}_patches"]
    variant = case.replace("_", "-") if case.startswith("vits14") else None
    encoder = load_dinov2(variant, official_file(case))
    assert encoder.model.config._attn_implementation == "sdpa"
    tokens = encode(encoder, shape)
    rows, columns = (n // PATCH for n in shape)
    assert tokens.patches.shape == (2, CASES[case][0], rows, columns)
    found = tokens.patches.flatten(2).transpose(1, 2)[:, :: KEPT if kind == "native" else 1]
    np.testing.assert_allclose(tokens.cls, cls, atol=1e-4)
    np.testing.assert_allclose(found, patches, atol=1e-4)


def timm_state(state, registers):
    """Rename official weights as timm stores them."""
    state = {name: value for name, value in state.items() if name != "mask_token"}
    if registers:
        state["reg_token"] = state.pop("register_tokens")
        state["cls_token"] = state["cls_token"] + state["pos_embed"][:, :1]
        state["pos_embed"] = state["pos_embed"][:, 1:]
    return {name.replace("w12", "fc1").replace("w3", "fc2"): value for name, value in state.items()}


@pytest.mark.parametrize("case", ["tiny", "tiny_reg", "tiny_gated", "tiny_gated_reg"])
def test_names_of_timm(official_file, tmp_path, case):
    path = tmp_path / "timm.safetensors"
    state = {name: torch.from_numpy(array) for name, array in official_state(case).items()}
    renamed = timm_state(state, CASES[case][2])
    save_file({name: value.contiguous() for name, value in renamed.items()}, path)
    found, expected = (encode(load_dinov2(None, file), NON_SQUARE) for file in (path, official_file(case)))
    torch.testing.assert_close(found.patches, expected.patches, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.cls, expected.cls, atol=1e-5, rtol=0)


def transformers_model(registers, gated, heads=4):
    torch.manual_seed(3)
    settings = {
        "hidden_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": heads,
        "image_size": 6 * PATCH,
        "patch_size": PATCH,
        "use_swiglu_ffn": gated,
        "initializer_range": 0.3,
    }
    if registers:
        return Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**settings)).eval()
    return Dinov2Model(Dinov2Config(**settings)).eval()


@pytest.mark.parametrize("registers", [False, True])
@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("names", ["saved", "in_memory"])
def test_hugging_face_folder(tmp_path, registers, gated, names):
    """`save_pretrained` writes the names of transformers 4; 5 has other ones in memory."""
    model = transformers_model(registers, gated)
    model.save_pretrained(tmp_path)
    if names == "in_memory":
        save_file(model.state_dict(), tmp_path / "model.safetensors")
    encoder = load_dinov2(None, tmp_path)
    # transformers interpolates as the official code does for models with registers only
    grey = torch.rand(2, 1, 3 * PATCH, 5 * PATCH) if registers else torch.rand(2, 1, 6 * PATCH, 6 * PATCH)
    with torch.no_grad():
        tokens = encoder(grey)
        expected = model(grey.expand(-1, 3, -1, -1)).last_hidden_state
    torch.testing.assert_close(tokens.cls, expected[:, 0], atol=1e-4, rtol=0)
    torch.testing.assert_close(
        tokens.patches.flatten(2).transpose(1, 2), expected[:, 1 + 4 * registers :], atol=1e-4, rtol=0
    )


@pytest.mark.parametrize(
    ("key", "value"), [("model_type", "dinov3_vit"), ("hidden_act", "relu"), ("layer_norm_eps", 1e-3)]
)
def test_folder_that_says_something_else(tmp_path, key, value):
    transformers_model(False, False).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {key: value}))
    with pytest.raises(WeightsError, match=f"{key}.*got {value}"):
        load_dinov2(None, tmp_path)


def test_transposed_slices_are_not_transposed_tokens(official_file):
    """Rows are rows: the patch that changes is the one whose pixels change."""
    encoder = load_dinov2(None, official_file("tiny"))
    grey = torch.rand(1, 1, 3 * PATCH, 5 * PATCH)
    changed = grey.clone()
    changed[..., 2 * PATCH :, 4 * PATCH :] = 0
    with torch.no_grad():
        difference = (encoder(grey).patches - encoder(changed).patches).square().sum(1)[0]
    assert divmod(int(difference.argmax()), 5) == (2, 4)


def test_imagenet_normalisation_is_that_of_the_training(official_file):
    path = official_file("tiny")
    grey = torch.from_numpy(slices(NON_SQUARE))
    mean, deviation = (np.array(v) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    encoder = load_dinov2(None, path, normalisation="imagenet")
    colours = (grey.numpy() - mean[:, None, None]) / deviation[:, None, None]
    plain = load_dinov2(None, path)
    weight = plain.model.embeddings.patch_embeddings.projection
    with torch.no_grad():
        expected = weight(torch.from_numpy(colours.astype(np.float32)))
        captured = []
        encoder.model.embeddings.patch_embeddings.projection.register_forward_hook(
            lambda module, arguments, result: captured.append(result)
        )
        encoder(grey)
    torch.testing.assert_close(captured[0], expected, atol=1e-4, rtol=0)
    with pytest.raises(ValueError, match="expected one of"):
        load_dinov2(None, path, normalisation="imagnet")


def test_gradients_reach_the_slices_and_weights_only_on_demand(official_file):
    encoder = load_dinov2(None, official_file("tiny_reg"))
    grey = torch.rand(1, 1, *NON_SQUARE, requires_grad=True)
    encoder(grey).patches.square().mean().backward()
    assert grey.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in encoder.parameters())
    encoder.requires_grad_(True)
    tokens = encoder(grey)
    (tokens.patches.square().mean() + tokens.cls.square().mean()).backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(official_file, dtype):
    path = official_file("tiny_reg")
    exact = encode(load_dinov2(None, path), NON_SQUARE)
    half = load_dinov2(None, path, dtype=dtype)
    assert {parameter.dtype for parameter in half.parameters()} == {dtype}
    tokens = encode(half, NON_SQUARE)
    assert tokens.patches.dtype == dtype
    tolerance = 0.02 if dtype == torch.float16 else 0.15
    torch.testing.assert_close(tokens.patches.float(), exact.patches, atol=tolerance, rtol=0)


def test_autocast(official_file):
    encoder = load_dinov2(None, official_file("tiny"))
    exact = encode(encoder, NON_SQUARE)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        tokens = encode(encoder, NON_SQUARE)
    torch.testing.assert_close(tokens.patches.float(), exact.patches, atol=0.15, rtol=0)


def test_weights_are_float32_even_if_the_file_is_not(official_file):
    path = official_file("tiny", lambda state: {name: value.half() for name, value in state.items()})
    assert {parameter.dtype for parameter in load_dinov2(None, path).parameters()} == {torch.float32}


@pytest.mark.parametrize("shape", [(1, 3, 28, 28), (1, 1, 28, 30), (1, 1, 30, 28), (1, 28, 28)])
def test_slices_that_do_not_fit(official_file, shape):
    with pytest.raises(ValueError, match="multiples of 14"):
        load_dinov2(None, official_file("tiny"))(torch.zeros(shape))


@pytest.fixture
def tiny_variants(monkeypatch):
    variants = {"tiny": Architecture(128, 3, 2), "tiny-reg": Architecture(128, 3, 2, registers=4)}
    monkeypatch.setattr(dinov2, "VARIANTS", variants)


def test_another_variant_than_asked_for(official_file, tiny_variants):
    load_dinov2("tiny-reg", official_file("tiny_reg"))
    with pytest.raises(WeightsError, match="expected tiny-reg; got tiny"):
        load_dinov2("tiny-reg", official_file("tiny"))


def test_missing_unexpected_and_misshapen_tensors_are_listed_together(official_file):
    def damage(state):
        del state["blocks.1.attn.qkv.bias"]
        state["blocks.0.mlp.fc1.weight"] = state["blocks.0.mlp.fc1.weight"][:-1]
        state["norm.bias"][3] = float("nan")
        return state | {"head.weight": torch.zeros(3)}

    with pytest.raises(WeightsError) as caught:
        load_dinov2(None, official_file("tiny", damage))
    message = str(caught.value)
    assert "missing" in message
    for part in (
        "blocks.1.attn.qkv.bias",
        "head.weight",
        "blocks.0.mlp.fc1.weight is (511, 128), not (512, 128)",
        "norm.bias",
    ):
        assert part in message
    assert len(caught.value.faults) == 4


def test_a_lost_last_block_is_noticed(official_file, tiny_variants):
    """The tensors then look like a smaller transformer, which is none of the variants."""

    def cut(state):
        return {name: value for name, value in state.items() if not name.startswith("blocks.2.")}

    with pytest.raises(WeightsError, match=r"expected tiny; got .*depth=2"):
        load_dinov2("tiny", official_file("tiny", cut))


@pytest.mark.parametrize("lost", ["cls_token", "pos_embed", "patch_embed.proj.weight"])
def test_no_dinov2(official_file, lost):
    path = official_file("tiny", lambda state: {name: v for name, v in state.items() if name != lost})
    with pytest.raises(WeightsError, match=f"no DINOv2 checkpoint.*expected {lost}"):
        load_dinov2(None, path)


def test_published_sizes():
    """Parameters, and tensors with the mask token, as counted on the official classes."""
    counts = {
        "vits14": 22_056_576,
        "vits14-reg": 22_058_112,
        "vitb14": 86_580_480,
        "vitb14-reg": 86_583_552,
        "vitl14": 304_368_640,
        "vitl14-reg": 304_372_736,
        "vitg14": 1_136_480_768,
        "vitg14-reg": 1_136_486_912,
    }
    assert list(VARIANTS) == list(counts)
    for variant, count in counts.items():
        with torch.device("meta"):
            model = dinov2._empty_model(VARIANTS[variant])
        mask_token = VARIANTS[variant].width
        assert sum(parameter.numel() for parameter in model.parameters()) + mask_token == count
    assert VARIANTS["vitl14-reg"] == Architecture(
        1024, 24, 16, gated=False, registers=4, grid=37, patch_size=14
    )
