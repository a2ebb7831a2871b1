"""Where a field of view ends an image goes on as it was: features then see no edges but those of anatomy."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float32
from numpy.typing import NDArray


def continue_values(
    values: Float32[np.ndarray, "*s"], beyond: Bool[np.ndarray, "*s"]
) -> Float32[np.ndarray, "*s"]:
    """Give each voxel beyond the field of view the value of a near one inside, by voxels.

    Within the box of the field of view that of the nearest; beside the box that of the box's face.

    Args:
        values: (I, J, K).
        beyond: (I, J, K), not everywhere.
    """
    from scipy import ndimage

    (box,) = ndimage.find_objects((~beyond).astype(np.int8))
    inner, outside = values[box], beyond[box]
    if outside.any():
        nearest = ndimage.distance_transform_edt(outside, return_distances=False, return_indices=True)
        inner = inner[tuple(nearest)]
    # Beside a box the nearest voxel is the one straight across its face.
    margins = [(part.start, n - part.stop) for part, n in zip(box, values.shape, strict=True)]
    continued: NDArray[np.float32] = np.pad(inner, margins, mode="edge")
    return continued
