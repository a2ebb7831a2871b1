"""`regeval check --task`: a sound task raises no alarm, every fault of one is named."""

import json
import shutil

import numpy as np
import pytest

from regeval.cli import main
from regtask import Grid, read_landmarks, read_volume, write_landmarks, write_volume


@pytest.fixture
def task(made, tmp_path):
    """A copy of the made-up task that may be changed; returns its description."""
    root = tmp_path / "task"
    shutil.copytree(made.description.parent, root)
    return root / made.description.name


@pytest.fixture
def check_task(capsys):
    def call(path, *more):
        code = main(["check", "--task", str(path), *more])
        return code, "".join(capsys.readouterr())

    return call


def image(task, number, kind="images"):
    suffix = ".csv" if kind == "landmarks" else ".nii.gz"
    return task.parent / f"{kind}Tr/Made_{number:04d}_0000{suffix}"


def test_a_sound_task(task, check_task):
    code, text = check_task(task)
    assert (code, "no faults" in text) == (0, True), text
    assert "3 pairs, 3 with label maps, 3 with landmarks" in text
    assert "note" not in text


WRITTEN = {
    "landmarks in millimetres": lambda points, spacing: points * spacing,
    "landmarks with swapped axes (k, j, i)": lambda points, spacing: points[:, ::-1],
    "landmarks with swapped axes (j, k, i)": lambda points, spacing: points[:, [1, 2, 0]],
}


@pytest.mark.parametrize("what", WRITTEN)
def test_landmarks_in_another_form(what, task, check_task, made):
    for number in range(1, 7):
        path = image(task, number, "landmarks")
        write_landmarks(path, WRITTEN[what](read_landmarks(path), made.grid.spacing_mm))
    code, text = check_task(task)
    assert code == 1
    assert "1 fault:" in text, text
    assert f"  - {what}, 3 times: landmarks of 0001_0000<--0002_0000" in text


def test_one_file_with_swapped_axes(task, check_task):
    path = image(task, 4, "landmarks")
    write_landmarks(path, read_landmarks(path)[:, [1, 0, 2]])
    code, text = check_task(task)
    assert code == 1
    assert "landmarks of the moving image with swapped axes (j, i, k): landmarks of 0003_0000" in text


def test_landmarks_in_the_scanner(task, check_task):
    """An origin of its own tells scanner millimetres from the voxel size alone."""
    for number in range(1, 7):
        volume = read_volume(image(task, number))
        affine = volume.grid.affine.copy()
        affine[:3, 3] = (-50, 30, 12)
        grid = Grid(volume.grid.shape, affine)
        for kind in ("images", "labels"):
            data = read_volume(image(task, number, kind)).data
            write_volume(image(task, number, kind), data, grid)
        points = grid.index_to_ras(read_landmarks(image(task, number, "landmarks")))
        write_landmarks(image(task, number, "landmarks"), points * ((-1, -1, 1) if number < 3 else 1))
    _, text = check_task(task)
    assert "landmarks in scanner millimetres (LPS): landmarks of 0001_0000" in text
    assert "landmarks in scanner millimetres (RAS), 2 times: landmarks of 0003_0000" in text


def test_counted_from_one_shows_at_the_end(task, check_task, made):
    for number in (1, 2):
        points = read_landmarks(image(task, number, "landmarks"))
        points[0] = np.array(made.grid.shape) - 1
        write_landmarks(image(task, number, "landmarks"), points + 1)
    code, text = check_task(task)
    assert code == 1
    assert "landmarks counted from 1: landmarks of 0001_0000" in text


def test_outside_without_a_reason(task, check_task):
    path = image(task, 2, "landmarks")
    points = read_landmarks(path)
    points[3] = (400, -7, 2)
    write_landmarks(path, points)
    code, text = check_task(task)
    assert code == 1
    assert "landmarks outside the image: landmarks of 0001_0000" in text
    assert "1 of 12: row 4 of the moving image: 400, -7, 2" in text


def test_outside_the_body(task, check_task, made):
    (task.parent / "masksTr").mkdir()
    mask = np.zeros(made.grid.shape, np.uint8)
    mask[:10] = 1
    write_volume(image(task, 1, "masks"), mask, made.grid, np.uint8)
    code, text = check_task(task)
    assert code == 1
    assert "landmarks outside the body: landmarks of 0001_0000" in text


def test_labels_in_one_image(task, check_task):
    for number, label in ((1, 7), (3, 9), (5, 9), (6, 9)):
        volume = read_volume(image(task, number, "labels"))
        data = volume.data.copy()
        data[3:5, 3:5, 3:5] = label
        write_volume(image(task, number, "labels"), data, volume.grid, np.uint8)
    code, text = check_task(task)
    assert code == 1
    assert "1 fault:" in text
    assert (
        "label in one image only: label 7; expected both images; got 0001_0000<--0002_0000 (fixed only)"
        in text
    )
    assert (
        "note: label 9 is in one image only and does not count in 0003_0000<--0004_0000 (fixed only)" in text
    )


def test_other_grids(task, check_task, made):
    volume = read_volume(image(task, 1, "labels"))
    moved = volume.grid.affine.copy()
    moved[0, 3] += 5
    write_volume(image(task, 1, "labels"), volume.data, Grid(volume.grid.shape, moved), np.uint8)
    (task.parent / "masksTr").mkdir()
    small = Grid((10, 10, 10), volume.grid.affine)
    write_volume(image(task, 3, "masks"), np.ones(small.shape), small, np.uint8)
    code, text = check_task(task)
    assert code == 1
    assert "image and label map differ: 0001_0000<--0002_0000; expected one grid" in text
    assert "image and mask differ: 0003_0000<--0004_0000; expected one shape" in text


def test_companions_of_one_image(task, check_task):
    image(task, 2, "labels").unlink()
    image(task, 3, "landmarks").unlink()
    path = image(task, 6, "landmarks")
    write_landmarks(path, read_landmarks(path)[:-1])
    code, text = check_task(task)
    assert code == 1
    assert "label map of one image only: 0001_0000<--0002_0000" in text
    assert "landmarks of one image only: landmarks of 0003_0000" in text
    assert "landmarks do not correspond: landmarks of 0005_0000<--0006_0000; expected as many" in text
    assert "got 12 and 11" in text


def test_pairs_listed_twice_and_of_one_image(task, check_task):
    content = json.loads(task.read_text(encoding="utf-8"))
    pairs = content["registration_val"]
    pairs += [pairs[0], {"fixed": pairs[0]["fixed"], "moving": pairs[0]["fixed"]}, {"fixed": "x"}]
    task.write_text(json.dumps(content), encoding="utf-8")
    path = image(task, 4, "landmarks")
    write_landmarks(path, read_landmarks(path)[:, [1, 0, 2]])
    code, text = check_task(task)
    assert code == 1
    assert "pair listed twice: Made: registration_val[3]; got 0001_0000<--0002_0000" in text
    assert "image paired with itself: 0001_0000<--0001_0000" in text
    assert "registration_val[5]" in text
    assert "swapped axes" in text  # the sound pairs are looked at all the same


def test_nothing_to_score_by(task, check_task):
    for kind in ("labelsTr", "landmarksTr"):
        shutil.rmtree(task.parent / kind)
    code, text = check_task(task)
    assert code == 1
    assert "nothing to score by" in text


def test_usage(task, check_task, tmp_path):
    assert check_task(tmp_path / "none.json")[0] == 3
    for words in (["--task", str(task), "--predictions", "x"], ["--dataset", str(task)], []):
        with pytest.raises(SystemExit) as stop:
            main(["check", *words])
        assert stop.value.code == 2
