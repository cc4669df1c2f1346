"""What could not be made, as the ledger says: sweeps of sources, looks at watched collections, and partitions."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from alerting import impact
from alerting.evidence.receipts import BRONZE
from alerting.evidence.view import View, Window, command, is_watched, named, partition, passed, times
from alerting.reports import Facts, Key, Kind, Report
from config import schema
from config.catalog import SWEEP
from quality.receipts import Proof

LOOK: Final = "sweep"
"""The check of incidents about sweeps, and about looks at watched collections."""
MAKING: Final = "error"
"""The check of incidents about other partitions."""
_FIELDS: Final = ("dataset", "scope", "window", "error", "failed_at", "published_at", "feeds", "looked_at")


def failures(view: View) -> Iterator[Report]:
    """Every attempt that failed and was not made up for."""
    for one in view.ledger.find({"error": {"$exists": True}}, dict.fromkeys(_FIELDS, 1)):
        at = times(one, "failed_at")
        if at is None:  # it failed before that was noted: the next attempt will tell
            continue
        if one["dataset"] == SWEEP:
            yield _sweep(view, one, at)
        elif is_watched(one["dataset"]):
            if one["window"] is None:  # its windows repeat what the collection as a whole says
                yield _look(one, at)
        else:
            yield _making(one, at)


def _sweep(view: View, one: Mapping[str, Any], at: Any) -> Report:
    """One that read a source; its scopes are those that it feeds, and those that it has left without a receipt."""
    origins = {feed["origin"] for feed in one.get("feeds", ())}
    where = {"proof.state": str(Proof.FAILED), "dataset": BRONZE, "receipt.sweep": one["scope"], **schema.IN_DOUBT}
    origins |= set(view.ledger.distinct("scope", where))
    facts = Facts(
        title=f"{one['scope']}: its source cannot be read",
        expected="a sweep that ends",
        observed=one["error"],
        why="nothing new is known of what it feeds; what was known before stays",
        command=command("run"),
    )
    key = Key(SWEEP, one["scope"], LOOK)
    return Report(
        key, at, failed=True, kind=Kind.TASK, lasting=True, facts=facts, metrics=impact.metrics(SWEEP),
        scopes=tuple(sorted(origins)),
    )  # fmt: skip


def _look(one: Mapping[str, Any], at: Any) -> Report:
    facts = Facts(
        title=f"{one['dataset']}: its collection cannot be read",
        expected="a look that ends",
        observed=one["error"],
        why="nothing new is known of it; what was found before stays",
        command=command("run"),
    )
    key = Key(one["dataset"], one["scope"], LOOK)
    return Report(
        key, at, failed=True, kind=Kind.TASK, lasting=True, facts=facts, metrics=impact.metrics(one["dataset"])
    )


def _making(one: Mapping[str, Any], at: Any) -> Report:
    dataset, scope = one["dataset"], one["scope"]
    day = one["window"].date() if one["window"] else None
    facts = Facts(
        title=f"{named(dataset, scope)}: it could not be made",
        expected="that it is made and published",
        observed=one["error"],
        why="what was published before stays",
        command=command("explain", dataset, str(day), "--scope", scope) if day else command("run"),
        series=(dataset, scope, "rows"),
    )
    return Report(
        Key(dataset, scope, MAKING), at, failed=True, kind=Kind.TASK, window=day, lasting=True, facts=facts,
        metrics=impact.metrics(dataset), scopes=(scope,),
    )  # fmt: skip


def passes(view: View, failing: Mapping[Window, Report]) -> Iterator[Report]:
    """What was made since."""
    mine = [one for one in view.of(Kind.TASK) if one.key.check in {LOOK, MAKING}]
    gone = [(one, window) for one in mine for window in one.failing if (one.key, window) not in failing]
    documents = view.documents((partition(one.key.dataset, one.key.scope, w) for one, w in gone), _FIELDS)
    for incident, window in gone:
        document = documents.get(partition(incident.key.dataset, incident.key.scope, window), {})
        at = times(document, "published_at", "looked_at")
        if at is not None and at > incident.marks[window].at and "error" not in document:
            yield passed(incident, window, at)
