"""Jira as a source: the issues of its projects with their whole history.

A refresh without news costs one question: Jira has no ETags on searches, so it is the search itself, which must show
the newest issue that is known, in the state that is known. Once a day there are two more, for the time zone and for
the comparison of ids; a canary costs one each time.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Final

from config import schema
from config.sources import Jira
from tasks.sources.contract import Cursor, Feed, Item, Part, SourceError
from tasks.sources.git_payloads import pseudonym
from tasks.sources.http import Trace
from tasks.sources.jira import payloads
from tasks.sources.jira.access import opened, utc_now
from tasks.sources.jira.history import Histories
from tasks.sources.jira.jql import narrowing, quoted
from tasks.sources.jira.memory import Memory
from tasks.sources.jira.payloads import KIND, STREAM
from tasks.sources.jira.search import Search
from tasks.sources.jira.sweep import Sweep

_READER: Final = 1  # raise it when payloads change: everything is then read again


class JiraSource:
    """Projects to be swept one by one."""

    def __init__(self, section: Jira, pseudonym_key: bytes | None, *, clock: Callable[[], datetime] = utc_now) -> None:
        """Without `pseudonym_key` people appear as they are. Raises ConfigError for JQL that cannot be narrowed by."""
        self.name = section.name
        self._section, self._key, self._clock = section, pseudonym_key, clock
        self._narrowed = narrowing(section.jql, f"sources.{section.name}.jql")
        self._projects = {one.origin: one for one in section.projects}

    def units(self) -> Sequence[str]:
        """The origins."""
        return tuple(self._projects)

    def feeds(self, unit: str) -> Sequence[Feed]:
        """One stream."""
        return [(KIND, unit, (STREAM,))]

    def sweep(self, unit: str, cursor: Cursor | None, now: datetime) -> Iterator[Part]:
        """Yield what was updated or has gone since `cursor`, then `Swept`."""
        project = self._projects.get(unit)
        if project is None:
            raise SourceError(f"{unit}: no such project in {self.name}")
        section = self._section
        which = "" if self._key is None else pseudonym(b"which key", self._key)
        since = section.since.isoformat()
        reads = schema.digest([
            _READER, which, section.base_url, section.edition, project.project, since, self._narrowed,
        ])  # fmt: skip
        memory = Memory.from_cursor(cursor, reads)
        with opened(section, self._clock) as http:
            yield from Sweep(section, project, http, memory, now, self._narrowed, self._key).parts()

    def sample(self, origin: str, stream: str, limit: int) -> Iterator[Item]:
        """The issues that were updated last, newest first; no cursor is touched. Raises SourceError."""
        project = self._projects.get(origin)
        if project is None or stream != STREAM:
            raise SourceError(f"{origin}: no such stream of a project in {self.name}: {stream}")
        narrowed = f" AND ({self._narrowed})" if self._narrowed else ""
        jql = f"project = {quoted(project.project)}{narrowed} ORDER BY updated DESC, id DESC"
        trace = Trace(STREAM)
        with opened(self._section, self._clock) as http:
            whole = Histories(self._section, http, trace)
            for page in Search(self._section, http, trace).whole(jql, brief=False):
                for record in http.each(whole.completed, page.records[:limit]):
                    if record is not None:
                        yield payloads.item(record, origin, payloads.updated_on(record), self._key)
                limit -= len(page.records)
                if limit <= 0:
                    return
