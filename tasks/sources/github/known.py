"""Which entities were met, packed for a cursor: what was deleted is told by comparison with what is listed. Pure."""

import json
import zlib
from collections.abc import Iterable
from typing import Final, NamedTuple

MOST: Final = 50_000
"""Of one stream; of more the newest are kept."""
UNREAD: Final = -1
"""State of what was met, and is to be handed over again however it is."""


class Seen(NamedTuple):
    """One entity as it was met last."""

    at: int
    """By which it is listed: when it was created or updated, epoch seconds."""
    state: int
    """When it was updated, or a fingerprint: another one means that it has changed. `UNREAD`, or if it is gone the time
    of its tombstone, negative."""

    @property
    def gone_since(self) -> int | None:
        """The time of its tombstone; None if it is there."""
        return -self.state if self.state < UNREAD else None


class Known:
    """Entities by number."""

    def __init__(self, packed: bytes | None = None) -> None:
        self._seen: dict[int, Seen] = _unpacked(packed) if packed else {}

    def __len__(self) -> int:
        """How many."""
        return len(self._seen)

    def get(self, number: int) -> Seen | None:
        """As it was met last."""
        return self._seen.get(number)

    def put(self, number: int, at: int, state: int) -> None:
        """It was met."""
        self._seen[number] = Seen(at, state)

    def bury(self, number: int, when: int) -> None:
        """It is gone, and has a tombstone of this time: should it come back, it is to be newer than that."""
        self._seen[number] = Seen(self._seen[number].at if number in self._seen else when, -when)

    def unread(self) -> "Known":
        """The same entities, none of which is known as it is now."""
        for number, seen in self._seen.items():
            if seen.gone_since is None:
                self._seen[number] = Seen(seen.at, UNREAD)
        return self

    def missing(self, present: Iterable[int], since: float) -> list[int]:
        """Those that are listed at or after `since`, and are not `present`; in order."""
        there = set(present)
        return sorted(
            number
            for number, seen in self._seen.items()
            if seen.at >= since and number not in there and seen.gone_since is None
        )

    def packed(self, since: float) -> bytes:
        """Those that are listed at or after `since`, the newest `MOST` at most."""
        kept = [(number, *seen) for number, seen in self._seen.items() if seen.at >= since]
        if len(kept) > MOST:
            kept = sorted(kept, key=lambda one: one[1])[-MOST:]
        kept.sort()
        rows, last = [], 0
        for number, at, state in kept:
            rows.append((number - last, at, state - at))
            last = number
        return zlib.compress(json.dumps(rows, separators=(",", ":")).encode())


def _unpacked(packed: bytes) -> dict[int, Seen]:
    found, number = {}, 0
    for step, at, more in json.loads(zlib.decompress(packed)):
        number += step
        found[number] = Seen(at, at + more)
    return found
