import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from dinoreg.pretrain.objective.contrastive import contrastive_loss, retrieval
from dinoreg.pretrain.objective.sampling import features_at


def features(rng, count=40, channels=5):
    first = rng.standard_normal((count, channels))
    return first, first + 0.5 * rng.standard_normal((count, channels))


def as_tensors(*arrays):
    return [torch.from_numpy(np.asarray(a, np.float32)) for a in arrays]


def loss_by_loops(first, second, places, temperature, ignored):
    """Every point in turn, in both directions."""
    total, count = 0.0, len(first)
    for own, others in ((first, second), (second, first)):
        for n in range(count):
            terms = {}
            for m in range(count):
                if m != n and np.linalg.norm(places[n] - places[m]) < ignored:
                    continue
                cosine = own[n] @ others[m] / np.linalg.norm(own[n]) / np.linalg.norm(others[m])
                terms[m] = np.exp(cosine / temperature)
            total -= np.log(terms[n] / sum(terms.values())) / (2 * count)
    return total


@pytest.mark.parametrize(("temperature", "ignored"), [(0.1, 3.0), (0.5, 6.0), (1.0, 0.0)])
def test_the_loss_is_that_of_the_loops(rng, temperature, ignored):
    first, second = features(rng)
    places = rng.integers(0, 12, (40, 3)).astype(float)
    found = contrastive_loss(
        *as_tensors(first, second, places), temperature=temperature, ignored_voxels=ignored
    )
    assert float(found) == pytest.approx(loss_by_loops(first, second, places, temperature, ignored), rel=1e-5)


def test_neighbours_do_count_where_they_are_not_ignored(rng):
    first, second = features(rng)
    places = rng.integers(0, 6, (40, 3)).astype(float)
    losses = [
        float(contrastive_loss(*as_tensors(first, second, places), temperature=0.2, ignored_voxels=n))
        for n in (0.0, 2.0, 4.0)
    ]
    assert losses[0] > losses[1] + 0.05 > losses[2] + 0.1


def test_all_points_in_one_place_leave_nothing_to_tell_apart(rng):
    first, second = as_tensors(*features(rng))
    loss = contrastive_loss(first, second, torch.zeros(40, 3), temperature=0.1, ignored_voxels=1.0)
    assert float(loss) == pytest.approx(0, abs=1e-6)


def test_retrieval(rng):
    first, second = features(rng, 60)
    places = rng.uniform(0, 50, (60, 3))
    distance = retrieval(*as_tensors(first, second, places))
    unit = [f / np.linalg.norm(f, axis=1, keepdims=True) for f in (first, second)]
    for n in range(60):
        likeness = unit[0] @ unit[1][n]
        expected = np.linalg.norm(places[np.argmax(likeness)] - places[n])
        assert float(distance[n]) == pytest.approx(expected, abs=1e-4)
    assert 0 < int((distance == 0).sum()) < 60


def test_the_second_view_is_looked_for_in_the_first():
    first = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    second = torch.tensor([[0.95, 0.0], [0.0, 1.0], [0.1, 1.0]])
    places = torch.tensor([[0.0, 0, 0], [3.0, 4, 0], [0, 0, 7.0]])
    distance = retrieval(first, second, places)
    assert distance.tolist() == pytest.approx([0, (9 + 16 + 49) ** 0.5, 0])


def test_features_are_read_between_the_centres_of_cells(rng):
    volume = rng.standard_normal((3, 8, 6, 7)).astype(np.float32)
    points = np.vstack([rng.uniform(-1, [16, 12, 14], (50, 3)), [(0, 0, 0), (15, 11, 13), (7.5, 3.5, 2.5)]])
    found = features_at(*as_tensors(volume, points))
    cells = (points.T + 0.5) / 2 - 0.5
    expected = np.stack([map_coordinates(v.astype(float), cells, order=1, mode="nearest") for v in volume])
    np.testing.assert_allclose(found, expected.T, atol=1e-5)
    # The centre of cell (3, 2, 1) lies between voxels 6 and 7, 4 and 5, 2 and 3.
    (single,) = features_at(*as_tensors(volume, [(6.5, 4.5, 2.5)]))
    np.testing.assert_allclose(single, volume[:, 3, 2, 1], atol=1e-6)


@pytest.mark.parametrize("stride", [4, 8])
def test_features_of_coarser_cells(rng, stride):
    volume = rng.standard_normal((3, 4, 3, 5)).astype(np.float32)
    points = rng.uniform(0, np.multiply((4, 3, 5), stride) - 1, (40, 3))
    found = features_at(*as_tensors(volume, points), stride)
    cells = (points.T + 0.5) / stride - 0.5
    expected = np.stack([map_coordinates(v.astype(float), cells, order=1, mode="nearest") for v in volume])
    np.testing.assert_allclose(found, expected.T, atol=1e-5)


def test_features_learn_where_they_are_read():
    volume = torch.zeros(2, 5, 5, 5, requires_grad=True)
    features_at(volume, torch.tensor([[2.5, 6.5, 4.5]])).sum().backward()
    assert volume.grad.sum() == pytest.approx(2)
    assert volume.grad[:, 1, 3, 2].tolist() == [1, 1]
    assert features_at(volume, torch.zeros(0, 3)).shape == (0, 2)
