"""Two images to register, and the files that belong to them."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from regtask.names import CaseId, case_key
from regtask.untrusted.opening import lies_there

_IMAGES = "images"


class Companions(NamedTuple):
    """Files of one kind beside the two images of a pair; None where nothing has that name.

    What lies there but cannot be read (a folder, a pipe, a link to nothing) is named too: whoever reads it
    says so.
    """

    fixed: Path | None
    moving: Path | None


@dataclass(frozen=True, slots=True)
class Pair:
    """Two images to register, fixed <- moving.

    Companions are found by Learn2Reg's rule: the folder `images..` is replaced by the folder of the kind, the
    file name stays (points: `.csv`). Paths that a dataset description lists for them are not used.
    """

    fixed: Path
    moving: Path
    fixed_id: CaseId
    moving_id: CaseId

    @classmethod
    def of(cls, fixed: Path, moving: Path) -> Self:
        """Make a pair from two image files named `{Task}_{CCCC}_{MMMM}.nii.gz`.

        Raises:
            DataError: a name has another form.
        """
        return cls(fixed, moving, CaseId.of(fixed), CaseId.of(moving))

    @property
    def case_key(self) -> str:
        """Name of the pair in metrics files, such as `0001_0000<--0001_0001`."""
        return case_key(self.fixed_id, self.moving_id)

    def labels(self) -> Companions:
        """Return the label maps that lie on disk."""
        return Companions(_beside(self.fixed, "labels"), _beside(self.moving, "labels"))

    def masks(self) -> Companions:
        """Return the masks that lie on disk.

        Masks of test images are looked for among the training masks too, where NLST has published some.
        """
        return Companions(_mask(self.fixed), _mask(self.moving))

    def keypoints(self) -> Companions:
        """Return the csv files of automatic key points that lie on disk."""
        return self._points("keypoints")

    def landmarks(self) -> Companions:
        """Return the csv files of manual landmarks that lie on disk."""
        return self._points("landmarks")

    def _points(self, kind: str) -> Companions:
        """Take both files from one folder: rows correspond within a folder only."""
        candidates = [
            Companions(_beside(self.fixed, folder, ".csv"), _beside(self.moving, folder, ".csv"))
            for folder in self._point_folders(kind)
        ]
        return max(candidates, key=lambda files: sum(file is not None for file in files))

    def _point_folders(self, kind: str) -> tuple[str, ...]:
        """Folders of points in the order in which the official evaluators prefer them.

        An image in several pairs has points for each: ThoraxCBCT keeps those between modalities 1 and 0 in
        `keypoints01Tr`, the evaluator of 2025 looks in `keypoints00000001Tr`.
        """
        low, high = sorted((self.fixed_id.modality, self.moving_id.modality))
        if low == high:
            return (kind,)
        numbered = (f"{kind}{int(low)}{int(high)}", f"{kind}{low}{high}")
        if (self.fixed_id.modality, self.moving_id.modality) == ("0000", "0001"):
            return (kind, *numbered)
        return (*numbered, kind)


def _beside(image: Path, kind: str, suffix: str = "") -> Path | None:
    """Return what lies under the name of a kind beside an image in `images..`, or None."""
    folder = image.parent.name
    if not folder.startswith(_IMAGES):
        return None
    name = image.name.removesuffix(".gz").removesuffix(".nii") + suffix if suffix else image.name
    path = image.parent.with_name(kind + folder.removeprefix(_IMAGES)) / name
    return path if lies_there(path) else None


def _mask(image: Path) -> Path | None:
    if image.parent.name != "imagesTs":
        return _beside(image, "masks")
    return _beside(image, "masks") or _beside(image.parent.with_name("imagesTr") / image.name, "masks")
