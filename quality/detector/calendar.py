"""What is known of days in advance: public holidays, announced breaks and changes, and what people said is normal."""

from collections.abc import Iterable
from datetime import date, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Final

from config.detector import Detector, Event
from quality.detector.panel import Change
from quality.detector.said import Said, Says

BRIDGE: Final = timedelta(days=7)
"""Holidays that are no farther apart make the days between them holidays too."""


def holidays(detector: Detector, dataset: str, scope: str, days: tuple[date, date]) -> frozenset[date]:
    """The days in [first, last) that are known not to be like others: public holidays, and announced breaks."""
    first, last = days
    known = _bridged(_public(detector.country, detector.subdivision, first.year - 1, last.year + 1))
    breaks = [one for one in detector.events if one.kind == "break" and one.is_of(dataset, scope)]
    off = {day for one in breaks for day in _days(one)}
    return frozenset(day for day in known | off if first <= day < last)


def changes(detector: Detector, dataset: str, scope: str, heard: Iterable[Said]) -> tuple[Change, ...]:
    """From when on which measures have another level: as announced, and as was said; in order of time."""
    announced = [Change(one.start) for one in detector.events if one.kind == "change" and one.is_of(dataset, scope)]
    told = [Change(one.first, frozenset(one.measures) or None) for one in heard if one.says is Says.NORMAL]
    return tuple(sorted({*announced, *told}, key=lambda one: (one.day, sorted(one.measures or ()))))


def _bridged(public: frozenset[date]) -> frozenset[date]:
    """`public`, the days between two of them at most BRIDGE days apart, and the eve of the first.

    From Christmas to New Year hardly anybody works, though most of these days are no public holidays.
    """
    days = sorted(public)
    near = [(one, other) for one, other in pairwise(days) if other - one <= BRIDGE]
    between = {one + timedelta(days=n) for one, other in near for n in range(1, (other - one).days)}
    return public | between | {day - timedelta(days=1) for day in days}


def _days(event: Event) -> Iterable[date]:
    return (event.start + timedelta(days=n) for n in range(((event.end or event.start) - event.start).days + 1))


@lru_cache(maxsize=8)
def _public(country: str | None, subdivision: str | None, first: int, last: int) -> frozenset[date]:
    """The public holidays of the years from `first` to `last`."""
    if country is None:
        return frozenset()
    import holidays as package  # noqa: PLC0415 - takes 0.15 s, and few configurations need it

    return frozenset(package.country_holidays(country, subdiv=subdivision, years=range(first, last + 1)))
