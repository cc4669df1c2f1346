"""Receipts: the proof that the extraction of one origin's window was whole, and what it is worth. Pure.

No zero without proof: a number may be 0 only where the receipt says that everything was seen. An extraction that is
stated must show its own end; that nothing is known to be wrong with it proves nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Final

from quality.extractions import (
    BIGGEST,
    Extraction,
    barrier,
    breakage,
    digits,
    ended,
    line,
    loss,
    plain,
    received,
    share,
)

SKEW_SECONDS: Final = 300
"""How far the source's clock may be from ours, either way; as much as Kerberos allows (RFC 4120, 8.2)."""

REASON_LENGTH: Final = 300

FIRST_POSSIBLE: Final = date(1980, 1, 1)
"""Older than any tool that records changes or deployments; the suites of Silver say the same."""

STILL_OPEN: Final = "the window is still open"
"""How the reason of a window begins that nobody has seen to its end."""

SWEEP_FAILED: Final = "the sweep failed"
"""How the reason of a window begins that no sweep has seen."""


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
        kept |= {key: line(kept[key], REASON_LENGTH) for key in ("problem", "error") if key in kept}
        kept |= {key: plain(value) for key, value in kept.items() if isinstance(value, int)}
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
        if loss(extraction) is not None:
            verdict = replace(verdict, coverage=received(extraction), lossy=True)
        elif receipt.rejected:
            verdict = replace(verdict, lossy=True)
    return replace(verdict, reason=verdict.reason and line(verdict.reason, REASON_LENGTH))


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
        return Verdict(Proof.FAILED, 0.0, f"{SWEEP_FAILED}: {receipt.error}")
    if extraction is not None and (reason := breakage(extraction)):
        return Verdict(Proof.FAILED, 0.0, reason)
    if receipt.problem is not None:
        return Verdict(Proof.UNPROVEN, 0.0, receipt.problem)
    if extraction is not None and (reason := barrier(extraction) or loss(extraction)):
        return Verdict(Proof.UNPROVEN, 0.0, reason)
    return _of_window(receipt)


def _of_window(receipt: Receipt) -> Verdict:
    if receipt.rejected:
        everything = receipt.items + receipt.rejected
        reason = f"{digits(receipt.rejected)} of {digits(everything)} records of this window could not be read"
        return Verdict(Proof.UNPROVEN, share(receipt.items, everything), reason, lossy=True)
    if receipt.start < receipt.covered_from:
        return Verdict(Proof.UNPROVEN, 0.0, f"recorded history begins {receipt.covered_from:%Y-%m-%d %H:%M} UTC")
    if receipt.covered_until <= receipt.start:
        return Verdict(Proof.UNPROVEN, 0.0, f"recorded history ends {receipt.covered_until:%Y-%m-%d %H:%M} UTC")
    if receipt.extraction is not None and not ended(receipt.extraction):
        return Verdict(Proof.UNPROVEN, 0.0, "nothing says that the last page was reached")
    if (doubt := _skew(receipt)) is not None:
        return doubt
    if receipt.covered_until < receipt.end:
        known = (receipt.covered_until - receipt.start) / (receipt.end - receipt.start)
        return Verdict(Proof.PARTIAL, round(known, 6), f"{STILL_OPEN}: seen until {receipt.covered_until:%H:%M} UTC")
    if receipt.rejected_anywhere:
        known = share(receipt.items_anywhere, receipt.items_anywhere + receipt.rejected_anywhere)
        reason = f"{digits(receipt.rejected_anywhere)} records could not be read, and may belong here"
        return Verdict(Proof.PARTIAL, round(known, 6), reason)
    return Verdict(Proof.PROVEN, 1.0)


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
    reason = f"the source's clock is {digits(abs(skew))} s {direction} ours, and the window ends near: set the clocks"
    known = length + seen - min(abs(skew), BIGGEST)
    return Verdict(Proof.PARTIAL, round(share(known, length), 6), reason)
