"""Transforms written here and applied by antspyx and itk-elastix, and theirs applied here.

    pip install 'dinoreg[peers]'

Agreement is asked of images of coordinates: warped linearly, each tells where it was read.
"""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from exchange_fields import GRIDS, SHIFT_LPS, lead, overlapping, rigid, wavy_transform
from scipy.ndimage import gaussian_filter

from dinoreg.desk.exchange.lattice import displacement_on, points_of
from dinoreg.desk.exchange.parts import joined
from dinoreg.desk.exchange.read import read_any_transform
from dinoreg.desk.exchange.write import write_any_transform
from dinoreg.desk.images import to_itk

ANTS, ITK = "antspyx is not installed (extra `peers`)", "itk-elastix is not installed (extra `peers`)"
PEER = Path(__file__).resolve().parents[3] / "reference" / "elastix_peer.py"
PAIRS = [("oblique", "flipped"), ("anisotropic", "oblique"), ("flipped", "anisotropic")]


@pytest.fixture(scope="module")
def ants():
    return pytest.importorskip("ants", reason=ANTS)


def of_ants(ants, values, grid):
    image = to_itk(values, grid)
    made = ants.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
    made.set_spacing(image.GetSpacing())
    made.set_origin(image.GetOrigin())
    made.set_direction(np.reshape(image.GetDirection(), (3, 3)))
    return made


def coordinates(grid):
    return points_of(grid).reshape(*grid.shape, 3)


def assert_read_where_we_do(warped, transform, fixed, moving):
    """(I, J, K, 3) of warped coordinates, against where the transform leads, to 0.01 voxel."""
    expected = coordinates(fixed) + displacement_on(transform, fixed)
    index = moving.ras_to_index(expected.reshape(-1, 3) * (-1, -1, 1)).reshape(expected.shape)
    inside = ((index > 0.5) & (index < np.array(moving.shape) - 1.5)).all(axis=-1)
    assert inside.mean() > 0.3
    apart = np.linalg.norm(warped - expected, axis=-1)[inside]
    assert apart.max() < 0.01 * min(*fixed.spacing_mm, *moving.spacing_mm)


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
@pytest.mark.parametrize("form", ["warp", "warp and affine"])
def test_ants_applies_what_is_written_here(ants, pair, form, tmp_path):
    fixed, moving = overlapping(*pair)
    transform = wavy_transform(fixed)
    write_any_transform(tmp_path / "1Warp.nii.gz", transform)
    files = [str(tmp_path / "1Warp.nii.gz")]
    if form != "warp":
        centre = (-(fixed.affine @ [*(np.array(fixed.shape) / 2), 1])[:3] * (1, 1, -1)).tolist()
        turn = rigid(centre=centre)
        write_any_transform(tmp_path / "0GenericAffine.mat", turn)
        files.append(str(tmp_path / "0GenericAffine.mat"))
        transform = joined([transform, turn])
    grid = of_ants(ants, np.zeros(fixed.shape), fixed)
    warped = [
        ants.apply_transforms(
            grid, of_ants(ants, coordinates(moving)[..., axis], moving), transformlist=files
        ).numpy()
        for axis in range(3)
    ]
    assert_read_where_we_do(np.stack(warped, axis=-1), transform, fixed, moving)


def test_what_ants_finds_is_applied_here(ants, tmp_path):
    fixed, moving = overlapping("oblique", "flipped")
    rng = np.random.default_rng(4)
    at = points_of(fixed).mean(axis=0)
    world = {
        grid: 100
        * np.exp(-(((points_of(grid) - at - shift) / (8, 10, 12)) ** 2).sum(axis=1)).reshape(grid.shape)
        for grid, shift in ((fixed, 0), (moving, SHIFT_LPS))
    }
    scans = [of_ants(ants, world[grid] + rng.normal(0, 0.1, grid.shape), grid) for grid in (fixed, moving)]
    found = ants.registration(
        scans[0], scans[1], "SyN", outprefix=f"{tmp_path}/", reg_iterations=(20, 10), random_seed=1
    )
    transform = joined(
        [read_any_transform(tmp_path / name).transform for name in ("1Warp.nii.gz", "0GenericAffine.mat")]
    )
    warped = [
        ants.apply_transforms(
            scans[0], of_ants(ants, coordinates(moving)[..., axis], moving), found["fwdtransforms"]
        ).numpy()
        for axis in range(3)
    ]
    assert_read_where_we_do(np.stack(warped, axis=-1), transform, fixed, moving)


@pytest.fixture(scope="module")
def elastix(tmp_path_factory):
    """The folder in which itk-elastix has done all its jobs."""
    if importlib.util.find_spec("itk") is None or importlib.util.find_spec("itk.ElastixPython") is None:
        pytest.skip(ITK)
    folder = tmp_path_factory.mktemp("elastix")
    jobs = [["register", "fixed.mha", "moving.mha", ".", "deformationField.nii.gz"]]
    fixed = GRIDS["oblique"]
    noise = gaussian_filter(np.random.default_rng(0).normal(size=fixed.shape), 2) * 1000
    for name, values in (("fixed", noise), ("moving", np.roll(noise, (2, -1, 1), (0, 1, 2)))):
        sitk.WriteImage(to_itk(values.astype(np.float32), fixed), str(folder / f"{name}.mha"))
    for pair in PAIRS:
        grid, moving = overlapping(*pair)
        write_any_transform(folder / f"{pair[0]}.txt", turn_about(grid), fixed=grid)
        for axis in range(3):
            values = coordinates(moving)[..., axis].astype(np.float32)
            sitk.WriteImage(to_itk(values, moving), str(folder / f"{pair[0]}_{axis}.mha"))
            jobs.append(["transformix", f"{pair[0]}.txt", f"{pair[0]}_{axis}.mha", f"{pair[0]}_{axis}.nrrd"])
    write_any_transform(folder / "both.h5", joined([wavy_transform(GRIDS["flipped"]), rigid()]))
    np.save(folder / "points.npy", points_of(GRIDS["flipped"])[::97])
    jobs.append(["points", "both.h5", "points.npy", "led.npy"])
    (folder / "jobs.json").write_text(json.dumps(jobs))
    command = [sys.executable, str(PEER), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def turn_about(grid):
    return rigid(centre=points_of(grid).mean(axis=0).tolist())


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_transformix_applies_what_is_written_here(elastix, pair):
    fixed, moving = overlapping(*pair)
    files = [str(elastix / f"{pair[0]}_{axis}.nrrd") for axis in range(3)]
    warped = [sitk.GetArrayFromImage(sitk.ReadImage(file)).transpose(2, 1, 0) for file in files]
    assert_read_where_we_do(np.stack(warped, axis=-1), turn_about(fixed), fixed, moving)


def test_what_elastix_finds_is_read_here(elastix):
    """Euler and B-spline in a chain, their parameters and their deformation field."""
    image = read_any_transform(elastix / "deformationField.nii.gz")
    vectors = displacement_on(image.transform, GRIDS["oblique"])
    read = read_any_transform(elastix / "TransformParameters.1.txt")
    assert (image.form, read.form) == ("image", "elastix")
    assert np.abs(vectors).max() > 0.2
    np.testing.assert_allclose(displacement_on(read.transform, GRIDS["oblique"]), vectors, atol=1e-4)


def test_itk_reads_the_transform_file(elastix):
    """ITK's own wrapping, not SimpleITK: a composite of a field and a turn."""
    both = joined([wavy_transform(GRIDS["flipped"]), rigid()])
    np.testing.assert_allclose(
        np.load(elastix / "led.npy"), lead(both, np.load(elastix / "points.npy")), atol=1e-6
    )
