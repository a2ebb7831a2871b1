"""Where a pair is registered: the voxels of an image, and the box of them that is worked on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dinoreg.space.lattice import Lattice
from dinoreg.space.orientation import RAS


@dataclass(frozen=True, slots=True)
class Frame:
    """The voxels that all lattices of a registration lie over.

    Attributes:
        image_shape: voxels of the whole image, in array order.
        spacing_mm: their size; 1 per axis where lengths count voxels.
        box: first and past-the-last voxel per axis of the part that is registered.
        orientation: of the image, as `space.orientation` has it.
        length_scale: factor on every length of the configuration.
    """

    image_shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    box: tuple[tuple[int, int], ...]
    orientation: str = RAS
    length_scale: float = 1.0

    @property
    def voxels(self) -> Lattice:
        """The voxels of the box themselves."""
        return self.lattice((1,) * len(self.box))

    @property
    def origin(self) -> tuple[int, ...]:
        """First voxel of the box per axis."""
        return tuple(start for start, _ in self.box)

    @property
    def window(self) -> tuple[slice, ...]:
        """The box as an index of whole images."""
        return tuple(slice(start, stop) for start, stop in self.box)

    def lattice(self, stride: tuple[int, ...]) -> Lattice:
        """Return the lattice over the box with so many voxels per cell."""
        size = tuple(stop - start for start, stop in self.box)
        return Lattice(size, stride, tuple(mm * s for mm, s in zip(self.spacing_mm, stride, strict=True)))

    def over_the_image(self, lattice: Lattice) -> Lattice:
        """Return the lattice with the same cells over the whole image."""
        return Lattice(self.image_shape, lattice.stride, lattice.spacing_mm)


def box_around(
    content: Sequence[slice], stride: Sequence[int], image_shape: Sequence[int]
) -> tuple[tuple[int, int], ...]:
    """Grow a box by a stride, then to multiples of it, so that the cells of the box are those of the image.

    The margin gives a displacement room to come to rest beside the content.

    Args:
        content: first and past-the-last voxel per axis.
        stride: voxels per axis that the strides of all lattices over the box divide.
        image_shape: the box ends at its edge, multiple or not.

    Returns:
        The box of a `Frame`.
    """
    return tuple(
        (max(0, part.start - s) // s * s, min(n, -(-(part.stop + s) // s) * s))
        for part, s, n in zip(content, stride, image_shape, strict=True)
    )
