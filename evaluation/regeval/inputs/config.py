"""What to evaluate: the configuration files of the official Learn2Reg evaluator, read, checked and made.

Keys beyond the official ones: `expected_shape` may be null (each field has the shape of its fixed image), the
name of the task may stand under `name`, as in LUMIR, and `missing_fields` says what becomes of a pair without
a usable field.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from regtask.dataset import Dataset, Split
from regtask.documents import read_json_object
from regtask.errors import DataError, Fault, nearest
from regtask.images import read_header, read_labels
from regtask.pair import Pair

Kind = Literal["sdlogj", "dice", "hd95", "tre", "ndv"]
Points = Literal["landmarks", "keypoints"]
Missing = Literal["refuse", "identity", "worst"]

_VERSION = 0.2
_POINT_NAMES: dict[Points, str] = {"landmarks": "TRE_lm", "keypoints": "TRE_kp"}


@dataclass(frozen=True, slots=True)
class Method:
    """One metric of a configuration.

    Attributes:
        name: what the metrics file calls it.
        kind: what is measured.
        labels: dice and hd95: the labels, in the order of the detailed values.
        points: tre: which points.
    """

    name: str
    kind: Kind
    labels: tuple[int, ...] = ()
    points: Points = "landmarks"


@dataclass(frozen=True, slots=True)
class Config:
    """What is evaluated.

    Attributes:
        task: name of the task.
        methods: the metrics, in the order of the metrics file.
        pairs: the pairs of images, as paths below the folder of the ground truth.
        shape: (I, J, K) of all fields; None takes that of the fixed image.
        masked: whether the regularity of a field is judged within the fixed image's mask.
        complete: whether every pair must have what the methods need; if not, a pair without label maps or
            landmarks has no value there.
        missing: what becomes of a pair whose field is missing or unusable: the submission is refused, or the
            pair is scored by a stand-in, see `regeval.scoring.stand_ins`.
    """

    task: str
    methods: tuple[Method, ...]
    pairs: tuple[Pair, ...]
    shape: tuple[int, ...] | None
    masked: bool
    complete: bool = True
    missing: Missing = "refuse"


def read_config(path: Path, data_dir: Path) -> Config:
    """Read a configuration of the official evaluator.

    Args:
        path: the JSON file.
        data_dir: folder of the ground truth, to which its paths are relative.

    Raises:
        DataError: no file, not JSON, or not a configuration; all faults at once.
    """
    raw = read_json_object(path, "an evaluation configuration")
    faults: list[Fault] = []
    task = str(raw.get("task_name") or raw.get("name") or path.stem)
    methods = _methods(raw.get("evaluation_methods"), str(path), faults)
    shape = _shape(raw.get("expected_shape"), str(path), faults)
    pairs = _pairs(raw.get("eval_pairs"), str(path), data_dir, faults)
    missing = _missing(raw.get("missing_fields", "refuse"), str(path), faults)
    if faults:
        raise DataError(*faults)
    masked = bool(raw.get("masked_evaluation", False))
    return Config(task, methods, pairs, shape, masked, missing=missing)


def config_of(
    dataset: Dataset,
    split: Split = "auto",
    *,
    labels: Sequence[int] | None = None,
    points: Sequence[Points] | None = None,
    masked: bool = False,
    everywhere: bool = False,
    missing: Missing = "refuse",
) -> Config:
    """Make a configuration from a dataset description and what lies beside its images.

    Args:
        dataset: the task.
        split: which pairs.
        labels: the labels to judge; None takes those that the description names or, if it names none, those
            in the label maps of the pairs; an empty sequence judges none.
        points: the points to judge; None takes those that have files.
        masked: whether regularity is judged within the fixed masks.
        everywhere: of what is not given, judge only what every pair has: an official configuration knows no
            pairs without.
        missing: what becomes of a pair whose field is missing or unusable.

    Raises:
        DataError: no pairs, or a label map cannot be read.
    """
    pairs = dataset.pairs(split)
    enough = all if everywhere else any
    if labels is None:
        labels = _labels_of(dataset, pairs) if enough(None not in pair.labels() for pair in pairs) else ()
    if points is None:
        points = [kind for kind in get_args(Points) if enough(_has_points(pair, kind) for pair in pairs)]
    methods = [Method("LogJacDetStd", "sdlogj")]
    if labels:
        methods += [Method("DSC", "dice", tuple(labels)), Method("HD95", "hd95", tuple(labels))]
    methods += [Method(_POINT_NAMES[kind], "tre", points=kind) for kind in points]
    shapes = {read_header(pair.fixed).grid.shape for pair in pairs if pair.fixed.is_file()}
    shape = shapes.pop() if len(shapes) == 1 else None
    return Config(dataset.name, tuple(methods), pairs, shape, masked, complete=False, missing=missing)


def as_official(config: Config, data_dir: Path) -> dict[str, Any]:
    """Return the configuration as the official evaluator reads it.

    Args:
        config: the configuration.
        data_dir: folder of the ground truth.
    """
    content = {
        "task_name": config.task,
        "evaluation_methods": official_methods(config),
        "expected_shape": None if config.shape is None else [*config.shape, 3],
        "eval_config_version": _VERSION,
        "masked_evaluation": config.masked,
        "eval_pairs": [
            {
                "fixed": f"./{pair.fixed.relative_to(data_dir).as_posix()}",
                "moving": f"./{pair.moving.relative_to(data_dir).as_posix()}",
            }
            for pair in config.pairs
        ],
    }
    return content if config.missing == "refuse" else content | {"missing_fields": config.missing}


def official_methods(config: Config) -> list[dict[str, Any]]:
    """Return the metrics as the official configuration describes them."""
    methods: list[dict[str, Any]] = []
    for method in config.methods:
        entry: dict[str, Any] = {"name": method.name, "metric": method.kind}
        if method.kind in ("dice", "hd95"):
            entry["labels"] = list(method.labels)
        if method.kind == "tre":
            entry["dest"] = method.points
        methods.append(entry)
    return methods


def _labels_of(dataset: Dataset, pairs: Iterable[Pair]) -> list[int]:
    maps = [path for pair in pairs for path in pair.labels() if path is not None]
    if not maps:
        return []
    if named := sorted(label for label in dataset.labels if label > 0):
        return named
    found: set[int] = set()
    for path in dict.fromkeys(maps):
        found.update(read_labels(path)[0].ravel().tolist())
    return sorted(label for label in found if label > 0)


def _has_points(pair: Pair, kind: Points) -> bool:
    files = pair.landmarks() if kind == "landmarks" else pair.keypoints()
    return files.fixed is not None and files.moving is not None


def _methods(raw: object, where: str, faults: list[Fault]) -> tuple[Method, ...]:
    if not isinstance(raw, list) or not raw:
        faults.append(Fault("no evaluation methods", where, "a filled list evaluation_methods"))
        return ()
    methods: dict[str, Method] = {}
    for number, entry in enumerate(raw):
        place = f"{where}: evaluation_methods[{number}]"
        method = _method(entry, place, faults)
        if method is None:
            continue
        if method.name in methods or method.name == "num_foldings":
            faults.append(Fault("name used twice", place, "a name of its own", method.name))
        methods[method.name] = method
    return tuple(methods.values())


def _method(entry: object, where: str, faults: list[Fault]) -> Method | None:
    raw = entry if isinstance(entry, dict) else {}
    name = raw.get("name")
    kind: Any = raw.get("metric")
    if not isinstance(name, str) or not name or "." in name:
        faults.append(Fault("metric without a name", where, '"name": a text without dots', str(entry)[:200]))
        return None
    if kind not in get_args(Kind):
        guess = nearest(str(kind), get_args(Kind))
        remedy = f"is {guess!r} meant?" if guess else ""
        faults.append(Fault("unknown metric", where, " or ".join(get_args(Kind)), str(kind), remedy))
        return None
    if kind in ("dice", "hd95"):
        labels = _labels(raw.get("labels"))
        if not labels:
            faults.append(Fault("no labels", where, "a list of whole numbers", str(raw.get("labels"))[:200]))
            return None
        return Method(name, kind, labels)
    if kind == "tre":
        points = raw.get("dest", "landmarks")
        if points not in get_args(Points):
            faults.append(Fault("unknown points", where, " or ".join(get_args(Points)), str(points)))
            return None
        return Method(name, kind, points=points)
    return Method(name, kind)


def _labels(raw: object) -> tuple[int, ...]:
    """Return the labels; the official tool writes those of an explicit list as text."""
    if not isinstance(raw, list):
        return ()
    try:
        return tuple(int(label) for label in raw)
    except (TypeError, ValueError, OverflowError):
        return ()


def _shape(raw: object, where: str, faults: list[Fault]) -> tuple[int, ...] | None:
    if raw is None:
        return None
    sizes = raw if isinstance(raw, list) else []
    if len(sizes) == 4 and sizes[3] == 3 and all(isinstance(size, int) and size > 0 for size in sizes):
        return tuple(sizes[:3])
    faults.append(Fault("impossible expected_shape", where, "[I, J, K, 3]", str(raw)[:200]))
    return None


def _missing(raw: object, where: str, faults: list[Fault]) -> Missing:
    policies: tuple[Missing, ...] = get_args(Missing)
    for policy in policies:
        if raw == policy:
            return policy
    faults.append(Fault("unknown missing_fields", where, " or ".join(policies), str(raw)[:200]))
    return "refuse"


def _pairs(raw: object, where: str, data_dir: Path, faults: list[Fault]) -> tuple[Pair, ...]:
    """Read the pairs as a dataset description does, with its checks of paths and repetitions."""
    dataset = Dataset(f"{where}, eval_pairs as", data_dir, {}, {}, {"registration_val": raw})
    try:
        return dataset.pairs("val")
    except DataError as error:
        faults.extend(error.faults)
        return ()
