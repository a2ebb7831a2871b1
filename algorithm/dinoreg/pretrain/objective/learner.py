"""The networks of a training and the loss of a batch."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dinoreg.pretrain.objective.branch import Branch, begin_with
from dinoreg.pretrain.objective.contrastive import contrastive_loss
from dinoreg.pretrain.objective.dino import (
    assignments,
    cross_entropy,
    koleo,
    schedule,
)
from dinoreg.pretrain.objective.masking import draw_hidden, read_hidden
from dinoreg.pretrain.objective.sampling import features_at
from dinoreg.pretrain.settings import DinoSettings, PretrainConfig
from dinoreg.pretrain.views.pair import ViewPair

_SAME_CELL = 0.75  # of a coarse cell: places nearer than this are one to its features


@dataclass(frozen=True, slots=True, eq=False)
class _Encoded:
    """Features of a batch of pairs, view 2 n being the first and 2 n + 1 the second of pair n.

    Attributes:
        levels: (V, C, s, s, s) of the head, then of those of the coarser levels where there are any.
        context: (V, widths[-1]), the mean of the coarsest level.
    """

    levels: list[Tensor]
    context: Tensor

    @property
    def features(self) -> Tensor:
        """Of the network's head."""
        return self.levels[0]


class Learner:
    """A student that learns by gradient, and its running average: the teacher and the result."""

    def __init__(self, config: PretrainConfig, device: torch.device) -> None:
        """Build both from the seed of the configuration."""
        torch.manual_seed(config.training.seed)
        self.config, self.device = config, device
        self.student = Branch(config).to(device)
        self.average = copy.deepcopy(self.student).requires_grad_(requires_grad=False)
        bfloat16 = config.training.precision == "bfloat16"
        self._stride = self.student.network.stride
        self._autocast = torch.autocast(device.type, torch.bfloat16, enabled=bfloat16)

    def begin_with(self, path: Path) -> dict[str, Any]:
        """Take over trained weights; returns what their file says of them.

        Raises:
            WeightsError: they cannot be read.
            ConfigError: they are of another network.
        """
        described = begin_with(self.student.network, path)
        self.average.network.load_state_dict(self.student.network.state_dict())
        return described

    def loss(self, pairs: Sequence[ViewPair], step: int) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of a batch and its parts."""
        config = self.config
        images = torch.cat([pair.images for pair in pairs]).unsqueeze(1).to(self.device)
        points = [pair.points.to(self.device) for pair in pairs]
        generator = torch.Generator().manual_seed(config.training.seed * 1_000_003 + step)
        total = images.new_zeros(())
        parts: dict[str, float] = {}
        if config.contrastive.weight:
            total = total + config.contrastive.weight * self._contrastive(
                self._encode(self.student, images), points, [pair.slack for pair in pairs], parts
            )
        if config.dino.weight:
            total = total + config.dino.weight * self._dino(images, points, step, generator, parts)
        parts["loss"] = float(total.detach())
        return total, parts

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Move the average towards the student."""
        config = self.config
        momentum = config.training.average
        if config.dino.weight:
            momentum = schedule(config.dino.momentum, step / config.training.steps)
        # An average over the past only: at the beginning it would be mostly the random start.
        momentum = min(momentum, (1 + step) / (10 + step))
        for mean, value in zip(self.average.parameters(), self.student.parameters(), strict=True):
            mean.lerp_(value, 1 - momentum)

    @torch.no_grad()
    def encode(self, image: Tensor) -> Tensor:
        """Encode a volume (1, 1, I, J, K) by the average; (C, I/s, J/s, K/s) float32 on the CPU."""
        sizes, multiple = image.shape[2:], self.average.network.multiple
        whole = F.pad(image, [n for size in reversed(sizes) for n in (0, -size % multiple)])
        i, j, k = (size // self._stride for size in sizes)
        return self._encode(self.average, whole.to(self.device)).features[0, :, :i, :j, :k].cpu()

    def _encode(self, branch: Branch, images: Tensor, hidden: Tensor | None = None) -> _Encoded:
        with self._autocast:
            dense, *coarser = branch.network.levels(images, hidden)
            found = [branch.network.head(dense)]
            found += [head(features) for head, features in zip(branch.coarse, coarser, strict=False)]
            context = coarser[-1] if coarser else dense
        return _Encoded([level.float() for level in found], context.float().mean(dim=(2, 3, 4)))

    def _contrastive(
        self,
        encoded: _Encoded,
        points: Sequence[Tensor],
        slacks: Sequence[float],
        parts: dict[str, float],
    ) -> Tensor:
        settings = self.config.contrastive
        losses = []
        for level, features in enumerate(encoded.levels):
            stride = self._stride * 2**level
            of_pairs = [
                contrastive_loss(
                    features_at(features[2 * n], places[0], stride),
                    features_at(features[2 * n + 1], places[1], stride),
                    places[1],
                    temperature=settings.temperature,
                    ignored_voxels=slack + max(settings.ignored_voxels, _SAME_CELL * stride),
                )
                for n, (places, slack) in enumerate(zip(points, slacks, strict=True))
                if places.shape[1] > 1
            ]
            losses.append(torch.stack(of_pairs).mean() if of_pairs else features.sum() * 0)
        parts["contrastive"] = float(losses[0].detach())
        if len(losses) == 1:
            return losses[0]
        coarse = torch.stack(losses[1:]).mean()
        parts["coarse"] = float(coarse.detach())
        return losses[0] + settings.coarse_weight * coarse

    def _dino(
        self,
        images: Tensor,
        points: Sequence[Tensor],
        step: int,
        generator: torch.Generator,
        parts: dict[str, float],
    ) -> Tensor:
        """The teacher sees both views whole; the student sees both with hidden blocks."""
        settings = self.config.dino
        hidden = draw_hidden(
            len(images),
            self.config.views.size,
            settings.mask_block,
            settings.mask_share,
            generator,
            self._stride,
        ).to(self.device)
        with torch.no_grad():
            told = self._distil(self.average, self._encode(self.average, images), points)
            progress = step / self.config.training.steps
            warmup = max(settings.teacher_warmup, 1e-9)
            temperature = schedule(settings.teacher_temperature, progress / warmup)
            targets = {
                name: assignments(scores, temperature, settings, self.average.heads[name])
                for name, scores in told.items()
            }
        encoded = self._encode(self.student, images, hidden)
        said = self._distil(self.student, encoded, points)
        unseen = torch.cat([
            read_hidden(hidden[2 * n + view, 0], places[view], self._stride)
            for n, places in enumerate(points) for view in (0, 1)
        ]).float()  # fmt: skip
        crossed, swapped = _crossed(points), _swapped(len(images))
        found = {
            "global": cross_entropy(targets["views"][swapped], said["views"], settings.student_temperature),
            "dense": cross_entropy(
                targets["places"][crossed], said["places"], settings.student_temperature, 1 - unseen
            ),
            "masked": cross_entropy(
                targets["places"][crossed], said["places"], settings.student_temperature, unseen
            ),
            "koleo": (koleo(encoded.context[0::2]) + koleo(encoded.context[1::2])) / 2
            if len(images) > 2
            else encoded.context.sum() * 0,
        }
        parts.update({name: float(value.detach()) for name, value in found.items()})
        return _weighted(found, settings)

    def _distil(self, branch: Branch, encoded: _Encoded, points: Sequence[Tensor]) -> dict[str, Tensor]:
        """Scores of the prototypes for all places of all views, and for the views."""
        places = torch.cat([
            features_at(encoded.features[2 * n + view], pair[view], self._stride)
            for n, pair in enumerate(points) for view in (0, 1)
        ])  # fmt: skip
        return {
            "places": branch.heads["places"](F.normalize(places, dim=1)),
            "views": branch.heads["views"](encoded.context),
        }


def _weighted(found: dict[str, Tensor], settings: DinoSettings) -> Tensor:
    return (
        settings.global_weight * found["global"]
        + settings.dense_weight * found["dense"]
        + settings.masked_weight * found["masked"]
        + settings.koleo_weight * found["koleo"]
    )


def _swapped(views: int) -> Tensor:
    """Number of the other view of the same pair, (views,)."""
    return torch.arange(views).view(-1, 2).flip(1).reshape(-1)


def _crossed(points: Sequence[Tensor]) -> Tensor:
    """Row of the same place in the other view, for rows in the order pair, view, point."""
    rows, start = [], 0
    for places in points:
        count = places.shape[1]
        rows += [torch.arange(start + count, start + 2 * count), torch.arange(start, start + count)]
        start += 2 * count
    return torch.cat(rows)
