"""One sweep of one repository: its streams one after the other, each of which fails by itself."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final

from config.sources import GitHub, GitHubRepository
from quality.extractions import Extraction, barrier, breakage, ended, loss
from tasks.sources.contract import Coverage, Cursor, Item, Part, Progress, Rejected, SourceError, Swept
from tasks.sources.git_payloads import pseudonym
from tasks.sources.github import again, commits, deployments, issues, payloads, pulls, releases, runs, tags
from tasks.sources.github.access import scopes
from tasks.sources.github.again import unread
from tasks.sources.github.visit import KIND, Mark, Repository, State, Visit
from tasks.sources.http import Answer, Http, HttpError, Reason, Trace

READERS: Final = {
    "pull_requests": pulls.read,
    "commits": commits.read,
    "deployments": deployments.read,
    "workflow_runs": runs.read,
    "releases": releases.read,
    "tags": tags.read,
    "issues": issues.read,
}
REVERTS: Final = "reverts"
_REVERTING: Final = ("commits", "pull_requests")
"""Streams that the reverts are read from."""
_HOPELESS: Final = (Reason.UNREACHABLE, Reason.REDIRECTED, Reason.TIMEOUT)
"""Of the first request of all: nothing else will be answered either."""
_UNAUTHORISED, _FORBIDDEN = 401, 403


def streams(section: GitHub) -> tuple[str, ...]:
    """Those that are fetched, with what is read from them."""
    named = tuple(section.streams)
    return (*named, REVERTS) if set(_REVERTING) & set(named) else named


@dataclass(slots=True)
class _Outcome:
    """How one stream went."""

    visit: Visit
    start: datetime
    before: datetime
    """And where something is read again that was refused: since when it says what all else is worth, if it fails."""
    items: int = 0
    rejected: int = 0
    sound: bool = False
    """It was read to its end without doubt."""


@dataclass(slots=True)
class Sweep:
    """One sweep of one repository; made anew for each."""

    http: Http
    section: GitHub
    place: GitHubRepository
    key: bytes | None
    cursor: Cursor | None
    now: datetime
    size: int = 100
    states: dict[str, State] = field(init=False)
    starts: dict[str, int] = field(init=False)
    """Of streams that a sweep which broke off had read on: since when no sweep that ended has told of them."""
    reader: str = field(init=False)
    since: datetime = field(init=False)
    fits: bool = field(init=False)
    repository: Repository | None = None
    canary_etag: str | None = None
    canary_seen: bool = False
    granted: tuple[str, ...] | None = None
    answered: bool = False
    skew: float = 0.0

    def __post_init__(self) -> None:
        """Take what is still good of the cursor."""
        old = self.cursor
        self.now = self.now.astimezone(UTC)
        self.since = datetime.combine(self.section.since, time(), UTC)
        self.reader = f"{payloads.VERSION}:{'' if self.key is None else pseudonym(b'which key', self.key)}"
        self.fits = old is not None and old["reader"] == self.reader and old["since"] <= str(self.section.since)
        kept = old["streams"] if old is not None else {}
        self.states = {stream: dict(one) if self.fits else unread(stream, one) for stream, one in kept.items()}
        self.starts = dict(old.get("starts", {})) if self.fits and old is not None else {}
        self.canary_etag = old.get("canary") if old is not None else None

    def parts(self) -> Iterator[Part]:
        """Items, and then what was covered."""
        if self.cursor is None:
            self.identify()
        self._look_for_canary()
        outcomes: dict[str, _Outcome] = {}
        met = bool(self.cursor and self.cursor.get("refused"))
        interrupted = bool(self.starts)
        told = dict(self.starts)
        for stream in self.section.streams:
            outcome = outcomes[stream] = self._begin(stream)
            told[stream] = int(outcome.before.timestamp())
            for part in self._stream(stream, outcome):
                refused = met or any(one.rejected for one in outcomes.values())
                yield Progress(self._cursor(refused=refused, starts=told)) if isinstance(part, Mark) else part
        refused = any(one.rejected for one in outcomes.values())
        refused = refused or any("refused" in one for one in self.states.values())
        sound = not refused and not any(self._doubt(one.visit) for one in outcomes.values())
        # where records were set aside all that was looked at then was looked at again now
        whole = sound and (met or not self.fits)
        silent = all(one.visit.unchanged and not one.items for one in outcomes.values())
        untold = {stream: told[stream] for stream, one in outcomes.items() if not one.sound}
        yield Swept(
            self._cursor(refused=refused or (met and not sound), starts=untold),
            tuple(self._coverages(outcomes, whole=whole)),
            unchanged=silent and self.fits and not refused and not interrupted,
            whole=whole,
        )

    def visit(self, stream: str) -> Visit:
        """What the reader of a stream works with."""
        return Visit(
            self.http, Trace(stream), stream, self.place.origin, self.place.repository, self.since, self.now,
            timedelta(days=self.section.recheck_days), self.key, self.identify, self._name, self._heard,
            lambda: self.skew, self.size,
        )  # fmt: skip

    def identify(self) -> Repository:
        """What the repository says of itself. Raises SourceError if another one took its place."""
        if self.repository is None:
            trace = Trace("")
            answer = self.http.get(f"repos/{self.place.repository}", trace=trace)
            self._heard(answer)
            self.skew = min(self.skew, trace.clock_skew_seconds or 0.0)
            self.repository = _described(answer)
            before = self.cursor["repository"]["id"] if self.cursor is not None else self.repository.id
            if before != self.repository.id:
                raise SourceError(
                    f"{self.place.origin}: another repository (id {self.repository.id}) is at {self.place.repository} "
                    f"than before (id {before}): name the old one as it is called now, or give the new one an origin"
                )
        return self.repository

    def _name(self) -> str:
        return self.repository.full_name if self.repository else self.place.repository

    def _stream(self, stream: str, outcome: _Outcome) -> Iterator[Item | Rejected | Mark]:
        """What a stream yields; its state is kept as far as all before it was read without doubt."""
        visit = outcome.visit
        state = dict(self.states.get(stream, {}))
        carried: State = {name: state.pop(name) for name in again.KEPT if name in state}
        reading = READERS[stream](visit, dict(state))
        try:
            while True:
                try:
                    part = next(reading)
                except StopIteration as stop:
                    if not self._doubt(visit):
                        outcome.sound = True
                        carried = {name: one for name, one in carried.items() if name == "refused"}
                        self.states[stream] = {**stop.value, **again.noted(visit, state, carried)}
                    return
                if isinstance(part, Mark):
                    if not self._doubt(visit, ending=False):
                        self.states[stream] = {**part.state, **again.noted(visit, state, carried)}
                        yield part
                    continue
                outcome.items += isinstance(part, Item)
                outcome.rejected += isinstance(part, Rejected)
                yield part
        except HttpError as error:
            if not self.answered and (error.reason in _HOPELESS or error.status == _UNAUTHORISED):
                raise
            visit.trace.fail(error)
        finally:
            reading.close()
            self.skew = min(self.skew, visit.trace.clock_skew_seconds or 0.0)

    def _heard(self, answer: Answer) -> None:
        self.answered = True
        self.granted = scopes(answer)

    def _look_for_canary(self) -> None:
        if self.section.canary is None:
            return
        path = f"repos/{self.place.repository}/issues/{self.section.canary}"
        try:
            answer = self.http.get(path, trace=Trace(""), etag=self.canary_etag)
        except HttpError as error:
            if error.reason is not Reason.GONE and error.status != _FORBIDDEN:
                raise
        else:
            self._heard(answer)
            self.canary_seen, self.canary_etag = True, answer.etag or self.canary_etag

    def _begin(self, stream: str) -> _Outcome:
        """What a stream is read with; what was refused is read again, if it is time for that."""
        visit = self.visit(stream)
        state = again.rewound(visit, self.states[stream]) if stream in self.states else {}
        if state:
            self.states[stream] = state
        start = self._start(state.get("until"))
        before = self._start(visit.ahead) if visit.ahead is not None else start
        if stream in self.starts:
            known = datetime.fromtimestamp(self.starts[stream], UTC)
            start, before = min(start, known), min(before, known)
        return _Outcome(visit, start, before)

    def _start(self, until: float | None) -> datetime:
        """Since when this sweep and those before it have seen all; by whole days, for so windows are judged."""
        if until is None:
            return self.since
        return max(self.since, datetime.combine(datetime.fromtimestamp(until, UTC).date(), time(), UTC))

    def _extractions(self, visit: Visit, start: datetime | None, end: datetime | None) -> list[Extraction]:
        private = self.repository.private if self.repository else (self.cursor or {}).get("repository", {})["private"]
        return [
            replace(
                trace.extraction(start, end), canary=self.section.canary, canary_seen=self.canary_seen,
                scopes_granted=self.granted, scopes_needed=("repo",) if private else (),
            )
            for trace in (*visit.earlier, visit.trace)
        ]  # fmt: skip

    def _doubt(self, visit: Visit, *, ending: bool = True) -> bool:
        """Whether something may have been missed so far; at the end also whether the end was seen."""
        found = self._extractions(visit, None, None)
        if not ending:  # another page follows the last one
            found = [replace(one, page_sizes=(*one.page_sizes, 0)) if one.page_sizes else one for one in found]
        return any(breakage(one) or barrier(one) or loss(one) for one in found) or (
            ending and not all(ended(one) for one in found)
        )

    def _coverages(self, outcomes: Mapping[str, _Outcome], *, whole: bool) -> Iterator[Coverage]:
        """What each stream has seen; if `whole`, with the sweeps before since the beginning, which all were sound."""
        end = datetime.fromtimestamp(min(one.visit.until for one in outcomes.values()), UTC)
        named = self.repository.full_name if self.repository else (self.cursor or {})["repository"]["full_name"]
        evidence = {"repository": named}
        reverts: list[Extraction] = []
        problems: list[str] = []
        for stream, outcome in outcomes.items():
            start = self.since if whole else outcome.start if outcome.sound else outcome.before
            found = self._extractions(outcome.visit, start, max(end, start))
            problem = outcome.visit.problem
            yield Coverage(
                KIND, self.place.origin, (stream,), end, self.since, problem, evidence, extractions=tuple(found)
            )
            if stream in _REVERTING:
                reverts += [replace(one, stream=REVERTS) for one in found]
                problems += [problem] if problem else []
        if reverts:
            yield Coverage(
                KIND, self.place.origin, (REVERTS,), end, self.since, "; ".join(problems) or None, evidence,
                extractions=tuple(reverts),
            )  # fmt: skip

    def _cursor(self, *, refused: bool, starts: Mapping[str, int]) -> dict[str, Any]:
        """starts: of streams whose `until` may have moved since a sweep that ended has told of them."""
        repository = asdict(self.repository) if self.repository else dict((self.cursor or {})["repository"])
        return {
            "repository": repository, "reader": self.reader, "since": str(self.section.since),
            "canary": self.canary_etag, "refused": refused, "streams": dict(self.states),
            "starts": dict(starts),
        }  # fmt: skip


def _described(answer: Answer) -> Repository:
    content = answer.content
    try:
        return Repository(
            int(content["id"]), str(content["full_name"]), bool(content.get("private")),
            bool(content.get("has_issues", True)),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError):
        raise SourceError(f"{answer.place}: answered with what is no repository: check base_url") from None
