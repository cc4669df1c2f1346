"""Silver's entities: Bronze items of a window are folded into rows, one per entity.

The fold converges: a row is replaced only by a newer version, so windows may be folded late, twice, in any order and by
several workers at once. A window that was half applied is only less new, and it is folded again.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import groupby
from typing import Any, Final

from config import schema
from config.catalog import Dataset
from quality import quarantine
from quality.gate import Assessment, Break, Measures, Part, Row
from quality.observations import Cause
from quality.receipts import Proof
from quality.tally import tally
from tasks import checks, corrections, withdrawn
from tasks.context import Context
from tasks.entity_rows import apply
from tasks.ledger import Claim, Partition, Publication
from tasks.transforms import code_version, counting, silver

BATCH: Final = 2000

_STATES: Final = [str(state) for state in Proof]
"""Best first."""

_BECAUSE: Final = checks.Because(
    inputs="its Bronze has changed",
    code="the transform or its rules have changed",
    blocked="its Bronze or its rules have changed since it was blocked",
)


def code(context: Context, dataset: Dataset, scope: str) -> str:
    """The version of what makes and judges rows of `dataset`: the code, what counts as what in `scope`, the suite."""
    counts = counting.version(dataset.name, counting.rules(context.settings, scope))
    return context.code(dataset.name, code_version(*silver.MODULES) + (counts and f"+{counts}"))


@dataclass(frozen=True, slots=True)
class Stale:
    """A window whose rows are not made from today's Bronze by today's code."""

    day: date
    inputs: dict[str, str]
    proof: dict[str, Any]
    why: str
    cause: str = Cause.FIRST
    rows: int = 0
    """How many items its Bronze has."""


@dataclass(slots=True)
class _Staged:
    """The rows of one window, before they are judged."""

    window: Stale
    rows: list[schema.Document] = field(default_factory=list)
    tombstones: list[schema.Document] = field(default_factory=list)
    misshapen: list[quarantine.Row] = field(default_factory=list)
    left_out: int = 0
    """How many of its items were set aside in Bronze, or a person said that they are no data."""
    fetched: dict[str, datetime] = field(default_factory=dict)
    """When each item came, by its Bronze id."""

    def is_mended(self, item: Mapping[str, Any], good: Mapping[str, Sequence[Row]]) -> bool:
        """Whether a good version of the entity, no older by the source's time, came after this bad one.

        good: rows of this window, by entity.
        """
        at, since = silver.version(item["updated_on"], ""), self.fetched[item["_id"]]
        return any(
            row["version"] > at and self.fetched[row["bronze"]] > since for row in good.get(silver.row_id(item), ())
        )


def stale(context: Context, dataset: Dataset, scope: str, days: tuple[date, date] | None = None) -> Iterator[Stale]:
    """The stale windows of `dataset` (in [first, last)), in order of time. Streams, whatever their number."""
    fields = ("dataset", "revision", "proof", "rows", "cause", "blocked.first")
    feeds = [context.ledger.windows(upstream, scope, fields, days) for upstream in dataset.upstream]
    made = context.ledger.windows(dataset.name, scope, ("dataset", *checks.LOOKED_AT), days)
    version = code(context, dataset, scope)
    for start, group in groupby(heapq.merge(*feeds, made, key=_window), key=_window):
        inputs, upstream, row = {}, [], None
        for document in group:
            if document["dataset"] == dataset.name:
                row = document
            elif "revision" in document:
                inputs[document["dataset"]] = document["revision"]
                upstream.append(document)
        if not upstream or any(_is_held(document) for document in upstream):
            continue
        if why := checks.why_stale(row, inputs, version, _BECAUSE):
            before = (row or {}).get("inputs", {})
            news = [one for one in upstream if one["revision"] != before.get(one["dataset"])] or upstream
            cause = checks.cause_of(row, version, news[-1].get("cause", Cause.FIRST))
            proof = _worst([document["proof"] for document in upstream])
            yield Stale(start.date(), inputs, proof, why, cause, sum(document["rows"] for document in upstream))


def _is_held(document: schema.Document) -> bool:
    """Whether newer items of this Bronze window must not go on: what was made of the older ones stays."""
    return "blocked" in document and not document["blocked"].get("first")


def fold(context: Context, dataset: Dataset, scope: str, windows: Sequence[Stale]) -> int:
    """Fold `windows` and commit each by itself; returns how many (another worker may have the rest)."""
    by_partition = {Partition(dataset.name, scope, window.day): window for window in windows}
    claimed = context.ledger.claim(list(by_partition))
    version = code(context, dataset, scope)
    current = {claim for claim in claimed if claim.is_made_from(by_partition[claim.partition].inputs, version)}
    context.ledger.leave(list(current))
    todo = [claim for claim in claimed if claim not in current]
    lost = 0
    for piece in checks.pieces(todo, lambda claim: by_partition[claim.partition].rows):
        with context.ledger.holding(todo):
            context.ledger.renew(todo)
            lost += _fold(context, dataset, scope, {claim: by_partition[claim.partition] for claim in piece})
        context.progress(len(piece))
        todo = todo[len(piece) :]
    return len(claimed) - lost


def _fold(context: Context, dataset: Dataset, scope: str, windows: Mapping[Claim, Stale]) -> int:
    """Stage, check and publish what is claimed; returns how many were lost to another worker."""
    claims = list(windows)
    staged = _stage(context, dataset, scope, list(windows.values()))
    suite = context.suite(dataset.name)
    parts = [_part(one, claim) for one, claim in zip(staged, claims, strict=True)]
    assessments = checks.assess(context, dataset.name, parts, lambda rows: tally(suite, rows, "id"))
    context.ledger.renew(claims)
    aside = _set_aside(context, dataset, scope, claims, staged, assessments)
    publications, kept = [], []
    version = code(context, dataset, scope)
    for claim, one, found in zip(claims, staged, assessments, strict=True):
        publication = _publication(context, version, claim, one, found, aside[one.window.day])
        publications.append((claim, publication))
        if publication.blocked is None:
            kept += [*found.kept, *one.tombstones]
    for at in range(0, len(kept), BATCH):
        apply(context, dataset, kept[at : at + BATCH])
        context.ledger.renew(claims)
    held = {claim.partition.day for claim, one in publications if one.blocked and claim.partition.day}
    days = {one.window.day for one in staged}
    corrections.correct(context, dataset, scope, days - held, held)
    measured = {one.window.day: found.measures for one, found in zip(staged, assessments, strict=True)}
    return checks.publish(context, dataset.name, scope, publications, measured)


def _part(staged: _Staged, claim: Claim) -> Part:
    window = staged.window
    accounts: Measures = {
        "receipt.items": window.rows,
        "receipt.coverage": window.proof["coverage"],
        "accounted": len(staged.rows) + len(staged.tombstones) + len(staged.misshapen) + staged.left_out,
    }
    content = schema.digest(sorted([*(row["_id"] + row["bronze"] for row in staged.rows)]))
    before = None if claim.unfinished else claim.report
    return Part(staged.rows, accounts, len(staged.misshapen), content=content, before=before)


def _publication(  # noqa: PLR0913, PLR0917 - one call, from one place
    context: Context, version: str, claim: Claim, staged: _Staged, found: Assessment, aside: int
) -> Publication:
    window = staged.window
    extra = {"report": found.report.document(), "cause": window.cause} if context.checks else {}
    held = checks.blocked(found, first=claim.is_first)
    if held:
        proof = checks.unknown(found.report)
        return Publication(
            schema.digest([[], proof]), window.inputs, version, 0, {"proof": proof, **extra}, blocked=held
        )
    rows = sorted(schema.digest(row) for row in [*found.kept, *staged.tombstones])
    proof = checks.lessened(window.proof, aside, len(rows))
    return Publication(schema.digest([rows, proof]), window.inputs, version, len(rows), {"proof": proof, **extra})


def _set_aside(  # noqa: PLR0913, PLR0917 - one call, from one place
    context: Context,
    dataset: Dataset,
    scope: str,
    claims: Sequence[Claim],
    staged: Sequence[_Staged],
    assessments: Sequence[Assessment],
) -> dict[date, int]:
    """Quarantine what is wrong with the windows, release what no longer is; how many rows each loses by it."""
    aside = {}
    for claim, one, found in zip(claims, staged, assessments, strict=True):
        why = {row["bronze"]: breaks for row, breaks in found.broken}
        good = _by_entity(found.kept if why else ())
        items = [item for item in _items_by_id(context, dataset, list(why)) if not one.is_mended(item, good)]
        wrong = [*one.misshapen, *(quarantine.Row(item, why[item["_id"]]) for item in items)]
        aside[one.window.day] = (
            quarantine.put(
                context.db, dataset.name, wrong, fence=claim.fence, run_id=context.ledger.run_id, now=context.now
            )
            if wrong
            else 0
        )
    checks.release(context, dataset.name, scope, claims)
    return aside


def _stage(context: Context, dataset: Dataset, scope: str, windows: Sequence[Stale]) -> list[_Staged]:
    """The rows of `windows`, in memory; what has not the shape of its stream apart."""
    staged = {window.day: _Staged(window) for window in windows}
    rules = counting.rules(context.settings, scope)
    for item, is_out in _items(context, dataset, scope, [window for window in windows if window.rows]):
        one = staged[item["window"].date()]
        one.left_out += is_out
        one.fetched[item["_id"]] = item.pop("fetched_at")
        if is_out:
            continue
        try:
            row = silver.row(dataset.name, item, rules)
        except silver.RowError as error:
            wrong = Break(quarantine.SHAPE, error.path, error.value, str(error))
            one.misshapen.append(quarantine.Row(item, [wrong]))
        else:
            if not row.get("deleted"):
                one.rows.append(row)
            elif item.get("deleted") or row.get("none"):  # else the transform has made it up: it is not accounted for
                one.tombstones.append(row)
    for one in staged.values():
        good = _by_entity(one.rows if one.misshapen else ())
        bad = [wrong for wrong in one.misshapen if not one.is_mended(wrong.item, good)]
        one.left_out += len(one.misshapen) - len(bad)
        one.misshapen = bad
    return list(staged.values())


def _by_entity(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["id"]].append(row)
    return found


def _items(
    context: Context, dataset: Dataset, scope: str, windows: Sequence[Stale]
) -> Iterator[tuple[schema.Document, bool]]:
    """What Bronze has for these windows, and of each item whether it goes no further.

    It was set aside there, or it was here and a person has said that it is no data.
    """
    where = {"origin": scope, "window": {"$in": [schema.start_of(window.day) for window in windows]}}
    no_data = {"dataset": dataset.name, "state": quarantine.State.DISCARDED}
    for upstream in sorted({name for window in windows for name in window.inputs}):
        either = [{"dataset": upstream, **quarantine.OUT}, no_data]
        aside = context.db[schema.QUARANTINE].find({**where, "$or": either}, {"item._id": 1})
        out = {one["item"]["_id"] for one in aside}
        gone = withdrawn.ids(context, upstream, scope, where["window"])
        for item in context.db[upstream].find(where, batch_size=BATCH):
            if item["_id"] not in gone:
                yield item, item["_id"] in out


def _items_by_id(context: Context, dataset: Dataset, ids: Sequence[str]) -> Iterator[schema.Document]:
    for upstream in dataset.upstream if ids else ():
        yield from context.db[upstream].find({"_id": {"$in": list(ids)}}, {"fetched_at": 0})


def _window(document: schema.Document) -> Any:
    return document["window"]


def _worst(proofs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The proof of a window that several streams feed: that of the one that is known least, lossy if any is."""
    worst = max(proofs, key=lambda proof: (_STATES.index(proof["state"]), -proof["coverage"]))
    return worst if worst.get("lossy") or not any(one.get("lossy") for one in proofs) else worst | {"lossy": True}
