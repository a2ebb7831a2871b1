"""Triton's link to the driver of a card, compiled in advance, as the container image brings it.

Triton compiles a piece of C when it first meets a card, and the image has no compiler. The piece is loaded
from the image itself, since `/tmp`, where Triton keeps what it compiles, may be a place that nothing is
executed from.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
from pathlib import Path

FOLDER_VARIABLE = "DINOREG_TRITON_LINK"  # set by the image
_CACHE_VARIABLE = "TRITON_CACHE_DIR"


def prepare_link() -> None:
    """Have Triton find what lies in $DINOREG_TRITON_LINK; to be called before it meets a card.

    $TRITON_CACHE_DIR, which has to be set, gets links to it. What is there already stays as it is.
    """
    folder, cache = os.environ.get(FOLDER_VARIABLE), os.environ.get(_CACHE_VARIABLE)
    if not folder or not cache:
        return
    for source in Path(folder).rglob("*.so"):
        target = Path(cache) / source.relative_to(folder)
        with contextlib.suppress(OSError):  # without it Triton says what it lacks, and torch computes
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(source)


def build_link(folder: Path) -> None:
    """Compile the link into a new folder, with a C compiler and the headers of Python, but without a card.

    Raises:
        RuntimeError: nothing came of it.
    """
    from triton.backends.nvidia import driver

    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        # Against a library with the driver's names and nothing behind them: the true one comes with the card.
        source = Path(driver.__file__).with_name("driver.c").read_text(encoding="utf-8")
        names = sorted(set(re.findall(r"\bcu[A-Z]\w+", source)))
        library = ["-shared", "-Wl,-soname,libcuda.so.1", "-o", f"{scratch}/libcuda.so.1", "-x", "c", "-"]
        content = "".join(f"void {name}(void) {{}}\n" for name in names)
        subprocess.run(["gcc", *library], input=content, text=True, check=True)
        os.environ.update({_CACHE_VARIABLE: str(folder), "TRITON_LIBCUDA_PATH": scratch})
        with contextlib.suppress(ImportError):  # compiled, and not loaded, for want of a driver
            driver.CudaUtils()
    if not any(folder.rglob("*.so")):
        raise RuntimeError(f"Triton's link to the driver: expected a library in {folder}, found none")
