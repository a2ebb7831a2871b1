"""Check a whole task before work starts, and report everything at once."""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from regtask.errors import DataError, Fault
from regtask.grid import Grid
from regtask.images import not_binary_fault, read_header, read_labels, read_volume
from regtask.pair import Companions, Pair

log = logging.getLogger(__name__)

SameGrid = Literal["shape", "grid"]


@dataclass(frozen=True, slots=True)
class _Findings:
    """What one file turned out to be; no grid where it cannot be read."""

    grid: Grid | None
    faults: tuple[Fault, ...] = ()


_Look = Callable[[Path], _Findings]


def verify_pairs(
    pairs: Iterable[Pair],
    *,
    same_grid: SameGrid = "shape",
    require_masks: bool = False,
    check_values: bool = True,
) -> list[Fault]:
    """Check images, label maps and masks of all pairs.

    Fixed and moving have to have one shape: the official evaluator adds the displacement to the voxel
    coordinates of both. Every file is opened once, however many pairs use it.

    Args:
        pairs: pairs of one task.
        same_grid: "grid" if images that lie differently in the scanner are a fault, "shape" if they are
            worth a warning in the log only.
        require_masks: whether a pair without both masks is at fault.
        check_values: whether to read the voxels; False reads headers only, which takes milliseconds.

    Returns:
        Everything found, in the order of the pairs; empty if all is well.
    """
    task = _Verification(same_grid, check_values)
    return [fault for pair in pairs for fault in task.pair_faults(pair, require_masks)]


def raise_for(faults: Iterable[Fault]) -> None:
    """Raise the faults, if there are any.

    Raises:
        DataError: there is at least one fault.
    """
    collected = list(faults)
    if collected:
        raise DataError(*collected)


class _Verification:
    """One run over a task: remembers what each file is, and which were already reported."""

    def __init__(self, same_grid: SameGrid, check_values: bool) -> None:
        self._same_grid = same_grid
        self._check_values = check_values
        self._known: dict[Path, _Findings] = {}
        self._compared: set[tuple[Path, Path]] = set()

    def pair_faults(self, pair: Pair, require_masks: bool) -> Iterator[Fault]:
        for image in (pair.fixed, pair.moving):
            yield from self._file_faults(image, _look_at_image)
        yield from self._comparison(pair.fixed, pair.moving, "fixed and moving image", pair.case_key)
        yield from self._companion_faults(pair, pair.labels(), "label map", _look_at_labels)
        masks = pair.masks()
        yield from self._companion_faults(pair, masks, "mask", _look_at_mask)
        if require_masks:
            for image, mask in ((pair.fixed, masks.fixed), (pair.moving, masks.moving)):
                if mask is None:
                    remedy = "add it to the folder masks.., or run without masks"
                    yield Fault("mask missing", pair.case_key, f"a mask of {image}", "no file", remedy)

    def _companion_faults(self, pair: Pair, files: Companions, kind: str, look: _Look) -> Iterator[Fault]:
        for image, file in ((pair.fixed, files.fixed), (pair.moving, files.moving)):
            if file is not None:
                yield from self._file_faults(file, look)
                yield from self._comparison(image, file, f"image and {kind}", pair.case_key)

    def _file_faults(self, path: Path, look: _Look) -> tuple[Fault, ...]:
        if path in self._known:
            return ()
        try:
            findings = look(path) if self._check_values else _Findings(read_header(path).grid)
        except DataError as error:
            findings = _Findings(None, error.faults)
        self._known[path] = findings
        return findings.faults

    def _comparison(self, first: Path, second: Path, what: str, where: str) -> Iterator[Fault]:
        one, other = self._known[first].grid, self._known[second].grid
        if one is None or other is None or (first, second) in self._compared or one.matches(other):
            return
        self._compared.add((first, second))
        fault = Fault(
            f"{what} differ",
            where,
            "one shape" if one.shape != other.shape else "one grid",
            f"{one.differences(other)} ({first}, {second})",
            "resample one to the grid of the other",
        )
        if one.shape != other.shape or self._same_grid == "grid":
            yield fault
        else:
            log.warning("%s", fault)


def _look_at_image(path: Path) -> _Findings:
    volume = read_volume(path)
    if text := volume.invalid_text():
        log.warning("%s: %s", path, text)
    low, high = volume.data.min(), volume.data.max()
    if low < high:
        return _Findings(volume.grid)
    return _Findings(
        volume.grid, (Fault("constant image", str(path), "more than one intensity", f"{low:g} everywhere"),)
    )


def _look_at_labels(path: Path) -> _Findings:
    return _Findings(read_labels(path)[1])


def _look_at_mask(path: Path) -> _Findings:
    labels, grid = read_labels(path)
    if fault := not_binary_fault(labels, path):
        return _Findings(grid, (fault,))
    if not labels.any():
        return _Findings(grid, (Fault("empty mask", str(path), "some voxels of 1", "0 everywhere"),))
    return _Findings(grid)
