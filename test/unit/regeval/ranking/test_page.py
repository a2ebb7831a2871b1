"""The page, in a real browser and as text."""

import re
from html.parser import HTMLParser

import pytest
from browser import CHROMIUM, browser

EVIL = "<script>document.write('owned')</script>"
ATTRIBUTE = "\"><b onclick>'{{ 7 * 7 }}"
TASK = "</title><img src=x onerror=alert(1)>"

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")


@pytest.fixture
def page_file(rank, metrics_file, tmp_path):
    """Page of three runs, two of hostile names; the middle one has a case without a number."""
    runs = {
        EVIL: ([0.9 - 0.01 * n for n in range(10)], [5.0 + n for n in range(10)]),
        ATTRIBUTE: ([0.5 + 0.01 * n for n in range(10)], [9.0, None, *[10.0] * 8]),
        "plain": ([0.2 + 0.02 * n for n in range(10)], [10.5 + n for n in range(10)]),
    }
    files = [
        f"{name}={metrics_file(f'run{n}', {'DSC': dice, 'HD<b>95': distance}, task=TASK)}"
        for n, (name, (dice, distance)) in enumerate(runs.items())
    ]
    code, _, _ = rank(*files, "--bootstrap", 100, "--weights", "DSC=1", "HD<b>95=1")
    assert code == 0
    return tmp_path / "board" / "leaderboard.html"


class Tags(HTMLParser):
    """Counts tags and keeps what could load or run something."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(name, value) for name, value in attrs]


def test_names_are_text_and_nothing_is_loaded(page_file):
    text = page_file.read_text(encoding="utf-8")
    parser = Tags()
    parser.feed(text)
    assert parser.tags.count("script") == 1
    assert not {"img", "b", "link", "iframe", "object", "image", "use"} & set(parser.tags)
    names = {name for name, _ in parser.attributes}
    assert not {"src", "href", "xlink:href", "style"} & names
    assert not [name for name in names if name.startswith("on")]
    assert ("title", EVIL) in parser.attributes
    assert ("title", ATTRIBUTE) in parser.attributes
    assert not re.search(r"https?://|url\(|@import", text)
    assert "default-src 'none'" in text


@needs_browser
def test_sorting_by_clicks(page_file, tmp_path):
    column = "document.querySelector('.board').querySelectorAll('tbody tr')"
    runs = f"[...{column}].map(row => row.cells[2].textContent)"
    with browser(tmp_path / "profile") as page:
        page.open(page_file)
        assert page.value("document.title") == f"Leaderboard {TASK}"
        first = page.value(runs)
        assert first[0] == EVIL
        page.click(".board th:nth-child(3) button")  # run, alphabetical
        by_name = page.value(runs)
        assert sorted(by_name) == sorted(first)
        assert by_name == page.value(f"{runs}.sort((a, b) => a.localeCompare(b))")
        page.click(".board th:nth-child(5) button")  # Dice: best first, then worst first
        assert page.value(runs) == [EVIL, ATTRIBUTE, "plain"]
        assert (
            page.value("document.querySelectorAll('.board th')[4].getAttribute('aria-sort')") == "descending"
        )
        page.click(".board th:nth-child(5) button")
        assert page.value(runs) == ["plain", ATTRIBUTE, EVIL]
        page.click(".board th:nth-child(6) button")  # distance: lowest mean first
        values = page.value(f"[...{column}].map(row => Number(row.cells[5].dataset.value))")
        assert values == sorted(values)
        assert len(set(values)) == 3

        assert page.value("document.querySelectorAll('svg circle.point').length") == 2 * 3 * 10 - 1
        assert page.value("document.querySelectorAll('svg .cell').length") == 2 * 3 * 10 - 1
        assert page.value("document.querySelectorAll('svg .range').length") == 3
        assert page.value("document.querySelectorAll('img').length") == 0
        # Text that a chart cuts off at its edge would be unreadable.
        assert (
            page.value(
                "[...document.querySelectorAll('svg text')].filter(t => {"
                "const a = t.getBoundingClientRect(), b = t.closest('svg').getBoundingClientRect();"
                "return Math.min(a.left - b.left, b.right - a.right, a.top - b.top, b.bottom - a.bottom)"
                " < -1;"
                "}).map(t => t.textContent)"
            )
            == []
        )
        (tmp_path / "page.png").write_bytes(page.screenshot())

        complaints = [
            event for event in page.events if event["method"] in ("Log.entryAdded", "Runtime.exceptionThrown")
        ]
        assert complaints == []
        asked = [
            event["params"]["request"]["url"]
            for event in page.events
            if event["method"] == "Network.requestWillBeSent"
        ]
        assert asked == [page_file.as_uri()]
    assert (tmp_path / "page.png").stat().st_size > 20_000
