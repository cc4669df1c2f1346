"""The watchdog: what never happened is found by its deadline, and by nothing else."""

import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from alerting import completeness, watchdog
from alerting.folding import resolve
from alerting.incidents import Incident
from alerting.reports import Key, Kind, Report
from alerting.store import Store
from config import schema, settings
from config.schema import DAY
from config.settings import Schedule, Settings
from quality.findings import Severity
from tasks.context import Context
from tasks.sources.replay import ReplaySource
from tests.harness import EVENTS, at, run_all

GOLD = "gold.dora_daily"
API, WEB = "acme/api", "acme/web"
MONDAY = date(2026, 3, 9)
DUE = datetime(2026, 3, 10, 6, tzinfo=UTC)
"""When MONDAY must be complete: at seven in Berlin."""
SECOND = timedelta(seconds=1)

Put = Callable[..., None]


def scheduled(**more: Any) -> Settings:
    """Settings with one schedule; `also` are others."""
    also = more.pop("also", ())
    declared = {"dataset": GOLD, "cron": "0 7 * * *", "timezone": "Europe/Berlin", **more}
    return settings.load().model_copy(update={"schedules": (Schedule(**declared), *also)})


@pytest.fixture
def put(context: Context) -> Put:
    """Writes what the ledger says of a window, published two hours after its end if nothing else is said."""

    def write(day: date, scope: str = API, dataset: str = GOLD, **fields: Any) -> None:
        key = f"{dataset}|{scope}|{day}"
        made = {"revision": "r", "published_at": schema.start_of(day) + DAY + timedelta(hours=2)}
        kept = {"dataset": dataset, "scope": scope, "window": schema.start_of(day), "fence": 1, **made, **fields}
        kept = {name: value for name, value in kept.items() if value is not None}
        context.db[schema.LEDGER].replace_one({"_id": key}, kept, upsert=True)

    return write


@pytest.fixture
def look(context: Context) -> Callable[..., list[Report]]:
    """What the watchdog says at a moment."""
    return lambda now, loaded=None: watchdog.reports(context.db, loaded or scheduled(), now)


@pytest.fixture
def tick(context: Context) -> Callable[..., list[Incident]]:
    """What changes when the notifier looks, as it does once a second."""
    store = Store(context.db)
    return lambda now, loaded=None: store.fold(watchdog.reports(context.db, loaded or scheduled(), now), now)


def missed(reports: list[Report]) -> list[tuple[str, str]]:
    return sorted((one.key.scope, str(one.window)) for one in reports if one.failed)


def incidents(context: Context) -> dict[str, Incident]:
    return {one.key.scope: one for one in Store(context.db).listed()}


def test_a_dataset_that_never_ran_is_found_at_its_deadline(look: Any) -> None:
    """In an empty database there is nothing that could say so; to the second, and not before."""
    (found,) = look(DUE)
    assert (found.key, found.window, found.at) == (Key(GOLD, "*", "complete"), MONDAY, DUE)
    assert (found.kind, found.severity, found.lasting) == (Kind.MISSING, Severity.CRITICAL, True)
    assert found.facts.title == "gold.dora_daily is not complete for 2026-03-09"
    assert found.facts.expected == "complete by 2026-03-10 07:00 Europe/Berlin (2026-03-10 06:00 UTC)"
    assert found.facts.observed == "no run has ever made a window of it"
    assert found.facts.command == "touchstone backfill --from 2026-03-09 --to 2026-03-09"
    assert look(DUE + DAY - SECOND) == [found]
    assert missed(look(DUE + DAY)) == [("*", "2026-03-09"), ("*", "2026-03-10")]


def test_a_window_that_was_not_made_is_found_though_the_ones_before_it_were(look: Any, put: Put) -> None:
    for n in range(1, 6):
        put(MONDAY - n * DAY)
    assert look(DUE - SECOND) == []
    (found,) = look(DUE)
    assert (found.key.scope, found.window, found.scopes) == (API, MONDAY, (API,))
    assert found.facts.observed == "no run has made it"


def test_holes_are_found_though_nobody_looked_when_they_came(look: Any, put: Put) -> None:
    """What was missed while no notifier ran; the command mends all of it."""
    for n in (0, 1, 3, 4, 6):
        put(MONDAY - n * DAY)
    assert look(DUE - 6 * DAY) == []
    found = look(DUE)
    assert missed(found) == [(API, "2026-03-04"), (API, "2026-03-07")]
    assert [one.at for one in found] == [DUE - 5 * DAY, DUE - 2 * DAY]
    assert found[-1].facts.command == "touchstone backfill --from 2026-03-04 --to 2026-03-07"


def test_of_a_new_schedule_only_the_newest_window_counts(look: Any, put: Put) -> None:
    """It is put on a database that has had holes for weeks, and a scope that has made nothing for long."""
    for n in (2, 3, 5, 30):
        put(MONDAY - n * DAY)
    put(MONDAY - 20 * DAY, WEB)
    assert missed(look(DUE)) == [(API, "2026-03-09"), (WEB, "2026-03-09")]
    assert missed(look(DUE + DAY)) == [
        (API, "2026-03-09"),
        (API, "2026-03-10"),
        (WEB, "2026-03-09"),
        (WEB, "2026-03-10"),
    ]


EARLY = schema.start_of(MONDAY) + timedelta(hours=20)
LATE = schema.start_of(MONDAY) + DAY + timedelta(hours=1)
FINDING = {"findings": [{"rule": "positive", "severity": "critical"}]}


@pytest.mark.parametrize(
    ("fields", "observed"),
    [
        ({"published_at": LATE}, None),
        ({"published_at": schema.start_of(MONDAY) + DAY}, None),  # a window ends when the next one begins
        ({"published_at": LATE, "trust": "unknown"}, None),  # it says that it is unknown: that has its own incident
        ({"published_at": LATE, "error": "RuntimeError: x"}, None),  # made in time; that a later run failed is a task's
        ({"published_at": LATE, "blocked": {"first": False, "report": FINDING}}, None),  # late records are held back
        ({"published_at": LATE, "owner": "worker"}, None),  # made, and being made again
        ({"published_at": EARLY}, "it was made at 2026-03-09 20:00 UTC, while it was still open, and not since"),
        ({"published_at": EARLY, "error": "OSError: mongodb://u:pw@h"}, "the last attempt failed: OSError: "),
        ({"published_at": EARLY, "blocked": {"first": False, "report": FINDING}}, "it is held back by positive"),
        ({"published_at": LATE, "blocked": {"first": True, "report": FINDING}}, "it is held back by positive"),
        ({"revision": None, "published_at": None, "error": "RuntimeError: no"}, "the last attempt failed: Runtime"),
        ({"revision": None, "published_at": None, "owner": "worker"}, "it is being worked on"),
        ({"revision": None, "published_at": None}, "it was begun and not finished"),
        ({"proof": {"state": "failed", "reason": "the sweep failed: 502"}}, "its extraction failed: the sweep failed"),
        ({"proof": {"state": "unproven", "reason": "shallow"}}, None),
    ],
)
def test_what_the_ledger_says_of_it(look: Any, put: Put, fields: dict[str, Any], observed: str | None) -> None:
    put(MONDAY - DAY)
    put(MONDAY, **fields)
    found = look(DUE)
    if observed is None:
        assert found == []
    else:
        assert [one.window for one in found] == [MONDAY]
        assert found[0].facts.observed.startswith(observed)
        assert "pw" not in found[0].facts.observed


def test_a_miss_is_one_incident_and_completion_resolves_it(context: Context, tick: Any, put: Put) -> None:
    """To look again every second changes nothing, and writes nothing."""
    put(MONDAY - DAY)
    assert [one.key.scope for one in tick(DUE)] == [API]
    before = list(context.db[schema.INCIDENTS].find())
    assert [tick(DUE + n * SECOND) for n in range(1, 4)] == [[], [], []]
    assert list(context.db[schema.INCIDENTS].find()) == before
    put(MONDAY, published_at=DUE + timedelta(hours=3))
    (over,) = tick(DUE + timedelta(hours=3))
    assert (over.state, over.resolved_at) == ("resolved", DUE + timedelta(hours=3))
    assert tick(DUE + timedelta(hours=4)) == []


def test_a_later_window_does_not_mend_an_older_one(context: Context, tick: Any, put: Put) -> None:
    put(MONDAY - DAY)
    tick(DUE)
    put(MONDAY + DAY)
    assert tick(DUE + DAY) == []
    assert incidents(context)[API].failing == ("2026-03-09",)
    assert tick(DUE + 2 * DAY)
    assert incidents(context)[API].failing == ("2026-03-09", "2026-03-11")
    put(MONDAY)
    put(MONDAY + 2 * DAY)
    tick(DUE + 2 * DAY + SECOND)
    assert incidents(context) == {}


def test_a_backfill_of_old_windows_neither_opens_nor_closes(context: Context, tick: Any, put: Put) -> None:
    for n in range(1, 5):
        put(MONDAY - n * DAY)
    tick(DUE)
    before = incidents(context)
    for day in (date(2020, 1, 1), MONDAY - 60 * DAY, MONDAY - 20 * DAY):
        put(day, published_at=DUE)
        assert tick(DUE + SECOND) == []
    assert incidents(context) == before


def test_with_only_an_old_partition_backfilled_the_newest_is_still_missing(
    context: Context, tick: Any, put: Put
) -> None:
    """Somebody tried it out on an old day: that is no run of yesterday, and asks for no others."""
    tick(DUE)
    put(date(2020, 1, 1), published_at=DUE)
    tick(DUE + SECOND)
    assert {scope: one.failing for scope, one in incidents(context).items()} == {"*": ("2026-03-09",)}
    tick(DUE + DAY)
    assert incidents(context)[API].failing == ("2026-03-10",)


def test_what_any_scope_owed_is_mended_by_the_first_that_has_it(context: Context, tick: Any, put: Put) -> None:
    tick(DUE)
    put(MONDAY - DAY, published_at=DUE)
    tick(DUE + SECOND)
    assert set(incidents(context)) == {"*"}
    put(MONDAY, published_at=DUE + 5 * SECOND)
    tick(DUE + 6 * SECOND)
    assert incidents(context) == {}


def test_a_scope_that_comes_later_is_held_to_later_deadlines(context: Context, tick: Any, put: Put) -> None:
    """While a new repository is backfilled day by day nothing is missing of it; from the next deadline on it is."""
    for n in range(5):
        put(MONDAY - n * DAY)
    assert tick(DUE) == []
    for n in (30, 29, 28):
        put(MONDAY - n * DAY, WEB, published_at=DUE)
        assert tick(DUE + SECOND) == []
    put(MONDAY + DAY)
    tick(DUE + DAY)
    assert {scope: one.failing for scope, one in incidents(context).items()} == {WEB: ("2026-03-10",)}


def test_declared_scopes_are_asked_for_and_no_others(look: Any, put: Put) -> None:
    put(MONDAY - DAY, API)
    put(MONDAY - DAY, WEB)
    assert missed(look(DUE, scheduled(scopes=[API, "acme/new"]))) == [(API, "2026-03-09"), ("acme/new", "2026-03-09")]


@pytest.fixture
def swept(context: Context) -> Callable[..., None]:
    """Writes that a sweep has fed these scopes."""

    def write(unit: str, *scopes: str) -> None:
        feeds = [{"source": "git", "origin": scope, "streams": ["commits", "tags"]} for scope in scopes]
        kept = {"_id": f"sweep|{unit}|all", "dataset": "sweep", "scope": unit, "window": None, "feeds": feeds}
        context.db[schema.LEDGER].replace_one({"_id": kept["_id"]}, kept, upsert=True)

    return write


def git(*origins: str) -> dict[str, Any]:
    repositories = tuple(settings.Repository(origin=one, url=f"https://git.example/{one}") for one in origins)
    return {"sources": (settings.Git(type="git", name="code", repositories=repositories),)}


def test_a_scope_that_nothing_feeds_any_more_is_held_to_no_deadline(look: Any, put: Put, swept: Any) -> None:
    """A repository was renamed: what it was called gets no new windows. Should it come back, it is as a new one."""
    for day in (MONDAY - DAY, MONDAY):
        put(day, API)
        put(day, WEB)
    swept(f"code/{API}", API)
    swept(f"code/{WEB}", WEB)
    both = scheduled().model_copy(update=git(API, WEB))
    assert look(DUE, both) == []
    renamed = scheduled().model_copy(update=git("acme/new", WEB))
    assert missed(look(DUE + DAY, renamed)) == [(WEB, "2026-03-10")]
    assert missed(look(DUE + 2 * DAY, both)) == [(WEB, "2026-03-10"), (WEB, "2026-03-11")]
    put(MONDAY + DAY, WEB)
    put(MONDAY + 2 * DAY, WEB)
    assert missed(look(DUE + 3 * DAY, both)) == [(API, "2026-03-12"), (WEB, "2026-03-12")]
    declared = scheduled(scopes=[API]).model_copy(update=git("acme/new", WEB))
    assert missed(look(DUE + 3 * DAY, declared)) == [(API, "2026-03-12")]


def test_a_scope_whose_source_got_another_name_is_held_to_its_deadlines(look: Any, put: Put, swept: Any) -> None:
    """Also before the first sweep under the new name, and if that is of another kind: nobody can look for itself."""
    put(MONDAY - DAY, API)
    swept("old/files", API, WEB)
    assert missed(look(DUE, scheduled().model_copy(update=git(API)))) == [(API, "2026-03-09")]
    swept("code/acme/mono", API)
    assert missed(look(DUE, scheduled().model_copy(update=git("acme/mono")))) == [(API, "2026-03-09")]
    assert missed(look(DUE, scheduled())) == [(API, "2026-03-09")], "a configuration that names no source tells nothing"


def test_of_two_schedules_the_earlier_deadline_counts(look: Any, put: Put) -> None:
    put(MONDAY - DAY)
    later = Schedule(dataset=GOLD, cron="0 9 * * *", severity="warning")
    (found,) = look(DUE + DAY / 2, scheduled(also=(later,)))
    assert (found.at, found.severity) == (DUE, Severity.CRITICAL)


def test_what_a_person_called_settled_stays_so(context: Context, tick: Any, put: Put) -> None:
    put(MONDAY - DAY)
    (opened,) = tick(DUE)
    Store(context.db).change(opened.id, lambda one: resolve(one, "ann", DUE + SECOND, "a holiday"), DUE + SECOND)
    assert tick(DUE + 2 * SECOND) == []
    put(MONDAY + DAY)
    put(MONDAY + 2 * DAY)
    (again,) = tick(DUE + 3 * DAY)
    assert again.failing == ("2026-03-12",)
    tick(DUE + 3 * DAY + SECOND)
    assert incidents(context)[API].failing == ("2026-03-12",)


def test_an_incident_of_a_schedule_that_is_gone_is_mended_too(context: Context, tick: Any, put: Put) -> None:
    put(MONDAY - DAY)
    tick(DUE)
    put(MONDAY, published_at=DUE + SECOND)
    tick(DUE + DAY, settings.load())
    assert incidents(context) == {}


def test_a_watched_collection_without_rows_says_what_was_seen(context: Context, look: Any) -> None:
    head = {"_id": "shop.orders||all", "dataset": "shop.orders", "scope": "", "window": None, "fence": 0}
    context.db[schema.LEDGER].insert_one({**head, "note": "it has no row in the days that were asked for"})
    (found,) = look(DUE, scheduled(dataset="shop.orders"))
    assert found.facts.observed == "it has no row in the days that were asked for"
    assert found.scopes == ()


def test_a_window_in_which_nothing_has_changed_since_counts_once_it_was_looked_at(
    context: Context, recorded: Callable[..., ReplaySource]
) -> None:
    """Its verdict was the same while it was open, so it is not published again: the sweep has seen it all the same."""
    today = datetime.now(UTC).date()
    over = schema.start_of(today) + DAY
    source, days = recorded(EVENTS), (today, today + DAY)
    run_all(at(context, datetime.now(UTC)), source, days)
    names = ("bronze.git.commits", "silver.changes", GOLD)
    asked = {API: [today]}
    before = [completeness.look(context.db, name, asked)[API, today] for name in names]
    assert [one.complete for one in before] == [False, False, False]
    assert all("while it was still open" in one.why for one in before)
    run_all(at(context, over + timedelta(hours=5)), source, days)
    assert context.db[schema.LEDGER].find_one({"_id": f"{GOLD}|{API}|{today}", "published_at": {"$lt": over}})
    assert [completeness.look(context.db, name, asked)[API, today].complete for name in names] == [True, True, True]
    context.db[schema.LEDGER].update_one({"_id": f"bronze.git.commits|{API}|{today}"}, {"$set": {"revision": "new"}})
    assert [completeness.look(context.db, name, asked)[API, today].complete for name in names] == [True, False, False]


def test_what_the_pipeline_has_made_is_complete(context: Context, recorded: Callable[..., ReplaySource]) -> None:
    first = date(2024, 1, 1)
    days = (first, first + 6 * DAY)
    run_all(context, recorded(EVENTS), days)
    for name in ("bronze.git.tags", "silver.failures", GOLD):
        made = completeness.published(context.db, name, days)
        assert made[API] >= set(schema.each_day(days)), name


def test_weeks_of_a_moving_clock_miss_nothing_and_invent_nothing(context: Context, tick: Any, put: Put) -> None:
    """Windows are made in time, late or never; what is open after each look is exactly what is missed by then."""
    chance = random.Random(7)  # noqa: S311 - not for secrets
    start = schema.start_of(MONDAY) - 2 * DAY
    made: dict[tuple[str, date], datetime] = {}
    for scope in (API, WEB):
        put(MONDAY - 4 * DAY, scope)
        put(MONDAY - 3 * DAY, scope)
        for n in range(21):
            day = MONDAY + (n - 2) * DAY
            after = chance.choice([1.0, 4.0, 5.9, 7.0, 30.0, 75.0, None])
            if after is not None:
                made[scope, day] = schema.start_of(day) + DAY + timedelta(hours=after)
    moments = sorted({*(start + timedelta(hours=5.99 * n) for n in range(84)), *made.values()})
    done: dict[str, set[date]] = {API: set(), WEB: set()}
    seen = 0
    for now in moments:
        for (scope, day), when in made.items():
            if when <= now and day not in done[scope]:
                put(day, scope, published_at=when)
                done[scope].add(day)
        tick(now)
        berlin = timedelta(hours=2 if now.date() > date(2026, 3, 28) else 1)
        newest = (now + berlin - timedelta(hours=7)).date() - DAY
        wanted = {
            scope: tuple(str(day) for n in range(60) if (day := newest - (59 - n) * DAY) >= MONDAY - 2 * DAY
                         and day not in done[scope])
            for scope in (API, WEB)
        }  # fmt: skip
        found = {scope: one.failing for scope, one in incidents(context).items()}
        assert found == {scope: failing for scope, failing in wanted.items() if failing}, now
        seen += len(found)
    assert seen > 50
