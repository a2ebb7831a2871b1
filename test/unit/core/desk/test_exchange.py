"""Transforms written in one form and read in another lead to the same places."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from exchange_fields import GRIDS, SHIFT_LPS, assert_same, inner_points, lead, rigid, wavy, wavy_transform

from dinoreg.desk.exchange.displacement_image import read_displacement_image, write_displacement_image
from dinoreg.desk.exchange.elastix import read_elastix
from dinoreg.desk.exchange.lattice import coarse_grid, displacement_on, field_transform
from dinoreg.desk.exchange.parts import defined_on, joined, only_field, parts
from dinoreg.desk.exchange.read import read_any_transform
from dinoreg.desk.exchange.write import write_any_transform
from dinoreg.errors import ConfigError
from regtask.errors import DataError
from regtask.fields import write_field
from regtask.physical import lps_to_voxels

OBLIQUE, FLIPPED = GRIDS["oblique"], GRIDS["flipped"]
FIELDS = ("t.h5", "t.tfm", "t.nii.gz", "t.nii", "t.nrrd", "t.mha", "t.npz")


def itk_reads(path):
    """The transform as SimpleITK alone has it."""
    if path.suffix in (".h5", ".tfm", ".mat"):
        return sitk.ReadTransform(str(path))
    return sitk.DisplacementFieldTransform(sitk.ReadImage(str(path), sitk.sitkVectorFloat64))


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_a_field_comes_back(name, grid, tmp_path):
    original = wavy_transform(grid)
    error = write_any_transform(tmp_path / name, original, moving=FLIPPED)
    assert error is None
    read = read_any_transform(tmp_path / name, fixed=grid, moving=FLIPPED)
    assert_same(read.transform, original, grid)
    if name != "t.npz":
        assert_same(itk_reads(tmp_path / name), original, grid)


@pytest.mark.parametrize("name", ["t.h5", "t.tfm", "t.txt", "t.mat"])
def test_a_linear_transform_comes_back(name, tmp_path):
    original = rigid()
    write_any_transform(tmp_path / name, original, fixed=OBLIQUE)
    assert_same(read_any_transform(tmp_path / name).transform, original, OBLIQUE, voxels=1e-6)


def test_a_learn2reg_field_knows_its_grids(tmp_path):
    """Voxels of one oblique grid to voxels of a flipped one."""
    voxels = lps_to_voxels(wavy(OBLIQUE), OBLIQUE, FLIPPED)
    write_field(tmp_path / "noted.nii.gz", voxels, OBLIQUE, FLIPPED)
    write_field(tmp_path / "bare.nii.gz", voxels, OBLIQUE)
    noted = read_any_transform(tmp_path / "noted.nii.gz").transform
    assert_same(noted, wavy_transform(OBLIQUE), OBLIQUE)
    assert_same(read_any_transform(tmp_path / "bare.nii.gz", moving=FLIPPED).transform, noted, OBLIQUE)
    with pytest.raises(ConfigError, match="--moving"):
        read_any_transform(tmp_path / "bare.nii.gz")
    with pytest.raises(DataError, match="not the one that the field notes"):
        read_any_transform(tmp_path / "noted.nii.gz", moving=OBLIQUE)
    with pytest.raises(DataError, match="the fixed image is not that of the field"):
        read_any_transform(tmp_path / "noted.nii.gz", fixed=FLIPPED)


def test_vectors_of_intent_1006_are_ras(tmp_path):
    """As ITK takes them: its reader is the reference."""
    vectors = wavy(FLIPPED)
    image = nib.Nifti1Image(vectors[:, :, :, None, :], FLIPPED.affine)
    image.header["intent_code"] = 1006
    nib.save(image, tmp_path / "t.nii.gz")
    read, _ = read_displacement_image(tmp_path / "t.nii.gz")
    theirs = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "t.nii.gz"))).transpose(2, 1, 0, 3)
    np.testing.assert_allclose(read, theirs)
    np.testing.assert_allclose(read, vectors * (-1, -1, 1))


def test_vectors_stored_as_integers_with_a_slope(tmp_path):
    """SimpleITK 2.5.7 writes past its memory on this file."""
    vectors = wavy(FLIPPED)
    image = nib.Nifti1Image(np.round(vectors / 1e-3).astype(np.int16)[:, :, :, None, :], FLIPPED.affine)
    image.header["intent_code"] = 1007
    nib.save(image, tmp_path / "t.nii")
    raw = bytearray((tmp_path / "t.nii").read_bytes())
    raw[112:120] = np.array([1e-3, 0.0], "<f4").tobytes()
    (tmp_path / "t.nii").write_bytes(raw)
    np.testing.assert_allclose(read_displacement_image(tmp_path / "t.nii")[0], vectors, atol=6e-4)


@pytest.mark.parametrize("intent", [0, 1005])
def test_vectors_without_a_meaning_are_refused(intent, tmp_path):
    image = nib.Nifti1Image(wavy(FLIPPED)[:, :, :, None, :], FLIPPED.affine)
    image.header["intent_code"] = intent
    nib.save(image, tmp_path / "t.nii.gz")
    with pytest.raises(DataError, match="what the vectors mean"):
        read_any_transform(tmp_path / "t.nii.gz")


def test_a_bspline_goes_to_elastix_and_back(tmp_path):
    spline = sitk.BSplineTransformInitializer(sitk.Image([18, 20, 14], sitk.sitkUInt8), [3, 4, 5], order=3)
    fixed = list(spline.GetFixedParameters())
    turned = np.reshape(OBLIQUE.affine[:3, :3] / OBLIQUE.spacing_mm, (3, 3)).ravel().tolist()
    spline.SetFixedParameters([*fixed[:9], *turned])
    rng = np.random.default_rng(2)
    spline.SetParameters(rng.normal(0, 2, spline.GetNumberOfParameters()).tolist())
    write_any_transform(tmp_path / "t.txt", spline, fixed=OBLIQUE)
    read = read_elastix(tmp_path / "t.txt")
    points = rng.uniform(2, 10, (40, 3)) @ np.reshape(turned, (3, 3)).T
    assert np.abs(lead(spline, points) - points).max() > 1
    np.testing.assert_allclose(lead(read, points), lead(spline, points), atol=1e-9)
    # The same grid counted from another index: along its own axes, not those of the scanner.
    origin, spacing = np.array(fixed[3:6]), np.array(fixed[6:9])
    moved = origin - np.reshape(turned, (3, 3)) @ (spacing * (1, -2, 3))
    text = (tmp_path / "t.txt").read_text().replace("(GridIndex 0 0 0)", "(GridIndex 1 -2 3)")
    old = next(line for line in text.splitlines() if line.startswith("(GridOrigin"))
    (tmp_path / "t.txt").write_text(text.replace(old, f"(GridOrigin {moved[0]} {moved[1]} {moved[2]})"))
    np.testing.assert_allclose(
        lead(read_elastix(tmp_path / "t.txt"), points), lead(spline, points), atol=1e-9
    )


def test_a_chain_of_elastix_applies_the_initial_transform_first(tmp_path):
    first, second = rigid(), rigid((0, 0, 30), (1, 2, 3))
    write_any_transform(tmp_path / "T.0.txt", first, fixed=OBLIQUE)
    write_any_transform(tmp_path / "T.1.txt", second, fixed=OBLIQUE)
    text = (tmp_path / "T.1.txt").read_text()
    (tmp_path / "T.1.txt").write_text(text.replace("NoInitialTransform", "/elsewhere/T.0.txt"))
    points = inner_points(OBLIQUE)
    read = read_any_transform(tmp_path / "T.1.txt")
    assert read.form == "elastix"
    np.testing.assert_allclose(lead(read.transform, points), lead(second, lead(first, points)), atol=1e-6)
    (tmp_path / "T.1.txt").write_text(text.replace("NoInitialTransform", "T.1.txt"))
    with pytest.raises(DataError, match="without end"):
        read_elastix(tmp_path / "T.1.txt")


def test_composites_keep_their_order(tmp_path):
    turn, warp = rigid(), wavy_transform(OBLIQUE)
    both = joined([warp, turn])
    points = inner_points(OBLIQUE)
    np.testing.assert_allclose(lead(both, points), lead(turn, lead(warp, points)), atol=1e-9)
    assert [part.GetName() for part in parts(both)] == ["DisplacementFieldTransform", "Euler3DTransform"]
    write_any_transform(tmp_path / "t.h5", both)
    np.testing.assert_allclose(lead(itk_reads(tmp_path / "t.h5"), points), lead(both, points), atol=1e-6)


def test_one_field_of_a_composite_says_its_error(tmp_path):
    """On another lattice than the field's it is an interpolation; the error said is the largest there is."""
    both = joined([wavy_transform(OBLIQUE), rigid()])
    error = write_any_transform(tmp_path / "t.nii.gz", both, fixed=FLIPPED_OVER_OBLIQUE)
    stored = read_any_transform(tmp_path / "t.nii.gz").transform
    points = inner_points(FLIPPED_OVER_OBLIQUE, 300)
    apart = np.linalg.norm(lead(stored, points) - lead(both, points), axis=1)
    assert 0.2 * error.largest_mm < apart.max() < 1.5 * error.largest_mm
    assert error.most_mm <= error.largest_mm
    with pytest.raises(ConfigError, match="--fixed"):
        write_any_transform(tmp_path / "u.nii.gz", both)


FLIPPED_OVER_OBLIQUE = type(OBLIQUE)(
    (9, 10, 8),
    OBLIQUE.affine @ np.array([[-1.1, 0, 0, 14], [0, 1.2, 0, 3], [0, 0, 0.9, 3], [0, 0, 0, 1.0]]),
)


@pytest.mark.parametrize("stride", [2, 3])
@pytest.mark.parametrize("name", ["t.h5", "t.nii.gz"])
def test_a_coarse_lattice_says_its_error(stride, name, tmp_path):
    original = wavy_transform(OBLIQUE)
    error = write_any_transform(tmp_path / name, original, stride=stride)
    read = read_any_transform(tmp_path / name).transform
    apart = np.linalg.norm(displacement_on(read, OBLIQUE) - displacement_on(original, OBLIQUE), axis=-1)
    assert apart.max() == pytest.approx(error.largest_mm, rel=1e-3)
    assert 1e-4 < error.largest_mm < 0.1 * stride**2
    lattice = only_field(read)
    assert lattice.matches(coarse_grid(OBLIQUE, stride))
    assert defined_on(read, OBLIQUE).all()  # it reaches over the edge: outside, ITK moves nothing


def test_a_field_at_half_precision_says_its_error(tmp_path):
    original = wavy_transform(OBLIQUE)
    error = write_any_transform(tmp_path / "t.npz", original, moving=OBLIQUE, precision="float16")
    with np.load(tmp_path / "t.npz") as archive:
        assert archive["displacement"].dtype == np.float16
    read = read_any_transform(tmp_path / "t.npz", fixed=OBLIQUE, moving=OBLIQUE).transform
    apart = np.linalg.norm(displacement_on(read, OBLIQUE) - wavy(OBLIQUE), axis=-1).max()
    assert apart == pytest.approx(error.largest_mm, rel=1e-3)
    assert 1e-5 < apart < 0.01


def test_where_a_transform_holds():
    half = type(OBLIQUE)((9, 20, 14), OBLIQUE.affine)
    holds = defined_on(wavy_transform(half), OBLIQUE)
    assert holds[:9].all()
    assert not holds[9:].any()
    # Moved out of the lattice before it gets there.
    along = OBLIQUE.affine[:3, 0] * (-1, -1, 1) * 9
    shift = sitk.TranslationTransform(3, along.tolist())
    assert not defined_on(joined([shift, wavy_transform(half)]), OBLIQUE)[1:].any()


def test_a_displacement_image_of_grand_challenge(tmp_path):
    from regtask.metaimage import write_field_mha

    write_field_mha(tmp_path / "t.mha", wavy(FLIPPED), FLIPPED)
    assert_same(read_any_transform(tmp_path / "t.mha").transform, wavy_transform(FLIPPED), FLIPPED)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.h5", b"no transform", "not a transform that ITK reads"),
        ("t.xyz", b"", "unknown form"),
        ("t.txt", b'(Transform "SplineKernelTransform")\n', "-def all"),
        ("t.txt", b'(Transform "EulerTransform")\n(TransformParameters 1 2)\n', "not usable"),
        ("t.txt", b'(Transform "TranslationTransform")\n(TransformParameters 1 2 nan)\n', "finite"),
        ("t.txt", b"nothing", "not a transform that ITK reads"),
        ("t.nrrd", b"no image", "cannot read"),
        ("t.nii.gz", b"no image", "suffix does not fit"),
    ],
)
def test_files_that_hold_no_transform(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_any_transform(tmp_path / name)


@pytest.mark.parametrize(
    ("shape", "message"), [((4, 5, 6), "not a displacement image"), ((4, 5, 6, 2), "not a displacement")]
)
def test_images_that_hold_no_vectors(shape, message, tmp_path):
    image = sitk.GetImageFromArray(np.zeros(shape, np.float32), isVector=len(shape) == 4)
    sitk.WriteImage(image, str(tmp_path / "t.nrrd"))
    with pytest.raises(DataError, match=message):
        read_any_transform(tmp_path / "t.nrrd")


def test_vectors_that_are_not_finite_are_refused(tmp_path):
    vectors = wavy(OBLIQUE)
    vectors[3, 4, 5, 1] = np.nan
    write_displacement_image(tmp_path / "t.nrrd", vectors, OBLIQUE)
    with pytest.raises(DataError, match="not finite"):
        read_any_transform(tmp_path / "t.nrrd")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("t.txt", {}, "displacement image instead"),
        ("t.nii.gz", {"precision": "float16"}, "no float16"),
        ("t.npz", {"stride": 2, "moving": OBLIQUE}, "no such lattice"),
        ("t.npz", {}, "--moving"),
        ("t.nii.gz", {"form": "elastix"}, "suffix does not fit"),
    ],
)
def test_what_cannot_be_written(name, options, message, tmp_path):
    with pytest.raises((ConfigError, DataError), match=message):
        write_any_transform(tmp_path / name, wavy_transform(OBLIQUE), **options)
    assert not list(tmp_path.iterdir())


def test_the_shift_is_that_of_the_field():
    assert np.allclose(np.median(wavy(OBLIQUE).reshape(-1, 3), axis=0), SHIFT_LPS, atol=1.6)
    assert_same(field_transform(wavy(OBLIQUE), OBLIQUE), wavy_transform(OBLIQUE), OBLIQUE)
