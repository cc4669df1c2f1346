"""Stage, check, publish in every layer: what is held back, what is told, what is not asked again."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from itertools import count
from typing import Any

import pytest

from config import schema, settings
from quality import observations, validation
from quality.observations import Cause, Series
from tasks import checks, inspection
from tasks.context import Context
from tasks.sources.replay import ReplaySource
from tests.harness import EVENTS, commit, gold, make_context, revert, run_all, snapshot, tag

FIRST = date(2024, 1, 1)
RANGE = (FIRST, FIRST + timedelta(days=6))
Recorded = Callable[..., ReplaySource]

NEWS = [commit("c", "b", 3.1), commit("c2", "c", 3.2), tag("v3", "c", 3.5), tag("v3.1", "c2", 3.6)]


def under(context: Context, *suites: settings.Suite) -> Context:
    """The same worker, with more declared."""
    return replace(context, settings=context.settings.model_copy(update={"suites": suites}), _suites={})


def rule(dataset: str, judges: str, column: str, severity: str = "critical", **arguments: Any) -> settings.Suite:
    declared = {
        "name": "mine", "expectation": "expect_column_values_to_be_between",
        "arguments": {"column": column, **arguments}, "judges": judges, "severity": severity,
    }  # fmt: skip
    return settings.Suite.model_validate({"dataset": dataset, "rules": [declared]})


def day(context: Context, number: int) -> dict[str, Any]:
    return gold(context)["acme/api", FIRST + timedelta(days=number)]


LAYERS = [
    rule("bronze.git.tags", "partition", "rows", max_value=1),
    rule("bronze.git.tags", "batch", "payload.tag_ts", max_value=tag("", "", 3.55)["tag_ts"]),
    rule("silver.deployments", "partition", "rows", max_value=1),
    rule("silver.deployments", "batch", "deployed_ts", max_value=tag("", "", 3.55)["tag_ts"]),
    rule("silver.deliveries", "partition", "rows.deployment", max_value=1),
    rule("gold.dora_daily", "partition", "deployment_frequency", max_value=1),
]


@pytest.mark.parametrize("suite", LAYERS, ids=lambda suite: f"{suite.dataset} {suite.rules[0].judges}")
def test_a_critical_rule_keeps_the_last_good_revision_and_its_repair_publishes_the_rest(
    context: Context, recorded: Recorded, suite: settings.Suite
) -> None:
    """The day that was good before stays as it was, the others go on; without the rule it is as if it had not been."""
    run_all(under(make_context(), suite), recorded(EVENTS), RANGE)
    before = day(context, 3)
    assert (before["trust"], before["deployment_frequency"]) == ("proven", 0)
    run_all(under(make_context(), suite), recorded([*EVENTS, *NEWS]), RANGE)
    assert day(context, 3) == before
    assert day(context, 2)["deployment_frequency"] == 1
    (held,) = inspection.held_back(context)
    assert (held.dataset, held.scope, held.day) == (suite.dataset, "acme/api", FIRST + timedelta(days=3))
    assert "mine" in [finding["rule"] for finding in held.findings]

    run_all(make_context(), recorded([*EVENTS, *NEWS]), RANGE)
    assert inspection.held_back(context) == []
    assert (day(context, 3)["trust"], day(context, 3)["deployment_frequency"]) == ("proven", 2)
    mended = snapshot(context)
    context.db.client.drop_database(context.db.name)
    schema.ensure(context.db)
    run_all(make_context(), recorded([*EVENTS, *NEWS]), RANGE)
    assert snapshot(make_context()) == mended


@pytest.mark.parametrize("suite", LAYERS, ids=lambda suite: f"{suite.dataset} {suite.rules[0].judges}")
def test_what_is_held_back_the_first_time_is_unknown_with_the_rule_as_its_reason(
    context: Context, recorded: Recorded, suite: settings.Suite
) -> None:
    run_all(under(context, suite), recorded([*EVENTS, *NEWS]), RANGE)
    unknown = day(context, 3)
    assert (unknown["trust"], unknown["deployment_frequency"], unknown["changes_shipped"]) == ("unknown", None, None)
    assert "blocked by the rule mine" in unknown["reasons"]["deployment_frequency"]
    assert len(inspection.held_back(context)) == 1
    assert day(context, 0)["trust"] == "proven"


@pytest.mark.parametrize("suite", LAYERS, ids=lambda suite: f"{suite.dataset} {suite.rules[0].judges}")
def test_a_warning_is_published_and_reported(context: Context, recorded: Recorded, suite: settings.Suite) -> None:
    (declared,) = suite.rules
    milder = suite.model_copy(update={"rules": (declared.model_copy(update={"severity": "warning"}),)})
    run_all(under(context, milder), recorded([*EVENTS, *NEWS]), RANGE)
    assert (day(context, 3)["trust"], day(context, 3)["deployment_frequency"]) == ("proven", 2)
    found = [one for one in inspection.results(context, suite.dataset) if one.outcome == "warned"]
    assert [one.day for one in found] == [FIRST + timedelta(days=3)]
    (finding,) = found[0].findings
    assert (finding["rule"], finding["severity"]) == ("mine", "warning")
    assert finding["expected"]
    assert finding["observed"]


BROKEN = [
    ("silver.deployments", "row", "no_such_field", "does not exist"),
    ("silver.deployments", "batch", "no_such_field", "does not exist"),
    ("silver.changes", "partition", "no_such_measure", "does not exist"),
    ("gold.dora_daily", "partition", "no_such_metric", "does not exist"),
]


@pytest.mark.parametrize(("dataset", "judges", "column", "told"), BROKEN)
@pytest.mark.parametrize("severity", ["critical", "warning"])
def test_a_check_that_breaks_is_no_pass(  # noqa: PLR0917 - a table
    context: Context, recorded: Recorded, dataset: str, judges: str, column: str, told: str, severity: str
) -> None:
    """A critical one holds the data back, as nothing says that it is good; a warning says that it could not be said."""
    run_all(under(context, rule(dataset, judges, column, severity, max_value=1)), recorded(EVENTS), RANGE)
    found = [one for one in inspection.results(context, dataset) if any(f.get("broke") for f in one.findings)]
    assert found
    assert {one.outcome for one in found} == {"blocked" if severity == "critical" else "broken"}
    (finding,) = [finding for finding in found[0].findings if finding.get("broke")]
    assert told in finding["observed"]
    trust = "unknown" if severity == "critical" else "proven"
    assert day(context, 2)["trust"] in (trust, "partial" if severity == "critical" else trust)


def test_nothing_is_asked_of_the_validator_when_there_is_no_news(
    context: Context, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = recorded(EVENTS)
    run_all(context, source, RANGE)
    before = snapshot(context)

    def asked(*_: object) -> None:
        raise AssertionError("the validator was asked")

    monkeypatch.setattr(validation.Validator, "judge", asked)
    monkeypatch.setattr(validation.Validator, "warm", asked)
    run_all(make_context(), source, RANGE)
    assert snapshot(context) == before


def test_nobody_passes_because_there_was_nothing(context: Context, recorded: Recorded) -> None:
    run_all(context, recorded(EVENTS), RANGE)
    outcomes = {one.day: one.outcome for one in inspection.results(context, "silver.deployments")}
    assert outcomes[FIRST] == "passed"
    assert outcomes[FIRST + timedelta(days=1)] == "empty"


def known(context: Context, measure: str, number: int, dataset: str = "gold.dora_daily") -> list[tuple[Any, str]]:
    at = schema.start_of(FIRST + timedelta(days=number))
    found = observations.restatements(context.db, Series(dataset, "acme/api", measure), at)
    return [(one.value, str(one.cause)) for one in found.get(at, [])]


def test_the_history_says_what_was_known_and_why_it_changed(context: Context, recorded: Recorded) -> None:
    """Late data, a repair, a changed rule, a replayed row: each leaves its own word, in Silver and in Gold."""
    run_all(context, recorded([*EVENTS, '{"type": "tag", "repo": "acme/api", "tag_ts": 1704153600, "na']), RANGE)
    assert known(context, "deployment_frequency", 1) == [(None, Cause.FIRST)]
    run_all(make_context(), recorded(EVENTS), RANGE)
    assert known(context, "deployment_frequency", 1) == [(None, Cause.FIRST), (0, Cause.REPAIR)]
    run_all(make_context(), recorded([*EVENTS, *NEWS]), RANGE)
    assert known(context, "deployment_frequency", 3) == [(0, Cause.FIRST), (2, Cause.LATE_DATA)]
    assert known(context, "rows", 3, "silver.changes") == [(0, Cause.FIRST), (2, Cause.LATE_DATA)]
    strict = under(
        make_context(), rule("silver.deployments", "row", "deployed_ts", max_value=tag("", "", 3.55)["tag_ts"])
    )
    run_all(strict, recorded([*EVENTS, *NEWS]), RANGE)
    assert known(context, "rows", 3, "silver.deployments")[-1] == (1, Cause.DEFINITION)
    assert known(context, "deployment_frequency", 3)[-1][0] is None


def test_the_newest_observation_of_every_metric_is_what_gold_shows(context: Context, recorded: Recorded) -> None:
    events = [*EVENTS, *NEWS, commit("r", "c", 4.2), revert("r", "c", 4.2), tag("v4", "r", 4.5)]
    run_all(context, recorded(EVENTS), RANGE)
    run_all(make_context(), recorded(events), RANGE)
    for (scope, at), row in gold(context).items():
        for series in observations.series(context.db, "gold.dora_daily", scope):
            told = {one.at.date(): one.value for one in observations.latest(context.db, series)}
            assert told.get(at) == row[series.measure], (at, series.measure)


def told(context: Context) -> dict[str, list[tuple[Any, Any]]]:
    """The newest number of every series, but for zeros: a restatement names some that a first statement leaves out."""
    found = {}
    for series in observations.series(context.db):
        statements = observations.latest(context.db, series)
        found[str(series)] = [(one.at, one.value) for one in statements if one.value]
    return {series: numbers for series, numbers in found.items() if numbers}


def test_a_crash_before_the_observations_is_made_good(
    context: Context, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was published and not observed is observed by the next run, in every layer, though nothing is new."""
    source = recorded([*EVENTS, *NEWS])
    run_all(make_context(), source, RANGE)
    expected = told(context)
    context.db.client.drop_database(context.db.name)
    schema.ensure(context.db)
    calls = count()
    real = checks.observe

    def crashing(*args: Any, **kwargs: Any) -> None:
        if next(calls) % 3 == 1:
            raise KeyboardInterrupt
        real(*args, **kwargs)

    monkeypatch.setattr(checks, "observe", crashing)
    crashes = 0
    while crashes < 20:
        try:
            run_all(make_context(lease_seconds=0.2), source, RANGE)
        except KeyboardInterrupt:
            crashes += 1
        else:
            break
    assert crashes > 2
    monkeypatch.setattr(checks, "observe", real)
    run_all(make_context(), source, RANGE)
    assert context.db[schema.LEDGER].count_documents({"unobserved": True}) == 0
    assert told(context) == expected
