"""Files that are damaged or lie: each has to become a DataError that says what is wrong."""

import gzip
import logging
import math
import tracemalloc

import numpy as np
import pytest

from regtask import DataError, read_header, read_labels, read_mask, read_volume

NAN, INF = math.nan, math.inf

LIES = {
    "dim zero": ({"dim": (3, 2, 0, 4, 1, 1, 1, 1)}, "impossible dimensions"),
    "dim negative": ({"dim": (3, 2, -3, 4, 1, 1, 1, 1)}, "impossible dimensions"),
    "no axes": ({"dim": (0, 2, 3, 4, 1, 1, 1, 1)}, "impossible dimensions"),
    "nine axes": ({"dim": (9, 2, 3, 4, 1, 1, 1, 1)}, "impossible dimensions"),
    "negative axes": ({"dim": (-3, 2, 3, 4, 1, 1, 1, 1)}, "impossible dimensions"),
    "asks for 18 GB": ({"dim": (3, 2080, 2080, 2080, 1, 1, 1, 1)}, "file ends too early"),
    "overflows 64 bits": ({"dim": (7, *[32767] * 7)}, "file ends too early"),
    "spacing nan": ({"pixdim": (1, 2, NAN, 4, 0, 0, 0, 0)}, "impossible voxel size"),
    "spacing inf": ({"pixdim": (1, INF, 3, 4, 0, 0, 0, 0)}, "impossible voxel size"),
    "spacing zero": ({"pixdim": (1, 2, 3, 0, 0, 0, 0, 0)}, "impossible voxel size"),
    "spacing 1e-30": ({"pixdim": (1, 2, 1e-30, 4, 0, 0, 0, 0)}, "impossible voxel size"),
    "spacing 1e30": ({"pixdim": (1, 1e30, 3, 4, 0, 0, 0, 0)}, "impossible voxel size"),
    "spacing in the sform 1e-30": (
        {"srow": (1e-30, 0, 0, 0, 0, 3, 0, 0, 0, 0, 1, 0)},
        "impossible voxel size",
    ),
    "spacing in the sform 1e30": ({"srow": (2, 0, 0, 0, 0, 1e30, 0, 0, 0, 0, 1, 0)}, "impossible voxel size"),
    "origin 1e30": ({"srow": (2, 0, 0, 1e30, 0, 3, 0, 0, 0, 0, 1, 0)}, "impossible origin"),
    "spacing negative": ({"pixdim": (1, 2, -3, 4, 0, 0, 0, 0)}, "impossible voxel size"),
    "slope nan": ({"scl_slope": NAN}, "impossible intensity scale"),
    "slope inf": ({"scl_slope": INF}, "impossible intensity scale"),
    "intercept nan": ({"scl_inter": NAN}, "impossible intensity scale"),
    "rgb": ({"datatype": 128, "bitpix": 24}, "unusable voxel type"),
    "rgba": ({"datatype": 2304, "bitpix": 32}, "unusable voxel type"),
    "complex": ({"datatype": 32, "bitpix": 64}, "unusable voxel type"),
    "long double": ({"datatype": 1536, "bitpix": 128}, "unusable voxel type"),
    "bits": ({"datatype": 1, "bitpix": 1}, "unusable voxel type"),
    "unknown type": ({"datatype": 999}, "unusable voxel type"),
    "bitpix": ({"bitpix": 8}, "header contradicts itself"),
    "offset in the header": ({"vox_offset": 100}, "impossible vox_offset"),
    "offset nan": ({"vox_offset": NAN}, "impossible vox_offset"),
    "offset inf": ({"vox_offset": INF}, "impossible vox_offset"),
    "offset beyond the file": ({"vox_offset": 1e6}, "file ends too early"),
    "offset of gigabytes": ({"vox_offset": 2e9}, "impossible vox_offset"),
    "flat sform": ({"srow": (2, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0)}, "affine without volume"),
    "sform nan": ({"srow": (NAN, 0, 0, 0, 0, 3, 0, 0, 0, 0, 1, 0)}, "not an affine"),
    "bad quaternion": ({"sform_code": 0, "qform_code": 1, "quaternion": (3, 0, 0)}, "impossible qform"),
    "quaternion nan": ({"sform_code": 0, "qform_code": 1, "quaternion": (NAN, 0, 0)}, "form|affine"),
    "time points": ({"dim": (4, 2, 3, 2, 2, 1, 1, 1)}, "not a single volume"),
}


def test_the_sound_file_is_sound(raw_nifti):
    for name in ("x.nii", "x.nii.gz"):
        volume = read_volume(raw_nifti(name))
        assert volume.data.shape == volume.grid.shape == (2, 3, 4)
        assert volume.data[1, 0, 0] == 1  # first axis varies fastest
        assert volume.grid.spacing_mm == (2, 3, 4)


@pytest.mark.parametrize("reader", [read_header, read_volume, read_labels, read_mask])
@pytest.mark.parametrize(("fields", "message"), LIES.values(), ids=LIES)
def test_lying_header(raw_nifti, fields, message, reader):
    path = raw_nifti(**fields)
    with pytest.raises(DataError, match=message) as caught:
        reader(path)
    assert str(path) in caught.value.faults[0].where


def test_every_lie_is_told_at_once(raw_nifti):
    with pytest.raises(DataError) as caught:
        read_header(raw_nifti(scl_slope=NAN, datatype=128, pixdim=(1, 0, 1, 1, 0, 0, 0, 0)))
    assert len(caught.value.faults) == 3


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
def test_nothing_is_allocated_for_a_promise(raw_nifti, name):
    path = raw_nifti(name, data=b"\0" * 25, dim=(3, 2080, 2080, 2080, 1, 1, 1, 1))
    tracemalloc.start()
    with pytest.raises(DataError, match="file ends too early"):
        read_volume(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000


def test_honest_giant_is_refused(raw_nifti, monkeypatch):
    monkeypatch.setattr("regtask.nifti_header.MAX_VALUES", 23)
    with pytest.raises(DataError, match="image too large"):
        read_header(raw_nifti())


def gzip_of_zeros(path, header, count):
    """Zeros behind a header, packed at once: a gigabyte takes a megabyte."""
    with gzip.open(path, "wb", compresslevel=1) as stream:
        stream.write(header)
        for _ in range(count >> 20):
            stream.write(bytes(1 << 20))


@pytest.mark.parametrize("reader", [read_header, read_volume, read_labels, read_mask])
def test_what_does_not_fit_into_this_machine_is_refused_by_its_header(raw_nifti, monkeypatch, reader):
    # 400^3 of uint8: 64 MB, 366 MiB with the copies; packed 280 kB.
    header = raw_nifti(dim=(3, 400, 400, 400, 1, 1, 1, 1), datatype=2, bitpix=8, data=b"").read_bytes()
    path = raw_nifti("y.nii.gz")
    gzip_of_zeros(path, header, 64 << 20)
    monkeypatch.setenv("REGTASK_MEMORY", "1000M")
    tracemalloc.start()
    with pytest.raises(DataError, match=r"too large for this machine: .*250 MiB or less.* 366 MiB"):
        reader(path)
    assert tracemalloc.get_traced_memory()[1] < 4_000_000
    tracemalloc.stop()
    monkeypatch.setenv("REGTASK_MEMORY", "2G")
    assert read_header(path).grid.shape == (400, 400, 400)


def test_a_stream_is_not_inflated_beyond_what_the_header_needs(raw_nifti, monkeypatch):
    path = raw_nifti("y.nii.gz")
    gzip_of_zeros(path, raw_nifti().read_bytes(), 256 << 20)
    inflated = []
    read = gzip._GzipReader.read

    def counted(self, size=-1):
        inflated.append(len(data := read(self, size)))
        return data

    monkeypatch.setattr(gzip._GzipReader, "read", counted)
    assert read_volume(path).data[1, 0, 0] == 1
    assert sum(inflated) < 1 << 20


@pytest.mark.parametrize("kept", [0, 1, 200, 348, 352, 399])
def test_cut_off(raw_nifti, kept):
    path = raw_nifti()
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"empty|not a NIfTI|too early"):
        read_volume(path)


def test_cut_off_gzip_at_every_length(raw_nifti):
    path = raw_nifti("x.nii.gz")
    whole = path.read_bytes()
    for kept in range(len(whole)):
        path.write_bytes(whole[:kept])
        with pytest.raises(DataError, match=r"empty|suffix|too early|not a NIfTI"):
            read_volume(path)


@pytest.mark.parametrize("size", [4, 16, 64])
def test_gzip_with_a_wrong_checksum(raw_nifti, size):
    data = np.random.default_rng(0).bytes(2 * size**3)
    path = raw_nifti("x.nii.gz", data=data, dim=(3, size, size, size, 1, 1, 1, 1))
    content = bytearray(path.read_bytes())
    content[-6] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged gzip"):
        read_volume(path)


def test_gzip_with_a_damaged_middle(raw_nifti):
    path = raw_nifti("x.nii.gz", data=np.random.default_rng(0).bytes(48))
    content = bytearray(path.read_bytes())
    content[12:40] = b"\xff" * 28
    path.write_bytes(content)
    with pytest.raises(DataError):
        read_volume(path)


def test_gzip_that_holds_less_than_promised(raw_nifti):
    with pytest.raises(DataError, match=r"too early.*48 bytes.*20 bytes"):
        read_volume(raw_nifti("x.nii.gz", data=b"\0" * 20))


@pytest.mark.parametrize(
    ("name", "packed", "remedy"), [("x.nii", True, ".nii.gz"), ("x.nii.gz", False, ".nii")]
)
def test_suffix_that_does_not_fit(raw_nifti, name, packed, remedy):
    with pytest.raises(DataError, match="suffix does not fit") as caught:
        read_volume(raw_nifti(name, pack=packed))
    assert caught.value.faults[0].remedy == f"rename it to {remedy}"


def test_empty_gzip(tmp_path):
    path = tmp_path / "x.nii.gz"
    path.write_bytes(gzip.compress(b""))
    with pytest.raises(DataError, match=r"not a NIfTI.*only 0 bytes"):
        read_volume(path)


@pytest.mark.parametrize("name", ["x.mha", "x", "x.nii.bz2"])
def test_unknown_format(tmp_path, name):
    (tmp_path / name).write_bytes(b"abc")
    with pytest.raises(DataError, match="unknown image format"):
        read_volume(tmp_path / name)


def test_no_file_and_folder(tmp_path):
    with pytest.raises(DataError, match=r"cannot read.*No such file"):
        read_volume(tmp_path / "x.nii")
    (tmp_path / "y.nii").mkdir()
    with pytest.raises(DataError, match=r"cannot read.*directory"):
        read_volume(tmp_path / "y.nii")


def test_two_files_format(raw_nifti):
    path = raw_nifti()
    content = bytearray(path.read_bytes())
    content[344:348] = b"ni1\0"
    path.write_bytes(content)
    with pytest.raises(DataError, match="not a NIfTI"):
        read_volume(path)


def test_random_bytes_never_escape_as_another_exception(raw_nifti):
    rng = np.random.default_rng(7)
    path = raw_nifti()
    sound = path.read_bytes()
    refused = 0
    for _ in range(300):
        content = bytearray(sound)
        for position in rng.integers(0, 344, size=6):
            content[position] = rng.integers(256)
        path.write_bytes(content)
        try:
            read_volume(path)
        except DataError:
            refused += 1
    assert 50 < refused < 300


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_values_that_are_not_finite_are_counted_and_located(raw_nifti, value):
    data = np.zeros((2, 3, 4), np.float32)
    data[1, 2, 3] = data[1, 0, 2] = value
    path = raw_nifti(datatype=16, bitpix=32, data=data.tobytes(order="F"))
    for reader in (read_labels, read_mask):
        with pytest.raises(DataError, match=r"not labels.*2 of 24, the first at \(1, 0, 2\)"):
            reader(path)


def test_scale_that_overflows_is_not_finite(raw_nifti):
    with pytest.raises(DataError, match=r"not finite.*23 of 24"):  # voxel 0 stays 0
        read_volume(raw_nifti(scl_slope=3e38, data=np.arange(0, 48, 2, dtype="<i2").tobytes()))


def test_double_beyond_float32_is_not_finite(raw_nifti):
    with pytest.raises(DataError, match="not finite"):
        read_volume(raw_nifti(datatype=64, bitpix=64, data=np.full(24, 1e300).tobytes()))


def test_neither_qform_nor_sform_takes_the_spacing_and_warns(raw_nifti, caplog):
    with caplog.at_level(logging.WARNING):
        grid = read_header(raw_nifti(sform_code=0)).grid
    np.testing.assert_array_equal(grid.affine, np.diag([2, 3, 4, 1]))
    assert "neither qform nor sform" in caplog.text


def test_forms_that_differ_warn_and_the_sform_counts(raw_nifti, caplog):
    with caplog.at_level(logging.WARNING):
        grid = read_header(raw_nifti(qform_code=1)).grid
    assert grid.affine[0, 3] == -5
    assert "qform and sform differ" in caplog.text


def test_impossible_qform_does_not_matter_beside_a_sform(raw_nifti):
    assert read_header(raw_nifti(qform_code=1, quaternion=(3, 0, 0))).grid.affine[0, 3] == -5


def test_unset_handedness_is_right(raw_nifti):
    grid = read_header(raw_nifti(sform_code=0, qform_code=1, pixdim=(0, 2, 3, 4, 0, 0, 0, 0))).grid
    np.testing.assert_allclose(grid.affine, np.diag([2, 3, 4, 1]))
