"""An encoder is added by its settings and an entry of the registry, and nothing else has to know of it."""

from types import MappingProxyType
from typing import Literal

import numpy as np
import pytest
import torch
from core_checks import central_median, light_config
from core_reference import SHIFT, SPACING, shifted_pair

from dinoreg.encoders import registry
from dinoreg.encoders.base import Encoder
from dinoreg.encoders.pooled import PooledSource
from dinoreg.encoders.registry import Kind, LoadedEncoder
from dinoreg.pipeline.register import register
from dinoreg.preprocess.pair import ImagePair, Scan
from dinoreg.settings.base import Settings
from dinoreg.settings.config import FeatureSettings
from regtask.grid import Grid


class Slopes(Settings):
    """The settings, as they would stand in `settings.encoders`."""

    name: Literal["slopes"] = "slopes"
    weight: float = 1.0


class SlopesEncoder(Encoder):
    rank, channels, margin = 3, 3, 1

    def forward(self, image, context=None):
        return torch.stack(torch.gradient(image[0]))


def make_source(settings, loaded, cache, device):
    return PooledSource(settings, loaded.encoder, cache, device)


@pytest.fixture
def added(monkeypatch):
    kind = Kind(lambda settings, device: LoadedEncoder(SlopesEncoder()), make_source)
    monkeypatch.setattr(registry, "KINDS", MappingProxyType({**registry.KINDS, Slopes: kind}))


@pytest.mark.usefixtures("added")
def test_a_new_encoder_registers(rng):
    features = FeatureSettings.model_construct(
        **FeatureSettings(cell_mm=2.0).model_dump(exclude={"encoders"}), encoders=(Slopes(),)
    )
    config = light_config().model_copy(update={"features": features})
    grid = Grid((32, 36, 42), np.diag([*SPACING, 1.0]))
    scans = [Scan(np.ascontiguousarray(image), grid, "MR") for image in shifted_pair(grid.shape, SHIFT, rng)]
    found = register(ImagePair(*scans), config, device=torch.device("cpu"))
    np.testing.assert_allclose(central_median(found.displacement), SHIFT, atol=0.2)
    (facts,) = found.stages[0].facts.encoders
    assert (facts.name, facts.channels) == ("slopes", 3)
