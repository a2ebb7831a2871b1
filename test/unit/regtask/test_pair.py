from pathlib import Path

import pytest

from regtask import CaseId, Companions, DataError, Pair


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def pair_of(root: Path, fixed: str, moving: str) -> Pair:
    return Pair.of(root / fixed, root / moving)


def test_ids_and_key():
    pair = pair_of(Path("T"), "imagesTr/T_0011_0001.nii.gz", "imagesTr/T_0011_0000.nii.gz")
    assert pair.fixed_id == CaseId("0011", "0001")
    assert pair.moving_id == CaseId("0011", "0000")
    assert pair.case_key == "0011_0001<--0011_0000"


def test_companions_lie_beside(tmp_path):
    touch(
        tmp_path, "labelsTr/T_0001_0000.nii.gz", "labelsTr/T_0001_0001.nii.gz", "masksTr/T_0001_0001.nii.gz"
    )
    pair = pair_of(tmp_path, "imagesTr/T_0001_0000.nii.gz", "imagesTr/T_0001_0001.nii.gz")
    assert pair.labels() == Companions(
        tmp_path / "labelsTr/T_0001_0000.nii.gz", tmp_path / "labelsTr/T_0001_0001.nii.gz"
    )
    assert pair.masks() == Companions(None, tmp_path / "masksTr/T_0001_0001.nii.gz")
    assert pair.landmarks() == pair.keypoints() == Companions(None, None)


def test_only_the_folder_is_renamed(tmp_path):
    root = tmp_path / "images of mine" / "images"
    touch(root, "labelsTr/images_0001_0000.nii.gz")
    pair = pair_of(root, "imagesTr/images_0001_0000.nii.gz", "imagesTr/images_0002_0000.nii.gz")
    assert pair.labels().fixed == root / "labelsTr/images_0001_0000.nii.gz"


def test_validation_folder_of_lumir(tmp_path):
    touch(tmp_path, "labelsVal/T_0001_0000.nii.gz")
    pair = pair_of(tmp_path, "imagesVal/T_0001_0000.nii.gz", "imagesVal/T_0002_0000.nii.gz")
    assert pair.labels().fixed == tmp_path / "labelsVal/T_0001_0000.nii.gz"


def test_other_folders_have_no_companions(tmp_path):
    touch(tmp_path, "frames/T_0001_0000.nii.gz", "masksTr/T_0001_0000.nii.gz", "framesTr/T_0001_0000.nii.gz")
    pair = pair_of(tmp_path, "frames/T_0001_0000.nii.gz", "frames/T_0001_0000.nii.gz")
    assert pair.masks() == pair.labels() == Companions(None, None)


def test_masks_of_test_images_among_the_training_masks(tmp_path):
    touch(tmp_path, "masksTr/T_0001_0000.nii.gz", "masksTs/T_0001_0001.nii.gz", "masksTr/T_0001_0001.nii.gz")
    pair = pair_of(tmp_path, "imagesTs/T_0001_0000.nii.gz", "imagesTs/T_0001_0001.nii.gz")
    assert pair.masks() == Companions(
        tmp_path / "masksTr/T_0001_0000.nii.gz", tmp_path / "masksTs/T_0001_0001.nii.gz"
    )


def test_plain_points(tmp_path):
    touch(tmp_path, "landmarksTr/T_0001_0000.csv", "landmarksTr/T_0001_0001.csv")
    pair = pair_of(tmp_path, "imagesTr/T_0001_0000.nii.gz", "imagesTr/T_0001_0001.nii")
    assert pair.landmarks() == Companions(
        tmp_path / "landmarksTr/T_0001_0000.csv", tmp_path / "landmarksTr/T_0001_0001.csv"
    )


@pytest.mark.parametrize("kind", ["keypoints", "landmarks"])
@pytest.mark.parametrize(("modality", "folder"), [("0001", "01Tr"), ("0002", "02Tr"), ("0001", "00000001Tr")])
def test_points_per_pair_of_modalities(tmp_path, kind, modality, folder):
    names = [f"T_0011_{modality}.csv", "T_0011_0000.csv"]
    touch(tmp_path, *(f"{place}/{name}" for place in (f"{kind}{folder}", f"{kind}Tr") for name in names))
    pair = pair_of(tmp_path, f"imagesTr/T_0011_{modality}.nii.gz", "imagesTr/T_0011_0000.nii.gz")
    assert getattr(pair, kind)() == Companions(*(tmp_path / f"{kind}{folder}" / name for name in names))


def test_points_of_two_folders_are_never_mixed(tmp_path):
    touch(
        tmp_path,
        "keypoints01Tr/T_0011_0001.csv",
        "keypointsTr/T_0011_0001.csv",
        "keypointsTr/T_0011_0000.csv",
    )
    pair = pair_of(tmp_path, "imagesTr/T_0011_0001.nii.gz", "imagesTr/T_0011_0000.nii.gz")
    assert {path.parent.name for path in pair.keypoints()} == {"keypointsTr"}


def test_name_without_ids():
    with pytest.raises(DataError, match="without case and modality"):
        pair_of(Path("T"), "imagesTr/fixed.nii.gz", "imagesTr/T_0001_0000.nii.gz")
