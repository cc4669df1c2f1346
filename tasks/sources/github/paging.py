"""Pages of a list, and how it shows that one of them is missing.

Lists are read by number of page, newest first. What is new or was updated moves to the front and pushes the rest back,
so that something comes twice and nothing is lost. Where entities can be deleted the rest moves forward: there each page
is asked for once more, conditionally, after the next one was read.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from tasks.sources.contract import Rejected
from tasks.sources.github.payloads import Record
from tasks.sources.github.visit import Entry, Visit, epoch
from tasks.sources.http import Answer

_ORDER_SECONDS: Final = 300
"""By so much neighbours of a list may be out of order."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page as it came."""

    number: int
    answer: Answer
    records: list[Any]
    last: bool
    """The list says that there is none after it."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What of one page is wanted, and whether it was the last one."""

    number: int
    entries: list[Entry]
    rejected: list[Rejected]
    low: float
    """Epoch seconds: what is listed before this page ends is not older."""
    last: bool


def turn(  # noqa: PLR0913 - how a list is asked for
    visit: Visit,
    path: str,
    params: Mapping[str, str | int],
    *,
    first: Answer | None = None,
    number: int = 1,
    key: str | None = None,
) -> Iterator[Page]:
    """The pages from `number` on. `first`: that page, if it is there. `key`: under which the records are.

    A chain that ends before the page that was said to be the last one is noted in the trace, as is one in a circle. A
    full page that names no next one is not believed: the next one is asked for.
    """
    asked = {**params, "per_page": visit.size}
    visit.trace.page_size = visit.size
    answer = first or visit.get(path, {**asked, "page": number} if number > 1 else asked)
    begun, last, seen = number, 0, {answer.next}
    while True:
        records = answer.records(key)
        last = max(last, answer.last or 0)
        following: Answer | None = None
        if answer.next is None and len(records) == visit.size and last <= number:
            further = visit.get(path, {**asked, "page": number + 1})
            if further.records(key) and further.raw != answer.raw:  # a list that has no pages repeats itself
                following = further
        end = answer.next is None and following is None
        if end and last > number:
            visit.trace.pages_advertised = last - begun + 1
        yield Page(number, answer, records, end and last <= number)
        if end:
            return
        number += 1
        answer = following or visit.http.get(str(answer.next), trace=visit.trace)
        if answer.next is not None and answer.next in seen:
            visit.trace.error = "its pages lead in a circle"
            return
        seen.add(answer.next)


def resume(  # noqa: PLR0913, PLR0917 - how a list is asked for
    visit: Visit,
    path: str,
    params: Mapping[str, str | int],
    when: Callable[[Record], datetime],
    number: int,
    low: float,
    *,
    id_: str = "id",
) -> tuple[int, Answer]:
    """The page to go on with, at or before `number`: it begins with what was read already, which ends at `low`.

    What was deleted since then has pulled the rest forward, perhaps by pages.
    """
    asked = {**params, "per_page": visit.size}
    while True:
        answer = visit.get(path, {**asked, "page": number} if number > 1 else asked)
        entries, _ = visit.entries(answer.records(), when, number, id_=id_)
        if number <= 1 or (entries and epoch(entries[0].at) > low):
            return number, answer
        number -= 1


def newest_first(  # noqa: PLR0913 - how a list is asked for
    visit: Visit,
    path: str,
    params: Mapping[str, str | int],
    when: Callable[[Record], datetime],
    *,
    bound: float,
    first: Answer | None = None,
    number: int = 1,
    id_: str = "id",
    deletable: bool = False,
    ordered: bool = True,
) -> Iterator[Batch]:
    """The pages of a list in descending order of `when`, until one reaches back before `bound`.

    Sets the trace's end mark once it is there. ordered: that order was asked for, and a list that comes in another one
    is read to its end; else a page that is not in order ends the list only if all of it is before `bound`.
    """
    low = float("inf")
    before: Page | None = None
    for page in turn(visit, path, params, first=first, number=number):
        entries, rejected = visit.entries(page.records, when, page.number, id_=id_)
        visit.listed(page.records, (entry.id for entry in entries))
        for entry in entries:
            if ordered and epoch(entry.at) > low + _ORDER_SECONDS:
                bound = float("-inf")
            low = min(low, epoch(entry.at))
        times = [epoch(entry.at) for entry in entries]
        reached = max(times, default=low) if not ordered and times != sorted(times, reverse=True) else low
        if deletable and before is not None:
            entries += _moved_forward(visit, path, params, before, when, id_)
        before = page
        last = page.last or reached < bound
        if last:
            visit.trace.complete = True
        yield Batch(page.number, entries, rejected, 0.0 if page.last else low, last)
        if last:
            return


def _moved_forward(  # noqa: PLR0913, PLR0917 - as above
    visit: Visit,
    path: str,
    params: Mapping[str, str | int],
    page: Page,
    when: Callable[[Record], datetime],
    id_: str,
) -> list[Entry]:
    """What lies on `page` now, if it has changed since it was read."""
    asked = {**params, "per_page": visit.size}
    again = visit.get(path, {**asked, "page": page.number} if page.number > 1 else asked, etag=page.answer.etag)
    return [] if again.unchanged else visit.entries(again.records(), when, page.number, id_=id_)[0]
