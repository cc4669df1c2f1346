"""Receipts: the proof that the extraction of one origin's window was whole, and what it is worth. Pure.

No zero without proof: a number may be 0 only where the receipt says that everything was seen. An extraction that is
stated must show its own end; that nothing is known to be wrong with it proves nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final, TypeAlias

Id: TypeAlias = str | int
"""A source's own id of an entity: a sha, a key, a build number."""

SKEW_SECONDS: Final = 300
"""How far the source's clock may be from ours, either way; as much as Kerberos allows (RFC 4120, 8.2)."""

REASON_LENGTH: Final = 300
LISTED: Final = 20
"""How many entries of a list a receipt keeps, so that it stays below 20 kB whatever a source answers."""
_ID_LENGTH, _TEXT_LENGTH = 40, 150
_NAMED = 2
"""How many missing ids a reason names."""

_BIGGEST = 2**63 - 1
"""The largest integer that MongoDB holds."""

_LOOKED_AT = 10_000
"""Characters of a server's text: an answer may be megabytes, and is read again for every window."""

_GONE = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)


class Proof(StrEnum):
    """How far a window is known, best first."""

    PROVEN = "proven"
    """Everything that happened in the window was seen."""
    PARTIAL = "partial"
    """What was seen is true but may be less than all: a number is as far as is known, and a zero means nothing."""
    UNPROVEN = "unproven"
    """Nothing can be said about what is missing."""
    FAILED = "failed"
    """The extraction broke."""


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
            kept[name] = _plain(value)
            if isinstance(value, tuple | Mapping) and len(value) > LISTED:
                kept[f"{name}_count"] = len(value)
        return kept | ({"missing": _plain(self.holes)} if self.holes else {})


_NEUTRAL: Final = Extraction()


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one sweep can say about one window [start, end) of one stream of one origin."""

    sweep: str
    """Which source and unit: "history/*"."""
    start: datetime
    end: datetime
    covered_from: datetime
    covered_until: datetime
    items: int
    rejected: int = 0
    """Records of this window that could not be read."""
    rejected_anywhere: int = 0
    """Records of the origin's sweep that could not be read, nor told to which window they belong."""
    items_anywhere: int = 0
    problem: str | None = None
    """Why the origin is unproven as a whole, e.g. a shallow clone."""
    error: str | None = None
    """What broke the sweep."""
    evidence: Mapping[str, Any] | None = None
    """As the source gave it: the source keeps it small, and fit for MongoDB."""
    extraction: Extraction | None = None
    """The worst that overlaps the window, see `worst`; None where the source states none."""

    def document(self) -> dict[str, Any]:
        """As it is kept in a window's ledger document: without what is empty, or said there already."""
        kept = {key: value for key in _KEPT if (value := getattr(self, key)) not in (None, 0)}
        kept |= {key: _line(kept[key], REASON_LENGTH) for key in ("problem", "error") if key in kept}
        kept |= {key: _plain(value) for key, value in kept.items() if isinstance(value, int)}
        return kept | ({"extraction": self.extraction.document()} if self.extraction else {})


_KEPT = tuple(one.name for one in fields(Receipt) if one.name not in ("start", "end", "items", "extraction"))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a receipt is worth. `coverage` is the share of the window that is known, 0 to 1."""

    proof: Proof
    coverage: float
    reason: str | None = None
    lossy: bool = False
    """Records of the window were there and could not be read: other windows that depend on it are in doubt too."""

    def document(self) -> dict[str, Any]:
        """As it is kept in the ledger and hashed into revisions."""
        lossy = {"lossy": True} if self.lossy else {}
        return {"state": str(self.proof), "coverage": self.coverage, "reason": self.reason, **lossy}


def classify(receipt: Receipt) -> Verdict:
    """What `receipt` proves, with a reason that a person understands. The first rule that applies decides.

    The reason is one line of at most `REASON_LENGTH` characters, without credentials of URLs. Whether records are
    known to be missing (`lossy`, with its coverage) follows from all that an extraction states, whichever rule decides.
    """
    verdict = _first(receipt)
    extraction = receipt.extraction
    if extraction is not None and verdict.proof in (Proof.UNPROVEN, Proof.FAILED):
        if _loss(extraction) is not None:
            verdict = replace(verdict, coverage=_received(extraction), lossy=True)
        elif receipt.rejected:
            verdict = replace(verdict, lossy=True)
    return replace(verdict, reason=verdict.reason and _line(verdict.reason, REASON_LENGTH))


def worst(extractions: Iterable[Extraction], stream: str, start: datetime, end: datetime) -> Extraction | None:
    """Of those that overlap the window [start, end) of `stream`, the one that `classify` makes least of.

    Times are aware. One without duration counts for the window that it lies in. Does not depend on the order given.
    """
    found = [one for one in extractions if one.stream in ("", stream) and _overlaps(one, start, end)]
    return max(found, key=lambda one: _badness(one, start, end), default=None)


def _overlaps(one: Extraction, start: datetime, end: datetime) -> bool:
    since, until = one.start or start, one.end or end
    return since < end and (start < until or start <= since)


def _badness(one: Extraction, start: datetime, end: datetime) -> tuple[int, bool, float, str, str]:
    verdict = classify(Receipt("", start, end, start, end, items=0, extraction=one))
    return list(Proof).index(verdict.proof), verdict.lossy, -verdict.coverage, str(verdict.reason), str(one.document())


def _first(receipt: Receipt) -> Verdict:
    """By the first rule that applies: what broke, what bars the view, what is missing, then the window itself."""
    extraction = receipt.extraction
    if receipt.error is not None:
        return Verdict(Proof.FAILED, 0.0, f"the sweep failed: {receipt.error}")
    if extraction is not None and (reason := _breakage(extraction)):
        return Verdict(Proof.FAILED, 0.0, reason)
    if receipt.problem is not None:
        return Verdict(Proof.UNPROVEN, 0.0, receipt.problem)
    if extraction is not None and (reason := _barrier(extraction) or _loss(extraction)):
        return Verdict(Proof.UNPROVEN, 0.0, reason)
    return _of_window(receipt)


def _of_window(receipt: Receipt) -> Verdict:
    if receipt.rejected:
        everything = receipt.items + receipt.rejected
        reason = f"{_n(receipt.rejected)} of {_n(everything)} records of this window could not be read"
        return Verdict(Proof.UNPROVEN, _share(receipt.items, everything), reason, lossy=True)
    if receipt.start < receipt.covered_from:
        return Verdict(Proof.UNPROVEN, 0.0, f"recorded history begins {receipt.covered_from:%Y-%m-%d %H:%M} UTC")
    if receipt.covered_until <= receipt.start:
        return Verdict(Proof.UNPROVEN, 0.0, f"recorded history ends {receipt.covered_until:%Y-%m-%d %H:%M} UTC")
    if receipt.extraction is not None and not _ended(receipt.extraction):
        return Verdict(Proof.UNPROVEN, 0.0, "nothing says that the last page was reached")
    if (doubt := _skew(receipt)) is not None:
        return doubt
    if receipt.covered_until < receipt.end:
        share = (receipt.covered_until - receipt.start) / (receipt.end - receipt.start)
        return Verdict(
            Proof.PARTIAL, round(share, 6), f"the window is still open: seen until {receipt.covered_until:%H:%M} UTC"
        )
    if receipt.rejected_anywhere:
        share = _share(receipt.items_anywhere, receipt.items_anywhere + receipt.rejected_anywhere)
        reason = f"{_n(receipt.rejected_anywhere)} records could not be read, and may belong here"
        return Verdict(Proof.PARTIAL, round(share, 6), reason)
    return Verdict(Proof.PROVEN, 1.0)


def _breakage(one: Extraction) -> str | None:
    """How the extraction broke, unless it was refused."""
    if one.content is not None:
        return f"{_page(one)} answered 200 with {_line(one.content)} in place of records: check address and token"
    status, refused = _unmended(one), _refusal(one) is not None
    after = f" after {_n(one.retries)} {'retry' if one.retries == 1 else 'retries'}" if one.retries else ""
    because = f": {_line(one.error)}" if one.error else ""
    if status is not None and not refused:
        return f"{_page(one)} answered {_n(status)}{after}{because}"
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
        return f"{_page(one)} answered {_n(status)}: the token was refused; renew it, or grant it access"
    if status in _GONE and not _answered(one):
        return f"the origin is gone or hidden from this token: it answered {_n(status)}"
    return None


def _barrier(one: Extraction) -> str | None:
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


def _loss(one: Extraction) -> str | None:
    """How it shows that records are missing, causes before symptoms."""
    if one.repeated_pages:
        return f"{_n(one.repeated_pages)} of {_n(_fetched(one))} pages repeated an earlier one: others were not seen"
    full = max((*one.page_sizes, one.page_size or 0))
    for number, size in enumerate(one.page_sizes[:-1], 1):
        if size <= 0:
            return f"page {number} of {len(one.page_sizes)} was empty, and more pages followed"
        if size < full:
            return f"page {number} of {len(one.page_sizes)} held {_n(size)} records where a page holds {_n(full)}"
    if one.pages_advertised is not None and _fetched(one) < one.pages_advertised:
        return f"the chain of pages ends after {_pages(one)}"
    if one.holes:
        return _hole(one)
    total = one.total_advertised
    if total is not None and one.items_received < total:
        return f"{_n(one.items_received)} of {_n(total)} records were received"
    if total is not None and one.items_received > total:
        more = f"{_n(one.items_received)} records were received where {_n(total)} were advertised"
        return f"{more}: the source changed while it was read"
    return None


def _ended(one: Extraction) -> bool:
    """Whether the end was seen, or as much came as was advertised."""
    pages, total = one.pages_advertised, one.total_advertised
    counted = _fetched(one) > 0 and total is not None and total == one.items_received
    return one.complete or counted or (pages is not None and 0 < pages <= _fetched(one))


def _skew(receipt: Receipt) -> Verdict | None:
    """Doubt about a window that ends within the skew of the moment until which all was seen; others are untouched.

    By the source's clock that moment was another one, so what happened last may have come later. What was seen is true.
    """
    skew = receipt.extraction.clock_skew_seconds if receipt.extraction is not None else None
    if skew is None or abs(skew) <= SKEW_SECONDS:
        return None
    seen = (receipt.covered_until - receipt.end).total_seconds()
    if abs(seen) >= abs(skew):
        return None
    length = (receipt.end - receipt.start).total_seconds()
    direction = "ahead of" if skew > 0 else "behind"
    reason = f"the source's clock is {_n(abs(skew))} s {direction} ours, and the window ends near: set the clocks"
    known = length + seen - min(abs(skew), _BIGGEST)
    return Verdict(Proof.PARTIAL, round(_share(known, length), 6), reason)


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


def _received(one: Extraction) -> float:
    """Which share of what is known to be there was received; 0 where that is not known."""
    if one.total_advertised is None and not one.holes:
        return 0.0
    return _share(one.items_received, max(one.total_advertised or 0, one.items_received + one.holes))


def _share(part: float, whole: float) -> float:
    """Within 0 and 1, whatever the numbers; integers of any size."""
    if not (part > 0 and whole > 0):
        return 0.0
    return 1.0 if part >= whole else part / whole


def _page(one: Extraction) -> str:
    if one.failed_at is None:
        return "a page" if _fetched(one) > 0 else "the first page"
    return f"page {_n(one.failed_at)}" + (f" of {_n(one.pages_advertised)}" if one.pages_advertised is not None else "")


def _pages(one: Extraction) -> str:
    of = f" of {_n(one.pages_advertised)}" if one.pages_advertised is not None else ""
    return f"{_n(_fetched(one))}{of} pages"


def _hole(one: Extraction) -> str:
    stream = _line(one.stream, _ID_LENGTH) or "records"
    if not one.missing_ids:
        return f"{_n(one.holes)} of the {stream} are missing"
    if one.holes == 1:
        return f"one of the {stream} is missing: {_id(one.missing_ids[0])}"
    return f"{stream} {_names(one.missing_ids, one.holes)} are missing"


def _names(ids: Sequence[Id], count: int) -> str:
    """The first of `ids`, which are not empty, and how many more of `count` there are."""
    named = [_id(one) for one in ids[:_NAMED]]
    rest = count - len(named)
    last = f"{_n(rest)} more" if rest else named.pop()
    return f"{', '.join(named)} and {last}" if named else last


def _id(one: Id) -> str:
    return _line(one, _ID_LENGTH) if isinstance(one, str) else _n(one)


def _n(number: float) -> str:
    """For a reason: neither thousands of digits nor an error, whatever the number."""
    fitting = max(-_BIGGEST, min(_BIGGEST, number))
    return f"{fitting:.0f}" if isinstance(fitting, float) else str(fitting)


def _line(text: str, most: int = _TEXT_LENGTH) -> str:
    """`text` as one printable line of at most `most` characters, without the credentials of URLs."""
    if len(text) > _LOOKED_AT:
        text = text[:_LOOKED_AT] + "@"  # a URL that is cut in two has its end, and so its credentials, hidden
    masked = " ".join(_masked(word) for word in text.split())
    shown = " ".join("".join(letter if letter.isprintable() else " " for letter in masked).split())
    return shown if len(shown) <= most else shown[: most - 3] + "..."


def _masked(word: str) -> str:
    at, end = word.find("://"), word.rfind("@")
    return f"{word[: at + 3]}***{word[end:]}" if 0 <= at < end else word


def _plain(value: Any) -> Any:
    """As MongoDB holds it: texts cut, integers within 64 bits, the first `LISTED` of a list, keys as text."""
    match value:
        case bool():
            return value
        case int():
            return max(-_BIGGEST, min(_BIGGEST, value))
        case str():
            return _line(value)
        case tuple():
            return [_line(one, _ID_LENGTH) if isinstance(one, str) else _plain(one) for one in value[:LISTED]]
        case Mapping():
            return {_n(key): _plain(value[key]) for key in sorted(value)[:LISTED]}
        case _:
            return value
