"""Incidents in MongoDB: each is one document, which holds what is owed for it too.

Every write is a compare-and-set on the document's version, so that a check, a person and the notifier can change the
same incident at the same time. That one fingerprint has one open incident is for a unique index to see to.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, Final

from pymongo import ASCENDING, DESCENDING
from pymongo.errors import DuplicateKeyError

from alerting.folding import fold
from alerting.incidents import DEFAULT, Incident, Policy, Report, State, document, fingerprint, from_document
from alerting.reasons import due
from config import schema
from config.settings import Settings

SKEW: Final = timedelta(seconds=5)
"""How far the clocks of those who report and those who tell may be apart, so that nobody waits for it."""


class UnknownIncidentError(LookupError):
    """No incident, or more than one, begins with that id."""


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
        What changes nothing writes nothing.
        """
        now = now or datetime.now(UTC)
        changed = []
        by_key = sorted(reports, key=lambda one: (one.key, one.at, str(one.window)))
        for _, group in groupby(by_key, key=lambda one: one.key):
            mine = list(group)
            if (after := self._fold(mine, now, adjust)) is not None:
                changed.append(after)
        return changed

    def _fold(self, reports: list[Report], now: datetime, adjust: Callable[[Incident], Incident]) -> Incident | None:
        mark = fingerprint(reports[0].key)
        while True:
            kept = self._incidents.find_one({"fingerprint": mark}, sort=[("opened_at", DESCENDING)])
            before = after = from_document(kept) if kept else None
            for report in reports:
                after = fold(after, report, self.policy)
            if after is None or after.state is State.QUIET or after == before:
                return None
            after = adjust(after)
            if self._write(after, now, kept if before is not None and before.id == after.id else None):
                return after

    def change(self, name: str, act: Callable[[Incident], Incident], now: datetime | None = None) -> Incident:
        """Do `act` to the incident `name` (its whole id); returns what became of it.

        Raises UnknownIncidentError, and what `act` raises.
        """
        while True:
            kept = self._incidents.find_one({"_id": name})
            if kept is None:
                raise UnknownIncidentError(f"no incident {name!r}")
            before = from_document(kept)
            after = act(before)
            if after == before or self._write(after, now or datetime.now(UTC), kept):
                return after

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
        found = self._incidents.find({"owed_at": {"$lte": now + SKEW}}, sort=[("owed_at", ASCENDING)], limit=limit)
        return [from_document(one) for one in found]

    def next_due(self) -> datetime | None:
        """When somebody is to be told next, if nothing else happens."""
        found = self._incidents.find_one({"owed_at": {"$type": "date"}}, {"owed_at": 1}, sort=[("owed_at", ASCENDING)])
        return found["owed_at"] if found else None

    def defer(self, incident: Incident, until: datetime) -> None:
        """Look at it again then, unless it changes before."""
        where = {"_id": incident.id, "revision": incident.revision, "owed_at": {"$type": "date"}}
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


def policy_of(settings: Settings) -> Policy:
    """How patient we are by configuration."""
    notifier = settings.notifier
    remind = timedelta(hours=notifier.remind_hours) if notifier.remind_hours else None
    return Policy(reopen=timedelta(hours=notifier.reopen_hours), remind=remind)
