"""A network in training, with the heads that are thrown away in the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from dinoreg.encoders.dino3d.network import Dino3dNetwork, ImageNorm
from dinoreg.encoders.dino3d.weights import read_dino3d
from dinoreg.errors import ConfigError
from dinoreg.pretrain.objective.dino import PrototypeHead
from dinoreg.pretrain.settings import PretrainConfig
from dinoreg.weights.search import file_digest
from regtask.errors import Fault


class Branch(nn.Module):
    """A network and, for self-distillation, its heads.

    Attributes:
        network: what is kept in the end.
        heads: "places" and "views"; none without self-distillation.
        coarse: features of each coarser level to unit vectors; none without deep supervision.
    """

    def __init__(self, config: PretrainConfig) -> None:
        """Build a branch of random weights."""
        super().__init__()
        network, dino = config.network, config.dino
        self.network = Dino3dNetwork(network.widths, network.depths, network.channels)
        self.network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        widths = {"places": network.channels, "views": network.widths[-1]} if dino.weight else {}
        self.heads = nn.ModuleDict(
            {name: PrototypeHead(width, dino.hidden, dino.prototypes) for name, width in widths.items()}
        )
        supervised = config.contrastive.weight * config.contrastive.coarse_weight > 0
        self.coarse = nn.ModuleList(
            nn.Sequential(ImageNorm(width), nn.Conv3d(width, network.channels, 1))
            for width in (network.widths[1:] if supervised else ())
        )


def begin_with(network: Dino3dNetwork, path: Path) -> dict[str, Any]:
    """Give a network the weights of a file, in place; returns what the file says of them, and its digest.

    Raises:
        WeightsError: they cannot be read.
        ConfigError: they are of another network.
    """
    trained, described = read_dino3d(path)
    theirs, ours = ((n.widths, n.depths, n.channels) for n in (trained, network))
    if theirs != ours:
        raise ConfigError(
            Fault(
                "weights of another network",
                "network.start_from",
                expected=f"widths, depths and channels {ours}",
                got=f"{theirs} in {path}",
            )
        )
    network.load_state_dict(trained.state_dict())
    return {**described, "sha256": file_digest(path)}
