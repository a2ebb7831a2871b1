"""Weights in the container: mounted, baked in, and absent."""

import hashlib
import shutil

import numpy as np
import pytest
import torch
from random_weights import random_vit_small

from regtask import read_field

pytestmark = pytest.mark.container

BAKED_TAG = "dinoreg:test-weights"


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """A folder with random weights, closed to other users as downloads often are, and their digest."""
    folder = tmp_path_factory.mktemp("weights")
    path = folder / "vits14-reg.pth"
    torch.save(random_vit_small(), path)
    path.chmod(0o600)
    return folder, hashlib.sha256(path.read_bytes()).hexdigest()


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
