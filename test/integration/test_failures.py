"""Bad input: what is said, which exit code, what is written and what is not."""

import gzip
import json
import shutil

import numpy as np
import pytest
import torch

from dinoreg.optimise import discrete
from dinoreg.optimise.adam import AdamTrace
from dinoreg.optimise.instance import stage as instance
from dinoreg.settings.load import load_config
from dinoreg.start import centres
from dinoreg.task.run_task import RunOptions, run_task
from regtask import Grid, read_dataset, read_field, read_volume, write_volume

pytestmark = pytest.mark.integration


def truncate(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def spoil(path):
    volume = read_volume(path)
    data = volume.data.copy()
    data[:, :, 1:] = np.nan  # 31360 of 32256 voxels
    image = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(image[:352] + data.tobytes(order="F")))


def flatten(path):
    write_volume(path, np.full(read_volume(path).data.shape, 7.0), read_volume(path).grid)


def crop(path):
    volume = read_volume(path)
    write_volume(path, volume.data[:-2], Grid(volume.data[:-2].shape, volume.grid.affine))


DAMAGE = {
    "missing": (lambda path: path.unlink(), "No such file"),
    "truncated": (truncate, "file ends too early"),
    "nan": (spoil, "31360 of 32256, the first at (0, 0, 1)"),
    "constant": (flatten, "constant image"),
    "shape": (crop, "fixed and moving image differ"),
}


def run(dinoreg, task, output, *more):
    return dinoreg("run", "--dataset", task.description, "--output", output, *more)


def manifest_of(output):
    return json.loads((output / "manifest.json").read_text())


@pytest.mark.parametrize("damage", DAMAGE)
def test_raise_names_the_fault_and_writes_nothing(damaged, quick, tmp_path, dinoreg, damage):
    harm, words = DAMAGE[damage]
    harm(damaged.image("0002_0000"))
    done = run(dinoreg, damaged, tmp_path / "out", "--config", quick)
    assert done.code == 3
    assert words in done.err
    assert "Tiny_0002_0000.nii.gz" in done.err
    assert "Traceback" not in done.err
    assert list((tmp_path / "out").iterdir()) == []


def test_raise_lists_all_faults_at_once(damaged, quick, tmp_path, dinoreg):
    hurt = ["0001_0000", "0001_0001", "0002_0001", "0003_0000"]
    for name, damage in zip(hurt, ["missing", "truncated", "nan", "constant"], strict=True):
        DAMAGE[damage][0](damaged.image(name))
    crop(damaged.folder / "labelsTr" / "Tiny_0004_0000.nii.gz")
    done = run(dinoreg, damaged, tmp_path / "out", "--config", quick)
    assert done.code == 3
    assert "5 faults:" in done.err
    for name in [*hurt, "0004_0000"]:
        assert f"Tiny_{name}.nii.gz" in done.err
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--preset", "mnd"], 2, ["unknown preset: mnd", "did you mean mind?"]),
        (["--set", "adam.0.iteratons=5"], 2, ["unknown key", "adam.0.iteratons", "iterations?"]),
        (["--set", "adam.0.iterations=many"], 2, ["adam.0.iterations", "integer", "'many'"]),
        (["--set", "adam.9.iterations=5"], 2, ["override not understood", "a number below 1"]),
        (["--set", "nonsense"], 2, ["override not understood", "key=value"]),
        (["--set", "adam.0.iterations=0", "--set", "masked=1"], 2, ["2 faults", "iterations", "masked"]),
        (["--config", "nowhere.toml"], 2, ["cannot read", "nowhere.toml"]),
        (["--device", "cuda:99"], 5, ["no such GPU", "cuda:99", "--device cpu"]),
        (["--device", "abacus"], 5, ["unknown device", "abacus", "auto, cpu or cuda:N"]),
        (["--device", "meta"], 5, ["unsupported device", "meta"]),
        (["--split", "exam"], 2, ["--split", "exam", "val"]),
        (["--on-failure", "ignore"], 2, ["--on-failure", "fallback"]),
        (["--split", "train"], 3, ["no pairs in split 'train'", "Tiny", "registration_val: 3"]),
        (["--preset", "identity", "--config", "some.toml"], 2, ["not allowed with"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_wrong_request(tiny, tmp_path, dinoreg, arguments, code, words):
    done = run(dinoreg, tiny, tmp_path / "out", *arguments)
    assert done.code == code
    for word in words:
        assert word in done.err
    assert "Traceback" not in done.err
    assert not list(tmp_path.rglob("*.nii.gz"))


def test_malformed_description(damaged, tmp_path, dinoreg):
    text = damaged.description.read_text()
    for content, words in (
        (text[:-1] + "}}", ["not JSON", "line 1, column"]),
        ("[]", ["not a dataset description", "a JSON object", "got list"]),
        (text.replace('"fixed"', '"fix"'), ["3 faults", "registration_val[2]", "pair without 'fixed'"]),
        (text.replace("registration_val", "registraton_val"), ["no pairs", "registration_val"]),
    ):
        damaged.description.write_text(content)
        done = run(dinoreg, damaged, tmp_path / "out", "--preset", "identity")
        assert done.code == 3
        for word in (*words, "Tiny"):
            assert word in done.err
    damaged.description.unlink()
    done = run(dinoreg, damaged, tmp_path / "out", "--preset", "identity")
    assert done.code == 3
    assert str(damaged.description) in done.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("damage", ["missing", "truncated", "nan", "shape"])
@pytest.mark.parametrize("role", ["fixed", "moving"])
def test_fallback_writes_the_identity_and_goes_on(damaged, quick, quick_run, tmp_path, dinoreg, damage, role):
    name = damaged.pairs[1][0 if role == "fixed" else 1]
    DAMAGE[damage][0](damaged.image(name))
    done = run(dinoreg, damaged, tmp_path, "--config", quick, "--on-failure", "fallback")
    assert done.code == 0
    assert "ERROR" in done.err
    field = read_field(tmp_path / damaged.fields[1])
    # Where the fixed image cannot be read at all, the moving one tells the shape.
    cropped = damage == "shape" and role == "fixed"
    assert field.shape == (30 if cropped else 32, 28, 36, 3)
    assert not field.any()
    entries = manifest_of(tmp_path)["pairs"]
    assert [entries[case]["status"] for case in damaged.cases] == ["ok", "fallback", "ok"]
    entry = entries[damaged.cases[1]]
    assert entry["fallback"] == "identity"
    assert entry["error"]
    assert entry["files"] == {damaged.fields[1]: (tmp_path / damaged.fields[1]).stat().st_size}
    for other in (0, 2):
        np.testing.assert_array_equal(
            read_field(tmp_path / damaged.fields[other]), read_field(quick_run[0] / damaged.fields[other])
        )


def test_constant_image_is_marked(damaged, quick, tmp_path, dinoreg):
    flatten(damaged.image("0002_0000"))
    done = run(dinoreg, damaged, tmp_path, "--config", quick, "--on-failure", "fallback")
    assert done.code == 0
    assert "constant image" in done.err
    entry = manifest_of(tmp_path)["pairs"][damaged.cases[1]]
    assert entry["status"] == "fallback"
    assert "constant image" in entry["error"]
    assert not read_field(tmp_path / damaged.fields[1], damaged.grid.shape).any()


@pytest.mark.parametrize(("module", "stage"), [(discrete, "search_convex"), (instance, "refine_adam")])
def test_failure_without_a_start_falls_back_to_the_identity(
    tiny, quick, tmp_path, dinoreg, monkeypatch, module, stage
):
    whole = getattr(module, stage)
    calls = []

    def second_time_fails(*arguments, **settings):
        calls.append(stage)
        if len(calls) == 2:
            raise RuntimeError("out of luck")
        return whole(*arguments, **settings)

    monkeypatch.setattr(module, stage, second_time_fails)
    done = run(dinoreg, tiny, tmp_path, "--config", quick, "--on-failure", "fallback")
    assert done.code == 0
    entries = manifest_of(tmp_path)["pairs"]
    assert [entries[case]["status"] for case in tiny.cases] == ["ok", "fallback", "ok"]
    assert entries[tiny.cases[1]]["error"] == "RuntimeError: out of luck"
    assert entries[tiny.cases[1]]["fallback"] == "identity"
    assert not read_field(tmp_path / tiny.fields[1], tiny.grid.shape).any()
    assert read_field(tmp_path / tiny.fields[2]).any()


def test_failure_after_the_start_falls_back_to_the_start(tiny, quick, tmp_path, dinoreg, monkeypatch):
    start = '[[start]]\nkind = "hypotheses"\nrange_mm = [0, 0, 12]\nstep_mm = 6.0\ncell_mm = 4.0\n'
    start += "radius_mm = [8, 8, 8]\n"
    whole = tmp_path / "whole.toml"
    whole.write_text(quick.read_text() + start)
    alone = tmp_path / "alone.toml"
    alone.write_text(quick.read_text().split("[[discrete]]")[0] + start)
    run_task(read_dataset(tiny.description), load_config(alone), RunOptions(tmp_path / "alone"))
    expected = read_field(tmp_path / "alone" / tiny.fields[0])
    assert expected[..., 2].min() > 3  # a start worth keeping; the truth is 7

    def fail(*arguments, **settings):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(instance, "refine_adam", fail)
    out = tmp_path / "out"
    done = run(dinoreg, tiny, out, "--config", whole, "--on-failure", "fallback")
    assert done.code == 0
    for case, name in zip(tiny.cases, tiny.fields, strict=True):
        entry = manifest_of(out)["pairs"][case]
        assert (entry["status"], entry["fallback"]) == ("fallback", "start")
        np.testing.assert_array_equal(
            read_field(out / name, tiny.grid.shape), read_field(tmp_path / "alone" / name)
        )


def test_start_that_is_not_finite_is_no_fallback(tiny, quick, tmp_path, dinoreg, monkeypatch):
    config = tmp_path / "start.toml"
    config.write_text(quick.read_text() + '[[start]]\nkind = "centres"\n')
    monkeypatch.setattr(centres, "match_centres", lambda fixed, moving: torch.full((3,), float("nan")))
    done = run(dinoreg, tiny, tmp_path / "out", "--config", config, "--on-failure", "fallback")
    assert done.code == 0
    for case, name in zip(tiny.cases, tiny.fields, strict=True):
        assert manifest_of(tmp_path / "out")["pairs"][case]["fallback"] == "identity"
        assert not read_field(tmp_path / "out" / name, tiny.grid.shape).any()


def test_pair_without_any_readable_image(damaged, quick, tmp_path, dinoreg):
    for name in damaged.pairs[0]:
        damaged.image(name).unlink()
    done = run(dinoreg, damaged, tmp_path, "--config", quick, "--on-failure", "fallback")
    assert done.code == 7
    assert damaged.cases[0] in done.err
    entries = manifest_of(tmp_path)["pairs"]
    assert [entries[case]["status"] for case in damaged.cases] == ["failed", "ok", "ok"]
    assert entries[damaged.cases[0]]["files"] == {}
    assert sorted(path.name for path in tmp_path.glob("disp_*")) == damaged.fields[1:]


def test_task_is_repaired_and_resumed(damaged, tiny, quick, quick_run, tmp_path, dinoreg):
    damaged.image("0001_0000").unlink()
    arguments = ("--config", quick, "--on-failure", "fallback")
    assert run(dinoreg, damaged, tmp_path / "out", *arguments).code == 0
    assert not read_field(tmp_path / "out" / tiny.fields[0]).any()
    shutil.copy(tiny.image("0001_0000"), damaged.image("0001_0000"))
    assert run(dinoreg, damaged, tmp_path / "out", *arguments, "--resume").code == 0
    entry = manifest_of(tmp_path / "out")["pairs"][tiny.cases[0]]
    assert entry["status"] == "ok"
    assert "error" not in entry
    for name in tiny.fields:
        np.testing.assert_array_equal(read_field(tmp_path / "out" / name), read_field(quick_run[0] / name))


def test_numerical_failure(tiny, quick, tmp_path, dinoreg, monkeypatch):
    def nowhere(model, term, **settings):
        return torch.full_like(model.displacement(), float("nan")), AdamTrace((), 1)

    monkeypatch.setattr(instance, "refine_adam", nowhere)
    arguments = ("--config", quick)
    done = run(dinoreg, tiny, tmp_path / "out", *arguments)
    assert done.code == 6
    assert "not finite" in done.err
    assert not list((tmp_path / "out").glob("disp_*"))
    done = run(dinoreg, tiny, tmp_path / "safe", *arguments, "--on-failure", "fallback")
    assert done.code == 0
    assert {entry["status"] for entry in manifest_of(tmp_path / "safe")["pairs"].values()} == {"fallback"}
    assert all(not read_field(tmp_path / "safe" / name).any() for name in tiny.fields)


def test_masks_that_the_configuration_needs(damaged, quick, tmp_path, dinoreg):
    (damaged.folder / "masksTr" / "Tiny_0003_0000.nii.gz").unlink()
    arguments = ("--config", quick, "--set", "preprocess.foreground=task")
    done = run(dinoreg, damaged, tmp_path / "out", *arguments)
    assert done.code == 3
    assert "mask missing: 0003_0000<--0004_0000" in done.err
    assert list((tmp_path / "out").iterdir()) == []


def test_failed_pair_that_was_taken_out_of_the_task(damaged, tmp_path, dinoreg):
    for name in damaged.pairs[0]:
        damaged.image(name).unlink()
    arguments = ("--preset", "identity", "--on-failure", "fallback", "--resume")
    assert run(dinoreg, damaged, tmp_path / "out", *arguments).code == 7
    content = json.loads(damaged.description.read_text())
    del content["registration_val"][0]
    damaged.description.write_text(json.dumps(content))
    assert run(dinoreg, damaged, tmp_path / "out", *arguments).code == 0


def test_strict_makes_a_verdict_an_exit_code(tiny, quick, tmp_path, dinoreg):
    """An unrelated pair is registered and written, and with --strict its verdict is an error."""
    config = tmp_path / "nothing.toml"
    # One iteration from no displacement: what was not found.
    config.write_text(
        quick.read_text().split("[[discrete]]")[0] + "[[adam]]\niterations = 1\ncell_mm = 2.0\n"
    )
    loose = run(dinoreg, tiny, tmp_path / "loose", "--config", config)
    assert loose.code == 0
    verdicts = [entry["verdict"] for entry in manifest_of(tmp_path / "loose")["pairs"].values()]
    assert "failed" in verdicts
    strict = run(dinoreg, tiny, tmp_path / "strict", "--config", config, "--strict")
    assert strict.code == 8
    assert "the registration failed" in strict.err
    assert all((tmp_path / "strict" / name).is_file() for name in tiny.fields)
