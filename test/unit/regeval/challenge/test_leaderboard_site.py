"""A challenge of eight teams on two tasks, from a folder of archives to a site, by one command."""

import csv
import re
from html.parser import HTMLParser

import pytest
from made_challenge import EVIL, TASKS

TEAMS = ("good", "fair", "modest", EVIL, "swapped", "still", "forgetful", "pickled")


def board(site, task):
    with (site.output / task / "leaderboard.csv").open(encoding="utf-8", newline="") as stream:
        return {row["run"]: row for row in csv.DictReader(stream)}


class Page(HTMLParser):
    """Collects tags, links and attributes."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.names = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.names |= {name for name, _ in attrs}
        self.links += [value for name, value in attrs if name == "href"]


@pytest.mark.parametrize("task", TASKS)
def test_everybody_who_can_be_is_ranked(challenge, task):
    assert challenge.code == 0, challenge.err
    rows = board(challenge, task)
    ranked = {name: int(row["rank"]) for name, row in rows.items() if row["rank"]}
    assert set(ranked) == {"good", "fair", "modest", EVIL, "swapped", "forgetful"}
    assert ranked["good"] == 1
    assert max(ranked, key=lambda name: (ranked[name], -float(rows[name]["DSC mean"]))) == "swapped"
    # References and the team that moves nothing stand last, without a rank.
    assert {name for name, row in rows.items() if not row["rank"]} == {"still", "affine"} | (
        {"identity"} & set(rows)
    )
    assert rows["forgetful"]["cases without field"] == "1"
    assert float(rows["good"]["TRE_lm mean"]) < 0.5 < float(rows["fair"]["TRE_lm mean"])


@pytest.mark.parametrize("task", TASKS)
def test_each_team_is_told_what_to_do(challenge, task):
    assert "Scored: rank 1" in challenge.page(task, "good")
    assert "The check found no faults" in challenge.page(task, "good")
    swapped = challenge.page(task, "swapped")
    assert "components in reversed axis order (k, j, i)" in swapped
    assert "What to do: write component c along array axis c" in swapped
    forgetful = challenge.page(task, "forgetful")
    assert "missing file" in forgetful
    assert "What to do: make it as expected below, and hand in again" in forgetful
    assert "disp_0001_0000_0002_0000.nii.gz" in forgetful
    assert "Cases without a usable field" in forgetful
    assert "0001_0000&lt;--0002_0000" in forgetful
    still = challenge.page(task, "still")
    assert "Compared, but not ranked: every number is that of no displacement" in still
    pickled = challenge.page(task, "pickled")
    assert "Not scored: no usable field at all" in pickled
    assert "real numbers" in pickled
    assert "What to put right" not in pickled
    assert "<b>not a field</b> (4 times)" in pickled  # once for each file, whoever found it
    assert "compared with the teams, never ranked" in challenge.page(task, "affine")


def test_a_team_that_cannot_be_scored_is_listed_with_the_reason(challenge):
    page = (challenge.output / "Knee/leaderboard.html").read_text(encoding="utf-8")
    assert re.search(r"<h2>Not scored</h2>.*>pickled</a>.*no usable field at all", page, re.DOTALL)
    assert "not scored: pickled: no usable field at all" in challenge.out
    index = (challenge.output / "index.html").read_text(encoding="utf-8")
    assert index.count(">pickled</a>") == 2
    assert "moves nothing: compared, not ranked" in index


def test_the_site_is_whole_and_runs_nothing_of_the_teams(challenge):
    pages = sorted(challenge.output.rglob("*.html"))
    assert len(pages) == 1 + 2 * (1 + 9)
    for path in pages:
        text = path.read_text(encoding="utf-8")
        page = Page(text)
        assert page.tags.count("script") == (path.name == "leaderboard.html"), path
        assert not {"img", "iframe", "link", "object"} & set(page.tags)
        assert not {"src", "style"} & page.names
        assert not [name for name in page.names if name.startswith("on")]
        assert "default-src 'none'" in text
        assert not re.search(r"https?://|url\(|@import", text)
        assert str(challenge.submissions) not in text
        for link in page.links:
            assert (path.parent / link).resolve().is_file(), link
        assert "{{" not in text
    assert "&lt;script&gt;" in challenge.page("Knee", "script")


def test_progress_is_said(challenge):
    lines = challenge.err.splitlines()
    done = [line for line in lines if re.match(r"regeval: \[\d+/9\] (Knee|Wrist): ", line)]
    assert len(done) == 18
    assert "regeval: [9/9] Wrist: " in challenge.err


def test_the_method_is_chosen_and_says_why(challenge):
    page = (challenge.output / "Knee/leaderboard.html").read_text(encoding="utf-8")
    # Seven teams, an affine and the identity are 9: 72 comparisons, 72 / 2^n < 0.05 from 11 cases on.
    assert "4 cases are too few for wilcoxon-holm, which needs 11 for 9 runs" in page
    assert "HD95 (mm)" in page


def test_the_chart_of_ranks_holds_the_ranked_teams_alone(challenge):
    page = (challenge.output / "Knee/leaderboard.html").read_text(encoding="utf-8")
    chart = re.search(r'aria-label="rank intervals">.*?</svg>', page, re.DOTALL)[0]
    assert chart.count('class="rank"') == 6
    assert re.findall(r">(\d+)</text>", chart) == ["1", "2", "3", "4", "5", "6"]
    index = (challenge.output / "index.html").read_text(encoding="utf-8")
    assert "1 case without a usable field" in index
