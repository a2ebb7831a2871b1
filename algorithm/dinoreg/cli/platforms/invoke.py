"""Grand Challenge's invoke mode: a server that registers the job in /input each time it is told to.

`GET /health` answers 503 while models are loaded, then 200. `POST /invoke` answers 201 once the outputs are
written, 500 with the reason where they are not, 409 while another job is under way. Jobs run one at a time on
the main thread: a signal stops them, and their numbers are those of the command.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, SimpleQueue
from urllib.parse import urlsplit

from regtask.errors import TaskError

log = logging.getLogger(__name__)

PORT = 4743
_LARGEST_BODY = 1 << 20  # /invoke has none; what is sent all the same is read and forgotten
_CLIENT_SECONDS = 10  # a client may be silent in the middle of a request
# A signal that the system hands to another thread is heeded when this one next looks up.
_LOOK_UP_SECONDS = 1.0
_METHODS = {"/health": ("GET", "HEAD"), "/invoke": ("POST",)}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request is told."""

    status: HTTPStatus
    text: str


@dataclass(slots=True)
class _Call:
    """One request to run the job, and its answer once there is one."""

    done: threading.Event = field(default_factory=threading.Event)
    answer: Answer = Answer(HTTPStatus.SERVICE_UNAVAILABLE, "stopped")


class Calls:
    """Brings requests from the threads of the server to the main thread, one at a time."""

    def __init__(self) -> None:
        """Begin without requests, and not ready."""
        self.ready = threading.Event()
        self._one = threading.Lock()
        self._waiting: SimpleQueue[_Call] = SimpleQueue()

    def invoke(self) -> Answer:
        """Have the job run and wait for its end; called by the threads of the server."""
        if not self.ready.is_set():
            return Answer(HTTPStatus.SERVICE_UNAVAILABLE, "models are being loaded")
        if not self._one.acquire(blocking=False):
            return Answer(HTTPStatus.CONFLICT, "a job is under way")
        try:
            call = _Call()
            self._waiting.put(call)
            call.done.wait()
            return call.answer
        finally:
            self._one.release()

    def work(self, job: Callable[[], None]) -> None:
        """Run the job at every request, until a signal stops this thread.

        Args:
            job: raises what goes wrong.
        """
        self.ready.set()
        log.info("ready")
        while True:
            try:
                call = self._waiting.get(timeout=_LOOK_UP_SECONDS)
            except Empty:
                continue
            try:
                call.answer = _outcome(job)
            finally:
                call.done.set()


def serve(load: Callable[[], Callable[[], None]], host: str = "0.0.0.0", port: int = PORT) -> None:
    """Serve until a signal ends the process.

    Args:
        load: gives the job, with everything it needs in memory; what it raises ends the server.
        host: address to listen on.
        port: 0 for any that is free; it is logged.

    Raises:
        OSError: the port is taken.
    """
    calls = Calls()
    with _Server((host, port), calls) as server:
        threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
        log.info("listening on port %d", server.server_address[1])
        try:
            calls.work(load())
        finally:
            server.shutdown()


def _outcome(job: Callable[[], None]) -> Answer:
    try:
        job()
    except TaskError as error:
        log.error("the job failed: %s", error)
        return Answer(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))
    except MemoryError:
        log.error("the job failed: not enough memory")
        return Answer(HTTPStatus.INTERNAL_SERVER_ERROR, "not enough memory")
    except Exception as error:  # one broken job must not cost the next its server
        log.exception("the job failed")
        return Answer(HTTPStatus.INTERNAL_SERVER_ERROR, f"{type(error).__name__}: {error}")
    return Answer(HTTPStatus.CREATED, "outputs written")


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], calls: Calls) -> None:
        self.calls = calls
        super().__init__(address, _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say in a line that a client broke off; nothing else ends up here."""
        log.warning("request from %s not answered", client_address, exc_info=log.isEnabledFor(logging.DEBUG))


class _Handler(BaseHTTPRequestHandler):
    """One request; malformed ones are refused by the base class."""

    server: _Server
    server_version, sys_version = "dinoreg", ""
    timeout = _CLIENT_SECONDS

    def do_GET(self) -> None:
        """Answer /health."""
        if self._method_fits():
            ready = self.server.calls.ready.is_set()
            self._answer(
                Answer(HTTPStatus.OK, "ready")
                if ready
                else Answer(HTTPStatus.SERVICE_UNAVAILABLE, "models are being loaded")
            )

    do_HEAD = do_GET

    def do_POST(self) -> None:
        """Answer /invoke."""
        if self._method_fits() and self._body_forgotten():
            self._answer(self.server.calls.invoke())

    def log_message(self, format: str, *args: object) -> None:
        """Log a request; /health is asked again and again, and said at the lowest level only."""
        text = (format % args).encode("unicode_escape").decode("ascii")
        log.log(logging.DEBUG if "/health" in text else logging.INFO, "%s", text)

    def _method_fits(self) -> bool:
        path = urlsplit(self.path).path
        allowed = _METHODS.get(path)
        if allowed is None:
            self._answer(Answer(HTTPStatus.NOT_FOUND, "GET /health or POST /invoke"))
        elif self.command not in allowed:
            self._answer(Answer(HTTPStatus.METHOD_NOT_ALLOWED, f"{' or '.join(allowed)} {path}"), allowed)
        return allowed is not None and self.command in allowed

    def _body_forgotten(self) -> bool:
        """Read what came with the request, so that closing the connection does not cut the answer short."""
        text = self.headers.get("Content-Length", "0").strip()
        if not (text.isascii() and text.isdigit()):
            self._answer(Answer(HTTPStatus.BAD_REQUEST, "Content-Length is no number"))
        elif len(text) > 12 or int(text) > _LARGEST_BODY:
            self._answer(Answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "no body is needed"))
        else:
            self.rfile.read(int(text))
            return True
        return False

    def _answer(self, answer: Answer, allowed: tuple[str, ...] = ()) -> None:
        body = f"{answer.text}\n".encode()
        self.send_response(answer.status)
        if allowed:
            self.send_header("Allow", ", ".join(allowed))
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
