"""Jenkins as a source: the builds of jobs, job by job, each an origin of its own under its full name.

A unit is one entry of `jobs`. A pattern is looked up at each sweep, so its jobs are not known before the first one. A
refresh costs one request per job (and thousand builds within `recheck_days`), which tells all: new builds, changed
ones, deleted ones. Jenkins has no ETag.

A job that vanished is unproven from then on: 404 is also what Jenkins answers where a token may not look. But a branch
that a multibranch project, which itself is seen, no longer has is gone. A job that was renamed or moved within a
pattern is told by its builds: they get tombstones under the old name, and are items under the new one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from math import ceil
from typing import Any, Final, NamedTuple

from config.sources import Jenkins
from quality.receipts import SKEW_SECONDS
from tasks.sources.contract import Coverage, Cursor, Feed, Item, Part, Progress, SourceError, Swept
from tasks.sources.git_payloads import pseudonym
from tasks.sources.http import Http, HttpError, Trace
from tasks.sources.jenkins import payloads
from tasks.sources.jenkins.api import connect
from tasks.sources.jenkins.builds import JobSweep, Terms, begin
from tasks.sources.jenkins.details import Details
from tasks.sources.jenkins.jobs import Tree, find, is_pattern
from tasks.sources.jenkins.listing import Listing, newest, read
from tasks.sources.jenkins.losses import extractions
from tasks.sources.jenkins.state import MOVED, REMOVED, Lost, State, documents, seconds, state_of, with_lost

_PAYLOADS: Final = 1  # raise it when payloads change: everything is then handed over again, as observed
_STEP: Final = 500
"""Items of small jobs between two notes of how far the sweep is."""


class JenkinsSource:
    """The jobs of one Jenkins."""

    def __init__(
        self, section: Jenkins, pseudonym_key: bytes | None, *, opened: Callable[[Jenkins], Http] = connect
    ) -> None:
        """Without `pseudonym_key`, people appear by their names."""
        self.name = section.name
        self._section, self._key, self._opened = section, pseudonym_key, opened

    def units(self) -> Sequence[str]:
        """Names of jobs, and patterns."""
        return self._section.jobs

    def feeds(self, unit: str) -> Sequence[Feed]:
        """The builds of the job; of a pattern nothing is known without asking."""
        return [] if is_pattern(unit) else [(payloads.KIND, unit, (payloads.STREAM,))]

    def sweep(self, unit: str, cursor: Cursor | None, now: datetime) -> Iterator[Part]:
        """Yield what is new, changed or deleted since `cursor`, then `Swept`."""
        if unit not in self._section.jobs:
            raise SourceError(f"{unit}: no such job in {self.name}")
        now = now.astimezone(UTC)
        terms = Terms(
            since=datetime.combine(self._section.since, time(), UTC), now=now,
            end=now - timedelta(seconds=SKEW_SECONDS), horizon=now - timedelta(days=self._section.recheck_days),
            stages=self._section.stages, key=self._key,
        )  # fmt: skip
        with self._opened(self._section) as http:
            yield from _Sweep(http, unit, terms, cursor).parts()

    def sample(self, origin: str, stream: str, limit: int) -> Iterator[Item]:
        """The newest builds of a job, or some of each job of a pattern; nothing is remembered. Raises SourceError."""
        trace = Trace(stream)
        with self._opened(self._section) as http:
            names = find(http, origin, trace).jobs[:limit] if is_pattern(origin) else (origin,)
            for name in names:
                listing = newest(http, name, max(limit // len(names), 1), trace)
                details = Details(http, listing, trace, stages=self._section.stages)
                for piece in details.in_slices(sorted(listing.builds)):
                    for found in piece:
                        if found.is_readable:
                            yield payloads.item(listing.about, found.build, found.stages, self._key)


class _Begun(NamedTuple):
    """A job whose list was read, or could not be."""

    name: str
    trace: Trace
    read: tuple[State, Listing] | HttpError


class _Sweep:
    """One sweep of one unit."""

    def __init__(self, http: Http, unit: str, terms: Terms, cursor: Cursor | None) -> None:
        self._http, self._unit, self._terms, self._cursor = http, unit, terms, cursor
        self._reader = _reader(terms)
        self._states = _remembered(cursor, terms, self._reader)
        self._coverages: list[Coverage] = []
        self._was_settled = cursor is None or cursor.get("settled", True)
        self._news = self._failed = self._doubtful = False
        self._done: set[str] = set()
        """Jobs of which all was handed over by now."""

    def parts(self) -> Iterator[Part]:
        tree = self._tree()
        vanished = [name for name in self._states if name not in tree.jobs]
        if not tree.jobs and not vanished:
            raise SourceError(
                f"{self._unit}: no job fits, or none that the token may see: check the pattern, and the token"
            )
        moved = [name for name in vanished if self._states[name].gone == MOVED]
        yield from self._jobs(tree.jobs, [name for name in vanished if name not in moved])
        moving = [name for name in vanished if name not in moved and self._states[name].name_now]
        left = [name for name in moving if self._states[name].name_now in self._done]
        removed = [
            name for name in vanished if name not in {*moved, *moving} and name.rpartition("/")[0] in tree.computed
        ]
        yield from self._jobs([name for name in vanished if name not in {*moved, *left, *removed}], ())
        for name in left:
            yield from self._leave(name)
        for name in (*moved, *removed):
            self._end(name)
        self._coverages.sort(key=lambda one: one.origin)
        first = self._cursor is None
        settled = not (self._failed or self._doubtful)
        unchanged = settled and self._was_settled and not (first or self._news)
        yield Swept(
            self._noted(settled=settled), tuple(self._coverages), unchanged=unchanged, whole=first and not self._failed
        )

    def _tree(self) -> Tree:
        if is_pattern(self._unit):
            return find(self._http, self._unit, Trace(payloads.STREAM))
        return Tree((self._unit,), frozenset())

    def _jobs(self, names: Sequence[str], vanished: Sequence[str]) -> Iterator[Part]:
        items = 0
        for begun in self._http.each(self._begin, names):
            for part in self._job(begun, vanished):
                items = 0 if isinstance(part, Progress) else items + 1
                yield part
            if items >= _STEP:
                items = 0
                yield Progress(self._noted())

    def _begin(self, name: str) -> _Begun:
        trace = Trace(payloads.STREAM)
        try:
            return _Begun(name, trace, begin(self._http, name, self._before(name), self._terms, trace))
        except HttpError as error:
            return _Begun(name, trace, error)

    def _job(self, begun: _Begun, vanished: Sequence[str]) -> Iterator[Part]:
        before = self._before(begun.name)
        if isinstance(begun.read, HttpError):
            self._fail(begun, before, begun.read)
            return
        state, listing = begun.read
        # only one that is new here: others may have begun a build in the same moment
        is_new = bool(before.gone) or (before.until is None and before.handed == 1)
        for name in vanished if is_new else ():
            if _is_same(self._states[name], listing):
                self._states[name] = replace(self._states[name], name_now=begun.name)
        sweep = JobSweep(self._http, listing, state, self._terms, begun.trace)
        try:
            for part in sweep.parts():
                if isinstance(part, State):
                    self._states[begun.name] = part
                    yield Progress(self._noted())
                else:
                    yield part
        except HttpError as error:
            self._states[begun.name] = sweep.state
            self._fail(begun, before, error)
            return
        self._states[begun.name] = sweep.state
        self._done.add(begun.name)
        self._doubtful |= sweep.doubtful
        self._news |= sweep.news or sweep.state.lost != before.lost or before.until is None
        evidence = {"next_build_number": listing.next, "oldest_kept": listing.first}
        self._cover(begun.name, begun.trace, before, evidence)

    def _fail(self, begun: _Begun, before: State, error: HttpError) -> None:
        self._failed = True
        begun.trace.fail(error)
        self._states.setdefault(begun.name, before)
        self._cover(begun.name, begun.trace, before, None)

    def _leave(self, name: str) -> Iterator[Part]:
        """A job of which all is told under another name now: all that it was is taken back."""
        state, trace = self._states[name], Trace(payloads.STREAM)
        try:
            listing = read(self._http, state.name_now, State(state.name_now), self._terms.since, trace)
        except HttpError as error:
            self._fail(_Begun(name, trace, error), state, error)
            return
        job = payloads.About(name, name, name.rpartition("/")[2], listing.about.kind)
        for number in sorted(listing.builds):
            if number < max(state.seen, state.handed):
                yield payloads.tombstone(job, number, self._terms.now)
        self._news = True
        # should it get its old name back, all of it is handed over once more, as of then
        self._states[name] = State(name, until=state.until, lost=state.lost, again=True, gone=MOVED)
        self._end(name)

    def _end(self, name: str) -> None:
        """A job that is gone, and has no more builds. What it built since the last sweep nobody has seen."""
        state = self._states[name]
        end = seconds(self._terms.end)
        if not state.gone:
            self._news = True
            start = seconds(self._terms.since) if state.until is None else state.until
            latest = max(ceil(self._terms.now.timestamp()), start + 1)
            unseen = Lost(start, latest, state.seen, state.seen, 0)
            state = replace(state, known={}, pending={}, gone=REMOVED, lost=with_lost(state.lost, unseen))
        self._states[name] = replace(state, until=end)
        trace = Trace(payloads.STREAM)
        trace.complete = True
        trace.page(0)
        self._cover(name, trace, state, {"gone": True})

    def _cover(self, name: str, trace: Trace, before: State, evidence: Mapping[str, Any] | None) -> None:
        terms = self._terms
        stated = extractions(trace, self._states[name], before, terms.since, terms.end)
        self._coverages.append(
            Coverage(
                payloads.KIND, name, (payloads.STREAM,), terms.end, terms.since, evidence=evidence, extractions=stated
            )
        )

    def _before(self, name: str) -> State:
        return self._states.get(name) or State(name)

    def _noted(self, *, settled: bool = False) -> dict[str, Any]:
        """settled: the sweep is over, and leaves nothing that the next one might make good."""
        jobs = documents(self._states[name] for name in sorted(self._states))
        return {"reader": self._reader, "since": seconds(self._terms.since), "jobs": jobs, "settled": settled}


def _reader(terms: Terms) -> str:
    """How payloads are made."""
    key = "" if terms.key is None else pseudonym(b"which key", terms.key)
    return f"{_PAYLOADS}:{int(terms.stages)}:{key}"


def _remembered(cursor: Cursor | None, terms: Terms, reader: str) -> dict[str, State]:
    """The states of the jobs by name; new ones where history now begins earlier, or payloads are made otherwise."""
    if cursor is None:
        return {}
    states = {state.name: state for state in map(state_of, cursor["jobs"])}
    if (since := seconds(terms.since)) < cursor["since"]:
        states = {name: _from_earlier(state, since, cursor["since"]) for name, state in states.items()}
    if cursor["reader"] != reader:
        states = {name: replace(_anew(state), again=True) for name, state in states.items()}
    return states


def _anew(state: State) -> State:
    """Of a job of which all is to be handed over once more."""
    return replace(state, seen=1, cut=1, known={}, pending={}, handed=max(state.handed, state.seen))


def _from_earlier(state: State, since: int, before: int) -> State:
    """Where history now begins earlier. Of a job that is gone nobody can tell what it had built by then."""
    if not state.gone:
        return replace(_anew(state), until=None, lost=())
    return replace(_anew(state), lost=with_lost(state.lost, Lost(since, before, 1, 1, 0)))


def _is_same(state: State, listing: Listing) -> bool:
    """Whether the builds listed are those of the job that the state tells of."""
    if state.anchor is None or (there := listing.builds.get(state.anchor[0])) is None:
        return False
    return there.timestamp == state.anchor[1]
