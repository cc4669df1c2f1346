"""Services and teams: what three sources tell becomes links with rules and evidence, and numbers with proof."""

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from alerting import completeness, evidence
from config import schema
from config.catalog import DELIVERIES, DORA_DAILY, FAILURES
from config.settings import ConfigError, load
from tasks import explained, links, metrics, scoping, survey
from tasks.context import Context
from tasks.ledger import Partition
from tests.harness import gold, make_context, moment, sha
from tests.tasks.calling import caller
from tests.tasks.tracked import CONFIG, DAYS, Place, configure


@pytest.fixture
def place() -> Place:
    """Two deployments of acme/api by GitHub, one of acme/web by Jenkins, an incident after the second of api."""
    found = Place()
    found.commit("acme/api", "a1", "", 0.1)
    found.commit("acme/api", "a2", "a1", 2.1)
    found.commit("acme/web", "w1", "", 1.1)
    found.pull("acme/api", 1, "a1", 0.1, 0.05)
    found.pull("acme/api", 2, "a2", 2.1, 1.1)
    found.pull("acme/web", 1, "w1", 1.1, 0.6)
    found.deploy("acme/api", 10, "a1", 0.5)
    found.deploy("acme/api", 11, "a2", 2.5)
    found.deploy("acme/api", 12, "a2", 2.2, "staging")
    found.build("shop/deploy", 1, 1.5, url="https://github.com/acme/web.git", target="w1")
    found.incident("OPS-1", 2.75, 3.5)
    found.incident("HR-1", 0.6, 0.7)
    return found


@pytest.fixture
def context(database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Context:  # noqa: ARG001 - names the database
    return configure(monkeypatch, tmp_path)


def on(context: Context, scope: str, number: int) -> dict[str, Any]:
    return gold(context)[scope, DAYS[0] + timedelta(days=number)]


def test_a_service_joins_what_its_sources_tell(context: Context, place: Place) -> None:
    place.run(context)
    first, second, third = (on(context, "service:shop", number) for number in range(3))
    assert [one["deployment_frequency"] for one in (first, second, third)] == [1, 1, 1]
    assert [one["changes_shipped"] for one in (first, second, third)] == [1, 1, 1]
    assert second["change_lead_time_median_seconds"] == 0.9 * 86_400, "from the pull request's first commit"
    assert (third["change_fail_rate"], third["change_fail_rate_rule"]) == (1.0, "last_deployment")
    assert (third["change_fail_rate_window"], third["change_fail_rate_explicit"]) == (1.0, 0.0)
    assert third["change_fail_rate_revert_ever"] == 0.0
    assert third["failed_deployment_recovery_time_median_seconds"] == 86_400
    assert (third["trust"], third["kind"], third["reasons"]) == ("proven", "service", {})
    assert (first["change_fail_rate"], second["change_fail_rate"]) == (0.0, 0.0)
    assert on(context, "service:shop", 4)["deployment_frequency"] == 0


def test_a_repository_and_a_team_are_made_of_the_same_links(context: Context, place: Place) -> None:
    place.commit("acme/tools", "t1", "", 1.0)
    place.pull("acme/tools", 1, "t1", 1.0, 0.9)
    place.deploy("acme/tools", 1, "t1", 1.4)
    place.run(context)
    api, web, team = (on(context, scope, 1) for scope in ("acme/api", "acme/web", "team:payments"))
    assert (api["deployment_frequency"], web["deployment_frequency"], team["deployment_frequency"]) == (0, 1, 2)
    assert (api["kind"], web["kind"], team["kind"]) == ("repository", "repository", "team")
    assert team["change_lead_time_mean_seconds"] == pytest.approx((0.9 + 0.5) / 2 * 86_400)
    assert team["change_fail_rate"] == 0.0
    assert on(context, "team:payments", 2)["change_fail_rate"] == 1.0
    assert set(scoping.known(context).left) == {"HR"}, "no metrics are made of what is in no service"
    assert survey.scopes(context) == ["acme/api", "acme/tools", "acme/web", "service:shop", "team:payments"]
    assert survey.gaps(context, DAYS) == []
    inputs = context.db.ledger.find_one({"_id": f"{DORA_DAILY.name}|team:payments|2024-01-02"})["inputs"]  # type: ignore[index]
    assert set(inputs) == {f"{DELIVERIES.name}|service:shop", f"{DELIVERIES.name}|acme/tools"}


@pytest.mark.parametrize("unit", ["acme/web", "shop/*", "OPS"])
def test_a_day_is_worth_no_more_than_the_worst_of_its_sources(context: Context, place: Place, unit: str) -> None:
    """No zero without proof: what one source did not prove is unknown for all that is made of it."""
    next(one for one in place.units if one.unit == unit).problem = "half of it is missing"
    place.run(context)
    quiet = on(context, "service:shop", 4)
    assert quiet["trust"] != "proven"
    assert quiet["change_fail_rate_last_deployment"] is None
    assert "half of it is missing" in json.dumps(quiet["reasons"])
    assert (quiet["deployment_frequency"] is None) == (unit != "OPS")
    own = on(context, "acme/api", 4)
    assert (own["deployment_frequency"] is None) == (unit == "shop/*"), "a repository needs its own and what is shared"
    assert on(context, "team:payments", 4)["trust"] == quiet["trust"]
    assert on(context, "acme/tools", 4)["trust"] == "proven"


def test_an_incident_that_was_not_seen_leaves_the_deployment_before_it_in_doubt(context: Context, place: Place) -> None:
    del place.desk["OPS"].items[:]
    place.incident("OPS-9", 1.6)
    place.desk["OPS"].end = 5
    place.desk["OPS"].problem = "cut"
    place.run(context)
    last = on(context, "service:shop", 2)
    assert last["change_fail_rate"] is None
    assert last["deployment_frequency"] == 1


def test_the_chosen_rule_is_configuration_and_moves_gold_alone(
    context: Context, place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place.run(context)
    linked = context.ledger.find(Partition(DELIVERIES.name, "service:shop"))["revision"]
    other = configure(monkeypatch, tmp_path, '[dora]\nchange_fail_rate = "explicit"\n')
    assert links.is_stale(other, "service:shop") is None
    assert metrics.stale(other, "service:shop", DAYS)
    place.run(other)
    third = on(other, "service:shop", 2)
    assert (third["change_fail_rate"], third["change_fail_rate_rule"]) == (0.0, "explicit")
    assert third["failed_deployment_recovery_time_median_seconds"] is None
    assert other.ledger.find(Partition(DELIVERIES.name, "service:shop"))["revision"] == linked
    narrow = configure(monkeypatch, tmp_path, "[dora]\nwindow_hours = 1.0\n")
    assert links.is_stale(narrow, "service:shop") == "the rules have changed"
    place.run(narrow)
    assert on(narrow, "service:shop", 2)["change_fail_rate_window"] == 0.0


def test_an_incident_may_name_what_failed(context: Context, place: Place) -> None:
    place.incident("OPS-2", 2.8, named="10")
    place.incident("OPS-3", 2.9, named=sha("w1")[:10])
    place.run(context)
    assert [on(context, "service:shop", n)["change_fail_rate_explicit"] for n in range(3)] == [1.0, 1.0, 0.0]
    assert on(context, "acme/web", 1)["change_fail_rate_explicit"] == 1.0


def test_late_news_of_one_source_moves_just_what_it_touches(context: Context, place: Place) -> None:
    place.run(context)
    before = {key: row for key, row in gold(context).items() if key[1] != DAYS[0] + timedelta(days=1)}
    place.incident("OPS-4", 1.9, 1.95)
    place.run(context)
    assert on(context, "service:shop", 1)["change_fail_rate"] == 1.0
    assert {key: row for key, row in gold(context).items() if key in before} == before
    assert survey.gaps(context, DAYS) == []


def test_explain_lists_what_is_behind_each_number(
    context: Context, place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    place.run(context)
    told = explained.told("team:payments", date(2024, 1, 3))
    assert told["is_current"]
    assert [one["ref"] for one in told["deployments"]] == ["acme/api|deployment:11"]
    (change,) = told["changes"]
    assert (change["ref"], change["rule"], change["lead_seconds"]) == ("acme/api|pull:2", "contains", 120_960)
    assert change["about"]["subject"] == "change 2"
    (failure,) = told["failures"]
    assert (failure["incident"], failure["rules"], failure["tracker"]) == (
        "OPS-1",
        ["window", "last_deployment"],
        "OPS",
    )
    assert (failure["restore_seconds"], failure["began_ts"]) == (86_400, moment(2.75))
    assert told["behind"]["change_fail_rate"] == ["acme/api|deployment:11"]
    assert told["behind"]["failed_deployment_recovery_time_median_seconds"] == ["OPS|jira:1"]
    for metric, value in told["metrics"].items():
        if metric in {"deployment_frequency", "changes_shipped"}:
            assert len(told["behind"][metric]) == value
    run = caller(monkeypatch, capsys, tmp_path)
    (tmp_path / "touchstone.toml").write_text(CONFIG, encoding="utf-8")
    shown = run("metrics", "--explain", "service:shop", "2024-01-03")
    assert shown.code == 0
    assert "acme/api|deployment:11" in shown.out
    assert "OPS-1" in shown.out
    assert (
        json.loads(run("metrics", "--explain", "acme/api", "2024-01-03", "--format", "json").out)["kind"]
        == "repository"
    )
    assert run("metrics", "--explain", "nobody", "2024-01-03").code == 2
    assert run("metrics").code == 2


def test_a_window_that_was_made_early_is_complete_once_all_sources_were_looked_at_since(
    context: Context, place: Place
) -> None:
    place.run(context)
    ledger, day = context.db[schema.LEDGER], DAYS[0] + timedelta(days=2)
    early = schema.start_of(day) + timedelta(hours=1)
    window = {"window": schema.start_of(day)}
    ledger.update_many({"dataset": DORA_DAILY.name, **window}, {"$set": {"published_at": early}})
    wanted = {scope: [day] for scope in ("team:payments", "service:shop", "acme/web", "acme/tools")}
    assert all(one.complete for one in completeness.look(context.db, DORA_DAILY.name, wanted).values())
    later = {"$set": {"published_at": context.now + timedelta(days=90)}}
    ledger.update_one({"dataset": FAILURES.name, "scope": "OPS", **window}, later)
    found = completeness.look(context.db, DORA_DAILY.name, wanted)
    assert {scope for (scope, _), one in found.items() if one.complete} == {"acme/tools"}


def test_trouble_of_a_source_is_told_of_all_that_is_made_of_it(context: Context, place: Place) -> None:
    place.desk["OPS"].problem = "half of it is missing"
    place.run(context)
    evidence.reconcile(context.db, context.settings, context.now)
    found = context.db[schema.INCIDENTS].find_one({"key.dataset": "bronze.jira.issues", "key.scope": "OPS"})
    assert found is not None
    assert found["scopes"] == ["OPS", "service:shop", "acme/api", "acme/web", "team:payments"]
    assert on(context, "team:payments", 2)["incidents"] == [found["_id"]]
    assert on(context, "acme/tools", 2)["incidents"] == []


def test_jobs_list_what_they_deploy_where_no_commit_is_told(context: Context, place: Place) -> None:
    """A failed build's change sets are deployed by the next one that succeeds."""
    place.commit("acme/web", "w2", "w1", 3.1)
    place.commit("acme/web", "w3", "w2", 3.2)
    place.pull("acme/web", 2, "w2", 3.1, 3.0)
    place.pull("acme/web", 3, "w3", 3.2, 3.1)
    place.build("shop/deploy", 2, 3.3, "FAILURE", commits=["w3"])
    place.build("shop/deploy", 3, 3.4)
    place.run(context)
    told = explained.told("acme/web", date(2024, 1, 4))
    assert [(one["change"], one["rule"]) for one in told["changes"]] == [("pull:2", "commits"), ("pull:3", "commits")]


def test_a_repository_is_in_one_service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database: str) -> None:  # noqa: ARG001
    again = '\n[[services]]\nname = "other"\nrepositories = ["acme/api"]\n'
    with pytest.raises(ConfigError, match="'acme/api' is in 'shop' and in 'other'"):
        configure(monkeypatch, tmp_path, text=CONFIG + again)
    with pytest.raises(ConfigError, match="'acme/nope', which no source has"):
        configure(monkeypatch, tmp_path, text=CONFIG + again.replace("acme/api", "acme/nope"))
    (tmp_path / "touchstone.toml").write_text("", encoding="utf-8")
    load.cache_clear()
    make_context()
