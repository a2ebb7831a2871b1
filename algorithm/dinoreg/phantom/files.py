"""Write volumes and tables so that a file is either complete or absent."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from dinoreg.phantom.lattice import Lattice
from dinoreg.phantom.points import Floats

_nifti: Any = nib.Nifti1Image  # nibabel has no type annotations


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path` and rename it to `path` if the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".part-{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_nifti(path: Path, data: NDArray[np.generic], lattice: Lattice) -> None:
    """Write a (I, J, K) volume or a (I, J, K, 3) field with the lattice's affine and its own type."""
    image: Any = _nifti(data, lattice.affine)
    image.set_sform(lattice.affine, code=1)
    image.set_qform(lattice.affine, code=1)
    image.header.set_xyzt_units("mm")
    with whole_file(path) as temporary:
        nib.save(image, temporary)


def write_points(path: Path, voxels: Floats) -> None:
    """Write (N, 3) voxel coordinates as rows `x,y,z` without header, six decimals."""
    with whole_file(path) as temporary:
        np.savetxt(temporary, voxels, fmt="%.6f", delimiter=",")
