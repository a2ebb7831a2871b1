"""What differs from one patient to the next."""

from dataclasses import dataclass
from typing import Self
from zlib import crc32

import numpy as np

from dinoreg.phantom.body.shapes import Vector


@dataclass(frozen=True, slots=True)
class PatientVariation:
    """Modest differences of build, of organ size and of organ position.

    Attributes:
        seed: identifies the patient; also seeds the tissue texture.
        strength: 0 gives the reference organs, 1 the usual spread (about 5 mm, 6 % of size).
        body_scale: stretch of the whole body along x, y, z.
        fat_mm: mean thickness of the fat under the skin.
    """

    seed: int = 0
    strength: float = 0.0
    body_scale: Vector = (1.0, 1.0, 1.0)
    fat_mm: float = 14.0

    def __post_init__(self) -> None:
        if not (0 <= self.strength <= 2 and 5 <= self.fat_mm <= 25):
            raise ValueError(
                "PatientVariation: expected strength in [0, 2] and fat_mm in [5, 25], "
                f"got {self.strength} and {self.fat_mm}"
            )
        if not all(0.8 <= scale <= 1.2 for scale in self.body_scale):
            raise ValueError(f"PatientVariation: body_scale must be in [0.8, 1.2], got {self.body_scale}")

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """Draw a patient."""
        seed = int(rng.integers(1, 2**31))
        scale = 1.0 + np.clip(rng.normal(scale=0.025, size=3), -0.06, 0.04)
        return cls(seed, 1.0, (float(scale[0]), float(scale[1]), float(scale[2])), float(rng.uniform(10, 17)))

    def rng(self, name: str) -> np.random.Generator:
        """Return the generator of one organ, the same whatever was drawn before."""
        return np.random.default_rng((self.seed, crc32(name.encode())))

    def shift(self, name: str, spread_mm: float = 4.0) -> Vector:
        """Return this patient's displacement of an organ, mm."""
        dx, dy, dz = self.strength * spread_mm * np.clip(self.rng(name + "/shift").normal(size=3), -1.8, 1.8)
        return float(dx), float(dy), float(dz)

    def size(self, name: str, spread: float = 0.06) -> float:
        """Return this patient's scale of an organ (1 = reference)."""
        draw = float(np.clip(self.rng(name + "/size").normal(), -1.8, 1.8))
        return 1.0 + self.strength * spread * draw

    def place(self, name: str, centre: Vector, spread_mm: float = 4.0) -> Vector:
        """Return the centre of an organ, mm, moved by this patient's shift."""
        dx, dy, dz = self.shift(name, spread_mm)
        return centre[0] + dx, centre[1] + dy, centre[2] + dz

    def grow(self, name: str, semi_axes: Vector, spread: float = 0.06) -> Vector:
        """Return the semi-axes of an organ, mm, scaled by this patient's size."""
        scale = self.size(name, spread)
        return semi_axes[0] * scale, semi_axes[1] * scale, semi_axes[2] * scale

    def move_nodes(
        self, name: str, nodes: list[tuple[float, float, float, float]], spread_mm: float = 3.0
    ) -> list[tuple[float, float, float, float]]:
        """Return (x, y, z, radius) nodes, mm, moved and thickened like the organ `name`."""
        dx, dy, dz = self.shift(name, spread_mm)
        scale = self.size(name)
        return [(x + dx, y + dy, z + dz, radius * scale) for x, y, z, radius in nodes]
