"""What the pipeline measures is what a plain loop over the same rows finds, whatever rows and paths are like."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import pytest
from bson import CodecOptions, Decimal128, Int64
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.schema import DAY, Coll, Document, ensure_bronze
from quality.measures import (
    BRONZE,
    SILVER,
    Measures,
    Rows,
    freshness,
    measure,
    newest_before,
    pipeline,
    unknown_before,
    values,
)
from quality.suites import Suite
from tasks.context import Context

FIRST: Final = datetime(2024, 1, 1, tzinfo=UTC)
WINDOWS: Final = [FIRST + n * DAY for n in range(6)]
NOW: Final = FIRST + 30 * DAY
FOREIGN: Final = Rows(scope="team.name", event="when.at", key="ticket")
PATHS: Final = ("n", "a.b", "a.b.0", "a.$where", "$where", "$$ROOT", "list.1", "a..b", "", "no\0name")
SUITE: Final = Suite("any", (), PATHS, PATHS, PATHS)
MISSING: Final = object()


def days(number: float) -> datetime:
    return FIRST + number * DAY


def test_the_numbers_of_a_window(context: Context) -> None:
    """One window read by hand: nulls are missing or null, numbers are finite numbers, shares are of what is known."""
    a = {"origin": "o", "window": FIRST, "updated_on": days(0.25), "id": "1"}
    context.db["x"].insert_many([
        a | {"payload": {"author": "ada", "size": 1}},
        a | {"payload": {"author": "ada", "size": 2.5}},
        a | {"payload": {"author": "bob", "size": math.nan}, "id": "2"},
        a | {"payload": {"author": None, "size": "7"}, "updated_on": days(0.75)},
        a | {"payload": {"size": True}, "origin": "another"},
    ])  # fmt: skip
    suite = Suite("x", (), ("payload.author", "payload.size", "payload.gone"), ("payload.size", "payload.gone"),
                  ("payload.author", "payload.gone"))  # fmt: skip
    assert measure(context.db["x"], suite, BRONZE, "o", WINDOWS[:2], NOW) == {
        WINDOWS[0]: {
            "rows": 4, "distinct.key": 2, "duplicate_ratio": 0.5,
            "null_ratio.payload.author": 0.25, "null_ratio.payload.size": 0.0, "null_ratio.payload.gone": 1.0,
            "min.payload.size": 1, "max.payload.size": 2.5, "mean.payload.size": 1.75,
            "distinct.payload.author": 2, "top_share.payload.author": pytest.approx(2 / 3),
            "freshness_seconds": 6 * 3600,
        },
        WINDOWS[1]: {"rows": 0, "freshness_seconds": 30 * 3600},
    }  # fmt: skip


scalars = st.one_of(
    st.just(MISSING),
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([Int64(2**62), -(2**62), 0.5, -0.0, 1.0, 2.0, 1e300, math.nan, math.inf, -math.inf]),
    st.sampled_from([Decimal128("1"), Decimal128("2.5"), Decimal128("NaN"), Decimal128("-Infinity")]),
    st.sampled_from(["", "1", "$n", "ada", FIRST, b"1", [], [None], [1], [1, None], [FIRST], {}, {"b": 1}, {"b": 1.0}]),
)


def documents(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Document]:
    """Documents whose fields may be missing."""
    return st.fixed_dictionaries(fields).map(lambda one: {k: v for k, v in one.items() if v is not MISSING})


def mostly(usual: st.SearchStrategy[Any], rare: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """`usual` four times of five: `|` would give each kind of scalar as much weight as the whole of `usual`."""
    return st.integers(0, 4).flatmap(lambda number: usual if number else rare)


inner = mostly(
    documents(**{"b": mostly(st.lists(st.integers(0, 1), max_size=2), scalars), "$where": scalars, "": scalars}),
    scalars,
)
moments = st.builds(
    lambda day, hour: days(day) + timedelta(hours=hour, seconds=1),
    st.sampled_from([-1, 0, 0, 0, 1, 3, 6]),
    st.integers(0, 23),
)
"""More than one in a window, before and after, and days without any."""
bodies = {
    "n": scalars, "a": inner, "a.b": mostly(st.just(MISSING), scalars), "$where": scalars, "$$ROOT": scalars, "": inner,
    "list": mostly(st.lists(st.sampled_from([None, 1, "1", {"b": 2}]), max_size=3), inner),
}  # fmt: skip
subsets = st.lists(st.sampled_from(WINDOWS), min_size=1, unique=True)
law = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@law
@given(
    rows=st.lists(
        st.builds(
            lambda body, moment, id_, origin: body
            | {"origin": origin, "id": id_, "updated_on": moment, "window": day_of(moment)},
            documents(**bodies), moments, st.sampled_from(["1", "2", None]), st.sampled_from("op"),
        ),
        max_size=12,
    ),
    windows=subsets, now=moments,
)  # fmt: skip
def test_bronze_is_measured_as_by_a_plain_loop(
    context: Context, rows: list[Document], windows: list[datetime], now: datetime
) -> None:
    ensure_bronze(context.db, "x")
    fill(context.db["x"], rows)
    mine = [row for row in rows if row["origin"] == "o"]
    assert_same(measure(context.db["x"], SUITE, BRONZE, "o", windows, now), literally(mine, BRONZE, windows, now))


@law
@given(
    rows=st.lists(
        documents(
            **bodies,
            ticket=scalars,
            team=mostly(documents(name=st.sampled_from([*"ooop", ["o"], None])), st.sampled_from([None, "o", []])),
            when=mostly(documents(at=mostly(moments, scalars)), st.sampled_from([None, FIRST, [{"at": FIRST}]])),
        ),
        max_size=12,
    ),
    windows=subsets, now=moments, indexed=st.booleans(),
)  # fmt: skip
def test_a_foreign_collection_is_measured_as_by_a_plain_loop(
    context: Context, rows: list[Document], windows: list[datetime], now: datetime, *, indexed: bool
) -> None:
    """Where anything may stand in any field, and a client that reads naive times: nothing breaks or is miscounted."""
    options: CodecOptions[Document] = CodecOptions()
    naive = context.db["x"].with_options(codec_options=options)
    context.db["x"].drop()
    if indexed:
        context.db["x"].create_index([("when.at", 1)])
    fill(context.db["x"], rows)
    mine = [row for row in rows if "o" in (at(row, "team.name"), at(row, "team.name.0"))]
    assert_same(measure(naive, SUITE, FOREIGN, "o", windows, now), literally(mine, FOREIGN, windows, now))


@pytest.mark.parametrize("name", ["$where", "a.$where", "$$ROOT", "$expr", "$or", "a..b", "", "$", "a.$", "$a.b", "."])
def test_no_name_of_a_field_becomes_an_operator(context: Context, name: str) -> None:
    """Also not the names of scope, time, key and window, which are parts of a query."""

    def row(value: Any, moment: datetime) -> Document:
        return dict(nested(name, {"v": value, "t": moment, "s": "$o", "k": value, "w": day_of(moment)}))

    def under(leaf: str) -> str:
        return f"{name}.{leaf}"

    context.db["x"].insert_many([row(3, days(1.5)), row(5, days(1.5)), row(1, days(-2)), row(7, days(9))])
    suite = Suite("x", (), (under("v"),), (under("v"),), (under("v"),))
    for window in (None, under("w")):
        layout = Rows(under("s"), under("t"), under("k"), window)
        found = measure(context.db["x"], suite, layout, "$o", WINDOWS[:2], NOW)
        assert found[WINDOWS[0]] == {"rows": 0, "freshness_seconds": 3 * 86_400}
        assert (found[WINDOWS[1]]["rows"], found[WINDOWS[1]][f"mean.{under('v')}"]) == (2, 4)
        assert measure(context.db["x"], suite, layout, "o", WINDOWS[:2], NOW)[WINDOWS[1]] == {"rows": 0}


def test_a_scope_is_a_value_and_never_a_condition(context: Context) -> None:
    context.db["x"].insert_one({"scope": "a", "at": days(0.5)})
    for scope in ({"$gt": ""}, {"$exists": True}, "$scope"):
        assert measure(context.db["x"], Suite("x"), Rows("scope", "at", "_id"), scope, WINDOWS[:1], NOW) == {
            WINDOWS[0]: {"rows": 0}
        }


def test_what_silver_only_keeps_the_place_of_is_not_measured(context: Context) -> None:
    head = {"scope": "o", "day": WINDOWS[1]}
    context.db["x"].insert_many([
        head | {"_id": "o|1", "version": "2024-01-02T06:00:00.500000#abc", "author": "ada"},
        head | {"_id": "o|2", "version": "2024-01-02T23:00:00.000000#abc", "deleted": True},
        {"_id": "o|3", "scope": "o", "day": WINDOWS[0], "version": "2024-01-01T12:00:00.000000#abc", "deleted": True},
    ])  # fmt: skip
    found = measure(context.db["x"], Suite("x", (), ("author",)), SILVER, "o", WINDOWS[:3], NOW)
    assert found[WINDOWS[0]] == {"rows": 0}
    assert found[WINDOWS[1]] == {
        "rows": 1, "distinct.key": 1, "duplicate_ratio": 0, "null_ratio.author": 0,
        "freshness_seconds": 18 * 3600 - 0.5,
    }  # fmt: skip
    assert found[WINDOWS[2]] == {"rows": 0, "freshness_seconds": 42 * 3600 - 0.5}


def test_numbers_that_no_float_can_hold_are_left_out(context: Context) -> None:
    """The mean of finite numbers may overflow: that is neither a number nor a reason to fail."""
    row = {"at": days(0.5)}
    context.db["x"].insert_many([row | {"f": 1.7e308, "d": Decimal128("1E+400")}, row | {"f": 1.7e308, "d": None}])
    context.db["x"].insert_many([row | {"f": math.inf}, row | {"f": -math.inf}])
    suite = Suite("x", (), (), ("f", "d"))
    found = measure(context.db["x"], suite, Rows(None, "at", "_id"), None, WINDOWS[:1], NOW)[WINDOWS[0]]
    assert {name: found[name] for name in found if name[-2:] in (".f", ".d")} == {"min.f": 1.7e308, "max.f": 1.7e308}


@pytest.mark.parametrize("moment", [[FIRST], [[FIRST]], "2024-01-01", 1_704_067_200, None, {"at": FIRST}])
def test_what_is_no_date_is_of_no_window(context: Context, moment: Any) -> None:
    """A query for dates finds lists of dates too, which no day can be told of; nor do they hide what came before."""
    context.db["x"].insert_many([{"at": moment}, {"at": days(-1)}])
    found = measure(context.db["x"], Suite("x"), Rows(None, "at", "_id"), None, WINDOWS[:2], NOW)
    assert found == {WINDOWS[n]: {"rows": 0, "freshness_seconds": (n + 2) * 86_400} for n in (0, 1)}


def test_a_text_in_place_of_a_date_is_no_event(context: Context) -> None:
    """Compared by expression, as the name asks for, a text is less than any date."""
    context.db["x"].insert_one({"$at": "soon"})
    assert newest_before(context.db["x"], Rows(None, "$at", "_id"), None, [FIRST]) == {}


def test_what_the_caller_knows_is_added_also_without_rows() -> None:
    further = {"receipt.items": 0, "receipt.coverage": None}
    assert values(None, SUITE, further=further) == {"rows": 0, "receipt.items": 0, "receipt.coverage": None}


def test_no_window_is_no_document(context: Context) -> None:
    bronze = {"origin": "o", "window": FIRST, "updated_on": FIRST, "id": "1"}
    context.db["x"].insert_one(bronze | {"team": {"name": "o"}, "when": {"at": FIRST}})
    assert [list(context.db["x"].aggregate(pipeline(SUITE, rows, "o", []))) for rows in (BRONZE, FOREIGN)] == [[], []]


@pytest.mark.parametrize(
    ("window", "events", "now", "seconds"),
    [
        (1, [0.5, 1.5], 30, 0.5),
        (1, [0.5], 30, 1.5),  # a quiet day: the time since the last event grows
        (1, [-9.5], 30, 11.5),  # which may lie long before what is measured
        (1, [], 30, None),
        (1, [2.5], 30, None),  # what comes later is of no help
        (1, [1.25], 1.5, 0.25),  # the window is open: until now
        (1, [0.5], 1.5, 1.0),
        (1, [1.75], 1.5, 0.0),  # an event ahead of the clock
        (1, [0.5], 1, None),  # the window has not begun
    ],
)
def test_freshness(window: int, events: list[float], now: float, seconds: float | None) -> None:
    start = WINDOWS[window]
    newest = {start: days(max(mine))} if (mine := [event for event in events if window <= event < window + 1]) else {}
    before = {start: days(max(earlier))} if (earlier := [event for event in events if event < window]) else {}
    found = freshness([start], newest, before, days(now))
    assert found == {start: None if seconds is None else seconds * 86_400}


def test_what_lies_between_the_windows_that_are_measured_counts_too() -> None:
    """Only the days of late items are measured again: those in between are not, and had events of their own."""
    newest = {WINDOWS[0]: days(0.5), WINDOWS[4]: days(4.5)}
    before = {WINDOWS[2]: days(1.75)}
    found = freshness([WINDOWS[n] for n in (5, 0, 2, 4, 3)], newest, before, NOW)
    assert {window: (seconds or 0) / 86_400 for window, seconds in found.items()} == {
        WINDOWS[0]: 0.5, WINDOWS[2]: 1.25, WINDOWS[3]: 2.25, WINDOWS[4]: 0.5, WINDOWS[5]: 1.5,
    }  # fmt: skip


def test_a_stretch_without_events_is_looked_up_once(context: Context) -> None:
    """However many windows of it are asked for; a backfill has thousands."""
    context.db["x"].insert_many([{"s": 1, "at": days(moment)} for moment in (-50.5, -20)])
    asked = [days(-n) for n in range(60)]

    class Counting:
        looked_up = 0

        def with_options(self, **options: Any) -> "Counting":
            self.collection = context.db["x"].with_options(**options)
            return self

        def aggregate(self, stages: list[Document]) -> Any:
            self.looked_up += 1
            return self.collection.aggregate(stages)

    counting: Any = Counting()
    found = newest_before(counting, Rows("s", "at", "_id"), 1, asked)
    expected = {moment: days(-20) if moment > days(-20) else days(-50.5) for moment in asked[:51]}
    assert found == expected
    assert counting.looked_up <= 4  # the look-up for the time before the first event takes two


def test_only_windows_that_need_it_are_looked_up() -> None:
    windows = [WINDOWS[n] for n in (0, 1, 3, 4, 5)]
    assert unknown_before(windows, {WINDOWS[3]: days(3.5)}) == [WINDOWS[0]]
    assert unknown_before(windows, {WINDOWS[0]: days(0.5)}) == [WINDOWS[3]]


def day_of(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def nested(path: str, value: Any) -> Any:
    for name in reversed(path.split(".")):
        value = {name: value}
    return value


def fill(collection: Coll, rows: Sequence[Document]) -> None:
    collection.delete_many({})
    if rows:
        collection.insert_many([dict(row) for row in rows])


def at(row: Document, path: str) -> Any:
    """What stands at the path: a name of the row itself, or one name or number in a list after another."""
    if row.get(path) is not None:
        return row[path]
    value: Any = row
    for name in path.split("."):
        if isinstance(value, dict):
            value = value.get(name)
        else:
            value = (
                value[int(name)] if isinstance(value, list) and name in ("0", "1") and int(name) < len(value) else None
            )
    return value


def number(value: Any) -> float | Decimal | None:
    """`value` if it is a finite number."""
    if isinstance(value, Decimal128):
        value = value.to_decimal()
    finite = isinstance(value, int | float | Decimal) and not isinstance(value, bool) and math.isfinite(value)
    return value if finite else None


def category(value: Any) -> Any:
    """Equal for what MongoDB holds for equal: numbers of any type by value, anything else by type and value."""
    if isinstance(value, Decimal128):
        value = value.to_decimal()
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return "nan" if math.isnan(value) else ("number", value)
    if isinstance(value, Mapping):
        return ("object", *[(key, category(one)) for key, one in value.items()])
    if isinstance(value, list):
        return ("list", *[category(one) for one in value])
    return (type(value).__name__, value)


def literally(
    rows: Iterable[Document], layout: Rows, windows: Iterable[datetime], now: datetime
) -> dict[datetime, Measures]:
    dated = [(moment, row) for row in rows if isinstance(moment := at(row, layout.event), datetime)]
    measured = {}
    for window in windows:
        mine = [row for moment, row in dated if window <= moment < window + DAY]
        one: dict[str, Any] = {"rows": len(mine)}
        if mine:
            keys = {category(at(row, layout.key)) for row in mine}
            one |= {"distinct.key": len(keys), "duplicate_ratio": 1 - len(keys) / len(mine)}
            for path in PATHS:
                there = [value for row in mine if (value := at(row, path)) is not None]
                one[f"null_ratio.{path}"] = 1 - len(there) / len(mine)
                if numbers := [found for value in there if (found := number(value)) is not None]:
                    one |= {f"min.{path}": float(min(numbers)), f"max.{path}": float(max(numbers))}
                    one[f"mean.{path}"] = math.fsum(map(float, numbers)) / len(numbers)
                if counted := Counter(category(value) for value in there):
                    one |= {f"distinct.{path}": len(counted)}
                    one |= {f"top_share.{path}": max(counted.values()) / counted.total()}
        if window < now and (events := [moment for moment, _ in dated if moment < window + DAY]):
            one["freshness_seconds"] = max(0.0, (min(window + DAY, now) - max(events)).total_seconds())
        measured[window] = one
    return measured


def assert_same(found: dict[datetime, Measures], expected: dict[datetime, Measures]) -> None:
    assert found.keys() == expected.keys()
    for window, measures in expected.items():
        assert found[window] == pytest.approx(measures, rel=1e-9), window
