"""Overlap of label maps.

Policy: a label counts if it is present in the fixed and in the un-warped moving label map. A registration
that pushes such an organ out of the image has lost it and scores 0 for it. A label that is absent in either
image says nothing about the registration and is excluded.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

# Up to this label a table of those seen is quicker than sorting the voxels.
_TABLE_SIZE = 1 << 16


def labels_in_both(fixed: NDArray[np.integer], moving: NDArray[np.integer]) -> tuple[int, ...]:
    """Return the labels above 0 that occur in the fixed and in the un-warped moving label map, ascending.

    Args:
        fixed: label map of any shape.
        moving: label map of any shape.
    """
    return tuple(sorted(_present(fixed) & _present(moving)))


def dice(fixed: NDArray[np.integer], warped: NDArray[np.integer], labels: Iterable[int]) -> dict[int, float]:
    """Return the Dice coefficient 2 |A n B| / (|A| + |B|) of each label (Dice, 1945).

    Args:
        fixed: (I, J, K) label map.
        warped: (I, J, K), the moving label map on the fixed grid.
        labels: the labels to judge; by the policy of this module those of `labels_in_both`.

    Returns:
        Label -> 0 to 1. 0 for a label that is in `fixed` but not in `warped`; nan for one not in `fixed`.

    Raises:
        ValueError: the shapes differ.
    """
    if fixed.shape != warped.shape:
        raise ValueError(f"label maps: expected one shape, got {fixed.shape} and {warped.shape}")
    scores = {}
    for label in labels:
        a, b = fixed == label, warped == label
        size_a, size_b = np.count_nonzero(a), np.count_nonzero(b)
        scores[int(label)] = 2 * np.count_nonzero(a & b) / (size_a + size_b) if size_a else float("nan")
    return scores


def _present(labels: NDArray[np.integer]) -> set[int]:
    """Return the labels above 0 that occur."""
    highest = int(labels.max(initial=0))
    if highest < _TABLE_SIZE:
        occurs = np.zeros(highest + 1, np.bool_)
        occurs[np.maximum(labels, 0)] = True
        return set(np.flatnonzero(occurs).tolist()) - {0}
    return {label for label in np.unique(labels).tolist() if label > 0}
