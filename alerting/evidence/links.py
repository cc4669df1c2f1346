"""Findings on the deliveries of a scope, which are published as a whole: its days are in manifests.

A day does not say when it was judged, so that it counts as judged when its scope was published first with the finding.
Of a later day it is known that it was judged later if it is later than the day on which that was. A finding that has
changed was judged when that was published.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Final, NamedTuple

from alerting.evidence import rules
from alerting.evidence.view import SEVERE, View, Window, passed
from alerting.folding import MARKS
from alerting.incidents import Incident, Mark
from alerting.reports import ANOMALY, Facts, Key, Report, bounded
from config import schema
from config.catalog import DELIVERIES

_WRONG: Final = {
    "$or": [
        {"$ne": [{"$type": "$$one.v.blocked"}, "missing"]},
        {"$gt": [{"$size": {"$ifNull": ["$$one.v.report.findings", []]}}, 0]},
    ]
}


Entry = tuple[date, Mapping[str, Any]]
_read: Final[dict[str, list[Entry]]] = {}
"""What is wrong with the days of manifests that were read before: a notifier looks every few seconds."""


class Head(NamedTuple):
    """What is published of one scope."""

    at: datetime
    manifests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """What is wrong with the deliveries now."""

    heads: Mapping[str, Head]
    reports: list[Report]
    findings: Mapping[Window, Mapping[str, Any]]


def failures(view: View) -> Found:
    """Every finding that stands, without its facts (see `detailed`)."""
    fields = {"scope": 1, "years": 1, "published_at": 1}
    heads = {
        one["scope"]: Head(
            one["published_at"], tuple(schema.manifest_key(one["scope"], *y) for y in one["years"].items())
        )
        for one in view.ledger.find({"dataset": DELIVERIES.name, "years": {"$exists": True}}, fields)
    }
    findings: dict[Window, Mapping[str, Any]] = {}
    wrong = []
    for scope, day, entry in _wrong(view, [name for head in heads.values() for name in head.manifests]):
        at = heads[scope].at
        held = {"blocked": {**entry["blocked"], "at": at}} if "blocked" in entry else {}
        for finding, _ in rules.findings({"report": entry.get("report"), "published_at": at, **held}):
            key = Key(DELIVERIES.name, scope, finding["rule"])
            findings[key, day.isoformat()] = finding
            wrong.append(rules.failure(view, key, day, at, finding))
    latest = view.latest({one.key for one in wrong})
    reports = [
        replace(one, at=_first_seen(latest.get(one.key), one, findings[one.key, str(one.window)])) for one in wrong
    ]
    return Found(heads, reports, findings)


def _first_seen(incident: Incident | None, report: Report, finding: Mapping[str, Any]) -> datetime:
    """When the day was first known to be as wrong as it is: publishing others again says nothing new of it."""
    at, window = report.at, str(report.window)
    if incident is None:
        return at
    mark = incident.marks.get(window)
    if mark is not None:
        return mark.at if mark.failed and _is_said(mark, report, finding) else at
    forgotten = len(incident.marks) >= MARKS and window < min(incident.marks)
    return (incident.opened_at or at) if forgotten else at


def _is_said(mark: Mark, report: Report, finding: Mapping[str, Any]) -> bool:
    """Whether the finding is what was said of the day last, as far as that is remembered."""
    if mark.severity is not report.severity:
        return False
    observed = bounded(Facts("", observed=rules.observed(report, finding))).observed
    return mark.said is None or (mark.said.kind, mark.said.facts.observed) == (report.kind, observed)


def detailed(view: View, found: Found, reports: list[Report]) -> Iterator[Report]:
    """`reports` with what is known of them."""
    for one in reports:
        yield replace(one, facts=rules.facts(view, one, found.findings[one.key, str(one.window)]))


def passes(view: View, found: Found) -> Iterator[Report]:
    """What mends the open incidents."""
    for incident in view.of(*rules.KINDS):
        key = incident.key
        head = found.heads.get(key.scope)
        if key.dataset != DELIVERIES.name or key.check == ANOMALY or head is None or not incident.failing:
            continue
        first = min(incident.failing)
        names = [name for name in head.manifests if name.split("|")[-1].split("@")[0] >= first[:4]]
        days = {day.isoformat(): entry for _, day, entry in _days(view, names, {"$gte": ["$$one.k", first]})}
        good = {window: entry for window, entry in days.items() if _is_pass(entry, key.check)}
        for window in incident.failing:
            mark = incident.marks[window]
            if window in good and head.at > mark.at:
                yield passed(incident, window, head.at)
            elif not mark.lasting:
                after = max(window, mark.at.date().isoformat())
                later = [each for each, entry in good.items() if each > after and entry["report"]["rows"]]
                if later and head.at > mark.at:
                    yield passed(incident, max(later), head.at)


def _is_pass(entry: Mapping[str, Any], rule: str) -> bool:
    if "blocked" in entry or not entry.get("report"):
        return False
    return not any(one["rule"] == rule and one["severity"] in SEVERE for one in entry["report"].get("findings", ()))


def _wrong(view: View, manifests: list[str]) -> Iterator[tuple[str, date, Mapping[str, Any]]]:
    """Scope, day and entry of the days with findings; a manifest is read once, as it is named by its content."""
    known = dict(_read)
    fresh: dict[str, list[Entry]] = {name: [] for name in manifests if name not in known}
    for name, day, entry in _days(view, list(fresh), _WRONG):
        fresh[name].append((day, entry))
    wanted = {name: fresh.get(name) or known.get(name, []) for name in manifests}
    for name in known.keys() - wanted.keys():
        _read.pop(name, None)
    _read.update(wanted)
    for name, entries in wanted.items():
        for day, entry in entries:
            yield name.rsplit("|", 1)[0], day, entry


def _days(
    view: View, manifests: list[str], condition: Mapping[str, Any]
) -> Iterator[tuple[str, date, Mapping[str, Any]]]:
    """Manifest, day and entry of the days that fulfil `condition`, chosen by the server."""
    chosen = {"$filter": {"input": {"$objectToArray": "$days"}, "as": "one", "cond": condition}}
    stages: list[schema.Document] = [{"$match": {"_id": {"$in": manifests}}}, {"$project": {"days": chosen}}]
    for document in view.db[schema.MANIFESTS].aggregate(stages) if manifests else ():
        for one in document["days"]:
            yield document["_id"], date.fromisoformat(one["k"]), one["v"]
