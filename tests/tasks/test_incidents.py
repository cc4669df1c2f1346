"""From faults in real history to incidents: each is told once, under its root, and resolved when it is mended.

The faults are those of `test_faults`; what they do to the numbers is tested there.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from alerting import evidence
from alerting.incidents import Incident, State
from alerting.reports import Kind
from alerting.store import Store
from config import schema, settings
from config.catalog import DORA_DAILY
from tasks.context import Context
from tasks.sources.contract import Item
from tasks.sources.replay import ReplaySource
from tests.harness import EVENTS, NOW, commit, events, gold, make_context, own_database, run_all, tag
from tests.tasks import test_faults as faults
from tests.tasks.test_faults import FAULTS, HISTORY, ITEMS, RANGE, Stage, discard, emptied

FIRST: Final = date(2024, 1, 1)
DAYS: Final = (FIRST, FIRST + timedelta(days=6))
ORIGIN: Final = faults.ORIGIN
Recorded = Callable[..., ReplaySource]


def reconcile(context: Context, now: datetime | None = None) -> list[Incident]:
    return evidence.reconcile(context.db, context.settings, now or datetime.now(UTC))


def opened(context: Context) -> list[Incident]:
    """The open incidents."""
    return Store.of(context.db, context.settings).listed()


def roots(context: Context) -> list[Incident]:
    """Those that are told by themselves."""
    return [one for one in opened(context) if one.cause is None]


def stored(context: Context) -> list[schema.Document]:
    """All incidents to the byte, the number of writes to each included."""
    return list(context.db[schema.INCIDENTS].find(sort=[("_id", 1)]))


@dataclass(frozen=True)
class Told:
    """What is told of a fault: the root, its severity, and how many effects hang on it."""

    fault: str
    root: str
    severity: str
    effects: int = 0
    stays: int = 0
    """How many are open once it is mended: what Bronze has once had, it keeps."""


TOLD: Final = [
    Told("shallow clone", "bronze.git.commits receipt ", "warning", 2),
    Told("origin vanished", "bronze.git.commits receipt ", "critical", 2),
    Told("raises in the middle", "sweep sweep ", "critical", 3),
    Told("recording ends early", "bronze.git.commits receipt ", "warning", 2),
    Told("hole in a sequence", "bronze.git.tags receipt ", "critical"),
    Told("rate limit", "bronze.git.tags receipt ", "warning"),
    Told("gzip file cut", "bronze.git.commits receipt ", "warning", 2),
    Told("file changed while read", "sweep sweep ", "critical"),
    Told("field renamed", "bronze.git.commits drift author", "warning", 2, stays=2),
    Told("field renamed that is needed", "bronze.git.tags drift object", "critical", 2, stays=2),
    Told("bad sha", "silver.changes sha ", "critical"),
    Told("target null", "silver.deployments shape ", "critical"),
    Told("target of another repository", "silver.deliveries known_commit ", "warning"),
    Told("deployment in the future", "silver.deployments not_in_the_future ", "critical"),
    Told("deployment at an absurd date", "silver.deployments not_before_tools ", "critical"),
    Told("change in milliseconds", "silver.changes authored_possible ", "critical", 1),
    Told("revert without a sha", "bronze.git.reverts receipt ", "critical"),
    Told("a bad day over a good one", "bronze.git.commits drift again", "critical", 4, stays=3),
    Told("no authors for a day", "silver.changes authors_known ", "warning"),
    Told("write lost in Bronze", "bronze.git.tags volume ", "critical"),
    Told("write lost in Silver", "silver.deployments error ", "critical"),
    Told("transform loses an item", "silver.deployments accounted ", "critical"),
    Told("zero without proof", "bronze.git.commits receipt ", "critical", 5),
    Told("count below zero", "gold.dora_daily counts ", "critical", 1),
]


@pytest.fixture(scope="module")
def own(mongo_uri: str) -> Iterator[str]:
    with own_database(mongo_uri, "test_incidents"):
        yield "test_incidents"


@pytest.fixture
def stage(own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:  # noqa: ARG001 - names the database
    """An empty database, and where a fault is put."""
    made = Stage(emptied(), tmp_path, monkeypatch, ITEMS)
    if not ITEMS:
        parts = made.file(HISTORY).sweep("files", None, NOW)
        ITEMS[:] = [part for part in parts if isinstance(part, Item)]
        (tmp_path / "events.jsonl").unlink()
    return made


def put(stage: Stage, name: str) -> None:
    """Run with the fault of that name."""
    (fault,) = [one for one in FAULTS if one.name == name]
    source = fault.inject(stage)
    if fault.raises:
        with pytest.raises(fault.raises):
            run_all(stage.context, source, RANGE)
    else:
        run_all(stage.context, source, RANGE)


def mend(stage: Stage) -> None:
    """What a person does, and the next run."""
    stage.patch.undo()
    stage.later()
    later = replace(stage, context=make_context(NOW + timedelta(hours=1)))
    run_all(later.context, later.file(HISTORY), RANGE)
    if later.context.db[schema.QUARANTINE].count_documents({"state": "open"}):
        discard(later)
        run_all(later.context, later.files(), RANGE)


@pytest.mark.parametrize("told", TOLD, ids=lambda told: told.fault)
def test_a_fault_is_told_once_with_what_follows_from_it_and_resolved_when_it_is_mended(
    stage: Stage, told: Told
) -> None:
    put(stage, told.fault)
    changed = reconcile(stage.context)
    (root,) = roots(stage.context)
    key = root.key
    assert (f"{key.dataset} {key.check} {key.measure}", str(root.severity)) == (told.root, told.severity)
    effects = [one for one in opened(stage.context) if one.cause == root.id]
    assert (len(effects), len(root.effects)) == (told.effects, told.effects)
    assert {one.id for one in changed} == {root.id, *(one.id for one in effects)}
    assert root.facts.title
    assert root.facts.observed
    assert root.facts.command.startswith("touchstone ")
    assert root.metrics

    before = stored(stage.context)
    assert reconcile(stage.context) == []
    assert stored(stage.context) == before

    mend(stage)
    reconcile(stage.context)
    assert len(opened(stage.context)) == told.stays
    assert reconcile(stage.context) == []


@pytest.mark.parametrize("name", ["open window", "the same file twice"])
def test_what_is_not_wrong_opens_nothing(stage: Stage, name: str) -> None:
    """A window that is still open is settled by the next sweep; a file that is there twice is one."""
    put(stage, name)
    assert reconcile(stage.context) == []


def test_it_does_not_matter_who_looks_when(stage: Stage) -> None:
    """Looks in between, or several at once, end in the same incidents."""
    put(stage, "a bad day over a good one")
    threads = [threading.Thread(target=reconcile, args=(stage.context,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reconcile(stage.context)
    several = {(one.key, one.cause, one.severity, one.failing) for one in opened(stage.context)}
    stage.context.db[schema.INCIDENTS].delete_many({})
    reconcile(stage.context)
    assert {(one.key, one.cause, one.severity, one.failing) for one in opened(stage.context)} == several


def test_missing_data_resolves_nothing(stage: Stage) -> None:
    """The source is gone: what was wrong before is as wrong as it was, and the sweep is told beside it."""
    put(stage, "hole in a sequence")
    reconcile(stage.context)
    (hole,) = opened(stage.context)
    run_all(make_context(), stage.told([], fails="no answer"), RANGE)
    reconcile(stage.context)
    assert {one.key.check for one in opened(stage.context)} == {"receipt", "sweep"}
    assert Store.of(stage.context.db, stage.context.settings).find(hole.id).failing == hole.failing
    assert not any(one.state is State.RESOLVED for one in Store.of(stage.context.db, stage.context.settings).listed({}))


def test_an_outage_that_is_over_leaves_nothing_to_tell(stage: Stage) -> None:
    """It began with the first run of a day: the day is still open, and until tomorrow it cannot be proven."""
    for hours, fails in ((6, None), (30, "502"), (31, None)):
        now = schema.start_of(RANGE[1]) + timedelta(hours=hours)
        source = stage.told([] if fails else None, fails, end=now)
        run_all(make_context(now), source, (RANGE[0], now.date() + timedelta(days=1)))
        reconcile(stage.context, now)
        assert [one.key.check for one in roots(stage.context)] == (["sweep"] if fails else [])
    assert opened(stage.context) == []


@pytest.mark.parametrize("repository", ["psf__requests"])
def test_a_clean_history_opens_what_is_true_and_nothing_else(
    context: Context, recorded: Recorded, repository: str
) -> None:
    """Asked for from a month before it begins: those days are unknown, and that is one incident."""
    history = events(repository)
    start = min(faults.day_of(event) for event in history if faults.day_of(event).year > 1990)
    run_all(context, recorded(history), (start - timedelta(days=30), start + timedelta(days=30)))
    reconcile(context)
    assert {one.key.check for one in roots(context)} <= {"receipt", "authored_in_time", "authored_before_committed"}
    (receipt,) = [one for one in roots(context) if one.kind is Kind.RECEIPT]
    assert receipt.facts.observed.startswith("recorded history begins")
    assert max(receipt.failing) <= start.isoformat()


# --- Warnings ---------------------------------------------------------------------------------------------------------


def few(most: int, severity: str = "warning") -> settings.Suite:
    """A rule on deployments: at most so many a day."""
    rule = {
        "name": "few", "expectation": "expect_column_values_to_be_between",
        "arguments": {"column": "rows", "max_value": most}, "judges": "partition", "severity": severity,
    }  # fmt: skip
    return settings.Suite.model_validate({"dataset": "silver.deployments", "rules": [rule]})


def odd(severity: str = "warning") -> settings.Suite:
    """A rule on changes: no text ends with an exclamation mark."""
    rule = {
        "name": "calm", "expectation": "expect_column_values_to_not_match_regex",
        "arguments": {"column": "subject", "regex": "!$"}, "severity": severity,
    }  # fmt: skip
    return settings.Suite.model_validate({"dataset": "silver.changes", "rules": [rule]})


def loud(event: dict[str, Any]) -> dict[str, Any]:
    return event | {"subject": event["subject"] + "!"}


def run(lines: Sequence[Any], recorded: Recorded, *suites: settings.Suite, until: int = 6, since: int = 0) -> Context:
    context = make_context(suites=suites)
    run_all(context, recorded(lines), (FIRST + timedelta(days=since), FIRST + timedelta(days=until)))
    return context


A, B, END, V1, V2 = EVENTS
END_LATER = commit("end2", "end", 9.9)


def test_a_warning_is_over_when_a_later_window_passes_in_a_later_run(database: str, recorded: Recorded) -> None:  # noqa: ARG001
    """Not by an earlier window, nor by an empty one, nor by a later one of the run that found it."""
    context = run([A, loud(B), END, V1, V2], recorded, odd())
    reconcile(context)
    (found,) = opened(context)
    assert found.failing == ("2024-01-03",)
    assert str(found.severity) == "warning"
    early = commit("early", "", 0.3)
    context = run([A, early, loud(B), END, V1, V2], recorded, odd())
    assert reconcile(context) == []  # that the first day passed later says nothing of the third
    context = run([A, early, loud(B), END, V1, V2, tag("v9", "end", 7.5)], recorded, odd(), until=8)
    assert reconcile(context) == []  # there was no change on the new days
    context = run([A, early, loud(B), END, V1, V2, END_LATER], recorded, odd(), until=10)
    assert opened(context)
    (resolved,) = reconcile(context)
    assert (resolved.id, resolved.state) == (found.id, State.RESOLVED)
    context = run([A, early, loud(B), END, V1, V2, END_LATER], recorded, odd(), until=10)
    assert reconcile(context) == []  # the finding is in the ledger for ever, and does not flap


def test_a_warning_that_was_mended_before_anybody_looked_is_not_told(database: str, recorded: Recorded) -> None:  # noqa: ARG001
    run([A, loud(B), END, V1, V2], recorded, odd())
    context = run([A, loud(B), END, V1, V2, END_LATER], recorded, odd(), until=10)
    assert reconcile(context) == []
    assert stored(context) == []


@pytest.mark.parametrize("dataset", ["silver.deployments", "gold.dora_daily"])
def test_days_that_nobody_has_seen_mend_nothing(database: str, recorded: Recorded, dataset: str) -> None:  # noqa: ARG001
    """The recording ends: of the days after it nothing is known, and none of them has too many deployments."""
    lines = [A, B, END, V1, V2, tag("v3", "b", 2.6)]
    column = "rows" if dataset.startswith("silver.") else "deployment_frequency"
    suite = few(1).model_copy(update={"dataset": dataset, "rules": (_reads(few(1).rules[0], column),)})
    context = run(lines, recorded, suite)
    reconcile(context)
    (found,) = opened(context)
    context = run(lines, recorded, suite, until=9)
    reconcile(context)
    assert found.id in {one.id for one in opened(context)}
    context = run([*lines[:-1], '{"type": "tag", "repo": "acme/api", "na'], recorded, suite)
    reconcile(context)
    assert found.id in {one.id for one in opened(context)}, "nor does a torn line its own day"
    run(lines, recorded, suite)
    context = run([*lines, tag("v4", "end", 9.5), END_LATER], recorded, suite, until=10)
    reconcile(context)
    assert found.id not in {one.id for one in opened(context)}


def _reads(rule: settings.Rule, column: str) -> settings.Rule:
    return rule.model_copy(update={"arguments": rule.arguments | {"column": column}})


def test_a_critical_finding_is_over_only_when_its_own_window_is(database: str, recorded: Recorded) -> None:  # noqa: ARG001
    context = run([A, B, END, V1, V2, tag("v3", "b", 2.6)], recorded, few(1, "critical"))
    reconcile(context)
    (found,) = opened(context)
    assert found.key.check == "few"
    context = run([A, B, END, V1, V2, tag("v3", "b", 2.6), tag("v4", "end", 9.5), END_LATER], recorded,
                  few(1, "critical"), until=10)  # fmt: skip
    assert reconcile(context) == []
    context = run([A, B, END, V1, V2, tag("v3", "b", 2.6), tag("v4", "end", 9.5), END_LATER], recorded,
                  few(2, "critical"), until=10)  # fmt: skip
    (resolved,) = reconcile(context)
    assert resolved.state is State.RESOLVED


def test_a_backfill_of_older_windows_neither_closes_nor_hides_the_newer_problem(
    database: str,  # noqa: ARG001
    recorded: Recorded,
) -> None:
    lines = [A, B, loud(END), V1, V2]
    context = run(lines, recorded, odd(), since=4)
    reconcile(context)
    (found,) = opened(context)
    context = run(lines, recorded, odd(), until=4)
    assert reconcile(context) == []
    context = run([loud(A), B, loud(END), V1, V2], recorded, odd())
    reconcile(context)
    (after,) = opened(context)
    assert (after.id, after.failing) == (found.id, ("2024-01-01", "2024-01-06"))


def test_gold_says_which_incidents_touch_it(database: str, recorded: Recorded) -> None:  # noqa: ARG001
    """Those of its scope and window, effects too; those that are not about windows from their opening on."""
    context = run([A, loud(B), END, V1, V2], recorded, odd())
    reconcile(context)
    (found,) = opened(context)
    rows = gold(context)
    assert {day.isoformat(): row["incidents"] for (_, day), row in rows.items() if row["incidents"]} == {
        "2024-01-03": [found.id]
    }
    incidents = context.db[schema.INCIDENTS]
    since = datetime(2024, 1, 5, 13, tzinfo=UTC)
    incidents.update_one({"_id": found.id}, {"$set": {"failing": [""], "opened_at": since}})
    touched = [day for (_, day), row in gold(context).items() if row["incidents"]]
    assert sorted(touched) == [date(2024, 1, 5), date(2024, 1, 6)]
    for number, first in ((schema.FAILING - 1, 4), (schema.FAILING, 1)):  # so many that the older ones are forgotten
        names = [(date(2024, 1, 4) + timedelta(days=later)).isoformat() for later in range(number)]
        incidents.update_one({"_id": found.id}, {"$set": {"failing": names}})
        assert min(day for (_, day), row in gold(context).items() if row["incidents"]) == date(2024, 1, first)
    incidents.update_one({"_id": found.id}, {"$set": {"open": False}})
    assert not any(row["incidents"] for row in context.db[DORA_DAILY.name].find())
