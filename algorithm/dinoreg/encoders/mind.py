"""MIND-SSC: the modality independent neighbourhood descriptor with self-similarity context."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from dinoreg.encoders.base import Encoder
from dinoreg.space.kernels import self_similarity
from dinoreg.space.kernels.choice import on_cpu

# The pairs of neighbours at right angles, as (signed axis, signed axis) with axes counted from 1: (+3, -1)
# is the neighbour at +dilation along the third axis against the one at -dilation along the first. The 3D
# order is that of the published implementations, so that stored descriptors can be exchanged.
_PAIRS = {
    2: ((-2, -1), (+2, -1), (+1, -2), (+1, +2)),
    3: (
        (+1, -2), (+2, -1), (-2, -1), (+2, +1), (-2, -3), (+2, +3),
        (-3, -1), (+1, +3), (+2, -3), (+3, -2), (+1, -3), (+3, -1),
    ),
}  # fmt: skip


class MindSsc(Encoder):
    """Self-similarity context descriptor.

    Heinrich et al. 2013, "Towards realtime multimodal fusion for image-guided interventions using
    self-similarities", with the normalisation of its public implementations.

    For each pair of neighbours at right angles (12 in 3D, 4 in 2D) the patch distance D is the mean squared
    difference over a box of 2 radius + 1 voxels. A feature is exp(-(D - min D) / v), v the mean of D - min D
    over the pairs, clamped to [0.001, 1000] times its mean over the image. Borders replicate. Features lie in
    (0, 1] and one channel of every voxel is 1; a constant image gives 1 everywhere.
    """

    def __init__(self, *, radius: int, dilation: int, rank: int = 3) -> None:
        super().__init__()
        self.rank = rank
        self.radius, self.dilation = radius, dilation
        self.channels = len(_PAIRS[rank])
        self.margin = radius + dilation

    def context_map(self, image: Float[Tensor, "1 *s"]) -> Float[Tensor, "1 *s"]:
        """Return v, (1, *S), before clamping."""
        if on_cpu(image) and self.rank == 3:
            return self_similarity.mean_excess(*self._neighbours(image), self.radius)
        return self._excess_distances(image).mean(dim=0, keepdim=True)

    def forward(
        self, image: Float[Tensor, "1 *s"], context: Float[Tensor, ""] | None = None
    ) -> Float[Tensor, "c *s"]:
        """Encode (1, *S) into (12 or 4, *S)."""
        tiny = torch.finfo(image.dtype).tiny  # a constant image has v = 0 and excess 0
        if on_cpu(image) and self.rank == 3:
            mean = self.context_map(image).mean() if context is None else context
            least, most = max(float(0.001 * mean), tiny), float(1000 * mean)
            return self_similarity.exponents(*self._neighbours(image), self.radius, least, most).exp_()
        excess = self._excess_distances(image)
        variance = excess.mean(dim=0, keepdim=True)
        mean = variance.mean() if context is None else context
        variance = variance.clamp(min=0.001 * mean, max=1000 * mean).clamp(min=tiny)
        features: Tensor = (excess / -variance).exp_()
        return features

    def _neighbours(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The image with replicated borders, and where in it the pairs of its first voxel lie, (C, 2, 3)."""
        padded = F.pad(image.unsqueeze(0), [self.dilation] * 6, mode="replicate")[0, 0].contiguous()
        offsets = torch.full((self.channels, 2, 3), self.dilation)
        for n, pair in enumerate(_PAIRS[3]):
            for one, axis in enumerate(pair):
                offsets[n, one, abs(axis) - 1] += self.dilation if axis > 0 else -self.dilation
        return padded, offsets

    def _excess_distances(self, image: Tensor) -> Tensor:
        """Patch distances less their minimum over the pairs, (channels, *S)."""
        padded = F.pad(image.unsqueeze(0), [self.dilation] * (2 * self.rank), mode="replicate").squeeze(0)
        distances = image.new_empty(self.channels, *image.shape[1:])
        for n, (a, b) in enumerate(_PAIRS[self.rank]):
            distances[n] = self._box_mean((self._neighbour(padded, a) - self._neighbour(padded, b)).square())
        return distances - distances.amin(dim=0, keepdim=True)

    def _neighbour(self, padded: Tensor, signed_axis: int) -> Tensor:
        """The image moved by one dilation, (*S), cut from (1, *S + 2 dilation)."""
        d = self.dilation
        window = padded[0]
        for axis in range(self.rank):
            start = d
            if axis == abs(signed_axis) - 1:
                start += d if signed_axis > 0 else -d
            window = window.narrow(axis, start, padded.shape[axis + 1] - 2 * d)
        return window

    def _box_mean(self, values: Tensor) -> Tensor:
        """Mean over the box of 2 radius + 1 voxels, replicate padding, one axis after the other."""
        width = 2 * self.radius + 1
        padded = F.pad(values[None, None], [self.radius] * (2 * self.rank), mode="replicate")[0, 0]
        for axis in range(self.rank):
            n = padded.shape[axis] - width + 1
            total = padded.narrow(axis, 0, n).clone()
            for offset in range(1, width):
                total += padded.narrow(axis, offset, n)
            padded = total
        mean: Tensor = padded / width**self.rank
        return mean
