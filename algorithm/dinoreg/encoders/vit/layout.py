"""How publishers name the tensors of a vision transformer, and what the tensors tell about its size."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

Targets = tuple[str, ...]
Names = Mapping[str, Targets]
# For tensors under the names of transformers, which do not tell all of the model.
OF_A_FOLDER = "name the Hugging Face folder that they come from, with its config.json"


@dataclass(frozen=True, slots=True)
class Dialect:
    """One publisher's names; each stands for one of ours or for several, stacked on the first axis.

    Attributes:
        title: for messages.
        cls: name of the cls token.
        registers: name of the register tokens.
        patch: name of the patch embedding without ".weight".
        outer: other names outside the blocks -> our full names.
        block: what stands before the number of a block; after it comes a point.
        layers: names inside a block, each with ".weight" and maybe ".bias" -> ours.
        mlp: the same for the plain MLP.
        gated: the same for the gated one (SwiGLU), wide layer first, narrow layer last.
        scales: names inside a block without a suffix -> ours.
        ignored: names that only the training needs.
    """

    title: str
    cls: str
    registers: str
    patch: str
    outer: Names
    block: str
    layers: Names
    mlp: Names
    gated: Names
    scales: Names
    ignored: frozenset[str]

    def depth(self, tensors: Mapping[str, Tensor]) -> int:
        """Return the number of blocks, counted by the highest number that occurs."""
        pattern = re.compile(re.escape(self.block) + r"(\d+)\.")
        return 1 + max((int(match[1]) for name in tensors if (match := pattern.match(name))), default=-1)

    def is_gated(self, tensors: Mapping[str, Tensor]) -> bool:
        """Tell whether the MLPs are gated; where the names do not say it, the shapes do."""
        wide, narrow = (
            f"{self.block}0.{name}.weight" for name in (next(iter(self.gated)), [*self.gated][-1])
        )
        if wide not in tensors or narrow not in tensors:
            return False
        if self.gated.keys() != self.mlp.keys():
            return True
        # Gate and value lie in one tensor, so that it is twice as wide as what comes out of it.
        return tensors[wide].shape[0] == 2 * tensors[narrow].shape[-1]

    def layout(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        *,
        depth: int,
        gated: bool,
        outer: Names,
        block: str,
    ) -> dict[str, Targets]:
        """List what a complete file has to hold.

        Args:
            shapes: of our tensors; tells which layers have a bias.
            depth: number of blocks.
            gated: kind of MLP.
            outer: the publisher's names outside the blocks that are not in `Dialect.outer`.
            block: what stands before the number of a block in our names.

        Returns:
            Publisher's name -> our name or names.
        """
        layout = {**self.outer, **outer}
        for i in range(depth):
            theirs, ours = f"{self.block}{i}.", f"{block}{i}."
            for name, targets in (*self.layers.items(), *(self.gated if gated else self.mlp).items()):
                for suffix in (".weight", ".bias"):
                    full = tuple(f"{ours}{target}{suffix}" for target in targets)
                    if full[0] in shapes:
                        layout[theirs + name + suffix] = full
            for name, targets in self.scales.items():
                layout[theirs + name] = tuple(ours + target for target in targets)
        return layout


def weight_and_bias(name: str, target: str) -> dict[str, Targets]:
    """Return both tensors of a layer outside the blocks."""
    return {f"{name}{suffix}": (f"{target}{suffix}",) for suffix in (".weight", ".bias")}


def same(*names: str) -> dict[str, Targets]:
    """Return names that are ours already."""
    return {name: (name,) for name in names}
