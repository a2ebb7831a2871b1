"""How a displacement that was found leads back to the images as they were given."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dinoreg.linear.maps import inverse
from dinoreg.linear.move import in_voxels, then_map
from dinoreg.preprocess.pair import Margins
from dinoreg.space.compose import compose, inverse_displacement
from dinoreg.space.deformation import held_beyond
from dinoreg.space.working import WorkingGrid


@dataclass(frozen=True, slots=True, eq=False)
class WayBack:
    """What was done to the images before they were registered.

    Attributes:
        working: the grid that is worked on; None for the image's own.
        linear: (4, 4) voxels of the image, by which moving was turned; None where it was not.
        margins: voxels that were cut off before and after along each axis of the image, first of all.
        exchanged: whether fixed and moving changed places, so that the inverse of what is found leads back.
        turned: (4, 4) voxels of the grid that is worked on, by which fixed was turned in the place of moving;
            None where it was not.
    """

    working: WorkingGrid | None = None
    linear: NDArray[np.float64] | None = None
    margins: Margins = ()
    exchanged: bool = False
    turned: NDArray[np.float64] | None = None

    @property
    def leads_elsewhere(self) -> bool:
        """Whether the voxels that are worked on are not those of the image."""
        return self.working is not None or any(map(any, self.margins)) or self.exchanged

    def on_image(self, vectors: Tensor) -> Tensor:
        """Bring (3, *S) voxels of the grid that is worked on to those of the image."""
        if self.exchanged:
            vectors = inverse_displacement(vectors)
            if self.turned is not None:  # the way back goes through its inverse first
                vectors = compose(then_map(torch.zeros_like(vectors), inverse(self.turned)), vectors)
        vectors = self.working.displacement_to_image(vectors) if self.working else vectors
        return held_beyond(vectors, self.margins)

    def of_image(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn a map in voxels of the grid that is worked on into one in voxels of the image."""
        from_image = np.eye(4)
        if self.margins:
            from_image[:3, 3] = [-before for before, _ in self.margins]
        return in_voxels(matrix, self.working.from_image() @ from_image if self.working else from_image)

    def after(self, matrix: NDArray[np.float64]) -> WayBack:
        """Return the way where the image in the place of moving is read through a map first.

        Args:
            matrix: (4, 4), voxels of the grid that is worked on.
        """
        if self.exchanged:
            return replace(self, turned=matrix)
        return replace(self, linear=self.of_image(matrix))

    def moved(self, vectors: Tensor) -> Tensor:
        """Let the linear map follow (3, *S) voxels of the image."""
        return vectors if self.linear is None else then_map(vectors, self.linear)

    def as_field(self, vectors: Tensor) -> NDArray[np.float32]:
        """Return (3, I, J, K) voxels of the image in the form of the result.

        Returns:
            (I, J, K, 3) on the host, the linear map in it.
        """
        return _components_last(self.moved(vectors))


def _components_last(vectors: Tensor) -> NDArray[np.float32]:
    """(3, I, J, K) -> (I, J, K, 3) on the CPU, a view: the file wants the components apart as well."""
    array: NDArray[np.float32] = vectors.cpu().movedim(0, -1).numpy()
    return array
