"""What a connector states about its fetching, and the rules that judge it. Pure.

That nothing is known to be wrong with an extraction proves nothing: it must show its own end. Each rule answers with a
reason that a person understands, of one line, or with None where it does not apply.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final, TypeAlias

from config.redaction import redacted

Id: TypeAlias = str | int
"""A source's own id of an entity: a sha, a key, a build number."""

LISTED: Final = 20
"""How many entries of a list a receipt keeps, so that it stays below 20 kB whatever a source answers."""
BIGGEST: Final = 2**63 - 1
"""The largest integer that MongoDB holds."""
_ID_LENGTH, _TEXT_LENGTH = 40, 150
_NAMED = 2
"""How many missing ids a reason names."""

_LOOKED_AT = 10_000
"""Characters of a server's text: an answer may be megabytes, and is read again for every window."""

_GONE = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)


@dataclass(frozen=True, slots=True)
class Extraction:
    """What a connector states about fetching one stream of one origin for [start, end).

    A field that is left out says nothing: neither that something was wrong nor that all was well.
    """

    stream: str = ""
    """Empty: all streams of the origin."""
    start: datetime | None = None
    """None: since ever."""
    end: datetime | None = None
    """None: for ever."""
    complete: bool = False
    """The source's own end mark was seen: there was no next page."""
    pages_fetched: int = 0
    pages_advertised: int | None = None
    """Number of the last page, by the Link header or the total of pages."""
    items_received: int = 0
    total_advertised: int | None = None
    page_size: int | None = None
    """Asked for, or granted where the source says so and it is less. A smaller page before the last one is a doubt."""
    page_sizes: tuple[int, ...] = ()
    """Of the pages as they were received, in order."""
    repeated_pages: int = 0
    """How many pages held what an earlier one had held."""
    statuses: Mapping[int, int] = field(default_factory=dict)
    """HTTP status -> how often it was answered. Errors up to the number of `retries` count as made good."""
    retries: int = 0
    failed_at: int | None = None
    """Number of the page where the chain broke, from 1."""
    error: str | None = None
    """Why the chain broke, in the source's words."""
    timed_out: bool = False
    content: str | None = None
    """What a 200 held instead of records: "a login page", "an error object: ..."."""
    rate_limited: bool = False
    """It stopped because of the rate limit."""
    rate_limit_remaining: int | None = None
    rate_limit_reset: datetime | None = None
    scope_lost: bool = False
    """The token no longer sees all that it should."""
    scopes_granted: tuple[str, ...] | None = None
    """None: the source does not tell. Those that another one implies are to be listed too."""
    scopes_needed: tuple[str, ...] = ()
    clock_skew_seconds: float | None = None
    """The source's clock minus ours."""
    canary: Id | None = None
    """The entity that must be visible."""
    canary_seen: bool = False
    first_id: Id | None = None
    last_id: Id | None = None
    missing: int = 0
    """How many ids of a contiguous sequence are not there, where `missing_ids` has only the first of them."""
    missing_ids: tuple[Id, ...] = ()
    shallow: bool = False
    """Cut off at some depth by whoever cloned it."""
    duration_seconds: float | None = None

    @property
    def holes(self) -> int:
        """How many ids of the sequence are missing."""
        return max(self.missing, len(self.missing_ids))

    def document(self) -> dict[str, Any]:
        """As it is kept: without neutral fields, long lists cut with `<field>_count` beside them, fit for MongoDB."""
        kept: dict[str, Any] = {}
        for name in (one.name for one in fields(self)):
            value = getattr(self, name)
            if value == getattr(_NEUTRAL, name):
                continue
            kept[name] = plain(value)
            if isinstance(value, tuple | Mapping) and len(value) > LISTED:
                kept[f"{name}_count"] = len(value)
        return kept | ({"missing": plain(self.holes)} if self.holes else {})


_NEUTRAL: Final = Extraction()


def breakage(one: Extraction) -> str | None:
    """How the extraction broke, unless it was refused."""
    if one.content is not None:
        return f"{_page(one)} answered 200 with {line(one.content)} in place of records: check address and token"
    status, refused = _unmended(one), _refusal(one) is not None
    after = f" after {digits(one.retries)} {'retry' if one.retries == 1 else 'retries'}" if one.retries else ""
    because = f": {line(one.error)}" if one.error else ""
    if status is not None and not refused:
        return f"{_page(one)} answered {digits(status)}{after}{because}"
    if one.timed_out:
        return f"{_page(one)} did not answer in time{after}{because}"
    if (one.failed_at is not None or one.error is not None) and not refused:
        return f"{_page(one)} could not be read{after}{because}"
    return None


def _refusal(one: Extraction) -> str | None:
    """Why the source would not answer, whose own fault it is not."""
    status = _unmended(one)
    if status is not None and status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return None
    if one.scope_lost:
        return "the token no longer sees all that it should: grant its scope again"
    limited = status == HTTPStatus.FORBIDDEN and one.rate_limit_remaining == 0
    if one.rate_limited or limited or status == HTTPStatus.TOO_MANY_REQUESTS:
        reset = f"; it resets {one.rate_limit_reset:%Y-%m-%d %H:%M} UTC" if one.rate_limit_reset else ""
        return f"the rate limit was reached before the end, after {_pages(one)}{reset}"
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return f"{_page(one)} answered {digits(status)}: the token was refused; renew it, or grant it access"
    if status in _GONE and not _answered(one):
        return f"the origin is gone or hidden from this token: it answered {digits(status)}"
    return None


def barrier(one: Extraction) -> str | None:
    """What keeps the source from being seen as a whole."""
    if reason := _refusal(one):
        return reason
    granted = one.scopes_granted
    lacking = [] if granted is None else [scope for scope in one.scopes_needed if scope not in granted]
    if lacking:
        return f"the token lacks a scope: grant it {_names(lacking, len(lacking))}"
    if one.canary is not None and not one.canary_seen:
        return f"{_id(one.canary)}, which must be visible, was not seen: check what the token may read"
    if one.shallow:
        return "the clone is shallow, and what is older was never seen: run git fetch --unshallow"
    return None


def failure(one: Extraction) -> str | None:
    """What a run that fetched so has failed of; not that the origin is gone, which is the source's last word on it."""
    gone = _unmended(one) in _GONE and not _answered(one)
    return breakage(one) or (None if gone else barrier(one))


def loss(one: Extraction) -> str | None:
    """How it shows that records are missing, causes before symptoms."""
    if one.repeated_pages:
        repeated = f"{digits(one.repeated_pages)} of {digits(_fetched(one))} pages"
        return f"{repeated} repeated an earlier one: others were not seen"
    full = max((*one.page_sizes, one.page_size or 0))
    for number, size in enumerate(one.page_sizes[:-1], 1):
        if size <= 0:
            return f"page {number} of {len(one.page_sizes)} was empty, and more pages followed"
        if size < full:
            return (
                f"page {number} of {len(one.page_sizes)} held {digits(size)} records where a page holds {digits(full)}"
            )
    if one.pages_advertised is not None and _fetched(one) < one.pages_advertised:
        return f"the chain of pages ends after {_pages(one)}"
    if one.holes:
        return _hole(one)
    total = one.total_advertised
    if total is not None and one.items_received < total:
        return f"{digits(one.items_received)} of {digits(total)} records were received"
    if total is not None and one.items_received > total:
        more = f"{digits(one.items_received)} records were received where {digits(total)} were advertised"
        return f"{more}: the source changed while it was read"
    return None


def ended(one: Extraction) -> bool:
    """Whether the end was seen, or as much came as was advertised."""
    pages, total = one.pages_advertised, one.total_advertised
    counted = _fetched(one) > 0 and total is not None and total == one.items_received
    return one.complete or counted or (pages is not None and 0 < pages <= _fetched(one))


def _unmended(one: Extraction) -> int | None:
    """The worst HTTP error that no retry made good; None where the chain did not break on one."""
    bad = {status: times for status, times in one.statuses.items() if status >= HTTPStatus.BAD_REQUEST and times > 0}
    if _answered(one):
        if one.failed_at is None:  # one entity that is gone is not the stream
            bad = {status: times for status, times in bad.items() if status not in _GONE}
        broke = (one.failed_at is not None or one.error is not None) and not one.timed_out
        if not broke and sum(bad.values()) <= one.retries:
            return None
    return max(bad, default=None)


def _answered(one: Extraction) -> bool:
    ok = range(HTTPStatus.OK, HTTPStatus.BAD_REQUEST)
    return _fetched(one) > 0 or any(status in ok and times > 0 for status, times in one.statuses.items())


def _fetched(one: Extraction) -> int:
    return max(one.pages_fetched, len(one.page_sizes))


def received(one: Extraction) -> float:
    """Which share of what is known to be there was received; 0 where that is not known."""
    if one.total_advertised is None and not one.holes:
        return 0.0
    return share(one.items_received, max(one.total_advertised or 0, one.items_received + one.holes))


def share(part: float, whole: float) -> float:
    """Within 0 and 1, whatever the numbers; integers of any size."""
    if not (part > 0 and whole > 0):
        return 0.0
    return 1.0 if part >= whole else part / whole


def _page(one: Extraction) -> str:
    if one.failed_at is None:
        return "a page" if _fetched(one) > 0 else "the first page"
    of = f" of {digits(one.pages_advertised)}" if one.pages_advertised is not None else ""
    return f"page {digits(one.failed_at)}{of}"


def _pages(one: Extraction) -> str:
    of = f" of {digits(one.pages_advertised)}" if one.pages_advertised is not None else ""
    return f"{digits(_fetched(one))}{of} pages"


def _hole(one: Extraction) -> str:
    stream = line(one.stream, _ID_LENGTH) or "records"
    if not one.missing_ids:
        return f"{digits(one.holes)} of the {stream} are missing"
    if one.holes == 1:
        return f"one of the {stream} is missing: {_id(one.missing_ids[0])}"
    return f"{stream} {_names(one.missing_ids, one.holes)} are missing"


def _names(ids: Sequence[Id], count: int) -> str:
    """The first of `ids`, which are not empty, and how many more of `count` there are."""
    named = [_id(one) for one in ids[:_NAMED]]
    rest = count - len(named)
    last = f"{digits(rest)} more" if rest else named.pop()
    return f"{', '.join(named)} and {last}" if named else last


def _id(one: Id) -> str:
    return line(one, _ID_LENGTH) if isinstance(one, str) else digits(one)


def digits(number: float) -> str:
    """For a reason: neither thousands of digits nor an error, whatever the number."""
    fitting = max(-BIGGEST, min(BIGGEST, number))
    return f"{fitting:.0f}" if isinstance(fitting, float) else str(fitting)


def line(text: str, most: int = _TEXT_LENGTH) -> str:
    """`text` as one printable line of at most `most` characters, without the credentials of URLs."""
    if len(text) > _LOOKED_AT:
        text = text[:_LOOKED_AT] + "@"  # a URL that is cut in two has its end, and so its credentials, hidden
    shown = " ".join(redacted(text).split())
    if not shown.isprintable():
        shown = " ".join("".join(letter if letter.isprintable() else " " for letter in shown).split())
    return shown if len(shown) <= most else shown[: most - 3] + "..."


def plain(value: Any) -> Any:
    """As MongoDB holds it: texts cut, integers within 64 bits, the first `LISTED` of a list, keys as text."""
    match value:
        case bool():
            return value
        case int():
            return max(-BIGGEST, min(BIGGEST, value))
        case str():
            return line(value)
        case tuple():
            return [line(one, _ID_LENGTH) if isinstance(one, str) else plain(one) for one in value[:LISTED]]
        case Mapping():
            return {digits(key): plain(value[key]) for key in sorted(value)[:LISTED]}
        case _:
            return value
