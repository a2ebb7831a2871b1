"""A network in training, with the heads that are thrown away in the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from dinoreg.encoders.dino3d.network import Dino3dNetwork, ImageNorm
from dinoreg.encoders.dino3d.vit import VitNetwork
from dinoreg.encoders.dino3d.volume_network import VolumeNetwork
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
        self.network = build_network(config)
        self.network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.heads = nn.ModuleDict()
        if dino.weight:
            widths = {"places": self.network.channels, "views": self.network.context_channels}
            for name, width in widths.items():
                self.heads[name] = PrototypeHead(width, dino.hidden, dino.prototypes)
        supervised = config.vit is None and config.contrastive.weight * config.contrastive.coarse_weight > 0
        self.coarse = nn.ModuleList(
            nn.Sequential(ImageNorm(width), nn.Conv3d(width, network.channels, 1))
            for width in (network.widths[1:] if supervised else ())
        )


def build_network(config: PretrainConfig) -> VolumeNetwork:
    """Return the network of a configuration, of random weights."""
    if config.vit is not None:
        vit = config.vit
        return VitNetwork(vit.patch, vit.width, vit.depth, vit.heads, config.views.size)
    network = config.network
    return Dino3dNetwork(network.widths, network.depths, network.channels)


def begin_with(network: VolumeNetwork, path: Path) -> dict[str, Any]:
    """Give a network the weights of a file, in place; returns what the file says of them, and its digest.

    Raises:
        WeightsError: they cannot be read.
        ConfigError: they are of another network.
    """
    trained, described = read_dino3d(path)
    theirs, ours = (n.described() for n in (trained, network))
    if theirs != ours:
        raise ConfigError(
            Fault(
                "weights of another network",
                "network.start_from",
                expected=f"{ours}",
                got=f"{theirs} in {path}",
            )
        )
    network.load_state_dict(trained.state_dict())
    return {**described, "sha256": file_digest(path)}
