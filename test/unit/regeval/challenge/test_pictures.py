"""Pictures of a challenge: only what was asked for, only once, harmless whatever a team is called."""

import re
import shutil
from xml.etree import ElementTree

import pytest
from browser import CHROMIUM, browser
from made_challenge import EVIL, make_task, write, zipped

from regeval.challenge import drawing as module
from regeval.challenge import judging
from regeval.challenge import site as site_pages
from regeval.challenge.digests import digest_drawing, digest_evaluator, digest_of

CASES = [f"{2 * n + 1:04d}_0000<--{2 * n + 2:04d}_0000" for n in range(4)]

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")


def drawn(site):
    """Return team and case of every picture."""
    paths = (site.output / "Knee/pictures").glob("*/*")
    return sorted((path.parent.name.rpartition("-")[0], path.name[:9]) for path in paths)


def said(site):
    return [line.split(": ")[3] for line in site.err.splitlines() if ": pictures " in line]


def times(site):
    return {path: path.stat().st_mtime_ns for path in (site.output / "Knee/pictures").glob("*/*.svg")}


@pytest.fixture
def here(monkeypatch):
    """Work in this process, which is quicker than starting others."""

    def each(work, jobs, count):
        for job in jobs:
            work(job)
            yield job, 0

    monkeypatch.setattr(judging, "in_processes", each)
    monkeypatch.setattr(module, "in_processes", each)


@pytest.fixture
def evil(small):
    """The challenge with a third team, whose name is a tag and who has forgotten a field."""
    made = make_task(small.submissions.parent / "again", "Knee", 0)
    folder = write(made, small.submissions / EVIL, lambda field: field + 0.4)
    min(folder.iterdir()).unlink()
    zipped(folder)
    return small


def test_only_what_is_asked_for_is_drawn(small, here):
    plain = small.again()
    page = small.output / "Knee/leaderboard.html"
    assert (plain.code, drawn(small)) == (0, [])
    assert not (small.output / "Knee/pictures").exists()
    before = page.read_text(encoding="utf-8")
    assert "img-src" not in before
    assert "<dialog" not in before
    assert 'class="picture"' not in before

    one = small.again("--pictures", CASES[1], "--pictures-of", "good")
    assert (one.code, drawn(small), said(one)) == (0, [("good", "0003_0000")], ["good"])
    assert [line for line in one.err.splitlines() if "regeval: [" in line] == []  # nobody is judged again
    text = page.read_text(encoding="utf-8")
    assert "img-src &#39;self&#39; file:" in text or "img-src 'self' file:" in text
    (address,) = set(re.findall(r'class="picture" href="([^"]+)"', text))
    assert (page.parent / address).is_file()

    whole = small.again("--pictures-of", "modest")  # all its cases; what nobody asks for any more goes
    assert drawn(small) == [("modest", case[:9]) for case in CASES]
    assert said(whole) == ["modest"]
    assert whole.again("--pictures", CASES[0]).code == 0
    assert drawn(small) == [("good", "0001_0000"), ("modest", "0001_0000")]

    small.again()
    assert not (small.output / "Knee/pictures").exists()
    assert page.read_text(encoding="utf-8") == before


def test_only_what_has_changed_is_drawn_again(small, monkeypatch, here):
    small.again("--pictures", CASES[0])
    first = times(small)
    more = small.again("--pictures", CASES[0], "--pictures", CASES[2])
    assert said(more) == ["good", "modest"]
    second = times(small)
    assert len(second) == 4
    assert {path: second[path] for path in first} == first
    assert said(small.again("--pictures", CASES[0], "--pictures", CASES[2])) == []
    shutil.copy(max((small.submissions / "modest").iterdir()), min((small.submissions / "modest").iterdir()))
    assert said(small.again("--pictures", CASES[0], "--pictures", CASES[2])) == ["modest"]
    changed = {path.parent.name[:4] for path, at in times(small).items() if at != second[path]}
    assert changed == {"mode"}
    next(iter(first)).unlink()
    assert len(said(small.again("--pictures", CASES[0]))) == 1
    assert digest_drawing() not in (digest_of(), digest_evaluator())
    monkeypatch.setattr(module, "digest_drawing", lambda: "another")
    assert said(small.again("--pictures", CASES[0])) == ["good", "modest"]
    shutil.rmtree(small.submissions / "modest")
    small.again("--pictures", "all")
    assert {team for team, _ in drawn(small)} == {"good"}
    assert not list((small.output / "Knee/results").glob("modest*"))


def test_names_are_harmless_and_lost_fields_have_no_picture(evil, here):
    site = evil.again("--pictures", "all")
    assert site.code == 0
    assert ("script", "0001_0000") not in drawn(site)
    assert ("script", "0003_0000") in drawn(site)
    for path in (site.output / "Knee/pictures").rglob("*"):
        assert re.fullmatch(r"[A-Za-z0-9._-]+", path.name), path
        assert path.is_dir() or not (set(path.read_text(encoding="utf-8")) & {"\0"})
    for path in (site.output / "Knee/pictures").glob("*/*.svg"):
        tags = {element.tag.rpartition("}")[2] for element in ElementTree.parse(path).iter()}
        assert tags == {"svg", "style", "rect", "g", "text", "image", "path"}
        assert not re.search(
            r"good|modest|script|Knee|href=\"(?!data:image/png;base64,)", path.read_text("utf-8")
        )
    page = site.page("Knee", "script")
    assert page.count('href="../pictures/') == 3
    assert said(evil.again("--pictures", "all")) == []  # what has no field is not tried again and again


def test_what_cannot_be_drawn_is_said_and_tried_again(small, here, caplog):
    site = small.again()
    image = site.datasets[0].parent / "imagesTr/Knee_0001_0000.nii.gz"
    before = image.read_bytes()
    image.write_bytes(before[:400])  # the header is whole
    site = small.again("--pictures", "all")
    assert site.code == 0, site.err
    assert "good, 1 could not be drawn" in site.err
    assert len(drawn(site)) == 6
    assert f"no picture of good, {CASES[0]}" in caplog.text
    assert said(small.again("--pictures", "all"))[0].startswith("good, 1 could not")
    image.write_bytes(before)
    assert len(drawn(small.again("--pictures", "all"))) == 8


def test_names_that_nobody_has_are_refused_before_anybody_is_judged(small):
    site = small.again("--pictures", "0001_0000<--0003_0000", "--pictures-of", "god")
    assert site.code == 3
    assert "nothing of this name to draw: --pictures 0001_0000<--0003_0000" in site.err
    assert "--pictures-of god -> is 'good' meant?" in site.err
    assert not (small.output / "Knee").exists()


def test_a_record_of_another_version_counts_as_none(small, here):
    small.again("--pictures", CASES[0])
    for record in (small.output / "Knee/results").glob("*.pictures"):
        record.write_text('{"key": "x"', encoding="utf-8")
    assert said(small.again("--pictures", CASES[0])) == ["good", "modest"]


def test_the_board_leads_to_pictures_of_its_own_cases_only():
    # By the rules of psmareg a case may be a patient, with several pairs.
    pictures = {"a": {"x": "1", "y": "2"}, "b": {"y": "3"}}
    assert site_pages._of_cases(pictures, ("x", "z")) == {"a": {"x": "1"}}


@needs_browser
def test_a_click_on_a_cell_shows_its_picture(evil, tmp_path):
    evil.again("--pictures", CASES[1], "--pictures", CASES[2])
    page_file = evil.output / "Knee/leaderboard.html"
    with browser(tmp_path / "profile") as page:
        page.open(page_file)
        shown = "document.getElementById('pictures').open"
        image = "document.querySelector('#picture-place img')"
        assert page.value(shown) is False
        assert page.value(f"{image} === null")  # nothing is fetched before it is asked for
        assert page.value("document.querySelectorAll('.maps svg a.picture').length") % 6 == 0
        selector = 'a.picture[data-run="1"][data-case="2"]'
        page.value(f"document.querySelector('{selector}').scrollIntoView({{block: 'center'}})")
        page.click(f"{selector} rect")
        page.wait_for(f"{image} && {image}.complete")
        assert page.value(shown)
        assert page.value(f"{image}.naturalWidth") > 500
        rows = "[...document.querySelectorAll('#closer tbody tr')].map(r => r.cells[0].dataset.value)"
        run = page.value(f"{rows}[1]")
        assert page.value(f"{image}.alt") == f"{run}, {CASES[2]}"
        cell = "document.querySelectorAll('#closer tbody tr')[1].cells[1]"
        score = page.value(f"JSON.parse({cell}.dataset.cases)[2].toFixed(3)")
        assert page.value("document.getElementById('picture-values').textContent").startswith(
            f"DSC {score} · "
        )
        # Another run by the keyboard; a case that nobody asked for says so.
        page.value(
            "(() => { const s = document.getElementById('picture-run'); s.value = [...s.options].find("
            f"o => o.text === {EVIL!r}).value; s.dispatchEvent(new Event('change')); }})()"
        )
        page.wait_for(f"{image}.complete && {image}.alt.startsWith({EVIL!r})")
        page.value(
            "(() => { const s = document.getElementById('picture-case'); s.value = '0';"
            " s.dispatchEvent(new Event('change')); })()"
        )
        assert page.value(f"{image} === null")
        assert "Not drawn" in page.value("document.getElementById('picture-place').textContent")
        (tmp_path / "page.png").write_bytes(page.screenshot())
        page.click("#pictures-close")
        assert page.value(shown) is False
        for width in (1280, 420):
            page.call(
                "Emulation.setDeviceMetricsOverride",
                width=width,
                height=800,
                deviceScaleFactor=1,
                mobile=False,
            )
            page.value("document.getElementById('pictures-open').click()")
            assert page.value(shown)
            assert page.value("document.getElementById('pictures').scrollWidth") <= width
            assert page.value("document.documentElement.scrollWidth") <= width
            page.click("#pictures-close")
        events = [
            one for one in page.events if one["method"] in ("Log.entryAdded", "Runtime.exceptionThrown")
        ]
        assert events == []
        asked = [
            one["params"]["request"]["url"]
            for one in page.events
            if one["method"] == "Network.requestWillBeSent"
        ]
        assert asked[0] == page_file.as_uri()
        assert all(url.startswith((evil.output / "Knee/pictures").as_uri()) for url in asked[1:])
