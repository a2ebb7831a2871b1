"""A slice encoder that knows the tissue of every pixel, with the faults of a real one.

It stands in for a vision transformer with trained weights: tokens say what lies in their patch, alike in
every modality, blurred to the patch and noisy; the cls token says what lies in the slice. What it knows, it
reads from the slice itself, whose intensities are made by `coded_image`. These hold the true intensities too,
so that MIND can be computed from the same file (`MindOfCodedImage`).
"""

import zlib
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dinoreg.encoders.mind import MindSsc
from dinoreg.encoders.slices.base import SliceEncoder, SliceTokens

# Up-sampling mixes the codes of neighbouring tissues: a pixel further than this from a code says nothing.
_TOLERANCE = 0.1
# An intensity in [0, 1] is hidden in so much of the distance to the next code.
_ROOM = 0.09


class Rendering(IntEnum):
    """How the image was made; decides the faults of the tokens."""

    CT = 0
    MR = 1
    CBCT = 2


@dataclass(frozen=True)
class Faults:
    """What is wrong with the tokens of a rendering, in units of a code's norm.

    Attributes:
        noise: standard deviation of the white noise of a token, summed over its channels.
        gain: largest relative change of each channel's gain over the slice.
        offset: norm of an offset that varies smoothly over the slice.
        background: standard deviation of further white noise where a patch is nothing but background.
    """

    noise: float
    gain: float = 0.0
    offset: float = 0.0
    background: float = 0.0


# Assumed, not measured: tokens noisy enough that no single one can be trusted, MR more so than CT; the
# scatter of a cone beam drifting over the slice; background tokens of large norm that say nothing of the
# background (Darcet et al. 2024, section 2.1).
FAULTS = {
    Rendering.CT: Faults(noise=1.5, background=3.0),
    Rendering.MR: Faults(noise=2.1, background=3.0),
    Rendering.CBCT: Faults(noise=2.7, gain=0.6, offset=1.2, background=3.0),
}


def coded_image(
    classes: np.ndarray, intensities: np.ndarray, rendering: Rendering, class_count: int
) -> np.ndarray:
    """Return the image to be encoded: class, rendering and intensity in one number in [0, 1), float32.

    Args:
        classes: whole numbers in [0, class_count), 0 the background.
        intensities: [0, 1], of the same shape.
        rendering: how the image was made.
        class_count: of the encoder.

    Raises:
        ValueError: a class or an intensity outside its range.
    """
    if classes.min() < 0 or classes.max() >= class_count:
        raise ValueError(f"classes: expected 0 to {class_count - 1}, got {classes.min()} to {classes.max()}")
    if intensities.min() < 0 or intensities.max() > 1:
        raise ValueError(f"intensities: expected 0 to 1, got {intensities.min()} to {intensities.max()}")
    codes = classes + class_count * int(rendering) + _ROOM * intensities
    return (codes / (class_count * len(Rendering))).astype(np.float32)


class MindOfCodedImage(MindSsc):
    """MIND-SSC of the intensities hidden in a coded image."""

    def __init__(self, class_count: int, *, radius: int = 1, dilation: int = 2) -> None:
        super().__init__(radius=radius, dilation=dilation)
        self.class_count = class_count

    def context_map(self, image: Tensor) -> Tensor:
        return super().context_map(self._intensities(image))

    def forward(self, image: Tensor, context: Tensor | None = None) -> Tensor:
        return super().forward(self._intensities(image), context)

    def _intensities(self, image: Tensor) -> Tensor:
        scaled = image.double() * (self.class_count * len(Rendering))
        return ((scaled - scaled.round()) / _ROOM).clamp(0, 1).float()


class OracleEncoder(SliceEncoder):
    """Tokens from tissue classes; class 0 is the background.

    A patch token is the mean of its pixels' class vectors (random, of norm 1 on average, shared by all
    renderings) with the faults of the rendering. A cls token is the square root of the slice's shares of the
    classes without background, through a fixed random projection, with white noise. Equal slices give equal
    tokens.
    """

    def __init__(
        self,
        class_count: int,
        *,
        channels: int = 64,
        patch_size: int = 14,
        seed: int = 0,
        faults: dict[Rendering, Faults] | None = None,
        cls_noise: float = 0.15,
    ) -> None:
        super().__init__()
        self.class_count, self.channels, self.patch_size = class_count, channels, patch_size
        self.faults = FAULTS if faults is None else faults
        self._seed, self._cls_noise = seed, cls_noise
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator)

        self.register_buffer("codes", draw(class_count, channels) / channels**0.5)
        self.register_buffer("projection", draw(class_count, channels) / channels**0.5)
        self.register_buffer("drift", draw(2, channels, 3, 3))

    def forward(self, slices: Tensor) -> SliceTokens:
        counts, renderings = self._count(slices[:, 0])
        share = counts / counts.sum(dim=3, keepdim=True).clamp(min=1)
        patches = (share @ self.codes).movedim(3, 1)
        tissue = counts.sum(dim=(1, 2))
        tissue[:, 0] = 0
        cls = (tissue / tissue.sum(dim=1, keepdim=True).clamp(min=1)).sqrt() @ self.projection
        # Counts are whole numbers: the noise is the same whatever the batch and the number of threads.
        digests = [zlib.crc32(c.int().cpu().numpy().tobytes(), self._seed) for c in counts]
        noisy = [
            self._with_faults(*slice_, digest)
            for *slice_, digest in zip(patches, cls, share[..., 0], renderings, digests, strict=True)
        ]
        return SliceTokens(torch.stack([t.patches for t in noisy]), torch.stack([t.cls for t in noisy]))

    def _count(self, slices: Tensor) -> tuple[Tensor, list[Rendering]]:
        """Pixels of each class per patch, (B, h, w, classes), and the rendering of each slice."""
        b, height, width = slices.shape
        h, w = height // self.patch_size, width // self.patch_size
        scaled = slices.double() * (self.class_count * len(Rendering))
        ids = scaled.round().long().clamp(0, self.class_count * len(Rendering) - 1)
        pure = (scaled - ids).abs() < _TOLERANCE
        rows, columns = (torch.arange(n, device=ids.device) // self.patch_size for n in (height, width))
        batch = torch.arange(b, device=ids.device)
        patch = (batch.view(-1, 1, 1) * h + rows.view(1, -1, 1)) * w + columns
        index = patch * self.class_count + ids % self.class_count
        size = b * h * w * self.class_count
        counts = torch.bincount(index[pure], minlength=size).view(b, h, w, self.class_count)
        everything = torch.bincount(index.flatten(), minlength=size).view_as(counts)
        counts = torch.where(counts.sum(dim=3, keepdim=True) > 0, counts, everything)
        seen = [
            torch.bincount(ids[n][pure[n] & (ids[n] > 0)] // self.class_count, minlength=len(Rendering))
            for n in range(b)
        ]
        return counts.float(), [Rendering(int(s.argmax())) for s in seen]

    def _with_faults(
        self, patches: Tensor, cls: Tensor, background: Tensor, rendering: Rendering, digest: int
    ) -> SliceTokens:
        """Spoil the tokens of one slice, (C, h, w) and (C,), with (h, w) the share of background."""
        faults = self.faults[rendering]
        generator = torch.Generator().manual_seed(digest + int(rendering))
        scale = self.channels**-0.5
        if faults.gain or faults.offset:
            drift = F.interpolate(self.drift, patches.shape[1:], mode="bilinear", align_corners=True)
            patches = patches * (1 + faults.gain * drift[0].tanh()) + faults.offset * scale * drift[1]
        noise = torch.randn(patches.shape, generator=generator).to(patches)
        cls_noise = torch.randn(cls.shape, generator=generator).to(cls)
        deviation = torch.hypot(torch.full_like(background, faults.noise), faults.background * background)
        return SliceTokens(patches + scale * deviation * noise, cls + self._cls_noise * scale * cls_noise)
