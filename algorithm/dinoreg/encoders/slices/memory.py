"""How much memory the encoding of a volume takes, and how to take less, before a device runs out of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dinoreg.encoders.slices.base import SliceEncoder
from dinoreg.runtime import SHARE_OF_FREE

# Width of the hidden layer of a transformer's MLP, in widths of its tokens.
_MLP_RATIO = 4
_RESIDUAL_COPIES = 4
_COVARIANCE_COPIES = 4  # sum, outer product, vectors, workspace of the decomposition; float64
_SMALLEST_UP_SAMPLING = 1.0
_UP_SAMPLING_STEP = 0.8


@dataclass(frozen=True, slots=True)
class EncodingSize:
    """What is encoded at a time and kept, as far as memory depends on it.

    Attributes:
        up_sampling: pixels per voxel.
        batch: slices at a time.
        on_host: whether the tokens are kept in the host's memory instead of the device's.
    """

    up_sampling: float
    batch: int
    on_host: bool = False


def smaller_sizes(up_sampling: float, batch: int, *, has_host: bool) -> Iterator[EncodingSize]:
    """Yield sizes from the wanted one down: smaller batches, tokens on the host, then coarser tokens.

    Args:
        up_sampling: wanted; not made smaller than 1.
        batch: wanted.
        has_host: whether the device has a memory of its own beside the host's.
    """
    while True:
        for on_host in (False, True) if has_host else (False,):
            slices = batch
            while slices >= 1:
                yield EncodingSize(up_sampling, slices, on_host)
                slices //= 2
        if up_sampling <= _SMALLEST_UP_SAMPLING:
            return
        up_sampling = max(_SMALLEST_UP_SAMPLING, up_sampling * _UP_SAMPLING_STEP)


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Bytes beside the encoder's own weights.

    Attributes:
        activations: of one batch while it is encoded.
        tokens: of both volumes of a pair, as far as they are kept on the device.
        features: of both volumes on the finest lattice, and the sums of the PCA.
    """

    activations: int
    tokens: int
    features: int

    @property
    def peak(self) -> int:
        """The larger of encoding and PCA; tokens are there in both."""
        return self.tokens + max(self.activations, self.features)


def estimate_memory(
    encoder: SliceEncoder,
    size: EncodingSize,
    *,
    plane_voxels: float,
    slices: int,
    cells: int,
    components: int,
    token_bytes: int,
    value_bytes: int,
) -> MemoryEstimate:
    """Estimate the memory of a pair from its shape, before anything is encoded.

    No gradient is kept and attention never forms the matrix of all tokens against all (scaled dot product
    attention; SAM, where it does, says how many), so that one layer at a time counts: the residual stream
    with its copies in float32; query, key, value and output, as computed and as the attention reads them; and
    the hidden layer twice, before and after its non-linearity. Measured with ViT-S/14 in float32 on a CPU:
    8 slices of 25 x 25 patches took 152 to 167 MiB where this says 161, and 4 of 30 x 30 took 142 where it
    says 116, which is why `fits` leaves a fifth of the free memory over.

    Args:
        encoder: its width and patch size.
        size: to be judged.
        plane_voxels: of a whole slice, in voxels of the finer in-plane axis.
        slices: encoded per volume.
        cells: of the finest lattice.
        components: of the PCA.
        token_bytes: per stored number.
        value_bytes: per number inside the encoder.
    """
    pixels = plane_voxels * size.up_sampling**2
    patches = pixels / encoder.patch_size**2
    width = encoder.channels
    per_token = encoder.width * (_RESIDUAL_COPIES * 4 + (8 + 2 * _MLP_RATIO) * value_bytes)
    one_slice = patches * per_token + 4 * 4 * pixels  # the grey plane and its three channels, float32
    one_slice += encoder.square_matrices * patches**2 * value_bytes
    tokens = 0.0 if size.on_host else 2 * slices * patches * width * token_bytes
    # Projected tokens, the features while one axis after the other is interpolated, and the result.
    features = 2 * 4 * components * (slices * patches + 3 * cells) + _COVARIANCE_COPIES * 8 * width**2
    return MemoryEstimate(int(size.batch * one_slice), int(tokens), int(features))


def fits(estimate: MemoryEstimate, free: int) -> bool:
    """Tell whether a pair can be encoded, with a fifth of the free memory left over."""
    return estimate.peak <= SHARE_OF_FREE * free
