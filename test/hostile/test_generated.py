"""Inputs that hypothesis makes: each is read or refused by a `DataError`, never anything else."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from campaign.builders import mha, nifti, packed
from hypothesis import given
from hypothesis import strategies as st

from regtask import DataError, read_dataset, read_field, read_header, read_labels, read_landmarks, read_volume
from regtask.documents import MAX_DEPTH, read_json, read_toml
from regtask.metaimage import read_field_mha, read_volume_mha

SHAPE = (4, 3, 5)
VOXELS = np.arange(60, dtype=np.int16).reshape(SHAPE)
INT16 = st.integers(-(1 << 15), (1 << 15) - 1)
SMALL = st.integers(-2, 9)
FLOAT32 = st.floats(width=32)

HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "dim": st.tuples(*[st.one_of(SMALL, INT16)] * 8),
        "datatype": st.one_of(st.sampled_from([2, 4, 8, 16, 64, 256, 512, 768]), INT16),
        "bitpix": st.one_of(st.sampled_from([8, 16, 32, 64]), INT16),
        "pixdim": st.tuples(*[FLOAT32] * 8),
        "vox_offset": st.one_of(st.sampled_from([0.0, 352.0, 360.0, 1e9]), FLOAT32),
        "scl_slope": FLOAT32,
        "scl_inter": FLOAT32,
        "qform_code": st.integers(-1, 5),
        "sform_code": st.integers(-1, 5),
        "quaternion": st.tuples(*[FLOAT32] * 6),
        "srow": st.tuples(*[FLOAT32] * 12),
    },
)
CHANGES = st.lists(st.tuples(st.integers(0, 351), st.integers(0, 255)), max_size=12)
NUMBERS = st.one_of(
    st.sampled_from(["0", "1", "-1", "nan", "inf", "1e308", "1e-320", "9" * 50, "", "x", "4 3 5", "2 2 2"]),
    st.floats().map(str),
    st.lists(st.floats().map(str), max_size=10).map(" ".join),
)
KEYS = st.sampled_from(
    ["NDims", "DimSize", "ElementSpacing", "Offset", "TransformMatrix", "ElementType", "CompressedData",
     "BinaryDataByteOrderMSB", "HeaderSize", "ElementNumberOfChannels", "ElementDataFile"]
)  # fmt: skip
WORDS = st.text(max_size=10)
JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=20,
)
DESCRIBED = st.sampled_from(["name", "labels", "modality", "registration_val"])
COLUMNS = st.one_of(st.floats().map(str), st.text(max_size=5))
FORM = st.text(alphabet="[]{}\",:\\.=#'0123456789eE+-_ab\n\t \0", max_size=300)


def read(reader, path):
    try:
        return reader(path)
    except DataError as error:
        refusal = error
    assert refusal.faults
    assert all(str(fault).isprintable() for fault in refusal.faults)
    return None


def check_volume(volume):
    assert np.isfinite(volume.data).all()
    assert volume.data.shape == volume.grid.shape
    assert np.isfinite(volume.grid.affine).all()
    assert all(1e-4 <= size <= 1e3 for size in volume.grid.spacing_mm)
    if volume.invalid is not None:
        assert volume.invalid.any()
        assert not volume.invalid.all()


@given(fields=HEADERS, order=st.sampled_from("<>"), squeeze=st.booleans())
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_nifti_headers(tmp_path, fields, order, squeeze):
    content = nifti(VOXELS, order=order, **fields)
    path = tmp_path / ("x.nii.gz" if squeeze else "x.nii")
    path.write_bytes(packed(content) if squeeze else content)
    header, volume = read(read_header, path), read(read_volume, path)
    if volume is not None:
        assert header is not None
        check_volume(volume)
    if (labels := read(read_labels, path)) is not None:
        assert labels[0].dtype in (np.int16, np.int32)
    if (field := read(read_field, path)) is not None:
        assert np.isfinite(field).all()


@given(changes=CHANGES, cut=st.integers(0, 472))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_nifti_bytes(tmp_path, changes, cut):
    content = bytearray(nifti(VOXELS))
    for place, value in changes:
        content[place] = value
    path = tmp_path / "x.nii"
    path.write_bytes(content[: len(content) - cut // 8])
    if (volume := read(read_volume, path)) is not None:
        check_volume(volume)


@given(
    keys=st.dictionaries(KEYS, NUMBERS, max_size=4), compress=st.booleans(), drop=st.lists(KEYS, max_size=1)
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_metaimage_headers(tmp_path, keys, compress, drop):
    path = tmp_path / "x.mha"
    path.write_bytes(mha(VOXELS, compress=compress, drop=drop, **keys))
    if (volume := read(read_volume_mha, path)) is not None:
        check_volume(volume)
    read(read_field_mha, path)


@given(content=st.binary(max_size=400))
def test_bytes_of_any_kind(tmp_path, content):
    for name, readers in {
        "x.nii": (read_volume, read_labels, read_field),
        "x.mha": (read_volume_mha, read_field_mha),
        "x.npz": (read_field,),
        "x.csv": (read_landmarks,),
        "x.json": (read_json, read_dataset),
        "x.toml": (read_toml,),
    }.items():
        path = tmp_path / name
        path.write_bytes(content)
        for reader in readers:
            read(reader, path)


@given(text=FORM)
def test_documents_of_brackets_and_quotes(tmp_path, text):
    path = tmp_path / "x"
    path.write_text(text, encoding="utf-8")
    for reader in (read_json, read_toml):
        value = read(reader, path)
        assert depth(value) <= MAX_DEPTH


@given(value=JSON_VALUES)
def test_json_that_is_sound_is_read(tmp_path, value):
    path = tmp_path / "x"
    path.write_text(json.dumps(value), encoding="utf-8")
    found = read(read_json, path)
    if found is not None:
        assert json.dumps(found) == json.dumps(value)
    elif value is not None:
        assert any(letter in json.dumps(value) for letter in ("\\u0000", "\\ud", "9" * 10, "0" * 10))


@given(
    content=st.dictionaries(st.sampled_from(["name", "labels", "modality", "registration_val"]), JSON_VALUES)
)
def test_descriptions(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    if (dataset := read(read_dataset, path)) is not None:
        read(lambda _: dataset.pairs(), path)


@given(
    rows=st.lists(st.lists(st.one_of(st.floats().map(str), st.text(max_size=5)), max_size=4).map(",".join))
)
def test_landmarks(tmp_path, rows):
    path = tmp_path / "x.csv"
    path.write_text("\n".join(rows), encoding="utf-8", errors="replace")
    if (points := read(read_landmarks, path)) is not None:
        assert points.shape[1] == 3
        assert np.isfinite(points).all()


def depth(value):
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max((depth(item) for item in inner), default=0)


def test_the_builder_writes_what_is_sound(tmp_path):
    path = Path(tmp_path / "x.nii")
    path.write_bytes(nifti(VOXELS))
    np.testing.assert_array_equal(read_volume(path).data, VOXELS)
    assert struct.unpack("<i", path.read_bytes()[:4]) == (348,)
