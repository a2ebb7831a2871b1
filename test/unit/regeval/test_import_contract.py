"""Imports go down: metrics < inputs < scoring < checking, ranking, pictures < challenge < cli; no circles."""

from pathlib import Path

import pytest
from import_graph import circle, graph

PACKAGE = Path(__file__).resolve().parents[3] / "evaluation" / "regeval"
# Each folder may import those before it; checking, ranking and pictures stand side by side.
HEIGHTS = {
    "metrics": 0,
    "inputs": 1,
    "scoring": 2,
    "checking": 3,
    "ranking": 3,
    "pictures": 3,
    "challenge": 4,
    "cli": 5,
}
OTHERS = {"dinoreg", "torch"}


def folder(name):
    return name.split(".")[1] if name.count(".") else ""


def upward(package):
    """Every import that does not go down, or not within one folder."""
    found = []
    for name, imported in graph(package).items():
        for other in sorted(one for one in imported if one.split(".")[0] == package.name):
            inside, outside = folder(name), folder(other)
            below = HEIGHTS.get(outside, len(HEIGHTS)) < HEIGHTS.get(inside, len(HEIGHTS))
            if inside in HEIGHTS and inside != outside and not below:
                found.append(f"{name} imports {other}")
    return found


def test_imports_go_down():
    assert upward(PACKAGE) == []


def test_there_is_no_circle():
    assert circle(PACKAGE) == []


def test_every_folder_has_its_height_and_every_module_its_folder():
    assert {path.parent.name for path in PACKAGE.glob("*/*.py")} == set(HEIGHTS)
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py"}


def test_folders_stay_readable():
    assert max(len(list((PACKAGE / name).glob("*.py"))) for name in HEIGHTS) <= 14


def test_the_registration_is_never_imported():
    imported = {one.split(".")[0] for names in graph(PACKAGE).values() for one in names}
    assert imported & OTHERS == set()


FAULTY = {
    "upward": (
        "metrics/a.py",
        "from regeval.scoring.b import f",
        ["regeval.metrics.a imports regeval.scoring.b"],
    ),
    "late": ("inputs/a.py", "def f():\n    import regeval.cli", ["regeval.inputs.a imports regeval.cli"]),
    "sideways": (
        "checking/a.py",
        "from regeval.ranking import b",
        ["regeval.checking.a imports regeval.ranking.b"],
    ),
    "back": (
        "ranking/a.py",
        "from regeval.checking import b",
        ["regeval.ranking.a imports regeval.checking.b"],
    ),
    "root": ("cli/a.py", "from regeval import dice", ["regeval.cli.a imports regeval"]),
    "down": ("cli/a.py", "from regeval.ranking import b\nimport regeval.cli.b", []),
}


@pytest.fixture
def made(tmp_path):
    """A package that has a module `b` in every folder."""
    for name in ("", *HEIGHTS):
        (tmp_path / "regeval" / name).mkdir(exist_ok=True)
        (tmp_path / "regeval" / name / "__init__.py").touch()
        (tmp_path / "regeval" / name / "b.py").touch()
    return tmp_path / "regeval"


@pytest.mark.parametrize("kind", FAULTY)
def test_the_contract_bites(kind, made):
    file, text, expected = FAULTY[kind]
    (made / file).write_text(text, encoding="utf-8")
    assert upward(made) == expected


def test_circles_are_found(made):
    (made / "cli" / "b.py").write_text("def f():\n    from regeval.cli import a", encoding="utf-8")
    (made / "cli" / "a.py").write_text("from regeval.cli.b import f", encoding="utf-8")
    assert set(circle(made)) == {"regeval.cli.a", "regeval.cli.b"}
