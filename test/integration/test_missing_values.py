"""Images with voxels without a value are registered by the others."""

import json

import numpy as np
import pytest

from regtask import read_field, read_volume, write_volume

pytestmark = pytest.mark.integration


def lacking(shape):
    """Outside a cylinder, as a scanner's circle leaves it, and some voxels inside."""
    i, j, k = np.indices(shape)
    hole = (i - shape[0] / 2) ** 2 + (j - shape[1] / 2) ** 2 > 12**2
    return hole | ((i + j + k) % 97 == 0)


def rewrite(path, invalid, value=None):
    volume = read_volume(path)
    if value is None:
        write_volume(path, volume.data, volume.grid, invalid=invalid)
    else:
        write_volume(path, np.where(invalid, value, volume.data), volume.grid)


def run(dinoreg, task, output, *more):
    return dinoreg("run", "--dataset", task.description, "--output", output, "--preset", "mind", *more)


def test_a_pair_with_nan_is_registered_and_the_log_counts(damaged, tmp_path, dinoreg):
    hole = lacking((32, 28, 36))
    for name in damaged.pairs[0]:
        rewrite(damaged.image(name), hole)
    done = run(dinoreg, damaged, tmp_path / "out")
    assert done.code == 0, done.err
    assert f"{damaged.image('0001_0000')}: {hole.sum()} of {hole.size} voxels have no value" in done.err
    entry = json.loads((tmp_path / "out/manifest.json").read_text())["pairs"][damaged.cases[0]]
    assert entry["status"] == "ok"
    field = read_field(tmp_path / "out" / damaged.fields[0])
    # The true shift is (3, -5, 7); in the middle of the cylinder it has to be found.
    middle = field[12:20, 10:18, 12:24].reshape(-1, 3).mean(axis=0)
    np.testing.assert_allclose(middle, (3, -5, 7), atol=1)


def test_what_stands_where_no_value_is_does_not_matter(damaged, tmp_path, dinoreg):
    """CT: NaN, -2000 and -3024 beyond the circle give one field."""
    content = json.loads(damaged.description.read_text())
    content["modality"] = {"0": "CT", "1": "CT"}
    content["registration_val"] = content["registration_val"][:1]
    damaged.description.write_text(json.dumps(content))
    hole = lacking((32, 28, 36))
    fields = []
    for number, value in enumerate((None, -2000, -3024)):
        for name in damaged.pairs[0]:
            rewrite(damaged.image(name), hole, value)
        assert run(dinoreg, damaged, tmp_path / str(number)).code == 0
        fields.append(read_field(tmp_path / str(number) / damaged.fields[0]))
    for field in fields[1:]:
        np.testing.assert_array_equal(field, fields[0])
