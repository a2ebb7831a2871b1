"""What README.md and docs say is there, is there: files, links, headings, presets, examples."""

import importlib
import re
import subprocess
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest

from dinoreg.settings.load import load_config, preset_names

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    path.relative_to(ROOT).as_posix()
    for path in (
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "NOTICE")),
        *sorted((ROOT / "docs").glob("*.md")),
        ROOT / "datasets_json" / "README.md",
    )
]
# Where a path that a page names may begin.
BASES = ("", "algorithm/dinoreg", "evaluation/regeval")
FOLDERS = ("algorithm", "benchmarks", "datasets_json", "docs", "evaluation", "test")
_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_PATH = re.compile(r"(?<![\w/.*$<-])[\w.+-]+(?:/[\w.+-]+)*/?")
_MODULE = re.compile(r"\b(?:dinoreg|regeval|regtask)(?:\.[a-z]\w*)+")
_NAMED = re.compile(rf"(?<![\w/.-])(?:{'|'.join(FOLDERS)})/[\w/+-]+\.\w+")
_SOURCE = (".py", ".sh")  # named without a folder, too


def broken(text, page):
    """Everything that a page names and that is not there."""
    own = (ROOT / page).parent
    missing = [target for target in links(text) if not target_exists(target, own)]
    missing += [name for name in paths(_LINK.sub("", text)) if not exists(name)]
    return missing + [name for name in _MODULE.findall(text) if not imports(name)]


def links(text):
    return [found["target"] for found in _LINK.finditer(text) if "://" not in found["target"]]


def target_exists(target, folder):
    name, _, heading = target.partition("#")
    path = folder / name
    if not heading:
        return path.exists()
    return path.is_file() and heading in headings(path.read_text(encoding="utf-8"))


def headings(text):
    """The anchors that GitHub gives to headings."""
    titles = [line.lstrip("#").strip().lower() for line in text.splitlines() if line.startswith("#")]
    return {re.sub(r"[^\w -]", "", title).replace(" ", "-") for title in titles}


def paths(text):
    """Names of files and folders of this repository, other than those that a run or a user writes."""
    found = [name.rstrip(".") for name in _PATH.findall(re.sub(r"(?<!\S)(`?)\./", r"\1", text))]
    return [
        name
        for name in found
        if (name.endswith(_SOURCE) and name[0] != ".")
        or ("/" in name and name.endswith((".toml", ".md", ".png")) and name.islower())
        or (name.startswith(tuple(f"{folder}/" for folder in FOLDERS)) and name.isascii())
    ]


def exists(name):
    if "/" not in name:
        return name in file_names()
    return any((ROOT / base / name).exists() for base in BASES)


@cache
def file_names():
    folders = [ROOT, *(ROOT / folder for folder in FOLDERS)]
    return {
        path.name for folder in folders for path in (folder.rglob("*") if folder != ROOT else ROOT.glob("*"))
    }


def imports(name):
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            value = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            if not hasattr(value, part):
                return False
            value = getattr(value, part)
        return True
    return False


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_is_there(page):
    assert broken((ROOT / page).read_text(encoding="utf-8"), page) == []


def test_what_the_code_names_is_there():
    """Files of the repository that docstrings and comments send their reader to."""
    named = {
        (path.name, name)
        for folder in ("algorithm", "evaluation", "datasets_json", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        for name in _NAMED.findall(path.read_text(encoding="utf-8"))
    }
    assert len(named) > 10
    assert [(file, name) for file, name in sorted(named) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize(
    "text",
    [
        "[a](docs/nothing.md)",
        "[a](docs/pipeline.md#nothing)",
        "`pipeline/encode.py`",
        "`bench_nothing.py`",
        "see benchmarks/results/nothing.json",
        "`algorithm/nothing/`",
        "`regeval.scoring.nothing`",
        "`./nothing.sh`",
    ],
)
def test_what_is_not_there_is_noticed(text):
    assert len(broken(text, "README.md")) == 1


@pytest.mark.parametrize(
    "text",
    [
        "[a](docs/pipeline.md#presets)",
        "`pipeline/plan.py`",
        "`bench_stages.py`",
        "`algorithm/dinoreg/`",
        "`regeval.scoring.quick_scores.score_case(pair, field)`",
        "`OUT/ablation.md`",
        "`/opt/ml/model`",
        "[a](https://example.org/a.md)",
    ],
)
def test_what_is_there_or_not_ours_is_left_alone(text):
    assert broken(text, "README.md") == []


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_described(name):
    assert f"`{name}`" in (ROOT / "docs/pipeline.md").read_text(encoding="utf-8")


def test_the_example_of_an_own_configuration_can_be_used(tmp_path):
    text = (ROOT / "docs/pipeline.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    file = tmp_path / "thin.toml"
    file.write_text(example, encoding="utf-8")
    config = load_config(file)
    assert config.features.cell_mm == 3.0
    assert config.adam[0].iterations == 50
    assert config.discrete[1].radius_mm == 12.0
    assert [one.radius for one in config.features.encoders] == [2]


def test_the_version_is_the_same_everywhere():
    version = metadata.version("dinoreg")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == version
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\n## [{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"(?:dinoreg|regeval):(\d\S*)", readme)) == {version}


def test_make_help_lists_every_target():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    command = ["make", "--no-print-directory", "-C", str(ROOT), "help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert [line.split()[1] for line in shown.splitlines()] == phony.split()
