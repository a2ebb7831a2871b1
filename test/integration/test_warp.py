"""The verb warp against SimpleITK, and images, labels and landmarks against each other."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from regtask import Grid, read_landmarks, read_volume, write_field, write_landmarks, write_volume

pytestmark = pytest.mark.integration

SHAPE = (20, 26, 34)
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])


def smooth(rng, shape, sigma):
    noise = ndimage.gaussian_filter(rng.standard_normal(shape), sigma)
    return noise / np.abs(noise).max()


@pytest.fixture(scope="module")
def files(tmp_path_factory, oblique):
    """A field on an oblique grid, a moving image and label map on it, and on one of another scan."""
    folder = tmp_path_factory.mktemp("warp")
    rng = np.random.default_rng(2)
    fixed = Grid(SHAPE, oblique)
    # Voxels of the original scan: other size, spacing, angles and origin, over about the same place.
    turn = np.array([[0.96, 0.0, 0.28], [0.0, 1.0, 0.0], [-0.28, 0.0, 0.96]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ oblique[:3, :3] @ np.diag([0.7, 1.3, 0.8])
    middle = oblique[:3, :3] @ (np.array(SHAPE) / 2) + oblique[:3, 3]
    shape = (30, 22, 40)
    affine[:3, 3] = middle - affine[:3, :3] @ (np.array(shape) / 2)
    field = np.stack([mean + 3 * smooth(rng, SHAPE, 4.0) for mean in (3.0, -2.0, 1.5)], axis=-1)
    write_field(folder / "field.nii.gz", field.astype(np.float32), fixed)
    for name, grid in (("same", fixed), ("original", Grid(shape, affine))):
        write_volume(folder / f"{name}.nii.gz", 100 + 50 * smooth(rng, grid.shape, 1.5), grid)
        labels = np.digitize(smooth(rng, grid.shape, 2.0), (-0.3, 0.1, 0.4))
        write_volume(folder / f"{name}_labels.nii.gz", labels, grid, np.uint8)
    return folder


def by_simpleitk(folder, moving, interpolation, background):
    """Resample with SimpleITK, which reads the files itself and works in LPS mm; (I, J, K)."""
    field = nib.load(folder / "field.nii.gz")
    vectors = np.asanyarray(field.dataobj, dtype=np.float64) @ (RAS_TO_LPS @ field.affine[:3, :3]).T
    grid = sitk.ReadImage(folder / "same.nii.gz")
    displacement = sitk.GetImageFromArray(vectors.transpose(2, 1, 0, 3), isVector=True)
    displacement.CopyInformation(grid)
    warped = sitk.Resample(
        sitk.Cast(sitk.ReadImage(folder / f"{moving}.nii.gz"), sitk.sitkFloat64),
        grid,
        sitk.DisplacementFieldTransform(displacement),
        interpolation,
        background,
    )
    return sitk.GetArrayFromImage(warped).transpose(2, 1, 0)


def off_the_border(folder, moving):
    """Where rounding cannot decide whether a position is inside the moving image, or which is nearest."""
    field, image = nib.load(folder / "field.nii.gz"), nib.load(folder / f"{moving}.nii.gz")
    at = np.moveaxis(np.indices(SHAPE), 0, -1) + np.asanyarray(field.dataobj, dtype=np.float64)
    at = nib.affines.apply_affine(np.linalg.inv(image.affine) @ field.affine, at)
    upper = np.array(image.shape) - 0.5
    return (np.minimum(np.abs(at + 0.5), np.abs(at - upper)) > 1e-3).all(-1), np.abs(at % 1 - 0.5).min(
        -1
    ) > 1e-3


@pytest.mark.parametrize("moving", ["same", "original"])
def test_image(files, tmp_path, dinoreg, moving):
    output = tmp_path / "warped.nii.gz"
    done = dinoreg(
        *("warp", "--field", files / "field.nii.gz", "--output", output),
        *("--image", files / f"{moving}.nii.gz"),
    )
    assert done.code == 0, done.err
    warped = nib.load(output)
    np.testing.assert_allclose(warped.affine, nib.load(files / "field.nii.gz").affine, atol=1e-5)
    data = read_volume(files / f"{moving}.nii.gz").data
    expected = by_simpleitk(files, moving, sitk.sitkLinear, float(data.min()))
    sure, _ = off_the_border(files, moving)
    assert sure.mean() > 0.99
    assert 0.02 < (expected == data.min()).mean() < 0.6  # some of it lies outside the moving image
    np.testing.assert_allclose(np.asanyarray(warped.dataobj)[sure], expected[sure], atol=0.02)


@pytest.mark.parametrize("moving", ["same", "original"])
def test_labels(files, tmp_path, dinoreg, moving):
    output = tmp_path / "warped.nii.gz"
    done = dinoreg(
        *("warp", "--field", files / "field.nii.gz", "--output", output),
        *("--labels", files / f"{moving}_labels.nii.gz"),
    )
    assert done.code == 0, done.err
    warped = np.asanyarray(nib.load(output).dataobj)
    assert warped.dtype.kind in "iu"
    expected = by_simpleitk(files, f"{moving}_labels", sitk.sitkNearestNeighbor, 0)
    sure, no_tie = off_the_border(files, moving)
    assert set(np.unique(warped)) == {0, 1, 2, 3}
    np.testing.assert_array_equal(warped[sure & no_tie], expected[sure & no_tie])


def test_landmarks_agree_with_labels(files, tmp_path, dinoreg):
    """A numbered voxel at each warped landmark appears at the landmark when the label map is warped."""
    rng = np.random.default_rng(8)
    points = rng.choice(np.argwhere(np.ones(np.array(SHAPE) - 14)), 12, replace=False) + 7
    write_landmarks(tmp_path / "fixed.csv", points)
    field = ("warp", "--field", files / "field.nii.gz")
    done = dinoreg(*field, "--landmarks", tmp_path / "fixed.csv", "--output", tmp_path / "moving.csv")
    assert done.code == 0, done.err
    moved = read_landmarks(tmp_path / "moving.csv")
    assert np.linalg.norm(moved - points, axis=1).min() > 1
    labels = np.zeros(SHAPE)
    labels[tuple(np.rint(moved).astype(int).T)] = np.arange(1, 13)
    assert len(np.unique(labels)) == 13
    write_volume(tmp_path / "labels.nii.gz", labels, read_volume(files / "same.nii.gz").grid, np.uint8)
    output = tmp_path / "warped.nii.gz"
    assert dinoreg(*field, "--labels", tmp_path / "labels.nii.gz", "--output", output).code == 0
    warped = np.asanyarray(nib.load(output).dataobj)
    np.testing.assert_array_equal(warped[tuple(points.T)], np.arange(1, 13))


def test_landmarks_between_voxels(files, tmp_path, dinoreg):
    points = np.random.default_rng(3).uniform(1, np.array(SHAPE) - 2, (20, 3))
    write_landmarks(tmp_path / "fixed.csv", points)
    done = dinoreg(
        *("warp", "--field", files / "field.nii.gz", "--output", tmp_path / "moving.csv"),
        *("--landmarks", tmp_path / "fixed.csv"),
    )
    assert done.code == 0, done.err
    field = np.asanyarray(nib.load(files / "field.nii.gz").dataobj)
    vectors = [ndimage.map_coordinates(field[..., axis], points.T, order=1) for axis in range(3)]
    np.testing.assert_allclose(
        read_landmarks(tmp_path / "moving.csv"), points + np.transpose(vectors), atol=1e-4
    )


def test_warped_landmarks_of_a_run(tiny, quick_run, tmp_path, dinoreg):
    """The landmarks of the tiny task end where its shift puts them."""
    done = dinoreg(
        *("warp", "--field", quick_run[0] / tiny.fields[0], "--output", tmp_path / "found.csv"),
        *("--landmarks", tiny.folder / "landmarksTr" / f"Tiny_{tiny.pairs[0][0]}.csv"),
    )
    assert done.code == 0, done.err
    truth = read_landmarks(tiny.folder / "landmarksTr" / f"Tiny_{tiny.pairs[0][1]}.csv")
    distance = np.linalg.norm(read_landmarks(tmp_path / "found.csv") - truth, axis=1)
    assert np.median(distance) < 1.5  # 9.1 before


@pytest.mark.parametrize(
    ("what", "name", "words"),
    [
        ("--image", "absent.nii.gz", "cannot read"),
        ("--labels", "same.nii.gz", "values that are not labels"),
        ("--landmarks", "same.nii.gz", "not a text file"),
    ],
)
def test_unusable_input(files, tmp_path, dinoreg, what, name, words):
    output = tmp_path / "warped.nii.gz"
    done = dinoreg("warp", "--field", files / "field.nii.gz", what, files / name, "--output", output)
    assert done.code == 3
    assert words in done.err
    assert name in done.err
    assert not output.exists()


def test_image_is_no_field(files, tmp_path, dinoreg):
    image = files / "same.nii.gz"
    done = dinoreg("warp", "--field", image, "--image", image, "--output", tmp_path / "x.nii.gz")
    assert done.code == 3
    assert "field of wrong rank" in done.err


def test_output_that_cannot_be_written(files, tmp_path, dinoreg):
    arguments = ("warp", "--field", files / "field.nii.gz", "--image", files / "same.nii.gz", "--output")
    for output in (tmp_path / "nowhere" / "x.nii.gz", tmp_path / "x.txt"):
        done = dinoreg(*arguments, output)
        assert done.code == 4
        assert str(output) in done.err
