"""What the manifest says of slices that were encoded."""

from __future__ import annotations

from dataclasses import dataclass, field

from dinoreg.encoders.joint_basis import PcaFacts
from dinoreg.facts import INLINE


@dataclass(frozen=True, slots=True)
class MemoryFacts:
    """MiB that were free, and that a pair was estimated to take."""

    free: int
    activations: int
    tokens: int
    features: int


@dataclass(frozen=True, slots=True)
class SliceFacts:
    """How a pair was encoded.

    Attributes:
        up_sampling: pixels per voxel, as memory allowed.
        batch: slices at a time.
        tokens_on_host: whether the tokens were kept in the host's memory.
        precision: that the encoder computed in.
        storage: of the tokens.
        slices: encoded of fixed and moving.
        patches: of a slice of each, (h, w).
        encode_seconds: for both images.
        memory_mib: at the first pair of this shape.
        pca: of the joint basis.
    """

    up_sampling: float
    batch: int
    tokens_on_host: bool
    precision: str
    storage: str
    slices: tuple[int, ...]
    patches: tuple[tuple[int, int], ...]
    encode_seconds: float
    memory_mib: MemoryFacts
    pca: PcaFacts | None = field(default=None, metadata=INLINE)
