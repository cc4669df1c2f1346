"""What the receipts of a day of links are worth: the worst of all that the scope is made from. Pure.

What nothing is configured to bring does not count: its metrics are unknown for that reason, and the others are not
touched. Four streams: "changes", "deployments", "failures" (reverts), and "incidents" where there is a source of them.
"""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from config.catalog import CHANGES, DEPLOYMENTS, FAILURES
from quality.receipts import Proof
from tasks.windows import is_possible

STREAMS: Final = ("changes", "deployments", "failures")
INCIDENTS: Final = "incidents"
DATASETS: Final = {
    "changes": CHANGES.name, "deployments": DEPLOYMENTS.name, "failures": FAILURES.name, INCIDENTS: FAILURES.name,
}  # fmt: skip
ABSENT: Final = "absent"
"""The state of a stream that nothing brings."""
NO_RECEIPT: Final = {"state": "unproven", "coverage": 0.0, "reason": "this window was never extracted"}
_WORST_LAST: Final = [ABSENT, *(str(state) for state in Proof)]
_BAD: Final = (str(Proof.UNPROVEN), str(Proof.FAILED))

Document = Mapping[str, Any]
Given = Mapping[tuple[str, str], Mapping[date, Document]]
"""By dataset and origin, the proof of each window that has one."""
OfDay = dict[str, Document]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Of which origins each stream is."""

    origins: Mapping[str, tuple[str, ...]]
    missing: str | None = None
    """Why changes cannot be known though they are fetched, if so."""


def of_days(given: Given, wanted: Wanted, days: Iterable[date]) -> dict[date, OfDay]:
    """What is known of each of `days`."""
    return {day: _of_day(given, wanted, day) for day in days}


def _of_day(given: Given, wanted: Wanted, day: date) -> OfDay:
    found: OfDay = {}
    for stream, origins in wanted.origins.items():
        proofs = [(one, given.get((DATASETS[stream], one), {}).get(day, NO_RECEIPT)) for one in origins]
        if proofs:
            found[stream] = worst(proofs)
        elif stream != INCIDENTS:
            found[stream] = {"state": ABSENT, "coverage": None, "reason": f"no source of {stream} is configured"}
    if wanted.missing and "changes" in found:
        found["changes"] = {"state": str(Proof.UNPROVEN), "coverage": 0.0, "reason": wanted.missing}
    return found


def worst(proofs: Sequence[tuple[str, Document]]) -> Document:
    """The worst of `proofs`, each with the name of what it is of; what is absent counts only if all are."""
    there = [one for one in proofs if one[1]["state"] != ABSENT] or list(proofs)
    if len(there) == 1:
        return there[0][1]
    name, proof = max(there, key=lambda one: _WORST_LAST.index(one[1]["state"]))
    covered = [one["coverage"] for _, one in there if one["coverage"] is not None]
    reason = proof.get("reason")
    said = {**proof, "coverage": min(covered, default=None), "reason": reason and f"{reason} ({name})"}
    return {**said, "lossy": True} if any(one.get("lossy") for _, one in there) else said


def combined(parts: Sequence[tuple[str, Mapping[str, Document] | None]]) -> OfDay:
    """The proofs of a day that is made of several, each with its name; None: it has no such day."""
    nothing = dict.fromkeys(STREAMS, NO_RECEIPT)
    named = [(name, nothing if one is None else one) for name, one in parts]
    streams = dict.fromkeys(stream for _, one in named for stream in one)
    return {stream: worst([(name, one[stream]) for name, one in named if stream in one]) for stream in streams}


def doubt_all(proofs: Mapping[date, OfDay], now: datetime) -> None:
    """What was set aside with a date that cannot be may belong to any day: none has a proven zero then."""
    for stream in (*STREAMS, INCIDENTS):
        lossy = [day for day, one in proofs.items() if one.get(stream, {}).get("lossy") and not is_possible(day, now)]
        if not lossy:
            continue
        reason = f"records of {max(lossy)} are set aside: that date cannot be, and they may belong here"
        for one in proofs.values():
            _lessen(one, stream, reason)


def doubt_failures(proofs: Mapping[date, OfDay], now: datetime) -> None:
    """A revert that could not be read may name any deployment before it: that none of those failed is not proven."""
    lossy = [day for day, one in proofs.items() if any(one.get(s, {}).get("lossy") for s in ("failures", "changes"))]
    if not lossy:
        return
    last = max(lossy) if all(is_possible(day, now) for day in lossy) else date.max
    reason = f"a revert of {max(lossy)} could not be read, and may name a deployment of this day"
    for day, one in proofs.items():
        if day < last:
            _lessen(one, "failures", reason)


def doubt_incidents(
    proofs: Mapping[date, OfDay], given: Given, origins: Collection[str], deployed: Sequence[date]
) -> None:
    """An incident that was not seen may be laid to the last deployment before it: that had none is not proven.

    deployed: the days with deployments, in order.
    """
    bad = {
        day
        for origin in origins
        for day, one in given.get((FAILURES.name, origin), {}).items()
        if one["state"] in _BAD or one.get("lossy")
    }
    for day in sorted(bad):
        at = bisect_left(deployed, day) - 1
        if at >= 0 and (one := proofs.get(deployed[at])):
            reason = f"not all incidents of {day} were seen, and one may be laid to a deployment of this day"
            _lessen(one, INCIDENTS, reason)


def _lessen(proofs: OfDay, stream: str, reason: str) -> None:
    if proofs.get(stream, {}).get("state") == Proof.PROVEN:
        proofs[stream] = {**proofs[stream], "state": str(Proof.PARTIAL), "reason": reason}
