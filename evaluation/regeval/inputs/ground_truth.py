"""The ground truth of one pair: label maps, landmarks, mask and voxel sizes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from regeval.inputs.config import Config, Points
from regtask.errors import DataError, Fault, SpaceError
from regtask.grid import Grid
from regtask.images import read_header, read_labels, read_mask
from regtask.landmarks import LandmarkPair, read_landmark_pair, read_landmarks
from regtask.nifti import read_nifti_header
from regtask.pair import Companions, Pair
from regtask.untrusted.opening import lies_there

Labels = NDArray[np.integer]
_Read = TypeVar("_Read")


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What a field of one pair is judged by.

    Attributes:
        key: name of the pair.
        shape: (I, J, K) of the fixed image.
        labels: fixed and moving label map, (I, J, K) each; None where the pair has none.
        mask: (I, J, K), the fixed image's foreground; None where there is none.
        points: corresponding points in voxels; landmarks and keypoints where the pair has them.
        official_points: the same, from the folders that the official evaluators read.
        fixed_spacing_mm: voxel size of the fixed image, from its affine; None where no file tells it.
        moving_spacing_mm: voxel size of the moving image, from its affine.
        official_spacing_mm: voxel size that the header of the moving image states beside its affine.
    """

    key: str
    shape: tuple[int, ...]
    labels: tuple[Labels, Labels] | None
    mask: NDArray[np.bool_] | None
    points: Mapping[Points, LandmarkPair]
    official_points: Mapping[Points, LandmarkPair]
    fixed_spacing_mm: tuple[float, ...] | None
    moving_spacing_mm: tuple[float, ...] | None
    official_spacing_mm: tuple[float, ...] | None


def read_truth(config: Config, pair: Pair) -> Truth:
    """Read what the methods of a configuration need.

    Raises:
        DataError: a file cannot be used or, where the configuration has to be complete, is missing; all
            faults at once.
    """
    faults: list[Fault] = []
    grid, moving = _grid(_files(pair, "fixed")), _grid(_files(pair, "moving"))
    shape = config.shape or (None if grid is None else grid.shape)
    if shape is None:
        remedy = "give expected_shape in the configuration, or the image"
        raise DataError(Fault("shape unknown", pair.case_key, "a fixed image", "none", remedy))
    if moving is not None and moving.shape != shape:
        _refuse_shape(_files(pair, "moving")[0], "moving image", moving.shape, shape)
    kinds = {method.kind for method in config.methods}
    wanted = dict.fromkeys(method.points for method in config.methods if method.kind == "tre")
    labels = _read(faults, lambda: _labels(pair, shape)) if kinds & {"dice", "hd95"} else None
    mask = _read(faults, lambda: _mask(pair, shape))
    points = {kind: found for kind in wanted if (found := _read(faults, _points_reader(pair, kind)))}
    official = {kind: found for kind in wanted if (found := _read(faults, _official_reader(pair, kind)))}
    if config.complete and not faults:
        if kinds & {"dice", "hd95"} and labels is None:
            faults.append(Fault("label maps missing", pair.case_key, "labels of both images", "not both"))
        faults += [
            Fault(f"{kind} missing", pair.case_key, "a csv file of both images", "not both")
            for kind in wanted
            if kind not in points or kind not in official
        ]
    if points and moving is None:
        remedy = "add the image, its label map or its mask"
        faults.append(Fault("voxel size unknown", pair.case_key, "a header", "none", remedy))
    if faults:
        raise DataError(*dict.fromkeys(faults))
    return Truth(
        key=pair.case_key,
        shape=shape,
        labels=labels,
        mask=mask,
        points=points,
        official_points=official,
        fixed_spacing_mm=None if grid is None else grid.spacing_mm,
        moving_spacing_mm=None if moving is None else moving.spacing_mm,
        official_spacing_mm=_stated_spacing(_files(pair, "moving")),
    )


def official_points_files(pair: Pair, kind: Points) -> Companions:
    """Return the csv files of points that the official evaluators read; None where the files are missing.

    Pairs whose modalities differ, other than 0 <- 1, have key points in a folder of their own: that of the
    evaluator of 2025, `keypoints00000001Tr`, or that of 2024, `keypoints01Tr`. Of landmarks only the
    evaluator of 2025 expects this; that of 2024 reads `landmarksTr`, as ThoraxCBCT needs.
    """
    low, high = sorted((pair.fixed_id.modality, pair.moving_id.modality))
    folders: list[str] = [kind]
    if low != high and (pair.fixed_id.modality, pair.moving_id.modality) != ("0000", "0001"):
        folders.insert(0, f"{kind}{low}{high}")
        if kind == "keypoints":
            folders.insert(1, f"{kind}{int(low)}{int(high)}")
    for folder in folders:
        paths = [
            image.parent.with_name(image.parent.name.replace("images", folder))
            / f"{image.name.removesuffix('.gz').removesuffix('.nii')}.csv"
            for image in (pair.fixed, pair.moving)
        ]
        if all(lies_there(path) for path in paths):
            return Companions(*paths)
    return Companions(None, None)


def _read(faults: list[Fault], reader: Callable[[], _Read | None]) -> _Read | None:
    try:
        return reader()
    except DataError as error:
        faults.extend(error.faults)
        return None


def _files(pair: Pair, role: Literal["fixed", "moving"]) -> list[Path]:
    """Return the files whose header tells where an image lies, the best first; those of its partner last."""
    other: Literal["fixed", "moving"] = "moving" if role == "fixed" else "fixed"
    candidates = [
        getattr(files, one) for one in (role, other) for files in (pair, pair.labels(), pair.masks())
    ]
    return [path for path in candidates if path is not None and lies_there(path)]


def _grid(files: list[Path]) -> Grid | None:
    return read_header(files[0]).grid if files else None


def _stated_spacing(files: list[Path]) -> tuple[float, ...] | None:
    return read_nifti_header(files[0]).stated_spacing_mm if files else None


def _labels(pair: Pair, shape: tuple[int, ...]) -> tuple[Labels, Labels] | None:
    files = pair.labels()
    if files.fixed is None or files.moving is None:
        return None
    fixed, moving = read_labels(files.fixed)[0], read_labels(files.moving)[0]
    _refuse_shape(files.fixed, "label map", fixed.shape, shape)
    _refuse_shape(files.moving, "label map", moving.shape, shape)
    return fixed, moving


def _mask(pair: Pair, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    path = pair.masks().fixed
    if path is None:
        return None
    mask = read_mask(path)
    _refuse_shape(path, "mask", mask.shape, shape)
    if not mask.any():
        raise DataError(Fault("empty mask", str(path), "at least one voxel of 1"))
    return mask


def _points_reader(pair: Pair, kind: Points) -> Callable[[], LandmarkPair | None]:
    return lambda: read_landmark_pair(pair, kind)


def _official_reader(pair: Pair, kind: Points) -> Callable[[], LandmarkPair | None]:
    def read() -> LandmarkPair | None:
        files = official_points_files(pair, kind)
        if files.fixed is None or files.moving is None:
            return None
        return LandmarkPair(read_landmarks(files.fixed), read_landmarks(files.moving))

    return read


def _refuse_shape(path: Path, what: str, got: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if got != expected:
        remedy = "resample all files of a pair to the grid of the fixed image"
        raise SpaceError(Fault(f"{what} of another shape", str(path), f"shape {expected}", str(got), remedy))
