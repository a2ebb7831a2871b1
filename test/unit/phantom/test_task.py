import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from dinoreg.phantom import MODALITIES, ORGAN_NAMES, task_lattice, write_phantom_task
from dinoreg.phantom import task as task_module
from dinoreg.phantom.dataset_json import dataset_json
from dinoreg.phantom.pairs import PAIRS

PUBLISHED = Path(__file__).parents[3] / "datasets_json" / "Phantom_dataset.json"


def test_every_named_file_exists_with_one_grid(coarse_task):
    root, dataset = coarse_task
    affines = set()
    for entry in dataset["training"]:
        for kind, path in entry.items():
            assert (root / path).is_file(), path
            if kind != "landmarks":
                image = nib.load(root / path)
                assert image.shape == tuple(dataset["tensorImageShape"]["0"])
                affines.add(image.affine.tobytes())
    assert len(affines) == 1
    affine = np.frombuffer(affines.pop()).reshape(4, 4)
    assert affine[0, 0] < 0 < affine[1, 1] != affine[2, 2]
    listed = {entry["image"] for entry in dataset["training"]}
    assert len(listed) == dataset["numTraining"] == 10
    for pair in dataset["registration_val"]:
        assert {pair["fixed"], pair["moving"]} <= listed


def test_pairs_cover_the_modalities(coarse_task):
    _, dataset = coarse_task
    assert dataset["modality"] == {"0": "CT", "1": "MR", "2": "CBCT"}
    used = [(p["fixed"][-11:-7], p["moving"][-11:-7]) for p in dataset["registration_val"]]
    assert used == [("0000", "0000"), ("0001", "0000"), ("0002", "0000"), ("0000", "0000"), ("0001", "0000")]
    assert dataset["numRegistration_val"] == len(PAIRS) == 5


def test_labels_and_masks_are_small_integers(coarse_task):
    root, dataset = coarse_task
    for entry in dataset["training"]:
        labels, mask = (nib.load(root / entry[kind]) for kind in ("label", "mask"))
        assert labels.get_data_dtype() == mask.get_data_dtype() == np.uint8
        assert set(np.unique(mask.dataobj)) == {0, 1}
        assert set(np.unique(labels.dataobj)) <= set(ORGAN_NAMES)


def test_fields_and_landmarks_agree_on_disk(coarse_task):
    root, dataset = coarse_task
    for pair in dataset["registration_val"][:4]:
        fixed, moving = pair["fixed"][-16:-7], pair["moving"][-16:-7]
        field_image = nib.load(root / "fieldsTr" / f"disp_{fixed}_{moving}.nii.gz")
        field = np.asarray(field_image.dataobj)
        assert field.dtype == np.float32
        assert field.shape == (*dataset["tensorImageShape"]["0"], 3)
        a, b = (
            np.loadtxt(root / "landmarksTr" / f"Phantom_{name}.csv", delimiter=",")
            for name in (fixed, moving)
        )
        assert a.shape == b.shape
        assert len(a) >= 40
        read = np.stack([map_coordinates(field[..., c], a.T, order=1) for c in range(3)], axis=1)
        np.testing.assert_allclose(a + read, b, atol=0.05)
    assert not list(root.glob("fieldsTr/disp_0008*"))  # another patient: there is no true field
    assert not list(root.glob("landmarksTr/Phantom_0008*"))


def test_scan_range_pair_moves_content_through_the_border(coarse_task):
    root, dataset = coarse_task
    pair = dataset["registration_val"][3]
    name = f"disp_{pair['fixed'][-16:-7]}_{pair['moving'][-16:-7]}.nii.gz"
    field = np.asarray(nib.load(root / "fieldsTr" / name).dataobj)
    last = field.shape[2] - 1
    leaves = (np.arange(last + 1) + field[..., 2] > last).mean()
    assert 0.1 < leaves < 0.25  # about 50 mm of 324 mm


def test_same_seed_same_bytes(coarse_task, coarse_sizes, tmp_path, monkeypatch):
    root, _ = coarse_task
    monkeypatch.setattr(task_module, "_SIZES", coarse_sizes)
    again = write_phantom_task(tmp_path, seed=5, size="small").parent
    names = sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    for name in names:
        assert (root / name).read_bytes() == (again / name).read_bytes(), name


def test_other_seed_other_images(coarse_task, coarse_sizes, tmp_path, monkeypatch):
    root, dataset = coarse_task
    monkeypatch.setattr(task_module, "_SIZES", coarse_sizes)
    monkeypatch.setattr(task_module, "PAIRS", PAIRS[:1])
    other = write_phantom_task(tmp_path, seed=6, size="small").parent
    path = dataset["registration_val"][0]["fixed"]
    assert (root / path).read_bytes() != (other / path).read_bytes()


def test_published_json_is_that_of_the_demo():
    assert json.loads(PUBLISHED.read_text()) == dataset_json(PAIRS, task_lattice("demo").shape)


def test_subject_and_modality_can_be_cut_from_the_path():
    for pair in dataset_json(PAIRS, (1, 1, 1))["registration_val"]:
        for path in pair.values():
            assert path[-16:-12].isdigit()
            assert int(path[-11:-7]) < len(MODALITIES)


def test_unknown_size_is_refused(tmp_path):
    with pytest.raises(ValueError, match="huge"):
        write_phantom_task(tmp_path, size="huge")
