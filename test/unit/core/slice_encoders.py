"""Slice encoders whose tokens are known: the mean of each patch."""

import torch
import torch.nn.functional as F

from dinoreg.encoders.registry import LoadedEncoder
from dinoreg.encoders.slices.base import SliceEncoder, SliceTokens


class MeanEncoder(SliceEncoder):
    """Channel 0 is the mean intensity of the patch, the others fixed multiples of it and of its square."""

    def __init__(self, *, patch_size=4, channels=1, most=None):
        super().__init__()
        self.patch_size, self.channels = patch_size, channels
        self.most, self.batches, self.sizes = most, [], set()

    def forward(self, slices):
        if self.most is not None and len(slices) > self.most:
            raise torch.OutOfMemoryError("too many slices")
        self.batches.append(len(slices))
        self.sizes.add(tuple(slices.shape[2:]))
        mean = F.avg_pool2d(slices, self.patch_size)
        square = F.avg_pool2d(slices.square(), self.patch_size)
        patches = torch.cat([mean, square, mean - square], dim=1)[:, : self.channels]
        return SliceTokens(patches, patches.mean(dim=(2, 3)))


def load_mean(encoder):
    """Return a loader that gives `encoder` for every token encoder, and the usual one for MIND."""
    from dinoreg.encoders.registry import load_encoder
    from dinoreg.settings.config import TokenSettings

    def load(settings, device):
        if isinstance(settings, TokenSettings):
            return LoadedEncoder(encoder.to(device))
        return load_encoder(settings, device)

    return load
