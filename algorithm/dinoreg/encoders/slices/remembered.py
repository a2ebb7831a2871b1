"""A slice encoder that remembers: the same slices give their tokens without being encoded again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from dinoreg.encoders.cache import FeatureCache
from dinoreg.encoders.slices.base import SliceEncoder, SliceTokens


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    """Tokens on the host."""

    patches: Tensor
    cls: Tensor

    @property
    def nbytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in (self.patches, self.cls))


class RememberedTokens(SliceEncoder):
    """Wraps an encoder for several runs over the same images, whatever else differs between the runs.

    Batches are known by their content, so nothing has to be known of where they come from. Slices that need a
    gradient are encoded anew, so that it flows.
    """

    def __init__(self, encoder: SliceEncoder, max_bytes: int) -> None:
        """Wrap an encoder; the least recently used tokens are dropped beyond `max_bytes` of the host."""
        super().__init__()
        self.encoder = encoder
        self.patch_size, self.channels = encoder.patch_size, encoder.channels
        self.square_matrices = encoder.square_matrices
        self._cache = FeatureCache(max_bytes)

    @property
    def width(self) -> int:
        """Of the encoder inside."""
        return self.encoder.width

    def forward(self, slices: Tensor) -> SliceTokens:
        """Encode slices, or remember their tokens."""
        if slices.requires_grad and torch.is_grad_enabled():
            tokens: SliceTokens = self.encoder(slices)
            return tokens
        with torch.no_grad():
            return self._remembered(slices)

    def _remembered(self, slices: Tensor) -> SliceTokens:
        def encode() -> _Kept:
            tokens: SliceTokens = self.encoder(slices)
            return _Kept(tokens.patches.cpu(), tokens.cls.cpu())

        content = slices.detach().cpu().contiguous().numpy()
        # The precision of an autocast around it is part of what is computed.
        precision = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else torch.float32
        key = (content.shape, str(precision), hashlib.blake2b(content.tobytes()).digest())
        kept = self._cache.get(key, encode)
        return SliceTokens(kept.patches.to(slices.device), kept.cls.to(slices.device))
