import numpy as np
import pytest
import torch
from pretrain_samples import tiny_config

from dinoreg.pretrain.objective.dino import PrototypeHead, assignments, cross_entropy, koleo, schedule

SINKHORN, MEAN = (tiny_config(f"dino.centring={name}").dino for name in ("sinkhorn", "mean"))


@pytest.fixture(autouse=True)
def _no_gradient():
    with torch.no_grad():
        yield


@pytest.fixture
def scores(rng):
    """Cosines, with a few prototypes that nearly everything is like."""
    values = rng.uniform(-0.3, 0.3, (60, 12))
    values[:, :3] += 0.2
    return torch.from_numpy(values.astype(np.float32))


def softmax(values):
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_sinkhorn_by_hand(scores):
    found = assignments(scores, 0.07, SINKHORN, torch.nn.Identity()).numpy()
    spread = np.exp(scores.numpy().astype(float) / 0.07)
    for _ in range(3):
        spread /= spread.sum(axis=0)
        spread /= spread.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, spread, rtol=1e-3, atol=1e-7)


def test_sinkhorn_gives_each_prototype_its_share(scores):
    found = assignments(scores, 0.07, SINKHORN, torch.nn.Identity())
    torch.testing.assert_close(found.sum(dim=1), torch.ones(60))
    plain = (scores / 0.07).softmax(dim=1)
    assert plain.sum(dim=0).max() > 2 * 60 / 12
    assert found.sum(dim=0).max() < 1.3 * 60 / 12
    assert found.sum(dim=0).min() > 0.7 * 60 / 12


def test_fewer_rows_than_prototypes_are_not_spread(scores):
    """Sinkhorn would make them flat: each of 4 rows gets a share of all 12 prototypes."""
    head = PrototypeHead(4, 8, 12)
    found = assignments(scores[:4], 0.04, SINKHORN, head).numpy()
    np.testing.assert_allclose(found, softmax(scores[:4].numpy().astype(float) / 0.04), rtol=1e-3, atol=1e-7)
    np.testing.assert_allclose(head.centre, 0.1 * scores[:4].numpy().mean(axis=0), atol=1e-6)


@pytest.mark.parametrize("settings", [SINKHORN, MEAN])
def test_no_place_in_common(settings):
    head = PrototypeHead(4, 8, 12)
    assert assignments(torch.zeros(0, 12), 0.05, settings, head).shape == (0, 12)
    assert not head.centre.any()


@pytest.mark.parametrize("temperature", [0.02, 0.04])
def test_sinkhorn_stays_finite_with_sharp_scores(rng, temperature):
    scores = torch.from_numpy(rng.uniform(-1, 1, (40, 30)).astype(np.float32))
    found = assignments(scores, temperature, SINKHORN, torch.nn.Identity())
    assert found.isfinite().all()
    torch.testing.assert_close(found.sum(dim=1), torch.ones(40))


def test_mean_centring_subtracts_what_was_seen_before(scores):
    head = PrototypeHead(4, 8, 12)
    head.centre.copy_(torch.linspace(-0.1, 0.2, 12))
    before = head.centre.numpy().astype(float)
    found = assignments(scores, 0.05, MEAN, head)
    values = scores.numpy().astype(float)
    np.testing.assert_allclose(found, softmax((values - before) / 0.05), atol=1e-5)
    np.testing.assert_allclose(head.centre, 0.9 * before + 0.1 * values.mean(axis=0), atol=1e-6)
    for _ in range(80):
        assignments(scores, 0.05, MEAN, head)
    np.testing.assert_allclose(head.centre, values.mean(axis=0), atol=1e-3)


def test_sinkhorn_keeps_no_mean(scores):
    head = PrototypeHead(4, 8, 12)
    assignments(scores, 0.05, SINKHORN, head)
    assert not head.centre.any()


@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_by_hand(rng, scores, weighted):
    targets = softmax(rng.standard_normal((60, 12)))
    weight = rng.integers(0, 2, 60).astype(float) if weighted else np.ones(60)
    rows = -(targets * np.log(softmax(scores.numpy().astype(float) / 0.1))).sum(axis=1)
    found = cross_entropy(
        torch.from_numpy(targets).float(),
        scores,
        0.1,
        torch.from_numpy(weight).float() if weighted else None,
    )
    assert float(found) == pytest.approx((rows * weight).sum() / weight.sum(), rel=1e-5)


def test_cross_entropy_of_no_rows_is_0(scores):
    targets = (scores / 0.1).softmax(dim=1)
    assert float(cross_entropy(targets, scores, 0.1, torch.zeros(60))) == 0
    nothing = cross_entropy(targets[:0], scores[:0], 0.1, torch.zeros(0))
    assert float(nothing) == 0


def test_koleo_by_hand(rng):
    features = rng.standard_normal((9, 5))
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    nearest = [min(np.linalg.norm(u - v) for m, v in enumerate(unit) if m != n) for n, u in enumerate(unit)]
    found = koleo(torch.from_numpy(features).float())
    assert float(found) == pytest.approx(-np.mean(np.log(nearest)), rel=1e-4)
    assert float(koleo(torch.ones(3, 4))) < 20  # all alike: large, but finite


@torch.enable_grad()
def test_koleo_pushes_neighbours_apart():
    features = torch.tensor([[1.0, 0.0], [0.9, 0.3], [-1.0, 0.2]], requires_grad=True)
    before = koleo(features)
    before.backward()
    assert koleo(features.detach() - 0.01 * features.grad) < before


def test_schedules():
    assert [schedule((0.04, 0.07), p) for p in (-1, 0, 0.5, 1, 3)] == pytest.approx(
        [0.04, 0.04, 0.055, 0.07, 0.07]
    )


def test_a_head_gives_cosines(rng):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        head = PrototypeHead(6, 16, 20)
    features = torch.from_numpy(rng.standard_normal((30, 6)).astype(np.float32))
    scores = head(features)
    assert scores.shape == (30, 20)
    assert scores.abs().max() <= 1 + 1e-6
    head.prototypes.mul_(3)
    torch.testing.assert_close(head(features), scores)
    head.prototypes[4] = 5 * head.mlp(features)[7]
    assert float(head(features)[7, 4]) == pytest.approx(1, abs=1e-5)
