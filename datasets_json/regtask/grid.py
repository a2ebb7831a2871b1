"""The voxel lattice of an image and where it lies in the scanner."""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regtask.errors import Fault, SpaceError

# Voxel sizes that a scanner, or a microscope, can have: 0.1 micrometres to a metre. Beyond it a header holds
# metres, micrometres or rubbish for millimetres.
MIN_SPACING_MM, MAX_SPACING_MM = 1e-4, 1e3
# Nothing lies further than ten kilometres from the centre of a scanner.
_MAX_ORIGIN_MM = 1e7
# Below this |det| of the unit-length axes (about half a degree between two of them), a lattice is flat.
_MIN_AXES_VOLUME = 1e-2


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Voxel lattice in scanner space, in array order (i, j, k) as stored in NIfTI.

    Convention: `affine` maps the index of a voxel's centre to RAS millimetres.

    Attributes:
        shape: (I, J, K); axes of size 1 are legal, so a 2D image is (I, J, 1).
        affine: (4, 4) float64, read-only.
    """

    shape: tuple[int, ...]
    affine: NDArray[np.float64]

    def __post_init__(self) -> None:
        shape = tuple(int(size) for size in self.shape)
        affine = np.array(self.affine, dtype=np.float64)
        fault = _shape_fault(shape) or _affine_fault(affine)
        if fault:
            raise SpaceError(fault)
        affine.flags.writeable = False
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    @property
    def rank(self) -> int:
        """Number of array axes, always 3."""
        return len(self.shape)

    @property
    def spacing_mm(self) -> tuple[float, ...]:
        """Distance between neighbouring voxels along each array axis, mm."""
        return tuple(float(length) for length in np.linalg.norm(self.affine[:3, :3], axis=0))

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel, mm^3; smaller than the product of the spacings where the axes are sheared."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    def index_to_ras(self, points: ArrayLike) -> NDArray[np.float64]:
        """Convert voxel coordinates to scanner coordinates.

        Args:
            points: (N, 3) voxels.

        Returns:
            (N, 3) RAS mm.
        """
        return np.asarray(points, dtype=np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def ras_to_index(self, points: ArrayLike) -> NDArray[np.float64]:
        """Convert scanner coordinates to voxel coordinates.

        Args:
            points: (N, 3) RAS mm.

        Returns:
            (N, 3) voxels.
        """
        offsets = np.asarray(points, dtype=np.float64) - self.affine[:3, 3]
        return np.asarray(np.linalg.solve(self.affine[:3, :3], offsets.T).T, dtype=np.float64)

    def matches(self, other: "Grid", tolerance_mm: float = 1e-3) -> bool:
        """Tell whether two lattices have one shape and occupy the same place.

        Args:
            other: grid to compare with.
            tolerance_mm: largest distance between corresponding corners. Distances are compared because they
                are what a registration notices; entries of the affine differ by rounding in every header.
        """
        return self.shape == other.shape and self._corner_distance_mm(other) <= tolerance_mm

    def differences(self, other: "Grid") -> str:
        """Describe in which way `other` differs from this grid; empty where the two are identical."""
        parts = []
        if self.shape != other.shape:
            parts.append(f"shape {self.shape} and {other.shape}")
        if not np.allclose(self.spacing_mm, other.spacing_mm, rtol=0, atol=1e-6):
            parts.append(f"spacing {_numbers(self.spacing_mm)} and {_numbers(other.spacing_mm)} mm")
        turn = self._largest_turn_degrees(other)
        if turn > 1e-3:
            parts.append(f"axes turned by up to {turn:.3g} degrees")
        if not np.allclose(self.affine[:3, 3], other.affine[:3, 3], rtol=0, atol=1e-6):
            parts.append(f"origin {_numbers(self.affine[:3, 3])} and {_numbers(other.affine[:3, 3])} mm")
        if self.shape == other.shape and parts:
            parts.append(f"corners up to {self._corner_distance_mm(other):.3g} mm apart")
        return ", ".join(parts)

    def cropped(self, start: tuple[int, ...], shape: tuple[int, ...]) -> "Grid":
        """Return the grid of the block of voxels that begins at index `start`.

        Args:
            start: (i, j, k) of the first voxel of the block, in voxels of this grid.
            shape: (I', J', K') of the block.

        Raises:
            SpaceError: the block is empty or reaches beyond this grid.
        """
        inside = len(start) == len(shape) == 3 and all(
            first >= 0 and size > 0 and first + size <= whole
            for first, size, whole in zip(start, shape, self.shape, strict=True)
        )
        if not inside:
            raise SpaceError(
                Fault(
                    "crop beyond the grid",
                    f"start {start}, shape {shape}",
                    f"a block within {self.shape}",
                )
            )
        affine = self.affine.copy()
        affine[:3, 3] = self.index_to_ras([start])[0]
        return Grid(shape, affine)

    def _corner_distance_mm(self, other: "Grid") -> float:
        # Outer corners of the voxels, not their centres: the thickness of a single slice counts too.
        sides = [(-0.5, size - 0.5) for size in self.shape]
        corners = list(itertools.product(*sides))
        gaps = self.index_to_ras(corners) - other.index_to_ras(corners)
        return float(np.linalg.norm(gaps, axis=1).max())

    def _largest_turn_degrees(self, other: "Grid") -> float:
        own, theirs = (g.affine[:3, :3] / np.linalg.norm(g.affine[:3, :3], axis=0) for g in (self, other))
        # The chord, not the cosine: the arc cosine of a rounded 1 is already a thousandth of a degree.
        half_chords = np.clip(np.linalg.norm(own - theirs, axis=0) / 2, 0, 1)
        return float(np.degrees(2 * np.arcsin(half_chords)).max())


def _shape_fault(shape: tuple[int, ...]) -> Fault | None:
    if len(shape) == 3 and min(shape) > 0:
        return None
    return Fault("not a shape of a volume", "shape", "three sizes of 1 or more", str(shape))


def _affine_fault(affine: NDArray[np.float64]) -> Fault | None:
    expected = "a finite, invertible 4 x 4 matrix with last row 0 0 0 1"
    if affine.shape != (4, 4):
        return Fault("not an affine", "affine", expected, f"shape {affine.shape}")
    if not np.isfinite(affine).all() or not np.array_equal(affine[3], (0, 0, 0, 1)):
        return Fault("not an affine", "affine", expected, str(affine.tolist()))
    lengths = np.linalg.norm(np.clip(affine[:3, :3], -1e9, 1e9), axis=0)  # clipped: squares do not overflow
    if 0 < lengths.min() < MIN_SPACING_MM or lengths.max() > MAX_SPACING_MM:
        remedy = "write the true spacing in mm into the header; distances are measured with it"
        sizes = f"{MIN_SPACING_MM:g} to {MAX_SPACING_MM:g} mm"
        return Fault("impossible voxel size", "affine", sizes, _numbers(lengths), remedy)
    if np.abs(affine[:3, 3]).max() > _MAX_ORIGIN_MM:
        furthest = f"at most {_MAX_ORIGIN_MM:g} mm from the scanner's centre"
        return Fault("impossible origin", "affine", furthest, _numbers(affine[:3, 3]))
    if lengths.min() <= 0 or abs(np.linalg.det(affine[:3, :3] / lengths)) < _MIN_AXES_VOLUME:
        return Fault("affine without volume", "affine", expected, str(affine[:3, :3].tolist()))
    return None


def _numbers(values: ArrayLike) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in np.asarray(values).tolist()) + ")"
