"""Pull requests with their commits and reviews, newest update first; and the reverts that merged ones are."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

from tasks.sources.contract import Item, Rejected
from tasks.sources.github import payloads
from tasks.sources.github.paging import newest_first
from tasks.sources.github.payloads import Record
from tasks.sources.github.visit import Entry, Mark, Part, Reading, State, Visit, epoch, time_of
from tasks.sources.http import Answer, HttpError, Reason

_LISTED: Final = {"state": "all", "sort": "updated", "direction": "desc"}
_when = time_of("updated_at")


class _End(NamedTuple):
    """Of a page."""

    number: int


def read(visit: Visit, state: State) -> Reading:
    """Those that were updated since the last time; a backfill that broke off goes on with its page."""
    resumed = True
    while resumed:
        begun = state.get("partial")
        resumed = begun is not None
        first: Answer | None = None
        if resumed:
            visit.identify()
        if begun is None:
            first = visit.probe("pulls", {**_LISTED, "per_page": visit.size}, state.get("etag"))
            if first is None:
                return {**state, "until": max(visit.until, state["until"])}
            begun = {"page": 1, "until": visit.until, "etag": first.etag}
        yield from _walk(visit, state, begun, first)
        state = {"until": max(begun["until"], state.get("until", 0)), "etag": begun["etag"]}
        if resumed:
            yield Mark(state)
            visit.begin_again()  # and look at what has come since it began
    return state


def _walk(visit: Visit, state: State, begun: Mapping[str, Any], first: Answer | None) -> Iterator[Part]:
    bound = state.get("until", epoch(visit.since))
    detailed = partial(_detailed, visit)
    for made in visit.http.each(detailed, _wanted(visit, bound, begun["page"], first)):
        if isinstance(made, _End):
            yield Mark({**state, "partial": {**begun, "page": made.number + 1}})
        else:
            yield from made


def _wanted(visit: Visit, bound: float, number: int, first: Answer | None) -> Iterator[Entry | Rejected | _End]:
    """What is to be asked for in detail, page after page; it is asked for while the next page is fetched."""
    before: dict[int, Any] = {}
    for batch in newest_first(
        visit, "pulls", _LISTED, _when, bound=bound, first=first, number=number,
        id_="number", deletable=True,
    ):  # fmt: skip
        yield from batch.rejected
        fresh = {entry.id: entry.at for entry in batch.entries if epoch(entry.at) >= bound}
        yield from (entry for entry in batch.entries if entry.id in fresh and before.get(entry.id) != entry.at)
        before = fresh
        if not batch.last:
            yield _End(batch.number)


def _detailed(visit: Visit, one: Entry | Rejected | _End) -> list[Item | Rejected] | _End:
    """In one of several threads."""
    if isinstance(one, _End):
        return one
    return [one] if isinstance(one, Rejected) else list(_items(visit, one))


def _items(visit: Visit, entry: Entry) -> Iterator[Item | Rejected]:
    try:
        commits = _all(visit, f"pulls/{entry.id}/commits")
        reviews = _all(visit, f"pulls/{entry.id}/reviews")
    except HttpError as error:
        if error.reason is not Reason.GONE or error.status is None or visit.find(f"pulls/{entry.id}") is not None:
            raise
        visit.trace.forgive(error.status)
        return  # it has been removed since it was listed
    try:
        payload = payloads.pull(entry.record, commits, reviews, visit.key)
        yield visit.item(entry.id, entry.at, payload)
        for number in payloads.reverted_pulls(entry.record, visit.names):
            revert = payloads.pull_revert(visit.origin, entry.record, number)
            yield visit.item(f"pull:{entry.id}:{number}", entry.at, revert, stream="reverts")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        yield visit.refuse(entry.record, f"pull request {entry.id}", error, entry.at)


def _all(visit: Visit, path: str) -> list[Record]:
    found: list[Record] = []
    for answer in visit.http.pages(visit.path(path), {"per_page": 100}, trace=visit.trace):
        found += answer.records()
    return found
