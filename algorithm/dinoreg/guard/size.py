"""How large what an image shows is."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool
from torch import Tensor

from dinoreg.space.lattice import Lattice


def body_mm(inside: Bool[Tensor, "*s"], lattice: Lattice) -> float:
    """Return the geometric mean of the extents of a foreground, mm; an axis of one cell does not count.

    Args:
        inside: on the lattice, at least one cell.
        lattice: for the size of its cells.
    """
    extent = (np.ptp(np.argwhere(inside.cpu().numpy()), axis=0) + 1) * np.array(lattice.spacing_mm)
    along = np.array(lattice.shape) > 1
    return float(np.prod(extent[along]) ** (1 / max(1, along.sum())))
