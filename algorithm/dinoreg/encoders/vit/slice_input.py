"""From grey slices to what the first layer of a natural-image encoder takes."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor

Normalisation = Literal["none", "imagenet"]

# Of the red, green and blue intensities of ImageNet, in [0, 1].
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


def to_three_channels(slices: Tensor, normalisation: Normalisation) -> Tensor:
    """Replicate (B, 1, H, W) to (B, 3, H, W), with or without ImageNet's mean and deviation.

    Song et al. 2024 (DINO-Reg) give the encoder windowed intensities in [0, 1] without normalisation.
    """
    colours = slices.expand(-1, 3, -1, -1)
    if normalisation == "none":
        return colours
    mean, deviation = (slices.new_tensor(v).view(3, 1, 1) for v in (_IMAGENET_MEAN, _IMAGENET_DEVIATION))
    return (colours - mean) / deviation


def check_normalisation(normalisation: str) -> None:
    """Refuse the name of an unknown normalisation.

    Raises:
        ValueError: it is none.
    """
    if normalisation not in get_args(Normalisation):
        raise ValueError(f"normalisation: expected one of {get_args(Normalisation)}, got {normalisation!r}")


def patch_grid(slices: Tensor, patch_size: int) -> tuple[int, int]:
    """Return the (rows, columns) of patches of (B, 1, H, W) slices.

    Raises:
        ValueError: another shape, or sides that are not multiples of the patch size.
    """
    if (
        slices.ndim != 4
        or slices.shape[1] != 1
        or slices.shape[2] % patch_size
        or slices.shape[3] % patch_size
    ):
        raise ValueError(
            f"expected (B, 1, H, W) with H and W multiples of {patch_size}, got {tuple(slices.shape)}"
        )
    return slices.shape[2] // patch_size, slices.shape[3] // patch_size
