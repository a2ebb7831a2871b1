"""A .tar.gz is checked and evaluated as its files in a folder are, and nothing of it is trusted."""

import io
import json
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest

sys.path.insert(
    0, str(Path(__file__).parents[1] / "challenge")
)  # importlib mode puts no test folder on the path

from made_challenge import make_task, write

from regeval.cli import container, main


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_task(tmp_path_factory.mktemp("task"), "Knee", 0)


@pytest.fixture
def pack(made, tmp_path, monkeypatch):
    """Pack good fields, in a folder, and whatever else; what is unpacked goes where it can be looked for."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))

    def call(*more, name="team.tar.gz", change=lambda field: field):
        folder = write(made, tmp_path / "fields", change)
        path = tmp_path / name
        with tarfile.open(path, "w:gz") as archive:
            archive.add(folder, "our fields")
            for member in more:
                archive.addfile(member, io.BytesIO(bytes(member.size)))
        return path

    yield call
    assert not list((tmp_path / "temporary").iterdir())


def special(name, kind=tarfile.REGTYPE, target="", size=0):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, size
    return info


def run(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.mark.parametrize("name", ["team.tar.gz", "TEAM.TGZ"])
def test_scores_are_those_of_the_folder(made, pack, tmp_path, name):
    archive = pack(name=name, change=lambda field: 0.8 * field)
    for where, metrics in ((archive, "a.json"), (tmp_path / "fields", "b.json")):
        call = ("evaluate", "--dataset", made.description, "--output", tmp_path / metrics)
        assert run(*call, "--predictions", where) == 0
    one, other = (json.loads((tmp_path / file).read_text()) for file in ("a.json", "b.json"))
    assert one["cases"] == other["cases"]
    assert run("check", "--dataset", made.description, "--predictions", archive) == 0


def test_the_container_takes_one(made, pack, tmp_path):
    mounted = tmp_path / "input"
    mounted.mkdir()
    pack().rename(mounted / "fields.tar.gz")
    folders = ("--input", mounted, "--output", tmp_path, "--ground-truth", made.description.parent)
    assert container.main([str(word) for word in folders]) == 0
    assert json.loads((tmp_path / "metrics.json").read_text())["aggregates"]["DSC"]["mean"] > 0.7


HOSTILE = {
    "link": (special("disp_0001_0000_0002_0000.npz", tarfile.SYMTYPE, "/etc/passwd"), "a link, a device"),
    "hard link": (special("a.nii.gz", tarfile.LNKTYPE, "our fields"), "a link, a device"),
    "device": (special("disp_a.nii.gz", tarfile.CHRTYPE), "a link, a device"),
    "pipe": (special("disp_a.nii.gz", tarfile.FIFOTYPE), "a link, a device"),
    "above": (special("../escaped.nii.gz"), "path leaves the archive"),
    "absolute": (special("/tmp/escaped.nii.gz"), "path leaves the archive"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_no_plain_file_is_a_fault_of_both(made, pack, tmp_path, capsys, kind):
    member, words = HOSTILE[kind]
    archive = pack(member)
    assert run("check", "--dataset", made.description, "--predictions", archive) == 1
    checked = capsys.readouterr().out
    assert run("evaluate", "--dataset", made.description, "--predictions", archive) == 3
    for text in (checked, capsys.readouterr().err):
        assert words in text
        assert str(archive) in text
        assert "regeval-" not in text  # where it was unpacked is nobody's business
    assert not list(tmp_path.rglob("escaped*"))


def test_a_bomb_is_refused_before_the_disk_is_full(made, pack, capsys):
    archive = pack()
    with tarfile.open(archive, "w:gz") as bomb:  # 9 GiB, claimed only
        bomb.addfile(special("our fields/disp_a.nii.gz", size=9 << 30))
    for verb, code in (("check", 3), ("evaluate", 3)):
        assert run(verb, "--dataset", made.description, "--predictions", archive) == code
        assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["check", "evaluate"])
@pytest.mark.parametrize("content", [b"", b"no gzip", b"\x1f\x8b\x08" + bytes(30)])
def test_what_is_no_archive(made, tmp_path, capsys, verb, content):
    path = tmp_path / "x.tar.gz"
    path.write_bytes(content)
    assert run(verb, "--dataset", made.description, "--predictions", path) == 3
    assert "tar archive" in capsys.readouterr().err


def test_faults_name_files_within_the_archive(made, pack, capsys):
    archive = pack(special("our fields/disp_0001_0000_0002_0000.npz", size=10))  # npz wins
    assert run("check", "--dataset", made.description, "--predictions", archive) == 1
    found = capsys.readouterr().out
    assert "disp_0001_0000_0002_0000.npz" in found
    assert "regeval-" not in found
