"""The files of weights that this project knows by their digest. No torch here.

Meta publishes no digests of its `.pth` files. The ones below were compared, on 2026-11-21, with those that
other public projects state for the same file names; `seen_in` says in how many such files. Likewise, on
2026-11-30, those of `model.safetensors` in the folders that Meta publishes on Hugging Face; for two of them
no two sources were found, so none is pinned.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from dinoreg.errors import WeightsError
from regtask.errors import Fault, nearest

_BASE_URL = "https://dl.fbaipublicfiles.com/dinov2"


@dataclass(frozen=True, slots=True)
class OfficialFolder:
    """A model as Meta publishes it on Hugging Face (Apache-2.0).

    Attributes:
        name: of the repository, with its owner.
        sha256: of its `model.safetensors`; None where it is not known.
        seen_in: as for `OfficialFile`.
    """

    name: str
    sha256: str | None = None
    seen_in: int = 0


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
        folder: the same model on Hugging Face.
    """

    variant: str
    model: str
    name: str
    sha256: str
    size: int | None
    seen_in: int
    folder: OfficialFolder | None = None

    @property
    def digests(self) -> tuple[str, ...]:
        """Every digest under which the weights are the official ones."""
        folder = self.folder.sha256 if self.folder else None
        return (self.sha256, folder) if folder else (self.sha256,)

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
_FOLDERS = {
    ("s", ""): OfficialFolder(
        "facebook/dinov2-small", "ae1e99fcefd534ed978cdeb8326f08030c96e28b7a81ffcbc98a857c84d14be1", 10
    ),
    ("s", "reg"): OfficialFolder("facebook/dinov2-with-registers-small"),
    ("b", ""): OfficialFolder(
        "facebook/dinov2-base", "d73036b56966966d07975d696bde331762f37297e2f095de8cea0040c3aa0841", 10
    ),
    ("b", "reg"): OfficialFolder(
        "facebook/dinov2-with-registers-base",
        "7a6f7b3b9fa4b8732e707476a03cd6cdce210048582f21aafb7991c17d98e362",
        9,
    ),
    ("l", ""): OfficialFolder(
        "facebook/dinov2-large", "399fba97a95f22c36834418bc69373364a99af3a1153da1c0fb31db567c92e23", 10
    ),
    ("l", "reg"): OfficialFolder(
        "facebook/dinov2-with-registers-large",
        "edccedab2c4e164e80833096de89a32a6e8d7365870499a066a61dbc8894b42b",
        9,
    ),
    ("g", ""): OfficialFolder(
        "facebook/dinov2-giant", "917d3c470db999d32a312f8542149be91c7cbac61ee8fb4b67ae3d82b79ce21f", 9
    ),
    ("g", "reg"): OfficialFolder("facebook/dinov2-with-registers-giant"),
}
_FILES = (
    OfficialFile(
        variant=f"vit{letter}14-reg" if registers else f"vit{letter}14",
        model=f"dinov2_vit{letter}14",  # the same folder with and without registers
        name=f"dinov2_vit{letter}14_{'reg4_' if registers else ''}pretrain.pth",
        sha256=sha256,
        size=size,
        seen_in=seen_in,
        folder=_FOLDERS[letter, registers],
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
