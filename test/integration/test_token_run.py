"""A task through a token encoder: fields, manifest, basis and pictures."""

import json

import pytest
import torch
import torch.nn.functional as F

from dinoreg.encoders.registry import LoadedEncoder
from dinoreg.encoders.slices.base import SliceEncoder, SliceTokens
from dinoreg.settings.load import load_preset
from dinoreg.task.run_task import RunOptions, run_task
from dinoreg.weights.search import WeightsFile
from regtask.dataset import read_dataset
from regtask.fields import read_field

pytestmark = pytest.mark.integration

OVERRIDES = (
    "features.encoders.0.up_sampling=3.5",
    "features.encoders.0.components=5",
    "adam.0.iterations=3",
    "output.basis=true",
)


class PixelEncoder(SliceEncoder):
    """A token is the 49 means of 2 x 2 pixels of its patch."""

    patch_size, channels = 14, 49

    def forward(self, slices):
        patches = F.pixel_unshuffle(F.avg_pool2d(slices, 2), 7)
        return SliceTokens(patches, patches.mean(dim=(2, 3)))


def test_everything_a_token_encoder_leaves_behind(tiny, tmp_path):
    weights = WeightsFile(tmp_path / "weights.pth", "c" * 64, "custom")
    config = load_preset("dinoreg-cpu", OVERRIDES)
    dataset = read_dataset(tiny.description)
    run_task(
        dataset,
        config,
        RunOptions(tmp_path / "out", pictures=True),
        load=lambda settings, device: LoadedEncoder(PixelEncoder().to(device), weights),
    )
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["weights"]["0"]["sha256"] == "c" * 64
    assert manifest["weights"]["0"]["provenance"] == "custom"
    for pair in dataset.pairs("auto"):
        entry = manifest["pairs"][pair.case_key]
        assert entry["status"] == "ok"
        features, start = entry["stages"][0]["details"], entry["stages"][1]["details"]
        assert features["encoders"][0]["channels"] == 5
        assert 0 < features["encoders"][0]["explained_variance_sum"] <= 1
        assert start["descriptor"] == "cls"
        for name in entry["files"]:
            assert torch.from_numpy(read_field(tmp_path / "out" / name)).isfinite().all()
        stem = f"{pair.fixed_id}_{pair.moving_id}"
        for kind in ("", "_features", "_slices"):
            assert (tmp_path / "out" / "pictures" / f"{stem}{kind}.png").is_file()
        assert (tmp_path / "out" / "basis" / f"{stem}_0.safetensors").is_file()
