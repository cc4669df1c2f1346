"""Runs of workflows: new ones, those that went on or were run again, and what of them was deleted.

Page 1 of the whole list tells whether there is news, and mostly all of it. What is more is asked for in slices by the
time of creation, for GitHub lists at most 1,000 runs of any search; a slice holds as many as it says, or is read again.
A run keeps its place in the list when it is run again: what was created in the last `recheck_days` is listed once
for each day.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from tasks.sources.contract import Item, Rejected
from tasks.sources.github import payloads
from tasks.sources.github.known import Known
from tasks.sources.github.paging import turn
from tasks.sources.github.payloads import Record, moment
from tasks.sources.github.visit import Entry, Mark, Part, Reading, State, Visit, epoch, iso, time_of
from tasks.sources.http import Answer

_PATH: Final = "actions/runs"
_LIST: Final = "workflow_runs"
_CAP: Final = 1000
_ROOMY: Final = 250
"""A slice with fewer runs lets the next one be twice as long."""
_TRIES: Final = 3
"""Of a slice that does not hold what it says."""
_when = time_of("created_at")


def read(visit: Visit, state: State) -> Reading:  # noqa: C901 - the steps of one sweep, in their order
    """Runs in all states that they took since the last time, and tombstones of those that are gone."""
    known = Known(state.get("known"))
    open_ = set(state.get("open") or ())
    if begun := state.get("partial"):
        visit.identify()
        until = begun.get("until", visit.until)
        yield from _slices(visit, state, (known, open_, set()), begun["from"], until)
        if visit.trace.error:
            return state
        state = {**state, **_kept(visit, known, open_), "until": until, "etag": None, "partial": None}
        yield Mark(state)
        visit.begin_again()
    due = visit.due(state)
    look_back = due and state.get("low", 0.0) > visit.recheck_made_from and len(known) > 0
    first = visit.probe(_PATH, {"per_page": visit.size}, None if look_back else state.get("etag"))
    until, low, etag = visit.until, state.get("low", 0.0), state.get("etag")
    present: set[int] = set()
    if first is not None:
        etag = first.etag
        bound = state.get("until", epoch(visit.made_from))
        bound = min(bound, visit.recheck_made_from) if due else bound
        records = first.records(_LIST)
        entries, rejected = visit.entries(records, _when, 1)
        times = [epoch(entry.at) for entry in entries]
        whole = first.next is None and len(records) < visit.size and (first.last or 1) == 1
        low = 0.0 if whole else min(times, default=float("inf"))
        if low < bound:
            visit.listed(records, (entry.id for entry in entries))
            visit.trace.total_advertised = _total(first) if whole else None
            visit.trace.complete = True
            yield from rejected
            yield from _items(visit, known, open_, entries)
            present.update(entry.id for entry in entries)
            reached = low and low + 1
        else:
            reached = bound
            yield from _slices(visit, state, (known, open_, present), bound, until)
            present |= {entry.id for entry in entries}
            if max(times, default=0.0) > until:  # these are still to be read, with or without further news
                etag = None
        if visit.trace.complete:
            for number, record in visit.deletions(_PATH, known, present, reached):
                yield from _alone(visit, known, open_, number, record, listed=True)
    for number in sorted(open_ - present):
        seen = known.get(number)
        if seen is None or seen.at < visit.recheck_made_from:
            open_.discard(number)
        elif first is not None or seen.at < low:
            answer = visit.find(f"{_PATH}/{number}")
            yield from _alone(visit, known, open_, number, answer.content if answer is not None else None)
    return {
        **_kept(visit, known, open_), "until": max(until, state.get("until", 0)), "etag": etag, "low": low,
        "checked": until if due else state.get("checked", -1),
    }  # fmt: skip


def _slices(
    visit: Visit, state: State, memory: tuple[Known, set[int], set[int]], start: float, until: int
) -> Iterator[Part]:
    """Everything that was created from `start` to `until`, oldest slice first: its number no longer changes then."""
    known, open_, present = memory
    total = 0
    end = max(until + 1.0, start + 1)
    length = end - start
    while True:
        stop = min(start + length, end)
        created = f"{iso(start)}..{iso(stop - 1)}"
        first = visit.get(_PATH, {"per_page": visit.size, "created": created})
        if _total(first) >= _CAP and length > 1:
            length = max(length // 2, 1.0)
            continue
        listed: set[int] = set()
        yield from _slice(visit, (known, open_), created, first, listed)
        if visit.trace.error:
            return
        present |= listed
        total += len(listed)
        if stop >= end:
            visit.trace.page(total)
            visit.trace.total_advertised = total
            visit.trace.complete = True
            return
        start = stop
        length = length * 2 if len(listed) < _ROOMY else length
        yield Mark({**state, **_kept(visit, known, open_), "partial": {"from": start, "until": until}})


def _slice(
    visit: Visit, memory: tuple[Known, set[int]], created: str, first: Answer | None, listed: set[int]
) -> Iterator[Item | Rejected]:
    """The runs of a slice; read again while it does not hold what it says. What is listed is added to `listed`."""
    for _ in range(_TRIES):
        listed.clear()
        refused: list[Rejected] = []
        total = 0
        for page in turn(visit, _PATH, {"created": created}, first=first, key=_LIST):
            entries, rejected = visit.entries(page.records, _when, page.number)
            refused += rejected
            listed.update(entry.id for entry in entries)
            yield from _items(visit, *memory, entries)
            total = _total(page.answer)
        if len(listed) + len(refused) == total:
            yield from refused
            return
        first = None
    visit.trace.error = f"{len(listed)} runs were listed of {total} that were created {created}"


def _items(visit: Visit, known: Known, open_: set[int], entries: list[Entry]) -> Iterator[Item | Rejected]:
    for entry in entries:
        try:
            updated = moment(entry.record.get("updated_at") or entry.record["created_at"])
        except (TypeError, ValueError) as error:
            yield visit.refuse(entry.record, "", error, id_=entry.id)
            continue
        at, state, seen = int(epoch(entry.at)), int(epoch(updated)), known.get(entry.id)
        if entry.at < visit.made_from:
            continue
        if entry.record.get("status") == "completed":
            open_.discard(entry.id)
        else:
            open_.add(entry.id)
        if seen is None or seen.state != state:
            if updated >= visit.since:  # else it came to its end before
                yield visit.item(entry.id, visit.back(seen, updated), payloads.raw(entry.record, visit.key))
            known.put(entry.id, at, state)


def _alone(  # noqa: PLR0913 - what is known of a run
    visit: Visit, known: Known, open_: set[int], number: int, record: Any, *, listed: bool = False
) -> Iterator[Item | Rejected]:
    """A run that was looked at by itself; listed: it should have been in a list."""
    if record is None:
        open_.discard(number)
        yield visit.tombstone(known, number, {"id": number})
        return
    if listed:
        visit.left_out(number)
    entries, rejected = visit.entries([record], _when, 1)
    yield from rejected
    yield from _items(visit, known, open_, entries)


def _total(answer: Answer) -> int:
    content: Record = answer.content if isinstance(answer.content, Mapping) else {}
    total = content.get("total_count")
    return total if isinstance(total, int) else -1


def _kept(visit: Visit, known: Known, open_: set[int]) -> State:
    return {"known": known.packed(visit.recheck_made_from - 86_400), "open": sorted(open_)}
