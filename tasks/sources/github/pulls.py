"""Pull requests with their commits and reviews, newest update first; and the reverts that merged ones are."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

from tasks.sources.contract import Item, Rejected
from tasks.sources.github import payloads
from tasks.sources.github.paging import newest_first, resume
from tasks.sources.github.payloads import Record
from tasks.sources.github.visit import Entry, Mark, Part, Reading, State, Visit, epoch, time_of
from tasks.sources.http import Answer, HttpError, Reason

_LISTED: Final = {"state": "all", "sort": "updated", "direction": "desc"}
_MOST_COMMITS: Final = 250
_when = time_of("updated_at")


class _End(NamedTuple):
    """Of a page."""

    number: int
    low: float


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
        if resumed and "low" in begun:
            number, first = resume(visit, "pulls", _LISTED, _when, begun["page"], begun["low"], id_="number")
            begun = {**begun, "page": number}
        yield from _walk(visit, state, begun, first)
        state = {"until": max(begun["until"], state.get("until", 0)), "etag": begun["etag"]}
        if resumed:
            yield Mark(state)
            visit.begin_again()  # and look at what has come since it began
    return state


def _walk(visit: Visit, state: State, begun: Mapping[str, Any], first: Answer | None) -> Iterator[Part]:
    bound = state.get("until", epoch(visit.since))
    detailed = partial(_detailed, visit)
    for made in visit.http.each(detailed, _wanted(visit, bound, begun, first)):
        if isinstance(made, _End):
            yield Mark({**state, "partial": {**begun, "page": made.number + 1, "low": made.low}})
        else:
            yield from made


def _wanted(
    visit: Visit, bound: float, begun: Mapping[str, Any], first: Answer | None
) -> Iterator[Entry | Rejected | _End]:
    """What is to be asked for in detail, page after page; it is asked for while the next page is fetched."""
    before: dict[int, Any] = {}
    for batch in newest_first(
        visit, "pulls", _LISTED, _when, bound=bound, first=first, number=begun["page"],
        id_="number", deletable=True,
    ):  # fmt: skip
        yield from batch.rejected
        fresh = {
            entry.id: entry.at
            for entry in batch.entries
            if bound <= epoch(entry.at) <= begun.get("low", float("inf")) and _is_unread(visit, entry)
        }
        yield from (entry for entry in batch.entries if entry.id in fresh and before.get(entry.id) != entry.at)
        before = fresh
        if not batch.last:
            yield _End(batch.number, batch.low)


def _is_unread(visit: Visit, entry: Entry) -> bool:
    """Where what was refused is read again, the rest was read before."""
    return visit.ahead is None or visit.again is None or epoch(entry.at) >= visit.ahead or entry.id in visit.again


def _detailed(visit: Visit, one: Entry | Rejected | _End) -> list[Item | Rejected] | _End:
    """In one of several threads."""
    if isinstance(one, _End):
        return one
    return [one] if isinstance(one, Rejected) else list(_items(visit, one))


def _items(visit: Visit, entry: Entry) -> Iterator[Item | Rejected]:
    try:
        commits, cut = _commits(visit, entry)
        reviews = _all(visit, f"pulls/{entry.id}/reviews")
    except HttpError as error:
        if error.reason is not Reason.GONE or error.status is None or visit.find(f"pulls/{entry.id}") is not None:
            raise
        visit.trace.forgive(error.status)
        return  # it has been removed since it was listed
    try:
        payload = payloads.pull(entry.record, commits, reviews, visit.key, cut=cut)
        yield visit.item(entry.id, entry.at, payload)
        for number in payloads.reverted_pulls(entry.record, visit.names):
            revert = payloads.pull_revert(visit.origin, entry.record, number)
            yield visit.item(f"pull:{entry.id}:{number}", entry.at, revert, stream="reverts")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        yield visit.refuse(entry.record, "", error, entry.at, id_=entry.id)


def _commits(visit: Visit, entry: Entry) -> tuple[list[Record], bool]:
    """Those of a pull request, and whether there are more: GitHub lists 250, and a comparison all of them."""
    listed = _all(visit, f"pulls/{entry.id}/commits")
    if len(listed) < _MOST_COMMITS:
        return listed, False
    try:
        base, head = entry.record["base"]["sha"], entry.record["head"]["sha"]
    except (KeyError, TypeError):
        return listed, True
    if visit.find(f"compare/{base}...{head}?per_page=1") is None:  # one of them was collected
        return listed, True
    found = _all(visit, f"compare/{base}...{head}", "commits")
    whole = len(found) >= len(listed)
    return (found, False) if whole else (listed, True)


def _all(visit: Visit, path: str, key: str | None = None) -> list[Record]:
    found: list[Record] = []
    for answer in visit.http.pages(visit.path(path), {"per_page": 100}, trace=visit.trace):
        found += answer.records(key)
    return found
