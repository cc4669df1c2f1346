"""Incidents in MongoDB: each is one document, which holds what is owed for it too.

Every write is a compare-and-set on the document's version, so that a check, a person and the notifier can change the
same incident at the same time. That one fingerprint has one open incident is for a unique index to see to.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, Final

from pymongo import ASCENDING, DESCENDING
from pymongo.errors import DuplicateKeyError

from alerting.folding import fold_all, stored
from alerting.incidents import DEFAULT, Incident, Key, Policy, Report, State, document, fingerprint, from_document
from alerting.reasons import due
from config import schema
from config.settings import Settings

SKEW: Final = timedelta(seconds=5)
"""How far the clocks of those who report and those who tell may be apart, so that nobody waits for it."""
TRIES: Final = 200
"""Somebody gets through each time; so many, in 15 s, are no race, but two problems under one id."""


class UnknownIncidentError(LookupError):
    """No incident, or more than one, begins with that id."""


class ContendedError(RuntimeError):
    """Others wrote the same incident each time that we tried."""


class Store:
    """The incidents of one database."""

    def __init__(self, db: schema.Db, policy: Policy = DEFAULT) -> None:
        self.policy = policy
        self._incidents: schema.Coll = db[schema.INCIDENTS]

    @classmethod
    def of(cls, db: schema.Db, settings: Settings) -> "Store":
        """With the policy that is configured."""
        return cls(db, policy_of(settings))

    def fold(
        self,
        reports: Iterable[Report],
        now: datetime | None = None,
        adjust: Callable[[Incident], Incident] = lambda incident: incident,
    ) -> list[Incident]:
        """Fold `reports` into the incidents that they are about; returns those that changed.

        adjust: what else is to be done with an incident that changed, in the same write, e.g. attach it to its cause.
        What changes nothing writes nothing. Raises ContendedError.
        """
        now = now or datetime.now(UTC)
        changed = []
        by_key = sorted(reports, key=lambda one: one.key)
        for _, group in groupby(by_key, key=lambda one: one.key):
            mine = list(group)
            if (after := self._fold(mine, now, adjust)) is not None:
                changed.append(after)
        return changed

    def _fold(self, reports: list[Report], now: datetime, adjust: Callable[[Incident], Incident]) -> Incident | None:
        mark = fingerprint(reports[0].key)
        for tried in range(TRIES):
            _wait(tried)
            kept = self._incidents.find_one({"fingerprint": mark}, sort=[("opened_at", DESCENDING)])
            before = from_document(kept) if kept else None
            after = fold_all(before, reports, self.policy)
            if after.state is State.QUIET or after == before:
                return None
            after = adjust(after)
            if self._write(after, now, kept if before is not None and before.id == after.id else None):
                return after
        raise ContendedError(f"{reports[0].key}: not written in {TRIES} tries")

    def change(self, name: str, act: Callable[[Incident], Incident], now: datetime | None = None) -> Incident:
        """Do `act` to the incident `name` (its whole id); returns what became of it.

        Raises UnknownIncidentError, ContendedError, and what `act` raises.
        """
        for tried in range(TRIES):
            _wait(tried)
            kept = self._incidents.find_one({"_id": name})
            if kept is None:
                raise UnknownIncidentError(f"no incident {name!r}")
            before = from_document(kept)
            after = act(before)
            if after == before or self._write(after, now or datetime.now(UTC), kept):
                return after
        raise ContendedError(f"{name}: not written in {TRIES} tries")

    def find(self, start: str) -> Incident:
        """The one incident whose id is, or begins with, `start`. Raises UnknownIncidentError."""
        if exact := self._incidents.find_one({"_id": start}):
            return from_document(exact)
        below = {"$gte": start, "$lt": start + "\uffff"}
        found = list(self._incidents.find({"_id": below}, limit=2, sort=[("_id", ASCENDING)])) if start else []
        if len(found) != 1:
            what = "more than one incident begins" if found else "no incident begins"
            raise UnknownIncidentError(f"{what} with {start!r}: `touchstone incidents list --all` shows their ids")
        return from_document(found[0])

    def listed(self, where: Mapping[str, Any] | None = None, limit: int = 0) -> list[Incident]:
        """Those that match `where`, newest opening first; all open ones without it."""
        chosen = {"open": True} if where is None else where
        found = self._incidents.find(chosen, sort=[("opened_at", DESCENDING), ("_id", ASCENDING)], limit=limit)
        return [from_document(one) for one in found]

    def owed(self, now: datetime, limit: int = 0) -> list[Incident]:
        """Those of which somebody is to be told by now, what is longest owed first."""
        by_now = {"owed_at": {"$type": "date", "$lte": now + SKEW}}  # the type, as the index knows no others
        found = self._incidents.find(by_now, sort=[("owed_at", ASCENDING)], limit=limit)
        return [from_document(one) for one in found]

    def next_due(self) -> datetime | None:
        """When somebody is to be told next, if nothing else happens."""
        found = self._incidents.find_one({"owed_at": {"$type": "date"}}, {"owed_at": 1}, sort=[("owed_at", ASCENDING)])
        return found["owed_at"] if found else None

    def is_open(self, key: Key) -> bool:
        """Whether there is an open incident of `key`."""
        where = {"fingerprint": fingerprint(key), "open": True}
        return self._incidents.find_one(where, {"_id": 1}) is not None

    def reschedule(self, incident: Incident, now: datetime) -> bool:
        """Make sure that it is looked at when it is due; returns whether that was not so."""
        owed = due(incident, now, self.policy)
        where: dict[str, Any] = {"_id": incident.id, "revision": incident.revision, "cause": incident.cause}
        right = {"owed_at": None} if owed is None else {"owed_at": {"$lte": owed, "$type": "date"}}
        if self._incidents.find_one({**where, **right}, {"_id": 1}) is not None:
            return False
        change = {"$set": {"owed_at": owed}, "$inc": {"version": 1}}
        return self._incidents.update_one(where, change).modified_count == 1

    def defer(self, incident: Incident, until: datetime | None) -> None:
        """Look at it again then (None: not at all), unless it changes before."""
        where: dict[str, Any] = {"_id": incident.id, "revision": incident.revision, "cause": incident.cause}
        until = stored(until) if until else None
        where["owed_at"] = {"$type": "date", "$ne": until}  # what is as it should be rings no bell
        self._incidents.update_one(where, {"$set": {"owed_at": until}, "$inc": {"version": 1}})

    def _write(self, after: Incident, now: datetime, kept: Mapping[str, Any] | None) -> bool:
        """Write `after` over `kept` (None: it is new); False if somebody else has written meanwhile."""
        fields = document(after)
        owed = due(after, now, self.policy)
        fields["owed_at"] = min(owed, after.changed_at or owed) if owed is not None and owed <= now else owed
        fields["version"] = kept.get("version", 0) + 1 if kept else 1
        name = fields.pop("_id")
        try:
            if kept is None:
                self._incidents.insert_one({"_id": name, **fields})
                return True
            where = {"_id": name, "version": kept["version"]}
            return self._incidents.update_one(where, {"$set": fields}).matched_count == 1
        except DuplicateKeyError:  # somebody else has opened it meanwhile
            return False


def _wait(tried: int) -> None:
    """Until what others have written can be seen: reads are majority reads."""
    time.sleep(min(tried, 100) / 1000)


def policy_of(settings: Settings) -> Policy:
    """How patient we are by configuration."""
    notifier = settings.notifier
    remind = timedelta(hours=notifier.remind_hours) if notifier.remind_hours else None
    return Policy(reopen=timedelta(hours=notifier.reopen_hours), remind=remind)
