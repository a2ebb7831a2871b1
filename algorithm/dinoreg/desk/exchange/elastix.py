"""Parameter files of elastix: linear and B-spline transforms, read with their chain, and written.

Meaning of the keys: manual of elastix, chapter 2 and appendix; points in LPS mm, fixed to moving. With
`HowToCombineTransforms "Compose"` the initial transform is applied first. Rows of a `GridDirection` are the
axes of the grid.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from dinoreg.desk.exchange.parts import is_linear, joined, matrix_of, parts
from dinoreg.desk.images import itk_frame
from regtask.errors import DataError, Fault
from regtask.grid import Grid
from regtask.untrusted.opening import is_regular, open_regular

_ENTRY = re.compile(r"^\s*\((\w+)\s+(.*?)\)\s*(?://.*)?$")
_NO_INITIAL = "NoInitialTransform"
_INITIAL = ("InitialTransformParameterFileName", "InitialTransformParametersFileName")
_LONGEST_CHAIN, _LARGEST_FILE = 20, 1 << 28
Parameters = Mapping[str, list[str]]


def looks_like_elastix(text: str) -> bool:
    """Tell whether a text begins as a parameter file of a transform."""
    lines = (line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("//"))
    return any("(Transform " in line for _, line in zip(range(200), lines, strict=False))


def read_elastix(path: Path) -> sitk.Transform:
    """Read a parameter file, and those of the initial transforms that it names.

    Raises:
        DataError: it cannot be read, or holds what has no equal in ITK.
    """
    chain: list[sitk.Transform] = []
    following: Path | None = path
    for _ in range(_LONGEST_CHAIN):
        if following is None:
            return joined(chain[::-1])
        given = _parameters(following)
        chain.append(_transform(given, following))
        following = _initial(given, following)
    raise DataError(Fault("chain of initial transforms without end", str(path), f"{_LONGEST_CHAIN} files"))


def render_elastix(transform: sitk.Transform, fixed: Grid) -> str:
    """Return the parameter file of a linear or a B-spline transform.

    Args:
        transform: from fixed to moving.
        fixed: grid of the image that transformix makes.

    Raises:
        DataError: it is neither.
    """
    found = parts(transform)
    if is_linear(transform):
        matrix = matrix_of(transform)
        entries = {
            "Transform": '"AffineTransform"',
            "TransformParameters": _row([*matrix[:3, :3].ravel(), *matrix[:3, 3]]),
            "NumberOfParameters": "12",
            "CenterOfRotationPoint": "0 0 0",
        }
    elif len(found) == 1 and found[0].GetName() == "BSplineTransform":
        entries = _spline_entries(sitk.BSplineTransform(found[0]))
    else:
        remedy = "write a displacement image instead (.nii.gz, .nrrd, .mha): transformix makes and reads them"
        raise DataError(
            Fault(
                "elastix has no parameters for this transform",
                "elastix",
                "linear, or one B-spline",
                ", ".join(part.GetName() for part in found),
                remedy,
            )
        )
    frame = itk_frame(fixed)
    entries |= {
        _INITIAL[0]: f'"{_NO_INITIAL}"',
        "UseBinaryFormatForTransformationParameters": '"false"',
        "HowToCombineTransforms": '"Compose"',
        "FixedImageDimension": "3",
        "MovingImageDimension": "3",
        "FixedInternalImagePixelType": '"float"',
        "MovingInternalImagePixelType": '"float"',
        "Size": _row(frame.size),
        "Index": "0 0 0",
        "Spacing": _row(frame.spacing),
        "Origin": _row(frame.origin),
        "Direction": _row(np.reshape(frame.direction, (3, 3)).T.ravel()),
        "UseDirectionCosines": '"true"',
        "ResampleInterpolator": '"FinalLinearInterpolator"',
        "Resampler": '"DefaultResampler"',
        "DefaultPixelValue": "0",
        "ResultImageFormat": '"nii.gz"',
        "ResultImagePixelType": '"float"',
        "CompressResultImage": '"true"',
    }
    return "".join(f"({key} {value})\n" for key, value in entries.items())


def _parameters(path: Path) -> Parameters:
    with open_regular(path) as stream:
        text = stream.read(_LARGEST_FILE + 1)
    if len(text) > _LARGEST_FILE:
        raise DataError(Fault("parameter file too large", str(path), f"{_LARGEST_FILE} bytes or less"))
    found = {}
    for number, line in enumerate(text.decode("utf-8", errors="replace").splitlines(), 1):
        if entry := _ENTRY.match(line):
            words = [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', entry[2])]
            if not words:
                raise DataError(Fault("entry without a value", f"{path}, line {number}", f"({entry[1]} ...)"))
            found[entry[1]] = words
    if "Transform" not in found:
        raise DataError(Fault("not a parameter file of elastix", str(path), '(Transform "...")'))
    if found.get("UseBinaryFormatForTransformationParameters", ["false"]) == ["true"]:
        raise DataError(Fault("parameters in a second, binary file", str(path), "parameters in the text"))
    return found


def _initial(given: Parameters, path: Path) -> Path | None:
    name = next((given[key][0] for key in _INITIAL if key in given), _NO_INITIAL)
    if name == _NO_INITIAL:
        return None
    if given.get("HowToCombineTransforms", ["Compose"]) != ["Compose"]:
        got = " ".join(given["HowToCombineTransforms"])
        raise DataError(Fault("transforms are not composed", str(path), "Compose", got))
    # elastix notes the path it wrote to; a folder that was moved keeps its files side by side.
    return Path(name) if is_regular(Path(name)) else path.parent / Path(name).name


def _transform(given: Parameters, path: Path) -> sitk.Transform:
    kind = given["Transform"][0]
    if kind not in _KINDS:
        expected = ", ".join(_KINDS)
        remedy = "have transformix write its deformation field (-def all) and convert that"
        raise DataError(Fault("transform of elastix that ITK lacks", str(path), expected, kind, remedy))
    try:
        return _KINDS[kind](given)
    except (KeyError, ValueError, IndexError, OverflowError, RuntimeError) as error:
        got = f"{type(error).__name__}: {str(error).splitlines()[-1]}"
        raise DataError(Fault("parameters not usable", str(path), f"those of {kind}", got)) from error


def _numbers(given: Parameters, key: str, count: int = 0) -> list[float]:
    numbers = [float(word) for word in given[key]]
    if count and len(numbers) != count:
        raise ValueError(f"{key}: {count} numbers expected, got {len(numbers)}")
    if not np.isfinite(numbers).all():
        raise ValueError(f"{key}: finite numbers expected")
    return numbers


def _centred(
    transform: sitk.AffineTransform | sitk.Similarity3DTransform | sitk.Euler3DTransform, given: Parameters
) -> sitk.Transform:
    transform.SetCenter(_numbers(given, "CenterOfRotationPoint", 3))
    transform.SetParameters(_numbers(given, "TransformParameters", transform.GetNumberOfParameters()))
    return transform


def _euler(given: Parameters) -> sitk.Transform:
    transform = sitk.Euler3DTransform()
    transform.SetComputeZYX(given.get("ComputeZYX", ["false"]) == ["true"])
    return _centred(transform, given)


def _translation(given: Parameters) -> sitk.Transform:
    return sitk.TranslationTransform(3, _numbers(given, "TransformParameters", 3))


def _spline(given: Parameters) -> sitk.Transform:
    order = int(given.get("BSplineTransformSplineOrder", ["3"])[0])
    transform = sitk.BSplineTransform(3, order)
    size = [int(word) for word in given["GridSize"]]
    if len(size) != 3 or min(size) <= order:
        raise ValueError(f"GridSize: three numbers above {order} expected, got {size}")
    # Before ITK sees the size: it makes room for whatever that says.
    parameters = _numbers(given, "TransformParameters", 3 * math.prod(size))
    spacing = np.array(_numbers(given, "GridSpacing", 3))
    direction = np.reshape(_numbers(given, "GridDirection", 9), (3, 3)).T
    index = np.array(_numbers(given, "GridIndex", 3)) if "GridIndex" in given else np.zeros(3)
    origin = np.array(_numbers(given, "GridOrigin", 3)) + direction @ (spacing * index)
    transform.SetFixedParameters([*size, *origin.tolist(), *spacing.tolist(), *direction.ravel().tolist()])
    transform.SetParameters(parameters)
    return transform


def _spline_entries(spline: sitk.BSplineTransform) -> dict[str, str]:
    fixed = np.array(spline.GetFixedParameters())
    return {
        "Transform": '"BSplineTransform"',
        "NumberOfParameters": str(spline.GetNumberOfParameters()),
        "TransformParameters": _row(spline.GetParameters()),
        "GridSize": _row(fixed[:3].astype(int)),
        "GridIndex": "0 0 0",
        "GridOrigin": _row(fixed[3:6]),
        "GridSpacing": _row(fixed[6:9]),
        "GridDirection": _row(fixed[9:18].reshape(3, 3).T.ravel()),
        "BSplineTransformSplineOrder": str(spline.GetOrder()),
        "UseCyclicTransform": '"false"',
    }


def _row(numbers: NDArray[np.generic] | list[float] | list[int] | tuple[float, ...]) -> str:
    return " ".join(repr(number) for number in np.asarray(numbers).tolist())


_KINDS: Mapping[str, Callable[[Parameters], sitk.Transform]] = MappingProxyType(
    {
        "TranslationTransform": _translation,
        "EulerTransform": _euler,
        "SimilarityTransform": lambda given: _centred(sitk.Similarity3DTransform(), given),
        "AffineTransform": lambda given: _centred(sitk.AffineTransform(3), given),
        "BSplineTransform": _spline,
        "RecursiveBSplineTransform": _spline,
    }
)
