"""Verdicts are kept whole, one per window, and an older one never replaces a newer one."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from config import schema
from quality.detector import verdicts
from quality.detector.verdicts import Cell, Contributor, State, Verdict
from tasks.context import Context

DAY = date(2026, 3, 10)
AT = datetime(2026, 3, 11, tzinfo=UTC)
CELL = Cell("rows", 3.0, 40.0, 31.0, 58.0, 0.7, "today", 120, "count")
VERDICT = Verdict(
    "silver.changes", "acme/api", DAY, State.ANOMALY, AT, "run", "digest", 40.0,
    (CELL, replace(CELL, measure="mean.size", expected=None, score=None)), blocks=True,
    contributors=(Contributor("scope", "acme/api", 3.0, 40.0, 0.9),), made_of="digest",
)  # fmt: skip


def stored(context: Context) -> list[schema.Document]:
    return list(context.db[schema.VERDICTS].find(sort=[("_id", 1)]))


def test_a_verdict_is_kept_whole(context: Context) -> None:
    blind = Verdict(
        "silver.changes", "acme/api", DAY - timedelta(days=1), State.BLIND, AT, "run", "d", missing="3 more"
    )
    verdicts.put(context.db, [VERDICT, blind])
    assert verdicts.find(context.db, "silver.changes", "acme/api") == [blind, VERDICT]
    assert verdicts.find(context.db, "silver.changes", "acme/api", (DAY, DAY + timedelta(days=1))) == [VERDICT]
    assert verdicts.find(context.db, "silver.changes", "acme") == []
    assert list(verdicts.anomalies(context.db, DAY)) == [VERDICT]
    assert list(verdicts.anomalies(context.db, DAY + timedelta(days=1))) == []


def test_a_scope_that_looks_like_a_window_of_another_is_another(context: Context) -> None:
    odd = replace(VERDICT, scope="acme/api|2026-03-10")
    verdicts.put(context.db, [VERDICT, odd])
    assert verdicts.find(context.db, "silver.changes", "acme/api") == [VERDICT]
    assert verdicts.find(context.db, "silver.changes", odd.scope) == [odd]


def test_what_was_said_before_is_kept_where_it_was_something_else(context: Context) -> None:
    again = replace(VERDICT, judged_at=AT + timedelta(hours=1), rarity=41.0)
    normal = replace(VERDICT, judged_at=AT + timedelta(hours=2), state=State.NORMAL, cells=(), contributors=())
    for one in (VERDICT, again, normal):
        verdicts.put(context.db, [one])
    (kept,) = stored(context)
    assert Verdict.from_document(kept) == normal
    assert [(one["state"], one["rarity"]) for one in kept["was"]] == [("anomaly", 41.0)]


@pytest.mark.parametrize("order", [1, -1])
def test_the_order_of_writing_does_not_matter(context: Context, order: int) -> None:
    """A worker that was slower writes what it read earlier."""
    newer = replace(VERDICT, judged_at=AT + timedelta(seconds=1), state=State.NORMAL)
    for one in (VERDICT, newer)[::order]:
        verdicts.put(context.db, [one])
    assert verdicts.find(context.db, "silver.changes", "acme/api") == [newer]


def test_only_so_many_older_ones_are_kept(context: Context) -> None:
    for number in range(verdicts.WAS + 10):
        state = State.NORMAL if number % 2 else State.ANOMALY
        verdicts.put(context.db, [replace(VERDICT, state=state, judged_at=AT + timedelta(hours=number))])
    (kept,) = stored(context)
    assert len(kept["was"]) == verdicts.WAS
    assert kept["was"][-1]["judged_at"] == AT + timedelta(hours=verdicts.WAS + 8)


def test_what_looks_like_an_operator_is_kept_as_it_is(context: Context) -> None:
    odd = replace(VERDICT, scope="$scope", cells=(replace(CELL, measure="$$ROOT"),), error="$error")
    verdicts.put(context.db, [odd])
    assert verdicts.find(context.db, "silver.changes", "$scope") == [odd]


def test_a_rarity_beyond_all_numbers_can_be_kept(context: Context) -> None:
    verdicts.put(context.db, [replace(VERDICT, rarity=float("inf"))])
    assert verdicts.find(context.db, "silver.changes", "acme/api")[0].rarity == 1e308


def test_an_anomaly_that_still_stands_is_no_news_and_one_of_other_numbers_is(context: Context) -> None:
    later = AT + timedelta(hours=1)
    verdicts.put(context.db, [VERDICT])
    verdicts.put(context.db, [replace(VERDICT, judged_at=later, rarity=41.0)])
    assert verdicts.find(context.db, "silver.changes", "acme/api") == [replace(VERDICT, rarity=41.0)]
    other = replace(VERDICT, judged_at=later, of="other numbers")
    verdicts.put(context.db, [other])
    assert verdicts.find(context.db, "silver.changes", "acme/api") == [other]


@pytest.mark.parametrize("blocks", [True, False])
def test_what_holds_back_gold_goes_on_doing_so_where_the_detector_breaks(context: Context, *, blocks: bool) -> None:
    anomaly = replace(VERDICT, blocks=blocks)
    broken = replace(VERDICT, judged_at=AT + timedelta(hours=1), state=State.BROKEN, blocks=False, of="other")
    verdicts.put(context.db, [anomaly])
    verdicts.put(context.db, [broken])
    assert verdicts.find(context.db, "silver.changes", "acme/api") == [anomaly if blocks else broken]
