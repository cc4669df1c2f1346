"""The windows of a Bronze stream after a sweep: what came, what it is worth, what is wrong with it.

Items lie in Bronze before their window is judged, but no other layer looks at a window whose record does not say so.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import groupby
from operator import itemgetter
from typing import Final

from config import catalog, schema
from quality import drift, measures, quarantine
from quality.findings import Judges
from quality.gate import Assessment, Measures, Part
from quality.observations import Cause
from quality.receipts import FIRST_POSSIBLE, Proof, Receipt, Verdict, classify, worst
from quality.shapes import Shapes
from tasks import checks, withdrawn
from tasks.context import Context
from tasks.ledger import Claim, Partition, Publication
from tasks.sources.contract import Coverage, Item, Rejected
from tasks.withdrawn import Handed

Days = tuple[date, date]
Stream = tuple[str, str, str]
"""Source, origin, stream."""

Missing = tuple[str | None, str | None, date | None]
"""Origin, stream and window of a record that could not be read, each None where it cannot be told."""

CODE: Final = "bronze/2"
"""Items are stored as they came; there is no transform whose change could make them stale."""

ROWS: Final = 20_000
"""About how many items are held in memory and judged at once."""

FIELDS: Final = (
    "revision", "content", "rows", "proof", "receipt.sweep", "code_version", "unobserved", "again", "blocked", "report",
    "cause",
)  # fmt: skip


@dataclass(slots=True)
class Seen:
    """What one sweep has seen so far."""

    checks: bool
    handed: Handed
    touched: dict[Stream, Counter[date]] = field(default_factory=lambda: defaultdict(Counter))
    """How many items were new, by window."""
    rejected: list[Rejected] = field(default_factory=list)
    """To be set aside with the next batch."""
    items: int = 0
    shapes: Shapes = field(default_factory=Shapes)
    after_interruption: bool = False
    """The sweep before did not end: it may have stored items that no window's record knows of."""
    unreadable: frozenset[str] = frozenset()
    """The places of records that no earlier sweep could read."""
    mended: set[str] = field(default_factory=set)
    """Those of them of which this one has handed over an item."""

    def look_at(self, dataset: str, item: Item) -> None:
        """Take note of the shape of an item."""
        if self.checks and not item.deleted:
            window = schema.start_of(item.updated_on.date())
            self.shapes.add(dataset, item.origin, window, item.id, item.payload)

    def merge(self, context: Context) -> None:
        """Hold the shapes seen against those that are known."""
        if self.checks:
            drift.merge(context.db, self.shapes, run_id=context.ledger.run_id, now=context.now)
            self.shapes = Shapes()


@dataclass(frozen=True, slots=True)
class Sight:
    """What a sweep says of one stream of one origin."""

    coverage: Coverage
    stream: str
    seen: Seen
    rejected: Counter[Missing]
    days: Days
    """Windows that are asked for, [first, last)."""
    unchanged: bool

    @property
    def dataset(self) -> str:
        """Its Bronze dataset."""
        return catalog.bronze(self.coverage.source, self.stream)

    @property
    def origin(self) -> str:
        """Its origin, the scope of its windows."""
        return self.coverage.origin


@dataclass(frozen=True, slots=True)
class _Window:
    """One window to be recorded."""

    day: date
    before: schema.Document
    content: str
    receipt: Receipt
    new: int
    """How many items the sweep has added."""

    @property
    def expected(self) -> int:
        """How many items must be there now."""
        last = self.before.get("blocked", self.before)
        return int(last.get("rows", 0)) + self.new


def code(context: Context, dataset: str) -> str:
    """The version of what judges the windows of `dataset`."""
    return context.code(dataset, CODE)


def record(context: Context, claim: Claim, sight: Sight) -> bool:
    """Give each window of the stream its receipt, its report and its revision, where these are new.

    Returns whether all is there that the sweep has stored: if not, its cursor must not move.
    """
    windows = _windows(context, claim, sight)
    context.plan(len(windows))
    suite = context.suite(sight.dataset)
    starts = [schema.start_of(window.day) for window in windows]
    measured: dict[date, Measures] = {}
    if context.checks and windows:
        collection = context.db[sight.dataset]
        numbers = measures.measure(collection, suite, measures.BRONZE, sight.origin, starts, context.now)
        measured = {start.date(): one for start, one in numbers.items()}
    for piece in _pieces(windows, context.chunk):
        assessments = _assess(context, sight, piece, measured)
        aside = _set_aside(context, claim, sight, piece, assessments)
        publications = {}
        for window, found in zip(piece, assessments, strict=True):
            publication = _publication(context, claim, sight, window, found, aside.get(window.day, 0))
            if _is_news(window.before, publication):
                publications[window.day] = publication
        partitions = {Partition(sight.dataset, sight.origin, day): one for day, one in publications.items()}
        context.ledger.record_under(claim, list(partitions.items()), keep=context.checks)
        if context.checks:
            news = [
                (window.day, found.measures, publications[window.day].extra["cause"])
                for window, found in zip(piece, assessments, strict=True)
                if _is_to_be_told(window.before, publications.get(window.day))
            ]
            checks.observe(context, sight.dataset, sight.origin, news)
            told = [day for day, one in publications.items() if one.blocked is None]
            context.ledger.observed(claim, sight.dataset, sight.origin, told)
        else:
            context.ledger.renew([claim])
        context.progress(len(piece))
    return all(window.receipt.items >= window.expected for window in windows)


def record_failure(context: Context, claim: Claim, streams: Iterable[Stream], days: Days, error: str) -> None:
    """A failed receipt for each asked window of which nothing is known; what was seen before stays."""
    for source, origin, stream in streams:
        dataset = catalog.bronze(source, stream)
        known = {
            document["window"].date()
            for document in context.ledger.windows(dataset, origin, ("proof",), days)
            if document.get("proof", {}).get("state") != Proof.FAILED
        }
        start, end = (schema.start_of(day) for day in days)
        receipt = Receipt(claim.partition.scope, start, end, start, start, items=0, error=error)
        verdict = classify(receipt).document()
        extra = {"content": "", "proof": verdict, "receipt": receipt.document(), "cause": Cause.FIRST}
        publication = Publication(schema.digest(["", verdict]), {}, code(context, dataset), 0, extra)
        missing = [day for day in schema.each_day(days) if day not in known]
        context.ledger.record_under(claim, [(Partition(dataset, origin, day), publication) for day in missing])


def _windows(context: Context, claim: Claim, sight: Sight) -> list[_Window]:
    """The windows to look at: those that were touched, asked for, or may be known better now."""
    dataset, origin, coverage, seen = sight.dataset, sight.origin, sight.coverage, sight.seen
    touched = Counter(seen.touched.get((coverage.source, origin, sight.stream), {}))
    if seen.after_interruption:
        touched.update(dict.fromkeys(_days_with_items(context, dataset, origin), 0))
        _look_again(context, sight)
    seen.merge(context)
    asked = set(schema.each_day(sight.days))
    if sight.unchanged:
        open_ = set(context.ledger.unsettled_days(dataset, origin))
        if not open_ and context.ledger.count_proven(dataset, origin, sight.days) == len(asked):
            return []
        asked |= open_
    known = {one["window"].date(): one for one in context.ledger.windows(dataset, origin, FIELDS)}
    held = {day for day, one in known.items() if "blocked" in one}
    contents = dict(_contents(context, dataset, origin, touched.keys() | held))
    version = code(context, dataset)
    whole = not (sight.rejected or coverage.problem or coverage.extractions)
    found = []
    for day in sorted(asked | held if sight.unchanged else asked | touched.keys() | known.keys()):
        before = known.get(day, {})
        content, rows = contents.get(day, (before.get("content", ""), before.get("rows", 0)))
        if _stands(before, content, version) and (
            "blocked" in before or (whole and before["proof"]["state"] == Proof.PROVEN and _covers(coverage, day))
        ):
            continue  # nothing came, and nothing has become doubtful
        found.append(_Window(day, before, content, _receipt(claim, sight, day, rows), touched[day]))
    return found


def _stands(before: schema.Document, content: str, version: str) -> bool:
    """Whether what was said of the window last was said of this content, by this code."""
    last = before.get("blocked", before)
    finished = not before.get("again") and ("blocked" in before or not before.get("unobserved"))
    return finished and last.get("content") == content and last.get("code_version") == version


def _covers(coverage: Coverage, day: date) -> bool:
    return coverage.start <= schema.start_of(day) and schema.start_of(day) + schema.DAY <= coverage.end


def _receipt(claim: Claim, sight: Sight, day: date, rows: int) -> Receipt:
    coverage = sight.coverage
    start = schema.start_of(day)
    return Receipt(
        sweep=claim.partition.scope,
        start=start,
        end=start + schema.DAY,
        covered_from=coverage.start,
        covered_until=coverage.end,
        items=rows,
        rejected=sight.rejected[coverage.origin, sight.stream, day],
        rejected_anywhere=sum(n for missing, n in sight.rejected.items() if _may_be_anywhere(missing, coverage)),
        items_anywhere=(coverage.evidence or {}).get("items", sight.seen.items),
        problem=coverage.problem,
        evidence=coverage.evidence,
        extraction=worst(coverage.extractions, sight.stream, start, start + schema.DAY),
    )


def _assess(
    context: Context, sight: Sight, windows: Sequence[_Window], measured: dict[date, Measures]
) -> list[Assessment]:
    """What the suite of the stream says of `windows`, in order."""
    suite = context.suite(sight.dataset)
    by_row = bool(suite.judging(Judges.ROW) or suite.judging(Judges.BATCH))
    items = _items(context, sight, [window.day for window in windows]) if by_row else {}
    parts = []
    for window in windows:
        receipt = window.receipt
        accounts: Measures = {
            "receipt.items": receipt.items,
            "receipt.rejected": receipt.rejected,
            "receipt.expected": window.expected,
            "receipt.coverage": classify(receipt).coverage,
        }
        extra = {**measured.get(window.day, {}), **accounts}
        before, content = window.before.get("report"), window.content or "nothing"
        rows = items.get(window.day, [])
        parts.append(Part(rows, extra, count=receipt.items, content=content, before=before))
    return checks.assess(context, sight.dataset, parts, lambda _: {})


def _publication(  # noqa: PLR0913, PLR0917 - one call, from one place
    context: Context, claim: Claim, sight: Sight, window: _Window, found: Assessment, aside: int
) -> Publication:
    before, receipt = window.before, window.receipt
    first = "revision" not in before or before.get("blocked", {}).get("first", False)
    version = code(context, sight.dataset)
    kept = {"receipt": receipt.document(), "cause": _cause(before, window, version)}
    if context.checks:
        kept["report"] = found.report.document()
    if held := checks.blocked(found, first=first):
        proof = checks.unknown(found.report)
        held |= {"content": window.content, "rows": receipt.items}
        extra = {"content": "", "proof": proof, **kept}
        return Publication(schema.digest(["", proof]), {}, version, 0, extra, blocked=held)
    verdict = classify(receipt)
    proof = before["proof"] if _keeps(before, verdict, claim, sight, receipt) else verdict.document()
    proof = checks.lessened(proof, aside, receipt.items - aside)
    extra = {"content": window.content, "proof": proof, **kept}
    return Publication(schema.digest([window.content, proof]), {}, version, receipt.items, extra)


def _is_news(before: schema.Document, publication: Publication) -> bool:
    """Whether the ledger does not say so already."""
    unfinished = before.get("unobserved") or before.get("again") or "blocked" in before
    said = (before.get("revision"), before.get("code_version"))
    return bool(unfinished or publication.blocked) or said != (publication.revision, publication.code_version)


def _is_to_be_told(before: schema.Document, publication: Publication | None) -> bool:
    """Whether observations are to be recorded: the content or what it is worth has changed."""
    if publication is None or publication.blocked is not None:
        return False
    never = "report" not in before  # it was recorded while nothing was measured
    return never or bool(before.get("unobserved")) or before.get("revision") != publication.revision


def _cause(before: schema.Document, window: _Window, version: str) -> str:
    if "revision" not in before:
        return Cause.FIRST
    if before.get("again"):
        return Cause.REPLAY
    if "cause" not in before:  # it was recorded before anything was observed
        return Cause.FIRST
    if before["proof"]["state"] in (Proof.UNPROVEN, Proof.FAILED):
        return Cause.REPAIR
    if window.content != before.get("content"):
        return Cause.LATE_DATA
    return Cause.DEFINITION if before.get("code_version") != version else Cause.REPAIR


def _set_aside(
    context: Context, claim: Claim, sight: Sight, windows: Sequence[_Window], assessments: Sequence[Assessment]
) -> Counter[date]:
    """Quarantine what breaks a rule, release what no longer does; how many items are set aside, by window."""
    now, run_id = context.now, context.ledger.run_id
    wrong = [quarantine.Row(row, breaks) for found in assessments for row, breaks in found.broken]
    if wrong:
        quarantine.put(context.db, sight.dataset, wrong, fence=claim.fence, run_id=run_id, now=now)
    starts = {"$in": [schema.start_of(window.day) for window in windows]}
    where = {"dataset": sight.dataset, "origin": sight.origin, "window": starts}
    quarantine.release(context.db, where, below=claim.fence, run_id=run_id, now=now)
    found = context.db[schema.QUARANTINE].find({**where, "state": quarantine.State.OPEN}, {"window": 1})
    return Counter(one["window"].date() for one in found)


def _items(context: Context, sight: Sight, days: Sequence[date]) -> dict[date, list[schema.Document]]:
    where = {"origin": sight.origin, "window": {"$in": [schema.start_of(day) for day in days]}}
    out = withdrawn.ids(context, sight.dataset, sight.origin, where["window"])
    items: dict[date, list[schema.Document]] = defaultdict(list)
    for item in context.db[sight.dataset].find(where, {"fetched_at": 0}):
        if not item.get("deleted") and item["_id"] not in out:
            items[item["window"].date()].append(item)
    return items


def _pieces(windows: Sequence[_Window], most: int) -> Iterator[list[_Window]]:
    """`windows` in pieces of at most `most`, of about ROWS items."""
    piece: list[_Window] = []
    rows = 0
    for window in windows:
        if piece and (rows + window.receipt.items > ROWS or len(piece) >= most):
            yield piece
            piece, rows = [], 0
        piece.append(window)
        rows += window.receipt.items
    if piece:
        yield piece


def _look_again(context: Context, sight: Sight) -> None:
    """Take note of the shapes of all items that are there: those of the interrupted sweep may be known to nobody."""
    if not context.checks:
        return
    for item in context.db[sight.dataset].find({"origin": sight.origin}, {"window": 1, "id": 1, "payload": 1}):
        sight.seen.shapes.add(sight.dataset, sight.origin, item["window"], item["id"], item["payload"])
        if sight.seen.shapes.full:
            sight.seen.merge(context)


def _days_with_items(context: Context, dataset: str, origin: str) -> list[date]:
    stages = [{"$match": {"origin": origin}}, {"$group": {"_id": "$window"}}]
    return [row["_id"].date() for row in context.db[dataset].aggregate(stages)]


def is_possible(day: date, now: datetime) -> bool:
    """Whether something can have happened on `day`, one of the clocks being a day wrong at most."""
    return FIRST_POSSIBLE <= day <= (now + schema.DAY).date()


def _may_be_anywhere(missing: Missing, coverage: Coverage) -> bool:
    """Whether the record may belong to any window of the origin, as far as can be told from what is left of it."""
    origin, stream, day = missing
    return origin in (None, coverage.origin) and (stream not in coverage.streams or day is None)


def _keeps(before: schema.Document, verdict: Verdict, claim: Claim, sight: Sight, receipt: Receipt) -> bool:
    """Whether what is known of the window stands: another source knows more, or this sweep did not look at it."""
    if "proof" not in before:
        return False
    if before["receipt"]["sweep"] == claim.partition.scope:
        return bool(sight.coverage.extractions) and receipt.extraction is None
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
    out = withdrawn.ids(context, dataset, origin, window)
    for start, group in groupby(rows, key=itemgetter("window")):
        if start.date() in days:
            ids = sorted(row["_id"] for row in group if row["_id"] not in out)
            yield start.date(), (schema.digest(ids), len(ids))
