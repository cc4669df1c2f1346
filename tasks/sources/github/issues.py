"""Issues, and what of them was deleted or moved away.

Page 1 of the list, newest update first, tells whether there is news, and mostly all of it. What is more is read in
ascending order from the last time on: always the first page of what was updated since the last one seen, so that
nothing that moves while it is read is lost. Pull requests are in the list too and are left out.
"""

from collections.abc import Iterator
from typing import Final

from tasks.sources.contract import Item, Rejected
from tasks.sources.github import payloads
from tasks.sources.github.known import Known
from tasks.sources.github.payloads import Record
from tasks.sources.github.visit import Entry, Mark, Part, Reading, State, Visit, epoch, iso, time_of
from tasks.sources.http import Answer, HttpError, Reason

_LISTED: Final[dict[str, str | int]] = {"state": "all", "sort": "updated", "direction": "desc"}
_ASCENDING: Final[dict[str, str | int]] = {"state": "all", "sort": "updated", "direction": "asc"}
_when = time_of("updated_at")


def read(visit: Visit, state: State) -> Reading:
    """Those that were updated since the last time, and tombstones of those that are gone."""
    known = Known(state.get("known"))
    if begun := state.get("partial"):
        visit.identify()
        yield from _ascending(visit, known, state, begun, set())
        state = {**state, "until": begun["until"], "partial": None, "etag": None, "known": _packed(visit, known)}
        yield Mark(state)
        visit.begin_again()
    look_back = visit.due(state) and state.get("low", 0.0) > visit.recheck_from and len(known) > 0
    try:
        params = {**_LISTED, "per_page": visit.size}
        first = visit.probe("issues", params, None if look_back else state.get("etag"))
    except HttpError as error:
        if error.reason is not Reason.GONE or error.status is None or visit.identify().has_issues:
            raise
        visit.trace.forgive(error.status)  # its issues are switched off
        visit.trace.complete = True
        return {"until": max(visit.until, state.get("until", 0))}
    if first is None:
        return {**state, "until": max(visit.until, state["until"])}
    return (yield from _news(visit, state, known, first))


def _news(visit: Visit, state: State, known: Known, first: Answer) -> Reading:
    """What the first page, and as many more as are needed, tell."""
    until, due = visit.until, visit.due(state)
    since = state.get("until", epoch(visit.since))
    if due:
        since = min(since, visit.recheck_from)
    records = first.records()
    entries, rejected = visit.entries(records, _when, 1, id_="number")
    times = [epoch(entry.at) for entry in entries]
    whole = first.next is None and len(records) < visit.size and (first.last or 1) == 1
    low = 0.0 if whole else min(times, default=float("inf"))
    if whole or (times == sorted(times, reverse=True) and low < since):
        visit.listed(records, (entry.id for entry in entries))
        visit.trace.complete = True
        yield from rejected
        yield from _items(visit, known, entries)
        present, listed_from = {entry.id for entry in entries}, 0.0 if whole else low + 1
    else:
        present, listed_from = set[int](), since
        yield from _ascending(visit, known, state, {"since": since, "until": until}, present)
    if visit.trace.complete:
        for found in visit.deletions("issues", known, present, listed_from):
            yield from _absent(visit, known, found)
    return {
        "until": max(until, state.get("until", 0)), "etag": first.etag, "known": _packed(visit, known), "low": low,
        "checked": until if due else state.get("checked", -1),
    }  # fmt: skip


def _ascending(visit: Visit, known: Known, state: State, begun: State, present: set[int]) -> Iterator[Part]:
    """From `begun` on, each time from a second before the last one seen. What is listed is added to `present`."""
    visit.trace.page_size = visit.size
    number, anchor, in_order = 1, begun["since"], True
    before: list[str] = []
    previous: tuple[dict[str, str | int], Answer] | None = None
    while True:
        params = {**_ASCENDING, "since": iso(anchor), "per_page": visit.size} | ({"page": number} if number > 1 else {})
        answer = visit.get("issues", params)
        records = answer.records()
        entries, rejected = visit.entries(records, _when, number, id_="number")
        times = [epoch(entry.at) for entry in entries]
        ids = [f"{entry.id} {epoch(entry.at):.0f}" for entry in entries]
        visit.listed(records, ids)
        yield from rejected
        yield from _items(visit, known, entries)
        present |= {entry.id for entry in entries}
        if previous is not None:  # what was updated meanwhile has left the page before, and pulled others onto it
            again = visit.get("issues", previous[0], previous[1].etag)
            moved = [] if again.unchanged else visit.entries(again.records(), _when, number - 1, id_="number")[0]
            yield from _items(visit, known, moved)
            present |= {entry.id for entry in moved}
        if answer.next is None and len(records) < visit.size:
            visit.trace.complete = (answer.last or 0) <= number
            return
        if ids == before:
            return  # which the trace has noted
        before = ids
        in_order = in_order and times == sorted(times) and min(times, default=anchor) >= anchor
        if in_order and times and times[-1] - 1 > max(times[0], anchor):
            number, anchor, previous = 1, times[-1] - 1, None
            yield Mark({**state, "partial": {**begun, "since": anchor}, "known": _packed(visit, known)})
        else:
            number, previous = (
                number + 1,
                (params, answer),
            )  # more within one second than a page holds, or another order than was asked for


def _items(visit: Visit, known: Known, entries: list[Entry]) -> Iterator[Item]:
    for entry in entries:
        at = int(epoch(entry.at))
        seen = known.get(entry.id)
        if "pull_request" in entry.record or entry.at < visit.since or (seen is not None and seen.state == at):
            continue
        yield visit.item(entry.id, visit.back(seen, entry.at), {"issue": payloads.raw(entry.record, visit.key)})
        known.put(entry.id, at, at)


def _absent(visit: Visit, known: Known, found: tuple[int, Record | None]) -> Iterator[Item | Rejected]:
    """What was listed once and is not now: deleted, moved to another repository, or updated meanwhile."""
    number, record = found
    here = f"/{visit.identify().full_name}".lower()
    if record is None or not str(record.get("repository_url", here)).lower().endswith(here):
        yield visit.tombstone(known, number, {"issue": {"number": number}})
        return
    visit.left_out(number)
    entries, rejected = visit.entries([record], _when, 1, id_="number")
    yield from rejected
    yield from _items(visit, known, entries)


def _packed(visit: Visit, known: Known) -> bytes:
    return known.packed(visit.recheck_from - 86_400)
