import numpy as np
import pytest

from dinoreg.phantom import ORGAN_NAMES, Anatomy, Lattice, SmoothDeformation, render
from dinoreg.phantom.imaging.render import CBCT_OUTSIDE_HU, CBCT_RADIUS_MM

NUMBER = {name: number for number, name in ORGAN_NAMES.items()}


@pytest.fixture(scope="module")
def lattice():
    return Lattice.centred((56, 46, 36), (5.6, 5.8, 6.5), (0.0, -5.0, 40.0))


@pytest.fixture(scope="module")
def images(lattice):
    anatomy = Anatomy.of()
    return {
        name: render(name, anatomy, SmoothDeformation(), lattice, np.random.default_rng(1))
        for name in ("CT", "MR", "CBCT")
    }


def median(image, organ):
    return float(np.median(image.intensities[image.organs == NUMBER[organ]]))


def test_ct_numbers(images):
    ct = images["CT"]
    assert median(ct, "lung_right") == pytest.approx(-850, abs=60)
    assert median(ct, "liver") == pytest.approx(105, abs=12)
    assert median(ct, "aorta") == pytest.approx(165, abs=20)  # partial volume at 6 mm
    assert median(ct, "vertebrae") > 200
    outside = ct.intensities[ct.mask == 0]
    assert np.median(outside) == pytest.approx(-1000, abs=5)


def test_contrast_order_differs_between_ct_and_mr(images):
    names = ["liver", "spleen", "stomach", "gall_bladder", "aorta", "heart", "kidney_left", "vertebrae"]
    ct = np.argsort(np.argsort([median(images["CT"], name) for name in names]))
    mr = np.argsort(np.argsort([median(images["MR"], name) for name in names]))
    assert np.corrcoef(ct, mr)[0, 1] < 0.2
    assert median(images["MR"], "gall_bladder") > 2 * median(images["MR"], "liver")  # fluid is bright
    assert median(images["CT"], "gall_bladder") < median(images["CT"], "liver")


def test_noise_levels(images):
    """Standard deviation of the difference of two images of one patient, over sqrt(2)."""
    lattice = Lattice.centred((30, 26, 14), (5.6, 5.8, 6.5), (40.0, 0.0, 50.0))
    anatomy = Anatomy.of()
    for name, low, high in (("CT", 13, 17), ("CBCT", 34, 48)):
        a, b = (
            render(name, anatomy, SmoothDeformation(), lattice, np.random.default_rng(seed))
            for seed in (1, 2)
        )
        liver = (a.organs == NUMBER["liver"]) & (a.intensities > -900)
        assert low < (a.intensities - b.intensities)[liver].std() / np.sqrt(2) < high, name


def test_mr_noise_is_rician(images):
    mr = images["MR"]
    air = mr.intensities[mr.mask == 0]
    assert air.min() >= 0
    assert np.median(air) == pytest.approx(16 * np.sqrt(2 * np.log(2)), rel=0.1)  # median of a Rayleigh


def test_cone_beam_field_of_view(images, lattice):
    cbct, ct = images["CBCT"], images["CT"]
    i, j = np.indices(lattice.shape[:2])
    distance = np.hypot((i - 27.5) * 5.6, (j - 22.5) * 5.8)
    outside = distance > CBCT_RADIUS_MM + 1
    assert outside.any()
    assert (cbct.intensities[outside] == CBCT_OUTSIDE_HU).all()
    assert not cbct.mask[outside].any()
    assert not cbct.organs[outside].any()
    assert ct.mask[outside].any()  # the body is truncated
    inside = distance < CBCT_RADIUS_MM - 1
    np.testing.assert_array_equal(cbct.mask[inside], ct.mask[inside])


def test_mask_holds_all_organs_and_no_room_air(images):
    for name, image in images.items():
        assert set(np.unique(image.mask)) == {0, 1}, name
        assert image.mask[image.organs > 0].all(), name
    assert 0.3 < images["CT"].mask.mean() < 0.8
    assert (images["CT"].intensities[images["CT"].mask == 0] < -500).mean() > 0.98


def test_partial_volume_makes_intermediate_values(lattice):
    from dinoreg.phantom.imaging.rasterise import rasterise

    table = np.zeros((41, 1))
    table[0] = 1.0  # air
    raster = rasterise(Anatomy.of(), SmoothDeformation(), lattice, table)
    share = raster.means[..., 0]
    assert set(np.round(np.unique(share) * 8, 6)) == set(range(9))


def test_same_generator_same_image(lattice):
    small = Lattice(tuple(n // 2 for n in lattice.shape), lattice.affine)
    for name in ("CT", "MR", "CBCT"):
        a, b, other = (
            render(name, Anatomy.of(), SmoothDeformation(), small, np.random.default_rng(seed)).intensities
            for seed in (7, 7, 8)
        )
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, other)


def test_unknown_modality_is_refused(lattice):
    with pytest.raises(ValueError, match="PET"):
        render("PET", Anatomy.of(), SmoothDeformation(), lattice, np.random.default_rng(0))
