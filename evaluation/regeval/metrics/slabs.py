"""Work on a volume in slabs along its first axis: in cache, in little memory, on several threads."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

# Bytes of one double-precision volume of a slab, of which a step needs a dozen at once. Measured: with twice
# as much the allocator returns the memory to the system after each step, which costs more than the work.
_SLAB_BYTES = 1 << 20


def for_each_slab(shape: tuple[int, ...], work: Callable[[int, int], None], threads: int = 1) -> None:
    """Call `work(start, stop)` for slabs that cover the first axis.

    The slabs do not depend on `threads`, so neither do results that `work` writes to its own slab only.

    Args:
        shape: (I, J, K).
        work: takes the first index of a slab and the one after its last.
        threads: how many slabs are worked on at once.
    """
    voxels = max(1, shape[1] * shape[2])
    thickness = max(1, _SLAB_BYTES // (8 * voxels))
    starts = range(0, shape[0], thickness)
    stops = [min(start + thickness, shape[0]) for start in starts]
    if threads == 1:
        for start, stop in zip(starts, stops, strict=True):
            work(start, stop)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, starts, stops):
            pass
