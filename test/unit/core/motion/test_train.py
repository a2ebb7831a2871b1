import csv
import json

import nibabel
import numpy as np
import pytest
import torch
from motion_samples import SPACING, moving_disc, tiny_config
from PIL import Image
from safetensors.torch import load_file

from dinoreg.errors import ConfigError, WeightsError
from dinoreg.motion.cines.thresholds import Thresholds
from dinoreg.motion.evaluate import folds_percent, hausdorff_mm, score_frames, score_sequence, write_scores
from dinoreg.motion.network.checkpoint import load_tracker
from dinoreg.motion.network.sampling import draw_windows, prepare
from dinoreg.motion.output import write_track
from dinoreg.motion.settings import with_landmarks
from dinoreg.motion.track import pull_positions, track
from dinoreg.motion.train import TrainOptions, pair_loss, scatter, train

CPU = torch.device("cpu")


def _train(folder, config, **options):
    return train([moving_disc()], config, TrainOptions(folder, CPU, **options))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A tracker of the disc, trained for a few seconds."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("run")
    config = tiny_config(
        "training.steps=150",
        "training.learning_rate=0.003",
        "training.checkpoint_every=50",
        "training.loss_stride=1",
        "augment.rotation_degrees=20.0",
        "augment.misaligned_share=0.0",
    )
    _train(folder, config)
    torch.set_num_threads(threads)
    return folder


def test_the_loss_falls_and_the_disc_is_tracked(trained):
    losses = np.loadtxt(trained / "loss.csv", delimiter=",", skiprows=1)[:, 1]
    assert losses[-20:].mean() < 0.6 * losses[:20].mean()
    assert (trained / "loss.png").stat().st_size > 1000
    net, config, limits = load_tracker(trained, CPU)
    sequence = moving_disc()
    tracked = track(net, config, limits, sequence)
    (score,) = score_frames(sequence, tracked)
    assert score.frame == 3
    assert score.dice > score.identity_dice + 0.05
    assert score.hausdorff_mm < score.identity_hausdorff_mm
    assert score.folds_percent == 0
    template = tracked.frames[0]
    assert np.array_equal(template.labels, sequence.labels[0])
    assert template.residual_mm == pytest.approx(0, abs=1e-3)


def test_resuming_is_exact(tmp_path):
    config = tiny_config("training.steps=12")
    _train(tmp_path / "whole", config)
    _train(tmp_path / "parts", config, stop_after=7)
    assert not (tmp_path / "parts" / "weights.safetensors").exists()
    torch.rand(3)  # what another process would not have drawn
    _train(tmp_path / "parts", config, resume=True)
    whole, parts = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    texts = [(tmp_path / name / "loss.csv").read_text() for name in ("whole", "parts")]
    assert texts[0] == texts[1]
    assert texts[0].count("\n") == 13


def test_a_checkpoint_of_another_configuration(tmp_path):
    _train(tmp_path, tiny_config("training.steps=5"), stop_after=2)
    with pytest.raises(ConfigError, match="checkpoint of another configuration"):
        _train(tmp_path, tiny_config("training.steps=6"), resume=True)


def test_a_damaged_checkpoint(tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(WeightsError, match="checkpoint not readable"):
        _train(tmp_path, tiny_config("training.steps=5"), resume=True)


def test_no_weights(tmp_path):
    with pytest.raises(WeightsError, match="no trained weights"):
        load_tracker(tmp_path, CPU)


def test_perfect_landmarks_leave_no_loss_but_interpolation():
    """Every window is a shifted copy of one; landmarks shifted alike explain it."""
    config = tiny_config("training.loss_stride=1", 'landmarks.transform="rigid"')
    x, y = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    blobs = [torch.exp(-((x - 12 - 2 * n) ** 2 + (y - 17 + 3 * n) ** 2) / 18) for n in range(2)]
    windows = torch.stack(blobs)[:, None]
    base = torch.rand(1, 5, 2, generator=torch.Generator().manual_seed(1))
    shift = torch.tensor([2.0, -3.0]) * 2 / 32
    assert pair_loss(config, windows, torch.cat([base, base + shift])) < 1e-6
    assert pair_loss(config, windows, torch.cat([base, base - shift])) > 1e-3
    assert pair_loss(config, windows, torch.cat([base, base + shift.flip(0)])) > 1e-3


def test_augmentation_reaches_its_sizes():
    """Misaligned windows of one frame differ by up to twice the stated rotation and shift; others do not."""
    config = tiny_config("augment.gamma=0.0", "augment.flips=false", "augment.rotation_degrees=0.0")
    prepared = prepare(moving_disc(frames=2, labelled=(0,)), config)
    alike = draw_windows(
        prepared,
        config.augment.model_copy(update={"misaligned_share": 0.0, "translation": 0.0, "scaling": 0.0}),
        4,
        torch.Generator().manual_seed(0),
    )
    own = draw_windows(
        prepared,
        config.augment.model_copy(update={"misaligned_share": 1.0}),
        40,
        torch.Generator().manual_seed(0),
    )
    x, y = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")

    def centres(drawn):
        windows = drawn.windows
        bright = (windows[:, 0] > 0.6).float()
        total = bright.sum(dim=(1, 2)).clamp_min(1)
        return torch.stack([(bright * v).sum(dim=(1, 2)) / total for v in (x, y)], dim=1)

    assert (centres(alike).amax(0) - centres(alike).amin(0)).max() < 2.5  # the disc's own motion
    assert (centres(own).amax(0) - centres(own).amin(0)).min() > 0.2 * 32


def test_scatter_is_zero_for_landmarks_that_move_with_the_image():
    """What a landmark at q of the shared coordinates is in each window: the inverse of its own map of q."""
    config = tiny_config()
    own = draw_windows(
        prepare(moving_disc(), config),
        config.augment.model_copy(update={"misaligned_share": 1.0}),
        3,
        torch.Generator().manual_seed(0),
    ).own
    shared = torch.tensor([[0.2, -0.3, 1.0], [-0.5, 0.1, 1.0]])
    landmarks = (shared @ own.inverse().mT)[..., :2]
    assert float(scatter(landmarks, own)) == pytest.approx(0, abs=1e-10)
    assert float(scatter(landmarks[:1].expand(3, -1, -1), own)) > 1e-2


def test_files_of_a_track(trained, tmp_path):
    net, config, limits = load_tracker(trained, CPU)
    sequence = moving_disc()
    tracked = track(net, config, limits, sequence)
    write_track(tmp_path, sequence, tracked, config)
    labels = nibabel.load(tmp_path / "labels.nii.gz")
    assert labels.shape == sequence.cine.grid.shape
    assert np.array_equal(np.asarray(labels.dataobj)[..., 3], tracked.frames[3].labels)
    assert np.asarray(nibabel.load(tmp_path / "warped.nii.gz").dataobj)[..., 0] == pytest.approx(
        sequence.cine.frames[0], abs=0.5
    )
    with (tmp_path / "landmarks.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 6 * config.landmarks.count
    third = [[float(row["x_mm"]), float(row["y_mm"])] for row in rows if row["frame"] == "3"]
    assert np.array(third) == pytest.approx(tracked.frames[3].landmarks_mm.numpy(), abs=1e-3)
    with (tmp_path / "frames.csv").open() as stream:
        assert [row["frame"] for row in csv.DictReader(stream)] == list("012345")
    with Image.open(tmp_path / "landmarks.gif") as picture:
        assert picture.n_frames == 6
    # The transform as the file states it, by hand, takes a pixel where the labels were read.
    stored = json.loads((tmp_path / "transforms.json").read_text())["frames"][3]
    point = np.array([12, 30]) * SPACING
    squared = ((point - np.array(stored["centres"])) ** 2).sum(axis=1)
    mapped = np.array(stored["matrix"]) @ [*point, 1] + 0.5 * squared * np.log(squared) @ np.array(
        stored["weights"]
    )
    at = pull_positions(tracked.frames[3].transform, (40, 52), tracked.square)[:, 12, 30].numpy()
    assert mapped / SPACING == pytest.approx(at, abs=1e-2)


def test_an_occluded_frame_is_flagged(trained):
    net, config, limits = load_tracker(trained, CPU)
    sequence = moving_disc()
    assert [frame.flag for frame in track(net, config, limits, sequence).frames] == [""] * 6
    sequence.cine.frames[4, 10:30] = 0
    flags = [frame.flag for frame in track(net, config, limits, sequence).frames]
    assert flags[4]
    assert flags[:4] == [""] * 4
    never = Thresholds(1e9, 1e9)
    assert track(net, config, never, sequence).frames[4].flag == ""


def test_another_transform_at_tracking(trained):
    net, config, limits = load_tracker(trained, CPU)
    rigid = with_landmarks(config, transform="rigid")
    matrix = track(net, rigid, limits, moving_disc()).frames[3].transform.matrix[0, :, :2]
    assert (matrix @ matrix.T).numpy() == pytest.approx(np.eye(2), abs=1e-5)
    with pytest.raises(ConfigError, match=r"landmarks\.smoothing"):
        with_landmarks(config, smoothing=-1.0)


def test_hausdorff_by_hand():
    """Two rectangles of pixels of 1.5 x 2 mm; the far one is 4 rows off: 6 mm."""
    a, b = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    a[5:9, 5:9] = b[5:13, 5:9] = True
    assert hausdorff_mm(a, b, (1.5, 2.0)) == pytest.approx(6.0)
    assert hausdorff_mm(a, np.zeros_like(a), (1.5, 2.0)) == float("inf")


def test_scores_are_written(trained, tmp_path):
    net, config, limits = load_tracker(trained, CPU)
    sequence = moving_disc()
    tracked = track(net, config, limits, sequence)
    whole = score_sequence(sequence, tracked)
    assert 0 < whole.nearest_mm < 15
    assert whole.spread > 0.3
    summary = write_scores(tmp_path, score_frames(sequence, tracked), [whole])
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    assert summary["labelled_frames"] == 1
    assert folds_percent(tracked, tracked.frames[0], (40, 52)) == 0
