"""Grand Challenge's invoke mode: a server in a process of its own, asked as the platform asks."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest
import SimpleITK as sitk

from dinoreg.cli.platforms import invoke
from regtask import read_field, read_volume
from regtask.errors import DataError, Fault

pytestmark = pytest.mark.integration


class Client:
    """Asks a server on this machine."""

    def __init__(self, port):
        self.port = port

    def ask(self, method, path, **more):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, **more)
        answer = connection.getresponse()
        found = answer.status, answer.read().decode()
        connection.close()
        return found

    def send(self, data):
        """Send bytes as they are; returns what comes back."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(4096), b""))


class Stopped(BaseException):
    """Ends the server of a test, as a signal would."""


class InThread:
    """A server in this process, with jobs that a test makes up."""

    def __init__(self, monkeypatch):
        self.jobs, self.port, self.loaded = [], threading.Event(), threading.Event()
        told = invoke.log.info
        monkeypatch.setattr(
            invoke.log, "info", lambda text, *more: (self._listen(text, more), told(text, *more))
        )
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()
        assert self.port.wait(10)

    def _listen(self, text, more):
        if text.startswith("listening"):
            self.client = Client(more[0])
            self.port.set()

    def _serve(self):
        def load():
            self.loaded.wait(10)
            return lambda: self.jobs.pop(0)()

        with contextlib.suppress(Stopped):
            invoke.serve(load, "127.0.0.1", 0)

    def stop(self):
        self.jobs = [fails(Stopped())]
        ready(self)
        with contextlib.suppress(http.client.HTTPException, OSError):
            self.client.ask("POST", "/invoke")
        self.thread.join(10)
        assert not self.thread.is_alive()


@pytest.fixture
def server(monkeypatch):
    running = InThread(monkeypatch)
    yield running
    running.stop()


def fails(error):
    def job():
        raise error

    return job


def test_health_waits_for_the_models(server):
    assert server.client.ask("GET", "/health")[0] == 503
    assert server.client.ask("POST", "/invoke")[0] == 503
    assert ready(server).ask("GET", "/health") == (200, "ready\n")


def ready(server):
    server.loaded.set()
    while server.client.ask("GET", "/health")[0] != 200:
        pass
    return server.client


def test_a_job_that_fails_says_why_and_the_next_one_runs(server, caplog):
    client = ready(server)
    fault = DataError(Fault("one image is needed", "/input/images/a", "one .mha"))
    server.jobs = [fails(fault), fails(KeyError("x")), fails(MemoryError()), lambda: None]
    found = [client.ask("POST", "/invoke") for _ in range(4)]
    assert [status for status, _ in found] == [500, 500, 500, 201]
    assert "one image is needed: /input/images/a" in found[0][1]
    assert "KeyError" in found[1][1]
    assert "not enough memory" in found[2][1]
    assert "the job failed: one image is needed" in caplog.text


def test_one_job_at_a_time_and_health_meanwhile(server):
    client, begun, go = ready(server), threading.Event(), threading.Event()

    def slow():
        begun.set()
        go.wait(20)

    server.jobs = [slow, lambda: None]
    first = []
    asking = threading.Thread(target=lambda: first.append(client.ask("POST", "/invoke")[0]))
    asking.start()
    assert begun.wait(10)
    assert client.ask("GET", "/health")[0] == 200
    assert client.ask("POST", "/invoke") == (409, "a job is under way\n")
    go.set()
    asking.join(20)
    assert first == [201]
    assert client.ask("POST", "/invoke")[0] == 201


BAD = {
    "elsewhere": (b"GET / HTTP/1.1\r\n\r\n", 404),
    "below": (b"GET /health/x HTTP/1.1\r\n\r\n", 404),
    "other method": (b"GET /invoke HTTP/1.1\r\n\r\n", 405),
    "post of health": (b"POST /health HTTP/1.1\r\n\r\n", 405),
    "unknown method": (b"BREW /invoke HTTP/1.1\r\n\r\n", 501),
    "no http": (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
    "long line": (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
    "many headers": (b"GET /health HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431),
    "length in words": (b"POST /invoke HTTP/1.1\r\nContent-Length: many\r\n\r\n", 400),
    "negative length": (b"POST /invoke HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
    "large body": (b"POST /invoke HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", 413),
}


def test_bad_requests_are_refused_and_cost_nothing(server):
    client = ready(server)
    server.jobs = [lambda: None]
    for name, (request, status) in BAD.items():
        answer = client.send(request)
        assert re.search(rf"HTTP/1\.[01] {status} |Error code: {status}", answer.decode("latin-1")), (
            name,
            answer,
        )
    assert client.send(b"") == b""
    assert client.ask("POST", "/invoke?x=1", body=b"{}")[0] == 201
    assert client.ask("HEAD", "/health") == (200, "")


@pytest.fixture
def images(tiny, tmp_path):
    """A job from the tiny task's first pair, as `.mha`; returns a function that writes it anew."""

    def write(fixed, moving, suffix=".mha"):
        folder, entries = tmp_path / "input", []
        for slug, name in (("fixed-mr", fixed), ("moving-mr", moving)):
            place = folder / "images" / slug
            place.mkdir(parents=True, exist_ok=True)
            for old in place.iterdir():
                old.unlink()
            sitk.WriteImage(sitk.ReadImage(tiny.image(name)), place / f"one{suffix}")
            entries.append({"socket": {"slug": slug, "relative_path": f"images/{slug}"}, "image": None})
        (folder / "inputs.json").write_text(json.dumps(entries), encoding="utf-8")
        return folder

    return write


def voxels(path, grid):
    """A field of the platform in voxels of its grid, by ITK's reading of the file alone."""
    image = sitk.ReadImage(path)
    lps = sitk.GetArrayFromImage(image).transpose(3, 2, 1, 0)
    return (lps * (-1, -1, 1)) @ np.linalg.inv(grid.affine[:3, :3]).T


def test_the_server_registers_jobs_like_the_command(images, tiny, tmp_path, quick, quick_run):
    folder = images(*tiny.pairs[0])
    (tmp_path / "out").mkdir()
    command = [sys.executable, "-m", "dinoreg.cli.platforms.entry", "--config", str(quick), "--port", "0"]
    environment = os.environ | {"DINOREG_API": "invoke"}
    process = subprocess.Popen(
        [*command, "--root", str(tmp_path), "--output", str(tmp_path / "out")],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        lines = []
        while not re.search(" ready$", lines[-1] if lines else ""):
            lines.append(process.stderr.readline())
            assert lines[-1], lines
        client = Client(int(re.search(r"port (\d+)", "".join(lines)).group(1)))
        assert client.ask("GET", "/health") == (200, "ready\n")
        field = tmp_path / "out/images/displacement-field/displacement-field.mha"
        for pair, name in zip(tiny.pairs[:2], tiny.fields[:2], strict=True):
            images(*pair)
            assert client.ask("POST", "/invoke") == (201, "outputs written\n")
            there = read_field(quick_run[0] / name)
            np.testing.assert_allclose(voxels(field, tiny.grid), there, atol=2e-5)
        (folder / "inputs.json").write_text("[]", encoding="utf-8")
        status, text = client.ask("POST", "/invoke")
        assert (status, "no socket for fixed and moving" in text) == (500, True)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 143
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_a_server_that_cannot_load_ends():
    with pytest.raises(DataError, match="no weights"):
        invoke.serve(fails(DataError(Fault("no weights", "here"))), "127.0.0.1", 0)


def test_a_taken_port_is_said(container, tmp_path):
    with socket.create_server(("0.0.0.0", 0)) as taken:
        done = container("--api", "invoke", "--preset", "identity", "--port", taken.getsockname()[1])
    assert done.code == 4
    assert "refused by the system" in done.err


def test_tiff_sockets(tiny, container, tmp_path, quick, quick_run):
    """Pages of TIFF are slices; ITK writes them, spacing in the plane included, and nothing else."""
    folder, entries = tmp_path / "input", []
    for slug, name in zip(("fixed-mr", "moving-mr"), tiny.pairs[0], strict=True):
        place = folder / "images" / slug
        place.mkdir(parents=True)
        image = sitk.GetImageFromArray(read_volume(tiny.image(name)).data.transpose(2, 1, 0))
        image.SetSpacing((1.5, 2.0, 1.0))
        sitk.WriteImage(image, place / "one.tif")
        entries.append({"interface": {"slug": slug, "relative_path": f"images/{slug}"}})
    (folder / "inputs.json").write_text(json.dumps(entries), encoding="utf-8")
    steps = ("--config", quick, "--set", "adam.0.iterations=40")
    done = container("--root", tmp_path, *steps)
    assert done.code == 0, done.err
    assert "1.5 x 2 x 1 mm" in done.err
    image = sitk.ReadImage(tmp_path / "output/images/displacement-field/displacement-field.mha")
    moved = sitk.GetArrayFromImage(image).transpose(3, 2, 1, 0)[12:-12, 12:-12, 12:-12] / (1.5, 2.0, 1.0)
    np.testing.assert_allclose(np.median(moved, axis=(0, 1, 2)), tiny.shifts[0], atol=0.7)
