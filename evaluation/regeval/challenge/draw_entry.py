"""Draw the pictures of one submission. Runs in a process of its own."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path

from regeval.challenge.entries import Entry, unique_name
from regeval.inputs.config import Config
from regeval.inputs.ground_truth import read_truth
from regeval.inputs.submission import Submission, missing_field, opened
from regeval.pictures import draw_case
from regtask.atomic import atomic_write_text
from regtask.errors import DataError
from regtask.fields import Layout
from regtask.pair import Pair

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Drawing:
    """The pictures of one submission to one task, and where they go.

    Attributes:
        entry: the submission.
        config: what was evaluated.
        layout: order of the axes in the files.
        cases: names of the pairs that are drawn.
        key: digest of all that the pictures depend on.
        folder: of the pictures.
        record: file that says which pictures are there, and for which key.
    """

    entry: Entry
    config: Config
    layout: Layout
    cases: tuple[str, ...]
    key: str
    folder: Path
    record: Path

    def file(self, case: str) -> Path:
        """Return the file of a picture."""
        return self.folder / f"{unique_name(case)}.svg"

    def drawn(self) -> set[str]:
        """Return the cases whose pictures are there and still good."""
        try:
            known = json.loads(self.record.read_text(encoding="utf-8"))
            cases = {str(case) for case in known["cases"]} if known["key"] == self.key else set()
        except (OSError, ValueError, KeyError, TypeError):  # of another version, or half written
            cases = set()
        return {case for case in cases if self.file(case).is_file()}


def draw(drawing: Drawing) -> None:
    """Draw what is not there yet; a picture that fails stops no other, and is tried again the next time."""
    done = drawing.drawn()
    if not done:  # what the record names is about to be replaced
        drawing.record.unlink(missing_ok=True)
    with opened(drawing.entry.location) as submission:
        for pair in drawing.config.pairs:
            if pair.case_key not in drawing.cases or pair.case_key in done:
                continue
            try:
                _draw(drawing, submission, pair)
            except Exception as error:
                log.warning("no picture of %s, %s: %s", drawing.entry.name, pair.case_key, error)
                continue
            done.add(pair.case_key)
            record = {"key": drawing.key, "cases": sorted(done)}
            atomic_write_text(drawing.record, json.dumps(record) + "\n")


def _draw(drawing: Drawing, submission: Submission, pair: Pair) -> None:
    name = submission.field_name(pair)
    if name is None:
        raise DataError(missing_field(pair, submission.location))
    truth = read_truth(drawing.config, pair)
    field = submission.read_field(name, truth.shape, drawing.layout)
    atomic_write_text(drawing.file(pair.case_key), draw_case(pair, truth, field))
