"""What a challenge is run by; part of the digest that tells whether a result is still good."""

from dataclasses import dataclass

from regeval.inputs.config import Missing
from regeval.ranking import UNPUBLISHED, Choice
from regeval.scoring.score import Mode
from regtask.dataset import Split
from regtask.errors import DataError, Fault
from regtask.fields import Layout


@dataclass(frozen=True, slots=True)
class Settings:
    """How submissions are judged and ranked.

    Attributes:
        missing: what becomes of a pair without a usable field.
        mode: whose numbers are ranked.
        split: which pairs.
        layout: order of the axes in the files.
        method: how runs are ranked.
        references: names of submissions that are compared but never ranked, such as an affine.
        processes: how many submissions are judged at once, each in a process of its own.
        bootstrap: samples for the intervals of ranks.
        pictures: names of the cases that are drawn, or "all"; none by default.
        pictures_of: names of the submissions that are drawn; all where empty.
    """

    missing: Missing = "worst"
    mode: Mode = "strict"
    split: Split = "auto"
    layout: Layout = "channel_last"
    method: Choice = "auto"
    references: tuple[str, ...] = ()
    processes: int = 1
    bootstrap: int = 1000
    pictures: tuple[str, ...] = ()
    pictures_of: tuple[str, ...] = ()

    def judging(self) -> str:
        """Return what the result of one submission depends on; ranking and pictures are no part of it."""
        return f"missing {self.missing}, mode {self.mode}, split {self.split}, layout {self.layout}"


def refuse_unpublished(settings: Settings) -> None:
    """Refuse a method that cannot be followed, before anything is judged.

    Raises:
        DataError: its rules are not published.
    """
    if settings.method in UNPUBLISHED:
        raise DataError(
            Fault("rules not published", f"--method {settings.method}", got=UNPUBLISHED[settings.method])
        )
