"""Weights in the container: mounted, baked in, and absent."""

import hashlib
import json
import shutil

import numpy as np
import pytest
import torch

from regtask import read_field

pytestmark = pytest.mark.container

BAKED_TAG = "dinoreg:test-weights"
WIDTH, DEPTH = 384, 12  # ViT-S/14


def random_vit_small():
    """A state dict with the keys and shapes of dinov2_vits14_reg4_pretrain.pth and random values."""
    generator = torch.Generator().manual_seed(0)

    def values(*shape):
        return torch.randn(shape, generator=generator) * 0.05

    state = {
        "cls_token": values(1, 1, WIDTH),
        "register_tokens": values(1, 4, WIDTH),
        "pos_embed": values(1, 1 + 37 * 37, WIDTH),
        "mask_token": values(1, WIDTH),
        "patch_embed.proj.weight": values(WIDTH, 3, 14, 14),
        "patch_embed.proj.bias": values(WIDTH),
        "norm.weight": 1 + values(WIDTH),
        "norm.bias": values(WIDTH),
    }
    linear = {"attn.qkv": (3, 1), "attn.proj": (1, 1), "mlp.fc1": (4, 1), "mlp.fc2": (1, 4)}
    for block in (f"blocks.{number}." for number in range(DEPTH)):
        for name in ("norm1", "norm2"):
            state |= {f"{block}{name}.weight": 1 + values(WIDTH), f"{block}{name}.bias": values(WIDTH)}
        for name, (out, into) in linear.items():
            state[f"{block}{name}.weight"] = values(out * WIDTH, into * WIDTH)
            state[f"{block}{name}.bias"] = values(out * WIDTH)
        state |= {f"{block}ls1.gamma": 1 + values(WIDTH), f"{block}ls2.gamma": 1 + values(WIDTH)}
    return state


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """A folder with random weights, closed to other users as downloads often are, and their digest."""
    folder = tmp_path_factory.mktemp("weights")
    path = folder / "vits14-reg.pth"
    torch.save(random_vit_small(), path)
    path.chmod(0o600)
    return folder, hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def one_pair(phantom, tmp_path):
    """The phantom's MR-CT pair alone."""
    task = phantom.copied_to(tmp_path / "task")
    content = json.loads(task.description.read_text())
    content["registration_val"] = content["registration_val"][1:]
    task.description.write_text(json.dumps(content))
    return task


@pytest.mark.parametrize("way", ["mounted", "baked"])
def test_dinoreg_cpu_with_random_weights(one_pair, weights, image, build, shut_in, writable, way):
    folder, digest = weights
    mounts = {"/input:ro": one_pair.folder, "/output": writable}
    used = image
    if way == "mounted":
        mounts["/opt/ml/model:ro"] = shutil.copytree(folder, one_pair.folder.with_name("model"))
    else:
        build("--tag", BAKED_TAG, "--weights", str(folder), "--only", "registration")
        used = BAKED_TAG
    options = ("--preset", "dinoreg-cpu", "--set", f"features.encoders.0.sha256={digest}")
    done = shut_in(used, *options, "--on-failure", "raise", mounts=mounts)
    assert done.code == 0, done.err
    field = read_field(writable / one_pair.fields[0])
    assert np.isfinite(field).all()
    assert digest in (writable / "manifest.json").read_text()


def test_without_weights_nothing_else_is_used(one_pair, image, shut_in, writable):
    mounts = {"/input:ro": one_pair.folder, "/output": writable}
    done = shut_in(image, "--preset", "dinoreg-cpu", mounts=mounts)
    assert done.code == 2, done.err
    for way in ("weights fetch", "build.sh --weights", "/opt/ml/model"):
        assert way in done.err
    assert list(writable.glob("disp_*")) == []
