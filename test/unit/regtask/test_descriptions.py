"""The dataset descriptions that we ship."""

import importlib.util
import json
from pathlib import Path

import jsonschema
import pytest

from regtask import read_dataset

FOLDER = Path(__file__).resolve().parents[3] / "datasets_json"
DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"
CONFIGS = DATA / "learn2reg_official" / "evaluation_configs"
OURS = sorted(FOLDER.glob("*_dataset.json"))
TASKS = {
    # name: (train, val, test) pairs
    "AbdomenCTCT": (0, 45, 39),
    "AbdomenMRCT": (0, 3, 8),
    "LungCT": (0, 3, 10),
    "NLST": (0, 10, 0),
    "OASIS": (0, 19, 38),
    "OncoReg": (0, 0, 4),
    "ThoraxCBCT": (22, 6, 0),
}

needs_configs = pytest.mark.skipif(
    not CONFIGS.is_dir(), reason=f"evaluation configurations absent: {CONFIGS}"
)


@pytest.fixture(scope="module")
def validator():
    schema = json.loads((FOLDER / "schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.stem)
def test_validates(validator, path):
    content = json.loads(path.read_text(encoding="utf-8"))
    assert [error.message for error in validator.iter_errors(content)] == []
    assert path.name == f"{content['name']}_dataset.json"


def test_all_expected_descriptions_exist():
    assert {path.name.removesuffix("_dataset.json") for path in OURS} >= set(TASKS)


@pytest.mark.parametrize(("name", "counts"), TASKS.items())
def test_pairs_and_counters(name, counts):
    dataset = read_dataset(FOLDER / f"{name}_dataset.json")
    keys = ("training_paired_images", "registration_val", "registration_test")
    assert tuple(len(dataset.raw[key]) for key in keys) == counts
    counters = ("numPairedTraining", "numRegistration_val", "numRegistration_test")
    assert tuple(dataset.raw[key] for key in counters) == counts
    assert len(dataset.raw["training"]) == dataset.raw["numTraining"]
    for split, count in zip(("train", "val", "test"), counts, strict=True):
        if count:
            pairs = dataset.pairs(split)
            assert {dataset.modality_of(pair.fixed) for pair in pairs} <= {"CT", "CBCT", "MR", "MR T1"}


def test_thorax_pairs():
    dataset = read_dataset(FOLDER / "ThoraxCBCT_dataset.json")
    assert dataset.raw["tensorImageShape"] == {"0": [256, 192, 192]}
    assert [pair.case_key for pair in dataset.pairs()] == [
        f"{patient}_{time}<--{patient}_0000"
        for time in ("0001", "0002")
        for patient in ("0011", "0012", "0013")
    ]


@needs_configs
@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "phase"),
    [
        ("AbdomenCTCT", "val"),
        ("AbdomenCTCT", "test"),
        ("AbdomenMRCT", "val"),
        ("AbdomenMRCT", "test"),
        ("LungCT", "val"),
        ("LungCT", "test"),
        ("NLST", "val"),
        ("OASIS", "val"),
        ("OASIS", "test"),
        ("ThoraxCBCT", "val"),
    ],
)
def test_pairs_are_the_official_ones(name, phase):
    path = CONFIGS / f"{name}_{phase.upper()}_evaluation_config.json"
    official = json.loads(path.read_text(encoding="utf-8"))
    ours = json.loads((FOLDER / f"{name}_dataset.json").read_text(encoding="utf-8"))
    assert ours[f"registration_{phase}"] == official["eval_pairs"]
    if name != "ThoraxCBCT":  # its configuration has the shape of the first release
        assert [*ours["tensorImageShape"]["0"], 3] == official["expected_shape"]


def test_files_are_what_the_script_writes(tmp_path):
    spec = importlib.util.spec_from_file_location("make_datasets", FOLDER / "make_datasets.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.main(tmp_path)
    written = sorted(tmp_path.iterdir())
    assert [path.name for path in written] == [f"{name}_dataset.json" for name in sorted(TASKS)]
    for path in written:
        assert path.read_text(encoding="utf-8") == (FOLDER / path.name).read_text(encoding="utf-8")


GOOD = {
    "name": "T",
    "registration_val": [{"fixed": "imagesTr/T_0001_0000.nii.gz", "moving": "./imagesTr/T_0001_0001.nii.gz"}],
}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"license": "CC BY 4.0", "tensorImageSize": "4D"},
        {"labels": {"1": "liver"}},
        {"labels": {"0": {"1": "liver"}}},
        {"validation": GOOD["registration_val"], "numValidation": 1},
        {
            "training": [
                {"image": "imagesTr/T_0001_0000.nii.gz", "keypoints": "keypointsTr/T_0001_0000.nii.gz"}
            ]
        },
    ],
)
def test_schema_accepts_the_published_variants(validator, change):
    assert validator.is_valid(GOOD | change)


@pytest.mark.parametrize(
    "bad",
    [
        {"name": "T"},
        {"registration_val": []},
        GOOD | {"name": 3},
        GOOD | {"labels": {"liver": "1"}},
        GOOD | {"modality": ["CT"]},
        GOOD | {"registration_val": [{"fixed": "imagesTr/T_0001_0000.nii.gz"}]},
        GOOD
        | {"registration_val": [GOOD["registration_val"][0] | {"fixed": "../imagesTr/T_0001_0000.nii.gz"}]},
        GOOD
        | {"registration_val": [GOOD["registration_val"][0] | {"fixed": "/imagesTr/T_0001_0000.nii.gz"}]},
        GOOD | {"registration_val": [GOOD["registration_val"][0] | {"fixed": "imagesTr/T_1_0000.nii.gz"}]},
        GOOD | {"registration_val": GOOD["registration_val"] * 2},
    ],
)
def test_schema_refuses(validator, bad):
    assert not validator.is_valid(bad)
