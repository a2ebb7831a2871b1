"""Gates: what a metrics file has to fulfil, such as `DSC.mean>=0.60`."""

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from regtask.errors import DataError, Fault, nearest

_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
# The last operator counts: the name of a pair contains `<--`.
_FORM = re.compile(r"(?P<path>.*[^=<>\s])\s*(?P<operator>>=|<=|==|>|<)\s*(?P<bound>[-+0-9.eE]+)")
_EXPECTED = "PATH, one of >= <= == > <, and a number, such as DSC.mean>=0.6"


@dataclass(frozen=True, slots=True)
class Gate:
    """One requirement.

    Attributes:
        text: as written.
        path: keys of the metrics file; the first may be left out where it is `aggregates`.
        compare: takes the value and the bound.
        bound: what the value is compared with.
    """

    text: str
    path: tuple[str, ...]
    compare: Callable[[float, float], bool]
    bound: float

    @classmethod
    def of(cls, text: str) -> Self:
        """Read a requirement.

        Raises:
            DataError: it has another form.
        """
        match = _FORM.fullmatch(text.strip())
        try:
            bound = float(match["bound"]) if match else math.nan
        except ValueError:
            bound = math.nan
        if match is None or math.isnan(bound):
            raise DataError(Fault("not a requirement", repr(text), _EXPECTED))
        path = tuple(match["path"].split("."))
        return cls(text.strip(), path, _OPERATORS[match["operator"]], bound)

    def failure(self, document: Mapping[str, Any]) -> str | None:
        """Return why the metrics file does not fulfil the requirement, or None if it does.

        Raises:
            DataError: the file has no such number.
        """
        value = self._value(document)
        if value is None or math.isnan(value):
            return f"{self.text}: there is no value"
        return None if self.compare(value, self.bound) else f"{self.text}: it is {value:.6g}"

    def _value(self, document: Mapping[str, Any]) -> float | None:
        start = () if self.path[0] in document else ("aggregates",)
        place: Any = document
        for depth, key in enumerate(keys := (*start, *self.path)):
            if isinstance(place, Mapping) and key in place:
                place = place[key]
            elif isinstance(place, Sequence) and not isinstance(place, str) and _is_index(key, place):
                place = place[int(key)]
            else:
                raise DataError(self._unknown(keys, depth, place))
        if place is not None and (isinstance(place, bool) or not isinstance(place, int | float)):
            expected = f"a number, such as {'.'.join((*self.path, 'mean'))}"
            raise DataError(Fault("not a number", self.text, expected, type(place).__name__))
        return None if place is None else float(place)

    def _unknown(self, keys: Sequence[str], depth: int, place: Any) -> Fault:
        known = list(place) if isinstance(place, Mapping) else []
        guess = nearest(keys[depth], known)
        return Fault(
            f"no {keys[depth]!r} in the metrics",
            self.text,
            f"one of {', '.join(map(str, known[:30]))}" if known else "a shorter path",
            ".".join(keys),
            f"is {guess!r} meant?" if guess else "",
        )


def read_gates(texts: Sequence[str]) -> list[Gate]:
    """Read requirements.

    Raises:
        DataError: some have another form; all are listed.
    """
    gates: list[Gate] = []
    faults: list[Fault] = []
    for text in texts:
        try:
            gates.append(Gate.of(text))
        except DataError as error:
            faults.extend(error.faults)
    if faults:
        raise DataError(*faults)
    return gates


def _is_index(key: str, place: Sequence[Any]) -> bool:
    return key.isascii() and key.isdigit() and int(key) < len(place)
