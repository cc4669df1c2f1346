"""Revisions that nothing points at are collected, and nothing else, whatever happens at the same time."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest

from config import schema
from tasks import revisions
from tasks.context import Context
from tasks.ledger import insert_new
from tasks.sources.replay import ReplaySource
from tests.harness import EVENTS, NOW, make_context, run_all, snapshot, tag

RANGE = (date(2024, 1, 1), date(2024, 1, 7))
KEPT = (schema.GOLD_ROWS, schema.DELIVERY_ROWS, schema.MANIFESTS)


def counts(context: Context) -> dict[str, int]:
    return {name: context.db[name].count_documents({}) for name in KEPT}


@pytest.fixture
def superseded(context: Context, recorded: Callable[..., ReplaySource]) -> Context:
    """A day's second revision has been published; the first one lies about."""
    run_all(context, recorded(EVENTS), RANGE)
    before = counts(context)
    run_all(context, recorded([*EVENTS, tag("v3", "b", 2.7)]), RANGE)
    assert all(counts(context)[name] > before[name] for name in KEPT)
    return context


def later(days: float) -> Context:
    return make_context(NOW + timedelta(days=days))


def test_what_nothing_points_at_goes_after_two_looks(superseded: Context) -> None:
    """Not at the first look, not within the day; then it does, and what readers see stays."""
    seen = snapshot(superseded)
    full = counts(superseded)
    assert revisions.collect(later(0)) == 0
    assert revisions.collect(later(0.5)) == 0
    assert counts(superseded) == full
    assert revisions.collect(later(1.1)) > 0
    assert all(counts(superseded)[name] < full[name] for name in KEPT)
    assert snapshot(superseded) == seen
    left = counts(superseded)
    assert revisions.collect(later(3)) == 0
    assert counts(superseded) == left


def test_a_revision_that_comes_back_is_not_collected(
    superseded: Context, recorded: Callable[..., ReplaySource]
) -> None:
    """Marked, then published again with the same content: the mark is off before the pointer moves."""
    revisions.collect(later(0))
    old = [row["_id"] for row in superseded.db[schema.GOLD_ROWS].find({"doomed_at": {"$exists": True}})]
    assert old
    gone = tag("v3", "b", 2.7) | {"target": "", "tag_ts": 1704240000}
    tombstone: dict[str, Any] = {
        "source": "git", "stream": "tags", "origin": "acme/api", "id": "v3",
        "updated_on": "2024-01-05T00:00:00Z", "payload": gone, "deleted": True,
    }  # fmt: skip
    run_all(superseded, recorded([*EVENTS, tag("v3", "b", 2.7), tombstone]), RANGE)
    seen = snapshot(superseded)
    revisions.collect(later(1.5))
    assert snapshot(superseded) == seen
    assert superseded.db[schema.GOLD_ROWS].count_documents({"_id": {"$in": old}}) == len(old)


def test_a_publisher_puts_back_what_was_deleted_under_it(superseded: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows vanish between its insert and its look: it inserts them again instead of pointing at nothing."""
    collection = superseded.db[schema.GOLD_ROWS]
    rows = list(collection.find())
    calls: list[int] = []

    def vanishing(target: schema.Coll, documents: Any) -> int:
        inserted = insert_new(target, documents)
        if not calls:
            target.delete_one({"_id": rows[0]["_id"]})
        calls.append(inserted)
        return inserted

    monkeypatch.setattr(revisions, "insert_new", vanishing)
    revisions.stage(collection, rows)
    assert len(calls) > 1
    assert collection.count_documents({}) == len(rows)
