"""Which windows of a dataset the ledger calls complete, and what it says of the others.

Complete is what was published after the window had ended. What went wrong since with a window that was published in
time (a run over it again that failed, late records that are held back) is another incident's business: that day has
met its deadline, and its last good revision is there. A Gold day whose metrics are unknown is complete: it says so,
with the reason, and the cause has an incident of its own. An extraction that failed has completed nothing.

A window that was published while it was open, and in which nothing has changed since, is not published again; then it
counts that a later sweep has looked, and that each layer is made of what is published below.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final, NamedTuple

from config import schema
from config.catalog import BRONZE, DELIVERIES, DORA_DAILY, ENTITIES, SWEEP
from config.redaction import redacted
from quality.receipts import Proof

_DAY_MS: Final = 86_400_000
_ANY_BRONZE: Final = re.compile(r"^bronze\.")
_UPSTREAM: Final = {dataset.name: dataset.upstream for dataset in ENTITIES}
_FIELDS: Final = (
    "dataset", "scope", "window", "revision", "published_at", "blocked.first", "blocked.report.findings", "error",
    "owner", "proof", "inputs", "receipt.sweep",
)  # fmt: skip
_PUBLISHED: Final[Mapping[str, Any]] = {
    "revision": {"$exists": True},
    "blocked.first": {"$ne": True},
    "proof.state": {"$ne": str(Proof.FAILED)},
}


@dataclass(frozen=True, slots=True)
class Standing:
    """How one window stands."""

    complete: bool
    since: datetime | None = None
    """When it was published last."""
    why: str = "no run has made it"
    """Why it is not complete."""


def scopes(db: schema.Db, dataset: str) -> list[str]:
    """The scopes of which `dataset` ever had a window."""
    return sorted(db[schema.LEDGER].distinct("scope", {"dataset": dataset, "window": {"$type": "date"}}))


def published(db: schema.Db, dataset: str, days: tuple[date, date]) -> dict[str, set[date]]:
    """By scope the windows from days[0] to days[1], both included, that were published after their end: one query."""
    over = {"$gte": ["$published_at", {"$add": ["$window", _DAY_MS]}]}
    window = {"$gte": schema.start_of(days[0]), "$lte": schema.start_of(days[1])}
    stages: list[schema.Document] = [
        {"$match": {"dataset": dataset, "window": window, **_PUBLISHED, "$expr": over}},
        {"$group": {"_id": "$scope", "windows": {"$push": "$window"}}},
    ]
    return {one["_id"]: {window.date() for window in one["windows"]} for one in db[schema.LEDGER].aggregate(stages)}


def look(db: schema.Db, dataset: str, windows: Mapping[str, Iterable[date]]) -> dict[tuple[str, date], Standing]:
    """How each of `windows` (by scope) stands: for the few that `published` does not name."""
    wanted = {(scope, day) for scope, days in windows.items() for day in days}
    found = _documents(db, [dataset], wanted)
    early = {(one["scope"], one["window"].date()) for one in found if "blocked" not in one and _is_early(one)}
    seen = _seen(db, dataset, found, early) if early else set()
    standings = dict.fromkeys(wanted, Standing(complete=False))
    for one in found:
        place = one["scope"], one["window"].date()
        why = None if place in seen else _why(one)
        standings[place] = Standing(why is None, one.get("published_at"), why or "")
    return standings


def _documents(db: schema.Db, datasets: list[Any], wanted: Collection[tuple[str, date]]) -> list[schema.Document]:
    if not wanted:
        return []
    where = {
        "dataset": {"$in": datasets},
        "scope": {"$in": sorted({scope for scope, _ in wanted})},
        "window": {"$in": [schema.start_of(day) for day in sorted({day for _, day in wanted})]},
    }
    found = db[schema.LEDGER].find(where, dict.fromkeys(_FIELDS, 1))
    return [one for one in found if (one["scope"], one["window"].date()) in wanted]


def _is_early(one: schema.Document) -> bool:
    """Whether it is published, and was last while the window was open."""
    return (
        "revision" in one
        and one.get("proof", {}).get("state") != Proof.FAILED
        and "error" not in one
        and one["published_at"] < one["window"] + schema.DAY
    )


def _why(one: schema.Document) -> str | None:
    """Why the window of the ledger document `one` is not complete; None if it is."""
    blocked = one.get("blocked")
    late = "published_at" in one and one["published_at"] >= one["window"] + schema.DAY
    if blocked and (blocked.get("first") or not late):
        rules = sorted({f["rule"] for f in blocked.get("report", {}).get("findings", ()) if f.get("severity")})
        return f"it is held back by {', '.join(rules) or 'its rules'}"
    if one.get("proof", {}).get("state") == Proof.FAILED:
        return f"its extraction failed: {one['proof'].get('reason') or 'no reason is known'}"
    if late:
        return None
    if "error" in one:
        return f"the last attempt failed: {redacted(one['error'])}"
    if one.get("owner"):
        return "it is being worked on"
    if "revision" not in one:
        return "it was begun and not finished"
    at = one["published_at"].astimezone(UTC)
    return f"it was made at {at:%Y-%m-%d %H:%M} UTC, while it was still open, and not since"


def _seen(
    db: schema.Db, dataset: str, mine: list[schema.Document], early: set[tuple[str, date]]
) -> set[tuple[str, date]]:
    """Those of `early` that a sweep has looked at since they ended, and of which every layer below is used."""
    if not dataset.startswith(BRONZE) and dataset not in _UPSTREAM and dataset != DORA_DAILY.name:
        return set()  # a watched collection: its windows are recorded anew once they are over
    heads = _heads(db, mine) if dataset == DORA_DAILY.name else {}
    made_of = {place: _places(place, heads) for place in early}
    wanted = {one for places in made_of.values() for one in places}
    below = [one for one in mine if dataset.startswith(BRONZE)] or _documents(db, [_ANY_BRONZE], wanted)
    silver = _documents(db, list(_UPSTREAM), wanted) if not dataset.startswith(BRONZE) else []
    swept = _swept(db, {one.get("receipt", {}).get("sweep", "") for one in below})
    revisions: dict[tuple[str, date], dict[str, str]] = defaultdict(dict)
    unseen = set()
    for one in below:
        place = one["scope"], one["window"].date()
        revisions[place][one["dataset"]] = one.get("revision", "")
        at = swept.get(one.get("receipt", {}).get("sweep", ""))
        if at is None or at < one["window"] + schema.DAY or "blocked" in one:
            unseen.add(place)
    for one in silver:
        place = one["scope"], one["window"].date()
        used = {name: revisions[place][name] for name in _UPSTREAM[one["dataset"]] if name in revisions[place]}
        if one.get("inputs") != used or "revision" not in one or {"owner", "error"} & one.keys():
            unseen.add(place)
    seen = {place for place, places in made_of.items() if places & revisions.keys() and not (places & unseen)}
    return seen & _linked(db, mine, silver, heads) if dataset == DORA_DAILY.name and seen else seen


class _Link(NamedTuple):
    """What is published of the links that a day of Gold is made from."""

    name: str
    head: schema.Document
    origins: frozenset[str]


def _heads(db: schema.Db, gold: list[schema.Document]) -> dict[tuple[str, date], dict[str, _Link]]:
    """By scope and day, and by the name of the input: a service has several origins, a team several links."""
    inputs = {(one["scope"], one["window"].date()): [*one.get("inputs", ())] for one in gold}
    names = {(place, key): [*key.split("|"), place[0]][1] for place, keys in inputs.items() for key in keys
             if key.partition("|")[0] == DELIVERIES.name}  # fmt: skip
    where = {"dataset": DELIVERIES.name, "scope": {"$in": sorted({*names.values()})}, "window": None}
    fields = {"scope": 1, "years": 1, "published_at": 1, "origins": 1}
    found = {one["scope"]: one for one in db[schema.LEDGER].find(where, fields)}
    links: dict[tuple[str, date], dict[str, _Link]] = defaultdict(dict)
    for (place, key), name in names.items():
        head = found.get(name, {})
        links[place][key] = _Link(name, head, frozenset(head.get("origins", [name])))
    return links


def _places(place: tuple[str, date], heads: Mapping[tuple[str, date], Mapping[str, _Link]]) -> set[tuple[str, date]]:
    """What the window is made from, as far as that is of another scope."""
    origins = {origin for link in heads.get(place, {}).values() for origin in link.origins}
    return {(origin, place[1]) for origin in origins} or {place}


def _swept(db: schema.Db, units: set[str]) -> dict[str, datetime]:
    """When each unit was swept last."""
    found = db[schema.LEDGER].find({"dataset": SWEEP, "scope": {"$in": sorted(units)}}, {"scope": 1, "swept_at": 1})
    return {one["scope"]: one["swept_at"] for one in found if "swept_at" in one}


def _linked(
    db: schema.Db,
    gold: list[schema.Document],
    silver: list[schema.Document],
    heads: Mapping[tuple[str, date], Mapping[str, _Link]],
) -> set[tuple[str, date]]:
    """The days of `gold` that are made from the links that are published, and these from all of `silver`."""
    newest: dict[tuple[str, date], datetime] = {}
    for one in silver:
        place = one["scope"], one["window"].date()
        newest[place] = max(one["published_at"], newest.get(place, one["published_at"]))
    found = set()
    for one in gold:
        place = one["scope"], one["window"].date()
        links = heads.get(place, {})
        if (
            links
            and one["inputs"].keys() == links.keys()
            and all(_is_used(db, one["inputs"][key], link, place[1], newest) for key, link in links.items())
        ):
            found.add(place)
    return found


def _is_used(db: schema.Db, revision: str, link: _Link, day: date, newest: Mapping[tuple[str, date], datetime]) -> bool:
    """Whether `revision` of the day's links is what is published, and that after all that it is made from."""
    made = [newest[origin, day] for origin in link.origins if (origin, day) in newest]
    if not made or link.head.get("published_at") is None or link.head["published_at"] < max(made):
        return False
    key = schema.manifest_key(link.name, str(day.year), link.head["years"].get(str(day.year), ""))
    said = db[schema.MANIFESTS].find_one({"_id": key}, {f"days.{day}.revision": 1}) or {}
    return bool(said.get("days", {}).get(day.isoformat(), {}).get("revision") == revision)
