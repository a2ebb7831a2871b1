from pathlib import Path

import pytest

from regtask import DataError, read_dataset

A = {"fixed": "./imagesTr/T_0001_0000.nii.gz", "moving": "./imagesTr/T_0001_0001.nii.gz"}
B = {"fixed": "imagesTr/T_0002_0000.nii.gz", "moving": "imagesTr/T_0002_0001.nii.gz"}
C = {"fixed": "./imagesTs/T_0003_0000.nii.gz", "moving": "./imagesTs/T_0003_0001.nii.gz"}


def keys(dataset, split="auto"):
    return [pair.case_key for pair in dataset.pairs(split)]


def test_smallest_description(description):
    path = description({"registration_val": [A]})
    dataset = read_dataset(path)
    (pair,) = dataset.pairs()
    assert dataset.name == "Torso"  # from the file name
    assert pair.fixed == path.parent / "imagesTr/T_0001_0000.nii.gz"
    assert (dict(dataset.labels), dict(dataset.modalities)) == ({}, {})


def test_published_thorax_description_with_its_defects(description):
    """Counters and shape of an older release, key points that end in .nii.gz (formats 1.3)."""
    dataset = read_dataset(
        description(
            {
                "name": "ThoraxCBCT",
                "release": "2",
                "licence": "..",
                "provided_data": {"0": ["image", "keypoints01", "keypoints02"]},
                "modality": {"0": "FBCT", "1": "CBCT", "2": "CBCT"},
                "labels": {},
                "tensorImageSize": {"0": "3D"},
                "tensorImageShape": {"0": [390, 280, 300]},
                "numTraining": 99,
                "training": [
                    {
                        "image": "./imagesTr/ThoraxCBCT_0000_0000.nii.gz",
                        "keypoints01": "./keypoints01Tr/ThoraxCBCT_0000_0000.nii.gz",
                    }
                ],
                "test": [],
                "training_paired_images": [
                    {
                        "fixed": "./imagesTr/ThoraxCBCT_0000_0002.nii.gz",
                        "moving": "./imagesTr/ThoraxCBCT_0000_0000.nii.gz",
                    }
                ],
                "numRegistration_val": 99,
                "registration_val": [
                    {
                        "fixed": "./imagesTr/ThoraxCBCT_0011_0001.nii.gz",
                        "moving": "./imagesTr/ThoraxCBCT_0011_0000.nii.gz",
                    }
                ],
                "numRegistration_test": 0,
                "registration_test": [],
            }
        )
    )
    assert keys(dataset) == ["0011_0001<--0011_0000"]
    assert keys(dataset, "train") == ["0000_0002<--0000_0000"]
    pair = dataset.pairs()[0]
    assert (dataset.modality_of(pair.fixed), dataset.modality_of(pair.moving)) == ("CBCT", "FBCT")


def test_lumir_description(description):
    dataset = read_dataset(
        description(
            {
                "name": "LUMIR",
                "license": "CC BY 4.0",
                "modality": {"0": "T1w Brain MRI"},
                "numValidation": 36,
                "validation": [
                    {
                        "fixed": "./imagesVal/LUMIRMRI_3455_0000.nii.gz",
                        "moving": "./imagesVal/LUMIRMRI_3454_0000.nii.gz",
                    }
                ],
            }
        )
    )
    assert keys(dataset) == keys(dataset, "val") == ["3455_0000<--3454_0000"]


def test_early_lungct_description(description):
    dataset = read_dataset(description({"tensorImageSize": "4D", "labels": "none", "registration_val": [A]}))
    assert keys(dataset) == ["0001_0000<--0001_0001"]


@pytest.mark.parametrize(
    ("split", "lists"),
    [
        ("test", ["registration_test", "test_paired_images", "testing"]),
        ("val", ["registration_val", "validation", "validation_paired_images"]),
        ("train", ["training_paired_images"]),
    ],
)
def test_first_filled_list_of_a_split(description, split, lists):
    for number, name in enumerate(lists):
        before, after = lists[:number], lists[number + 1 :]
        content = {key: [] for key in before} | {name: [B]} | {key: [A] for key in after}
        assert keys(read_dataset(description(content)), split) == ["0002_0000<--0002_0001"]


def test_auto_prefers_test(description):
    lists = {"training_paired_images": [A], "registration_val": [B], "registration_test": [C]}
    dataset = read_dataset(description(lists))
    assert keys(dataset) == ["0003_0000<--0003_0001"]
    assert keys(dataset, "val") == ["0002_0000<--0002_0001"]
    assert keys(read_dataset(description(lists | {"registration_test": []}))) == ["0002_0000<--0002_0001"]


@pytest.mark.parametrize("split", ["auto", "test", "val"])
def test_no_pairs_names_the_lists_that_exist(description, split):
    dataset = read_dataset(description({"registration_val": [], "training_paired_images": [A, B]}))
    with pytest.raises(DataError, match=r"no pairs.*registration_val: 0, training_paired_images: 2"):
        dataset.pairs(split)


def test_no_pairs_suggests_the_misspelt_list(description):
    with pytest.raises(DataError, match="is 'registration_vall' meant to be 'registration_val'"):
        read_dataset(description({"registration_vall": [A]})).pairs()


def test_unknown_split(description):
    with pytest.raises(ValueError, match="split"):
        read_dataset(description({"registration_val": [A]})).pairs("validation")


def test_data_folder_elsewhere(description):
    dataset = read_dataset(description({"registration_val": [A]}), Path("/input"))
    assert dataset.pairs()[0].moving == Path("/input/imagesTr/T_0001_0001.nii.gz")


@pytest.mark.parametrize(
    "path",
    [
        "../imagesTr/T_0001_0000.nii.gz",
        "./imagesTr/../../T_0001_0000.nii.gz",
        "/etc/T_0001_0000.nii.gz",
        "C:/imagesTr/T_0001_0000.nii.gz",
    ],
)
@pytest.mark.parametrize("role", ["fixed", "moving"])
def test_path_that_leaves_the_data_folder(description, path, role):
    with pytest.raises(DataError, match="leaves the data folder") as caught:
        read_dataset(description({"registration_val": [B, A | {role: path}]})).pairs()
    assert caught.value.faults[0].where == f"Torso: registration_val[1].{role}"


@pytest.mark.parametrize(
    "entry", [{"fixed": A["fixed"]}, {"fixed": 3, "moving": 4}, "text", None, {"image": "x"}]
)
def test_entry_that_is_no_pair(description, entry):
    with pytest.raises(DataError, match="pair without"):
        read_dataset(description({"registration_val": [entry]})).pairs()


def test_all_bad_entries_are_reported_at_once(description):
    entries = [{"fixed": A["fixed"]}, A, A, A | {"fixed": "/x"}, A | {"fixed": "imagesTr/x.nii.gz"}]
    with pytest.raises(DataError) as caught:
        read_dataset(description({"registration_val": entries})).pairs()
    whats = [fault.what.split()[0:2] for fault in caught.value.faults]
    assert whats == [["pair", "without"], ["pair", "listed"], ["path", "leaves"], ["file", "name"]]


def test_list_that_is_no_list(description):
    with pytest.raises(DataError, match="not a list of pairs"):
        read_dataset(description({"registration_val": {"fixed": "a"}})).pairs()


@pytest.mark.parametrize(
    "labels",
    [{"0": "background", "1": "liver"}, {"0": {"0": "background"}, "1": {"0": "background", "1": "liver"}}],
)
def test_labels_in_either_form(description, labels):
    dataset = read_dataset(description({"labels": labels, "registration_val": [A]}))
    assert dict(dataset.labels) == {0: "background", 1: "liver"}


def test_labels_that_are_not_numbers(description):
    with pytest.raises(DataError, match=r"labels\['0'\].*'liver'"):
        read_dataset(description({"labels": {"0": {"liver": 1}}}))


def test_modality_unknown(description):
    dataset = read_dataset(description({"modality": {"1": "CT"}, "registration_val": [A]}))
    assert dataset.modality_of(Path("T_0001_0001.nii.gz")) == "CT"
    assert dataset.modality_of(Path("T_0001_0000.nii.gz")) == "unknown"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"name": "T",\n  "labels": }', r"not JSON.*line 2, column 13"),
        (b"", r"not JSON.*line 1"),
        (b"[]", "not a dataset description.*list"),
        (b"\xff\xfe{}", "not a text file"),
        (b"[" * 100_000, "nested too deeply"),
    ],
    ids=["syntax", "empty", "list", "utf-16", "deep"],
)
def test_malformed_description(tmp_path, content, message):
    path = tmp_path / "T_dataset.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_dataset(path)


def test_byte_order_mark_is_tolerated(tmp_path):
    path = tmp_path / "T_dataset.json"
    path.write_bytes(b'\xef\xbb\xbf{"name": "T"}')
    assert read_dataset(path).name == "T"


def test_no_description(tmp_path):
    with pytest.raises(DataError, match="cannot read"):
        read_dataset(tmp_path / "T_dataset.json")


@pytest.mark.parametrize("text", ["x" * 5000, "./" + "x/" * 5000 + "T_0001_0000.nii.gz"])
def test_paths_that_no_file_can_have(description, text):
    entry = {"fixed": text, "moving": "./imagesTr/T_0001_0001.nii.gz"}
    dataset = read_dataset(description({"registration_val": [entry]}))
    with pytest.raises(DataError, match=r"File name too long|without case"):
        dataset.pairs()
