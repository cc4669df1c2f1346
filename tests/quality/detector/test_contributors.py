"""What accounts for an anomaly: counted in the rows themselves, whatever their values look like."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from config import mongo, schema
from config.datasets import Collection
from config.settings import Settings, load
from quality.detector import contributors
from quality.detector.contributors import LONGEST
from quality.detector.history import Panelled, Window
from quality.detector.panel import Measure, Nature, Stream
from quality.detector.verdicts import Cell, Contributor, State, Verdict

DAY = date(2026, 11, 20)
WEEK = timedelta(weeks=1)
BEFORE = [DAY - number * WEEK for number in (1, 2, 3, 4)]
START = DAY - 9 * WEEK
ROWS = Cell("rows", 10, 40, 30, 50, 0.9, "today", 60, "count")
Row = tuple[str, float, float]


@pytest.fixture
def settings(database: str) -> Settings:  # noqa: ARG001 - names the database
    return load()


@pytest.fixture
def db(settings: Settings) -> schema.Db:
    return mongo.database(settings)


def history(  # noqa: PLR0917 - a stream
    dataset: str, scope: str, usual: float, now: float, measure: str = "rows", changed: Mapping[date, Any] | None = None
) -> Panelled:
    """A stream of `usual` numbers that ends with `now`; changed: other numbers, or states, of some windows."""
    days = [START + timedelta(days=number) for number in range((DAY - START).days + 1)]
    told: dict[date, Any] = {DAY: now, **(changed or {})}
    states = tuple(one if isinstance(one := told.get(day), Window) else Window.KNOWN for day in days)
    values = [[one if isinstance(one := told.get(day, usual), float | int) else usual * 9] for day in days]
    stream = Stream(f"{dataset} {scope}", START, (Measure(measure, Nature.COUNT),), np.array(values, float))
    return Panelled(dataset, scope, stream, states)


def verdict(dataset: str, *cells: Cell, scope: str = "acme/api") -> Verdict:
    at = datetime(2026, 11, 21, tzinfo=UTC)
    return Verdict(dataset, scope, DAY, State.ANOMALY, at, "r", "d", 40.0, cells or (ROWS,))


def found(db: schema.Db, settings: Settings, of: Verdict, others: Sequence[Panelled] = ()) -> list[Row]:
    mine = history(of.dataset, of.scope, 40, 10)
    told = contributors.of(db, settings, of, [*others, mine])
    return [(f"{one.what} {one.name}", one.expected, round(one.share, 3)) for one in told]


def commits(db: schema.Db, authors: Mapping[Any, tuple[int, int]], path: str = "author") -> None:
    """Rows of Bronze: of each author so many on each of the weekdays before, and on the day itself."""
    rows = [
        {"origin": "acme/api", "window": schema.start_of(day), "updated_on": f"{day}T01:00", "payload": {path: author}}
        for author, counts in authors.items()
        for day in (*BEFORE, DAY)
        for _ in range(counts[day == DAY])
    ]
    db["bronze.git.commits"].insert_many(rows)


# --- Scopes -----------------------------------------------------------------------------------------------------------


def test_the_scopes_that_account_for_the_fall_are_named_most_first(db: schema.Db, settings: Settings) -> None:
    others = [history("gold.dora_daily", name, 20, now, "deployment_frequency") for name, now in (("a", 15), ("b", 20))]
    mine = history("gold.dora_daily", "acme/api", 40, 10, "deployment_frequency")
    other = history("silver.changes", "c", 900, 1, "deployment_frequency")
    of = verdict("gold.dora_daily", replace(ROWS, measure="deployment_frequency"))
    told = contributors.of(db, settings, of, [other, *others, mine])
    assert told == (Contributor("scope", "acme/api", 10, 40, 30 / 35),), "which says enough"
    of = replace(of, scope="b")
    assert contributors.of(db, settings, of, [*others, mine]) == (), "it is none of those that fell"


@pytest.mark.parametrize(
    "others",
    [[], [history("silver.deliveries", "a", 20, np.nan)], [history("silver.deliveries", "a", 20, 50)]],
    ids=["alone", "unknown", "made up for"],
)
def test_where_the_whole_did_not_change_with_it_no_scope_is_named(
    db: schema.Db, settings: Settings, others: list[Panelled]
) -> None:
    assert found(db, settings, verdict("silver.deliveries"), others) == []


def test_it_is_compared_with_weekdays_that_teach(db: schema.Db, settings: Settings) -> None:
    """The last four of them, further back where some are in doubt."""
    of, other = verdict("silver.deliveries"), history("silver.deliveries", "a", 20, 20)
    changed = {BEFORE[0]: Window.DOUBTED, BEFORE[1]: Window.OPEN, DAY - 5 * WEEK: 20.0, DAY - 7 * WEEK: 9999.0}
    mine = history(of.dataset, of.scope, 40, 10, changed=changed)
    told = contributors.of(db, settings, of, [mine, other])
    assert told == (Contributor("scope", "acme/api", 10, (40 + 40 + 20 + 40) / 4, 1.0),)


# --- Values of fields -------------------------------------------------------------------------------------------------


def test_the_values_whose_rows_are_gone_are_named(db: schema.Db, settings: Settings) -> None:
    commits(db, {"ana": (20, 0), "ben": (15, 5), "cy": (5, 5)})
    told = found(db, settings, verdict("bronze.git.commits"))
    assert told == [("payload.author ana", 20.0, 0.667), ("payload.author ben", 15.0, 0.333)]


def test_silver_is_counted_without_what_was_deleted(db: schema.Db, settings: Settings) -> None:
    rows = [
        {"_id": f"{author} {day}", "scope": "acme/api", "day": schema.start_of(day), "author": author}
        for day in (*BEFORE, DAY)
        for author in ("ana", "ben")
    ]
    db["silver.changes"].insert_many(rows)
    db["silver.changes"].update_one({"_id": f"ana {DAY}"}, {"$set": {"deleted": True}})
    assert found(db, settings, verdict("silver.changes")) == [("author ana", 1.0, 1.0)]


def test_where_values_change_places_both_are_named(db: schema.Db, settings: Settings) -> None:
    """The share is of all that moved, as nothing is missing."""
    commits(db, {"ana": (20, 2), "ben": (2, 20)})
    of = verdict("bronze.git.commits", replace(ROWS, measure="top_share.payload.author", nature="ratio"))
    assert found(db, settings, of) == [("payload.author ana", 20.0, 0.5), ("payload.author ben", 2.0, 0.5)]
    of = verdict("bronze.git.commits", replace(ROWS, measure="freshness_seconds"))
    assert found(db, settings, of) == [], "nothing is strange about rows or authors"


def test_values_may_look_like_anything(db: schema.Db, settings: Settings) -> None:
    """Operators, nothing, numbers, objects, what is as long as a book: each is a name, and short."""
    commits(db, {"$rows": (9, 0), None: (8, 0), 7.5: (7, 0), "a.b\0c": (6, 0), "x" * 9_000: (5, 0)})
    told = contributors.of(
        db, settings, verdict("bronze.git.commits"), [history("bronze.git.commits", "acme/api", 40, 10)]
    )
    assert [one.name for one in told] == ["$rows", "(none)", "7.5", "a.b\0c"]
    db["bronze.git.commits"].delete_many({})
    for value in ({"$x": 1}, ["y"], b"z", "x" * 9_000):
        row = {"origin": "acme/api", "window": schema.start_of(BEFORE[0]), "payload": {"author": value}}
        db["bronze.git.commits"].insert_many([{**row, "_id": f"{value!r} {number}"} for number in range(4)])
    told = contributors.of(
        db, settings, verdict("bronze.git.commits"), [history("bronze.git.commits", "acme/api", 40, 10)]
    )
    assert {one.name for one in told} == {"(object)", "(array)", "(binData)", "x" * LONGEST}


def test_a_watched_collection_is_looked_at_where_it_is(db: schema.Db, settings: Settings) -> None:
    shop = Collection(name="shop.orders", collection="orders", time="at", scope="country", categorical=("$till",))
    watching = settings.model_copy(update={"datasets": (shop,)})
    for day in (*BEFORE, DAY):
        for country in ("eu", "us"):
            at = schema.start_of(day) + timedelta(hours=3)
            tills = 1 if day == DAY and country == "eu" else 4
            db["orders"].insert_many([{"at": at, "country": country, "$till": "t1"} for _ in range(tills)])
    assert found(db, watching, verdict("shop.orders", scope="eu")) == [("$till t1", 4.0, 1.0)]
    gone = shop.model_copy(update={"database": "nothing_there"})
    assert found(db, settings.model_copy(update={"datasets": (gone,)}), verdict("shop.orders", scope="eu")) == []


# --- Nulls ------------------------------------------------------------------------------------------------------------


def test_fields_that_are_null_more_often_come_first_where_that_is_what_is_strange(
    db: schema.Db, settings: Settings
) -> None:
    cells = [
        Cell(f"null_ratio.{name}", observed, 0.1, 0.0, 0.2, score, "today", 60, "ratio")
        for name, observed, score in (("author", 0.9, 0.9), ("subject", 0.3, 0.7), ("size", 0.15, 0.4))
    ]
    told = found(db, settings, verdict("bronze.git.commits", *cells))
    assert told == [("null_ratio author", 0.1, 0.8), ("null_ratio subject", 0.1, 0.2)]


# --- What goes wrong --------------------------------------------------------------------------------------------------


def test_nothing_is_told_where_nothing_is_known(db: schema.Db, settings: Settings) -> None:
    mine = history("bronze.git.commits", "acme/api", 40, 10)
    assert contributors.of(db, settings, replace(verdict("bronze.git.commits"), cells=()), [mine]) == ()
    assert contributors.of(db, settings, verdict("bronze.git.commits"), []) == ()
    assert contributors.of(db, settings, replace(verdict("bronze.git.commits"), window=DAY + WEEK), [mine]) == ()
    assert contributors.of(db, settings, verdict("bronze.git.commits", replace(ROWS, measure="x")), [mine]) == ()


def test_a_server_that_is_gone_is_told(settings: Settings) -> None:
    uri = "mongodb://127.0.0.1:9/?serverSelectionTimeoutMS=1"
    gone: Any = MongoClient(uri)["x"]
    with gone.client, pytest.raises(PyMongoError):
        contributors.of(
            gone, settings, verdict("bronze.git.commits"), [history("bronze.git.commits", "acme/api", 4, 1)]
        )
