"""The picture is written, whole, for every kind of pair, and shows folds."""

import logging
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread

from dinoreg.report import draw_pair, style
from dinoreg.report.feature_picture import draw_features
from dinoreg.report.pair import draw_registration
from regtask import Grid, OutputError, Pair, Volume, write_volume


def colour_count(path, colour):
    pixels = imread(path)[..., :3]
    return int((np.abs(pixels - np.array(to_rgb(colour))).max(axis=-1) < 0.02).sum())


def drawn(path):
    assert path.stat().st_size > 0
    pixels = imread(path)
    assert pixels.std() > 0.05
    return pixels.shape


def test_with_and_without_labels(case, tmp_path):
    arguments = (case.fixed, case.moving, case.warped, case.field, case.spacing_mm)
    draw_pair(tmp_path / "plain.png", *arguments)
    draw_pair(
        tmp_path / "labels.png",
        *arguments,
        fixed_labels=case.labels,
        moving_labels=case.labels[::-1],
        warped_labels=np.roll(case.labels, 2, 1),
        label_names={1: "liver"},
        title="0001_0000<--0001_0001",
        affine=np.diag([-2.0, -1.25, 3.0, 1.0]),
    )
    assert drawn(tmp_path / "plain.png") == drawn(tmp_path / "labels.png")
    for label in (1, 2):
        colour = style.label_colour(label)
        assert colour_count(tmp_path / "labels.png", colour) > 300 + colour_count(
            tmp_path / "plain.png", colour
        )
    assert sorted(file.name for file in tmp_path.iterdir()) == ["labels.png", "plain.png"]


def test_folds_are_seen(case, tmp_path):
    arguments = (case.fixed, case.moving, case.warped)
    draw_pair(tmp_path / "smooth.png", *arguments, np.zeros_like(case.field), case.spacing_mm)
    folded = np.zeros_like(case.field)
    folded[..., 0] = -2 * np.arange(26)[:, None, None]  # a reflection
    draw_pair(tmp_path / "folded.png", *arguments, folded, case.spacing_mm)
    in_legend = colour_count(tmp_path / "smooth.png", style.FOLD)
    panel = 200 * 200
    assert colour_count(tmp_path / "folded.png", style.FOLD) > in_legend + 3 * panel


def test_strong_shrinking_is_no_fold(case, tmp_path):
    shrunk = np.zeros_like(case.field)
    shrunk[..., 0] = -0.9 * np.arange(26)[:, None, None]  # determinant 0.1, below the scale
    zero = np.zeros_like(case.field)
    for name, field in (("shrunk", shrunk), ("zero", zero)):
        draw_pair(tmp_path / f"{name}.png", case.fixed, case.moving, case.warped, field, case.spacing_mm)
    counts = [colour_count(tmp_path / f"{name}.png", style.FOLD) for name in ("shrunk", "zero")]
    assert counts[0] == counts[1]


def test_flat_image_has_one_row(case, tmp_path):
    image = np.random.default_rng(0).random((128, 128, 1), np.float32)
    labels = (image > 0.9).astype(np.int16)
    field = np.ones((128, 128, 1, 3), np.float32)
    draw_pair(
        tmp_path / "flat.png",
        image,
        image,
        image,
        field,
        (1.2, 1.2, 8.0),
        fixed_labels=labels,
        warped_labels=labels,
    )
    draw_pair(tmp_path / "solid.png", case.fixed, case.moving, case.warped, case.field, case.spacing_mm)
    assert drawn(tmp_path / "flat.png")[0] < 0.6 * drawn(tmp_path / "solid.png")[0]


@pytest.mark.parametrize("value", [0, -1000, 7.5])
def test_constant_images_and_zero_field(tmp_path, value):
    image = np.full((12, 10, 8), value, np.float32)
    whole = np.ones(image.shape, np.int16)
    draw_pair(
        tmp_path / "a.png", image, image, image, np.zeros((12, 10, 8, 3)), (1, 1, 1), fixed_labels=whole
    )
    assert (tmp_path / "a.png").stat().st_size > 0


def test_many_labels(case, tmp_path):
    labels = np.arange(case.fixed.size).reshape(case.fixed.shape) // 600
    draw_pair(
        tmp_path / "a.png",
        case.fixed,
        case.moving,
        case.warped,
        case.field,
        case.spacing_mm,
        fixed_labels=labels,
    )
    drawn(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["moving", "warped", "field", "labels"])
def test_shapes_have_to_fit(case, tmp_path, name):
    setattr(case, name, getattr(case, name)[:-1])
    with pytest.raises(ValueError, match=f"{'fixed labels' if name == 'labels' else name}: expected shape"):
        draw_pair(
            tmp_path / "a.png",
            case.fixed,
            case.moving,
            case.warped,
            case.field,
            case.spacing_mm,
            fixed_labels=case.labels,
        )


def test_no_folder(case, tmp_path):
    with pytest.raises(OutputError, match="cannot write"):
        draw_pair(
            tmp_path / "no" / "a.png", case.fixed, case.moving, case.warped, case.field, case.spacing_mm
        )


def test_registration_with_the_labels_beside_it(case, tmp_path, caplog):
    grid = Grid(case.fixed.shape, np.diag([*case.spacing_mm, 1.0]))
    for kind in ("imagesTr", "labelsTr"):
        (tmp_path / kind).mkdir()
    files = [tmp_path / f"imagesTr/T_0001_000{m}.nii.gz" for m in (0, 1)]
    for file in files:
        write_volume(tmp_path / "labelsTr" / file.name, case.labels, grid, np.int16)
    volumes = Volume(case.fixed, grid), Volume(case.moving, grid)
    path = tmp_path / "pictures" / "a.png"
    draw_registration(path, Pair.of(*files), *volumes, case.field)
    assert colour_count(path, style.label_colour(1)) > 300
    (tmp_path / "labelsTr" / files[0].name).write_bytes(b"no image")
    small = Grid((4, 5, 6), np.eye(4))
    write_volume(tmp_path / "labelsTr" / files[1].name, np.ones(small.shape), small, np.int16)
    with caplog.at_level(logging.WARNING):
        draw_registration(path, Pair.of(*files), *volumes, case.field)
    assert caplog.text.count("picture without labels") == 2
    assert colour_count(path, style.label_colour(1)) < 300


def drawn_figure(monkeypatch):
    figures = []

    def savefig(figure, path, **settings):
        figures.append(figure)
        path.write_bytes(b"png")

    monkeypatch.setattr(Figure, "savefig", savefig)
    return figures


def letters(axes):
    return "".join(text.get_text() for text in axes.texts)


def test_each_panel_has_the_letters_of_its_own_image(case, tmp_path, monkeypatch):
    """Moving is stored mirrored: its right is on the right; warped lies on the fixed grid."""
    figures = drawn_figure(monkeypatch)
    fixed = np.diag([-2.0, -1.25, 3.0, 1.0])
    grids = Grid(case.fixed.shape, fixed), Grid(case.fixed.shape, fixed @ np.diag([-1.0, 1, 1, 1]))
    volumes = (Volume(image, grid) for image, grid in zip((case.fixed, case.moving), grids, strict=True))
    files = [tmp_path / f"imagesTr/T_0001_000{m}.nii.gz" for m in (0, 1)]
    draw_registration(tmp_path / "a.png", Pair.of(*files), *volumes, case.field)
    shown = [letters(axes) for axes in figures[0].axes[:6]]
    assert shown == ["RLPA", "LRPA", "RLPA", "RLPA", "", ""]


def test_features_have_the_letters_of_their_own_image(case, tmp_path, monkeypatch):
    figures = drawn_figure(monkeypatch)
    values, weight = np.stack([case.fixed] * 3), np.ones(case.fixed.shape)
    affine = np.diag([-2.0, -1.25, 3.0, 1.0])
    draw_features(
        *(tmp_path / "a.png", values, values, weight, weight, case.spacing_mm),
        affine=affine,
        moving_affine=affine @ np.diag([-1.0, 1, 1, 1]),
    )
    assert [letters(axes) for axes in figures[0].axes[:2]] == ["RLPA", "LRPA"]


def test_imports_neither_pyplot_nor_torch():
    code = (
        "import sys, dinoreg.report.picture;"
        "heavy = {'torch', 'matplotlib.pyplot', 'regeval'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
