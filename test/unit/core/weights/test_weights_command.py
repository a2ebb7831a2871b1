"""`dinoreg weights`, with a server on this machine in the place of the publisher's."""

import functools
import http.server
import os
import subprocess
import sys
import threading

import pytest

from dinoreg.cli.main import build_parser
from dinoreg.cli.weights import run_weights
from dinoreg.errors import WeightsError
from regtask.errors import OutputError

NAME = "dinov2_vits14_pretrain.pth"


def command(*arguments):
    run_weights(build_parser().parse_args(["weights", *map(str, arguments)]))


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def end_headers(self):
        if "cut" in self.path:
            self.send_header("Content-Length", "99")
        super().end_headers()

    def send_header(self, name, value):
        if "cut" not in self.path or value == "99" or name != "Content-Length":
            super().send_header(name, value)


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """Serve a folder; returns the folder and its address."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(Handler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_fetch(tmp_path, mirror, pinned, capsys):
    served, url = mirror
    (served / NAME).write_bytes(b"weights")
    output = tmp_path / "new" / "folder"
    command("fetch", "vits14", "--output", output, "--mirror", url + "/")
    assert [path.name for path in output.iterdir()] == [NAME]
    assert (output / NAME).read_bytes() == b"weights"
    assert capsys.readouterr().out == f"{output / NAME}: official\n"
    # what is there is not fetched again, and what is damaged is
    (served / NAME).unlink()
    command("fetch", NAME, "--output", output, "--mirror", url)
    (output / NAME).write_bytes(b"damaged")
    (served / NAME).write_bytes(b"weights")
    command("fetch", NAME, "--output", output, "--mirror", url)
    assert (output / NAME).read_bytes() == b"weights"


@pytest.mark.parametrize(
    ("content", "suffix", "message"),
    [
        (b"something else", "", "another digest and was thrown away: .*expected sha256 .*; got sha256"),
        (b"weights", "/cut", "cannot download: .*broke off after 7 of 99 bytes"),
        (None, "", "cannot download: .*got HTTP Error 404"),
    ],
)
def test_a_failed_download_leaves_nothing(tmp_path, mirror, pinned, content, suffix, message):
    served, url = mirror
    (served / "cut").mkdir()
    if content is not None:
        (served / suffix.strip("/") / NAME).write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        command("fetch", "vits14", "--output", tmp_path / "out", "--mirror", url + suffix)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_failed_download_keeps_what_was_there(tmp_path, mirror, pinned):
    (tmp_path / NAME).write_bytes(b"older")
    with pytest.raises(WeightsError):
        command("fetch", "vits14", "--output", tmp_path, "--mirror", mirror[1])
    assert (tmp_path / NAME).read_bytes() == b"older"


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "file:///etc", "http://[", "nonsense"])
def test_no_server(tmp_path, pinned, url):
    with pytest.raises(WeightsError, match="cannot download"):
        command("fetch", "vits14", "--output", tmp_path / "out", "--mirror", url)


def test_no_folder_to_write_to(tmp_path, pinned):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="folder not usable"):
        command("fetch", "vits14", "--output", tmp_path / "file" / "out")


@pytest.mark.parametrize(
    ("name", "content", "state"),
    [
        (None, b"", "absent"),
        (NAME, b"weights", "official"),
        (NAME, b"other", "WRONG"),
        ("vits14.pth", b"mine", "custom"),
    ],
)
def test_list(tmp_path, monkeypatch, pinned, capsys, name, content, state):
    monkeypatch.setenv("DINOREG_WEIGHTS", str(tmp_path))
    if name:
        (tmp_path / name).write_bytes(content)
    command("list")
    places, line, shipped = capsys.readouterr().out.splitlines()
    assert str(tmp_path) in places
    assert line.split()[0] == "vits14"
    assert state in line
    assert (str(tmp_path) in line) == (name is not None)
    assert shipped.split()[0] == "dino3d"
    assert shipped.split()[-1] == "absent"


def test_verify(tmp_path, monkeypatch, pinned, capsys):
    monkeypatch.setenv("DINOREG_WEIGHTS", str(tmp_path))
    for arguments in ([], ["vits14"], [NAME]):
        with pytest.raises(WeightsError, match="no weights"):
            command("verify", *arguments)
    path = tmp_path / NAME
    path.write_bytes(b"weights")
    for arguments in ([], ["vits14"], ["--path", path], ["--path", tmp_path], [NAME, "--path", path]):
        command("verify", *arguments)
        assert f"vits14: official, sha256 {pinned.sha256}, {path}" in capsys.readouterr().out
    path.write_bytes(b"damaged")
    with pytest.raises(WeightsError, match=f"expected sha256 {pinned.sha256}"):
        command("verify")
    mine = path.rename(tmp_path / "mine.pth")
    with pytest.raises(WeightsError, match="which variant is it"):
        command("verify", "--path", mine)
    with pytest.raises(WeightsError, match="not the official file"):
        command("verify", "vits14", "--path", mine)


def test_verify_a_published_folder(tmp_path, pinned, capsys):
    folder = tmp_path / "dinov2-small"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"folder")
    command("verify", "--path", folder)
    assert f"vits14: official, sha256 {pinned.folder.sha256}, {folder}" in capsys.readouterr().out


def test_exit_code_and_real_catalogue(tmp_path):
    environment = {**os.environ, "DINOREG_WEIGHTS": str(tmp_path)}
    run = functools.partial(subprocess.run, env=environment, capture_output=True, text=True, check=False)
    listed = run([sys.executable, "-m", "dinoreg.cli.main", "weights", "list"])
    assert listed.returncode == 0
    assert len(listed.stdout.splitlines()) == 10
    verified = run([sys.executable, "-m", "dinoreg.cli.main", "weights", "verify", "vitl14-reg"])
    assert verified.returncode == 2
    assert "dinoreg weights fetch vitl14-reg" in verified.stderr
