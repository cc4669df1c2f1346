"""What is remembered of a job between two sweeps, small enough for the ledger. Pure."""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final
from zlib import crc32

KNOWN_MOST: Final = 50_000
"""Builds of one unit that are remembered one by one: 8 bytes each, in a document that may have 16 MB."""
_LOST_MOST: Final = 50
_PAIR: Final = struct.Struct("<II")

REMOVED: Final = "removed"
MOVED: Final = "moved"
"""It has another name now."""

RUNNING, OTHER, UNSTABLE, SUCCESS = range(4)
"""What the last two bits of a print say."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Builds that were gone before anybody saw them, and the time in which they were finished, if they were."""

    start: int
    """Epoch seconds, as is `end`."""
    end: int
    first: int
    """The lowest and the highest number."""
    last: int
    count: int
    """0: nobody can tell whether there were any."""


@dataclass(frozen=True, slots=True)
class State:
    """Of one job."""

    name: str
    seen: int = 1
    """All builds of lower numbers were handed over, were gone, or are too old."""
    until: int | None = None
    """Until when (epoch seconds, our clock) all was seen by the last sweep that succeeded."""
    cut: int = 1
    """Builds from this number on are compared with what is known of them; and those that were running."""
    known: Mapping[int, int] = field(default_factory=dict)
    """Number -> print of the builds that are there, from `cut` on or running."""
    pending: Mapping[int, int] = field(default_factory=dict)
    """Number -> epoch seconds when it was first looked for: a number that was given, and has no build yet."""
    lost: tuple[Lost, ...] = ()
    anchor: tuple[int, int] | None = None
    """Number and timestamp of a finished build: where the two part, the job is another one of the same name."""
    again: bool = False
    """All is being handed over once more, as payloads are made otherwise now."""
    gone: str = ""
    """REMOVED or MOVED: the job was there, and is no longer, as far as can be proven."""
    name_now: str = ""
    """Where its builds are listed now; until all of them were handed over there, what was said here stands."""
    handed: int = 1
    """Builds of lower numbers may have been handed over, though `seen` began anew since."""

    def document(self, since: int) -> dict[str, Any]:
        """As it is kept; builds below `since` need not be compared any more."""
        known = {number: seal for number, seal in self.known.items() if number >= since or seal == RUNNING}
        return {
            "name": self.name, "seen": self.seen, "until": self.until, "cut": max(self.cut, since),
            "known": b"".join(_PAIR.pack(*pair) for pair in sorted(known.items())),
            "pending": [list(pair) for pair in sorted(self.pending.items())],
            "lost": [[one.start, one.end, one.first, one.last, one.count] for one in self.lost],
            "anchor": None if self.anchor is None else list(self.anchor),
            "again": self.again, "gone": self.gone, "name_now": self.name_now, "handed": self.handed,
        }  # fmt: skip


def state_of(document: Mapping[str, Any]) -> State:
    """The state that `document` was made of."""
    anchor = document["anchor"]
    return State(
        document["name"], document["seen"], document["until"], document["cut"],
        {number: seal for number, seal in _PAIR.iter_unpack(bytes(document["known"]))},  # noqa: C416 - typed so
        {number: at for number, at in document["pending"]},  # noqa: C416 - lists, not tuples
        tuple(Lost(*one) for one in document["lost"]),
        None if anchor is None else (anchor[0], anchor[1]), document["again"], document["gone"],
        document.get("name_now", ""), document.get("handed", 1),
    )  # fmt: skip


def documents(states: Iterable[State]) -> list[dict[str, Any]]:
    """Of all jobs of a unit: the newest builds of each, of which so many are remembered that it fits."""
    listed = list(states)
    most = KNOWN_MOST // max(len(listed), 1) if sum(len(one.known) for one in listed) > KNOWN_MOST else KNOWN_MOST
    return [one.document(sorted(one.known)[-most] if len(one.known) > most else 0) for one in listed]


def seal_of(build: Mapping[str, Any]) -> int:
    """The print of a build: changes whenever its state does. 0 while it is running."""
    if build.get("building") is True:
        return RUNNING
    result = build.get("result")
    kind = {"SUCCESS": SUCCESS, "UNSTABLE": UNSTABLE}.get(str(result), OTHER)
    return crc32(f"{build.get('timestamp')}:{build.get('duration')}:{result}".encode()) & ~3 | kind


def outcome(seal: int) -> int:
    """RUNNING, OTHER, UNSTABLE or SUCCESS."""
    return seal & 3


def with_lost(lost: tuple[Lost, ...], new: Lost) -> tuple[Lost, ...]:
    """`lost` and `new`, which becomes one with what was said of the same numbers for some of the same time.

    Where they become many, the two that lie nearest together become one.
    """
    same = [
        one
        for one in lost
        if (one.first, one.last) == (new.first, new.last) and one.start < new.end and new.start < one.end
    ]
    whole = replace(
        new, start=min([new.start, *(one.start for one in same)]), end=max([new.end, *(one.end for one in same)])
    )
    found = sorted([*(one for one in lost if one not in same), whole], key=lambda one: (one.start, one.end))
    while len(found) > _LOST_MOST:
        at = min(range(len(found) - 1), key=lambda index: found[index + 1].start - found[index].end)
        one, other = found[at : at + 2]
        found[at : at + 2] = [
            Lost(
                one.start, max(one.end, other.end), min(one.first, other.first), max(one.last, other.last),
                one.count + other.count,
            )
        ]  # fmt: skip
    return tuple(found)


def seconds(at: datetime) -> int:
    """Epoch seconds, rounded down."""
    return int(at.timestamp())
