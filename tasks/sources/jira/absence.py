"""What was known and is no longer listed: gone, or only out of sight.

Each such issue is asked for by its id, and is gone only if Jira says so itself. Where most of them seem to have gone at
once, the token may have lost its sight: then they must say so twice, a day apart, before they are believed.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from config.sources import Jira
from tasks.sources.contract import Item
from tasks.sources.http import Http, Trace
from tasks.sources.jira import payloads
from tasks.sources.jira.access import api, issue_path, record, there, unfit
from tasks.sources.jira.jql import Query
from tasks.sources.jira.memory import Memory, millis
from tasks.sources.jira.payloads import ShapeError
from tasks.sources.jira.search import Search
from tasks.sources.jira.taking import Seen, Taking

SUSPECTS: Final = 20
"""If more of them have gone, and more than half of all, the token has lost its sight, or so it looks."""
ASKED: Final = 1000
"""Of so many suspects one sweep asks; the others wait for the next one."""
_BELIEVED: Final = 24 * 3600 * 1000
"""So long after the first time, in milliseconds, must they still be gone."""
_MOVED: Final = "moved"
_UNLISTED: Final = "unlisted"
"""It is there and can be searched for, but was not in the list."""
_UNINDEXED: Final = "unindexed"
"""It is there, but no search shows it: archived, or Jira builds its index anew."""


@dataclass(slots=True)
class Absence:
    """Of one sweep of one project."""

    section: Jira
    project: str
    http: Http
    search: Search
    taking: Taking
    memory: Memory
    trace: Trace
    now: datetime
    problem: str | None = None
    """What a person should know of those that seem to have gone."""

    def told(self, query: Query, suspects: Mapping[int, int], known: int, again: Callable[[], Seen]) -> Iterator[Item]:
        """Tombstones of those of the `suspects` that have gone; the others leave a doubt. Raises HttpError.

        suspects: id -> time of the update, out of so many that are `known`.
        again: lists once more, since a list that moves while its pages are asked for skips some.
        """
        first_missed = self.memory.absent = {n: at for n, at in self.memory.absent.items() if n in suspects}
        if not suspects:
            return
        project = there(self.http, api(self.section, f"project/{self.project}"), {}, self.trace)
        if project is None or (self.trace.canary is not None and not self.trace.canary_seen):
            self.trace.scope_lost = True
            return
        home = record(project).get("id")
        many = len(suspects) > SUSPECTS and 2 * len(suspects) > known
        numbers = self._to_be_asked(suspects) if many else sorted(suspects)
        fates = self.http.each(lambda number: self._fate(query, number, suspects[number], home), numbers)
        unlisted: dict[int, str] = {}
        settled = 0
        for number, (why, key) in zip(numbers, fates, strict=True):
            if many and why not in {None, _MOVED, _UNLISTED} and number not in first_missed:
                first_missed[number] = millis(self.now)
                continue
            settled += 1
            if why == _UNINDEXED:
                continue
            first_missed.pop(number, None)
            if why == _UNLISTED:
                unlisted[number] = key
            elif why is not None:
                yield self.taking.tombstone(number, why)
        if unlisted:
            listed = again()
            self.trace.missing_ids += tuple(key for number, key in unlisted.items() if number not in listed)
        if waiting := len(suspects) - settled:
            self.trace.scope_lost = True
            self.problem = (
                f"{waiting} of {known} issues are out of sight: let the token's user browse them again; if they were "
                "deleted, go on sweeping: they count as gone if they still answer 404 a day later"
            )

    def _to_be_asked(self, suspects: Mapping[int, int]) -> list[int]:
        """Those of which nothing was heard yet, then those that have been out of sight for long enough."""
        heard, now = self.memory.absent, millis(self.now)
        new = sorted(number for number in suspects if number not in heard)
        due = sorted(number for number, at in heard.items() if now - at >= _BELIEVED)
        return (new + due)[:ASKED]

    def _fate(self, query: Query, number: int, at: int, home: Any) -> tuple[str | None, str]:
        """Why it is no longer one of ours, None if it is; and what it is called."""
        answer = there(self.http, issue_path(self.section, str(number)), {"fields": "updated,project"}, self.trace)
        if answer is None:
            return "deleted", str(number)
        found = record(answer)
        fields, key = found.get("fields"), str(found.get("key", number))
        project = fields.get("project") if isinstance(fields, Mapping) else None
        if not isinstance(project, Mapping) or found.get("id") != str(number):
            raise unfit(answer, "another issue than was asked for, or one without a project")
        if project.get("id") != home:
            return _MOVED, key
        try:
            changed = millis(payloads.updated_on(found)) > at
        except ShapeError:
            changed = False
        if self.search.page(query.only(str(number)), brief=True).records:
            return (None if changed else _UNLISTED), key  # if changed it was between two places of the listing
        if query.narrowed:
            return "unmatched", key
        return (None if changed else _UNINDEXED), key
