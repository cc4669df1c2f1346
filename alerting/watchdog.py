"""The watchdog finds what never happened: windows that were not complete by their deadline.

It asks the ledger, not the runs: whatever kept a window from being complete (a cron job that is gone, a run that was
killed, a machine that is off), nobody has to say so. To look again is to say the same: a report is dated by the
deadline that was missed, and a window that is complete by now mends itself.

A dataset is held to its schedule from the first look on: the newest window that is due then is the first (`META`). So
what is older calls nobody, a backfill of old windows never makes newer ones due, and a scope that comes later is held
to the deadlines that come after it. A scope that nothing feeds any more is held to none, unless the schedule names it.
"""

import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from pymongo.errors import DuplicateKeyError

from alerting import completeness, configured, deadlines, impact
from alerting.configured import Configured
from alerting.deadlines import LOOK_BACK, expected, next_deadline
from alerting.incidents import Incident, from_document
from alerting.reports import Facts, Key, Kind, Report
from config import catalog, schema
from config.schema import DAY
from config.settings import Schedule, Settings
from quality.findings import Severity

CHECK: Final = "complete"
"""Name of the check, in the key of its incidents."""
ANY: Final = "*"
"""Scope of what is said of a dataset that has no scope yet."""
_TICK: Final = timedelta(milliseconds=1)


def reports(db: schema.Db, settings: Settings, now: datetime) -> list[Report]:
    """Every window that is not complete though it should be by `now`, and those of open incidents that are by now.

    Three queries for each dataset that has a schedule, and two more, while nothing is wrong. Raises PyMongoError.
    """
    by_dataset: dict[str, list[Schedule]] = defaultdict(list)
    for schedule in settings.schedules:
        by_dataset[schedule.dataset].append(schedule)
    still = configured.read(db, settings)
    found = (one for dataset, schedules in by_dataset.items() for one in _missed(db, dataset, schedules, still, now))
    missed = [replace(one, scopes=impact.reached(settings, one.key.dataset, one.scopes)) for one in found]
    where = {"open": True, "kind": str(Kind.MISSING)}
    opened = [from_document(one) for one in db[schema.INCIDENTS].find(where)]
    return [*missed, *_mended(db, opened)]


@dataclass(frozen=True, slots=True)
class _Miss:
    """One window that missed its deadline: the earliest, if several schedules name one."""

    by: datetime
    schedule: Schedule


def _missed(
    db: schema.Db, dataset: str, schedules: Sequence[Schedule], still: Configured, now: datetime
) -> list[Report]:
    newest = [day for schedule in schedules if (day := expected(schedule, now)) is not None]
    if not newest:
        return []
    begun = _begun(db, dataset, _wanted(db, dataset, schedules, still), max(newest))
    complete = completeness.published(db, dataset, (min(newest) - LOOK_BACK, max(newest)))
    found: dict[tuple[str, date], _Miss] = {}
    for schedule in schedules:
        for scope in schedule.scopes or sorted(begun):
            for day in deadlines.missing(schedule, complete.get(scope, set()), begun[scope], now):
                miss = _Miss(deadlines.deadline(schedule, day), schedule)
                before = found.get((scope, day))
                found[scope, day] = miss if before is None or miss.by < before.by else before
    by_scope: dict[str, list[date]] = defaultdict(list)
    for scope, day in sorted(found):
        by_scope[scope].append(day)
    standings = completeness.look(db, dataset, by_scope)
    said = []
    for scope, days in by_scope.items():
        left = [day for day in days if not standings[scope, day].complete]
        note = _note(db, dataset) if left and scope == ANY else ""
        for day in left:
            why = note or standings[scope, day].why
            said.append(_report(dataset, scope, (left[0], day), found[scope, day], why))
    return said


def _report(dataset: str, scope: str, days: tuple[date, date], miss: _Miss, why: str) -> Report:
    """On the window days[1]; days[0] is the oldest that is missing with it."""
    first, day = days
    local = miss.by.astimezone(ZoneInfo(miss.schedule.timezone))
    both = "" if miss.schedule.timezone == "UTC" else f" ({miss.by.astimezone(UTC):%Y-%m-%d %H:%M} UTC)"
    own = dataset.startswith(catalog.LAYERS)
    whose = f"{dataset} of {scope}" if scope not in (ANY, "") else dataset
    facts = Facts(
        title=f"{whose} is not complete for {day}",
        expected=f"complete by {local:%Y-%m-%d %H:%M} {miss.schedule.timezone}{both}",
        observed=why,
        why="What is shown of that day is missing, or may still change.",
        command=shlex.join(["touchstone", "backfill", "--from", str(first), "--to", str(day)]),
        series=None if scope == ANY else (dataset, scope, "coverage" if dataset.startswith("gold.") else "rows"),
    )
    return Report(
        Key(dataset, scope, CHECK), miss.by, failed=True, kind=Kind.MISSING, window=day,
        severity=Severity(miss.schedule.severity), lasting=True, facts=facts,
        metrics=impact.metrics(dataset), scopes=(scope,) if own and scope != ANY else (),
    )  # fmt: skip


def _note(db: schema.Db, dataset: str) -> str:
    """What is known of a dataset that has no scope: of a watched collection there may be a word."""
    head = db[schema.LEDGER].find_one({"dataset": dataset, "scope": "", "window": None}, {"note": 1, "error": 1}) or {}
    return str(head.get("error") or head.get("note") or "no run has ever made a window of it")


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The scopes that a dataset is to have: those of its schedules, and those that it has and that are still fed."""

    declared: frozenset[str]
    everyone: frozenset[str]


def _wanted(db: schema.Db, dataset: str, schedules: Sequence[Schedule], still: Configured) -> _Wanted:
    declared = {scope for schedule in schedules for scope in schedule.scopes}
    known = completeness.scopes(db, dataset) if not all(schedule.scopes for schedule in schedules) else []
    fed = {scope for scope in known if not still.is_gone(dataset, scope)}
    return _Wanted(frozenset(declared), frozenset({*declared, *fed} or {ANY}))


def _begun(db: schema.Db, dataset: str, wanted: _Wanted, newest: date) -> Mapping[str, date]:
    """From which window on each scope is held to the schedule; written down when the scope is seen first.

    It is forgotten with the scope: one that comes back comes later, too.
    """
    name = f"deadlines|{dataset}"
    meta = db[schema.META]
    kept = meta.find_one({"_id": name})
    if kept is None:
        begun = dict.fromkeys(wanted.everyone, newest)
        try:
            meta.insert_one({"_id": name, "scopes": [_entry(*one) for one in sorted(begun.items())]})
        except DuplicateKeyError:  # another notifier was first
            return _begun(db, dataset, wanted, newest)
        return begun
    begun = {one["scope"]: one["first"].date() for one in kept["scopes"]}
    if gone := sorted(begun.keys() - wanted.everyone):
        meta.update_one({"_id": name}, {"$pull": {"scopes": {"scope": {"$in": gone}}}})
    for scope in sorted(wanted.everyone - begun.keys()):
        begun[scope] = newest if scope in wanted.declared or scope == ANY else newest + DAY
        where = {"_id": name, "scopes.scope": {"$ne": scope}}
        meta.update_one(where, {"$push": {"scopes": _entry(scope, begun[scope])}})
    return {scope: begun[scope] for scope in wanted.everyone}


def _entry(scope: str, first: date) -> schema.Document:
    return {"scope": scope, "first": schema.start_of(first)}


def _mended(db: schema.Db, opened: Sequence[Incident]) -> list[Report]:
    """Passes for the windows of open incidents that are complete by now, whatever their schedule says today."""
    by_dataset: dict[str, list[Incident]] = defaultdict(list)
    for incident in opened:
        by_dataset[incident.key.dataset].append(incident)
    said = []
    for dataset, incidents in by_dataset.items():
        wanted: dict[str, set[date]] = defaultdict(set)
        everyone = completeness.scopes(db, dataset) if any(one.key.scope == ANY for one in incidents) else []
        for incident in incidents:
            for scope in everyone if incident.key.scope == ANY else [incident.key.scope]:
                wanted[scope] |= {date.fromisoformat(window) for window in incident.failing}
        standings = completeness.look(db, dataset, wanted)
        for incident in incidents:
            of = everyone if incident.key.scope == ANY else [incident.key.scope]
            for window in incident.failing:
                day = date.fromisoformat(window)
                done = [one for scope in of if (one := standings[scope, day]).complete]
                if done:  # of "any scope": it runs now, and each scope answers for itself
                    last = incident.marks[window].at + _TICK
                    at = max([last, *(one.since for one in done if one.since)])
                    facts = Facts("", observed=f"{day} is complete")
                    said.append(Report(incident.key, at, failed=False, kind=Kind.MISSING, window=day, facts=facts))
    return said


__all__ = ["ANY", "CHECK", "expected", "next_deadline", "reports"]
