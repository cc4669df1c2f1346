"""Schema drift, which is recorded once: it is over when the stream went on without more of it.

Nothing passes it, as what has changed stays changed. A day after it was seen, once a window of its scope of that day or
later was published that has rows, and of which the extraction is not in doubt, the news is taken for known.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from alerting import impact
from alerting.evidence.view import View, command, is_watched, named, passed
from alerting.reports import Facts, Key, Kind, Report
from config import schema
from quality import drift
from quality.findings import Severity
from quality.receipts import Proof

CHECK: Final = "drift"
NEWS: Final = timedelta(days=30)
"""What was seen longer ago, and told to nobody, is no longer told."""
KNOWN: Final = timedelta(days=1)


def failures(view: View) -> Iterator[Report]:
    """All drift that is news."""
    for one in view.db[schema.DRIFT].find({"seen_at": {"$gte": view.now - NEWS}}):
        dataset, scope = one["dataset"], one["scope"]
        facts = Facts(
            title=f"{named(dataset, scope)}: {one['path'] or 'its fields'}: schema drift",
            expected=f"the fields and types that {dataset} has had so far",
            observed=drift.told(one),
            why="rules and transforms that read it may miss it, or read something else",
            command=command("status"),
            examples=(f"{one['item']}: {one['path']} = {one['example']}",),
        )
        yield Report(
            Key(dataset, scope, CHECK, one["path"]), one["seen_at"], failed=True, kind=Kind.DRIFT,
            window=one["first_window"].date(), severity=Severity.WARNING, facts=facts,
            metrics=impact.metrics(dataset), scopes=(scope,),
        )  # fmt: skip


def passes(view: View) -> Iterator[Report]:
    """What is known by now."""
    for incident in view.of(Kind.DRIFT):
        seen = max((incident.marks[window].at for window in incident.failing), default=view.now)
        since = seen + KNOWN
        if since > view.now:
            continue
        where: schema.Document = {
            "dataset": incident.key.dataset, "scope": {"$in": [*{incident.key.scope, *incident.scopes}]},
            "window": {"$gte": schema.start_of(seen.date())}, "published_at": {"$gte": since},
            "report.rows": {"$gt": 0},
        }  # fmt: skip
        if not is_watched(incident.key.dataset):  # no receipt speaks of those
            where["proof.state"] = {"$nin": [str(Proof.FAILED), str(Proof.UNPROVEN)]}
        if found := view.ledger.find_one(where, {"published_at": 1}):
            for window in incident.failing:
                yield passed(incident, window, found["published_at"], "it went on for a day without more of it")
