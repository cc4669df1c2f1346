"""What was read is compared with what Jira lists, by ids and times alone: the second opinion on every range.

What is listed and was not read has been missed, by whatever fault, and is fetched by its id. What was known and is no
longer listed is asked for by its id, and is gone only if Jira says so itself.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from config.sources import Jira
from tasks.sources.contract import Item, Rejected
from tasks.sources.http import Http, Trace
from tasks.sources.jira import payloads
from tasks.sources.jira.access import api, issue_path, record, there, unfit
from tasks.sources.jira.jql import Query
from tasks.sources.jira.memory import Memory, millis
from tasks.sources.jira.payloads import ShapeError
from tasks.sources.jira.search import Page, Search, count
from tasks.sources.jira.taking import Seen, Taking

MISSED: Final = 1000
"""Issues of one range: if more were missed, Jira does not sort as it was asked to."""
SUSPECTS: Final = 20
"""If more of them have gone, and more than half of all, the token has lost its sight, or so it looks."""


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
    project: str
    http: Http
    search: Search
    taking: Taking
    memory: Memory
    trace: Trace
    listed: int = 0
    """Ids that were compared."""
    uncounted: int = 0
    """How many more there are, if Jira's own count is right."""

    def range(self, query: Query, one: Range, start: datetime, *, counted: bool) -> Iterator[Item | Rejected]:
        """Fetch what was missed of `one`, and if it has no end tell what has gone. Raises HttpError.

        start: if before that of the range, what is remembered from there on is compared too.
        counted: ask Cloud for its own count too, as its listings have no totals.
        """
        seen, end = one.seen, None if one.ended else one.end
        last: Page | None = None
        listed: Seen = {}
        for last in self.search.whole(query.since(start, end), brief=True):
            listed |= _times(last)
        self.listed += len(listed)
        if counted:
            self._count(query, start, end, len(listed))
        read, remembered = millis(one.start), self.memory.known_from
        expected = seen if end is not None else self.memory.since(start) | seen
        missed = [
            number
            for number, at in listed.items()
            if expected.get(number, -1) < at and (at >= read or at >= remembered) and (end is None or at < millis(end))
        ]
        if last is not None and len(missed) > MISSED:
            raise unfit(last.answer, f"{len(missed)} issues that its own pages, asked for in order, did not hold")
        vanished: list[int] = []
        yield from self.taking.missed(missed, seen, vanished)
        for number in vanished:
            if (page := self.search.page(query.only(str(number)), brief=True)).records:
                raise unfit(page.answer, f"the issue {number}, which it does not show")
            del listed[number]
        if end is None:
            yield from self._gone(query, {n: at for n, at in expected.items() if n not in listed}, len(expected))

    def _count(self, query: Query, start: datetime, end: datetime | None, listed: int) -> None:
        """Doubt what was listed if Jira counts more. The count is an estimate: a hundredth more is none."""
        if self.section.edition != "cloud":
            return
        counted = count(self.section, self.http, query.since(start, end), self.trace)
        if counted - listed > counted // 100:
            self.uncounted += counted - listed

    def _gone(self, query: Query, suspects: Mapping[int, int], known: int) -> Iterator[Item]:
        if not suspects:
            return
        project = there(self.http, api(self.section, f"project/{self.project}"), {}, self.trace)
        blind = self.trace.canary is not None and not self.trace.canary_seen
        if project is None or blind or (len(suspects) > SUSPECTS and 2 * len(suspects) > known):
            self.trace.scope_lost = True
            return
        home = record(project).get("id")
        numbers = sorted(suspects)
        fates = self.http.each(lambda number: self._fate(query, number, suspects[number], home), numbers)
        for number, why in zip(numbers, fates, strict=True):
            if why is not None:
                yield self.taking.tombstone(number, why)

    def _fate(self, query: Query, number: int, at: int, home: Any) -> str | None:
        """Why it is no longer one of ours; None if it is."""
        answer = there(self.http, issue_path(self.section, str(number)), {"fields": "updated,project"}, self.trace)
        if answer is None:
            return "deleted"
        found = record(answer)
        fields = found.get("fields")
        project = fields.get("project") if isinstance(fields, Mapping) else None
        if not isinstance(project, Mapping) or found.get("id") != str(number):
            raise unfit(answer, "another issue than was asked for, or one without a project")
        if project.get("id") != home:
            return "moved"
        try:
            changed = millis(payloads.updated_on(found)) > at
        except ShapeError:
            changed = False
        if self.search.page(query.only(str(number)), brief=True).records:
            if not changed:  # else it was between two places of the listing
                self.trace.missing_ids = (*self.trace.missing_ids, str(found.get("key", number)))
            return None
        return "unmatched" if query.narrowed else None


def _times(page: Page) -> Iterator[tuple[int, int]]:
    for one in page.records:
        try:
            yield int(payloads.number_of(one)), millis(payloads.updated_on(one))
        except ShapeError:
            continue  # the page with all fields has set it aside
