"""Short number formats are taken where they are there and hold, and left where they do not."""

from contextlib import contextmanager

import pytest
import torch
from core_checks import encode, light_config
from core_reference import shifted_pair
from slice_encoders import MeanEncoder, load_mean

from dinoreg.encoders import precision
from dinoreg.encoders.pool import EncoderPool
from dinoreg.encoders.precision import compute_dtype, wider
from dinoreg.encoders.slices import slicewise, source
from dinoreg.errors import NumericalError
from dinoreg.preprocess.prepare import prepare_image
from dinoreg.settings.config import Dinov2, FeatureSettings

CPU, GPU = torch.device("cpu"), torch.device("cuda:0")
HALF, BRAIN, FULL = torch.float16, torch.bfloat16, torch.float32


@pytest.fixture(params=[True, False], ids=["with bfloat16", "without"])
def has_bfloat16(request, monkeypatch):
    monkeypatch.setattr(precision, "has_bfloat16", lambda: request.param)
    return request.param


def test_bfloat16_only_where_the_card_has_it(has_bfloat16):
    found = BRAIN if has_bfloat16 else FULL
    assert compute_dtype("auto", GPU, automatic="bfloat16") == found
    assert compute_dtype("bfloat16", GPU, automatic="float16") == found
    assert compute_dtype("auto", GPU, automatic="float16") == HALF
    assert compute_dtype("float16", CPU, automatic="float16") == FULL


def test_wider_types_in_turn(has_bfloat16):
    assert wider(HALF) == (BRAIN if has_bfloat16 else FULL)
    assert wider(BRAIN) == FULL
    assert wider(FULL) is None


class Bright(MeanEncoder):
    """Overflows in the types that it is told; its tokens are so many times as large."""

    def __init__(self, overflows, times=1.0):
        super().__init__(channels=3)
        self.overflows, self.times, self.now, self.tried = overflows, times, FULL, []

    def forward(self, slices):
        tokens = super().forward(slices)
        self.tried.append(self.now)
        tokens.patches.mul_(float("inf") if self.now in self.overflows else self.times)
        return tokens

    @contextmanager
    def computing(self, device, dtype):
        self.now = dtype
        yield


def _encode(encoder, monkeypatch, rng, storage="float16"):
    """As on a card: in float16, until it does not hold."""
    monkeypatch.setattr(source, "compute_dtype", lambda *_, **__: HALF)
    monkeypatch.setattr(slicewise, "_autocast", encoder.computing)
    tokens = Dinov2(up_sampling=2.0, slice_step=4, components=2, storage=storage)
    config = light_config(features=FeatureSettings(encoders=(tokens,), cell_mm=2.0))
    pair = [
        prepare_image(image + 9, config.preprocess, modality="MR", mask=None, comes_again=True)
        for image in shifted_pair((12, 14, 16), (1, -1, 1), rng)
    ]
    found, facts = encode(config, pair, EncoderPool(CPU, load=load_mean(encoder)))
    assert bool(found.joined.fixed.values.isfinite().all())
    return facts["encoders"][0]


def test_tokens_that_overflow_are_computed_in_wider_types(monkeypatch, rng, has_bfloat16):
    encoder = Bright({HALF})
    facts = _encode(encoder, monkeypatch, rng)
    assert facts["precision"] == ("bfloat16" if has_bfloat16 else "float32")
    assert set(encoder.tried) == {HALF, BRAIN if has_bfloat16 else FULL}
    assert encoder.tried[-2:] == [encoder.tried[-1]] * 2  # both images alike


def test_tokens_too_large_to_be_stored_are_stored_in_float32(monkeypatch, rng, has_bfloat16):
    facts = _encode(Bright(set(), times=1e5), monkeypatch, rng)
    assert (facts["precision"], facts["storage"]) == ("float32", "float32")


def test_tokens_that_hold_stay_in_float16(monkeypatch, rng):
    facts = _encode(Bright(set()), monkeypatch, rng)
    assert (facts["precision"], facts["storage"]) == ("float16", "float16")


def test_where_no_type_holds_an_error_says_so(monkeypatch, rng, has_bfloat16):
    with pytest.raises(NumericalError, match=r"tokens not finite.*dinov2.*float32, stored in float32"):
        _encode(Bright({HALF, BRAIN, FULL}), monkeypatch, rng)
