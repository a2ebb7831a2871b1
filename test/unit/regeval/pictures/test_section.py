"""Where things are in a plane, for every way that an array can lie in the scanner."""

import itertools

import numpy as np
import pytest
from PIL import Image

from regeval.pictures.outlines import outline
from regeval.pictures.png import grey_png
from regeval.pictures.section import Section
from regtask import Grid

SHAPE = (5, 6, 7)
WAYS = [
    (order, signs)
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]


def lying(order, signs, shape=SHAPE, tilt=0.0):
    """A grid whose array axis a runs along the scanner's axis order[a]."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (scanner, sign) in enumerate(zip(order, signs, strict=True)):
        affine[scanner, axis] = sign * (1.0 + 0.5 * axis)
    turn = np.array([[np.cos(tilt), -np.sin(tilt), 0], [np.sin(tilt), np.cos(tilt), 0], [0, 0, 1]])
    affine[:3, :3] = turn @ affine[:3, :3]
    return Grid(shape, affine)


@pytest.mark.parametrize(("order", "signs"), WAYS)
def test_the_right_and_the_front_are_at_the_left_and_the_top(order, signs):
    grid = lying(order, signs, tilt=0.3)
    section = Section.of(grid)
    places = grid.index_to_ras(np.indices(SHAPE).reshape(3, -1).T).reshape(*SHAPE, 3)
    x, y = np.cos(0.3), np.sin(0.3)
    to_the_right, to_the_front = places @ [x, y, 0], places @ [-y, x, 0]
    index = SHAPE[section.axis] // 2
    shown = section.plane(to_the_right, index)
    assert (np.diff(shown, axis=1) < 0).all()
    assert (np.diff(section.plane(to_the_front, index), axis=0) < 0).all()
    assert np.ptp(section.plane(places[..., 2], index)) < 1e-9
    assert (section.name, section.letters) == ("axial", ("R", "L", "A", "P"))
    steps = -np.diff(shown[0])[0], -np.diff(section.plane(to_the_front, index)[:, 0])[0]
    assert section.pixel_mm == pytest.approx(steps[::-1])
    positions = section.positions(SHAPE, index)
    assert np.array_equal(
        section.plane(places, index), places[tuple(np.moveaxis(positions.astype(int), -1, 0))]
    )


@pytest.mark.parametrize(
    ("scanner", "name", "letters"),
    [
        (0, "sagittal", ("A", "P", "S", "I")),
        (1, "coronal", ("R", "L", "S", "I")),
        (2, "axial", ("R", "L", "A", "P")),
    ],
)
def test_a_flat_image_is_shown_as_it_is(scanner, name, letters):
    order = tuple((scanner + one) % 3 for one in range(3))
    section = Section.of(lying(order, (1, -1, 1), shape=(1, 6, 7)))
    assert (section.axis, section.name, section.letters) == (0, name, letters)


def test_outlines_run_along_the_edges_of_pixels():
    labels = np.zeros((3, 4), int)
    labels[1, 1:3] = 2
    labels[1, 3] = 5  # at the border of the image
    assert outline(labels) == "M1 1H4M1 2H4M1 1V2M3 1V2M4 1V2"
    assert outline(labels == 2) == "M1 1H3M1 2H3M1 1V2M3 1V2"
    assert outline(np.zeros((2, 2), int)) == ""


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (40, 17)])
def test_png_is_read_by_others(shape, tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    path = tmp_path / "x.png"
    path.write_bytes(grey_png(pixels[::-1, ::-1]))
    with Image.open(path) as image:
        assert image.mode == "L"
        assert np.array_equal(np.asarray(image), pixels[::-1, ::-1])
