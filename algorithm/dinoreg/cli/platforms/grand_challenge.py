"""Grand Challenge: two images in, one displacement field and a report out.

Moving is brought to the fixed image's grid and the pair is registered like any other. The field returns to
scanner space, so that ITK's DisplacementFieldTransform made from it warps the moving image, on its own grid,
onto the fixed one.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from dinoreg.cli.options import chosen_config, let_threads_sleep
from dinoreg.cli.platforms.job_files import OUTPUTS, ROLES, read_inputs, scan_of, socket_names
from dinoreg.errors import VerdictError
from regtask.atomic import atomic_write_text
from regtask.errors import Fault, OutputError
from regtask.metaimage import write_field_mha
from regtask.physical import voxels_to_lps


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what only this platform needs."""
    parser.add_argument(
        "--socket",
        action="append",
        default=[],
        metavar="PART=NAME",
        help=f"Grand Challenge: slug of an input ({', '.join(ROLES)}; default: found by the slugs' words) "
        f"or path of an output (default: {', '.join('='.join(item) for item in OUTPUTS.items())})",
    )


class Registration:
    """Everything that jobs share, loaded once: settings, encoders with their weights, device."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Load.

        Args:
            options: those of a run, and `socket`.

        Raises:
            ConfigError: faults in the settings, unknown parts in `socket`.
            WeightsError: weights are absent or not the right ones.
            DeviceError: no such device.
        """
        let_threads_sleep()
        from dinoreg.encoders.pool import EncoderPool
        from dinoreg.runtime import choose_device
        from dinoreg.settings.load import config_hash

        self._names = socket_names(options.socket)
        self._on_failure, self._strict = options.on_failure, options.strict
        self._config = chosen_config(options)
        self._pool = EncoderPool(choose_device(options.device))
        sources = self._pool.sources(self._config.features.encoders)
        self._digest = config_hash(self._config, {n: source.digests for n, source in enumerate(sources)})

    def run(self, job: Path, output: Path) -> None:
        """Register the pair of a job.

        Args:
            job: folder with `inputs.json`.
            output: folder for the field and the report.

        Raises:
            DataError: the list of inputs or an image cannot be used.
            OutputError: a result cannot be written.
            VerdictError: with `strict`, the result cannot be believed; everything is written.
        """
        from dinoreg.preprocess.together import bring_together
        from dinoreg.task.entry import attempt, say_verdicts
        from dinoreg.task.manifest import run_header

        names = self._names
        images = read_inputs(job, names)
        fixed = images["fixed"].volume.grid
        header = run_header(self._config, self._pool, self._digest)
        together = bring_together(scan_of(images, "fixed"), scan_of(images, "moving"))
        begin = time.perf_counter()
        found = attempt(
            "job", lambda: together.pair, self._config, pool=self._pool, on_failure=self._on_failure
        )
        vectors, fallback = found.safe_field(together.pair.fixed.grid.shape)
        field_path = _made(output / names["field"]) / "displacement-field.mha"
        write_field_mha(field_path, voxels_to_lps(together.crop(vectors), fixed, together.read_on), fixed)
        entry: dict[str, Any] = {"status": "ok", "seconds": round(time.perf_counter() - begin, 3)}
        if found.registration is not None:
            entry |= found.registration.as_dict()
        else:
            entry |= {"status": "fallback", "error": found.error, "fallback": fallback}
        content = header | {
            "pairs": {"job": entry},
            "grand_challenge": {
                "sockets": {role: image.slot.slug for role, image in images.items()},
                "field": "millimetres, LPS, on the grid of the fixed image",
                "moved_before_mm": (together.read_on.affine[:3, 3] - fixed.affine[:3, 3]).tolist(),
            },
        }
        report = output / names["report"]
        _made(report.parent)
        atomic_write_text(report, json.dumps(content, indent=1, allow_nan=False) + "\n")
        unbelieved = say_verdicts({"job": entry})
        if self._strict and unbelieved:
            raise VerdictError(*unbelieved)


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(Fault("output folder not usable", str(folder), got=str(error))) from error
    return folder
