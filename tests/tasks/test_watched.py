"""Collections that Touchstone did not make: watched by configuration alone, and never written to."""

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import Decimal128, Int64, ObjectId
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient

from config import mongo, mongod, schema, settings
from config.schema import Coll
from config.settings import Collection, ConfigError
from quality import validation
from quality.findings import Report
from quality.quarantine import State
from tasks import aside, aside_rows, checks, foreign, survey, watched
from tasks.context import Context
from tasks.foreign import WatchError, scope_of
from tests.harness import make_context
from tests.tasks.test_crash import forked, interrupt_at

ROOT = Path(__file__).parent.parent.parent
DOCUMENT = ROOT / "docs" / "any-dataset.md"

FIRST = date(2024, 5, 1)
RANGE = (FIRST, FIRST + timedelta(days=3))
LATER = datetime(2024, 6, 1, tzinfo=UTC)

POSITIVE = {
    "name": "positive", "expectation": "expect_column_values_to_be_between",
    "arguments": {"column": "amount", "min_value": 0},
}  # fmt: skip
UNIQUE = {
    "name": "unique", "judges": "batch", "expectation": "expect_column_values_to_be_unique",
    "arguments": {"column": "order"},
}  # fmt: skip
SOME = {
    "name": "some", "judges": "partition", "expectation": "expect_column_values_to_be_between",
    "arguments": {"column": "rows", "min_value": 1},
}  # fmt: skip
FRESH = {
    "name": "fresh", "judges": "partition", "severity": "warning", "expectation": "expect_column_values_to_be_between",
    "arguments": {"column": "freshness_seconds", "max_value": 3600},
}  # fmt: skip


def configured(context: Context, *, rules: Any = (POSITIVE,), **more: Any) -> tuple[Context, Collection]:
    """A worker that is told of one dataset."""
    declared = {"name": "shop.orders", "collection": "orders", "time": "at", "key": "order", "scope": "region"}
    dataset = Collection(**{**declared, "rules": rules, "numeric": ["amount"], **more})
    loaded = context.settings.model_copy(update={"datasets": (dataset,)})
    return replace(context, settings=loaded, _suites={}, now=LATER), dataset


@pytest.fixture
def orders(context: Context) -> Coll:
    return context.db["orders"]


def order(number: int, day: float = 0.5, region: Any = "EU", amount: Any = 10, **more: Any) -> dict[str, Any]:
    at = schema.start_of(FIRST) + timedelta(days=day)
    return {"_id": number, "order": number, "at": at, "region": region, "amount": amount, **more}


def ledger(context: Context, scope: str = "EU", day: int = 0) -> dict[str, Any]:
    key = f"shop.orders|{scope}|{FIRST + timedelta(days=day)}"
    return context.db[schema.LEDGER].find_one({"_id": key}) or {}


def outcomes(context: Context, scope: str = "EU") -> list[str]:
    fields = ("report.outcome", "blocked.report.outcome")
    found = context.ledger.windows("shop.orders", scope, fields)
    return [(one.get("blocked") or one)["report"]["outcome"] for one in found]


def stated(context: Context, measure: str, scope: str = "EU") -> list[tuple[int, Any, str]]:
    """What was stated of a measure, in order of statement: day, value, cause."""
    where = {"series.dataset": "shop.orders", "series.scope": scope, "series.measure": measure}
    found = context.db[schema.OBSERVATIONS].find(where, sort=[("_id", 1)])
    return [((one["at"].date() - FIRST).days, one["value"], one["cause"]) for one in found]


def set_aside(context: Context, state: State = State.OPEN) -> list[dict[str, Any]]:
    return list(context.db[schema.QUARANTINE].find({"state": str(state)}, sort=[("item.key", 1)]))


def test_every_scope_has_every_window_of_the_range(context: Context, orders: Coll) -> None:
    """Also one in which it has no row: a gap must be a record that can be judged."""
    context, dataset = configured(context)
    orders.insert_many([order(1), order(2, 1.5), order(3, 1.6, "US"), order(4, 0.1, None), order(5, 9)])
    assert watched.watch(context, dataset, RANGE) == 9
    assert watched.scopes(context, "shop.orders") == ["(none)", "EU", "US"]
    rows = {scope: [ledger(context, scope, day)["rows"] for day in range(3)] for scope in ("EU", "US", "(none)")}
    assert rows == {"EU": [1, 1, 0], "US": [0, 1, 0], "(none)": [1, 0, 0]}
    assert outcomes(context) == ["passed", "passed", "empty"]
    assert ledger(context)["proof"] == {
        "state": "unproven", "coverage": 0.0, "reason": "watched, not extracted: no receipt says that it is whole",
    }  # fmt: skip
    assert stated(context, "rows") == [(0, 1, "first"), (1, 1, "first"), (2, 0, "first")]
    assert stated(context, "mean.amount", "US") == [(1, 10, "first")]


def test_without_a_scope_field_all_rows_are_one_scope(context: Context, orders: Coll) -> None:
    context, dataset = configured(context, scope=None)
    orders.insert_many([order(1), order(2, 0.6, "US")])
    watched.watch(context, dataset, RANGE)
    assert watched.scopes(context, "shop.orders") == ["all"]
    assert ledger(context, "all")["rows"] == 2


def test_a_run_without_news_reads_no_row_and_asks_no_validator(
    context: Context, orders: Coll, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs come every few minutes; most of them find what the last one found."""
    context, dataset = configured(context, rules=[POSITIVE, UNIQUE, SOME], database=context.db.name)
    orders.insert_many([order(number, number % 3 + 0.5) for number in range(30)])
    assert watched.watch(context, dataset, RANGE) == 3
    before = list(context.db[schema.LEDGER].find())

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("a run without news did more than look")

    monkeypatch.setattr(foreign.Foreign, "read", refuse)
    monkeypatch.setattr(foreign.Foreign, "measure", refuse)
    monkeypatch.setattr(validation.Validator, "judge", refuse)
    assert watched.watch(context, dataset, RANGE) == 0
    assert list(context.db[schema.LEDGER].find()) == before


@pytest.mark.parametrize(
    ("change", "rows"),
    [
        (lambda orders: orders.insert_one(order(9, 0.7)), 3),
        (lambda orders: orders.delete_one({"_id": 1}), 1),
        (lambda orders: orders.update_one({"_id": 1}, {"$set": {"amount": 11}}), 2),
        (lambda orders: orders.update_one({"_id": 1}, {"$set": {"note": "x"}}), 2),
        (lambda orders: orders.update_one({"_id": 1}, {"$set": {"order": 0}}), 2),
        (lambda orders: orders.update_one({"_id": 1}, {"$set": {"at": schema.start_of(FIRST)}}), 2),
    ],
    ids=["row", "deletion", "measured number", "size", "key", "time"],
)
def test_late_data_is_seen_and_restated(
    context: Context, orders: Coll, change: Callable[[Coll], Any], rows: int
) -> None:
    """Only the window that has changed is made again, and the history tells why."""
    context, dataset = configured(context)
    orders.insert_many([order(1), order(2), order(3, 1.5)])
    watched.watch(context, dataset, RANGE)
    change(orders)
    assert watched.watch(context, dataset, RANGE) == 1
    assert stated(context, "rows")[3:] == [(0, rows, "late data")]
    assert ledger(context)["cause"] == "late data"


def test_what_the_fingerprint_cannot_see(context: Context, orders: Coll) -> None:
    """The document says so: a text that is replaced by one of the same length, beside the key and the numbers."""
    context, dataset = configured(context)
    orders.insert_one(order(1, state="paid"))
    watched.watch(context, dataset, RANGE)
    orders.update_one({"_id": 1}, {"$set": {"state": "lost"}})
    assert watched.watch(context, dataset, RANGE) == 0


def test_bad_rows_are_set_aside_whole_and_released_once_mended(context: Context, orders: Coll) -> None:
    context, dataset = configured(context)
    orders.insert_many([order(1), order(2, amount=-5, lines=[{"sku": "a"}]), order(3, amount=None)])
    watched.watch(context, dataset, RANGE)
    (one,) = set_aside(context)
    assert (one["dataset"], one["origin"], one["window"]) == ("shop.orders", "EU", schema.start_of(FIRST))
    assert (one["rule"], one["path"], one["value"]) == ("positive", "amount", -5)
    assert one["item"]["document"] == order(2, amount=-5, lines=[{"sku": "a"}])
    found = ledger(context)
    assert found["report"]["outcome"] == "warned"
    assert found["report"]["findings"][0]["observed"] == "1 of 3 rows"
    assert found["proof"]["reason"] == (
        "1 of 3 items of this window are set aside: see `touchstone quarantine list`"
    )  # fmt: skip
    assert stated(context, "quarantine_ratio") == [(0, 1 / 3, "first")]
    orders.update_one({"_id": 2}, {"$set": {"amount": 5}})
    watched.watch(context, dataset, RANGE)
    assert set_aside(context) == []
    assert len(set_aside(context, State.RELEASED)) == 1
    assert ledger(context)["report"]["outcome"] == "passed"


def test_a_bad_row_that_moves_to_another_window_stays_set_aside(context: Context, orders: Coll) -> None:
    """Its old window releases it, whatever fence that has; it must not slip through between the two."""
    context, dataset = configured(context)
    orders.insert_many([order(1, amount=-1), order(2)])
    watched.watch(context, dataset, RANGE)
    for amount in (3, 4, 5):
        orders.update_one({"_id": 2}, {"$set": {"amount": amount}})
        watched.watch(context, dataset, RANGE)
    orders.update_one({"_id": 1}, {"$set": {"at": order(1, 1.5)["at"]}})
    watched.watch(context, dataset, RANGE)
    (one,) = set_aside(context)
    assert one["window"] == schema.start_of(FIRST) + schema.DAY
    assert [ledger(context, day=day)["report"]["outcome"] for day in (0, 1)] == ["passed", "warned"]


def test_a_broken_batch_is_blocked_until_it_is_mended(context: Context, orders: Coll) -> None:
    """What was known before stays; what is blocked is not judged again while nothing has changed."""
    context, dataset = configured(context, rules=[UNIQUE])
    orders.insert_many([order(1), order(2)])
    watched.watch(context, dataset, RANGE)
    orders.insert_one(order(3) | {"order": 2})
    watched.watch(context, dataset, RANGE)
    found = ledger(context)
    assert found["blocked"]["report"]["findings"][0]["rule"] == "unique"
    assert (found["rows"], found["report"]["outcome"]) == (2, "passed")
    assert stated(context, "rows")[-1] == (2, 0, "first")
    assert watched.watch(context, dataset, RANGE) == 0
    orders.delete_one({"_id": 3})
    watched.watch(replace(context, now=LATER + timedelta(days=1)), dataset, (FIRST + timedelta(days=20),) * 2)
    assert "blocked" not in ledger(context)
    assert outcomes(context) == ["passed", "empty", "empty"]


def test_an_empty_window_is_blocked_by_a_rule_on_its_measures(context: Context, orders: Coll) -> None:
    """Nothing proves that a foreign collection is whole: whoever knows that a day has rows says so."""
    context, dataset = configured(context, rules=[SOME])
    orders.insert_many([order(1), order(3, 2.5)])
    watched.watch(context, dataset, RANGE)
    assert outcomes(context) == ["passed", "blocked", "passed"]
    assert ledger(context, day=1)["proof"]["reason"] == "blocked by the rule some: rows = 0"


def test_a_scope_that_vanishes_still_has_its_windows(context: Context, orders: Coll) -> None:
    context, dataset = configured(context, rules=[SOME])
    orders.insert_many([order(1), order(2, region="US")])
    watched.watch(context, dataset, (FIRST, FIRST + timedelta(days=1)))
    orders.delete_one({"_id": 2})
    orders.insert_one(order(3, 1.5))
    watched.watch(context, dataset, (FIRST, FIRST + timedelta(days=2)))
    assert outcomes(context) == ["passed", "passed"]
    assert outcomes(context, "US") == ["blocked", "blocked"]


def test_an_open_window_closes(context: Context, orders: Coll) -> None:
    """It is partial until its delay is over; then it is looked at a last time, also by a run for another day."""
    context, dataset = configured(context, delay_hours=6)
    orders.insert_one(order(1))
    end = schema.start_of(FIRST) + schema.DAY
    today = (FIRST, FIRST + timedelta(days=1))
    tomorrow = (FIRST + timedelta(days=1), FIRST + timedelta(days=2))
    context = replace(context, now=end - timedelta(hours=2))
    assert watched.watch(context, dataset, today) == 1
    assert ledger(context)["proof"]["state"] == "partial"
    assert watched.watch(replace(context, now=end - timedelta(hours=1)), dataset, today) == 0
    orders.insert_one(order(2, 0.9))
    watched.watch(replace(context, now=end + timedelta(hours=5)), dataset, tomorrow)
    assert (ledger(context)["rows"], ledger(context)["proof"]["state"]) == (2, "partial")
    watched.watch(replace(context, now=end + timedelta(hours=6)), dataset, tomorrow)
    assert ledger(context)["proof"]["state"] == "unproven"
    assert watched.watch(replace(context, now=end + timedelta(hours=6)), dataset, today) == 0
    assert stated(context, "freshness_seconds")[0][1] == 10 * 3600
    assert [value for day, value, _ in stated(context, "freshness_seconds") if day == 0][-1] == pytest.approx(8640)


def test_an_open_window_ages_without_any_row(context: Context, orders: Coll, monkeypatch: pytest.MonkeyPatch) -> None:
    """When data stops to come nothing changes in the collection: a rule on freshness is judged by each run."""
    context, dataset = configured(context, rules=[POSITIVE, FRESH])
    orders.insert_one(order(1, amount=-1))
    noon, today = schema.start_of(FIRST) + timedelta(hours=12), (FIRST, FIRST + timedelta(days=1))
    watched.watch(replace(context, now=noon), dataset, today)
    assert [one["rule"] for one in ledger(context)["report"]["findings"]] == ["positive"]
    monkeypatch.setattr(foreign.Foreign, "read", lambda *_: pytest.fail("rows that were judged are read again"))
    watched.watch(replace(context, now=noon + timedelta(hours=2)), dataset, today)
    assert [one["rule"] for one in ledger(context)["report"]["findings"]] == ["positive", "fresh"]
    assert len(set_aside(context)) == 1


def test_a_rule_that_is_added_is_tried_on_all_that_is_there(context: Context, orders: Coll) -> None:
    context, dataset = configured(context, rules=[])
    orders.insert_many([order(1), order(2, 1.5, amount=-1)])
    watched.watch(context, dataset, RANGE)
    context, dataset = configured(context, rules=[POSITIVE])
    other = (FIRST + timedelta(days=2), FIRST + timedelta(days=3))
    assert watched.watch(context, dataset, other) == 3
    assert outcomes(context) == ["passed", "warned", "empty"]
    assert stated(context, "rows")[3:] == [(1, 1, "definition")], "where no number has changed none is stated again"
    context, dataset = configured(context, rules=[POSITIVE], fields=["note"])
    watched.watch(context, dataset, other)
    assert stated(context, "null_ratio.note") == [(0, 1, "definition"), (1, 1, "definition"), (2, None, "definition")]


def test_replay_and_discard_are_honoured(context: Context, orders: Coll) -> None:
    """A discarded row no longer counts against its window, and stays out of the quarantine's open ones."""
    context, dataset = configured(context)
    orders.insert_many([order(1), order(2, amount=-1)])
    watched.watch(context, dataset, RANGE)
    assert aside.replay(set_aside(context), context) == 1
    assert watched.watch(context, dataset, (FIRST + timedelta(days=9),) * 2) == 1
    assert len(set_aside(context)) == 1
    assert ledger(context)["cause"] == "quarantine replay"
    aside.discard(set_aside(context), "a test order", context)
    watched.watch(context, dataset, RANGE)
    assert (set_aside(context), len(set_aside(context, State.DISCARDED))) == ([], 1)
    assert "set aside" not in ledger(context)["proof"]["reason"]
    assert "again" not in ledger(context)


def test_rows_without_a_date_are_counted_and_told(context: Context, orders: Coll) -> None:
    context, dataset = configured(context)
    at = order(1)["at"]
    bad: list[Any] = [None, "2024-05-01", 1714564800, [at], {"date": at}, True, ObjectId()]
    orders.insert_many([order(1), *(order(number + 2) | {"at": value} for number, value in enumerate(bad))])
    orders.insert_one({"_id": "none"})
    watched.watch(context, dataset, RANGE)
    assert watched.head(context, "shop.orders")["no_time"] == 8
    told = "rows that have no date in 'at', and so belong to no window: 8"
    assert watched.head(context, "shop.orders")["note"] == told
    assert ledger(context)["rows"] == 1
    orders.delete_many({"_id": {"$nin": [1]}})
    watched.watch(context, dataset, RANGE)
    assert watched.head(context, "shop.orders")["no_time"] == 0
    assert "note" not in watched.head(context, "shop.orders")


def test_dates_inside_of_lists_are_no_time(context: Context, orders: Coll) -> None:
    """A query for dates finds them, yet they decide no window."""
    context, dataset = configured(context, time="log.at")
    at = order(1)["at"]
    orders.insert_many([order(1, log={"at": at}), order(2, log=[{"at": at}])])
    watched.watch(context, dataset, RANGE)
    assert (ledger(context)["rows"], watched.head(context, "shop.orders")["no_time"]) == (1, 1)


def test_an_error_between_publishing_and_observing_is_made_good(
    context: Context, orders: Coll, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The window was given back, and only its mark says that its numbers were never stated."""
    context, dataset = configured(context)
    orders.insert_one(order(1))
    with monkeypatch.context() as broken:
        broken.setattr(checks, "observe", lambda *_: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            watched.watch(context, dataset, RANGE)
    assert stated(context, "rows") == []
    watched.watch(context, dataset, RANGE)
    assert stated(context, "rows") == [(0, 1, "first"), (1, 0, "first"), (2, 0, "first")]
    assert "unobserved" not in ledger(context)


def test_new_and_changed_fields_are_drift(context: Context, orders: Coll) -> None:
    context, dataset = configured(context, rules=[])
    orders.insert_many([order(1), order(2)])
    watched.watch(context, dataset, RANGE)
    orders.insert_many([order(3, 1.5, amount="ten"), order(4, 1.6, coupon="x")])
    watched.watch(context, dataset, RANGE)
    found = context.db[schema.DRIFT].find({"dataset": "shop.orders"})
    assert {(one["kind"], one["path"]) for one in found} >= {("type", "amount"), ("new", "coupon")}


@pytest.mark.parametrize(
    ("value", "scope"),
    [
        (None, "(none)"), ("", "(empty)"), ("a|b", "a_b"), (7, "7"), (True, "True"), (1.5, "1.5"), ("EU", "EU"),
        ({"a": 1}, "{'a': 1}"), (["x"], "['x']"), ("\n\x00|", "___"), (Decimal128("1.0"), "1.0"),
    ],
)  # fmt: skip
def test_a_scope_is_a_text_that_fits_into_a_key(value: Any, scope: str) -> None:
    assert scope_of(value) == scope


def test_scopes_of_any_type_are_told_apart_and_measured(context: Context, orders: Coll) -> None:
    """A list of regions is not each of them; 7 and "7" are one scope; what was measured is what was counted."""
    context, dataset = configured(context)
    regions = ["EU", ["EU"], 7, "7", 7.0, None, {"a": 1}, True, Decimal128("NaN"), bson.Regex("^E"), "a|b", "$x", ""]
    orders.insert_many([order(number, region=region) for number, region in enumerate(regions)])
    watched.watch(context, dataset, RANGE)
    found = {scope: ledger(context, scope)["report"]["rows"] for scope in watched.scopes(context, "shop.orders")}
    assert sum(found.values()) == len(regions)
    assert (found["EU"], found["7"], found["['EU']"], found["a_b"]) == (1, 3, 1, 1)
    assert {ledger(context, scope)["rows"] == rows for scope, rows in found.items()} == {True}


def test_a_key_for_a_scope_is_refused(context: Context, orders: Coll, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "MOST_SCOPES", 5)
    context, dataset = configured(context, scope="order")
    orders.insert_many([order(number) for number in range(10)])
    with pytest.raises(WatchError, match="more than 5 values"):
        watched.watch(context, dataset, RANGE)


def test_a_window_of_more_rows_than_fit_is_read_in_pieces(
    context: Context, orders: Coll, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And judged as one: a key that is doubled in another piece is found, and findings are added up."""
    monkeypatch.setattr(checks, "ROWS", 10)
    context, dataset = configured(context, rules=[POSITIVE, UNIQUE | {"severity": "warning"}])
    orders.insert_many([order(number, amount=-1 if number % 7 == 0 else 1) for number in range(35)])
    orders.insert_many([order(100, 1.5), order(101, 0.6) | {"order": 1}])
    watched.watch(context, dataset, RANGE)
    findings = Report.from_document(ledger(context)["report"]).findings
    told = [(one.rule, one.rows, one.of, len(one.examples)) for one in findings]
    assert told == [("positive", 5, 36, 5), ("unique", 2, 31, 2)]
    assert len(set_aside(context)) == 5


def deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {"a": 1}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def raw(document: dict[str, Any], old: bytes, new: bytes) -> RawBSONDocument:
    data = bson.encode(document)
    assert data.count(old) == 1
    return RawBSONDocument(data.replace(old, new))


HOSTILE: list[tuple[str, Any]] = [
    ("dotted keys", {"a.b": 1, "$where": "x", "$set": {"$id": 1}, "": 2, "c": {"": {"$ref": 1, "d.e": [{"$x": 1}]}}}),
    ("huge integers", {"big": Int64(2**63 - 1), "small": Int64(-(2**63)), "money": Decimal128("1E+6144")}),
    ("no numbers", {"nan": float("nan"), "inf": float("inf"), "decimal": Decimal128("NaN")}),
    ("dates", {"old": datetime(1, 1, 1, tzinfo=UTC), "new": datetime(9999, 12, 31, tzinfo=UTC)}),
    ("far dates", {"far": bson.DatetimeMS(2**62), "before": bson.DatetimeMS(-(2**62))}),
    ("deep", {"deep": deep(178)}),
    ("deep list", {"deep": [deep(176)]}),
    ("15 MB", {"text": "x" * 15 * 1024 * 1024}),
    ("16 MB", {"text": "x" * (16 * 1024 * 1024 - 200)}),
    ("types", {"a": bson.Regex("("), "b": bson.Code("x", {}), "c": bson.MinKey(), "d": bson.Timestamp(1, 1)}),
    ("references", {"a": bson.DBRef("x", 1), "b": bson.Binary(b"\x00", 4 + 1), "c": "\x00\ud7ff\U0010ffff"}),
    ("amount", {"amount": {"$gt": ""}}),
    ("amounts", {"amount": ["x", -1]}),
]


@pytest.mark.parametrize("hostile", [one for _, one in HOSTILE], ids=[name for name, _ in HOSTILE])
def test_hostile_rows_are_watched_and_set_aside(context: Context, orders: Coll, hostile: dict[str, Any]) -> None:
    """None of them stops the run, spoils its neighbour, or is lost in the quarantine."""
    impossible = {
        "name": "no", "expectation": "expect_column_values_to_be_in_set",
        "arguments": {"column": "mark", "value_set": ["good"]},
    }  # fmt: skip
    context, dataset = configured(context, rules=[impossible])
    orders.insert_many([order(1, mark="good"), order(2, mark="bad") | hostile])
    watched.watch(context, dataset, RANGE)
    assert outcomes(context)[0] == "warned"
    (one,) = set_aside(context)
    whole = orders.with_options(codec_options=bson.CodecOptions(document_class=RawBSONDocument)).find_one({"_id": 2})
    assert whole is not None
    with_raw = context.db[schema.QUARANTINE].with_options(
        codec_options=bson.CodecOptions(document_class=RawBSONDocument)
    )
    found = with_raw.find_one({"_id": one["_id"]})
    assert found is not None
    kept = found["item"]
    if "document" in kept:
        assert kept["document"].raw == whole.raw
    elif kept["bytes"] <= aside_rows.MOST_BYTES:
        assert kept["raw"] == whole.raw
    else:
        assert kept["raw"] == whole.raw[: aside_rows.MOST_BYTES]
        assert kept["bytes"] == len(whole.raw)
    assert watched.watch(context, dataset, RANGE) == 0


def test_a_deep_value_that_breaks_a_rule_is_kept(context: Context, orders: Coll) -> None:
    """The value is kept beside the item, where it must not nest deeper than MongoDB stores."""
    rule = {
        "name": "no", "expectation": "expect_column_values_to_be_null", "arguments": {"column": "deep"},
        "columns": ["order"],
    }  # fmt: skip
    context, dataset = configured(context, rules=[rule])
    orders.insert_many([order(1, deep=deep(179)), order(2, deep=None)])
    watched.watch(context, dataset, RANGE)
    (one,) = set_aside(context)
    assert one["item"]["key"] == '{"$numberInt": "1"}'
    assert "raw" in one["item"]


def test_text_that_is_no_utf8_is_kept_byte_for_byte(context: Context, orders: Coll) -> None:
    context, dataset = configured(context)
    broken = raw(order(1, amount=-1, name="ab?cd"), b"ab?cd", b"ab\xffcd")
    orders.insert_one(broken)
    watched.watch(context, dataset, RANGE)
    kept = (
        context.db[schema.QUARANTINE]
        .with_options(codec_options=bson.CodecOptions(document_class=RawBSONDocument))
        .find_one()
    )
    assert kept is not None
    assert kept["item"]["document"].raw == broken.raw


def dump(client: "MongoClient[Any]", name: str) -> dict[str, Any]:
    """All that is in a database, byte for byte, with its indexes."""
    db = client.get_database(name, codec_options=bson.CodecOptions(document_class=RawBSONDocument))
    return {
        one: [db[one].index_information().keys(), *(row.raw for row in db[one].find(sort=[("_id", 1)]))]
        for one in sorted(db.list_collection_names())
    }


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Another server."""
    with mongod.embedded(tmp_path_factory.mktemp("elsewhere")) as server:
        yield server.uri


def test_a_collection_on_another_server_is_only_read(context: Context, elsewhere: str) -> None:
    """By its own URI, and with one client for each, however often it is looked at."""
    with MongoClient[Any](elsewhere) as client:
        client.drop_database("shop")
        client["shop"]["orders"].insert_many([order(1), order(2, amount=-1)])
        before = dump(client, "shop")
        context, dataset = configured(context, uri=elsewhere, database="shop")
        clients = len(mongo._clients)
        watched.watch(context, dataset, RANGE)
        watched.watch(context, dataset, RANGE)
        assert len(mongo._clients) == clients + 1
        assert dump(client, "shop") == before
        assert context.db.name not in client.list_database_names()
    assert len(set_aside(context)) == 1
    assert "orders" not in context.db.list_collection_names()


def test_a_uri_may_name_the_database(context: Context, elsewhere: str) -> None:
    with MongoClient[Any](elsewhere) as client:
        client.drop_database("shop")
        client["shop"]["orders"].insert_one(order(1))
    context, dataset = configured(context, uri=elsewhere.replace("/?", "/shop?"))
    watched.watch(context, dataset, RANGE)
    assert ledger(context)["rows"] == 1
    context, dataset = configured(context, uri=elsewhere)
    with pytest.raises(WatchError, match="say which one with the key `database`"):
        watched.watch(context, dataset, RANGE)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"uri": "mongodb://user:hunter2@127.0.0.1:9/shop"}, "MongoDB does not answer; is it running"),
        ({"uri": "postgres://user:hunter2@db/shop"}, "its uri is not a valid MongoDB URI"),
        ({"collection": "order"}, "there is no collection 'order' in the database"),
        ({"time": "created"}, "none of its rows has a date in 'created': correct `time`"),
        ({"time": "region"}, "none of its rows has a date in 'region'"),
    ],
)
def test_what_cannot_be_watched_is_told_and_recorded(
    context: Context, orders: Coll, more: dict[str, Any], told: str
) -> None:
    """The windows of the range have the error, what was known of them stays, and it is gone once it is mended."""
    context, dataset = configured(context)
    orders.insert_one(order(1))
    watched.watch(context, dataset, RANGE)
    quick = context.settings.mongo.model_copy(update={"timeout_seconds": 0.3})
    context = replace(context, settings=context.settings.model_copy(update={"mongo": quick}))
    wrong = dataset.model_copy(update=Collection(**{**dataset.model_dump(), **more}).__dict__)
    with pytest.raises(WatchError, match=re.escape(told)) as caught:
        watched.watch(context, wrong, (FIRST, FIRST + timedelta(days=4)))
    assert str(caught.value).startswith("shop.orders: ")
    assert "hunter2" not in str(caught.value)
    assert [told in ledger(context, day=day)["error"] for day in range(4)] == [True] * 4
    assert ledger(context)["rows"] == 1
    assert told in watched.head(context, "shop.orders")["error"]
    watched.watch(context, dataset, RANGE)
    assert [day for day in range(4) if "error" in ledger(context, day=day)] == []
    assert "error" not in watched.head(context, "shop.orders")


def test_a_dataset_that_never_had_a_row_in_the_range_is_told(context: Context, orders: Coll) -> None:
    """Without a scope there is no window that a rule could be tried on: that must not look like all is well."""
    context, dataset = configured(context)
    orders.insert_one(order(1, 9))
    assert watched.watch(context, dataset, RANGE) == 0
    assert "no scope and no window" in watched.head(context, "shop.orders")["note"]
    context, dataset = configured(context, rules=[SOME], scope=None)
    watched.watch(context, dataset, RANGE)
    assert outcomes(context, "all") == ["blocked"] * 3


LEASE = 0.4


def late(database: str) -> tuple[Context, Collection]:
    """Recorded once; then a bad row, a mended one and a doubled key came."""
    context = make_context(lease_seconds=LEASE)
    context.db.client.drop_database(database)
    mongo.close()
    context, dataset = configured(make_context(lease_seconds=LEASE), rules=[POSITIVE, UNIQUE])
    orders = context.db["orders"]
    orders.insert_many([order(1), order(2, amount=-2), order(3, 1.5), order(4, 2.5)])
    watched.watch(context, dataset, RANGE)
    orders.insert_many([order(5, 1.6, amount=-5, new=1), order(6, 2.6) | {"order": 4}])
    orders.update_one({"_id": 2}, {"$set": {"amount": 2}})
    return context, dataset


def left(context: Context) -> Any:
    """What an interrupted run and an undisturbed one must have left in common."""
    gone = dict.fromkeys(("fence", "run_id", "published_at", "owner", "lease_until", "blocked.at"), 0)
    records = list(context.db[schema.LEDGER].find({}, gone, sort=[("_id", 1)]))
    states = [(one["item"]["key"], one["state"]) for one in context.db[schema.QUARANTINE].find(sort=[("item.key", 1)])]
    known = {
        (day, measure): value for measure in ("rows", "quarantine_ratio") for day, value, _ in stated(context, measure)
    }
    paths = sorted(one["path"] for one in context.db[schema.DRIFT].find())
    return records, states, known, paths


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", ["before", "after"])
def test_a_crash_at_any_write_is_mended_by_the_next_run(database: str, mode: Any) -> None:
    """Also between publishing and observing: no window counts as done whose numbers were not stated."""
    context, dataset = late(database)
    watched.watch(context, dataset, RANGE)
    expected = left(context)
    assert expected[1:] == (
        [('{"$numberInt": "2"}', "released"), ('{"$numberInt": "5"}', "open")],
        {(0, "rows"): 2, (1, "rows"): 2, (2, "rows"): 1, (0, "quarantine_ratio"): 0, (1, "quarantine_ratio"): 0.5},
        ["new"],
    )  # fmt: skip

    def doomed(number: int) -> None:
        context, dataset = configured(make_context(lease_seconds=LEASE), rules=[POSITIVE, UNIQUE])
        interrupt_at(number, mode)
        watched.watch(context, dataset, RANGE)

    for number in range(100):
        late(database)
        _, status = os.waitpid(forked(lambda number=number: doomed(number)), 0)  # type: ignore[misc]
        context, dataset = configured(make_context(lease_seconds=LEASE), rules=[POSITIVE, UNIQUE])
        watched.watch(context, dataset, RANGE)
        assert left(context) == expected, f"after a crash {mode} write {number}"
        if not os.WIFSIGNALED(status):
            break
    assert number > 8


WRONG: list[tuple[str, str, str]] = [
    ("name = 'bronze.x'", "datasets.0", "may not be sweep, or begin with bronze."),
    ("name = 'sweep'", "datasets.0", "may not be sweep"),
    ("name = 'A|B'", "datasets.0.name", "match"),
    ("collection = ''", "datasets.0.collection", "match"),
    ("database = 'a/b'", "datasets.0.database", "match"),
    ("time = '$at'", "datasets.0.time", "none of them empty, a number, or beginning with $"),
    ("scope = 'a..b'", "datasets.0.scope", "none of them empty"),
    ("key = 'lines.0.sku'", "datasets.0.key", "a number"),
    ("delay_hours = -1", "datasets.0.delay_hours", "greater"),
    ("field = []", "datasets.0.field", "unknown key"),
    ("rules = [{name='a', expectation='x'}, {name='a', expectation='y'}]", "datasets.0", "two rules are named 'a'"),
    ("[[datasets]]\nname='shop'\ncollection='b'\ntime='at'", "datasets", "two datasets are named 'shop'"),
]


@pytest.mark.parametrize(("text", "key", "told"), WRONG, ids=[text[:30] for text, _, _ in WRONG])
def test_a_mistake_names_key_and_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, key: str, told: str
) -> None:
    keys = {"name": "'shop'", "collection": "'a'", "time": "'at'"}
    given = "" if text.startswith("[[") else text.split(" ", maxsplit=1)[0]
    lines = [f"{name} = {value}" for name, value in keys.items() if name != given]
    path = tmp_path / "touchstone.toml"
    path.write_text("\n".join(["[[datasets]]", *lines, text]) + "\n", encoding="utf-8")
    monkeypatch.setenv("TOUCHSTONE_CONFIG", str(path))
    settings.load.cache_clear()
    with pytest.raises(ConfigError) as caught:
        settings.load()
    settings.load.cache_clear()
    message = str(caught.value)
    assert str(path) in message
    assert key in message
    assert told in message


def blocks() -> dict[str, str]:
    """What stands in the document as a file, by its name."""
    found = re.findall(r"```\w+\n# ([\w.]+)\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert {name for name, _ in found} == {"orders.py", "touchstone.toml", "shop_rules.py"}
    return dict(found)


def sessions() -> list[tuple[str, str]]:
    """What the document shows of the command line: commands and what they print, in order."""
    text = "".join(re.findall(r"```console\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL))
    return [(command, told) for command, told in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE)]


def normal(text: str) -> str:
    """Without times of the clock, names of runs, and the width of columns."""
    text = re.sub(r"20\d\d-\d\d-\d\d \d\d:\d\d(:\d\d)?", "<time>", text)
    text = re.sub(r"\b20\d{6}T\d{6}Z-[0-9a-f]{6}\b", "<run>", text)
    return "\n".join(" ".join(line.split()) for line in text.splitlines() if line.strip())


@pytest.fixture
def shop(context: Context, tmp_path: Path, mongo_uri: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Coll]:
    """The example of the document: its files in a folder, its orders in a database of their own."""
    assert context.db.list_collection_names()
    name = f"shop_{secrets.token_hex(4)}"
    for file, text in blocks().items():
        written = text.replace('database = "shop"', f'database = "{name}"')
        (tmp_path / file).write_text(written, encoding="utf-8")
    monkeypatch.setenv("TOUCHSTONE_CONFIG", str(tmp_path / "touchstone.toml"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "160")
    with MongoClient[Any](mongo_uri) as client:
        made: dict[str, Any] = {}
        exec(blocks()["orders.py"], made)  # noqa: S102 - our own document
        client[name]["orders"].insert_many(made["ORDERS"])
        yield client[name]["orders"]
        client.drop_database(name)


def typed(command: str) -> tuple[int, str]:
    """The exit code of a command, and all that it printed."""
    words = [sys.executable, "-m", "tasks.cli", *command.split()[1:]]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


def test_the_document_tells_what_happens(shop: Coll) -> None:
    """Its files are used as they stand there, its commands are typed, and what it shows is what is printed."""
    for command, told in sessions():
        if command.startswith("touchstone"):
            _, printed = typed(command)
            assert normal(printed) == normal(told), command
        else:
            assert command == """mongosh shop --quiet --eval 'db.orders.deleteOne({_id: "o7"})'"""
            shop.delete_one({"_id": "o7"})
    assert len(sessions()) == 8


def test_the_run_fails_while_a_dataset_does_and_others_go_on(shop: Coll, tmp_path: Path) -> None:
    """Exit code 1 with the reason, from Luigi's tasks too; without any source."""
    config = tmp_path / "touchstone.toml"
    gone = '[[datasets]]\nname = "gone"\ncollection = "gone"\ntime = "at"\n'
    config.write_text(config.read_text(encoding="utf-8") + gone, encoding="utf-8")
    shop.delete_many({"_id": {"$in": ["o7", "o2"]}})
    code, printed = typed("touchstone backfill --from 2024-05-01 --to 2024-05-02")
    assert code == 1
    assert "failed: Watch(gone, 2024-05-01, 2024-05-02): gone: there is no collection 'gone'" in printed
    assert "Traceback" not in printed
    _, printed = typed("touchstone status")
    assert "gone: 2 x gone: there is no collection 'gone'" in printed
    assert typed("touchstone check shop.orders")[0] == 0
    config.write_text(config.read_text(encoding="utf-8").replace(gone, ""), encoding="utf-8")
    assert typed("touchstone backfill --from 2024-05-01 --to 2024-05-02")[0] == 0
    _, printed = typed("touchstone explain shop.orders 2024-05-01 --scope EU")
    assert "shop.orders|EU|2024-05-01: complete" in printed
    assert "made from rows @" in printed


def test_two_runs_at_once_share_the_work(shop: Coll) -> None:
    """Each window is recorded once, and both runs end well."""
    shop.delete_one({"_id": "o7"})
    shop.update_one({"_id": "o8"}, {"$set": {"created_at": datetime(2024, 5, 3, tzinfo=UTC)}})
    words = [sys.executable, "-m", "tasks.cli", "backfill", "--from", "2024-05-01", "--to", "2024-05-03"]
    runs = [subprocess.Popen([*words, "--workers", "2"], cwd=ROOT) for _ in range(2)]
    assert [run.wait(timeout=100) for run in runs] == [0, 0]
    context = make_context()
    assert context.db[schema.LEDGER].count_documents({"dataset": "shop.orders", "window": {"$type": "date"}}) == 6
    assert context.db[schema.LEDGER].count_documents({"owner": {"$exists": True}}) == 0


def test_the_survey_names_windows_that_are_not_final(context: Context, orders: Coll) -> None:
    """`status` must not call a window complete that a later run is to look at again."""
    context, dataset = configured(context, delay_hours=6)
    orders.insert_one(order(1))
    noon = replace(context, now=schema.start_of(FIRST) + timedelta(hours=12))
    watched.watch(noon, dataset, (FIRST, FIRST + timedelta(days=1)))
    states = [str(one.state) for one in survey.watched_standings(context, [dataset])]
    assert states == ["stale"]


def test_the_example_names_every_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what it shows of datasets and suites can be used as it is, once it is no comment."""
    text = settings.EXAMPLE.read_text(encoding="utf-8")
    shown = re.sub(r"(?m)^# ", "", text[text.index("# [[datasets]]") :])
    path = tmp_path / "touchstone.toml"
    path.write_text(shown, encoding="utf-8")
    monkeypatch.setenv("TOUCHSTONE_CONFIG", str(path))
    settings.load.cache_clear()
    loaded = settings.load()
    settings.load.cache_clear()
    assert (loaded.datasets[0].name, loaded.suites[0].rules[0].name) == ("shop.orders", "subject")
    for model in (settings.Quality, settings.Collection, settings.Suite, settings.Rule):
        for key in model.model_fields:
            assert f"{key} =" in text, f"{model.__name__}.{key} is not in the example"
