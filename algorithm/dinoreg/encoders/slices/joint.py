"""The tokens of a pair on their common basis, brought to the lattice."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import torch

from dinoreg.encoders.evidence import SliceCodes, enough_foreground
from dinoreg.encoders.joint_basis import PcaFacts, counting, pca_facts, share_needed
from dinoreg.encoders.pca import PcaBasis, fit_basis
from dinoreg.encoders.slices.slicewise import TokenVolume, place_tokens
from dinoreg.preprocess.prepare import PreparedImage
from dinoreg.settings.encoders import TokenSettings
from dinoreg.space.features import Features
from dinoreg.space.frame import Frame
from dinoreg.space.lattice import Lattice, pool


@dataclass(frozen=True, slots=True, eq=False)
class JoinedTokens:
    """What the tokens of two volumes have in common.

    Attributes:
        features: of fixed and moving on the lattice, background 0.
        codes: of their slices.
        basis: of the PCA.
        facts: of the PCA.
    """

    features: tuple[Features, Features]
    codes: SliceCodes
    basis: PcaBasis
    facts: PcaFacts


def join_tokens(
    settings: TokenSettings,
    volumes: tuple[TokenVolume, TokenVolume],
    images: Sequence[PreparedImage],
    frame: Frame,
    lattice: Lattice,
    device: torch.device,
    *,
    basis: PcaBasis | None = None,
) -> JoinedTokens:
    """Project the tokens of two volumes on their common basis (Song et al. 2024, section 2.1).

    The basis is fitted to the patches that are foreground almost as a whole; the others become 0. Where
    masks are so small that there are hardly such patches, less foreground has to do.

    Args:
        settings: of the encoder.
        volumes: tokens of fixed and moving.
        images: fixed and moving.
        frame: of the pair.
        lattice: over the box of the frame.
        device: where to compute.
        basis: a saved one to be used instead.
    """
    begin = time.perf_counter()
    candidates = (settings.foreground_share, 0.5, 0.0)
    above = None
    if settings.pca_mask:
        above = share_needed([volume.share for volume in volumes], settings.components, candidates)
    if basis is None:
        batches = chain.from_iterable(volume.foreground_tokens(above, device) for volume in volumes)
        basis = fit_basis(batches, settings.components)
    centred = settings.projection == "centred"
    fixed, moving = (
        _features(volume, image, basis, above, centred, settings.pca_mask, frame, lattice, device)
        for volume, image in zip(volumes, images, strict=True)
    )
    facts = pca_facts(basis, above, time.perf_counter() - begin)
    return JoinedTokens((fixed, moving), _codes(settings, volumes), basis, facts)


def _features(
    volume: TokenVolume,
    image: PreparedImage,
    basis: PcaBasis,
    above: float | None,
    centred: bool,
    masked: bool,
    frame: Frame,
    lattice: Lattice,
    device: torch.device,
) -> Features:
    """Features of one image on the lattice, exactly 0 outside the foreground where it is masked."""
    kept = counting(volume.share, above).to(device)
    projected = torch.zeros(*kept.shape, basis.components.shape[1], device=device)
    for patches, chosen, out in zip(volume.patches, kept, projected, strict=True):
        tokens = patches.to(device).movedim(0, -1)[chosen]
        out[chosen] = basis.project(tokens, centred=centred)
    foreground = torch.from_numpy(image.foreground[frame.window]).to(device, torch.float32).unsqueeze(0)
    weight = pool(foreground, lattice.stride)
    values = place_tokens(projected.movedim(-1, 1), volume.plan, lattice, origin=frame.origin)
    return Features(values.mul_(weight > 0) if masked else values, weight, lattice)


def _codes(settings: TokenSettings, volumes: Sequence[TokenVolume]) -> SliceCodes:
    """Cls tokens of both volumes on their common principal components."""
    basis = fit_basis([volume.cls for volume in volumes], settings.components)
    fixed, moving = (basis.project(volume.cls) for volume in volumes)
    valid = [enough_foreground(volume.share.sum(dim=(1, 2))) for volume in volumes]
    at = [torch.tensor(volume.plan.indices, device=fixed.device).float() for volume in volumes]
    return SliceCodes(torch.cdist(fixed, moving), at[0], at[1], valid[0], valid[1])
