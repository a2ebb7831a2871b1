"""Downloading an official file of weights: on demand only, never by a registration."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from urllib.request import Request, urlopen

from dinoreg.errors import WeightsError
from dinoreg.weights.official import OfficialFile
from dinoreg.weights.search import file_digest
from regtask.atomic import atomic_path
from regtask.errors import Fault, OutputError

log = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 20
_TIMEOUT_S = 60
_LOGGED_SHARE = 0.1


def fetch_weights(file: OfficialFile, folder: Path, *, url: str | None = None) -> Path:
    """Download a file, check its digest, and only then give it its name.

    Args:
        file: what.
        folder: where to, made if absent. A file there with the right digest is kept.
        url: by default the publisher's.

    Returns:
        Path of the file.

    Raises:
        WeightsError: it cannot be downloaded, or what came is something else.
        OutputError: the file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(Fault("folder not usable", str(folder), got=str(error))) from error
    path = folder / file.name
    if path.is_file() and file_digest(path) == file.sha256:
        log.info("%s is there already", path)
        return path
    source = url or file.url
    digest = hashlib.sha256()
    with atomic_path(path) as temporary:
        with temporary.open("wb") as stream:
            for chunk in _download(source):
                digest.update(chunk)
                stream.write(chunk)
        if digest.hexdigest() != file.sha256:
            raise WeightsError(
                Fault(
                    "the download has another digest and was thrown away",
                    source,
                    expected=f"sha256 {file.sha256}",
                    got=f"sha256 {digest.hexdigest()}",
                    remedy="try again; if it stays so, the publisher has changed the file",
                )
            )
    return path


def _download(url: str) -> Iterator[bytes]:
    """Yield the content of a URL; its faults are not those of the disk."""
    if not url.startswith(("http://", "https://")):
        raise _failed(url, "no http or https address")
    received = 0
    try:
        with urlopen(Request(url, headers={"User-Agent": "dinoreg"}), timeout=_TIMEOUT_S) as response:
            total = int(response.headers.get("Content-Length", 0))
            logged = 0.0
            while chunk := response.read(_CHUNK_BYTES):
                received += len(chunk)
                if total and received / total >= logged + _LOGGED_SHARE:
                    logged = received / total
                    log.info("%s: %d of %d MB", url, received // 10**6, total // 10**6)
                yield chunk
    except (OSError, HTTPException, ValueError) as error:
        raise _failed(url, str(error)) from error
    if received < total:
        raise _failed(url, f"broke off after {received} of {total} bytes")


def _failed(url: str, reason: str) -> WeightsError:
    return WeightsError(
        Fault(
            "cannot download",
            url,
            got=reason,
            remedy="check the network (HTTPS_PROXY is respected), take --mirror URL, "
            "or download the file elsewhere and copy it",
        )
    )
