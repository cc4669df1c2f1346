"""Bronze: a sweep of a source becomes stored items and a receipt for every window.

Items are only ever added, each under an id made of its content, so fetching the same thing twice stores it once. The
cursor moves last: a sweep that was cut short is simply made again, and every window that it touched is looked at again.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from typing import Final

import bson
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument

from config import catalog, schema
from quality import quarantine
from quality.extractions import failure
from quality.quarantine import State
from quality.shapes import safe
from tasks import checks, windows, withdrawn
from tasks.context import Context
from tasks.ledger import Claim, Partition, Publication, insert_new
from tasks.sources.contract import Feed, Item, Part, Progress, Rejected, Source, SourceError, Swept
from tasks.windows import Days, Missing, Seen, Stream
from tasks.withdrawn import Handed

log = logging.getLogger(__name__)

BATCH: Final = 1000
NAMED: Final = 3
"""Streams that the failure of a sweep names."""
BATCH_BYTES: Final = 32 * 1024 * 1024
"""Of raw records, beyond which a batch ends though it is of fewer than BATCH."""
ITEM_LIMIT: Final = 15 * 1024 * 1024
"""Below MongoDB's 16 MiB for a document, with room for the envelope."""
DEPTH_LIMIT: Final = 150
"""Levels of an item; MongoDB stores 180, and the quarantine wraps an item in some more."""
_CONTAINERS: Final = (b"\x03", b"\x04")
"""BSON's types of objects and lists, each of which begins with one of these bytes."""


def sweep(context: Context, source: Source, unit: str, days: Days, clock: Callable[[], datetime]) -> str | None:
    """Bring Bronze up to what `unit` of `source` holds now, with receipts for all windows in `days` at least.

    `clock` is asked once the unit is ours: what another worker saw while we waited is not older than what we see.
    Returns why the sweep failed, if the source, or a stream of it, could not be read: its windows then have receipts
    that say so.
    """
    partition = Partition(catalog.SWEEP, f"{source.name}/{unit}")
    claim = context.wait_for(partition)
    now = clock()
    try:
        previous = context.ledger.find(partition)
        cursor = previous.get("progress") or previous.get("cursor")
        if cursor is None:
            checks.warm(context)  # all will be new
        handed = Handed(partition.scope)
        interrupted = previous.get("under_way", False)
        seen = Seen(context.checks, handed, after_interruption=interrupted, unreadable=_unreadable(context, claim))
        context.ledger.note(claim, {"under_way": True})
        try:
            with context.ledger.kept(claim):
                swept = _take(context, claim, source.sweep(unit, cursor, now), seen)
        except SourceError as error:
            log.warning("sweep failed", extra={"unit": partition.scope, "error": str(error)})
            feeds = _streams(_feeds(previous) or source.feeds(unit))
            windows.record_failure(context, claim, feeds, days, str(error))
            context.ledger.fail([claim], str(error))
            return str(error)
        rejected = _quarantined(context, claim)
        seen.items = seen.items or previous.get("rows", 0)
        covered = [(c.source, c.origin, c.streams) for c in swept.coverages]
        vanished = [feed for feed in _feeds(previous) if feed[:2] not in {feed[:2] for feed in covered}]
        code = _code(context, [*covered, *vanished])
        unchanged = swept.unchanged and not seen.after_interruption and previous.get("code_version") == code
        whole = True
        for coverage in swept.coverages:
            for stream in coverage.streams:
                sight = windows.Sight(coverage, stream, seen, rejected, days, unchanged=unchanged)
                whole &= windows.record(context, claim, sight)
        windows.record_failure(context, claim, _streams(vanished), days, "the source no longer has this origin")
        kept = [{"source": s, "origin": o, "streams": list(streams)} for s, o, streams in [*covered, *vanished]]
        extra = {
            "cursor": dict(swept.cursor) if whole else None,  # what was lost on the way is to be handed over again
            "progress": None,
            "feeds": kept,
            "swept_at": now,
            "rejected": rejected.total(),
            "under_way": False,
        }
        publication = Publication(schema.digest(dict(swept.cursor)), {}, code, seen.items, extra)
        context.ledger.publish_one(claim, publication)
    except BaseException:
        context.ledger.release([claim])
        raise
    log.info("swept", extra={"unit": partition.scope, "items": seen.items, "rejected": rejected.total()})
    return _failures(partition.scope, swept)


def _failures(unit: str, swept: Swept) -> str | None:
    """Why streams of a sweep that came to its end could not be read."""
    found = {
        f"{coverage.origin} {one.stream or ', '.join(coverage.streams)}: {reason}": None
        for coverage in swept.coverages
        for one in coverage.extractions
        if (reason := failure(one)) is not None
    }
    if not found:
        return None
    more = f"; and {len(found) - NAMED} more" if len(found) > NAMED else ""
    log.warning("streams failed", extra={"unit": unit, "streams": len(found)})
    return "; ".join(list(found)[:NAMED]) + more


def scopes(context: Context, source: Source, unit: str) -> list[str]:
    """The origins that `unit` feeds and that Silver knows what to do with."""
    document = context.ledger.find(Partition(catalog.SWEEP, f"{source.name}/{unit}"))
    known = {upstream for dataset in catalog.ENTITIES for upstream in dataset.upstream}
    feeds = _streams([*_feeds(document), *source.feeds(unit)])
    return sorted({origin for kind, origin, stream in feeds if catalog.bronze(kind, stream) in known})


def _code(context: Context, feeds: Iterable[Feed]) -> str:
    """The version of all that judges what these feeds bring."""
    datasets = sorted({catalog.bronze(kind, stream) for kind, _, stream in _streams(feeds)})
    return schema.digest([windows.code(context, dataset) for dataset in datasets])


def _feeds(document: schema.Document) -> list[Feed]:
    return [(feed["source"], feed["origin"], tuple(feed["streams"])) for feed in document.get("feeds", ())]


def _streams(feeds: Iterable[Feed]) -> list[Stream]:
    return [(kind, origin, stream) for kind, origin, streams in feeds for stream in streams]


def _take(context: Context, claim: Claim, parts: Iterable[Part], seen: Seen) -> Swept:
    """Store what a sweep yields, note how far it is, and return its last word."""
    swept = None
    batch: list[Item] = []
    size = 0
    for part in parts:
        match part:
            case Item():
                batch.append(part)
                size += len(part.raw) or len(repr(part.payload))
                if part.place in seen.unreadable:
                    seen.mended.add(part.place)
            case Rejected():
                seen.rejected.append(part)
                size += len(part.raw)
            case Progress():
                _keep(context, claim, batch, seen)
                context.ledger.note(claim, {"progress": dict(part.cursor)})
                size = 0
            case Swept():
                swept = part
        if max(len(batch), len(seen.rejected)) >= BATCH or size >= BATCH_BYTES:
            _keep(context, claim, batch, seen)
            size = 0
    _keep(context, claim, batch, seen)
    if swept is None:
        raise SourceError(f"{claim.partition.scope}: the sweep ended without saying what it covered")
    _conclude(context, claim, swept, seen)
    return swept


def _conclude(context: Context, claim: Claim, swept: Swept, seen: Seen) -> None:
    """Take back what earlier sweeps handed over or set aside, where this one says all there is to say."""
    where: schema.Document = {"sweep": claim.partition.scope}
    if not swept.whole:  # else what was set aside by an earlier sweep and was not met again is no longer a problem
        where["place"] = {"$in": sorted(seen.mended)}
    if swept.whole or seen.mended:
        quarantine.release(context.db, where, below=claim.fence, run_id=context.ledger.run_id, now=context.now)
    if swept.replaces:
        for dataset, origin, day, more in withdrawn.settle(context, claim, seen.handed):
            _, source, stream = dataset.split(".", 2)
            seen.touched[source, origin, stream][day] += more


def _keep(context: Context, claim: Claim, batch: list[Item], seen: Seen) -> None:
    """Store what has come since the last time."""
    _store(context, batch, seen)
    batch.clear()
    _set_aside(context, claim, seen)
    context.ledger.renew([claim])


def _store(context: Context, batch: Iterable[Item], seen: Seen) -> None:
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
        counted: Counter[tuple[Stream, date]] = Counter()
        there = _there(collection, dataset, items, seen)
        fresh = []
        for key, item in items.items():
            stream, day = (item.source, item.origin, item.stream), item.updated_on.date()
            seen.handed.take(key)
            if key not in there:
                try:
                    fresh.append(_document(item, key, context.now, seen.handed.unit))
                except (BSONError, OverflowError, ValueError, TypeError, RecursionError) as error:
                    seen.rejected.append(_unfit(item, error))
                    continue
                seen.look_at(dataset, item)
            counted[stream, day] += key not in there
            seen.items += 1
        if fresh:
            checks.warm(context)
        alone = insert_new(collection, fresh) == len(fresh)
        for (stream, day), number in counted.items():
            # where another worker stored some of these meanwhile, how many are new here can not be told by day
            seen.touched[stream][day] += number if alone else 0
        if seen.shapes.full:
            seen.merge(context)


def _there(collection: schema.Coll, dataset: str, items: Mapping[str, Item], seen: Seen) -> set[str]:
    """Which of `items` are there; takes note of the entities that have other versions."""
    named = [item for item in items.values() if _is_storable(item.origin) and _is_storable(item.id)]
    where = {
        "origin": {"$in": sorted({item.origin for item in named})},
        "id": {"$in": sorted({item.id for item in named})},
    }
    there = set()
    for row in collection.find(where, {"origin": 1, "id": 1}):
        if row["_id"] in items:
            there.add(row["_id"])
        else:
            seen.handed.several[dataset].add((row["origin"], row["id"]))
    return there


def _is_storable(text: str) -> bool:
    """Whether MongoDB can hold it: what it cannot is not there either."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unfit(item: Item, error: Exception) -> Rejected:
    """An item that MongoDB cannot hold, as it came, or as text where the source does not have that."""
    reason = f"MongoDB cannot hold it: {type(error).__name__}: {str(error)[:200]}"
    raw = item.raw or repr(item.payload).encode("utf-8", "backslashreplace")
    return Rejected(item.place, reason, raw, item.origin, item.stream, item.updated_on)


def _key(item: Item) -> str:
    return schema.digest([item.source, item.stream, item.origin, item.id, item.updated_on, item.deleted, item.payload])


def _document(item: Item, key: str, now: datetime, unit: str) -> RawBSONDocument:
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
        "unit": unit,
    }
    encoded = bson.encode(document)
    if len(encoded) > ITEM_LIMIT:
        message = f"{len(encoded)} bytes are more than a document may have"
        raise ValueError(message)
    # most items have fewer of these bytes, whatever they stand for, than levels are allowed
    if sum(map(encoded.count, _CONTAINERS)) > DEPTH_LIMIT and schema.is_deeper(item.payload, DEPTH_LIMIT):
        message = f"nested deeper than {DEPTH_LIMIT} levels"
        raise ValueError(message)
    return RawBSONDocument(encoded)


def _set_aside(context: Context, claim: Claim, seen: Seen) -> None:
    """Keep what could not be read, byte for byte, under the fence of the sweep that met it last."""
    documents = []
    for part in seen.rejected:
        document = {
            "sweep": claim.partition.scope,
            "place": safe(part.place),
            "reason": safe(part.reason),
            "raw": part.raw,
            "bytes": len(part.raw),
            "origin": part.origin and safe(part.origin),
            "stream": part.stream and safe(part.stream),
            "updated_on": part.updated_on,
            "fence": claim.fence,
            "run_id": context.ledger.run_id,
        }
        documents.append((schema.digest([claim.partition.scope, part.place, part.raw])[:16], document))
    quarantine.put_record(context.db, documents, context.now)
    seen.rejected.clear()


def _unreadable(context: Context, claim: Claim) -> frozenset[str]:
    """The places of what the unit's sweeps could not read so far."""
    where = {"sweep": claim.partition.scope, "state": State.OPEN}
    return frozenset(one["place"] for one in context.db[schema.QUARANTINE].find(where, {"_id": 0, "place": 1}))


def _quarantined(context: Context, claim: Claim) -> Counter[Missing]:
    """How much the unit's sweeps could not read, by where it belongs as far as that is known."""
    where = {"sweep": claim.partition.scope, "state": State.OPEN}
    return Counter(
        (one["origin"], one["stream"], _day(one["updated_on"], context.now))
        for one in context.db[schema.QUARANTINE].find(where, {"raw": 0})
    )


def _day(at: datetime | None, now: datetime) -> date | None:
    """The window of a record; a date that cannot be does not tell it."""
    return at.date() if at is not None and windows.is_possible(at.date(), now) else None
