"""What becomes of verdicts: which are told, how badly, what ends them, and that one problem is told once."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from alerting import evidence
from alerting.evidence import rules
from alerting.incidents import Incident, State
from alerting.reports import Facts, Kind
from alerting.store import Store
from config import schema
from config.detector import Detector
from quality import observations
from quality.detector import said, verdicts
from quality.detector.said import Said, Says
from quality.detector.verdicts import Cell, Contributor, Verdict
from quality.observations import Observation, Series
from tasks.context import Context

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DAY = date(2026, 11, 19)
NEXT = DAY + timedelta(days=1)
HOUR = timedelta(hours=1)
SCOPE = "acme/api"
ROWS = Cell("rows", 12, 44.2, 30.6, 58.4, 0.9, "today", 210, "count")
NULLS = Cell("null_ratio.author", 0.9, 0.01, 0.0, 0.05, 0.8, "today", 210, "ratio")
ANOMALY, NORMAL = verdicts.State.ANOMALY, verdicts.State.NORMAL
BLIND, BROKEN = verdicts.State.BLIND, verdicts.State.BROKEN


def reconcile(context: Context, now: datetime = NOW) -> list[Incident]:
    return evidence.reconcile(context.db, context.settings, now)


def opened(context: Context) -> list[Incident]:
    return Store(context.db).listed()


def judged(
    context: Context,
    state: verdicts.State = ANOMALY,
    *cells: Cell,
    day: date = DAY,
    dataset: str = "silver.changes",
    scope: str = SCOPE,
    at: datetime = NOW - HOUR,
    **more: Any,
) -> Verdict:
    """A verdict as the run leaves it."""
    found = cells or ((ROWS,) if state is ANOMALY else ())
    rarity = more.pop("rarity", 4.0 if state is ANOMALY else 0.0)
    of = more.pop("of", "d")
    one = Verdict(dataset, scope, day, state, at, "r", of, rarity=rarity, cells=found, **more)
    verdicts.put(context.db, [one])
    return one


def observed(context: Context, measure: str, value: float | None, day: date, scope: str = SCOPE) -> None:
    series = Series("silver.changes", scope, measure)
    observations.append(context.db, [Observation(series, schema.start_of(day), value)], run_id="r", recorded_at=NOW)


def test_an_anomaly_is_told_with_its_facts(context: Context) -> None:
    parts = (Contributor("author", "dev-1", 0, 14, 0.43),)
    judged(context, ANOMALY, ROWS, scope="acme/a b", rarity=40.0, contributors=parts)
    (found,) = reconcile(context)
    assert found.facts == Facts(
        title="silver.changes acme/a b: far fewer rows than expected",
        expected="31 to 58 rows, expected 44",
        observed="2026-11-19: 12 rows",
        why="40 times rarer than the budget of 1 false alarm a quarter allows; it is this window by itself that is "
        "strange",
        command="touchstone explain silver.changes 2026-11-19 --scope 'acme/a b'",
        examples=("author dev-1: 0 instead of 14 (43 % of the change)",),
        series=("silver.changes", "acme/a b", "rows"),
    )
    assert (found.kind, found.key.check, found.scopes) == (Kind.ANOMALY, "anomaly", ("acme/a b",))
    assert "changes_shipped" in found.metrics
    assert reconcile(context) == []


def test_a_watched_collection_is_looked_at_by_its_check(context: Context) -> None:
    judged(context, dataset="shop.orders", scope="eu")
    (found,) = reconcile(context)
    assert found.facts.command == "touchstone check shop.orders --date 2026-11-19 --scope eu"
    assert found.metrics == ("shop.orders",)


HARM: dict[str, tuple[str, float, tuple[Cell, ...], str]] = {
    "not rare enough": ("silver.changes", 9.9, (ROWS,), "warning"),
    "rows are lost": ("silver.changes", 10.0, (ROWS,), "critical"),
    "more rows": ("silver.changes", 99.0, (replace(ROWS, observed=90),), "warning"),
    "fewer of late": ("silver.changes", 99.0, (replace(ROWS, observed=40, driver="week"),), "critical"),
    "more of late": ("silver.changes", 99.0, (replace(ROWS, observed=50, driver="week"),), "warning"),
    "stale": ("silver.changes", 99.0, (replace(ROWS, observed=44, driver="stale"),), "critical"),
    "nulls": ("silver.changes", 99.0, (NULLS,), "critical"),
    "fewer nulls": ("silver.changes", 99.0, (replace(NULLS, observed=0.0, expected=0.5, low=0.4),), "warning"),
    "more rows, and nulls": ("silver.changes", 99.0, (replace(ROWS, observed=90), NULLS), "critical"),
    "nulls as ever": ("silver.changes", 99.0, (replace(ROWS, observed=90), replace(NULLS, observed=0.02)), "warning"),
    "old": ("silver.changes", 99.0, (Cell("freshness_seconds", 9e5, 9e3, 1, 9e4, 1, "", 9, "duration"),), "critical"),
    "links": ("silver.deliveries", 99.0, (replace(ROWS, measure="rows.change"),), "critical"),
    "gold": ("gold.dora_daily", 99.0, (replace(ROWS, measure="deployment_frequency", observed=90),), "critical"),
    "gold, not rare": ("gold.dora_daily", 5.0, (replace(ROWS, measure="deployment_frequency"),), "warning"),
}


def test_critical_is_what_is_both_rare_and_harmful(context: Context) -> None:
    for name, (dataset, rarity, cells, _) in HARM.items():
        judged(context, ANOMALY, *cells, dataset=dataset, rarity=rarity, scope=name)
    found = {one.key.scope: str(one.severity) for one in reconcile(context)}
    assert found == {name: severity for name, (*_, severity) in HARM.items()}


def test_of_gold_only_what_is_strange_is_not_to_be_trusted(context: Context) -> None:
    strange = replace(ROWS, measure="changes_shipped")
    judged(
        context, ANOMALY, strange, replace(ROWS, measure="deployment_frequency", observed=44), dataset="gold.dora_daily"
    )
    (found,) = reconcile(context)
    assert found.metrics == ("changes_shipped",)


@pytest.mark.parametrize("state", [NORMAL, BLIND])
def test_neither_a_normal_window_nor_a_blind_one_is_an_incident(context: Context, state: verdicts.State) -> None:
    judged(context, state, ROWS, missing="14 more windows")
    assert reconcile(context) == []


def test_a_detector_that_breaks_is_told_and_ends_with_a_verdict_of_any_kind(context: Context) -> None:
    judged(context, BROKEN, error="ValueError: so it is")
    (found,) = reconcile(context)
    assert (found.kind, str(found.severity)) == (Kind.BROKEN_CHECK, "warning")
    assert "could not judge" in found.facts.title
    assert found.facts.observed == "2026-11-19: ValueError: so it is"
    fields = {"dataset": "silver.changes", "scope": SCOPE, "window": schema.start_of(DAY), "run_id": "r2"}
    report = {"suite": "s", "outcome": "passed", "rows": 9, "findings": []}
    context.db[schema.LEDGER].insert_one({"_id": "x", **fields, "published_at": NOW, "report": report})
    assert reconcile(context) == [], "that the rules pass says nothing of the detector"
    judged(context, BLIND, at=NOW)
    reconcile(context)
    assert opened(context) == []


LATER: dict[str, tuple[verdicts.State, date, datetime]] = {
    "itself": (NORMAL, DAY, NOW),
    "a later one": (NORMAL, NEXT, NOW),
    "a later one, judged before": (NORMAL, NEXT, NOW - 2 * HOUR),
    "an earlier one": (NORMAL, DAY - timedelta(days=1), NOW),
    "a later one, blind": (BLIND, NEXT, NOW),
    "itself, blind": (BLIND, DAY, NOW),
    "a later one, strange too": (ANOMALY, NEXT, NOW),
    "a later one, broken": (BROKEN, NEXT, NOW),
}


@pytest.mark.parametrize("kind", ["warning", "critical", "held"])
def test_what_ends_an_anomaly(context: Context, kind: str) -> None:
    """What is critical, or holds Gold back, ends with its own window only."""
    for name in LATER:
        judged(context, ANOMALY, rarity=99.0 if kind == "critical" else 4.0, blocks=kind == "held", scope=name)
    assert len(reconcile(context)) == len(LATER)
    for name, (state, day, at) in LATER.items():
        judged(context, state, day=day, at=at, scope=name)
        observed(context, "rows", 40.0, day, scope=name)
    reconcile(context)
    ended = set(LATER) - {one.key.scope for one in opened(context)}
    assert ended == {"itself"} | ({"a later one"} if kind == "warning" else set())
    assert reconcile(context) == []


@pytest.mark.parametrize("value", [None, 0.0, 0.02])
def test_a_later_window_without_the_number_ends_nothing(context: Context, value: float | None) -> None:
    """Nobody knows the nulls of no rows: a normal Sunday says nothing of them."""
    judged(context, ANOMALY, NULLS)
    reconcile(context)
    judged(context, NORMAL, day=NEXT, at=NOW)
    if value is not None:
        observed(context, NULLS.measure, value, NEXT)
    reconcile(context)
    assert (opened(context) == []) is (value is not None)


def test_what_was_expected_is_over_and_a_fault_is_not(context: Context) -> None:
    said_of = {
        "a": [Says.EXPECTED], "b": [Says.FAULT], "c": [Says.EXPECTED, Says.FAULT], "d": [Says.FAULT, Says.EXPECTED],
        "e": [Says.NORMAL], "f": [],
    }  # fmt: skip
    for scope in said_of:
        judged(context, ANOMALY, rarity=99.0, scope=scope)
    reconcile(context)
    for scope, words in said_of.items():
        for number, says in enumerate(words):
            at = NOW - timedelta(minutes=9 - number)
            said.say(context.db, Said(says, "silver.changes", scope, DAY, DAY, (), "ana", at))
    ended = {one.key.scope: one.story[-1].text for one in reconcile(context)}
    assert ended == dict.fromkeys("ad", "2026-11-19 was expected, says ana") | {
        "e": "2026-11-19 is the new normal, says ana"
    }
    assert reconcile(context) == []


def test_a_window_that_is_judged_anew_and_is_still_strange_is_told_anew(context: Context) -> None:
    judged(context)
    reconcile(context)
    judged(context, ANOMALY, at=NOW)
    assert reconcile(context) == []  # it still stands, and that is no news
    judged(context, ANOMALY, replace(ROWS, observed=20), at=NOW, of="other numbers")
    (found,) = reconcile(context)
    assert found.facts.observed == "2026-11-19: 20 rows"


@pytest.mark.parametrize(("age", "tells"), [(35, True), (37, False)])
def test_a_backfill_of_an_old_window_is_never_fresh(context: Context, age: int, tells: bool) -> None:  # noqa: FBT001
    judged(context, day=(NOW - timedelta(days=age)).date())
    assert (reconcile(context) != []) is tells


def test_a_backfill_of_an_old_window_ends_nothing_newer(context: Context) -> None:
    judged(context)
    reconcile(context)
    old = DAY - timedelta(days=10)
    observed(context, "rows", 40.0, old)
    judged(context, NORMAL, day=old, at=NOW)
    assert reconcile(context) == []


def test_what_was_mended_before_anybody_was_told_is_not_told(context: Context) -> None:
    judged(context, at=NOW - 2 * HOUR)
    judged(context, ANOMALY, day=NEXT - timedelta(days=8), rarity=99.0, at=NOW - 2 * HOUR)
    judged(context, NORMAL, day=NEXT)
    observed(context, "rows", 40.0, NEXT)
    (found,) = reconcile(context)
    assert found.failing == ("2026-11-12",), "but what is critical is"


def test_it_is_told_how_many_days_of_gold_are_held_back(context: Context) -> None:
    for days in (2, 1, 0):
        judged(context, day=DAY - timedelta(days=days), blocks=True, at=NOW - days * HOUR)
    (found,) = reconcile(context)
    assert found.facts.why.endswith("Gold of 3 days is held back until it is repaired, or said to be expected")


def test_the_finding_that_holds_gold_back_is_no_incident_of_its_own(context: Context) -> None:
    finding = {"rule": "anomaly", "judges": "partition", "severity": "critical", "rows": 1, "of": 1, "expected": "",
               "observed": "12 rows", "examples": []}  # fmt: skip
    report = {"suite": "s", "outcome": "blocked", "rows": 1, "findings": [finding]}
    key = f"gold.dora_daily|{SCOPE}|{DAY}"
    fields = {"dataset": "gold.dora_daily", "scope": SCOPE, "window": schema.start_of(DAY), "published_at": NOW - HOUR}
    held = {"first": False, "at": NOW - HOUR, "report": report}
    document = {"_id": key, **fields, "run_id": "r", "report": report, "blocked": held}
    context.db[schema.LEDGER].insert_one(document)
    assert list(rules.findings(document)) == []
    assert reconcile(context) == []


def test_the_same_anomaly_in_three_layers_is_one_problem(context: Context) -> None:
    for dataset in ("gold.dora_daily", "silver.deployments", "bronze.git.tags"):
        measure = "deployment_frequency" if dataset.startswith("gold.") else "rows"
        judged(context, ANOMALY, replace(ROWS, measure=measure), dataset=dataset, rarity=99.0)
    reconcile(context)
    found = {one.key.dataset: one for one in opened(context)}
    root = found["bronze.git.tags"]
    assert root.cause is None
    assert {found[name].cause for name in ("gold.dora_daily", "silver.deployments")} == {root.id}
    assert root.effects == ("gold.dora_daily acme/api: anomaly", "silver.deployments acme/api: anomaly")


def test_anomalies_of_several_scopes_stay_apart(context: Context) -> None:
    for scope in ("acme/api", "acme/web"):
        judged(context, scope=scope)
    assert [one.cause for one in reconcile(context)] == [None, None]


@pytest.mark.parametrize("off", [{"enabled": False}, {"datasets": [{"dataset": "silver.*", "judge": False}]}])
def test_what_is_no_longer_judged_is_over(context: Context, off: dict[str, Any]) -> None:
    judged(context)
    reconcile(context)
    with_data = context.settings.model_copy(update={"detector": Detector(**off)})
    (found,) = evidence.reconcile(context.db, with_data, NOW)
    assert found.state is State.RESOLVED
    assert evidence.reconcile(context.db, with_data, NOW) == []


def test_what_is_long_over_when_it_is_first_judged_is_told_to_nobody(context: Context) -> None:
    """All windows of the first run are judged at one moment; those that still stand at its end are news."""
    for back in range(12):
        day = DAY - timedelta(days=back)
        judged(context, ANOMALY if back in {0, 5, 11} else NORMAL, day=day)
        observed(context, "rows", 44.0, day)
    (found,) = reconcile(context)
    assert found.failing == (DAY.isoformat(),)


def test_what_is_over_stays_over_when_all_is_judged_again(context: Context) -> None:
    judged(context, at=NOW - 30 * HOUR)
    reconcile(context)
    judged(context, NORMAL, day=NEXT, at=NOW - 3 * HOUR)
    observed(context, "rows", 44.0, NEXT)
    (found,) = reconcile(context)
    assert found.state is State.RESOLVED
    judged(context, at=NOW - HOUR)
    judged(context, NORMAL, day=NEXT, at=NOW - HOUR)
    assert reconcile(context) == []
