import json

import nibabel
import numpy as np
import pytest
from motion_samples import moving_disc

from dinoreg.motion.cines.cine import read_cine
from dinoreg.motion.cines.sequences import choose, read_cine_dataset, read_single
from dinoreg.motion.network.sampling import prepare
from dinoreg.motion.settings import load_motion_config
from regtask.errors import DataError
from regtask.images import write_volume


def _write(folder, *, axis=2, **changes):
    """A data set of one sequence; `changes` replace keys of its entry, None removes them."""
    disc = moving_disc()
    array = np.moveaxis(disc.cine.frames, 0, axis)
    spacing = np.insert(np.array(disc.cine.spacing_mm), axis, 1.0)
    nibabel.Nifti1Image(array, np.diag([*spacing, 1.0])).to_filename(folder / "frames.nii.gz")
    labels = np.moveaxis(np.stack([disc.labels[0], disc.labels[3]]), 0, axis)
    nibabel.Nifti1Image(labels, np.diag([*spacing, 1.0])).to_filename(folder / "labels.nii.gz")
    entry = {
        "id": "disc",
        "frames": "./frames.nii.gz",
        "labels": "./labels.nii.gz",
        "labelled_frames": [0, 3],
        "template_frame": 0,
        "frame_axis": axis,
    } | changes
    entry = {key: value for key, value in entry.items() if value is not None}
    path = folder / "CINE.json"
    path.write_text(json.dumps({"name": "cine", "sequences": [entry]}))
    return path


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_frames_and_labels_along_any_axis(axis, tmp_path):
    (found,) = read_cine_dataset(_write(tmp_path, axis=axis))
    disc = moving_disc()
    assert np.array_equal(found.cine.frames, disc.cine.frames)
    assert found.cine.spacing_mm == pytest.approx(disc.cine.spacing_mm)
    assert sorted(found.labels) == [0, 3]
    assert np.array_equal(found.labels[3], disc.labels[3])
    assert np.array_equal(found.target, disc.labels[0] > 0)


def _write_mha(path, array, spacing="1.5 2 1"):
    lines = [
        "ObjectType = Image",
        "NDims = 3",
        "BinaryData = True",
        "BinaryDataByteOrderMSB = False",
        "CompressedData = False",
        f"ElementSpacing = {spacing}" if spacing else "Modality = MET_MOD_MR",
        "DimSize = " + " ".join(str(n) for n in array.shape),
        "ElementType = MET_FLOAT",
        "ElementDataFile = LOCAL",
    ]
    data = array.astype("<f4").tobytes(order="F")
    path.write_bytes("".join(f"{line}\n" for line in lines).encode() + data)


def test_meta_image(tmp_path):
    disc = moving_disc()
    _write_mha(tmp_path / "seq.mha", np.moveaxis(disc.cine.frames, 0, 2))
    _write_mha(tmp_path / "first.mha", disc.labels[0][..., None])
    found = read_single(tmp_path / "seq.mha", 0, tmp_path / "first.mha")
    assert np.array_equal(found.cine.frames, disc.cine.frames)
    assert found.cine.spacing_mm == (1.5, 2.0)
    assert np.array_equal(found.labels[0], disc.labels[0])


def test_meta_image_without_spacing(tmp_path):
    _write_mha(tmp_path / "seq.mha", np.zeros((8, 9, 4)), spacing="")
    with pytest.raises(DataError, match=r"no spacing.*ElementSpacing"):
        read_cine(tmp_path / "seq.mha")


def test_nifti_without_spacing(tmp_path):
    path = tmp_path / "seq.nii"
    nibabel.Nifti1Image(np.zeros((8, 9, 4), np.float32), np.eye(4)).to_filename(path)
    data = bytearray(path.read_bytes())
    data[80:92] = bytes(12)  # pixdim 1 to 3
    path.write_bytes(data)
    with pytest.raises(DataError, match="impossible voxel size"):
        read_cine(path)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((8, 9, 1), "not a sequence.*1 frames"),
        ((8, 9), "not a 2D sequence.*three axes"),
        ((8, 9, 1, 5), "not a 2D sequence.*three axes"),
    ],
)
def test_other_ranks_and_one_frame(shape, message, tmp_path):
    nibabel.Nifti1Image(np.zeros(shape, np.float32), np.eye(4)).to_filename(tmp_path / "seq.nii.gz")
    with pytest.raises(DataError, match=message):
        read_cine(tmp_path / "seq.nii.gz")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"template_frame": None}, "sequence not understood.*template_frame.*name the template frame"),
        ({"template_frame": 6}, "no such template frame.*0 to 5; got 6"),
        ({"labelled_frames": [0, 9]}, "no such labelled frame.*0 to 5; got 9"),
        ({"labelled_frames": [0]}, "labels and frames differ.*1 or 6 frames"),
        ({"frames": "../frames.nii.gz"}, "path leaves the data folder"),
        ({"frames": "./none.nii.gz"}, "cannot read.*none.nii.gz"),
    ],
)
def test_descriptions_that_cannot_be_used(changes, message, tmp_path):
    with pytest.raises(DataError, match=message):
        read_cine_dataset(_write(tmp_path, **changes))


def test_no_sequences(tmp_path):
    (tmp_path / "CINE.json").write_text("{}")
    with pytest.raises(DataError, match="no sequences"):
        read_cine_dataset(tmp_path / "CINE.json")


def test_choosing(tmp_path):
    sequences = read_cine_dataset(_write(tmp_path))
    assert choose(sequences, None) == sequences
    with pytest.raises(DataError, match="no such sequence: ring; expected one of disc"):
        choose(sequences, ["ring"])


def test_a_window_on_the_target_needs_one(tmp_path):
    (found,) = read_cine_dataset(_write(tmp_path, labels=None))
    with pytest.raises(DataError, match="no target in the template frame"):
        prepare(found, load_motion_config())
    prepare(found, load_motion_config(overrides=['window.centre="image"']))


def test_labels_of_another_size(tmp_path):
    path = _write(tmp_path)
    disc = moving_disc()
    write_volume(tmp_path / "labels.nii.gz", np.zeros(disc.cine.grid.shape), disc.cine.grid, np.int16)
    assert read_cine_dataset(path)[0].target is None  # all frames are there, none holds a target
    nibabel.Nifti1Image(np.zeros((7, 9, 2), np.int16), np.eye(4)).to_filename(tmp_path / "labels.nii.gz")
    with pytest.raises(DataError, match="labels and frames differ"):
        read_cine_dataset(path)
