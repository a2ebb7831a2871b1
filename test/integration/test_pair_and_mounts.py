"""The container's entry: Learn2Reg 2026's five paths, LUMIR's mounts, and verbs given to the image."""

import json
import shutil
from importlib import metadata

import nibabel as nib
import numpy as np
import pytest

from dinoreg.cli import main as command
from dinoreg.cli.examples import verbs_of
from regtask import read_field

pytestmark = pytest.mark.integration


@pytest.fixture
def five_paths(tiny, tmp_path):
    """The platform's names of the first pair; PET, which nobody reads, is missing."""
    folder = tmp_path / "app/input"
    folder.mkdir(parents=True)
    names = [f"PSMARegPSMA_0360_{kind}.nii.gz" for kind in ("0000_00", "0001_00", "0000_01", "0001_01")]
    for name, image in zip(names[::2], tiny.pairs[0], strict=True):
        shutil.copy(tiny.image(image), folder / name)
    return [*(folder / name for name in names), tmp_path / "app/output/disp_0360_00_0360_01.nii.gz"]


# --------------------------------------------------------------------------------------------- Learn2Reg 2026


def test_five_paths_give_the_field_of_the_command(five_paths, tiny, container, quick, quick_run):
    done = container("--config", quick, *five_paths)
    assert done.code == 0, done.err
    field = five_paths[-1]
    assert [path.name for path in field.parent.iterdir()] == [field.name]
    stored = nib.load(field)  # as the scorer reads it
    assert stored.shape == (3, *tiny.grid.shape)
    assert stored.get_data_dtype() == np.float32
    np.testing.assert_allclose(stored.affine, tiny.grid.affine, rtol=1e-6, atol=1e-6)
    same = read_field(quick_run[0] / tiny.fields[0])
    np.testing.assert_array_equal(np.asarray(stored.dataobj), np.moveaxis(same, -1, 0))
    found = np.median(np.asarray(stored.dataobj)[:, 12:-12, 12:-12, 12:-12], axis=(1, 2, 3))
    np.testing.assert_allclose(found, tiny.shifts[0], atol=1.0)
    assert "PET is not read" in done.err


def test_a_moving_image_that_cannot_be_read_costs_no_field(five_paths, container):
    five_paths[2].write_bytes(b"no image")
    done = container("--preset", "mind", *five_paths)
    assert done.code == 0, done.err
    assert "holds identity instead" in done.err
    assert not read_field(five_paths[-1], layout="channel_first").any()
    assert container("--preset", "mind", "--on-failure", "raise", *five_paths).code == 3


def test_without_a_readable_image_there_is_no_field(five_paths, container):
    for path in five_paths[:-1]:
        path.unlink(missing_ok=True)
    done = container(*five_paths)
    assert done.code == 3
    assert "2 faults" in done.err
    assert "0360_0000_01" in done.err
    assert not five_paths[-1].exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["a.nii.gz", "b.nii.gz"],
            "five paths are expected, FIXED_CT FIXED_PET MOVING_CT MOVING_PET FIELD, got 2",
        ),
        (["warpp"], "did you mean the verb warp?"),
    ],
)
def test_other_numbers_of_paths_are_a_usage_error(container, arguments, words):
    done = container(*arguments)
    assert done.code == 2
    assert words in done.err


def test_a_field_of_another_format_is_refused_before_anything_is_read(five_paths, container):
    done = container(*five_paths[:-1], five_paths[-1].with_name("field.mha"))
    assert done.code == 4
    assert "not the name of a field" in done.err


# ------------------------------------------------------------------------------------------------------ LUMIR


@pytest.mark.parametrize(("home", "name"), [("", "LUMIR_dataset.json"), ("app", "LUMIR25_dataset.json")])
def test_mounts_of_lumir(tiny, container, tmp_path, quick, quick_run, home, name):
    (tmp_path / home / "input/imagesVal").mkdir(parents=True)
    (tmp_path / home / "output").mkdir()
    pairs = [("3455_0000", "3454_0000"), ("3456_0000", "3456_0001"), ("3457_0001", "3457_0000")]
    for pair, sources in zip(pairs, tiny.pairs, strict=True):
        for case, source in zip(pair, sources, strict=True):
            shutil.copy(tiny.image(source), tmp_path / home / f"input/imagesVal/LUMIRMRI_{case}.nii.gz")
    validation = [
        {
            role: f"./imagesVal/LUMIRMRI_{case}.nii.gz"
            for role, case in zip(("fixed", "moving"), pair, strict=True)
        }
        for pair in pairs
    ]
    content = {"name": "LUMIR", "license": "CC", "numValidation": 3, "validation": validation}
    (tmp_path / home / name).write_text(json.dumps(content), encoding="utf-8")
    done = container("--root", tmp_path, "--config", quick)
    assert done.code == 0, done.err
    output = tmp_path / home / "output"
    written = ["disp_3455_3454.nii.gz", "disp_3456_3456.nii.gz", "disp_3457_0001_3457_0000.nii.gz"]
    assert sorted(path.name for path in output.glob("disp_*")) == written
    for name_here, name_there in zip(written, tiny.fields, strict=True):
        np.testing.assert_array_equal(read_field(output / name_here), read_field(quick_run[0] / name_there))


def test_two_descriptions_of_lumir_are_one_too_many(container, tmp_path):
    for name in ("LUMIR_dataset.json", "LUMIR25_dataset.json"):
        (tmp_path / name).write_text("{}", encoding="utf-8")
    done = container("--root", tmp_path)
    assert done.code == 3
    assert "one description is needed" in done.err


def test_nothing_mounted_says_what_could_be(container, tmp_path):
    done = container("--root", tmp_path)
    assert done.code == 3
    assert "one file *_dataset.json, or a job's inputs.json" in done.err


# ------------------------------------------------------------------------------------------------------ verbs


@pytest.mark.parametrize("verb", sorted(command.VERBS))
def test_the_image_explains_each_verb(container, verb, monkeypatch):
    monkeypatch.setenv("DINOREG_ARGUMENTS", "--preset mind")
    done = container(verb, "--help")
    assert done.code == 0
    assert done.out.startswith(f"usage: dinoreg {verb}")


def test_the_image_runs_a_verb(container):
    done = container("presets")
    assert done.code == 0
    assert "\nauto " in done.out


def test_the_image_says_its_version(container):
    done = container("--version")
    assert (done.code, done.out.strip()) == (0, metadata.version("dinoreg"))


def test_help_of_the_image_names_what_it_reads(container):
    text = " ".join(container("--help").out.split())
    for word in ("--input DIR", "--output DIR", "--api", "FIXED_CT", "Verbs: run, register", "inputs.json"):
        assert word in text


def test_every_verb_is_run_by_something():
    listed = [name for name, _ in verbs_of(command.build_parser()) if " " not in name]
    assert sorted(listed) == sorted(command.VERBS)
