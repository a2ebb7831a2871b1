"""The token path on a GPU: the same as on a CPU, wherever the tokens are kept."""

import numpy as np
import pytest
import torch
from core_checks import central_median, light_config
from core_reference import SPACING, shifted_pair
from slice_encoders import MeanEncoder, load_mean

from dinoreg import runtime
from dinoreg.encoders.pool import EncoderPool
from dinoreg.encoders.slices import source
from dinoreg.encoders.slices.memory import EncodingSize
from dinoreg.pipeline.register import register_prepared
from dinoreg.preprocess.prepare import prepare_image
from dinoreg.settings.config import Adam, Dinov2, FeatureSettings, Mind, SlicesStart

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def _run(device, *, similarity="ssd", encoder=None):
    rng = np.random.default_rng(5)
    features = FeatureSettings(
        encoders=(Dinov2(variant="vits14", up_sampling=4.0, slice_step=2, components=3), Mind()),
        cell_mm=2.0,
    )
    config = light_config(
        features=features,
        start=(SlicesStart(kind="slices", descriptor="cls"),),
        adam=(Adam(cell_mm=2.0, iterations=40, similarity=similarity, regularity_weight=0.3),),
    )
    images = shifted_pair((32, 36, 42), (3, -5, 7), rng)
    pair = [prepare_image(image, config.preprocess, modality="MR", mask=None) for image in images]
    maker = EncoderPool(device, load=load_mean(encoder or MeanEncoder(channels=3)))
    return register_prepared(*pair, SPACING, config, device=device, pool=maker)


@pytest.mark.parametrize("similarity", ["ssd", "lcc"])
def test_a_gpu_finds_what_a_cpu_finds(similarity):
    on_gpu, on_cpu = (_run(torch.device(name), similarity=similarity) for name in ("cuda:0", "cpu"))
    np.testing.assert_allclose(
        central_median(on_gpu.displacement), central_median(on_cpu.displacement), atol=0.05
    )
    assert on_gpu.stages[0].facts.encoders[0].found.tokens_on_host is False


def test_tokens_on_the_host_make_no_difference(monkeypatch):
    device = torch.device("cuda:0")
    expected = _run(device).displacement
    monkeypatch.setattr(
        source, "smaller_sizes", lambda *args, **kwargs: iter([EncodingSize(4.0, 8, on_host=True)])
    )
    found = _run(device)
    assert found.stages[0].facts.encoders[0].found.tokens_on_host is True
    np.testing.assert_allclose(found.displacement, expected, atol=1e-2)


def test_running_out_of_memory_halves_the_batch():
    encoder = MeanEncoder(channels=3, most=3)
    _run(torch.device("cuda:0"), encoder=encoder)
    assert max(encoder.batches) <= 3


def test_free_memory_counts_what_the_allocator_holds():
    device = torch.device("cuda:0")
    total = torch.cuda.get_device_properties(device).total_memory
    before = runtime.free_memory(device)
    kept = torch.empty(1 << 28, dtype=torch.uint8, device=device)
    assert 0 < runtime.free_memory(device) <= before - kept.numel() + (1 << 26) <= total
    del kept
    assert runtime.free_memory(device) >= before - (1 << 26)
