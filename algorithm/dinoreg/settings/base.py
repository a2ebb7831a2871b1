"""What all settings have in common: their base, and the types of their values."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Millimetres = Annotated[float, Field(gt=0, le=1000)]
Range = Annotated[float, Field(ge=0, le=1000)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1, le=100_000)]
# Across which axis a volume is cut: one of the array, or by the patient's directions in the header.
Slices = Literal["array", "axial", "sagittal", "coronal"]
Weight = Annotated[float, Field(gt=0, le=1000)]
Sha256 = Annotated[str, Field(pattern="^([0-9a-f]{64})?$")]


class Settings(BaseModel):
    """Base of all settings: frozen, no unknown keys, no silent conversion between types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
