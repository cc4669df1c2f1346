"""The list of a job's builds in brief, newest first, read as far back as it is needed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

from tasks.sources.http import Answer, Http, Trace
from tasks.sources.jenkins.api import job_path, job_tree, number, number_in, unfit
from tasks.sources.jenkins.payloads import About, ended_ms, is_time
from tasks.sources.jenkins.state import RUNNING, State, seal_of

SLICE: Final = 1000
"""Builds in brief that are asked for at once; Jenkins reads each of them from its disk."""
_ROOM: Final = 20
"""Further ones, for builds that began since, or are compared with those that are gone."""
_OVERLAP: Final = 10
"""A list that gets shorter while it is read moves what comes next into what was read."""
_BELOW: Final = 5
"""Builds that are known to be older than what is compared: what is gone is judged by what is below it."""
_OLD_ENOUGH: Final = 100
"""So many in a row that are too old end the list: their order by time may not be quite that of their numbers."""
_LONGEST_BUILD_MS: Final = 7 * 86_400_000
"""Where history begins, builds that ran longer than a week are not looked for."""


class Brief(NamedTuple):
    """One build, in brief."""

    number: int
    seal: int
    """See `state.seal_of`."""
    timestamp: int | None
    """When it began: milliseconds, as is `ended`; None if Jenkins does not tell."""
    ended: int | None
    """None too while it is running."""
    keep: bool
    """Somebody, or something, keeps it from being discarded."""


@dataclass(slots=True)
class Listing:
    """What Jenkins told of a job."""

    about: About
    next: int
    """The number that the next build will have."""
    first: int | None
    """The oldest build that is kept; None if none is."""
    pinned: frozenset[int] = frozenset()
    """Builds that are not discarded, however old: the last that was successful, or stable."""
    success_ms: int | None = None
    """When the last successful build ended."""
    builds: dict[int, Brief] = field(default_factory=dict)
    to_end: bool = False
    """Nothing is older than what was listed."""

    def lowest(self) -> int:
        """The lowest number listed; `next` if there is none."""
        return min(self.builds, default=self.next)


def read(http: Http, origin: str, state: State, since: datetime, trace: Trace) -> Listing:
    """All builds that may be news, and those to be compared with what is known. Raises HttpError."""
    path = f"{job_path(origin)}api/json"
    first_time = state.seen == 1 and not state.known
    size = SLICE if first_time else min(SLICE, len(state.known) + _ROOM)
    answer = http.get(path, job_tree(0, size), trace=trace)
    listing = _job(answer, origin)
    start = 0
    since_ms = int(since.timestamp() * 1000)
    while True:
        records = answer.records("allBuilds")
        briefs = [brief for record in records if (brief := _brief(record)) is not None]
        news = [one for one in briefs if one.number not in listing.builds]
        listing.builds |= {one.number: one for one in news}
        short = len(records) < size
        if short and (listing.first is None or listing.lowest() <= listing.first or not news):
            listing.to_end = True
            return listing
        if _is_enough(listing, news, state, None if not first_time else since_ms):
            return listing
        start = max(start + len(records) - _OVERLAP, start + 1)
        size = SLICE
        answer = http.get(path, job_tree(start, start + size), trace=trace)


def newest(http: Http, origin: str, most: int, trace: Trace) -> Listing:
    """The newest builds, whatever is known of the job. Raises HttpError."""
    answer = http.get(f"{job_path(origin)}api/json", job_tree(0, most), trace=trace)
    listing = _job(answer, origin)
    briefs = map(_brief, answer.records("allBuilds")[:most])
    listing.builds = {one.number: one for one in briefs if one is not None}
    return listing


def _is_enough(listing: Listing, news: list[Brief], state: State, since_ms: int | None) -> bool:
    if not news:
        return True
    if since_ms is not None:
        return all(_is_before(one, since_ms) for one in sorted(news)[:_OLD_ENOUGH])
    target = min(state.cut, state.seen, *state.pending) if state.pending else min(state.cut, state.seen)
    below = sum(number < target for number in listing.builds)
    return listing.lowest() <= target and below >= min(_BELOW, target - 1)


def _is_before(one: Brief, since_ms: int) -> bool:
    if one.timestamp is None or one.ended is None:
        return False
    return one.ended < since_ms and one.timestamp < since_ms - _LONGEST_BUILD_MS


def about(answer: Answer, origin: str) -> About:
    """The job that `answer` is about."""
    content = answer.content
    if not isinstance(content, Mapping):
        raise unfit(answer, "a list in place of a job", "check the address")
    if number(content.get("nextBuildNumber")) is None:
        advice = f'if it is a folder or a multibranch project, write "{origin}/*" for the jobs in it'
        raise unfit(answer, "what is no job: it numbers no builds", advice)
    name = content.get("name")
    full_name = content.get("fullName")
    return About(
        origin,
        full_name if isinstance(full_name, str) else origin,
        name if isinstance(name, str) else origin.rpartition("/")[2],
        str(content.get("_class") or ""),
    )


def _job(answer: Answer, origin: str) -> Listing:
    job = about(answer, origin)
    content = answer.content
    success = content.get("lastSuccessfulBuild")
    pinned = (number_in(content, "lastSuccessfulBuild"), number_in(content, "lastStableBuild"))
    return Listing(
        job, content["nextBuildNumber"], number_in(content, "firstBuild"),
        frozenset(one for one in pinned if one is not None), _ended(success) if isinstance(success, Mapping) else None,
    )  # fmt: skip


def _brief(record: Any) -> Brief | None:
    """None for what is no build: its number is then missed, and asked for."""
    if not isinstance(record, Mapping) or (named := number(record.get("number"))) is None:
        return None
    timestamp = record.get("timestamp")
    seal = seal_of(record)
    return Brief(
        named, seal, timestamp if is_time(timestamp) else None, None if seal == RUNNING else _ended(record),
        record.get("keepLog") is True,
    )  # fmt: skip


def _ended(build: Mapping[str, Any]) -> int | None:
    began, took = build.get("timestamp"), build.get("duration", 0)
    return ended_ms(began, took) if is_time(began) and is_time(took) else None
