"""Find the files of displacement fields in a folder of predictions."""

from collections.abc import Sequence
from pathlib import Path

from regtask.errors import DataError, Fault
from regtask.names import field_names
from regtask.pair import Pair


def find_field(pair: Pair, predictions_dir: Path) -> Path | None:
    """Return the file that holds the field of a pair, or None.

    The name with modalities, `disp_0001_0000_0001_0001`, is preferred to the one without, `disp_0001_0001`;
    the latter is accepted only where Learn2Reg uses it. As in the official evaluator `.npz` wins over
    `.nii.gz`.
    """
    for name in field_names(pair.fixed_id, pair.moving_id, "both"):
        stem = name.removesuffix(".nii.gz")
        for suffix in (".npz", ".nii.gz", ".nii"):
            path = predictions_dir / f"{stem}{suffix}"
            if path.is_file():
                return path
    return None


def find_fields(pairs: Sequence[Pair], predictions_dir: Path) -> list[Path]:
    """Return the files of all pairs, in their order.

    Raises:
        DataError: the folder or files are missing; all pairs without a field are listed.
    """
    found = {pair: find_field(pair, predictions_dir) for pair in pairs}
    faults = [_missing(pair, predictions_dir) for pair, path in found.items() if path is None]
    if faults:
        raise DataError(*faults)
    return [path for path in found.values() if path is not None]


def _missing(pair: Pair, predictions_dir: Path) -> Fault:
    names = " or ".join(field_names(pair.fixed_id, pair.moving_id, "both"))
    got = "" if predictions_dir.is_dir() else "no such folder"
    return Fault("no displacement field", f"{pair.case_key} in {predictions_dir}", names, got)
