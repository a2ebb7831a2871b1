"""The page at work in a real browser, with WebGL by software."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, browser
from page_samples import FIXED, SHIFT, make_shown

from dinoreg.report.page import bundle, make_page

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium"),
    pytest.mark.skipif(bundle.find_bundle() is None, reason="no NiiVue: pip install dinoreg[viewer]"),
]
PROBE = (Path(__file__).parent / "page_probe.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("viewer")
    file = folder / "report.html"
    file.write_text(make_page(make_shown()).text, encoding="utf-8")
    with browser(folder / "profile", webgl=True) as page:
        page.open(file)
        page.wait_for("document.documentElement.dataset.viewer")
        assert page.value("document.getElementById('why-static').textContent") == ""
        page.value(PROBE)
        yield page


def put(page, name, value):
    page.value(f"probe.put({json.dumps(name)}, {json.dumps(value)})")


def pixels(page, role):
    """Greys that NiiVue drew in a panel, as rows."""
    width, height, *greys = page.value(f"probe.pixels('{role}')")
    return np.array(greys, dtype=np.uint8).reshape(height, width)


def brightest(page, role):
    """Middle of what is bright in a panel, as voxels of the plane, (across, up)."""
    greys = pixels(page, role).astype(float)
    rows, columns = np.nonzero(greys > 0.8 * greys.max())
    x, y = columns.mean(), rows.mean()
    across, up = page.value(
        f"(() => {{ const t = viewer.panels['{role}'].tiles[0]; return [t.across, t.up]; }})()"
    )
    return (x - across[1]) / across[0], (y - up[1]) / up[0]


def to_page(affine, stored):
    """Voxels of an image as voxels of the page, through the scanner."""
    lattice = np.array(affine)
    return np.linalg.solve(lattice[:3, :3], stored - lattice[:3, 3])


def lattice(page, name):
    return page.value(f"facts.lattices['{name}'].affine")


def test_it_loads_without_an_error_and_without_a_network(page):
    assert page.value("document.documentElement.dataset.viewer") == "ready"
    assert not page.value("document.getElementById('static').open")
    wrong = [
        event
        for event in page.events
        if event["method"] == "Runtime.exceptionThrown"
        or (event["method"] == "Runtime.consoleAPICalled" and event["params"]["type"] == "error")
        or (event["method"] == "Log.entryAdded" and event["params"]["entry"]["level"] == "error")
    ]
    assert wrong == []
    asked = {
        event["params"]["request"]["url"].split(":")[0]
        for event in page.events
        if event["method"] == "Network.requestWillBeSent"
    }
    assert asked <= {"file", "data", "blob"}


def test_the_slider_moves_the_slice(page):
    put(page, "plane", 0)
    before = pixels(page, "fixed")
    top = int(page.value("document.getElementById('slice').max"))
    assert top == FIXED.shape[2] - 1
    put(page, "slice", top)
    assert page.value("viewer.place[2]") == top
    assert page.value("document.getElementById('slice-text').textContent") == f"axial {top + 1} / {top + 1}"
    assert np.abs(pixels(page, "fixed").astype(int) - before).max() > 100
    put(page, "slice", 0)
    assert page.value("document.getElementById('slice-text').textContent").startswith("axial 1 ")


@pytest.mark.parametrize("plane", [0, 1, 2])
def test_a_place_is_drawn_where_it_lies(page, plane):
    """The ball's middle, through the page's geometry, in NiiVue's own pixels; its fellow in moving too."""
    put(page, "plane", plane)
    centre = FIXED.index_to_ras([(18.0, 20.0, 12.0)])[0]
    in_fixed = to_page(lattice(page, "fixed"), centre)
    in_moving = to_page(lattice(page, "moving"), centre + FIXED.affine[:3, :3] @ SHIFT)
    page.value(f"viewer.goTo({in_fixed.tolist()})")
    np.testing.assert_allclose(page.value("viewer.matching"), in_moving, atol=0.02)
    np.testing.assert_allclose(page.value("viewer.mapping.toFixed(viewer.matching)"), in_fixed, atol=0.02)
    axes = [(0, 1), (0, 2), (1, 2)][plane]
    for role, expected in (("fixed", in_fixed), ("moving", in_moving), ("warped", in_fixed)):
        np.testing.assert_allclose(brightest(page, role), expected[list(axes)], atol=0.6, err_msg=role)


@pytest.mark.parametrize(("plane", "left", "top"), [(0, "R", "A"), (1, "R", "S"), (2, "A", "S")])
def test_letters_stand_at_the_edges_of_each_panels_own_image(page, plane, left, top):
    put(page, "plane", plane)
    drawn = {role: page.value(f"probe.letters('{role}')") for role in ("fixed", "moving")}
    for seen in drawn.values():
        assert min(seen, key=lambda entry: entry[1])[0] == left
        assert min(seen, key=lambda entry: entry[2])[0] == top
    # To the patient's right is to the left of an axial page: by the affine, not by the letter.
    moved = page.value("viewer.panels.moving.tiles[0].across[0]")
    column = np.array(lattice(page, "moving"))[:3, 0 if plane < 2 else 1]
    assert (moved < 0) == (column[0 if plane < 2 else 1] > 0)


def test_a_click_in_any_panel_moves_all(page):
    put(page, "plane", 0)
    page.value("viewer.goTo([18, 20, 12])")
    where = page.value("viewer.place")
    for role in ("fixed", "moving", "warped", "compare"):
        page.value("viewer.goTo([18, 20, 12])")
        page.value(f"document.querySelector('[data-role={role}]').scrollIntoView({{block: 'center'}})")
        page.click(f"[data-role={role}] .screen")
        there = page.value("viewer.place")
        assert np.abs(np.subtract(there, where)).max() > 0.5, role
        expected = page.value(f"viewer.mapping.toMoving({there})")
        np.testing.assert_allclose(page.value("viewer.matching"), expected, atol=1e-6)


def test_before_and_after(page):
    put(page, "plane", 0)
    centre = to_page(lattice(page, "fixed"), FIXED.index_to_ras([(18.0, 20.0, 12.0)])[0])
    page.value(f"viewer.goTo({centre.tolist()})")
    after = pixels(page, "warped").astype(int)
    page.click("#before")
    before = pixels(page, "warped").astype(int)
    assert page.value("document.getElementById('warped-name').textContent") == "moving, before"
    fixed = pixels(page, "fixed").astype(int)
    assert np.abs(after - fixed).mean() < 0.5 * np.abs(before - fixed).mean()
    page.click("#before")
    np.testing.assert_array_equal(pixels(page, "warped"), after)


@pytest.mark.parametrize(
    "mode", ["checkerboard", "blink", "colours", "difference", "mismatch", "grid", "length", "jacobian"]
)
def test_every_comparison_draws_something_of_its_own(page, mode):
    def drawn(name):
        put(page, "mode", name)
        return page.value("probe.compared()")

    others = {name: drawn(name) for name in ("checkerboard", "grid", "jacobian") if name != mode}
    assert drawn(mode) not in others.values()
    shown = not page.value("document.getElementById('scale').hidden")
    assert shown == (mode in ("mismatch", "grid", "length", "jacobian"))


def test_outlines_close_around_their_label(page):
    """An L of three voxels: eight midpoints, one loop, the hole outside."""
    found = page.value(
        "(() => { const plane = { values: [3, 0, 3, 3], sizes: [2, 2] };"
        " return [...outlines(plane)].map(([label, loops]) => [label, loops]); })()"
    )
    ((label, loops),) = found
    assert label == 3
    assert len(loops) == 1
    points = np.array(loops[0])
    turned = np.roll(points, -1, axis=0)
    area = 0.5 * np.sum(points[:, 0] * turned[:, 1] - turned[:, 0] * points[:, 1])
    # Three unit squares, less an eighth at each of the five outer corners, more one at the inner corner.
    assert area == pytest.approx(3 - 5 / 8 + 1 / 8)


def test_hatching_lies_where_there_is_no_data(page):
    put(page, "plane", 0)
    page.value("viewer.goTo([1, 1, 1])")
    data_bare, data_hatched, none_bare, none_hatched = page.value("probe.hatching()")
    assert data_hatched == 0
    assert none_hatched > 0.1 * (none_bare + none_hatched) > 0
    assert data_bare > 0


def test_a_landmark_of_the_table_is_gone_to(page):
    put(page, "plane", 0)
    page.value("document.querySelector('#points tbody tr').click()")
    expected = to_page(lattice(page, "fixed"), FIXED.index_to_ras([(12.0, 15.0, 8.0)])[0])
    np.testing.assert_allclose(page.value("viewer.place"), expected, atol=1e-3)
    assert page.value("document.querySelector('#points tbody tr').cells[2].textContent") == "5.00"


def test_without_webgl_the_page_says_so_and_shows_the_picture(tmp_path):
    file = tmp_path / "report.html"
    file.write_text(make_page(make_shown(points=False)).text, encoding="utf-8")
    with browser(tmp_path / "profile") as page:
        page.open(file)
        page.wait_for("document.documentElement.dataset.viewer")
        assert page.value("document.documentElement.dataset.viewer") == "off"
        assert "no WebGL 2" in page.value("document.getElementById('why-static').textContent")
        assert page.value("document.getElementById('static').open")
        assert page.value("getComputedStyle(document.getElementById('viewer')).display") == "none"
        assert page.value("document.querySelector('#static img').naturalWidth") > 500


def test_a_pair_of_single_slices(page, tmp_path):
    """2D images: one plane can be seen, and nothing fails."""
    shown = make_shown(labels=False, points=False)
    flat = FIXED.cropped((0, 0, 12), (40, 36, 1))
    cut = (slice(None), slice(None), slice(12, 13))
    fixed, warped = shown.fixed.data[cut], shown.warped[cut]
    volume = type(shown.fixed)
    field = np.zeros((40, 36, 1, 3), np.float32)
    two = replace(
        shown,
        fixed=volume(fixed, flat),
        moving=volume(warped, flat),
        warped=warped,
        displacement=field,
        read_on=flat,
    )
    file = tmp_path / "report.html"
    file.write_text(make_page(two).text, encoding="utf-8")
    with page.another(file):
        page.wait_for("document.documentElement.dataset.viewer")
        assert page.value("document.documentElement.dataset.viewer") == "ready"
        page.value(PROBE)
        assert pixels(page, "fixed").max() > 100
