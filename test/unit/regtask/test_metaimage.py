"""MetaImage files against SimpleITK, and files that lie."""

import zlib

import numpy as np
import pytest
import SimpleITK as sitk
from itk_images import as_itk

from regtask import DataError, SpaceError
from regtask.metaimage import read_field_mha, read_volume_mha, write_field_mha

TYPES = (np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64)


@pytest.fixture
def vectors(grid):
    return np.random.default_rng(0).normal(size=(*grid.shape, 3)).astype(np.float32)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", TYPES)
def test_reads_what_simpleitk_writes(tmp_path, grid, values, dtype, compressed):
    given = np.abs(values).astype(dtype)
    sitk.WriteImage(as_itk(given, grid), tmp_path / "a.mha", useCompression=compressed)
    volume = read_volume_mha(tmp_path / "a.mha")
    assert volume.data.dtype == np.float32
    np.testing.assert_array_equal(volume.data, given.astype(np.float32))
    assert volume.grid.matches(grid, 1e-5)


def test_field_reads_back_in_simpleitk(tmp_path, grid, vectors):
    write_field_mha(tmp_path / "f.mha", vectors, grid)
    image = sitk.ReadImage(tmp_path / "f.mha")
    array = sitk.GetArrayFromImage(image)
    assert array.shape == (3, *grid.shape[::-1])  # what the displacement-field socket asks for
    assert image.GetNumberOfComponentsPerPixel() == 1
    np.testing.assert_array_equal(np.moveaxis(array, (3, 2, 1, 0), (0, 1, 2, 3)), vectors)
    reference = as_itk(np.zeros(grid.shape), grid)
    np.testing.assert_allclose(image.GetOrigin(), (*reference.GetOrigin(), 0), atol=1e-9)
    np.testing.assert_allclose(image.GetSpacing(), (*reference.GetSpacing(), 1), atol=1e-9)
    directions = np.reshape(image.GetDirection(), (4, 4))
    np.testing.assert_allclose(directions[:3, :3].ravel(), reference.GetDirection(), atol=1e-9)


@pytest.mark.parametrize("compressed", [False, True])
def test_field_that_passed_through_simpleitk(tmp_path, grid, vectors, compressed):
    write_field_mha(tmp_path / "f.mha", vectors, grid)
    sitk.WriteImage(sitk.ReadImage(tmp_path / "f.mha"), tmp_path / "g.mha", useCompression=compressed)
    array, read = read_field_mha(tmp_path / "g.mha")
    np.testing.assert_array_equal(array, vectors)
    assert read.matches(grid, 1e-5)


def test_field_of_another_shape_or_not_finite_is_not_written(tmp_path, grid, vectors):
    with pytest.raises(SpaceError, match="field and grid differ"):
        write_field_mha(tmp_path / "f.mha", vectors[:-1], grid)
    vectors[1, 2, 3, 1] = np.nan
    with pytest.raises(DataError, match="not finite"):
        write_field_mha(tmp_path / "f.mha", vectors, grid)
    assert list(tmp_path.iterdir()) == []


def sound(**changes):
    header = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "CompressedData": "False",
        "DimSize": "2 3 4",
        "ElementType": "MET_SHORT",
        "ElementDataFile": "LOCAL",
    }
    header |= changes
    last = header.pop("ElementDataFile")
    lines = [f"{key} = {value}" for key, value in header.items() if value is not None]
    return ("\n".join([*lines, f"ElementDataFile = {last}"]) + "\n").encode()


BODY = np.arange(24, dtype="<i2").tobytes()


def test_header_with_the_fewest_keys(tmp_path):
    (tmp_path / "a.mha").write_bytes(sound() + BODY)
    volume = read_volume_mha(tmp_path / "a.mha")
    assert volume.data[1, 2, 3] == 23
    np.testing.assert_array_equal(np.diag(volume.grid.affine), (-1, -1, 1, 1))


def test_big_endian(tmp_path):
    body = np.arange(24, dtype=">i2").tobytes()
    (tmp_path / "a.mha").write_bytes(sound(BinaryDataByteOrderMSB="True") + body)
    assert read_volume_mha(tmp_path / "a.mha").data[1, 2, 3] == 23


@pytest.mark.parametrize(
    "keys",
    [
        {"ElementSize": "2 3 4"},
        {"ElementSize": "2 3 4", "ElementSpacing": "5 6 7"},
        {"Position": "1 2 3", "Offset": "4 5 6"},
        {"Offset": "4 5 6", "Origin": "7 8 9", "Position": "1 2 3"},
        {"Orientation": "-1 0 0 0 -1 0 0 0 1", "Rotation": "0 0 1 1 0 0 0 1 0"},
        {"Rotation": "0 0 1 1 0 0 0 1 0", "TransformMatrix": "0 1 0 1 0 0 0 0 1"},
        *({"BinaryDataByteOrderMSB": word} for word in ("T", "t", "TRUE", "1", "F", "no", "0")),
        {"ElementByteOrderMSB": "true"},
    ],
    ids=lambda keys: ", ".join(f"{key} {value}" for key, value in keys.items()),
)
def test_keys_mean_what_they_mean_to_simpleitk(tmp_path, keys):
    path = tmp_path / "a.mha"
    path.write_bytes(sound(**keys) + BODY)
    image, volume = sitk.ReadImage(path), read_volume_mha(path)
    np.testing.assert_array_equal(volume.data, sitk.GetArrayFromImage(image).T.astype(np.float32))
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    np.testing.assert_allclose(volume.grid.affine, np.diag((-1, -1, 1, 1)) @ affine)


@pytest.mark.parametrize("stated", [None, "3", "100000"])
def test_compressed_voxels_count_whatever_their_length_is_said_to_be(tmp_path, stated):
    """SimpleITK gives zeros or what was in memory for these."""
    header = sound(CompressedData="True", CompressedDataSize=stated)
    (tmp_path / "a.mha").write_bytes(header + zlib.compress(BODY))
    assert read_volume_mha(tmp_path / "a.mha").data[1, 2, 3] == 23


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a MetaImage"),
        (b"\x1f\x8b" + bytes(5000), "not a MetaImage"),
        (b"A = 1\n" * 500, "not a MetaImage"),
        (sound() + BODY[:-1], "file ends too early"),
        (sound(DimSize="30000 30000 30000") + BODY, "at most"),
        (sound(DimSize="600 600 600") + BODY, "file ends too early"),
        (sound(DimSize="600 600 600", CompressedData="True") + BODY, "file ends too early"),
        (sound(CompressedData="True") + BODY, "damaged compressed data"),
        (sound(CompressedData="True") + zlib.compress(BODY[:-2]), "file ends too early"),
        (sound(CompressedData="True") + zlib.compress(BODY)[:-8], "file ends too early"),
        (sound(DimSize="2 -3 4") + BODY, "size of 1 or more"),
        (sound(DimSize="2 3") + BODY, "size of 1 or more"),
        (sound(DimSize="two 3 4") + BODY, "header not usable"),
        (sound(NDims="99999999") + BODY, "NDims: 3 or 4"),
        (sound(ElementType="MET_STRING") + BODY, "header not usable"),
        (sound(ElementNumberOfChannels="3") + BODY * 3, "one channel"),
        (sound(ElementDataFile="/etc/passwd") + BODY, "in the same file"),
        (sound(ElementSpacing="1 1") + BODY, "ElementSpacing: 3 numbers expected"),
        (sound(ElementSpacing="1 0 1") + BODY, "without volume"),
        (sound(Offset="nan 0 0") + BODY, "affine"),
        (sound(NDims="4", DimSize="2 3 2 2") + BODY, "three axes"),
    ],
)
def test_hostile_files_end_in_one_message(tmp_path, content, message):
    path = tmp_path / "a.mha"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_volume_mha(path)
    assert str(path) in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match="cannot read"):
        read_field_mha(tmp_path / "a.mha")


def test_image_is_no_field(tmp_path, grid, values):
    sitk.WriteImage(as_itk(values, grid), tmp_path / "a.mha")
    with pytest.raises(DataError, match="last of size 3"):
        read_field_mha(tmp_path / "a.mha")


def test_four_axes_are_a_field_where_the_last_are_its_components(tmp_path):
    (tmp_path / "a.mha").write_bytes(sound(NDims="4", DimSize="2 3 2 2") + BODY)
    with pytest.raises(DataError, match=r"last of size 3; got shape \(2, 3, 2, 2\)"):
        read_field_mha(tmp_path / "a.mha")
