"""Rigid registration by ANTs or elastix at their defaults; bench_rigid.py runs it where these are.

    PEERS/bin/python benchmarks/rigid_peers.py ants|elastix FIXED MOVING MATRIX.txt

ANTs begins with the centres of mass brought together, elastix with the centres of the images.
"""

from __future__ import annotations

import sys

import numpy as np

_TURN = np.diag((-1.0, -1.0, 1.0, 1.0))  # LPS to RAS


def by_ants(fixed: str, moving: str) -> np.ndarray:
    """Return the map in LPS mm."""
    import ants

    found = ants.registration(ants.image_read(fixed), ants.image_read(moving), type_of_transform="Rigid")
    transform = ants.read_transform(found["fwdtransforms"][0])
    return matrix(lambda point: transform.apply_to_point(tuple(point)))


def by_elastix(fixed: str, moving: str) -> np.ndarray:
    """Return the map in LPS mm."""
    import itk

    parameters = itk.ParameterObject.New()
    chosen = parameters.GetDefaultParameterMap("rigid")
    chosen["AutomaticTransformInitialization"] = ("true",)
    parameters.AddParameterMap(chosen)
    images = [itk.imread(path, itk.F) for path in (fixed, moving)]
    _, result = itk.elastix_registration_method(*images, parameter_object=parameters, log_to_console=False)
    found = result.GetParameterMap(0)
    transform = itk.Euler3DTransform[itk.D].New()
    transform.SetCenter([float(value) for value in found["CenterOfRotationPoint"]])
    values = itk.OptimizerParameters[itk.D](6)
    for number, value in enumerate(found["TransformParameters"]):
        values.SetElement(number, float(value))
    transform.SetParameters(values)
    return matrix(lambda point: list(transform.TransformPoint(point.tolist())))


def matrix(lead) -> np.ndarray:
    """Return a linear map from where it leads."""
    origin = np.array(lead(np.zeros(3)))
    result = np.eye(4)
    result[:3, :3] = np.stack([np.array(lead(100.0 * axis)) - origin for axis in np.eye(3)], axis=1) / 100.0
    result[:3, 3] = origin
    return result


if __name__ == "__main__":
    method, fixed_path, moving_path, output = sys.argv[1:]
    lps = (by_ants if method == "ants" else by_elastix)(fixed_path, moving_path)
    np.savetxt(output, _TURN @ lps @ _TURN)
