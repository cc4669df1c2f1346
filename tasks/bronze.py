"""Bronze: a sweep of a source becomes stored items and a receipt for every window.

Items are only ever added, each under an id made of its content, so fetching the same thing twice stores it once. The
cursor moves last: a sweep that was cut short is simply made again, and every window that it touched is looked at again.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import groupby
from operator import itemgetter
from typing import Final

import bson
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument
from pymongo import UpdateOne

from config import catalog, schema
from quality.receipts import Proof, Receipt, Verdict, classify
from tasks.context import Context
from tasks.ledger import Claim, Partition, Publication, insert_new
from tasks.sources.contract import Coverage, Feed, Item, Rejected, Source, SourceError, Swept

log = logging.getLogger(__name__)

SWEEP: Final = "sweep"
"""Dataset name of the ledger documents that hold cursors: one per source and unit, whole history."""

BATCH: Final = 1000
RAW_LIMIT: Final = 15 * 1024 * 1024
"""Below MongoDB's 16 MiB for a document, with room for the envelope."""

Days = tuple[date, date]
Stream = tuple[str, str, str]
"""Source, origin, stream."""

Missing = tuple[str | None, str | None, date | None]
"""Origin, stream and window of a record that could not be read, each None where it cannot be told."""

CODE: Final = "bronze/1"
"""Items are stored as they came; there is no transform whose change could make them stale."""


@dataclass(slots=True)
class _Batch:
    """What one sweep has seen so far."""

    touched: dict[Stream, set[date]] = field(default_factory=lambda: defaultdict(set))
    rejected: list[Rejected] = field(default_factory=list)
    """To be set aside with the next batch."""
    items: int = 0
    after_interruption: bool = False
    """The sweep before did not end: it may have stored items that no window's record knows of."""


def sweep(context: Context, source: Source, unit: str, days: Days, clock: Callable[[], datetime]) -> str | None:
    """Bring Bronze up to what `unit` of `source` holds now, with receipts for all windows in `days` at least.

    `clock` is asked once the unit is ours: what another worker saw while we waited is not older than what we see.
    Returns why the sweep failed, if the source could not be read: its windows then have failed receipts.
    """
    partition = Partition(SWEEP, f"{source.name}/{unit}")
    claim = context.wait_for(partition)
    now = clock()
    try:
        previous = context.ledger.find(partition)
        cursor = previous.get("cursor")
        seen = _Batch(after_interruption=previous.get("under_way", False))
        context.ledger.note(claim, {"under_way": True})
        try:
            swept = _take(context, claim, source.sweep(unit, cursor, now), seen)
        except SourceError as error:
            log.warning("sweep failed", extra={"unit": partition.scope, "error": str(error)})
            feeds = _feeds(previous) or source.feeds(unit)
            _record_failure(context, claim, feeds, days, f"the sweep failed: {error}")
            context.ledger.fail([claim], str(error))
            return str(error)
        rejected = _quarantined(context, claim)
        seen.items = seen.items or previous.get("rows", 0)
        for coverage in swept.coverages:
            for stream in coverage.streams:
                _record_windows(
                    context, claim, coverage=coverage, stream=stream, seen=seen, rejected=rejected, days=days,
                    unchanged=swept.unchanged and not seen.after_interruption,
                )  # fmt: skip
        covered = [(c.source, c.origin, c.streams) for c in swept.coverages]
        vanished = [feed for feed in _feeds(previous) if feed[:2] not in {feed[:2] for feed in covered}]
        _record_failure(context, claim, vanished, days, "the source no longer has this origin")
        kept = [{"source": s, "origin": o, "streams": list(streams)} for s, o, streams in [*covered, *vanished]]
        extra = {
            "cursor": dict(swept.cursor),
            "feeds": kept,
            "swept_at": now,
            "rejected": rejected.total(),
            "under_way": False,
        }
        publication = Publication(schema.digest(dict(swept.cursor)), {}, CODE, seen.items, extra)
        context.ledger.publish_one(claim, publication)
    except BaseException:
        context.ledger.release([claim])
        raise
    log.info("swept", extra={"unit": partition.scope, "items": seen.items, "rejected": rejected.total()})
    return None


def scopes(context: Context, source: Source, unit: str) -> list[str]:
    """The origins that `unit` feeds and that Silver knows what to do with."""
    document = context.ledger.find(Partition(SWEEP, f"{source.name}/{unit}"))
    known = {upstream for dataset in catalog.ENTITIES for upstream in dataset.upstream}
    feeds = _streams([*_feeds(document), *source.feeds(unit)])
    return sorted({origin for kind, origin, stream in feeds if catalog.bronze(kind, stream) in known})


def _feeds(document: schema.Document) -> list[Feed]:
    return [(feed["source"], feed["origin"], tuple(feed["streams"])) for feed in document.get("feeds", ())]


def _streams(feeds: Iterable[Feed]) -> list[Stream]:
    return [(kind, origin, stream) for kind, origin, streams in feeds for stream in streams]


def _take(context: Context, claim: Claim, parts: Iterable[Item | Rejected | Swept], seen: _Batch) -> Swept:
    """Store what a sweep yields, and return its last word."""
    swept = None
    batch: list[Item] = []
    for part in parts:
        if isinstance(part, Item):
            batch.append(part)
            if len(batch) >= BATCH:
                _store(context, batch, seen)
                batch.clear()
                context.ledger.renew([claim])
        elif isinstance(part, Rejected):
            seen.rejected.append(part)
            if len(seen.rejected) >= BATCH:
                _set_aside(context, claim, seen)
        else:
            swept = part
    _store(context, batch, seen)
    _set_aside(context, claim, seen)
    if swept is None:
        raise SourceError(f"{claim.partition.scope}: the sweep ended without saying what it covered")
    if swept.whole:
        # what was set aside by an earlier sweep and can be read now is no longer a problem
        context.db[schema.QUARANTINE].delete_many({"sweep": claim.partition.scope, "fence": {"$lt": claim.fence}})
    return swept


def _store(context: Context, batch: Iterable[Item], seen: _Batch) -> None:
    """Add the items that are not there yet, and set aside what BSON cannot hold."""
    by_dataset: dict[str, dict[str, Item]] = defaultdict(dict)
    for item in batch:
        try:
            by_dataset[catalog.bronze(item.source, item.stream)][_key(item)] = item
        except (ValueError, TypeError, RecursionError) as error:
            seen.rejected.append(_unfit(item, error))
    for dataset, items in by_dataset.items():
        context.bronze_collection(dataset)
        collection = context.db[dataset]
        there = {row["_id"] for row in collection.find({"_id": {"$in": list(items)}}, {"_id": 1})}
        fresh = []
        for key, item in items.items():
            try:
                if key not in there:
                    fresh.append(_document(item, key, context.now))
            except (BSONError, OverflowError, ValueError, TypeError, RecursionError) as error:
                seen.rejected.append(_unfit(item, error))
            else:
                seen.items += 1
                seen.touched[item.source, item.origin, item.stream].add(item.updated_on.date())
        insert_new(collection, fresh)


def _unfit(item: Item, error: Exception) -> Rejected:
    """An item that MongoDB cannot hold, as text that it can."""
    reason = f"MongoDB cannot hold it: {type(error).__name__}: {str(error)[:200]}"
    raw = repr(item.payload).encode("utf-8", "backslashreplace")
    return Rejected(item.place, reason, raw, item.origin, item.stream, item.updated_on)


def _key(item: Item) -> str:
    return schema.digest([item.source, item.stream, item.origin, item.id, item.updated_on, item.deleted, item.payload])


def _document(item: Item, key: str, now: datetime) -> RawBSONDocument:
    document = {
        "_id": key,
        "source": item.source,
        "stream": item.stream,
        "origin": item.origin,
        "id": item.id,
        "updated_on": item.updated_on,
        "window": schema.start_of(item.updated_on.date()),
        **({"deleted": True} if item.deleted else {}),
        "payload": item.payload,
        "fetched_at": now,
    }
    encoded = bson.encode(document)
    if len(encoded) > RAW_LIMIT:
        message = f"{len(encoded)} bytes are more than a document may have"
        raise ValueError(message)
    return RawBSONDocument(encoded)


def _set_aside(context: Context, claim: Claim, seen: _Batch) -> None:
    """Keep what could not be read, byte for byte, under the fence of the sweep that met it last."""
    operations = []
    for part in seen.rejected:
        document = {
            "sweep": claim.partition.scope,
            "place": part.place,
            "reason": part.reason,
            "raw": part.raw[:RAW_LIMIT],
            "bytes": len(part.raw),
            "origin": part.origin,
            "stream": part.stream,
            "updated_on": part.updated_on,
            "set_aside_at": context.now,
        }
        key = schema.digest([claim.partition.scope, part.place, part.raw])
        operations.append(
            UpdateOne({"_id": key}, {"$max": {"fence": claim.fence}, "$setOnInsert": document}, upsert=True)
        )
    if operations:
        context.db[schema.QUARANTINE].bulk_write(operations, ordered=False)
    seen.rejected.clear()


def _quarantined(context: Context, claim: Claim) -> Counter[Missing]:
    """How much the unit's sweeps could not read, by where it belongs as far as that is known."""
    return Counter(
        (one["origin"], one["stream"], one["updated_on"].date() if one["updated_on"] else None)
        for one in context.db[schema.QUARANTINE].find({"sweep": claim.partition.scope}, {"raw": 0})
    )


def _record_windows(  # noqa: PLR0913 - one call, from one place
    context: Context,
    claim: Claim,
    *,
    coverage: Coverage,
    stream: str,
    seen: _Batch,
    rejected: Counter[Missing],
    days: Days,
    unchanged: bool,
) -> None:
    """Give each window of the stream its receipt and revision, where these are new."""
    dataset = catalog.bronze(coverage.source, stream)
    touched = seen.touched.get((coverage.source, coverage.origin, stream), set())
    if seen.after_interruption:
        touched |= {row["_id"].date() for row in context.db[dataset].aggregate(_windows_of(coverage.origin))}
    asked = set(schema.each_day(days))
    if unchanged:
        open_ = set(context.ledger.unsettled_days(dataset, coverage.origin))
        if not open_ and context.ledger.count_proven(dataset, coverage.origin, days) == len(asked):
            return
        asked |= open_
    known: dict[date, schema.Document] = {}
    fields = ("revision", "content", "rows", "proof", "receipt.sweep")
    for document in context.ledger.windows(dataset, coverage.origin, fields):
        known[document["window"].date()] = document
    wanted = asked if unchanged else asked | touched | known.keys()
    contents = dict(_contents(context, dataset, coverage.origin, touched))
    nowhere = sum(n for missing, n in rejected.items() if _may_be_anywhere(missing, coverage))
    whole = not (rejected or coverage.problem)
    items_anywhere = (coverage.evidence or {}).get("items", seen.items)
    publications = []
    for day in sorted(wanted):
        before = known.get(day, {})
        content, rows = contents.get(day, (before.get("content", ""), before.get("rows", 0)))
        start = schema.start_of(day)
        settled = content == before.get("content") and before["proof"]["state"] == Proof.PROVEN
        if settled and whole and coverage.start <= start and start + schema.DAY <= coverage.end:
            continue  # nothing came, and nothing has become doubtful
        receipt = Receipt(
            sweep=claim.partition.scope,
            start=start,
            end=start + schema.DAY,
            covered_from=coverage.start,
            covered_until=coverage.end,
            items=rows,
            rejected=rejected[coverage.origin, stream, day],
            rejected_anywhere=nowhere,
            items_anywhere=items_anywhere,
            problem=coverage.problem,
            evidence=coverage.evidence,
        )
        verdict = classify(receipt)
        proof = before["proof"] if _keeps(before, verdict, claim) else verdict.document()
        revision = schema.digest([content, proof])
        if revision != before.get("revision"):
            extra = {"content": content, "proof": proof, "receipt": receipt.document()}
            publications.append(
                (Partition(dataset, coverage.origin, day), Publication(revision, {}, CODE, rows, extra))
            )
    context.plan(len(publications))
    for at in range(0, len(publications), context.chunk):
        context.ledger.record_under(claim, publications[at : at + context.chunk])
        context.progress(len(publications[at : at + context.chunk]))


def _windows_of(origin: str) -> list[schema.Document]:
    return [{"$match": {"origin": origin}}, {"$group": {"_id": "$window"}}]


def _may_be_anywhere(missing: Missing, coverage: Coverage) -> bool:
    """Whether the record may belong to any window of the origin, as far as can be told from what is left of it."""
    origin, stream, day = missing
    return origin in (None, coverage.origin) and (stream not in coverage.streams or day is None)


def _keeps(before: schema.Document, verdict: Verdict, claim: Claim) -> bool:
    """Whether what another source knows of the window stands, because this one knows less."""
    if "proof" not in before or before["receipt"]["sweep"] == claim.partition.scope:
        return False
    best_first = list(Proof)
    return best_first.index(Proof(before["proof"]["state"])) < best_first.index(verdict.proof)


def _contents(context: Context, dataset: str, origin: str, days: set[date]) -> Iterator[tuple[date, tuple[str, int]]]:
    """Per window the hash and the number of the items that are in Bronze now, whoever put them there."""
    if not days:
        return
    window = {"$gte": schema.start_of(min(days)), "$lte": schema.start_of(max(days))}
    rows = context.db[dataset].find(
        {"origin": origin, "window": window}, {"window": 1}, sort=[("window", 1)], batch_size=10_000
    )
    for start, group in groupby(rows, key=itemgetter("window")):
        if start.date() in days:
            ids = sorted(row["_id"] for row in group)
            yield start.date(), (schema.digest(ids), len(ids))


def _record_failure(context: Context, claim: Claim, feeds: Iterable[Feed], days: Days, error: str) -> None:
    """A failed receipt for each asked window of which nothing is known; what was seen before stays."""
    for source, origin, stream in _streams(feeds):
        dataset = catalog.bronze(source, stream)
        known = {
            document["window"].date()
            for document in context.ledger.windows(dataset, origin, ("proof",), days)
            if document.get("proof", {}).get("state") != Proof.FAILED
        }
        verdict = Verdict(Proof.FAILED, 0.0, error).document()
        extra = {"content": "", "proof": verdict, "receipt": {"sweep": claim.partition.scope, "error": error}}
        publication = Publication(schema.digest(["", verdict]), {}, CODE, 0, extra)
        missing = [day for day in schema.each_day(days) if day not in known]
        context.ledger.record_under(claim, [(Partition(dataset, origin, day), publication) for day in missing])
