"""What is read keeps its values and its type, and what cannot be kept or written is refused."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from exchange_fields import GRIDS, wavy

import dinoreg
from dinoreg.desk.exchange.displacement_image import write_displacement_image
from dinoreg.desk.exchange.write import write_any_transform
from dinoreg.desk.images import read_label_map, read_stored, read_typed, to_itk, write_any
from dinoreg.desk.output import in_stored_type
from regtask.errors import DataError, OutputError, TaskError

GRID = GRIDS["oblique"]
VALUES = np.add.reduce(np.indices(GRID.shape)).astype(np.int16)


def nifti(path, stored):
    """Write a NIfTI file with voxels exactly as given, byte order included."""
    order = ">" if stored.dtype.byteorder == ">" else "<"
    header = nib.Nifti1Header(endianness=order)
    header.set_data_dtype(stored.dtype)
    nib.Nifti1Image(stored, GRID.affine, header).to_filename(path)
    return path


@pytest.mark.parametrize(("slope", "intercept"), [(0.01, 0.0), (1.0, -1024.5)])
def test_an_image_with_a_slope_is_not_of_the_type_of_its_voxels(slope, intercept, tmp_path):
    path = nifti(tmp_path / "b.nii", VALUES)
    content = bytearray(path.read_bytes())
    content[112:120] = np.array([slope, intercept], "<f4").tobytes()  # scl_slope, scl_inter
    path.write_bytes(content)
    expected = VALUES * np.float32(slope) + np.float32(intercept)
    volume, dtype = read_typed(tmp_path / "b.nii")
    assert dtype == np.float32
    np.testing.assert_allclose(in_stored_type(volume.data, dtype), expected, rtol=1e-6)
    volume, dtype = read_typed(nib.load(tmp_path / "b.nii"))
    np.testing.assert_allclose(in_stored_type(volume.data, dtype), expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", [">i2", ">u2", ">i4", ">f4", ">f8"])
@pytest.mark.parametrize("form", ["file", "nibabel", "array"])
def test_the_byte_order_of_another_machine_can_be_written_again(dtype, form, tmp_path):
    stored = VALUES.astype(dtype)
    path = nifti(tmp_path / "a.nii.gz", stored)
    source = {"file": path, "nibabel": nib.load(path), "array": (stored, GRID.affine)}[form]
    volume, found = read_typed(source)
    assert found == np.dtype(dtype).newbyteorder("=")
    write_any(tmp_path / "b.mha", in_stored_type(volume.data, found), volume.grid)
    values, _ = read_stored(tmp_path / "b.mha")
    np.testing.assert_array_equal(values, VALUES)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "uint32", "int64", "uint64"])
def test_a_value_out_of_range_is_the_last_one_within(dtype):
    limits = np.iinfo(dtype)
    low, high = in_stored_type(np.array([-1e30, 1e30], np.float32), np.dtype(dtype)).tolist()
    assert low == limits.min
    assert limits.max - limits.max // 2**50 - 1 <= high <= limits.max


@pytest.mark.parametrize("dtype", ["uint32", "int64", "float64"])
@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_labels_that_float32_would_change_are_refused(dtype, suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    for largest, fine in ((2**24 - 1, True), (2**24 + 1, False)):
        labels = (VALUES % 3).astype(dtype)
        labels[2, 3, 4] = largest
        sitk.WriteImage(to_itk(labels, GRID), str(path))
        if fine:
            np.testing.assert_array_equal(read_label_map(path)[0].data, labels)
        else:
            with pytest.raises(DataError, match="apply --labels"):
                read_label_map(path)


def test_labels_are_brought_along_exactly_or_not_at_all_from_python(tmp_path):
    image = to_itk(VALUES.astype(np.float32), GRID)
    result = dinoreg.register(image, image, preset="identity", device="cpu")
    labels = np.full(GRID.shape, 2**24 + 1, np.int64)
    with pytest.raises(DataError, match="labels too large"):
        result.apply((labels, GRID.affine), labels=True)
    with pytest.raises(DataError, match="labels too large"):
        result.show(fixed_labels=(labels, GRID.affine), path=tmp_path / "r.html")
    np.testing.assert_array_equal(result.apply((labels % 97, GRID.affine), labels=True).data, labels % 97)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.mha", "a.nrrd"])
def test_what_is_written_keeps_values_and_place(name, tmp_path):
    write_any(tmp_path / name, VALUES, GRID)
    values, grid = read_stored(tmp_path / name)
    np.testing.assert_array_equal(values, VALUES)
    assert grid.matches(GRID)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    "name",
    ["a.dcm", "a.png", "a.tif", "a.hdr", "a.img", "a.mhd", "a.nhdr", "a.vtk", "a.jpg", "a.NII", "a", "nii"],
)
def test_a_kind_of_file_that_loses_something_is_refused(name, tmp_path):
    """uint8 in .dcm ended the process, .png took one slice, .mhd pointed to a file that was gone."""
    with pytest.raises(OutputError, match=r"\.nii\.gz, \.nii, \.mha, \.nrrd"):
        write_any(tmp_path / name, VALUES.astype(np.uint8), GRID)
    with pytest.raises(OutputError):
        write_displacement_image(tmp_path / name, wavy(GRID), GRID)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", [None, "image"])
def test_a_transform_in_two_files_is_refused(form, tmp_path):
    with pytest.raises(TaskError, match=r"suffix does not fit|unknown form"):
        write_any_transform(tmp_path / "t.mhd", sitk.TranslationTransform(3), form=form, fixed=GRID)
    assert not list(tmp_path.iterdir())
