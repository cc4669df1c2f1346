"""What the stored evidence says, source by source; the whole way from a fault is in tests/tasks/test_incidents.py."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from alerting import evidence
from alerting.evidence import links, receipts
from alerting.folding import MARKS, fold_all, resolve
from alerting.incidents import Incident, State
from alerting.reports import Facts, Key, Kind, Report
from alerting.store import Store
from config import schema, settings
from tasks.context import Context

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
DAY = date(2026, 10, 20)
HOUR = timedelta(hours=1)


def reconcile(context: Context, now: datetime = NOW) -> list[Incident]:
    return evidence.reconcile(context.db, context.settings, now)


def opened(context: Context) -> dict[str, Incident]:
    return {f"{one.key.dataset} {one.key.scope} {one.key.check}": one for one in Store(context.db).listed()}


def partition(context: Context, dataset: str, day: date | None = DAY, scope: str = "acme/api", **fields: Any) -> None:
    """A ledger document as the pipeline leaves it."""
    window = schema.start_of(day) if day else None
    key = f"{dataset}|{scope}|{day.isoformat() if day else 'all'}"
    kept = {"dataset": dataset, "scope": scope, "window": window, "published_at": NOW - HOUR, "run_id": "r1", **fields}
    context.db[schema.LEDGER].replace_one({"_id": key}, kept, upsert=True)


def proof(state: str, reason: str | None = "so it is", *, lossy: bool = False) -> dict[str, Any]:
    return {"proof": {"state": state, "coverage": 0.0, "reason": reason, **({"lossy": True} if lossy else {})}}


def finding(rule: str = "sha", severity: str = "critical", **more: Any) -> dict[str, Any]:
    return {
        "rule": rule, "judges": "row", "severity": severity, "rows": 2, "of": 9, "expected": "a sha",
        "observed": "2 of 9 rows", "why": "no link", "examples": [{"key": "a; rm -rf", "path": "id", "value": "x"}],
        **more,
    }  # fmt: skip


def report(*findings: dict[str, Any], rows: int = 9) -> dict[str, Any]:
    return {"report": {"suite": "s", "outcome": "warned", "rows": rows, "findings": list(findings)}}


PROVEN = proof("proven", None)


# --- Receipts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "day", "severity"),
    [
        (proof("failed", "the sweep failed: 502"), DAY, "critical"),
        (proof("unproven", "the clone is shallow"), DAY, "warning"),
        (proof("unproven", "1 of 4 records could not be read", lossy=True), DAY, "critical"),
        (proof("partial", "records could not be read, and may belong here"), DAY, "warning"),
        (proof("partial", "records could not be read, and may belong here"), NOW.date(), None),
        (proof("partial", "the window is still open: seen until 06:00 UTC"), DAY, None),
        (proof("failed", "the sweep failed: 502"), NOW.date(), None),
        (proof("unproven", "recorded history ends 2026-11-01 00:00 UTC"), NOW.date(), None),
        (proof("unproven", "1 of 4 records could not be read", lossy=True), NOW.date(), "critical"),
        (proof("unproven", "recorded history ends 2026-11-01 12:00 UTC"), date(2030, 1, 1), None),
        (proof("unproven", "recorded history begins 2014-01-01 00:00 UTC"), date(1906, 1, 1), None),
        (proof("proven", None), DAY, None),
    ],
)  # fmt: skip
def test_a_receipt_is_as_bad_as_what_it_says(
    context: Context, said: dict[str, Any], day: date, severity: str | None
) -> None:
    partition(context, "bronze.git.tags", day, **said)
    reconcile(context)
    found = [(str(one.severity), one.facts.observed) for one in opened(context).values()]
    assert found == ([(severity, said["proof"]["reason"])] if severity else [])


def test_what_follows_from_the_receipts_of_bronze_is_none_of_its_own(context: Context) -> None:
    """Silver, and collections that nobody extracts, are unproven by what is said elsewhere, or by design."""
    for dataset in ("silver.changes", "shop.orders"):
        partition(context, dataset, **proof("unproven"))
    partition(context, "bronze.git.tags", **proof("unproven", lossy=True), blocked={"first": True, "at": NOW})
    assert reconcile(context) == []


def test_a_receipt_is_over_when_its_window_is_proven_and_not_before(context: Context) -> None:
    partition(context, "bronze.git.tags", **proof("unproven"))
    reconcile(context)
    for day, state in ((DAY + timedelta(days=1), PROVEN), (DAY, proof("partial", "the window is still open: x"))):
        partition(context, "bronze.git.tags", day, published_at=NOW, **state)
        assert reconcile(context) == []
    partition(context, "bronze.git.tags", published_at=NOW, **PROVEN)
    (resolved,) = reconcile(context)
    assert resolved.state is State.RESOLVED


@pytest.mark.parametrize(("said", "mended"), [("the sweep failed: 502", True), ("nothing says that", False)])
def test_what_a_failed_sweep_left_is_over_once_the_window_is_seen_again(
    context: Context,
    said: str,
    mended: bool,  # noqa: FBT001
) -> None:
    """As far as it goes: the outage is over, and was told. Other doubt about the window stays until it is proven."""
    partition(context, "bronze.git.tags", **proof("failed", said))
    reconcile(context)
    partition(context, "bronze.git.tags", published_at=NOW, **proof("partial", "the window is still open: seen until"))
    reconcile(context)
    assert (opened(context) == {}) is mended


# --- Findings ---------------------------------------------------------------------------------------------------------


def test_a_finding_is_told_with_its_facts(context: Context) -> None:
    partition(context, "silver.changes", scope="acme/a b", **report(finding()), **PROVEN)
    (found,) = reconcile(context)
    assert found.facts == Facts(
        title="silver.changes acme/a b: sha is broken",
        expected="a sha",
        observed="2026-10-20: 2 of 9 rows",
        why="no link",
        command="touchstone check silver.changes --date 2026-10-20 --scope 'acme/a b'",
        examples=("a; rm -rf: id = x",),
        series=("silver.changes", "acme/a b", "rows"),
    )
    assert (found.scopes, found.kind, str(found.severity)) == (("acme/a b",), Kind.FINDING, "critical")


@pytest.mark.parametrize(
    ("later", "resolves"),
    [
        (report(rows=3) | PROVEN, True),
        (report(finding("other"), rows=3) | PROVEN, True),
        (report(finding(severity="warning"), rows=3) | PROVEN, False),
        (report(rows=0) | PROVEN, False),
        (report(rows=3) | PROVEN | {"run_id": "r1"}, False),
        (report(rows=3) | PROVEN | {"published_at": NOW - 2 * HOUR}, False),
        (report(rows=3) | proof("partial"), False),
        (report(rows=3) | PROVEN | {"unobserved": True}, False),
        (report(rows=3) | PROVEN | {"error": "it broke", "failed_at": NOW}, False),
        (PROVEN, False),
    ],
    ids=[
        "passed",
        "another finding",
        "the same",
        "empty",
        "same run",
        "earlier",
        "open",
        "unfinished",
        "failed",
        "unjudged",
    ],
)
@pytest.mark.parametrize("severity", ["warning", "critical"])
def test_a_later_window_mends_a_warning_if_the_check_ran_and_passed(
    context: Context,
    severity: str,
    later: dict[str, Any],
    resolves: bool,  # noqa: FBT001
) -> None:
    partition(context, "silver.changes", **report(finding(severity=severity)), **PROVEN)
    reconcile(context)
    more: dict[str, Any] = {"published_at": NOW, "run_id": "r2"} | later
    partition(context, "silver.changes", DAY + timedelta(days=1), **more)
    reconcile(context)
    assert ("silver.changes acme/api sha" not in opened(context)) is (resolves and severity == "warning")


@pytest.mark.parametrize(
    ("dataset", "after", "resolves"),
    [
        ("silver.changes", report(rows=3) | PROVEN, True),
        ("silver.changes", report(rows=0) | proof("unproven"), True),
        ("silver.changes", report(rows=3) | PROVEN | {"blocked": {"first": False, "at": NOW, **report()}}, False),
        ("silver.changes", report(rows=3) | PROVEN | {"again": "asked for"}, False),
        ("shop.orders", report(rows=3) | proof("unproven"), True),
        ("shop.orders", report(rows=0) | proof("unproven"), False),
    ],
)  # fmt: skip
def test_its_own_window_mends_a_critical_finding_if_the_rows_are_not_just_missing(
    context: Context,
    dataset: str,
    after: dict[str, Any],
    resolves: bool,  # noqa: FBT001
) -> None:
    """Rows of a watched collection may be gone; what is made from Bronze lacks only what a person took out."""
    partition(context, dataset, **report(finding()), **PROVEN)
    reconcile(context)
    partition(context, dataset, published_at=NOW, run_id="r2", **after)
    reconcile(context)
    assert (opened(context) == {}) is resolves


def test_what_was_held_back_and_what_is_published_are_both_told(context: Context) -> None:
    held = {"first": False, "at": NOW, **report(finding("volume", judges="partition"))}
    partition(context, "silver.changes", **report(finding(severity="warning")), **PROVEN, blocked=held)
    reconcile(context)
    assert {one.key.check: str(one.severity) for one in opened(context).values()} == {
        "sha": "warning", "volume": "critical",
    }  # fmt: skip


def test_a_check_that_broke_is_another_kind_of_trouble(context: Context) -> None:
    partition(context, "silver.changes", **report(finding(severity="warning", broke=True)), **PROVEN)
    (found,) = reconcile(context)
    assert found.kind is Kind.BROKEN_CHECK
    assert "cannot be carried out" in found.facts.title
    assert reconcile(context) == []


def test_information_opens_nothing(context: Context) -> None:
    partition(context, "silver.changes", **report(finding(severity="info")), **PROVEN)
    assert reconcile(context) == []


def test_more_windows_than_an_incident_remembers_are_not_told_again_and_again(context: Context) -> None:
    days = [DAY - timedelta(days=number) for number in range(MARKS + 50)]
    for day in days:
        partition(context, "bronze.git.tags", day, **proof("unproven"))
    (found,) = reconcile(context)
    assert len(found.failing) == MARKS
    assert found.failing[-1] == DAY.isoformat()
    assert reconcile(context) == []


# --- Deliveries -------------------------------------------------------------------------------------------------------


def delivered(context: Context, at: datetime, **days: dict[str, Any]) -> None:
    """The deliveries of 2026 as they are published; days are written as `d1020`."""
    proofs = {stream: {"state": "proven"} for stream in ("changes", "deployments", "failures")}
    content = {f"2026-{name[1:3]}-{name[3:]}": {"revision": "r", "proofs": proofs, **one} for name, one in days.items()}
    digest = schema.digest(content)
    name = schema.manifest_key("acme/api", "2026", digest)
    context.db[schema.MANIFESTS].replace_one({"_id": name}, {"scope": "acme/api", "days": content}, upsert=True)
    partition(context, "silver.deliveries", None, years={"2026": digest}, published_at=at)


def test_deliveries_are_told_by_day_though_they_are_published_as_a_whole(context: Context) -> None:
    """Publishing other days says nothing new of this one; a later day passes it, if it came after."""
    warned = report(finding("known_commit", "warning"))
    delivered(context, NOW, d1020=warned, d1021=report(rows=2))
    (found,) = reconcile(context)
    assert found.failing == ("2026-10-20",)
    before = list(context.db[schema.INCIDENTS].find())
    delivered(context, NOW + HOUR, d1020=warned, d1021=report(rows=2), d1022=report(rows=2), d1023=report(rows=0))
    assert reconcile(context) == []
    assert list(context.db[schema.INCIDENTS].find()) == before
    delivered(context, NOW + 48 * HOUR, d1020=warned, d1103=report(rows=2))
    (resolved,) = reconcile(context, NOW + 48 * HOUR)
    assert resolved.state is State.RESOLVED
    delivered(context, NOW + 72 * HOUR, d1020=warned, d1103=report(rows=2), d1104=report(rows=1))
    assert reconcile(context, NOW + 72 * HOUR) == []


def test_a_day_of_deliveries_that_is_judged_anew_is_told_anew(context: Context) -> None:
    """Worse than before, or after a person said that it is over."""

    def warned(rows: int, severity: str = "warning") -> dict[str, Any]:
        return report(finding("known_commit", severity, rows=rows, observed=f"{rows} of 9 rows"))

    delivered(context, NOW, d1020=warned(1))
    (found,) = reconcile(context)
    delivered(context, NOW + HOUR, d1020=warned(9))
    (worse,) = reconcile(context, NOW + HOUR)
    assert worse.facts.observed == "2026-10-20: 9 of 9 rows"
    Store(context.db).change(found.id, lambda one: resolve(one, "me", NOW + 2 * HOUR, "by hand"), NOW + 2 * HOUR)
    delivered(context, NOW + 3 * HOUR, d1020=warned(9), d1021=report(rows=1))
    assert reconcile(context, NOW + 3 * HOUR) == []
    delivered(context, NOW + 4 * HOUR, d1020=warned(9, "critical"))
    (again,) = reconcile(context, NOW + 4 * HOUR)
    assert (again.state, str(again.severity)) == (State.OPEN, "critical")
    assert reconcile(context, NOW + 4 * HOUR) == []


def test_a_day_of_deliveries_that_is_held_back_is_critical_until_it_is_published(context: Context) -> None:
    held = {"revision": "x", **report(finding("links", judges="partition"))}
    delivered(context, NOW, d1020={**report(), "blocked": held})
    (found,) = reconcile(context)
    assert str(found.severity) == "critical"
    delivered(context, NOW + HOUR, d1020={**report(), "blocked": held}, d1103=report())
    assert reconcile(context, NOW + HOUR) == []
    delivered(context, NOW + 2 * HOUR, d1020=report())
    (resolved,) = reconcile(context, NOW + 2 * HOUR)
    assert resolved.state is State.RESOLVED
    assert len(links._read) == 1


# --- What could not be made, drift, tasks -----------------------------------------------------------------------------


def test_a_sweep_that_failed_names_the_scopes_it_left_without_proof(context: Context) -> None:
    failed = {"error": "no answer", "failed_at": NOW}
    feeds = [{"source": "git", "origin": "acme/web", "streams": ["tags"]}]
    partition(context, "sweep", None, "code/all", feeds=feeds, **failed)
    partition(context, "bronze.git.tags", **proof("failed", "the sweep failed: x"), receipt={"sweep": "code/all"},
              published_at=NOW)  # fmt: skip
    reconcile(context)
    sweep = opened(context)["sweep code/all sweep"]
    assert sweep.scopes == ("acme/api", "acme/web")
    assert opened(context)["bronze.git.tags acme/api receipt"].cause == sweep.id
    partition(context, "sweep", None, "code/all", feeds=feeds, published_at=NOW + HOUR)
    reconcile(context)
    assert [(one.key.dataset, one.cause) for one in opened(context).values()] == [("bronze.git.tags", None)]


def test_a_watched_collection_that_cannot_be_read_is_one_incident(context: Context) -> None:
    failed = {"error": "refused", "failed_at": NOW}
    partition(context, "shop.orders", None, "", **failed)
    for number in range(3):
        partition(context, "shop.orders", DAY + timedelta(days=number), "eu", **failed)
    (found,) = reconcile(context)
    assert found.key == Key("shop.orders", "", "sweep")
    partition(context, "shop.orders", None, "", looked_at=NOW - HOUR)
    assert reconcile(context) == []
    partition(context, "shop.orders", None, "", looked_at=NOW + HOUR)
    assert [one.state for one in reconcile(context)] == [State.RESOLVED]


def drift(context: Context, seen: datetime, path: str = "author", kind: str = "new") -> None:
    context.db[schema.DRIFT].insert_one({
        "dataset": "bronze.git.commits", "path": path, "kind": kind, "type": None, "before": [],
        "first_window": schema.start_of(DAY), "scope": "acme/api", "item": "c1", "example": "x", "seen_at": seen,
        "run_id": "r1",
    })  # fmt: skip


def test_drift_is_news_for_a_day_and_then_known(context: Context) -> None:
    """Until the stream has gone on for a day; more of it on the same path is news again."""
    drift(context, NOW - HOUR)
    (found,) = reconcile(context)
    assert found.key == Key("bronze.git.commits", "acme/api", "drift", "author")
    partition(
        context, "bronze.git.commits", NOW.date(), published_at=NOW, **proof("partial", "the window is still open")
    )
    assert reconcile(context, NOW + 30 * HOUR) == []
    for scope, more in (("acme/api", report(rows=0) | PROVEN), ("acme/web", report() | PROVEN),
                        ("acme/api", report() | proof("failed"))):  # fmt: skip
        partition(context, "bronze.git.commits", NOW.date(), scope, published_at=NOW + 29 * HOUR, **more)
        reconcile(context, NOW + 30 * HOUR)
        assert found.id in {one.id for one in opened(context).values()}
    partition(context, "bronze.git.commits", NOW.date(), published_at=NOW + 29 * HOUR, **report(), **PROVEN)
    (resolved,) = [one for one in reconcile(context, NOW + 30 * HOUR) if one.id == found.id]
    assert resolved.state is State.RESOLVED
    assert reconcile(context, NOW + 31 * HOUR) == []
    drift(context, NOW + 32 * HOUR, kind="missing")
    (again,) = reconcile(context, NOW + 33 * HOUR)
    assert again.state is State.OPEN


def raised(at: datetime, place: str = "Fold acme/api") -> dict[str, Any]:
    return {"task": "Fold", "where": "acme/api", "place": place, "scopes": ["acme/api"], "error": "it broke", "at": at}


def a_run(context: Context, name: str, **fields: Any) -> None:
    kept = {"kind": "Backfill", "started_at": NOW - HOUR, "alive_at": NOW, "ended_at": NOW, **fields}
    context.db[schema.RUNS].insert_one({"_id": name, **kept})


def test_a_place_that_was_finished_later_is_well(context: Context) -> None:
    a_run(context, "r1", failures=[raised(NOW - 2 * HOUR), raised(NOW - HOUR)])
    (found,) = reconcile(context)
    assert found.key == Key("tasks", "Fold acme/api", "failed")
    a_run(
        context,
        "r2",
        passed=[{"places": ["Fold acme/web"], "at": NOW}, {"places": ["Fold acme/api"], "at": NOW - 2 * HOUR}],
    )
    assert reconcile(context) == []
    a_run(context, "r3", passed=[{"places": ["Unit x", "Fold acme/api"], "at": NOW}], ended_at=None)
    (resolved,) = reconcile(context)
    assert resolved.state is State.RESOLVED
    assert reconcile(context) == []


def test_a_failure_that_was_made_up_for_before_anybody_looked_is_not_told(context: Context) -> None:
    a_run(context, "r1", failures=[raised(NOW - 2 * HOUR)])
    a_run(context, "r2", passed=[{"places": ["Fold acme/api"], "at": NOW - HOUR}])
    assert reconcile(context) == []


@pytest.mark.parametrize("kind", ["Daily", "Backfill"])
@pytest.mark.parametrize(
    ("begun", "well", "mends"), [(10, True, True), (-10, True, False), (10, False, False)],
    ids=["later", "beside it", "not well"],
)  # fmt: skip
def test_a_run_that_is_gone_is_made_up_for_by_any_that_began_later_and_ended_well(
    context: Context,
    kind: str,
    begun: int,
    well: bool,  # noqa: FBT001
    mends: bool,  # noqa: FBT001
) -> None:
    """Also within the minute after which it counts as gone."""
    alive = NOW - timedelta(minutes=5)
    context.db[schema.RUNS].insert_one({
        "_id": "r1", "kind": "Daily", "started_at": alive - HOUR, "alive_at": alive, "host": "h", "pid": 1,
        "failures": [raised(alive, "Daily")],
    })  # fmt: skip
    partition(context, "sweep", None, "code/all", feeds=[{"origin": "acme/web"}])
    reconcile(context)
    assert {one.scopes for one in opened(context).values()} == {("acme/web",), ("acme/api",)}
    ended = {"ended_at": alive + timedelta(seconds=40), **({"well": True} if well else {})}
    a_run(context, "r2", kind=kind, started_at=alive + timedelta(seconds=begun), **ended)
    reconcile(context)
    assert (opened(context) == {}) is mends
    context.db[schema.INCIDENTS].delete_many({})
    assert (reconcile(context) == []) is mends


def test_a_unit_that_was_never_swept_has_the_scope_that_is_configured(context: Context) -> None:
    source = settings.Git(type="git", name="code", repositories=(settings.Repository(origin="acme/new", url="/x"),))
    a_run(context, "r1", failures=[raised(NOW, "Unit code/acme/new") | {"scopes": []}])
    with_source = context.settings.model_copy(update={"sources": (source,)})
    (found,) = evidence.reconcile(context.db, with_source, NOW)
    assert found.scopes == ("acme/new",)


# --- Causes and effects -----------------------------------------------------------------------------------------------


def test_an_effect_is_told_by_itself_once_its_cause_is_over(context: Context) -> None:
    """It is owed from then on, and its cause no longer names it."""
    partition(context, "bronze.git.commits", **proof("unproven", lossy=True))
    partition(context, "silver.changes", **report(finding()), **PROVEN)
    reconcile(context)
    cause, effect = (
        opened(context)["bronze.git.commits acme/api receipt"],
        opened(context)["silver.changes acme/api sha"],
    )
    assert effect.cause == cause.id
    assert cause.effects == ("silver.changes acme/api: sha",)
    assert {one.id for one in Store(context.db).owed(NOW + HOUR)} == {cause.id}
    partition(context, "bronze.git.commits", published_at=NOW, **PROVEN)
    reconcile(context)
    assert {one.id for one in Store(context.db).owed(NOW + HOUR)} == {effect.id}


def test_a_problem_that_turns_out_to_be_an_effect_is_attached_later(context: Context) -> None:
    partition(context, "silver.changes", **report(finding()), **PROVEN)
    reconcile(context)
    drift(context, NOW - HOUR)
    changed = {one.key.check: one for one in reconcile(context)}
    assert changed["sha"].cause == changed["drift"].id
    assert str(changed["drift"].severity) == "critical", "the worst of what it causes is not told otherwise"
    assert reconcile(context) == []


def test_a_cause_is_no_worse_than_it_was_found_once_its_effect_is_over(context: Context) -> None:
    """It would stay critical for ever, and be told again every day; a further effect makes it worse again."""
    partition(context, "silver.changes", **report(finding()), **PROVEN)
    drift(context, NOW - HOUR)
    reconcile(context)
    for day, rule, severity in ((1, None, "warning"), (2, "sha", "critical"), (3, None, "warning")):
        now = NOW + timedelta(hours=day)
        partition(context, "silver.changes", published_at=now, **report(*([finding(rule)] if rule else [])), **PROVEN)
        reconcile(context, now)
        (cause,) = [one for one in opened(context).values() if one.cause is None]
        assert (str(cause.severity), cause.key.check) == (severity, "drift")
        assert reconcile(context, now) == []
    assert [one.what for one in cause.story] == ["opened", "worsened", "eased", "worsened", "eased"]


def test_more_of_a_cause_leaves_it_as_bad_as_its_effect(context: Context) -> None:
    """What is found of it itself is a warning still: that is no news to the better."""
    partition(context, "silver.changes", **report(finding()), **PROVEN)
    drift(context, NOW - HOUR)
    reconcile(context)
    drift(context, NOW, kind="missing")
    (cause,) = reconcile(context)
    assert (str(cause.severity), str(cause.found)) == ("critical", "warning")
    assert "eased" not in [one.what for one in cause.story]


def test_a_group_is_left_for_a_cause_and_for_nothing_else(context: Context) -> None:
    partition(context, "silver.changes", **report(finding(severity="warning")), **PROVEN)
    (found,) = reconcile(context)
    context.db[schema.INCIDENTS].update_one({"_id": found.id}, {"$set": {"cause": "digest-12345678-1"}})
    assert reconcile(context) == []
    partition(context, "bronze.git.commits", **proof("unproven"))
    reconcile(context)
    assert (
        opened(context)["silver.changes acme/api sha"].cause
        == opened(context)["bronze.git.commits acme/api receipt"].id
    )


def test_a_missed_deadline_goes_under_its_cause_in_the_same_write(context: Context) -> None:
    partition(context, "sweep", None, "code/all", error="no answer", failed_at=NOW,
              feeds=[{"source": "git", "origin": "acme/api", "streams": ["tags"]}])  # fmt: skip
    (sweep,) = reconcile(context)
    key = Key("gold.dora_daily", "acme/api", "complete")
    missed = Report(key, NOW, failed=True, kind=Kind.MISSING, window=NOW.date(), scopes=("acme/api",), lasting=True)
    store = Store(context.db)
    (found,) = store.fold([missed], NOW, evidence.under_its_cause(store))
    assert found.cause == sweep.id


def test_it_looks_for_what_is_wrong_by_indexes(context: Context) -> None:
    """A run without news must not read the ledger: none of these looks at more documents than it finds."""
    for number in range(300):
        partition(context, "bronze.git.tags", DAY - timedelta(days=number), **PROVEN, **report())
    partition(context, "silver.changes", **report(finding()), **PROVEN)
    partition(context, "bronze.git.tags", **proof("unproven"))
    partition(context, "silver.deployments", error="it broke", failed_at=NOW)
    seen: list[int] = []
    ledger = context.db[schema.LEDGER]
    for where in (
        {"$or": [{"report.findings.severity": {"$in": ["critical"]}}, {"blocked.first": {"$exists": True}}]},
        {"proof.state": {"$in": ["failed", "unproven"]}, "dataset": receipts.BRONZE, **schema.IN_DOUBT},
        {"error": {"$exists": True}},
    ):  # fmt: skip
        command = {"explain": {"find": ledger.name, "filter": where}, "verbosity": "executionStats"}
        seen.append(context.db.command(command)["executionStats"]["totalDocsExamined"])
    assert max(seen) == 1


def test_reports_are_all_that_is_wrong_though_it_is_known(context: Context) -> None:
    partition(context, "silver.changes", **report(finding()), **PROVEN)
    first = evidence.reports(context.db, context.settings, NOW)
    (incident,) = reconcile(context)
    assert evidence.reports(context.db, context.settings, NOW) == first
    assert fold_all(None, first) == incident
