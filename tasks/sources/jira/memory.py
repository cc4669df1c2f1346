"""What is remembered of a project between two sweeps. Pure.

The ids of the issues that were updated in the last days, each with the time of its update: what of them is no longer
listed has gone, and what is listed and not among them has been missed.
"""

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

MOST: Final = 50_000
"""Issues of which so much is remembered; 16 bytes each before compression, in a document that may have 16 MB."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PAIR: Final = struct.Struct(">Qq")


@dataclass(slots=True)
class Memory:
    """Of one project. Times are milliseconds since the epoch, in Jira's clock unless said otherwise."""

    reads: str
    """What is asked for and how it is kept, as a digest: all is read anew when that changes."""
    until: int | None = None
    """Until when everything was seen; None before the first whole sweep."""
    position: int | None = None
    """From where a sweep that broke off goes on."""
    zone: str = ""
    """In which Jira reads times, as it said itself."""
    zone_asked: int | None = None
    """When it said so, by our clock."""
    zone_from: int | None = None
    """Until when everything had been seen then."""
    rechecked: int = 0
    """When all that is known was last compared with what is listed, by our clock."""
    known_from: int = 0
    known: dict[int, int] = field(default_factory=dict)
    """Id -> time of its update; none from before `known_from`."""
    newest: tuple[int, int] | None = None
    """The issue that was updated last, however long ago: each search must show it, or it has gone."""
    gone: dict[int, int] = field(default_factory=dict)
    """Id -> when it was found to have gone, by our clock."""
    absent: dict[int, int] = field(default_factory=dict)
    """Of those that seem to have gone all at once: id -> when that was first said of it, by our clock."""
    spoilt: bool = False
    """There were records that could not be read: everything is read again, at most once a day because of that."""
    anew: int = 0
    """When everything was last read again because of that, by our clock."""

    @classmethod
    def from_cursor(cls, cursor: Mapping[str, Any] | None, reads: str) -> Self:
        """As `cursor` tells; of one that was made by other reading only what is known, so that it can be compared."""
        if cursor is None:
            return cls(reads)
        told = dict(cursor)
        newest = told.get("newest")
        told |= {
            "known": _unpacked(told["known"]), "gone": _unpacked(told["gone"]),
            "absent": _unpacked(told["absent"]) if "absent" in told else {},
            "newest": (newest[0], newest[1]) if newest else None,
        }  # fmt: skip
        found = cls(**told)
        return found if told["reads"] == reads else cls(reads, **found.remains())

    def cursor(self) -> dict[str, Any]:
        """As it is kept in the ledger."""
        told = {name: getattr(self, name) for name in self.__slots__}
        newest = list(self.newest) if self.newest else None
        packed = {name: _packed(getattr(self, name)) for name in ("known", "gone", "absent")}
        return {**told, **packed, "newest": newest}

    def remains(self) -> dict[str, Any]:
        """What to keep where everything is read again: which issues there were, but in no state that still counts."""
        known = {one: at - 1 for one, at in self.known.items()}
        return {"known": known, "known_from": self.known_from - 1, "gone": self.gone}

    def has(self, number: str, at: datetime) -> bool:
        """Whether the issue is known in the state that it took at `at`."""
        pair = int(number), millis(at)
        return self.known.get(pair[0]) == pair[1] or self.newest == pair

    def note(self, number: str, at: datetime) -> None:
        """The issue was handed over in the state that it took at `at`."""
        one, moment = int(number), millis(at)
        if moment >= self.known_from:
            self.known[one] = moment
        if self.newest is None or moment >= self.newest[1]:
            self.newest = one, moment
        self.gone.pop(one, None)

    def drop(self, number: int, now: datetime) -> None:
        """The issue has gone."""
        self.known.pop(number, None)
        if self.newest is not None and self.newest[0] == number:
            self.newest = max(((one, at) for one, at in self.known.items()), key=lambda pair: pair[1], default=None)
        self.gone[number] = millis(now)

    def since(self, start: datetime) -> dict[int, int]:
        """What is known to have been updated since."""
        begin = millis(start)
        found = {one: at for one, at in self.known.items() if at >= begin}
        return found | ({self.newest[0]: self.newest[1]} if self.newest and self.newest[1] >= begin else {})

    def listed_from(self, now: datetime, remembered: timedelta) -> datetime:
        """From when on all must be listed, so that also what has gone lately is found if it comes back as it was."""
        lately = [at for at in self.gone.values() if at >= millis(now - remembered)]
        known_from = moment(self.known_from)
        return min(known_from, moment(min(lately)) - remembered) if lately else known_from

    def forget(self, before: datetime) -> None:
        """What was updated before, and beyond `MOST` what was updated first."""
        self.known_from = max(self.known_from, millis(before))
        if len(self.known) > MOST:
            times = sorted(self.known.values(), reverse=True)
            self.known_from = max(self.known_from, times[MOST] + 1)
        self.known = {one: at for one, at in self.known.items() if at >= self.known_from}
        if len(self.gone) > MOST:
            self.gone = dict(sorted(self.gone.items(), key=lambda pair: pair[1])[-MOST:])


def millis(at: datetime) -> int:
    """Since the epoch; Jira's times have no more."""
    return (at - _EPOCH) // timedelta(milliseconds=1)


def moment(milliseconds: int) -> datetime:
    """What `millis` was made of."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def _packed(pairs: Mapping[int, int]) -> bytes:
    return zlib.compress(b"".join(_PAIR.pack(*pair) for pair in sorted(pairs.items())))


def _unpacked(packed: bytes) -> dict[int, int]:
    return dict(_PAIR.iter_unpack(zlib.decompress(packed)))
