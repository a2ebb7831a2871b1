"""The metrics file of a small task: both sets of rules, the reference, sums over cases, file names."""

import json
import math
import shutil

import numpy as np
import pytest

from regeval.inputs.config import Config, Method, config_of
from regeval.inputs.ground_truth import official_points_files, read_truth
from regeval.inputs.submission import open_submission
from regeval.scoring.aggregates import aggregates
from regeval.scoring.evaluate_submission import evaluate
from regeval.scoring.score import BothScores, Score
from regtask import DataError, Grid, read_dataset, write_field, write_landmarks, write_volume
from regtask.pair import Pair

SHAPE, SPACING_MM, SHIFT = (26, 30, 34), (2.0, 0.5, 1.25), (3, -5, 7)
GRID = Grid(SHAPE, np.diag([*SPACING_MM, 1.0]))
KEY = "0001_0000<--0001_0001"


@pytest.fixture
def scored(task, tmp_path):
    """Score one field for both pairs, by the name of the mode."""
    folder = tmp_path / "predictions"
    folder.mkdir()

    def score(field, mode="strict", **options):
        for subject in ("0001", "0002"):
            write_field(folder / f"disp_{subject}_{subject}.nii.gz", field, GRID)
        config = config_of(read_dataset(task), **options)
        return evaluate(config, open_submission(folder), mode)

    return score


def test_right_field(scored, shift_field):
    document = scored(shift_field)
    case = document["cases"][KEY]
    assert case["DSC"]["detailed"][:3] == [1, 1, 1]
    assert math.isnan(case["DSC"]["detailed"][3])
    assert case["DSC"]["absent_labels"] == [9]
    assert case["HD95"]["mean"] == 0
    assert case["TRE_lm"]["mean"] == pytest.approx(0, abs=1e-6)
    assert case["num_foldings"]["mean"] == 0
    reference = document["reference"]["cases"][KEY]
    assert reference["TRE_lm"]["mean"] == pytest.approx(np.linalg.norm(np.multiply(SHIFT, SPACING_MM)))
    assert reference["DSC"]["mean"] == 0
    assert document["reference"]["aggregates"]["LogJacDetStd"]["mean"] == 0
    assert document["mode"] == "strict"
    assert document["files"][KEY] == "disp_0001_0001.nii.gz"


def test_lost_organ(scored, shift_field):
    """Label 7 is one voxel; the field reads it somewhere else."""
    shift_field[6, 12, 15] = 0
    document = scored(shift_field)
    case, total = document["cases"][KEY], document["aggregates"]
    diagonal_mm = math.hypot(26 * 2, 30 * 0.5, 34 * 1.25)
    assert case["DSC"]["detailed"][:3] == [1, 1, 0]
    assert case["HD95"]["detailed"][:3] == pytest.approx([0, 0, diagonal_mm])
    assert case["DSC"]["lost_labels"] == [7]
    assert case["HD95_l2r"]["mean"] == math.inf
    assert case["DSC_l2r"]["mean"] == pytest.approx(2 / 3)
    assert (total["DSC"]["lost_labels"], total["DSC"]["absent_labels"]) == (1, 1 + 4)  # pair 2 has no maps
    assert total["DSC"]["cases"] == 1
    assert total["DSC"]["per_label"]["7"] == {"mean": 0, "cases": 1}
    assert total["HD95_l2r"]["cases"] == 1


def test_the_mode_chooses_the_names(scored, shift_field):
    shift_field[6, 12, 15] = 0
    strict, official = scored(shift_field), scored(shift_field, "l2r")
    for name in ("LogJacDetStd", "num_foldings", "DSC", "HD95", "TRE_lm"):
        for case in strict["cases"]:
            one, other = strict["cases"][case], official["cases"][case]
            assert str(one[name]) == str(other[f"{name}_strict"])
            assert str(one[f"{name}_l2r"]) == str(other[name])
        means = [strict["aggregates"][name]["median"], official["aggregates"][f"{name}_strict"]["median"]]
        assert means[0] == pytest.approx(means[1])
    assert official["cases"][KEY]["HD95"]["mean"] == math.inf
    assert math.isnan(official["aggregates"]["DSC"]["mean"])  # pair 2 has no label maps
    assert list(official)[:4] == ["name", "aggregates", "cases", "eval_version"]


def test_true_folds(scored):
    """One fold outside the mask of pair 1, which the official evaluator never counts; pair 2 has no mask."""
    field = np.zeros((*SHAPE, 3), np.float32)
    field[1, 1, 1, 0], field[3, 1, 1, 0] = 2, -2  # 1 + (-2 - 2) / 2 = -1 at i = 2
    document = scored(field, masked=True)
    first, second = document["cases"].values()
    assert first["num_foldings"]["mean"] == 0
    assert second["num_foldings"]["mean"] == 1
    assert first["folds"]["mean"] == second["folds"]["mean"] == 1
    assert first["folds_masked"]["mean"] == 0
    assert "folds_masked" not in second
    assert second["num_foldings_l2r"]["mean"] == 0
    assert second["LogJacDetStd"]["reasons"] == ["no mask: judged everywhere"]
    assert second["folds_percent"]["mean"] == pytest.approx(100 / np.prod(SHAPE))
    assert first["digital_folds_percent"]["mean"] > first["folds_percent"]["mean"]
    assert first["NDV_percent"]["mean"] > 0
    assert first["NDV_percent_masked"]["mean"] == 0
    # The fold costs log(1e-9); the official form leaves out the two outermost voxels, where it lies.
    assert second["sdLogJ"]["mean"] > 0.1
    assert second["sdLogJ_plus3"]["mean"] == 0


def test_flat_image(tmp_path):
    """One slice: no official regularity, no tetrahedra, yet folds and labels are judged."""
    shape = (12, 11, 1)
    for kind in ("images", "labels"):
        (tmp_path / f"{kind}Tr").mkdir()
        for modality in ("0000", "0001"):
            data = np.zeros(shape)
            data[3:9, 2:8] = 1
            path = tmp_path / f"{kind}Tr/Flat_0001_{modality}.nii.gz"
            write_volume(path, data, Grid(shape, np.eye(4)), np.int16)
    write_field(tmp_path / "disp_0001_0001.nii.gz", np.zeros((*shape, 3)), Grid(shape, np.eye(4)))
    pairs = [{"fixed": "imagesTr/Flat_0001_0000.nii.gz", "moving": "imagesTr/Flat_0001_0001.nii.gz"}]
    (tmp_path / "Flat_dataset.json").write_text(json.dumps({"registration_val": pairs}))
    config = config_of(read_dataset(tmp_path / "Flat_dataset.json"))
    case = evaluate(config, open_submission(tmp_path), "strict")["cases"][KEY]
    assert case["DSC"]["mean"] == 1
    assert case["folds_percent"]["mean"] == 0
    assert math.isnan(case["NDV_percent"]["mean"])
    assert math.isnan(case["LogJacDetStd_l2r"]["mean"])


def test_identity_without_a_submission(task):
    document = evaluate(config_of(read_dataset(task)), None, "strict")
    assert str(document["cases"]) == str(document["reference"]["cases"])


def test_channel_first_has_to_be_named(task, tmp_path, shift_field):
    folder = tmp_path / "predictions"
    folder.mkdir()
    for subject in ("0001", "0002"):
        np.savez(folder / f"disp_{subject}_{subject}.npz", np.moveaxis(shift_field, -1, 0))
    config, submission = config_of(read_dataset(task)), open_submission(folder)
    with pytest.raises(DataError, match="channel-first"):
        evaluate(config, submission, "strict")
    document = evaluate(config, submission, "strict", layout="channel_first")
    assert document["cases"][KEY]["DSC"]["mean"] == 1


def test_names_of_both_generations(task, tmp_path, shift_field):
    pair = read_dataset(task).pairs()[0]
    folder = tmp_path / "predictions"
    folder.mkdir()
    expected = None
    for name in (  # each is preferred to those before
        "disp_0001_0001.nii.gz",
        "disp_0001_0001.npz",
        "disp_0001_0000_0001_0001.nii.gz",
        "disp_0001_0000_0001_0001.npz",
    ):
        (folder / name).write_bytes(b"")
        expected = name
        assert open_submission(folder).field_name(pair) == expected
    across = Pair.of(pair.moving, pair.fixed)  # 0001 <- 0000: no evaluator accepts the short name
    assert open_submission(folder).field_name(across) is None
    (folder / "disp_0001_0001_0001_0000.nii.gz").write_bytes(b"")
    assert open_submission(folder).field_name(across) == "disp_0001_0001_0001_0000.nii.gz"


def test_configurations_demand_ground_truth(task, tmp_path):
    config = config_of(read_dataset(task))
    with pytest.raises(DataError) as caught:
        read_truth(Config(config.task, config.methods, config.pairs, config.shape, False), config.pairs[1])
    assert [fault.what for fault in caught.value.faults] == ["label maps missing", "landmarks missing"]


def test_point_folders_of_the_official_evaluators(tmp_path):
    """ThoraxCBCT: key points of each pair in a folder of their own, landmarks in one for all."""
    pair = Pair.of(tmp_path / "imagesTr/T_0001_0001.nii.gz", tmp_path / "imagesTr/T_0001_0000.nii.gz")

    def add(folder):
        (tmp_path / folder).mkdir()
        for modality in ("0000", "0001"):
            write_landmarks(tmp_path / folder / f"T_0001_{modality}.csv", [[1, 2, 3]])

    def found(kind):
        path = official_points_files(pair, kind).fixed
        return path and path.parent.name

    assert found("landmarks") is None
    for kind, folder in (
        ("keypoints", "keypointsTr"),
        ("keypoints", "keypoints01Tr"),
        ("keypoints", "keypoints00000001Tr"),
        ("landmarks", "landmarksTr"),
    ):
        add(folder)
        assert found(kind) == folder
    add("landmarks01Tr")
    assert found("landmarks") == "landmarksTr"


def test_landmarks_are_measured_in_the_moving_image(task):
    """Images of one lattice and different voxel sizes: both ends of an error lie in the moving image."""
    wide = Grid(SHAPE, np.diag([4.0, 3.0, 1.0, 1.0]))
    write_volume(task.parent / "imagesTr/Knee_0001_0001.nii.gz", np.zeros(SHAPE), wide)
    document = evaluate(config_of(read_dataset(task)), None, "strict")
    for name in ("TRE_lm", "TRE_lm_l2r"):
        expected = math.hypot(3 * 4, 5 * 3, 7)
        assert document["cases"][KEY][name]["mean"] == pytest.approx(expected)


def test_voxel_size_without_images(task):
    for file in (task.parent / "imagesTr").iterdir():
        file.unlink()
    config = config_of(read_dataset(task))
    pair = config.pairs[0]
    wanted = Config("Knee", config.methods, (pair,), SHAPE, False)
    assert read_truth(wanted, pair).moving_spacing_mm == pytest.approx(SPACING_MM)
    shutil.rmtree(task.parent / "labelsTr")
    only_points = Config("Knee", (Method("TRE", "tre"),), (pair,), SHAPE, False)
    assert read_truth(only_points, pair).official_spacing_mm == pytest.approx(SPACING_MM)  # the fixed mask
    shutil.rmtree(task.parent / "masksTr")
    with pytest.raises(DataError, match="voxel size unknown"):
        read_truth(only_points, pair)


def scores(**values):
    """Case scores with the same values by both rules."""
    made = {name: Score(float(np.nanmean(value)), tuple(value)) for name, value in values.items()}
    return BothScores(made, made, {})


def test_sums_by_hand():
    config = Config("x", (Method("DSC", "dice", (1, 2)), Method("TRE", "tre")), (), None, False)
    hard, easy = [0.1, 0.9], [0.8, 0.7]
    before = [scores(DSC=hard, TRE=[9.0, 1.0, 8.0, 2.0]), scores(DSC=easy, TRE=[7.0, 3.0, 6.0, 5.0])]
    after = [scores(DSC=[0.3, 0.9], TRE=[4.0, 1, 3, 1]), scores(DSC=[0.9, 1.0], TRE=[2.0, 1, 1, 1])]
    strict = aggregates(config, after, before, "strict")
    assert strict["DSC"]["mean"] == pytest.approx((0.6 + 0.95) / 2)
    assert strict["DSC"]["std"] == pytest.approx(0.175)
    assert strict["DSC"]["30"] == pytest.approx(0.6 + 0.3 * 0.35)  # quantile 0.3: low is bad
    assert strict["TRE"]["30"] == pytest.approx(
        1.25 + 0.7 * 1.0
    )  # means 2.25, 1.25; quantile 0.7: high is bad
    assert strict["DSC"]["per_label"] == {"1": {"mean": 0.6, "cases": 2}, "2": {"mean": 0.95, "cases": 2}}
    # Worst initial Dice of four: 30 % is one, 0.1, now 0.3. Landmarks: two of eight, 9 and 8, now 4 and 3.
    assert strict["DSC"]["hardest30"] == pytest.approx(0.3)
    assert strict["TRE"]["hardest30_pooled"] == pytest.approx(3.5)
