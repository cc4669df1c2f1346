"""Storms: many incidents at once, told as one, with exact counts and all of them within reach.

A storm is an incident of its own, one per channel; its members are attached to it, and so not told by themselves. It is
delivered as any other, so that a crash at any point neither loses nor doubles it.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from alerting.folding import TICK, attach
from alerting.incidents import GROUPS, RANK, Facts, Incident, Key, Kind, Report, fingerprint, ids_of
from alerting.store import Store
from config import schema
from quality.findings import Severity

CALM: Final = timedelta(minutes=2)
"""After so long without a change, a new member for one, a storm is over."""
COUNT: Final = timedelta(seconds=10)
"""After so long without a count whoever comes in is counted at once; else it is for `tend`, which comes more often."""
GROUPS_SHOWN: Final = 12


def key(channel: str) -> Key:
    """Of the storm in `channel`."""
    return Key("notifier", channel, "storm")


def current(store: Store, channel: str) -> Incident | None:
    """The storm in `channel`, if there is one."""
    found = store.listed({"fingerprint": fingerprint(key(channel)), "open": True})  # there may be many open ones
    return found[0] if found else None


def absorb(store: Store, db: schema.Db, channel: str, members: Sequence[Incident], now: datetime) -> bool:
    """Attach `members`, which nobody was told of, to the storm in `channel`; begin it if there is none.

    False: there is none, as another worker has just ended it; they are told one by one, or by the next look.

    The storm is there before its members are attached, and counts them after: killed in between, the rest is taken in
    by the next look, and the count is made anew. Many that come in are not counted each time.
    """
    storm = current(store, channel)
    is_new = storm is None
    if storm is None:
        severity = max((one.severity for one in members), key=lambda one: RANK[one])
        at = _later(next(iter(store.listed({"fingerprint": fingerprint(key(channel))}, limit=1)), None), now)
        begun = _report(channel, at, severity, Facts(f"{len(members):,} incidents at once in {channel}"))
        store.fold([begun], now)
        storm = current(store, channel)
    if storm is None:
        return False
    db[schema.INCIDENTS].update_many(
        {"_id": {"$in": [one.id for one in members]}, "told": None, "cause": None},
        {"$set": {"cause": storm.id, "owed_at": None}, "$inc": {"version": 1}},
    )
    if is_new or now - (storm.changed_at or now) >= COUNT:
        count(store, db, storm, now)
    return True


def _later(storm: Incident | None, now: datetime) -> datetime:
    """When something is said of it so that it counts: after all that was said before, by whichever clock."""
    return max([now, *(mark.at + TICK for mark in storm.marks.values())] if storm else [now])


def count(store: Store, db: schema.Db, storm: Incident, now: datetime) -> int:
    """Say in the storm's facts how many there are, by severity and dataset; returns how many are still open."""
    groups = list(
        db[schema.INCIDENTS].aggregate(
            [
                {"$match": {"cause": storm.id}},
                {
                    "$group": {
                        "_id": {"severity": "$severity", "dataset": "$key.dataset"},
                        "all": {"$sum": 1},
                        "open": {"$sum": {"$cond": ["$open", 1, 0]}},
                        "scopes": {"$addToSet": "$key.scope"},
                        "first": {"$min": "$opened_at"},
                        "last": {"$max": "$opened_at"},
                    }
                },
                {"$project": {"all": 1, "open": 1, "first": 1, "last": 1, "scopes": {"$size": "$scopes"}}},
                {"$sort": {"all": -1, "_id": 1}},
            ]
        )
    )
    if not groups:
        return 0
    total, still = sum(one["all"] for one in groups), sum(one["open"] for one in groups)
    by_severity = {severity: sum(one["all"] for one in groups if one["_id"]["severity"] == severity)
                   for severity in sorted(Severity, key=lambda one: -RANK[one])}  # fmt: skip
    severity = next((one for one, number in by_severity.items() if number), storm.severity)
    counts = ", ".join(f"{number:,} {one}" for one, number in by_severity.items() if number)
    lines = [
        f"{one['all']:,} {one['_id']['severity']} of {one['_id']['dataset']} in {one['scopes']:,} scopes"
        for one in groups[:GROUPS_SHOWN]
    ]
    if len(groups) > GROUPS_SHOWN:
        lines.append(f"{sum(one['all'] for one in groups[GROUPS_SHOWN:]):,} of {len(groups) - GROUPS_SHOWN:,} others")
    since = min(one["first"] for one in groups).astimezone(UTC)
    until = max(one["last"] for one in groups).astimezone(UTC)
    facts = Facts(
        title=f"{total:,} incidents at once in {storm.key.scope}",
        observed=f"{total:,} from {since:%Y-%m-%d %H:%M:%S} to {until:%H:%M:%S} UTC: {counts}; {still:,} open",
        why="Too many to tell one by one: most often they have one cause.",
        command=f"touchstone incidents list --all --cause {storm.id}",
        examples=tuple(lines),
    )
    if facts != storm.facts:
        store.fold([_report(storm.key.scope, _later(storm, now), severity, facts)], now)
    return int(still)


def tend(store: Store, db: schema.Db, limit: int, now: datetime) -> set[str]:
    """Count the open storms anew, and end those into which nothing comes any more; the channels of the others.

    Members that are still open then are told one by one as soon as they are few; until then they stay where the storm
    points. For whoever absorbs: not to be called at the same time.
    """
    going: set[str] = set()
    for storm in store.listed({"open": True, "kind": str(Kind.STORM)}):
        still = count(store, db, storm, now)
        current = store.find(storm.id)
        calm = now - (current.changed_at or now) >= CALM
        if not calm and (still or not current.facts.observed):
            going.add(storm.key.scope)
            continue
        what = f"nothing new; {still:,} are still open" + (", told one by one now" if 0 < still <= limit else "")
        over = Report(storm.key, _later(current, now), failed=False, kind=Kind.STORM, facts=Facts("", observed=what))
        store.fold([over], now)
    _let_go(store, db, limit, now)
    return going


def _let_go(store: Store, db: schema.Db, limit: int, now: datetime) -> None:
    """Detach what hangs on storms that are over: all if they are few, and what has a message of its own in any case."""
    ours = {"cause": ids_of(Kind.STORM), "open": True}
    causes = db[schema.INCIDENTS].distinct("cause", ours)
    for storm in store.listed({"_id": {"$in": causes}, "open": False}):
        members = store.listed({"cause": storm.id, "open": True}, limit=limit + 1)
        if len(members) > limit:
            members = store.listed({"cause": storm.id, "open": True, "told": {"$ne": None}})
        for one in members:
            store.change(one.id, partial(_let_go_of, storm.id), now)


def _let_go_of(storm: str, member: Incident) -> Incident:
    return attach(member, None) if member.cause == storm else member


def storming(store: Store) -> set[str]:
    """The channels in which there is a storm."""
    return {one.key.scope for one in store.listed({"open": True, "kind": str(Kind.STORM)})}


def is_one(incident: Incident) -> bool:
    """Whether a storm may take it in: nobody was told of it, and it is no group itself."""
    return incident.told is None and incident.cause is None and incident.kind not in GROUPS


def _report(channel: str, now: datetime, severity: Severity, facts: Facts) -> Report:
    return Report(key(channel), now, failed=True, kind=Kind.STORM, severity=severity, facts=facts)
