import numpy as np
import pytest
import torch
from pretrain_samples import at, tiny_config, write_scan
from scipy.ndimage import map_coordinates

from dinoreg.errors import ConfigError
from dinoreg.pretrain.views import scans as scans_module
from dinoreg.pretrain.views.scans import draw_scan_pair, read_scan, read_scans, remap
from regtask.errors import DataError

SHAPE = (32, 27, 36)
STILL = ("views.rotation_degrees=0", "views.scale=1", "views.stretch=1", "views.elastic=[0.0, 0.0]")


def affine(signs=(-1, -1, 1)):
    """Oblique, anisotropic and, with these signs, left-posterior-superior."""
    turn = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
    tilt = np.array([[1.0, 0.0, 0.0], [0.0, 0.96, -0.28], [0.0, 0.28, 0.96]])
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ tilt @ np.diag(np.multiply(signs, (1.5, 2.0, 2.5)))
    matrix[:3, 3] = (-31.0, 12.5, 104.0)
    return matrix


def ct(bright=None):
    """A body of 0 HU in air, with a bright ball around a voxel."""
    values = np.full(SHAPE, -1000.0)
    values[2:-2, 2:-2, 2:-2] = 0
    if bright is not None:
        distance = np.linalg.norm(np.indices(SHAPE) - np.reshape(bright, (3, 1, 1, 1)), axis=0)
        values[distance < 2.5] = 900
    return values


@pytest.fixture
def faithful(monkeypatch):
    """Show scans as they are."""
    monkeypatch.setattr(scans_module, "remap", lambda image, rng: image)
    monkeypatch.setattr(scans_module, "degrade", lambda image, rng, *, is_ct: image)


@pytest.mark.usefixtures("faithful")
@pytest.mark.parametrize("signs", [(-1, -1, 1), (1, -1, 1), (1, 1, 1)])
def test_views_run_to_the_right_front_and_top(tmp_path, signs):
    """Two balls apart by a known way in the file's millimetres; what turns it is left to chance."""
    one, two, voxel_mm = np.array([9, 8, 11]), np.array([22, 15, 24]), 2.2
    settings = tiny_config(
        *STILL, "views.size=48", f"views.voxel_mm=[{voxel_mm}, {voxel_mm}]", "views.hidden_borders=[0, 0, 0]"
    ).views
    found = []
    for name, place in (("one", one), ("two", two)):
        scan = read_scan(write_scan(tmp_path / f"{name}.nii.gz", ct(place), affine(signs)))
        pair = draw_scan_pair(scan, settings, np.random.default_rng(6))
        ball = (pair.images[0] > 0.7).numpy()
        assert ball.sum() > 10
        found.append(np.argwhere(ball).mean(axis=0))
    expected = affine(signs)[:3, :3] @ (two - one) / voxel_mm
    np.testing.assert_allclose(found[1] - found[0], expected, atol=0.4)


@pytest.mark.parametrize("seed", range(4))
def test_points_are_the_same_place_of_the_scan(tmp_path, monkeypatch, seed):
    kept = []
    original = scans_module.draw_geometry
    monkeypatch.setattr(
        scans_module, "draw_geometry", lambda *arguments: kept.append(original(*arguments)) or kept[-1]
    )
    scan = read_scan(write_scan(tmp_path / "scan.nii.gz", ct(), affine()))
    pair = draw_scan_pair(scan, tiny_config("views.size=24").views, np.random.default_rng(seed))
    first, second = (points.numpy().T for points in pair.points)
    assert first.shape[1] > 10
    within = ((first >= 0) & (first <= 23)).all(axis=0)
    places = [
        np.stack([map_coordinates(p.numpy(), points[:, within].astype(float), order=1) for p in positions])
        for positions, points in ((kept[0].first, first), (kept[0].second, second))
    ]
    np.testing.assert_allclose(places[0], places[1], atol=2e-3)
    for seen, points in zip(pair.seen.numpy(), (first, second), strict=True):
        assert at(seen, points.T).all()
    assert (places[1] > 1).all()  # in the body, which begins at voxel 2
    assert (places[1] < np.reshape(SHAPE, (3, 1)) - 2).all()


def test_a_ct_is_windowed_and_its_body_found(tmp_path):
    values = ct()
    values[10, 10, 10:14] = (-120, 50, 150, 900)
    scan = read_scan(write_scan(tmp_path / "ct.nii.gz", values, affine()))
    np.testing.assert_allclose(scan.values[10, 10, 10:14], [0.075, 0.5, 0.75, 1.0], atol=1e-6)
    assert not scan.values[0].any()
    expected = np.zeros(SHAPE)
    expected[2:-2, 2:-2, 2:-2] = 1
    np.testing.assert_array_equal(scan.foreground, expected)
    np.testing.assert_allclose(scan.from_ras @ affine()[:3, :3], np.eye(3), atol=1e-6)


def test_an_mr_is_clipped_at_a_percentile_of_its_body(tmp_path, rng):
    values = np.zeros(SHAPE)
    values[4:-4, 4:-4, 4:-4] = rng.uniform(200, 700, (24, 19, 28))
    scan = read_scan(write_scan(tmp_path / "mr.nii.gz", values, affine()))
    body = scan.foreground.numpy() > 0
    assert body.sum() == pytest.approx(24 * 19 * 28, rel=0.01)
    stored = values[body].astype(np.float32)
    low, high = stored.min(), np.percentile(stored, 99)
    np.testing.assert_allclose(scan.values[4:-4, 4:-4, 4:-4].numpy().max(), 1)
    np.testing.assert_allclose(
        scan.values.numpy()[body], np.clip((stored - low) / (high - low), 0, 1), atol=1e-5
    )


def test_views_of_scans_are_usable(tmp_path):
    scan = read_scan(write_scan(tmp_path / "ct.nii.gz", ct((20, 12, 16)), affine()))
    settings = tiny_config().views
    for seed in range(15):
        pair = draw_scan_pair(scan, settings, np.random.default_rng(seed))
        assert pair.images.isfinite().all()
        assert 0 <= pair.images.min() <= pair.images.max() <= 1
        assert not pair.images[~pair.seen].any()
    again = draw_scan_pair(scan, settings, np.random.default_rng(14))
    assert torch.equal(again.images, pair.images)
    assert torch.equal(again.points, pair.points)


def test_remapping_gives_other_contrasts(rng):
    image = torch.from_numpy(rng.random((12, 10, 14), dtype=np.float32))
    likeness = []
    for seed in range(20):
        found = remap(image, np.random.default_rng(seed))
        assert found.shape == image.shape
        assert 0 <= found.min() <= found.max() <= 1
        likeness.append(float(torch.corrcoef(torch.stack([found.flatten(), image.flatten()]))[0, 1]))
    assert min(likeness) < 0.3
    assert max(likeness) > 0.6
    assert torch.equal(found, remap(image, np.random.default_rng(19)))
    assert remap(torch.zeros(8, 8, 8), rng).isfinite().all()


def test_a_folder_is_read_in_the_order_of_names(tmp_path):
    for name, spacing in (("b.nii.gz", 2.0), ("a.nii", 1.0)):
        write_scan(tmp_path / name, ct(), np.diag([spacing] * 3 + [1]))
    (tmp_path / "notes.txt").write_text("no scan")
    assert [float(scan.from_ras[0, 0]) for scan in read_scans(tmp_path)] == [1.0, 0.5]


@pytest.mark.parametrize("make", [lambda p: p.mkdir(), lambda p: p.write_text("a file"), lambda p: None])
def test_without_scans(tmp_path, make):
    make(tmp_path / "scans")
    with pytest.raises(ConfigError, match=r"no scans to train on.*a folder with \*.nii"):
        read_scans(tmp_path / "scans")


def test_a_damaged_scan(tmp_path):
    (tmp_path / "scan.nii.gz").write_bytes(b"not a scan")
    with pytest.raises(DataError):
        read_scans(tmp_path)
