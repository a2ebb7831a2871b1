import numpy as np
import pytest
import torch
from pretrain_samples import blocks, tiny_config

from dinoreg.pretrain import batches as batches_module
from dinoreg.pretrain.batches import Batches, Sources, batches_from


def test_batches_depend_on_seed_and_step_alone():
    config = tiny_config("training.batch=2")
    batches = Batches(Sources([blocks()], [blocks(oriented=False)], []), config)
    assert len(batches) == 6
    late = list(batches_from(4, batches, workers=0))
    assert len(late) == 2
    for pairs, step in zip(late, (4, 5), strict=True):
        assert len(pairs) == 2
        for pair, again in zip(pairs, batches[step], strict=True):
            assert torch.equal(pair.images, again.images)
            assert torch.equal(pair.points, again.points)
    assert not torch.equal(late[0][0].images, late[1][0].images)
    assert not torch.equal(late[0][0].images, late[0][1].images)
    other = Batches(Sources([blocks()], [blocks(oriented=False)], []), tiny_config("training.seed=1"))
    assert not torch.equal(late[0][0].images, other[4][0].images)


@pytest.mark.parametrize(("share", "oriented"), [(0.0, 0), (0.25, 15), (1.0, 60)])
def test_families_get_their_shares(monkeypatch, share, oriented):
    seen = []
    monkeypatch.setattr(
        batches_module, "draw_pair", lambda volume, settings, rng, other: seen.append(volume.oriented)
    )
    monkeypatch.setattr(batches_module, "draw_scan_pair", lambda scan, settings, rng: seen.append("scan"))
    config = tiny_config(f"anatomy.torso_share={share}", "training.batch=60", "anatomy.scan_share=0.5")
    Batches(Sources([blocks()], [blocks(oriented=False)], []), config)[0]
    assert seen.count(True) == pytest.approx(oriented, abs=8 if 0 < share < 1 else 0)
    seen.clear()
    Batches(Sources([blocks()], [], ["scan"]), config)[0]
    assert 18 < seen.count("scan") < 42
    assert seen.count("scan") + seen.count(True) == 60
    seen.clear()
    Batches(Sources([], [], ["scan"]), config)[0]
    assert seen == ["scan"] * 60


def test_the_second_view_shows_another_patient_late_and_as_often_as_wanted(monkeypatch):
    patients = [blocks(frame=np.ones((2, 3))) for _ in range(5)]
    seen = []
    monkeypatch.setattr(
        batches_module, "draw_pair", lambda volume, settings, rng, other: seen.append(other is not None)
    )
    config = tiny_config(
        *("training.batch=60", "anatomy.torso_share=0.8"),
        *("views.other_patient=0.5", "views.other_patient_from=0.5"),
    )
    batches = Batches(Sources(patients, [blocks(oriented=False)], []), config)
    _ = batches[2]
    assert not any(seen)
    _ = batches[3]
    assert sum(seen) == pytest.approx(24, abs=9)
    seen.clear()
    without_frame = Batches(Sources([blocks()], [], []), config)
    _ = without_frame[3]
    assert not any(seen)
