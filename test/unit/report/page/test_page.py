"""The page as text: whole, safe, and with or without NiiVue."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from page_samples import make_shown

from dinoreg.report.page import Points, bundle, index_row, make_page, write, write_index
from dinoreg.report.page.scores import organ_scores, point_errors


class Tags(HTMLParser):
    """Keeps tags, and what could load something."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs


@pytest.fixture(scope="module")
def page():
    return make_page(make_shown(verdict="doubtful", reasons=("covers <half>",), facts={"p": "<i>"}))


def parsed(text):
    parser = Tags()
    parser.feed(text)
    return parser


def test_names_are_text_and_nothing_is_loaded(page):
    parser = parsed(page.text)
    assert "</script><b>" not in page.text
    assert not {"link", "iframe", "object"} & set(parser.tags)
    sources = [value for name, value in parser.attributes if name in ("src", "href")]
    assert all(value.startswith("data:image/png;base64,") for value in sources)
    assert not [name for name, _ in parser.attributes if name.startswith("on")]
    assert ("http-equiv", "Content-Security-Policy") in parser.attributes
    assert "default-src 'none'" in page.text
    assert "covers &lt;half&gt;" in page.text
    (facts,) = re.findall(r'id="facts">(.*?)</script>', page.text)
    assert json.loads(facts)["labels"][0]["name"] == "ball </script><b>"


def test_scores_and_verdict_come_first(page):
    for text in ("doubtful", "mean Dice, before and after", "mean landmark error", "folded voxels"):
        assert text in page.text
        assert page.text.index(text) < page.text.index('id="viewer"')
    assert page.organs[0].after > 0.9 > 0.5 > page.organs[0].before
    np.testing.assert_allclose(page.points.after, [0, 2 * 2.5], atol=1e-9)


def test_without_niivue_the_picture_stays(monkeypatch):
    monkeypatch.setattr(write, "find_bundle", lambda: None)
    page = make_page(make_shown())
    assert not page.interactive
    assert "script" not in parsed(page.text).tags
    assert "pip install dinoreg[viewer]" in page.text
    assert page.picture.startswith(b"\x89PNG")


def test_a_page_that_would_be_too_large_holds_fewer_voxels(monkeypatch):
    whole = make_page(make_shown())
    monkeypatch.setattr(write, "_MOST_TEXT", 3_000)
    small = make_page(make_shown())
    assert len(small.text) < len(whole.text)
    assert "finest axes" in small.text


def test_the_bundle_is_made_a_script_that_gives_the_class_away():
    module = (
        'class Q{}\nconsole.log("Creating new Niivue instance");let o=1;v=new Q(o);\nexport{I as default};\n'
    )
    assert bundle.as_script(module).endswith("globalThis.Niivue = Q;\n")
    assert "export" not in bundle.as_script(module)
    with pytest.raises(ValueError, match="another form"):
        bundle.as_script(module.replace("export", "exit"))


def test_another_bundle_leaves_the_viewer_out(monkeypatch, caplog):
    monkeypatch.setattr(bundle, "_EXPORT", re.compile("no such end"))
    assert bundle.find_bundle() is None
    assert "another form" in caplog.text


def test_scores_without_truth():
    shown = make_shown(labels=False)
    assert organ_scores(shown) == []
    points = replace(shown.points, true=None)
    assert point_errors(points, shown) is None
    page = make_page(replace(shown, points=points))
    assert "moved by, mm" in page.text
    # SHIFT is (3, -5, 7) voxels of 2, 2.2 and 3 mm.
    assert f"{np.linalg.norm([6, 11, 21]):.2f}" in page.text


def test_errors_of_landmarks_are_in_mm():
    shown = make_shown()
    points = Points(np.zeros((1, 3)), np.zeros((1, 3)), np.array([[1.0, 2.0, -2.0]]))
    errors = point_errors(points, shown)
    np.testing.assert_allclose(errors.after, [np.linalg.norm([2.5, 2 * 1.9, 2 * 1.8])])


def test_the_worst_pair_comes_first(page, tmp_path):
    shown = make_shown(verdict="good")
    rows = [
        index_row(
            replace(shown, verdict=verdict, title=title), replace(page, organs=organs, points=None), "p"
        )
        for title, verdict, organs in (
            ("fine", "good", [page.organs[0]._replace(after=0.9)]),
            ("worse overlap", "good", [page.organs[0]._replace(after=0.7)]),
            ("failed one", "failed", [page.organs[0]._replace(after=0.95)]),
            ("<odd>", "doubtful", []),
        )
    ]
    write_index(tmp_path / "index.html", "many", rows)
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    at = [text.index(f">{name}</a>") for name in ("failed one", "&lt;odd&gt;", "worse overlap", "fine")]
    assert at == sorted(at)
    assert "script" not in parsed(text).tags
