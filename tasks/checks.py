"""Measure, judge, set aside, record: what every stage does between staging and publishing, and right after it.

With `quality.checks` off none of it happens, and everything passes.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, Final, NamedTuple, TypeVar

from config import schema
from quality import observations, quarantine, validation
from quality.findings import Report, Severity
from quality.gate import Assessment, Gate, Measures, Part, Row
from quality.observations import Cause, Observation, Series
from quality.quarantine import State
from quality.receipts import Proof
from quality.suites import Suite
from tasks.context import Context
from tasks.ledger import Claim, Publication, is_blocked_on

T = TypeVar("T")

ROWS: Final = 20_000
"""About how many rows are held in memory and judged at once."""

MISSING: Final = "missing"
WORKED_ON: Final = "being worked on"
FAILED: Final = "its last attempt failed"
"""Though what was made before is of today: it is looked at again, and left as it is."""
LOOKED_AT: Final = (
    "revision", "inputs", "code_version", "owner", "again", "unobserved", "error", "cause", "blocked.inputs",
    "blocked.code_version",
)  # fmt: skip
"""What `why_stale` and `cause_of` read of a ledger document."""

UNCHECKED: Final = Report("off", 0)

INTERNAL: Final = ("accounted", "quarantined", "receipt.expected")
"""Measures that only rules look at."""

USUALLY_ZERO: Final = ("receipt.items", "receipt.rejected", "quarantine_ratio")
"""Not recorded of a window's first publication if 0: `rows` and `receipt.coverage` say enough."""


def warm(context: Context) -> None:
    """Start the validator, which takes seconds: there will be something to judge. Returns at once."""
    if context.checks:
        validation.shared(context.settings.quality.timeout_seconds).warm()


def gate(context: Context, suite: Suite, key: str, exists: Callable[[str], bool]) -> Gate:
    """`suite`, and who carries it out. Of rows: where their own id is, and whether any of them has a path."""
    quality = context.settings.quality
    return Gate(suite, validation.shared(quality.timeout_seconds), context.now, key, quality.examples, exists)


def assess(
    context: Context, dataset: str, parts: Sequence[Part], measure: Callable[[Sequence[Row]], Measures]
) -> list[Assessment]:
    """What the suite of `dataset` says of each of `parts`."""
    if not context.checks:
        return [Assessment(UNCHECKED, part.rows, (), {}) for part in parts]

    def exists(path: str) -> bool:
        return context.db[dataset].find_one({path: {"$exists": True}}, {"_id": 1}) is not None

    return gate(context, context.suite(dataset), "id", exists).assess(parts, measure)


def pieces(items: Iterable[T], rows: Callable[[T], int], most: int | None = None) -> Iterator[list[T]]:
    """`items` in pieces of about ROWS rows, and of at most `most`; one item is never split."""
    piece: list[T] = []
    held = 0
    for item in items:
        if piece and (held + rows(item) > ROWS or len(piece) == most):
            yield piece
            piece, held = [], 0
        piece.append(item)
        held += rows(item)
    if piece:
        yield piece


def blocked(found: Assessment, *, first: bool, whole: bool = False) -> dict[str, Any] | None:
    """What the ledger keeps of a partition that must not be published, None if it may be.

    whole: its rows cannot be taken out one by one, so that a broken row holds back all of them.
    """
    if not found.report.blocks and not (whole and found.broken):
        return None
    return {"report": found.report.document(), "first": first}


def unknown(report: Report) -> dict[str, Any]:
    """The proof of a window of which nothing may be published, and nothing was before."""
    finding = max(report.findings, key=lambda finding: (finding.blocks, finding.severity is Severity.CRITICAL))
    reason = f"blocked by the rule {finding.rule}: {finding.observed}"
    return {"state": str(Proof.UNPROVEN), "coverage": 0.0, "reason": reason, "lossy": True}


def lessened(proof: dict[str, Any], aside: int, rows: int) -> dict[str, Any]:
    """The window's proof, once `aside` of its items were set aside and `rows` were kept."""
    if not aside:
        return proof
    return {
        "state": str(Proof.UNPROVEN),
        "coverage": rows / (rows + aside),
        "reason": f"{aside} of {rows + aside} items of this window are set aside: see `touchstone quarantine list`",
        "lossy": True,
    }


def cause_of(made: Mapping[str, Any] | None, code_version: str, upstream: str) -> str:
    """Why a partition is made: `made` is its ledger document, `upstream` why its inputs were made last."""
    if made is None or "revision" not in made:
        return Cause.FIRST
    if made.get("again"):
        return Cause.REPLAY
    if "cause" not in made:  # it was made before anything was observed
        return Cause.FIRST
    return Cause.DEFINITION if made.get("code_version") != code_version else upstream


class Because(NamedTuple):
    """What to call it that a partition is not of today: its inputs, its code, or either since it was blocked."""

    inputs: str
    code: str
    blocked: str


def why_stale(
    made: Mapping[str, Any] | None, inputs: Mapping[str, str], code_version: str, because: Because
) -> str | None:
    """Why the ledger document `made` is not of these inputs and this code, or is not finished; None if it is."""
    if made is None or "inputs" not in made:
        return MISSING
    if made.get("again"):
        return f"asked for: {made['again']}"
    if "blocked" in made:
        if not is_blocked_on(made["blocked"], inputs, code_version):
            return because.blocked
    elif made["inputs"] != inputs:
        return because.inputs
    elif made["code_version"] != code_version:
        return because.code
    if made.get("unobserved") and "blocked" not in made:
        return "its observations are not recorded yet"
    if made.get("owner"):
        return WORKED_ON
    return FAILED if "error" in made else None


def publish(  # noqa: PLR0913, PLR0917 - what is published, and what of it
    context: Context,
    dataset: str,
    scope: str,
    publications: Sequence[tuple[Claim, Publication]],
    measured: Mapping[date, Measures],
    possible: Iterable[str] | None = None,
) -> int:
    """Publish, then append what was measured of what is new; returns how many were lost to another worker.

    The claims are held until the observations are there: a crash in between leaves windows that count as unfinished.
    """
    lost = context.ledger.publish(publications, keep=context.checks)
    if not context.checks:
        return lost
    ours = set(context.ledger.held([claim for claim, _ in publications]) if lost else [c for c, _ in publications])
    observe(
        context,
        dataset,
        scope,
        [
            (claim.partition.day, measured[claim.partition.day], publication.extra["cause"])
            for claim, publication in publications
            if claim in ours
            and publication.blocked is None
            and claim.partition.day
            and (publication.revision != claim.revision or claim.unfinished or claim.report is None)
        ],
        possible,
    )
    held = [claim for claim, publication in publications if claim in ours and publication.blocked is not None]
    context.ledger.release(held)  # what was published of them before may be yet to be observed
    context.ledger.finish(list(ours - set(held)))
    return lost


def observe(
    context: Context,
    dataset: str,
    scope: str,
    measured: Iterable[tuple[date, Measures, str]],
    possible: Iterable[str] | None = None,
) -> None:
    """Append the measures of windows that were just published, each with its cause.

    possible: what may be measured of a window; else what the suite names.
    """
    possible = tuple(context.suite(dataset).measures if possible is None else possible)
    observations.append(
        context.db,
        _observations(dataset, scope, measured, possible),
        run_id=context.ledger.run_id,
        recorded_at=datetime.now(UTC),
    )


def _observations(
    dataset: str, scope: str, measured: Iterable[tuple[date, Measures, str]], possible: Sequence[str]
) -> Iterator[Observation]:
    """There are hundreds of thousands in a backfill: what many have in common is made once."""
    series: dict[str, Series] = {}
    for day, measures, why in measured:
        at, cause = schema.start_of(day), Cause(why)
        for measure, value in _told(measures, cause, possible).items():
            of = series.get(measure) or series.setdefault(measure, Series(dataset, scope, measure))
            yield Observation(of, at, value, cause)


def _told(measures: Measures, cause: Cause, possible: Iterable[str]) -> Measures:
    """What is worth recording. A number that was there and no longer is, is restated as None."""
    told = {name: value for name, value in measures.items() if name not in INTERNAL}
    if cause is not Cause.FIRST:
        return {**dict.fromkeys(possible), **told}
    return {name: value for name, value in told.items() if value != 0 or name not in USUALLY_ZERO}


def set_aside(context: Context, dataset: str, scope: str, days: Iterable[date]) -> Counter[date]:
    """How many rows are set aside, by window."""
    where = {"dataset": dataset, "origin": scope, "window": {"$in": [schema.start_of(day) for day in days]}}
    found = context.db[schema.QUARANTINE].find({**where, "state": State.OPEN}, {"window": 1})
    return Counter(one["window"].date() for one in found)


def release(context: Context, dataset: str, scope: str, claims: Sequence[Claim]) -> None:
    """Release what was set aside of these windows, and was not set aside again under the claims' fences."""
    fences = {schema.start_of(claim.partition.day): claim.fence for claim in claims if claim.partition.day}
    where = {"dataset": dataset, "origin": scope, "state": State.OPEN, "window": {"$in": list(fences)}}
    found = context.db[schema.QUARANTINE].find(where, {"window": 1, "fence": 1})
    if gone := [one["_id"] for one in found if one["fence"] < fences[one["window"]]]:
        below = max(fences.values())
        quarantine.release(
            context.db, {"_id": {"$in": gone}}, below=below, run_id=context.ledger.run_id, now=context.now
        )
