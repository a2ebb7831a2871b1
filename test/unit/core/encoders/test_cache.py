import torch

from dinoreg.encoders.cache import FeatureCache
from dinoreg.space.features import Features
from dinoreg.space.lattice import Lattice

LATTICE = Lattice((5, 4, 5), (1, 1, 1), (1.0, 1.0, 1.0))


def _features(channels):
    """100 floats per channel and 100 of weight: 400 (channels + 1) bytes."""
    return Features(torch.zeros(channels, 5, 4, 5), torch.ones(1, 5, 4, 5), LATTICE)


class _Maker:
    def __init__(self):
        self.made = []

    def __call__(self, key, channels=1):
        def make():
            self.made.append(key)
            return _features(channels)

        return make


def test_what_is_there_is_not_made_again():
    cache, maker = FeatureCache(10_000), _Maker()
    first = cache.get("a", maker("a"))
    assert cache.get("a", maker("a")) is first
    assert maker.made == ["a"]


def test_the_least_recently_used_goes_first():
    cache, maker = FeatureCache(1600), _Maker()  # room for two of 800 bytes
    for key in ("a", "b", "a", "c", "a", "b"):
        cache.get(key, maker(key))
    assert maker.made == ["a", "b", "c", "b"]


def test_what_is_larger_than_the_cache_is_made_but_not_kept_and_drives_nothing_out():
    cache, maker = FeatureCache(1600), _Maker()
    cache.get("a", maker("a"))
    cache.get("big", maker("big", channels=4))
    cache.get("big", maker("big", channels=4))
    cache.get("a", maker("a"))
    assert maker.made == ["a", "big", "big"]


def test_cleared():
    cache, maker = FeatureCache(10_000), _Maker()
    cache.get("a", maker("a"))
    cache.clear()
    cache.get("a", maker("a"))
    assert maker.made == ["a", "a"]
