"""Deployments with their statuses, and what of them was deleted.

They are listed newest first, and a newer status need not change that list: those that had not come to their end are
remembered and looked at again each time, conditionally, for `recheck_days`.
"""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from tasks.sources.contract import Item, Rejected
from tasks.sources.github import payloads
from tasks.sources.github.known import Known
from tasks.sources.github.paging import newest_first, resume
from tasks.sources.github.payloads import Record, moment
from tasks.sources.github.visit import Entry, Mark, Part, Reading, State, Visit, epoch, time_of
from tasks.sources.http import Answer, HttpError, Reason

_PATH: Final = "deployments"
_when = time_of("created_at")


class _End(NamedTuple):
    """Of a page."""

    number: int
    low: float


class _Look(NamedTuple):
    """What was found of one deployment."""

    number: int
    entry: Entry | None
    """None: it is gone."""
    statuses: list[Record] | None
    """None: as they were."""
    etag: str | None


@dataclass(slots=True)
class _Memory:
    """What is known of them between two sweeps."""

    known: Known
    pending: dict[int, str | None]
    """Those that are to be looked at again, with the ETags of their statuses."""
    met: set[int] = field(default_factory=set)
    """Listed in this sweep."""
    looked_at: set[int] = field(default_factory=set)

    def kept(self, visit: Visit) -> State:
        since = visit.recheck_made_from - 86_400
        pending = [
            [number, etag]
            for number, etag in sorted(self.pending.items())
            if (seen := self.known.get(number)) is not None and seen.at >= since
        ]
        return {"known": self.known.packed(since), "pending": pending}


def read(visit: Visit, state: State) -> Reading:
    """Those that were made since the last time, those that have changed, and tombstones of those that are gone."""
    memory = _Memory(Known(state.get("known")), dict(state.get("pending") or ()))
    if begun := state.get("partial"):
        visit.identify()
        first = None
        if "low" in begun:
            number, first = resume(visit, _PATH, {}, _when, begun["page"], begun["low"])
            begun = {**begun, "page": number}
        yield from _walk(visit, state, memory, begun, first)
        state = {**state, **memory.kept(visit), "until": begun["until"], "etag": None, "partial": None}
        yield Mark(state)
        visit.begin_again()
        memory.met.clear()
    due = visit.due(state)
    look_back = due and state.get("low", 0.0) > visit.recheck_made_from and len(memory.known) > 0
    first = visit.probe(_PATH, {"per_page": visit.size}, None if look_back else state.get("etag"))
    until, etag, low = visit.until, state.get("etag"), state.get("low", 0.0)
    if first is not None:
        bound = state.get("until", epoch(visit.made_from))
        bound = min(bound, visit.recheck_made_from) if due else bound
        etag = first.etag
        low, reached = yield from _walk(
            visit, state, memory, {"page": 1, "until": until, "etag": etag, "bound": bound}, first
        )
        if visit.trace.complete:
            for number, record in visit.deletions(_PATH, memory.known, memory.met, reached):
                if record is not None:
                    visit.left_out(number)
                yield from _told(visit, memory, _again(visit, number, record))
    waiting = [number for number in memory.pending if number not in memory.looked_at]
    for look in visit.http.each(lambda number: _waited(visit, memory, number), waiting):
        yield from _told(visit, memory, look)
    checked = until if due else state.get("checked", -1)
    until = max(until, state.get("until", 0))
    return {**memory.kept(visit), "until": until, "etag": etag, "low": low, "checked": checked}


def _walk(
    visit: Visit, state: State, memory: _Memory, begun: State, first: Answer | None
) -> Generator[Part, None, tuple[float, float]]:
    """Yield what is new or has changed; return how far back the first page reached, and the last."""
    lows: list[float] = []
    for made in visit.http.each(lambda one: _detailed(visit, one), _wanted(visit, memory, begun, first, lows)):
        if isinstance(made, _End):
            yield Mark({
                **state, **memory.kept(visit), "partial": {**begun, "page": made.number + 1, "low": made.low},
            })  # fmt: skip
        elif isinstance(made, Rejected):
            yield made
        else:
            yield from _told(visit, memory, made)
    return lows[0], lows[-1] and lows[-1] + 1  # others of the same second may be on the next page


def _wanted(
    visit: Visit, memory: _Memory, begun: State, first: Answer | None, lows: list[float]
) -> Iterator[Entry | Rejected | _End]:
    for batch in newest_first(
        visit, _PATH, {}, _when, bound=begun["bound"], first=first,
        number=begun["page"], deletable=True, ordered=False,
    ):  # fmt: skip
        lows.append(batch.low)
        yield from batch.rejected
        for entry in batch.entries:
            seen = memory.known.get(entry.id)
            changed = seen is None or seen.state != _updated(entry) or entry.id in memory.pending
            if changed and entry.id not in memory.met and entry.at >= visit.made_from:
                yield entry
            memory.met.add(entry.id)
        if not batch.last:
            yield _End(batch.number, batch.low)


def _detailed(visit: Visit, one: Entry | Rejected | _End) -> _Look | Rejected | _End:
    """In one of several threads."""
    return _look(visit, one) if isinstance(one, Entry) else one


def _look(visit: Visit, entry: Entry) -> _Look:
    path = f"{_PATH}/{entry.id}/statuses"
    try:
        first = visit.get(path, {"per_page": 100})
        statuses = first.records()
        for answer in _following(visit, first):
            statuses = [*statuses, *answer.records()]
    except HttpError as error:
        if error.reason is not Reason.GONE or error.status is None or visit.find(f"{_PATH}/{entry.id}") is not None:
            raise
        visit.trace.forgive(error.status)
        return _Look(entry.id, None, None, None)
    return _Look(entry.id, entry, statuses, first.etag)


def _following(visit: Visit, answer: Answer) -> Iterator[Answer]:
    while answer.next is not None:
        answer = visit.http.get(answer.next, trace=visit.trace)
        yield answer


def _waited(visit: Visit, memory: _Memory, number: int) -> _Look:
    """Whether a deployment that had not come to its end has come further; in one of several threads."""
    etag = memory.pending[number]
    statuses = visit.find(f"{_PATH}/{number}/statuses?per_page=100", etag) if etag else None
    if statuses is not None and statuses.unchanged:
        return _Look(number, None, None, etag)
    found = visit.find(f"{_PATH}/{number}")
    return _again(visit, number, found.content if found is not None else None)


def _again(visit: Visit, number: int, record: Any) -> _Look:
    """One that is looked at by itself."""
    if record is None:
        return _Look(number, None, None, None)
    entries, _ = visit.entries([record], _when, 1)
    return _look(visit, entries[0]) if entries else _Look(number, None, None, "unreadable")


def _told(visit: Visit, memory: _Memory, look: _Look) -> Iterable[Item | Rejected]:
    """The item of what was found, if it says anything new."""
    number = look.number
    memory.looked_at.add(number)
    if look.entry is None:
        if look.etag is None:
            seen = memory.known.get(number)
            memory.pending.pop(number, None)
            if seen is not None and seen.gone_since is None:
                yield visit.tombstone(memory.known, number, {"deployment": {"id": number}})
        return
    try:
        when, payload = payloads.deployment(look.entry.record, look.statuses or [], visit.key)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        yield visit.refuse(look.entry.record, "", error, id_=number)
        return
    if payloads.is_pending(payload):
        memory.pending[number] = look.etag
    else:
        memory.pending.pop(number, None)
    seen = memory.known.get(number)
    memory.known.put(number, int(epoch(look.entry.at)), _updated(look.entry))
    if when >= visit.since:  # else it came to its end before
        yield visit.item(number, visit.back(seen, when), payload)


def _updated(entry: Entry) -> int:
    return int(epoch(moment(entry.record.get("updated_at") or entry.record["created_at"])))
