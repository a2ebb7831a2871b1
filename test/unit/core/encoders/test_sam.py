"""The encoder against segment-anything (golden file) and against transformers' own model."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from dinov2_reference import digest, slices
from sam_reference import CASES, KEPT, PATCH, colours, official_state
from transformers import SamVisionConfig, SamVisionModel

from dinoreg.encoders.registry import load_encoder
from dinoreg.encoders.vit import sam
from dinoreg.encoders.vit.sam import intensities_of, load_sam
from dinoreg.encoders.vit.sam_keys import SamArchitecture
from dinoreg.errors import WeightsError
from dinoreg.settings.config import Sam

GOLDEN = Path(__file__).parents[3] / "golden" / "sam.npz"
TINY = (8 * PATCH, 8 * PATCH)


@pytest.fixture
def sam_file(tmp_path):
    def write(case="tiny", change=lambda state: state, name="sam_tiny.pth"):
        state = {key: torch.from_numpy(array) for key, array in official_state(case).items()}
        torch.save(change(state), tmp_path / name)
        return tmp_path / name

    yield write
    for path in tmp_path.glob("*.pth"):
        path.unlink()


@pytest.mark.golden
@pytest.mark.parametrize("case", CASES)
def test_embeddings_of_segment_anything(sam_file, case):
    side = CASES[case][2] * PATCH
    batch = slices((side, side))
    batch = batch[:1] if case == "vit_b" else batch
    with np.load(GOLDEN) as golden:
        assert digest(*official_state(case).values()) == golden[f"{case}_digest"], "other weights"
        assert digest(batch) == golden[f"{case}_slices_digest"], "other slices"
        expected = golden[case]
    encoder = load_sam(sam_file(case))
    with torch.no_grad():
        found = encoder(torch.from_numpy(batch))
    assert (encoder.patch_size, encoder.channels) == (PATCH, CASES[case][5])
    assert encoder.model.config._attn_implementation == "sdpa"
    assert (encoder.width, encoder.square_matrices) == (CASES[case][0], 2 * CASES[case][0] // 64)
    kept = found.patches.flatten(2)[..., :: KEPT if case == "vit_b" else 1]
    assert np.abs(expected).mean() > 0.5
    np.testing.assert_allclose(kept, expected, atol=2e-3 if case == "vit_b" else 1e-4)
    torch.testing.assert_close(found.cls, found.patches.mean(dim=(2, 3)))


def test_by_settings(sam_file, monkeypatch):
    """Weights by name from the search folders, their digest for the hash of the configuration."""
    path = sam_file(name="medsam_tiny.pth")
    monkeypatch.setenv("DINOREG_WEIGHTS", str(path.parent))
    loaded = load_encoder(Sam(weights="medsam_tiny.pth"), torch.device("cpu"))
    assert loaded.encoder.intensities == "medsam"
    assert loaded.weights.path == path
    assert loaded.weights.provenance == "custom"
    loaded = load_encoder(Sam(weights="medsam_tiny.pth", intensities="sam"), torch.device("cpu"))
    assert loaded.encoder.intensities == "sam"
    with pytest.raises(WeightsError, match="wrong digest"):
        load_encoder(Sam(weights=str(path), sha256="0" * 64), torch.device("cpu"))


def small_model(grid=6):
    torch.manual_seed(3)
    model = SamVisionModel(
        SamVisionConfig(
            hidden_size=64,
            output_channels=16,
            num_hidden_layers=2,
            num_attention_heads=4,
            image_size=grid * PATCH,
            window_size=4,
            global_attn_indexes=(1,),
            mlp_ratio=2.0,
        )
    )
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


@pytest.mark.parametrize("whole", [False, True])
def test_hugging_face_folder(tmp_path, whole):
    """Of a whole SAM, whose config has the image encoder's inside, only that is read."""
    from safetensors.torch import load_file, save_file

    folder, model = tmp_path / "medsam-tiny", small_model()
    model.save_pretrained(folder)
    if whole:
        tensors = load_file(folder / "model.safetensors")
        save_file(tensors | {"mask_decoder.x": torch.zeros(1)}, folder / "model.safetensors")
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({"model_type": "sam", "vision_config": config}))
    grey = torch.rand(2, 1, 6 * PATCH, 6 * PATCH)
    with torch.no_grad():
        expected = model(grey.expand(-1, 3, -1, -1)).last_hidden_state
        found = load_sam(folder)(grey).patches
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    config = json.loads((folder / "config.json").read_text())
    config.get("vision_config", config)["hidden_act"] = "relu"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match=r"hidden_act.*got relu"):
        load_sam(folder)


@pytest.mark.parametrize("shape", [(3, 5), (10, 7), (1, 1)])
def test_other_sizes(sam_file, shape):
    """Rows are rows: what changes is where the pixels change; and gradients flow."""
    encoder = load_sam(sam_file())
    rows, columns = shape
    grey = torch.rand(1, 1, rows * PATCH, columns * PATCH, requires_grad=True)
    tokens = encoder(grey)
    assert tokens.patches.shape == (1, 32, rows, columns)
    (gradient,) = torch.autograd.grad(tokens.patches.square().mean(), grey)
    assert float(gradient.abs().min(dim=-1).values.max()) > 0
    changed = grey.detach().clone()
    changed[..., -PATCH:, -PATCH:] = 0
    with torch.no_grad():
        difference = (tokens.patches - encoder(changed).patches).square().sum(1)[0]
    row, column = divmod(int(difference.argmax()), columns)
    assert max(rows - 1 - row, columns - 1 - column) <= 1  # the neck mixes neighbours


def test_a_stretched_table_keeps_a_smooth_pattern():
    ramp = torch.linspace(-1, 1, 8).view(1, 8, 1, 1).expand(1, 8, 8, 2)
    found = sam._stretched(ramp, (16, 5))
    assert found.shape == (1, 16, 5, 2)
    assert sam._stretched(ramp, (8, 8)) is ramp
    expected = ((torch.arange(16) + 0.5) / 2 - 0.5) / 3.5 - 1
    # Cubic convolution reproduces a ramp almost; half a patch would be 0.07.
    torch.testing.assert_close(found[0, 3:-3, 2, 0], expected[3:-3], atol=0.02, rtol=0)


def test_intensities_are_those_of_the_checkpoint(sam_file):
    batch = slices(TINY)
    grey = torch.from_numpy(batch)
    for name, expected in (("sam_tiny.pth", colours(batch)), ("medsam_tiny.pth", batch.repeat(3, axis=1))):
        encoder = load_sam(sam_file(name=name))
        np.testing.assert_allclose(encoder._colours(grey), expected, atol=1e-5)
    assert load_sam(sam_file(name="my.pth"), intensities="sam").intensities == "sam"
    assert intensities_of(Path("/x/sam_vit_b_01ec64.pth")) == "sam"
    assert intensities_of(Path("/x/medsam_vit_b.pth")) == "medsam"
    assert intensities_of(Path("sam-vit-base")) == "sam"
    with pytest.raises(WeightsError, match=r"SAM or MedSAM.*intensities ="):
        load_sam(sam_file(name="my.pth"))


def test_the_published_size():
    """ViT-B has 89,670,912 parameters in 177 tensors, as counted on the official classes."""
    architecture = SamArchitecture(768, 12, 12, 3072, 256, 64, 16, 14, (2, 5, 8, 11))
    with torch.device("meta"):
        model = sam._empty_model(architecture)
    parameters = list(model.vision_encoder.parameters())
    assert (len(parameters), sum(p.numel() for p in parameters)) == (177, 89_670_912)


def test_damage_is_listed(sam_file):
    def damage(state):
        del state["image_encoder.blocks.1.attn.qkv.bias"]
        state["image_encoder.blocks.0.mlp.lin2.weight"] = torch.zeros(5, 5)
        state["image_encoder.neck.3.bias"][0] = float("nan")
        return state | {"head.weight": torch.zeros(3)}

    with pytest.raises(WeightsError) as caught:
        load_sam(sam_file(change=damage))
    for part in ("layers.1.attn.qkv.bias", "lin2.weight is (5, 5)", "neck.layer_norm2.bias", "head.weight"):
        assert part in str(caught.value)


@pytest.mark.parametrize("lost", ["image_encoder.pos_embed", "image_encoder."])
def test_no_sam(sam_file, lost):
    path = sam_file(change=lambda state: {n: v for n, v in state.items() if not n.startswith(lost)})
    with pytest.raises(WeightsError, match="no SAM checkpoint"):
        load_sam(path)
