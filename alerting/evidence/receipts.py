"""Windows of Bronze whose receipt says that the extraction was not whole.

Told are receipts of windows that are over, and those that are known to lack records. Not told: a window that is still
open, as the next sweep settles it, and a sweep that failed has an incident of its own; one whose date cannot be, as a
rule of Silver says that better; and one of which a rule holds back or sets aside rows, as then its proof only repeats
the finding.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from alerting import impact
from alerting.evidence.view import View, Window, command, named, partition, passed
from alerting.incidents import Incident
from alerting.reports import Facts, Key, Kind, Report
from config import schema
from quality.findings import Severity
from quality.receipts import FIRST_POSSIBLE, STILL_OPEN, SWEEP_FAILED, Proof

CHECK: Final = "receipt"
BRONZE: Final = {"$gte": "bronze.", "$lt": "bronze/"}
"""The names of all Bronze datasets: / comes after the full stop."""

_FIELDS: Final = (
    "dataset", "scope", "window", "published_at", "proof", "receipt.sweep", "blocked.first", "report.findings.severity",
)  # fmt: skip

SILENT: Final = "silent"
WELL: Final = "well"


def failures(view: View) -> Iterator[Report]:
    """Every receipt that is not what it should be."""
    states = [str(Proof.FAILED), str(Proof.UNPROVEN), str(Proof.PARTIAL)]
    where = {"proof.state": {"$in": states}, "dataset": BRONZE, **schema.IN_DOUBT}
    for one in view.ledger.find(where, dict.fromkeys(_FIELDS, 1)):
        severity = judged(one, view.now)
        if severity in {SILENT, WELL}:
            continue
        key = Key(one["dataset"], one["scope"], CHECK)
        yield Report(
            key, one["published_at"], failed=True, kind=Kind.RECEIPT, window=one["window"].date(),
            severity=Severity(severity), lasting=True, metrics=impact.metrics(key.dataset), scopes=(key.scope,),
            facts=Facts("", observed=one["proof"]["reason"]),
        )  # fmt: skip


def judged(document: Mapping[str, Any], now: datetime) -> str:
    """How bad the receipt of a Bronze window is: a severity, or WELL, or SILENT where it says nothing."""
    proof = document["proof"]
    if proof["state"] == Proof.PROVEN:
        return WELL
    held = "blocked" in document
    if held or any(one["severity"] == Severity.CRITICAL for one in document.get("report", {}).get("findings", ())):
        return SILENT
    if proof.get("lossy"):
        return str(Severity.CRITICAL)
    if document["window"].date() < FIRST_POSSIBLE or document["window"] + schema.DAY > now:
        return SILENT
    if proof["state"] == Proof.FAILED:
        return str(Severity.CRITICAL)
    return SILENT if _is_open(proof) else str(Severity.WARNING)


def _is_open(proof: Mapping[str, Any]) -> bool:
    return proof["state"] == Proof.PARTIAL and str(proof["reason"]).startswith(STILL_OPEN)


def detailed(reports: list[Report]) -> Iterator[Report]:
    """`reports` with what is told of them."""
    for one in reports:
        key, day = one.key, str(one.window)
        facts = Facts(
            title=f"{named(key.dataset, key.scope)}: its receipt does not prove that the extraction was whole",
            expected="a receipt that proves that all of the window was seen",
            observed=one.facts.observed,
            why="a zero means nothing where not all was seen: what is made of these windows is unknown, not none",
            command=command("explain", key.dataset, day, "--scope", key.scope),
            series=(key.dataset, key.scope, "rows"),
        )
        yield replace(one, facts=facts)


def passes(view: View, failing: Mapping[Window, Report]) -> Iterator[Report]:
    """The windows of open incidents that are proven since."""
    mine = list(view.of(Kind.RECEIPT))
    gone = [(one, window) for one in mine for window in one.failing if (one.key, window) not in failing]
    keys = [partition(one.key.dataset, one.key.scope, window) for one, window in gone]
    documents = view.documents(keys, _FIELDS)
    for incident, window in gone:
        document = documents.get(partition(incident.key.dataset, incident.key.scope, window))
        if document is None or "published_at" not in document or document["published_at"] <= incident.marks[window].at:
            continue
        if judged(document, view.now) == WELL:
            yield passed(incident, window, document["published_at"], f"{window} is proven")
        elif _is_open(document["proof"]) and "blocked" not in document and _was_unseen(incident, window):
            yield passed(incident, window, document["published_at"], f"{window} is seen again, as far as it goes")


def _was_unseen(incident: Incident, window: str) -> bool:
    """Whether it was said of the window that no sweep has seen it."""
    said = incident.marks[window].said
    return (said.facts if said else incident.facts).observed.startswith(SWEEP_FAILED)
