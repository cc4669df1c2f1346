"""One sweep of one project: by the time of the update, from where the last one ended to now.

Each question asks for what was updated since some minute, oldest first, and takes the first page of the answer; the
next one begins with the minute of the last issue on it. So nothing moves from page to page while issues change: what
is updated meanwhile only comes later. Only where one minute fills more than a page are its further pages asked for.
"""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from config.sources import Jira, JiraProject
from tasks.sources.contract import Coverage, Item, Progress, Rejected, Swept
from tasks.sources.http import Answer, Http, HttpError, Reason, Trace
from tasks.sources.jira import payloads
from tasks.sources.jira.absence import Absence
from tasks.sources.jira.access import api, issue_path, record, there, unfit
from tasks.sources.jira.comparing import Comparing, Range, unsized
from tasks.sources.jira.history import Histories
from tasks.sources.jira.jql import Query
from tasks.sources.jira.memory import Memory, millis, moment
from tasks.sources.jira.payloads import KIND, STREAM, ShapeError
from tasks.sources.jira.search import Page, Search, count
from tasks.sources.jira.taking import Taking

SETTLED: Final = {"cloud": timedelta(minutes=5), "data_center": timedelta(minutes=1)}
"""So long after an update the index of the edition surely has it."""
RANGE: Final = 1000
"""Issues after which what was read is compared, and the way so far noted."""
_DAY: Final = 24 * 3600 * 1000
_MINUTE: Final = timedelta(minutes=1)
_AT_ONCE: Final = (Reason.REFUSED, Reason.UNREACHABLE, Reason.REDIRECTED)
"""Failures of the first question that concern all that is asked."""


class Sweep:
    """Made for one sweep and thrown away."""

    def __init__(  # noqa: PLR0913, PLR0917 - one call, from one place
        self, section: Jira, project: JiraProject, http: Http, memory: Memory, now: datetime, narrowed: str,
        key: bytes | None,
    ) -> None:  # fmt: skip
        self.section, self.project, self.http, self.memory = section, project, http, memory
        self.now, self.narrowed = now.astimezone(UTC), narrowed
        self.trace = Trace(STREAM)
        self.search = Search(section, http, self.trace)
        whole = Histories(section, http, self.trace)
        self.taking = Taking(http, whole, memory, project.origin, self.now, key)
        self.absence = Absence(section, project.project, http, self.search, self.taking, memory, self.trace, self.now)
        self.comparing = Comparing(section, http, self.search, self.taking, memory, self.absence, self.trace)
        self.first = datetime(section.since.year, section.since.month, section.since.day, tzinfo=UTC)
        self.begins_anew()
        self.resumed = memory.position is not None
        self.whole = memory.until is None and not self.resumed
        self.began = memory.position
        self.saved = memory.cursor()

    def begins_anew(self) -> None:
        """Where there was what could not be read: only a sweep of everything tells whether it still is there."""
        memory = self.memory
        if memory.spoilt and memory.position is None and millis(self.now) - memory.anew >= _DAY:
            kept = memory.remains()
            memory.until, memory.newest, memory.spoilt, memory.anew = None, None, False, millis(self.now)
            memory.known, memory.known_from = kept["known"], kept["known_from"]

    def parts(self) -> Iterator[Item | Rejected | Progress | Swept]:
        """Raises HttpError only for what concerns the whole Jira at once; other failures are stated."""
        try:
            yield from self._parts()
        except HttpError as error:
            if self.trace.pages_fetched == 0 and error.reason in _AT_ONCE:
                raise
            self.trace.fail(error)
            until = self.first if self.memory.until is None else moment(self.memory.until)
            yield Swept(self.saved, (self._coverage(until, self.now),))

    def _parts(self) -> Iterator[Item | Rejected | Progress | Swept]:
        memory = self.memory
        self._look_at_zone()
        self._look_at_canary()
        stated = self.first if memory.until is None else moment(memory.until)
        start = self._start()
        while True:
            one = Range(start, start, {})
            yield from self._read(one)
            if self._is_no_news(one):
                break
            yield from self._compare(one)
            if self._sees_other_times(one):
                start = self._start()
                stated = min(stated, start)
                continue
            if one.done and self.comparing.again is None:
                break
            start = one.end if (again := self._must_turn_back()) is None else again
            if not self.comparing.is_in_doubt():
                memory.position = millis(min(start, self._horizon()))
                self._forget()
                self.saved = memory.cursor()
                yield Progress(self.saved)
        if memory.newest is None:
            self._is_really_empty()
        self.trace.complete = True
        yield self._swept(stated)

    def _swept(self, stated: datetime) -> Swept:
        """What was seen until now; in doubt the next sweep asks again for what this one was about."""
        memory, until, doubt = self.memory, self._seen_until(stated), self.comparing.is_in_doubt()
        if not doubt:
            memory.until, memory.position = millis(until), None
        else:
            memory.rechecked = 0
            if self.comparing.is_in_doubt(counted=False):
                memory.position = self.began
        self._forget()
        known = self.first if memory.until is None else moment(memory.until)
        unchanged = not self.taking.taken and not self.whole and not memory.spoilt
        coverage = self._coverage(known, until, stated)
        return Swept(memory.cursor(), (coverage,), unchanged=unchanged, whole=self.whole and not doubt)

    def _start(self) -> datetime:
        """A minute before the end of what was seen, and no later than the newest issue: each answer must show it."""
        memory = self.memory
        self.began = memory.position
        if memory.position is not None:
            return max(moment(memory.position), self.first)
        if memory.until is None:
            return self.first
        start = moment(memory.until) - _MINUTE
        return max(start if memory.newest is None else min(start, moment(memory.newest[1])), self.first)

    def _read(self, one: Range) -> Iterator[Item | Rejected]:
        """Read on until the range is large enough to be compared, or there is no more."""
        one.start = one.end = self.query.slot(one.start).start
        while len(one.seen) < RANGE:
            page = self.search.page(self.query.since(one.end))
            yield from self._take(page, one)
            at = None if page.ended else self._last(page, one.end)
            if at is None:
                one.ended, one.done = page.ended, True
                return
            start = self.query.slot(at).start
            if start <= one.end:
                slot = self.query.slot(one.end)
                for further in self.search.whole(self.query.since(slot.start, slot.end), brief=False):
                    yield from self._take(further, one)
                start = slot.end
            one.end = start

    def _take(self, page: Page, one: Range) -> Iterator[Item | Rejected]:
        before = len(one.seen)
        yield from self.taking.page(page.records, one.seen)
        self.trace.page(len(one.seen) - before)
        one.pages += 1

    def _last(self, page: Page, start: datetime) -> datetime | None:
        """When the last issue of the page was updated; None if all that the sweep is about was read.

        An issue that is updated while it is read stands in the place of its old time, and shows its new one: times from
        after the beginning of the sweep, by Jira's clock, are no place in the order.
        """
        if not page.records:
            raise unfit(page.answer, "no issues, and no word that this is the end")
        if start > self.now + timedelta(seconds=self._skew()):
            return None
        times = sorted(_times_of(page))
        horizon = self._horizon()
        settled = [at for at in times if at < horizon] if start < horizon else times
        return settled[-1] if settled else start

    def _is_no_news(self, one: Range) -> bool:
        """Whether one page showed exactly what was known."""
        if self.memory.until is None or self.memory.position is not None or self.taking.taken or self._is_due():
            return False
        return one.ended and one.pages == 1 and not self.memory.spoilt and one.seen == self.memory.since(one.start)

    def _compare(self, one: Range) -> Iterator[Item | Rejected]:
        start, counted, whole = one.start, self.memory.until is None, False
        if one.ended and (self._is_due() or self._lacks_newest(one)):
            counted = whole = True
            begin = self.memory.listed_from(self.now, self._remembered())
            start = min(start, self.query.slot(max(begin, self.first)).start)
        yield from self.comparing.range(self.query, one, start, counted=counted)
        if whole and self.comparing.again is None:
            self.memory.rechecked = millis(self.now)

    def _is_due(self) -> bool:
        """Whether all that is known is to be compared: once a day."""
        return self.section.recheck_days > 0 and millis(self.now) - self.memory.rechecked >= _DAY

    def _lacks_newest(self, one: Range) -> bool:
        """Whether the newest issue was not shown: one is soon deleted, but so it is if most are out of sight."""
        newest = self.memory.newest
        shown = newest is None or newest[0] in one.seen or newest[1] < millis(one.start)
        return self.section.recheck_days > 0 and not shown

    def _must_turn_back(self) -> datetime | None:
        """From where all is to be read again, if so much of it was missed."""
        again, self.comparing.again = self.comparing.again, None
        return None if again is None else max(again, self.first)

    def _forget(self) -> None:
        """In doubt nothing that was known before it: it has to be found again, or to have gone."""
        until = self.now if self.memory.until is None else min(moment(self.memory.until), self.now)
        self.memory.forget(until - self._remembered())

    def _remembered(self) -> timedelta:
        return timedelta(days=max(self.section.recheck_days, 1))

    def _look_at_zone(self) -> None:
        """Once a day Jira is asked in which zone it reads times. If it was another one, what came since is doubtful."""
        memory = self.memory
        if memory.zone_asked is None or millis(self.now) - memory.zone_asked >= _DAY:
            self._ask_zone()
        self.query = Query(self.project.project, self.narrowed, ZoneInfo(memory.zone))

    def _ask_zone(self) -> bool:
        """Whether it is another one than was thought."""
        memory = self.memory
        zone = told_zone(self.http.get(api(self.section, "myself"), trace=self.trace)) or self.section.timezone
        changed = bool(memory.zone) and zone != memory.zone
        if changed:
            memory.until, memory.position = memory.zone_from, None
        memory.zone, memory.zone_asked, memory.zone_from = zone, millis(self.now), memory.until
        return changed

    def _sees_other_times(self, one: Range) -> bool:
        """Whether the newest issue was not shown because Jira now reads times in another zone."""
        newest = self.memory.newest
        hidden = bool(self.trace.missing_ids) and newest is not None and newest[0] not in one.seen
        if not hidden or self.memory.zone_asked == millis(self.now) or not self._ask_zone():
            return False
        self.trace.missing_ids = ()
        self.query = Query(self.project.project, self.narrowed, ZoneInfo(self.memory.zone))
        return True

    def _look_at_canary(self) -> None:
        canary = self.section.canary
        keys = {one.project for one in self.section.projects}
        home = (canary or "").rpartition("-")[0]
        if not canary or (home in keys and home != self.project.project):
            return
        self.trace.canary = canary
        found = there(self.http, issue_path(self.section, canary), {"fields": "updated"}, self.trace)
        self.trace.canary_seen = found is not None

    def _is_really_empty(self) -> None:
        """That nothing is to be seen must be confirmed in another way. Raises HttpError if it is not.

        Once there was a whole sweep it may be that all are older than what is remembered: the project must be there.
        """
        answer = self.http.get(api(self.section, f"project/{self.project.project}"), trace=self.trace)
        jql = self.query.since(self.query.slot(self.first).start)
        if self.whole and (found := count(self.section, self.http, jql, self.trace)):
            raise unfit(answer, f"the project, of which it counts {found} issues and shows none")

    def _skew(self) -> float:
        return self.trace.clock_skew_seconds or 0.0

    def _horizon(self) -> datetime:
        """Before this, by Jira's clock, nothing can have changed since the sweep began, and the index has it all."""
        return self.now + timedelta(seconds=self._skew()) - SETTLED[self.section.edition]

    def _seen_until(self, stated: datetime) -> datetime:
        return max(min(self._horizon(), self.now - SETTLED[self.section.edition]), stated)

    def _coverage(self, until: datetime, end: datetime, stated: datetime | None = None) -> Coverage:
        """until: until when all was seen; [stated, end) is what the sweep was about."""
        evidence: dict[str, Any] = {"listed": self.comparing.listed, "zone": self.memory.zone}
        if self.resumed:
            evidence["resumed"] = True
        extraction = unsized(self.trace.extraction(until if stated is None else stated, end))
        return Coverage(
            KIND, self.project.origin, (STREAM,), until, self.first, self.absence.problem, evidence, (extraction,)
        )


def told_zone(answer: Answer) -> str | None:
    """The zone of the user, as Jira tells it; None if it tells none, or one that nobody knows."""
    told = record(answer).get("timeZone")
    try:
        return ZoneInfo(told).key if isinstance(told, str) else None
    except (KeyError, ValueError, OSError):  # not found is a KeyError
        return None


def _times_of(page: Page) -> Iterator[datetime]:
    for one in page.records:
        with suppress(ShapeError):
            yield payloads.updated_on(one)
