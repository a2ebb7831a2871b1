"""Verdicts on displacements that nobody says how they were found."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from dinoreg import field_verdict
from dinoreg.field_verdict import judge_field
from dinoreg.preprocess.pair import ImagePair, Scan
from dinoreg.preprocess.prepare import prepare_scan
from regtask.errors import DataError, SpaceError
from regtask.grid import Grid

SHAPE, SPACING_MM = (44, 52, 38), (2.0, 2.0, 2.5)
SHIFT = np.array([3.0, -5.0, 7.0]) / 2


def read_at(image, displacement):
    return ndimage.map_coordinates(image, np.indices(SHAPE) + displacement, order=1, mode="nearest")


@pytest.fixture(scope="module")
def body():
    """A textured body in air, and a displacement of a shift and smooth waves, (3, I, J, K) voxels."""
    rng = np.random.default_rng(11)
    texture = ndimage.gaussian_filter(rng.standard_normal(SHAPE), 1.5)
    places = np.indices(SHAPE).T / (np.array(SHAPE) - 1) - 0.5
    inside = ((places / (0.4, 0.42, 0.4)) ** 2).sum(axis=-1).T < 1
    image = np.where(inside, 500 + 150 * texture / texture.std(), 0) + rng.normal(0, 4, SHAPE)
    waves = np.stack([ndimage.gaussian_filter(rng.standard_normal(SHAPE), 9) for _ in range(3)])
    return image.astype(np.float32), SHIFT[:, None, None, None] + 1.5 * waves / waves.std()


def pair_of(fixed, moving, affine=None):
    grid = Grid(fixed.shape, np.diag([*SPACING_MM, 1.0]) if affine is None else affine)
    return ImagePair(Scan(fixed, grid), Scan(moving, grid))


def as_field(displacement):
    return np.moveaxis(displacement, 0, -1).astype(np.float32)


def test_the_true_displacement_is_good_and_others_are_not(body):
    moving, u = body
    pair = pair_of(read_at(moving, u), moving)
    right = judge_field(pair, as_field(u))
    assert right.grade == "good"
    assert right.evidence.residual < 0.15
    assert judge_field(pair, as_field(0 * u)).grade != "good"
    assert judge_field(pair, as_field(-u)).grade == "failed"


def test_what_remains_tells_by_how_much_a_field_is_wrong(body):
    """Smoothly, so that matched places look alike; mm, not voxels, which are anisotropic here."""
    moving, u = body
    pair = pair_of(read_at(moving, u), moving)
    rng = np.random.default_rng(2)
    waves = np.stack([ndimage.gaussian_filter(rng.standard_normal(SHAPE), 7) for _ in range(3)])
    error_mm = waves * (5.0 / np.linalg.norm(waves, axis=0).mean())
    off = judge_field(pair, as_field(u + error_mm / np.array(SPACING_MM)[:, None, None, None]))
    foreground = ndimage.gaussian_filter(pair.fixed.values, 1) > 250
    expected = np.linalg.norm(error_mm, axis=0)[foreground].mean()
    assert off.evidence.remaining_mm == pytest.approx(expected, rel=0.2)
    assert off.evidence.body_mm == pytest.approx(
        np.prod(0.8 * np.array(SHAPE) * SPACING_MM) ** (1 / 3), rel=0.1
    )
    assert off.grade == "doubtful"
    assert any("another optimisation moves a tenth" in reason for reason in off.reasons)
    right = judge_field(pair, as_field(u)).evidence
    assert right.remaining_mm < right.remaining_most_mm < 1.0


def test_without_memory_to_look_again_the_rest_is_said(body, monkeypatch, caplog):
    def no_room(*_):
        raise torch.OutOfMemoryError("too large")

    moving, u = body
    monkeypatch.setattr(field_verdict, "look_again", no_room)
    verdict = judge_field(pair_of(read_at(moving, u), moving), as_field(u))
    assert (verdict.grade, verdict.evidence.remaining_mm) == ("good", None)
    assert "too large" in caplog.text


def test_where_nothing_is_in_common_nothing_remains_to_be_moved(body):
    moving, u = body
    verdict = judge_field(pair_of(read_at(moving, u), moving), as_field(u + 300))
    assert verdict.grade == "failed"
    assert verdict.evidence.remaining_mm is None


def test_a_field_that_tears_volume_apart_is_not_good(body):
    moving, u = body
    rng = np.random.default_rng(0)
    torn = u + ndimage.gaussian_filter(rng.standard_normal(u.shape), (0, 3, 3, 3)) * 90
    assert judge_field(pair_of(read_at(moving, torn), moving), as_field(torn)).evidence.implausible > 0.05


@pytest.mark.parametrize("axes", ["LPS", "IPR", "ARS"])
def test_how_a_pair_is_stored_changes_no_verdict(body, axes):
    """The same pair in another order and direction of its axes; RAS is what stands in the fixture."""
    moving, u = body
    affine = np.diag([*SPACING_MM, 1.0])
    affine[:3, 3] = (-40.0, 7.0, 30.0)  # else it would be taken as if nobody had said how it lies
    fixed = read_at(moving, u)
    opposite = {"L": "R", "P": "A", "I": "S"}
    order = ["RAS".index(opposite.get(letter, letter)) for letter in axes]
    flips = [n for n, letter in enumerate(axes) if letter in opposite]

    def stored(array):
        return np.ascontiguousarray(np.flip(array.transpose(order), flips))

    turn = np.zeros((4, 4))
    turn[3, 3] = 1
    for n, axis in enumerate(order):
        turn[axis, n] = -1 if n in flips else 1
        turn[axis, 3] += SHAPE[axis] - 1 if n in flips else 0
    vectors = np.stack([stored(u[axis]) * (-1 if n in flips else 1) for n, axis in enumerate(order)])
    expected = asdict(judge_field(pair_of(fixed, moving, affine), as_field(u)).evidence)
    found = judge_field(pair_of(stored(fixed), stored(moving), affine @ turn), as_field(vectors)).evidence
    assert asdict(found) == pytest.approx(expected, abs=1e-3)


def test_a_rotation_is_taken_out_before_features_are_compared(body):
    """Turned by 40 degrees, moving shows no feature of fixed as it lies."""
    moving, u = body
    a = np.radians(40)
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    middle = (np.array(SHAPE) - 1)[:, None] / 2
    places = np.indices(SHAPE).reshape(3, -1) - middle
    whole = u + (turn @ places - places).reshape(u.shape)
    pair = pair_of(read_at(moving, whole), moving)
    verdict = judge_field(pair, as_field(whole))
    assert verdict.grade == "good"
    assert verdict.evidence.residual < 0.25
    assert judge_field(pair, as_field(u)).grade == "failed"


def test_padding_of_both_changes_no_verdict(body):
    """Planes of one value, in which a field may say anything."""
    moving, u = body
    moving, fixed = moving[:, :, 8:30], read_at(moving, u)[:, :, 8:30]
    u = u[:, :, :, 8:30]
    large = Grid(fixed.shape, np.diag([*(3 * np.array(SPACING_MM)), 1.0]))  # no crop of an organ

    def judged(fixed, moving, u):
        grid = Grid(fixed.shape, large.affine)
        return asdict(judge_field(ImagePair(Scan(fixed, grid), Scan(moving, grid)), as_field(u)).evidence)

    around = ((0, 0), (0, 0), (6, 4))
    padded = [np.pad(image, around, constant_values=0) for image in (fixed, moving)]
    wild = np.pad(u, ((0, 0), *around), constant_values=25.0)
    assert judged(*padded, wild) == pytest.approx(judged(fixed, moving, u), abs=1e-3)


def test_a_single_slice_is_doubtful_at_best(body):
    moving, u = body
    plane = np.s_[:, :, 18:19]
    flat = np.concatenate([u[:2], 0 * u[2:]])[:, *plane]
    image = moving[plane]
    at = (np.indices(image.shape) + flat)[:2, ..., 0]
    fixed = ndimage.map_coordinates(image[..., 0], at, order=1, mode="nearest")[..., None]
    assert judge_field(pair_of(fixed, image), as_field(flat)).grade == "doubtful"


def test_what_is_not_finite_is_refused(body):
    moving, u = body
    holed = as_field(u)
    holed[5, 6, 7, 1] = np.nan
    with pytest.raises(DataError, match="displacement not finite"):
        judge_field(pair_of(read_at(moving, u), moving), holed)


@pytest.mark.parametrize(("modality", "goes_on"), [("MR", True), ("CT", False)])
def test_a_field_of_view_goes_on_within_one_family_alone(body, modality, goes_on, monkeypatch):
    moving, u = body
    seen = []

    def prepared(scan, settings):
        seen.append(settings.beyond_view)
        return prepare_scan(scan, settings)

    monkeypatch.setattr(field_verdict, "prepare_scan", prepared)
    pair = pair_of(read_at(moving, u), moving)
    pair = ImagePair(replace(pair.fixed, modality="MR"), replace(pair.moving, modality=modality))
    judge_field(pair, as_field(u))
    assert seen == ["continued" if goes_on else "blank"] * 2


def test_only_where_a_field_is_known_it_is_judged(body):
    """Of a CT in air: the planes beside those of the field neither count nor change what is body."""
    texture, u = body
    moving = texture - 500
    pair = pair_of(read_at(moving, u), moving)
    pair = ImagePair(replace(pair.fixed, modality="CT"), replace(pair.moving, modality="CT"))
    where = np.zeros(SHAPE, bool)
    where[:, :, 10:28] = True
    spoiled = np.where(where, u, 40 * u)
    assert judge_field(pair, as_field(spoiled)).grade != "good"
    whole, part = judge_field(pair, as_field(u)), judge_field(pair, as_field(u * where), where=where)
    assert part.grade == "good"
    assert part.evidence.covered == pytest.approx(whole.evidence.covered, abs=0.03)


def test_shapes_that_differ_are_refused(body):
    moving, u = body
    pair = pair_of(read_at(moving, u), moving)
    with pytest.raises(SpaceError, match="displacement and images differ"):
        judge_field(pair, as_field(u)[:-1])
    with pytest.raises(SpaceError, match="mask and images differ"):
        judge_field(replace(pair, moving=replace(pair.moving, mask=np.ones((3, 4, 5), bool))), as_field(u))


def test_a_mirror_fails_and_so_does_what_is_flat(body):
    moving, _ = body
    places = np.indices(SHAPE)
    mirror = np.zeros((3, *SHAPE))
    mirror[0] = SHAPE[0] - 1 - 2 * places[0]
    pair = pair_of(moving[::-1].copy(), moving)
    found = judge_field(pair, as_field(mirror))
    assert found.reasons == ("it mirrors the body, as nothing that happens to one does",)
    assert judge_field(pair, as_field(mirror), mirrored=True).grade == "good"
    flat = np.zeros((3, *SHAPE))
    flat[1] = 20.0 - places[1]
    assert judge_field(pair, as_field(flat)).grade == "failed"


def test_masks_say_what_counts(body):
    """Where the mask leaves nothing in common there is nothing to believe."""
    moving, u = body
    pair = pair_of(read_at(moving, u), moving)
    left, right = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    left[:18], right[26:] = True, True
    apart = ImagePair(replace(pair.fixed, mask=left), replace(pair.moving, mask=right))
    verdict = judge_field(apart, as_field(u))
    assert verdict.grade == "failed"
    assert verdict.evidence.covered < 0.05
