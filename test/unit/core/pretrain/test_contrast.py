import numpy as np
import pytest

from dinoreg.pretrain.anatomy.labels import Kind
from dinoreg.pretrain.views import contrast as contrast_module
from dinoreg.pretrain.views.contrast import draw_contrast

KINDS = np.array([kind for kind in Kind for _ in range(6)], np.uint8)


def drawn(seeds, kinds=KINDS):
    return [draw_contrast(kinds, np.random.default_rng(seed)) for seed in seeds]


def mean_of(contrasts, kind):
    return float(np.mean([c.mean[kind == KINDS].mean() for c in contrasts]))


@pytest.fixture
def only(monkeypatch):
    def choose(style):
        shares = tuple(float(style == other) for other in contrast_module._STYLES)
        monkeypatch.setattr(contrast_module, "_SHARES", shares)

    return choose


def test_air_is_black_and_nothing_is_out_of_range():
    for contrast in drawn(range(60)):
        assert contrast.mean.dtype == contrast.texture.dtype == np.float32
        assert contrast.mean.shape == (len(KINDS),)
        assert contrast.texture.shape == (len(KINDS), 2)
        assert not contrast.mean[KINDS == Kind.AIR].any()
        assert not contrast.texture[KINDS == Kind.AIR].any()
        assert 0 <= contrast.mean.min() <= contrast.mean.max() <= 1.5
        assert np.abs(contrast.texture).max() < 0.5


def test_ct_has_the_order_of_hounsfield_units(only):
    only("ct")
    contrasts = drawn(range(40))
    order = [mean_of(contrasts, k) for k in (Kind.LUNG, Kind.FAT, Kind.FLUID, Kind.MUSCLE, Kind.BONE)]
    assert (np.diff(order) > 0.08).all()
    for contrast in contrasts:
        assert contrast.is_ct
        assert contrast.mean[KINDS == Kind.BONE].min() > contrast.mean[KINDS == Kind.FAT].max()
        assert not contrast.mean[KINDS == Kind.GAS].any()


def test_t1_shows_fat_bright_and_t2_fluid(only):
    only("t1")
    t1 = drawn(range(40))
    only("t2")
    t2 = drawn(range(40))
    assert not any(c.is_ct for c in t1 + t2)
    assert mean_of(t1, Kind.FLUID) < mean_of(t1, Kind.MUSCLE) < mean_of(t1, Kind.FAT)
    assert mean_of(t2, Kind.MUSCLE) < mean_of(t2, Kind.ORGAN) < mean_of(t2, Kind.FLUID)
    for contrasts in (t1, t2):
        assert max(mean_of(contrasts, kind) for kind in (Kind.BONE, Kind.LUNG, Kind.GAS)) < 0.15
        suppressed = [c.mean[KINDS == Kind.FAT].mean() < 0.4 for c in contrasts]
        assert 4 < sum(suppressed) < 24  # three in ten


def test_with_contrast_agent_all_vessels_are_bright(only):
    """A part of the spread is common to the structures of a kind."""
    only("ct")
    vessels = np.array([c.mean[KINDS == Kind.BLOOD] for c in drawn(range(200))])
    together = np.corrcoef(vessels.T)[np.triu_indices(6, 1)]
    assert 0.3 < together.mean() < 0.7


def test_random_contrasts_know_no_tissue(only):
    only("random")
    contrasts = drawn(range(150))
    for kind in (Kind.FAT, Kind.MUSCLE, Kind.ORGAN, Kind.BONE):
        assert mean_of(contrasts, kind) == pytest.approx(0.5, abs=0.05)
    assert mean_of(contrasts, Kind.GAS) < 0.25
    inside = np.array([c.mean[KINDS == Kind.ORGAN].std() for c in contrasts])
    assert np.median(inside) > 0.15  # structures of a kind differ
    assert inside.min() < 0.1  # but not in every contrast


def test_styles_come_as_often_as_planned():
    assert sum(contrast_module._SHARES) == pytest.approx(1)
    share = np.mean([c.is_ct for c in drawn(range(300), KINDS[:12])])
    assert share == pytest.approx(contrast_module._SHARES[contrast_module._STYLES.index("ct")], abs=0.08)


def test_the_generator_decides():
    one, again, other = drawn((1, 1, 2))
    np.testing.assert_array_equal(one.mean, again.mean)
    np.testing.assert_array_equal(one.texture, again.texture)
    assert np.abs(one.mean - other.mean).max() > 0.1
