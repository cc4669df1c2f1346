"""Receipts: the proof that the extraction of one origin's window was whole, and what it is worth. Pure.

No zero without proof: a number may be 0 only where the receipt says that everything was seen.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any


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

    def document(self) -> dict[str, Any]:
        """As it is kept in a window's ledger document: without what is empty, or said there already."""
        return {key: value for key in _KEPT if (value := getattr(self, key)) not in (None, 0)}


_KEPT = tuple(field.name for field in fields(Receipt) if field.name not in ("start", "end", "items"))


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
    """What `receipt` proves, with a reason that a person understands. The first rule that applies decides."""
    if receipt.error is not None:
        return Verdict(Proof.FAILED, 0.0, f"the sweep failed: {receipt.error}")
    if receipt.problem is not None:
        return Verdict(Proof.UNPROVEN, 0.0, receipt.problem)
    if receipt.rejected:
        return Verdict(
            Proof.UNPROVEN,
            receipt.items / (receipt.items + receipt.rejected),
            f"{receipt.rejected} of {receipt.items + receipt.rejected} records of this window could not be read",
            lossy=True,
        )
    if receipt.start < receipt.covered_from:
        return Verdict(Proof.UNPROVEN, 0.0, f"recorded history begins {receipt.covered_from:%Y-%m-%d %H:%M} UTC")
    if receipt.covered_until <= receipt.start:
        return Verdict(Proof.UNPROVEN, 0.0, f"recorded history ends {receipt.covered_until:%Y-%m-%d %H:%M} UTC")
    if receipt.covered_until < receipt.end:
        share = (receipt.covered_until - receipt.start) / (receipt.end - receipt.start)
        return Verdict(
            Proof.PARTIAL, round(share, 6), f"the window is still open: seen until {receipt.covered_until:%H:%M} UTC"
        )
    if receipt.rejected_anywhere:
        everything = receipt.items_anywhere + receipt.rejected_anywhere
        return Verdict(
            Proof.PARTIAL,
            round(receipt.items_anywhere / everything, 6),
            f"{receipt.rejected_anywhere} records could not be read, and may belong here",
        )
    return Verdict(Proof.PROVEN, 1.0)
