"""Joint PCA of tokens: a common basis in which the tokens of two volumes can be compared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor

from dinoreg.errors import ConfigError
from dinoreg.weights.safe_file import write_safetensors
from regtask.errors import Fault

# Tokens that are taken into float64 at a time.
_CHUNK = 1 << 14


@dataclass(frozen=True, slots=True, eq=False)
class PcaBasis:
    """An orthonormal basis of the largest variance.

    Attributes:
        mean: (D,) float64.
        components: (D, k) float64, columns of length 1; the entry largest in magnitude is positive.
        explained: (k,) float64, the share of each component in the total variance, descending.
    """

    mean: Tensor
    components: Tensor
    explained: Tensor

    def project(self, tokens: Float[Tensor, "n d"], *, centred: bool = True) -> Float[Tensor, "n k"]:
        """Return the coordinates of tokens.

        Args:
            tokens: (N, D), any floating type.
            centred: subtract the mean first; not, as DINO-Reg's public code has it.

        Returns:
            (N, k) float32.
        """
        components = self.components.to(tokens.device, torch.float32)
        out = torch.empty(tokens.shape[0], components.shape[1], device=tokens.device)
        offset = (self.mean @ self.components).to(tokens.device, torch.float32) if centred else 0.0
        for start in range(0, tokens.shape[0], _CHUNK):
            out[start : start + _CHUNK] = tokens[start : start + _CHUNK].float() @ components - offset
        return out


def fit_basis(batches: Iterable[Tensor], components: int) -> PcaBasis:
    """Fit a basis to all tokens of all batches, exactly.

    The covariance is summed in float64 and decomposed, so that the result depends neither on a seed nor on
    how the tokens are split, and the tokens never have to lie in one place.

    Args:
        batches: (N_b, D) each, any floating type, any device.
        components: wanted number; fewer where there are fewer dimensions or tokens.

    Raises:
        ValueError: no tokens at all.
    """
    count, total, products = 0, torch.empty(0), torch.empty(0)
    for batch in batches:
        for chunk in torch.split(batch, _CHUNK):
            values = chunk.double()
            if not count:
                total = values.new_zeros(values.shape[1])
                products = values.new_zeros(values.shape[1], values.shape[1])
            count += values.shape[0]
            total += values.sum(dim=0)
            products += values.T @ values
    if not count:
        raise ValueError("a PCA needs tokens")
    mean = total / count
    covariance = (products / count - torch.outer(mean, mean)).cpu()
    variances, vectors = torch.linalg.eigh(covariance)
    kept = min(components, vectors.shape[0], max(1, count - 1))
    vectors = vectors.flip(1)[:, :kept].contiguous()
    largest = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True))
    vectors = vectors * torch.where(largest < 0, -1.0, 1.0)
    whole = covariance.trace().clamp(min=torch.finfo(torch.float64).tiny)
    explained = variances.flip(0)[:kept].clamp(min=0) / whole
    return PcaBasis(mean.cpu(), vectors, explained)


def write_basis(path: Path, basis: PcaBasis) -> None:
    """Write a basis as `.safetensors`, whole or not at all."""
    tensors = {"mean": basis.mean, "components": basis.components, "explained": basis.explained}
    write_safetensors(path, tensors)


def read_basis(path: Path, *, channels: int) -> PcaBasis:
    """Read a basis for tokens of so many channels.

    Raises:
        ConfigError: it cannot be read, or is for other tokens.
    """
    names = ("mean", "components", "explained")
    try:
        with safe_open(path, framework="pt") as file:
            mean, vectors, explained = (file.get_tensor(name).double() for name in names)
    except (OSError, SafetensorError) as error:
        raise ConfigError(
            Fault("PCA basis not readable", str(path), expected="safetensors", got=str(error))
        ) from error
    k = explained.numel()
    if mean.shape != (channels,) or vectors.shape != (channels, k) or not bool(vectors.isfinite().all()):
        raise ConfigError(
            Fault(
                "PCA basis does not fit the encoder",
                str(path),
                expected=f"mean ({channels},), components ({channels}, k)",
                got=f"mean {tuple(mean.shape)}, components {tuple(vectors.shape)}",
            )
        )
    return PcaBasis(mean, vectors, explained)
