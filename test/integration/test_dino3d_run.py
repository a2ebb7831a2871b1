"""The presets `dino3d` and `dino3d+mind` from files to a written field, by an untrained network."""

import hashlib
import json

import numpy as np
import pytest
from random_dino3d import random_network

from dinoreg.encoders.dino3d.weights import write_dino3d
from regtask.fields import read_field

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    write_dino3d(path, random_network((16,), (1,), 24), {"spacing_mm": 2.0})
    return path


@pytest.mark.parametrize("preset", ["dino3d", "dino3d+mind"])
def test_shifts_are_recovered(dinoreg, tiny, weights, tmp_path, preset):
    output = tmp_path / "fields"
    settings = (f"features.encoders.0.weights={weights}", "adam.0.regularity_weight=0.2", "output.basis=true")
    overrides = [part for setting in settings for part in ("--set", setting)]
    done = dinoreg(
        *("run", "--dataset", tiny.description, "--output", output, "--preset", preset, "--pictures"),
        *overrides,
    )
    assert done.code == 0, done.err
    manifest = json.loads((output / "manifest.json").read_text())
    assert manifest["weights"]["0"]["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert manifest["weights"]["0"]["provenance"] == "custom"
    for case, (fixed, moving), shift in zip(tiny.cases, tiny.pairs, tiny.shifts, strict=True):
        entry = manifest["pairs"][case]
        assert entry["plan"]["frame"]["orientation"] == "LAS"
        (first, *_) = entry["stages"][0]["details"]["encoders"]
        assert (first["name"], first["channels"]) == ("dino3d", 16)
        field = read_field(output / f"disp_{fixed}_{moving}.nii.gz")
        inner = field[8:-8, 8:-8, 8:-8].reshape(-1, 3)
        np.testing.assert_allclose(np.median(inner, axis=0), shift, atol=0.5)
        assert (output / "pictures" / f"{fixed}_{moving}_features.png").is_file()
        assert (output / "basis" / f"{fixed}_{moving}_0.safetensors").is_file()


def test_without_weights_the_run_says_where_they_lie(dinoreg, tiny, tmp_path, monkeypatch):
    from dinoreg.weights import search as weights

    monkeypatch.setattr(weights, "_WITH_PROJECT", (tmp_path,))
    monkeypatch.setenv("DINOREG_WEIGHTS", str(tmp_path))
    done = dinoreg("run", "--dataset", tiny.description, "--output", tmp_path / "out", "--preset", "dino3d")
    assert done.code == 2
    assert "no weights for dino3d" in done.err
    assert "algorithm/weights" in done.err
