"""The volume encoder in the pipeline: its voxels, orientation, PCA and place beside other encoders."""

import numpy as np
import pytest
import torch
from core_checks import encode as encode_prepared
from core_checks import light_config
from core_reference import SPACING, shifted_pair
from random_dino3d import random_network

from dinoreg.encoders.dino3d.encoder import Dino3dEncoder
from dinoreg.encoders.dino3d.source import join_features
from dinoreg.encoders.pool import EncoderPool
from dinoreg.encoders.precision import compute_dtype
from dinoreg.encoders.registry import LoadedEncoder, load_encoder
from dinoreg.errors import ConfigError, NumericalError
from dinoreg.pipeline.plan import make_plan
from dinoreg.pipeline.register import register_prepared
from dinoreg.preprocess.prepare import prepare_image
from dinoreg.settings.config import Dino3d, FeatureSettings, Ffd, Mind
from dinoreg.settings.load import parse_config
from dinoreg.space.features import Features
from dinoreg.space.lattice import Lattice
from dinoreg.space.orientation import orientation_of

CPU = torch.device("cpu")
SHAPE = (20, 26, 34)


class Counting(torch.nn.Module):
    """Keeps what the network is given."""

    def __init__(self):
        super().__init__()
        self.network, self.seen = random_network(), []
        for name in ("multiple", "reach", "channels", "stride", "largest"):
            setattr(self, name, getattr(self.network, name))

    def forward(self, image):
        self.seen.append(image[0, 0])
        return self.network(image)


def load_counting(network):
    def load(settings, device):
        if isinstance(settings, Dino3d):
            return LoadedEncoder(Dino3dEncoder(network, 2.0))
        return load_encoder(settings, device)

    return load


def config_with(*encoders, **changes):
    features = FeatureSettings(encoders=encoders, **({"cell_mm": 4.0} | changes))
    return light_config(features=features, voxel_lengths=False)


def prepared(rng, comes_again=False, mask=None):
    images = shifted_pair(SHAPE, (1, -2, 3), rng)
    return [
        prepare_image(
            (image - image.min()) / np.ptp(image),
            light_config().preprocess,
            modality="MR",
            mask=mask,
            comes_again=comes_again,
        )
        for image in images
    ]


def encode(config, pair, network=None, **plan):
    pool = EncoderPool(CPU, load=load_counting(network or Counting()))
    return encode_prepared(config, pair, pool, **plan)


def features_of(values, weight):
    shape = values.shape[1:]
    values, weight = (torch.from_numpy(a.astype(np.float32)) for a in (values, weight[None]))
    return Features(values, weight, Lattice(shape, (1, 1, 1), (1.0, 1.0, 1.0)))


def masked_pair(rng):
    """Features whose background is large and different, and the foreground cells of both, (N, C)."""
    pair, cells = [], []
    for offset in (2.0, 5.0):
        values = (
            rng.standard_normal((7, 5, 6, 8)) * np.reshape([4, 2, 1, 0.5, 0.2, 0.1, 0.1], (7, 1, 1, 1))
            + offset
        )
        weight = rng.choice([0.0, 0.2, 0.7, 1.0], (5, 6, 8))
        values[:, weight < 0.5] = 100 * rng.standard_normal((7, int((weight < 0.5).sum())))
        pair.append(features_of(values, weight))
        cells.append(values[:, weight > 0.5].T)
    return tuple(pair), np.concatenate(cells)


def test_the_basis_is_that_of_the_foreground_of_both(rng):
    pair, cells = masked_pair(rng)
    joined, basis, facts = join_features(pair, 3)
    centred = cells - cells.mean(axis=0)
    _, singular, vectors = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(basis.explained, (singular**2 / (singular**2).sum())[:3], rtol=1e-4)
    expected = centred @ vectors[:3].T
    found = np.concatenate([f.values[:, f.weight[0] > 0.5].numpy().T for f in joined])
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-3)
    for features in joined:
        background = features.weight[0] == 0
        assert bool(background.any())
        assert not features.values[:, background].any()
        assert bool(features.values[:, features.weight[0] == np.float32(0.2)].any())
        assert features.values.movedim(0, -1).is_contiguous()
    assert facts.foreground_share == 0.5


@pytest.mark.parametrize(("weight", "above"), [(0.3, 0.0), (0.0, None)])
def test_hardly_any_foreground(weight, above, rng):
    values = rng.standard_normal((4, 5, 6, 8))
    pair = tuple(features_of(values, np.full((5, 6, 8), w)) for w in (weight, 1.0))
    assert join_features(pair, 3)[2].foreground_share == above


def test_the_networks_voxels_follow_the_lengths(rng):
    pair = prepared(rng)
    _, details = encode(config_with(Dino3d(components=4)), pair)
    (found,) = details["encoders"]
    assert (found["working_mm"], found["channels"]) == (2.0, 4)
    assert [image["tiles"] for image in found["images"]] == [1, 1]
    # 20 x 1.5, 26 x 0.8 and 34 x 2.5 mm, to multiples of 4 voxels of 2 mm
    assert found["images"][0]["grid"] == [16, 12, 44]
    _, details = encode(config_with(Dino3d(components=4, spacing_mm=3.0)), pair)
    assert details["encoders"][0]["working_mm"] == 3.0
    config = config_with(Dino3d(components=4), max_cells=20_000)
    scale = make_plan(config, SHAPE, SPACING).frame.length_scale
    assert scale < 0.5
    _, details = encode(config, pair)
    assert details["encoders"][0]["working_mm"] == pytest.approx(2.0 * scale)
    _, details = encode(config_with(Dino3d(components=4, tile=16)), pair)
    assert details["encoders"][0]["images"][0]["tiles"] == 3


def test_without_a_pca_the_channels_stay_as_they_are(rng):
    config = config_with(Dino3d(components=0), unit_scale=False)
    found, details = encode(config, prepared(rng))
    assert details["channels"] == 6
    assert found.evidence == ()
    lengths = found.blocks[0].fixed.values.norm(dim=0)
    assert 0.5 < float(lengths.median()) <= 1.001
    assert found.codes == {}


def test_beside_mind(rng):
    found, details = encode(config_with(Dino3d(components=5), Mind(weight=2.0)), prepared(rng))
    (block,) = found.blocks
    assert details["channels"] == block.fixed.values.shape[0] == 5 + 12
    assert [(part.encoder, part.channels) for part in block.parts] == [("dino3d", 5), ("mind", 12)]
    assert [part.share for part in block.parts] == pytest.approx([1 / 3, 2 / 3])
    (seen,) = found.evidence
    assert seen.colours[1].shape == (3, *block.fixed.lattice.shape)
    assert seen.basis.components.shape == (6, 5)


def test_every_image_that_comes_again_is_encoded_once(rng):
    network = Counting()
    config = config_with(Dino3d(components=4))
    maker = EncoderPool(CPU, load=load_counting(network))
    pair = prepared(rng, comes_again=True)
    for orientation, count in (("RAS", 2), ("RAS", 2), ("LAS", 4)):
        encode_prepared(config, pair, maker, orientation=orientation)
        assert len(network.seen) == count


def test_both_images_are_turned_as_the_fixed_one_says(rng):
    network = Counting()
    config = config_with(Dino3d(components=4, spacing_mm=1.0)).model_copy(update={"voxel_lengths": True})
    pair = prepared(rng)
    pool = EncoderPool(CPU, load=load_counting(network))
    affine = np.array([[0, 0, -2.5, 7], [1.5, 0, 0, 3], [0, -0.8, 0, 1], [0, 0, 0, 1]])
    result = register_prepared(
        *pair, SPACING, config, device=CPU, orientation=orientation_of(affine), pool=pool
    )
    assert result.plan.frame.orientation == "AIL"
    assert result.plan.as_dict()["frame"]["orientation"] == "AIL"
    for image, seen in zip(pair, network.seen, strict=True):
        expected = image.values.transpose(2, 0, 1)[::-1, :, ::-1]
        np.testing.assert_allclose(seen[:34, :20, :26], expected, atol=1e-6)
    register_prepared(*pair, SPACING, config, device=CPU, pool=pool)
    np.testing.assert_allclose(network.seen[2][:20, :26, :34], pair[0].values, atol=1e-6)


def test_a_single_slice_is_refused(rng):
    config = config_with(Dino3d())
    image = rng.random((20, 26, 1), dtype=np.float32)
    pair = [prepare_image(image, config.preprocess, modality="MR", mask=None)] * 2
    pool = EncoderPool(CPU, load=load_counting(Counting()))
    with pytest.raises(ConfigError, match="dino3d takes volumes"):
        register_prepared(*pair, SPACING, config, device=CPU, pool=pool)


def test_it_cannot_guide_a_free_form_stage():
    (source,) = EncoderPool(CPU, load=load_counting(random_network())).sources([Dino3d()])
    with pytest.raises(ConfigError, match="cannot guide a free-form stage: dino3d"):
        source.guide(3, Ffd().feature_grid)


@pytest.mark.parametrize(
    "values", [{"components": -1}, {"spacing_mm": -1.0}, {"tile": 8}, {"precision": "int8"}, {"axis": 2}]
)
def test_settings_that_cannot_be(values):
    with pytest.raises(ConfigError):
        parse_config({"features": {"encoders": [{"name": "dino3d"} | values]}}, where="here")


def test_features_that_are_not_finite(rng):
    network = random_network()
    with torch.no_grad():
        network.head.bias.fill_(float("nan"))
    with pytest.raises(NumericalError, match=r"features not finite.*dino3d.*weights"):
        encode(config_with(Dino3d()), prepared(rng), network)


@pytest.mark.parametrize(
    ("precision", "device", "has_bfloat16", "expected"),
    [
        ("float16", "cpu", True, torch.float32),
        ("auto", "cpu", True, torch.float32),
        ("auto", "cuda", True, torch.bfloat16),
        ("auto", "cuda", False, torch.float32),
        ("float16", "cuda", True, torch.float16),
    ],
)
def test_precision(monkeypatch, precision, device, has_bfloat16, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *, including_emulation: has_bfloat16)
    assert compute_dtype(precision, torch.device(device), automatic="bfloat16") == expected
