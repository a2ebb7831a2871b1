"""Imports of the registration go down only and never in a circle; one file turns axes."""

import ast
from pathlib import Path

import pytest
from import_graph import circle, graph

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = ROOT / "algorithm" / "dinoreg"
# Each may import those on the lines above it; what shares a line stands side by side.
LAYERS = (
    ("errors", "facts"),
    ("runtime", "settings"),
    ("space",),
    ("preprocess", "weights"),
    ("encoders",),
    ("stage", "step_down"),
    ("course",),
    ("optimise",),
    ("start", "guard"),
    ("linear",),
    ("field_verdict",),
    ("pipeline", "warp"),
    ("report",),
    ("task", "desk"),
    ("study", "motion", "pretrain", "phantom"),
    ("cli",),
)
HEIGHTS = {name: height for height, names in enumerate(LAYERS) for name in names}
# Worlds of their own: nothing below them needs them, and they may use one another.
APART = {"motion", "pretrain", "phantom"}
# The evaluation is used where something is scored, and nowhere else.
OTHERS = {"regeval": {"study", "motion"}}
FLIPS = {"flip", "fliplr", "flipud", "rot90"}
# Flips that turn no image: channels, eigenvalues, pairs of views, a scan along an axis and back.
NO_AXES = {
    "space/coords.py",
    "encoders/pca.py",
    "pretrain/objective/learner.py",
    "preprocess/foreground.py",
}


def folder(name):
    return name.split(".")[1] if name.count(".") else ""


def upward(package):
    """Every import that neither goes down nor stays within its folder."""
    found = []
    for name, imported in graph(package).items():
        inside = folder(name)
        for other in sorted(imported):
            top, outside = other.split(".")[0], folder(other)
            if top in OTHERS and inside not in OTHERS[top]:
                found.append(f"{name} imports {other}")
            if top != package.name or not inside or inside == outside or {inside, outside} <= APART:
                continue
            if HEIGHTS.get(outside, len(LAYERS)) >= HEIGHTS[inside]:
                found.append(f"{name} imports {other}")
    return found


def flips(package):
    """Files that flip something."""
    found = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in FLIPS
            ):
                found.add(path.relative_to(package).as_posix())
    return found


def test_imports_go_down():
    assert upward(PACKAGE) == []


def test_there_is_no_circle():
    assert circle(PACKAGE) == []


def test_every_module_has_its_layer():
    names = {path.stem for path in PACKAGE.glob("*.py")} | {
        path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()
    }
    assert names - {"__init__"} == set(HEIGHTS)


def test_folders_stay_readable():
    sizes = {path: len(list(path.glob("*.py"))) for path in PACKAGE.rglob("*") if path.is_dir()}
    assert {path.name: count for path, count in sizes.items() if count > 15} == {}


def test_the_pipeline_stays_small():
    lines = [len(path.read_text().splitlines()) for path in (PACKAGE / "pipeline").glob("[!_]*.py")]
    assert len(lines) == 3
    assert sum(lines) < 600


def test_one_file_turns_axes():
    assert flips(PACKAGE) - NO_AXES == {"space/orientation.py"}


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("space/a.py", "from dinoreg.encoders import b", "dinoreg.space.a imports dinoreg.encoders.b"),
        ("start/a.py", "def f():\n    import dinoreg.guard.b", "dinoreg.start.a imports dinoreg.guard.b"),
        ("task/a.py", "from dinoreg.motion.b import f", "dinoreg.task.a imports dinoreg.motion.b"),
        ("task/a.py", "import regeval", "dinoreg.task.a imports regeval"),
    ],
)
def test_the_contract_bites(file, text, expected, tmp_path):
    for name in HEIGHTS:
        (tmp_path / "dinoreg" / name).mkdir(parents=True)
        (tmp_path / "dinoreg" / name / "b.py").touch()
    (tmp_path / "dinoreg" / file).write_text(text, encoding="utf-8")
    assert upward(tmp_path / "dinoreg") == [expected]


def test_a_flip_is_seen(tmp_path):
    (tmp_path / "a.py").write_text("import numpy\nnumpy.flip([1])", encoding="utf-8")
    assert flips(tmp_path) == {"a.py"}
