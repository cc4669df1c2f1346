"""Schema drift: a new, missing or type-changed field is reported once, whatever the order, the crash or the company."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pymongo import MongoClient, monitoring
from pymongo.collection import Collection

from config import mongo, schema
from config import settings as configuration
from quality.drift import fields, listed, merge
from quality.fields import MAP_KEYS, MOST_PATHS, Drift, History
from quality.shapes import DEPTH, MOST_KEYS, MOST_SHAPES, SHORT, Shape, Shapes, written
from tests.harness import REPOSITORIES, events

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
NAME = "bronze.test.things"
Item = tuple[int, Any]
"""A day and a payload."""
Fact = tuple[str, str, str | None, int]
"""Path, kind, type and day of a record."""

_names = (f"bronze.test.things{number}" for number in count())


@pytest.fixture
def db(database: str) -> schema.Db:  # noqa: ARG001 - names the database
    return mongo.database(configuration.load())


def on(day: int) -> datetime:
    return datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=day)


def shapes(items: Iterable[Item], dataset: str = NAME) -> Shapes:
    collected = Shapes()
    for day, payload in items:
        collected.add(dataset, "acme/api", on(day), f"item of {day}", payload)
    return collected


def facts(found: Iterable[Drift | Mapping[str, Any]]) -> set[Fact]:
    rows = [
        one if isinstance(one, Mapping) else {name: getattr(one, name) for name in Drift.__slots__} for one in found
    ]
    together = [(one["path"], one["kind"], one["type"], (one["first_window"] - on(0)).days) for one in rows]
    assert len(together) == len({one[:3] for one in together}), "reported twice"
    return set(together)


def drift(items: Iterable[Item]) -> set[Fact]:
    """What one look at everything finds, without MongoDB."""
    history = History(shapes(items).collected().get(NAME, ()))
    return facts(history.drift(NAME, run_id="r", now=NOW))


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


def inner(depth: int) -> str:
    return ".".join(["a"] * depth)


def users(*numbers: int) -> dict[str, Any]:
    return {"by": {f"user{number}": {"commits": number} for number in numbers}}


HUGE: dict[str, Any] = {f"o{n}": {f"a{m}": 1 for m in range(50)} for n in range(90)}

CASES: dict[str, tuple[list[Item], set[Fact]]] = {
    "nothing": ([(0, {"a": 1}), (1, {"a": 2})], set()),
    "new": ([(0, {"a": 1}), (2, {"a": 1, "b": 1}), (3, {"a": 1, "b": 1})], {("b", "new", None, 2)}),
    "missing": ([(0, {"a": 1, "b": 1}), (2, {"a": 1}), (3, {"a": 1})], {("b", "missing", None, 2)}),
    "renamed": ([(0, {"a": 1}), (1, {"b": 1}), (2, {"b": 1})], {("a", "missing", None, 1), ("b", "new", None, 1)}),
    "renamed and back": (
        [(0, {"a": 1}), (1, {"b": 1}), (2, {"a": 1})],
        {("a", "missing", None, 1), ("b", "new", None, 1)},
    ),
    "another type": ([(0, {"a": 1}), (3, {"a": "1"}), (4, {"a": 1})], {("a", "type", "text", 3)}),
    "two other types": (
        [(0, {"a": 1}), (1, {"a": "1"}), (2, {"a": True})],
        {("a", "type", "text", 1), ("a", "type", "bool", 2)},
    ),
    "a mixed baseline": ([(0, {"a": 1}), (0, {"a": "1"}), (1, {"a": "1"})], set()),
    "a field that is mixed from its start": (
        [(0, {}), (1, {"a": "1"}), (1, {"a": 1})],
        {("a", "new", None, 1), ("a", "type", "text", 1)},
    ),
    "1 and 1.5 are numbers": ([(0, {"a": 1}), (1, {"a": 1.5})], set()),
    "true is no number": ([(0, {"a": 1}), (1, {"a": True})], {("a", "type", "bool", 1)}),
    "null, then text": ([(0, {"a": None}), (1, {"a": "x"})], set()),
    "text, then null": ([(0, {"a": "x"}), (1, {"a": None})], set()),
    "null between two types": ([(0, {"a": "x"}), (1, {"a": None}), (2, {"a": 1})], {("a", "type", "number", 2)}),
    "a new field that is null": ([(0, {}), (1, {"a": None}), (2, {"a": 1})], {("a", "new", None, 1)}),
    "optional from the start": ([(0, {"a": 1}), (0, {}), (1, {}), (2, {"a": 1})], set()),
    "optional later": ([(0, {}), (1, {"a": 1}), (2, {}), (3, {"a": 1})], {("a", "new", None, 1)}),
    "late items": ([(5, {"b": 1}), (0, {"a": 1}), (3, {"b": 1})], {("a", "missing", None, 3), ("b", "new", None, 3)}),
    "in an object": (
        [(0, {"o": {"a": 1}}), (1, {"o": {"b": 1}})],
        {("o.a", "missing", None, 1), ("o.b", "new", None, 1)},
    ),
    "a new object is one record": ([(0, {}), (1, {"o": {"a": {"b": 1}}})], {("o", "new", None, 1)}),
    "an object that goes is one record": ([(0, {"o": {"a": {"b": 1}}}), (1, {})], {("o", "missing", None, 1)}),
    "null, then an object": ([(0, {"o": None}), (1, {"o": {"a": 1}}), (2, {"o": None})], set()),
    "in an object that came later": (
        [(0, {}), (1, {"o": {"a": 1}}), (2, {"o": {"b": 1}})],
        {("o", "new", None, 1), ("o.a", "missing", None, 2), ("o.b", "new", None, 2)},
    ),
    "text becomes an object": ([(0, {"a": "x"}), (1, {"a": {"b": 1}})], {("a", "type", "object", 1)}),
    "an object becomes a list": (
        [(0, {"a": {"b": 1}}), (1, {"a": [{"c": 1}]})],
        {("a", "type", "list", 1)},
    ),
    "elements of a list": ([(0, {"a": []}), (1, {"a": ["x"]}), (2, {"a": [1, "x"]})], {("a[]", "type", "number", 2)}),
    "in the elements of a list": (
        [(0, {"a": [{"b": 1}, {"b": 2}]}), (1, {"a": []}), (2, {"a": [{"b": 1}, {"c": 1}]})],
        {("a[].b", "missing", None, 2), ("a[].c", "new", None, 2)},
    ),
    "lists of lists": ([(0, {"a": [[1], []]}), (1, {"a": [[], ["x"]]})], {("a[][]", "type", "text", 1)}),
    "bytes and dates": (
        [(0, {"a": "x", "b": "y"}), (1, {"a": b"x", "b": on(0)})],
        {("a", "type", "bytes", 1), ("b", "type", "date", 1)},
    ),
    "a map": ([(day, users(day)) for day in range(MAP_KEYS + 50)], {("by.*", "map", None, MAP_KEYS)}),
    "a map in one item": (
        [(0, users(1)), (1, users(*range(MAP_KEYS + 50))), (2, users(2000))],
        {("by.*", "map", None, 1)},
    ),
    "a map from the start": (
        [(0, users(*range(MAP_KEYS + 50))), (1, users(*range(MAP_KEYS + 50))), (2, users(2000))],
        {("by.*", "map", None, 2)},
    ),
    "drift in the values of a map": (
        [*((0, users(n)) for n in range(MAP_KEYS + 50)), (1, {"by": {"me": {"changes": 1}}}), (2, {"by": {"me": 1}})],
        {
            ("by.*", "map", None, 0),
            ("by.*.commits", "missing", None, 1),
            ("by.*.changes", "new", None, 1),
            ("by.*", "type", "number", 2),
        },
    ),
    "a wide record is no map": (
        [(0, {f"field{n}": n for n in range(500)}), (1, {f"field{n}": n for n in range(1, 501)})],
        {("field0", "missing", None, 1), ("field500", "new", None, 1)},
    ),
    "too wide a record is a map": ([(1, {f"field{n}": n for n in range(MOST_KEYS + 1)})], {("*", "map", None, 1)}),
    "too many paths": (
        [(0, HUGE), (1, HUGE | {f"new{n}": 1 for n in range(20)}), (2, HUGE | {"o1": 1})],
        {("", "overflow", None, 0), ("o1", "type", "number", 2)},
    ),
    "deep": ([(0, nested(1)), (1, nested(1000)), (2, {"a": [nested(1000)]})],
             {("a", "type", "object", 1), ("a", "type", "list", 2)}),
    "deep from the start": ([(0, nested(1000)), (1, nested(900)), (2, nested(DEPTH + 1))], set()),
    "the deepest that is seen": ([(0, nested(DEPTH)), (1, nested(DEPTH + 1))], {(inner(DEPTH), "type", "object", 1)}),
    "hostile keys": (
        [(0, {}), (1, dict.fromkeys(("", ".", "$where", "a.b", "a[]", "*", '"', "\0", "\ud800", "é", 7), 1))],
        {
            (path, "new", None, 1)
            for path in (
                '""', '"."', "$where", '"a.b"', '"a[]"', '"*"', '"\\""', '"\\u0000"', '"\\ud800"', "é", "7",
            )
        },
    ),
    "hostile keys inside": ([(0, {"a.b": {}}), (1, {"a.b": {"": 1}})], {('"a.b".""', "new", None, 1)}),
}  # fmt: skip


@pytest.mark.parametrize(("items", "expected"), CASES.values(), ids=CASES.keys())
def test_what_is_drift(db: schema.Db, items: list[Item], expected: set[Fact]) -> None:
    """In one sweep over all of it, and when it is swept again."""
    assert facts(merge(db, shapes(items), run_id="first", now=NOW)) == expected
    assert facts(listed(db)) == expected
    assert merge(db, shapes(items), run_id="second", now=NOW) == []
    assert facts(listed(db)) == expected


def reference(items: Iterable[Item]) -> set[Fact]:  # noqa: C901 - in one place, to be read beside the definition
    """The definition, word for word: all that every object and list has, and then a look at all of it."""
    seen: dict[tuple[str, bool], list[tuple[int, dict[str, set[str]]]]] = defaultdict(list)
    kinds = {
        type(None): "null",
        bool: "bool",
        int: "number",
        float: "number",
        str: "text",
        dict: "object",
        list: "list",
    }

    def look(day: int, path: str, value: Any) -> None:
        if isinstance(value, list):
            seen[path, False].append((day, {path + "[]": {kinds[type(one)] for one in value}} if value else {}))
        if isinstance(value, dict):
            seen[path, True].append((day, {f"{path}.{key}": {kinds[type(one)]} for key, one in value.items()}))
        for key, one in value.items() if isinstance(value, dict) else ():
            look(day, f"{path}.{key}", one)
        for one in value if isinstance(value, list) else ():
            look(day, path + "[]", one)

    for day, payload in items:
        look(day, "", payload)
    found: set[Fact] = set()
    for (_, of_objects), objects in seen.items():
        begin = min(day for day, _ in objects)
        for name in {name for _, names in objects for name in names}:
            first = min(day for day, names in objects if name in names)
            if of_objects and first > begin:
                found.add((name[1:], "new", None, first))
            lacking = [day for day, names in objects if name not in names]
            if of_objects and lacking and min(lacking) > begin:
                found.add((name[1:], "missing", None, min(lacking)))
            types: dict[str, int] = {}
            for day, names in objects:
                for kind in names.get(name, set()) - {"null"}:
                    types[kind] = min(day, types.get(kind, day))
            for day, kind in sorted((day, kind) for kind, day in types.items())[1:]:
                if day > begin:
                    found.add((name[1:], "type", kind, day))
    return found


scalars = st.sampled_from([None, True, 1, 1.5, "x"])
values = st.recursive(
    scalars,
    lambda one: st.lists(one, max_size=2) | st.dictionaries(st.sampled_from("ab"), one, max_size=2),
    max_leaves=4,
)
payloads = st.dictionaries(st.sampled_from("abc"), values, max_size=3)
items_of_streams = st.lists(st.tuples(st.integers(0, 5), payloads), max_size=8)


@settings(max_examples=400, deadline=None)
@given(items=items_of_streams, order=st.randoms(use_true_random=False))
def test_witnesses_tell_as_much_as_all_items(items: list[Item], order: Any) -> None:
    """In any order, remembering only what is news: what follows is what the definition says of all items."""
    remembered: list[Shape] = []
    for item in order.sample(items, len(items)):
        history = History(remembered)
        remembered += [one for one in map(history.learn, shapes([item]).collected()[NAME]) if one]
        order.shuffle(remembered)
    assert facts(History(remembered).drift(NAME, run_id="r", now=NOW)) == reference(items) == drift(items)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=items_of_streams, cuts=st.sets(st.integers(1, 7)), again=st.integers(1, 2), order=st.randoms())
@example(items=[(0, {"a": 1}), (1, {"a": 1}), (1, {})], cuts={1, 2}, again=2, order=None)
def test_any_division_into_merges_ends_in_the_same_records(
    db: schema.Db, items: list[Item], cuts: set[int], again: int, order: Any
) -> None:
    """In order of time, equal; in any order nothing is lost or late, though more may be said on less knowledge."""
    for shuffled in (False, True):
        dataset = next(_names)
        everything = sorted(items, key=lambda item: item[0])
        if shuffled and order:
            order.shuffle(everything)
        returned: list[Drift] = []
        bounds = [0, *sorted(cuts), len(items) + 7]
        for first, last in pairwise(bounds):
            for _ in range(again):
                returned += merge(db, shapes(everything[first:last], dataset), run_id="r", now=NOW)
        recorded, expected = facts(listed(db, dataset)), reference(items)
        assert {one[:3] for one in facts(returned)} == {one[:3] for one in recorded}
        assert recorded == expected if not shuffled else recorded >= expected


@pytest.mark.parametrize("repository", REPOSITORIES)
def test_real_histories_have_no_drift(db: schema.Db, repository: str) -> None:
    """Ten years of commits, tags and reverts: any word here would be a false alarm."""
    collected = Shapes()
    for add in recorded(collected, repository):
        add()
    assert merge(db, collected, run_id="r", now=NOW) == []
    assert not collected.full
    tag = next(event for event in events(repository) if event["type"] == "tag")
    assert {row["path"] for row in fields(db, "bronze.git.tags")} == tag.keys()


def recorded(
    collected: Shapes,
    repository: str,
    change: Callable[[datetime, dict[str, Any]], dict[str, Any]] = lambda _, event: event,
) -> Iterator[Callable[[], None]]:
    """For each event of a real history the call that looks at it."""
    for event in events(repository):
        at = datetime.fromtimestamp(event["tag_ts" if event["type"] == "tag" else "commit_ts"], UTC)
        window = at.replace(hour=0, minute=0, second=0)
        payload, stream = change(window, event), f"bronze.git.{event['type']}s"
        item = event.get("sha") or event["name"]

        def add(stream: str = stream, window: datetime = window, item: str = item, payload: Any = payload) -> None:
            collected.add(stream, repository, window, item, payload)

        yield add


def test_a_field_that_is_renamed_in_a_real_history_is_found_in_one_sweep(db: schema.Db) -> None:
    """From some day on the source says `changed_files`, the number of insertions is text, and nothing else."""
    since = datetime(2015, 6, 1, tzinfo=UTC)

    def change(window: datetime, event: dict[str, Any]) -> dict[str, Any]:
        if event["type"] != "commit" or window < since:
            return event
        event = event | {"changed_files": event["files_changed"], "insertions": str(event["insertions"])}
        del event["files_changed"]
        return event

    collected = Shapes()
    for add in recorded(collected, "psf__requests", change):
        add()
    found = merge(db, collected, run_id="r", now=NOW)
    assert {(one.dataset, one.path, one.kind, one.type, one.before) for one in found} == {
        ("bronze.git.commits", "changed_files", "new", None, ()),
        ("bronze.git.commits", "files_changed", "missing", None, ("number",)),
        ("bronze.git.commits", "insertions", "type", "text", ("number",)),
    }
    (first,) = {one.first_window for one in found}
    assert since <= first < since + timedelta(days=14)
    changed = next(one for one in found if one.path == "insertions")
    assert changed.item in {event.get("sha") for event in events("psf__requests")}
    assert changed.example.strip('"').isdigit()
    assert (changed.scope, changed.run_id, changed.seen_at) == ("psf__requests", "r", NOW)


def test_fourteen_thousand_payloads_cost_little(db: schema.Db) -> None:
    """The sweep pays for this with every item. Measured: 0.03 s, and 0.01 s for the merge."""
    collected = Shapes()
    calls = list(recorded(collected, "alphagov__collections"))
    assert len(calls) > 14_000
    start = time.process_time()
    for add in calls:
        add()
    assert time.process_time() - start < 0.25
    merge(db, collected, run_id="r", now=NOW)
    start = time.perf_counter()
    assert merge(db, collected, run_id="r", now=NOW) == []
    assert time.perf_counter() - start < 0.25


def test_known_shapes_cost_one_read_and_no_write(db: schema.Db, mongo_uri: str) -> None:
    """Day after day nothing changes: a later window of a known shape is no news."""
    told: list[str] = []

    class Listener(monitoring.CommandListener):
        def started(self, event: monitoring.CommandStartedEvent) -> None:
            told.append(event.command_name)

        def succeeded(self, event: Any) -> None: ...

        def failed(self, event: Any) -> None: ...

    items = [(0, {"a": 1, "o": {"x": [1]}}), (1, {"a": 1, "b": 1})]
    assert len(merge(db, shapes(items), run_id="r", now=NOW)) == 2
    with MongoClient[Any](mongo_uri, event_listeners=[Listener()], tz_aware=True) as client:
        assert (
            merge(client[db.name], shapes([*items, *((9, payload) for _, payload in items)]), run_id="r", now=NOW) == []
        )
        assert merge(client[db.name], Shapes(), run_id="r", now=NOW) == []
    assert [one for one in told if one in {"find", "update", "insert", "getMore"}] == ["find"]


def test_late_items_move_a_record_back_and_say_nothing_again(db: schema.Db) -> None:
    merge(db, shapes([(0, {"a": 1}), (5, {"a": 1, "b": "five"})]), run_id="first", now=NOW)
    assert merge(db, shapes([(3, {"a": 1, "b": "three"})]), run_id="second", now=NOW) == []
    (row,) = listed(db)
    assert (row["first_window"], row["item"], row["example"], row["run_id"]) == (on(3), "item of 3", '"three"', "first")
    assert merge(db, shapes([(0, {"a": 1, "b": "zero"})]), run_id="third", now=NOW) == []
    assert facts(listed(db)) == {("b", "new", None, 3)}, "what was recorded stays"


def test_streams_and_scopes(db: schema.Db) -> None:
    """A stream has one baseline over all its scopes; another stream has its own; the newest is listed first."""
    collected = Shapes()
    collected.add("one", "acme/a", on(0), "1", {"a": 1})
    collected.add("one", "acme/b", on(1), "2", {"b": 1})
    collected.add("two", "acme/b", on(1), "3", {"b": 1})
    found = merge(db, collected, run_id="r", now=NOW)
    assert {(one.dataset, one.path, one.kind, one.scope, one.item) for one in found} == {
        ("one", "a", "missing", "acme/b", "2"),
        ("one", "b", "new", "acme/b", "2"),
    }
    assert merge(db, shapes([(0, {}), (1, {"c": 1})], "two"), run_id="r", now=NOW + timedelta(days=1))
    assert [row["dataset"] for row in listed(db)] == ["two", "two", "one", "one"]
    assert {row["dataset"] for row in listed(db, "one")} == {"one"}


def test_every_path_is_on_record_with_its_types(db: schema.Db) -> None:
    merge(
        db, shapes([(0, {"a": None, "o": {"x": 1}}), (2, {"a": "x", "o": {"x": "y"}, "l": [1]})]), run_id="r", now=NOW
    )
    assert fields(db, NAME) == [
        {"path": "a", "types": {"text": on(2)}, "first_window": on(0), "missing_from": None, "example": "null"},
        {"path": "l", "types": {"list": on(2)}, "first_window": on(2), "missing_from": on(0), "example": "[1]"},
        {"path": "l[]", "types": {"number": on(2)}, "first_window": on(2), "missing_from": None, "example": "1"},
        {"path": "o", "types": {"object": on(0)}, "first_window": on(0), "missing_from": None, "example": '{"x": 1}'},
        {"path": "o.x", "types": {"number": on(0), "text": on(2)}, "first_window": on(0), "missing_from": None,
         "example": "1"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("\ud800", '"\\ud800"'),
        ("a\0b\n", '"a\\u0000b\\n"'),
        ("x" * 1_000_000, '"' + "x" * (SHORT - 1)),
        (2**70_000, "a whole number of 70001 bits"),
        (-(2**64), "-18446744073709551616"),
        (float("nan"), "nan"),
        (True, "true"),
        (b"\xff\x00" * 100, "200 bytes: ff00ff00ff00ff00ff00ff00ff00ff00"),
        (on(0), "2024-01-01T00:00:00+00:00"),
        ({"a": [1, {"b": {}}, "\udcff"]}, '{"a": [1, {…}, "\\udcff"]}'),
        (list(range(100_000)), "[0, 1, 2, 3, 4, …]"),
        (nested(1000), '{"a": {"a": {…}}}'),
        (object(), "<object>"),
    ],
    ids=lambda value: str(type(value).__name__),
)
def test_examples_are_short_and_safe(db: schema.Db, value: Any, shown: str) -> None:
    """Whatever a payload holds, the record of it can be stored and read."""
    collected = shapes([(0, {}), (1, {"a": value})])
    collected.add(NAME, "\ud800", on(1), "\ud801", {"b": 1})
    merge(db, collected, run_id="r", now=NOW)
    row = next(row for row in listed(db) if row["path"] == "a")
    assert row["example"] == shown
    assert len(row["example"]) <= SHORT


def test_long_keys_stay_apart() -> None:
    one, two = "k" * 1_000_000, "k" * 1_000_000 + "!"
    paths = sorted(path for path, *_ in drift([(0, {}), (1, {one: 1, two: 1})]))
    assert len(paths) == 2
    assert all(len(path) < SHORT for path in paths)


def test_a_collector_is_full_before_memory_is() -> None:
    """Every payload has a shape of its own."""
    collected = Shapes()
    for number in range(MOST_SHAPES):
        assert not collected.full
        payload = {f"flag{bit}": 1 for bit in range(12) if number >> bit & 1}
        collected.add(NAME, "acme/api", on(0), str(number), payload)
    assert collected.full


def test_a_map_of_any_size_takes_little_memory() -> None:
    """Also before the caller comes to ask whether it is full: a batch may hold a million keys."""
    collected = shapes((0, users(number)) for number in range(4 * MOST_KEYS))
    assert len(collected.collected()[NAME]) < 2 * MOST_KEYS + 10


def test_what_is_stored_of_a_stream_is_bounded(db: schema.Db) -> None:
    """Two thousand shapes of twelve optional fields tell what a few of them tell; and a map of maps is two paths."""
    merge(
        db,
        shapes((n, {f"flag{bit}": 1 for bit in range(12) if n >> bit & 1}) for n in range(2000)),
        run_id="r",
        now=NOW,
    )
    assert db[schema.SCHEMA_FIELDS].count_documents({}) <= 24
    tree = ((n, {"by": {f"user{n}": {f"repo{n}": {"commits": n}}}}) for n in range(1500))
    merge(db, shapes(tree, "maps"), run_id="r", now=NOW)
    assert facts(listed(db, "maps")) >= {("by.*", "map", None, MAP_KEYS), ("by.*.*", "map", None, MAP_KEYS)}
    assert {row["path"] for row in fields(db, "maps")} == {"by", "by.*", "by.*.*", "by.*.*.commits"}
    endless = ((n, {f"o{n % 40}": {f"o{n % 30}": {f"a{n}": 1}}}) for n in range(4000))
    merge(db, shapes(endless, "endless"), run_id="r", now=NOW)
    assert len(fields(db, "endless")) <= MOST_PATHS


class Crash(BaseException):
    pass


def crash_at(number: int, mode: Literal["before", "half", "after"], patch: pytest.MonkeyPatch) -> None:
    """From now on the write with this number (from 0) is where a merge ends."""
    numbers, write = count(), Collection.bulk_write

    def bulk_write(self: Any, operations: list[Any], **options: Any) -> Any:
        if next(numbers) != number:
            return write(self, operations, **options)
        if mode != "before":
            write(self, operations[: len(operations) // 2] or operations if mode == "half" else operations, **options)
        raise Crash

    patch.setattr(Collection, "bulk_write", bulk_write)


BEFORE: list[Item] = [(0, {"a": 1, "b": 1, "o": {"x": 1}}), (4, {"a": 1, "b": 1, "c": 1, "o": {"x": 1}})]
AFTER: list[Item] = [(2, {"a": "x", "c": 1, "o": {"y": 1}}), (3, {"a": 1, "b": 1, "d": [1], "o": {"x": 1}}), (5, {})]


@pytest.mark.parametrize("mode", ["before", "half", "after"])
def test_a_crash_at_any_write_loses_nothing_and_repeats_nothing(
    db: schema.Db, mode: Literal["before", "half", "after"]
) -> None:
    """Above all: a field on record whose drift was not reported yet is reported by the next merge."""
    for number in count():
        dataset = next(_names)
        returned = merge(db, shapes(BEFORE, dataset), run_id="r", now=NOW)
        with pytest.MonkeyPatch.context() as patch:
            crash_at(number, mode, patch)
            try:
                merge(db, shapes(AFTER, dataset), run_id="r", now=NOW)
                break
            except Crash:
                pass
        there = facts(listed(db, dataset))
        returned += merge(db, shapes(AFTER, dataset), run_id="r", now=NOW)
        assert facts(listed(db, dataset)) == reference([*BEFORE, *AFTER])
        assert {one[:3] for one in facts(returned)} | {one[:3] for one in there} == {
            one[:3] for one in reference([*BEFORE, *AFTER])
        }
        assert merge(db, shapes(AFTER, dataset), run_id="r", now=NOW) == []
    assert number == 3


def test_workers_that_merge_at_once_lose_nothing_and_say_nothing_twice(db: schema.Db) -> None:
    """What follows from the items of both together is found too: neither knows the baseline and the change."""
    parts: list[list[Item]] = [BEFORE, AFTER, [(0, {"a": 1, "b": 1, "o": {"x": 1}}), (6, {"a": [1]})]]
    for _ in range(15):
        dataset, together, returned = next(_names), threading.Barrier(len(parts)), list[Drift]()

        def work(items: list[Item], dataset: str, together: threading.Barrier, returned: list[Drift]) -> None:
            collected = shapes(items, dataset)
            together.wait()
            returned += merge(db, collected, run_id=threading.current_thread().name, now=NOW)

        workers = [threading.Thread(target=work, args=(part, dataset, together, returned)) for part in parts]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        there = facts(listed(db, dataset))
        assert there >= reference([item for part in parts for item in part])
        assert {one[:3] for one in facts(returned)} == {one[:3] for one in there}
        assert db[schema.SCHEMA_FIELDS].count_documents({"dataset": dataset, "judged": False}) == 0


def test_the_identity_of_a_record_is_dataset_path_kind_and_type(db: schema.Db) -> None:
    (one,) = merge(db, shapes([(0, {"a": 1}), (1, {"a": "x"})]), run_id="r", now=NOW)
    (row,) = db[schema.DRIFT].find()
    assert row["_id"] == one.key == schema.digest([NAME, written(("a",)), "type", "text"])
