"""What itk-elastix makes of files, in a process of its own: its libraries and torch's do not share one.

    python test/reference/elastix_peer.py FOLDER

runs the jobs in FOLDER/jobs.json, a list of [name, argument, ...]; files are relative to the folder.
"""

import json
import os
import sys
from pathlib import Path

import itk
import numpy as np


def transformix(parameters, image, result):
    """Warp an image by a parameter file."""
    read = itk.ParameterObject.New()
    read.ReadParameterFile(parameters)
    moving = itk.imread(image, itk.F)
    itk.imwrite(itk.transformix_filter(moving, read, log_to_console=False), result)


def register(fixed, moving, folder, field):
    """Register rigidly, then by a B-spline; leaves the parameter files and the deformation field."""
    asked = itk.ParameterObject.New()
    for kind in ("rigid", "bspline"):
        parameters = asked.GetDefaultParameterMap(kind, 1)
        parameters["MaximumNumberOfIterations"] = ["20"]
        parameters["FinalGridSpacingInPhysicalUnits"] = ["12"]
        asked.AddParameterMap(parameters)
    images = itk.imread(fixed, itk.F), itk.imread(moving, itk.F)
    _, found = itk.elastix_registration_method(
        *images, parameter_object=asked, log_to_console=False, output_directory=folder
    )
    itk.imwrite(itk.transformix_deformation_field(images[1], found), field)


def points(transform, given, result):
    """Lead points, (N, 3), through a transform file."""
    (read,) = itk.transformread(transform)
    np.save(result, [list(read.TransformPoint(point)) for point in np.load(given).tolist()])


JOBS = {"transformix": transformix, "register": register, "points": points}

if __name__ == "__main__":
    os.chdir(sys.argv[1])
    for name, *arguments in json.loads(Path("jobs.json").read_text(encoding="utf-8")):
        JOBS[name](*arguments)
