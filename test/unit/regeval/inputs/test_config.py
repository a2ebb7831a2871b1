"""Evaluation configurations: the official ones, faulty ones, and those made from a data set."""

import json
from pathlib import Path

import pytest

from regeval.cli import main
from regeval.inputs.config import as_official, config_of, read_config
from regtask import DataError, read_dataset

CONFIGS = Path(__file__).resolve().parents[5] / "shared/data/learn2reg_official/evaluation_configs"

SOUND = {
    "task_name": "Knee",
    "evaluation_methods": [
        {"name": "LogJacDetStd", "metric": "sdlogj"},
        {"name": "DSC", "metric": "dice", "labels": ["2", 1]},
        {"name": "TRE_kp", "metric": "tre", "dest": "keypoints"},
    ],
    "expected_shape": [26, 30, 34, 3],
    "eval_config_version": 0.2,
    "eval_pairs": [
        {"fixed": "./imagesTr/Knee_0001_0000.nii.gz", "moving": "./imagesTr/Knee_0001_0001.nii.gz"}
    ],
}


@pytest.fixture
def config_file(tmp_path):
    def write(**changes):
        path = tmp_path / "config.json"
        path.write_text(json.dumps({**SOUND, **changes}))
        return path

    return write


@pytest.mark.real_data
@pytest.mark.skipif(not CONFIGS.is_dir(), reason=f"no official configurations: {CONFIGS} does not exist")
def test_official_configurations_come_back_unchanged(tmp_path):
    files = sorted(CONFIGS.glob("*.json"))
    assert len(files) == 14
    for file in files:
        raw = json.loads(file.read_text())
        ours = as_official(read_config(file, tmp_path), tmp_path)
        assert ours == {"masked_evaluation": False, **raw, "eval_config_version": 0.2}


def test_labels_written_as_text_are_numbers(config_file, tmp_path):
    """The official tool writes an explicit list so, and then finds none of them."""
    config = read_config(config_file(), tmp_path)
    assert config.methods[1].labels == (2, 1)
    assert config.shape == (26, 30, 34)
    assert config.pairs[0].fixed == tmp_path / "imagesTr/Knee_0001_0000.nii.gz"
    assert not config.masked


def test_name_of_lumir_and_no_shape(config_file, tmp_path):
    config = read_config(config_file(task_name=None, name="LUMIR", expected_shape=None), tmp_path)
    assert (config.task, config.shape) == ("LUMIR", None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"evaluation_methods": []}, "no evaluation methods"),
        ({"evaluation_methods": [{"metric": "dice"}]}, "without a name"),
        ({"evaluation_methods": [{"name": "a.b", "metric": "sdlogj"}]}, "without dots"),
        ({"evaluation_methods": [{"name": "D", "metric": "dicee"}]}, "is 'dice' meant"),
        ({"evaluation_methods": [{"name": "D", "metric": "dice"}]}, "no labels"),
        ({"evaluation_methods": [{"name": "D", "metric": "dice", "labels": ["liver"]}]}, "no labels"),
        ({"evaluation_methods": [{"name": "T", "metric": "tre", "dest": "points"}]}, "unknown points"),
        ({"evaluation_methods": [{"name": "T", "metric": "sdlogj"}] * 2}, "used twice"),
        ({"expected_shape": [26, 30, 34]}, "impossible expected_shape"),
        ({"expected_shape": [3, 26, 30, 34]}, "impossible expected_shape"),
        ({"eval_pairs": []}, "no pairs"),
        ({"eval_pairs": [{"fixed": "../../x_0001_0000.nii.gz", "moving": "x"}]}, "leaves the data folder"),
        ({"eval_pairs": SOUND["eval_pairs"] * 2}, "listed twice"),
    ],
)
def test_faults(config_file, tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        read_config(config_file(**changes), tmp_path)


def test_faults_are_listed_together(config_file, tmp_path):
    with pytest.raises(DataError) as caught:
        read_config(config_file(expected_shape=3, eval_pairs=None, evaluation_methods=None), tmp_path)
    assert len(caught.value.faults) == 3


@pytest.mark.parametrize("content", ["[]", "{", "\xff"])
def test_not_a_configuration(tmp_path, content):
    path = tmp_path / "config.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=r"not JSON|not a text file|not an evaluation"):
        read_config(path, tmp_path)
    with pytest.raises(DataError, match="cannot read"):
        read_config(tmp_path / "nothing.json", tmp_path)


def test_made_from_what_lies_beside_the_images(task):
    config = config_of(read_dataset(task))
    assert [(m.name, m.kind) for m in config.methods] == [
        ("LogJacDetStd", "sdlogj"),
        ("DSC", "dice"),
        ("HD95", "hd95"),
        ("TRE_lm", "tre"),
    ]
    assert config.methods[1].labels == (1, 2, 7, 9)  # no names in the description: those in the maps
    assert config.shape == (26, 30, 34)
    assert len(config.pairs) == 2


def test_command(task, tmp_path, capsys):
    output = tmp_path / "out.json"
    arguments = ["config", "--dataset", str(task), "--output", str(output)]
    assert main([*arguments, "--labels", "1-2", "7", "--landmarks", "--masked"]) == 0
    assert "2 pairs, LogJacDetStd, DSC, HD95\n" in capsys.readouterr().out
    written = json.loads(output.read_text())
    assert written["evaluation_methods"][1] == {"name": "DSC", "metric": "dice", "labels": [1, 2, 7]}
    assert written["masked_evaluation"] is True
    assert written["expected_shape"] == [26, 30, 34, 3]
    assert written["eval_pairs"][1]["moving"] == "./imagesTr/Knee_0002_0001.nii.gz"
    assert read_config(output, task.parent).methods[1].labels == (1, 2, 7)
    assert main([*arguments, "--labels", "liver"]) == 3
    assert "not a label" in capsys.readouterr().err


def test_a_configuration_asks_only_for_what_every_pair_has(task, tmp_path):
    """The second pair has images only; the official evaluator knows no pairs without labels or landmarks."""
    assert main(["config", "--dataset", str(task), "--output", str(tmp_path / "c.json")]) == 0
    written = json.loads((tmp_path / "c.json").read_text())
    assert [method["metric"] for method in written["evaluation_methods"]] == ["sdlogj"]
    content = json.loads(task.read_text())
    content["registration_val"] = content["registration_val"][:1]
    task.write_text(json.dumps(content))
    assert main(["config", "--dataset", str(task), "--output", str(tmp_path / "c.json")]) == 0
    written = json.loads((tmp_path / "c.json").read_text())
    assert [method["metric"] for method in written["evaluation_methods"]] == ["sdlogj", "dice", "hd95", "tre"]


def test_missing_fields(config_file, tmp_path):
    assert read_config(config_file(), tmp_path).missing == "refuse"
    config = read_config(config_file(missing_fields="worst"), tmp_path)
    assert config.missing == "worst"
    assert as_official(config, tmp_path)["missing_fields"] == "worst"
    with pytest.raises(DataError, match=r"unknown missing_fields: .* or worst; got ignore"):
        read_config(config_file(missing_fields="ignore"), tmp_path)
