"""Every live contract, by test.sh with the platform's own flags: the fields are those of the plain run."""

import json
import os
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from regtask import read_dataset, read_field, read_header
from regtask.names import field_names

pytestmark = pytest.mark.container

ROOT = Path(__file__).resolve().parents[2]
# Without a foreground: not every platform gives masks, and Learn2Reg 2026 says CT of every image.
OPTIONS = ("--preset", "convexadam", "--set", "preprocess.foreground=none")
SECONDS = 900


@pytest.fixture(scope="session")
def plain_run(phantom, run_image):
    """The phantom as a task in /input."""
    return run_image(phantom.folder, *OPTIONS)


@pytest.fixture
def as_platform(evaluation_image, phantom, tmp_path):
    """Call test.sh for a platform; returns the folder of its output."""

    def call(platform, tag):
        tags = {"TAG": tag, "EVALUATION_TAG": evaluation_image}
        environment = os.environ | tags | {"OUTPUT": str(tmp_path), "TASK": str(phantom.folder)}
        done = subprocess.run(
            [str(ROOT / "test.sh"), "--platform", platform, *OPTIONS],
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return tmp_path, done.stdout + done.stderr

    return call


def voxels(path, grid):
    """A field of Grand Challenge's in voxels of its grid."""
    lps = sitk.GetArrayFromImage(sitk.ReadImage(path)).transpose(3, 2, 1, 0)
    return (lps * (-1, -1, 1)) @ np.linalg.inv(grid.affine[:3, :3]).T


def assert_same_as_jobs(output, phantom, plain_run):
    for number, name in enumerate(phantom.fields, start=1):
        grid = read_header(phantom.folder / "imagesTr" / f"Phantom_{name[5:14]}.nii.gz").grid
        field = output / f"job-{number}/output/images/displacement-field/displacement-field.mha"
        plain = read_field(plain_run.output / name)
        np.testing.assert_allclose(voxels(field, grid), plain, atol=1e-3)
        report = json.loads(field.parents[2].joinpath("registration-report.json").read_text())
        assert report["pairs"]["job"]["status"] == "ok"


def test_grand_challenge_exec(as_platform, image, phantom, plain_run):
    output, said = as_platform("gc", image)
    assert "exec mode" in said
    assert_same_as_jobs(output, phantom, plain_run)


@pytest.fixture(scope="session")
def invoke_image(image, docker, tmp_path_factory):
    """The image with what `build.sh --api invoke` adds: a variable and a label."""
    folder = tmp_path_factory.mktemp("invoke")
    label = 'LABEL org.grand-challenge.api-method="invoke"'
    (folder / "Dockerfile").write_text(f"FROM {image}\nENV DINOREG_API=invoke\n{label}\n")
    tag = "dinoreg:test-invoke"
    built = docker("build", "--tag", tag, str(folder))
    assert built.code == 0, built.err
    yield tag
    docker("image", "rm", "--force", tag)


def test_grand_challenge_invoke(as_platform, invoke_image, phantom, plain_run):
    output, said = as_platform("gc", invoke_image)
    assert "invoke mode" in said
    assert said.count("listening on port 4743") >= 1
    assert_same_as_jobs(output, phantom, plain_run)


def test_oncoreg(as_platform, image, phantom, plain_run):
    output, said = as_platform("oncoreg", image)
    assert "nothing is trained" in said
    for name in phantom.fields:
        np.testing.assert_array_equal(read_field(output / name), read_field(plain_run.output / name))


def test_learn2reg_2026(as_platform, image, phantom, plain_run):
    output, _ = as_platform("l2r2026", image)
    assert sorted(path.name for path in output.iterdir()) == sorted(phantom.fields)
    for name in phantom.fields:
        stored, plain = nib.load(output / name), read_field(plain_run.output / name)
        assert stored.get_data_dtype() == np.float32
        np.testing.assert_array_equal(np.asarray(stored.dataobj), np.moveaxis(plain, -1, 0))


def test_lumir(as_platform, image, phantom, plain_run):
    output, _ = as_platform("lumir", image)
    pairs = read_dataset(phantom.description).pairs("auto")
    names = [field_names(pair.fixed_id, pair.moving_id, "2024")[0] for pair in pairs]
    assert names != phantom.fields
    assert sorted(path.name for path in output.glob("disp_*")) == sorted(names)
    for ours, plain in zip(names, phantom.fields, strict=True):
        np.testing.assert_array_equal(read_field(output / ours), read_field(plain_run.output / plain))


def test_the_image_has_no_label_but_by_option(docker, image):
    labels = json.loads(docker("image", "inspect", "--format", "{{json .Config.Labels}}", image).out)
    assert "org.grand-challenge.api-method" not in labels


def test_a_verb_of_the_image_explains_itself(docker, image):
    done = docker("run", "--rm", "--network", "none", image, "warp", "--help")
    assert done.code == 0
    assert done.out.startswith("usage: dinoreg warp")


def test_everything_in_an_image_is_listed(image, evaluation_image, tmp_path):
    done = subprocess.run(
        [str(ROOT / "locks/sbom.sh"), str(tmp_path), image, evaluation_image],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr  # 1: something is known against a package
    lists = sorted(tmp_path.glob("*.cdx.json"))
    assert len(lists) == 2
    for path in lists:
        content = json.loads(path.read_text())
        urls = {one["purl"] for one in content["components"]}
        assert content["bomFormat"] == "CycloneDX"
        assert len(urls) == len(content["components"])
        assert any(url.startswith("pkg:deb/debian/libc6@") for url in urls)
        locked = ROOT / f"locks/{'evaluation' if 'regeval' in path.name else 'registration'}.txt"
        for line in locked.read_text().splitlines()[1:]:
            name, version = line.split()[0].split("==")
            assert f"pkg:pypi/{name}@{version}" in urls
