"""What became of one submission, kept on disk so that it need not be judged again."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from regtask.atomic import atomic_write_text
from regtask.errors import Fault


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one submission to one task.

    Attributes:
        key: digest of the submission, the task, the settings and the evaluator.
        name: of the team.
        handed_in: name of the folder or archive.
        scored: whether there is a metrics file.
        refused: why it was not scored; empty if it was.
        faults: what the check found; a scored submission may have some.
        notes: what else it found.
        verdict: the check in one line; empty if it was not possible.
        stand_ins: pair -> why it had no usable field, of those scored without.
        sizes: rows (kind of evidence, as submitted, no displacement) of the check.
    """

    key: str
    name: str
    handed_in: str
    scored: bool
    refused: tuple[Fault, ...] = ()
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()
    verdict: str = ""
    stand_ins: dict[str, str] = field(default_factory=dict)
    sizes: tuple[tuple[str, float, float], ...] = ()

    @property
    def reason(self) -> str:
        """Why it is not scored, in one line; empty if it is."""
        if self.scored or not self.refused:
            return ""
        more = f" (and {len(self.refused) - 1} more)" if len(self.refused) > 1 else ""
        return f"{self.refused[0]}{more}"


def write_outcome(path: Path, outcome: Outcome) -> None:
    """Write an outcome, whole or not at all."""
    atomic_write_text(path, json.dumps(asdict(outcome), indent=1) + "\n")


def read_outcome(path: Path) -> Outcome | None:
    """Return the outcome in a file; None where there is none that could be used."""
    try:
        raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Outcome(
            key=str(raw["key"]),
            name=str(raw["name"]),
            handed_in=str(raw["handed_in"]),
            scored=bool(raw["scored"]),
            refused=_faults(raw["refused"]),
            faults=_faults(raw["faults"]),
            notes=tuple(map(str, raw["notes"])),
            verdict=str(raw["verdict"]),
            stand_ins={str(case): str(why) for case, why in raw["stand_ins"].items()},
            sizes=tuple((str(kind), float(one), float(zero)) for kind, one, zero in raw["sizes"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # of another version, or half written
        return None


def _faults(raw: Sequence[dict[str, str]]) -> tuple[Fault, ...]:
    return tuple(Fault(**one) for one in raw)
