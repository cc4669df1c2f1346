"""What no longer counts leaves Silver again; nothing that counts is lost with it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from config import schema, settings
from quality import observations, quarantine
from quality.observations import Series
from tasks import aside, bronze, corrections
from tasks.context import Context
from tasks.ledger import LeaseLostError
from tasks.sources.replay import ReplaySource
from tests.harness import EVENTS, commit, gold, make_context, run_all, snapshot, tag

FIRST = date(2024, 1, 1)
RANGE = (FIRST, FIRST + timedelta(days=6))
Recorded = Callable[..., ReplaySource]

CANDIDATE = [commit("c", "b", 3.1), tag("rc1", "c", 3.5)]
RELEASES: dict[str, Any] = {
    "name": "release",
    "expectation": "expect_column_values_to_match_regex",
    "arguments": {"column": "id", "regex": "^v"},
}


def under(context: Context, *suites: settings.Suite, checks: bool = True) -> Context:
    quality = settings.Quality(checks=checks)
    return replace(
        context, settings=context.settings.model_copy(update={"suites": suites, "quality": quality}), _suites={}
    )


def strict(dataset: str = "silver.deployments", column: str = "id") -> settings.Suite:
    rule = settings.Rule(**RELEASES | {"arguments": {"column": column, "regex": "^v"}})
    return settings.Suite(dataset=dataset, rules=(rule,))


def day(context: Context, number: int) -> tuple[str, Any]:
    row = gold(context)["acme/api", FIRST + timedelta(days=number)]
    return row["trust"], row["deployment_frequency"]


def fresh(context: Context) -> None:
    context.db.client.drop_database(context.db.name)
    schema.ensure(context.db)


@pytest.mark.parametrize("dataset", ["silver.deployments", "bronze.git.tags"])
def test_a_row_that_a_later_rule_sets_aside_takes_no_links_any_more(
    context: Context, recorded: Recorded, dataset: str
) -> None:
    """And once it is discarded, everything is as if the rule had been there from the beginning."""
    suite = strict(dataset, "id")
    source = recorded([*EVENTS, *CANDIDATE])
    run_all(make_context(), source, RANGE)
    assert day(context, 3) == ("proven", 1)
    run_all(under(make_context(), suite), source, RANGE)
    assert day(context, 3) == ("unknown", None)
    assert context.db["silver.deployments"].count_documents({"id": "rc1"}) == 0
    (record,) = context.db[schema.QUARANTINE].find()
    worker = under(make_context(), suite)
    assert aside.discard([record], "no release", worker) == 1
    run_all(worker, source, RANGE)
    assert day(context, 3) == ("proven", 0)
    corrected = snapshot(context)

    fresh(context)
    run_all(under(make_context(), suite), source, RANGE)
    (record,) = context.db[schema.QUARANTINE].find()
    worker = under(make_context(), suite)
    aside.discard([record], "no release", worker)
    run_all(worker, source, RANGE)
    assert snapshot(context) == corrected


@pytest.mark.parametrize("dataset", ["silver.deployments", "bronze.git.tags"])
@pytest.mark.parametrize("checks", [True, False])
def test_a_row_comes_back_when_its_rule_or_all_checks_go(
    context: Context,
    recorded: Recorded,
    dataset: str,
    checks: bool,  # noqa: FBT001 - a table
) -> None:
    """Without the rule nothing says that it is bad: an empty day would be a zero without proof."""
    source = recorded([*EVENTS, *CANDIDATE])
    run_all(under(make_context(), strict(dataset)), source, RANGE)
    assert day(context, 3) == ("unknown", None)
    run_all(under(make_context(), checks=checks), source, RANGE)
    assert day(context, 3) == ("proven", 1)
    assert context.db[schema.QUARANTINE].count_documents({"state": quarantine.State.OPEN}) == 0


def test_a_blocked_window_keeps_its_old_rows_whatever_else_moves(context: Context, recorded: Recorded) -> None:
    rule = settings.Rule(
        name="few", expectation="expect_column_values_to_be_between", arguments={"column": "rows", "max_value": 1},
        judges="partition",
    )  # fmt: skip
    suite = settings.Suite(dataset="silver.deployments", rules=(rule,))
    run_all(under(make_context(), suite), recorded([*EVENTS, *CANDIDATE]), RANGE)
    moved = [
        commit("c", "b", 3.1),
        tag("rc1", "b", 3.5),
        tag("rc2", "c", 3.6),
        commit("d", "c", 4.1),
        tag("v5", "d", 4.5),
    ]
    run_all(under(make_context(), suite), recorded([*EVENTS, *moved]), RANGE)
    assert [day(context, number) for number in (3, 4)] == [("proven", 1), ("proven", 1)]


def test_a_crash_in_the_middle_of_a_correction_is_made_good(
    context: Context, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version that is withdrawn gives way to the one of an older day, also if that took two attempts."""
    run_all(make_context(), recorded([*EVENTS, *CANDIDATE]), RANGE)
    clean = snapshot(context)
    run_all(make_context(), recorded([*EVENTS, CANDIDATE[0], tag("rc1", "c", 4.5)]), RANGE)
    assert day(context, 4) == ("proven", 1)
    real = corrections._correct

    def crashing(*args: Any) -> None:
        real(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(corrections, "_correct", crashing)
    mended = recorded([*EVENTS, *CANDIDATE])
    with pytest.raises(KeyboardInterrupt):
        run_all(make_context(lease_seconds=0.1), mended, RANGE)
    monkeypatch.setattr(corrections, "_correct", real)
    run_all(make_context(), mended, RANGE)
    assert snapshot(context) == clean


def test_a_mended_recording_satisfies_a_rule_on_its_items(context: Context, recorded: Recorded) -> None:
    """The broken version stays in Bronze, and is not set aside at every sweep for ever."""
    suite = settings.Suite(
        dataset="bronze.git.tags",
        rules=(settings.Rule(**RELEASES | {"arguments": {"column": "payload.class", "regex": "^v"}}),),
    )
    broken = [*EVENTS, CANDIDATE[0], CANDIDATE[1] | {"class": "broken"}]
    run_all(under(make_context(), suite), recorded(broken), RANGE)
    assert day(context, 3) == ("unknown", None)
    for _ in range(2):
        run_all(under(make_context(), suite), recorded([*broken[:-1], CANDIDATE[1] | {"class": "v"}]), RANGE)
        assert day(context, 3) == ("proven", 1)


def test_a_replay_asked_for_during_a_sweep_is_not_forgotten(context: Context, recorded: Recorded) -> None:
    """The sweep that is under way knows nothing of it: it loses its claim, and the next one reads all again."""
    source = recorded([*EVENTS, "garbage"])
    run_all(make_context(), source, RANGE)
    (record,) = context.db[schema.QUARANTINE].find()
    worker = make_context()

    class Asking(ReplaySource):
        def sweep(self, *args: Any) -> Any:
            aside.replay([record], worker)
            yield from super().sweep(*args)

    asking = Asking(source.name, [*source.paths])
    with pytest.raises(LeaseLostError):
        bronze.sweep(worker, asking, "files", RANGE, lambda: worker.now)
    sweep = context.db[schema.LEDGER].find_one({"dataset": "sweep"}) or {}
    assert (sweep.get("cursor"), sweep["under_way"]) == (None, True)


def test_what_an_older_version_set_aside_still_counts(context: Context, recorded: Recorded) -> None:
    """Its records have no state: they are open, and not a proof that nothing is missing."""
    source = recorded([*EVENTS, "garbage", tag("v3", "b", 3.5) | {"target": 17}])
    run_all(make_context(), source, RANGE)
    before = [day(context, number) for number in range(6)]
    new = dict.fromkeys(("state", "trace", "rule", "window", "run_id"), "")
    context.db[schema.QUARANTINE].update_many({}, {"$unset": new})
    context.db[schema.LEDGER].update_many({}, {"$set": {"code_version": "old"}, "$unset": {"report": "", "cause": ""}})
    context.db[schema.META].delete_one({"_id": "schema"})
    schema.ensure(context.db)
    assert {one["rule"] for one in context.db[schema.QUARANTINE].find()} == {quarantine.READABLE, quarantine.SHAPE}
    run_all(make_context(datetime(2026, 11, 2, tzinfo=UTC)), source, RANGE)
    assert [day(context, number) for number in range(6)] == before


def test_what_was_made_without_checks_is_measured_once_they_are_on(context: Context, recorded: Recorded) -> None:
    """Also of windows whose content is the same: a history must not begin with the next change."""
    source = recorded([*EVENTS, *CANDIDATE])
    run_all(under(make_context(), checks=False), source, RANGE)
    assert observations.series(context.db) == []
    run_all(make_context(), source, RANGE)
    for dataset in ("bronze.git.tags", "silver.deployments", "silver.deliveries"):
        found = observations.latest(context.db, Series(dataset, "acme/api", "rows"))
        assert len(found) >= 6, dataset
    assert len(observations.latest(context.db, Series("gold.dora_daily", "acme/api", "deployment_frequency"))) == 6
