from dataclasses import replace

import numpy as np
import torch

from dinoreg.encoders.cache import FeatureCache
from dinoreg.encoders.pool import EncoderPool
from dinoreg.preprocess.prepare import PreparedImage
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


def test_what_was_made_of_an_image_is_forgotten_with_it():
    cache, maker = FeatureCache(10_000), _Maker()
    for image in ("one", "other"):
        for rest in ("mind", "intensity"):
            cache.of_image(image, rest, maker((image, rest)))
    cache.forget("one")
    maker.made.clear()
    for image in ("one", "other"):
        cache.of_image(image, "mind", maker(image))
    assert maker.made == ["one"]


def test_an_image_is_remembered_for_a_while(rng):
    pool, calls = EncoderPool(torch.device("cpu")), []
    cached = pool._cache
    image = PreparedImage(rng.random((4, 4, 4), np.float32), np.ones((4, 4, 4), bool), (slice(0, 4),) * 3)
    for identity in ("", "of the run"):
        with pool.remembered(replace(image, identity=identity)) as known:
            assert known.values is image.values
            for _ in range(2):
                cached.of_image(known.identity, "mind", lambda: calls.append(1) or _features(1))
        assert len(calls) == 1
        cached.of_image(known.identity, "mind", lambda: calls.append(1) or _features(1))
        # Its features end with it, but for those of an image that comes again in other pairs.
        assert len(calls) == (1 if identity else 2)
        calls.clear()
