"""Which windows are known, or feared, to be wrong, and so teach the detector nothing."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Final, NamedTuple

from config import schema
from config.schema import Db
from config.settings import Settings
from quality.detector.recorded import Days, Name, doubt, within
from quality.detector.said import Said, heard
from quality.quarantine import State

_KINDS: Final = ("finding", "receipt", "anomaly")
"""Kinds of incidents that say that a window's numbers are wrong; see `alerting.reports.Kind`."""
_RECEIPT, _CRITICAL = "receipt", "critical"
APART: Final = 7
"""Failing windows that are so many days apart are not one stretch."""


class Known(NamedTuple):
    """What is known of the windows of one stream."""

    still_open: frozenset[date] = frozenset()
    """They may still grow."""
    doubted: frozenset[date] = frozenset()
    """Not proven to be whole, or rows are set aside."""
    wrong: frozenset[date] = frozenset()
    """An incident about them is open, and has not become the new normal."""
    heard: Sequence[Said] = ()
    """What people said of them, the newest last."""


def known(db: Db, settings: Settings, days: Days) -> dict[Name, Known]:
    """What is known of the windows in [first, last) of all streams that there is something to say of."""
    doubted = doubt(db, settings, days)
    aside = _aside(db, days)
    wrong = _wrong(db, settings.detector.learn_shift_after)
    told: dict[Name, list[Said]] = defaultdict(list)
    for one in heard(db):
        told[Name(one.dataset, one.scope)].append(one)
    return {
        name: Known(
            frozenset(doubted.still_open.get(name, ())),
            frozenset(doubted.unproven.get(name, set()) | aside.get(name, set())),
            frozenset(wrong.get(name, ())),
            told.get(name, ()),
        )
        for name in {*doubted.still_open, *doubted.unproven, *aside, *wrong, *told}
    }


def lasting(windows: Iterable[date], learn_after: int) -> set[date]:
    """Those of `windows` that are part of a stretch of at least `learn_after`: it is the new normal by now."""
    return {window for stretch in stretches(windows, APART) if len(stretch) >= learn_after for window in stretch}


def stretches(windows: Iterable[date], apart: int) -> list[list[date]]:
    """`windows` in order, cut wherever two that follow one another are more than `apart` days apart."""
    found: list[list[date]] = []
    for window in sorted(windows):
        if found and (window - found[-1][-1]).days <= apart:
            found[-1].append(window)
        else:
            found.append([window])
    return found


def _aside(db: Db, days: Days) -> dict[Name, set[date]]:
    """Windows of which rows are set aside."""
    match = {"state": str(State.OPEN), "dataset": {"$type": "string"}, **within("window", days)}
    group = {"_id": {"dataset": "$dataset", "scope": "$origin", "window": "$window"}}
    found: dict[Name, set[date]] = defaultdict(set)
    for one in db[schema.QUARANTINE].aggregate([{"$match": match}, {"$group": group}]):
        of = one["_id"]
        found[Name(of["dataset"], of["scope"])].add(of["window"].date())
    return found


def _wrong(db: Db, learn_after: int) -> dict[Name, set[date]]:
    """Windows that open incidents are about.

    What fails for so long that it is the new normal teaches again, unless it is critical by a rule, or unproven.
    """
    fields = {"kind": 1, "severity": 1, "key": 1, "failing": 1}
    found: dict[Name, set[date]] = defaultdict(set)
    for one in db[schema.INCIDENTS].find({"open": True, "kind": {"$in": _KINDS}}, fields):
        failing = {date.fromisoformat(window) for window in one["failing"] if window}
        stays = one["kind"] == _RECEIPT or (one["kind"] != "anomaly" and one["severity"] == _CRITICAL)
        found[Name(one["key"]["dataset"], one["key"]["scope"])] |= (
            failing if stays else failing - lasting(failing, learn_after)
        )
    return found
