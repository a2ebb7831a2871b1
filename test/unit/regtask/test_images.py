import gzip

import nibabel
import numpy as np
import pytest
import SimpleITK

from regtask import (
    DataError,
    Grid,
    OutputError,
    SpaceError,
    read_header,
    read_labels,
    read_mask,
    read_volume,
    write_volume,
)


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
def test_round_trip(tmp_path, grid, values, name):
    write_volume(tmp_path / name, values, grid)
    volume = read_volume(tmp_path / name)
    np.testing.assert_array_equal(volume.data, values)
    assert volume.data.dtype == np.float32
    assert volume.data.flags.c_contiguous
    assert volume.data.flags.writeable
    assert volume.grid.matches(grid)


def test_nibabel_reads_what_was_written(tmp_path, grid, values):
    write_volume(tmp_path / "x.nii.gz", values, grid)
    image = nibabel.load(tmp_path / "x.nii.gz")
    np.testing.assert_array_equal(image.get_fdata(), values)
    np.testing.assert_allclose(image.affine, grid.affine, atol=1e-5)
    np.testing.assert_allclose(image.get_qform(), grid.affine, atol=1e-4)
    assert (image.header["qform_code"], image.header["sform_code"]) == (1, 1)
    assert image.header.get_xyzt_units()[0] == "mm"


def test_simpleitk_reads_what_was_written(tmp_path, grid, values):
    write_volume(tmp_path / "x.nii.gz", values, grid)
    image = SimpleITK.ReadImage(str(tmp_path / "x.nii.gz"))
    assert image.GetSize() == grid.shape
    np.testing.assert_allclose(image.GetSpacing(), grid.spacing_mm, atol=1e-5)
    assert image.GetPixel(4, 2, 1) == values[4, 2, 1]


def test_what_simpleitk_wrote_is_read(tmp_path, values):
    image = SimpleITK.GetImageFromArray(values.T.astype(np.int16))
    image.SetSpacing((1.5, 2.25, 3.0))
    image.SetOrigin((10.0, 20.0, 30.0))
    SimpleITK.WriteImage(image, str(tmp_path / "x.nii.gz"))
    volume = read_volume(tmp_path / "x.nii.gz")
    np.testing.assert_array_equal(volume.data, values.astype(np.int16))
    np.testing.assert_allclose(volume.grid.index_to_ras([[1, 1, 1]]), [[-11.5, -22.25, 33.0]], atol=1e-5)


def test_big_endian_and_scaled(raw_nifti):
    volume = read_volume(raw_nifti(order=">", scl_slope=2.0, scl_inter=-10.0))
    np.testing.assert_array_equal(volume.data.ravel(order="F"), np.arange(24) * 2 - 10)


def test_slope_zero_means_unscaled(raw_nifti):
    volume = read_volume(raw_nifti(scl_slope=0.0, scl_inter=5.0))
    np.testing.assert_array_equal(volume.data.ravel(order="F"), np.arange(24))


def test_nifti_2(tmp_path, grid, values):
    image = nibabel.Nifti2Image(values, grid.affine)
    image.to_filename(tmp_path / "x.nii.gz")
    volume = read_volume(tmp_path / "x.nii.gz")
    np.testing.assert_array_equal(volume.data, values)
    assert volume.grid.matches(grid)


@pytest.mark.parametrize("dim", [(4, 2, 3, 4, 1, 1, 1, 1), (5, 2, 3, 4, 1, 1, 1, 1)])
def test_further_axes_of_size_one_are_dropped(raw_nifti, dim):
    assert read_volume(raw_nifti(dim=dim)).data.shape == (2, 3, 4)


def test_plane_becomes_a_slice(raw_nifti):
    volume = read_volume(raw_nifti(dim=(2, 4, 6, 0, 0, 0, 0, 0)))
    assert volume.data.shape == volume.grid.shape == (4, 6, 1)


def test_header_agrees_with_volume(tmp_path, grid, values):
    write_volume(tmp_path / "x.nii.gz", np.floor(values), grid, np.int16)
    header = read_header(tmp_path / "x.nii.gz")
    assert header.grid.matches(grid)
    assert header.dtype == np.int16


def test_oblique_axes_are_kept_and_shear_is_tolerated(tmp_path, values):
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    affine[0, 1] = 0.7
    sheared = Grid(values.shape, affine)
    write_volume(tmp_path / "x.nii", values, sheared)
    assert read_volume(tmp_path / "x.nii").grid.matches(sheared)


def test_symbolic_link_is_followed(tmp_path, grid, values):
    write_volume(tmp_path / "x.nii.gz", values, grid)
    (tmp_path / "link.nii.gz").symlink_to(tmp_path / "x.nii.gz")
    assert read_volume(tmp_path / "link.nii.gz").grid.matches(grid)


@pytest.mark.parametrize(("largest", "dtype"), [(255, np.int16), (32767, np.int16), (32768, np.int32)])
def test_labels_take_the_small_type_that_holds_them(tmp_path, grid, largest, dtype):
    labels = np.zeros(grid.shape, np.int64)
    labels[1, 2, 3] = largest
    nibabel.Nifti1Image(labels, grid.affine, dtype=np.int64).to_filename(tmp_path / "x.nii.gz")
    array, read_grid = read_labels(tmp_path / "x.nii.gz")
    assert array.dtype == dtype
    assert array[1, 2, 3] == largest
    assert read_grid.matches(grid)


def test_labels_stored_as_floats_are_read(tmp_path, grid, values):
    write_volume(tmp_path / "x.nii.gz", np.round(values), grid)
    np.testing.assert_array_equal(read_labels(tmp_path / "x.nii.gz")[0], np.round(values))


def test_interpolated_labels_are_refused(tmp_path, grid):
    labels = np.zeros(grid.shape)
    labels[1, 2, 3] = 1.5
    write_volume(tmp_path / "x.nii.gz", labels, grid)
    with pytest.raises(DataError, match=r"not labels.*1 of 140, the first at \(1, 2, 3\).*nearest neighbour"):
        read_labels(tmp_path / "x.nii.gz")


def test_labels_beyond_32_bits_are_refused(raw_nifti):
    path = raw_nifti(datatype=1024, bitpix=64, data=np.full(24, 1 << 40, "<i8").tobytes())
    with pytest.raises(DataError, match="label out of range"):
        read_labels(path)


def test_mask(tmp_path, grid, values):
    write_volume(tmp_path / "x.nii.gz", values > 0, grid, np.uint8)
    mask = read_mask(tmp_path / "x.nii.gz")
    assert mask.dtype == np.bool_
    np.testing.assert_array_equal(mask, values > 0)


@pytest.mark.parametrize("foreground", [2, 255, -1])
def test_mask_other_than_0_and_1_is_refused(tmp_path, grid, values, foreground):
    write_volume(tmp_path / "x.nii.gz", (values > 0) * foreground, grid, np.int16)
    with pytest.raises(DataError, match="mask is not binary"):
        read_mask(tmp_path / "x.nii.gz")


def test_integers_on_disk_are_not_scaled(tmp_path, grid, values):
    write_volume(tmp_path / "x.nii.gz", np.floor(values), grid, np.int16)
    content = gzip.decompress((tmp_path / "x.nii.gz").read_bytes())
    np.testing.assert_array_equal(np.frombuffer(content[352:], "<i2"), np.floor(values).ravel(order="F"))


@pytest.mark.parametrize(
    ("value", "dtype"), [(256, np.uint8), (-1, np.uint8), (1.5, np.int16), (np.nan, np.int16)]
)
def test_values_that_do_not_fit_the_type_are_not_written(tmp_path, grid, value, dtype):
    with pytest.raises(DataError, match="do not fit"):
        write_volume(tmp_path / "x.nii.gz", np.full(grid.shape, value), grid, dtype)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [np.nan, 1e300])
def test_values_that_are_not_finite_are_not_written(tmp_path, grid, value):
    with pytest.raises(DataError, match="not finite"):
        write_volume(tmp_path / "x.nii.gz", np.full(grid.shape, value), grid)
    assert list(tmp_path.iterdir()) == []


def test_array_of_another_shape_is_not_written(tmp_path, grid, values):
    with pytest.raises(SpaceError, match="array and grid differ"):
        write_volume(tmp_path / "x.nii.gz", values.T, grid)


def test_unknown_format_is_not_written(tmp_path, grid, values):
    with pytest.raises(OutputError, match="unknown image format"):
        write_volume(tmp_path / "x.mha", values, grid)


def test_a_packed_file_is_a_plain_gzip_stream_of_the_other(tmp_path, grid, values):
    for name in ("x.nii", "x.nii.gz"):
        write_volume(tmp_path / name, values, grid)
    plain, packed = ((tmp_path / name).read_bytes() for name in ("x.nii", "x.nii.gz"))
    assert gzip.decompress(packed) == plain
    assert packed[3:8] == bytes(
        5
    )  # RFC 1952: neither a name nor a time, by which the same voxels would differ
    assert len(packed) < len(gzip.compress(plain, compresslevel=1)) * 1.1


def test_same_content_gives_the_same_bytes(tmp_path, grid, values):
    write_volume(tmp_path / "x.nii.gz", values, grid)
    write_volume(tmp_path / "y.nii.gz", values, grid)
    assert (tmp_path / "x.nii.gz").read_bytes() == (tmp_path / "y.nii.gz").read_bytes()
