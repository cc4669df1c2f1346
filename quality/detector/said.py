"""What people said of anomalies: that they were expected, that they are faults, that this is the new normal.

Append-only: nothing that was said is changed or deleted, and of what was said of one window the newest counts.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from config import schema
from config.schema import Db


class Says(StrEnum):
    """What is said of windows."""

    EXPECTED = "expected"
    """They are normal: no anomaly, and they teach at once."""
    FAULT = "fault"
    """They were wrong, and never teach, also when the incident is over."""
    NORMAL = "normal"
    """From `first` on another level is normal."""


@dataclass(frozen=True, slots=True)
class Said:
    """One thing that one person said once."""

    says: Says
    dataset: str
    scope: str
    first: date
    last: date | None
    """None: that day and all after it."""
    measures: tuple[str, ...]
    """Empty: all."""
    by: str
    at: datetime
    note: str = ""
    incident: str = ""
    """The id of the incident it was said of, if of one."""

    def covers(self, window: date) -> bool:
        """Whether `window` is one of its windows."""
        return self.first <= window and (self.last is None or window <= self.last)

    def document(self) -> dict[str, Any]:
        """As it is kept."""
        first, last = schema.start_of(self.first), schema.start_of(self.last) if self.last else None
        return asdict(self) | {"says": str(self.says), "first": first, "last": last, "measures": list(self.measures)}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Said":
        """What `document` says."""
        last = document["last"].date() if document["last"] else None
        rest = {key: document[key] for key in ("dataset", "scope", "by", "at", "note", "incident")}
        says, measures = Says(document["says"]), tuple(document["measures"])
        return cls(says=says, first=document["first"].date(), last=last, measures=measures, **rest)


def say(db: Db, said: Said) -> None:
    """Keep it. Raises ValueError if it ends before it begins."""
    if said.last is not None and said.last < said.first:
        raise ValueError(f"{said.last} is before {said.first}")
    db[schema.SAID].insert_one(said.document())


def heard(db: Db, dataset: str | None = None, scope: str | None = None) -> list[Said]:
    """All that was said (of `dataset`, of `scope`), the newest last."""
    asked = {"dataset": dataset, "scope": scope}
    where = {key: value for key, value in asked.items() if value is not None}
    return [Said.from_document(one) for one in db[schema.SAID].find(where).sort([("at", 1), ("_id", 1)])]


def about(heard: Iterable[Said], window: date, measure: str | None = None) -> Says | None:
    """Whether `window` is EXPECTED or a FAULT by what was `heard` of its stream, the newest last; None: nobody said.

    measure: of that one; None: of all of them together, by what was said without naming any.
    """
    answer = None
    for said in heard:
        named = not said.measures or measure in said.measures
        if said.says is not Says.NORMAL and named and said.covers(window):
            answer = said.says
    return answer
