"""Names of a submission's files: missing, surplus, and which evaluator accepts them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from regeval.inputs.submission import SUFFIXES, Submission, accepted_names
from regtask.errors import Fault
from regtask.names import field_name_long, field_name_short, field_names
from regtask.pair import Pair

# What official evaluators look for; the reader of this package takes uncompressed files too.
_OFFICIAL_SUFFIXES = (".npz", ".nii.gz")
_MAX_NAMED = 5


@dataclass(frozen=True, slots=True)
class Naming:
    """What the file names say.

    Attributes:
        faults: why fields will not be found.
        notes: what is worth knowing.
        fields: pair -> name of its file, for every pair whose field can be read, even under a wrong name.
    """

    faults: tuple[Fault, ...]
    notes: tuple[str, ...]
    fields: dict[Pair, str]


def check_names(pairs: Sequence[Pair], submission: Submission) -> Naming:
    """Compare the files of a submission with those that a task demands."""
    faults: list[Fault] = list(submission.faults)
    fields: dict[Pair, str] = {}
    used: set[str] = set()
    old_evaluator: list[str] = []
    for pair in pairs:
        candidates = [name for name in _all_names(pair) if name in submission.files]
        used.update(candidates)
        if not candidates:
            expected = field_name_long(pair.fixed_id, pair.moving_id)
            faults.append(Fault("missing file", f"field of {pair.case_key}", expected))
            continue
        fields[pair] = candidates[0]
        faults.extend(_name_faults(pair, candidates))
        demanded = field_names(pair.fixed_id, pair.moving_id, "2024")[0]
        if not any(_stem(name) == _stem(demanded) for name in candidates):
            old_evaluator.append(demanded)
    faults.extend(_surplus(pairs, submission, used))
    notes = []
    inner = sorted({path.rpartition("/")[0] for path in submission.files.values()} - {""})
    if inner and fields:
        notes.append(
            f"the fields lie in the folder {inner[0]!r}: `regeval evaluate` reads them there, the evaluators "
            "of Learn2Reg only at the top; pack the files themselves to please both"
        )
    if old_evaluator:
        more = f" and {len(old_evaluator) - 1} more" if len(old_evaluator) > 1 else ""
        notes.append(
            f"the evaluator of August 2024 would ask for {old_evaluator[0]}{more}; that of 2025 does not"
        )
    if other := sorted(name for name in submission.files if not name.endswith(SUFFIXES)):
        notes.append(f"no fields, ignored by evaluators: {_some(other)}")
    return Naming(tuple(faults), tuple(notes), fields)


def _all_names(pair: Pair) -> tuple[str, ...]:
    """Every name that a field of the pair may have, accepted or not, the best first."""
    short = _stem(field_name_short(pair.fixed_id, pair.moving_id))
    return tuple(dict.fromkeys((*accepted_names(pair), *(short + suffix for suffix in SUFFIXES))))


def _name_faults(pair: Pair, names: Sequence[str]) -> Iterable[Fault]:
    long, short = (_stem(make(pair.fixed_id, pair.moving_id)) for make in (field_name_long, field_name_short))
    stems = {_stem(name) for name in names}
    modalities = (pair.fixed_id.modality, pair.moving_id.modality)
    if stems == {short} and modalities != ("0000", "0001"):
        expected = f"{long}.nii.gz"
        remedy = "the short name is accepted for modalities 0000 and 0001 only; rename"
        if modalities[0] == modalities[1]:
            remedy = "only the evaluator of August 2024 and before accepts the short name here; rename"
        yield Fault("short name where the long one is due", pair.case_key, expected, names[0], remedy)
    for stem in sorted(stems):
        suffixes = [name.removeprefix(stem) for name in names if _stem(name) == stem]
        if len(suffixes) > 1:
            got = " and ".join(stem + suffix for suffix in suffixes)
            yield Fault("two files for one field", pair.case_key, "one file", got, f"{suffixes[0]} is read")
        if not set(suffixes) & set(_OFFICIAL_SUFFIXES):
            yield Fault("file not found by official evaluators", stem + suffixes[0], f"{stem}.nii.gz")


def _surplus(pairs: Sequence[Pair], submission: Submission, used: set[str]) -> Iterable[Fault]:
    turned = {
        _stem(make(pair.moving_id, pair.fixed_id)): pair
        for pair in pairs
        for make in (field_name_long, field_name_short)
    }
    for name in sorted(submission.files):
        if name in used or not name.endswith(SUFFIXES):
            continue
        pair = turned.get(_stem(name))
        expected, remedy = (
            "fields of the pairs of this split only",
            "remove it, or check that the split is the right one",
        )
        if pair is not None:
            expected = field_name_long(pair.fixed_id, pair.moving_id)
            remedy = "the fixed image comes first; rename"
        yield Fault("surplus file", name, expected, remedy=remedy)


def _stem(name: str) -> str:
    return next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), name)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return ", ".join(names[:_MAX_NAMED]) + more
