"""`dinoreg warp`: a field applied to an image, a label map or landmarks."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from dinoreg.errors import ConfigError
from regtask.errors import DataError, Fault
from regtask.physical import PointSpace

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from regtask.images import ImageHeader

_DESCRIPTION = """Apply a displacement field to a moving image, a moving label map, or landmarks of the fixed
image."""
_RULE = """Which voxel is read is one rule, whatever the shapes. A fixed voxel and its displacement lead to a
voxel of the moving image that was registered; its grid makes that a place in the scanner; the image is read
at that place by its own header, so any image of the same scanner space will do: cropped, resampled or
mirrored. The fields of `dinoreg run` note the grid of the registered image. For a field without the note name
that image with --moving, or say --learn2reg: voxel indices are joined whatever the headers say, and shapes
must be equal. An .mha field is in LPS millimetres and needs neither, but for landmarks in voxels --moving."""


def add_warp_parser(verbs: Any) -> None:
    """Add the verb to the subparsers of the command."""
    warp = verbs.add_parser("warp", help="apply a displacement field", description=_DESCRIPTION, epilog=_RULE)
    warp.add_argument(
        "--field",
        type=Path,
        required=True,
        metavar="F",
        help=".nii.gz in voxels, or .mha in LPS mm as written for Grand Challenge",
    )
    what = warp.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--image",
        type=Path,
        help="moving image (.nii.gz, .nii, .mha), linear interpolation; outside, its minimum",
    )
    what.add_argument("--labels", type=Path, help="moving label map, nearest neighbour; keeps its data type")
    what.add_argument("--landmarks", type=Path, metavar="P.csv", help="landmarks of the fixed image")
    warp.add_argument("--output", type=Path, required=True)
    join = warp.add_mutually_exclusive_group()
    join.add_argument(
        "--moving",
        type=Path,
        metavar="IMAGE",
        help="the moving image that was registered; its header is read",
    )
    join.add_argument(
        "--learn2reg", action="store_true", help="voxel to voxel: the moving image's header is ignored"
    )
    warp.add_argument(
        "--space",
        choices=get_args(PointSpace),
        help="of the landmarks, required with them: voxel (Learn2Reg's csv files), or millimetres: lps (ITK, "
        "3D Slicer's files) or ras; the result is in the same space, for voxel in the registered image's",
    )
    warp.add_argument(
        "--dtype",
        choices=("same", "float32"),
        help="of a warped image: same (default) rounds to the image's own type where that is an integer",
    )


def run_warp(options: argparse.Namespace) -> None:
    """Warp what the options name.

    Raises:
        ConfigError: the options do not say what they have to.
        DataError: a file cannot be used, or nothing of it is reached.
        OutputError: the result cannot be written.
    """
    _check(options)
    if options.landmarks:
        _warp_landmarks(options)
    else:
        _warp_volume(options)


def _check(options: argparse.Namespace) -> None:
    faults = []
    if options.landmarks and not options.space:
        remedy = "--space voxel for Learn2Reg's csv files; --space lps or ras for millimetres in the scanner"
        faults.append(
            Fault("what the landmarks' numbers are is not said", str(options.landmarks), remedy=remedy)
        )
    if options.landmarks and options.learn2reg and options.space in ("lps", "ras"):
        remedy = "name the moving image that was registered with --moving, or give voxels"
        faults.append(Fault("voxel to voxel knows no millimetres", "--learn2reg", remedy=remedy))
    if options.space and not options.landmarks:
        faults.append(Fault("only landmarks have a space", "--space", remedy="leave it out"))
    if options.dtype and not options.image:
        faults.append(
            Fault("only an image takes a type", "--dtype", remedy="leave it out: labels keep theirs")
        )
    if faults:
        raise ConfigError(*faults)


def _warp_landmarks(options: argparse.Namespace) -> None:
    from dinoreg.warp.apply import warp_landmarks
    from dinoreg.warp.outside import refuse_points_outside
    from dinoreg.warp.transform_file import read_transform
    from regtask.landmarks import read_landmarks, write_landmarks

    points = read_landmarks(options.landmarks)
    transform = read_transform(
        options.field,
        registered=options.moving,
        learn2reg=options.learn2reg,
        indices_only=options.space == "voxel",
    )
    refuse_points_outside(points, transform.fixed, options.space, options.landmarks)
    write_landmarks(options.output, warp_landmarks(points, transform, options.space))


def _warp_volume(options: argparse.Namespace) -> None:
    from dinoreg.warp.apply import moving_positions, warp_image, warp_labels
    from dinoreg.warp.image_file import header_of, labels_of, volume_of
    from dinoreg.warp.transform_file import read_transform
    from regtask.images import write_volume

    path = options.image or options.labels
    transform = read_transform(options.field, registered=options.moving, learn2reg=options.learn2reg)
    header = header_of(path)
    positions = moving_positions(transform, header.grid)
    _refuse_nothing(positions, header, transform.join == "scanner")
    if options.image:
        warped = warp_image(volume_of(path).data, positions)
        kept = _kept_type(header) if options.dtype != "float32" else None
        if kept is None or kept.kind == "f":
            write_volume(options.output, warped, transform.fixed)
        else:
            write_volume(options.output, _rounded(warped, kept), transform.fixed, kept)
    else:
        labels, _ = labels_of(path)
        warped_labels = warp_labels(labels, positions)
        write_volume(options.output, warped_labels, transform.fixed, _kept_type(header) or labels.dtype)


def _kept_type(header: ImageHeader) -> np.dtype[np.number] | None:
    """Return the type that voxels are stored in, or None where what is stored is not what they mean."""
    return None if header.scaled else header.dtype.newbyteorder("=")


def _rounded(image: NDArray[np.float32], dtype: np.dtype[np.number]) -> NDArray[np.number]:
    import numpy as np

    limits = np.iinfo(dtype.name)
    low, high = float(limits.min), float(limits.max)
    if int(high) > limits.max:  # the largest of 64 bits is no float
        high = float(np.nextafter(high, 0))
    rounded: NDArray[np.number] = np.clip(np.rint(image.astype(np.float64)), low, high).astype(dtype)
    return rounded


def _refuse_nothing(positions: torch.Tensor, header: ImageHeader, by_header: bool) -> None:
    """Raise where not one voxel of the image is reached: a blank result helps nobody."""
    from dinoreg.warp.apply import inside

    if bool(inside(positions, header.grid.shape).any()):
        return
    remedy = (
        "is it an image of the moving scan, with a header of its place in the scanner? Where only its voxels"
        " are to be trusted: --learn2reg"
        if by_header
        else "is it the field of this image?"
    )
    raise DataError(Fault("the field leads to no voxel of this image", str(header.path), remedy=remedy))
