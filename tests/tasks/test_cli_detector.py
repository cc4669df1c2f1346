"""`detector` as a person uses it: what is tried out writes nothing, and what is said is kept and takes effect."""

import io
import json
import random
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import bson
import pytest
from rich.console import Console

from alerting import folding
from alerting.incidents import Facts, Incident, Key, Kind, Report
from alerting.store import Store
from config import schema, settings
from quality import observations
from quality.detector import said, verdicts
from quality.detector.said import Says
from quality.detector.verdicts import Cell, State, Verdict
from quality.findings import Severity
from quality.observations import Observation, Series
from tasks import cli, cli_detector, selftests
from tasks.cli_common import whoami
from tasks.context import Context
from tests.tasks.calling import Run, caller

NOW = datetime.now(UTC)
TODAY = NOW.date()


@pytest.fixture
def run(
    database: str,  # noqa: ARG001 - names the database
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Run:
    monkeypatch.setattr(cli_detector, "out", Console(width=200, highlight=False))
    return caller(monkeypatch, capsys, tmp_path)


@pytest.fixture
def store(context: Context) -> Store:
    return Store.of(context.db, context.settings)


def opened(store: Store, dataset: str, *days: int, kind: Kind = Kind.ANOMALY) -> Incident:
    """An incident on windows so many days back."""
    reports = [
        Report(
            Key(dataset, "acme/api", "anomaly"),
            NOW - timedelta(hours=1),
            failed=True,
            kind=kind,
            window=TODAY - timedelta(days=day),
            severity=Severity.WARNING,
            facts=Facts("fewer rows than expected"),
        )
        for day in days
    ]
    (incident,) = store.fold(reports, NOW)
    return incident


def heard(context: Context) -> list[tuple[str, str, date, date | None, str]]:
    return [(one.says, one.dataset, one.first, one.last, one.incident) for one in said.heard(context.db)]


def ago(days: int) -> date:
    return TODAY - timedelta(days=days)


@pytest.mark.parametrize("word", ["expected", "fault"])
def test_feedback_is_kept_of_the_windows_of_the_incident_and_no_others(
    run: Run, store: Store, context: Context, word: str
) -> None:
    """What lies between two anomalies was normal already, and nobody has spoken of it."""
    incident = opened(store, "silver.changes", 9, 8, 5)
    ran = run("detector", "feedback", incident.id[:6], word, "--note", "the holidays of the vendor", "--by", "ada")
    assert ran.code == 0, ran.err
    assert heard(context) == [
        (word, "silver.changes", ago(9), ago(8), incident.id),
        (word, "silver.changes", ago(5), ago(5), incident.id),
    ]
    assert {(one.by, one.note, one.measures) for one in said.heard(context.db)} == {
        ("ada", "the holidays of the vendor", ())
    }
    assert ("next `touchstone run`" if word == "expected" else "never teach") in ran.err


def test_feedback_is_of_the_effects_in_other_layers_too(run: Run, store: Store, context: Context) -> None:
    """The same anomaly in Bronze and Silver is one problem: to be asked twice would be one time too many."""
    cause = opened(store, "bronze.git.commits", 3)
    effect, other = opened(store, "silver.changes", 3), opened(store, "silver.failures", 3)
    finding = opened(store, "gold.dora_daily", 3, kind=Kind.FINDING)
    for one in (effect, finding):
        store.change(one.id, lambda one: folding.attach(one, cause.id))
    assert run("detector", "feedback", cause.id, "expected").code == 0
    assert {one.incident for one in said.heard(context.db)} == {cause.id, effect.id}
    assert {one.by for one in said.heard(context.db)} == {whoami()}
    assert other.id not in {one.incident for one in said.heard(context.db)}


def test_feedback_of_an_incident_that_is_over_is_of_what_was_wrong(run: Run, store: Store, context: Context) -> None:
    incident = opened(store, "silver.changes", 9)
    well = Report(incident.key, NOW, failed=False, kind=Kind.ANOMALY, window=ago(8))
    (after,) = store.fold([well], NOW)
    assert after.failing == ()
    assert run("detector", "feedback", incident.id, "fault").code == 0
    assert heard(context) == [("fault", "silver.changes", ago(9), ago(9), incident.id)]


def test_feedback_is_refused_where_it_means_nothing(run: Run, store: Store, context: Context) -> None:
    finding = opened(store, "silver.changes", 3, kind=Kind.FINDING)
    ran = run("detector", "feedback", finding.id, "expected")
    assert ran.code == cli.FAILED
    assert "is no anomaly, but of the kind finding" in ran.err
    assert f"touchstone incidents resolve {finding.id}" in ran.err
    unknown = run("detector", "feedback", "zzz", "fault")
    assert (unknown.code, "no incident begins with 'zzz'" in unknown.err) == (cli.FAILED, True)
    assert run("detector", "feedback", finding.id, "perhaps").code == cli.USAGE
    assert heard(context) == []


def observed(context: Context, *series: tuple[str, str, str]) -> None:
    """A number each, of today."""
    at = schema.start_of(TODAY)
    observations.append(context.db, [Observation(Series(*of), at, 1) for of in series], run_id="r", recorded_at=NOW)


def test_expect_is_kept_from_a_day_on(run: Run, context: Context) -> None:
    observed(context, ("silver.changes", "acme/api", "rows"), ("silver.changes", "acme/api", "distinct.author"))
    ran = run(
        "detector", "expect", "silver.changes", "acme/api", "--measure", "rows", "--from", f"{ago(4)}", "--by", "a"
    )
    assert ran.code == 0, ran.err
    (one,) = said.heard(context.db)
    assert (one.says, one.first, one.last, one.measures) == (Says.NORMAL, ago(4), None, ("rows",))
    assert f"the new normal from {ago(4)} on, says a" in ran.err


def test_expect_begins_with_the_anomaly_that_is_open(run: Run, store: Store, context: Context) -> None:
    """Who says "this is the new normal" has just looked at it; without one it is from today on."""
    observed(context, ("silver.changes", "acme/api", "rows"))
    assert run("detector", "expect", "silver.changes", "acme/api").code == 0
    opened(store, "silver.changes", 6, 5)
    assert run("detector", "expect", "silver.changes", "acme/api").code == 0
    assert [(one.first, one.measures) for one in said.heard(context.db)] == [(TODAY, ()), (ago(6), ())]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("silver.change", "acme/api"), "no dataset 'silver.change'; there is 'silver.changes'"),
        (("silver.changes", "acme/app"), "no scope of silver.changes 'acme/app'; there is 'acme/api'"),
        (("silver.changes", "acme/api", "--measure", "row"), "no measure of silver.changes acme/api 'row'"),
        (("silver.changes", "acme/api", "--from", "2999-01-01"), "[[detector.events]]"),
    ],
)  # fmt: skip
def test_what_is_not_observed_cannot_be_expected(
    run: Run, context: Context, arguments: tuple[str, ...], message: str
) -> None:
    observed(context, ("silver.changes", "acme/api", "rows"))
    ran = run("detector", "expect", *arguments)
    assert (ran.code, heard(context)) == (cli.USAGE, [])
    assert message in ran.err


DAYS = 110
FALLEN = 12
"""So many days ago there was nothing."""


@pytest.fixture
def remembered(context: Context) -> Context:
    """Two series with a history, of which one fell to nothing for two days, and one that has begun three days ago."""
    chance = random.Random(1)  # noqa: S311 - not for secrets
    told = []
    for scope, days in (("acme/api", DAYS), ("acme/web", DAYS), ("acme/new", 3)):
        for day in range(days, 0, -1):
            fallen = scope == "acme/api" and day in {FALLEN, FALLEN - 1}
            rows = 0 if fallen else int(chance.gauss(200, 14) / (1 if ago(day).weekday() < 5 else 5))
            numbers = {"rows": rows, "freshness_seconds": 86_400 * fallen + chance.gammavariate(4, 900)}
            numbers |= {} if fallen else {"null_ratio.author": chance.betavariate(5, 95)}
            at = schema.start_of(ago(day))
            told += [Observation(Series("silver.changes", scope, name), at, n) for name, n in numbers.items()]
    observations.append(context.db, told, run_id="r", recorded_at=NOW)
    return context


def everything(context: Context) -> dict[str, list[bytes]]:
    """All that is in the database, byte by byte."""
    return {
        name: sorted(bson.encode(one) for one in context.db[name].find())
        for name in context.db.list_collection_names(filter={"type": {"$ne": "view"}})
        if not name.startswith("system.")
    }


def drawn(folder: Path) -> list[str]:
    assert all(path.read_text(encoding="utf-8").startswith("<svg") for path in folder.iterdir())
    return sorted(path.name for path in folder.iterdir())


def test_a_backtest_shows_the_alert_with_its_reason_and_writes_nothing(
    run: Run, remembered: Context, tmp_path: Path
) -> None:
    """The user's own data stays as it is, byte for byte."""
    before = everything(remembered)
    ran = run("detector", "backtest", "--days", "28", "--charts", str(tmp_path / "charts"))
    assert ran.code == 0, ran.err
    assert re.search(rf"^{ago(FALLEN)} to \S+  silver.changes acme/api: ", ran.out, re.MULTILINE)
    for word in ("as it is known now", "  expected: ", "  observed: ", ": 0 rows", "  why: ", "the budget is 1", "▁"):
        assert word in ran.out
    assert "blind: silver.changes acme/new" in ran.out
    assert "Nothing was written" in ran.out
    assert everything(remembered) == before
    assert f"silver.changes.acme_api.rows.{ago(28)}.svg" in drawn(tmp_path / "charts")


def test_a_backtest_for_programs(run: Run, remembered: Context) -> None:  # noqa: ARG001
    found = json.loads(run("detector", "backtest", "--days", "28", "--scope", "acme/api", "--json").out)
    (series,) = found["series"]
    alert = next(one for one in series["alerts"] if one["first"] == f"{ago(FALLEN)}")
    assert alert["windows"][:2] == [f"{ago(FALLEN)}", f"{ago(FALLEN - 1)}"]
    assert (alert["last"], alert["measure"], alert["observed"]) == (alert["windows"][-1], "rows", 0.0)
    assert alert["times_rarer"] >= 1
    assert alert["low"] <= alert["expected"] <= alert["high"]
    assert (series["judged"], series["blind"], found["budget"]) == (28, 0, 1.0)


def test_a_selftest_says_what_is_found_and_what_is_blind_and_writes_nothing(
    run: Run, remembered: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faults are injected into copies in memory: no collection changes, byte for byte."""
    kept: list[Any] = []
    real = selftests.run

    def spied(*arguments: Any) -> Any:
        kept.append(real(*arguments))
        return kept[-1]

    monkeypatch.setattr(selftests, "run", spied)
    monkeypatch.setattr("quality.detector.selftest.PLACES", 1)  # it is the fits that take time
    before = everything(remembered)
    ran = run("detector", "selftest", "--days", "60", "--json", "--charts", str(tmp_path / "charts"))
    assert ran.code == 0, ran.err
    assert everything(remembered) == before
    found = json.loads(ran.out)
    (dataset,) = found["datasets"]
    gap = dataset["faults"]["gap"]
    assert (gap["injected"], gap["recall"]) == (2, 1.0)
    assert (dataset["series"], dataset["blind"]) == (3, 1)
    assert found["blind"] == [{"dataset": "silver.changes", "scope": "acme/new"}]
    assert dataset["faults"]["unit"] == {"injected": 0, "found": 0, "recall": None, "days_to_detection": None}
    console = Console(width=200, file=io.StringIO(), record=True)
    selftests.show(kept[0], console)
    told = console.export_text()
    for word in (
        "blind: silver.changes acme/new",
        "no rows at all",
        f"gap\u00a0{gap['found']}/{gap['injected']}",
        "budget is 1",
    ):
        assert word in told
    assert any("_gap_" in name for name in drawn(tmp_path / "charts"))


@pytest.mark.parametrize("command", ["backtest", "selftest"])
def test_without_history_there_is_nothing_to_try(run: Run, command: str) -> None:
    ran = run("detector", command, "--dataset", "silver.nothing")
    assert (ran.code, "nothing is observed of silver.nothing" in ran.err) == (cli.USAGE, True)


def test_status_says_what_is_judged_and_what_a_blind_series_lacks(run: Run, remembered: Context) -> None:
    cells = (Cell("rows", 12.0, 200.0, 150.0, 250.0, 0.9, "today", 120, "count"),)
    api = Verdict("silver.changes", "acme/api", ago(1), State.ANOMALY, NOW, "r", "x", rarity=4.0, cells=cells)
    new = replace(api, scope="acme/new", state=State.BLIND, cells=(), missing="11 more windows are needed")
    verdicts.put(remembered.db, [api, replace(api, window=ago(2), state=State.NORMAL), new])
    ran = run("detector", "status")
    assert ran.code == 0, ran.err
    assert "3 series: 1 judged, 1 blind, 1 not yet." in ran.out
    assert "11 more windows are needed" in ran.out
    lines = {one["scope"]: one for one in json.loads(run("detector", "status", "--json").out)}
    line = lines["acme/api"]
    assert (line["stands"], line["said"], line["window"], line["history"], line["anomalies"]) == (
        "judged", "anomaly", f"{ago(1)}", 120, 1,
    )  # fmt: skip
    assert (lines["acme/new"]["stands"], lines["acme/web"]["stands"]) == ("blind", "not yet")
    assert [one["scope"] for one in json.loads(run("detector", "status", "--scope", "acme/web", "--json").out)] == [
        "acme/web"
    ]
    assert run("detector", "status", "--dataset", "nothing").code == cli.USAGE


def test_status_of_what_is_not_judged_by_configuration(run: Run, remembered: Context, tmp_path: Path) -> None:  # noqa: ARG001
    (tmp_path / "touchstone.toml").write_text(
        '[[detector.datasets]]\ndataset = "silver.*"\njudge = false\n', encoding="utf-8"
    )
    settings.load.cache_clear()
    assert "3 series: 3 off." in run("detector", "status").out


def test_status_of_nothing_is_no_failure(run: Run) -> None:
    assert run("detector", "status") == (
        0, "Nothing is observed yet: try `touchstone run`, or `touchstone backfill` for the past.\n", "",
    )  # fmt: skip
