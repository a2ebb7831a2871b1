import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pretrain_samples import drawn_pairs, pairs_with_points, tiny_config

from dinoreg.encoders.dino3d.weights import write_dino3d
from dinoreg.errors import ConfigError, WeightsError
from dinoreg.pretrain.objective import learner as learner_module
from dinoreg.pretrain.objective.contrastive import contrastive_loss
from dinoreg.pretrain.objective.learner import Learner
from dinoreg.pretrain.objective.sampling import features_at
from dinoreg.pretrain.views.pair import ViewPair

CPU = torch.device("cpu")
CONTRASTIVE = ("contrastive.weight=1.5",)
COARSE = ("contrastive.weight=1.5", "contrastive.coarse_weight=0.4")
DINO = ("contrastive.weight=0", "dino.weight=0.7")
BOTH = ("contrastive.weight=1.5", "dino.weight=0.7")
DENSE_ONLY = ("dino.global_weight=0", "dino.masked_weight=0", "dino.koleo_weight=0", "dino.mask_share=[0, 0]")


def learner(*overrides):
    return Learner(tiny_config(*overrides), CPU)


@pytest.mark.parametrize("centring", ["sinkhorn", "mean"])
@pytest.mark.parametrize("objective", [CONTRASTIVE, COARSE, DINO, BOTH])
def test_every_objective_gives_a_finite_loss_and_gradients(objective, centring):
    own = learner(*objective, f"dino.centring={centring}")
    loss, parts = own.loss(drawn_pairs(own.config), 3)
    loss.backward()
    expected = {"loss"}
    expected |= {"contrastive"} if own.config.contrastive.weight else set()
    expected |= {"coarse"} if own.config.contrastive.coarse_weight else set()
    expected |= {"global", "dense", "masked", "koleo"} if own.config.dino.weight else set()
    assert set(parts) == expected
    assert all(np.isfinite(value) for value in parts.values())
    assert parts["loss"] == pytest.approx(loss.item())
    missing = {name for name, p in own.student.named_parameters() if p.grad is None}
    assert missing <= {"network.mask_token"}
    assert all(p.grad.isfinite().all() for p in own.student.parameters() if p.grad is not None)
    assert all(p.grad is None and not p.requires_grad for p in own.average.parameters())


def test_the_loss_is_the_weighted_sum_of_its_parts():
    weights = {"global": 1.0, "dense": 0.6, "masked": 1.4, "koleo": 0.2}
    settings = [f"dino.{name}_weight={value}" for name, value in weights.items()]
    own = learner(*BOTH, *settings)
    loss, parts = own.loss(drawn_pairs(own.config), 3)
    dino = sum(value * parts[name] for name, value in weights.items())
    assert loss.item() == pytest.approx(1.5 * parts["contrastive"] + 0.7 * dino, rel=1e-5)


def loss_of_points(encode, pairs, *, stride, ignored_voxels):
    """Mean over the pairs, each view encoded alone."""
    losses = []
    for pair in pairs:
        one, two = (
            features_at(encode(image[None, None]), points, stride)
            for image, points in zip(pair.images, pair.points, strict=True)
        )
        places = pair.points[1]
        losses.append(contrastive_loss(one, two, places, temperature=0.1, ignored_voxels=ignored_voxels))
    return float(torch.stack(losses).mean())


def test_the_contrastive_loss_is_that_of_the_points():
    own = learner()
    pairs = drawn_pairs(own.config)
    _, parts = own.loss(pairs, 0)
    expected = loss_of_points(own.encode, pairs, stride=2, ignored_voxels=3.0)
    assert parts["contrastive"] == pytest.approx(expected, rel=1e-5)


@torch.no_grad()
def test_coarser_levels_learn_by_heads_of_their_own():
    own = learner(
        *("network.widths=[4, 6, 8]", "network.depths=[1, 1, 1]"),
        *("contrastive.coarse_weight=0.4", "contrastive.ignored_voxels=1.0"),
    )
    pairs = drawn_pairs(own.config)
    loss, parts = own.loss(pairs, 0)
    assert len(own.student.coarse) == 2
    expected = []
    for level, ignored_voxels in ((1, 3.0), (2, 6.0)):  # three quarters of a cell

        def encode(image, level=level):
            return own.student.coarse[level - 1](own.student.network.levels(image)[level])[0]

        expected.append(loss_of_points(encode, pairs, stride=2 * 2**level, ignored_voxels=ignored_voxels))
    assert parts["coarse"] == pytest.approx(np.mean(expected), rel=1e-5)
    assert loss.item() == pytest.approx(parts["contrastive"] + 0.4 * parts["coarse"], rel=1e-5)
    assert not learner(*DINO, "contrastive.coarse_weight=0.4").student.coarse


def teach_itself(pair_of_points, **changes):
    """Dense part for a student that is its teacher, and the entropy that it cannot fall below."""
    own = learner(
        *DINO,
        *DENSE_ONLY,
        "dino.centring=mean",
        "dino.teacher_temperature=[0.01, 0.01]",
        "dino.student_temperature=0.01",
    )
    pairs = [
        ViewPair(pair.images[:1].repeat(2, 1, 1, 1), pair.seen, points)
        for pair, points in zip(pairs_with_points(7, 11, 5), pair_of_points, strict=True)
    ]
    _, parts = own.loss(pairs, 0)
    entropies = []
    for pair in pairs:
        features = features_at(own.encode(pair.images[:1, None]), pair.points[0])
        scores = own.average.heads["places"](F.normalize(features, dim=1)) / 0.01
        entropies += (-(scores.softmax(dim=1) * scores.log_softmax(dim=1)).sum(dim=1)).tolist()
    return parts["dense"], float(np.mean(entropies))


def test_rows_are_told_what_the_teacher_says_of_the_same_place():
    same = [pair.points[1:].repeat(2, 1, 1) for pair in pairs_with_points(7, 11, 5)]
    loss, entropy = teach_itself(same)
    assert loss == pytest.approx(entropy, rel=1e-5)
    wrong = [torch.stack([points[0], points[1].flip(0)]) for points in same]
    loss, entropy = teach_itself(wrong)
    assert loss > 1.005 * entropy


def test_rows_cross_between_the_views_of_a_pair():
    crossed = learner_module._crossed([torch.zeros(2, 2, 3), torch.zeros(2, 3, 3), torch.zeros(2, 0, 3)])
    assert crossed.tolist() == [2, 3, 0, 1, 7, 8, 9, 4, 5, 6]
    assert learner_module._swapped(6).tolist() == [1, 0, 3, 2, 5, 4]


@pytest.mark.parametrize("objective", [CONTRASTIVE, COARSE, DINO, BOTH])
@pytest.mark.parametrize("counts", [(0, 0), (0, 9), (1, 0)])
def test_pairs_without_points(objective, counts):
    own = learner(*objective)
    loss, parts = own.loss(pairs_with_points(*counts), 0)
    loss.backward()
    assert bool(loss.isfinite())
    assert all(np.isfinite(value) for value in parts.values())


def test_the_mask_token_learns_where_something_is_hidden():
    token = {}
    for share in (0.0, 0.5):
        own = learner(*DINO, f"dino.mask_share=[{share}, {share}]")
        loss, parts = own.loss(drawn_pairs(own.config), 0)
        loss.backward()
        token[share] = own.student.network.mask_token.grad
        assert (parts["masked"] > 0) == (share > 0)
    assert token[0.0] is None or not token[0.0].any()
    assert token[0.5].abs().max() > 0


def test_what_is_hidden_depends_on_seed_and_step_alone():
    own = learner(*DINO)
    pairs = drawn_pairs(own.config)
    torch.rand(5)
    values = [own.loss(pairs, step)[1]["masked"] for step in (0, 1, 0)]
    assert values[0] == values[2] != values[1]
    assert learner(*DINO, "training.seed=1").loss(pairs, 0)[1]["masked"] != values[0]


def test_the_same_seed_gives_the_same_networks():
    one, again = learner(*BOTH), learner(*BOTH)
    other = learner(*BOTH, "training.seed=1")
    for name, value in one.student.state_dict().items():
        assert torch.equal(value, again.student.state_dict()[name])
        assert torch.equal(value, one.average.state_dict()[name])
    assert not torch.equal(one.student.network.stem.weight, other.student.network.stem.weight)


@pytest.mark.parametrize(
    ("overrides", "step", "momentum"),
    [
        (("training.average=0.9",), 0, 0.1),
        (("training.average=0.9",), 4, 5 / 14),
        (("training.average=0.9",), 500, 0.9),
        ((*DINO, "training.steps=1000", "dino.momentum=[0.5, 0.7]"), 400, 0.58),
        ((*DINO, "training.steps=1000", "dino.momentum=[0.5, 0.7]"), 1, 2 / 11),
    ],
)
def test_the_average_follows_the_student(overrides, step, momentum):
    own = learner(*overrides)
    before = {name: value.clone() for name, value in own.average.named_parameters()}
    with torch.no_grad():
        for value in own.student.parameters():
            value.add_(1)
    own.follow(step)
    student = dict(own.student.named_parameters())
    for name, value in own.average.named_parameters():
        expected = momentum * before[name] + (1 - momentum) * student[name]
        torch.testing.assert_close(value.detach(), expected.detach())


def test_a_volume_is_encoded_by_the_average():
    own = learner()
    volume = torch.rand(1, 1, 16, 24, 12, generator=torch.Generator().manual_seed(0))
    before = own.encode(volume)
    assert before.shape == (4, 8, 12, 6)
    assert not before.requires_grad
    with torch.no_grad():
        own.student.network.head.weight.mul_(-1)
    assert torch.equal(own.encode(volume), before)
    torch.testing.assert_close(F.normalize(before, dim=0), own.average.network(volume)[0].detach())


def test_volumes_of_any_even_size_are_encoded():
    """The held-out scans, say, by a network of five levels."""
    own = learner("network.widths=[4, 6, 8]", "network.depths=[1, 1, 1]", "views.size=16")
    volume = torch.rand(1, 1, 20, 14, 24, generator=torch.Generator().manual_seed(0))
    found = own.encode(volume)
    assert found.shape == (4, 10, 7, 12)
    padded = own.encode(F.pad(volume, (0, 0, 0, 2, 0, 4)))
    assert torch.equal(padded[:, :10, :7], found)


def test_bfloat16_is_close():
    pairs = drawn_pairs(tiny_config())
    exact, rough = (
        learner(*BOTH, f"training.precision={name}").loss(pairs, 0)[1] for name in ("float32", "bfloat16")
    )
    assert exact["loss"] != rough["loss"]
    assert rough["loss"] == pytest.approx(exact["loss"], rel=0.05)


def test_a_training_may_begin_with_trained_weights(tmp_path):
    trained, path = learner("training.seed=5").student.network, tmp_path / "trained.safetensors"
    write_dino3d(path, trained, {"spacing_mm": 2.0})
    own = learner()
    told = own.begin_with(path)
    assert (told["spacing_mm"], told["sha256"]) == (2.0, hashlib.sha256(path.read_bytes()).hexdigest())
    for branch in (own.student, own.average):
        for name, value in branch.network.state_dict().items():
            assert torch.equal(value, trained.state_dict()[name].half().float()), name
    with pytest.raises(ConfigError, match="weights of another network"):
        learner("network.channels=6").begin_with(path)
    with pytest.raises(WeightsError):
        own.begin_with(tmp_path / "none.safetensors")


def test_places_of_two_patients_need_not_be_told_from_their_near_neighbours():
    own = learner(*CONTRASTIVE)
    pairs = drawn_pairs(own.config)
    strict, _ = own.loss(pairs, 0)
    lenient, _ = own.loss([replace(pair, slack=6.0) for pair in pairs], 0)
    assert lenient.item() < strict.item() - 0.05
