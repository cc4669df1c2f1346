"""Builds that were gone before anybody saw how they ended: when that may have been, and what is then stated. Pure.

A build began before the next one that is kept. It is taken to have run for at most a day, or for as long as the longest
one that is listed; what was running when it was last seen may have been finished at any time since.
"""

from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Final

from quality.extractions import Extraction
from tasks.sources.contract import instant
from tasks.sources.http import Trace
from tasks.sources.jenkins.listing import Listing
from tasks.sources.jenkins.state import Lost, State, seconds

_LONGEST_SECONDS: Final = 86_400


def unseen(  # noqa: PLR0913 - the builds, and the facts that tell when they ended
    first: int, last: int, listing: Listing, state: State, *, since: datetime, now: datetime, ran: bool = False
) -> Lost | None:
    """When builds `first` to `last` were finished, if they were; None if an earlier sweep had seen them.

    ran: they were running when the sweep before this one saw them. What Jenkins' clock makes impossible, e.g. that they
    ended before that sweep, bounds nothing: then it was at any time since.
    """
    latest = ceil(now.timestamp())
    began = [one.timestamp // 1000 for one in listing.builds.values() if one.number < first and one.timestamp]
    until = seconds(since) if state.until is None else state.until
    start = max([seconds(since), until, *(at for at in began if at < latest)])
    above = min((one for one in listing.builds.values() if one.number > last), default=None)
    if above is None or above.timestamp is None or ran:
        end = latest
    elif state.again and state.until is not None and above.timestamp // 1000 < state.until:
        return None
    else:
        end = min(-(-above.timestamp // 1000) + _longest(listing), latest)
    if start >= end:
        start, end = min(start, until), latest
    return Lost(start, max(end, start + 1), first, last, last - first + 1)


def _longest(listing: Listing) -> int:
    """Seconds."""
    took = (one.ended - one.timestamp for one in listing.builds.values() if one.ended and one.timestamp)
    return max(_LONGEST_SECONDS, max(took, default=0) // 1000)


def extractions(trace: Trace, state: State, before: State, since: datetime, end: datetime) -> tuple[Extraction, ...]:
    """What is stated: since history begins if all was seen, else since the last sweep; and what was lost."""
    start = since
    if not trace.complete and before.until is not None:
        start = max(start, datetime.fromtimestamp(before.until, UTC))
    return (trace.extraction(start, end), *(_stated(one, trace.stream) for one in state.lost))


def _stated(one: Lost, stream: str) -> Extraction:
    start, end = instant(one.start), instant(one.end)
    end = max(end, start + timedelta(seconds=1))
    if not one.count:  # the job went away some time between the two, or was never asked for it
        return Extraction(stream, start, end, complete=True, canary="the job")
    ids = tuple(sorted({one.first, one.last}))
    return Extraction(stream, start, end, complete=True, missing=one.count, missing_ids=ids)
