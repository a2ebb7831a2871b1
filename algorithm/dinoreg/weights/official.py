"""The files of weights that this project knows by their digest. No torch here.

Meta publishes no digests of its files. The ones below were compared, on 2026-11-21, with those that other
public projects state for the same file names; `OfficialFile.seen_in` says in how many such files.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from dinoreg.errors import WeightsError
from regtask.errors import Fault, nearest

_BASE_URL = "https://dl.fbaipublicfiles.com/dinov2"


@dataclass(frozen=True, slots=True)
class OfficialFile:
    """A checkpoint as Meta publishes it (Apache-2.0), or one that comes with this project.

    Attributes:
        variant: our name of it.
        model: folder of it at the publisher's; empty where it comes along.
        name: of the file.
        sha256: of the file.
        size: bytes, None where no source states it.
        seen_in: number of independent public files found that state this digest; 10 means at least 10.
    """

    variant: str
    model: str
    name: str
    sha256: str
    size: int | None
    seen_in: int

    @property
    def url(self) -> str:
        """Where it is published."""
        return f"{_BASE_URL}/{self.model}/{self.name}"


# Letter of the size, registers, sha256, bytes, seen in.
_PINNED = (
    ("s", "", "b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9", 88_283_115, 10),
    ("s", "reg", "f433177089a681826f849f194ece3bb48f4d63fb38d32fc837e3dc7a4e5641fb", None, 10),
    ("b", "", "0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73", 346_378_731, 10),
    ("b", "reg", "73182a088cf94833c94b1666d1c99e02fe87e2007bff57b564fb6206e25dba71", 346_393_545, 10),
    ("l", "", "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428", 1_217_586_395, 10),
    ("l", "reg", "36e4deffbaef061a2576705b0c36f93621e2ae20bf6274694821b0b492551b51", 1_217_607_321, 10),
    ("g", "", "baf8467e50af277596bbbafa06887c177ee899ab46033649c383577d7e9309d3", 4_546_108_579, 8),
    ("g", "reg", "746ecb8c6301c645c5c855be91687d274587d6e48fdaec4a729753160b34a283", 4_546_140_349, 6),
)
_FILES = (
    OfficialFile(
        variant=f"vit{letter}14-reg" if registers else f"vit{letter}14",
        model=f"dinov2_vit{letter}14",  # the same folder with and without registers
        name=f"dinov2_vit{letter}14_{'reg4_' if registers else ''}pretrain.pth",
        sha256=sha256,
        size=size,
        seen_in=seen_in,
    )
    for letter, registers, sha256, size, seen_in in _PINNED
)
OFFICIAL = MappingProxyType({file.variant: file for file in _FILES})
SHIPPED = OfficialFile(
    "dino3d",
    "",
    "dino3d.safetensors",
    "d8687fba9adc8458bda03ab6850a7c2f1bf8733a02f8162220039ef1574875a0",
    13290200,
    1,
)


def official_file(variant: str) -> OfficialFile:
    """Return the official file of a variant, which may also be given by its file name.

    Raises:
        WeightsError: the variant does not exist.
    """
    for file in OFFICIAL.values():
        if variant in (file.variant, file.name):
            return file
    close = nearest(variant, OFFICIAL)
    remedy = f"did you mean {close}?" if close else ""
    raise WeightsError(
        Fault("unknown variant of DINOv2", variant, expected=", ".join(OFFICIAL), remedy=remedy)
    )


def known_file(variant: str) -> OfficialFile:
    """Return the file that comes along or, as `official_file`, one of DINOv2."""
    return SHIPPED if variant in (SHIPPED.variant, SHIPPED.name) else official_file(variant)
