"""What has not changed is not done again; what breaks breaks alone."""

import json
import os
import shutil
import tarfile
import zipfile

import pytest
from made_challenge import kill_or_touch

from regeval.challenge import judging as module
from regeval.challenge.entries import find_entries
from regeval.challenge.pool import in_processes
from regtask.errors import DataError


def judged(site):
    """Return the teams that were judged this time."""
    return sorted(line.split(": ")[2] for line in site.err.splitlines() if line.startswith("regeval: ["))


def test_only_what_has_changed_is_done_again(small):
    first = small.again()
    assert (first.code, judged(first)) == (0, ["good", "modest"]), first.err
    page = (small.output / "Knee/leaderboard.html").read_bytes()
    assert judged(small.again()) == []
    assert (small.output / "Knee/leaderboard.html").read_bytes() == page
    os.utime(small.submissions / "good.zip")  # the same bytes
    assert judged(small.again("--method", "wilcoxon-holm")) == []  # ranking is always done anew
    one = min((small.submissions / "modest").iterdir())
    shutil.copy(max((small.submissions / "modest").iterdir()), one)
    assert judged(small.again()) == ["modest"]
    assert judged(small.again("--missing", "identity")) == ["good", "modest"]
    truth = small.datasets[0].parent / "landmarksTr/Knee_0001_0000.csv"
    truth.write_text(truth.read_text(encoding="utf-8").replace("1", "2", 1), encoding="utf-8")
    assert judged(small.again("--missing", "identity")) == ["good", "modest"]
    with zipfile.ZipFile(small.submissions / "good.zip", "a") as archive:
        archive.writestr("README.txt", "new")
    assert judged(small.again("--missing", "identity")) == ["good"]
    (results,) = (small.output / "Knee/results").glob("good-*.json")
    results.unlink()
    assert judged(small.again("--missing", "identity")) == ["good"]


def test_another_evaluator_judges_anew(small, monkeypatch):
    small.again()
    monkeypatch.setattr(module, "digest_evaluator", lambda: "another")
    assert judged(small.again()) == ["good", "modest"]


def test_a_team_that_withdraws_is_forgotten(small):
    small.again()
    shutil.rmtree(small.submissions / "modest")
    site = small.again()
    assert len(list((small.output / "Knee/teams").iterdir())) == 1
    assert not list((small.output / "Knee/results").glob("modest*"))
    assert "modest" not in (small.output / "index.html").read_text(encoding="utf-8")
    assert site.code == 0


def test_useless_files_are_teams_that_are_told(small):
    (small.submissions / "fields.pkl").write_bytes(b"\x80\x04.")
    (small.submissions / "broken.zip").write_bytes(b"PK\x03\x04 not really")
    (small.submissions / "empty").mkdir()
    (small.submissions / "broken.tar.gz").write_bytes(b"no gzip")
    os.mkfifo(small.submissions / "pipe.zip")
    (small.submissions / ".hidden").write_text("x", encoding="utf-8")
    site = small.again()
    assert site.code == 0
    assert "not scored: fields.pkl: not a submission: fields.pkl; expected a folder, .zip" in site.out
    # broken.zip and broken.tar.gz are one team.
    assert "not scored: broken [broken.zip]: one team, several submissions" in site.out
    assert "not scored: empty: no usable field at all" in site.out
    assert "not scored: pipe.zip: not a submission" in site.out
    assert ".hidden" not in site.out
    (small.submissions / "broken.zip").unlink()
    site = small.again()
    assert "not scored: broken: damaged tar archive: broken.tar.gz" in site.out
    pages = [path.read_text(encoding="utf-8") for path in small.output.rglob("*.html")]
    assert not [text for text in pages if str(small.submissions) in text]
    assert judged(site) == ["broken"]


def test_nobody_takes_the_name_of_the_reference(small):
    (small.submissions / "good.zip").rename(small.submissions / "identity.zip")
    site = small.again("--method", "wilcoxon-holm")
    assert "identity (team)" in site.out
    assert "ref" in next(line for line in site.out.splitlines() if " identity  " in line)


def test_tar_archives_are_not_trusted(small, tmp_path):
    with tarfile.open(small.submissions / "hostile.tar.gz", "w:gz") as archive:
        with zipfile.ZipFile(small.submissions / "good.zip") as fields:
            for member in fields.infolist():
                info = tarfile.TarInfo(member.filename)
                info.size = member.file_size
                archive.addfile(info, fields.open(member))
        link = tarfile.TarInfo("disp_0001_0000_0002_0000.npz")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        archive.addfile(tarfile.TarInfo("../escaped.nii.gz"))
    site = small.again()
    (path,) = (small.output / "Knee/teams").glob("hostile-*.html")
    text = path.read_text(encoding="utf-8")
    assert "not scored: hostile" in site.out
    assert "path leaves the archive" in text
    assert "a link, a device or a sparse file" in text
    assert not list(tmp_path.rglob("escaped*"))


def test_what_kills_one_leaves_the_others_alone(tmp_path):
    jobs = [tmp_path / name for name in ("a", "killed", "b", "c")]
    found = dict(in_processes(kill_or_touch, jobs, 2))
    assert {path.name: code for path, code in found.items()} == {"a": 0, "b": 0, "c": 0, "killed": -9}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]


def test_a_killed_evaluation_is_said_and_tried_again(small, monkeypatch):
    def killed(work, jobs, count):
        yield from ((job, -9) for job in jobs)

    with monkeypatch.context() as patch:
        patch.setattr(module, "in_processes", killed)
        site = small.again()
    assert site.code == 1
    assert "not scored: good: the evaluation was killed: good.zip; got exit code -9 -> more" in site.out
    assert "no ranking: no submission could be scored" in site.out
    assert judged(small.again()) == ["good", "modest"]


@pytest.mark.parametrize("file", ["labelsTr/Knee_0001_0000.nii.gz", "landmarksTr/Knee_0003_0000.csv"])
def test_a_broken_task_is_nobodys_fault(small, file):
    (small.datasets[0].parent / file).write_bytes(b"x")
    site = small.again()
    assert site.code == 3
    assert file in site.err
    assert not (small.output / "index.html").exists()


def test_faults_of_the_task_are_on_the_first_page(small):
    path = small.datasets[0].parent / "landmarksTr/Knee_0001_0000.csv"
    path.write_text("900,1,1\n" + path.read_text(encoding="utf-8").split("\n", 1)[1], encoding="utf-8")
    site = small.again()
    assert "the task itself has faults" in site.err
    index = (small.output / "index.html").read_text(encoding="utf-8")
    assert "landmarks outside the image" in index


def test_refusals(small, tmp_path):
    site = small.again("--reference", "afine")
    assert (site.code, "no such reference" in site.err) == (3, True)
    assert small.again("--method", "oncoreg").code == 3
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match="no submissions"):
        find_entries(tmp_path / "nothing")
    with pytest.raises(DataError, match="cannot read"):
        find_entries(tmp_path / "nowhere")
    twice = type(small)((*small.datasets, *small.datasets), small.submissions, small.output, -1, "", "")
    assert "tasks of one name" in twice.again().err


def test_refusing_missing_fields_is_said_per_team(small):
    min((small.submissions / "modest").iterdir()).unlink()
    site = small.again("--missing", "refuse")
    assert "not scored: modest: no displacement field" in site.out
    content = json.loads(min((small.output / "Knee/results").glob("modest*.outcome")).read_text("utf-8"))
    assert content["scored"] is False
