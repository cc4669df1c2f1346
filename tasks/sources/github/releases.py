"""Releases, which are few: all of them are listed whenever the first page has changed, or once for each day."""

from collections.abc import Iterator
from typing import Any, Final

from tasks.sources.contract import Item, Rejected, instant
from tasks.sources.github import payloads
from tasks.sources.github.known import UNREAD, Known
from tasks.sources.github.paging import newest_first
from tasks.sources.github.payloads import Record, latest
from tasks.sources.github.visit import Entry, Reading, State, Visit, epoch, time_of

_PATH: Final = "releases"
_when = time_of("created_at")


def read(visit: Visit, state: State) -> Reading:
    """Those that are new or were changed, and tombstones of those that are gone."""
    known = Known(state.get("known"))
    due = visit.due(state)
    look_back = due and bool(state.get("paged"))
    first = visit.probe(_PATH, {"per_page": visit.size}, None if look_back else state.get("etag"))
    until = max(visit.until, state.get("until", 0))
    if first is None:
        return {**state, "until": until}
    met: set[int] = set()
    for batch in newest_first(visit, _PATH, {}, _when, bound=float("-inf"), first=first, deletable=True, ordered=False):
        yield from batch.rejected
        for entry in batch.entries:
            if entry.id not in met:
                met.add(entry.id)
                yield from _item(visit, known, entry)
    if visit.trace.complete:
        for number, record in visit.deletions(_PATH, known, met, float("-inf")):
            yield from _absent(visit, known, number, record)
    return {
        "until": until, "etag": first.etag, "known": known.packed(float("-inf")), "paged": first.next is not None,
        "checked": visit.until if due else state.get("checked", -1),
    }  # fmt: skip


def _item(visit: Visit, known: Known, entry: Entry) -> Iterator[Item | Rejected]:
    """A release may be edited without a sign of when: then it bears the time at which that was noticed."""
    record = entry.record
    try:
        when = latest(record["created_at"], record.get("published_at"), record.get("updated_at"))
    except (KeyError, TypeError, ValueError) as error:
        yield visit.refuse(record, "", error, id_=entry.id)
        return
    payload = payloads.raw(record, visit.key)
    state, seen = payloads.fingerprint(_lasting(payload)), known.get(entry.id)
    if when < visit.since or (seen is not None and seen.state == state):
        return
    if seen is not None and seen.state == UNREAD:
        when = max(when, instant(seen.at)) if epoch(when) < seen.at else when
    elif seen is not None and epoch(when) <= seen.at:
        when = max(visit.now, payloads.instant_after(seen.at))
    when = visit.back(seen, when)
    known.put(entry.id, int(epoch(when)), state)
    yield visit.item(entry.id, when, payload)


def _lasting(payload: Any) -> Any:
    """Without what changes with every download."""
    if isinstance(payload, dict):
        return {name: _lasting(one) for name, one in payload.items() if name not in ("download_count", "reactions")}
    return [_lasting(one) for one in payload] if isinstance(payload, list) else payload


def _absent(visit: Visit, known: Known, number: int, record: Record | None) -> Iterator[Item | Rejected]:
    seen = known.get(number)
    if record is None:
        yield visit.tombstone(known, number, {"id": number}, seen.at if seen else 0)
        return
    visit.left_out(number)
    entries, rejected = visit.entries([record], _when, 1)
    yield from rejected
    for entry in entries:
        yield from _item(visit, known, entry)
