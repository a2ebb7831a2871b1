"""The verb warp against SimpleITK, and images, labels and landmarks against each other."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from regtask import Grid, read_landmarks, read_volume, write_field, write_landmarks, write_volume
from regtask.metaimage import write_field_mha
from regtask.physical import voxels_to_lps

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
    write_field(folder / "field.nii.gz", field.astype(np.float32), fixed, fixed)
    write_field(folder / "bare.nii.gz", field.astype(np.float32), fixed)
    write_field_mha(folder / "field.mha", voxels_to_lps(field, fixed, fixed), fixed)
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


def warped_image(dinoreg, tmp_path, field, image, *more, what="--image"):
    output = tmp_path / "warped.nii.gz"
    output.unlink(missing_ok=True)
    done = dinoreg("warp", "--field", field, what, image, "--output", output, *more)
    return done, np.asanyarray(nib.load(output).dataobj) if done.code == 0 else None


def mirrored(path, source, axis):
    """A copy with one axis stored the other way round, and a header that says so."""
    image = nib.load(source)
    mirror = np.eye(4)
    mirror[axis, axis], mirror[axis, 3] = -1, image.shape[axis] - 1
    data = np.flip(np.asanyarray(image.dataobj), axis)
    write_volume(path, data, Grid(image.shape, image.affine @ mirror), data.dtype)
    return path


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("field", ["field.nii.gz", "field.mha"])
def test_a_mirrored_copy_is_read_where_its_header_says(files, tmp_path, dinoreg, axis, field):
    copy = mirrored(tmp_path / "copy.nii.gz", files / "same.nii.gz", axis)
    done, warped = warped_image(dinoreg, tmp_path, files / field, copy)
    assert done.code == 0, done.err
    sure, no_tie = off_the_border(files, "same")
    expected = by_simpleitk(files, "same", sitk.sitkLinear, float(read_volume(copy).data.min()))
    np.testing.assert_allclose(warped[sure], expected[sure], atol=0.02)
    labels = mirrored(tmp_path / "labels.nii.gz", files / "same_labels.nii.gz", axis)
    _, warped = warped_image(dinoreg, tmp_path, files / field, labels, what="--labels")
    expected = by_simpleitk(files, "same_labels", sitk.sitkNearestNeighbor, 0)
    np.testing.assert_array_equal(warped[sure & no_tie], expected[sure & no_tie])


@pytest.mark.parametrize("moving", ["same", "original"])
def test_the_products_own_mha_is_a_field(files, tmp_path, dinoreg, moving):
    voxels, millimetres = (
        warped_image(dinoreg, tmp_path, files / field, files / f"{moving}.nii.gz")[1]
        for field in ("field.nii.gz", "field.mha")
    )
    sure, _ = off_the_border(files, moving)
    np.testing.assert_allclose(millimetres[sure], voxels[sure], atol=0.02)
    done, _ = warped_image(dinoreg, tmp_path, files / "field.mha", files / "same.nii.gz", "--learn2reg")
    assert done.code == 2
    assert "leave out --learn2reg" in done.err


def test_an_mha_image_is_read_like_a_nifti_one(files, tmp_path, dinoreg):
    for name in ("original", "original_labels"):
        sitk.WriteImage(sitk.ReadImage(files / f"{name}.nii.gz"), tmp_path / f"{name}.mha", True)
    field = files / "field.nii.gz"
    pairs = [("--image", "original"), ("--labels", "original_labels")]
    for what, name in pairs:
        found, expected = (
            warped_image(dinoreg, tmp_path, field, folder / f"{name}{suffix}", what=what)[1]
            for folder, suffix in ((tmp_path, ".mha"), (files, ".nii.gz"))
        )
        assert found.dtype == expected.dtype
        assert np.mean(np.abs(found.astype(float) - expected) > 0.02) < 1e-3


@pytest.mark.parametrize("moving", ["same", "original"])
def test_a_field_without_a_note_needs_the_registered_image(files, tmp_path, dinoreg, moving):
    image, bare = files / f"{moving}.nii.gz", files / "bare.nii.gz"
    done, _ = warped_image(dinoreg, tmp_path, bare, image)
    assert done.code == 2
    assert "does not say where its moving image lay" in done.err
    assert "--moving IMAGE" in done.err
    assert "--learn2reg" in done.err
    assert not (tmp_path / "warped.nii.gz").exists()
    done, warped = warped_image(dinoreg, tmp_path, bare, image, "--moving", files / "same.nii.gz")
    assert done.code == 0, done.err
    expected = warped_image(dinoreg, tmp_path, files / "field.nii.gz", image)[1]
    sure, _ = off_the_border(files, moving)
    np.testing.assert_allclose(warped[sure], expected[sure], atol=1e-3)


@pytest.mark.parametrize("how", ["note", "--moving"])
def test_the_registered_image_may_lie_elsewhere_than_the_fixed_one(files, tmp_path, dinoreg, how):
    """A pair of one shape whose scans lie apart: the field joins their voxels, the note their places."""
    image = read_volume(files / "same.nii.gz")
    affine = np.diag([1.4, 0.9, 2.1, 1.0]) @ image.grid.affine
    affine[:3, 3] += (30.0, -50.0, 70.0)
    elsewhere = Grid(SHAPE, affine)
    write_volume(tmp_path / "elsewhere.nii.gz", image.data, elsewhere)
    field = nib.load(files / "field.nii.gz").get_fdata()
    write_field(tmp_path / "field.nii.gz", field, image.grid, elsewhere if how == "note" else None)
    more = () if how == "note" else ("--moving", tmp_path / "elsewhere.nii.gz")
    expected = warped_image(dinoreg, tmp_path, files / "field.nii.gz", files / "same.nii.gz")[1]
    sure, _ = off_the_border(files, "same")
    for name in ("elsewhere", "mirrored"):
        path = tmp_path / f"{name}.nii.gz"
        if name == "mirrored":
            mirrored(path, tmp_path / "elsewhere.nii.gz", 1)
        done, warped = warped_image(dinoreg, tmp_path, tmp_path / "field.nii.gz", path, *more)
        assert done.code == 0, done.err
        np.testing.assert_allclose(warped[sure], expected[sure], atol=0.02)
    voxels = np.array([[3.0, 4.0, 5.0], [11.5, 17.25, 20.0]])
    moved = warped_points(dinoreg, tmp_path, tmp_path / "field.nii.gz", voxels, "--space", "voxel")[1]
    given = image.grid.index_to_ras(voxels)
    found = warped_points(dinoreg, tmp_path, tmp_path / "field.nii.gz", given, "--space", "ras", *more)[1]
    np.testing.assert_allclose(found, elsewhere.index_to_ras(moved), atol=1e-3)


def test_learn2reg_joins_voxels_and_says_so(files, tmp_path, dinoreg):
    copy = tmp_path / "elsewhere.nii.gz"
    write_volume(copy, read_volume(files / "same.nii.gz").data, Grid(SHAPE, np.diag([2.0, 3.0, 1.0, 1.0])))
    expected = warped_image(dinoreg, tmp_path, files / "field.nii.gz", files / "same.nii.gz")[1]
    for field in ("bare", "field"):
        done, warped = warped_image(dinoreg, tmp_path, files / f"{field}.nii.gz", copy, "--learn2reg")
        assert done.code == 0, done.err
        assert "header is ignored" in done.err
        sure, _ = off_the_border(files, "same")
        np.testing.assert_allclose(warped[sure], expected[sure], atol=1e-3)
    other = files / "original.nii.gz"
    done, _ = warped_image(dinoreg, tmp_path, files / "bare.nii.gz", other, "--learn2reg")
    assert done.code == 3
    assert "another shape" in done.err


def test_moving_that_contradicts_the_note(files, tmp_path, dinoreg):
    image, other = files / "same.nii.gz", files / "original.nii.gz"
    done, _ = warped_image(dinoreg, tmp_path, files / "field.nii.gz", image, "--moving", other)
    assert done.code == 2
    assert "leave --moving out" in done.err


def test_an_image_that_the_field_does_not_reach(files, tmp_path, dinoreg):
    far = np.eye(4)
    far[:3, 3] = 4000
    write_volume(tmp_path / "far.nii.gz", read_volume(files / "same.nii.gz").data, Grid(SHAPE, far))
    done, _ = warped_image(dinoreg, tmp_path, files / "field.nii.gz", tmp_path / "far.nii.gz")
    assert done.code == 3
    assert "leads to no voxel" in done.err
    assert not (tmp_path / "warped.nii.gz").exists()


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "i4", "u4", "i8", "f4", ">i2"])
def test_labels_keep_their_type(files, tmp_path, dinoreg, dtype):
    source = nib.load(files / "same_labels.nii.gz")
    header = nib.Nifti1Header(endianness=">" if dtype[0] == ">" else "<")
    header.set_data_dtype(dtype)
    labels = np.asanyarray(source.dataobj).astype(dtype)
    nib.Nifti1Image(labels, source.affine, header, dtype=np.dtype(dtype)).to_filename(tmp_path / "l.nii")
    done, warped = warped_image(
        dinoreg, tmp_path, files / "field.nii.gz", tmp_path / "l.nii", what="--labels"
    )
    assert done.code == 0, done.err
    assert warped.dtype == np.dtype(dtype).newbyteorder("=")
    assert set(np.unique(warped)) == {0, 1, 2, 3}


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4"])
def test_images_keep_their_type_unless_told_otherwise(files, tmp_path, dinoreg, dtype):
    image = read_volume(files / "same.nii.gz")
    write_volume(tmp_path / "i.nii.gz", np.rint(image.data), image.grid, dtype)
    field = files / "field.nii.gz"
    exact = warped_image(dinoreg, tmp_path, field, tmp_path / "i.nii.gz", "--dtype", "float32")[1]
    kept = warped_image(dinoreg, tmp_path, field, tmp_path / "i.nii.gz")[1]
    assert exact.dtype == np.float32
    assert kept.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(kept, exact if dtype == "f4" else np.rint(exact))
    if dtype != "f4":
        assert (exact != np.rint(exact)).any()


def test_scaled_voxels_become_float32(files, tmp_path, dinoreg):
    source = nib.load(files / "same.nii.gz")
    scaled = nib.Nifti1Image(np.rint(source.get_fdata()).astype(np.int16), source.affine)
    scaled.header.set_slope_inter(0.25, -3)
    scaled.to_filename(tmp_path / "s.nii.gz")
    assert nib.load(tmp_path / "s.nii.gz").dataobj.slope == 0.25
    done, warped = warped_image(dinoreg, tmp_path, files / "field.nii.gz", tmp_path / "s.nii.gz")
    assert done.code == 0, done.err
    assert warped.dtype == np.float32


def test_dtype_is_for_images(files, tmp_path, dinoreg):
    labels, more = files / "same_labels.nii.gz", ("--dtype", "float32")
    done, _ = warped_image(dinoreg, tmp_path, files / "field.nii.gz", labels, *more, what="--labels")
    assert done.code == 2
    assert "--dtype" in done.err


def warped_points(dinoreg, tmp_path, field, points, *more):
    write_landmarks(tmp_path / "fixed.csv", points)
    output = tmp_path / "moving.csv"
    output.unlink(missing_ok=True)
    done = dinoreg("warp", "--field", field, "--landmarks", tmp_path / "fixed.csv", "--output", output, *more)
    return done, read_landmarks(output) if done.code == 0 else None


def in_space(folder, voxels, space):
    """Voxels of the fixed image in LPS or RAS mm, by SimpleITK."""
    image = sitk.ReadImage(folder / "same.nii.gz")
    lps = [image.TransformContinuousIndexToPhysicalPoint(voxel) for voxel in voxels.tolist()]
    return np.array(lps) * ((1, 1, 1) if space == "lps" else (-1, -1, 1))


@pytest.mark.parametrize("space", ["lps", "ras"])
@pytest.mark.parametrize("field", ["field.nii.gz", "field.mha"])
def test_landmarks_in_millimetres(files, tmp_path, dinoreg, field, space):
    voxels = np.random.default_rng(3).uniform(1, np.array(SHAPE) - 2, (20, 3))
    by_voxels = warped_points(dinoreg, tmp_path, files / "field.nii.gz", voxels, "--space", "voxel")[1]
    points = in_space(files, voxels, space)
    done, found = warped_points(dinoreg, tmp_path, files / field, points, "--space", space)
    assert done.code == 0, done.err
    np.testing.assert_allclose(found, in_space(files, by_voxels, space), atol=1e-3)


def test_the_space_of_landmarks_has_to_be_said(files, tmp_path, dinoreg):
    done, _ = warped_points(dinoreg, tmp_path, files / "field.nii.gz", [[3.0, 4.0, 5.0]])
    assert done.code == 2
    assert "--space voxel" in done.err
    done, _ = warped_image(dinoreg, tmp_path, files / "field.nii.gz", files / "same.nii.gz", "--space", "lps")
    assert done.code == 2


def test_millimetres_taken_for_voxels_are_refused(files, tmp_path, dinoreg):
    points = in_space(files, np.random.default_rng(3).uniform(1, np.array(SHAPE) - 2, (20, 3)), "lps")
    done, _ = warped_points(dinoreg, tmp_path, files / "field.nii.gz", points, "--space", "voxel")
    assert done.code == 3
    assert "landmarks outside the fixed image" in done.err
    assert "point 1 at " + ", ".join(f"{x:.6g}" for x in np.round(points[0], 6)) in done.err
    assert "they would fit --space lps" in done.err
    assert not (tmp_path / "moving.csv").exists()


@pytest.mark.parametrize(("beyond", "code"), [(0.9, 0), (1.1, 3)])
def test_landmarks_may_lie_a_voxel_beyond_the_edge(files, tmp_path, dinoreg, beyond, code):
    points = [[SHAPE[0] - 0.5 + beyond, 4.0, -0.5 - beyond], [3.0, 4.0, 5.0]]
    done, _ = warped_points(dinoreg, tmp_path, files / "field.nii.gz", points, "--space", "voxel")
    assert done.code == code
    if code:
        assert "1 of 2 outside, the first: point 1" in done.err


def test_landmarks_in_voxels_need_no_place_of_the_moving_image(files, tmp_path, dinoreg):
    points = np.array([[3.0, 4.0, 5.0]])
    noted = warped_points(dinoreg, tmp_path, files / "field.nii.gz", points, "--space", "voxel")[1]
    field = nib.load(files / "bare.nii.gz").get_fdata()
    np.savez(tmp_path / "field.npz", field)
    for path in (files / "bare.nii.gz", tmp_path / "field.npz"):
        found = warped_points(dinoreg, tmp_path, path, points, "--space", "voxel")[1]
        np.testing.assert_array_equal(found, noted)
    done, _ = warped_points(dinoreg, tmp_path, files / "bare.nii.gz", points, "--space", "lps")
    assert done.code == 2
    assert "--moving IMAGE" in done.err
    more = ("--space", "ras", "--learn2reg")
    assert warped_points(dinoreg, tmp_path, files / "field.nii.gz", points, *more)[0].code == 2
    done, _ = warped_points(dinoreg, tmp_path, files / "field.mha", points, "--space", "voxel")
    assert done.code == 2
    assert "name the moving image with --moving" in done.err
    more = ("--space", "voxel", "--moving", files / "same.nii.gz")
    found = warped_points(dinoreg, tmp_path, files / "field.mha", points, *more)[1]
    np.testing.assert_allclose(found, noted, atol=1e-3)


def test_landmarks_agree_with_labels(files, tmp_path, dinoreg):
    """A numbered voxel at each warped landmark appears at the landmark when the label map is warped."""
    rng = np.random.default_rng(8)
    points = rng.choice(np.argwhere(np.ones(np.array(SHAPE) - 14)), 12, replace=False) + 7
    write_landmarks(tmp_path / "fixed.csv", points)
    field = ("warp", "--field", files / "field.nii.gz")
    done = dinoreg(
        *field, "--space", "voxel", "--landmarks", tmp_path / "fixed.csv", "--output", tmp_path / "moving.csv"
    )
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
        *("--space", "voxel", "--landmarks", tmp_path / "fixed.csv"),
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
        *("--space", "voxel", "--landmarks", tiny.folder / "landmarksTr" / f"Tiny_{tiny.pairs[0][0]}.csv"),
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
    space = ("--space", "voxel") if what == "--landmarks" else ()
    done = dinoreg("warp", "--field", files / "field.nii.gz", what, files / name, "--output", output, *space)
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
