import io
import json
import pickle
import struct
import tracemalloc
import zipfile

import nibabel
import numpy as np
import pytest
import SimpleITK

from regtask import DataError, Grid, SpaceError, read_field, read_field_grids, write_field


@pytest.fixture
def vectors(grid):
    """Component c of voxel (i, j, k) is 1000 c + 100 i + 10 j + k: axes and components cannot be mixed up."""
    i, j, k, c = np.indices((*grid.shape, 3))
    return (1000 * c + 100 * i + 10 * j + k + 0.25).astype(np.float32)


def npy(array, **options):
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def npz(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("name", ["disp.nii", "disp.nii.gz"])
def test_round_trip(tmp_path, grid, vectors, name):
    write_field(tmp_path / name, vectors, grid)
    field = read_field(tmp_path / name, grid.shape)
    np.testing.assert_array_equal(field, vectors)
    assert field.dtype == np.float32
    assert field.flags.c_contiguous


def test_nibabel_reads_what_was_written(tmp_path, grid, vectors):
    write_field(tmp_path / "disp.nii.gz", vectors.astype(np.float64), grid)
    image = nibabel.load(tmp_path / "disp.nii.gz")
    assert image.shape == (*grid.shape, 3)
    assert image.get_data_dtype() == np.float32
    np.testing.assert_array_equal(image.get_fdata(), vectors)
    np.testing.assert_allclose(image.affine, grid.affine, atol=1e-5)


@pytest.mark.parametrize("name", ["disp.nii", "disp.nii.gz"])
def test_itk_refuses_voxels_that_it_would_take_for_millimetres(tmp_path, grid, vectors, name):
    """With intent "none" SimpleITK reads it without complaint, and ANTs warps by it."""
    write_field(tmp_path / name, vectors, grid, grid)
    with pytest.raises(RuntimeError, match="NIFTI_INTENT_GENMATRIX"):
        SimpleITK.ReadImage(str(tmp_path / name))


@pytest.mark.parametrize("intent", [0, 1004, 1006, 1007])
@pytest.mark.parametrize("order", ["<", ">"])
def test_fields_of_any_intent_are_read(tmp_path, grid, vectors, intent, order):
    header = nibabel.Nifti1Header(endianness=order)
    header.set_data_dtype(np.float32)
    header.set_intent(intent, (3, 1) if intent == 1004 else ())
    nibabel.Nifti1Image(vectors, grid.affine, header).to_filename(tmp_path / "disp.nii.gz")
    np.testing.assert_array_equal(read_field(tmp_path / "disp.nii.gz", grid.shape), vectors)
    fixed, moving = read_field_grids(tmp_path / "disp.nii.gz")
    assert fixed.matches(grid)
    assert moving is None


MOVING = Grid((6, 5, 9), [[0, 2.5, 0.1, 8], [-1.25, 0, 0, -3.7], [0, -0.1, 3, 1 / 3], [0, 0, 0, 1]])


@pytest.mark.parametrize("name", ["disp.nii", "disp.nii.gz"])
def test_the_moving_grid_is_noted(tmp_path, grid, vectors, name):
    write_field(tmp_path / name, vectors, grid, MOVING)
    fixed, moving = read_field_grids(tmp_path / name)
    assert fixed.matches(grid)
    assert moving.shape == MOVING.shape
    np.testing.assert_array_equal(moving.affine, MOVING.affine)  # in full: no rounding to float32
    image = nibabel.load(tmp_path / name)
    np.testing.assert_array_equal(image.get_fdata(), vectors)
    np.testing.assert_array_equal(read_field(tmp_path / name), vectors)
    (note,) = image.header.extensions
    assert note.get_code() == 6
    assert json.loads(note.get_content().rstrip(b"\0"))["displacement"]["moving"]["shape"] == [6, 5, 9]


def test_no_note_without_a_moving_grid(tmp_path, grid, vectors):
    write_field(tmp_path / "disp.nii.gz", vectors, grid)
    assert read_field_grids(tmp_path / "disp.nii.gz").moving is None


def noted(path, grid, vectors, *extensions, order="<"):
    header = nibabel.Nifti1Header(endianness=order)
    header.set_data_dtype(np.float32)
    image = nibabel.Nifti1Image(vectors, grid.affine, header)
    for code, content in extensions:
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension(code, content))
    image.to_filename(path)
    return path


NOTE = json.dumps(
    {
        "displacement": {
            "unit": "voxel",
            "direction": "pull",
            "moving": {"shape": [6, 5, 9], "affine": MOVING.affine.tolist()},
        }
    }
).encode()


@pytest.mark.parametrize("order", ["<", ">"])
def test_notes_of_others_are_skipped(tmp_path, grid, vectors, order):
    others = (4, b"<xml/>"), (6, b"by another program"), (6, b"[1, 2]"), (6, b"\xff\xfe"), (6, b"[" * 5000)
    path = noted(tmp_path / "disp.nii", grid, vectors, *others, (6, NOTE), order=order)
    assert read_field_grids(path).moving.matches(MOVING)


@pytest.mark.parametrize(
    "note",
    [
        {"unit": "mm", "direction": "pull", "moving": {"shape": [6, 5, 9], "affine": np.eye(4).tolist()}},
        {"unit": "voxel", "direction": "pull"},
        {"unit": "voxel", "direction": "pull", "moving": {"shape": [6, 5], "affine": np.eye(4).tolist()}},
        {"unit": "voxel", "direction": "pull", "moving": {"shape": [6, 5, 9], "affine": [[1, 2], [3]]}},
        {
            "unit": "voxel",
            "direction": "pull",
            "moving": {"shape": [1, 1, 1], "affine": np.zeros((4, 4)).tolist()},
        },
        {"unit": "voxel", "direction": "pull", "moving": {"shape": 6, "affine": None}},
        {"unit": "voxel", "direction": "pull", "moving": 7},
    ],
)
def test_note_that_is_no_grid(tmp_path, grid, vectors, note):
    path = noted(tmp_path / "disp.nii", grid, vectors, (6, json.dumps({"displacement": note}).encode()))
    with pytest.raises(DataError, match=r"disp\.nii"):
        read_field_grids(path)


@pytest.mark.parametrize("size", [0, 7, -16, 2**31 - 1])
def test_extension_of_impossible_size(tmp_path, grid, vectors, size):
    path = noted(tmp_path / "disp.nii", grid, vectors, (6, NOTE))
    content = bytearray(path.read_bytes())
    struct.pack_into("<i", content, 352, size)
    path.write_bytes(content)
    assert read_field_grids(path).moving is None
    np.testing.assert_array_equal(read_field(path), vectors)


def test_an_image_has_no_field_grids(tmp_path, grid):
    nibabel.Nifti1Image(np.zeros(grid.shape, np.float32), grid.affine).to_filename(tmp_path / "i.nii.gz")
    with pytest.raises(DataError, match="wrong rank"):
        read_field_grids(tmp_path / "i.nii.gz")


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_field_that_is_not_finite_is_not_written(tmp_path, grid, vectors, value):
    spoilt = vectors.astype(np.float64)
    spoilt[1, 2, 3, 0] = value
    with pytest.raises(DataError, match=r"not finite.*1 of 420, the first at \(1, 2, 3, 0\)"):
        write_field(tmp_path / "disp.nii.gz", spoilt, grid)
    assert list(tmp_path.iterdir()) == []


def test_field_of_another_shape_is_not_written(tmp_path, grid, vectors):
    with pytest.raises(SpaceError, match="field and grid differ"):
        write_field(tmp_path / "disp.nii.gz", np.moveaxis(vectors, -1, 0), grid)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4", np.int16])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npz(tmp_path, grid, vectors, save, dtype, order):
    stored = vectors.astype(dtype, order=order)
    save(tmp_path / "disp.npz", any_key=stored)
    field = read_field(tmp_path / "disp.npz", grid.shape)
    assert field.dtype == np.float32
    np.testing.assert_array_equal(field, stored.astype(np.float32))


def test_channel_first(tmp_path, grid, vectors):
    np.savez(tmp_path / "disp.npz", np.moveaxis(vectors, -1, 0))
    field = read_field(tmp_path / "disp.npz", grid.shape, layout="channel_first")
    np.testing.assert_array_equal(field, vectors)
    assert field.flags.c_contiguous


WRONG_SHAPES = {
    "channel-first": (
        (3, 5, 7, 4),
        "channel_last",
        r"field is channel-first.*\(I, J, K, 3\).*\(3, 5, 7, 4\)",
    ),
    "channel-last": ((5, 7, 4, 3), "channel_first", "field is channel-last"),
    "half": ((2, 4, 2, 3), "channel_last", "field at half resolution.*full grid"),
    "legacy half": ((3, 2, 3, 2), "channel_first", "field at half resolution"),
    "other": ((5, 7, 3, 3), "channel_last", r"field of wrong shape.*\(5, 7, 4\)"),
    "transposed": ((4, 7, 5, 3), "channel_last", "field of wrong shape"),
    "itk": ((5, 7, 4, 1, 3), "channel_last", "wrong rank.*ITK"),
    "scalar": ((5, 7, 4), "channel_last", "wrong rank"),
    "flat": ((420,), "channel_last", "wrong rank"),
    "none": ((), "channel_last", "wrong rank"),
    "two components": ((5, 7, 4, 2), "channel_last", "without three components"),
}


@pytest.mark.parametrize(("shape", "layout", "message"), WRONG_SHAPES.values(), ids=WRONG_SHAPES)
def test_wrong_shape_names_the_mistake(tmp_path, grid, shape, layout, message):
    array = np.zeros(shape, np.float32)
    np.savez(tmp_path / "disp.npz", array)
    with pytest.raises(DataError, match=message):
        read_field(tmp_path / "disp.npz", grid.shape, layout)
    if shape:
        nibabel.Nifti1Image(array, np.eye(4)).to_filename(tmp_path / "disp.nii.gz")
        with pytest.raises(DataError, match=message):
            read_field(tmp_path / "disp.nii.gz", grid.shape, layout)


def test_any_shape_passes_where_none_is_expected(tmp_path):
    np.savez(tmp_path / "disp.npz", np.zeros((2, 4, 2, 3)))
    assert read_field(tmp_path / "disp.npz").shape == (2, 4, 2, 3)


@pytest.mark.parametrize("name", ["disp.nii.gz", "disp.npz"])
def test_field_that_is_not_finite(tmp_path, grid, vectors, name):
    vectors[1, 2, 3, 2] = np.nan
    vectors[4, 6, 3, 0] = np.inf
    if name.endswith("npz"):
        np.savez(tmp_path / name, vectors)
    else:
        nibabel.Nifti1Image(vectors, np.eye(4)).to_filename(tmp_path / name)
    with pytest.raises(DataError, match=r"not finite.*2 of 420, the first at \(1, 2, 3, 2\)"):
        read_field(tmp_path / name, grid.shape)


class Payload:
    """Unpickling this would leave a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_pickled_array_is_never_executed(tmp_path, grid):
    target = tmp_path / "executed"
    array = np.empty((*grid.shape, 3), object)
    array[...] = Payload(target)
    path = npz(tmp_path / "disp.npz", {"a.npy": npy(array, allow_pickle=True)})
    with pytest.raises(DataError, match=r"array of real numbers.*object"):
        read_field(path, grid.shape)
    path = npz(tmp_path / "disp.npz", {"a.npy": pickle.dumps(Payload(target))})
    with pytest.raises(DataError, match="not a numpy array"):
        read_field(path, grid.shape)
    assert not target.exists()


@pytest.mark.parametrize("dtype", [np.complex64, "U3", bool, [("x", "f4")]])
def test_array_that_is_no_number(tmp_path, grid, dtype):
    np.savez(tmp_path / "disp.npz", np.zeros((*grid.shape, 3), dtype))
    with pytest.raises(DataError, match="array of real numbers"):
        read_field(tmp_path / "disp.npz", grid.shape)


@pytest.mark.parametrize("count", [0, 2])
def test_other_than_one_array(tmp_path, vectors, count):
    path = npz(tmp_path / "disp.npz", {f"{n}.npy": npy(vectors) for n in range(count)})
    with pytest.raises(DataError, match=f"exactly one array.*{count}"):
        read_field(path)


@pytest.mark.parametrize("shape", [(60000, 60000, 60000, 3), (500, 500, 500, 3), (1000, 1000, 1000, 3)])
def test_nothing_is_allocated_for_a_promise(tmp_path, shape):
    header = io.BytesIO()
    description = {"shape": shape, "fortran_order": False, "descr": "<f4"}
    np.lib.format.write_array_header_1_0(header, description)
    path = npz(tmp_path / "disp.npz", {"a.npy": header.getvalue() + b"\0" * 1000})
    tracemalloc.start()
    with pytest.raises(DataError, match=r"too early|too large"):
        read_field(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000


def test_sizes_in_the_directory_are_not_believed(tmp_path):
    header = io.BytesIO()
    description = {"shape": (500, 500, 100, 3), "fortran_order": False, "descr": "<f4"}
    np.lib.format.write_array_header_1_0(header, description)
    path = npz(tmp_path / "disp.npz", {"a.npy": header.getvalue() + b"\0" * 1000}, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    struct.pack_into("<II", content, content.index(b"PK\x01\x02") + 20, 400_000_000, 400_000_000)
    path.write_bytes(content)
    tracemalloc.start()
    with pytest.raises(DataError, match="too early"):
        read_field(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000


def test_honest_giant_is_refused(tmp_path, vectors, monkeypatch):
    monkeypatch.setattr("regtask.fields.MAX_VALUES", 419)
    np.savez(tmp_path / "disp.npz", vectors)
    with pytest.raises(DataError, match="field too large"):
        read_field(tmp_path / "disp.npz")


def test_array_a_little_shorter_than_promised(tmp_path, vectors):
    path = npz(tmp_path / "disp.npz", {"a.npy": npy(vectors)[:-4]})
    with pytest.raises(DataError, match=r"too early.*1680 bytes.*1676 bytes"):
        read_field(path)


def test_negative_shape(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"shape": (-2, -2, 4, 3), "fortran_order": False, "descr": "<f4"}
    )
    with pytest.raises(DataError, match="impossible size"):
        read_field(npz(tmp_path / "disp.npz", {"a.npy": header.getvalue() + b"\0" * 192}))


def test_damaged_npz_at_every_length(tmp_path, vectors):
    path = tmp_path / "disp.npz"
    np.savez_compressed(path, vectors)
    whole = path.read_bytes()
    for kept in range(0, len(whole), 7):
        path.write_bytes(whole[:kept])
        with pytest.raises(DataError, match="damaged npz"):
            read_field(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("size", [4, 40])
def test_npz_with_a_wrong_checksum(tmp_path, save, size):
    path = tmp_path / "disp.npz"
    save(path, np.random.default_rng(0).standard_normal((size, size, size, 3)))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged npz"):
        read_field(path)


@pytest.mark.parametrize("name", ["disp.npz", "disp.nii.gz"])
def test_no_field(tmp_path, name):
    with pytest.raises(DataError, match="cannot read"):
        read_field(tmp_path / name)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_archives_that_unpack_without_a_bound_are_refused(tmp_path, vectors, method):
    path = npz(tmp_path / "disp.npz", {"a.npy": npy(vectors)}, method)
    with pytest.raises(DataError, match="stored nor deflated"):
        read_field(path)
