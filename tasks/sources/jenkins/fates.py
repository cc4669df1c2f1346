"""Why a build is no longer there: it was deleted by somebody, or discarded because others are newer. Pure.

Jenkins discards the oldest builds of a job, but never one that somebody keeps, that is running, or that is the last
successful or the last stable one. So where an older build is there for none of these reasons, this one was deleted.
Where none is, nobody can tell, and it counts as discarded: what happened has happened, and its row stays.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from tasks.sources.jenkins.listing import Brief, Listing
from tasks.sources.jenkins.state import RUNNING, SUCCESS, UNSTABLE, outcome

_RACE_MS: Final = 600_000
"""Within ten minutes of a success, the one before it, that was the last until then, has been discarded too."""
_EDGE: Final = 50
_SPREAD: Final = 100


class Fate(StrEnum):
    """What became of a build."""

    DELETED = "deleted"
    DISCARDED = "discarded"
    OPEN = "open"
    """It can only be told later."""


def fate(gone: int, listing: Listing, now_ms: int) -> Fate:
    """Of build number `gone`, which answers 404."""
    lower = [one for one in listing.builds.values() if one.number < gone and _may_be_discarded(one, listing)]
    if not lower:
        return Fate.DISCARDED
    if listing.success_ms is not None and now_ms - listing.success_ms < _RACE_MS:
        was_pinned = {
            max((one.number for one in lower if outcome(one.seal) in results), default=0)
            for results in ((SUCCESS,), (SUCCESS, UNSTABLE))
        }
        if all(one.number in was_pinned for one in lower):
            return Fate.OPEN
    return Fate.DELETED


def is_young(missed: int, listing: Listing, now_ms: int) -> bool:
    """Whether the number may have been given to a build that is only just beginning, and is not there yet."""
    return not any(
        one.number > missed and one.timestamp is not None and now_ms - one.timestamp > _RACE_MS
        for one in listing.builds.values()
    )


def probes(first: int, last: int) -> list[int]:
    """Which numbers of a gap to ask for: all of a small one; of a large one its edges, and others evenly."""
    if last - first < 2 * _EDGE + _SPREAD:
        return list(range(first, last + 1))
    edges = {*range(first, first + _EDGE), *range(last - _EDGE + 1, last + 1)}
    return sorted(edges | {first + (last - first) * step // _SPREAD for step in range(_SPREAD)})


def gaps(there: Iterable[int], first: int, last: int) -> list[tuple[int, int]]:
    """First and last of each run of numbers from `first` to `last` that are not `there`, ascending."""
    runs: list[tuple[int, int]] = []
    at = first
    for one in sorted(one for one in there if first <= one <= last):
        if one > at:
            runs.append((at, one - 1))
        at = one + 1
    return [*runs, (at, last)] if at <= last else runs


def _may_be_discarded(one: Brief, listing: Listing) -> bool:
    return not one.keep and one.seal != RUNNING and one.number not in listing.pinned
