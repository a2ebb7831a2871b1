"""Published outputs of the published weights: runs where both are present."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from dinoreg.encoders.vit import dinov2
from dinoreg.weights.official import official_file
from dinoreg.weights.search import find_weights, locate, search_folders

DATA = Path(__file__).parents[5] / "shared" / "data" / "dinov2_reference"
MEAN, DEVIATION = np.array((0.485, 0.456, 0.406)), np.array((0.229, 0.224, 0.225))

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not DATA.is_dir(), reason="no ../shared/data/dinov2_reference"),
]


def load(variant):
    folders = search_folders()
    if locate(official_file(variant), folders) is None:
        pytest.skip(f"no official weights of {variant} in {', '.join(map(str, folders))}")
    return dinov2.load_dinov2(variant, find_weights(variant).path)


def published(model, image):
    """Values of the one entry of the reference file for a model and an image: cls, then the next tokens."""
    entries = json.loads((DATA / "reference_outputs.json").read_text())["reference_outputs"]
    (entry,) = [e for e in entries if e["model"] == model and e["input"].startswith(image)]
    return np.array(entry["values"])


def centre_crop(image):
    left, top = ((n - 224) // 2 for n in image.size)
    pixels = np.asarray(image.crop((left, top, left + 224, top + 224)), dtype=np.float64) / 255
    return torch.from_numpy(((pixels - MEAN) / DEVIATION).transpose(2, 0, 1)[None].astype(np.float32))


def coco():
    """Shortest edge 256 bicubic, centre crop 224, ImageNet's mean and deviation."""
    image = Image.open(DATA / "000000039769.png").convert("RGB")
    scale = 256 / min(image.size)
    size = tuple(int(n * scale) for n in image.size)
    return centre_crop(image.resize(size, Image.Resampling.BICUBIC))


def encode(encoder, colours):
    with torch.no_grad():
        return encoder.encode_colours(colours, (16, 16))


def test_registers():
    """transformers interpolates the position embedding of this model as the official code does."""
    expected = published("facebook/dinov2-with-registers-base", "same image")
    cls = encode(load("vitb14-reg"), coco()).cls[0]
    np.testing.assert_allclose(cls[:3], expected[0], atol=1e-3)  # the other rows are register tokens


def test_without_registers(monkeypatch):
    """The published values were made with transformers' interpolation, which has no offset."""

    def without_offset(table, shape, *, registers):
        patches = table[:, 1:].reshape(1, 37, 37, -1).permute(0, 3, 1, 2)
        resized = F.interpolate(patches, size=shape, mode="bicubic").flatten(2).transpose(1, 2)
        return torch.cat([table[:, :1], resized], dim=1)

    encoder = load("vitb14")
    official = encode(encoder, coco())
    monkeypatch.setattr(dinov2, "interpolate_position", without_offset)
    tokens = encode(encoder, coco())
    found = np.stack([tokens.cls[0], *tokens.patches[0, :, 0, :2].T])[:, :3]
    np.testing.assert_allclose(found, published("facebook/dinov2-base", "000000039769.png"), atol=1e-3)
    # the offset of the official code is a small thing
    assert F.cosine_similarity(official.cls, tokens.cls) > 0.99


@pytest.mark.parametrize(("row", "name"), [(0, "cat"), (1, "dog")])
def test_cat_and_dog(row, name):
    """All 768 channels of the cls token; who interpolated the position how is not known."""
    expected = np.load(DATA / "vitb14_cat_dog" / "cat_dog_feature.npy", allow_pickle=False)[row]
    colours = centre_crop(Image.open(DATA / "vitb14_cat_dog" / f"{name}.jpg").convert("RGB"))
    found = encode(load("vitb14"), colours).cls[0].numpy()
    cosine = found @ expected / np.linalg.norm(found) / np.linalg.norm(expected)
    assert cosine > 0.99
