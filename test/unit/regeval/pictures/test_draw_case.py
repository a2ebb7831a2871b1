"""A known shift, drawn: what is warped has to be the fixed image, outlines and all."""

import base64
import io
import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from regeval.inputs.config import config_of
from regeval.inputs.ground_truth import read_truth
from regeval.pictures import draw_case
from regeval.pictures.outlines import outline
from regtask import Grid, read_dataset, write_landmarks, write_volume

SHAPE, SPACING_MM = (24, 20, 16), (1.0, 2.0, 3.0)
SHIFT = (3, -2, 1)
SVG = "{http://www.w3.org/2000/svg}"


def block(shape, low, high):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return mask


@pytest.fixture
def made(tmp_path):
    """Make a task of one pair, the moving image shifted; returns pair, truth and the true field."""

    def call(labels=True, points=False, images=True):
        fixed = np.zeros(SHAPE, np.uint8)
        fixed[block(SHAPE, (6, 6, 4), (14, 12, 8))] = 1
        fixed[block(SHAPE, (15, 5, 9), (18, 8, 12))] = 2  # small: it suffers most
        moving = np.roll(fixed, SHIFT, (0, 1, 2))
        grid = Grid(SHAPE, np.diag([-SPACING_MM[0], *SPACING_MM[1:], 1.0]))
        for name, volume in (("0001", fixed), ("0002", moving)):
            if images:
                write_volume(tmp_path / f"imagesTr/T_{name}_0000.nii.gz", 200 - 100.0 * volume, grid)
            if labels:
                write_volume(tmp_path / f"labelsTr/T_{name}_0000.nii.gz", volume, grid, np.uint8)
            if points:
                place = np.array([[8.0, 9.0, 6.0], [10.0, 4.0, 11.0]]) + (SHIFT if name == "0002" else 0)
                place[1, 0] += 2 if name == "0002" else 0
                write_landmarks(tmp_path / f"landmarksTr/T_{name}_0000.csv", place)
        pair = {"fixed": "./imagesTr/T_0001_0000.nii.gz", "moving": "./imagesTr/T_0002_0000.nii.gz"}
        path = tmp_path / "T_dataset.json"
        path.write_text(json.dumps({"name": "T", "registration_val": [pair]}), encoding="utf-8")
        dataset = read_dataset(path)
        config = config_of(dataset, "val", masked=True)
        field = np.broadcast_to(np.array(SHIFT, np.float32), (*SHAPE, 3))
        return config.pairs[0], read_truth(config, config.pairs[0]), field

    for kind in ("images", "labels", "landmarks"):
        (tmp_path / f"{kind}Tr").mkdir()
    return call


class Drawn:
    """A picture, taken apart."""

    def __init__(self, text):
        self.text = text
        root = ElementTree.fromstring(text)
        self.panels = [group for group in root.findall(f"{SVG}g") if group.find(f"{SVG}image") is not None]
        self.size = [float(self.panels[0].find(f"{SVG}image").get(name)) for name in ("width", "height")]

    def pixels(self, panel):
        address = self.panels[panel].find(f"{SVG}image").get("href")
        with Image.open(
            io.BytesIO(base64.b64decode(address.removeprefix("data:image/png;base64,")))
        ) as image:
            return np.asarray(image)

    def paths(self, panel, role):
        return [one.get("d") for one in self.panels[panel].iter(f"{SVG}path") if role == one.get("class")]


def test_the_true_field_brings_image_and_labels_together(made):
    drawn = Drawn(draw_case(*made()))
    before, after, fixed = (drawn.pixels(panel) for panel in range(3))
    inside = slice(3, -3)  # what is shifted in from beyond the moving image is black
    assert np.array_equal(after[inside, inside], fixed[inside, inside])
    assert not np.array_equal(before, fixed)
    assert fixed.shape == (SHAPE[1], SHAPE[0])  # axial: rows along j, columns along i
    for panel in (1, 2):
        assert drawn.paths(panel, "result") == drawn.paths(panel, "target")
    assert drawn.paths(0, "result") != drawn.paths(0, "target")
    assert drawn.size == [144, 240]  # 24 mm to 40 mm
    # Stored from right to left, so columns stay and rows are turned: the front is at the end of axis j.
    truth = made()[1].labels[0][:, ::-1, 5].T
    assert np.array_equal(fixed < 255, truth > 0)
    assert drawn.paths(2, "target worst") == [outline(truth == 1)]


def test_the_worst_label_is_looked_at_where_it_is_largest(made):
    pair, truth, _ = made()
    drawn = Drawn(draw_case(pair, truth, np.zeros((*SHAPE, 3), np.float32)))
    assert "axial slice 11 of 16; label 2, the worst: Dice 0.000 before, 0.000 after" in drawn.text
    assert drawn.paths(2, "target worst") == [outline(truth.labels[0][:, ::-1, 10].T == 2)]


def test_without_labels_the_worst_landmark_is_marked(made):
    drawn = Drawn(draw_case(*made(labels=False, points=True)))
    assert "axial slice 12 of 16; cross: the worst of the landmarks, number 2: error 2.00 mm" in drawn.text
    (cross,) = drawn.paths(2, "cross")
    x, y = (float(number) for number in re.match(r"M(\S+) (\S+)H", cross).groups())
    # Voxel (10, 4) of 24 x 20, the second axis turned; 6 units a voxel of 1 mm, 12 of 2 mm.
    assert (x + 9, y) == pytest.approx((10.5 * 6, (20 - 4.5) * 12))
    assert not drawn.paths(2, "target")


def test_nothing_to_judge_by_shows_the_middle(made):
    assert "axial slice 9 of 16; the middle" in draw_case(*made(labels=False))


def test_beyond_the_moving_image_it_is_black(made):
    pair, truth, _ = made()
    field = np.zeros((*SHAPE, 3), np.float32)
    field[..., 0] = 10.0
    shown = Drawn(draw_case(pair, truth, field)).pixels(1)
    assert (shown[:, -10:] == 0).all()
    assert (shown[0, :-10] == 255).all()
