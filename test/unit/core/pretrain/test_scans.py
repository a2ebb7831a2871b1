import nibabel
import numpy as np
import pytest
import torch
from pretrain_samples import at, tiny_config, write_scan
from scipy.ndimage import map_coordinates

from dinoreg.errors import ConfigError
from dinoreg.pretrain.views import geometry as geometry_module
from dinoreg.pretrain.views import scans as scans_module
from dinoreg.pretrain.views.scans import draw_scan_pair, read_scan, read_scans, remap
from regtask.errors import DataError

SHAPE = (32, 27, 36)
FULL = 0.1  # mm, finer than any scan: nothing is averaged
VIEWS = tiny_config("views.voxel_mm=[1.0, 4.0]").views
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
def geometries(monkeypatch):
    """Return the list of the geometries that are drawn."""
    drawn = []
    original = geometry_module.draw_geometry
    monkeypatch.setattr(
        geometry_module, "draw_geometry", lambda *given: drawn.append(original(*given)) or drawn[-1]
    )
    return drawn


@pytest.fixture
def faithful(monkeypatch):
    """Show scans as they are."""
    monkeypatch.setattr(scans_module, "remap", lambda image, rng: image)
    monkeypatch.setattr(scans_module, "degrade", lambda image, rng, *, is_ct: image)


@pytest.mark.usefixtures("faithful")
@pytest.mark.parametrize("signs", [(-1, -1, 1), (1, -1, 1), (1, 1, 1)])
@pytest.mark.parametrize("finest_mm", [FULL, 4.2])  # 4.2: 2 x 2 x 1 voxels are averaged
def test_views_run_to_the_right_front_and_top(tmp_path, signs, finest_mm):
    """Two balls apart by a known way in the file's millimetres; what turns it is left to chance."""
    one, two, voxel_mm = np.array([9, 8, 11]), np.array([22, 15, 24]), 2.2
    settings = tiny_config(
        *STILL,
        "views.size=48",
        f"views.voxel_mm=[{voxel_mm}, {voxel_mm}]",
        "views.hidden_borders=[0, 0, 0]",
        "views.mirrored=0",
    ).views
    found = []
    for name, place in (("one", one), ("two", two)):
        scan = read_scan(write_scan(tmp_path / f"{name}.nii.gz", ct(place), affine(signs)), finest_mm)
        pair = draw_scan_pair(scan, settings, np.random.default_rng(6))
        ball = (pair.images[0] > 0.7).numpy()
        assert ball.sum() > 10
        found.append(np.argwhere(ball).mean(axis=0))
    expected = affine(signs)[:3, :3] @ (two - one) / voxel_mm
    np.testing.assert_allclose(found[1] - found[0], expected, atol=0.4)


@pytest.mark.parametrize("seed", range(4))
def test_points_are_the_same_place_of_the_scan(tmp_path, geometries, seed):
    scan = read_scan(write_scan(tmp_path / "scan.nii.gz", ct(), affine()), FULL)
    pair = draw_scan_pair(scan, tiny_config("views.size=24").views, np.random.default_rng(seed))
    first, second = (points.numpy().T for points in pair.points)
    assert first.shape[1] > 10
    within = ((first >= 0) & (first <= 23)).all(axis=0)
    places = [
        np.stack([map_coordinates(p.numpy(), points[:, within].astype(float), order=1) for p in positions])
        for positions, points in ((geometries[-1].first, first), (geometries[-1].second, second))
    ]
    np.testing.assert_allclose(places[0], places[1], atol=2e-3)
    for seen, points in zip(pair.seen.numpy(), (first, second), strict=True):
        assert at(seen, points.T).all()
    assert (places[1] > 1).all()  # in the body, which begins at voxel 2
    assert (places[1] < np.reshape(SHAPE, (3, 1)) - 2).all()


def test_a_ct_is_windowed_and_its_body_found(tmp_path):
    values = ct()
    values[10, 10, 10:14] = (-120, 50, 150, 900)
    scan = read_scan(write_scan(tmp_path / "ct.nii.gz", values, affine()), FULL)
    np.testing.assert_allclose(scan.values[10, 10, 10:14], [0.075, 0.5, 0.75, 1.0], atol=3e-4)
    assert not scan.values[0].any()
    expected = np.zeros(SHAPE)
    expected[2:-2, 2:-2, 2:-2] = 1
    np.testing.assert_array_equal(scan.foreground, expected)
    np.testing.assert_allclose(scan.from_ras @ affine()[:3, :3], np.eye(3), atol=1e-6)


def test_an_mr_is_clipped_at_a_percentile_of_its_body(tmp_path, rng):
    values = np.zeros(SHAPE)
    values[4:-4, 4:-4, 4:-4] = rng.uniform(200, 700, (24, 19, 28))
    scan = read_scan(write_scan(tmp_path / "mr.nii.gz", values, affine()), FULL)
    body = scan.foreground
    assert body.sum() == pytest.approx(24 * 19 * 28, rel=0.01)
    stored = values[body].astype(np.float32)
    low, high = stored.min(), np.percentile(stored, 99)
    assert scan.values[4:-4, 4:-4, 4:-4].max() == 1
    np.testing.assert_allclose(scan.values[body], np.clip((stored - low) / (high - low), 0, 1), atol=3e-4)


@pytest.mark.parametrize("signs", [(-1, -1, 1), (1, 1, 1)])
def test_a_scan_is_averaged_to_the_voxels_of_the_finest_view(tmp_path, rng, signs):
    """4.5 mm hold 3, 2 and 1 voxels of 1.5, 2 and 2.5 mm, although the header rounds 1.5 up."""
    values = np.full(SHAPE, -1000.0)
    values[4:28, 4:23, 2:-2] = rng.uniform(-100, 200, (24, 19, 32))  # no whole number of cells
    path = write_scan(tmp_path / "ct.nii.gz", values, affine(signs))
    assert nibabel.load(path).header.get_zooms()[0] >= 1.5
    scan, whole = read_scan(path, 4.5), read_scan(path, FULL)
    assert (whole.values.shape, scan.values.shape) == (SHAPE, (11, 14, 36))  # the last cells reach beyond
    assert (scan.values.dtype, scan.foreground.dtype) == (np.float16, np.bool_)
    for found, full in ((scan.values, np.clip((values + 150) / 400, 0, 1)), (scan.foreground, values > -300)):
        padded = np.pad(full.astype(float), ((0, 1), (0, 1), (0, 0)), "edge")
        expected = padded.reshape(11, 3, 14, 2, 36).mean(axis=(1, 3))
        if found.dtype == np.bool_:
            np.testing.assert_array_equal(found, expected > 0.5)
        else:
            np.testing.assert_allclose(found, expected, atol=1e-3)
    edges_mm = affine(signs)[:3, :3] * (3, 2, 1)
    np.testing.assert_allclose(scan.from_ras @ edges_mm, np.eye(3), atol=1e-6)


def test_scans_are_kept_as_finely_as_the_finest_view(tmp_path):
    write_scan(tmp_path / "scan.nii", ct(), affine())
    (scan,) = read_scans(tmp_path, tiny_config("views.voxel_mm=[4.2, 6.0]").views)
    assert scan.values.shape == (16, 14, 36)


def test_scans_smaller_than_half_a_view_are_named(tmp_path, caplog):
    """32 x 27 x 36 voxels are 48 x 54 x 90 mm, or half as much; half a view is 36 mm."""
    write_scan(tmp_path / "large.nii", ct(), affine())
    write_scan(tmp_path / "small.nii", ct(), affine() * 0.5)
    read_scans(tmp_path, tiny_config("views.size=24", "views.voxel_mm=[3.0, 6.0]").views)
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "small.nii" in warning
    assert "24 x 27 x 45 mm" in warning


@pytest.mark.usefixtures("faithful")
def test_views_show_the_scan(tmp_path, monkeypatch, geometries, rng):
    """Views of a part of a scan and beyond its border; what is read is told by scipy from the whole scan."""
    monkeypatch.setattr(scans_module, "draw_field", lambda *_: torch.ones(16, 16, 16, dtype=torch.bool))
    values = rng.uniform(-150, 250, SHAPE)
    values[:9] = -1000
    scan = read_scan(write_scan(tmp_path / "scan.nii", values, affine()), FULL)
    settings = tiny_config("views.size=16", "views.voxel_mm=[1.0, 4.0]").views
    pairs = [draw_scan_pair(scan, settings, np.random.default_rng(seed)) for seed in range(4)]
    images, seen = (np.concatenate([getattr(p, name).numpy() for p in pairs]) for name in ("images", "seen"))
    positions = np.stack([p.numpy() for g in geometries for p in (g.first, g.second)], axis=1).astype(float)
    assert positions.shape[1:] == seen.shape  # no view was drawn anew
    shown, body = (
        map_coordinates(part.astype(np.float32), positions, order=1, mode="nearest")
        for part in (scan.values, scan.foreground)
    )
    inside = ((positions > -0.5) & (positions < np.reshape(SHAPE, (3, 1, 1, 1, 1)) - 0.5)).all(axis=0)
    clear = np.abs(body - 0.5) > 1e-3
    np.testing.assert_array_equal(seen[clear], (inside & (body > 0.5))[clear])
    np.testing.assert_allclose(images[seen], shown[seen], atol=2e-3)
    for count in (seen.sum(), (~inside & (body > 0.5)).sum(), (inside & (body < 0.5)).sum()):
        assert count > 500


def test_views_are_drawn_anew_until_they_show_the_body(tmp_path, geometries):
    """The body fills a sixth of a long scan."""
    values = np.full((24, 20, 120), -1000.0)
    values[2:-2, 2:-2, 12:32] = 0
    scan = read_scan(write_scan(tmp_path / "scan.nii", values, np.diag([2.0, 2.5, 2.0, 1])), FULL)
    settings = tiny_config("views.voxel_mm=[2.5, 2.5]", "views.shift=[0.3, 0.3, 0.9]").views
    repeated = 0
    for seed in range(12):
        geometries.clear()
        draw_scan_pair(scan, settings, np.random.default_rng(seed))
        shares = [
            min(
                float((map_coordinates(scan.foreground.astype(float), p.numpy(), order=1) > 0.5).mean())
                for p in (geometry.first, geometry.second)
            )
            for geometry in geometries
        ]
        assert len(shares) <= 4
        assert max(shares[:-1], default=0) < 0.08
        assert shares[-1] >= 0.08 or len(shares) == 4
        repeated += len(shares) > 1 and shares[-1] >= 0.08
    assert repeated >= 2


@pytest.mark.parametrize(("mirrored", "sign"), [(0, 1), (1, -1)])
def test_scans_are_mirrored_as_often_as_asked(tmp_path, geometries, mirrored, sign):
    scan = read_scan(write_scan(tmp_path / "scan.nii", ct(), affine()), FULL)
    settings = tiny_config(*STILL, "views.voxel_mm=[3.0, 3.0]", f"views.mirrored={mirrored}").views
    draw_scan_pair(scan, settings, np.random.default_rng(1))
    steps_mm = [affine()[:3, :3] @ geometries[-1].first.diff(dim=1 + a).flatten(1).numpy() for a in range(3)]
    for axis, steps in enumerate(steps_mm):
        np.testing.assert_allclose(steps, np.full_like(steps, sign * 3.0) * np.eye(3)[:, [axis]], atol=1e-3)


def test_views_wander_along_a_long_scan(tmp_path, geometries):
    """The frame of the file is turned by a quarter: its long axis 0 runs from left to right."""
    to_ras = np.array([[0, -2.0, 0, 0], [2.0, 0, 0, 0], [0, 0, 2.0, 0], [0, 0, 0, 1]])
    scan = read_scan(write_scan(tmp_path / "scan.nii", np.ones((96, 24, 20)), to_ras), FULL)
    settings = tiny_config(*STILL, "views.size=24", "views.voxel_mm=[2.0, 2.0]").views
    for seed in range(30):
        draw_scan_pair(scan, settings, np.random.default_rng(seed))
    middles = [g.first[:, 11:13, 11:13, 11:13].mean(dim=(1, 2, 3)).numpy() for g in geometries]
    reach = np.abs(np.array(middles) - [47.5, 11.5, 9.5]).max(axis=0)
    assert 30 < reach[0] <= 36
    assert 0.04 * 24 < reach[1] <= 0.06 * 24
    assert 0.04 * 20 < reach[2] <= 0.06 * 20


def test_views_of_scans_are_usable(tmp_path):
    scan = read_scan(write_scan(tmp_path / "ct.nii.gz", ct((20, 12, 16)), affine()), FULL)
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
    assert [float(scan.from_ras[0, 0]) for scan in read_scans(tmp_path, VIEWS)] == [1.0, 0.5]


@pytest.mark.parametrize("make", [lambda p: p.mkdir(), lambda p: p.write_text("a file"), lambda p: None])
def test_without_scans(tmp_path, make):
    make(tmp_path / "scans")
    with pytest.raises(ConfigError, match=r"no scans to train on.*a folder with \*.nii"):
        read_scans(tmp_path / "scans", VIEWS)


def test_a_damaged_scan(tmp_path):
    (tmp_path / "scan.nii.gz").write_bytes(b"not a scan")
    with pytest.raises(DataError):
        read_scans(tmp_path, VIEWS)
