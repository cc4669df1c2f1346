"""Faults put into real history: each is caught when it happens, no unproven zero comes of it, and it can be mended.

The history is a month of alphagov/collections, cut off from what came before. Four laws hold for every fault:

* all that the checks say of the faulty run is what is said here, of the right partitions, and nothing else;
* a number that is not that of the faultless run is never shown as proven, a zero least of all;
* a good row is in Silver, or its window says that it is not whole;
* once the fault is mended Silver and Gold are byte-identical to a run without it, nothing is open in the quarantine and
  nothing is held back.
"""

import gzip
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import pytest

from config import schema, settings
from config.catalog import ENTITIES
from quality.extractions import Extraction
from tasks import aside, bronze, entities, entity_rows, ledger, links, metrics
from tasks.context import Context
from tasks.sources.contract import Coverage, Cursor, Feed, Item, Rejected, SourceError, Swept
from tasks.sources.replay import ReplaySource
from tasks.transforms import gold as definitions
from tasks.transforms import silver as shapes
from tasks.transforms.counting import Rules
from tests.harness import NOW, events, gold, make_context, own_database, run_all, silver

Event = dict[str, Any]

ORIGIN: Final = "alphagov/collections"
FIRST, LAST = date(2018, 2, 19), date(2018, 3, 19)
RANGE: Final = (FIRST, LAST + timedelta(days=1))
STREAMS: Final = ("commits", "reverts", "tags")
ZEROS: Final = tuple(name for name in definitions.METRICS if "seconds" not in name)
"""Metrics of which a zero is a statement: counts and shares."""

TAG, TAGGED_ON = "release_462", date(2018, 3, 8)
"""The one deployment of its day."""
SHIPPED, SHIPPED_ON = "a74aef394974", date(2018, 3, 8)
"""A commit that it ships, of the same day."""
REVERT, REVERTED_ON = "e980bfc55890", date(2018, 2, 23)
QUIET: Final = date(2018, 3, 11)


def is_in(event: Event) -> bool:
    return FIRST <= day_of(event) <= LAST


def seconds_of(event: Event) -> int:
    return int(event["tag_ts" if event["type"] == "tag" else "commit_ts"])


def day_of(event: Event) -> date:
    return datetime.fromtimestamp(seconds_of(event), UTC).date()


def history() -> list[Event]:
    """The month, in order of time, without parents from before it."""
    month = sorted(filter(is_in, events("alphagov__collections")), key=seconds_of)
    known = {event["sha"] for event in month if event["type"] == "commit"}
    return [
        event | {"parents": [sha for sha in event["parents"] if sha in known]} if event["type"] == "commit" else event
        for event in month
    ]


HISTORY: Final = history()


class Told:
    """A source that hands over what it is given, and says of it what it is told to say."""

    name = "history"

    def __init__(self, items: Sequence[Item], coverage: Coverage | None, fails: str | None = None) -> None:
        self.items, self.coverage, self.fails = items, coverage, fails

    def units(self) -> Sequence[str]:
        return ("files",)

    def feeds(self, unit: str) -> Sequence[Feed]:  # noqa: ARG002 - the contract's
        return (("git", ORIGIN, STREAMS),)

    def sweep(self, unit: str, cursor: Cursor | None, now: datetime) -> Iterator[Item | Rejected | Swept]:  # noqa: ARG002
        yield from self.items
        if self.fails:
            raise SourceError(self.fails)
        if self.coverage:
            yield Swept({"states": [], "spans": []}, (self.coverage,))


COVERED: Final = Coverage("git", ORIGIN, STREAMS, schema.start_of(RANGE[1]), schema.start_of(FIRST))
Source = Told | ReplaySource


@dataclass
class Stage:
    """Where a fault is put."""

    context: Context
    folder: Path
    patch: pytest.MonkeyPatch
    items: Sequence[Item]
    later: Callable[[], None] = lambda: None
    """What a person does before the next run."""

    def file(self, lines: Sequence[Any], name: str = "events.jsonl", *, compressed: bool = False) -> ReplaySource:
        """Events, texts and bytes, one a line."""
        body = b"".join(
            one if isinstance(one, bytes) else (one if isinstance(one, str) else json.dumps(one)).encode() + b"\n"
            for one in lines
        )
        (self.folder / name).write_bytes(gzip.compress(body) if compressed else body)
        return self.files()

    def files(self) -> ReplaySource:
        return ReplaySource("history", [str(self.folder / "*.jsonl*")])

    def told(self, items: Sequence[Item] | None = None, fails: str | None = None, **changes: Any) -> Told:
        return Told(self.items if items is None else items, replace(COVERED, **changes), fails)


Inject = Callable[[Stage], Source]


@dataclass(frozen=True)
class Fault:
    """One fault, and all that must be said of the run in which it happens; each line of it is a pattern."""

    name: str
    inject: Inject
    caught: tuple[str, ...]
    """Each must be said."""
    also: tuple[str, ...] = ()
    """What may be said too: what follows from the fault."""
    touched: tuple[str, ...] = ()
    """The starts of the ids of rows that are not good."""
    raises: type[Exception] | None = None
    accepted: bool = False
    """What was changed breaks no critical rule. Of two contents of one version the hash decides which one counts, so
    that in Silver the other one may stay; no number depends on it."""


# --- How a fault is put in --------------------------------------------------------------------------------------------


def is_of(event: Event, name: str) -> bool:
    """Whether it is the tag of that name, or the commit whose sha begins so."""
    return bool(event.get("name") == name if event["type"] == "tag" else event["sha"].startswith(name))


def changed(name: str, kind: str = "", /, **fields: Any) -> Inject:
    """The event of that name has other values in these fields; one that is a function is of the old value."""

    def change(event: Event) -> Event:
        if not is_of(event, name) or (kind and event["type"] != kind):
            return event
        news = {key: value(event[key]) if callable(value) else value for key, value in fields.items()}
        return event | news

    return lambda stage: stage.file([change(event) for event in HISTORY])


def each(change: Callable[[Event], Event], kind: str, since: date = FIRST, until: date = LAST) -> Inject:
    """All events of a kind within these days are changed."""

    def inject(stage: Stage) -> Source:
        chosen = [event["type"] == kind and since <= day_of(event) <= until for event in HISTORY]
        return stage.file([change(e) if hit else e for e, hit in zip(HISTORY, chosen, strict=True)])

    return inject


def renamed(old: str, new: str) -> Callable[[Event], Event]:
    return lambda event: {new if key == old else key: value for key, value in event.items()}


def without(key: str) -> Callable[[Event], Event]:
    return lambda event: {name: value for name, value in event.items() if name != key}


def instead(name: str, line: Callable[[Event], Any]) -> Inject:
    """The line of the event of that name is another one."""
    return lambda stage: stage.file([line(event) if is_of(event, name) else event for event in HISTORY])


def extracted(stream: str = "", /, **facts: Any) -> Inject:
    """The source says this of how it fetched a stream, for as long as the history is."""
    return lambda stage: stage.told(extractions=(Extraction(stream=stream, **facts),))


def on(day: date) -> dict[str, datetime]:
    return {"start": schema.start_of(day), "end": schema.start_of(day) + schema.DAY}


def run_together(stage: Stage) -> Source:
    """A line break is lost between two records: a tag of one day and a commit of another."""
    lines = [json.dumps(event).encode() + b"\n" for event in HISTORY]
    (at,) = [number for number, event in enumerate(HISTORY) if event.get("name") == "release_463"]
    lines[at] = lines[at].rstrip()
    return stage.file(lines)


def cut_gzip(stage: Stage) -> Source:
    source = stage.file(HISTORY, "events.jsonl.gz", compressed=True)
    path = stage.folder / "events.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-600])
    stage.later = path.unlink
    return source


def cut_file(stage: Stage) -> Source:
    """In the middle of the last tag's line."""
    source = stage.file(HISTORY)
    path = stage.folder / "events.jsonl"
    body = path.read_bytes()
    path.write_bytes(body[: body.index(b"release_464") + 20])
    return source


def changed_while_read(stage: Stage) -> Source:
    source = stage.file(HISTORY)
    path = stage.folder / "events.jsonl"

    class Growing(ReplaySource):
        def sweep(self, unit: str, cursor: Cursor | None, now: datetime) -> Iterator[Item | Rejected | Swept]:
            for part in super().sweep(unit, cursor, now):
                yield part
                os.utime(path, ns=(1, 1))

    return Growing(source.name, source.paths)


def twice(stage: Stage) -> Source:
    stage.file(HISTORY, "copy.jsonl")
    return stage.file(HISTORY)


def vanished(stage: Stage) -> Source:
    """All was well until LAST; then the source no longer has the origin."""
    run_all(stage.context, stage.told(until(LAST), end=schema.start_of(LAST)), (FIRST, LAST))
    return stage.told([], origin="alphagov/other")


def until(day: date, hours: int = 0) -> list[Item]:
    end = schema.start_of(day) + timedelta(hours=hours)
    return [item for item in ITEMS if item.updated_on < end]


def lost_write(stage: Stage) -> Source:
    """The database says that it has stored what it has not."""

    def insert(collection: schema.Coll, documents: Sequence[Any]) -> int:
        done = inserted(collection, documents)
        collection.delete_many({"id": TAG})
        return done

    inserted = ledger.insert_new
    stage.patch.setattr(bronze, "insert_new", insert)
    return stage.file(HISTORY)


def lost_row(stage: Stage) -> Source:
    def insert(collection: schema.Coll, documents: Sequence[Any]) -> int:
        done = inserted(collection, documents)
        collection.delete_many({"id": TAG})
        return done

    inserted = ledger.insert_new
    stage.patch.setattr(entity_rows, "insert_new", insert)
    return stage.file(HISTORY)


def losing_transform(stage: Stage) -> Source:
    """The query of the transform forgets an item."""

    def items(*args: Any) -> Iterator[Any]:
        return (pair for pair in asked(*args) if pair[0]["id"] != TAG)

    asked = entities._items
    stage.patch.setattr(entities, "_items", items)
    stage.patch.setattr(entities, "code_version", lambda *_: "faulty")
    return stage.file(HISTORY)


def deleting_transform(stage: Stage) -> Source:
    """The transform takes a good item for a tombstone."""

    def row(dataset: str, item: Mapping[str, Any], rules: Rules) -> dict[str, Any]:
        return made(dataset, {**item, "deleted": True} if item["id"] == TAG else item, rules)

    made = shapes.row
    stage.patch.setattr(shapes, "row", row)
    stage.patch.setattr(entities, "code_version", lambda *_: "faulty")
    return stage.file(HISTORY)


def faulty_definition(name: str, made: Callable[[], Any], lines: Callable[[], Sequence[Any]]) -> Inject:
    """A definition of Gold is wrong."""

    def inject(stage: Stage) -> Source:
        stage.patch.setattr(definitions, name, made)
        stage.patch.setattr(metrics, "code_version", lambda *_: "faulty")
        return stage.file(lines())

    return inject


def no_reasons() -> dict[str, Any]:
    return dict.fromkeys(definitions.METRICS)


def too_high() -> dict[str, Any]:
    return VALUES | {"change_fail_rate_revert_ever": {"$add": [VALUES["change_fail_rate_revert_ever"], 1.5]}}


def below_zero() -> dict[str, Any]:
    return VALUES | {"deployment_frequency": {"$subtract": [0, "$deployed"]}}


VALUES: Final = definitions._values()


def bad_day(stage: Stage) -> Source:
    """A day that was good before comes again, twice, with nothing but bad rows."""
    stage.file(HISTORY)
    run_all(stage.context, stage.files(), RANGE)
    again = [e | {"parents": "none", "again": 1} for e in HISTORY if e["type"] == "commit" and day_of(e) == REVERTED_ON]
    stage.later = (stage.folder / "again.jsonl").unlink
    return stage.file([*again, *(event | {"again": 2} for event in again)], "again.jsonl")


def burst(stage: Stage) -> Source:
    """A loader that tries again and again, and counts its attempts."""
    (tag,) = [event for event in HISTORY if event.get("name") == TAG]
    return stage.file([*HISTORY, *(tag | {"attempt": number} for number in range(1500))])


def other_content(stage: Stage) -> Source:
    """The commits of a day come three times, each time with other numbers."""
    chosen = [event for event in HISTORY if event["type"] == "commit" and day_of(event) == SHIPPED_ON]
    more = [event | {"insertions": event["insertions"] + number} for event in chosen for number in (1, 2)]
    return stage.file([*HISTORY, *more])


ITEMS: Final[list[Item]] = []


def discard(stage: Stage) -> None:
    """A person looks at what is open, and says that it is no data."""
    found = list(stage.context.db[schema.QUARANTINE].find({"state": "open"}))
    aside.discard(found, "not ours", stage.context)


# --- The table --------------------------------------------------------------------------------------------------------

ALL_DAYS: Final = "* receipt of bronze.git.*"
AFTER: Final = "* receipt of bronze.git.* the window is still open*"
WHOLE: Final = {"complete": True, "statuses": {200: 3}}

FAULTS: Final[list[Fault]] = [
    # The source
    Fault(
        "shallow clone",
        lambda s: s.told(problem="the clone is shallow"),
        ("* receipt of bronze.git.tags the clone is shallow",),
        (ALL_DAYS,),
    ),
    Fault(
        "extraction of a shallow clone",
        extracted(shallow=True, complete=True),
        ("* receipt of bronze.git.tags the clone is shallow*",),
        (ALL_DAYS,),
    ),
    Fault(
        "origin vanished",
        vanished,
        (f"{LAST} receipt of bronze.git.tags *the source no longer has this origin",),
        (f"{LAST} receipt of *",),
    ),
    Fault(
        "raises in the middle",
        lambda s: s.told(until(QUIET), "page 3 of 7 answered 502"),
        ("sweep page 3 of 7 answered 502", f"{TAGGED_ON} receipt of bronze.git.tags *page 3 of 7 answered 502"),
        (ALL_DAYS,),
    ),
    Fault(
        "ends without its last word",
        lambda _: Told(ITEMS, None),
        ("sweep *without saying what it covered", f"{TAGGED_ON} receipt of bronze.git.tags *"),
        (ALL_DAYS,),
    ),
    Fault(
        "token lost a scope",
        extracted(complete=True, scopes_granted=("read",), scopes_needed=("repo",)),
        (f"{TAGGED_ON} receipt of bronze.git.tags the token lacks a scope*",),
        (ALL_DAYS,),
    ),
    Fault(
        "canary not seen",
        extracted(complete=True, canary="release_1"),
        (f"{TAGGED_ON} receipt of bronze.git.tags release_1, which must be visible, was not seen*",),
        (ALL_DAYS,),
    ),
    Fault(
        "recording ends early",
        lambda s: s.file([e for e in HISTORY if day_of(e) < date(2018, 3, 9)]),
        ("2018-03-09 receipt of bronze.git.tags recorded history ends 2018-03-09*",),
        ("2018-03-* receipt of bronze.git.* recorded history ends*",),
    ),
    Fault(
        "recording begins late",
        lambda s: s.file([e for e in HISTORY if day_of(e) > date(2018, 2, 20)]),
        ("2018-02-19 receipt of bronze.git.tags recorded history begins 2018-02-21*",),
        (
            "2018-02-* receipt of bronze.git.* recorded history begins*",
            "2018-02-2? finding of silver.deliveries known_commit *",
        ),
    ),
    Fault(
        "hole in a sequence",
        extracted("tags", complete=True, missing_ids=(462,), first_id=446, last_id=466, **on(TAGGED_ON)),
        (f"{TAGGED_ON} receipt of bronze.git.tags one of the tags is missing: 462",),
    ),
    Fault(
        "clock skew",
        lambda s: s.told(extractions=(Extraction(complete=True, clock_skew_seconds=7200.0),)),
        (f"{LAST} receipt of bronze.git.tags the source's clock is 7200 s ahead*",),
        (f"{LAST} receipt of *",),
    ),
    Fault(
        "open window",
        lambda s: s.told(until(LAST, 6), end=schema.start_of(LAST) + timedelta(hours=6)),
        (f"{LAST} receipt of bronze.git.tags the window is still open: seen until 06:00 UTC",),
        (f"{LAST} receipt of *",),
    ),
    # Transport
    Fault(
        "chain of pages ends",
        extracted("tags", pages_advertised=7, pages_fetched=3, **on(TAGGED_ON)),
        (f"{TAGGED_ON} receipt of bronze.git.tags the chain of pages ends after 3 of 7 pages",),
    ),
    Fault(
        "fewer than advertised",
        extracted("tags", complete=True, items_received=1, total_advertised=2, **on(TAGGED_ON)),
        (f"{TAGGED_ON} receipt of bronze.git.tags 1 of 2 records were received",),
    ),
    Fault(
        "more than advertised",
        extracted("tags", complete=True, items_received=2, total_advertised=1, **on(TAGGED_ON)),
        (f"{TAGGED_ON} receipt of bronze.git.tags 2 records were received where 1 were advertised*",),
    ),
    Fault(
        "empty page in the middle",
        extracted("tags", **WHOLE, page_sizes=(30, 0, 7), **on(TAGGED_ON)),
        (f"{TAGGED_ON} receipt of bronze.git.tags page 2 of 3 was empty*",),
    ),
    Fault(
        "page repeated",
        extracted("tags", **WHOLE, pages_fetched=3, repeated_pages=1, **on(TAGGED_ON)),
        (f"{TAGGED_ON} receipt of bronze.git.tags 1 of 3 pages repeated*",),
    ),
    Fault(
        "page shrunk",
        extracted("tags", **WHOLE, page_sizes=(30, 20, 7), **on(TAGGED_ON)),
        (f"{TAGGED_ON} receipt of bronze.git.tags page 2 of 3 held 20 records*",),
    ),
    Fault(
        "login page with 200",
        extracted("tags", **WHOLE, content="a login page", **on(TAGGED_ON)),
        (f"{TAGGED_ON} receipt of bronze.git.tags *login page*",),
    ),
    Fault(
        "error object with 200",
        extracted("tags", **WHOLE, content="an error object: rate limit", **on(TAGGED_ON)),
        (f"{TAGGED_ON} receipt of bronze.git.tags *error object*",),
    ),
    Fault(
        "timeout",
        extracted("tags", pages_fetched=2, timed_out=True, failed_at=3, **on(TAGGED_ON)),
        (f"{TAGGED_ON} receipt of bronze.git.tags *",),
    ),
    Fault(
        "rate limit",
        extracted("tags", pages_fetched=2, rate_limited=True, statuses={200: 2, 429: 1}, **on(TAGGED_ON)),
        (f"{TAGGED_ON} receipt of bronze.git.tags *rate limit*",),
    ),
    Fault(
        "gzip file cut",
        cut_gzip,
        (
            "* aside as readable: the gzip file breaks off here*",
            f"{FIRST} receipt of bronze.git.tags *could not be read*",
        ),
        (ALL_DAYS, "????-??-?? finding of silver.deliveries known_commit *"),
    ),
    Fault(
        "file cut within a line",
        cut_file,
        ("* aside as readable: not JSON*", f"{FIRST} receipt of bronze.git.tags *could not be read*"),
        (ALL_DAYS,),
    ),
    Fault(
        "two lines run together",
        run_together,
        ("* aside as readable: not JSON: Extra data*", f"{QUIET} receipt of bronze.git.tags *could not be read*"),
        (ALL_DAYS, "????-??-?? finding of silver.deliveries known_commit *"),
    ),
    Fault("file changed while read", changed_while_read, ("sweep *a file changed while it was read*",)),
    # Schema
    Fault(
        "field renamed",
        each(renamed("author", "author_name"), "commit", TAGGED_ON),
        (
            "2018-03-08 drift of bronze.git.commits author missing",
            "2018-03-08 drift of bronze.git.commits author_name new",
            "2018-03-08 finding of silver.changes authors_known warning warned",
        ),
        ("2018-03-* finding of silver.changes authors_known warning warned",),
        accepted=True,
    ),
    Fault(
        "field renamed that is needed",
        each(renamed("target", "object"), "tag", TAGGED_ON, TAGGED_ON),
        (
            f"{TAGGED_ON} drift of bronze.git.tags target missing",
            f"{TAGGED_ON} drift of bronze.git.tags object new",
            f"{TAGGED_ON} aside of silver.deployments as shape: target should be a text*",
        ),
        touched=(TAG,),
    ),
    Fault(
        "field gone",
        each(without("deletions"), "commit", TAGGED_ON, TAGGED_ON),
        ("2018-03-08 drift of bronze.git.commits deletions missing",),
        accepted=True,
    ),
    Fault(
        "type changed",
        each(lambda e: e | {"insertions": str(e["insertions"])}, "commit", TAGGED_ON, TAGGED_ON),
        ("2018-03-08 drift of bronze.git.commits insertions type",),
        accepted=True,
    ),
    Fault(
        "type changed of a field that is needed",
        changed(SHIPPED, author_ts=str),
        (
            f"{SHIPPED_ON} drift of bronze.git.commits author_ts type",
            f"{SHIPPED_ON} aside of silver.changes as shape: author_ts should be whole seconds*",
        ),
        ("2018-03-?? finding of silver.deliveries known_commit *",),
        touched=(SHIPPED,),
    ),
    Fault(
        "nested field appears",
        changed(SHIPPED, signature={"key": {"id": 1}}),
        (f"{SHIPPED_ON} drift of bronze.git.commits signature new",),
        accepted=True,
    ),
    Fault(
        "new field",
        each(lambda e: e | {"signed": True}, "tag", TAGGED_ON),
        (f"{TAGGED_ON} drift of bronze.git.tags signed new",),
        accepted=True,
    ),
    # Rows
    Fault(
        "bad sha",
        changed(SHIPPED, sha="a74aef3"),
        (
            f"{SHIPPED_ON} aside of silver.changes as sha: *",
            f"{SHIPPED_ON} finding of silver.changes sha critical warned",
        ),
        touched=(SHIPPED, "a74aef3"),
    ),
    Fault(
        "target null",
        changed(TAG, target=None),
        (f"{TAGGED_ON} aside of silver.deployments as shape: target should be a text, is NoneType",),
        touched=(TAG,),
    ),
    Fault(
        "target of another repository",
        changed(TAG, target="f" * 40),
        (f"{TAGGED_ON} finding of silver.deliveries known_commit warning warned",),
        touched=(TAG,),
    ),
    Fault(
        "deployment in the future",
        changed(TAG, tag_ts=1893456000),
        (
            "2030-01-01 aside of silver.deployments as not_in_the_future: *",
            "2030-01-01 finding of silver.deployments not_in_the_future critical warned",
        ),
        (AFTER, "2030-01-01 receipt of *"),
        touched=(TAG,),
    ),
    Fault(
        "deployment in milliseconds",
        changed(TAG, tag_ts=lambda ts: ts * 1000),
        (
            "9999-12-30 aside of silver.deployments as not_in_the_future: *",
            "9999-12-30 finding of silver.deployments not_in_the_future critical warned",
        ),
        ("9999-12-30 receipt of *",),
        touched=(TAG,),
    ),
    Fault(
        "deployment before there were computers",
        changed(TAG, tag_ts=-2_000_000_000),
        (
            "1906-08-16 aside of silver.deployments as not_before_tools: *",
            "1906-08-16 finding of silver.deployments not_before_tools critical warned",
        ),
        ("1906-08-16 *",),
        touched=(TAG,),
    ),
    Fault(
        "deployment at an absurd date",
        changed(TAG, tag_ts=-(10**17)),
        ("0001-01-02 aside of silver.deployments as not_before_tools: *",),
        ("0001-01-02 *",),
        touched=(TAG,),
    ),
    Fault(
        "change in milliseconds",
        changed(SHIPPED, author_ts=lambda ts: ts * 1000),
        (
            f"{SHIPPED_ON} aside of silver.changes as authored_possible: *",
            f"{SHIPPED_ON} finding of silver.changes authored_possible critical warned",
        ),
        (f"{SHIPPED_ON} finding of silver.changes authored_in_time warning warned",),
        touched=(SHIPPED,),
    ),
    Fault(
        "revert in milliseconds",
        changed(REVERT, "revert", commit_ts=lambda ts: ts * 1000),
        (
            "9999-12-30 aside of silver.failures as reverted_in_time: *",
            "9999-12-30 finding of silver.failures reverted_in_time critical warned",
        ),
        ("9999-12-30 receipt of *",),
        touched=(REVERT,),
    ),
    Fault(
        "revert without a sha",
        changed(REVERT, "revert", reverted_sha_raw=None),
        (
            "* aside as readable: `reverted_sha_raw` should be a text",
            f"{REVERTED_ON} receipt of bronze.git.reverts 1 of 4 records of this window could not be read",
        ),
        touched=(REVERT,),
    ),
    Fault(
        "other content under an id",
        other_content,
        (f"{SHIPPED_ON} finding of bronze.git.commits identity warning warned",),
        accepted=True,
    ),
    Fault(
        "NUL in a text",
        changed(SHIPPED, subject="a\0b"),
        (f"{SHIPPED_ON} finding of silver.changes printable_subject warning warned",),
        touched=(SHIPPED,),
        accepted=True,
    ),
    Fault(
        "NUL in a name",
        changed(TAG, name=TAG + "\0"),
        (
            f"{TAGGED_ON} aside of silver.deployments as printable_name: *",
            f"{TAGGED_ON} finding of silver.deployments printable_name critical warned",
        ),
        touched=(TAG,),
    ),
    # Batches
    Fault(
        "a bad day over a good one",
        bad_day,
        (f"{REVERTED_ON} blocked silver.changes mostly_good", f"{REVERTED_ON} aside of silver.changes as shape: *"),
        (f"{REVERTED_ON} drift of bronze.git.commits *", f"{REVERTED_ON} finding of *"),
    ),
    Fault(
        "no authors for a day",
        each(lambda e: e | {"author": None}, "commit", SHIPPED_ON, SHIPPED_ON),
        (f"{SHIPPED_ON} finding of silver.changes authors_known warning warned",),
        accepted=True,
    ),
    Fault("the same file twice", twice, ()),
    Fault(
        "burst of versions",
        burst,
        (f"{TAGGED_ON} finding of bronze.git.tags identity warning warned",),
        (f"{TAGGED_ON} drift of bronze.git.tags attempt new",),
        accepted=True,
    ),
    # Ours
    Fault(
        "write lost in Bronze",
        lost_write,
        (f"{TAGGED_ON} blocked bronze.git.tags volume",),
        (f"{TAGGED_ON} receipt of bronze.git.tags blocked by the rule volume*",),
        touched=(TAG,),
    ),
    Fault(
        "write lost in Silver",
        lost_row,
        ("* ledger of silver.deployments LostWriteError: *1 of * rows were not stored*",),
        raises=entity_rows.LostWriteError,
    ),
    Fault(
        "transform loses an item",
        losing_transform,
        (f"{TAGGED_ON} blocked silver.deployments accounted",),
        touched=(TAG,),
    ),
    Fault(
        "transform deletes an item",
        deleting_transform,
        (f"{TAGGED_ON} blocked silver.deployments accounted",),
        touched=(TAG,),
    ),
    Fault(
        "zero without proof",
        faulty_definition("_why", no_reasons, lambda: [e for e in HISTORY if day_of(e) < LAST]),
        (f"{LAST} blocked gold.dora_daily no_zero_without_proof",),
        ("2018-03-1[5-9] *",),
    ),
    Fault(
        "share above one",
        faulty_definition("_values", too_high, lambda: HISTORY),
        ("2018-02-20 blocked gold.dora_daily fail_rate",),
        ("2018-??-?? blocked gold.dora_daily fail_rate",),
    ),
    Fault(
        "count below zero",
        faulty_definition("_values", below_zero, lambda: HISTORY),
        (f"{TAGGED_ON} blocked gold.dora_daily counts",),
        ("2018-??-?? blocked gold.dora_daily *",),
    ),
]


# --- The laws ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Clean:
    """What a run without a fault leaves."""

    gold: Mapping[tuple[str, date], Mapping[str, Any]]
    silver: Mapping[str, Mapping[str, Mapping[str, Any]]]
    state: bytes


@pytest.fixture(scope="module")
def own(mongo_uri: str) -> Iterator[str]:
    with own_database(mongo_uri, "test_faults"):
        yield "test_faults"


def emptied(now: datetime = NOW) -> Context:
    context = make_context(now)
    for name in context.db.list_collection_names(filter={"type": "collection"}):
        if name != schema.META and not name.startswith("system."):
            context.db[name].delete_many({})
    return context


@pytest.fixture(scope="module")
def clean(own: str, tmp_path_factory: pytest.TempPathFactory) -> Clean:  # noqa: ARG001 - names the database
    context = emptied()
    path = tmp_path_factory.mktemp("clean") / "events.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in HISTORY), encoding="utf-8")
    source = ReplaySource("history", [str(path)])
    ITEMS[:] = [part for part in source.sweep("files", None, NOW) if isinstance(part, Item)]
    run_all(context, source, RANGE)
    assert list(said(context)) == []
    rows = {name: {row["_id"]: row for row in rows} for name, rows in silver(context).items()}
    return Clean(gold(context), rows, state(context))


def said(context: Context) -> Iterator[str]:
    """All that the run says is wrong, one line each."""
    for one in context.db[schema.LEDGER].find(sort=[("dataset", 1), ("window", 1)]):
        yield from said_of(one, one["window"].date() if one["window"] else None)
    for day, entry in links.manifest(context, ORIGIN).items():
        for finding in ((entry.blocked or {}).get("report") or entry.report or {}).get("findings", ()):
            yield f"{day} finding of silver.deliveries {finding['rule']} {finding['severity']} warned"
    for one in context.db[schema.QUARANTINE].find({"state": "open"}):
        where = f"{one['window'].date()} aside of {one['dataset']}" if "window" in one else f"{one['place']} aside"
        yield f"{where} as {one['rule']}: {one['reason']}"
    for one in context.db[schema.DRIFT].find():
        yield f"{one['first_window']:%Y-%m-%d} drift of {one['dataset']} {one['path']} {one['kind']}"


def said_of(one: Mapping[str, Any], day: date | None) -> Iterator[str]:
    """What the ledger says of a partition."""
    dataset = one["dataset"]
    if "error" in one:
        yield f"sweep {one['error']}" if dataset == "sweep" else f"{day} ledger of {dataset} {one['error']}"
    report = one.get("blocked", one).get("report", {})
    for finding in report.get("findings", ()):
        broke = " broke" if finding.get("broke") else ""
        if "blocked" in one and (broke or finding["judges"] != "row"):
            yield f"{day} blocked {dataset} {finding['rule']}{broke}"
        else:
            yield f"{day} finding of {dataset} {finding['rule']} {finding['severity']} {report['outcome']}{broke}"
    if dataset.startswith("bronze.") and one["proof"]["state"] != "proven":
        yield f"{day} receipt of {dataset} {one['proof']['reason']}"


def assert_no_unproven_zero(found: Context, clean: Clean) -> None:
    shown = gold(found)
    for key, row in shown.items():
        if key[0] != ORIGIN:
            continue
        good = clean.gold.get(key, dict.fromkeys(definitions.METRICS))
        for metric in definitions.METRICS:
            if metric in ZEROS and row[metric] == 0:
                assert good[metric] == 0, (key, metric, row)
            if row[metric] != good[metric]:
                assert row["trust"] != "proven", (key, metric, row, good[metric])
            if row[metric] is None and good[metric] is not None and row["deployment_frequency"] != 0:
                assert metric in row["reasons"], (key, metric, row)


def assert_nothing_good_is_lost(context: Context, clean: Clean, touched: Sequence[str]) -> None:
    here = silver(context)
    known = {
        (one["dataset"], one["window"].date()): one.get("proof", {}).get("state", "nothing")
        for one in context.db[schema.LEDGER].find({"window": {"$type": "date"}})
        if "error" not in one
    }
    for dataset in ENTITIES:
        missing = clean.silver[dataset.name].keys() - {row["_id"] for row in here[dataset.name]}
        for name in missing:
            row = clean.silver[dataset.name][name]
            if not row["id"].startswith(tuple(touched) or "\0"):
                states = {known.get((one, row["day"].date())) for one in (dataset.name, *dataset.upstream)}
                assert states != {"proven"}, f"{name} is lost"


def state(context: Context) -> bytes:
    """Silver and Gold of the origin, to the byte."""
    return schema.canonical([silver(context), [row for key, row in sorted(gold(context).items()) if key[0] == ORIGIN]])


def essence(row: Mapping[str, Any]) -> dict[str, Any]:
    """What numbers are made of."""
    return {key: value for key, value in row.items() if key not in ("version", "bronze", "author", "subject")}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_caught_harms_no_number_and_can_be_mended(
    clean: Clean, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    stage = Stage(emptied(), tmp_path, monkeypatch, ITEMS)
    source = fault.inject(stage)
    if fault.raises:
        with pytest.raises(fault.raises):
            run_all(stage.context, source, RANGE)
    else:
        run_all(stage.context, source, RANGE)

    lines = sorted(set(said(stage.context)))
    unseen = [pattern for pattern in fault.caught if not any(fnmatchcase(line, pattern) for line in lines)]
    expected = [*fault.caught, *fault.also]
    unexpected = [line for line in lines if not any(fnmatchcase(line, pattern) for pattern in expected)]
    assert (unseen, unexpected) == ([], []), "\n".join(lines[:60])
    assert_no_unproven_zero(stage.context, clean)
    assert_nothing_good_is_lost(stage.context, clean, fault.touched)

    monkeypatch.undo()
    stage.later()
    later = make_context(NOW + timedelta(hours=1))
    mended = Stage(later, tmp_path, monkeypatch, ITEMS)
    run_all(later, mended.file(HISTORY), RANGE)
    if later.db[schema.QUARANTINE].count_documents({"state": "open"}):
        discard(mended)
        run_all(later, mended.files(), RANGE)
    if fault.accepted:
        assert {key: row for key, row in gold(later).items() if key[0] == ORIGIN} == clean.gold
        assert {name: {row["_id"]: essence(row) for row in rows} for name, rows in silver(later).items()} == {
            name: {key: essence(row) for key, row in rows.items()} for name, rows in clean.silver.items()
        }
    else:
        assert state(later) == clean.state
    assert later.db[schema.QUARANTINE].count_documents({"state": "open"}) == 0
    assert later.db[schema.LEDGER].count_documents({"blocked": {"$exists": True}}) == 0


def test_what_was_lost_on_the_way_is_asked_for_again(
    clean: Clean, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the source has nothing new: a cursor that had moved would have lost it for ever."""
    stage = Stage(emptied(), tmp_path, monkeypatch, ITEMS)
    run_all(stage.context, lost_write(stage), RANGE)
    monkeypatch.undo()
    run_all(make_context(), stage.files(), RANGE)
    assert state(stage.context) == clean.state


@pytest.mark.parametrize("name", ["target null", "change in milliseconds"])
def test_a_row_that_its_source_mends_needs_no_person(
    clean: Clean, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A good version that comes later, of the same time, stands for the bad one, which is released."""
    stage = Stage(emptied(), tmp_path, monkeypatch, ITEMS)
    (fault,) = [fault for fault in FAULTS if fault.name == name]
    run_all(stage.context, fault.inject(stage), RANGE)
    assert stage.context.db[schema.QUARANTINE].count_documents({"state": "open"}) == 1
    run_all(make_context(NOW + timedelta(hours=1)), stage.file(HISTORY), RANGE)
    assert stage.context.db[schema.QUARANTINE].count_documents({"state": "released"}) == 1
    assert state(stage.context) == clean.state


# --- Rules of users that cannot be carried out ------------------------------------------------------------------------

BETWEEN: Final = "expect_column_values_to_be_between"
BROKEN_RULES: Final[dict[str, dict[str, Any]]] = {
    "a column that is not there": {"expectation": BETWEEN, "arguments": {"column": "no_such_field", "min_value": 0}},
    "types that do not compare": {"expectation": BETWEEN, "arguments": {"column": "subject", "min_value": 0}},
    "a naive time against aware ones": {
        "expectation": BETWEEN, "arguments": {"column": "day", "min_value": datetime(2018, 1, 1)},  # noqa: DTZ001
    },
    "an expectation that raises": {
        "expectation": "expect_column_values_to_match_regex", "arguments": {"column": "id", "regex": "("},
    },
    "a class that is not there": {"expectation": "nowhere.ExpectNothing", "arguments": {"column": "id"}},
    "no such expectation": {"expectation": "expect_column_values_to_be_fine", "arguments": {"column": "id"}},
    "no such parameter": {
        "expectation": BETWEEN, "arguments": {"column": "authored_ts", "max_value": {"$PARAMETER": "x"}},
    },
}  # fmt: skip


@pytest.mark.parametrize("severity", ["critical", "warning"])
@pytest.mark.parametrize("name", BROKEN_RULES)
def test_a_check_that_breaks_is_never_a_pass(
    clean: Clean, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, severity: str
) -> None:
    """A critical one holds back what it could not judge; once it is mended all is as if it had not been."""
    stage = Stage(emptied(), tmp_path, monkeypatch, ITEMS)
    rule = settings.Rule(name="mine", severity=severity, **BROKEN_RULES[name])  # type: ignore[arg-type]
    suite = settings.Suite(dataset="silver.changes", rules=(rule,))
    run_all(make_context(suites=(suite,)), stage.file(HISTORY), RANGE)
    lines = sorted(set(said(stage.context)))
    with_rows = {day_of(event) for event in HISTORY if event["type"] == "commit"}
    if severity == "critical":
        expected = {f"{day} blocked silver.changes mine broke" for day in with_rows}
        deployed = {day_of(event) for event in HISTORY if event["type"] == "tag"}
        assert {row["changes_shipped"] for (_, day), row in gold(stage.context).items() if day in deployed} == {None}
    else:
        expected = {f"{day} finding of silver.changes mine warning broken broke" for day in with_rows}
    assert expected <= set(lines), lines
    assert all("silver.changes" in line or "known_commit" in line for line in lines)
    assert_no_unproven_zero(stage.context, clean)
    run_all(make_context(), stage.files(), RANGE)
    assert state(stage.context) == clean.state
    assert not list(said(stage.context))
