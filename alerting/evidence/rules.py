"""Findings of the rules, as the ledger keeps them with each partition; those on deliveries are in `links`.

A finding of severity critical is over when its own window no longer has it: until then rows are set aside, or the
partition is held back. One of severity warning is over, too, when a later window was judged later, by another run, and
passed: a run that finds it broken anywhere passes nothing. What was not judged, has no row to judge, is still open or
is not finished says nothing; nor does a window without the value that a rule on measures reads (see `known`).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from itertools import islice
from typing import Any, Final

from alerting import impact
from alerting.evidence import known
from alerting.evidence.view import SEVERE, View, Window, command, is_watched, named, partition, passed
from alerting.incidents import Incident
from alerting.reports import ANOMALY, Facts, Key, Kind, Report
from config import catalog, schema
from quality.findings import Judges, Severity
from quality.quarantine import SHAPE
from quality.receipts import Proof

KINDS: Final = (Kind.FINDING, Kind.BROKEN_CHECK)
UNFINISHED: Final = ("blocked", "again", "unobserved", "error")
"""A partition that has one of these passes nothing."""
CANDIDATES: Final = 20
"""Of so many windows that passed later, the latest, it is asked which failures they mend."""
LOOKED_AT: Final = 400
"""So many later windows, the latest, are looked at for those: where little happens most have nothing to judge."""
EXAMPLES: Final = 5

_REPORTS: Final = ("blocked.report", "report")
_LIGHT: Final = (
    "dataset", "scope", "window", "run_id", "published_at", "blocked.at",
    *(f"{report}.findings.{name}" for report in _REPORTS for name in ("rule", "severity", "broke")),
)  # fmt: skip
_JUDGED: Final = (
    "window", "run_id", "published_at", "report.rows", "report.findings.rule", "report.findings.severity",
    "report.findings.broke", "proof.state", "blocked.first", "again", "unobserved", "error", *known.FIELDS,
)  # fmt: skip

Runs = dict[Window, str]
"""Which run found it."""


def failures(view: View) -> tuple[list[Report], Runs]:
    """Every finding that stands, without its facts (see `detailed`), and which run found it."""
    where = {"$or": [{"report.findings.severity": {"$in": SEVERE}}, {"blocked.first": {"$exists": True}}]}
    found: list[Report] = []
    runs: Runs = {}
    for one in view.ledger.find(where, dict.fromkeys(_LIGHT, 1)):
        if one["window"] is None:
            continue
        day = one["window"].date()
        for finding, at in findings(one):
            key = Key(one["dataset"], one["scope"], finding["rule"])
            runs[key, day.isoformat()] = one.get("run_id", "")
            found.append(failure(view, key, day, at, finding))
    return found, runs


def findings(document: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], datetime]]:
    """What is wrong with a partition, and when it was judged: what was made last, then what is published."""
    held = document.get("blocked", {})
    told = set()
    for report, at in ((held.get("report"), held.get("at")), (document.get("report"), document.get("published_at"))):
        for finding in (report or {}).get("findings", ()):
            is_rule = finding["rule"] != ANOMALY  # which has evidence of its own
            if finding["severity"] in SEVERE and is_rule and finding["rule"] not in told and at is not None:
                told.add(finding["rule"])
                yield finding, at


def failure(view: View, key: Key, day: date, at: datetime, finding: Mapping[str, Any]) -> Report:
    """The report on one finding."""
    severity = Severity(finding["severity"])
    kind = Kind.BROKEN_CHECK if finding.get("broke") else Kind.FINDING
    metrics = impact.metrics(key.dataset, view.column(key.dataset, key.check))
    return Report(
        key, at, failed=True, kind=kind, window=day, severity=severity, lasting=severity is Severity.CRITICAL,
        metrics=metrics, scopes=(key.scope,),
    )  # fmt: skip


def detailed(view: View, reports: Sequence[Report]) -> Iterator[Report]:
    """`reports` with what the partitions say of them."""
    keys = {partition(one.key.dataset, one.key.scope, str(one.window)) for one in reports}
    found = view.documents(keys, ("report.findings", "blocked.report.findings", "blocked.at", "published_at"))
    for one in reports:
        document = found.get(partition(one.key.dataset, one.key.scope, str(one.window)), {})
        finding = next((each for each, _ in findings(document) if each["rule"] == one.key.check), None)
        yield replace(one, facts=facts(view, one, finding or {}))


def facts(view: View, report: Report, finding: Mapping[str, Any]) -> Facts:
    """What is told of a finding."""
    key, day = report.key, str(report.window)
    where = named(key.dataset, key.scope)
    broke = report.kind is Kind.BROKEN_CHECK
    examples = [f"{one['key']}: {one['path']} = {one['value']}" for one in finding.get("examples", ())]
    return Facts(
        title=f"{where}: the check {key.check} cannot be carried out" if broke else f"{where}: {key.check} is broken",
        expected=finding.get("expected", ""),
        observed=observed(report, finding),
        why=finding.get("why", ""),
        command=command("check", key.dataset, "--date", day, "--scope", key.scope),
        examples=tuple(examples[:EXAMPLES]),
        series=(key.dataset, key.scope, view.column(key.dataset, key.check) or "rows"),
    )


def observed(report: Report, finding: Mapping[str, Any]) -> str:
    """What was seen, and when."""
    return f"{report.window}: {finding['observed']}" if finding.get("observed") else ""


def passes(view: View, failing: Mapping[Window, Report], runs: Runs) -> Iterator[Report]:
    """What mends the open incidents."""
    others = {SHAPE, ANOMALY}
    mine = [
        one for one in view.of(*KINDS) if one.key.dataset != catalog.DELIVERIES.name and one.key.check not in others
    ]
    gone = {(one.key, window) for one in mine for window in one.failing} - failing.keys()
    documents = view.documents((partition(key.dataset, key.scope, window) for key, window in gone), _JUDGED)
    for incident in mine:
        key = incident.key
        own = {window: documents.get(partition(key.dataset, key.scope, window), {}) for window in incident.failing}
        newer = [one for w, one in own.items() if "published_at" in one and one["published_at"] > incident.marks[w].at]
        for one in passing(view, key, newer):
            yield passed(incident, one["window"].date().isoformat(), one["published_at"])
        yield from (
            passed(incident, day.isoformat(), at)
            for day, at in later(view, key, {w: incident.marks[w].at for w in _mendable(incident)}, runs)
        )


def _mendable(incident: Incident) -> list[str]:
    """Its windows that a later one can mend."""
    return [window for window in incident.failing if not incident.marks[window].lasting]


def passing(
    view: View, key: Key, documents: Sequence[Mapping[str, Any]], *, later: bool = False
) -> list[Mapping[str, Any]]:
    """Those of `documents`, partitions of one dataset and scope, that were judged by the rule, and obey it.

    A rule on measures needs a value to judge. Of the others: that the rows which broke a rule are gone is believed of
    what is made from Bronze, which loses none unless a person or the source says so; a watched collection may just
    lack them. A window that is still open passes nothing but its own rows.
    """
    obeying = [one for one in documents if _obeys(key, one)]
    rule = view.rule(key.dataset, key.check)
    if rule is not None and rule.judges is Judges.PARTITION:
        return known.tellable(view, key, rule, obeying, later=later)
    gone = not later and not is_watched(key.dataset)
    return [
        one
        for one in obeying
        if (not later or one.get("proof", {}).get("state") != Proof.PARTIAL if one["report"]["rows"] else gone)
    ]


def _obeys(key: Key, document: Mapping[str, Any]) -> bool:
    report = document.get("report")
    if report is None or any(name in document for name in UNFINISHED):
        return False
    return not any(
        one["rule"] == key.check and (one["severity"] in SEVERE or one.get("broke"))
        for one in report.get("findings", ())
    )


def later(view: View, key: Key, wrong: Mapping[str, datetime], runs: Runs) -> Iterator[tuple[date, datetime]]:
    """The windows that passed later than some of `wrong` (when each was judged, by window), and when."""
    if not wrong:
        return
    where: schema.Document = {
        "dataset": key.dataset, "scope": key.scope, "published_at": {"$gt": min(wrong.values())},
        "window": {"$gte": schema.start_of(date.fromisoformat(min(wrong)))},
        "report.findings.rule": {"$ne": key.check}, "proof.state": {"$ne": str(Proof.PARTIAL)},
        **{name: {"$exists": False} for name in UNFINISHED},
    }  # fmt: skip
    rule = view.rule(key.dataset, key.check)
    if rule is None or rule.judges is not Judges.PARTITION:
        where["report.rows"] = {"$gt": 0}
    broken = {run for (of, _), run in runs.items() if of == key}
    found = 0
    looked_at = view.ledger.find(where, dict.fromkeys(_JUDGED, 1), sort=[("window", -1)], limit=LOOKED_AT)
    while found < CANDIDATES and (some := list(islice(looked_at, CANDIDATES))):
        mending = [one for one in some if one.get("run_id") not in broken and _mends(one, wrong)]
        for one in passing(view, key, mending, later=True):
            found += 1
            yield one["window"].date(), one["published_at"]


def _mends(document: Mapping[str, Any], wrong: Mapping[str, datetime]) -> bool:
    window = document["window"].date().isoformat()
    return any(each <= window and since < document["published_at"] for each, since in wrong.items())


def standing(view: View, reports: Iterable[Report], runs: Runs) -> list[Report]:
    """`reports` without those that were mended before anybody was to be told of them."""
    groups: dict[Key, dict[str, datetime]] = defaultdict(dict)
    kept = []
    for one in reports:
        others = one.kind not in KINDS or one.key.dataset == catalog.DELIVERIES.name or one.key.check == ANOMALY
        if one.lasting or others or one.key in view.open:
            kept.append(one)
        else:
            groups[one.key][str(one.window)] = one.at
    mended = {key: list(later(view, key, wrong, runs)) for key, wrong in groups.items()}
    return [
        *kept,
        *(
            one
            for one in reports
            if str(one.window) in groups.get(one.key, {})
            and not any(day >= one.window and at > one.at for day, at in mended[one.key] if one.window)
        ),
    ]


def misshapen(view: View) -> Iterator[Report]:
    """Items that are set aside as they have not the shape of their stream: no rule of a suite says so."""
    group = {
        "_id": {"dataset": "$dataset", "scope": "$origin", "window": "$window"},
        "rows": {"$sum": 1},
        "at": {"$max": {"$max": ["$set_aside_at", {"$max": "$trace.at"}]}},
        "examples": {"$firstN": {"n": EXAMPLES, "input": {"item": "$item.id", "path": "$path", "value": "$value"}}},
        "reason": {"$first": "$reason"},
    }
    where = {"rule": SHAPE, "state": "open"}
    for one in view.db[schema.QUARANTINE].aggregate([{"$match": where}, {"$group": group}]):
        dataset, scope, day = one["_id"]["dataset"], one["_id"]["scope"], one["_id"]["window"].date()
        told = Facts(
            title=f"{named(dataset, scope)}: items have not the shape that rows are made of",
            expected="items of the shape that the source has promised",
            observed=f"{day}: {one['rows']:,} items are set aside: {one['reason']}",
            why="what they would have said is missing from all that is made of these rows",
            command=command("quarantine", "list", "--dataset", dataset, "--scope", scope),
            examples=tuple(f"{each['item']}: {each['path']} = {each['value']}" for each in one["examples"]),
            series=(dataset, scope, "rows"),
        )
        yield Report(
            Key(dataset, scope, SHAPE), one["at"], failed=True, kind=Kind.FINDING, window=day, lasting=True, facts=told,
            metrics=impact.metrics(dataset), scopes=(scope,),
        )  # fmt: skip


def shaped(view: View, failing: Mapping[Window, Report]) -> Iterator[Report]:
    """The windows that were made again since, and of which nothing is set aside for its shape any more."""
    mine = [one for one in view.of(*KINDS) if one.key.check == SHAPE and not is_watched(one.key.dataset)]
    keys = [partition(one.key.dataset, one.key.scope, window) for one in mine for window in one.failing]
    documents = view.documents(keys, _JUDGED)
    for incident in mine:
        for window in incident.failing:
            document = documents.get(partition(incident.key.dataset, incident.key.scope, window), {})
            at = document.get("published_at")
            if (incident.key, window) in failing or not at or any(name in document for name in UNFINISHED):
                continue
            if at > incident.marks[window].at:
                yield passed(incident, window, at)
