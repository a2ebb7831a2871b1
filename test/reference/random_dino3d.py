"""A network of `dino3d` that was never trained: local, and as good as equivariant to shifts."""

import torch

from dinoreg.encoders.dino3d.network import Dino3dNetwork, ImageNorm


def random_network(widths=(8, 12), depths=(1, 1), channels=6, seed=0):
    """Return a network in which no block is the identity any more, ready for use."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Dino3dNetwork(widths, depths, channels)
        for module in network.modules():
            if isinstance(module, torch.nn.Conv3d):
                torch.nn.init.kaiming_normal_(module.weight)
                torch.nn.init.normal_(module.bias, std=0.1)
    return network.eval().requires_grad_(False)


def without_statistics(monkeypatch):
    """Have the norms use one and the same statistics, so that a feature depends on its reach alone."""
    monkeypatch.setattr(
        ImageNorm, "forward", lambda self, features: features * self.scale.view(1, -1, 1, 1, 1) * 0.5
    )
