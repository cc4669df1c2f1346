"""What is no longer configured keeps no incident open; what is, or may be, is not touched."""

from datetime import date
from typing import Any

import pytest

from alerting import configured, evidence
from alerting.incidents import State
from alerting.reports import Facts, Key, Kind, Report
from alerting.store import Store
from config import schema, settings
from config.schema import DAY
from config.settings import Schedule, Settings
from tasks.context import Context
from tests.harness import NOW

OLD, NEW, BOTH = "acme/old", "acme/new", "acme/both"
WINDOW = date(2026, 10, 30)

ABOUT_OLD = [
    (Key("sweep", f"code/{OLD}", "sweep"), Kind.TASK),
    (Key("sweep", "history/files", "sweep"), Kind.TASK),
    (Key("bronze.git.commits", OLD, "receipt"), Kind.RECEIPT),
    (Key("bronze.github.pulls", BOTH, "receipt"), Kind.RECEIPT),
    (Key("silver.changes", OLD, "known_commit"), Kind.FINDING),
    (Key("gold.dora_daily", OLD, "complete"), Kind.MISSING),
    (Key("bronze.git.commits", OLD, "drift", "payload.x"), Kind.DRIFT),
    (Key("tasks", f"Unit code/{OLD}", "failed"), Kind.TASK),
    (Key("tasks", f"Fold {OLD}", "failed"), Kind.TASK),
    (Key("tasks", "Watch shop.old", "failed"), Kind.TASK),
    (Key("shop.old", "", "sweep"), Kind.TASK),
    (Key("shop.old", "eu", "counts"), Kind.BROKEN_CHECK),
]
OF_TODAY = [
    (Key("sweep", f"code/{NEW}", "sweep"), Kind.TASK),
    (Key("bronze.git.commits", NEW, "receipt"), Kind.RECEIPT),
    (Key("silver.changes", BOTH, "known_commit"), Kind.FINDING),
    (Key("gold.dora_daily", "*", "complete"), Kind.MISSING),
    (Key("silver.failures", OLD, "complete"), Kind.MISSING),  # a schedule names it
    (Key("silver.changes", "nobody/knows", "known_commit"), Kind.FINDING),
    (Key("tasks", f"Unit code/{NEW}", "failed"), Kind.TASK),
    (Key("tasks", "Backfill", "failed"), Kind.TASK),
    (Key("shop.orders", "eu", "counts"), Kind.FINDING),
    (Key("notifier", "evidence", "failed"), Kind.TASK),
    (Key("notifier", "#data", "delivery"), Kind.DELIVERY),
]


@pytest.fixture
def today(context: Context) -> Settings:
    """A configuration from which one repository, one file and one collection were taken out."""
    swept = {
        f"code/{OLD}": [("git", OLD)],
        f"code/{NEW}": [("git", NEW)],
        "history/files": [("github", BOTH), ("git", OLD)],
        f"code/{BOTH}": [("git", BOTH)],
    }
    for unit, feeds in swept.items():
        fed = [
            {"source": kind, "origin": scope, "streams": ["pulls" if kind == "github" else "commits"]}
            for kind, scope in feeds
        ]
        made = {"_id": f"sweep|{unit}|all", "dataset": "sweep", "scope": unit, "window": None, "feeds": fed}
        context.db[schema.LEDGER].insert_one(made)
    repositories = tuple(settings.Repository(origin=one, url=f"https://git.example/{one}") for one in (NEW, BOTH))
    return context.settings.model_copy(
        update={
            "sources": (settings.Git(type="git", name="code", repositories=repositories),),
            "datasets": (settings.Collection(name="shop.orders", collection="orders", time="at"),),
            "schedules": (Schedule(dataset="silver.failures", cron="0 6 * * *", scopes=(OLD,)),),
        }
    )


def opened(context: Context, *keys: tuple[Key, Kind]) -> None:
    Store(context.db).fold(
        [
            Report(key, NOW, failed=True, kind=kind, window=window, lasting=True, facts=Facts("t", observed="wrong"))
            for key, kind in keys
            for window in ((WINDOW, WINDOW - DAY) if kind in {Kind.RECEIPT, Kind.MISSING} else (None,))
        ],
        NOW,
    )


def test_only_what_is_no_longer_configured_is_retired(context: Context, today: Settings) -> None:
    still = configured.read(context.db, today)
    assert [key for key, kind in [*ABOUT_OLD, *OF_TODAY] if still.is_retired(key, kind)] == [
        key for key, _ in ABOUT_OLD
    ]


def test_its_incidents_are_resolved_and_say_why(context: Context, today: Settings) -> None:
    """And no others, though nothing is known of them now that would keep them open or end them."""
    opened(context, *ABOUT_OLD, *OF_TODAY)
    evidence.reconcile(context.db, today, NOW + DAY / 24)
    store = Store(context.db)
    over = [one for one in store.listed({}) if one.state is State.RESOLVED]
    assert {one.key for one in over} == {key for key, _ in ABOUT_OLD}
    assert {one.story[-1].text for one in over} == {"it is no longer configured"}
    assert {one.key for one in store.listed()} == {key for key, _ in OF_TODAY}
    assert evidence.reconcile(context.db, today, NOW + DAY / 12) == []


def test_what_the_ledger_still_says_of_it_opens_nothing(context: Context, today: Settings) -> None:
    """The sweep that failed last, the windows that it left unproven; not even those that end meanwhile."""
    ledger = context.db[schema.LEDGER]
    ledger.update_one({"scope": f"code/{OLD}"}, {"$set": {"error": "403", "failed_at": NOW}})
    for day in (NOW.date(), WINDOW):
        key = f"bronze.git.commits|{OLD}|{day}"
        proof = {"state": "unproven", "coverage": 0.0, "reason": "the clone is shallow", "lossy": day == WINDOW}
        made: dict[str, Any] = {"_id": key, "dataset": "bronze.git.commits", "scope": OLD, "proof": proof, "rows": 0}
        ledger.insert_one({**made, "window": schema.start_of(day), "published_at": NOW, "revision": "r"})
    was = today.model_copy(
        update={
            "sources": (
                settings.Git(
                    type="git",
                    name="code",
                    repositories=(settings.Repository(origin=OLD, url="https://git.example/x"),),
                ),
            )
        }
    )
    assert evidence.reconcile(context.db, was, NOW)
    evidence.reconcile(context.db, today, NOW + DAY)
    assert Store(context.db).listed() == []
    assert evidence.reconcile(context.db, today, NOW + 3 * DAY) == []
    (again,) = evidence.reconcile(context.db, was, NOW + 4 * DAY)
    assert (again.key.check, again.failing) == ("receipt", (str(NOW.date()),)), "of the others the next sweep will tell"


def test_a_configuration_that_names_nothing_ends_nothing(context: Context) -> None:
    """That of a notifier that knows where MongoDB and Slack are, and no more."""
    opened(context, *ABOUT_OLD)
    evidence.reconcile(context.db, context.settings, NOW + DAY / 24)
    assert len(Store(context.db).listed()) == len(ABOUT_OLD)
