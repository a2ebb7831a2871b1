"""The tables of README.md, docs/gpu.md and docs/results.md are those of the measurements."""

import re

import pytest

import make_results

needs_results = pytest.mark.skipif(not make_results.RESULTS.is_dir(), reason="the measurements are not here")


@needs_results
@pytest.mark.parametrize("page", make_results.PAGES)
def test_the_tables_are_those_of_the_measurements(page):
    text = (make_results.ROOT / page).read_text(encoding="utf-8")
    assert "<!-- table: " in text
    assert make_results.fill(text, make_results.TABLES) == text


@needs_results
def test_every_table_is_shown():
    pages = [(make_results.ROOT / page).read_text(encoding="utf-8") for page in make_results.PAGES]
    assert [name for name in make_results.TABLES if f"<!-- table: {name} -->" not in "".join(pages)] == []


def test_a_table_is_replaced_and_the_text_around_it_is_kept():
    end = "<!-- end of table -->\n"
    page = f"before\n<!-- table: a -->\n{{}}{end}after\n<!-- table: b -->\n{{}}{end}"
    filled = make_results.fill(page.format("| 1 |\n", ""), {"a": lambda: "| 2 |\n", "b": lambda: "| 3 |"})
    assert filled == page.format("| 2 |\n", "| 3 |\n")


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("<!-- table: other -->\n<!-- end of table -->", "unknown tables"),
        ("<!-- table: a -->\n", "without its end"),
        ("<!-- end of table -->\n", "without its table"),
    ],
)
def test_a_page_that_cannot_be_filled_is_refused(page, message):
    with pytest.raises(ValueError, match=message):
        make_results.fill(page, {"a": lambda: ""})


@needs_results
def test_check_fails_where_a_figure_was_changed(tmp_path, monkeypatch, capsys):
    page = tmp_path / "README.md"
    text = (make_results.ROOT / "README.md").read_text(encoding="utf-8")
    monkeypatch.setattr(make_results, "ROOT", tmp_path)
    monkeypatch.setattr(make_results, "PAGES", ("README.md",))
    monkeypatch.setattr("sys.argv", ["make_results.py", "--check"])
    page.write_text(text, encoding="utf-8")
    make_results.main()
    assert capsys.readouterr().out == "up to date\n"
    table = text.index("<!-- table: ")
    changed = text[:table] + re.sub(r"0\.\d+", "0.0123", text[table:], count=1)
    assert changed != text
    page.write_text(changed, encoding="utf-8")
    with pytest.raises(SystemExit, match=r"README\.md: not what benchmarks/results says"):
        make_results.main()
    assert page.read_text(encoding="utf-8") == changed
    monkeypatch.setattr("sys.argv", ["make_results.py"])
    make_results.main()
    assert page.read_text(encoding="utf-8") == text
