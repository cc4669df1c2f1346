"""The builds of one job: what is new since the last sweep, what has changed, what is gone, and what that proves.

Jenkins numbers the builds of a job without a gap. So a sweep has seen all when each number from where the last one
ended up to `nextBuildNumber` was handed over or answered 404; and every build that was finished before that number was
asked for has a lower one. Builds that Jenkins discarded before anybody saw how they ended are `Lost`: the time in which
they may have been finished (see `losses`) stays unproven, and names them. Builds that were seen as they ended, and are
discarded later, keep their items.
The id of a build is its number: where a job was made anew under its old name, a newer build of the same number is a
newer version of the item.
"""

from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, TypeAlias

from tasks.sources.contract import Item, Rejected
from tasks.sources.http import Http, HttpError, Reason, Trace
from tasks.sources.jenkins import payloads
from tasks.sources.jenkins.details import Details, Found
from tasks.sources.jenkins.fates import Fate, fate, gaps, is_young, probes
from tasks.sources.jenkins.listing import Brief, Listing, read
from tasks.sources.jenkins.losses import unseen
from tasks.sources.jenkins.state import RUNNING, State, seal_of, seconds, with_lost

Part: TypeAlias = Item | Rejected | State
"""A state says: should the sweep break off, go on from here."""

_PIECES: Final = 5
"""Slices between two states."""
_GRACE_SECONDS: Final = 600
"""So long a number may have been given to a build that is not there yet."""
_TOPMOST: Final = 20
"""Builds that may be just beginning."""
_FAR_MS: Final = 10**15
"""The year 33658: a build that says that it began later is not remembered by its time."""
_HIDDEN_MOST: Final = 50
"""A list that leaves out more builds that are there is not to be trusted at all."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a sweep looks at."""

    since: datetime
    now: datetime
    end: datetime
    """Until when all is seen: before `now` by as much as clocks may differ."""
    horizon: datetime
    """Builds that began later are compared with what is known of them."""
    stages: bool
    key: bytes | None


def begin(http: Http, origin: str, state: State, terms: Terms, trace: Trace) -> tuple[State, Listing]:
    """Read the list; with a new state, where the job is another one than `state` tells of. Raises HttpError."""
    listing = read(http, origin, state, terms.since, trace)
    number, timestamp = state.anchor or (0, None)
    there = listing.builds.get(number)
    if there is not None and there.timestamp == timestamp and listing.next < state.seen:
        raise HttpError(
            f"{origin}: the next build is to be {listing.next}, and {state.seen - 1} was there already: "
            "it is answered by an older copy of Jenkins; run again",
            reason=Reason.CONTENT, said="an older state than before",
        )  # fmt: skip
    if listing.next < state.seen or (there is not None and there.timestamp != timestamp):
        state = State(origin, until=state.until, lost=state.lost, again=state.again)
        listing = read(http, origin, state, terms.since, trace)
    return replace(state, gone="", name_now=""), listing


class JobSweep:
    """One sweep of one job. `state` is where it has come to, `news` whether anything was handed over."""

    def __init__(self, http: Http, listing: Listing, state: State, terms: Terms, trace: Trace) -> None:
        self._listing, self._terms, self._trace = listing, terms, trace
        self._details = Details(http, listing, trace, stages=terms.stages)
        self._now_ms = int(terms.now.timestamp() * 1000)
        self._since_ms = int(terms.since.timestamp() * 1000)
        self._known, self._pending = dict(state.known), dict(state.pending)
        self._taken: list[int] = []
        self.news = False
        self.doubtful = False
        """Something could not be read, which the next sweep may be able to."""
        self.state = state if state.seen > 1 or state.known else replace(state, seen=self._oldest_new())
        self.state = replace(self.state, cut=max(self.state.cut, self._cut(first_time=state.seen == 1)))

    def parts(self) -> Iterator[Part]:
        """Items and states. Raises HttpError; `state` is then what was reached."""
        try:
            yield from self._parts()
        finally:
            self._trace.page(len(self._taken), ids=self._taken)

    def _parts(self) -> Iterator[Part]:
        yield from self._known_again()
        found = yield from self._holes()
        yield from self._fresh(found)
        listing = self._listing
        self.state = replace(
            self._reached(listing.next),
            until=seconds(self._terms.end),
            anchor=self._anchor(listing.builds),
            again=False,
        )
        self._trace.complete = True

    def _anchor(self, numbers: Iterable[int]) -> tuple[int, int] | None:
        """The newest of the builds by which the job is known again; the one so far where none of them can be it."""
        builds = self._listing.builds
        finished = ((one, at) for one in numbers if builds[one].ended is not None and (at := builds[one].timestamp))
        fitting = (one for one in finished if abs(one[1]) < _FAR_MS)
        return max(fitting, default=self.state.anchor)

    def _oldest_new(self) -> int:
        """Where a first sweep begins: after the newest of the builds that are too old, with all others above it."""
        builds = self._listing.builds.values()
        wanted = min((one.number for one in builds if self._is_recent(one)), default=self._listing.next)
        return max((one.number for one in builds if one.number < wanted), default=0) + 1

    def _cut(self, *, first_time: bool) -> int:
        horizon = int(self._terms.horizon.timestamp() * 1000)
        recent = [
            one.number for one in self._listing.builds.values() if one.timestamp is None or one.timestamp >= horizon
        ]
        cut = min(recent, default=self._listing.next)
        return max(cut, self.state.seen) if first_time else cut

    def _known_again(self) -> Iterator[Part]:
        """Whether what was handed over before is still there, and as it was."""
        listing, seen = self._listing, self.state.seen
        for number in [one for one in self._known if one < self.state.cut and self._known[one] != RUNNING]:
            del self._known[number]
        changed = [one for one in sorted(self._known) if one in listing.builds and self._is_changed(one)]
        back = [
            number
            for number in sorted(listing.builds)
            if self.state.cut <= number < seen and number not in self._known and number not in self._pending
            and self._is_recent(listing.builds[number])
        ]  # fmt: skip
        away = [one for one in sorted(self._known) if one not in listing.builds]
        for number in [one for one in away if listing.first is not None and one < listing.first]:
            away.remove(number)
            self._lose_running(number)
            del self._known[number]
        hidden = 0
        for found in self._details.singly(sorted({*changed, *back, *away})):
            hidden += found.build is not None and found.number in away and self._known[found.number] != RUNNING
            self._trust(hidden)
            yield from self._judged(found, back=found.number in back)

    def _judged(self, found: Found, *, back: bool) -> Iterator[Part]:
        """What was known, or comes back, as it is now."""
        before = self._known.get(found.number)
        if found.build is not None:
            same = found.is_readable and before is not None and seal_of(found.build) == before
            if not same:
                # where a state has no later time of its own, it was seen now
                yield from self._take(found, observed=back or before not in (None, RUNNING))
            return
        if before is None:
            return
        listed = found.number in self._listing.builds  # and gone a moment later: the next list tells why
        became = Fate.OPEN if listed else fate(found.number, self._listing, self._now_ms)
        if became is not Fate.DELETED:
            self._lose_running(found.number)
        if became is not Fate.OPEN:
            del self._known[found.number]
        if became is Fate.DELETED:
            self.news = True
            yield payloads.tombstone(self._listing.about, found.number, self._terms.now)

    def _holes(self) -> Generator[Part, None, dict[int, Found]]:
        """Numbers that were given and are not listed: what do they lead to? Returns those that led to new builds."""
        listing, seen = self._listing, self.state.seen
        lowest = seen if listing.first is None else max(seen, min(listing.first, listing.next))
        missed = gaps(listing.builds, lowest, listing.next - 1)
        late = sorted(number for number in self._pending if number not in listing.builds and number < seen)
        asked = [number for first, last in missed for number in probes(first, last)]
        found = {one.number: one for one in self._details.singly([*late, *asked]) if one.build is not None}
        fresh = {number: found[number] for number in asked if number in found}
        self._trust(len(fresh))
        if seen < lowest:
            self._lose(seen, lowest - 1)
        for first, last in [*((one, one) for one in late if one not in found), *missed]:
            hits = [number for number in fresh if first <= number <= last]
            if hits and last - first >= len(probes(first, last)):
                self._trust(_HIDDEN_MOST + 1)  # there may be more among those that were not asked for
            for run in gaps(hits, first, last):
                self._settle(*run)
        for number in late:
            if number in found:
                yield from self._take(found[number])
        return fresh

    def _settle(self, first: int, last: int) -> None:
        """What became of the numbers from `first` to `last`, which lead to nothing."""
        now = seconds(self._terms.now)
        waiting = {
            number: noticed
            for number in range(max(first, self._listing.next - _TOPMOST), last + 1)
            if is_young(number, self._listing, self._now_ms)
            and now - (noticed := self._pending.get(number, now)) < _GRACE_SECONDS
        }
        self._pending = {number: at for number, at in self._pending.items() if not first <= number <= last} | waiting
        oldest = min(waiting, default=last + 1)
        if first < oldest and fate(first, self._listing, self._now_ms) is not Fate.DELETED:
            self._lose(first, oldest - 1)

    def _lose(self, first: int, last: int, *, ran: bool = False) -> None:
        """Take note of builds that nobody has seen, and of when they may have been finished."""
        terms = self._terms
        lost = unseen(first, last, self._listing, self.state, since=terms.since, now=terms.now, ran=ran)
        if lost is not None:
            self.state = replace(self.state, lost=with_lost(self.state.lost, lost))

    def _lose_running(self, number: int) -> None:
        """A build that was known as running is not there: nobody saw how it ended. It is noted once."""
        until = self.state.until or 0
        noted = any(one.first == one.last == number and one.end >= until for one in self.state.lost)
        if self._known[number] == RUNNING and not noted:
            self._lose(number, number, ran=True)

    def _fresh(self, found: dict[int, Found]) -> Iterator[Part]:
        """The builds that are new, the oldest first."""
        listed = [n for n, one in self._listing.builds.items() if n >= self.state.seen and self._is_recent(one)]
        late = [n for n in self._pending if n in self._listing.builds and n < self.state.seen]
        for piece in self._details.in_slices(sorted(late)):
            for one in piece:
                yield from self._take_new(one)
        others = sorted(found)
        for count, piece in enumerate(self._details.in_slices(sorted(listed)), 1):
            last = piece[-1].number
            while others and others[0] < last:
                yield from self._take_new(found[others.pop(0)])
            for one in piece:
                yield from self._take_new(one)
            anchor = self._anchor(one.number for one in piece if one.number in self._listing.builds)
            self.state = replace(self._reached(last + 1), anchor=anchor)
            if count % _PIECES == 0:
                yield self.state
        for number in others:
            yield from self._take_new(found[number])

    def _take_new(self, found: Found) -> Iterator[Part]:
        if found.build is not None:
            yield from self._take(found, observed=self.state.again)
        else:
            self._pending.pop(found.number, None)
            self._lose(found.number, found.number)  # it was there a moment ago

    def _take(self, found: Found, *, observed: bool = False) -> Iterator[Part]:
        """Hand a build over, and remember it."""
        self.news = True
        self._taken.append(found.number)
        at = self._terms.now if observed else None
        made = self._made(found, at)
        if isinstance(made, Rejected):
            self._pending[found.number] = seconds(self._terms.now)
            self.doubtful = True
            yield made
            return
        self._pending.pop(found.number, None)
        seal = seal_of(found.build)
        if found.number >= self.state.cut or seal == RUNNING:
            self._known[found.number] = seal
        else:
            self._known.pop(found.number, None)
        yield made

    def _made(self, found: Found, observed: datetime | None) -> Item | Rejected:
        about, key = self._listing.about, self._terms.key
        if found.is_readable:
            with suppress(ValueError, RecursionError):  # nested too deeply
                return payloads.item(about, found.build, found.stages, key, observed=observed)
        brief = self._listing.builds.get(found.number)
        at = payloads.moment(brief.ended) if brief is not None and brief.ended is not None else None
        return payloads.unreadable(about, found.number, found.build, key, at)

    def _reached(self, seen: int) -> State:
        return replace(
            self.state, seen=max(self.state.seen, seen), known=dict(self._known), pending=dict(self._pending)
        )

    def _is_changed(self, number: int) -> bool:
        return self._listing.builds[number].seal != self._known[number]

    def _is_recent(self, one: Brief) -> bool:
        return one.ended is None or one.ended >= self._since_ms

    def _trust(self, hidden: int) -> None:
        if hidden > _HIDDEN_MOST:
            raise HttpError(
                f"{self._listing.about.origin}: the list of builds leaves out {hidden} that are there: run again",
                reason=Reason.CONTENT, said="a list that leaves out builds that are there",
            )  # fmt: skip
