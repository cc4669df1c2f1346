"""Sweeps that take long, break off, or could not read something: what the next one begins with, and what it mends."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from config import catalog, schema
from quality.extractions import Extraction
from quality.quarantine import State
from tasks import aside, bronze
from tasks.context import Context
from tasks.ledger import Partition
from tasks.sources.contract import Coverage, Cursor, Feed, Item, Part, Progress, Rejected, SourceError, Swept
from tests.harness import make_context

DAY = date(2026, 10, 30)
DAYS = (DAY, DAY + timedelta(days=1))
NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
DATASET = "bronze.hub.things"
UNIT = Partition(catalog.SWEEP, "hub/a")


def item(number: int, text: str = "") -> Item:
    at = datetime(2026, 10, 30, 12, number % 60, tzinfo=UTC)
    return Item("hub", "things", "a", str(number), at, {"n": number, "text": text}, place=f"thing {number}")


def bad(number: int) -> Rejected:
    return Rejected(f"thing {number}", "it has no date", b"{}", "a", "things")


@dataclass
class Hub:
    """A source that yields what it is told."""

    parts: Callable[[Cursor | None], Iterator[Part]]
    name: str = "hub"
    cursors: list[Cursor | None] = field(default_factory=list)

    def units(self) -> Sequence[str]:
        return ("a",)

    def feeds(self, unit: str) -> Sequence[Feed]:
        return [("hub", unit, ("things",))]

    def sweep(self, unit: str, cursor: Cursor | None, now: datetime) -> Iterator[Part]:
        assert (unit, now) == ("a", NOW)
        self.cursors.append(cursor)
        yield from self.parts(cursor)


def swept(cursor: Cursor, *, unchanged: bool = False, **stated: Any) -> Swept:
    extraction = Extraction("things", datetime(2026, 10, 1, tzinfo=UTC), NOW, **{"complete": True, **stated})
    coverage = Coverage("hub", "a", ("things",), NOW, extractions=(extraction,))
    return Swept(cursor, (coverage,), unchanged=unchanged)


def sweep(context: Context, *parts: Part | Exception) -> Hub:
    def told(_: Cursor | None) -> Iterator[Part]:
        for part in parts:
            if isinstance(part, Exception):
                raise part
            yield part

    hub = Hub(told)
    bronze.sweep(context, hub, "a", DAYS, lambda: NOW)
    return hub


def proof(context: Context) -> str:
    return str(context.ledger.find(Partition(DATASET, "a", DAY))["proof"]["state"])


def stored(context: Context) -> list[str]:
    return sorted(one["id"] for one in context.db[DATASET].find())


def test_a_sweep_that_breaks_off_goes_on_from_its_last_progress(context: Context) -> None:
    sweep(context, item(1), Progress({"page": 2}), item(2), SourceError("hub/a: the connection was lost"))
    assert stored(context) == ["1"]
    assert proof(context) == "failed"
    second = sweep(context, item(2), item(3), swept({"page": 9}))
    assert second.cursors == [{"page": 2}]
    assert (stored(context), proof(context)) == (["1", "2", "3"], "proven")
    third = sweep(context, swept({"page": 9}, unchanged=True))
    assert third.cursors == [{"page": 9}]


def test_what_was_yielded_before_progress_is_stored_before_it(context: Context) -> None:
    def parts(_: Cursor | None) -> Iterator[Part]:
        yield item(1)
        yield Progress({"page": 2})
        assert stored(context) == ["1"]
        assert context.ledger.find(UNIT)["progress"] == {"page": 2}
        yield swept({"page": 3})

    assert bronze.sweep(context, Hub(parts), "a", DAYS, lambda: NOW) is None
    assert context.ledger.find(UNIT)["progress"] is None


def test_a_record_that_can_be_read_at_last_no_longer_counts_against_its_windows(context: Context) -> None:
    """Though the sweep that hands it over is not one of everything."""
    sweep(context, item(1), bad(2), bad(3), swept({"page": 1}))
    assert proof(context) == "partial"
    sweep(context, item(2), swept({"page": 2}))
    assert [one["place"] for one in context.db[schema.QUARANTINE].find({"state": State.OPEN})] == ["thing 3"]
    assert proof(context) == "partial"
    sweep(context, item(3), swept({"page": 3}))
    assert proof(context) == "proven"


def test_a_replay_of_what_was_set_aside_reads_everything_again(context: Context) -> None:
    """Also where the last sweep broke off: its progress would pass over what is to be read again."""
    sweep(context, bad(2), Progress({"page": 2}), SourceError("hub/a: the connection was lost"))
    aside.replay(list(context.db[schema.QUARANTINE].find()), context)
    assert sweep(context, item(2), swept({"page": 3})).cursors == [None]
    assert proof(context) == "proven"


def test_a_window_that_proved_nothing_is_proven_by_a_later_sweep_without_news(context: Context) -> None:
    """The token saw too little for a while; nobody asks for that day again."""
    sweep(context, item(1), swept({"page": 1}, canary="7"))
    assert proof(context) == "unproven"

    def parts(_: Cursor | None) -> Iterator[Part]:
        yield swept({"page": 1}, unchanged=True, canary="7", canary_seen=True)

    later = (DAY + timedelta(days=1), DAY + timedelta(days=2))
    assert bronze.sweep(context, Hub(parts), "a", later, lambda: NOW) is None
    assert proof(context) == "proven"


def test_a_source_that_is_slow_to_answer_keeps_its_unit(context: Context) -> None:
    context.ledger.lease = timedelta(seconds=0.6)

    def parts(_: Cursor | None) -> Iterator[Part]:
        time.sleep(1.5)
        assert make_context().ledger.claim([UNIT]) == []  # another worker's
        yield swept({"page": 1})

    assert bronze.sweep(context, Hub(parts), "a", DAYS, lambda: NOW) is None
    assert proof(context) == "proven"
