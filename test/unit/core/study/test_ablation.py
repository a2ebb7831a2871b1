"""Rows, scores and tables of an ablation; what registers is replaced by known fields."""

import csv
import json
import math

import numpy as np
import pytest

from dinoreg.errors import ConfigError
from dinoreg.settings.load import parse_config
from dinoreg.study.ablation import run_ablation, tre30_mm
from dinoreg.study.ablation_rows import ablation_rows
from dinoreg.study.ablation_table import CaseResult, format_csv, format_markdown, mean_result
from dinoreg.task.manifest import Manifest
from dinoreg.task.run_task import RunOptions
from regtask import Grid, read_dataset, write_field, write_landmarks, write_volume
from regtask.errors import OutputError

SHAPE = (9, 11, 13)
SPACING = (2.0, 3.0, 5.0)
TOKENS = {"name": "dinov2", "up_sampling": 5.3, "slice_step": 3}
BASE = {
    "features": {"encoders": [TOKENS]},
    "start": [{"kind": "centres"}, {"kind": "slices"}],
    "discrete": [{}],
    "adam": [{}, {"iterations": 7}],
}


def base(**changes):
    return parse_config(BASE | changes, where="test")


def rows(config):
    return {row.name: row.config for row in ablation_rows(config)}


def test_full_comes_first_and_every_row_differs():
    found = ablation_rows(base())
    assert found[0].name == "full"
    assert found[0].config == base()
    assert len({row.config.model_dump_json() for row in found}) == len(found)


def test_rows_change_one_part():
    full, found = base(), rows(base())
    table_3 = {"full", "no-slice-match", "no-mask", "s1", "s3"}
    assert table_3 < set(found)
    assert [step.kind for step in found["no-slice-match"].start] == ["centres"]
    assert (found["no-mask"].masked, found["no-mask"].preprocess.foreground) == (False, "none")
    assert found["no-mask"].features == full.features
    for name, key, value in (
        ("s1", "up_sampling", 1.0),
        ("s3", "up_sampling", 3.0),
        ("step-1", "slice_step", 1),
        ("step-6", "slice_step", 6),
        ("axis-0", "axis", 0),
    ):
        (encoder,) = found[name].features.encoders
        assert encoder == full.features.encoders[0].model_copy(update={key: value})
        if key != "axis":
            assert found[name].start == full.start
    assert found["axis-0"].start[1].axis == 0
    assert [stage.similarity for stage in found["lcc"].adam] == ["lcc", "lcc"]
    assert found["lcc"].adam[1].iterations == 7
    assert not found["published-match"].start[1].robust
    assert (found["identity"].start, found["identity"].discrete, found["identity"].adam) == ((), (), ())
    assert found["start-only"].start == full.start
    assert (found["adam-alone"].start, found["adam-alone"].discrete) == (found["no-slice-match"].start, ())


def test_rows_of_ensembles():
    found = rows(base())
    for name, encoders in (
        ("mind-concatenate", ["dinov2", "mind"]),
        ("mind-average", ["dinov2", "mind"]),
        ("mind-alone", ["mind"]),
    ):
        assert [encoder.name for encoder in found[name].features.encoders] == encoders
    assert found["mind-average"].features.ensemble == "average"
    assert [step.kind for step in found["mind-alone"].start] == ["centres", "hypotheses"]
    with_mind = rows(base(features={"encoders": [TOKENS, {"name": "mind", "radius": 2}]}))
    assert [encoder.name for encoder in with_mind["tokens-alone"].features.encoders] == ["dinov2"]
    assert with_mind["mind-alone"].features.encoders[0].radius == 2
    assert "mind-concatenate" not in with_mind  # it is the full method


def test_rows_that_change_nothing_are_left_out():
    assert not {"tokens-alone", "step-3", "axis-2", "ssd", "robust-match"} & set(rows(base()))
    assert "robust-match" in rows(base(start=[{"kind": "slices", "robust": False}]))
    assert "ssd" in rows(base(adam=[{"similarity": "lcc"}]))
    plain = rows(base(features={"encoders": [{"name": "mind"}]}, start=[]))
    assert set(plain) == {"full", "no-mask", "lcc", "no-discrete", "identity"}


def test_chosen_rows_and_unknown_ones():
    assert [row.name for row in ablation_rows(base(), ["s1", "full"])] == ["full", "s1"]
    with pytest.raises(ConfigError) as raised:
        ablation_rows(base(), ["s2", "identiti", "full"])
    assert len(raised.value.faults) == 2
    assert "did you mean identity?" in str(raised.value)


POINTS = np.array([[2.0, 3, 4], [4, 5, 6], [3, 3, 3], [5, 6, 7]])
# Offsets in voxels; in mm 2 * (1, 3), 3 and 5 per axis: 2, 6, 3, 5.
OFFSETS = np.array([[1.0, 0, 0], [3, 0, 0], [0, 1, 0], [0, 0, 1]])


@pytest.fixture
def task(tmp_path):
    """Two pairs; the moving image shows the fixed one moved by +1 along the first axis."""
    folder = tmp_path / "task"
    grid = Grid(SHAPE, np.diag([*SPACING, 1.0]))
    for kind in ("imagesTr", "labelsTr", "landmarksTr"):
        (folder / kind).mkdir(parents=True)
    labels = np.zeros(SHAPE, np.uint8)
    labels[3:6, 3:8, 4:9] = 1
    for subject in (1, 3):
        for number, moved in ((subject, labels), (subject + 1, np.roll(labels, 1, axis=0))):
            name = f"T_{number:04d}_0000"
            write_volume(folder / "imagesTr" / f"{name}.nii.gz", moved.astype(np.float32), grid)
            write_volume(folder / "labelsTr" / f"{name}.nii.gz", moved, grid, np.uint8)
        write_landmarks(folder / "landmarksTr" / f"T_{subject:04d}_0000.csv", POINTS)
        write_landmarks(folder / "landmarksTr" / f"T_{subject + 1:04d}_0000.csv", POINTS + OFFSETS)
    pairs = [
        {"fixed": f"./imagesTr/T_{n:04d}_0000.nii.gz", "moving": f"./imagesTr/T_{n + 1:04d}_0000.nii.gz"}
        for n in (1, 3)
    ]
    path = folder / "T_dataset.json"
    path.write_text(json.dumps({"name": "T", "modality": {"0": "MR"}, "registration_val": pairs}))
    return read_dataset(path)


class KnownFields:
    """Writes the true shift where there is a discrete stage, else nothing; remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, dataset, config, options, *, pairs, load):
        (pair,) = pairs
        self.asked.append((pair.case_key, options.output.name))
        options.output.mkdir(parents=True, exist_ok=True)
        field = np.zeros((*SHAPE, 3), np.float32)
        field[..., 0] = bool(config.discrete)
        name = f"disp_{pair.fixed_id}_{pair.moving_id}.nii.gz"
        write_field(options.output / name, field, Grid(SHAPE, np.diag([*SPACING, 1.0])))
        entry = {
            "files": {name: 1},
            "seconds": 4.0,
            "stages": [{"name": "features", "seconds": 3.0}, {"name": "adam", "seconds": 1.0}],
        }
        return Manifest({}, {pair.case_key: entry})


def run(task, output, names, config=None, known=None):
    known = known or KnownFields()
    chosen = ablation_rows(config or base(), names)
    return run_ablation(task, chosen, RunOptions(output), run=known), known


def test_scores_by_hand(task, tmp_path):
    results, _ = run(task, tmp_path / "out", ["full", "identity"])
    for case in ("0001_0000<--0002_0000", "0003_0000<--0004_0000"):
        identity, full = results["identity"][case], results["full"][case]
        assert identity.dice == pytest.approx(2 / 3)  # 3 slices against 3, one further: 2 in common
        assert identity.tre_mm == pytest.approx((2 + 6 + 3 + 5) / 4)
        assert identity.tre30_mm == pytest.approx(6)  # 30 % of 4, rounded
        # With +1 along the first axis: 0, 4, sqrt(4 + 9), sqrt(4 + 25). The hardest stays the one that had 6.
        assert full.dice == 1
        assert full.tre_mm == pytest.approx((0 + 4 + math.sqrt(13) + math.sqrt(29)) / 4)
        assert full.tre30_mm == pytest.approx(4)
        assert (full.folding_percent, full.seconds, full.features_seconds) == (0, 4, 3)


def test_tre30_without_landmarks(task):
    for path in (task.root / "landmarksTr").iterdir():
        path.unlink()
    assert tre30_mm(task.pairs()[0], None) is None


def test_all_rows_of_a_pair_run_before_the_next_pair(task, tmp_path):
    _, known = run(task, tmp_path / "out", ["full", "s1"])
    one, other = "0001_0000<--0002_0000", "0003_0000<--0004_0000"
    assert known.asked == [(one, "full"), (one, "s1"), (other, "full"), (other, "s1")]


def test_what_is_finished_is_not_run_again(task, tmp_path):
    first, _ = run(task, tmp_path / "out", ["full", "identity"])
    again, known = run(task, tmp_path / "out", ["full", "s1", "identity"])
    assert {row for _, row in known.asked} == {"s1"}
    assert again["full"] == first["full"]
    _, known = run(task, tmp_path / "out", ["full", "identity"], base(adam=[{"iterations": 8}]))
    assert {row for _, row in known.asked} == {"full"}  # the identity has no Adam stage


def test_a_row_that_breaks_keeps_the_finished_ones(task, tmp_path):
    class Breaks(KnownFields):
        def __call__(self, dataset, config, options, *, pairs, load):
            if len(self.asked) == 3:
                raise KeyboardInterrupt
            return super().__call__(dataset, config, options, pairs=pairs, load=load)

    with pytest.raises(KeyboardInterrupt):
        run(task, tmp_path / "out", ["full", "s1"], known=Breaks())
    _, known = run(task, tmp_path / "out", ["full", "s1"])
    assert known.asked == [("0003_0000<--0004_0000", "s1")]


def test_scores_that_are_no_scores(task, tmp_path):
    run(task, tmp_path / "out", ["identity"])
    (tmp_path / "out" / "identity" / "scores.json").write_text('{"config_hash": 3}')
    run(task, tmp_path / "out", ["identity"])  # of another configuration: measured again
    path = tmp_path / "out" / "identity" / "scores.json"
    content = json.loads(path.read_text())
    content["cases"] = {"0001_0000<--0002_0000": {"dice": 1}}
    path.write_text(json.dumps(content))
    with pytest.raises(OutputError, match="scores not readable"):
        run(task, tmp_path / "out", ["identity"])


def test_tables_in_the_output(task, tmp_path):
    results, _ = run(task, tmp_path / "out", ["full", "identity"])
    lines = list(csv.DictReader((tmp_path / "out" / "ablation.csv").read_text().splitlines()))
    assert [(line["row"], line["case"]) for line in lines] == [
        (row, case) for row in ("full", "identity") for case in (*results["full"], "mean", "sd")
    ]
    assert float(lines[-2]["tre30_mm"]) == 6
    text = (tmp_path / "out" / "ablation.md").read_text()
    assert "| identity | no displacement | 2 | 0.667 ± 0.000 | 4.00 ± 0.00 | 6.00 ± 0.00 |" in text
    assert "| Dice of label | 1 |" in text


def result(**changes):
    values = dict.fromkeys(CaseResult.__dataclass_fields__) | {"dice_per_label": {}}
    return CaseResult(**(values | changes))


def test_means_are_over_the_cases_that_have_the_score():
    mean = mean_result([result(dice=0.5, tre_mm=3.0), result(dice=0.7)])
    assert mean == result(dice=pytest.approx(0.6), tre_mm=3.0)


def test_lost_organs_and_missing_scores_in_tables():
    results = {"full": {"a": result(dice=0.5, hd95_mm=math.inf), "b": result(dice=0.25, hd95_mm=2.0)}}
    assert format_csv(results).splitlines()[1:] == [
        "full,a,0.5,,,inf,,,,,,",
        "full,b,0.25,,,2,,,,,,",
        "full,mean,0.375,,,inf,,,,,,",
        "full,sd,0.176777,,,,,,,,,",
    ]
    # The sample's deviation of 0.5 and 0.25 is 0.25 / sqrt(2); columns that no pair has are left out.
    text = format_markdown(results, {"full": "all"})
    assert "| row |  | pairs | Dice | HD95 mm |" in text
    assert "| full | all | 2 | 0.375 ± 0.177 | inf |" in text


def test_dice_per_label_in_tables():
    nothing = {"1": 0.5, "10": math.nan}
    results = {"full": {"a": result(dice=0.5, dice_per_label=nothing | {"2": 0.75}), "b": result(dice=0.7)}}
    results["full"]["c"] = result(dice=0.9, dice_per_label={"1": 0.75, "10": 0.5})
    assert "| Dice of label | 1 | 2 | 10 |" in format_markdown(results, {"full": "all"})
    assert "| full | 0.625 | 0.750 | 0.500 |" in format_markdown(results, {"full": "all"})
    assert format_csv(results).splitlines()[0].endswith(",dice_1,dice_2,dice_10")


def test_a_lost_organ_survives_the_disk(task, tmp_path):
    class Loses(KnownFields):
        def __call__(self, dataset, config, options, *, pairs, load):
            manifest = super().__call__(dataset, config, options, pairs=pairs, load=load)
            (entry,) = manifest.pairs.values()
            field = np.full((*SHAPE, 3), 100, np.float32)
            write_field(
                options.output / next(iter(entry["files"])), field, Grid(SHAPE, np.diag([*SPACING, 1.0]))
            )
            return manifest

    first, _ = run(task, tmp_path / "out", ["full"], known=Loses())
    again, known = run(task, tmp_path / "out", ["full"])
    assert not known.asked
    assert again == first
    assert all(case.hd95_mm == math.inf for case in again["full"].values())
