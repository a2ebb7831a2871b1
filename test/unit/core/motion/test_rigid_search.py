"""The rigid search before the network, on a textured frame whose motion is known."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from motion_samples import SHAPE, SPACING, moving_disc, tiny_config
from pretend_cuda import CUDA, pretended_cuda
from scipy import ndimage

from dinoreg.errors import ConfigError
from dinoreg.motion.cines.thresholds import Thresholds
from dinoreg.motion.cines.window import Square
from dinoreg.motion.network.backbone import build_net
from dinoreg.motion.network.sampling import prepare
from dinoreg.motion.rigid_search import RigidSearch, apply_rigid
from dinoreg.motion.settings import Search, with_landmarks
from dinoreg.motion.track import track

SQUARE = Square((24.0, 31.0), 30.0, (1.5, 2.0), 32)  # neither centred nor isotropic in pixels
LARGE = Search(rotation_degrees=60.0)
LIMITS = Thresholds(1.0, 1.0)


def texture(shape=(64, 58), seed=2):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 2.5)
    return (noise - noise.min()) / np.ptp(noise)


def moved(template, degrees, shift_mm, spacing=(1.5, 2.0), centre=SQUARE.centre):
    """Turn the content about a place and shift it, both in mm, by scipy; outside lies another texture."""
    a = math.radians(degrees)
    turn = np.array([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]])
    # content at p goes to c + turn (p - c) + shift: the frame at q shows the template at the inverse
    size = np.array(spacing)
    q = np.stack(np.indices(template.shape), axis=-1) * size
    c = np.array(centre) * size
    p = (q - c - np.array(shift_mm)) @ turn + c
    return ndimage.map_coordinates(template, np.moveaxis(p / size, -1, 0), order=3, mode="grid-wrap")


def tensor(image):
    return torch.from_numpy(image.astype(np.float32))[None, None]


@pytest.mark.parametrize("degrees", [-53.0, -14.0, 0.0, 31.0])
def test_a_known_motion_is_found(degrees):
    template = texture()
    shift = (9.0, -13.0)
    found = RigidSearch(tensor(template), SQUARE, LARGE)(tensor(moved(template, degrees, shift)))
    assert found.degrees == pytest.approx(degrees, abs=2.0)
    # the middle of the window is turned about itself, then shifted
    assert found.matrix[:, 2].numpy() * SQUARE.half_mm == pytest.approx(shift, abs=0.7)
    assert found.correlation > 0.9


def test_the_map_is_a_pull_from_template_to_frame():
    template = texture()
    frame = moved(template, 40.0, (6.0, -10.0))
    found = RigidSearch(tensor(template), SQUARE, LARGE)(tensor(frame))
    place = torch.tensor([[0.4, -0.3]])
    here, there = (SQUARE.to_voxels(p)[0].numpy()[:, None] for p in (place, apply_rigid(found.matrix, place)))
    shown = ndimage.map_coordinates(frame, there, order=1)
    assert shown == pytest.approx(ndimage.map_coordinates(template, here, order=1), abs=0.05)


def test_small_motion_is_left_to_the_network():
    template = texture()
    search = RigidSearch(tensor(template), SQUARE, LARGE)
    for frame in (template, template + 0.01, moved(template, 1.0, (0.5, 0.5))):
        found = search(tensor(frame))
        assert torch.equal(found.matrix, torch.eye(2, 3))
        assert found.degrees == 0


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_a_flat_frame_says_nothing(value):
    found = RigidSearch(tensor(texture()), SQUARE, LARGE)(torch.full((1, 1, 64, 58), value))
    assert torch.equal(found.matrix, torch.eye(2, 3))


def test_parts_of_the_window_beyond_the_frame_do_not_count():
    """The window reaches over the edge; the border that is repeated there must not draw the search."""
    square = replace(SQUARE, centre=(6.0, 31.0))
    template = texture()
    frame = moved(template, 20.0, (-10.0, 5.0), centre=square.centre)
    found = RigidSearch(tensor(template), square, LARGE)(tensor(frame))
    assert found.degrees == pytest.approx(20.0, abs=1.0)
    assert found.matrix[:, 2].numpy() * square.half_mm == pytest.approx((-10.0, 5.0), abs=0.7)


def turned_disc(degrees, shift_mm):
    """The disc on a textured ground, whose last frame is turned and shifted as a whole."""
    disc = moving_disc(2, labelled=(0,))
    frames = disc.cine.frames + 900 * texture(SHAPE)[None].astype(np.float32)
    centre = prepare(disc, tiny_config()).square.centre
    frames[-1] = moved(frames[0], degrees, shift_mm, SPACING, centre)
    return replace(disc, cine=replace(disc.cine, frames=frames))


def errors_mm(sequence, degrees, shift_mm, config, device="cpu"):
    """Distances between where the target of the template went, and where the tracker puts it."""
    torch.manual_seed(0)
    net = build_net(config, torch.device(device)).eval()
    tracked = track(net, config, LIMITS, sequence)
    middle = torch.tensor(tracked.square.centre) * torch.tensor(SPACING)
    a = math.radians(degrees)
    turn = torch.tensor([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]])
    target = torch.nonzero(torch.from_numpy(sequence.target)).float() * torch.tensor(SPACING)
    went = (target - middle) @ turn.T + middle + torch.tensor(shift_mm)
    back = tracked.frames[-1].transform.apply(went[None])[0]
    return float((back - target).norm(dim=1).mean()), tracked


@pytest.mark.parametrize("transform", ["rigid", "affine", "tps"])
def test_a_tracker_that_knows_no_rotation_recovers_one(transform):
    motion = 35.0, (7.0, -9.0)
    sequence = turned_disc(*motion)
    plain = tiny_config(f'landmarks.transform="{transform}"')
    without, _ = errors_mm(sequence, *motion, plain)
    found, tracked = errors_mm(sequence, *motion, with_landmarks(plain, search_degrees=60.0))
    assert without > 8
    assert found < 1.0
    assert tracked.frames[-1].turned_degrees == pytest.approx(35.0, abs=2)
    assert tracked.frames[0].turned_degrees == 0
    # labels are carried to where the window went
    frame, template = tracked.frames[-1].labels, sequence.labels[0]
    assert frame.sum() == pytest.approx(template.sum(), rel=0.15)


def test_labels_leave_the_window_with_their_target():
    """So far that the target of the frame lies beyond the window of the template."""
    motion = 0.0, (0.0, 14.0)
    sequence = turned_disc(*motion)
    config = with_landmarks(tiny_config("window.side_mm=44.0"), search_degrees=6.0)
    torch.manual_seed(0)
    tracked = track(build_net(config, torch.device("cpu")).eval(), config, LIMITS, sequence)
    y = np.argwhere(tracked.frames[-1].labels)[:, 1].mean() * SPACING[1]
    assert y == pytest.approx(np.argwhere(sequence.labels[0])[:, 1].mean() * SPACING[1] + 14, abs=1.5)
    assert tracked.frames[-1].labels.sum() == pytest.approx(sequence.labels[0].sum(), rel=0.05)


def test_without_the_setting_nothing_changes():
    sequence = turned_disc(35.0, (7.0, -9.0))
    config = tiny_config()
    _, plain = errors_mm(sequence, 0.0, (0.0, 0.0), config)
    _, off = errors_mm(sequence, 0.0, (0.0, 0.0), with_landmarks(config, search_degrees=0.0))
    for a, b in zip(plain.frames, off.frames, strict=True):
        assert torch.equal(a.landmarks_mm, b.landmarks_mm)
        assert np.array_equal(a.labels, b.labels)


def test_the_network_on_a_device_and_the_search_on_the_cpu():
    motion = 35.0, (7.0, -9.0)
    config = with_landmarks(tiny_config(), search_degrees=60.0)
    sequence = turned_disc(*motion)
    on_cpu, _ = errors_mm(sequence, *motion, config)
    with pretended_cuda() as waits:
        found, _ = errors_mm(sequence, *motion, config, CUDA)
    assert waits
    assert found == pytest.approx(on_cpu, abs=1e-3)


def test_more_than_half_a_turn_is_refused():
    with pytest.raises(ConfigError, match="rotation_degrees"):
        with_landmarks(tiny_config(), search_degrees=200.0)
