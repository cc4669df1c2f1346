"""The windows of collections that Touchstone did not make: measured, judged and recorded as its own are.

One look tells which windows have changed; only these are measured and read. Nothing is published of them: a window
that is blocked is a statement about rows which the collection's own readers go on seeing.
"""

import time
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from config import schema
from config.settings import Collection
from quality.findings import Judges
from tasks import judged
from tasks.context import Context
from tasks.foreign import ALL, NOTHING, Foreign, Look, WatchError
from tasks.ledger import LeaseLostError, Partition

Days = tuple[date, date]

HEAD: Final = ""
"""Scope of the ledger document that stands for the dataset as a whole."""
WAIT_SECONDS: Final = 1.0
"""Between two looks, where other runs hold the rest of the windows."""

_FIELDS: Final = (
    "revision", "inputs", "code_version", "owner", "again", "unobserved", "error", "cause", "blocked.inputs",
    "blocked.code_version",
)  # fmt: skip


def watch(context: Context, dataset: Collection, days: Days) -> int:
    """Bring the windows of [first, last) up to what the collection holds, and those that were not final; how many.

    Raises WatchError, after the windows of the range have got it as their error.
    """
    done: set[Partition] = set()
    made = 0
    try:
        while True:
            foreign = Foreign.open(context, dataset)
            look, stale = _stale(context, foreign, days)
            left = {
                scope: todo
                for scope, windows in stale.items()
                if (todo := [one for one in windows if Partition(dataset.name, scope, one.day) not in done])
            }
            if not made and not done:
                context.plan(sum(len(windows) for windows in left.values()))
            if not left:
                return made
            for scope, windows in left.items():
                try:
                    for at in range(0, len(windows), context.chunk):
                        piece = windows[at : at + context.chunk]
                        finished = judged.make(context, foreign, look, scope, piece)
                        done |= finished
                        made += len(finished)
                except LeaseLostError:
                    continue
            if all(Partition(dataset.name, scope, one.day) in done for scope, todo in left.items() for one in todo):
                return made
            time.sleep(WAIT_SECONDS)  # others hold the rest: until they are done, or their leases run out
    except WatchError as error:
        _fail(context, dataset, days, str(error))
        raise


def gaps(context: Context, dataset: str, days: Days) -> list[Partition]:
    """The windows in [first, last) of which the ledger has no finished record."""
    found = []
    for scope in scopes(context, dataset):
        fields = ("revision", "error", "again", "unobserved")
        known = {one["window"].date(): one for one in context.ledger.windows(dataset, scope, fields, days)}
        found += [
            Partition(dataset, scope, day)
            for day in schema.each_day(days)
            if "revision" not in (one := known.get(day, {})) or {"error", "again", "unobserved"} & one.keys()
        ]
    return found


def scopes(context: Context, dataset: str) -> list[str]:
    """Every scope that the dataset ever had."""
    where = {"dataset": dataset, "window": {"$type": "date"}}
    return sorted(context.db[schema.LEDGER].distinct("scope", where))


def head(context: Context, dataset: str) -> schema.Document:
    """What is known of the dataset as a whole: `no_time`, `note`, `error`; empty before the first look."""
    return context.ledger.find(Partition(dataset, HEAD))


def phase(context: Context, dataset: Collection, day: date) -> str:
    """How final the window is: a window whose phase has changed is looked at again, though no row may have."""
    end = schema.start_of(day) + schema.DAY
    if context.now >= end + timedelta(hours=dataset.delay_hours):
        return judged.CLOSED
    if context.now >= end:
        return "over"
    suite = context.suite(dataset.name)
    ages = context.checks and "freshness_seconds" in suite.columns(Judges.PARTITION)
    return f"open at {context.now:%Y-%m-%d %H:%M:%S}" if ages else "open"


def _stale(context: Context, foreign: Foreign, days: Days) -> tuple[Look, dict[str, list[judged.Window]]]:
    """What the collection holds now, and per scope the windows whose record is not made from that."""
    dataset = foreign.dataset
    known = _known(context, dataset.name, days)
    wanted = {*schema.each_day(days), *(day for windows in known.values() for day in windows)}
    look = foreign.look(wanted)
    everyone = {*look.values, *(scope for scope, _ in look.windows), *scopes(context, dataset.name)}
    if not dataset.scope:
        everyone.add(ALL)
    _note(context, dataset, look, nobody=not everyone)
    version = judged.code(context, dataset.name)
    stale: dict[str, list[judged.Window]] = {}
    for scope in sorted(everyone):
        of_scope = known.get(scope, {})
        windows = []
        for day in sorted({*schema.each_day(days), *of_scope}):
            before = of_scope.get(day, {})
            seen = look.windows.get((scope, day), NOTHING)
            again, cause = "again" in before, before.get("cause", "")
            window = judged.Window(day, seen, phase(context, dataset, day), again, cause)
            if not _stands(before, window, version):
                windows.append(window)
        _clear_errors(context, dataset.name, scope, of_scope, {one.day for one in windows})
        if windows:
            stale[scope] = windows
    return look, stale


def _known(context: Context, dataset: str, days: Days) -> dict[str, dict[date, schema.Document]]:
    """The records of the range, and of other windows that are not final: by scope and day."""
    start, end = (schema.start_of(day) for day in days)
    unfinished: list[schema.Document] = [
        {"inputs.phase": {"$ne": judged.CLOSED}},
        {"code_version": {"$ne": judged.code(context, dataset)}},
    ]
    unfinished += [{name: {"$exists": True}} for name in ("blocked", "again", "unobserved", "error")]
    where = {"dataset": dataset, "window": {"$type": "date"}}
    chosen = {**where, "$or": [{"window": {"$gte": start, "$lt": end}}, *unfinished]}
    known: dict[str, dict[date, schema.Document]] = defaultdict(dict)
    for one in context.db[schema.LEDGER].find(chosen, dict.fromkeys(("scope", "window", *_FIELDS), 1)):
        known[one["scope"]][one["window"].date()] = one
    return known


def _stands(before: schema.Document, window: judged.Window, version: str) -> bool:
    """Whether what was said last was said of these rows, by these rules, and is recorded to its end."""
    if before.get("unobserved") or before.get("again") or before.get("owner"):
        return False
    last = before.get("blocked", before)
    return (last.get("inputs"), last.get("code_version")) == (window.inputs, version)


def _note(context: Context, dataset: Collection, look: Look, *, nobody: bool) -> None:
    """Keep what is to be said of the dataset as a whole."""
    told = []
    if look.no_time:
        told.append(f"rows that have no date in {dataset.time!r}, and so belong to no window: {look.no_time:,}")
    if nobody:
        told.append("it has no row in the days that were asked for, and so no scope and no window")
    failed = {"_id": Partition(dataset.name, HEAD).key, "error": {"$exists": True}}
    context.db[schema.LEDGER].update_one(failed, {"$set": {"looked_at": datetime.now(UTC)}})
    _keep(context, dataset.name, {"no_time": look.no_time, "note": "; ".join(told), "error": ""})


def _keep(context: Context, dataset: str, fields: Mapping[str, Any]) -> None:
    kept = {key: value for key, value in fields.items() if value != ""}
    gone = {key: "" for key, value in fields.items() if value == ""}
    update: dict[str, Any] = {"$setOnInsert": {"dataset": dataset, "scope": HEAD, "window": None, "fence": 0}}
    update |= {operator: some for operator, some in (("$set", kept), ("$unset", gone)) if some}
    context.db[schema.LEDGER].update_one({"_id": Partition(dataset, HEAD).key}, update, upsert=True)


def _clear_errors(
    context: Context, dataset: str, scope: str, known: Mapping[date, schema.Document], stale: set[date]
) -> None:
    """Windows that stand, though the last look at them failed."""
    days = [schema.start_of(day) for day, one in known.items() if "error" in one and day not in stale]
    if days:
        where = {"dataset": dataset, "scope": scope, "window": {"$in": days}}
        context.db[schema.LEDGER].update_many(where, {"$unset": {"error": ""}})


def _fail(context: Context, dataset: Collection, days: Days, error: str) -> None:
    """Note on the windows of the range, and on the dataset, why they could not be looked at."""
    _keep(context, dataset.name, {"error": error, "failed_at": datetime.now(UTC)})
    known = scopes(context, dataset.name) or ([] if dataset.scope else [ALL])
    for scope in known:
        partitions = [Partition(dataset.name, scope, day) for day in schema.each_day(days)]
        for at in range(0, len(partitions), context.chunk):
            context.ledger.fail(context.ledger.claim(partitions[at : at + context.chunk]), error)
