"""Typical incidents, made as real ones are: to try a channel out, and to look at what messages look like."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Final

from alerting import impact
from alerting.folding import acknowledge, fold, fold_all, silence, with_effects
from alerting.incidents import Facts, Incident, Key, Kind, Report, State, Told, first_id
from alerting.reports import ANOMALY
from quality.detector import explain, verdicts
from quality.detector.verdicts import Cell, Contributor, Verdict
from quality.findings import Severity

SCOPE: Final = "acme/checkout"
DAY: Final = timedelta(days=1)
HOUR: Final = timedelta(hours=1)


def samples(now: datetime | None = None) -> list[Incident]:
    """All twelve, as they stand at `now`: eleven open, and one that is resolved; each as if it had been told once."""
    now = now or datetime.now(UTC)
    made = (
        _finding, _warning, _broken_check, _failed_receipt, _unproven_receipt, _drift, _anomaly, _killed, _missing,
        _delivery, _storm,
    )  # fmt: skip
    return [_told(incident, now) for incident in (*(one(now) for one in made), resolved(now))]


def resolved(now: datetime) -> Incident:
    """One that went wrong, was taken up by a person, and has been mended."""
    opened = _finding(now - 9 * HOUR)
    taken = acknowledge(opened, "ana@build-7", now - 8 * HOUR, "the deploy job lost its tags, asking the platform team")
    report = Report(opened.key, now, failed=False, kind=Kind.FINDING)
    return fold_all(taken, [replace(report, window=date.fromisoformat(window)) for window in opened.failing])


def _finding(now: datetime) -> Incident:
    facts = Facts(
        title=f"gold.dora_daily of {SCOPE}: no_zero_without_proof is broken",
        expected="deployment_frequency is not 0 where proven_deployments is 0",
        observed=f"{_day(now, 1)}: 0, with a receipt that proves nothing",
        why="a zero whose receipt proves nothing: nobody knows whether nothing was deployed or nothing was seen",
        command=f"touchstone check gold.dora_daily --date {_day(now, 1)} --scope {SCOPE}",
        examples=(
            f"{SCOPE}|{_day(now, 1)}: deployment_frequency = 0",
            f"{SCOPE}|{_day(now, 2)}: deployment_frequency = 0",
        ),
        series=("gold.dora_daily", SCOPE, "deployment_frequency"),
    )
    key = Key("gold.dora_daily", SCOPE, "no_zero_without_proof", "deployment_frequency")
    report = Report(
        key, now - 2 * HOUR, failed=True, kind=Kind.FINDING, lasting=True, facts=facts,
        metrics=("deployment_frequency",), scopes=(SCOPE,),
    )  # fmt: skip
    return fold_all(None, [replace(report, window=_day(now, days)) for days in (2, 1)])


def _warning(now: datetime) -> Incident:
    facts = Facts(
        title=f"silver.changes of {SCOPE}: lead_time_is_sane is broken",
        expected="lead_time_seconds between 0 and 31,536,000",
        observed=f"{_day(now, 1)}: 14 of 212 rows (6.6 %), from -86,399 to 41,904,000",
        why="clocks of build machines are wrong, or commits were rewritten: medians still hold, means may not",
        command=f"touchstone check silver.changes --date {_day(now, 1)} --scope {SCOPE}",
        examples=("3f9c2ab: lead_time_seconds = -86399", "b01d77e: lead_time_seconds = 41904000",
                  "77aa01c: lead_time_seconds = -3"),
        series=("silver.changes", SCOPE, "rows"),
    )  # fmt: skip
    report = _report(Key("silver.changes", SCOPE, "lead_time_is_sane"), now - HOUR, Kind.FINDING, facts)
    made = fold(None, replace(report, window=_day(now, 1), severity=Severity.WARNING))
    until = now + 20 * HOUR
    return silence(made, until, "ben@laptop", now - HOUR / 2, "known since the migration, PLAT-1412")


def _broken_check(now: datetime) -> Incident:
    facts = Facts(
        title=f"bronze.git.commits of {SCOPE}: the check author_is_known cannot be carried out",
        expected="payload.author is a string",
        observed=f"{_day(now, 1)}: the column payload.author is not there",
        why="nothing is known of this rule until the check runs: the day is held back",
        command=f"touchstone check bronze.git.commits --date {_day(now, 1)} --scope {SCOPE}",
    )
    report = _report(Key("bronze.git.commits", SCOPE, "author_is_known"), now - 4 * HOUR, Kind.BROKEN_CHECK, facts)
    return fold(None, replace(report, window=_day(now, 1)))


def _failed_receipt(now: datetime) -> Incident:
    facts = Facts(
        title=f"bronze.git.tags of {SCOPE}: the extraction failed",
        expected="a receipt that proves that all items of the window were seen",
        observed="failed: the repository answers 'fatal: unable to access: Could not resolve host'",
        why="what was not extracted is missing from everything that is made of it",
        command=f"touchstone explain bronze.git.tags {_day(now, 5)} --scope {SCOPE}",
        series=("bronze.git.tags", SCOPE, "rows"),
    )
    report = _report(Key("bronze.git.tags", SCOPE, "receipt"), now - 3 * HOUR, Kind.RECEIPT, facts)
    made = fold_all(None, [replace(report, window=_day(now, days), lasting=True) for days in range(5, 0, -1)])
    effects = (
        f"silver.deployments of {SCOPE}: not complete for 5 windows",
        f"gold.dora_daily of {SCOPE}: no_zero_without_proof is broken",
        f"gold.dora_daily of {SCOPE}: not complete by 09:00 Europe/Berlin",
    )
    return with_effects(made, effects, now - 2 * HOUR)


def _unproven_receipt(now: datetime) -> Incident:
    facts = Facts(
        title=f"bronze.git.reverts of {SCOPE}: the extraction is unproven",
        expected="a receipt that proves that all items of the window were seen",
        observed="unproven: the clone is shallow, its history begins on 2026-03-02",
        why="a day without reverts may be a day whose reverts were not seen: fail rates look better than they are",
        command=f"touchstone explain bronze.git.reverts {_day(now, 1)} --scope {SCOPE}",
    )
    report = _report(Key("bronze.git.reverts", SCOPE, "receipt"), now - 5 * HOUR, Kind.RECEIPT, facts)
    report = replace(report, window=_day(now, 1), severity=Severity.WARNING, metrics=impact.FAIL_RATES)
    return fold(None, report)


def _drift(now: datetime) -> Incident:
    facts = Facts(
        title="bronze.git.commits: payload.stats.additions has changed its type",
        expected="integer",
        observed="integer in 3,102 items, string in 41 since today",
        why="what reads this field may read it wrong, or set it aside",
        command="touchstone status",
        examples=("payload.stats.additions: 17 -> '17'",),
    )
    key = Key("bronze.git.commits", "*", "drift", "payload.stats.additions")
    report = replace(_report(key, now - HOUR, Kind.DRIFT, facts), window=_day(now, 0))
    return fold(None, replace(report, severity=Severity.WARNING, metrics=(), scopes=()))


def _anomaly(now: datetime) -> Incident:
    day = _day(now, 1)
    verdict = Verdict(
        "silver.changes", SCOPE, day, verdicts.State.ANOMALY, now - HOUR, "sample", "", rarity=40.0, blocks=True,
        cells=(
            Cell("rows", 12, 44.2, 30.6, 58.4, 0.9, "today", 210, "count"),
            Cell("distinct.author", 2, 9.1, 5.0, 13.9, 0.7, "today", 210, "count"),
            Cell("freshness_seconds", 30_600, 3_100, 240, 19_800, 0.6, "today", 210, "duration"),
        ),
        contributors=(
            Contributor("scope", SCOPE, 12, 44.2, 0.92),
            Contributor("author", "dev-3f9c", 0, 14, 0.43),
            Contributor("author", "dev-b01d", 1, 9.5, 0.26),
        ),
    )  # fmt: skip
    held = "Gold of this day is held back until it is repaired, or said to be expected"
    facts = Facts(
        title=explain.title(verdict),
        expected=explain.expected(verdict),
        observed=explain.observed(verdict),
        why=f"{explain.reasons(verdict)}. {held}",
        command=f"touchstone explain silver.changes {day} --scope {SCOPE}",
        examples=explain.contributors(verdict),
        series=("silver.changes", SCOPE, "rows"),
    )
    report = _report(Key("silver.changes", SCOPE, ANOMALY), verdict.judged_at, Kind.ANOMALY, facts)
    return fold(None, replace(report, window=day, lasting=True))


def _killed(now: datetime) -> Incident:
    facts = Facts(
        title="The run Daily on build-7 is gone",
        expected="a run that ends, well or with an error",
        observed="no sign of life for 4 min; its process 48213 does not exist",
        why="killed, or out of memory: nothing is lost, and nothing goes on until the next run",
        command="touchstone run",
    )
    return fold(None, _report(Key("tasks", "Daily", "killed"), now - HOUR / 4, Kind.TASK, facts))


def _missing(now: datetime) -> Incident:
    window, due = _day(now, 2), _day(now, 1)
    facts = Facts(
        title=f"gold.dora_daily of {SCOPE} is not complete for {window}",
        expected=f"complete by {due} 09:00 Europe/Berlin",
        observed=f"not run since {due} 00:10 UTC, when the day was still open",
        why="What is shown of that day is missing, or may still change.",
        command=f"touchstone backfill --from {window} --to {window}",
        series=("gold.dora_daily", SCOPE, "coverage"),
    )
    at = datetime(due.year, due.month, due.day, 7, tzinfo=UTC)
    report = _report(Key("gold.dora_daily", SCOPE, "complete"), min(at, now), Kind.MISSING, facts)
    return fold(None, replace(report, window=window, lasting=True))


def _delivery(now: datetime) -> Incident:
    facts = Facts(
        title="Messages to #checkout-alerts cannot be delivered",
        expected="a channel that takes messages",
        observed="Slack answers is_archived",
        why="Incidents that are routed there reach nobody until this is mended; they are kept, and tried again.",
        command="touchstone slack test",
    )
    key = Key("notifier", "#checkout-alerts", "delivery")
    return fold(None, Report(key, now - HOUR, failed=True, kind=Kind.DELIVERY, facts=facts))


def _storm(now: datetime) -> Incident:
    key = Key("notifier", "#data-quality", "storm")
    since = now - HOUR
    facts = Facts(
        title="1,912 incidents at once in #data-quality",
        observed=f"1,912 from {since:%Y-%m-%d %H:%M:%S} to {now:%H:%M:%S} UTC: 1,815 critical, 97 warning; 1,912 open",
        why="Too many to tell one by one: most often they have one cause.",
        command=f"touchstone incidents list --all --cause {first_id(key, Kind.STORM)}",
        examples=(
            "1,204 critical of bronze.git.tags in 1,204 scopes",
            "611 critical of bronze.git.commits in 611 scopes",
            "97 warning of bronze.git.reverts in 97 scopes",
        ),
    )
    return fold(None, Report(key, since, failed=True, kind=Kind.STORM, facts=facts))


def _report(key: Key, at: datetime, kind: Kind, facts: Facts) -> Report:
    scopes = () if key.dataset == impact.TASKS else (key.scope,)
    return Report(
        key, at, failed=True, kind=kind, facts=facts, metrics=impact.metrics(key.dataset, key.measure), scopes=scopes
    )


def _told(incident: Incident, now: datetime) -> Incident:
    """As if its opening had been delivered."""
    first = incident.story[0]
    told = Told(first.revision, State.OPEN, incident.severity, min(first.at, now), "C0SAMPLE", "1.000001")
    return replace(incident, told=told)


def _day(now: datetime, before: int) -> date:
    return (now - before * DAY).date()
