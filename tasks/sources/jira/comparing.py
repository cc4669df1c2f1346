"""What was read is compared with what Jira lists, by ids and times alone: the second opinion on every range.

What is listed and was not read has been missed, by whatever fault, and is fetched by its id. What was known and is no
longer listed is looked for in `absence`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from config.sources import Jira
from quality.extractions import Extraction, barrier, loss
from tasks.sources.contract import Item, Rejected
from tasks.sources.http import Answer, Http, Trace
from tasks.sources.jira import payloads
from tasks.sources.jira.absence import Absence
from tasks.sources.jira.access import unfit
from tasks.sources.jira.jql import Query
from tasks.sources.jira.memory import Memory, millis, moment
from tasks.sources.jira.payloads import ShapeError
from tasks.sources.jira.search import Page, Search, count
from tasks.sources.jira.taking import Seen, Taking

MISSED: Final = 1000
"""Issues of one range: if more were missed they are read by pages, and not one by one."""


@dataclass(slots=True)
class Range:
    """What was read between two comparisons."""

    start: datetime
    end: datetime
    """All before this was read."""
    seen: Seen
    pages: int = 0
    ended: bool = False
    """And all after it."""
    done: bool = False
    """What follows is from after the beginning of the sweep."""


@dataclass(slots=True)
class Comparing:
    """Of one sweep of one project."""

    section: Jira
    http: Http
    search: Search
    taking: Taking
    memory: Memory
    absence: Absence
    trace: Trace
    listed: int = 0
    """Ids that were compared."""
    unreadable: int = 0
    """Issues of the last listing without an id or a time; they are set aside, and lack in no count."""
    uncounted: int = 0
    """How many more there are, if Jira's own count is right."""
    again: datetime | None = None
    """More than `MISSED` were missed: from here on all is to be read once more, and then compared."""
    turned: bool = False
    """That was already asked for in this sweep."""

    def range(self, query: Query, one: Range, start: datetime, *, counted: bool) -> Iterator[Item | Rejected]:
        """Fetch what was missed of `one`, and if it has no end tell what has gone. Raises HttpError.

        start: if before that of the range, what is remembered from there on is compared too.
        counted: ask Cloud for its own count too, as its listings have no totals.
        """
        seen, end = one.seen, None if one.ended else one.end
        listed, answer = self._listed(query, start, end)
        self.listed += len(listed)
        if counted:
            self._count(query, start, end, listed)
        read, memory = min(millis(one.start), self.memory.known_from), self.memory
        expected = seen if end is not None else memory.since(start) | seen
        missed = [
            number
            for number, at in listed.items()
            if expected.get(number, -1) < at
            and (at >= read or number in memory.gone)
            and (end is None or at < millis(end))
        ]
        if len(missed) > MISSED:
            if self.turned:
                raise unfit(answer, f"{len(missed)} issues that its own pages, asked for in order, did not hold")
            self.again, self.turned = moment(min(listed[number] for number in missed)), True
            return
        vanished: list[int] = []
        yield from self.taking.missed(missed, seen, vanished)
        for number in vanished:
            if (page := self.search.page(query.only(str(number)), brief=True)).records:
                raise unfit(page.answer, f"the issue {number}, which it does not show")
            del listed[number]
        if end is None:
            suspects = {number: at for number, at in expected.items() if number not in listed}
            yield from self.absence.told(query, suspects, len(expected), lambda: self._listed(query, start, end)[0])

    def is_in_doubt(self, *, counted: bool = True) -> bool:
        """Whether what was read so far shows by itself that it is not all.

        counted: ask what Jira counts too; a doubt about that is about single ranges, and what lies before them stands.
        """
        if more := self.uncounted:
            self.trace.total_advertised = self.trace.items_received + more
        extraction = unsized(self.trace.extraction())
        if not counted:
            extraction = replace(extraction, total_advertised=None)
        return (barrier(extraction) or loss(extraction)) is not None

    def _listed(self, query: Query, start: datetime, end: datetime | None) -> tuple[Seen, Answer]:
        """All that Jira lists now, and its last answer."""
        listed: Seen = {}
        self.unreadable = 0
        for page in self.search.whole(query.since(start, end), brief=True):
            times = list(_times(page))
            self.unreadable += len(page.records) - len(times)
            listed |= times
            answer = page.answer
        return listed, answer

    def _count(self, query: Query, start: datetime, end: datetime | None, listed: Seen) -> None:
        """Doubt what was listed if Jira counts more. The count is an estimate: a hundredth more is none.

        What was made between the list and the count is in the next list, which is added to `listed`; what is made
        after that is in the next count only.
        """
        if self.section.edition != "cloud":
            return
        jql = query.since(start, end)
        counted = count(self.section, self.http, jql, self.trace)
        if _is_short(len(listed) + self.unreadable, counted):
            listed |= self._listed(query, start, end)[0]
            counted = min(counted, count(self.section, self.http, jql, self.trace))
        if _is_short(held := len(listed) + self.unreadable, counted):
            self.uncounted += counted - held


def unsized(extraction: Extraction) -> Extraction:
    """Without the sizes of pages: each begins anew where the last one ended, so that a small one loses nothing."""
    return replace(extraction, page_sizes=(), page_size=None)


def _is_short(listed: int, counted: int) -> bool:
    return counted - listed > counted // 100


def _times(page: Page) -> Iterator[tuple[int, int]]:
    for one in page.records:
        try:
            yield int(payloads.number_of(one)), millis(payloads.updated_on(one))
        except ShapeError:
            continue  # the page with all fields has set it aside
