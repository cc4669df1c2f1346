"""Which incident is the cause of which: one problem is told once, and a problem of its own is never hidden."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from alerting.folding import fold_all
from alerting.impact import ALL, metrics, of_place
from alerting.incidents import Incident
from alerting.inhibition import REACH, cause_of, causes
from alerting.reports import Facts, Key, Kind, Report
from config.catalog import upstream
from quality.findings import Severity
from tasks.transforms import gold

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
DAY = "2026-10-20"
CRITICAL, WARNING = Severity.CRITICAL, Severity.WARNING


def incident(dataset: str, check: str, *windows: str, scope: str = "acme/api", **facts: Any) -> Incident:
    """An open incident; `windows` are ISO dates, none where it is not about windows."""
    scopes = facts.pop("scopes", (scope,))
    kind = facts.pop("kind", Kind.FINDING)
    told = Facts(f"{dataset} {check}", observed=facts.pop("observed", "it is so"))
    key = Key(dataset, scope, check, facts.pop("measure", ""))
    given: dict[str, Any] = {"failed": True, "kind": kind, "facts": told, "scopes": scopes, "at": AT, **facts}
    days: list[date | None] = [date.fromisoformat(window) for window in windows]
    return fold_all(None, [Report(key, window=day, **given) for day in days or [None]])


def receipt(dataset: str, *windows: str, **facts: Any) -> Incident:
    return incident(dataset, "receipt", *windows or (DAY,), kind=Kind.RECEIPT, **facts)


def strange(dataset: str, *windows: str, **facts: Any) -> Incident:
    return incident(dataset, "anomaly", *windows or (DAY,), **{"kind": Kind.ANOMALY, "severity": WARNING, **facts})


def drift(path: str, window: str = DAY) -> Incident:
    return incident("bronze.git.commits", "drift", window, kind=Kind.DRIFT, measure=path, severity=WARNING)


SWEEP = incident("sweep", "sweep", scope="code/api", scopes=("acme/api", "acme/web"), kind=Kind.TASK)
UNIT = incident("tasks", "failed", scope="Unit code/api", scopes=(), kind=Kind.TASK)
OTHER_UNIT = incident("tasks", "failed", scope="Unit code/web", scopes=(), kind=Kind.TASK)
FOLD = incident("tasks", "failed", scope="Fold acme/api", scopes=("acme/api",), kind=Kind.TASK)
KILLED = incident("tasks", "killed", scope="Backfill", scopes=(), kind=Kind.TASK)
TAGS = receipt("bronze.git.tags")
COMMITS = receipt("bronze.git.commits", observed="another reason")
CHANGES = incident("silver.changes", "sha", DAY)
DEPLOYMENTS = incident("silver.deployments", "shape", DAY)
LINKS = incident("silver.deliveries", "known_commit", DAY, severity=WARNING)
GOLD = incident("gold.dora_daily", "counts", DAY)
MISSING = incident("gold.dora_daily", "complete", "2026-11-01", kind=Kind.MISSING)
HEAD = incident("shop.orders", "sweep", scope="", scopes=(), kind=Kind.TASK)
ORDERS = incident("shop.orders", "positive", DAY, scope="eu")


@pytest.mark.parametrize(
    ("effect", "cause"),
    [
        (UNIT, SWEEP), (TAGS, SWEEP), (GOLD, SWEEP), (MISSING, SWEEP), (CHANGES, COMMITS), (DEPLOYMENTS, TAGS),
        (LINKS, TAGS), (GOLD, LINKS), (CHANGES, FOLD), (GOLD, FOLD), (MISSING, FOLD), (ORDERS, HEAD),
        (CHANGES, drift("author")), (drift("b"), drift("a")),
        (incident("bronze.git.commits", "identity", DAY, severity=WARNING), drift("author")),
        (receipt("bronze.git.tags", severity=WARNING), receipt("bronze.git.commits", severity=WARNING)),
        (incident("silver.changes", "authored_in_time", DAY, severity=WARNING), CHANGES),
        (incident("silver.changes", "zzz", DAY), CHANGES),
        (incident("tasks", "failed", scope="Watch shop.orders", scopes=(), kind=Kind.TASK), HEAD),
    ],
    ids=lambda one: f"{one.key.dataset} {one.key.check}",
)  # fmt: skip
def test_what_follows_from_a_problem_is_its_effect(effect: Incident, cause: Incident) -> None:
    assert cause_of(effect, [effect, cause]) == cause.id
    assert cause_of(cause, [effect, cause]) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (CHANGES, TAGS), (GOLD, KILLED), (KILLED, SWEEP), (UNIT, OTHER_UNIT), (OTHER_UNIT, SWEEP), (TAGS, COMMITS),
        (GOLD, incident("silver.deliveries", "known_commit", DAY, scope="acme/web")),
        (CHANGES, receipt("bronze.git.commits", "2026-10-19")),
        (incident("silver.changes", "sha", DAY, "2026-10-21"), incident("silver.changes", "zzz", DAY)),
        (incident("gold.dora_daily", "counts", "2026-10-20"), receipt("bronze.git.tags", "2026-10-21")),
        (incident("shop.orders", "positive", DAY), GOLD), (ORDERS, incident("shop.orders", "positive", DAY)),
        (receipt("bronze.git.tags"), receipt("bronze.git.commits", severity=WARNING)),
        (incident("notifier", "heartbeat", scope="n", kind=Kind.HEARTBEAT, scopes=("acme/api",)), SWEEP),
    ],
    ids=lambda one: f"{one.key.dataset} {one.key.check}",
)  # fmt: skip
def test_what_does_not_follow_is_told_by_itself(one: Incident, other: Incident) -> None:
    """Other datasets, scopes, windows, reasons; and nothing worse hides behind the same reason."""
    assert causes([one, other]) == {}


AFTER, LONG_AFTER = "2026-10-27", "2026-10-28"
"""As far from DAY as an episode goes, and a day farther."""
ODD_TAGS = strange("bronze.git.tags")
ODD_DEPLOYMENTS = strange("silver.deployments")
ODD_GOLD = strange("gold.dora_daily", severity=CRITICAL)
BROKEN = {
    layer: strange(dataset, kind=Kind.BROKEN_CHECK)
    for layer, dataset in (("bronze", "bronze.git.tags"), ("silver", "silver.deployments"))
}
IN_DOUBT = receipt("bronze.git.tags", severity=WARNING)


@pytest.mark.parametrize(
    ("anomaly", "cause"),
    [
        (ODD_DEPLOYMENTS, ODD_TAGS), (ODD_GOLD, ODD_TAGS), (ODD_GOLD, ODD_DEPLOYMENTS),
        (strange("gold.dora_daily", DAY, "2026-10-22"), strange("bronze.git.tags", DAY, "2026-10-21")),
        (strange("gold.dora_daily", DAY, AFTER), ODD_TAGS), (BROKEN["silver"], BROKEN["bronze"]),
        (ODD_TAGS, TAGS), (ODD_TAGS, IN_DOUBT), (ODD_GOLD, TAGS), (ODD_TAGS, SWEEP), (ODD_DEPLOYMENTS, FOLD),
        (strange("bronze.git.commits"), drift("author")), (strange("silver.changes"), drift("author")),
        (strange("bronze.git.commits", severity=CRITICAL), drift("a")),
        (strange("silver.changes", severity=CRITICAL), CHANGES),
        (strange("shop.orders", scope="eu"), HEAD), (strange("shop.orders", scope="eu"), ORDERS),
    ],
    ids=lambda one: f"{one.key.dataset} {one.key.check}",
)  # fmt: skip
def test_an_anomaly_follows_from_what_is_known_to_be_wrong_and_from_itself_below(
    anomaly: Incident, cause: Incident
) -> None:
    assert causes([anomaly, cause]) == {anomaly.id: cause.id}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ODD_TAGS, strange("bronze.git.tags", scope="acme/web")), (ODD_TAGS, strange("bronze.git.commits")),
        (ODD_DEPLOYMENTS, strange("bronze.git.tags", "2026-10-19")), (ODD_DEPLOYMENTS, strange("bronze.git.commits")),
        (strange("gold.dora_daily", DAY, LONG_AFTER), ODD_TAGS),
        (DEPLOYMENTS, ODD_TAGS), (GOLD, ODD_DEPLOYMENTS), (MISSING, ODD_TAGS),
        (strange("silver.deployments", kind=Kind.BROKEN_CHECK), ODD_TAGS), (ODD_DEPLOYMENTS, BROKEN["bronze"]),
        (BROKEN["bronze"], TAGS), (DEPLOYMENTS, BROKEN["bronze"]),
        (ODD_TAGS, incident("bronze.git.tags", "volume", DAY, kind=Kind.BROKEN_CHECK)),
        (strange("bronze.git.tags", severity=CRITICAL), IN_DOUBT),
        (strange("silver.changes", severity=CRITICAL), incident("silver.changes", "sha", DAY, severity=WARNING)),
        (strange("silver.changes"), incident("silver.changes", "sha", "2026-10-19")),
        (ODD_TAGS, KILLED), (ODD_TAGS, MISSING),
    ],
    ids=lambda one: f"{one.key.dataset} {one.key.check}",
)  # fmt: skip
def test_an_anomaly_causes_nothing_else_and_is_not_explained_by_what_is_about_something_else(
    one: Incident, other: Incident
) -> None:
    """Other scopes, streams, windows; a detector that broke; doubt where something critical is strange."""
    assert causes([one, other]) == {}


def test_the_same_anomaly_in_all_layers_is_told_by_the_lowest_and_that_by_what_explains_it() -> None:
    everything = [ODD_GOLD, ODD_DEPLOYMENTS, ODD_TAGS]
    assert causes(everything) == {ODD_GOLD.id: ODD_TAGS.id, ODD_DEPLOYMENTS.id: ODD_TAGS.id}
    assert causes([*everything, TAGS]) == dict.fromkeys([one.id for one in everything], TAGS.id)


def test_a_chain_points_at_its_root() -> None:
    everything = [GOLD, LINKS, DEPLOYMENTS, TAGS, SWEEP]
    for given in (everything, everything[::-1]):
        assert causes(given) == {one.id: SWEEP.id for one in everything[:-1]}


def test_of_several_causes_the_lowest_counts_then_the_oldest() -> None:
    older = replace(COMMITS, id="zzz-1", openings=(AT - timedelta(hours=1),))
    assert cause_of(GOLD, [LINKS, CHANGES, COMMITS]) == COMMITS.id
    assert cause_of(GOLD, [LINKS, COMMITS, older]) == older.id


def test_a_gap_reaches_forward_to_what_ships_it_but_not_for_ever() -> None:
    """A history that begins within the asked range is never mended: it must not hide what goes wrong years later."""
    day = date.fromisoformat(DAY)
    for later, expected in ((REACH, COMMITS.id), (REACH + 1, None), (-1, None)):
        window = (day + timedelta(days=later)).isoformat()
        unknown = incident("silver.deliveries", "known_commit", window, severity=WARNING)
        assert cause_of(unknown, [COMMITS]) == expected


def test_a_problem_that_is_not_about_windows_covers_what_was_judged_since() -> None:
    old = replace(SWEEP, openings=(AT + timedelta(hours=1),))
    assert cause_of(TAGS, [old]) is None
    assert cause_of(receipt("bronze.git.tags", "2026-11-01"), [old]) == old.id


def test_streams_without_proof_for_one_reason_are_one_problem_and_a_second_reason_is_told() -> None:
    shallow = [receipt(f"bronze.git.{name}", observed="shallow") for name in ("commits", "reverts", "tags")]
    assert causes(shallow) == {one.id: shallow[0].id for one in shallow[1:]}
    both = fold_all(
        shallow[2],
        [Report(shallow[2].key, AT, True, Kind.RECEIPT, date(2026, 10, 21), facts=Facts("", observed="page 2 lost"))],  # noqa: FBT003
    )
    assert causes([*shallow[:2], both]) == {shallow[0].id: both.id, shallow[1].id: both.id}


@pytest.mark.parametrize("effect", [CHANGES, GOLD, incident("bronze.git.commits", "identity", DAY)])
def test_a_receipt_that_is_only_in_doubt_does_not_swallow_something_critical(effect: Incident) -> None:
    """One torn line leaves every window in doubt: what else goes wrong then is told all the same."""
    doubt = receipt("bronze.git.commits", severity=WARNING)
    assert causes([effect, doubt]) == {}
    assert causes([effect, doubt], {effect.key}) == {effect.id: doubt.id}, "unless it says itself that data is missing"
    assert causes([effect, COMMITS]) == {effect.id: COMMITS.id}, "or records of the very window are lost"
    elsewhere = receipt("bronze.git.commits", "2026-10-19", DAY, severity=WARNING)
    lost = Report(COMMITS.key, AT, failed=True, kind=Kind.RECEIPT, window=date(2026, 10, 19))
    assert causes([effect, fold_all(elsewhere, [lost])]) == {}, "of that window, and no other"


def test_trouble_is_told_of_services_and_teams_and_swallows_nothing_of_another_repository() -> None:
    tracker = receipt("bronze.jira.issues", scope="OPS", scopes=("OPS", "service:shop", "team:x", "acme/api"))
    team, service = (incident("gold.dora_daily", "counts", DAY, scope=scope) for scope in ("team:x", "acme/api"))
    assert causes([tracker, team, service]) == {team.id: tracker.id, service.id: tracker.id}
    api = receipt("bronze.git.commits", scope="acme/api", scopes=("acme/api", "service:shop", "team:x"))
    linked = incident("silver.deliveries", "known_commit", DAY, scope="service:shop", scopes=("service:shop", "team:x"))
    assert causes([api, linked]) == {linked.id: api.id}
    other = incident("silver.changes", "sha", DAY, scope="acme/web", scopes=("acme/web", "service:shop", "team:x"))
    assert causes([api, other]) == {}


def test_a_resolved_incident_causes_nothing() -> None:
    passed = Report(COMMITS.key, AT + timedelta(hours=1), failed=False, kind=Kind.RECEIPT, window=date(2026, 10, 20))
    assert cause_of(CHANGES, [fold_all(COMMITS, [passed])]) is None


def test_the_metrics_are_those_of_gold() -> None:
    assert set(ALL) == set(gold.METRICS)
    assert metrics("bronze.git.tags") == metrics("silver.deliveries") == metrics("sweep") == ALL
    assert "deployment_frequency" not in metrics("silver.changes")
    assert "changes_shipped" in metrics("bronze.git.commits")
    assert set(metrics("bronze.git.reverts")) == set(metrics("silver.failures")) < set(metrics("silver.changes"))
    assert metrics("gold.dora_daily", "changes_shipped") == ("changes_shipped",)
    assert metrics("shop.orders") == ("shop.orders",)
    assert set(metrics("bronze.jira.issues")) == set(metrics("silver.failures"))
    assert of_place("Watch shop.orders") == ("shop.orders",)
    assert of_place("Fold acme/api") == of_place("Daily") == ALL
    assert {"bronze.git.tags", "silver.changes"} < upstream("gold.dora_daily")
